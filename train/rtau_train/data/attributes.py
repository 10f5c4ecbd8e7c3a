"""CelebA and LFWA: pictures with forty attributes that are there or not, such as Smiling.

| corpus | file | holds |
|---|---|---|
| CelebA | `list_attr_celeba.txt` | a line with the number of pictures, a line of names, then `000001.jpg -1 1 ...` |
| CelebA | `identity_CelebA.txt` | lines `000001.jpg 2880` |
| CelebA | `list_eval_partition.txt` | lines `000001.jpg 0`: 0 train, 1 validation, 2 test |
| CelebA | `img_celeba/` or `img_align_celeba/` | the pictures, also under `Img/` |
| LFWA | `lfw_att_40.txt` | the same form as `list_attr_celeba.txt`, with 1 and 0 or 1 and -1 |
| LFWA | `lfw_att_40.csv` | or a table: the picture's path in the first column, then the attributes |
| LFWA | `lfw/Aaron_Eckhart/Aaron_Eckhart_0001.jpg` | the pictures; the folder says who it is |

(Liu, Luo, Wang and Tang, ICCV 2015.) CelebA's lists are also looked for under `Anno/` and `Eval/`, and as the CSVs
into which others turned them. LFWA is released as a MATLAB 7.3 file with `name`, `AttrName` and `label`, which is to be
saved as such a table first; spaces in the names of attributes become underscores, as both corpora name the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from rtau.errors import InputError

from .draft import unique
from .faces import Listing
from .people import Part
from .table import bare, decode_text, read_table

_CELEBA = ("list_attr_celeba.txt", "list_attr_celeba.csv")
_LFWA = ("lfw_att_40.txt", "lfw_att_40.csv")
_SIGNS = {"1": 1, "+1": 1, "1.0": 1, "-1": -1, "0": -1, "-1.0": -1, "0.0": -1}
_PARTS: dict[str, Part] = {"0": "train", "1": "validation", "2": "test"}


def is_celeba(folder: Path) -> bool:
    """Whether a folder holds CelebA's attributes."""
    return _find(folder, _CELEBA) is not None


def is_lfwa(folder: Path) -> bool:
    """Whether a folder holds LFWA's attributes, readable or not."""
    return _find(folder, (*_LFWA, "lfw_att_40.mat")) is not None


def read_celeba(folder: str | Path, *, part: Part | Literal["all"] = "all") -> Listing:
    """Read CelebA; pictures that are missing keep their rows.

    Args:
        folder: holds the lists and the pictures.
        part: of the partition that comes with CelebA.

    Returns:
        Subjects are "CelebA:2880", or "" without `identity_CelebA.txt`.

    Raises:
        InputError: a file that is needed is not there, or a value is none of the above.
    """
    folder = Path(folder)
    file = _need(folder, "CelebA", _CELEBA)
    home = _home(folder, ("img_celeba", "img_align_celeba/img_align_celeba", "img_align_celeba"), "img_align_celeba")
    coded = _read(file)
    identity = _find(folder, ("identity_CelebA.txt", "identity_CelebA.csv"))
    people = {} if identity is None else _pairs(identity)
    subject = np.array([f"CelebA:{people[name]}" if name in people else "" for name in coded.pictures], str)
    listing = _listing(coded, home, subject)
    if part == "all":
        return unique(listing)
    partition = _need(folder, "CelebA's partition", ("list_eval_partition.txt", "list_eval_partition.csv"))
    parts = _pairs(partition)
    wrong = next((value for value in parts.values() if value not in _PARTS), None)
    if wrong is not None:
        raise InputError(f"{partition} names the part {wrong}: it has 0 (train), 1 (validation) and 2 (test)")
    return unique(listing[np.array([_PARTS.get(parts.get(name, "")) == part for name in coded.pictures], bool)])


