"""Published backbones: built as timm builds them, filled from checkpoints of many kinds, honest about wrong ones."""

import functools
import hashlib
import json
import logging
import math
import sys
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from rtau.backbones import BACKBONES, load_pretrained, open_backbone
from rtau.backends import open_backend
from rtau.errors import InputError, UsageError
from rtau.model import AuConfig, DeployedAuNet, TwoViewNet, normalize
from rtau.store import find_weights, sha256_of
from rtau.view import PooledView

#: Length of the features, and parameters with a classifier of 1000 classes, as published with timm's checkpoints.
PUBLISHED = {"resnet18": (512, 11_689_512), "resnet34": (512, 21_797_672), "resnet50": (2048, 25_557_032),
             "mobilenetv4_conv_small": (1280, 3_774_024), "efficientnet_lite0": (1280, 4_652_008)}

#: What `timm.create_model(name, num_classes=0)` of timm 1.0.31 gave: the start of the SHA-256 of its state's sorted
#: "name shape" lines, and the first three features of two pictures, both made as in `fill`.
TIMM = {
    "resnet18": ("504739f3083bec5e", [13.2443, 104.943, 59.8949, 16.3365, 113.102, 67.5694]),
    "resnet34": ("44a0fd3c2ef0c9ed", [208.286, 2560.93, 2954.81, 254.668, 2606.38, 3112.48]),
    "resnet50": ("c1f7fd3808aa49e7", [2067.64, 4671.54, 674.74, 2108.68, 4995.04, 663.423]),
    "mobilenetv4_conv_small": ("538f39704c86ac17", [47.1712, 0.0, 4100.14, 12.6458, 0.0, 3837.67]),
    "efficientnet_lite0": ("98a0a76694b7eeb8", [0.444153, 1.68394, 0.818097, 1.4946, 1.13089, 0.663655]),
}
SMALLEST = "mobilenetv4_conv_small"


