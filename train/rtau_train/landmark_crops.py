"""Crops for the landmark network, as a tracker or a detector would hand them over, in good pictures and bad ones.

A crop is cut from a picture that was perhaps cut off by its own border first, so that half a face is left, or
sampled with few pixels; then it is altered: light, cameras, things before the face. What lies beyond the picture is
painted last, as at run time.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from rtau.crop import apply, invert, region_matrix, warp
from rtau.landmarks import fill_beyond, region_of_points

from .cutting import MIRROR
from .data.augment import degrade_telling
from .puppet.sensor import Sensor, draw_sensor, sense

#: How often a face is cut off, is sampled with few pixels, is hardly lit, or lit from one side alone.
_HALF, _SMALL, _DIM, _HARSH = 0.12, 0.2, 0.1, 0.07
#: Sides of a small face (the points' box), pixels.
_FEW = (24.0, 70.0)
#: Of a face that is cut off, this share of the points' box is left at least.
_LEAST_LEFT = 0.42
#: What lies this far about the middle of the region, in its sides, may come into the crop.
_REACH = 0.85


class Crop(NamedTuple):
    """A face as the network sees it.

    Attributes:
        image: uint8 [S, S, 3], RGB.
        points: float64 [68, 2], crop pixels; those that are hidden too, wherever they lie.
        shown: float32 [68], 0..1, whether they show.
        back: float64 [2, 3], from the crop's pixels to those of the picture.
        roll: of the crop in the picture, radians.
    """

    image: np.ndarray
    points: np.ndarray
    shown: np.ndarray
    back: np.ndarray
    roll: float


def mirrored(image: np.ndarray, points: np.ndarray, shown: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A picture, its points and whether they show, left and right changed over."""
    placed = points[MIRROR]
    placed[:, 0] = image.shape[1] - 1 - placed[:, 0]
    return image[:, ::-1], placed, shown[MIRROR]


def take_crop(image: np.ndarray, points: np.ndarray, shown: np.ndarray, size: int, rng: np.random.Generator) -> Crop:
    """One training crop of a face.

    Args:
        image: uint8 [H, W, 3], RGB.
        points, shown: [68, 2] and [68], see `landmark_faces.MarkedFaces`.
        size: side of the crop.
        rng: the source of chance.
    """
    region = displaced(region_of_points(points), rng)
    picture, matrix = _about(image, region)
    if rng.random() < _SMALL:
        picture, matrix = _sampled(picture, matrix, np.ptp(points, axis=0).max(), rng)
    if rng.random() < _HALF:
        picture, matrix, inside = cut_off(picture, matrix, points, rng)
        shown = shown * inside
    matrix_here = region_matrix(_moved(region, matrix), size)
    whole = _after(matrix_here, matrix)
    crop, covered = alter(warp(picture, matrix_here, size), rng)
    fill_beyond(crop, matrix_here, picture.shape[:2])
    placed = apply(whole, points.astype(np.float64))
    if covered is not None:
        shown = shown * ~_at(covered, placed)
    return Crop(crop, placed, shown.astype(np.float32), invert(whole), float(region[3]))


