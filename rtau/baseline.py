"""A slow baseline of each face, for recordings without a moment of rest."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np

from .au import Label
from .blink import CLOSED
from .calibrate import check_rest
from .odds import chance, log_odds, ordinary_odds, quantile
from .smooth import ON
from .types import Frame, Scores

BASELINES = ("off", "auto")
#: Most that is taken off the log-odds of an AU.
_MOST_OFF = 4.0


class Baseline:
    """A slow baseline of each face, for recordings without a resting moment: what a face shows in its quietest fifth.

    Off unless asked for. It knows nothing for the first seconds, and a movement that lasts for minutes becomes part of
    the resting face: that is what makes it a choice.

    Args:
        aus: AU numbers of the scores.
        ordinary: see `rtau.calibrate.Calibrator`.
        seconds: how far back it looks.

    Raises:
        UsageError: the scores are of attributes, which have no resting state.
    """

    #: Chances are looked at so many times a second.
    RATE = 2.0
    #: Share of the time that a face is taken to rest, for each AU.
    QUIET = 0.2
    #: Seconds after which it says something.
    FIRST = 10.0

    def __init__(self, aus: tuple[Label, ...], ordinary: dict[int, float] | None = None, *,
                 seconds: float = 120.0) -> None:
        check_rest(aus)
        self._ordinary = ordinary_odds(aus, ordinary)
        self._free = np.array(aus) == CLOSED
        self._seconds = seconds
        self._past: dict[int, deque[tuple[float, np.ndarray]]] = {}

    def __call__(self, frame: Frame, scores: Scores) -> Scores:
        """Calibrated scores of the next frame, with the given ones as `raw`."""
        if not len(scores) or frame.still:
            return scores
        presence = scores.presence.copy()
        for row, face in enumerate(scores.faces.ids.tolist()):
            past = self._past.setdefault(face, deque())
            odds = log_odds(scores.presence[row])
            if not past or not 0 <= frame.time - past[-1][0] < 1 / self.RATE:
                past.append((frame.time, odds))
            while past and not 0 <= frame.time - past[0][0] <= self._seconds:
                past.popleft()
            if past and frame.time - past[0][0] >= self.FIRST:
                off = (quantile(np.stack([o for _, o in past]), self.QUIET) - self._ordinary).clip(0, _MOST_OFF)
                presence[row] = chance(odds - np.where(self._free | ~np.isfinite(off), 0, off))
        self._past = {face: past for face, past in self._past.items()
                      if past and 0 <= frame.time - past[-1][0] <= self._seconds}
        return replace(scores, presence=presence, present=(np.nan_to_num(presence) >= ON) & scores.assessable,
                       raw=scores.raw or scores)
