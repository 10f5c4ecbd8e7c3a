"""Aligned faces on the disk: what `rtau data align` writes and training reads.

A folder holds

- `faces.json`: how it was made and what it holds: kind and source of the corpus, `names` of the labels, counts, sides;
- `faces-000000.tar`, ... (WebDataset): for each face `00000012.jpg`, the crop, and `00000012.json`;
- `skipped.csv`: row, source, subject and reason of each picture that has no face here;
- `faces.npz`: all but the pictures once more, as arrays, so that a large folder is opened at once.

The crop is what `rtau.crop.similarity` and `warp` cut at side `size`, with `pad` pixels more on every side, so that
training can turn, shift and scale it. Its JSON holds `index` (the row of the corpus), `source`, `subject`, `labels`
(+1 or -1 by name, only what is known), `intensity` (0 to 5 by name), `points` (68, in pixels of the crop), `matrix`
(2x3, from pixels of the picture to those of the crop), `score` (0 to 1, that this is a face) and `faces` (how many
there were).
"""

from __future__ import annotations

import io
import json
import logging
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rtau.errors import InputError

from .faces import FaceSet
from .stored import StoredPictures, check_places, kept, load_arrays
from .tars import ELSEWHERE, KINDS, first_line, tar_name, tar_places, write_whole

log = logging.getLogger(__name__)

HEADER = "faces.json"
SKIPPED = "skipped.csv"
INDEX = "faces.npz"
STEM = "faces"
_AGAIN = "delete it and align again with the same command, which makes what is missing"


def read_header(folder: str | Path) -> dict[str, Any]:
    """What `faces.json` says.

    Raises:
        InputError: it is missing or damaged.
    """
    file = Path(folder) / HEADER
    try:
        header = json.loads(file.read_text(encoding="utf-8"))
        if not {"names", "count", "per_shard", "aligned"} <= header.keys():
            raise ValueError("it lacks names, count, per_shard or aligned")
    except FileNotFoundError:
        raise InputError(f"{folder} holds no {HEADER}: give a folder that rtau data align wrote") from None
    except (ValueError, AttributeError, OSError) as error:
        raise InputError(f"{file} can't be read ({first_line(error)}): align into an empty folder") from error
    return header


def open_crops(folder: str | Path, *, memory: int = 2 << 30) -> FaceSet:
    """What `rtau data align` wrote; a folder that is unfinished is read as far as it goes, with a warning.

    Args:
        folder: the folder.
        memory: see `corpus.open_faces`.

    Raises:
        InputError: there is nothing, or something is damaged.
    """
    folder = Path(folder)
    header = read_header(folder)
    table = _indexed(folder, header)
    if table is None:
        table = _gathered(folder, header)
    if not len(table["places"]):
        raise InputError(f"{folder} holds no faces{'' if header['aligned'] is None else ': see ' + SKIPPED}")
    places = ((folder / tar_name(number, STEM), begin, length) for number, begin, length in table["places"].tolist())
    return FaceSet(tuple(header["names"]), *(table[name] for name in ("subject", "labels", "intensity", "source")),
                   kept(StoredPictures(places, _AGAIN), 0 if folder in ELSEWHERE else memory), table["points"])


def write_index(folder: str | Path) -> None:
    """Write `faces.npz` of a folder that is complete. Raises InputError, OutputError."""
    folder = Path(folder)
    table = _gathered(folder, read_header(folder))
    data = io.BytesIO()
    np.savez_compressed(data, tars=_sizes(folder), **table)
    write_whole(folder / INDEX, data.getvalue())


def _sizes(folder: Path) -> np.ndarray:
    """Bytes of each tar, by which an index tells whether it is of these."""
    return np.array([file.stat().st_size for file in sorted(folder.glob(f"{STEM}-*.tar"))], np.int64)


def _indexed(folder: Path, header: dict[str, Any]) -> dict[str, np.ndarray] | None:
    """The arrays of `faces.npz`, or None if it is not there or not of these tars."""
    try:
        table = load_arrays(folder / INDEX)
        sizes = table.pop("tars")
        check_places(table["places"], sizes)
        whole = ((folder in ELSEWHERE or np.array_equal(sizes, _sizes(folder)))
                 and header["aligned"] == len(table["places"])
                 and table["labels"].shape == table["intensity"].shape == (len(table["places"]), len(header["names"])))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        log.debug("%s: %s", folder / INDEX, error)
        return None
    return table if whole else None


def _gathered(folder: Path, header: dict[str, Any]) -> dict[str, np.ndarray]:
    """The same arrays, out of the tars: number, begin and length of each picture [N, 3], and those of a FaceSet."""
    column = {name: i for i, name in enumerate(header["names"])}
    places, facts, points = [], [], []
    labels: list[np.ndarray] = []
    intensity: list[np.ndarray] = []
    for number, begin, length, sample in _samples(folder, header):
        signs, grades = np.zeros(len(column), np.int8), np.full(len(column), np.nan, np.float32)
        try:
            for name, sign in sample["labels"].items():
                signs[column[name]] = sign
            for name, grade in sample["intensity"].items():
                grades[column[name]] = grade
            facts.append((sample["subject"], sample["source"]))
            points.append(np.array(sample["points"], np.float32).reshape(68, 2))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{folder / tar_name(number, STEM)}: the labels lack or can't have {error}: {_AGAIN}"
                             ) from error
        places.append((number, begin, length))
        labels.append(signs)
        intensity.append(grades)
    count = len(places)
    return {"places": np.array(places, np.int64).reshape(count, 3),
            "subject": np.array([fact[0] for fact in facts], str), "source": np.array([fact[1] for fact in facts], str),
            "labels": np.array(labels, np.int8).reshape(count, len(column)),
            "intensity": np.array(intensity, np.float32).reshape(count, len(column)),
            "points": np.array(points, np.float32).reshape(count, 68, 2)}


def _samples(folder: Path, header: dict[str, Any]) -> Iterator[tuple[int, int, int, dict[str, Any]]]:
    """Number of the tar, begin and length of each crop in it, and what is said of it."""
    tars = -(-header["count"] // header["per_shard"])
    there = [number for number in range(tars) if (folder / tar_name(number, STEM)).exists()]
    if header["aligned"] is None:
        log.warning("%s is unfinished: %d of %d tars are there; the same rtau data align goes on", folder,
                    len(there), tars)
    elif len(there) < tars:
        gone = min(set(range(tars)) - set(there))
        raise InputError(f"{folder / tar_name(gone, STEM)} is missing: align again with the same command, which makes "
                         "what is missing")
    for number in there:
        file = folder / tar_name(number, STEM)
        members = list(tar_places(file, empty=True, again=_AGAIN).items())
        with open(file, "rb") as tar:
            for (first, picture), (second, labels) in zip(members[::2], [*members[1::2], ("nothing", (0, 0))],
                                                          strict=False):
                stem = first.removesuffix(KINDS[0])
                if first == stem or second != stem + KINDS[1]:
                    raise InputError(f"{file} holds {first} and {second}, which are no crop and its labels: {_AGAIN}")
                tar.seek(labels[0])
                try:
                    yield number, *picture, json.loads(tar.read(labels[1]))
                except ValueError as error:
                    raise InputError(f"{file}: {second} is no JSON ({first_line(error)}): {_AGAIN}") from error
