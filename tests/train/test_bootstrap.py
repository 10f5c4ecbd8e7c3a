"""Resamples of people and of their faces."""

import numpy as np
import pytest

from rtau_train.evaluate import mae
from rtau_train.figures.bootstrap import clusters, interval, resamples, two_sided


def drawn(subject, count, seed=0):
    return np.concatenate(list(resamples(np.asarray(subject), count, seed)), 1)


def test_people_are_drawn_whole_and_then_their_faces():
    subject = np.array(["a"] * 5 + ["b"] * 3 + ["c"] * 2)
    weight = drawn(subject, 400)
    assert weight.shape == (10, 400) and weight.dtype == np.float32
    for name, size in (("a", 5), ("b", 3), ("c", 2)):
        total = weight[subject == name].sum(0)
        assert not (total % size).any(), "as many faces of a person as there are, for each time the person is drawn"
        assert {0, 1, 2, 3} == set((total / size).astype(int).tolist())
    people = sum(weight[subject == name].sum(0) / size for name, size in (("a", 5), ("b", 3), ("c", 2)))
    assert (people == 3).all()
    assert weight.mean(1) == pytest.approx(np.ones(10), abs=0.15)
    assert (weight[:5].max(0) > weight[:5].sum(0) / 5).any(), "faces differ within a person too"


def test_a_face_of_nobody_known_is_a_person():
    assert clusters(np.array(["b", "", "a", "", "b"])).tolist() in ([1, 2, 0, 3, 1],)
    assert clusters(np.array(["", ""])).tolist() == [0, 1]
    weight = drawn(["", "", "", ""], 300)
    assert (weight.sum(0) == 4).all() and (weight == 0).any() and (weight > 1).any()


def test_same_seed_same_draws_and_batches_are_of_no_account():
    subject = [f"s{i % 7}" for i in range(40)]
    a, b = drawn(subject, 250), drawn(subject, 250)
    assert np.array_equal(a, b) and not np.array_equal(a, drawn(subject, 250, seed=1))
    assert np.array_equal(drawn(subject, 120), a[:, :120])
    told = []
    list(resamples(np.array(subject), 250, tell=lambda *t: told.append(t)))
    assert told == [(0, 250), (100, 250), (200, 250), (250, 250)]


def test_the_spread_is_that_of_people_not_of_faces():
    """20 people with 50 faces each, all of a person's faces alike: the mean is as sure as of 20 values, not 1000."""
    rng = np.random.default_rng(0)
    own = rng.normal(0, 1, 20)
    subject, value = np.repeat([f"s{i:02d}" for i in range(20)], 50), np.repeat(own, 50)
    means = mae(np.zeros(1000), value + 10, drawn(subject, 2000))  # all above 0: the mean itself
    assert means.std() == pytest.approx(own.std() / np.sqrt(20), rel=0.08)
    alone = mae(np.zeros(1000), value + 10, drawn([""] * 1000, 2000))
    assert alone.std() == pytest.approx(own.std() / np.sqrt(1000), rel=0.08)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    held = 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        own = rng.normal(0, 1, 30)
        value = np.repeat(own, 4) + rng.normal(0, 0.3, 120) + 10
        low, high = interval(mae(np.zeros(120), value, drawn(np.repeat(np.arange(30).astype(str), 4), 300, seed)), 0.9)
        held += low <= 10 <= high
    assert 0.82 <= held / 120 <= 0.97


def test_intervals_are_percentiles_and_need_enough_resamples():
    values = np.arange(101.0)
    low, high = interval(np.stack([values, values[::-1] * 2]), 0.9)
    assert low == pytest.approx([5, 10]) and high == pytest.approx([95, 190])
    holes = values.copy()
    holes[:9] = np.nan
    assert np.isfinite(interval(holes, 0.9)).all()
    holes[:12] = np.nan
    assert np.isnan(interval(holes, 0.9)).all() and np.isnan(interval(np.zeros((3, 0)), 0.9)).all()


def test_two_sided_chance_by_hand():
    assert two_sided(np.array([1.0] * 99)) == pytest.approx(2 / 100)
    assert two_sided(np.array([1.0] * 89 + [-1.0] * 10)) == pytest.approx(2 * 11 / 100)
    assert two_sided(-np.array([1.0] * 89 + [-1.0] * 10)) == pytest.approx(2 * 11 / 100)
    assert two_sided(np.zeros(99)) == 1
    assert np.isnan(two_sided(np.array([np.nan] * 20 + [1.0] * 80)))
