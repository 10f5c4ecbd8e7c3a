"""From faces with points to the crops that a network sees, altered by chance or not."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from rtau.crop import similarity, warp

from .config import AugmentSettings
from .data.augment import degrade


def cut(image: np.ndarray, points: np.ndarray, size: int, rng: np.random.Generator, settings: AugmentSettings
        ) -> np.ndarray:
    """One training crop uint8 [S, S, 3] of a picture (RGB) by its points [68, 2], altered as the settings say."""
    matrix = similarity(misplace(points, rng, settings.misplace)[None], size)[0]
    crop = warp(image, nudge(matrix, size, rng, settings.nudge), size)
    if settings.degrade:
        crop = degrade(crop, rng, settings.degrade)
    return crop[:, ::-1] if rng.random() < settings.flip else crop


def crops_of(images: Iterable[np.ndarray], points: Iterable[np.ndarray], size: int, seed: int) -> np.ndarray:
    """Aligned crops uint8 [N, S, S, 3] for validation, from points with a landmark network's error."""
    rng = np.random.default_rng(seed)
    return np.stack([warp(image, similarity(misplace(marks, rng)[None], size)[0], size)
                     for image, marks in zip(images, points, strict=True)])


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