def read_lfwa(folder: str | Path) -> Listing:
    """Read LFWA; pictures that are missing keep their rows.

    Returns:
        Subjects are "LFWA:Aaron_Eckhart".

    Raises:
        InputError: a file that is needed is not there, or a value is none of the above.
    """
    folder = Path(folder)
    if _find(folder, _LFWA) is None and (matlab := _find(folder, ("lfw_att_40.mat",))) is not None:
        raise InputError(f"{matlab} is a MATLAB file: save it as lfw_att_40.csv, picture first, then the attributes")
    coded = _read(_need(folder, "LFWA", _LFWA))
    home = _home(folder, ("lfw", "lfw-deepfunneled/lfw-deepfunneled", "lfw-deepfunneled", "lfw_funneled", "img"), "lfw")
    subject = np.array([f"LFWA:{name.split('/')[0]}" if "/" in name else "" for name in coded.pictures], str)
    return unique(_listing(coded, home, subject))


@dataclass(frozen=True)
class _Coded:
    """Names of C attributes, of N pictures, and int8 [N, C], +1 or -1."""

    names: tuple[str, ...]
    pictures: list[str]
    labels: np.ndarray


def _listing(coded: _Coded, home: Path, subject: np.ndarray) -> Listing:
    file = np.empty(len(coded.pictures), object)
    file[:] = [home / name for name in coded.pictures]
    return Listing(coded.names, subject, coded.labels, np.full(coded.labels.shape, np.nan, np.float32),
                   np.array(coded.pictures, str), file, np.full(len(file), -1, np.int64))


def _read(file: Path) -> _Coded:
    """Attributes in either form; names with spaces get underscores, as in CelebA."""
    if file.suffix.lower() == ".csv":
        table = read_table(file)
        names, rows = table.columns[1:], ((line, cells) for line, cells in table.rows)
    else:
        lines = decode_text(file.read_bytes(), file).splitlines()
        if len(lines) < 3 or not lines[0].strip().isdecimal():
            raise InputError(f"{file}:1: the number of pictures is expected there, then a line of names")
        names = tuple(lines[1].split())
        rows = ((number, line.split()) for number, line in enumerate(lines[2:], 3) if line.strip())
    pictures: list[str] = []
    labels: list[np.ndarray] = []
    for line, cells in rows:
        if len(cells) != len(names) + 1:
            raise InputError(f"{file}:{line}: {len(cells) - 1} values where {len(names)} attributes are named")
        pictures.append(bare(cells[0]).replace("\\", "/"))
        try:
            labels.append(np.array([_SIGNS[value.strip()] for value in cells[1:]], np.int8))
        except KeyError as error:
            raise InputError(f"{file}:{line}: an attribute is {error}: they are 1 and -1 (or 0)") from None
    if not pictures:
        raise InputError(f"{file} lists no pictures")
    return _Coded(tuple(name.strip().replace(" ", "_") for name in names), pictures, np.stack(labels))


def _pairs(file: Path) -> dict[str, str]:
    """Picture -> value, from lines with both; a line of names is passed over."""
    pairs = {}
    for number, line in enumerate(decode_text(file.read_bytes(), file).splitlines(), 1):
        cells = line.replace(",", " ").split()
        if len(cells) == 2:
            pairs[cells[0]] = cells[1]
        elif cells:
            raise InputError(f"{file}:{number}: a picture and a number are expected")
    return {name: value for name, value in pairs.items() if value.isdecimal()}


def _find(folder: Path, names: tuple[str, ...]) -> Path | None:
    places = (folder / home / name for name in names for home in (".", "Anno", "Eval"))
    return next((file for file in places if file.is_file()), None)


def _need(folder: Path, corpus: str, names: tuple[str, ...]) -> Path:
    file = _find(folder, names)
    if file is None:
        raise InputError(f"{folder} is not {corpus}: it holds no {names[0]}, nor do Anno and Eval in it")
    return file


def _home(folder: Path, names: tuple[str, ...], usual: str) -> Path:
    """The folder of the pictures; the usual one, if there is none."""
    return next((folder / base / name for base in (".", "Img") for name in names if (folder / base / name).is_dir()),
                folder / usual)
