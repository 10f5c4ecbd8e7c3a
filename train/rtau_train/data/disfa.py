"""DISFA and DISFA+: every frame graded for twelve AUs, 0 to 5.

| corpus | file | holds |
|---|---|---|
| DISFA | `ActionUnit_Labels/SN001/SN001_au1.txt` | lines `frame,intensity`, frames from 1 |
| DISFA | `Videos_LeftCamera/LeftVideoSN001_comp.avi`, `Video_RightCamera/RightVideoSN001_comp.avi` | the videos |
| DISFA+ | `Labels/SN001/A1_AU1_TrailNo_1/AU1.txt` | lines of names, then `000.jpg 0` |
| DISFA+ | `Images/SN001/A1_AU1_TrailNo_1/000.jpg` | the pictures |

(Mavadati et al., IEEE Transactions on Affective Computing 2013; Mavadati, Sanger and Mahoor, CVPR workshops 2016.)
An AU is present from intensity 2 (B) on, the usual reading of DISFA, or from what you say: an AU of intensity 1 is then
absent as a label while its intensity stays 1. People have the same name in both corpora ("DISFA:SN001"), as they are
the same people.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Literal

from rtau.errors import InputError
from rtau.source import PICTURES, VIDEOS

from .draft import Draft, by_intensity
from .faces import FACS, Listing, au_name
from .table import Table, decode_text, read_table

_FILE = re.compile(r"au0*(\d+)\.txt", re.IGNORECASE)
_CODED = re.compile(r"(SN\d+)_au0*(\d+)\.txt", re.IGNORECASE)
_LINE = re.compile(r"(\S+\.\w+)[\s,;:]+(\S+)")

Camera = Literal["auto", "left", "right"]


def is_disfa(folder: Path) -> bool:
    """Whether a folder holds DISFA's labels."""
    return (folder / "ActionUnit_Labels").is_dir()


def is_disfa_plus(folder: Path) -> bool:
    """Whether a folder holds DISFA+'s labels."""
    return next(folder.glob("Labels/SN*/*/AU*.txt"), None) is not None


def read_disfa(folder: str | Path, *, present_from: float = 2.0, camera: Camera = "auto") -> Listing:
    """Read DISFA; a person whose video is missing keeps the rows.

    Args:
        folder: holds `ActionUnit_Labels` and the videos.
        present_from: least intensity of an AU that is present.
        camera: whose videos; "auto" is left where there are any, else right.

    Raises:
        InputError: there are no labels or no videos, or a value is none of the above.
    """
    folder = Path(folder)
    files: dict[str, dict[int, Path]] = defaultdict(dict)
    for file in sorted(folder.glob("ActionUnit_Labels/SN*/*.txt")):
        match = _CODED.fullmatch(file.name)
        if match and int(match[2]) in FACS:
            files[match[1].upper()][int(match[2])] = file
    if not files:
        raise InputError(f"{folder} is not DISFA: it holds no ActionUnit_Labels/SN001/SN001_au1.txt or the like")
    videos = _videos(folder, camera)
    draft = Draft([au_name(au) for au in FACS])
    for subject, labels in sorted(files.items()):
        video = videos.get(subject, folder / "Videos_LeftCamera" / f"LeftVideo{subject}_comp.avi")
        grades: dict[int, dict[str, float]] = defaultdict(dict)
        for au, file in labels.items():
            for number, value in _graded_frames(file):
                grades[number][au_name(au)] = value
        for number, intensity in sorted(grades.items()):
            draft.add(video, frame=number - 1, source=f"{video.name}#{number - 1}", subject=f"DISFA:{subject}",
                      labels=by_intensity(intensity, present_from), intensity=intensity)
    return draft.listing()


def _videos(folder: Path, camera: Camera) -> dict[str, Path]:
    """The videos of one camera by subject."""
    found: dict[str, dict[str, Path]] = {"left": {}, "right": {}}
    for file in sorted(folder.glob("Video*/*")):
        match = re.match(r"(left|right)video(SN\d+)", file.name, re.IGNORECASE)
        if match and file.suffix.lower() in VIDEOS:
            found[match[1].lower()].setdefault(match[2].upper(), file)
    chosen = ("left" if found["left"] else "right") if camera == "auto" else camera
    if not found[chosen]:
        side = "" if camera == "auto" else f" of the {camera} camera"
        raise InputError(f"{folder} has no videos{side}: looked for Videos_LeftCamera/LeftVideoSN001_comp.avi and "
                         "Video_RightCamera/RightVideoSN001_comp.avi")
    return found[chosen]


def _graded_frames(file: Path):
    """Number of the frame from 1, and intensity, of each line."""
    table = read_table(file, ("frame", "intensity"))
    for line, cells in table.rows:
        number = table.number(line, 0, cells[0])
        if number < 1 or number != int(number):
            raise InputError(f"{file}:{line}: {cells[0]} is no frame's number: they count from 1")
        yield int(number), _grade(table, line, cells[1])


def _grade(table: Table, line: int, text: str) -> float:
    value = table.number(line, 1, text)
    if not 0 <= value <= 5:
        raise InputError(f"{table.file}:{line}: the intensity is {text}: DISFA has 0 to 5")
    return value


def read_disfa_plus(folder: str | Path, *, present_from: float = 2.0) -> Listing:
    """Read DISFA+; frames whose picture is missing keep their rows.

    Args:
        folder: holds `Labels` and `Images`.
        present_from: least intensity of an AU that is present.

    Raises:
        InputError: there are no labels, or a value is none of the above.
    """
    folder = Path(folder)
    trials: dict[Path, dict[int, Path]] = defaultdict(dict)
    for file in sorted(folder.glob("Labels/SN*/*/*.txt")):
        match = _FILE.fullmatch(file.name)
        if match and int(match[1]) in FACS:
            trials[file.parent][int(match[1])] = file
    if not trials:
        raise InputError(f"{folder} is not DISFA+: it holds no Labels/SN001/A1_AU1_TrailNo_1/AU1.txt or the like")
    draft = Draft([au_name(au) for au in FACS])
    for trial, files in sorted(trials.items()):
        place = Path(trial.parent.name) / trial.name
        names = {file.stem: file.name for file in _pictures(folder / "Images" / place)}
        grades: dict[str, dict[str, float]] = defaultdict(dict)
        for au, file in files.items():
            for name, value in _graded_pictures(file):
                grades[name][au_name(au)] = value
        for name, intensity in sorted(grades.items()):
            picture = place / names.get(Path(name).stem, name)
            draft.add(folder / "Images" / picture, source=picture.as_posix(), subject=f"DISFA:{trial.parent.name}",
                      labels=by_intensity(intensity, present_from), intensity=intensity)
    return draft.listing()


def _pictures(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.glob("*")) if file.suffix.lower() in PICTURES]


def _graded_pictures(file: Path):
    """Name of the picture and intensity, of each line below the lines of names."""
    lines = decode_text(file.read_bytes(), file).splitlines()
    found = [(number, match) for number, line in enumerate(lines, 1) if (match := _LINE.fullmatch(line.strip()))]
    if not found:
        raise InputError(f"{file} grades no picture: lines such as '000.jpg 0' are expected in it")
    last = len(lines)
    while last and not lines[last - 1].strip():
        last -= 1
    if last - found[0][0] + 1 != len(found):
        wrong = sorted(set(range(found[0][0], last + 1)) - {number for number, _ in found})[0]
        raise InputError(f"{file}:{wrong}: {lines[wrong - 1].strip()!r} is no picture and intensity")
    table = Table(file, ("picture", "intensity"), [])
    for number, match in found:
        yield match[1], _grade(table, number, match[2])
