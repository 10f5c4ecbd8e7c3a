"""Files of rows, read block by block: CSV, JSON lines, Parquet. What is NaN, null or empty is NaN.

A last line without its end, as a full disk or a killed program leaves it, is not trusted and left out.
"""

from __future__ import annotations

import csv
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Protocol, TextIO

import numpy as np

from ..errors import InputError, UsageError

#: How a table's file may be written, and the ends of the names.
FORMATS = ("csv", "jsonl", "parquet")
#: Fields that are turned into numbers at once, and most lines.
_FIELDS, _LINES = 400_000, 10_000
#: What stands for nothing in a CSV of one tool or another.
_NOTHING = frozenset(("", "nan", "na", "n/a", "null", "none", "-", "-nan", "-nan(ind)"))

#: A block of rows: numbers float64 [n, K], and K' lists of n texts.
Block = tuple[np.ndarray, list[list[str]]]


class RowReader(Protocol):
    """A file of rows, open.

    Attributes:
        path: the file.
        names: its columns, in order.
        cut: whether the last line has no end; known when all was read.
    """

    path: Path
    names: list[str]
    cut: bool

    def blocks(self, numbers: Sequence[str], texts: Sequence[str] = ()) -> Iterator[Block]:
        """The rows of some of the columns; once.

        Raises:
            InputError: a row is damaged.
        """
        ...

    def close(self) -> None: ...


def parquet_module() -> Any:
    """pyarrow's Parquet.

    Raises:
        UsageError: it isn't installed.
    """
    try:
        import pyarrow.parquet
    except ImportError:
        raise UsageError("Parquet needs pyarrow: pip install 'rtau[parquet]'; or take csv or jsonl") from None
    return pyarrow.parquet


def open_rows(path: str | Path) -> RowReader:
    """Open a file of rows; which kind it is, its content says.

    Raises:
        InputError: it can't be read, is empty, or has no columns. UsageError: it is Parquet, and pyarrow isn't here.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            first = file.read(4)
        if first == b"PAR1":
            return ParquetReader(path)
        # No translation of line ends: a carriage return may be a part of a quoted file name.
        text = path.open(encoding="utf-8-sig", errors="replace", newline="")
    except FileNotFoundError:
        raise InputError(f"there is no table {path}: check the name and the folder") from None
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror or error}") from None
    try:
        return JsonlReader(path, text) if first.lstrip(b"\xef\xbb\xbf")[:1] == b"{" else CsvReader(path, text)
    except BaseException:
        text.close()
        raise


class _TextReader:
    """What CSV and JSON lines have in common."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self.path, self._file = path, file
        self.cut = False
        self._last = 1  # number of the last line taken

    def close(self) -> None:
        self._file.close()

    def _lines(self) -> Iterator[str]:
        """The lines that are whole."""
        before = None
        try:
            for line in self._file:
                if before is not None:
                    yield before
                before = line
        except OSError as error:
            raise InputError(f"{self.path} can't be read: {error.strerror or error}") from None
        if before is not None:
            self.cut = not before.endswith("\n")
            if not self.cut:
                yield before


