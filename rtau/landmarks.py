"""68 points, a face-presence score and head pose, from a square around a face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from .backends import Runner
from .crop import apply, invert, region_matrix
from .store import Weights

if TYPE_CHECKING:
    from .cutter import Cutter

#: The square of the network's crop, as a multiple of the larger side of the points' box.
REGION_SCALE = 1.35
#: What lies beyond the picture shows as this grey: its mirrored border would make a whole face of half a one.
BEYOND = 127


@dataclass(frozen=True)
class Marks:
    """Landmarks of N regions of one picture.

    Attributes:
        points: float32 [N, 68, 2], x, y in picture pixels (pixel centres at integers).
        presence: float32 [N], probability 0..1 that the region holds a face.
        pose: float32 [N, 3], yaw, pitch, roll in radians, signs as in `rtau.types.Faces`.
    """

    points: np.ndarray
    presence: np.ndarray
    pose: np.ndarray


class Landmarker(Protocol):
    """Anything that finds 68 points in regions of a picture."""

    name: str

    def __call__(self, image: np.ndarray, regions: np.ndarray) -> Marks:
        """Landmarks in regions float [N, 4] (centre x, y, side, roll) of a uint8 RGB picture."""


def region_of_points(points: np.ndarray, scale: float = REGION_SCALE) -> np.ndarray:
    """The upright square of a face from its points [68, 2]: float32 [4], centre x, y, side, roll."""
    right_eye, left_eye = points[36:42].mean(0), points[42:48].mean(0)
    dx, dy = left_eye - right_eye
    roll = float(np.arctan2(dy, dx))
    cosine, sine = np.cos(roll), np.sin(roll)
    upright = points @ np.array([[cosine, -sine], [sine, cosine]])
    low, high = upright.min(0), upright.max(0)
    centre = np.array([[cosine, -sine], [sine, cosine]]) @ ((low + high) / 2)
    return np.array([*centre, scale * float((high - low).max()), roll], np.float32)


def region_of_box(box: np.ndarray) -> np.ndarray:
    """The level square of a detector's box [4] (left, top, right, bottom): float32 [4].

    Such boxes reach from about the hairline to the chin (`rtau.detect`), the points only from the
    brows, so their square lies lower.
    """
    left, top, right, bottom = (float(v) for v in box)
    height = bottom - top
    side = 1.05 * max(height, 1.25 * (right - left))
    return np.array([(left + right) / 2, bottom - 0.38 * height, side, 0.0], np.float32)


def fill_beyond(crop: np.ndarray, matrix: np.ndarray, picture: tuple[int, int]) -> None:
    """Paint what lies beyond the picture, in place.

    Args:
        crop: uint8 [S, S, 3].
        matrix: [2, 3], from the picture's pixels to the crop's.
        picture: height and width of the picture.
    """
    size, (height, width) = crop.shape[0], picture
    back = invert(matrix)
    ends = np.array([[0, 0], [size - 1, 0], [0, size - 1], [size - 1, size - 1]]) @ back[:, :2].T + back[:, 2]
    if (ends > -0.5).all() and (ends < [width - 0.5, height - 0.5]).all():
        return
    along = np.arange(size, dtype=np.float32)
    x, y = (np.add.outer(row[1] * along + row[2], row[0] * along) for row in back.astype(np.float32))
    crop[(x < -0.5) | (x > width - 0.5) | (y < -0.5) | (y > height - 0.5)] = BEYOND


class LandmarkReader:
    """rtau's own landmark network.

    Args:
        weights: the "landmarks" entry of the manifest.
        runner: the network, ready to run.
        cutter: cuts what the runner takes; the CPU when None.
    """

    name = "rtau"

    def __init__(self, weights: Weights, runner: Runner, cutter: Cutter | None = None) -> None:
        from .cutter import HostCutter  # it imports this module

        self._size = int(weights.facts["config"]["size"])
        self._runner = runner
        self._cutter = cutter or HostCutter()

    def __call__(self, image: np.ndarray, regions: np.ndarray) -> Marks:
        if not len(regions):
            return Marks(np.zeros((0, 68, 2), np.float32), np.zeros(0, np.float32), np.zeros((0, 3), np.float32))
        matrices = np.stack([region_matrix(region, self._size) for region in regions])
        points, logit, pose = self._runner(self._cutter.cut(image, matrices, self._size, paint=True))
        points = np.stack([apply(invert(m), p) for m, p in zip(matrices, points, strict=True)])
        # The network sees an upright crop; the head's roll is the crop's plus what is left.
        pose = pose + np.array([[0.0, 0.0, region[3]] for region in regions])
        presence = 1 / (1 + np.exp(-np.clip(logit, -40, 40)))
        return Marks(points.astype(np.float32), presence.astype(np.float32), pose.astype(np.float32))

    region_of_points = staticmethod(region_of_points)
    region_of_box = staticmethod(region_of_box)
