"""A person's neutral portrait and the points that tie it to the rig."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..data.points import along, multi_pie

_LEFT_EYE, _RIGHT_EYE = [18, 19, 20, 21, 22, 30, 29, 28], [23, 24, 25, 26, 27, 33, 32, 31]
_JAW = [125, 126, 127, 128, 129, 130, 131, 132, 133]
_NOSTRILS = [61, 62, 63, 64, 55, 69, 68, 67, 66, 65, 70, 179, 182]


@dataclass(frozen=True)
class Portrait:
    """A frontal, neutral photograph with its points; "left" is image left.

    Attributes:
        name: identity.
        image: uint8 [H, W, 3], RGB.
        points: float32 [68, 2], Multi-PIE, pixels (centres at integers).
        eyes: float32 [2, M, 2], outlines of the eye openings, image left first.
        irises: float32 [2, 3], centre x, y and radius.
        jaw: float32 [K, 2], points on the lower outline of the face, image left to right.
        nose: float32 [L, 2], hull of the nose's underside with the nostrils.
        licence: what may be done with the picture, in words.
        hand_made: whether people placed the points (a network's are less sure).
    """

    name: str
    image: np.ndarray
    points: np.ndarray
    eyes: np.ndarray
    irises: np.ndarray
    jaw: np.ndarray
    nose: np.ndarray
    licence: str = ""
    hand_made: bool = True

    @classmethod
    def from_template(cls, name: str, image: np.ndarray, template: np.ndarray, licence: str = "") -> Portrait:
        """From the 189 points of the open portrait sets (`faces/README.md` lists them)."""
        t = np.asarray(template, np.float64)
        irises = []
        for ring in (t[2:10], t[10:18]):
            centre = ring.mean(0)
            irises.append([*centre, np.linalg.norm(ring - centre, axis=1).mean()])
        return cls(name, image, multi_pie(t), np.stack([t[_LEFT_EYE], t[_RIGHT_EYE]]).astype(np.float32),
                   np.array(irises, np.float32), t[_JAW].astype(np.float32), t[_NOSTRILS].astype(np.float32), licence)

    @classmethod
    def from_landmarks(cls, name: str, image: np.ndarray, points: np.ndarray, licence: str = "") -> Portrait:
        """From 68 points of a network; irises are found in the picture."""
        p = np.asarray(points, np.float64)
        shares = np.linspace(0, 1, 5)
        eyes = []
        for first in (36, 42):
            upper = along(_arc(p[[first, first + 1, first + 2, first + 3]]), shares)
            lower = along(_arc(p[[first + 3, first + 4, first + 5, first]]), shares)
            eyes.append(np.vstack([upper, lower[1:4]]))
        wings = np.vstack([p[31:36], p[[31, 35]] + 0.35 * (p[30] - p[33]), [p[33]]])
        irises = np.array([_iris(image, eye) for eye in eyes], np.float32)
        return cls(name, image, p.astype(np.float32), np.array(eyes, np.float32), irises, p[3:14].astype(np.float32),
                   wings.astype(np.float32), licence, hand_made=False)

    @property
    def eye_distance(self) -> float:
        """Distance of the iris centres, pixels."""
        return float(np.linalg.norm(self.irises[1, :2] - self.irises[0, :2]))


def _arc(four: np.ndarray) -> np.ndarray:
    """A cubic through four points, 40 points dense."""
    t = np.arange(4)
    dense = np.linspace(0, 3, 40)
    return np.stack([np.polyval(np.polyfit(t, four[:, k], 3), dense) for k in (0, 1)], -1)


def _iris(image: np.ndarray, eye: np.ndarray) -> tuple[float, float, float]:
    """The dark disc in an eye opening: centre and radius in pixels.

    Lids tell its size and height better than its blurred, half hidden edge does: over the 74
    people of the open sets that train, an iris is .208 of the opening across in radius, and its
    centre .13 of that radius above the middle between the lids. Where it is darkest tells the rest.
    """
    low, high = eye.min(0), eye.max(0)
    radius = 0.208 * (high[0] - low[0])
    height = (eye[1:4, 1].mean() + eye[5:8, 1].mean()) / 2 - 0.13 * radius
    pad = int(radius) + 3
    x0, y0 = int(low[0]) - pad, int(low[1]) - pad
    size = (int(high[0]) + pad - x0, int(high[1]) + pad - y0)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    patch = cv2.getRectSubPix(grey, size, (x0 + (size[0] - 1) / 2, y0 + (size[1] - 1) / 2)).astype(np.float32)
    inside = np.zeros(patch.shape, np.uint8)
    cv2.fillPoly(inside, [np.round(eye - (x0, y0)).astype(np.int32)], 1)
    columns, rows = np.arange(size[0]), np.arange(size[1])[:, None]
    best = (-1.0, (low[0] + high[0]) / 2)
    for x in np.arange(low[0] + radius, high[0] - radius + 0.5, 0.5):
        disc = inside * (np.hypot(columns - (x - x0), rows - (height - y0)) <= radius)
        if disc.sum() > 4:
            best = max(best, (float((disc * (255 - patch)).sum() / disc.sum()), float(x)))
    return best[1], float(height), float(radius)
