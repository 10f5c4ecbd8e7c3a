"""A table of rtau, OpenFace, py-feat, LibreFace or a human coder, read as rtau's own columns, block by block."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..au import Label
from ..errors import InputError, UsageError
from .files import RowReader, open_rows
from .layout import AU_COLUMN, POINTS, TOOLS, Column, Layout, au_columns, labels_in, layout_like

#: What a table may come from, and what people call it. "coded" has AU columns and a frame or time, and little else.
ORIGINS = {"rtau": "rtau", **TOOLS, "coded": "a coder"}

#: Columns without which a table is not what it is taken for.
_NEEDED = {"rtau": ("frame", "face_id", "timestamp", "success"), "openface": ("frame", "timestamp", "success"),
           "feat": ("frame",), "libreface": ("frame_idx",), "coded": ()}
_AU_NAMES = {"rtau": AU_COLUMN, "coded": AU_COLUMN, "openface": re.compile(r"AU\d\d_[rc]"), "feat": re.compile(r"AU\d\d"),
             "libreface": re.compile(r"au_\d+(_intensity)?")}
#: rtau's columns that every table is given.
_ALWAYS = ("frame", "face_id", "timestamp", "confidence", "success")
#: Angles that are not read: versions of these tools disagree in their unit and sign.
_ANGLES = ("pose_Rx", "pose_Ry", "pose_Rz")


@dataclass(frozen=True)
class Rows:
    """Some rows of a table.

    Attributes:
        values: float64 [n, K] in the order of `TableFile.names`; NaN where nothing is told.
        inputs: the file of each row, or () where the table doesn't tell.
    """

    values: np.ndarray
    inputs: list[str]


class TableFile:
    """A table, open.

    Args:
        path: CSV, JSON lines or Parquet.
        origin: one of `ORIGINS`, or "auto": told from the columns.

    Attributes:
        path: the file.
        origin: whose layout it has.
        names: rtau's columns that it holds; the first five are frame, face_id, timestamp, confidence and success.
        aus: AU numbers that it tells anything of; then attributes.
        left: columns that have no place among rtau's.
        exact: whether its time stamps are more than whole seconds.
        has_frames, has_times, has_inputs: whether frames are numbered, have time stamps, and name their file.

    Raises:
        UsageError: the origin is unknown. InputError: it can't be read, or lacks columns.
    """

    def __init__(self, path: str | Path, origin: str = "auto") -> None:
        if origin not in ("auto", *ORIGINS):
            raise UsageError(f"unknown origin {origin!r}: choose from auto, {', '.join(ORIGINS)}")
        self._rows: RowReader = open_rows(path)
        self.path = self._rows.path
        try:
            self.origin = _guess(self._rows.names) if origin == "auto" else origin
            self._check()
            self._columns = {column.source: column for column in self._told()}
        except BaseException:
            self._rows.close()
            raise
        there = set(self._rows.names)
        self.has_frames = "frame" in self._columns
        self.has_times = "timestamp" in self._columns
        self.has_inputs = "input" in self._columns
        self.exact = self.has_times and self._columns["timestamp"].form != "clock"
        self.names = [*_ALWAYS, *(name for name in self._columns if name not in (*_ALWAYS, "input"))]
        self.aus = labels_in(self.names, self._attribute_kinds)
        used = {column.name for column in self._columns.values()}
        # py-feat's whole seconds are told by its time stamps, where these are there.
        self.left = [name for name in self._rows.names if name in there - used - {"approx_time"}]
        self._seen = _Counter()

    def __enter__(self) -> TableFile:
        return self

    def __exit__(self, *exc: object) -> None:
        self._rows.close()

    @property
    def cut(self) -> bool:
        """Whether the last line had no end and was left out; known when all is read."""
        return self._rows.cut

    @property
    def kinds(self) -> str:
        """Which of intensity "r", yes or no "c" and probability "p" it tells."""
        return "".join(kind for kind in "rcp" if set(au_columns(self.aus, kind)) & set(self.names))

    def blocks(self, names: list[str] | None = None) -> Iterator[Rows]:
        """All rows, once.

        Args:
            names: those of `self.names` that are wanted, beside the first five, which always come; all by default.

        Raises:
            InputError: a row is damaged.
        """
        if names is not None:
            self.names = [*_ALWAYS, *(name for name in self.names if name in names and name not in _ALWAYS)]
        wanted = [self._columns[name] for name in self.names if name in self._columns]
        numbers = [column for column in wanted if not column.text]
        words = [column for column in (*wanted, *filter(None, [self._columns.get("input")])) if column.text]
        place = {name: i for i, name in enumerate(self.names)}
        unscale = None
        for values, texts in self._rows.blocks([c.name for c in numbers], [c.name for c in words]):
            rows = np.full((len(values), len(self.names)), np.nan)
            for i, column in enumerate(numbers):
                rows[:, place[column.source]] = (values[:, i] - column.add) / column.factor
            for column, text in zip(words, texts, strict=True):
                if column.source != "input":
                    rows[:, place[column.source]] = [_UNTEXT[column.form](word) for word in text]
            rows[~np.isfinite(rows)] = np.nan
            if self.origin == "libreface" and self.has_times and unscale is None:
                unscale = _seconds_unit(rows[:, 0], rows[:, 2])
            if unscale:
                rows[:, 2] *= unscale
            self._complete(rows)
            yield Rows(rows, texts[-1] if words and words[-1].source == "input" else [])

    def _check(self) -> None:
        names = self._rows.names
        missing = [name for name in _NEEDED[self.origin] if name not in names]
        if not any(_AU_NAMES[self.origin].fullmatch(name) for name in names) and not self._attributes(names):
            missing += {"feat": ["AU01, AU02 .."], "libreface": ["au_1 or au_1_intensity .."],
                        "openface": ["AU.._r or AU.._c"]}.get(self.origin, ["AU.._r, AU.._c or AU.._p"])
        if self.origin == "coded" and not {"frame", "timestamp"} & set(names):
            missing.insert(0, "frame or timestamp")
        if missing:
            what = "Action Units" if self.origin == "coded" else ORIGINS[self.origin]
            raise InputError(f"{self.path} is no table of {what}: it lacks the column{'s' * (len(missing) > 1)} "
                             f"{', '.join(missing)}")

    def _told(self) -> list[Column]:
        """The columns of the file that tell one of rtau's."""
        there = self._rows.names
        if self.origin in TOOLS:
            layout = layout_like(self.origin, with_input=True)
            found = [column for column in layout.columns if column.name in there and column.source]
            if self.origin != "openface":
                found = [column for column in found if column.source not in _ANGLES]
            # A tool's further AUs, of other versions than the layout's.
            found += _more_aus(self.origin, there, layout)
            return found
        told = [column for kind in "cp" for column in au_columns(self._attributes(there), kind)]
        own = {*_OWN, *told, *(f"{name}_raw" for name in told)}
        return [Column(name, "file" if name == "input" else "%.6f", name) for name in there
                if name in own or AU_COLUMN.fullmatch(name) or re.fullmatch(r"AU\d\d_[rp]_raw", name)]

    @property
    def _attribute_kinds(self) -> str:
        """What an attribute has columns of: coders write no probabilities."""
        return "c" if self.origin == "coded" else "cp"

    def _attributes(self, names: list[str]) -> list[Label]:
        """Those among columns; other tools than rtau and a coder have none."""
        if self.origin not in ("rtau", "coded"):
            return []
        return [label for label in labels_in(names, self._attribute_kinds) if isinstance(label, str)]

    def _complete(self, rows: np.ndarray) -> None:
        """Fill in what the tool does not tell, in place: the first five columns never lack but time and confidence."""
        frame, face, time, confidence, success = range(5)
        told = self._columns
        others = slice(5, None)
        if "success" not in told:
            empty = np.isnan(rows[:, others]).all(1)
            rows[:, success] = ~empty if self.origin != "coded" else 1
        rows[:, success] = np.where(rows[:, success] > 0.5, 1, 0)
        lost = rows[:, success] == 0
        if "frame" not in told:
            rows[:, frame] = self._seen.moments(rows[:, time])
        bad = np.flatnonzero(np.isnan(rows[:, frame]))
        if len(bad):
            raise InputError(f"{self.path} has a row without a frame number: is it damaged?")
        unnamed = np.isnan(rows[:, face])
        if unnamed.any():
            rows[unnamed, face] = self._seen.order(rows[:, frame])[unnamed]
        rows[lost, face] = -1
        # Where a tool lost the face, what it writes on means nothing: OpenFace has zeros and guesses there.
        rows[lost, others] = np.nan
        if "confidence" in told:
            rows[lost & np.isnan(rows[:, confidence]), confidence] = 0


