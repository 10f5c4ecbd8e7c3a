"""A table that rtau wrote, read back column by column: one timeline of frames, and the rows of each face.

It may be CSV, JSON lines or Parquet. The rows are read in blocks, so memory grows with what is kept (about 300 bytes
a row with all AUs, twice that while reading), not with the text. What is NaN in the table stays NaN.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..au import Label
from ..errors import InputError
from ..tables.files import RowReader, open_rows
from ..tables.layout import au_column, labels_in

#: Columns that every table has; those of the AUs come on top.
NEEDED = ("frame", "face_id", "timestamp", "success")
_BOX = ("box_x", "box_y", "box_w", "box_h")
#: A frame stands for the time until the next one, but for no longer than the first of these (seconds), or the second
#: times the usual step between frames where that is more. What is beyond was not recorded.
LONGEST, STEPS = 0.5, 5


@dataclass(frozen=True)
class FaceRows:
    """All rows of one face, N of them, in the order of time.

    Attributes:
        face: its `face_id`.
        at: int64 [N], place of each row's frame in `Table.times`.
        boxes: float32 [N, 4], left, top, width, height in pixels.
        confidence: float32 [N], 0..1 that it is a face.
        quality: float32 [N], 0..1; NaN where the table has no such column.
        level: float32 [N, C], intensity 0..5, or probability 0..1 where `Table.graded` is False; NaN where not
            assessable.
        present: int8 [N, C], 1 present, 0 absent, -1 not assessable.
    """

    face: int
    at: np.ndarray
    boxes: np.ndarray
    confidence: np.ndarray
    quality: np.ndarray
    level: np.ndarray
    present: np.ndarray

    def __len__(self) -> int:
        return len(self.at)


@dataclass(frozen=True)
class Table:
    """What a table holds, T frames.

    Attributes:
        path: the file.
        aus: AU numbers of the C columns, or names of attributes, in the table's order.
        frames: int64 [T], number of each frame in its source; every frame once.
        times: float64 [T], seconds, never falling.
        durations: float64 [T], seconds that each frame stands for; see `LONGEST`. All 1 for stills, which are
            counted, not timed.
        gaps: bool [T], whether recorded time ends with this frame, since the next one comes too late.
        inputs: file of each frame where the table has the column `input`, else ().
        faces: those seen, by when they first appear.
        still: whether all are of one time, as pictures are, or a single frame, so that time says nothing.
        graded: whether there are intensities; a network may tell presence alone.
        rated: whether there is a column `quality`.
        cut: whether the last line has no end; it is left out.
    """

    path: Path
    aus: tuple[Label, ...]
    frames: np.ndarray
    times: np.ndarray
    durations: np.ndarray
    gaps: np.ndarray
    inputs: tuple[str, ...]
    faces: tuple[FaceRows, ...]
    still: bool
    graded: bool
    rated: bool
    cut: bool

    @property
    def ends(self) -> np.ndarray:
        """Until when each frame stands, float64 [T], seconds."""
        return self.times + self.durations

    @property
    def recorded(self) -> float:
        """Seconds in the table, or how many pictures."""
        return float(self.durations.sum())


def read_table(path: str | Path) -> Table:
    """Read a table of `rtau process` or `rtau live`, with whichever AUs and column groups.

    A last line without its end, as a full disk or a killed program leaves it, is not trusted and left out.

    Raises:
        InputError: it can't be read, lacks columns, has no rows, or a line of it is damaged. UsageError: it is Parquet,
            and pyarrow isn't installed.
    """
    rows = open_rows(path)
    path = rows.path
    try:
        reader = _Reader(rows)
        blocks = list(reader.blocks())
    finally:
        rows.close()
    if not blocks:
        raise InputError(f"{path} has no {'complete ' if reader.cut else ''}rows: nothing to report")
    base, level, chance, present = ([block[i] for block in blocks] for i in range(4))
    del blocks
    return _Builder(path, reader).build(np.concatenate(base), _joined(level), _joined(chance), _joined(present))


class _Reader:
    """Reads blocks of rows: base float64 [n, 10], intensity and probability float32 [n, C], present int8 [n, C]."""

    def __init__(self, rows: RowReader) -> None:
        self._rows = rows
        self.inputs: list[str] = []
        names = rows.names
        # In the order of the columns; an AU has all that rtau writes of it.
        numbers = [int(name[2:4]) for name in names if re.fullmatch(r"AU\d\d_r", name) and f"{name[:4]}_c" in names]
        self.aus: tuple[Label, ...] = tuple(numbers) or tuple(au for au in labels_in(names) if isinstance(au, str))
        missing = [name for name in NEEDED if name not in names]
        missing += [] if self.aus else ["AU.._r", "AU.._c"]
        if missing:
            raise InputError(f"{rows.path} is no table that rtau wrote: it lacks the column{'s' * (len(missing) > 1)} "
                             f"{', '.join(missing)}")
        self.named = names[0] == "input"
        self.rated = "quality" in names
        self._wanted = [*NEEDED, "confidence", *_BOX, "quality",
                        *(au_column(au, kind) for kind in "rpc" for au in self.aus)]

    @property
    def cut(self) -> bool:
        return self._rows.cut

    def blocks(self) -> Iterator[tuple[np.ndarray, ...]]:
        count = len(self.aus)
        there = [name in self._rows.names for name in self._wanted]
        for values, inputs in self._rows.blocks(list(itertools.compress(self._wanted, there)), ["input"] * self.named):
            numbers = np.full((len(values), len(there)), np.nan)
            numbers[:, there] = values
            if self.named:
                self.inputs += inputs[0]
            level, chance, present = (numbers[:, 10 + i * count:10 + (i + 1) * count] for i in range(3))
            yield (numbers[:, :10].copy(), level.astype(np.float32), chance.astype(np.float32),
                   np.where(np.isnan(present), -1, present > 0.5).astype(np.int8))


class _Builder:
    """Sorts the rows into frames and faces."""

    def __init__(self, path: Path, reader: _Reader) -> None:
        self._path, self._reader = path, reader

    def build(self, base: np.ndarray, level: np.ndarray, chance: np.ndarray, present: np.ndarray) -> Table:
        reader = self._reader
        if not np.isfinite(base[:, :4]).all():
            line = int(np.flatnonzero(~np.isfinite(base[:, :4]).all(1))[0]) + 2
            raise InputError(f"line {line} of {self._path} is damaged: {', '.join(NEEDED)} must be numbers")
        frame, face, time = base[:, 0].astype(np.int64), base[:, 1].astype(np.int64), base[:, 2]
        back = np.flatnonzero(np.diff(time) < 0)
        if len(back):
            raise InputError(f"line {int(back[0]) + 3} of {self._path} goes back in time: is it several tables joined? "
                             "Report each of them")
        first = np.concatenate([[True], (np.diff(frame) != 0) | (np.diff(time) > 0)])
        if reader.named:
            first[1:] |= np.array([a != b for a, b in itertools.pairwise(reader.inputs[:len(first)])], bool)
        at = np.cumsum(first) - 1
        times = time[first]
        still = bool(times[0] == times[-1])
        durations, gaps = _durations(times, still)
        graded = bool(np.isfinite(level).any()) or not np.isfinite(chance).any()
        level = level if graded else chance
        del chance
        seen = (base[:, 3] > 0.5) & (face >= 0)
        return Table(self._path, reader.aus, frame[first], times, durations, gaps,
                     tuple(itertools.compress(reader.inputs, first.tolist())) if reader.named else (),
                     tuple(_face_rows(base, face, at, level, present, seen)), still, graded, reader.rated, reader.cut)


def _durations(times: np.ndarray, still: bool) -> tuple[np.ndarray, np.ndarray]:
    """Seconds each frame stands for, and whether a gap comes after it."""
    if still:
        return np.ones(len(times)), np.ones(len(times), bool)
    steps = np.diff(times)
    usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    longest = max(LONGEST, STEPS * usual)
    # How long the last frame was shown is not in the table.
    return np.append(np.minimum(steps, longest), usual), np.append(steps > longest, True)


def _face_rows(base: np.ndarray, face: np.ndarray, at: np.ndarray, level: np.ndarray, present: np.ndarray,
               seen: np.ndarray) -> Iterator[FaceRows]:
    order = np.argsort(np.where(seen, face, -1), kind="stable")[np.count_nonzero(~seen):]
    begins = np.flatnonzero(np.diff(face[order], prepend=-1)) if len(order) else []
    groups = np.split(order, begins[1:]) if len(order) else []
    for rows in sorted(groups, key=lambda rows: int(rows[0])):
        # An AU counts as judged where both the grade and the yes or no are there.
        judged = (present[rows] >= 0) & ~np.isnan(level[rows])
        yield FaceRows(int(face[rows[0]]), at[rows], base[rows, 5:9].astype(np.float32),
                       base[rows, 4].astype(np.float32), base[rows, 9].astype(np.float32),
                       np.where(judged, level[rows], np.float32(np.nan)), np.where(judged, present[rows], np.int8(-1)))


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """The blocks as one array; the list is emptied, so that both are not kept."""
    whole = np.concatenate(parts)
    parts.clear()
    return whole
