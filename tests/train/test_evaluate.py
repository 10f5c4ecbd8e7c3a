"""Figures of merit against numbers worked out by hand, other people's formulas, and what must always hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, pearsonr

from rtau_train.evaluate import (
    auc,
    average_precision,
    balanced_accuracy,
    best_threshold,
    brier,
    consistency,
    ece,
    equal_mass,
    f1,
    icc31,
    mae,
    pearson,
)

TRUTH = np.array([True, True, False, False])
SCORE = np.array([0.9, 0.4, 0.6, 0.1])

#: Table 2 of Shrout and Fleiss (1979): six targets, four judges.
JUDGES = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)

OF_SCORES = {"auc": auc, "average_precision": average_precision, "brier": brier, "ece": ece}
OF_CALLS = {"f1": f1, "balanced_accuracy": balanced_accuracy}
OF_VALUES = {"icc31": icc31, "pearson": pearson, "mae": mae}


def faces(seed: int, count: int, levels: int = 8):
    """Bool truth, scores of few levels (so with ties), and graded truth with its prediction."""
    rng = np.random.default_rng(seed)
    truth = rng.random(count) < 0.4
    score = (rng.integers(levels, size=count) + truth) / levels / 1.2
    grade = np.round(rng.uniform(0, 5, count), 1)
    return truth, score, grade, np.clip(grade + rng.normal(0, 1, count), 0, 5)


# -- by hand ---------------------------------------------------------------------------------


def test_areas_by_hand():
    assert auc(TRUTH, SCORE) == 0.75 and auc(TRUTH, -SCORE) == 0.25
    assert auc(TRUTH, np.full(4, 0.5)) == 0.5
    # .9 is right (precision 1), .4 comes third and is the second that is right (2/3).
    assert average_precision(TRUTH, SCORE) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(TRUTH, np.full(4, 0.5)) == 0.5
    # Two on one score count together: both found at a precision of 2/3, not one of them at 1.
    assert average_precision(TRUTH, np.array([0.9, 0.9, 0.9, 0.1])) == pytest.approx(2 / 3)


def test_calls_by_hand():
    called = SCORE >= 0.5
    assert f1(TRUTH, called) == 0.5 and balanced_accuracy(TRUTH, called) == 0.5
    assert f1(np.array([True, True, True, False]), np.array([True, False, False, False])) == 0.5
    assert balanced_accuracy(np.array([True, False, False, False]), np.array([True, True, False, False])) == \
        pytest.approx((1 + 2 / 3) / 2)


def test_calibration_by_hand():
    assert brier(TRUTH, SCORE) == pytest.approx((0.01 + 0.36 + 0.36 + 0.01) / 4)
    # Bins {.1, .4} and {.6, .9}: claimed .25 and .75, half of either is there.
    assert ece(TRUTH, SCORE, bins=2) == pytest.approx(0.25)
    assert ece(TRUTH, np.full(4, 0.5)) == 0 and ece(TRUTH, TRUTH.astype(float)) == 0
    assert equal_mass(np.array([0.1, 0.1, 0.1, 0.7, 0.8, 0.9]), 3).tolist() == [0, 0, 0, 1, 2, 2]


def test_intensity_by_hand():
    a, b = np.array([0.0, 1, 2, 3]), np.array([1.0, 1, 3, 3])
    assert mae(a, b) == 0.5
    assert pearson(a, b) == pytest.approx(4 / np.sqrt(5 * 4)) == pytest.approx(pearsonr(a, b).statistic)
    # 2 cov / (var + var) for two raters.
    assert icc31(a, b) == pytest.approx(2 * 4 / (5 + 4))


def test_the_table_of_shrout_and_fleiss():
    assert consistency(JUDGES) == pytest.approx(0.7148, abs=5e-5)
    # Their mean squares: 11.24 between targets, 1.02 of error.
    assert consistency(JUDGES) == pytest.approx((11.2417 - 1.0194) / (11.2417 + 3 * 1.0194), abs=1e-4)
    assert consistency(JUDGES + [0, 5, -3, 100]) == pytest.approx(consistency(JUDGES))
    for i in range(4):
        for j in range(i):
            assert consistency(JUDGES[:, [i, j]]) == pytest.approx(icc31(JUDGES[:, i], JUDGES[:, j]))


def test_the_best_threshold_by_hand():
    assert best_threshold(TRUTH, SCORE) == pytest.approx(0.25)  # F1 0.8: three called, two of them rightly
    assert best_threshold(TRUTH, TRUTH.astype(float)) == 0.5
    assert best_threshold(np.array([True, True, False]), np.array([0.2, 0.2, 0.2])) == pytest.approx(0.2)


def test_what_can_not_be_given_is_nan():
    none, some = np.zeros(3, bool), np.array([0.1, 0.2, 0.3])
    for function in (auc, average_precision):
        assert np.isnan(function(none, some))
    assert np.isnan(auc(~none, some)) and average_precision(~none, some) == 1
    assert np.isnan(f1(none, some > 0.2)) and f1(~none, some > 1) == 0
    assert np.isnan(balanced_accuracy(none, some > 0.2)) and np.isnan(best_threshold(none, some))
    assert np.isnan(best_threshold(~none, some))
    for function in (icc31, pearson):
        assert np.isnan(function(np.full(3, 2.0), some)), "truth that never varies can't be agreed with"
    assert icc31(some, np.full(3, 2.0)) == pytest.approx(0, abs=1e-9)
    assert np.isnan(pearson(some, np.full(3, 2.0)))
    empty = np.zeros(0)
    for function in (auc, average_precision, brier, ece):
        assert np.isnan(function(empty.astype(bool), empty))
    for function in (icc31, pearson, mae):
        assert np.isnan(function(empty, empty))


# -- other people's formulas -----------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(4, 60))
def test_scores_by_their_definitions(seed, count):
    truth, score, grade, guess = faces(seed, count)
    called = score >= 0.5
    if truth.any() and not truth.all():
        positive, negative = score[truth], score[~truth]
        assert auc(truth, score) == pytest.approx(
            mannwhitneyu(positive, negative).statistic / (len(positive) * len(negative)))
        wins = (positive[:, None] > negative).mean() + (positive[:, None] == negative).mean() / 2
        assert auc(truth, score) == pytest.approx(wins)
        assert balanced_accuracy(truth, called) == pytest.approx((called[truth].mean() + 1 - called[~truth].mean()) / 2)
        cuts = [f1(truth, score >= cut) for cut in np.unique(score)]
        assert f1(truth, score >= best_threshold(truth, score)) == pytest.approx(max(cuts))
    if truth.any():
        area, recall = 0.0, 0.0
        for cut in np.unique(score)[::-1]:
            there = score >= cut
            area += (truth[there].sum() / truth.sum() - recall) * truth[there].mean()
            recall = truth[there].sum() / truth.sum()
        assert average_precision(truth, score) == pytest.approx(area)
        precision = truth[called].mean() if called.any() else 0.0
        hits = called[truth].mean()
        assert f1(truth, called) == pytest.approx(2 * precision * hits / (precision + hits) if hits else 0.0)
    if np.ptp(grade) and np.ptp(guess):
        assert pearson(grade, guess) == pytest.approx(np.corrcoef(grade, guess)[0, 1])
        assert icc31(grade, guess) == pytest.approx(
            2 * np.cov(grade, guess)[0, 1] / (grade.var(ddof=1) + guess.var(ddof=1)))
    assert mae(grade, guess) == pytest.approx(np.abs(grade - guess).mean())


# -- what must always hold -------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(4, 80), st.sampled_from([np.exp, np.cbrt, lambda x: 5 * x - 3]))
def test_ranks_alone_decide_the_areas(seed, count, change):
    truth, score, *_ = faces(seed, count)
    assert auc(truth, change(score)) == pytest.approx(auc(truth, score), nan_ok=True)
    assert average_precision(truth, change(score)) == pytest.approx(average_precision(truth, score), nan_ok=True)
    assert auc(~truth, -score) == pytest.approx(auc(truth, score), nan_ok=True)
    assert auc(truth, -score) == pytest.approx(1 - auc(truth, score), nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(4, 60))
def test_a_weight_is_a_number_of_copies(seed, count):
    truth, score, grade, guess = faces(seed, count)
    weight = np.random.default_rng(seed).integers(0, 4, (count, 5)).astype(np.float32)
    pairs = ((OF_SCORES, (truth, score)), (OF_CALLS, (truth, score >= 0.5)), (OF_VALUES, (grade, guess)))
    for functions, pair in pairs:
        for name, function in functions.items():
            once = function(*pair)
            assert isinstance(once, float) and function(*pair, np.ones(count)) == pytest.approx(once, nan_ok=True)
            many = function(*pair, weight)
            assert many.shape == (5,) and many.dtype == np.float64
            for column in range(5) if name != "ece" else ():  # whose bins are of the faces that there are
                rows = np.repeat(np.arange(count), weight[:, column].astype(int))
                assert many[column] == pytest.approx(function(*(x[rows] for x in pair)), nan_ok=True, abs=1e-9), name


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(4, 60))
def test_order_of_faces_is_nothing(seed, count):
    truth, score, grade, guess = faces(seed, count)
    order = np.random.default_rng(seed + 1).permutation(count)
    for functions, pair in ((OF_SCORES, (truth, score)), (OF_VALUES, (grade, guess))):
        for function in functions.values():
            assert function(*(x[order] for x in pair)) == pytest.approx(function(*pair), nan_ok=True, abs=1e-9)


def test_large_counts_stay_exact_in_single_precision():
    truth, score, *_ = faces(3, 20_000, levels=1000)
    weight = np.full((20_000, 1), 50, np.float32)
    assert auc(truth, score, weight)[0] == pytest.approx(auc(truth, score), abs=1e-12)
    assert f1(truth, score > 0.5, weight)[0] == pytest.approx(f1(truth, score > 0.5), abs=1e-12)


def test_an_honest_probability_has_little_error_and_a_bold_one_much():
    rng = np.random.default_rng(0)
    chance = rng.random(20_000)
    truth = rng.random(20_000) < chance
    assert ece(truth, chance) < 0.02
    bold = np.clip(1.6 * (chance - 0.5) + 0.5, 0, 1)
    assert ece(truth, bold) == pytest.approx(np.abs(bold - chance).mean(), abs=0.02)
