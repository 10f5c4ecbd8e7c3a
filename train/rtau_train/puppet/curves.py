"""What a person does over time: Action Units that rise, last and fade, and everything else that a face does.

    script = draw_script(np.random.default_rng(1), seconds=20)
    moment = script.at(3.21)

A script is a function of time: smooth, without state, the same at any frame rate.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .habits import Habits, Motions, draw_motions, smooth_step
from .labels import GRADES, JAW, KNOTS, LID, LIP_GAP
from .sample import AUS, EYE_TURN, FORBIDDEN, OTHERS, PROTOTYPES, RECIPES, meet_lids, shapes_of

#: AUs without sides.
SIDELESS = (17, 25, 26)
#: A blink is written as AU 45 and moves the lids as 43 does.
BLINK = 45
#: Growth of the lip distance that activation 1 of AU 25 makes on the generic head, mm.
_LIPS_APART = 7.4
_HEAD_FOLLOWED = 0.85  # share of the head's turn that the eyes undo to keep looking where they looked
_SPOKEN = {18: "mouthPucker", 22: "mouthFunnel"}  # what syllables do besides parting lips and jaw
_COLUMN = {au: i for i, au in enumerate(AUS)} | {BLINK: AUS.index(43)}


def activation_of(au: int, intensity: float) -> float:
    """The activation 0..1 at which an AU on both sides is scored with this intensity, 0..5.

    For 25, 26 and 43, which are scored by what the picture shows, about so on an average face.
    """
    if au == 25:
        level = np.interp(intensity, GRADES, LIP_GAP) / _LIPS_APART
    elif au == 26:
        level = np.interp(intensity, GRADES, JAW) / RECIPES[26]["jawOpen"]
    elif au in (43, BLINK):
        level = np.interp(intensity, GRADES, np.r_[0, 1 - LID[1:]])
    else:
        level = np.interp(intensity, GRADES, KNOTS)
    return float(np.clip(level, 0, 1))


@dataclass(frozen=True)
class Event:
    """One AU rises, lasts and fades.

    Attributes:
        au: one of `sample.AUS`, or 45.
        start: when it begins to rise, s.
        onset, apex, offset: how long it rises, lasts and fades, s.
        levels: activation at the apex on the subject's left and right side, 0..1.
    """

    au: int
    start: float
    onset: float
    apex: float
    offset: float
    levels: tuple[float, float]

    @property
    def end(self) -> float:
        """When it has faded, s."""
        return self.start + self.onset + self.apex + self.offset

    def at(self, t: float) -> float:
        """Share 0..1 of its apex."""
        faded = t - self.start - self.onset - self.apex
        return smooth_step((t - self.start) / self.onset) - smooth_step(faded / self.offset)


@dataclass(frozen=True)
class Track:
    """One AU's activation at given times (s, rising), straight lines between them, constant beyond."""

    au: int
    times: tuple[float, ...]
    left: tuple[float, ...]
    right: tuple[float, ...]

    def at(self, t: float) -> tuple[float, float]:
        """Activation of the left and the right side, 0..1."""
        return float(np.interp(t, self.times, self.left)), float(np.interp(t, self.times, self.right))


@dataclass(frozen=True)
class Moment:
    """A face at one time.

    Attributes:
        activation: float32 [18, 2], per AU of `sample.AUS` and side (subject's left, right), 0..1; of 43,
            all that closes the lids, blinks too.
        shapes: rig blendshape coefficients by name, with speech and gaze.
        others: activation 0..1 of the AUs of `sample.OTHERS` that speech makes.
        yaw, pitch, roll: of the head, radians, as in `scene.Scene`.
        shift: of the head in the picture, shares of its height, x right, y down.
    """

    activation: np.ndarray
    shapes: dict[str, float]
    others: dict[int, float]
    yaw: float
    pitch: float
    roll: float
    shift: tuple[float, float]


@dataclass(frozen=True)
class Script:
    """What one person does for some seconds.

    Attributes:
        seconds: how long it lasts; it may be asked for any time, also beyond.
        events, tracks: the AUs; where several speak of one AU and side, the strongest counts.
        motions: everything else.
        source: where it comes from, for people to read.
    """

    seconds: float
    events: tuple[Event, ...] = ()
    tracks: tuple[Track, ...] = ()
    motions: Motions = Motions()
    source: str = "drawn"

    def at(self, t: float) -> Moment:
        """The face at `t` seconds."""
        activation = self._activation(t)
        shapes = shapes_of(activation)
        for name, value in self.motions.speech(t).items():
            shapes[name] = max(shapes.get(name, 0.0), value)
        yaw, pitch, roll = self.motions.head(t)
        for name, value in self._look(t, yaw, pitch).items():
            shapes[name] = shapes.get(name, 0.0) + value
        meet_lids(shapes)
        others = {au: shapes[name] / OTHERS[au][name] for au, name in _SPOKEN.items() if name in shapes}
        return Moment(activation.astype(np.float32), {n: float(np.clip(v, -0.6, 1.15)) for n, v in shapes.items()},
                      others, yaw, pitch, roll, (self.motions.wave("x", t), self.motions.wave("y", t)))

    def _activation(self, t: float) -> np.ndarray:
        activation = np.zeros((len(AUS), 2))
        for event in self.events:
            if event.start < t < event.end:
                row = activation[_COLUMN[event.au]]
                np.maximum(row, event.at(t) * np.array(event.levels), out=row)
        for track in self.tracks:
            row = activation[_COLUMN[track.au]]
            np.maximum(row, track.at(t), out=row)
        activation *= 1 + self.motions.wave("level", t)
        lids = activation[_COLUMN[43]]
        np.maximum(lids, self.motions.lids(t), out=lids)
        # The muscle that lifts the lid lets go while it closes.
        activation[_COLUMN[5]] *= 1 - np.clip(lids, 0, 1)
        return np.clip(activation, 0, 1)

    def _look(self, t: float, head_yaw: float, head_pitch: float) -> dict[str, float]:
        if not self.motions.saccades:
            return {}
        yaw, pitch = self.motions.sight(t)
        yaw, pitch = (float(np.tanh(angle / EYE_TURN)) for angle in
                      (yaw - _HEAD_FOLLOWED * head_yaw, pitch - _HEAD_FOLLOWED * head_pitch))
        # Image right is the subject's left: the left eye turns out and the right one in.
        return {"eyeLookOut_L": max(yaw, 0.0), "eyeLookIn_R": max(yaw, 0.0), "eyeLookIn_L": max(-yaw, 0.0),
                "eyeLookOut_R": max(-yaw, 0.0)} | {f"{name}_{side}": max(value, 0.0) for side in "LR"
                                                   for name, value in (("eyeLookDown", pitch), ("eyeLookUp", -pitch))}

    def as_dict(self) -> dict[str, Any]:
        """The same as plain dicts, lists and numbers, for JSON."""
        return asdict(self)


