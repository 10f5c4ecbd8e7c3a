"""Where scores go: a table, a video, a window, the terminal. All behind one small interface, `Sink`."""

from __future__ import annotations

from typing import Protocol

from ..types import Frame, Scores, Status
from .meta import meta_path, write_meta
from .overlay import OverlaySink, PictureSink, open_overlay
from .table import (
    COLUMN_GROUPS,
    CsvSink,
    TableSink,
    check_columns,
    check_table,
    column_names,
    open_table,
    table_suffix,
)
from .terminal import TerminalSink, strongest_table
from .window import WindowSink

__all__ = ["COLUMN_GROUPS", "CsvSink", "OverlaySink", "PictureSink", "Sink", "TableSink", "TerminalSink",
           "WindowSink", "check_columns", "check_table", "column_names", "meta_path", "open_overlay", "open_table",
           "strongest_table", "table_suffix", "write_meta"]


class Sink(Protocol):
    """Takes the results of a run, frame by frame.

    A context manager: entering opens the output and raises `OutputError` where that can't be done, leaving
    closes it and leaves a complete file.
    """

    def __enter__(self) -> Sink: ...

    def __exit__(self, *exc: object) -> None: ...

    def write(self, frame: Frame, scores: Scores, status: Status | None = None) -> None:
        """Take one frame's results.

        Raises:
            OutputError: the output can't be written any more; what was written stays.
        """
        ...
