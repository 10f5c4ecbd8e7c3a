"""Whether a picture of a face allows a judgement, and how good a picture it is."""

from __future__ import annotations

import cv2
import numpy as np

from .au import REGIONS, Label, Region, look_up
from .types import Faces, Frame

#: Beyond these nothing is judged. Degrees; pixels between the outer eye corners; luma 0..255.
MAX_YAW, MAX_PITCH = 45.0, 35.0
MIN_EYE_DISTANCE = 12.0
MIN_LUMA, MAX_LUMA, MIN_CONTRAST = 12.0, 245.0, 6.0
MIN_PRESENCE = 0.5
#: A region that shows with less chance is hidden.
MIN_SIGHT = 0.5
#: Share of a region's points, or of a face's, that must lie in the picture.
_INSIDE = 0.8

#: Points that must lie in the picture for the AUs of a region.
_POINTS: dict[Region, tuple[int, ...]] = {
    "brow": tuple(range(17, 27)), "eye": tuple(range(36, 48)), "nose": tuple(range(27, 36)),
    "cheek": (*range(36, 48), 48, 54), "mouth": tuple(range(48, 68)), "jaw": (*range(5, 12), *range(48, 68))}


def assess(frame: Frame, faces: Faces, light: np.ndarray, aus: tuple[Label, ...], sight: np.ndarray | None = None
           ) -> tuple[np.ndarray, np.ndarray]:
    """Judge every face.

    Args:
        frame: the picture.
        faces: N faces in it.
        light: [2, N], of their aligned crops, see `luma`.
        aus: labels of the columns; one without a region is judged where the face as a whole is seen.
        sight: [N, 6], the chance 0..1 that each region of `rtau.au.REGIONS` shows; None where the network
            doesn't tell, and a hand or a mask goes unnoticed.

    Returns:
        quality float32 [N], 0..1, and assessable bool [N, C].
    """
    points, (width, height) = faces.landmarks, frame.size
    yaw, pitch = np.degrees(np.abs(faces.pose[:, :2])).T
    eyes = np.linalg.norm(points[:, 36] - points[:, 45], axis=1)
    mean, contrast = light
    whole = ((yaw <= MAX_YAW) & (pitch <= MAX_PITCH) & (eyes >= MIN_EYE_DISTANCE) & (faces.scores >= MIN_PRESENCE)
             & (mean >= MIN_LUMA) & (mean <= MAX_LUMA) & (contrast >= MIN_CONTRAST))
    inside = ((points >= -0.5) & (points <= np.array([width, height]) - 0.5)).all(2)
    seen = np.stack([inside[:, _POINTS[region]].mean(1) > _INSIDE for region in REGIONS], 1)
    if sight is not None:
        seen &= sight >= MIN_SIGHT
    seen = np.column_stack([seen, inside.mean(1) > _INSIDE])
    regions = [look_up(au).region for au in aus]
    assessable = whole[:, None] & seen[:, [-1 if region is None else REGIONS.index(region) for region in regions]]
    factors = np.stack([
        1 - _ramp(yaw, 20, MAX_YAW), 1 - _ramp(pitch, 15, MAX_PITCH), _ramp(eyes, MIN_EYE_DISTANCE, 40),
        _ramp(contrast, MIN_CONTRAST, 25), faces.scores, inside.mean(1),
        *(() if sight is None else (sight.mean(1),))])
    quality = factors.astype(np.float64).prod(0) ** (1 / len(factors))
    return quality.astype(np.float32), assessable


def luma(crops: np.ndarray) -> np.ndarray:
    """Mean and standard deviation [2, N] of the luma 0..255 of RGB crops uint8 [N, S, S, 3]; N is 1 or more."""
    # NumPy would make floats of all pixels first, which takes ten times as long.
    return np.array([cv2.meanStdDev(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)) for crop in crops])[:, :, 0, 0].T


def _ramp(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 up to `low`, 1 from `high` on."""
    return np.clip((value - low) / (high - low), 0, 1)
