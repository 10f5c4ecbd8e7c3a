"""Scores as a table: one row per face per frame, on disk as soon as the frame is done."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..au import Label, are_attributes, names_of
from ..errors import UsageError
from ..tables.files import FORMATS, parquet_module
from ..tables.layout import COLUMN_GROUPS, TOOLS, Layout, layout_like, rtau_layout
from ..types import Frame, Scores, Status
from .rows import CsvRows, RowFile


def check_columns(columns: Iterable[str]) -> frozenset[str]:
    """The named groups as a set.

    Raises:
        UsageError: a name is not in `COLUMN_GROUPS`.
    """
    for name in columns:
        if name not in COLUMN_GROUPS:
            raise UsageError(f"unknown column group {name!r}: choose from {', '.join(COLUMN_GROUPS)}")
    return frozenset(columns)


def column_names(aus: tuple[Label, ...], columns: Iterable[str] = (), *, with_input: bool = False) -> list[str]:
    """The header of a table, in order: `input` if asked for, the base columns, the AUs, then the chosen groups."""
    return rtau_layout(aus, columns, with_input=with_input).names


class TableSink:
    """Writes scores as rows of a file.

    Where nothing can be said (no face, not assessable) the value is NaN, never 0. A frame without a face gives one
    row with face_id -1 and success 0. pose_Rx, pose_Ry, pose_Rz are pitch, yaw and roll in radians.

    Args:
        file: what takes the rows; entered and left with the sink.
        layout: the file's.
        aus: the AUs to write, each among those of the scores; what the layout has of others is NaN.
        columns: groups of `COLUMN_GROUPS` that the layout needs.

    Attributes:
        rows: rows written so far, without the header.
    """

    def __init__(self, file: RowFile, layout: Layout, aus: tuple[Label, ...], columns: frozenset[str]) -> None:
        self.path = file.path
        self.aus, self.columns = tuple(aus), columns
        self.rows = 0
        self._graded = [not isinstance(au, str) for au in self.aus]
        self._file = file
        names = rtau_layout(self.aus, columns, with_input=True).names
        self._fields = len(names) - 1
        self._take = layout.taker(names)

    def __enter__(self) -> TableSink:
        self.rows = 0
        self._file.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.__exit__(*exc)

    def write(self, frame: Frame, scores: Scores, status: Status | None = None) -> None:
        """Append the frame's rows."""
        table = self._numbers(frame, scores)
        self._file.write(self._take(table), [frame.input] * len(table))
        self.rows += len(table)

    def _numbers(self, frame: Frame, scores: Scores) -> np.ndarray:
        """float64 [rows, 1 + fields]; the first is `input`, which is no number."""
        if len(scores) == 0:
            row = np.full((1, 1 + self._fields), np.nan)
            row[0, 1:6] = frame.index, -1, frame.time, 0, 0
            return row
        if scores.aus != self.aus:
            scores = scores.select(self.aus)
        faces, n = scores.faces, len(scores)
        boxes = faces.boxes.astype(np.float64)
        ones = np.ones(n)
        intensity, presence = self._judged(scores)
        parts = [np.stack([ones * np.nan, ones * frame.index, faces.ids, ones * frame.time, faces.scores, ones], 1),
                 boxes[:, :2], boxes[:, 2:] - boxes[:, :2], faces.pose[:, [1, 0, 2]],
                 intensity, np.where(np.isnan(presence), np.nan, scores.present), presence]
        if "landmarks" in self.columns:
            parts.append(faces.landmarks.transpose(0, 2, 1).reshape(n, 136))
        if "raw" in self.columns:
            parts += self._judged(scores.raw or scores)
        if "quality" in self.columns:
            parts.append(scores.quality[:, None])
        return np.concatenate(parts, axis=1)

    def _judged(self, scores: Scores) -> tuple[np.ndarray, np.ndarray]:
        """Intensity, of those that have one, and presence; NaN where not assessable. A network of presence alone tells
        no intensity anywhere."""
        intensity, presence = (np.where(scores.assessable, values, np.nan)
                               for values in (scores.intensity, scores.presence))
        return intensity[:, self._graded], presence


class CsvSink(TableSink):
    """Writes scores as comma-separated text with a header, UTF-8, `\\n` line ends.

    A frame's rows go to the system in one unbuffered write, so a process killed at any time leaves all frames so far.

    Args:
        path: the file to write; its folder must exist.
        aus: the AUs to write, in this order; each must be among those of the scores.
        columns: further groups of columns, from `COLUMN_GROUPS`.
        with_input: put the name of the frame's file into a first column, `input`.
        overwrite: replace a file that exists.

    Raises:
        UsageError: a column group is unknown.
        OutputError: on entering or writing: the file exists, or can't be written.
    """

    def __init__(self, path: str | Path, aus: tuple[Label, ...], *, columns: Iterable[str] = frozenset(),
                 with_input: bool = False, overwrite: bool = False) -> None:
        groups = check_columns(columns)
        layout = rtau_layout(tuple(aus), groups, with_input=with_input)
        super().__init__(CsvRows(Path(path), layout, overwrite=overwrite), layout, aus, groups)


