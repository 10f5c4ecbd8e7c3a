"""What a table says of Action Units, in memory, whichever tool or person it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..au import Label
from ..boxes import box_of_points
from ..errors import InputError
from .layout import POINTS, au_column
from .reading import ORIGINS, TableFile

_BOX = ("box_x", "box_y", "box_w", "box_h")
#: Faces whose boxes are made of points at once.
_POINT_ROWS = 20_000


@dataclass(frozen=True)
class Coding:
    """N judgements of faces at M moments, by the number of the frame and then the face.

    Attributes:
        path: the table.
        origin: whose it is, as people call it.
        rows: how many rows the table has, those without a face too.
        frames: int64 [M], number of each moment's frame; made up from the times where `numbered` is False.
        times: float64 [M], seconds; NaN where not told.
        numbered, timed: whether frames can be told by number, and by time.
        at: int64 [N], the moment of each judgement.
        faces: int64 [N].
        boxes: float32 [N, 4], left, top, right, bottom in pixels; NaN where not told.
        aus: C numbers of AUs, or names of attributes.
        intensity, yes, chance: float32 [N, C]: 0..5, 0 or 1, 0..1; NaN where not told or not assessable.
        cut: whether the table's last line had no end.
    """

    path: Path
    origin: str
    rows: int
    frames: np.ndarray
    times: np.ndarray
    numbered: bool
    timed: bool
    at: np.ndarray
    faces: np.ndarray
    boxes: np.ndarray
    aus: tuple[Label, ...]
    intensity: np.ndarray
    yes: np.ndarray
    chance: np.ndarray
    cut: bool

    @property
    def boxed(self) -> bool:
        """Whether it says where faces are."""
        return bool(np.isfinite(self.boxes).any())

    @property
    def step(self) -> float:
        """Seconds from one moment to the next, usually; infinite where there is no next."""
        steps = np.diff(np.sort(self.times)) if self.timed else np.zeros(0)
        steps = steps[steps > 0]
        return float(np.median(steps)) if len(steps) else float("inf")


def read_coding(path: str | Path, origin: str = "auto", face: int | None = None) -> Coding:
    """Read a table.

    Args:
        path: the table.
        origin: whose it is, one of `ORIGINS`, or "auto".
        face: keep this one's judgements alone.

    Raises:
        InputError: it can't be read, has no rows, or none of that face.
    """
    with TableFile(path, origin) as table:
        aus = table.aus
        judged = [au_column(au, kind) for kind in "rcp" for au in aus]
        points = not set(_BOX) <= set(table.names) and set(POINTS) <= set(table.names)
        base, boxes, scores = [], [], []
        for block in table.blocks([*judged, *(POINTS if points else _BOX)]):
            base.append(block.values[:, :5])
            scores.append(_columns(block.values, table.names, judged).astype(np.float32))
            boxes.append(_boxes(block.values, table.names, points))
    if not base:
        raise InputError(f"{table.path} has no {'complete ' if table.cut else ''}rows: nothing to compare")
    whole, score, box = np.concatenate(base), np.concatenate(scores), np.concatenate(boxes)
    frames, first, at = np.unique(whole[:, 0].astype(np.int64), return_index=True, return_inverse=True)
    times = whole[first, 2]
    seen = whole[:, 4] > 0.5
    if face is not None:
        seen &= whole[:, 1] == face
        if not seen.any():
            ids = sorted({int(i) for i in whole[whole[:, 4] > 0.5, 1]})
            raise InputError(f"{table.path} has no face {face}: it has {', '.join(map(str, ids[:10])) or 'none'}")
    keep = np.flatnonzero(seen)
    keep = keep[np.lexsort((whole[keep, 1], at[keep]))]
    count = len(aus)
    intensity, yes, chance = (score[keep, i * count:(i + 1) * count] for i in range(3))
    timed = table.exact and bool(np.isfinite(times).all()) and (len(times) == 1 or times.min() < times.max())
    return Coding(table.path, ORIGINS[table.origin], len(whole), frames, times, table.has_frames, timed, at[keep],
                  whole[keep, 1].astype(np.int64), box[keep], aus, intensity, yes, chance, table.cut)


def _columns(values: np.ndarray, names: list[str], wanted: list[str]) -> np.ndarray:
    place = {name: i for i, name in enumerate(names)}
    found = np.full((len(values), len(wanted)), np.nan)
    for i, name in enumerate(wanted):
        if name in place:
            found[:, i] = values[:, place[name]]
    return found


def _boxes(values: np.ndarray, names: list[str], points: bool) -> np.ndarray:
    if not points:
        box = _columns(values, names, list(_BOX))
        return np.concatenate([box[:, :2], box[:, :2] + box[:, 2:]], 1).astype(np.float32)
    at = _columns(values, names, list(POINTS)).reshape(len(values), 2, 68).transpose(0, 2, 1)
    boxes = np.full((len(at), 4), np.nan, np.float32)
    there = np.flatnonzero(np.isfinite(at).all((1, 2)))
    for part in np.array_split(there, len(there) // _POINT_ROWS + 1):
        if len(part):
            boxes[part] = box_of_points(at[part])
    return boxes
