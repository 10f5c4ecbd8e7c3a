"""Eyeballs: the photograph within the lids, and what the lids hide made to match."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .portrait import Portrait


@dataclass(frozen=True)
class EyeTexture:
    """Colours of both eyeballs in the photograph's own pixels.

    Attributes:
        image: float32 [h, w, 3], RGB 0..1, a strip of the photograph with opened eyes.
        origin: pixels (x, y) of its upper left corner in the photograph.
        sclera: float32 [3], mean colour of the whites.
    """

    image: np.ndarray
    origin: tuple[int, int]
    sclera: np.ndarray


def paint_eyes(portrait: Portrait) -> EyeTexture:
    """Keep iris and white where the lids show them; elsewhere continue them as disc and plain white."""
    photo = portrait.image.astype(np.float32) / 255
    height, width = photo.shape[:2]
    out = photo.copy()
    whites = []
    for outline, (cx, cy, radius) in zip(portrait.eyes, portrait.irises, strict=True):
        y, x = np.mgrid[:height, :width]
        far = np.hypot(x - cx, y - cy)
        opening = _coverage(outline, (height, width))
        core = cv2.erode((opening > 0.9).astype(np.uint8), np.ones((2, 2), np.uint8)).astype(bool)
        white = _white(photo, core & (far > radius * 1.15))
        whites.append(white)
        eye = _eyeball(photo, core, far, radius, white)
        grown = cv2.dilate(opening, np.ones((3, 3), np.uint8))
        kept = np.clip((cv2.GaussianBlur(grown, (0, 0), 0.6) - 0.3) / 0.5, 0, 1)[..., None]
        box = (slice(max(int(cy - 5 * radius), 0), int(cy + 5 * radius)),
               slice(max(int(cx - 6 * radius), 0), int(cx + 6 * radius)))
        out[box] = (photo * kept + eye * (1 - kept))[box]
    top = max(int(portrait.irises[:, 1].min() - 5 * portrait.irises[:, 2].max()), 0)
    bottom = int(portrait.irises[:, 1].max() + 5 * portrait.irises[:, 2].max())
    left = max(int(portrait.irises[0, 0] - 6 * portrait.irises[0, 2]), 0)
    right = int(portrait.irises[1, 0] + 6 * portrait.irises[1, 2])
    return EyeTexture(np.ascontiguousarray(out[top:bottom, left:right]), (left, top),
                      np.mean(whites, 0).astype(np.float32))


def _coverage(outline: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Share of each pixel inside an outline, float32."""
    fine = np.zeros((shape[0] * 4, shape[1] * 4), np.uint8)
    cv2.fillPoly(fine, [np.round(outline * 4 + 1.5).astype(np.int32)], 255)
    return cv2.resize(fine, shape[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def _white(photo: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Colour of the white, from its brighter part, less yellow than shadowed corners make it."""
    if where.sum() <= 6:
        return np.array([0.62, 0.6, 0.6], np.float32)
    bright = photo[where].mean(1)
    colour = photo[where][bright >= np.percentile(bright, 60)].mean(0)
    return 0.7 * colour + 0.3 * colour.mean()


def _eyeball(photo: np.ndarray, core: np.ndarray, far: np.ndarray, radius: float, white: np.ndarray) -> np.ndarray:
    """A whole eye as a disc on a plain white: pupil, darkening towards the limbus."""
    ring = core & (far < radius * 0.8) & (far > radius * 0.45)
    colour = np.median(photo[ring], axis=0) if ring.sum() > 4 else np.array([0.22, 0.16, 0.12])
    iris = colour * (0.75 + 0.35 * np.clip(far / radius, 0, 1))[..., None]
    iris = iris * (1 - 0.55 * np.clip((far - radius * 0.8) / (radius * 0.2), 0, 1))[..., None]
    pupil = np.clip(radius * 0.38 - far + 0.5, 0, 1)[..., None]
    iris = iris * (1 - pupil) + 0.03 * pupil
    disc = np.clip((radius - far) / 1.2 + 0.5, 0, 1)[..., None]
    return (white * (1 - disc) + iris * disc).astype(np.float32)
