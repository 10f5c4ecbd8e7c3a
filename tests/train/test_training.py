"""Training: what labels, graph, figures and augmentation make of their inputs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtau_train.data.augment import degrade
from rtau_train.data.people import part_of
from rtau_train.data.points import along
from rtau_train.evaluate import auc, f1, icc31, platt
from rtau_train.graph import adjacency, dependency
from rtau_train.cutting import MIRROR
from rtau_train.puppet.labels import intensities
from rtau_train.puppet.sample import AUS, OTHERS, RECIPES, draw

SHAPES = sorted({name for recipe in (*RECIPES.values(), *OTHERS.values()) for name in recipe}
                | {"eyeLookUp_L", "eyeLookUp_R", "jawLeft", "jawRight"})


def facts(count: int = 1, **levels: float):
    activation = np.zeros((count, len(AUS), 2), np.float32)
    for name, level in levels.items():
        activation[:, AUS.index(int(name[2:]))] = level
    return activation, np.zeros(count), np.ones((count, 2)), np.zeros(count)


def test_grades_follow_the_knots():
    for level, grade in ((0.0, 0), (0.15, 1), (0.30, 2), (0.55, 3), (0.80, 4), (1.0, 5)):
        intensity, known = intensities(*facts(AU12=level))
        assert intensity[0, AUS.index(12)] == pytest.approx(grade) and known[0, AUS.index(12)]


def test_between_absent_and_a_nothing_is_claimed():
    _, known = intensities(*facts(AU12=0.11))
    assert not known[0, AUS.index(12)] and known[0, AUS.index(4)]


def test_what_another_au_can_fake_is_unknown_not_absent():
    _, known = intensities(*facts(AU9=0.8))
    assert not known[0, AUS.index(10)] and not known[0, AUS.index(4)]
    intensity, known = intensities(*facts(AU9=0.8, AU4=0.6))
    assert known[0, AUS.index(4)] and intensity[0, AUS.index(4)] > 1


def test_lips_jaw_and_lids_are_read_off_the_geometry():
    activation, *_ = facts(3)
    intensity, known = intensities(activation, np.array([0.0, 1.5, 10.0]), np.array([[1, 1], [0.1, 0.1], [0.1, 1]]),
                                   np.array([0.0, 0.15, 0.45]))
    assert intensity[:, AUS.index(25)].tolist() == [0, 1, 4] and intensity[:, AUS.index(26)].tolist() == [0, 1, 5]
    assert intensity[1, AUS.index(43)] > 4 and not known[2, AUS.index(43)]  # a wink
    assert not known[1, AUS.index(5)]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_performances_are_possible(seed):
    performance = draw(np.random.default_rng(seed), SHAPES)
    shown = {au for au, a in zip(AUS, performance.activation.max(1), strict=True) if a > 0}
    assert not {5, 43} <= shown and not ({17, 23, 24} & shown and {25, 26} & shown)
    assert ((performance.activation >= 0) & (performance.activation <= 1)).all()
    assert all(-0.6 <= v <= 1.15 for v in performance.shapes.values()) and set(performance.shapes) <= set(SHAPES)


def test_same_seed_same_performance():
    a, b = (draw(np.random.default_rng(3), SHAPES) for _ in range(2))
    assert np.array_equal(a.activation, b.activation) and a.shapes == b.shapes


def test_dependency_by_hand():
    labels = np.array([[1, 1], [1, 1], [1, -1], [-1, -1]])
    # P(a+|b+) = 1, P(a-|b-) = 1/2; P(b+|a+) = 2/3, P(b-|a-) = 1
    assert dependency(labels) == pytest.approx(np.array([[1, 0.5], [2 / 3, 1]]))


def test_unknown_labels_take_no_part_and_lone_aus_are_harmless():
    known = np.array([[1, 1], [1, -1], [-1, -1]])
    assert dependency(np.vstack([known, [[1, 0], [0, -1], [0, 0]]])) == pytest.approx(dependency(known))
    matrix = adjacency(np.array([[1, -1], [1, -1]]))
    assert np.isfinite(matrix).all() and (matrix >= 0).all()


def test_dependency_of_exclusive_aus_is_negative():
    labels = np.array([[1, -1], [-1, 1]] * 5)
    assert dependency(labels)[0, 1] == pytest.approx(-1) and adjacency(labels)[0, 1] > 0


def test_auc_by_hand_and_with_ties():
    truth = np.array([True, True, False, False])
    assert auc(truth, np.array([0.9, 0.4, 0.6, 0.1])) == 0.75
    assert auc(truth, np.array([0.5, 0.5, 0.5, 0.5])) == 0.5
    assert np.isnan(auc(np.array([True, True]), np.array([0.1, 0.2])))


def test_f1_and_icc_by_hand():
    assert f1(np.array([True, True, False]), np.array([True, False, True])) == 0.5
    ratings = np.array([9.0, 6, 8, 7, 10, 6]), np.array([2.0, 1, 4, 1, 5, 2])  # Shrout and Fleiss, first two judges
    a, b = ratings
    both = np.stack(ratings, 1)
    between = 2 * both.mean(1).var(ddof=1)
    error = ((a - b - (a - b).mean()) ** 2).sum() / 2 / (len(a) - 1)
    assert icc31(a, b) == pytest.approx((between - error) / (between + error))
    assert icc31(a, a + 3) == pytest.approx(1)


def test_platt_makes_scores_honest():
    rng = np.random.default_rng(0)
    chance = rng.uniform(0.02, 0.98, 20000)
    truth = rng.random(20000) < chance
    logit = 3 * np.log(chance / (1 - chance)) - 2  # over-confident and shifted
    slope, shift = platt(logit, truth)
    assert slope == pytest.approx(1 / 3, abs=0.02) and shift == pytest.approx(2 / 3, abs=0.05)
    rarer = 1 / (1 + np.exp(-(platt(logit, truth, 0.1)[0] * logit + platt(logit, truth, 0.1)[1])))
    assert rarer.mean() < 0.35


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_platt_finds_the_same_on_any_scale(scale):
    rng = np.random.default_rng(0)
    logit = rng.normal(0, 2, 5000)
    truth = rng.random(5000) < 1 / (1 + np.exp(1 - logit))
    slope, shift = platt(logit, truth, slopes=(0, np.inf))
    scaled, same = platt(scale * logit + 7 * scale, truth, slopes=(0, np.inf))
    assert scaled * scale == pytest.approx(slope, rel=1e-4)
    assert same + 7 * scale * scaled == pytest.approx(shift, abs=1e-3)


@pytest.mark.parametrize("prior", [None, 0.1])
@pytest.mark.parametrize(("turn", "held"), [(-1.0, 0.1), (0.05, 5.0)])
def test_a_slope_that_is_held_leaves_the_share_right(turn, held, prior):
    """Scores that say the opposite, and scores on so small a scale that the best slope would be huge."""
    rng = np.random.default_rng(0)
    logit = rng.normal(0, 2, 4000)
    truth = rng.random(4000) < 1 / (1 + np.exp(1 - logit))
    slope, shift = platt(turn * logit, truth, prior, (0.1, 5.0))
    chance = 1 / (1 + np.exp(-slope * turn * logit - shift))
    weight = np.ones(4000) / 4000 if prior is None else np.where(truth, prior / truth.sum(), (1 - prior) / (~truth).sum())
    assert slope == held and (weight * chance).sum() == pytest.approx(prior or truth.mean(), abs=2e-3)


def test_nobody_tests_and_trains():
    from rtau_train.data.people import _listed
    parts = list(_listed().values())
    assert parts.count("test") == 22 and parts.count("validation") == 12
    assert part_of("099_03") == part_of("099_08") == "test" and part_of("001") == "train"


def test_mirror_is_its_own_inverse():
    assert np.array_equal(MIRROR[MIRROR], np.arange(68))


def test_points_along_a_line():
    line = np.array([[0.0, 0], [10, 0], [10, 10]])
    assert np.allclose(along(line, np.array([0, 0.25, 0.5, 1])), [[0, 0], [5, 0], [10, 0], [10, 10]])


def test_degrading_keeps_shape_and_leaves_the_original():
    image = np.random.default_rng(0).integers(0, 256, (112, 112, 3)).astype(np.uint8)
    before = image.copy()
    for seed in range(60):
        out = degrade(image, np.random.default_rng(seed))
        assert out.shape == image.shape and out.dtype == np.uint8
    assert np.array_equal(image, before)