def open_table_file(path: str | Path, origin: str = "auto") -> TableFile:
    """`TableFile`, to be used in a `with` statement."""
    return TableFile(path, origin)


_OWN = frozenset(("input", *_ALWAYS, "box_x", "box_y", "box_w", "box_h", *_ANGLES, *POINTS, "quality"))


def _guess(names: list[str]) -> str:
    """Whose layout the columns are."""
    there = set(names)
    if there & {"FaceRectX", "FaceScore"} or any(re.fullmatch(r"AU\d\d", name) for name in names):
        return "feat"
    if "frame_idx" in there or any(re.fullmatch(r"au_\d+(_intensity)?", name) for name in names):
        return "libreface"
    if "box_x" in there or any(re.fullmatch(r"AU\d\d_p", name) for name in names):
        return "rtau"
    if {"confidence", "success"} <= there:
        return "openface"
    return "coded"


def _more_aus(origin: str, there: list[str], layout: Layout) -> list[Column]:
    known = {column.name for column in layout.columns}
    pattern, kind = {"openface": (r"AU(\d\d)_([rc])", None), "feat": (r"AU(\d\d)", "p"),
                     "libreface": (r"au_(\d+)(_intensity)?", None)}[origin]
    found = []
    for name in there:
        match = re.fullmatch(pattern, name)
        if match and name not in known:
            which = kind or (match[2] if origin == "openface" else "r" if match[2] else "c")
            found.append(Column(name, "%.4f", f"AU{int(match[1]):02d}_{which}"))
    return found


