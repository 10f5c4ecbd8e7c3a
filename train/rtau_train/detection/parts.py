"""What composites are made of: people cut out of portraits, renders of them, and pictures without a face."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from rtau.boxes import box_of_points
from rtau.errors import InputError
from rtau.landmarks import LandmarkReader, region_of_points

from ..data.people import Part, part_of
from ..data.portraits import load_portraits, read_rgb
from ..data.shards import load_shards

log = logging.getLogger(__name__)

#: Longest side of what is kept of a portrait, pixels, and how much of it: a square of so many times the face's box.
_LARGEST, _ABOUT = 448, 2.6
#: scikit-image's pictures without a face that are in the public domain or CC0, which come with the package; but for
#: the cup of coffee, which the tests look for a face in.
_PICTURES = ("brick.png", "cell.png", "chelsea.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png",
             "retina.jpg", "rocket.jpg")


@dataclass(frozen=True)
class Cutout:
    """A person's picture to be put into others.

    Attributes:
        levels: uint8 [H, W, 4], RGB and how much of it covers what lies behind (0..255), each level half as large as
            the one before.
        points: float32 [68, 2], Multi-PIE, pixels of the first level (centres at integers).
        person: identity.
        cut: whether the cover follows the person's outline; else it is 255 everywhere.
    """

    levels: tuple[np.ndarray, ...]
    points: np.ndarray
    person: str
    cut: bool


def five_points(points: np.ndarray) -> np.ndarray:
    """Centres of the eyes, tip of the nose, corners of the mouth [..., 5, 2] of 68 points [..., 68, 2]."""
    return np.stack([points[..., 36:42, :].mean(-2), points[..., 42:48, :].mean(-2), points[..., 30, :],
                     points[..., 48, :], points[..., 54, :]], -2)


def load_people(faces: Path, part: Part, reader: LandmarkReader) -> list[Cutout]:
    """Portraits, neutral and smiling, cut out of their backdrops.

    Args:
        faces: the open portraits, see `rtau data fetch`.
        part: of the people.
        reader: reads the points of the smiling ones, which nobody placed.
    """
    images, points, people = load_portraits(faces, part)
    neutral = {person: marks for person, marks in zip(people, points, strict=True)}
    for file in sorted((Path(faces) / "london_smiling").glob("*.jpg")):
        person = file.stem.split("_")[0]
        if part_of(person) != part or person not in neutral:
            continue
        image, marks, presence = read_rgb(file), neutral[person], 0.0
        for _ in range(3):  # from where the neutral face is to where this one is
            found = reader(image, region_of_points(marks)[None])
            marks, presence = found.points[0], float(found.presence[0])
        if presence < 0.9:
            log.warning("%s: no face where %s's neutral one is; left out", file.name, person)
            continue
        images.append(image)
        points.append(marks)
        people.append(person)
    return [make_cutout(image, marks, person) for image, marks, person in zip(images, points, people, strict=True)]


def load_rendered(renders: Path, part: Part, most_per_person: int | None) -> list[Cutout]:
    """Rendered pictures as a whole; their backgrounds are part of them."""
    shards = load_shards(renders, part, most_per_person)
    return [Cutout(_levels(np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])), marks, str(person), False)
            for image, marks, person in zip(shards.images, shards.facts["points"], shards.person, strict=True)]


def load_backgrounds(faces: Path, part: Part) -> list[np.ndarray]:
    """Pictures without a face, RGB: one in five validates, the others train.

    Raises:
        InputError: there are none.
    """
    files: Sequence[Path] = sorted((Path(faces) / "backgrounds_rainbow").glob("*.jpg"))
    try:
        import skimage.data
        folder = Path(skimage.data.__file__).parent
        files = [*files, *(folder / name for name in _PICTURES if (folder / name).is_file())]
    except ImportError:
        log.warning("without scikit-image there are %d pictures without a face to learn from: pip install scikit-image "
                    "for %d more", len(files), len(_PICTURES))
    chosen = [file for number, file in enumerate(files) if (number % 5 == 4) == (part != "train")]
    if not chosen:
        raise InputError(f"{faces} has too few pictures in backgrounds_rainbow: fetch them with rtau data fetch")
    return [read_rgb(file) for file in chosen]


def make_cutout(image: np.ndarray, points: np.ndarray, person: str) -> Cutout:
    """A portrait's head and shoulders, without the backdrop, which its upper border shows."""
    box = box_of_points(points[None])[0]
    centre, side = (box[:2] + box[2:]) / 2, _ABOUT * float((box[2:] - box[:2]).max())
    low = np.maximum(np.round(centre - side / 2).astype(int), 0)
    high = np.minimum(np.round(centre + side / 2).astype(int), image.shape[1::-1])
    piece, marks = np.ascontiguousarray(image[low[1]:high[1], low[0]:high[0]]), points - low
    shrink = _LARGEST / max(piece.shape[:2])
    if shrink < 1:
        piece, marks = cv2.resize(piece, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), \
            (marks + 0.5) * shrink - 0.5
    return Cutout(_levels(np.dstack([piece, _cover(piece, marks)])), marks.astype(np.float32), person, True)


def _cover(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Where a person is before an even backdrop: what does not join its colour at the upper and side borders."""
    h, w = image.shape[:2]
    smooth = cv2.bilateralFilter(image, 5, 20, 3)
    mask = np.zeros((h + 2, w + 2), np.uint8)
    flags = 4 | cv2.FLOODFILL_MASK_ONLY | (255 << 8)
    seeds = [(x, 1) for x in range(2, w, 8)] + [(x, y) for y in range(1, h // 2, 8) for x in (1, w - 2)]
    corner = np.median(np.concatenate([smooth[:4, :4].reshape(-1, 3), smooth[:4, -4:].reshape(-1, 3)]), 0)
    for x, y in seeds:
        if not mask[y + 1, x + 1] and np.abs(smooth[y, x] - corner).max() < 45:
            cv2.floodFill(smooth, mask, (x, y), 0, (2, 2, 2), (2, 2, 2), flags)
    person = 255 - mask[1:-1, 1:-1]
    # Whatever leaked into the face.
    hull = cv2.convexHull(np.round(points).astype(np.int32))
    cv2.fillPoly(person, [hull], 255)
    person = cv2.morphologyEx(person, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    person = cv2.morphologyEx(person, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    return cv2.GaussianBlur(cv2.erode(person, np.ones((3, 3), np.uint8)), (0, 0), 1.2)


def _levels(image: np.ndarray) -> tuple[np.ndarray, ...]:
    levels = [image]
    while min(levels[-1].shape[:2]) >= 40:
        levels.append(cv2.resize(levels[-1], (levels[-1].shape[1] // 2, levels[-1].shape[0] // 2),
                                 interpolation=cv2.INTER_AREA))
    return tuple(levels)
