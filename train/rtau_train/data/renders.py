"""Rendered pictures as faces with labels."""

from __future__ import annotations

import io
import logging
import zipfile
from pathlib import Path
from typing import Literal

import numpy as np

from rtau.au import REGIONS
from rtau.errors import InputError

from ..puppet.labels import told
from ..puppet.record import shown
from ..puppet.sample import AUS
from .faces import FaceSet, au_name
from .people import Part
from .shards import read_places
from .stored import StoredPictures, check_places, kept, load_arrays
from .tars import ELSEWHERE, RENDER_AGAIN, tar_name, write_whole

log = logging.getLogger(__name__)

#: What lies beside the tars where `rtau data index` was called.
INDEX = "renders.npz"


def open_renders(folder: str | Path, part: Part | Literal["all"] = "all", *, memory: int = 2 << 30) -> FaceSet:
    """What `rtau data render` wrote, with the labels that a coder would have given.

    An AU is present from intensity 1 on, absent below, and unknown where the picture does not tell. The AUs are those
    of `puppet.sample.AUS` and of `puppet.labels.TOLD`. The subject is the person, the source "person#index".

    Args:
        folder: tars or loose files.
        part: of the people, see `people.json`.
        memory: see `corpus.open_faces`.

    Raises:
        InputError: there is nothing, the part is empty, or something is damaged.
    """
    folder = Path(folder)
    table = _indexed(folder) if (folder / INDEX).exists() else _gathered(folder, part)
    rows = np.flatnonzero((table["part"] == part) | (part == "all"))
    if not len(rows):
        raise InputError(f"{folder}: no pictures of {part} people: rtau data render --people all makes some of each")
    intensity = table["intensity"][rows]
    labels = np.where(np.isfinite(intensity), np.where(intensity >= 1, 1, -1), 0).astype(np.int8)
    files = table["files"].tolist()
    pictures = StoredPictures(((folder / files[number], begin, length) for number, begin, length in
                               table["places"][rows].tolist()), RENDER_AGAIN)
    person = table["person"][rows]
    return FaceSet(tuple(au_name(au) for au in table["aus"].tolist()), person, labels, intensity,
                   np.char.add(np.char.add(person, "#"), table["index"][rows].astype(str)),
                   kept(pictures, 0 if folder in ELSEWHERE else memory), table["points"][rows], table["visible"][rows])


def write_index(folder: Path) -> None:
    """Write `renders.npz`: all but the pictures once more, so that it opens at once. Raises InputError, OutputError."""
    data = io.BytesIO()
    np.savez_compressed(data, tars=_sizes(folder), **_gathered(folder, "all"))
    write_whole(folder / INDEX, data.getvalue())


def _sizes(folder: Path) -> np.ndarray:
    """Bytes of each tar, by which an index tells whether it is of these."""
    return np.array([file.stat().st_size for file in sorted(folder.glob("shard-*.tar"))], np.int64)


def _indexed(folder: Path) -> dict[str, np.ndarray]:
    """The arrays of `renders.npz`, or those of the tars if it is not of these."""
    try:
        table = load_arrays(folder / INDEX)
        sizes, count = table.pop("tars"), len(table["places"])
        check_places(table["places"], sizes)
        if table["files"].tolist() != [tar_name(number) for number in range(len(sizes))]:
            raise ValueError("it names other tars")
        if {name: values.shape for name, values in table.items() if name not in ("files", "aus")} != {
                "places": (count, 3), "person": (count,), "part": (count,), "index": (count,), "points": (count, 68, 2),
                "intensity": (count, len(table["aus"])), "visible": (count, len(REGIONS))}:
            raise ValueError("its arrays are not those of pictures")
        if folder in ELSEWHERE or np.array_equal(sizes, _sizes(folder)):
            return table
        log.info("%s is of other shards; they are read themselves", folder / INDEX)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        log.warning("%s can't be used (%s); the shards are read themselves", folder / INDEX, error)
    return _gathered(folder, "all")


def _gathered(folder: Path, part: str) -> dict[str, np.ndarray]:
    """Of each picture: `places` [N, 3], number of its file in `files`, first byte and length; `person`, `part`, `index`,
    `points` [N, 68, 2], `intensity` [N, C] of `aus`, NaN where unknown, and `visible` [N, 6]; out of the tars."""
    files: dict[str, int] = {}
    rows, places = [], []
    for (file, begin, length), labels in read_places(folder, part=part):
        places.append((files.setdefault(file.name, len(files)), begin, length))
        try:
            units = {au: labels["aus"][str(au)] for au in AUS}
            grades = {au: np.nan if unit["ignore"] else unit["intensity"] for au, unit in units.items()} | told(labels)
            rows.append((labels["person"], labels["part"], labels["index"],
                         np.array(labels["points"], np.float32).reshape(68, 2), grades, shown(labels)))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{file}: the labels lack {error}: {RENDER_AGAIN}") from error
    aus = sorted(rows[0][4]) if rows else []
    return {"files": np.array(list(files), str), "places": np.array(places, np.int64).reshape(-1, 3),
            "person": np.array([row[0] for row in rows], str), "part": np.array([row[1] for row in rows], str),
            "index": np.array([row[2] for row in rows], np.int64),
            "points": np.array([row[3] for row in rows], np.float32).reshape(-1, 68, 2), "aus": np.array(aus, np.int64),
            "intensity": np.array([[row[4][au] for au in aus] for row in rows], np.float32).reshape(len(rows), len(aus)),
            "visible": np.array([row[5] for row in rows], np.float32).reshape(-1, len(REGIONS))}
