"""Figures of merit, per AU, and the calibration that makes scores honest."""

from __future__ import annotations

import numpy as np


def auc(truth: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve of bool truth [N] and scores [N]; NaN with one class only."""
    positive, negative = score[truth], score[~truth]
    if not len(positive) or not len(negative):
        return float("nan")
    order = np.argsort(np.concatenate([positive, negative]), kind="stable")
    values = np.concatenate([positive, negative])[order]
    ranks = np.empty(len(values))
    ranks[order] = np.arange(1, len(values) + 1)
    # Ties share their mean rank.
    _, first, count = np.unique(values, return_index=True, return_counts=True)
    shared = np.repeat(first + (count + 1) / 2, count)
    ranks[order] = shared
    wins = ranks[: len(positive)].sum() - len(positive) * (len(positive) + 1) / 2
    return float(wins / (len(positive) * len(negative)))


def f1(truth: np.ndarray, predicted: np.ndarray) -> float:
    """F1 of bool arrays [N]; NaN without a positive."""
    hits = float((truth & predicted).sum())
    total = float(truth.sum() + predicted.sum())
    return 2 * hits / total if truth.any() else float("nan")


def icc31(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Consistency of two raters, ICC(3,1) of Shrout and Fleiss (1979), of values [N]."""
    ratings = np.stack([truth, predicted], 1).astype(np.float64)
    n, k = ratings.shape
    if n < 2:
        return float("nan")
    between = k * ((ratings.mean(1) - ratings.mean()) ** 2).sum() / (n - 1)
    residual = ratings - ratings.mean(1, keepdims=True) - ratings.mean(0, keepdims=True) + ratings.mean()
    error = (residual**2).sum() / ((n - 1) * (k - 1))
    return float((between - error) / max(between + (k - 1) * error, 1e-12))


def platt(logit: np.ndarray, truth: np.ndarray, prior: float | None = None) -> tuple[float, float]:
    """Slope and shift that make sigmoid(slope * logit + shift) a probability (Platt, 1999).

    Args:
        logit: [N] scores of held-out people.
        truth: bool [N].
        prior: share of positives to calibrate for, the sample's own when None.

    Returns:
        Slope (at least 0.1) and shift, by Newton's method with Platt's smoothed targets.
    """
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return 1.0, 0.0
    target = np.where(truth, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    weight = np.ones(len(truth))
    if prior is not None:
        weight = np.where(truth, prior / positives, (1 - prior) / negatives) * len(truth)
    slope, shift = 1.0, 0.0
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(slope * logit + shift, -40, 40)))
        gradient = weight * (p - target)
        curve = weight * np.maximum(p * (1 - p), 1e-9)
        g = np.array([(gradient * logit).sum(), gradient.sum()])
        h = np.array([[(curve * logit**2).sum(), (curve * logit).sum()], [(curve * logit).sum(), curve.sum()]])
        step = np.linalg.solve(h + 1e-6 * np.eye(2), g)
        step *= min(1.0, 2.0 / max(np.abs(step).max(), 1e-9))
        slope, shift = slope - step[0], shift - step[1]
        if np.abs(step).max() < 1e-8:
            break
    return float(max(slope, 0.1)), float(shift)
