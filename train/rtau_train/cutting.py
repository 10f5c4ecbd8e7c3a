"""From faces with points to the crops that a network sees, altered by chance or not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rtau.au import REGIONS
from rtau.crop import apply, similarity, warp

from .config import AugmentSettings
from .data.augment import degrade_telling

#: Multi-PIE points under a left-right mirror.
MIRROR = np.array([
    *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55,
    64, 63, 62, 61, 60, 67, 66, 65])


#: Per region of `rtau.au.REGIONS` the points about each of its sides.
_SIDES: tuple[tuple[tuple[int, ...], ...], ...] = (
    ((17, 18, 19, 20, 21), (22, 23, 24, 25, 26)), (tuple(range(36, 42)), tuple(range(42, 48))), (tuple(range(29, 36)),),
    ((36, 41, 48, 31), (45, 46, 54, 35)), (tuple(range(48, 60)),), ((6, 7, 8, 9, 10, 57),))


class Crop(NamedTuple):
    """A face as a network sees it in training.

    Attributes:
        image: uint8 [S, S, 3], RGB.
        points: [68, 2], where they lie in it, pixels.
        covered: float32 [6], what share of each region in `rtau.au.REGIONS` the alteration covered, of the side that
            shows more.
    """

    image: np.ndarray
    points: np.ndarray
    covered: np.ndarray


def cut(image: np.ndarray, points: np.ndarray, size: int, rng: np.random.Generator, settings: AugmentSettings) -> Crop:
    """One training crop of a picture (RGB) by its points [68, 2], altered as the settings say."""
    matrix = nudge(similarity(misplace(points, rng, settings.misplace)[None], size)[0], size, rng, settings.nudge)
    crop, placed = warp(image, matrix, size), apply(matrix, points)
    covered = np.zeros(len(REGIONS), np.float32)
    if settings.degrade:
        crop, over = degrade_telling(crop, rng, settings.degrade)
        if over is not None:
            covered[:] = [min(_share(over, placed[list(side)]) for side in sides) for sides in _SIDES]
    return Crop(*(mirror(crop, placed) if rng.random() < settings.flip else (crop, placed)), covered)


def _share(over: np.ndarray, points: np.ndarray) -> float:
    """What share of the box about some points is covered, of a map bool [S, S]."""
    low, high = np.floor(points.min(0)).astype(int), np.ceil(points.max(0)).astype(int) + 1
    box = over[max(low[1], 0):max(high[1], 0), max(low[0], 0):max(high[0], 0)]
    return float(box.mean()) if box.size else 0.0


def mirror(crop: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A crop [S, S, 3] and its points [68, 2], left and right changed over."""
    placed = points[MIRROR]
    placed[:, 0] = crop.shape[1] - 1 - placed[:, 0]
    return crop[:, ::-1], placed


def crops_of(images: Iterable[np.ndarray], points: Iterable[np.ndarray], size: int, seed: int) -> np.ndarray:
    """Aligned crops uint8 [N, S, S, 3] for validation, from points with a landmark network's error."""
    rng = np.random.default_rng(seed)
    return np.stack([cut_plainly(image, marks, size, rng)[0] for image, marks in zip(images, points, strict=True)])


def cut_plainly(image: np.ndarray, points: np.ndarray, size: int, rng: np.random.Generator
                ) -> tuple[np.ndarray, np.ndarray]:
    """One crop uint8 [S, S, 3] as `crops_of` has it, and where its points [68, 2] lie in it."""
    matrix = similarity(misplace(points, rng)[None], size)[0]
    return warp(image, matrix, size), apply(matrix, points)


def misplace(points: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Points [68, 2] as a landmark network would have them: a common shift and a tremble of each."""
    eyes = strength * np.linalg.norm(points[36] - points[45])
    return points + rng.normal(0, 0.012, 2) * eyes + rng.normal(0, 0.015, points.shape) * eyes


def nudge(matrix: np.ndarray, size: int, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """A crop transform, slightly turned, scaled and shifted about the crop's middle."""
    turn, scale = strength * rng.normal(0, 0.06), np.exp(strength * rng.normal(0, 0.05))
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    middle, shift = size / 2, strength * rng.normal(0, 0.02, 2) * size
    rotation = np.array([[cosine, -sine], [sine, cosine]])
    moved = rotation @ matrix
    moved[:, 2] += middle - rotation @ np.full(2, middle) + shift
    return moved


def pixels(crops: np.ndarray | Tensor) -> Tensor:
    """uint8 [N, S, S, 3] to float [N, 3, S, S] 0..255, channels last in memory, on the same device."""
    crops = torch.from_numpy(np.ascontiguousarray(crops)) if isinstance(crops, np.ndarray) else crops
    return crops.permute(0, 3, 1, 2).float()
