"""Faces whose 68 points are known, for the landmark network and for what judges it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rtau.errors import InputError

from .data.faces import Pictures
from .data.people import Part
from .data.portraits import load_portraits, read_rgb
from .data.shards import read_places
from .data.stored import StoredPictures, kept
from .data.tars import RENDER_AGAIN

#: Multi-PIE points that are hidden with each of `puppet.scene.PARTS`, the subject's sides.
_POINTS_OF: dict[str, Iterable[int]] = {
    "cheek_right": range(5), "chin": range(5, 12), "cheek_left": range(12, 17), "brow_right": range(17, 22),
    "brow_left": range(22, 27), "nose": range(27, 36), "eye_right": range(36, 42), "eye_left": range(42, 48),
    "mouth": range(48, 68)}
#: One in so many of the background photographs judges and is never learned from.
_APART = 4


@dataclass(frozen=True)
class MarkedFaces:
    """N faces.

    Attributes:
        pictures: uint8 [H, W, 3], RGB each.
        points: float32 [N, 68, 2], pixels of its picture (centres at integers).
        rotation: float32 [N, 3, 3], head to camera; NaN where unknown.
        shown: float32 [N, 68], 0..1, the share that shows of the part of the face that a point belongs to.
        worn: names of what covers each face, such as "glasses" or "hand".
        subject, source: str [N], identity, and the picture as a person would look for it.
    """

    pictures: Pictures
    points: np.ndarray
    rotation: np.ndarray
    shown: np.ndarray
    worn: tuple[frozenset[str], ...]
    subject: np.ndarray
    source: np.ndarray

    def __len__(self) -> int:
        return len(self.points)


def open_marked_renders(folder: str | Path, part: Part, *, most_per_person: int | None = None,
                        memory: int = 2 << 30) -> MarkedFaces:
    """What `rtau data render` wrote of some people; its pictures are read when they are asked for.

    Args:
        folder: tars or loose files.
        part: of the people.
        most_per_person: the first so many pictures of each, all when None.
        memory: pictures are decoded and kept if all take at most so many bytes.

    Raises:
        InputError: there is nothing, the part is empty, or something is damaged.
    """
    places, rows, taken = [], [], {}
    for place, labels in read_places(folder, part=part):
        person = labels["person"]
        taken[person] = taken.get(person, 0) + 1
        if most_per_person is not None and taken[person] > most_per_person:
            continue
        try:
            # As arrays at once: a hundred thousand nested lists would take a gigabyte.
            rows.append((np.array(labels["points"], np.float32).reshape(68, 2),
                         np.array(labels["rotation"], np.float32).reshape(3, 3), _shown(labels["visibility"]),
                         frozenset(labels["occluders"]), person, f"{person}#{labels['index']}"))
        except (KeyError, TypeError) as error:
            raise InputError(f"{place[0]}: the labels lack {error}: {RENDER_AGAIN}") from error
        except ValueError as error:
            raise InputError(f"{place[0]}: the labels hold something else ({error}): {RENDER_AGAIN}") from error
        places.append(place)
    if not rows:
        raise InputError(f"{folder}: no pictures of {part} people")
    points, rotation, shown, worn, subject, source = zip(*rows, strict=True)
    return MarkedFaces(kept(StoredPictures(places, RENDER_AGAIN), memory),
                       np.stack(points), np.stack(rotation), np.stack(shown), worn, np.array(subject, str),
                       np.array(source, str))


def open_marked_portraits(faces: Path, part: Part) -> MarkedFaces:
    """Neutral portraits with hand-placed points, in memory: all of each face shows, nobody knows how it is turned.

    Raises:
        InputError: there are none of these people.
        OSError: the folder lacks a file.
    """
    images, points, person = load_portraits(faces, part)
    if not images:
        raise InputError(f"{faces}: no portraits of {part} people: fetch them with rtau data fetch")
    count = len(images)
    return MarkedFaces(images, np.array(points, np.float32), np.full((count, 3, 3), np.nan, np.float32),
                       np.ones((count, 68), np.float32), (frozenset(),) * count, np.array(person, str),
                       np.array(person, str))


def open_backgrounds(faces: Path, *, judging: bool = False) -> list[np.ndarray]:
    """Photographs without a face, uint8 [H, W, 3], RGB: those to learn from, or the others, which judge.

    Raises:
        InputError: there are none.
    """
    files = sorted((Path(faces) / "backgrounds_rainbow").glob("*.jpg"))
    if not files:
        raise InputError(f"{faces} holds no background photographs: fetch them with rtau data fetch")
    apart = files[_APART - 1::_APART] or files[-1:]
    return [read_rgb(file) for file in (apart if judging else [f for f in files if f not in apart] or files)]


def _shown(visibility: dict[str, Any]) -> np.ndarray:
    shown = np.ones(68, np.float32)
    for part, points in _POINTS_OF.items():
        shown[list(points)] = visibility[part]
    return shown
