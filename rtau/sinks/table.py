"""Scores as a CSV table: one row per face per frame, on disk as soon as the frame is done."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..types import Frame, Scores, Status
from .paths import close_output, open_output, output_error

#: Groups of columns that are written when asked for, and what they hold.
COLUMN_GROUPS: dict[str, str] = {
    "landmarks": "x_0..x_67, y_0..y_67: the 68 points in pixels",
    "raw": "AU01_r_raw.., AU01_p_raw..: intensity and probability before smoothing",
    "quality": "quality: how good the picture of the face is, 0..1",
}

_BASE = ("frame", "face_id", "timestamp", "confidence", "success", "box_x", "box_y", "box_w", "box_h",
         "pose_Rx", "pose_Ry", "pose_Rz")
_BASE_FORMAT = ("%d", "%d", "%.6f", "%.3f", "%d", "%.2f", "%.2f", "%.2f", "%.2f", "%.4f", "%.4f", "%.4f")


def check_columns(columns: Iterable[str]) -> frozenset[str]:
    """The named groups as a set.

    Raises:
        UsageError: a name is not in `COLUMN_GROUPS`.
    """
    for name in columns:
        if name not in COLUMN_GROUPS:
            raise UsageError(f"unknown column group {name!r}: choose from {', '.join(COLUMN_GROUPS)}")
    return frozenset(columns)


def column_names(aus: tuple[int, ...], columns: Iterable[str] = (), *, with_input: bool = False) -> list[str]:
    """The header of a table, in order: `input` if asked for, the base columns, the AUs, then the chosen groups."""
    names = [*(["input"] if with_input else []), *_BASE,
             *(f"AU{au:02d}_{kind}" for kind in "rcp" for au in aus)]
    if "landmarks" in columns:
        names += [f"{axis}_{i}" for axis in "xy" for i in range(68)]
    if "raw" in columns:
        names += [f"AU{au:02d}_{kind}_raw" for kind in "rp" for au in aus]
    if "quality" in columns:
        names.append("quality")
    return names


class CsvSink:
    """Writes scores as comma-separated text with a header, UTF-8, `\\n` line ends.

    A frame's rows go to the system in one unbuffered write, so a process killed at any time leaves all frames
    so far. Where nothing can be said (no face, not assessable) the field is `NaN`, never 0. A frame without a
    face gives one row with face_id -1 and success 0. pose_Rx, pose_Ry, pose_Rz are pitch, yaw and roll in radians.

    Args:
        path: the file to write; its folder must exist.
        aus: the AUs to write, in this order; each must be among those of the scores.
        columns: further groups of columns, from `COLUMN_GROUPS`.
        with_input: put the name of the frame's file into a first column, `input`.
        overwrite: replace a file that exists.

    Attributes:
        rows: rows written so far, without the header.

    Raises:
        UsageError: a column group is unknown.
        OutputError: on entering or writing: the file exists, or can't be written.
    """

    def __init__(self, path: str | Path, aus: tuple[int, ...], *, columns: Iterable[str] = frozenset(),
                 with_input: bool = False, overwrite: bool = False) -> None:
        self.path = Path(path)
        self.aus = tuple(aus)
        self.columns = check_columns(columns)
        self.with_input = with_input
        self.overwrite = overwrite
        self.rows = 0
        self._file: int | None = None
        self._size = 0
        n = len(self.aus)
        formats = [*_BASE_FORMAT, *["%.3f"] * n, *["%.0f"] * n, *["%.4f"] * n]
        if "landmarks" in self.columns:
            formats += ["%.2f"] * 136
        if "raw" in self.columns:
            formats += [*["%.3f"] * n, *["%.4f"] * n]
        if "quality" in self.columns:
            formats.append("%.3f")
        self._format = ",".join(formats)
        self._fields = len(formats)

    def __enter__(self) -> CsvSink:
        self._file = open_output(self.path, overwrite=self.overwrite)
        self.rows = self._size = 0
        try:
            self._append(",".join(column_names(self.aus, self.columns, with_input=self.with_input)) + "\n")
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._close()

    def write(self, frame: Frame, scores: Scores, status: Status | None = None) -> None:
        """Append the frame's rows."""
        table = self._numbers(frame, scores)
        lines = [(self._format % tuple(row)).replace("nan", "NaN") for row in table.tolist()]
        if self.with_input:
            name = _quoted(frame.input)
            lines = [f"{name},{line}" for line in lines]
        self._append("\n".join(lines) + "\n")
        self.rows += len(lines)

    def _numbers(self, frame: Frame, scores: Scores) -> np.ndarray:
        """float64 [rows, fields] without `input`."""
        if len(scores) == 0:
            row = np.full((1, self._fields), np.nan)
            row[0, :5] = frame.index, -1, frame.time, 0, 0
            return row
        if scores.aus != self.aus:
            scores = scores.select(self.aus)
        faces, n = scores.faces, len(scores)
        boxes = faces.boxes.astype(np.float64)
        ones = np.ones(n)
        intensity, presence = _judged(scores)
        parts = [np.stack([ones * frame.index, faces.ids, ones * frame.time, faces.scores, ones], 1),
                 boxes[:, :2], boxes[:, 2:] - boxes[:, :2], faces.pose[:, [1, 0, 2]],
                 intensity, np.where(np.isnan(presence), np.nan, scores.present), presence]
        if "landmarks" in self.columns:
            parts.append(faces.landmarks.transpose(0, 2, 1).reshape(n, 136))
        if "raw" in self.columns:
            parts += _judged(scores.raw or scores)
        if "quality" in self.columns:
            parts.append(scores.quality[:, None])
        return np.concatenate(parts, axis=1)

    def _append(self, text: str) -> None:
        if self._file is None:
            raise ValueError("CsvSink is not open: use it in a `with` statement")
        data = text.encode()
        try:
            done = os.write(self._file, data)
            while done < len(data):
                done += os.write(self._file, data[done:])
        except OSError as error:
            # A full disk may have taken a part of the rows: cut it off, so that the file ends with a whole line.
            # A device or a pipe can't be cut.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
                os.lseek(self._file, self._size, os.SEEK_SET)
            raise output_error(self.path, error) from error
        self._size += len(data)

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            close_output(file, self.path)


def _judged(scores: Scores) -> tuple[np.ndarray, np.ndarray]:
    """Intensity and presence, NaN where not assessable. A network of presence alone tells no intensity anywhere."""
    return np.where(scores.assessable, scores.intensity, np.nan), np.where(scores.assessable, scores.presence, np.nan)


def _quoted(text: str) -> str:
    """A field of text, quoted where CSV needs it; bytes that are no text (odd file names) are replaced."""
    text = text.encode(errors="replace").decode()
    if any(c in text for c in ',"\n\r'):
        return '"' + text.replace('"', '""') + '"'
    return text
