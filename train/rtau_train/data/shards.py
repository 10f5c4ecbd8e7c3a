"""Reader of rendered pictures with their labels, from tars or from a plain folder.

Nothing damaged is passed over: the first thing that is wrong raises an error naming the file.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rtau.errors import InputError

from ..puppet.sample import AUS
from ..puppet.scene import PARTS
from .people import Part
from .tars import RENDER_AGAIN, Place, decode, first_line, read_place, tar_name, tar_places

log = logging.getLogger(__name__)

#: How a folder was rendered; see `puppet.shards`.
SETTINGS = "render.json"


@dataclass
class Renders:
    """Rendered pictures in memory, N of side S.

    Attributes:
        images: uint8 [N, S, S, 3], RGB.
        person: [N] identity of each.
        facts: arrays [N, ...] by name, see `load_shards`.
    """

    images: np.ndarray
    person: np.ndarray
    facts: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.images)


def read_shards(folder: str | Path, *, part: Part | Literal["all"] = "all"
                ) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """Pictures with labels, in order.

    Args:
        folder: what `rtau data render` wrote; one that is unfinished is read as far as it goes, with a warning.
        part: of the people.

    Yields:
        uint8 [H, W, 3] RGB, and the labels of `puppet.record`.

    Raises:
        InputError: there is nothing, or something is damaged.
    """
    for name, place, labels in _samples(Path(folder), part):
        yield decode(read_place(place), name), labels


def read_labels(folder: str | Path, *, part: Part | Literal["all"] = "all") -> Iterator[dict[str, Any]]:
    """The labels alone, in order; errors as `read_shards`, but pictures are not looked into."""
    for _, _, labels in _samples(Path(folder), part):
        yield labels


def read_places(folder: str | Path, *, part: Part | Literal["all"] = "all") -> Iterator[tuple[Place, dict[str, Any]]]:
    """Where each picture lies and its labels, in order; errors as `read_labels`."""
    for _, place, labels in _samples(Path(folder), part):
        yield place, labels


def load_shards(folder: str | Path, part: Part, most_per_person: int | None = None) -> Renders:
    """Read the pictures of one part of the people into memory.

    Returns:
        Renders with the facts activation [N, 18, 2], points [N, 68, 2], rotation [N, 3, 3], lip_gap [N],
        lid_gap [N, 2], jaw_open [N], intensity [N, 18], visibility [N, 10] (order of `scene.PARTS`), all
        float32, and known bool [N, 18], False where the labels say "ignore".

    Raises:
        InputError: as `read_shards`; the part is empty; or the pictures differ in size.
    """
    files: list[tuple[str, Place]] = []
    rows: list[dict[str, Any]] = []
    person: list[str] = []
    taken: dict[str, int] = {}
    for name, place, labels in _samples(Path(folder), part):
        who = labels["person"]
        taken[who] = taken.get(who, 0) + 1
        if most_per_person is not None and taken[who] > most_per_person:
            continue
        files.append((name, place))
        person.append(who)
        rows.append(_facts(labels, name))
    if not rows:
        raise InputError(f"{folder}: no pictures of {part} people")
    first = decode(read_place(files[0][1]), files[0][0])
    images = np.empty((len(files), *first.shape), np.uint8)
    for row, (name, place) in enumerate(files):
        image = decode(read_place(place), name)
        if image.shape != first.shape:
            raise InputError(f"{name} is {image.shape[1]}x{image.shape[0]}, others {first.shape[1]}x{first.shape[0]}: "
                             "render all with one --size")
        images[row] = image
    log.info("%s: %d pictures of %d people (%s)", folder, len(images), len(taken), part)
    facts = {key: np.array([row[key] for row in rows], bool if key == "known" else np.float32) for key in rows[0]}
    return Renders(images, np.array(person), facts)


def _facts(labels: dict[str, Any], name: str) -> dict[str, Any]:
    try:
        units = [labels["aus"][str(au)] for au in AUS]
        return {**{key: labels[key] for key in
                   ("activation", "points", "rotation", "lip_gap", "lid_gap", "jaw_open")},
                "intensity": [unit["intensity"] for unit in units], "known": [not unit["ignore"] for unit in units],
                "visibility": [labels["visibility"][part] for part in PARTS]}
    except (KeyError, TypeError) as error:
        raise InputError(f"{name}: the labels lack {error}: {RENDER_AGAIN}") from error


# -- one sample after the other --------------------------------------------------------------


def _samples(folder: Path, part: str) -> Iterator[tuple[str, Place, dict[str, Any]]]:
    """Name for errors, where the picture lies, and labels."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder: give the one that rtau data render wrote")
    shards = sorted(folder.glob("shard-*.tar"))
    loose = sorted(folder.glob("*.json"))
    loose = [file for file in loose if file.name != SETTINGS]
    if not shards and not loose:
        raise InputError(f"{folder} holds no shards and no pictures with labels: render some with rtau data render")
    count = 0
    for name, place, text in _from_tars(shards) if shards else _from_files(folder, loose):
        count += 1
        labels = _parse(text, name)
        if part in ("all", labels["part"]):
            yield name, place, labels
    _tell_unfinished(folder, count)


def _from_tars(shards: list[Path]) -> Iterator[tuple[str, Place, bytes]]:
    expected = 0
    for number, shard in enumerate(shards):
        if shard.name != tar_name(number):
            raise InputError(f"{shard.parent / tar_name(number)} is missing, though {shard.name} is there: "
                             "render again, which makes what is missing")
        places = list(tar_places(shard).items())
        with open(shard, "rb") as tar:
            for (first, picture), (second, labels) in zip(places[::2], [*places[1::2], ("nothing", (0, 0))],
                                                          strict=False):
                stem = f"{expected:08d}"
                if (first, second) != (f"{stem}.jpg", f"{stem}.json"):
                    raise InputError(f"{shard} holds {first} and {second} where {stem}.jpg and {stem}.json belong: "
                                     f"{RENDER_AGAIN}")
                tar.seek(labels[0])
                yield f"{shard}:{stem}", (shard, *picture), tar.read(labels[1])
                expected += 1


def _from_files(folder: Path, labels: list[Path]) -> Iterator[tuple[str, Place, bytes]]:
    stems = {file.stem for file in labels}
    lonely = next((file for file in sorted(folder.glob("*.jpg")) if file.stem not in stems), None)
    if lonely is not None:
        raise InputError(f"{lonely} has no labels beside it: delete it, or render again, which makes what is missing")
    for file in labels:
        picture = file.with_suffix(".jpg")
        try:
            yield str(file), (picture, 0, picture.stat().st_size), file.read_bytes()
        except OSError as error:
            raise InputError(f"{error.filename} can't be read ({error.strerror}): "
                             "render again, which makes what is missing") from error


def _parse(text: bytes, name: str) -> dict[str, Any]:
    try:
        labels = json.loads(text)
    except ValueError as error:
        raise InputError(f"{name}: the labels are no JSON ({first_line(error)}): {RENDER_AGAIN}") from error
    if not isinstance(labels, dict) or not {"index", "person", "part"} <= labels.keys():
        raise InputError(f"{name}: the labels name no index, person and part: {RENDER_AGAIN}")
    return labels


def _tell_unfinished(folder: Path, count: int) -> None:
    try:
        wanted = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))["count"]
    except FileNotFoundError:
        return  # somebody else's shards
    except (ValueError, KeyError, OSError) as error:
        raise InputError(f"{folder / SETTINGS} can't be read ({first_line(error)}): {RENDER_AGAIN}") from error
    if count < wanted:
        log.warning("%s is unfinished: %d of %d pictures are there", folder, count, wanted)
