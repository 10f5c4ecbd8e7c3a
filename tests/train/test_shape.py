"""Views that find the points of a face and read their shape."""

import math

import numpy as np
import pytest
import torch
from test_action_units import task_of, whole
from toy import make_parts

from rtau.errors import UsageError
from rtau.model import AuConfig, DeployedAuNet, LandmarkConfig, LandmarkNet, TwoViewNet, normalize
from rtau.pretrained import load_pretrained
from rtau_train.distributed import Team
from rtau_train.learner import Learner
from rtau_train.losses import place

NAMES = ("AU04", "AU12", "AU25")
CONFIG = AuConfig(names=NAMES, size=32, width=8, blocks=(1, 1, 1), features=16, graph=False, pyramid=12)


def crops(count=3, size=32):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1)) * 255


def test_the_shape_tells_nothing_at_first_and_something_once_it_has_learned():
    torch.manual_seed(0)
    net, x = TwoViewNet(CONFIG).eval(), normalize(crops())
    plain = TwoViewNet(AuConfig(**{**CONFIG.as_dict(), "pyramid": 0})).eval()
    plain.load_state_dict({k: v for k, v in net.state_dict().items() if k in plain.state_dict()})
    assert torch.allclose(net(x), plain(x), atol=1e-6)
    torch.nn.init.normal_(net.views[0].shape[-1].weight)
    apart = (net(x) - plain(x)).abs().amax((1, 2))
    assert apart[0] > 0.01 and apart[1] < 1e-6


def test_points_lie_within_the_crop_and_only_such_views_tell_them():
    reading = TwoViewNet(CONFIG).eval().read(normalize(crops()))
    assert reading.points.shape == (2, 3, 68, 2)
    assert 0 <= reading.points.min() and reading.points.max() <= 31
    assert TwoViewNet(AuConfig(**{**CONFIG.as_dict(), "pyramid": 0})).read(normalize(crops())).points is None


def test_the_deployed_network_gives_what_the_trained_one_gives():
    torch.manual_seed(2)
    net = TwoViewNet(CONFIG).eval()
    for view in net.views:
        torch.nn.init.normal_(view.shape[-1].weight)
    pixels = crops()
    assert torch.allclose(DeployedAuNet.fold(net).scores(pixels), net(normalize(pixels)), atol=1e-5)


def test_views_begin_with_the_trunk_of_a_landmark_network_whatever_its_pyramid(tmp_path):
    whole = LandmarkNet(LandmarkConfig(size=32, width=8, blocks=(1, 1, 1), pyramid=20))
    torch.save(whole.state_dict(), tmp_path / "landmarks.pt")
    net = TwoViewNet(CONFIG)
    for number, view in enumerate(net.views):
        assert not load_pretrained(view.backbone, tmp_path / "landmarks.pt", number).missing
        assert torch.equal(view.trunk.stem[0].weight, whole.trunk.stem[0].weight)


def test_a_network_goes_on_from_one_without_points(tmp_path):
    deeper = {**CONFIG.as_dict(), "blocks": (1, 2, 2)}
    plain = TwoViewNet(AuConfig(**{**deeper, "pyramid": 0})).eval()
    torch.save(plain.state_dict(), tmp_path / "plain.pt")
    net = TwoViewNet(AuConfig(**deeper)).eval()
    missing = load_pretrained(net, tmp_path / "plain.pt").missing
    assert missing and all(".points." in name or ".shape." in name for name in missing)
    x = normalize(crops())
    assert torch.allclose(net(x), plain(x), atol=1e-6)


def test_a_published_backbone_finds_no_points():
    with pytest.raises(UsageError, match="only the trunk finds points"):
        TwoViewNet(AuConfig(names=NAMES, backbone="resnet18", pyramid=12))


def test_being_off_counts_by_its_share_of_the_crop_and_pulls_when_small():
    truth = torch.zeros(1, 68, 2)
    def off(by, size=100):
        return place(truth + by, truth, size).mean().item()
    assert off(0) == 0
    assert off(3.0, 100) == pytest.approx(off(6.0, 200)) == pytest.approx(2 * 8 * np.log1p(1.5), rel=1e-5)
    assert off(20) - off(19) == pytest.approx(2, rel=1e-4)  # x and y
    assert off(0.02) - off(0.01) == pytest.approx(2 * 0.04, rel=0.02)
    assert off(7.999) == pytest.approx(off(8.001), abs=0.02)


@torch.no_grad()
def test_labeled_faces_teach_the_points_and_unlabeled_ones_do_not():
    task = task_of("model.pyramid=12", parts=make_parts(40, unlabeled=40, unknown=0.0))
    batch = whole(task, 20)
    told = batch["told"]
    assert batch.weights["place"] == told.sum() < len(batch)
    first = task.loss(task.model.eval(), batch)["place"]
    batch.tensors["points"][~told] = 1e3
    assert task.loss(task.model, batch)["place"] == first and math.isfinite(first)
    batch.tensors["points"][told] += 5
    assert task.loss(task.model, batch)["place"] > first


@pytest.mark.parametrize("own", ["true", "false"])
def test_points_are_learned(own):
    task = task_of("model.pyramid=12", f"augment.per_view={own}", "augment.degrade=0", parts=make_parts(80), steps=60)
    before = task.evaluate(task.model)["nme"]
    learner = Learner(task, task.recipe.loop, Team(), torch.device("cpu"))
    assert whole(task, 0)["points"].shape[1] == (2 if own == "true" else 1)
    terms = [learner.learn(step, [whole(task, step)]) for step in range(60)]
    assert np.mean([t["place"] for t in terms[-5:]]) < 0.8 * np.mean([t["place"] for t in terms[:5]])
    assert task.evaluate(learner.model.eval())["nme"] < before
