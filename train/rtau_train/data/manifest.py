"""A CSV of your own: one line per picture, or per frame of a video, with what is known of the face.

| column | meaning |
|---|---|
| `image` | the picture, its path relative to the CSV |
| `video`, `frame` | in place of `image`: a video and the number of the frame in it, from 0 |
| `subject` | who it is; may be left out or blank for unlabeled pictures |
| `AU04`, `AU4`, `AU04_c` | **presence**: 1 present, 0 or -1 absent |
| `AU04_r` | **intensity**: 0 absent, 1 to 5 for FACS A to E, decimals allowed |
| any other | an attribute such as `Smiling`, if you name it (`attributes`): 1 present, 0 or -1 absent |

The ending of a column's name alone says whether it holds presence or intensity, never its values: a 3 under `AU04` is
an error, not a guess. Blank, 9, 999, ? and nan are unknown. Where an AU has both columns, presence is what `AU04_c`
says; where it has intensity alone, the AU is present from intensity 1 on, or from what `present_from` says. Commas,
semicolons, tabs and bars part the columns; UTF-8, UTF-16 and Windows' Western encoding are read, and Excel files.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rtau.errors import InputError, UsageError

from .draft import Draft, by_intensity
from .faces import FACS, Listing, au_name
from .table import UNKNOWN, Table, au_column, read_table

log = logging.getLogger(__name__)

Kind = Literal["presence", "intensity"]

_PLACES = ("image", "video", "frame", "subject")


@dataclass(frozen=True)
class _Column:
    """Where a label stands: place among the columns, its name and what it holds."""

    place: int
    label: str
    kind: Kind


def read_manifest(file: str | Path, *, attributes: Iterable[str] = (), present_from: float = 1.0) -> Listing:
    """Read a manifest; whether its pictures are there is not looked at.

    Args:
        file: the table, as the module says.
        attributes: names of columns to take as labels beside the AUs; "all" for all that are left.
        present_from: least intensity 0..5 of an AU that is present, where only intensity was coded.

    Returns:
        A row for each line; `source` is what the file says, with "#frame" for videos.

    Raises:
        InputError: no table; a column is missing, there twice, or names an AU that FACS does not have; a label out
            of range; a picture twice.
        UsageError: there is no column of an attribute's name.
    """
    table = read_table(file)
    lower = [name.lower() for name in table.columns]
    if not table.rows:
        raise InputError(f"{table.file} lists no pictures: there is nothing below the line of names")
    if "image" not in lower and not {"video", "frame"} <= set(lower):
        raise InputError(f"{table.file} has no column image (nor video and frame): its columns are "
                         f"{', '.join(table.columns[:8])}{' ...' if len(lower) > 8 else ''}")
    for name in _PLACES:
        if lower.count(name) > 1:
            raise InputError(f"{table.file} has more than one column {name}")
    columns = _columns(table, attributes)
    draft = Draft(dict.fromkeys(column.label for column in columns))
    place = {name: lower.index(name) for name in _PLACES if name in lower}
    seen: dict[tuple[Path, int], int] = {}
    for line, cells in table.rows:
        path, frame = _picture(table, line, {name: cells[at].strip() for name, at in place.items()})
        if (earlier := seen.setdefault((path, frame), line)) != line:
            raise InputError(f"{table.file}:{line}: {_source(path, frame)} was in line {earlier} already")
        labels, intensity = _labels(table, line, cells, columns, present_from)
        draft.add(table.file.parent / path, frame=frame, source=_source(path, frame), labels=labels,
                  intensity=intensity, subject=cells[place["subject"]].strip() if "subject" in place else "")
    return draft.listing()


def _columns(table: Table, attributes: Iterable[str]) -> list[_Column]:
    """The columns that hold labels."""
    wanted = [attributes] if isinstance(attributes, str) else list(attributes)
    found: dict[tuple[str, Kind], _Column] = {}
    others = []
    for place, name in enumerate(table.columns):
        au = au_column(name)
        if au is None:
            if name and name.lower() not in _PLACES:
                others.append((place, name))
            continue
        column = _Column(place, au_name(_facs(table, name, au[0])), _kind(table, name, au[1]))
        twin = found.setdefault((column.label, column.kind), column)
        if twin is not column:
            raise InputError(f"{table.file}: the columns {table.columns[twin.place]} and {name} mean the same: "
                             "delete one")
    columns = list(found.values())
    chosen = [name for _, name in others] if "all" in wanted else wanted
    for name in chosen:
        places = [place for place, other in others if other == name]
        if len(places) != 1:
            raise UsageError(f"{table.file} has {'no' if not places else 'more than one'} column {name!r} to take as "
                             f"an attribute; it has {', '.join(n for _, n in others) or 'AUs only'}")
        columns.append(_Column(places[0], name, "presence"))
    ignored = [name for _, name in others if name not in chosen]
    if ignored:
        log.info("%s: not read: %s", table.file, ", ".join(ignored))
    return columns


def _facs(table: Table, name: str, number: int) -> int:
    if number not in FACS:
        raise InputError(f"{table.file}: column {name}: FACS has no such AU; it has 1, 2, 4 to 46, 51 to 58, 61 to 66")
    return number


def _kind(table: Table, name: str, ending: str) -> Kind:
    kinds: dict[str, Kind] = {"": "presence", "_c": "presence", "_r": "intensity"}
    kind = kinds.get(ending)
    if kind is None:
        raise InputError(f"{table.file}: column {name}: unknown ending {ending}; AUs end in _r for intensity 0 to 5, "
                         "in _c or nothing for presence")
    return kind


def _picture(table: Table, line: int, cells: dict[str, str]) -> tuple[Path, int]:
    """What a line is about: the path as the table has it, and a frame or -1."""
    image, video, frame = (cells.get(name, "") for name in ("image", "video", "frame"))
    if image and not video:
        return Path(image.replace("\\", "/")), -1
    if not video or image:
        what = "names both an image and a video" if image else "names no image"
        raise InputError(f"{table.file}:{line}: {what}{'' if image else ' and no video'}")
    if not frame.isdecimal():
        raise InputError(f"{table.file}:{line}: frame is {frame!r}: give the number of the frame in {video}, from 0")
    return Path(video.replace("\\", "/")), int(frame)


def _source(path: Path, frame: int) -> str:
    return path.as_posix() if frame < 0 else f"{path.as_posix()}#{frame}"


def _labels(table: Table, line: int, cells: list[str], columns: list[_Column], present_from: float
            ) -> tuple[dict[str, int], dict[str, float]]:
    presence: dict[str, int] = {}
    intensity: dict[str, float] = {}
    for column in columns:
        text = cells[column.place].strip()
        if text.lower() in UNKNOWN:
            continue
        value = table.number(line, column.place, text)
        if column.kind == "intensity":
            if not 0 <= value <= 5:
                raise InputError(f"{table.file}:{line}: {table.columns[column.place]} is {text}: "
                                 "an intensity is 0 to 5, or blank")
            intensity[column.label] = value
        elif value in (-1, 0, 1):
            presence[column.label] = 1 if value == 1 else -1
        else:
            advice = f"; call a column of intensities {column.label}_r" if au_column(column.label) else ""
            raise InputError(f"{table.file}:{line}: {table.columns[column.place]} is {text}: presence is 1, or 0 or "
                             f"-1, or blank{advice}")
    return {**by_intensity(intensity, present_from), **presence}, intensity
