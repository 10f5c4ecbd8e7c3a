"""Smoothing over time, causal, per face and AU: the One-Euro filter and hysteresis for presence."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .au import Label
from .errors import UsageError
from .types import Frame, Scores

METHODS = ("one-euro", "off")

#: Presence switches on at the first and off below the second, and holds at least so many seconds.
#: Without smoothing it is simply `ON` that decides.
ON, OFF, HOLD = 0.5, 0.4, 0.1

#: A face not seen for longer than this starts anew.
GAP = 0.5

#: Frames less than this apart, seconds, are of one time: a speed between them would mean nothing.
_SAME = 1e-6

#: Lids move faster than anything else in a face, so they are smoothed less.
_FAST_AUS = (5, 43)


@dataclass
class _State:
    time: float
    value: np.ndarray  # [2C] presence and intensity / 5, filtered
    speed: np.ndarray  # [2C] per second, filtered
    on: np.ndarray  # bool [C]
    since: np.ndarray  # [C] time of the last switch


class Smoother:
    """Smooths the scores of every face by its id.

    Args:
        aus: labels of the columns.
        method: "one-euro" (Casiez, Roussel, Vogel: "1 Euro Filter", CHI 2012) or "off".
        min_cutoff: Hz below which slow motion is cut; smaller is steadier.
        beta: how much the cutoff grows with speed (in full scales per second); larger lags less.

    Raises:
        UsageError: an unknown method.
    """

    def __init__(self, aus: tuple[Label, ...], method: str = "one-euro", *, min_cutoff: float = 1.5,
                 beta: float = 1.0) -> None:
        if method not in METHODS:
            raise UsageError(f"unknown smoothing {method!r}: choose from {', '.join(METHODS)}")
        self.method = method
        cutoff = np.array([4 * min_cutoff if au in _FAST_AUS else min_cutoff for au in aus])
        self._cutoff = np.tile(cutoff, 2)
        #: Multiplies the cutoffs: above 1 there is less smoothing. May be changed while running.
        self.pace = 1.0
        self._beta = beta
        self._states: dict[int, _State] = {}

    @property
    def settings(self) -> dict[str, object]:
        """What a results file should say of the smoothing."""
        if self.method == "off":
            return {"method": "off", "presence_on": ON}
        return {"method": self.method, "min_cutoff_hz": float(self._cutoff.min()), "beta": self._beta,
                "presence_on": ON, "presence_off": OFF, "hold_s": HOLD}

    def __call__(self, frame: Frame, scores: Scores) -> Scores:
        """Smoothed scores; their `raw` are the given ones, or those before these."""
        if self.method == "off" or frame.still:
            return replace(scores, present=_above(scores), raw=scores.raw or scores)
        self._forget(frame.time)
        presence, intensity = scores.presence.copy(), scores.intensity.copy()
        present = np.zeros_like(scores.present)
        for row, face in enumerate(scores.faces.ids.tolist()):
            raw = np.concatenate([scores.presence[row], scores.intensity[row] / 5]).astype(np.float64)
            state = self._advance(self._states.get(face), frame.time, raw)
            self._states[face] = state
            count = len(scores.aus)
            judged = scores.assessable[row]
            presence[row] = np.where(judged, state.value[:count], np.nan)
            intensity[row] = np.where(judged, state.value[count:] * 5, np.nan)
            present[row] = state.on & judged
        return replace(scores, presence=presence, intensity=intensity, present=present, raw=scores.raw or scores)

    def _advance(self, state: _State | None, time: float, raw: np.ndarray) -> _State:
        count = len(raw) // 2
        if state is None:
            on = np.nan_to_num(raw[:count]) >= ON
            return _State(time, raw, np.zeros_like(raw), on, np.full(count, -np.inf))
        dt = time - state.time
        if dt < _SAME:  # two frames of one time: the later one counts
            return replace(state, value=np.where(np.isnan(raw), state.value, raw))
        known = ~np.isnan(raw) & ~np.isnan(state.value)
        speed_now = np.where(known, (raw - state.value) / dt, 0.0)
        speed = state.speed + _alpha(1.0, dt) * (speed_now - state.speed)
        cutoff = self.pace * (self._cutoff + self._beta * np.abs(speed))
        value = np.where(known, state.value + _alpha(cutoff, dt) * (raw - state.value),
                         np.where(np.isnan(raw), state.value, raw))
        chance = np.nan_to_num(value[:count])
        wanted = np.where(state.on, chance >= OFF, chance >= ON)
        switch = (wanted != state.on) & (time - state.since >= HOLD)
        return _State(time, value, speed, state.on ^ switch, np.where(switch, time, state.since))

    def _forget(self, time: float) -> None:
        """Drop faces that have been away, or all when time jumped backwards."""
        self._states = {face: s for face, s in self._states.items() if 0 <= time - s.time <= GAP}


def _alpha(cutoff: np.ndarray | float, dt: float) -> np.ndarray | float:
    """Share of a new value that an exponential filter of that cutoff (Hz) takes."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff * dt))


def _above(scores: Scores) -> np.ndarray:
    return (np.nan_to_num(scores.presence) >= ON) & scores.assessable
