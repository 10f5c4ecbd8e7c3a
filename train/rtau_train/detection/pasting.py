"""Putting a person into a picture: where, how large, with what edge, in what light, with what body."""

from __future__ import annotations

import cv2
import numpy as np

from rtau.boxes import box_of_points

from ..cutting import MIRROR
from .parts import Cutout


def pose(cutout: Cutout, side: float, centre: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
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


def put(canvas: np.ndarray, cutout: Cutout, matrix: np.ndarray, points: np.ndarray, rng: np.random.Generator, *,
         owner: np.ndarray | None = None, number: int = 0, body: bool = True) -> None:
    """Paint a person over a picture, and the number into what says who was painted last."""
    kind = rng.random()
    if cutout.cut and kind < 0.8:
        if body and rng.random() < 0.7:
            _put_body(canvas, points, rng, owner, number)
        edge = None
    elif kind < (0.9 if cutout.cut else 0.55):
        edge = "rectangle"
    else:
        edge = "head"
    source, factor, inner = level(cutout, matrix)
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


def level(cutout: Cutout, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The level that is hardly shrunk, its pixels' width and height in those of the first, and the matrix from it."""
    number, shrink = 0, np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    while number + 1 < len(cutout.levels) and shrink < 0.6:
        number, shrink = number + 1, shrink * 2
    source = cutout.levels[number]
    factor = np.array([cutout.levels[0].shape[1] / source.shape[1], cutout.levels[0].shape[0] / source.shape[0]])
    # Pixel centres at integers: a level's pixel p lies at (p + 0.5) factor - 0.5 of the first.
    return source, factor, np.column_stack([matrix[:, :2] * factor, matrix[:, :2] @ (factor / 2 - 0.5) + matrix[:, 2]])


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
