"""What each face did in the last seconds, for a line of small bars behind each Action Unit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..au import Label
from ..types import Frame, Scores


@dataclass
class _Past:
    """Of one face: strength [C, BINS], the oldest first, and the number of the last bin."""

    strength: np.ndarray
    bin: int


class Trends:
    """Remembers the strongest of each AU in short stretches of time.

    Attributes:
        SPAN: seconds that are remembered.
        BINS: stretches that these are cut into.
    """

    SPAN = 8.0
    BINS = 16

    def __init__(self) -> None:
        self._faces: dict[int, _Past] = {}
        self._aus: tuple[Label, ...] = ()

    def add(self, frame: Frame, scores: Scores) -> None:
        """Take the next frame; time that runs backwards, or other AUs, begin anew."""
        now = math.floor(frame.time * self.BINS / self.SPAN)
        if scores.aus != self._aus or any(past.bin > now for past in self._faces.values()):
            self._faces, self._aus = {}, scores.aus
        for past in self._faces.values():
            _move(past, now)
        strength = scores.strength
        for row, face in enumerate(scores.faces.ids.tolist()):
            past = self._faces.setdefault(face, _Past(np.full((len(scores.aus), self.BINS), np.nan), now))
            past.strength[:, -1] = np.fmax(past.strength[:, -1], strength[row])
        self._faces = {face: past for face, past in self._faces.items() if np.isfinite(past.strength).any()}

    def copy(self) -> dict[int, np.ndarray]:
        """By face id: strength float [C, BINS], 0..1, the oldest first; NaN where nothing is known."""
        # In one step, since another thread may add meanwhile.
        return {face: past.strength.copy() for face, past in list(self._faces.items())}


def _move(past: _Past, now: int) -> None:
    gone = min(now - past.bin, past.strength.shape[1])
    if gone:
        past.strength = np.roll(past.strength, -gone, axis=1)
        past.strength[:, -gone:] = np.nan
        past.bin = now
