"""Networks: the graph folds away, thresholds ascend, shipped weights load and damaged ones do not."""

import json
import shutil

import numpy as np
import pytest
import torch

from rtau.au import AUS
from rtau.errors import RtauError
from rtau.model import GRADES, AuConfig, DeployedAuNet, TwoViewNet, build, load_model, normalize
from rtau.store import find_weights, read_manifest, weights_folder

SMALL = AuConfig(AUS, size=48, width=8, features=16)


def small_net(seed: int = 0) -> TwoViewNet:
    torch.manual_seed(seed)
    adjacency = torch.rand(len(AUS), len(AUS))
    net = TwoViewNet(SMALL, (adjacency + adjacency.T) / len(AUS)).eval()
    with torch.no_grad():
        net.gaps.uniform_(-1, 1)
    return net


@torch.no_grad()
def test_folding_the_graph_changes_no_logit():
    net = small_net()
    pixels = torch.rand(5, 3, 48, 48) * 255
    assert (net(normalize(pixels)) - DeployedAuNet.fold(net).scores(pixels)).abs().max() < 1e-5


@torch.no_grad()
def test_two_views_differ():
    a, b = small_net()(torch.randn(4, 3, 48, 48))
    assert (a - b).abs().mean() > 1e-2


@torch.no_grad()
def test_presence_and_intensity_are_two_readings_of_one_score():
    deployed = DeployedAuNet.fold(small_net())
    deployed.calibration[0].uniform_(0.2, 3)
    deployed.calibration[1].uniform_(-3, 3)
    presence, intensity = deployed(torch.rand(64, 3, 48, 48) * 255)
    assert ((presence >= 0) & (presence <= 1)).all()
    # The expected grade lies between the chance of the first grade and five times that.
    assert (intensity >= presence - 1e-5).all() and (intensity <= GRADES * presence + 1e-5).all()


def test_thresholds_ascend_from_zero():
    thresholds = small_net().thresholds()
    assert (thresholds[:, 0] == 0).all() and (thresholds.diff(dim=1) > 0).all()


def test_gradients_reach_every_parameter():
    net = small_net().train()
    net(torch.randn(4, 3, 48, 48)).square().sum().backward()
    missing = [name for name, p in net.named_parameters() if p.grad is None and name != "gaps"]
    assert not missing


@pytest.mark.parametrize("name", ["au", "landmarks"])
def test_shipped_weights_load_and_give_finite_numbers(name):
    net = load_model(name)
    size = find_weights(name).facts["config"]["size"]
    with torch.no_grad():
        outputs = net(torch.rand(2, 3, size, size) * 255)
    assert all(torch.isfinite(o).all() and len(o) == 2 for o in outputs)


def test_shipped_weights_are_small_and_described():
    manifest = read_manifest()
    assert sum(w.check().stat().st_size for w in manifest.values()) < 20e6
    assert tuple(manifest["au"].facts["aus"]) == AUS
    for entry in manifest.values():
        assert (weights_folder().parent / entry.facts["recipe"]).is_file() or weights_folder().parent.name == "rtau"


@pytest.mark.parametrize("harm", ["flip", "cut", "swap"])
def test_damaged_weights_are_one_line(tmp_path, harm):
    for file in weights_folder().glob("*.[sj]*"):
        shutil.copy(file, tmp_path)
    file = tmp_path / "au.safetensors"
    data = bytearray(file.read_bytes())
    if harm == "flip":
        data[len(data) // 2] ^= 0xFF
    elif harm == "cut":
        del data[len(data) // 2:]
    else:
        data = bytearray((tmp_path / "landmarks.safetensors").read_bytes())
        manifest = json.loads((tmp_path / "manifest.json").read_text())
        manifest["au"]["sha256"] = manifest["landmarks"]["sha256"]
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    file.write_bytes(data)
    with pytest.raises(RtauError) as error:
        build(find_weights("au", tmp_path))
    assert "\n" not in str(error.value)


def test_config_survives_json():
    config = AuConfig(AUS, blocks=(1, 2, 3))
    assert AuConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config
    assert np.array_equal(config.aus, AUS)
