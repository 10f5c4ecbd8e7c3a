"""Networks: the graph folds away, thresholds ascend, shipped weights load and damaged ones do not."""

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rtau.au import AUS
from rtau.errors import RtauError, UsageError
from rtau.model import GRADES, AuConfig, DeployedAuNet, Graph, TwoViewNet, build, load_model, normalize
from rtau.store import find_weights, read_manifest, weights_folder

READ = tuple(au for au in AUS if au != 45)  # blinks are told by how long the eyes are closed
NAMES = tuple(f"AU{au:02d}" for au in READ)
SMALL = AuConfig(NAMES, size=48, width=8, features=16)


def small_net(seed: int = 0, config: AuConfig = SMALL) -> TwoViewNet:
    """A network with unequal thresholds and running statistics of some data."""
    torch.manual_seed(seed)
    count = len(config.names)
    adjacency = torch.rand(count, count)
    net = TwoViewNet(config, (adjacency + adjacency.T) / count).train()
    with torch.no_grad():
        net(torch.randn(4, 3, config.size, config.size))
        if net.gaps is not None:
            net.gaps.uniform_(-1, 1)
    return net.eval()


@torch.no_grad()
def change_by_folding(net: TwoViewNet) -> float:
    pixels = torch.rand(3, 3, net.config.size, net.config.size) * 255
    scores = net(normalize(pixels))
    assert scores.shape == (net.config.views, 3, len(net.config.names)) and scores.any()
    folded = DeployedAuNet.fold(net)
    assert torch.equal(folded.thresholds, net.thresholds())
    return (scores - folded.scores(pixels)).abs().max().item()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 30), st.sampled_from([16, 48, 80]), st.sampled_from([1, 2]),
       st.sampled_from([1, GRADES]), st.booleans(), st.sampled_from([None, 16]), st.sampled_from([0.0, 0.2]))
def test_folding_the_graph_changes_no_logit(seed, count, size, views, grades, graph, features, slope):
    config = AuConfig(tuple(f"attribute {i}" for i in range(count)), size=size, width=8, views=views, grades=grades,
                      graph=graph, features=features, slope=slope)
    assert change_by_folding(small_net(seed, config)) < 1e-5


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["resnet18", "mobilenetv4_conv_small", "efficientnet_lite0"]),
       st.integers(33, 96), st.sampled_from([1, 2]), st.sampled_from([1, GRADES]), st.sampled_from([None, 24]))
def test_folding_changes_no_logit_with_published_backbones(seed, backbone, size, views, grades, features):
    config = AuConfig(NAMES[:5], size=size, backbone=backbone, views=views, grades=grades, features=features)
    assert change_by_folding(small_net(seed, config)) < 1e-5


def test_the_papers_network_has_plain_linear_heads_on_resnet34():
    net = small_net(0, AuConfig(NAMES[:12], size=64, backbone="resnet34", grades=1, slope=0.0))
    assert [tuple(w.shape) for w in net.final_classifiers()] == [(12, 513)] * 2
    assert {name.split(".")[2] for name, _ in net.named_parameters() if name.startswith("views.")} == {"backbone"}
    assert change_by_folding(net) < 1e-5


@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_the_graph_is_the_papers_formula(slope):
    torch.manual_seed(0)
    adjacency, w = torch.rand(4, 4), torch.randn(4, 7)
    graph = Graph(adjacency, 7, slope)
    a, first, second = adjacency.numpy(), graph.first.detach().numpy(), graph.second.detach().numpy()
    hidden = a @ w.numpy() @ first
    expected = a @ np.where(hidden > 0, hidden, slope * hidden) @ second
    assert graph(w).detach().numpy() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0])
def test_the_graph_begins_near_its_linear_part(slope):
    """Of a classifier that goes in much comes out, and what is added has no direction common to all networks."""
    torch.manual_seed(0)
    w, alike, added = torch.randn(6, 65) / 8, [], []
    for _ in range(20):
        out = Graph(torch.eye(6), 65, slope)(w).detach()
        alike.append(torch.nn.functional.cosine_similarity(out, w, dim=1).mean())
        added.append((out - w).mean(0))
    assert torch.stack(alike).mean() > 0.6
    typical, common = torch.stack(added).norm(dim=1).mean(), torch.stack(added).mean(0).norm()
    assert common <= 0.5 * typical and (slope < 1 or typical < 1e-6)


def test_the_graph_is_shared_and_one_view_can_go_without_it():
    net = small_net()
    assert len([name for name, _ in net.named_parameters() if name.startswith("graph.")]) == 2
    alone = small_net(0, AuConfig(NAMES, size=48, width=8, views=1, graph=False))
    assert len(alone.views) == len(alone.final_classifiers()) == 1 and alone.final_classifiers()[0].shape[1] == 129


