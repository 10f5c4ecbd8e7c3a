"""Which moments and faces of two tables are the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..boxes import iou
from ..errors import InputError, UsageError
from .coding import Coding

WAYS = ("auto", "frame", "time")
#: Two boxes of which this is in common, measured by what they cover together, hold the same face: tools draw their
#: boxes differently, and other faces hardly overlap.
OVERLAP = 0.2


@dataclass(frozen=True)
class Pairs:
    """Moments and judgements that belong together.

    Attributes:
        way: "frame" or "time".
        moments: int64 [P, 2], of A and of B.
        judgements: int64 [Q, 2], of A and of B.
        boxed: whether faces were matched by their boxes; otherwise by the order of their ids.
    """

    way: str
    moments: np.ndarray
    judgements: np.ndarray
    boxed: bool


def match(a: Coding, b: Coding, way: str = "auto", shift: int = 0) -> Pairs:
    """Pair what is the same in both.

    Args:
        way: "frame" matches equal numbers; "time" the nearest within half a frame; "auto" takes numbers, unless the
            time stamps contradict them.
        shift: is added to the frame numbers of B.

    Raises:
        UsageError: the way is unknown. InputError: a table lacks what it needs, or no moment is in both.
    """
    if way not in WAYS:
        raise UsageError(f"unknown way {way!r}: choose from {', '.join(WAYS)}")
    numbers, times = a.numbered and b.numbered, a.timed and b.timed
    if not {"auto": numbers or times, "frame": numbers, "time": times}[way]:
        lacking = " and ".join(f"{one.path} has {'only frame numbers' if one.numbered else 'only times'}"
                               for one in (a, b) if not (one.timed if way == "time" else one.numbered))
        raise InputError(f"the frames can't be matched{f' by {way}' * (way != 'auto')}: {lacking}")
    if way == "auto":
        way, moments = _best(a, b, shift, numbers, times)
    else:
        moments = _by_number(a, b, shift) if way == "frame" else _by_time(a, b)
    if not len(moments):
        raise InputError(f"{a.path} and {b.path} have no frame in common, by {way}: are they of the same video?")
    boxed = a.boxed and b.boxed
    return Pairs(way, moments, _faces(a, b, moments, boxed), boxed)


def _best(a: Coding, b: Coding, shift: int, numbers: bool, times: bool) -> tuple[str, np.ndarray]:
    by_number = _by_number(a, b, shift) if numbers else np.zeros((0, 2), np.int64)
    if not times:
        return "frame", by_number
    if not numbers:
        return "time", _by_time(a, b)
    apart = np.abs(a.times[by_number[:, 0]] - b.times[by_number[:, 1]])
    # The same number at another time: one of the tables counts from 1, or is of a video that was cut.
    if len(apart) and (shift or np.median(apart) <= _reach(a, b)):
        return "frame", by_number
    by_time = _by_time(a, b)
    return ("time", by_time) if len(by_time) else ("frame", by_number)


def _reach(a: Coding, b: Coding) -> float:
    """Half a frame of the finer table, and what rounding to milliseconds may add."""
    step = min(a.step, b.step)
    return (step / 2 if np.isfinite(step) else 0.0) + 1e-3


def _by_number(a: Coding, b: Coding, shift: int) -> np.ndarray:
    _, left, right = np.intersect1d(a.frames, b.frames + shift, assume_unique=True, return_indices=True)
    return np.stack([left, right], 1)


def _by_time(a: Coding, b: Coding) -> np.ndarray:
    """Moments that are each other's nearest."""
    left, right = _nearest(a.times, b.times), _nearest(b.times, a.times)
    mine = np.arange(len(a.times))
    good = (right[left] == mine) & (np.abs(a.times - b.times[left]) <= _reach(a, b))
    return np.stack([mine[good], left[good]], 1)


def _nearest(times: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each time the place of the nearest among the others."""
    order = np.argsort(others, kind="stable")
    ranked = others[order]
    after = np.clip(np.searchsorted(ranked, times), 0, len(ranked) - 1)
    before = np.maximum(after - 1, 0)
    return order[np.where(np.abs(ranked[before] - times) <= np.abs(ranked[after] - times), before, after)]


def _faces(a: Coding, b: Coding, moments: np.ndarray, boxed: bool) -> np.ndarray:
    begin_a, end_a = (np.searchsorted(a.at, moments[:, 0], side) for side in ("left", "right"))
    begin_b, end_b = (np.searchsorted(b.at, moments[:, 1], side) for side in ("left", "right"))
    single = (end_a - begin_a == 1) & (end_b - begin_b == 1)
    alone = np.stack([begin_a[single], begin_b[single]], 1)
    if boxed:
        boxes_a, boxes_b = a.boxes[alone[:, 0]], b.boxes[alone[:, 1]]
        known = np.isfinite(boxes_a).all(1) & np.isfinite(boxes_b).all(1)
        alone = alone[~known | (_overlap(boxes_a, boxes_b) >= OVERLAP)]
    several = ~single & (end_a > begin_a) & (end_b > begin_b)
    pairs = [alone]
    for i in np.flatnonzero(several):
        rows_a, rows_b = np.arange(begin_a[i], end_a[i]), np.arange(begin_b[i], end_b[i])
        pairs.append(_crowd(a.boxes[rows_a], b.boxes[rows_b], rows_a, rows_b, boxed))
    whole = np.concatenate(pairs)
    return whole[np.argsort(whole[:, 0], kind="stable")]


def _crowd(boxes_a: np.ndarray, boxes_b: np.ndarray, rows_a: np.ndarray, rows_b: np.ndarray, boxed: bool) -> np.ndarray:
    """Pairs among the faces of one moment, the best overlap first."""
    if not (boxed and np.isfinite(boxes_a).all() and np.isfinite(boxes_b).all()):
        count = min(len(rows_a), len(rows_b))
        return np.stack([rows_a[:count], rows_b[:count]], 1)
    overlap = iou(boxes_a, boxes_b)
    found = []
    for flat in np.argsort(-overlap, axis=None, kind="stable"):
        i, j = np.unravel_index(flat, overlap.shape)
        if overlap[i, j] < OVERLAP:
            break
        found.append((rows_a[i], rows_b[j]))
        overlap[i], overlap[:, j] = -1, -1
    return np.array(found, np.int64).reshape(-1, 2)


def _overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """What boxes [n, 4] have in common, pair by pair: [n], 0..1; NaN for unknown ones."""
    size = np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0)
    common = size.prod(1)
    both = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - common
    return common / np.maximum(both, 1e-9)
