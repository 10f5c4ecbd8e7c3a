"""What a whole run showed: peak, mean and share of time of each Action Unit, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .au import Label
from .types import Frame, Scores

#: Different faces that are told apart when counting; a run with more is counted as this many.
_MOST_FACES = 100_000


@dataclass(frozen=True)
class AuSummary:
    """One Action Unit, or another attribute, over a run, all faces together.

    Attributes:
        au: its number, or its name.
        peak: highest intensity, 0..5; NaN if it could never be judged, or the network tells presence alone.
        chance: highest probability of presence, 0..1; NaN if it could never be judged.
        peak_time: seconds, when the peak was, or without intensities the highest probability; NaN likewise.
        peak_input: file of that frame, as `Frame.input`.
        mean: mean intensity over the judged face pictures, 0..5; NaN as the peak.
        present: share of the judged face pictures in which it was present, 0..1; NaN if there are none.
        judged: how many face pictures allowed a judgement.
    """

    au: Label
    peak: float
    chance: float
    peak_time: float
    peak_input: str
    mean: float
    present: float
    judged: int


class Summary:
    """Adds up the scores of a run; its memory does not grow with the run's length.

    Attributes:
        frames: frames seen.
        frames_with_face: those with at least one face.
        rows: faces seen, counted anew in each frame.
    """

    def __init__(self) -> None:
        self.frames = self.frames_with_face = self.rows = 0
        self._aus: tuple[Label, ...] = ()
        self._ids: set[int] = set()

    @property
    def faces(self) -> int:
        """Different faces (ids) seen."""
        return len(self._ids)

    def add(self, frame: Frame, scores: Scores) -> None:
        """Count one frame. All frames of a run have the same AUs."""
        if not self._aus:
            n = len(scores.aus)
            self._aus = scores.aus
            self._judged, self._present = np.zeros(n, np.int64), np.zeros(n, np.int64)
            # Highest of what bars show, which says when, and of both that it may be.
            self._sum, self._highest, self._peak, self._chance = np.zeros(n), *np.full((3, n), -1.0)
            self._when: list[tuple[float, str]] = [(float("nan"), "")] * n
        self.frames += 1
        self.frames_with_face += len(scores) > 0
        self.rows += len(scores)
        if len(scores) == 0:
            return
        if len(self._ids) < _MOST_FACES:
            self._ids.update(scores.faces.ids.tolist())
        strength = scores.strength
        known = ~np.isnan(strength)
        self._judged += known.sum(0)
        self._present += (scores.present & known).sum(0)
        # Without intensities these sums are NaN, and stay so.
        self._sum += np.where(known, scores.intensity, 0.0).sum(0)
        for kept, values in ((self._peak, scores.intensity), (self._chance, scores.presence)):
            np.maximum(kept, np.where(known, values, -1.0).max(0), out=kept)
        highest = np.where(known, strength, -1.0).max(0)
        for column in np.flatnonzero(highest > self._highest):
            self._highest[column] = highest[column]
            self._when[column] = frame.time, frame.input

    def strongest(self, count: int | None = None) -> list[AuSummary]:
        """The AUs by their peak, or their highest probability; the highest first, those never judged last."""
        nan = float("nan")
        found = []
        for i, au in enumerate(self._aus):
            n = int(self._judged[i])
            found.append(AuSummary(au, float(self._peak[i]) if n else nan, float(self._chance[i]) if n else nan,
                                   *self._when[i], float(self._sum[i]) / n if n else nan,
                                   int(self._present[i]) / n if n else nan, n))
        found.sort(key=_rank)
        return found[:count]


def _rank(one: AuSummary) -> tuple[float, float]:
    if not one.judged:
        return 1.0, 0.0
    return (-one.chance, -one.present) if np.isnan(one.peak) else (-one.peak, -one.mean)
