"""A table that rtau wrote, read back column by column: one timeline of frames, and the rows of each face.

The lines are read in blocks, so memory grows with what is kept (about 300 bytes a row with all AUs, twice that while
reading), not with the text. What is NaN in the table stays NaN.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from ..errors import InputError

#: Columns that every table has; those of the AUs come on top.
NEEDED = ("frame", "face_id", "timestamp", "success")
_BOX = ("box_x", "box_y", "box_w", "box_h")
#: Lines that are turned into numbers at once.
_BLOCK = 10_000
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
        aus: AU numbers of the C columns, in the table's order.
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
    aus: tuple[int, ...]
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
        InputError: it can't be read, lacks columns, has no rows, or a line of it is damaged.
    """
    path = Path(path)
    try:
        # No translation of line ends: a carriage return may be a part of a quoted file name.
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            reader = _Reader(path, file)
            blocks = list(reader.blocks())
    except FileNotFoundError:
        raise InputError(f"there is no table {path}: check the name and the folder") from None
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror or error}") from None
    if not blocks:
        raise InputError(f"{path} has no {'complete ' if reader.cut else ''}rows: nothing to report")
    base, level, chance, present = ([block[i] for block in blocks] for i in range(4))
    del blocks
    return _Builder(path, reader).build(np.concatenate(base), _joined(level), _joined(chance), _joined(present))


class _Reader:
    """Reads blocks of rows: base float64 [n, 10], intensity and probability float32 [n, C], present int8 [n, C]."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self.path, self._file = path, file
        self.cut = False
        self.inputs: list[str] = []
        head = file.readline(1 << 20)
        if not head.strip():
            raise InputError(f"{path} is empty: nothing to report")
        # Spaces after the commas, as some programs put them, do no harm.
        self.names = [name.strip() for name in next(csv.reader([head]))]
        self.aus = tuple(int(name[2:4]) for name in self.names
                         if re.fullmatch(r"AU\d\d_r", name) and f"{name[:4]}_c" in self.names)
        missing = [name for name in NEEDED if name not in self.names]
        missing += [] if self.aus else ["AU.._r", "AU.._c"]
        if missing:
            raise InputError(f"{path} is no table that rtau wrote: it lacks the column{'s' * (len(missing) > 1)} "
                             f"{', '.join(missing)}")
        self.named = self.names[0] == "input"
        wanted = [*NEEDED, "confidence", *_BOX, "quality",
                  *(f"AU{au:02d}_{kind}" for kind in "rpc" for au in self.aus)]
        # What is not there is read as the first column and then made NaN.
        places = [self.names.index(name) if name in self.names else -1 for name in wanted]
        self._absent = [i for i, place in enumerate(places) if place < 0]
        self._places = [max(place, self.named) - self.named for place in places]

    @property
    def rated(self) -> bool:
        return "quality" in self.names

    def blocks(self) -> Iterator[tuple[np.ndarray, ...]]:
        count = len(self.aus)
        rows, line = self._rows(), 2
        while block := list(itertools.islice(rows, _BLOCK)):
            numbers = self._numbers(block, line)
            line += len(block)
            numbers[:, self._absent] = np.nan
            level, chance, present = (numbers[:, 10 + i * count:10 + (i + 1) * count] for i in range(3))
            yield (numbers[:, :10].copy(), level.astype(np.float32), chance.astype(np.float32),
                   np.where(np.isnan(present), -1, present > 0.5).astype(np.int8))

    def _rows(self) -> Iterator[str]:
        """Lines of numbers; a first column `input` goes to `inputs`."""
        if not self.named:
            for line in self._lines():
                if line.strip():
                    yield line
            return
        for row in csv.reader(self._lines()):
            if row:
                self.inputs.append(row[0])
                yield ",".join(row[1:])

    def _lines(self) -> Iterator[str]:
        before = None
        for line in self._file:
            if before is not None:
                yield before
            before = line
        if before is not None:
            self.cut = not before.endswith("\n")
            if not self.cut:
                yield before

    def _numbers(self, lines: list[str], first: int) -> np.ndarray:
        """float64 [n, fields wanted]."""
        commas = len(self.names) - 1 - self.named
        try:
            for line, text in enumerate(lines, first):
                if text.count(",") != commas:
                    fields = text.count(",") + 1 + self.named
                    raise InputError(f"line {line} of {self.path} is damaged: it has {fields} fields, the first line "
                                     f"names {len(self.names)}")
            return np.loadtxt(lines, delimiter=",", comments=None, usecols=self._places, ndmin=2)
        except ValueError:
            for line, text in enumerate(lines, first):
                for name, field in zip(self.names[self.named:], text.split(","), strict=True):
                    try:
                        float(field)
                    except ValueError:
                        raise InputError(f"line {line} of {self.path} is damaged: {name} is {field.strip()[:20]!r}, "
                                         "no number") from None
            raise InputError(f"{self.path} is damaged between lines {first} and {first + len(lines)}") from None


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
