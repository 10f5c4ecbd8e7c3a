"""Tables as people have them: CSV of any common delimiter and encoding, or the first sheet of an Excel file."""

from __future__ import annotations

import codecs
import csv
import io
import logging
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rtau.errors import InputError, UsageError
from rtau.source import check_file

log = logging.getLogger(__name__)

_DELIMITERS = ",;\t|"
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_AU = re.compile(r"au[ _-]?(\d+)(.*)", re.IGNORECASE)
_ENCRYPTED = b"\xd0\xcf\x11\xe0"  # what holds an Excel file that has a password, or an old one

#: Bytes to which an Excel file may unpack.
_MOST = 1 << 30

#: What stands in a cell of which nothing is known.
UNKNOWN = frozenset(("", "nan", "na", "n/a", "none", "null", "?", "9", "9.0", "999", "999.0"))


@dataclass(frozen=True)
class Table:
    """A table with a line of names.

    Attributes:
        file: where it is.
        columns: the names, without spaces and quotes around them.
        rows: number of the line in the file, from 1, and the cells.
        decimal_comma: whether a comma may be a decimal point, as it isn't what parts the cells.
    """

    file: Path
    columns: tuple[str, ...]
    rows: list[tuple[int, list[str]]]
    decimal_comma: bool = False

    def number(self, line: int, column: int, text: str) -> float:
        """A cell as a number. Raises InputError naming file, line and column."""
        text = text.strip()
        try:
            return float(text.replace(",", ".") if self.decimal_comma else text)
        except ValueError:
            raise InputError(f"{self.file}:{line}: {self.columns[column]} is {text!r}, which is no number") from None


def read_table(file: str | Path, names: tuple[str, ...] | None = None) -> Table:
    """A table of text (UTF-8, UTF-16 or Windows' Western encoding) or an Excel file's first sheet.

    Args:
        file: parted by commas, semicolons, tabs or bars; which, its first line tells.
        names: of the columns, where the file has no line of names.

    Raises:
        InputError: it is not there, empty, no table, or a line has another number of cells than the first.
    """
    file = Path(file)
    check_file(file)
    data = file.read_bytes()
    if data.startswith(_ENCRYPTED):
        raise InputError(f"{file} has a password or is an old Excel file: open it there and save it as CSV")
    delimiter = ""
    if zipfile.is_zipfile(io.BytesIO(data)):
        _check_size(file, data)
        lines = _sheet(file)
    else:
        text = decode_text(data, file)
        delimiter = _delimiter(text)
        lines = _lines(file, text, delimiter)
    if names is None:
        head = next(lines, None)
        if head is None:
            raise InputError(f"{file} is empty: its first line must name the columns")
        names = tuple(bare(cell) for cell in head[1])
    rows = []
    for line, cells in lines:
        if len(cells) != len(names):
            raise InputError(f"{file}:{line}: {len(cells)} cells where the {len(names)} columns {names[0]} ... "
                             f"{names[-1]} need as many")
        rows.append((line, cells))
    return Table(file, names, rows, decimal_comma=delimiter not in ("", ","))


def au_column(name: str) -> tuple[int, str] | None:
    """Number and ending of the AU that a column is named after, or None: "AU 4" -> (4, ""), "AU04_r" -> (4, "_r")."""
    match = _AU.fullmatch(name)
    return (int(match[1]), match[2].lower()) if match else None


def bare(cell: str) -> str:
    """A cell without spaces and quotes around it."""
    return cell.strip().strip("'\"").strip()


def decode_text(data: bytes, file: Path) -> str:
    """The text in a file's bytes. Raises InputError where there is none."""
    encoding = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
        log.info("%s is not UTF-8; read as Windows' Western encoding", file)
    if "\0" in text:
        raise InputError(f"{file} is no text: save the table as CSV")
    return text


def first_cells(file: Path) -> list[str]:
    """The bare cells of the first line, cheaply; none where that is no table."""
    try:
        with open(file, "rb") as handle:
            text = decode_text(handle.read(1 << 16), file)
        return [bare(cell) for cell in next(_lines(file, text, _delimiter(text)), (0, []))[1]]
    except (InputError, OSError, UnicodeError):
        return []


def _delimiter(text: str) -> str:
    first = next((line for line in text.splitlines() if line.strip()), "")
    try:
        return csv.Sniffer().sniff(first, _DELIMITERS).delimiter
    except csv.Error:
        return max(_DELIMITERS, key=first.count)


def _lines(file: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The lines that hold something; an end of line inside quotes ends no line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise InputError(f"{file}:{line}: no readable table ({error}): are its quotes in pairs?") from None
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield line, cells
        line = reader.line_num + 1


def _check_size(file: Path, data: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            size = sum(entry.file_size for entry in packed.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise InputError(f"{file} can't be read as an Excel file ({error}): save the table as CSV") from None
    if size > _MOST:
        raise InputError(f"{file} unpacks to {size / 1e9:.1f} GB, more than a table may have: save it as CSV")


def _sheet(file: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        import openpyxl
    except ModuleNotFoundError as error:
        raise UsageError(f"reading {file.name} needs one more package ({error}): pip install 'rtau[train]', or save "
                         "the table as CSV") from None
    try:
        sheet = openpyxl.load_workbook(file, read_only=True, data_only=True).worksheets[0]
        for line, cells in enumerate(sheet.iter_rows(values_only=True), 1):
            if any(cell is not None for cell in cells):
                yield line, ["" if cell is None else str(cell) for cell in cells]
    except (KeyError, ValueError, IndexError, zipfile.BadZipFile) as error:
        raise InputError(f"{file} can't be read as an Excel file ({error}): save the table as CSV") from None
