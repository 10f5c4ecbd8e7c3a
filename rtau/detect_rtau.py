"""rtau's own finder of faces, behind the interface of `rtau.detect`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from .backends import Runner, choose, open_backend
from .boxes import suppress
from .detect import ResizedSearch
from .errors import RtauError
from .store import find_weights, open_weights

#: Pixels from cell to cell of the network's maps, as `rtau.finder.STRIDES` (which loads torch).
_STRIDES = (8, 16, 32)
#: Sides of what the network takes are multiples of this.
UNIT = 32
#: What fills a picture up to such sides, grey level.
FILL = 127


class Finder(ResizedSearch):
    """A `rtau.finder.FinderNet`.

    Args:
        runner: the network, ready to run.
        widths: see `rtau.detect.open_detector`.
        min_score: least score, 0..1.
    """

    def __init__(self, runner: Runner, *, widths: Sequence[int] = (320,), min_score: float = 0.5) -> None:
        super().__init__("rtau", widths, min_score)
        self._runner = runner

    def find(self, small: np.ndarray) -> np.ndarray:
        return self._read(small)[:, :5]

    def find_points(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes and scores as `rtau.detect.Detector` gives them, of the first width alone, and five points of each.

        Returns:
            float32 [N, 4], [N] and [N, 5, 2]: centres of the eyes, tip of the nose, corners of the mouth, image left
            first, x, y in pixels of the picture (pixel centres at integers).
        """
        h, w = image.shape[:2]
        small = self.shrink(image, self.widths[0])
        rows = self._read(small)
        rows = rows[suppress(rows[:, :4], rows[:, 4])]
        scale = np.array([w / small.shape[1], h / small.shape[0]])
        points = (rows[:, 5:].reshape(-1, 5, 2) + 0.5) * scale - 0.5
        return ((rows[:, :4] * np.tile(scale, 2)).astype(np.float32), rows[:, 4].astype(np.float32),
                points.astype(np.float32))

    def _read(self, small: np.ndarray) -> np.ndarray:
        scores, boxes, points = self._runner(fill(small)[None])
        return decode(scores[0], boxes[0], points[0], small.shape[:2], self.min_score)


def open_finder(model: str | Path | None = None, *, widths: Sequence[int] = (320,), min_score: float = 0.4,
                device: str = "cpu") -> Finder:
    """Load rtau's finder.

    Args:
        model: a file that `rtau export` wrote, of a detector; None: the shipped one.
        widths, min_score: see `rtau.detect.open_detector`.
        device: "cpu" or "cuda".

    Raises:
        RtauError: there are no such weights, they are damaged, or they are of another kind of network.
        UsageError: the device can't be had here.
    """
    weights = find_weights("detector") if model is None else open_weights(model)
    if weights.facts["kind"] != "detector":
        raise RtauError(f"{weights.path} holds no detector but a network of kind {weights.facts['kind']!r}: give one "
                        "that rtau export wrote from the task \"detector\"")
    engine, place = choose("auto", device)
    # Too small for two cores to share; but torch's threads are those of all networks.
    runner = open_backend(weights, engine, place, threads=None if engine == "torch" else 1)
    return Finder(runner, widths=widths, min_score=min_score)


def fill(image: np.ndarray) -> np.ndarray:
    """A picture uint8 [H, W, 3], made up at the right and below to sides that the network takes."""
    height, width = image.shape[:2]
    below, right = -height % UNIT, -width % UNIT
    if not (below or right):
        return image
    return cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT, value=(FILL,) * 3)


def decode(scores: np.ndarray, boxes: np.ndarray, points: np.ndarray, shape: tuple[int, int],
           min_score: float) -> np.ndarray:
    """What a network says of one picture as faces; a face may have several rows.

    Args:
        scores, boxes, points: [A], [4, A] and [10, A] as `rtau.finder.FinderNet` gives them.
        shape: height and width of the picture, in pixels, before it was filled up.
        min_score: least score, 0..1.

    Returns:
        float64 [K, 15]: left, top, right, bottom in pixels, score 0..1, and x, y of five points
        (pixel centres at integers).
    """
    chance = 1 / (1 + np.exp(-np.clip(scores.astype(np.float64), -40, 40)))
    found = np.flatnonzero(chance >= min_score)
    places, strides = cells(-(-shape[0] // UNIT) * UNIT, -(-shape[1] // UNIT) * UNIT)
    place, stride = places[found], strides[found, None]
    box = boxes[:, found].T.astype(np.float64)
    centre, half = place + box[:, :2] * stride, np.exp(np.clip(box[:, 2:], -4, 6)) * stride / 2
    marks = place[:, None] + points[:, found].T.reshape(-1, 5, 2) * stride[:, None]
    return np.concatenate([centre - half, centre + half, chance[found, None], marks.reshape(-1, 10)], 1)


@lru_cache(16)
def cells(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres x, y float64 [A, 2], in pixels, and strides [A] of the cells of a picture's maps, as the network has them."""
    places, strides = [], []
    for stride in _STRIDES:
        y, x = np.mgrid[:height // stride, :width // stride]
        places.append(np.stack([x.ravel(), y.ravel()], 1) * stride + (stride - 1) / 2)
        strides.append(np.full(y.size, float(stride)))
    return np.concatenate(places), np.concatenate(strides)
