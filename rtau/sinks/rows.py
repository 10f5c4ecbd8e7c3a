"""Files that take rows of numbers: what they share, and CSV. A row is on disk as soon as it is written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from ..tables.layout import TEXTS, Column, Layout
from .paths import close_output, open_output, output_error

#: Where the name of a row's file goes; no number and no other text has this sign.
_FILE = "\0"


class RowFile(Protocol):
    """Takes rows in the order of a layout.

    A context manager: entering opens the file, leaving closes it and leaves it complete.
    """

    path: Path

    def __enter__(self) -> RowFile: ...

    def __exit__(self, *exc: object) -> None: ...

    def write(self, values: np.ndarray, inputs: Sequence[str]) -> None:
        """Append rows.

        Args:
            values: float64 [n, columns of the layout]; NaN where nothing can be said, and in the columns of files.
            inputs: the file of each row; needed where the layout has a column for it.

        Raises:
            OutputError: they can't be written; whole rows written before stay.
        """
        ...


class LineFile:
    """One line of text per row, in one unbuffered write per call.

    Args:
        path: the file to write; its folder must exist.
        layout: its columns.
        overwrite: replace a file that exists.

    Raises:
        OutputError: on entering, writing or leaving: the file exists, or can't be written.
    """

    def __init__(self, path: Path, layout: Layout, *, overwrite: bool = False) -> None:
        self.path, self.layout, self.overwrite = path, layout, overwrite
        self._file: int | None = None
        self._size = 0
        self._line = self._make_line()

    def _make_line(self) -> Callable[[list, str], str]:
        """What makes a line of a row and the name of its file."""
        raise NotImplementedError

    def _head(self) -> str:
        """What stands above the rows."""
        raise NotImplementedError

    def __enter__(self) -> LineFile:
        self._file = open_output(self.path, overwrite=self.overwrite)
        self._size = 0
        try:
            self._append(self._head())
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._close()

    def write(self, values: np.ndarray, inputs: Sequence[str]) -> None:
        """See `RowFile`."""
        names = inputs or [""] * len(values)
        self._append("".join([self._line(row, name) for row, name in zip(values.tolist(), names, strict=True)]))

    def _append(self, text: str) -> None:
        if self._file is None:
            raise ValueError(f"{type(self).__name__} is not open: use it in a `with` statement")
        data = text.encode()
        try:
            done = os.write(self._file, data) if data else 0
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


def line_maker(layout: Layout, template: str, blank: str, word: Callable[[str], str]) -> Callable[[list, str], str]:
    """What fills a template that has the columns' printf formats, %s for text, and `template_form` for the file's name.

    Args:
        blank: what stands for NaN and for no text.
        word: writes a text as the format wants it.
    """
    # The name of the file is put in last: it may hold what looks like a NaN.
    kept = [i for i, column in enumerate(layout.columns) if column.form != "file"]
    texts = [(i, TEXTS[layout.columns[k].form]) for i, k in enumerate(kept) if layout.columns[k].text]
    whole = len(kept) == len(layout.columns)

    def line(row: list, name: str) -> str:
        if not whole:
            row = [row[i] for i in kept]
        for i, make in texts:
            text = make(row[i])
            row[i] = blank if text is None else word(text)
        made = template % tuple(row)
        if blank != "nan":
            made = made.replace("nan", blank)
        return made if whole else made.replace(_FILE, word(name) if name else blank, 1)

    return line


def template_form(column: Column) -> str:
    """What stands for a column in a template of `line_maker`."""
    return _FILE if column.form == "file" else "%s" if column.text else column.form


class CsvRows(LineFile):
    """Comma-separated text with a header, UTF-8, `\\n` line ends."""

    def _head(self) -> str:
        return ",".join(self.layout.names) + "\n"

    def _make_line(self) -> Callable[[list, str], str]:
        template = ",".join(template_form(column) for column in self.layout.columns) + "\n"
        return line_maker(self.layout, template, self.layout.blank, _quoted)


def _quoted(text: str) -> str:
    """A field of text, quoted where CSV needs it; bytes that are no text (odd file names) are replaced."""
    text = text.encode(errors="replace").decode()
    if any(c in text for c in ',"\n\r'):
        return '"' + text.replace('"', '""') + '"'
    return text
