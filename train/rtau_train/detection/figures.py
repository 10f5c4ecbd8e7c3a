"""How well faces are found in pictures whose faces are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from rtau.boxes import iou

#: A face is found by a box that overlaps its own by so much (common by joint area).
OVERLAP = 0.5
#: Sides of faces, pixels, that recall is told of separately: from, to.
SIZES = ((9, 16), (16, 32), (32, 64), (64, 128), (128, 10_000))


@dataclass
class Tally:
    """What was found in pictures, one `add` a picture."""

    scores: list[float] = field(default_factory=list)  # of every box that is neither on an ignored face
    right: list[bool] = field(default_factory=list)
    sides: list[float] = field(default_factory=list)  # of every face to be found
    reached: list[float] = field(default_factory=list)  # best score of a box on it, 0 for none
    errors: list[float] = field(default_factory=list)  # of the points of found faces, by the face's side
    pictures: int = 0

    def add(self, found: np.ndarray, boxes: np.ndarray, points: np.ndarray, ignored: np.ndarray) -> None:
        """Count a picture.

        Args:
            found: [K, 5] or [K, 15] rows of `rtau.detect_rtau.decode`, one a face.
            boxes, points, ignored: [F, 4], [F, 5, 2] and bool [F] as in `composites.Composite`.
        """
        self.pictures += 1
        taken = np.zeros(len(boxes), bool)
        sides = np.sqrt(np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(1))
        reached = np.zeros(len(boxes))
        common = iou(found[:, :4], boxes) if len(boxes) else np.zeros((len(found), 0))
        for row in np.argsort(-found[:, 4], kind="stable"):
            free = np.where(taken, 0, common[row])
            face = int(np.argmax(free)) if len(boxes) else -1
            if face >= 0 and free[face] >= OVERLAP:
                taken[face] = True
                if ignored[face]:
                    continue
                reached[face] = found[row, 4]
                if found.shape[1] == 15:
                    apart = np.linalg.norm(found[row, 5:].reshape(5, 2) - points[face], axis=1).mean()
                    self.errors.append(float(apart / max(sides[face], 1e-6)))
            elif len(boxes) and (common[row] * ignored).max() > 0.2:
                continue
            self.scores.append(float(found[row, 4]))
            self.right.append(face >= 0 and bool(free[face] >= OVERLAP))
        self.sides += sides[~ignored].tolist()
        self.reached += reached[~ignored].tolist()

    def average_precision(self) -> float:
        """Area under precision over recall, 0..1; NaN where there is no face."""
        if not self.sides:
            return float("nan")
        order = np.argsort(-np.array(self.scores), kind="stable")
        right = np.array(self.right, bool)[order]
        recall, precision = np.cumsum(right) / len(self.sides), np.cumsum(right) / np.arange(1, len(right) + 1)
        best = np.maximum.accumulate(precision[::-1])[::-1]
        return float((np.diff(np.r_[0, recall]) * best).sum())

    def recall(self, score: float, least: float = 0, most: float = float("inf")) -> float:
        """Share of the faces with sides from `least` to below `most` that are found at that least score; NaN for none."""
        sides, reached = np.array(self.sides), np.array(self.reached)
        among = (sides >= least) & (sides < most)
        return float((reached[among] >= score).mean()) if among.any() else float("nan")

    def false(self, score: float) -> float:
        """Boxes a picture that are on no face, at that least score."""
        scores, right = np.array(self.scores), np.array(self.right, bool)
        return float(((scores >= score) & ~right).sum() / max(self.pictures, 1))

    def error(self) -> float:
        """Mean distance of the five points by the face's side, of found faces; NaN for none."""
        return float(np.mean(self.errors)) if self.errors else float("nan")


def merge(tallies: Sequence[Tally]) -> Tally:
    """All pictures of several."""
    out = Tally()
    for tally in tallies:
        for name in ("scores", "right", "sides", "reached", "errors"):
            getattr(out, name).extend(getattr(tally, name))
        out.pictures += tally.pictures
    return out
