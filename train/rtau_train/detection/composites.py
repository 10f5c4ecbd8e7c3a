"""Composites: people of known faces put into pictures without a face.

What hands, bodies and profiles look like the parts do not tell, so that no composite has any but
those of a few renders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from rtau.boxes import areas, box_of_points
from rtau.detect_rtau import FILL, UNIT

from ..cutting import MIRROR
from ..data.augment import degrade_telling
from .parts import Cutout, five_points
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
        _put_lure(canvas, album, rng)
    #: Whose picture or body was painted last: number of the face, from 1; 0 for none, -1 for what hides faces.
    owner = np.zeros((size, size), np.int16)
    placed: list[np.ndarray] = []
    boxes = np.zeros((0, 4), np.float32)
    # From above downwards, since bodies hang down.
    for side, centre in sorted(_plan(size, rng), key=lambda plan: plan[1][1]) if faces else ():
        cutout = album.pick(rng)
        points, matrix = _pose(cutout, side, centre, rng)
        box = box_of_points(points[None])
        if (_overlap(box, boxes) > 0.2).any():
            continue
        placed.append(points)
        boxes = np.concatenate([boxes, box])
        _put(canvas, cutout, matrix, points, rng, owner=owner, number=len(placed))
    for points in placed:
        if rng.random() < 0.15:
            _cover_part(canvas, owner, points, rng)
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


def _pose(cutout: Cutout, side: float, centre: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points [68, 2] in the composite, and the matrix [2, 3] from the cutout's first level there."""
    turn = rng.uniform(-0.7, 0.7) if rng.random() < 0.2 else rng.normal(0, 0.14)
    box = box_of_points(cutout.points[None])[0]
    scale = side / np.sqrt(np.prod(box[2:] - box[:2]))
    stretch, shear = np.exp(rng.normal(0, 0.06)), rng.normal(0, 0.04)
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) \
        @ np.array([[stretch, shear], [0, 1 / stretch]])
    points = cutout.points
    if rng.random() < 0.5:
        linear = linear @ np.diag([-1, 1])
        points = points[MIRROR]
    middle = (box[:2] + box[2:]) / 2
    shift = centre - linear @ middle
    return (points @ linear.T + shift).astype(np.float32), np.column_stack([linear, shift])


def _put(canvas: np.ndarray, cutout: Cutout, matrix: np.ndarray, points: np.ndarray, rng: np.random.Generator, *,
         owner: np.ndarray | None = None, number: int = 0, body: bool = True) -> None:
    """Paint a person over a picture, and the number into what says who was painted last."""
    kind = rng.random()
    if cutout.cut and kind < 0.8:
        if body and rng.random() < 0.7:
            _put_body(canvas, points, rng, owner, number)
        edge = None
    elif kind < 0.9 or not cutout.cut and kind < 0.55:
        edge = "rectangle"
    else:
        edge = "head"
    level, shrink = 0, np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    while level + 1 < len(cutout.levels) and shrink < 0.6:
        level, shrink = level + 1, shrink * 2
    source = cutout.levels[level]
    # Pixel centres at integers: a level's pixel p lies at (p + 0.5) factor - 0.5 of the first.
    factor = np.array([cutout.levels[0].shape[1] / source.shape[1], cutout.levels[0].shape[0] / source.shape[0]])
    inner = np.column_stack([matrix[:, :2] * factor, matrix[:, :2] @ (factor / 2 - 0.5) + matrix[:, 2]])
    h, w = source.shape[:2]
    corners = np.array([[-0.5, -0.5], [w - 0.5, -0.5], [w - 0.5, h - 0.5], [-0.5, h - 0.5]]) @ inner[:, :2].T + inner[:, 2]
    low = np.maximum(np.floor(corners.min(0)).astype(int), 0)
    high = np.minimum(np.ceil(corners.max(0)).astype(int) + 1, canvas.shape[1::-1])
    if (high <= low).any():
        return
    inner[:, 2] -= low
    window = tuple(int(v) for v in high - low)
    if edge is not None:
        source = source.copy()
        source[..., 3] = _edge(edge, cutout, factor, (h, w), rng)
    warped = cv2.warpAffine(source, inner, window, flags=cv2.INTER_LINEAR)
    colours = cv2.LUT(np.ascontiguousarray(warped[..., :3]), _tone(rng)) if rng.random() < 0.6 else warped[..., :3]
    if rng.random() < 0.15:
        colours = cv2.GaussianBlur(colours, (0, 0), float(rng.uniform(0.5, 1.5)))
    share = warped[..., 3:].astype(np.float32) / 255
    part = canvas[low[1]:high[1], low[0]:high[0]]
    part[:] = (part + (colours.astype(np.float32) - part) * share + 0.5).astype(np.uint8)
    if owner is not None:
        owner[low[1]:high[1], low[0]:high[0]][warped[..., 3] > 127] = number


