"""Whether a picture of a face allows a judgement, and how good a picture it is."""

from __future__ import annotations

import cv2
import numpy as np

from .au import BY_NUMBER, REGIONS, Region
from .types import Faces, Frame

#: Beyond these nothing is judged. Degrees; pixels between the outer eye corners; luma 0..255.
MAX_YAW, MAX_PITCH = 45.0, 35.0
MIN_EYE_DISTANCE = 12.0
MIN_LUMA, MAX_LUMA, MIN_CONTRAST = 12.0, 245.0, 6.0
MIN_PRESENCE = 0.5
#: A region that shows with less chance is hidden.
MIN_SIGHT = 0.5

#: Points that must lie in the picture for the AUs of a region.
_POINTS: dict[Region, tuple[int, ...]] = {
    "brow": tuple(range(17, 27)), "eye": tuple(range(36, 48)), "nose": tuple(range(27, 36)),
    "cheek": (*range(36, 48), 48, 54), "mouth": tuple(range(48, 68)), "jaw": (*range(5, 12), *range(48, 68))}


def assess(frame: Frame, faces: Faces, crops: np.ndarray, aus: tuple[int, ...], sight: np.ndarray | None = None
           ) -> tuple[np.ndarray, np.ndarray]:
    """Judge every face.

    Args:
        frame: the picture.
        faces: N faces in it.
        crops: uint8 [N, S, S, 3], their aligned crops.
        aus: AU numbers of the columns.
        sight: [N, 6], the chance 0..1 that each region of `rtau.au.REGIONS` shows; None where the network
            doesn't tell, and a hand or a mask goes unnoticed.

    Returns:
        quality float32 [N], 0..1, and assessable bool [N, C].
    """
    quality = np.zeros(len(faces), np.float32)
    assessable = np.zeros((len(faces), len(aus)), bool)
    width, height = frame.size
    for row in range(len(faces)):
        points = faces.landmarks[row]
        yaw, pitch = np.degrees(np.abs(faces.pose[row, :2]))
        eyes = float(np.linalg.norm(points[36] - points[45]))
        luma = cv2.cvtColor(crops[row], cv2.COLOR_RGB2GRAY)
        mean, contrast = float(luma.mean()), float(luma.std())
        whole = (yaw <= MAX_YAW and pitch <= MAX_PITCH and eyes >= MIN_EYE_DISTANCE
                 and faces.scores[row] >= MIN_PRESENCE and MIN_LUMA <= mean <= MAX_LUMA and contrast >= MIN_CONTRAST)
        inside = ((points >= -0.5) & (points <= np.array([width, height]) - 0.5)).all(1)
        seen = {region: bool(inside[list(_POINTS[region])].mean() > 0.8) and
                (sight is None or bool(sight[row, column] >= MIN_SIGHT)) for column, region in enumerate(REGIONS)}
        assessable[row] = [whole and seen[BY_NUMBER[au].region] for au in aus]
        factors = (
            1 - _ramp(yaw, 20, MAX_YAW), 1 - _ramp(pitch, 15, MAX_PITCH), _ramp(eyes, MIN_EYE_DISTANCE, 40),
            _ramp(contrast, MIN_CONTRAST, 25), float(faces.scores[row]), float(inside.mean()),
            *(() if sight is None else (float(sight[row].mean()),)))
        quality[row] = float(np.prod(factors)) ** (1 / len(factors))
    return quality, assessable


def _ramp(value: float, low: float, high: float) -> float:
    """0 up to `low`, 1 from `high` on."""
    return float(np.clip((value - low) / (high - low), 0, 1))
