"""Resamples of people and of their faces: how far a figure depends on who happened to be there.

Faces of one person are alike, so that resampling faces alone would give intervals far too narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

#: Resamples in a batch: few enough to stay in the processor's cache.
_BATCH = 100
#: Least share of the resamples in which a figure must exist for an interval to be given.
_ENOUGH = 0.9

Tell = Callable[[int, int], None]


def clusters(subject: np.ndarray) -> np.ndarray:
    """Number of each face's person, int [N], from 0; a face of nobody known is a person of its own."""
    _, number = np.unique(subject, return_inverse=True)
    unknown = subject == ""
    number = number.reshape(-1) + 0
    number[unknown] = number.max(initial=0) + 1 + np.arange(unknown.sum())
    return np.unique(number, return_inverse=True)[1].reshape(-1)


def resamples(subject: np.ndarray, count: int, seed: int = 0, tell: Tell | None = None) -> Iterator[np.ndarray]:
    """How often each face is drawn: people first, with replacement, then as many of each one's faces as there are.

    A two-stage bootstrap (Davison and Hinkley, 1997, section 3.8); drawing at both stages errs on the side of
    wide intervals. Same subjects, count and seed, same draws.

    Args:
        subject: str [N].
        count: resamples in all.
        tell: is told how many are done of how many.

    Yields:
        float32 [N, B] for a batch of B resamples.
    """
    person = clusters(subject)
    order = np.argsort(person, kind="stable")
    size = np.bincount(person)
    start = np.cumsum(size) - size
    rng = np.random.default_rng(seed)
    for first in range(0, count, _BATCH):
        if tell:
            tell(first, count)
        weight = np.empty((min(_BATCH, count - first), len(person)), np.float32)
        for row in weight:
            drawn = rng.integers(len(size), size=len(size))
            sizes = np.repeat(size[drawn], size[drawn])
            places = np.repeat(start[drawn], size[drawn]) + (rng.random(len(sizes)) * sizes).astype(np.int64)
            row[:] = np.bincount(order[places], minlength=len(person))
        yield np.ascontiguousarray(weight.T)
    if tell:
        tell(count, count)


def interval(values: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval of resampled values [..., B]: low and high; NaN where too few of them exist."""
    if not values.shape[-1]:
        empty = np.full(values.shape[:-1], np.nan)
        return empty, empty
    enough = np.isfinite(values).mean(-1) >= _ENOUGH
    tail = 50 * (1 - level)
    low, high = np.nanpercentile(np.where(enough[..., None], values, 0.0), (tail, 100 - tail), axis=-1)
    return np.where(enough, low, np.nan), np.where(enough, high, np.nan)


def two_sided(differences: np.ndarray) -> np.ndarray:
    """Chance of a difference that far from 0, of resampled differences [..., B]: NaN where too few exist.

    Twice the share of resamples on the rarer side of 0, ties on both, one added to count and total; the smallest
    level whose percentile interval leaves 0 out.
    """
    exists = np.isfinite(differences)
    count = exists.sum(-1)
    rarer = np.minimum(((differences <= 0) & exists).sum(-1), ((differences >= 0) & exists).sum(-1))
    p = np.minimum(2 * (rarer + 1) / (count + 1), 1.0)
    return np.where((count > 0) & (count >= _ENOUGH * differences.shape[-1]), p, np.nan)
