"""Figures of merit of one label, and the calibration that makes scores honest.

Each figure takes arrays of N faces and, at wish, `weight`: how often each face counts, [N], or [N, B] for B
resamples at once, which a bootstrap wants. Without it every face counts once. The answer is a float, or float64
[B]; NaN where the figure can't be given, such as an area under a curve with one class only.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

#: Bins of equal mass by which calibration is judged.
BINS = 10
#: A value whose sum of squares about its mean is below this, per unit of weight, does not vary.
_CONSTANT = 1e-9


# -- presence --------------------------------------------------------------------------------


def auc(truth: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None) -> Any:
    """Area under the ROC curve: the chance that a positive scores above a negative, a tie counting half.

    Args:
        truth: bool [N].
        score: [N], no NaN.
    """
    weight, single = _weights(weight, len(truth))
    negative = np.flatnonzero(~truth)
    negative = negative[np.argsort(score[negative], kind="stable")]
    positive = np.flatnonzero(truth)
    below = _running(weight[negative])
    first, last = (np.searchsorted(score[negative], score[positive], side) for side in ("left", "right"))
    wins = np.einsum("nb,nb->b", weight[positive], below[first] + below[last], dtype=np.float64) / 2
    return _given(_ratio(wins, weight[positive].sum(0, np.float64) * below[-1]), single)


def average_precision(truth: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None) -> Any:
    """Mean of the precision at each positive, faces of one score taken together (no interpolation).

    Its chance level is the prevalence. NaN without a positive.

    Args:
        truth: bool [N].
        score: [N], no NaN.
    """
    weight, single = _weights(weight, len(truth))
    order = np.argsort(-score, kind="stable")
    called = _running(weight[order])
    positive = order[truth[order]]
    found = _running(weight[positive])
    # What is called present, and rightly, once every face of a positive's score is.
    level = -score[positive]
    ends = np.flatnonzero(np.append(level[1:] != level[:-1], True)) + 1 if len(level) else np.zeros(0, int)
    called = called[np.searchsorted(-score[order], level[ends - 1], "right")]
    found = found[np.append(0, ends)].astype(np.float64)
    total = (np.diff(found, axis=0) * found[1:] / np.maximum(called, 1e-12)).sum(0)
    return _given(_ratio(total, found[-1]), single)


def f1(truth: np.ndarray, predicted: np.ndarray, weight: np.ndarray | None = None) -> Any:
    """F1 of bool arrays [N]; NaN without a positive."""
    weight, single = _weights(weight, len(truth))
    hits, present, called = _sums(weight, truth & predicted, truth, predicted)
    return _given(np.where(present > 0, _ratio(2 * hits, present + called), np.nan), single)


def balanced_accuracy(truth: np.ndarray, predicted: np.ndarray, weight: np.ndarray | None = None) -> Any:
    """Mean of sensitivity and specificity of bool arrays [N]; .5 is chance. NaN with one class only."""
    weight, single = _weights(weight, len(truth))
    hits, rejected, present, absent = _sums(weight, truth & predicted, ~truth & ~predicted, truth, ~truth)
    return _given((_ratio(hits, present) + _ratio(rejected, absent)) / 2, single)


def brier(truth: np.ndarray, probability: np.ndarray, weight: np.ndarray | None = None) -> Any:
    """Mean squared error of a probability [N] of bool truth [N] (Brier, 1950); 0 is perfect."""
    weight, single = _weights(weight, len(truth))
    squares, total = _sums(weight, (np.asarray(probability, np.float64) - truth) ** 2, np.ones(len(truth)))
    return _given(_ratio(squares, total), single)


def ece(truth: np.ndarray, probability: np.ndarray, weight: np.ndarray | None = None, bins: int = BINS) -> Any:
    """Expected calibration error of a probability: mean distance between what is claimed and what is so.

    Over bins of equal mass (as Nixon et al., 2019), formed of all N faces once, whatever their weights. Bins of
    few faces differ by chance, so that an honest probability does not give 0 either.

    Args:
        truth: bool [N].
        probability: [N], 0..1.
        bins: how many; fewer where many faces share one value.
    """
    weight, single = _weights(weight, len(truth))
    claim = np.asarray(probability, np.float64) - truth
    where = equal_mass(probability, bins)
    gaps = _sums(weight, *(np.where(where == i, claim, 0.0) for i in range(bins)))
    return _given(_ratio(np.abs(gaps).sum(0), weight.sum(0, np.float64)), single)


def equal_mass(values: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Number of the bin, 0 to bins - 1, of each of [N] values; faces of one value share theirs."""
    below = np.searchsorted(np.sort(values), values, "left")
    return below * bins // max(len(values), 1)


