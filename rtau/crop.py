"""One similarity warp from 68 points to an aligned face crop, the same in training and at run time.

Only points that expressions hardly move take part (eye corners, bridge and base of the
nose), so that a smile moves the mouth within the crop instead of moving the crop.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

#: Multi-PIE points that hold the crop in place.
RIGID = (27, 28, 29, 30, 33, 36, 39, 42, 45)

#: Where those points come to lie, in fractions of the crop's side: a generic head seen from
#: the front, in a square of 17.6 cm from above the brows to below a dropped jaw.
TEMPLATE = np.array([
    [0.500, 0.253], [0.500, 0.316], [0.500, 0.379], [0.500, 0.443], [0.500, 0.534],
    [0.247, 0.271], [0.395, 0.281], [0.605, 0.281], [0.753, 0.271]], np.float32)


def similarity(points: np.ndarray, size: int) -> np.ndarray:
    """Least-squares similarity transforms from picture pixels to crop pixels.

    Args:
        points: [N, 68, 2], x, y in picture pixels (pixel centres at integers).
        size: side of the crop in pixels.

    Returns:
        float64 [N, 2, 3]. Closed form of Umeyama (1991) without reflection.
    """
    source = np.asarray(points, np.float64)[:, RIGID]
    target = TEMPLATE.astype(np.float64) * size - 0.5
    source_mean, target_mean = source.mean(1, keepdims=True), target.mean(0)
    s, t = source - source_mean, target - target_mean
    norm = np.maximum((s**2).sum((1, 2)), 1e-9)
    cosine = (s * t).sum((1, 2)) / norm
    sine = (s[..., 0] * t[:, 1] - s[..., 1] * t[:, 0]).sum(1) / norm
    matrices = np.empty((len(source), 2, 3))
    matrices[:, 0, 0], matrices[:, 0, 1] = cosine, -sine
    matrices[:, 1, 0], matrices[:, 1, 1] = sine, cosine
    matrices[:, :, 2] = target_mean - np.einsum("nij,nj->ni", matrices[:, :, :2], source_mean[:, 0])
    return matrices


def region_matrix(region: np.ndarray, size: int) -> np.ndarray:
    """Transform of a rotated square (centre x, y, side in pixels, roll in radians) to a crop.

    Roll > 0 means that the face is tilted clockwise in the picture; the crop shows it upright.
    """
    cx, cy, side, roll = (float(v) for v in region)
    scale = size / max(side, 1e-6)
    cosine, sine = np.cos(roll) * scale, np.sin(roll) * scale
    half = size / 2 - 0.5
    return np.array([[cosine, sine, half - cosine * cx - sine * cy],
                     [-sine, cosine, half + sine * cx - cosine * cy]])


def warp(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Cut a crop of uint8 [size, size, C]; outside the picture its edge is mirrored.

    A face much larger than the crop is first averaged down, so that shrinking does not alias.

    Raises:
        ValueError: the transform is not finite (OpenCV would mirror its way from there for minutes).
    """
    scale = checked_scale(matrix)
    if 0 < scale < 0.5:
        image, matrix = _shrink(image, matrix, size, scale)
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def checked_scale(matrix: np.ndarray) -> float:
    """Crop pixels for one of the picture's, of a similarity [2, 3]; below a half the picture is averaged down first.

    Raises:
        ValueError: it is not finite.
    """
    if not np.isfinite(matrix).all():
        raise ValueError("the crop's transform is not finite: are the points?")
    return float(np.hypot(matrix[0, 0], matrix[1, 0]))


def _shrink(image: np.ndarray, matrix: np.ndarray, size: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """The part of the picture that the crop shows, averaged down by a whole factor."""
    blocks, adjusted = shrinking(image.shape[:2], matrix, size, scale)
    # A mean over whole blocks of pixels, which takes OpenCV a third of the time that other scales take.
    part = image[blocks.y:blocks.y + blocks.rows * blocks.high, blocks.x:blocks.x + blocks.columns * blocks.wide]
    return cv2.resize(part, (blocks.columns, blocks.rows), interpolation=cv2.INTER_AREA), adjusted


class Blocks(NamedTuple):
    """Blocks of pixels that are averaged, each to one: where the first begins, how many, and how large they are."""

    x: int
    y: int
    columns: int
    rows: int
    wide: int
    high: int


def shrinking(shape: tuple[int, ...], matrix: np.ndarray, size: int, scale: float) -> tuple[Blocks, np.ndarray]:
    """How a crop much smaller than what it shows is made.

    Args:
        shape: height and width of the picture.
        matrix: [2, 3], from the picture's pixels to the crop's.
        size: side of the crop in pixels.
        scale: of the matrix.

    Returns:
        The blocks to average, and the transform [2, 3] from the small picture of their means to the crop.
    """
    factor = max(int(round(1 / scale)), 2)
    inverse = cv2.invertAffineTransform(matrix)
    corners = np.array([[-1, -1], [size, -1], [-1, size], [size, size]], np.float64) @ inverse[:, :2].T + inverse[:, 2]
    margin = 2 * factor
    (x0, x1), (y0, y1) = (_span(low - margin, high + margin, length, factor) for low, high, length in
                          zip(corners.min(0), corners.max(0), shape[1::-1], strict=True))
    fx, fy = min(factor, x1 - x0), min(factor, y1 - y0)
    # Small pixel centres lie at part coordinates (i + 0.5) * f - 0.5.
    adjusted = matrix.copy()
    adjusted[:, 0], adjusted[:, 1] = matrix[:, 0] * fx, matrix[:, 1] * fy
    shift = np.array([x0 + (fx - 1) / 2, y0 + (fy - 1) / 2])
    adjusted[:, 2] = matrix[:, :2] @ shift + matrix[:, 2]
    return Blocks(x0, y0, (x1 - x0) // fx, (y1 - y0) // fy, fx, fy), adjusted


def _span(low: float, high: float, length: int, factor: int) -> tuple[int, int]:
    """The pixels from `low` to `high` of a row of `length`, or some more so that their number is a multiple of the
    factor. A row too short for that loses what is left over at its end; one shorter than the factor stays whole."""
    begin = min(max(math.floor(low), 0), length - 1)
    end = min(max(math.ceil(high), begin + 1), length)
    end = min(end + (begin - end) % factor, length)
    begin = max(begin - (begin - end) % factor, 0)
    return (begin, end - (end - begin) % factor) if end - begin >= factor else (begin, end)


def align(image: np.ndarray, points: np.ndarray, size: int) -> np.ndarray:
    """Aligned crops of every face.

    Args:
        image: uint8 [H, W, 3], RGB.
        points: [N, 68, 2] pixels.
        size: side of the crops.

    Returns:
        uint8 [N, size, size, 3], RGB.
    """
    crops = np.empty((len(points), size, size, image.shape[2]), np.uint8)
    for row, matrix in enumerate(similarity(points, size) if len(points) else ()):
        crops[row] = warp(image, matrix, size)
    return crops


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points [..., 2] through one 2x3 transform."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def invert(matrix: np.ndarray) -> np.ndarray:
    """The inverse of a 2x3 transform."""
    return cv2.invertAffineTransform(matrix)