def open_table(path: str | Path, aus: tuple[Label, ...], *, columns: Iterable[str] = frozenset(),
               with_input: bool = False, overwrite: bool = False, like: str | None = None,
               format: str | None = None) -> TableSink:
    """A sink that writes a table in any format and layout.

    Args:
        path: the file; its end says the format where `format` doesn't.
        aus: the AUs to write; in another tool's layout, those of its AUs that are not among them are NaN.
        columns: groups of `COLUMN_GROUPS`; another tool's layout has the points anyhow, and no place for the others.
        with_input: have a column with the name of each row's file.
        overwrite: replace what exists.
        like: a tool of `TOOLS`, or None for rtau's own columns.
        format: one of `FORMATS`, or None.

    Raises:
        UsageError: these contradict each other, or pyarrow is needed and not installed.
    """
    path = Path(path)
    groups = check_columns(columns)
    check_like(like, groups)
    if like is None:
        layout = rtau_layout(tuple(aus), groups, with_input=with_input)
    else:
        layout = layout_like(like, with_input=with_input)
        sources = {column.source for column in layout.columns}
        if not sources & set(rtau_layout(tuple(aus)).names[12:]):
            raise UsageError(f"{TOOLS[like]}'s layout has no columns of attributes: leave out --like"
                             if are_attributes(aus) else f"{TOOLS[like]}'s layout has none of {names_of(aus)}")
        groups = groups | {"landmarks"}
    return TableSink(open_row_file(path, layout, table_format(path, format), overwrite=overwrite), layout, aus, groups)


def open_row_file(path: Path, layout: Layout, format: str, *, overwrite: bool = False, keep: bool = True) -> RowFile:
    """The file that takes rows in a format.

    Args:
        keep: see `ParquetRows`.

    Raises:
        UsageError: it needs a package that isn't installed.
    """
    if format == "parquet":
        from .parquet import ParquetRows
        return ParquetRows(path, layout, overwrite=overwrite, keep=keep)
    if format == "jsonl":
        from .jsonl_rows import JsonlRows
        return JsonlRows(path, layout, overwrite=overwrite)
    return CsvRows(path, layout, overwrite=overwrite)


def table_format(path: str | Path | None, format: str | None = None) -> str:
    """The format of a table: as asked for, or by the end of its name (before a `.partial`), or CSV.

    Raises:
        UsageError: it is unknown, or the name says another.
    """
    if format is not None and format not in FORMATS:
        raise UsageError(f"unknown format {format!r}: choose from {', '.join(FORMATS)}")
    name = "" if path is None else Path(path).name.lower().removesuffix(".partial")
    named = next((known for known in FORMATS if name.endswith(f".{known}")), None)
    if format is not None and named is not None and named != format:
        raise UsageError(f"--format {format} contradicts the name {Path(path or '').name}: change one of them")
    return format or named or "csv"


def table_suffix(format: str | None = None, like: str | None = None) -> str:
    """How the name of a table ends that rtau names itself: .csv, .jsonl or .parquet, in whichever layout.

    Raises:
        UsageError: the format or the layout is unknown.
    """
    check_like(like)
    return f".{table_format(None, format)}"


def check_table(path: Path, columns: Iterable[str], *, format: str | None, like: str | None, report: bool = False
                ) -> None:
    """Whether `open_table` would take these, before long work begins.

    Args:
        report: a page is to be made of the table.

    Raises:
        UsageError: it would not.
    """
    check_like(like, check_columns(columns))
    if table_format(path, format) == "parquet":
        parquet_module()
    if report and like is not None:
        raise UsageError(f"--report is made of rtau's own columns, not of {TOOLS[like]}'s: leave out one of them")


def check_like(like: str | None, columns: Iterable[str] = ()) -> None:
    """Whether there is such a layout, and it has a place for the groups of columns.

    Raises:
        UsageError: there is none.
    """
    if like is None:
        return
    if like not in TOOLS:
        raise UsageError(f"unknown layout {like!r}: choose from {', '.join(TOOLS)}")
    homeless = sorted(set(columns) - {"landmarks"})
    if like == "libreface" and "landmarks" in columns:
        homeless = ["landmarks", *homeless]
    if homeless:
        raise UsageError(f"{TOOLS[like]}'s layout has no place for {' and '.join(homeless)}: leave out --columns or "
                         "--like")

