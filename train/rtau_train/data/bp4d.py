"""BP4D-Spontaneous and BP4D+: videos as pictures, the AUs of some of their frames coded.

| file | holds |
|---|---|
| `AUCoding/AU_OCC/F001_T1.csv` | occurrence: AU numbers in the first line; then frame, and 1, 0 or 9 (not coded) |
| `AUCoding/AU_INT/AU06/F001_T1_AU06.csv` | intensity: frame, then 0 to 5 or 9, no line of names |
| `Sequences(2D+3D)/F001/T1/0001.jpg` | pictures, in BP4D+ under `2D+3D/`; their names have three or four digits |

(Zhang et al., Image and Vision Computing 2014; Zhang et al., CVPR 2016.) Presence is what the coders of occurrence
said. Where they coded intensity alone, an AU is present from intensity 1 (A) on, or from what you say. A picture
belongs to the frame that its name's number says.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Literal

from rtau.errors import InputError
from rtau.source import PICTURES

from .draft import Draft, by_intensity
from .faces import FACS, Listing, au_name
from .table import UNKNOWN, Table, read_table

_OCCURRENCE = ("AUCoding/AU_OCC", "AU_OCC", "AUCoding/AUCoding", "AUCoding")
_INTENSITY = ("AUCoding/AU_INT", "AU_INT", "AU-Intensity-Codes3.0", "AUCoding/AU-Intensity-Codes3.0")
_PICTURES = ("Sequences(2D+3D)", "Sequences_2D+3D", "Sequences", "2D+3D", "BP4D-training", ".")

#: Subject and task, such as ("F001", "T1").
Sequence = tuple[str, str]


def is_bp4d(folder: Path) -> bool:
    """Whether a folder holds the codes of BP4D or BP4D+."""
    return bool(_coded(folder))


def read_bp4d(folder: str | Path, *, corpus: Literal["BP4D", "BP4D+"] = "BP4D", present_from: float = 1.0,
              first: int = 0) -> Listing:
    """Read BP4D or BP4D+; frames whose picture is missing keep their rows.

    Args:
        folder: holds `AUCoding` and the pictures.
        corpus: goes before the subjects' names ("BP4D:F001"), since the two corpora give the same names to others.
        present_from: least intensity of an AU that is present, where occurrence was not coded.
        first: added to a coded frame's number to get the picture's; -1 if your pictures begin one lower.

    Raises:
        InputError: there are no codes, no pictures' folder, or a value is none of the above.
    """
    folder = Path(folder)
    coded = _coded(folder)
    if not coded:
        raise InputError(f"{folder} is not BP4D: it holds no AUCoding/AU_OCC/F001_T1.csv or the like")
    graded = _graded(folder)
    home = next((folder / name for name in _PICTURES
                 if any((folder / name / subject).is_dir() for subject, _ in coded)), None)
    if home is None:
        subject, task = min(coded)
        raise InputError(f"{folder} has no pictures: looked for Sequences(2D+3D)/{subject}/{task}/0001.jpg and for "
                         f"2D+3D/{subject}/{task}/0001.jpg; unpack them there")
    draft = Draft([au_name(au) for au in FACS])
    for sequence, file in sorted(coded.items()):
        subject, task = sequence
        pictures = _numbered(home / subject / task)
        intensity = _intensities(graded.get(sequence, {}))
        for frame, presence in _occurrences(file):
            number = frame + first
            picture = pictures.get(number, home / subject / task / f"{number:04d}.jpg")
            grades = intensity.get(frame, {})
            draft.add(picture, source=picture.relative_to(home).as_posix(), subject=f"{corpus}:{subject}",
                      labels={**by_intensity(grades, present_from), **presence}, intensity=grades)
    return draft.listing()


def _coded(folder: Path) -> dict[Sequence, Path]:
    for name in _OCCURRENCE:
        found = {sequence: file for file in sorted((folder / name).glob("[FM]*_T*.csv"))
                 if (sequence := _sequence(file.stem)) is not None}
        if found:
            return found
    return {}


def _graded(folder: Path) -> dict[Sequence, dict[int, Path]]:
    """Per sequence and AU, the file of intensities."""
    found: dict[Sequence, dict[int, Path]] = defaultdict(dict)
    for home in _INTENSITY:
        for file in sorted((folder / home).glob("AU*/*_AU*.csv")):
            stem, _, au = file.stem.rpartition("_AU")
            sequence = _sequence(stem)
            if sequence is not None and au.isdecimal() and int(au) in FACS:
                found[sequence].setdefault(int(au), file)
    return found


def _sequence(stem: str) -> Sequence | None:
    subject, _, task = stem.partition("_")
    whole = subject[:1] in "FM" and subject[1:].isdecimal() and task[:1] == "T" and task[1:].isdecimal()
    return (subject, task) if whole else None


def _numbered(folder: Path) -> dict[int, Path]:
    """The pictures of a sequence by the number in their names, however many zeros stand before it."""
    if not folder.is_dir():
        return {}
    return {int(file.stem): file for file in sorted(folder.iterdir())
            if file.stem.isdecimal() and file.suffix.lower() in PICTURES}


def _occurrences(file: Path):
    """Frame and presence by name, of each line. The name of the first column means nothing: it is 0, 1 or blank."""
    table = read_table(file)
    aus = {}
    for place, name in list(enumerate(table.columns))[1:]:
        if not name.isdecimal():
            raise InputError(f"{file}:1: {name!r} is no AU's number: the first line of a file of AU_OCC has them")
        if int(name) in FACS:
            aus[place] = au_name(int(name))
    if not aus or not table.rows:
        raise InputError(f"{file} codes nothing: AU numbers are expected in its first line and a frame in each other")
    for line, cells in table.rows:
        labels = {}
        for place, name in aus.items():
            value = _code(table, line, place, cells[place])
            if value is not None:
                if value not in (0, 1):
                    raise InputError(f"{file}:{line}: AU{table.columns[place]} is {cells[place]}: AU_OCC has 0, 1, 9")
                labels[name] = 1 if value else -1
        yield _frame(table, line, cells[0]), labels


def _intensities(files: dict[int, Path]) -> dict[int, dict[str, float]]:
    """Per frame, intensities by name."""
    found: dict[int, dict[str, float]] = defaultdict(dict)
    for au, file in files.items():
        table = read_table(file, ("frame", au_name(au)))
        for line, cells in table.rows:
            value = _code(table, line, 1, cells[1])
            if value is not None:
                if not 0 <= value <= 5:
                    raise InputError(f"{file}:{line}: the intensity is {cells[1]}: AU_INT has 0 to 5 and 9")
                found[_frame(table, line, cells[0])][au_name(au)] = value
    return found


def _code(table: Table, line: int, place: int, text: str) -> float | None:
    return None if text.strip().lower() in UNKNOWN else table.number(line, place, text)


def _frame(table: Table, line: int, text: str) -> int:
    value = table.number(line, 0, text)
    if value < 0 or value != int(value):
        raise InputError(f"{table.file}:{line}: {text} is no frame's number")
    return int(value)