def draw_script(rng: np.random.Generator, seconds: float, *, habits: Habits | None = None) -> Script:
    """Draw what a person does: expressions after and over each other, some of them micro-expressions.

    AUs that no face shows at once, or whose shapes collide, never overlap.

    Args:
        seconds: how long.
        habits: what else the face does; drawn too when None (half of all people speak).
    """
    own, others = rng.spawn(2)
    if habits is None:
        speech = float(others.uniform(0.2, 0.6)) if others.random() < 0.5 else 0.0
        habits = Habits(blinks=float(others.uniform(0.7, 1.3)), speech=speech, head=float(others.uniform(0.3, 1.3)),
                        gaze=float(others.uniform(0.5, 1.2)))
    expressions = _draw_events(own, seconds)
    shut = tuple((e.start, e.end) for e in expressions if e.au == 43)
    motions = draw_motions(others, seconds, habits, shut)
    spoken = [(s.time - s.half, s.time + s.half) for s in motions.syllables]
    silent = set().union(*(one for one, other in FORBIDDEN if {25, 26} & other))
    events = [e for e in expressions if e.au not in silent
              or not any(e.start < end and e.end > start for start, end in spoken)]
    return Script(seconds, tuple(events), motions=motions)


def _draw_events(rng: np.random.Generator, seconds: float) -> list[Event]:
    events: list[Event] = []
    t = float(rng.uniform(0.4, 1.5))
    while t < seconds - 0.5:
        group = _draw_expression(rng, t)
        fits = all(not _collide(event, other) for event in group for other in events)
        if fits:
            events += group
        # Often the next begins before this has faded.
        longest = max(event.end for event in group) - t if fits else 0.3
        t += longest * float(rng.uniform(0.5, 1.1)) + float(rng.exponential(0.7))
    return events


def _draw_expression(rng: np.random.Generator, start: float) -> list[Event]:
    if rng.random() < 0.5:
        aus: tuple[int, ...] = (int(AUS[rng.integers(len(AUS))]),)
    else:
        aus = _possible(PROTOTYPES[rng.integers(len(PROTOTYPES))])
    micro = rng.random() < 0.12 and 43 not in aus
    if micro:
        onset, apex, offset = rng.uniform(0.06, 0.12), rng.uniform(0.04, 0.18), rng.uniform(0.1, 0.2)
    else:
        onset, apex, offset = rng.uniform(0.2, 0.8), np.exp(rng.uniform(np.log(0.2), np.log(3))), rng.uniform(0.3, 1.2)
    if 43 in aus:  # longer than a blink
        apex = max(apex, 0.6)
    sides = np.ones(2)
    if rng.random() < 0.1:
        sides[rng.integers(2)] = rng.uniform(0, 0.4)
    level = rng.uniform(0.15, 0.45) if micro or rng.random() < 0.3 else rng.uniform(0.4, 1.0)
    events = []
    for au in aus:
        jitter = rng.uniform(0.85, 1.15, 3)
        strength = 1.0 if au == 43 else level * rng.uniform(0.75, 1.1)
        levels = np.clip(strength * (np.ones(2) if au in (*SIDELESS, 43) else sides * rng.uniform(0.94, 1.06, 2)), 0, 1)
        begins = start + (0.0 if len(aus) == 1 else float(rng.uniform(0, 0.04 if micro else 0.15)))
        events.append(Event(au, begins, float(onset * jitter[0]), float(apex * jitter[1]), float(offset * jitter[2]),
                            (float(levels[0]), float(levels[1]))))
    return events


def _collide(one: Event, other: Event) -> bool:
    """Whether two events of drawn expressions may not both be: the same AU, or two that exclude each other."""
    apart = one.end + 0.1 <= other.start or other.end + 0.1 <= one.start
    return not apart and (one.au == other.au or exclude(one.au, other.au))


def _possible(aus: tuple[int, ...]) -> tuple[int, ...]:
    """Without the AUs that an earlier one excludes."""
    kept: list[int] = []
    for au in aus:
        if not any(exclude(au, other) for other in kept):
            kept.append(au)
    return tuple(kept)


def exclude(one: int, other: int) -> bool:
    """Whether two AUs can't be shown at once."""
    pair = {43 if au == BLINK else au for au in (one, other)}
    return any(pair & first and pair & second for first, second in FORBIDDEN)