def best_threshold(truth: np.ndarray, score: np.ndarray) -> float:
    """The threshold with the highest F1, half way to the next lower score; NaN with one class only.

    To be found on other faces than those it is judged on. Of several that are equally good the highest.

    Args:
        truth: bool [N].
        score: [N], no NaN; present is called what reaches the threshold.
    """
    if truth.all() or not truth.any():
        return float("nan")
    order = np.argsort(-score, kind="stable")
    values, hits = score[order].astype(np.float64), np.cumsum(truth[order])
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    quality = 2 * hits[ends] / (truth.sum() + ends + 1)
    best = int(np.argmax(quality))
    value = values[ends[best]]
    return float((value + values[ends[best] + 1]) / 2 if best + 1 < len(ends) else value)


# -- intensity -------------------------------------------------------------------------------


def icc31(truth: np.ndarray, predicted: np.ndarray, weight: np.ndarray | None = None) -> Any:
    """Consistency of two raters, ICC(3,1) of Shrout and Fleiss (1979), of values [N]; NaN where truth never varies."""
    weight, single = _weights(weight, len(truth))
    value = consistency(np.stack([truth, predicted], 1), weight)
    return _given(np.where(_varies(truth, weight), value, np.nan), single)


def consistency(ratings: np.ndarray, weight: np.ndarray | None = None) -> Any:
    """ICC(3,1) of Shrout and Fleiss (1979): how far K raters [N, K] agree but for a constant each.

    `(BMS - EMS) / (BMS + (K - 1) EMS)` with the mean squares between faces and of error. NaN for less than two
    faces, or ratings that never vary.
    """
    weight, single = _weights(weight, len(ratings))
    ratings = np.asarray(ratings, np.float64)
    raters = ratings.shape[1]
    if not len(ratings):
        return _given(np.full(weight.shape[1], np.nan), single)
    ratings = ratings - ratings.mean()  # keeps the sums of squares below from cancelling
    mean = ratings.mean(1)
    rest = ratings - mean[:, None]
    count, total, squares, error = _sums(weight, np.ones(len(mean)), mean, mean**2, (rest**2).sum(1))
    rater_sums = _sums(weight, *rest.T)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = raters * (squares - total**2 / count)
        error = error - (rater_sums**2).sum(0) / count
        # The degrees of freedom, N - 1 and (N - 1) (K - 1), leave K - 1.
        value = (between - error / (raters - 1)) / (between + error)
    return _given(np.where((between + error > _CONSTANT * count) & (count > 1), value, np.nan), single)


def pearson(truth: np.ndarray, predicted: np.ndarray, weight: np.ndarray | None = None) -> Any:
    """Correlation of values [N]; NaN where either never varies."""
    weight, single = _weights(weight, len(truth))
    a, b = (np.asarray(x, np.float64) - (np.mean(x) if len(x) else 0) for x in (truth, predicted))
    count, sum_a, sum_b, aa, bb, ab = _sums(weight, np.ones(len(a)), a, b, a * a, b * b, a * b)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = (ab - sum_a * sum_b / count) / np.sqrt((aa - sum_a**2 / count) * (bb - sum_b**2 / count))
    return _given(np.where(_varies(a, weight) & _varies(b, weight), np.clip(value, -1, 1), np.nan), single)