class CsvReader(_TextReader):
    """Comma-separated text; a table whose header has none but semicolons or tabs is taken for one of these."""

    def __init__(self, path: Path, file: TextIO) -> None:
        super().__init__(path, file)
        head = file.readline(1 << 20)
        if not head.strip():
            raise InputError(f"{path} is empty: nothing to read")
        self._comma = next((c for c in ",;\t" if c in head), ",")
        # Spaces after the commas, as some programs put them, do no harm.
        self.names = [name.strip() for name in next(csv.reader([head.replace("\0", "")], delimiter=self._comma))]

    def blocks(self, numbers: Sequence[str], texts: Sequence[str] = ()) -> Iterator[Block]:
        at = [self.names.index(name) for name in numbers]
        words = [self.names.index(name) for name in texts]
        source = self._lines()
        size = max(1, min(_LINES, _FIELDS // len(self.names)))
        while lines := list(itertools.islice(source, size)):
            first = self._last + 1
            values = None if words or any('"' in line for line in lines) else self._fast(lines, at)
            if values is None:
                rows, lines = self._split(lines, source)
                values = self._slow(rows, at, first)
                yield values, [[row[i] for row in rows] for i in words]
            else:
                yield values, []
            self._last += len(lines)

    def _fast(self, lines: list[str], at: list[int]) -> np.ndarray | None:
        """All at once; None where a line is odd."""
        lines = [line for line in lines if not line.isspace()]
        commas = len(self.names) - 1
        if not at or not lines or any(line.count(self._comma) != commas for line in lines):
            return None
        try:
            return np.loadtxt(lines, delimiter=self._comma, comments=None, usecols=at, ndmin=2)
        except ValueError:
            return None

    def _split(self, lines: list[str], source: Iterator[str]) -> tuple[list[list[str]], list[str]]:
        """Rows of text, and the lines they took: a quoted name with a line end in it may take one more."""
        taken: list[str] = []

        def feed() -> Iterator[str]:
            for line in itertools.chain(lines, source):
                taken.append(line)
                yield line.replace("\0", "")

        rows = []
        try:
            for row in csv.reader(feed(), delimiter=self._comma):
                if row:
                    rows.append(row)
                if len(taken) >= len(lines):
                    break
        except csv.Error as error:
            raise InputError(f"line {self._last + len(taken)} of {self.path} is damaged: {error}") from None
        return rows, taken

    def _slow(self, rows: list[list[str]], at: list[int], first: int) -> np.ndarray:
        values = np.empty((len(rows), len(at)))
        for i, row in enumerate(rows):
            if len(row) != len(self.names):
                raise InputError(f"line {first + i} of {self.path} is damaged: it has {len(row)} fields, the first "
                                 f"line names {len(self.names)}")
            try:
                values[i] = [float(row[k]) for k in at]
            except ValueError:
                values[i] = [self._number(row[k], first + i, self.names[k]) for k in at]
        return values

    def _number(self, text: str, line: int, name: str) -> float:
        text = text.strip()
        if text.lower() in _NOTHING:
            return math.nan
        try:
            return float(text)
        except ValueError:
            raise InputError(f"line {line} of {self.path} is damaged: {name} is {text[:20]!r}, no number") from None


class JsonlReader(_TextReader):
    """One object per line, each with the first one's names."""

    def __init__(self, path: Path, file: TextIO) -> None:
        super().__init__(path, file)
        self._source = self._lines()
        first = next(self._source, None)
        self._first = self._object(first, 1) if first is not None else None
        self.names = list(self._first or ())
        self._last = 0
        if self._first is None:
            raise InputError(f"{path} has no complete line: nothing to read")
        if "faces" in self._first:
            raise InputError(f"{path} is a stream of messages, not a table: write one with rtau process --format jsonl")

    def blocks(self, numbers: Sequence[str], texts: Sequence[str] = ()) -> Iterator[Block]:
        size = max(1, min(_LINES, _FIELDS // max(len(self.names), 1)))
        rows = self._rows()
        while block := list(itertools.islice(rows, size)):
            values = np.empty((len(block), len(numbers)))
            for i, row in enumerate(block):
                try:
                    values[i] = [math.nan if row.get(name) is None else float(row[name]) for name in numbers]
                except (TypeError, ValueError):
                    raise InputError(f"line {self._last - len(block) + i + 1} of {self.path} is damaged: it has words "
                                     "or lists where numbers should be") from None
            yield values, [["" if row.get(name) is None else str(row[name]) for row in block] for name in texts]

    def _rows(self) -> Iterator[dict[str, Any]]:
        self._last = 1
        yield self._first or {}
        for line in self._source:
            self._last += 1
            if not line.isspace():
                yield self._object(line, self._last)

    def _object(self, line: str, number: int) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise InputError(f"line {number} of {self.path} is damaged: it is no JSON object")
        return row


class ParquetReader:
    """Apache Parquet, through pyarrow."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cut = False
        parquet = parquet_module()
        import pyarrow

        self._file: IO[bytes] = path.open("rb")
        try:
            self._parquet = parquet.ParquetFile(self._file)
        except (pyarrow.ArrowException, OSError) as error:
            self._file.close()
            raise InputError(f"{path} is no whole Parquet file ({_first_line(error)}): a run that was cut off leaves "
                             f"its rows in {path.name}.partial, which rtau convert reads") from None
        self.names = list(self._parquet.schema_arrow.names)

    def close(self) -> None:
        self._file.close()

    def blocks(self, numbers: Sequence[str], texts: Sequence[str] = ()) -> Iterator[Block]:
        import pyarrow

        size = max(1, min(_LINES, _FIELDS // max(len(self.names), 1)))
        try:
            for batch in self._parquet.iter_batches(size, columns=list(dict.fromkeys((*numbers, *texts)))):
                values = [batch.column(name).cast(pyarrow.float64()).to_numpy(zero_copy_only=False) for name in numbers]
                yield (np.stack(values, 1) if values else np.empty((batch.num_rows, 0)),
                       [[word or "" for word in batch.column(name).cast(pyarrow.string()).to_pylist()]
                        for name in texts])
        except (pyarrow.ArrowException, OSError) as error:
            raise InputError(f"{self.path} can't be read: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].strip().rstrip(".")[:120]
