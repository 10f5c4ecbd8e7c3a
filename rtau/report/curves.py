"""The curves of a face at a size that a page can hold: every frame, or the least and greatest of each bin of time.

So a peak of a single frame is kept however long the recording is.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np

from .events import joined_rows
from .table import FaceRows, Table

#: Values are kept in thousandths, as the table has them; the last number stands for NaN.
SCALE, NONE = 1000, 65535
#: Points of all curves together: frames, or twice the bins. With 22 AUs a point takes about 60 bytes of the page.
POINTS = 24_000
#: Bins that even a face that is hardly seen gets.
_LEAST = 400


@dataclass(frozen=True)
class Curves:
    """P points of C AUs and, as the last row, of how good the picture is.

    Attributes:
        times: float64 [P], seconds; of a bin its middle.
        low, high: uint16 [C + 1, P], in thousandths; `NONE` where nothing could be judged. The same array where
            every frame is a point.
        breaks: int64 [B], points that do not follow the point before.
        bin: seconds of a bin; 0 where every frame is a point.
    """

    times: np.ndarray
    low: np.ndarray
    high: np.ndarray
    breaks: np.ndarray
    bin: float


def draw_curves(table: Table, face: FaceRows, bins: int | None) -> Curves:
    """The curves of one face.

    Args:
        table: the face's table.
        face: one of `table.faces`.
        bins: into how many bins to sort the frames at most; None to keep every frame.
    """
    times, joined = table.times[face.at], joined_rows(table, face)
    values = np.concatenate([face.level, (face.quality if table.rated else face.confidence)[:, None]], 1)
    if bins is None or len(face) <= 2 * bins:
        kept = _thousandths(values.T)
        return Curves(times, kept, kept, np.flatnonzero(~joined), 0.0)
    width = (times[-1] - times[0]) / bins or 1.0
    place = np.minimum(((times - times[0]) / width).astype(np.int64), bins - 1)
    begins = np.flatnonzero(np.diff(place, prepend=-1))
    none = np.isnan(values)
    low = np.minimum.reduceat(np.where(none, np.inf, values), begins, axis=0)
    high = np.maximum.reduceat(np.where(none, -np.inf, values), begins, axis=0)
    full = place[begins]
    return Curves(times[0] + (full + 0.5) * width, _thousandths(low.T), _thousandths(high.T),
                  np.flatnonzero(np.diff(full, prepend=-2) > 1), float(width))


def share_bins(rows: list[int]) -> list[int | None]:
    """How many bins each of some faces gets by how many rows they have; None where all rows fit."""
    total = sum(rows)
    if total <= POINTS:
        return [None] * len(rows)
    return [max(_LEAST, POINTS // 2 * count // total) for count in rows]


def pack(array: np.ndarray) -> str:
    """Numbers for the page: little-endian, base64."""
    return base64.b64encode(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<")))).decode()


def _thousandths(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    return np.where(known, np.clip(np.rint(np.where(known, values, 0) * SCALE), 0, NONE - 1), NONE).astype(np.uint16)