def _seconds_unit(frames: np.ndarray, times: np.ndarray) -> float | None:
    """By what LibreFace's times, read as milliseconds, must be multiplied to be seconds: some of its versions write
    seconds into frame_time_in_ms. None where a block is too short to tell."""
    steps, numbers = np.diff(times), np.diff(frames)
    steps = steps[numbers > 0] / numbers[numbers > 0]
    if not len(steps) or not np.nanmax(steps, initial=0) > 0:
        return None
    # No camera takes a thousand frames per second.
    return 1000.0 if np.nanmedian(steps) < 1e-3 else 1.0


class _Counter:
    """Counts along a table: places of rows within their frame, and moments."""

    def __init__(self) -> None:
        self._frame, self._place = math.nan, 0
        self._time, self._moment = math.nan, -1

    def order(self, frames: np.ndarray) -> np.ndarray:
        """0, 1, .. within each run of one frame number."""
        places = np.empty(len(frames))
        for i, frame in enumerate(frames.tolist()):
            self._place = self._place + 1 if frame == self._frame else 0
            self._frame = frame
            places[i] = self._place
        return places

    def moments(self, times: np.ndarray) -> np.ndarray:
        """0, 1, .. for each new time."""
        numbers = np.empty(len(times))
        for i, time in enumerate(times.tolist()):
            self._moment += time != self._time
            self._time = time
            numbers[i] = self._moment
        return numbers


def _identity(text: str) -> float:
    found = re.fullmatch(r"\D*(\d+)(\.0*)?", text.strip())
    return float(found[1]) if found else math.nan


def _time(text: str) -> float:
    """Seconds of "minutes:seconds", or "hours:minutes:seconds"."""
    try:
        parts = [float(part) for part in text.split(":")]
    except ValueError:
        return math.nan
    return sum(part * 60**i for i, part in enumerate(reversed(parts)))


#: The inverse of `layout.TEXTS`.
_UNTEXT: dict[str, Callable[[str], float]] = {"person": _identity, "clock": _time}