def _edge(kind: str, cutout: Cutout, factor: np.ndarray, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """How much of a picture shows: all but its soft border, or its head alone."""
    h, w = shape
    cover = np.zeros(shape, np.uint8)
    if kind == "rectangle":
        margin = int(rng.integers(0, max(min(shape) // 12, 1) + 1))
        cover[margin:h - margin, margin:w - margin] = 255
        soft = rng.uniform(0.1, 0.06 * min(shape) + 0.2)
    else:
        box = box_of_points(cutout.points[None])[0] / np.tile(factor, 2)
        centre, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        cv2.ellipse(cover, np.round(centre - (0, 0.03 * size[1])).astype(int).tolist(),
                    np.round(size * rng.uniform(0.6, 0.75)).astype(int).tolist(), 0, 0, 360, 255, -1)
        soft = rng.uniform(0.02, 0.08) * float(size.max()) + 0.1
    return cv2.GaussianBlur(cover, (0, 0), soft, borderType=cv2.BORDER_CONSTANT)


def _tone(rng: np.random.Generator) -> np.ndarray:
    """A table of other light, colour and contrast."""
    ramp = np.linspace(0, 1, 256)[:, None]
    out = (ramp ** np.exp(rng.normal(0, 0.25)) - 0.5) * np.exp(rng.normal(0, 0.15)) + 0.5
    return np.clip(out * 255 * (1 + rng.normal(0, 0.07, 3)) + rng.normal(0, 8), 0, 255).astype(np.uint8)[None]


def _put_body(canvas: np.ndarray, points: np.ndarray, rng: np.random.Generator, owner: np.ndarray | None, number: int
              ) -> None:
    """Shoulders and clothes below a head, down to the picture's border: the portraits end at the chest."""
    eyes = points[36:48].reshape(2, 6, 2).mean(1)
    along = (eyes[1] - eyes[0]) / max(np.linalg.norm(eyes[1] - eyes[0]), 1e-6)
    if along[0] < 0:
        along = -along
    down = np.array([-along[1], along[0]])
    chin, tall = points[8], np.linalg.norm(points[8] - points[27])
    wide = tall * rng.uniform(0.9, 1.5)
    neck = chin + down * tall * rng.uniform(0.3, 0.6)
    outline = [neck - along * wide * 0.35, neck + along * wide * 0.35, neck + along * wide + down * tall * 0.3,
               neck + along * wide * rng.uniform(0.8, 1.2) + down * tall * 8,
               neck - along * wide * rng.uniform(0.8, 1.2) + down * tall * 8, neck - along * wide + down * tall * 0.3]
    colour = np.clip(rng.uniform(10, 240) + rng.normal(0, 35, 3), 0, 255)
    polygon = [np.round(np.clip(outline, -4000, 4000)).astype(np.int32)]
    cv2.fillPoly(canvas, polygon, colour.tolist(), cv2.LINE_AA)
    if owner is not None:
        cv2.fillPoly(owner, polygon, number)


def _put_lure(canvas: np.ndarray, album: Album, rng: np.random.Generator) -> None:
    """Something of a person that is no face: a part of one, one that is smeared, or one upside down."""
    cutout = album.pick(rng)
    size, kind = len(canvas), rng.random()
    side = float(np.exp(rng.uniform(np.log(14), np.log(0.5 * size))))
    points, matrix = _pose(cutout, side, rng.uniform(0, size, 2), rng)
    box = box_of_points(points[None])[0]
    if kind < 0.5:  # a piece of skin, an eye, a mouth, hair, clothes: enlarged
        image = cutout.levels[0]
        face = box_of_points(cutout.points[None])[0]
        about = np.array([cutout.points[rng.integers(68)], rng.uniform(0, 1, 2) * image.shape[1::-1]])[rng.integers(2)]
        half = max(rng.uniform(0.07, 0.16) * float((face[2:] - face[:2]).max()), 2)
        low = np.clip(np.round(about - half).astype(int), 0, np.array(image.shape[1::-1]) - 4)
        high = np.minimum(low + int(2 * half) + 1, image.shape[1::-1])
        window = np.clip(np.round(np.array([box[0], box[1], box[0] + side, box[1] + side])), 0, size).astype(int)
        if (window[2:] - window[:2] < 3).any():
            return
        piece = np.ascontiguousarray(image[low[1]:high[1], low[0]:high[0], :3])
        canvas[window[1]:window[3], window[0]:window[2]] = cv2.resize(
            piece, (window[2:] - window[:2]).tolist(), interpolation=cv2.INTER_AREA)
        return
    if kind < 0.85:  # hair, neck and shoulders about skin without features
        image = cutout.levels[0].copy()
        face = box_of_points(cutout.points[None])[0]
        radius = float((face[2:] - face[:2]).max()) / 2
        mask = np.zeros(image.shape[:2], np.uint8)
        cv2.ellipse(mask, np.round((face[:2] + face[2:]) / 2).astype(int).tolist(),
                    np.round((face[2:] - face[:2]) * 0.52).astype(int).tolist(), 0, 0, 360, 255, -1)
        share = cv2.GaussianBlur(mask, (0, 0), radius * 0.08)[..., None].astype(np.float32) / 255
        skin = np.median(image[mask > 0][:, :3], 0) if rng.random() < 0.5 else image[int(max(face[1], 0)),
                                                                                     int((face[0] + face[2]) / 2), :3]
        image[..., :3] = (image[..., :3] * (1 - share) + skin * share).astype(np.uint8)
        _put(canvas, Cutout((image,), cutout.points, cutout.person, cutout.cut), matrix, points, rng)
        return
    flipped = np.column_stack([matrix[:, :2] @ np.diag([1, -1]), matrix[:, 2]])
    middle = (box_of_points(cutout.points[None])[0].reshape(2, 2)).mean(0)
    flipped[:, 2] += (matrix[:, :2] - flipped[:, :2]) @ middle
    _put(canvas, cutout, flipped, points, rng, body=False)


def _cover_part(canvas: np.ndarray, owner: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> None:
    """Paint something before a part of a face: from below, the side, or above."""
    box = box_of_points(points[None])[0]
    centre, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 0.6)
    middle = centre + far * size * np.array([np.cos(angle), np.sin(angle)])
    axes = size * rng.uniform(0.15, 0.45, 2)
    mask = np.zeros(owner.shape, np.uint8)
    turn = float(rng.uniform(0, 180))
    if rng.random() < 0.6:
        cv2.ellipse(mask, np.round(middle).astype(int).tolist(), np.maximum(np.round(axes), 1).astype(int).tolist(),
                    turn, 0, 360, 1, -1)
    else:
        corners = cv2.boxPoints((middle.astype(np.float32).tolist(), (2 * axes).astype(np.float32).tolist(), turn))
        cv2.fillPoly(mask, [np.round(corners).astype(np.int32)], 1)
    where = mask > 0
    if rng.random() < 0.4:  # the colour of this face's skin: a hand
        x, y = np.clip(np.round(points[30]).astype(int), 0, len(canvas) - 1)
        colour = canvas[y, x] * rng.uniform(0.7, 1.1)
    else:
        colour = np.clip(rng.uniform(0, 255) + rng.normal(0, 40, 3), 0, 255)
    canvas[where] = np.clip(colour + rng.normal(0, 6, (int(where.sum()), 3)), 0, 255).astype(np.uint8)
    owner[where] = -1


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