def displaced(region: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a tracker or a detector hands over instead of the perfect region (centre x, y, side, roll); float64 [4]."""
    region = region.astype(np.float64)
    if rng.random() < 0.5:  # tracked
        region[:2] += rng.normal(0, 0.05, 2) * region[2]
        region[2] *= np.exp(rng.normal(0, 0.08))
        region[3] += rng.normal(0, 0.1)
    else:  # detected: level, however the head is tilted, and loose
        region[:2] += rng.normal(0, 0.07, 2) * region[2]
        region[2] *= np.exp(rng.uniform(-0.22, 0.32))
        region[3] += rng.normal(0, 0.15) if rng.random() < 0.5 else rng.uniform(-0.75, 0.75)
    return region


def cut_off(image: np.ndarray, matrix: np.ndarray, points: np.ndarray, rng: np.random.Generator
            ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A picture that ends within the face: at its left, right, top or bottom, of which the sides are likelier.

    Args:
        image: uint8 [H, W, 3].
        matrix: from the pixels of `points` [68, 2] to those of `image`.
        rng: the source of chance.

    Returns:
        What is left, the matrix to it, and bool [68], which points lie within.
    """
    placed = apply(matrix, points)
    low, high = placed.min(0), placed.max(0)
    left = rng.uniform(_LEAST_LEFT, 0.92)
    axis = 0 if rng.random() < 0.75 else 1
    edge = round(low[axis] + left * (high[axis] - low[axis]))
    begin, end = [0, 0], [image.shape[1], image.shape[0]]
    if rng.random() < 0.5:
        end[axis] = int(np.clip(edge, 8, end[axis]))
    else:
        begin[axis] = int(np.clip(round(low[axis] + high[axis]) - edge, 0, end[axis] - 8))
    inside = ((placed >= np.array(begin) - 0.5) & (placed <= np.array(end) - 0.5)).all(1)
    return image[begin[1]:end[1], begin[0]:end[0]], _shift(matrix, begin), inside


def alter(crop: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
    """What rooms, cameras and things before the face do to a crop; and bool [S, S] where something covers it."""
    kind = rng.random()
    if kind < _DIM:
        return _dim(crop, rng), None
    if kind < _DIM + _HARSH:
        crop = _harsh(crop, rng)
    return degrade_telling(crop, rng)


class NonFaces:
    """Draws crops that show no face, or one so far off that tracking it would be wrong.

    Args:
        backgrounds: photographs without a face.
        faces: pictures with points, to look beside the face in.
        size: side of the crops.
    """

    def __init__(self, backgrounds: list[np.ndarray], faces: list, size: int) -> None:
        self._backgrounds, self._faces, self._size = backgrounds, faces, size

    def __call__(self, rng: np.random.Generator) -> np.ndarray:
        """uint8 [S, S, 3], RGB."""
        kind = rng.random()
        if kind < 0.35:
            image = self._backgrounds[rng.integers(len(self._backgrounds))]
            h, w = image.shape[:2]
            region = np.array([rng.uniform(0, w), rng.uniform(0, h), rng.uniform(40, min(h, w)), rng.uniform(-3, 3)])
        elif kind < 0.9:
            faces = self._faces[rng.integers(len(self._faces))]
            pick = int(rng.integers(len(faces)))
            image = faces.pictures[pick]
            region = _beside(region_of_points(faces.points[pick]), image.shape, rng)
        else:
            shape = (*rng.integers(2, 24, 2), 3)
            image = rng.integers(0, 256, shape).astype(np.uint8)
            region = np.array([image.shape[1] / 2, image.shape[0] / 2, min(image.shape[:2]), 0.0])
        matrix = region_matrix(region, self._size)
        crop = alter(warp(image, matrix, self._size), rng)[0]
        fill_beyond(crop, matrix, image.shape[:2])
        return crop


def _beside(region: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    side, kind = float(region[2]), rng.random()
    if kind < 0.5:  # neck, hair, clothes, an edge of the face
        middle = region[:2].copy()
        for _ in range(8):
            angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.62, 1.1) * side
            region[:2] = middle + far * np.array([np.cos(angle), np.sin(angle)])
            if 0 <= region[0] < shape[1] and 0 <= region[1] < shape[0]:  # else there is little to see
                break
        region[2] *= rng.uniform(0.5, 1.1)
    elif kind < 0.8:  # a piece of skin
        region[:2] += rng.uniform(-0.3, 0.3, 2) * side
        region[2] *= rng.uniform(0.1, 0.33)
    else:  # the face is small within
        region[:2] += rng.uniform(-0.5, 0.5, 2) * side
        region[2] *= rng.uniform(2.4, 4.0)
    region[3] = rng.uniform(-3, 3) if rng.random() < 0.3 else rng.uniform(-0.5, 0.5)
    return region


# -- pictures --------------------------------------------------------------------------------


def _about(image: np.ndarray, region: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of a picture about a region, and the matrix to it: large pictures take long to alter."""
    h, w = image.shape[:2]
    x0, y0 = np.clip(np.floor(region[:2] - _REACH * region[2]), 0, [w - 9, h - 9]).astype(int)
    x1, y1 = np.clip(np.ceil(region[:2] + _REACH * region[2]), [x0 + 8, y0 + 8], [w, h]).astype(int)
    return image[y0:y1, x0:x1], _shift(np.eye(2, 3), (x0, y0))


def _sampled(image: np.ndarray, matrix: np.ndarray, face: float, rng: np.random.Generator
             ) -> tuple[np.ndarray, np.ndarray]:
    """The picture by a far camera: the face, of so many pixels, has few of them."""
    few = np.exp(rng.uniform(*np.log(_FEW)))
    if few < face:
        h, w = image.shape[:2]
        small = cv2.resize(image, (max(round(w * few / face), 8), max(round(h * few / face), 8)),
                           interpolation=cv2.INTER_AREA)
        grow = np.array([small.shape[1] / w, small.shape[0] / h])
        image, matrix = small, np.c_[matrix[:, :2] * grow[:, None], (matrix[:, 2] + 0.5) * grow - 0.5]
    if rng.random() < 0.5:
        image = sense(image, draw_sensor(rng, face=min(few, face)), rng)
    return image, matrix


def _dim(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Little light: dark, noisy, or brightened again by the camera, with its colours washed out."""
    left = np.exp(rng.uniform(np.log(0.03), np.log(0.5)))
    table = 255 * (left * (np.arange(256) / 255) ** 2.2) ** (1 / 2.2)
    dark = cv2.LUT(crop, np.round(table).astype(np.uint8)[None])
    return sense(dark, Sensor(
        scale=rng.uniform(0.5, 1), defocus=rng.uniform(0, 0.8), metering=rng.uniform(0, 0.9),
        balancing=rng.uniform(0, 0.5), white=tuple(rng.normal(1, 0.06, 3)),
        motion=(rng.uniform(0, np.pi), rng.uniform(1, 5)) if rng.random() < 0.3 else (0.0, 0.0),
        photons=np.exp(rng.uniform(np.log(300), np.log(6000))), read=rng.uniform(1, 4), mosaic=True,
        denoise=rng.uniform(0, 12), saturation=rng.uniform(0, 1.1),
        codec=("none", "jpeg", "video")[rng.integers(3)], quality=int(rng.integers(30, 90))), rng)


def _harsh(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One lamp or window at the side: the other side lies in the dark."""
    size = crop.shape[0]
    angle, depth = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 0.95)
    across = (np.arange(size, dtype=np.float32) / size - 0.5) * np.float32(rng.uniform(6, 30))
    slope = np.add.outer(across * np.sin(angle), across * np.cos(angle)) + rng.uniform(-3, 3)
    shade = (rng.uniform(1, 1.4) * (1 - depth / (1 + np.exp(-slope)))).astype(np.float32)
    return cv2.multiply(crop, cv2.merge([shade] * 3), dtype=cv2.CV_8U)


# -- transforms ------------------------------------------------------------------------------


def _shift(matrix: np.ndarray, begin) -> np.ndarray:
    """The transform to a part of the picture that begins there."""
    return np.c_[matrix[:, :2], matrix[:, 2] - np.asarray(begin)]


def _after(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The 2x3 transform that does one after the other."""
    return np.c_[second[:, :2] @ first[:, :2], second[:, :2] @ first[:, 2] + second[:, 2]]


def _moved(region: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """A region where it lies after a shift and a change of size."""
    centre = apply(matrix, region[:2])
    return np.array([*centre, region[2] * np.sqrt(matrix[0, 0] * matrix[1, 1]), region[3]])


def _at(map_: np.ndarray, points: np.ndarray) -> np.ndarray:
    """What a map [S, S] says at points [68, 2]; False outside."""
    columns, rows = np.round(points).astype(int).T
    inside = (columns >= 0) & (rows >= 0) & (columns < map_.shape[1]) & (rows < map_.shape[0])
    return inside & map_[np.clip(rows, 0, map_.shape[0] - 1), np.clip(columns, 0, map_.shape[1] - 1)]
