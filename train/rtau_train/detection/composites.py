"""Composites: people of known faces put into pictures without a face.

What hands, bodies and profiles look like the parts do not tell, so that no composite has any but
those of a few renders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rtau.boxes import areas, box_of_points
from rtau.detect_rtau import FILL, UNIT

from ..data.augment import degrade_telling
from .lures import hide_part, put_lure
from .parts import Cutout, five_points
from .pasting import pose, put
from .scenery import draw_scene, draw_things

#: Roots of areas of boxes, pixels: smaller faces may be found or not.
LEAST = 9.0
#: Least visible share of a face's middle for which it is to be found; below the second it is none.
_SEEN, _HIDDEN = 0.55, 0.03
#: Most faces in a composite.
_MOST = 30


@dataclass(frozen=True)
class Composite:
    """A picture whose faces are known.

    Attributes:
        image: uint8 [S, S, 3], RGB.
        boxes: float32 [F, 4], left, top, right, bottom in pixels, as `rtau.boxes.box_of_points` gives them; they may
            reach beyond the picture.
        points: float32 [F, 5, 2], see `parts.five_points`.
        ignored: bool [F], faces that may be found or not: tiny, or mostly hidden or outside.
    """

    image: np.ndarray
    boxes: np.ndarray
    points: np.ndarray
    ignored: np.ndarray


@dataclass(frozen=True)
class Album:
    """The parts of composites.

    Attributes:
        people: cut out of portraits.
        rendered: whole pictures, each about a face; may be empty.
        pictures: without a face, RGB.
    """

    people: Sequence[Cutout]
    rendered: Sequence[Cutout]
    pictures: Sequence[np.ndarray]

    def pick(self, rng: np.random.Generator) -> Cutout:
        """A person by chance."""
        shelf = self.rendered if self.rendered and rng.random() < 0.5 else self.people
        return shelf[rng.integers(len(shelf))]


def draw_composite(album: Album, size: int, rng: np.random.Generator, *, faces: bool = True) -> Composite:
    """Draw a composite of S x S pixels; `faces=False` has none, but all else that composites have."""
    canvas = draw_scene(album.pictures, size, rng)
    draw_things(canvas, int(rng.integers(0, 5)) if rng.random() < 0.6 else 0, rng)
    for _ in range(int(rng.integers(1, 4)) if rng.random() < (0.2 if faces else 0.6) else 0):
        put_lure(canvas, album.pick(rng), rng)
    # Whose picture or body was painted last: number of the face, from 1; 0 for none, -1 for what hides faces.
    owner = np.zeros((size, size), np.int16)
    placed: list[np.ndarray] = []
    boxes = np.zeros((0, 4), np.float32)
    # From above downwards, since bodies hang down.
    for side, centre in sorted(_plan(size, rng), key=lambda plan: plan[1][1]) if faces else ():
        cutout = album.pick(rng)
        points, matrix = pose(cutout, side, centre, rng)
        box = box_of_points(points[None])
        if (_overlap(box, boxes) > 0.2).any():
            continue
        placed.append(points)
        boxes = np.concatenate([boxes, box])
        put(canvas, cutout, matrix, points, rng, owner=owner, number=len(placed))
    for points in placed:
        if rng.random() < 0.15:
            hide_part(canvas, owner, points, rng)
    image, drawn_over = degrade_telling(canvas, rng)
    if drawn_over is not None:
        owner[drawn_over] = -1
    return _told(_fill(image, owner, rng), placed, boxes, owner)


def _plan(size: int, rng: np.random.Generator) -> list[tuple[float, np.ndarray]]:
    """Sides and centres of the faces' boxes."""
    def many(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    kind = rng.random()
    if kind < 0.12:
        return []
    if kind < 0.4:
        return [(many(14, 1.0 * size), rng.uniform(0.1, 0.9, 2) * size)]
    if kind < 0.5:  # close up, perhaps partly outside
        return [(many(0.5, 1.5) * size, rng.uniform(0.25, 0.75, 2) * size)]
    if kind < 0.8:
        return [(many(9, 0.4 * size), rng.uniform(0, 1, 2) * size) for _ in range(int(rng.integers(2, 8)))]
    # Rows of people, as in a photograph of a group.
    side, out = many(9, 0.16 * size), []
    apart = side * rng.uniform(1.4, 2.4)
    for y in np.arange(rng.uniform(0.5, 2) * side, size, apart * rng.uniform(1, 1.8)):
        for x in np.arange(rng.uniform(0, 1) * apart, size, apart):
            if rng.random() < 0.85:
                out.append((side * many(0.8, 1.25), np.array([x, y]) + rng.normal(0, 0.15, 2) * side))
    return out[:_MOST]


def _fill(image: np.ndarray, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sometimes the grey at the right or below that makes up a picture to sides that the network takes."""
    if rng.random() < 0.8:
        return image
    image, margin = image.copy(), int(rng.integers(1, UNIT))
    where = (slice(-margin, None), slice(None)) if rng.random() < 0.7 else (slice(None), slice(-margin, None))
    image[where], owner[where] = FILL, -1
    return image


def _told(image: np.ndarray, placed: Sequence[np.ndarray], boxes: np.ndarray, owner: np.ndarray) -> Composite:
    """The composite with what shows of its faces; those that hardly do are none."""
    size, seen = len(image), np.zeros(len(placed))
    for number, marks in enumerate(placed, 1):
        # Of the middle of the face, where eyes, nose and mouth are.
        low, high = np.floor(marks[17:].min(0)).astype(int), np.ceil(marks[17:].max(0)).astype(int) + 1
        (x0, y0), (x1, y1) = np.clip(low, 0, size), np.clip(high, 0, size)
        seen[number - 1] = (owner[y0:y1, x0:x1] == number).sum() / max(np.prod(high - low), 1)
    sides = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    kept = seen >= _HIDDEN
    points = five_points(np.array(placed, np.float32).reshape(-1, 68, 2))
    return Composite(image, boxes[kept], points[kept], ((seen < _SEEN) | (sides < LEAST))[kept])


def _overlap(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Common area of a box [1, 4] and others [N, 4], by the smaller one's."""
    common = np.maximum(np.minimum(box[:, 2:], others[:, 2:]) - np.maximum(box[:, :2], others[:, :2]), 0).prod(1)
    return common / np.maximum(np.minimum(areas(box), areas(others)), 1e-6)
