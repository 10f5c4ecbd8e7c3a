"""EmotioNet: pictures from the web with the AUs that coders, or a program, saw in them.

Two forms of its lists are read (Benitez-Quiroz, Srinivasan and Martinez, CVPR 2016, and its challenges):

- a table `EmotioNet_FACS_aws_2020_24600.xlsx`, or the same saved as CSV, with a line of names `URL`, `URL orig`,
  `AU 1` ... `AU 60` (in the release with quotes about each name and at the ends of the addresses);
- `dataFile_0001.txt` ..., parted by tabs, without a line of names: address, original address, AUs 1 to 60.

1 is present, 0 absent, 999 not coded. Pictures are found by the ends of their addresses below the folder that holds
the list: `N_0000000001/N_0000000001_00001.jpg`, or the file's name alone wherever it lies. Nobody is named, so
subjects are unknown.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from rtau.errors import InputError
from rtau.source import PICTURES

from .draft import Draft, unique
from .faces import FACS, Listing, au_name
from .table import UNKNOWN, Table, au_column, bare, first_cells, read_table

_LISTS = ("*FACS*.xlsx", "*FACS*.csv", "dataFile_*.txt")
_ADDRESS = ("http://", "https://")
_PLAIN = ("URL", "URL orig", *(f"AU {number}" for number in range(1, 61)))


def lists_of(folder: Path) -> list[Path]:
    """The lists in a folder or the folders in it: tables if there are any, else the text files."""
    for pattern in _LISTS:
        files = sorted(folder.glob(pattern)) or sorted(folder.glob(f"*/{pattern}"))
        if files:
            return files
    return []


def is_list(file: Path) -> bool:
    """Whether a file of text looks like one of EmotioNet's lists."""
    cells = first_cells(file)
    return bool(cells) and (cells[0].upper() == "URL" or cells[0].startswith(_ADDRESS))


def read_emotionet(source: str | Path) -> Listing:
    """Read EmotioNet's lists; pictures that were not downloaded keep their rows.

    Args:
        source: a list, or the folder that holds lists and pictures.

    Raises:
        InputError: there is no list, a label is none of 0, 1 and 999, or a name belongs to two pictures.
    """
    source = Path(source)
    folder, files = (source, lists_of(source)) if source.is_dir() else (source.parent, [source])
    if not files:
        raise InputError(f"{source} is not EmotioNet: it holds no EmotioNet_FACS_aws_2020_24600.xlsx (or .csv) and no "
                         "dataFile_0001.txt")
    album = _Album(folder)
    draft = Draft([au_name(au) for au in FACS])
    for file in files:
        begin = (first_cells(file) or [""])[0]
        table = read_table(file, _PLAIN if begin.startswith(_ADDRESS) else None)
        columns = _columns(table)
        for line, cells in table.rows:
            address = PurePosixPath(bare(cells[0]))
            labels = {name: _sign(table, line, at, cells[at]) for at, name in columns}
            draft.add(album.find(address), source="/".join(address.parts[-2:]), labels=labels)
    return unique(draft.listing())


def _columns(table: Table) -> list[tuple[int, str]]:
    """Place and name of the AUs; its list has numbers that FACS does not have, which nobody coded."""
    found = []
    for place, name in enumerate(table.columns):
        au = au_column(name)
        if au is not None and au[0] in FACS:
            found.append((place, au_name(au[0])))
    if table.columns[0].upper() != "URL" or not found:
        raise InputError(f"{table.file} is not EmotioNet's: its first line should name URL, URL orig, AU 1, AU 2 ...")
    return found


def _sign(table: Table, line: int, place: int, text: str) -> int:
    text = bare(text)
    if text.lower() in UNKNOWN:
        return 0
    value = table.number(line, place, text)
    if value not in (0, 1):
        raise InputError(f"{table.file}:{line}: {table.columns[place]} is {text}: EmotioNet has 0, 1 and 999")
    return 1 if value == 1 else -1


class _Album:
    """The pictures below a folder, by the ends of their paths."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._by_name: dict[str, list[Path]] = {}
        for inside, _, files in os.walk(folder):
            for name in files:
                if Path(name).suffix.lower() in PICTURES:
                    self._by_name.setdefault(name, []).append(Path(inside) / name)

    def find(self, address: PurePosixPath) -> Path:
        """The picture of an address; where it should be, if it isn't there."""
        found = self._by_name.get(address.name, [])
        nested = [path for path in found if path.parent.name == address.parent.name]
        if len(nested or found) > 1:
            first, second, *_ = nested or found
            raise InputError(f"{first} and {second} have the same name, and which is {address} can't be told: "
                             "keep one")
        return (nested or found or [self._folder / address.parent.name / address.name])[0]
