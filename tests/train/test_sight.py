"""What shows of a face: learned from what renders and alterations hide, told by the network, heeded by rtau."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_action_units import task_of, whole
from toy import NAMES, make_faces, make_parts

from rtau.au import REGIONS
from rtau.crop import RIGID, TEMPLATE
from rtau.errors import UsageError
from rtau.model import AuConfig, DeployedAuNet, TwoViewNet, normalize
from rtau.quality import assess, luma
from rtau.types import Faces, Frame
from rtau_train.config import AugmentSettings
from rtau_train.cutting import cut
from rtau_train.data.augment import degrade, degrade_telling
from rtau_train.data.faces import FaceSet
from rtau_train.distributed import Team
from rtau_train.learner import Learner
from rtau_train.losses import HIDDEN, SHOWS, sight
from rtau_train.puppet.labels import TOLD, told
from rtau_train.puppet.sample import AUS

MOUTH, BROW = REGIONS.index("mouth"), REGIONS.index("brow")


def with_visible(faces: FaceSet, **shares: float) -> FaceSet:
    """The faces, of which these regions show that much, and the others wholly."""
    visible = np.ones((len(faces), len(REGIONS)), np.float32)
    for name, share in shares.items():
        visible[:, REGIONS.index(name)] = share
    return replace(faces, visible=visible)


def face_points(side: int) -> np.ndarray:
    """68 points of a frontal face in a crop of that side."""
    points = np.full((68, 2), 0.5)
    points[list(RIGID)] = TEMPLATE
    points[17:22], points[22:27] = np.c_[np.linspace(.2, .42, 5), np.full(5, .17)], np.c_[np.linspace(.58, .8, 5),
                                                                                         np.full(5, .17)]
    points[48:60, 0], points[48:60, 1] = 0.5 + 0.14 * np.cos(np.linspace(0, 6, 12)), 0.7 + 0.05 * np.sin(
        np.linspace(0, 6, 12))
    points[:17] = np.c_[np.linspace(.1, .9, 17), .4 + .5 * np.sin(np.linspace(0, math.pi, 17))]
    return points * side - 0.5


# -- loss and labels -------------------------------------------------------------------------


def test_only_what_is_known_counts_and_the_unsure_middle_is_wanted_in_between():
    logits = torch.tensor([[8.0, -8.0, 3.0]])
    assert sight(logits, torch.tensor([[1.0, 0.0, math.nan]])) < 1e-3
    assert sight(logits, torch.tensor([[0.0, 1.0, math.nan]])) > 7
    assert sight(logits, torch.full((1, 3), math.nan)) == 0
    x = torch.zeros(1, 1, requires_grad=True)
    for share, sign in ((SHOWS, -1), ((HIDDEN + SHOWS) / 2, 0), (HIDDEN, 1)):
        gradient = torch.autograd.grad(sight(x, torch.tensor([[share]])), x)[0].item()
        assert np.sign(round(gradient, 6)) == sign


def test_what_is_drawn_over_a_face_is_told():
    image = np.random.default_rng(0).integers(60, 200, (112, 112, 3)).astype(np.uint8)
    seen = 0
    for seed in range(60):
        out, covered = degrade_telling(image, np.random.default_rng(seed))
        assert np.array_equal(out, degrade(image, np.random.default_rng(seed)))
        seen += covered is not None
        assert covered is None or (covered.shape == (112, 112) and 0 < covered.mean() < 0.9)
    assert 5 < seen < 30


def test_a_crop_tells_which_regions_were_covered_and_of_pairs_the_better_side_counts(monkeypatch):
    points, image = face_points(112), np.full((112, 112, 3), 128, np.uint8)

    def cover(rows, columns):
        over = np.zeros((112, 112), bool)
        over[rows, columns] = True
        monkeypatch.setattr("rtau_train.cutting.degrade_telling", lambda crop, rng, strength: (crop, over))
        still = AugmentSettings(misplace=0.0, nudge=0.0, degrade=1.0, flip=0.0)
        return cut(image, points, 112, np.random.default_rng(0), still).covered

    low = cover(slice(66, 112), slice(None))
    assert low[MOUTH] > 0.9 and low[REGIONS.index("jaw")] > 0.7 and low[BROW] == low[REGIONS.index("eye")] == 0
    one_side = cover(slice(0, 112), slice(0, 50))
    assert one_side[BROW] == one_side[REGIONS.index("eye")] == 0 and 0.2 < one_side[MOUTH] < 0.8
    assert cover(slice(0, 0), slice(0, 0)).sum() == 0


def record(activation=None, others=None, mouth=1.0):
    rows = np.zeros((len(AUS), 2))
    for au, value in (activation or {}).items():
        rows[AUS.index(au)] = value
    return {"activation": rows.tolist(), "others": {str(k): v for k, v in (others or {}).items()},
            "visibility": {"mouth": mouth}}


def test_pucker_funneler_and_suck_are_labels_where_the_picture_tells():
    assert told(record()) == dict.fromkeys(TOLD, 0.0)
    strong = told(record(others={18: 0.8}))
    assert strong[18] == pytest.approx(4.0) and math.isnan(strong[22]) and strong[28] == 0
    assert math.isnan(told(record(others={22: 0.11}))[22]), "between absent and A"
    assert math.isnan(told(record({24: 0.5}))[28]) and told(record({24: 0.1}))[28] == 0
    assert all(math.isnan(v) for v in told(record(others={18: 0.8}, mouth=0.2)).values())


# -- task ------------------------------------------------------------------------------------


def test_hidden_labels_are_not_learned_and_what_shows_is():
    parts = make_parts(60, unknown=0.0)
    parts = replace(parts, labeled=with_visible(parts.labeled, mouth=0.1, brow=0.9))
    batch = whole(task_of("model.sight=true", parts=parts))
    mouth = NAMES.index("AU12")
    assert (batch["labels"][:, mouth] == 0).all() and torch.isnan(batch["intensity"][:, mouth]).all()
    assert (batch["labels"][:, NAMES.index("AU01")] != 0).all()
    assert batch["visible"].shape == (16, len(REGIONS)) and batch["visible"][:, MOUTH].max() == pytest.approx(0.1)
    assert batch.weights["sight"] == 16 * len(REGIONS)


def test_sight_is_learned_and_unlabeled_faces_tell_nothing_of_it():
    parts = make_parts(120, unlabeled=40, unknown=0.0)
    dark = np.arange(120) % 2 == 0
    visible = np.ones((120, len(REGIONS)), np.float32)
    visible[dark, BROW] = 0.0
    pictures = parts.labeled.pictures.copy()
    pictures[dark, :16] = 0
    parts = replace(parts, labeled=replace(parts.labeled, pictures=pictures, visible=visible))
    task = task_of("model.sight=true", parts=parts, steps=150)
    learner = Learner(task, task.recipe.loop, Team(), torch.device("cpu"))
    for step in range(150):
        terms = learner.learn(step, [whole(task, step)])
    assert whole(task, 20).weights["sight"] == 16 * len(REGIONS), "the unlabeled ones don't count"
    assert terms["sight"] < 0.35
    net = DeployedAuNet.fold(learner.averaged)
    with torch.no_grad():
        shows = net(whole(task, 1)["pixels"].permute(0, 3, 1, 2).float())[2][:, BROW]
    hidden = whole(task, 1)["visible"][:, BROW] == 0
    assert shows[:16][~hidden[:16]].mean() > shows[:16][hidden[:16]].mean() + 0.1


def test_nothing_to_learn_it_from_is_said_in_a_line():
    with pytest.raises(UsageError, match="nothing says what is hidden"):
        task_of("model.sight=true")


def test_faces_keep_what_shows_when_chosen_and_joined():
    faces = with_visible(make_faces(10), mouth=0.5)
    assert np.array_equal(faces[[3, 4]].visible, faces.visible[3:5])
    both = FaceSet.join([faces, make_faces(4)])
    assert np.isnan(both.visible[10:]).all() and np.array_equal(both.visible[:10], faces.visible)
    assert FaceSet.join([make_faces(2), make_faces(3)]).visible is None
    with pytest.raises(ValueError, match="visible has shape"):
        replace(faces, visible=np.ones((10, 2), np.float32))


# -- network and judgement -------------------------------------------------------------------


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("grades", [1, 5])
def test_the_deployed_network_tells_what_the_trained_one_does(views, grades):
    torch.manual_seed(0)
    net = TwoViewNet(AuConfig(NAMES, size=32, width=8, features=16, views=views, grades=grades, sight=True)).eval()
    pixels = torch.rand(5, 3, 32, 32) * 255
    with torch.no_grad():
        scores, shows, _ = net.read(normalize(pixels))
        presence, intensity, told_ = DeployedAuNet.fold(net)(pixels)
        assert torch.equal(scores, net(normalize(pixels)))
    assert told_.shape == (5, len(REGIONS)) and torch.allclose(told_, torch.sigmoid(shows), atol=1e-6)
    assert presence.shape == intensity.shape == (5, len(NAMES))


def test_a_hidden_region_is_not_judged():
    points = face_points(112)[None].astype(np.float32)
    image = np.random.default_rng(0).integers(30, 220, (112, 112, 3)).astype(np.uint8)
    faces = Faces(np.array([[0, 0, 111, 111]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int64), points,
                  np.zeros((1, 3), np.float32))
    shows = np.ones((1, len(REGIONS)), np.float32)
    aus = (1, 12, 25, 26)
    frame, light = Frame(image, 0.0, 0), luma(image[None])
    quality, judged = assess(frame, faces, light, aus, shows)
    assert judged.all() and assess(frame, faces, light, aus)[1].all()
    shows[0, MOUTH] = 0.1
    worse, judged = assess(frame, faces, light, aus, shows)
    assert judged[0].tolist() == [True, False, False, True] and worse[0] < quality[0]