@pytest.mark.parametrize("backbone", ["trunk", "resnet18", "mobilenetv4_conv_small", "efficientnet_lite0"])
def test_views_start_from_different_weights(backbone):
    first, second = TwoViewNet(AuConfig(NAMES, size=48, backbone=backbone)).views
    alike = [name for (name, a), (_, b) in zip(first.named_parameters(), second.named_parameters(), strict=True)
             if a.ndim > 1 and (a - b).abs().mean() < 0.1 * a.abs().mean()]
    assert not alike


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


@pytest.mark.parametrize("config", [
    SMALL, AuConfig(NAMES, size=48, width=8, views=1, grades=1),
    AuConfig(NAMES, size=48, backbone="mobilenetv4_conv_small", grades=1)], ids=["small", "one", "published"])
def test_gradients_reach_every_parameter(config):
    net = small_net(0, config).train()
    (net(torch.randn(4, 3, 48, 48)).unsqueeze(-1) - net.thresholds()).square().sum().backward()
    assert not [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]


@torch.no_grad()
def test_presence_alone_says_nothing_of_intensity():
    net = small_net(0, AuConfig(NAMES, size=48, width=8, grades=1))
    pixels = torch.rand(5, 3, 48, 48) * 255
    presence, intensity = DeployedAuNet.fold(net)(pixels)
    assert intensity.shape == presence.shape and torch.isnan(intensity).all()
    assert torch.allclose(presence, torch.sigmoid(net(normalize(pixels))).mean(0), atol=1e-5)
    assert (net.thresholds() == 0).all() and net.thresholds().shape == (len(NAMES), 1)


def test_an_adjacency_of_other_labels_is_refused():
    with pytest.raises(ValueError, match=rf"shape \(3, 3\), expected \({len(NAMES)}, {len(NAMES)}\)"):
        TwoViewNet(SMALL, torch.eye(3))


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
    assert tuple(manifest["au"].facts["aus"]) == READ
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
    for config in (AuConfig(NAMES, blocks=(1, 2, 3)), AuConfig(("Smiling", "AU12"), backbone="resnet34", grades=1)):
        assert AuConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config
    assert AuConfig(NAMES).aus == READ and AuConfig(("Smiling", "AU12", "AU1 or 2")).aus == (12,)


def test_manifests_with_numbers_in_place_of_names_still_load(tmp_path):
    for file in weights_folder().glob("*.[sj]*"):
        shutil.copy(file, tmp_path)
    facts = json.loads((tmp_path / "manifest.json").read_text())
    config = facts["au"]["config"]
    assert config.pop("names") == list(NAMES)
    config["aus"] = list(READ)
    (tmp_path / "manifest.json").write_text(json.dumps(facts))
    old, new = build(find_weights("au", tmp_path)), load_model("au")
    assert old.config == new.config and old.config.names == NAMES
    pixels = torch.rand(2, 3, 112, 112) * 255
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(old(pixels), new(pixels), strict=True))


@pytest.mark.parametrize(("values", "says"), [
    ({"names": NAMES, "views": 3}, "1 or 2 views, not 3"),
    ({"names": NAMES, "grades": 4}, "1 or 5 grades, not 4"),
    ({"names": ()}, "names of labels"),
    ({"names": ("AU01", "AU01")}, "names of labels, each once"),
    ({"names": AUS}, "names of labels"),
    ({"names": NAMES, "feature": 12}, "unknown setting 'feature' of the AU network; known are names, size"),
    ({"names": NAMES, "backbone": "resnet"}, "unknown backbone 'resnet'"),
    ({"names": NAMES, "size": 100}, "a multiple of 16, not 100"),
])
def test_configs_that_build_no_network_are_one_line(values, says):
    with pytest.raises(UsageError, match=says) as error:
        TwoViewNet(AuConfig.from_dict(values))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("slope", [0.2, 1.0, 5.0])
def test_what_the_views_are_nearly_sure_of_keeps_its_digits(slope):
    """Presence as float32 gives it, against double precision, up to scores of +-13.5."""
    net = DeployedAuNet(AuConfig(NAMES[:3], size=32, width=8, features=4, grades=1)).eval()
    scores = torch.linspace(-13.5, 13.5, 2 * 400 * 3).view(2, 400, 3).flip(0)
    scores[1] = scores[0] * 0.97
    net.calibration[0] = slope
    with torch.no_grad():
        presence, _ = net.calibrated(scores)
    reached, missed = (torch.sigmoid(x.double()).mean(0).clamp(min=1e-6) for x in (scores, -scores))
    expected = torch.sigmoid(slope * torch.log(reached / missed))
    assert (presence - expected).abs().max() < 2e-6
