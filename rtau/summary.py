"""What a whole run showed: peak, mean and share of time of each Action Unit, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .types import Frame, Scores

#: Different faces that are told apart when counting; a run with more is counted as this many.
_MOST_FACES = 100_000


@dataclass(frozen=True)
class AuSummary:
    """One Action Unit over a run, all faces together.

    Attributes:
        au: its number.
        peak: highest intensity, 0..5; NaN if it could never be judged.
        peak_time: seconds, when that was; NaN likewise.
        peak_input: file of that frame, as `Frame.input`.
        mean: mean intensity over the judged face pictures, 0..5; NaN likewise.
        present: share of the judged face pictures in which it was present, 0..1; NaN likewise.
        judged: how many face pictures allowed a judgement.
    """

    au: int
    peak: float
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
        self._aus: tuple[int, ...] = ()
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
            self._sum, self._peak = np.zeros(n), np.full(n, -1.0)
            self._when: list[tuple[float, str]] = [(float("nan"), "")] * n
        self.frames += 1
        self.frames_with_face += len(scores) > 0
        self.rows += len(scores)
        if len(scores) == 0:
            return
        if len(self._ids) < _MOST_FACES:
            self._ids.update(scores.faces.ids.tolist())
        known = scores.assessable & ~np.isnan(scores.intensity)
        intensity = np.where(known, scores.intensity, 0.0)
        self._judged += known.sum(0)
        self._present += (scores.present & known).sum(0)
        self._sum += intensity.sum(0)
        highest = np.where(known, intensity, -1.0).max(0)
        for column in np.flatnonzero(highest > self._peak):
            self._peak[column] = highest[column]
            self._when[column] = frame.time, frame.input

    def strongest(self, count: int | None = None) -> list[AuSummary]:
        """The AUs by their peak, highest first; those never judged come last."""
        nan = float("nan")
        found = []
        for i, au in enumerate(self._aus):
            n = int(self._judged[i])
            found.append(AuSummary(au, float(self._peak[i]) if n else nan, *self._when[i],
                                   float(self._sum[i]) / n if n else nan, int(self._present[i]) / n if n else nan, n))
        found.sort(key=lambda one: (-one.peak, -one.mean) if one.judged else (1.0, 0.0))
        return found[:count]