def noise(seed: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Normal numbers of a generator that is frozen for good."""
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape))


@torch.no_grad()
def fill(net: torch.nn.Module) -> torch.nn.Module:
    """A network with weights that follow from their names."""
    for name, value in net.state_dict().items():
        if value.dtype.is_floating_point:
            drawn = noise(zlib.crc32(name.encode()), tuple(value.shape))
            if value.ndim > 1:
                value.copy_(drawn * (2 / value[0].numel()) ** 0.5)
            elif name.endswith(("running_var", "weight")):
                value.copy_(1 + 0.3 * drawn.tanh())
            else:
                value.copy_(0.2 * drawn)
    return net.eval()


@functools.cache
def checkpoint() -> dict[str, torch.Tensor]:
    """Weights of the smallest backbone with a classifier."""
    return {**fill(open_backbone(SMALLEST)).state_dict(), "fc.weight": torch.randn(10, 4), "fc.bias": torch.randn(10)}


def same(net: torch.nn.Module, state: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, state[name]) for name, value in net.state_dict().items()
               if value.dtype.is_floating_point)


# Structure


@pytest.mark.parametrize("name", BACKBONES)
def test_parameters_are_as_many_as_published(name):
    width, total = PUBLISHED[name]
    assert sum(p.numel() for p in open_backbone(name).parameters()) + 1000 * (width + 1) == total


@pytest.mark.parametrize("name", BACKBONES)
def test_names_shapes_and_outputs_are_timms(name):
    net = fill(open_backbone(name))
    digest, features = TIMM[name]
    text = "\n".join(f"{key} {tuple(value.shape)}" for key, value in sorted(net.state_dict().items()))
    assert hashlib.sha256(text.encode()).hexdigest().startswith(digest)
    with torch.no_grad():
        found = net(noise(0, (2, 3, 96, 96)).float())
    assert found[:, :3].flatten().tolist() == pytest.approx(features, rel=1e-4, abs=1e-3)


@settings(max_examples=8, deadline=None)
@given(st.sampled_from([SMALLEST, "efficientnet_lite0", "resnet18"]), st.integers(20, 120), st.integers(1, 3))
@torch.no_grad()
def test_any_size_gives_one_vector_a_face(name, size, count):
    net = open_backbone(name).eval()
    x = torch.randn(count, 3, size, size)
    assert net.maps(x).shape[2:] == (math.ceil(size / 32),) * 2
    assert net(x).shape == (count, PUBLISHED[name][0])


def test_random_weights_keep_the_size_of_signals():
    torch.manual_seed(0)
    for name in BACKBONES:
        features = open_backbone(name).train()(torch.randn(4, 3, 48, 48))
        assert torch.isfinite(features).all() and 0.05 < features.std() < 20, name


@torch.no_grad()
def test_a_view_shows_its_backbone_imagenets_colours():
    torch.manual_seed(0)
    view = PooledView(SMALLEST, 64, None, 0.0).eval()
    fill(view.backbone)
    pixels = torch.rand(2, 3, 64, 64) * 255
    mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    expected = view.backbone((pixels / 255 - mean) / deviation)
    assert torch.allclose(view(normalize(pixels)), expected, rtol=1e-4, atol=1e-3 * expected.abs().max())


@pytest.mark.parametrize("name", ["resnet19", "", "ResNet18"])
def test_unknown_backbones_are_one_line(name):
    with pytest.raises(UsageError, match="unknown backbone .*: choose from trunk, resnet18") as error:
        open_backbone(name)
    assert "\n" not in str(error.value)


def test_without_timm_its_backbones_are_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match="needs timm .*pip install timm") as error:
        TwoViewNet(AuConfig(("AU01",), backbone="timm:convnext_atto"))
    assert "\n" not in str(error.value)


# Checkpoints


@pytest.mark.parametrize("wrap", [
    lambda s: s,
    lambda s: {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in s.items()}},
    lambda s: {"model": {f"model.{k}": v for k, v in s.items()}, "step": torch.tensor(5)},
    lambda s: {"model": {"state_dict": {f"_orig_mod.module.backbone.{k}": v for k, v in s.items()}}},
    lambda s: {k: v for k, v in s.items() if not k.startswith("fc.") and not k.endswith("tracked")},
], ids=["plain", "module", "model", "nested", "bare"])
@pytest.mark.parametrize("suffix", ["pth", "bin"])
def test_checkpoints_are_seen_through(tmp_path, wrap, suffix):
    state = checkpoint()
    file = tmp_path / f"w.{suffix}"
    torch.save(wrap(state), file)
    net = open_backbone(SMALLEST)
    loaded = load_pretrained(net, file)
    assert same(net, state) and not loaded.missing and set(loaded.unused) <= {"fc.weight", "fc.bias"}
    assert len(loaded.taken) == sum(v.dtype.is_floating_point for v in net.state_dict().values())


def test_safetensors_and_half_precision_are_read(tmp_path, caplog):
    state = checkpoint()
    save_file({k: v.half() if v.dtype.is_floating_point else v for k, v in state.items()}, tmp_path / "w.safetensors")
    net = open_backbone(SMALLEST)
    with caplog.at_level(logging.INFO):
        load_pretrained(net, tmp_path / "w.safetensors")
    assert net.conv_stem.weight.dtype == torch.float32
    assert same(net, {k: v.half().float() for k, v in state.items() if v.dtype.is_floating_point})
    assert "left out: fc.bias, fc.weight" in caplog.text and not [r for r in caplog.records if r.levelname != "INFO"]


def test_gaps_are_named_and_keep_their_values(tmp_path, caplog):
    state = {k: v for k, v in checkpoint().items() if not k.startswith(("conv_head", "norm_head"))}
    torch.save(state, tmp_path / "w.pth")
    net = open_backbone(SMALLEST)
    before = net.conv_head.weight.clone()
    loaded = load_pretrained(net, tmp_path / "w.pth")
    assert "conv_head.weight" in loaded.missing and torch.equal(net.conv_head.weight, before)
    assert torch.equal(net.conv_stem.weight, state["conv_stem.weight"])
    assert any(r.levelname == "WARNING" and "conv_head.weight" in r.message for r in caplog.records)


def test_a_larger_networks_checkpoint_is_taken_with_a_warning(tmp_path, caplog):
    torch.save(open_backbone("resnet34").state_dict(), tmp_path / "w.pth")
    load_pretrained(open_backbone("resnet18"), tmp_path / "w.pth")
    assert any(r.levelname == "WARNING" and "larger network" in r.message for r in caplog.records)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize(("state", "says"), [
    (lambda: open_backbone("efficientnet_lite0").state_dict(), "another network's checkpoint: it has 22 of the 230"),
    (lambda: {k: v for k, v in list(checkpoint().items())[:100]}, "another network's checkpoint: it has"),
    (lambda: {**checkpoint(), "conv_stem.weight": torch.zeros(32, 1, 3, 3)},
     r"conv_stem.weight is \[32, 1, 3, 3\] in it, expected \[32, 3, 3, 3\]"),
    (lambda: {**checkpoint(), "bn1.bias": torch.full((32,), math.nan)}, "bn1.bias holds NaN"),
    (lambda: {"a": torch.zeros(3)}, "it has 0 of the"),
], ids=["other", "part", "shape", "nan", "none"])
def test_checkpoints_that_do_not_fit_change_nothing(tmp_path, state, says, suffix):
    file = tmp_path / f"w.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(state(), file)
    net = open_backbone(SMALLEST)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with pytest.raises(InputError, match=says) as error:
        load_pretrained(net, file)
    assert "\n" not in str(error.value) and str(file) in str(error.value)
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


class Danger:
    """An object whose reading would leave a trace."""

    def __init__(self, trace) -> None:
        self.trace = trace

    def __reduce__(self):
        return open, (str(self.trace), "w")


def test_a_checkpoint_is_never_run_as_code(tmp_path):
    file, trace = tmp_path / "w.pth", tmp_path / "trace"
    torch.save({"state_dict": checkpoint(), "extra": Danger(trace)}, file)
    with pytest.raises(InputError, match="holds more than weights") as error:
        load_pretrained(open_backbone(SMALLEST), file)
    assert not trace.exists() and "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"<html>not found</html>", "cut", "folder", "list"])
def test_files_that_are_no_checkpoints_are_one_line(tmp_path, suffix, content):
    file = tmp_path / f"w.{suffix}"
    if content == "folder":
        file.mkdir()
    elif content == "list":
        torch.save([torch.zeros(2)], file)
    elif content == "cut":
        (save_file if suffix == "safetensors" else torch.save)(checkpoint(), file)
        file.write_bytes(file.read_bytes()[:200_000])
    elif content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError) as error:
        load_pretrained(open_backbone(SMALLEST), file)
    assert "\n" not in str(error.value) and str(file) in str(error.value)


# At work


def test_a_network_with_a_published_backbone_runs_on_every_backend(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    torch.manual_seed(0)
    config = AuConfig(("AU06", "AU12", "Smiling"), size=64, backbone=SMALLEST, views=1, grades=1)
    net = TwoViewNet(config, torch.rand(3, 3)).train()
    for _ in range(3):  # running statistics of some data
        net(torch.randn(8, 3, 64, 64))
    file = tmp_path / "au.safetensors"
    save_file(DeployedAuNet.fold(net.eval()).state_dict(), file)
    entry = {"file": file.name, "sha256": sha256_of(file), "kind": "au", "aus": config.aus, "config": config.as_dict()}
    (tmp_path / "manifest.json").write_text(json.dumps({"au": entry}))
    crops = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)
    weights = find_weights("au", tmp_path)
    presence, intensity = open_backend(weights, "torch", "cpu")(crops)
    with torch.no_grad():
        expected = torch.sigmoid(net(normalize(torch.from_numpy(crops).permute(0, 3, 1, 2).float()))).mean(0).numpy()
    assert np.abs(presence - expected).max() < 1e-5 and np.isnan(intensity).all() and presence.std() > 0
    pytest.importorskip("openvino")
    again, nothing = open_backend(weights, "openvino")(crops)
    assert np.abs(presence - again).max() < 1e-3 and np.isnan(nothing).all()


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"averaged": s}, lambda s: {f"model.{k}": v for k, v in s.items()}])
def test_the_views_of_an_au_network_are_a_start_for_another(tmp_path, wrap):
    torch.manual_seed(0)
    small = dict(size=32, width=8, features=4)
    known, other = (TwoViewNet(AuConfig(names, **small)) for names in (("AU01", "AU02"), ("Smiling",)))
    torch.save(wrap(known.state_dict()), tmp_path / "w.pt")
    for number, view in enumerate(other.views):
        loaded = load_pretrained(view.backbone, tmp_path / "w.pt", number)
        assert not loaded.missing and "classifiers.0" in {name.removeprefix("model.") for name in loaded.unused}
    for mine, theirs in zip(other.views, known.views, strict=True):
        assert same(mine.backbone, theirs.backbone.state_dict())
    alone = TwoViewNet(AuConfig(("AU01",), views=1, **small))
    torch.save(wrap(alone.state_dict()), tmp_path / "one.pt")
    load_pretrained(other.views[1].backbone, tmp_path / "one.pt", 1)  # of one view both begin as that
    assert same(other.views[1].backbone, alone.views[0].backbone.state_dict())


def test_the_shipped_network_is_a_start():
    net = TwoViewNet(AuConfig(("AU12",)))
    weights = load_file(find_weights("au").path)
    for number, view in enumerate(net.views):
        load_pretrained(view.backbone, find_weights("au").path, number)
        assert torch.equal(view.backbone.stem[0].weight, weights[f"views.{number}.trunk.stem.0.weight"])