def mae(truth: np.ndarray, predicted: np.ndarray, weight: np.ndarray | None = None) -> Any:
    """Mean absolute error of values [N]."""
    weight, single = _weights(weight, len(truth))
    errors, total = _sums(weight, np.abs(np.asarray(truth, np.float64) - predicted), np.ones(len(truth)))
    return _given(_ratio(errors, total), single)


# -- calibration -----------------------------------------------------------------------------


def platt(logit: np.ndarray, truth: np.ndarray, prior: float | None = None,
          slopes: tuple[float, float] = (0.1, math.inf)) -> tuple[float, float]:
    """Slope and shift that make sigmoid(slope * logit + shift) a probability (Platt, 1999).

    Args:
        logit: [N] scores of held-out people, on any scale.
        truth: bool [N].
        prior: share of positives to calibrate for, the sample's own when None.
        slopes: least and largest slope. Where the best one lies outside, the shift is found anew, so that the mean
            chance is the wanted share all the same.

    Returns:
        Slope and shift, by Newton's method with Platt's smoothed targets; 1 and 0 where there is one class only.
    """
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return 1.0, 0.0
    target = np.where(truth, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    weight = np.ones(len(truth))
    if prior is not None:
        weight = np.where(truth, prior / positives, (1 - prior) / negatives) * len(truth)
    # Newton's steps suit scores of about this size.
    middle, spread = float(logit.mean()), max(float(logit.std()), 1e-6)
    scaled = (logit - middle) / spread
    slope, shift = 1.0, 0.0
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(slope * scaled + shift, -40, 40)))
        gradient = weight * (p - target)
        curve = weight * np.maximum(p * (1 - p), 1e-9)
        g = np.array([(gradient * scaled).sum(), gradient.sum()])
        h = np.array([[(curve * scaled**2).sum(), (curve * scaled).sum()], [(curve * scaled).sum(), curve.sum()]])
        step = np.linalg.solve(h + 1e-6 * np.eye(2), g)
        step *= min(1.0, 2.0 / max(np.abs(step).max(), 1e-9))
        slope, shift = slope - step[0], shift - step[1]
        if np.abs(step).max() < 1e-8:
            break
    best = float(slope / spread)
    held = float(np.clip(best, *slopes))
    if held == best:
        return best, float(shift - best * middle)
    share, most = (weight * target).sum(), 40 + held * float(np.abs(logit).max())
    return held, float(brentq(lambda s: (weight * expit(held * logit + s)).sum() - share, -most, most))


# -- weighted sums ---------------------------------------------------------------------------


def _weights(weight: np.ndarray | None, count: int) -> tuple[np.ndarray, bool]:
    """Weights [N, B], and whether one answer is wanted."""
    if weight is None:
        return np.ones((count, 1)), True
    return (weight[:, None], True) if weight.ndim == 1 else (weight, False)


def _sums(weight: np.ndarray, *values: np.ndarray) -> np.ndarray:
    """Weighted sums [K, B] of K arrays [N]; counts of bools are exact in single precision too."""
    kind = weight.dtype if all(v.dtype == bool for v in values) else np.float64
    return (np.stack(values).astype(kind) @ weight.astype(kind, copy=False)).astype(np.float64, copy=False)


def _running(weight: np.ndarray) -> np.ndarray:
    """Running sums [N + 1, B], from 0; exact for counts, in single precision up to 2**24."""
    sums = np.zeros((len(weight) + 1, weight.shape[1]), weight.dtype)
    np.cumsum(weight, axis=0, out=sums[1:])
    return sums


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The quotient, NaN where there is nothing to divide by."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)


def _varies(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Whether values [N] differ among those that count, [B]."""
    values = np.asarray(values, np.float64) - (np.mean(values) if len(values) else 0)
    count, total, squares = _sums(weight, np.ones(len(values)), values, values**2)
    return squares - _ratio(total**2, count) > _CONSTANT * np.maximum(count, 1)


def _given(values: np.ndarray, single: bool) -> Any:
    return float(values[0]) if single else values
