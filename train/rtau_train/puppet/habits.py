"""What a face does besides expressing: blinks, speech, a moving head, eyes that look about, a little tremor.

Everything is drawn once into short lists of movements and is then a function of time alone:
smooth, the same at any frame rate, with no state from one call to the next.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np

#: Names of the mouth shapes of syllables and their coefficients at strength 1. All stay below what would
#: count as an AU of its own (10, 20); lips and jaw are read off the geometry.
VISEMES: dict[str, dict[str, float]] = {
    "open": {"mouthLowerDown_L": 0.25, "mouthLowerDown_R": 0.25, "mouthUpperUp_L": 0.04, "mouthUpperUp_R": 0.04},
    "round": {"mouthFunnel": 0.35},
    "narrow": {"mouthPucker": 0.4},
    "wide": {"mouthStretch_L": 0.05, "mouthStretch_R": 0.05, "mouthLowerDown_L": 0.12, "mouthLowerDown_R": 0.12},
}
_AXES = ("yaw", "pitch", "roll")


def smooth_step(x: float) -> float:
    """From 0 at x <= 0 to 1 at x >= 1 with the least jerk: no jump in speed or acceleration."""
    x = min(max(x, 0.0), 1.0)
    return x * x * x * (10 + x * (6 * x - 15))


@dataclass(frozen=True)
class Habits:
    """How much of each there is: 1 is usual, 0 none. Speech is the share of the time, 0..1."""

    blinks: float = 1.0
    speech: float = 0.0
    head: float = 1.0
    gaze: float = 1.0
    tremor: float = 1.0


@dataclass(frozen=True)
class Blink:
    """Lids that close and open again. Times in seconds; `depth` 1 closes them, less is a half blink."""

    start: float
    closing: float
    hold: float
    opening: float
    depth: float = 1.0

    @property
    def end(self) -> float:
        """When the lids are open again."""
        return self.start + self.closing + self.hold + self.opening

    def at(self, t: float) -> float:
        """How far the lids are closed, 0..1."""
        opened = t - self.start - self.closing - self.hold
        return self.depth * (smooth_step((t - self.start) / self.closing) - smooth_step(opened / self.opening))


@dataclass(frozen=True)
class Syllable:
    """The mouth opens and closes once: `time` of the peak and half its duration, s; jaw coefficient; lips' strength."""

    time: float
    half: float
    jaw: float
    viseme: str
    lips: float

    def at(self, t: float) -> float:
        """Share 0..1 of the peak."""
        return smooth_step(1 - abs(t - self.time) / self.half)


@dataclass(frozen=True)
class Gesture:
    """The head turns somewhere and back (`cycles` 0) or swings to and fro. Seconds, radians; `axis` names the angle."""

    start: float
    seconds: float
    axis: str
    angle: float
    cycles: float = 0.0

    def at(self, t: float) -> float:
        """Angle, radians."""
        x = (t - self.start) / self.seconds
        if not 0 < x < 1:
            return 0.0
        window = smooth_step(x / 0.3) * smooth_step((1 - x) / 0.3)
        return self.angle * window * (float(np.sin(2 * np.pi * self.cycles * x)) if self.cycles else 1.0)


@dataclass(frozen=True)
class Saccade:
    """The eyes jump to another line of sight, radians off the camera: `yaw` to image right, `pitch` down."""

    start: float
    seconds: float
    yaw: float
    pitch: float


@dataclass(frozen=True)
class Wave:
    """A sum of sines: Hz, amplitude and phase of each."""

    parts: tuple[tuple[float, float, float], ...] = ()

    def at(self, t: float) -> float:
        """Its value."""
        return sum(amplitude * float(np.sin(2 * np.pi * hertz * t + phase)) for hertz, amplitude, phase in self.parts)


@dataclass(frozen=True)
class Motions:
    """Everything that a face does besides expressing. Empty lists: it keeps still.

    Attributes:
        drift: slow and trembling motion of "yaw", "pitch", "roll" (radians), "x", "y" (shares of the
            picture's height) and "level" (share of an AU's strength).
    """

    blinks: tuple[Blink, ...] = ()
    syllables: tuple[Syllable, ...] = ()
    gestures: tuple[Gesture, ...] = ()
    saccades: tuple[Saccade, ...] = ()
    drift: dict[str, Wave] = field(default_factory=dict)

    def lids(self, t: float) -> float:
        """How far blinks close the lids, 0..1."""
        return max((blink.at(t) for blink in self.blinks if blink.start < t < blink.end), default=0.0)

    def speech(self, t: float) -> dict[str, float]:
        """Coefficients of the speaking mouth."""
        shapes: dict[str, float] = {}
        for syllable in self.syllables:
            share = syllable.at(t)
            if share > 0:
                own = {"jawOpen": syllable.jaw} | {n: syllable.lips * v for n, v in VISEMES[syllable.viseme].items()}
                for name, value in own.items():
                    shapes[name] = max(shapes.get(name, 0.0), share * value)
        return shapes

    def head(self, t: float) -> tuple[float, float, float]:
        """Yaw, pitch and roll, radians."""
        angles = {axis: self.wave(axis, t) for axis in _AXES}
        for gesture in self.gestures:
            angles[gesture.axis] += gesture.at(t)
        return angles["yaw"], angles["pitch"], angles["roll"]

    def sight(self, t: float) -> tuple[float, float]:
        """Line of sight off the camera: yaw to image right and pitch down, radians."""
        last = bisect_right([saccade.start for saccade in self.saccades], t) - 1
        if last < 0:
            return 0.0, 0.0
        now = self.saccades[last]
        before = self.saccades[last - 1] if last else Saccade(now.start, 1, 0, 0)
        share = smooth_step((t - now.start) / now.seconds)
        return before.yaw + share * (now.yaw - before.yaw), before.pitch + share * (now.pitch - before.pitch)

    def wave(self, name: str, t: float) -> float:
        """Value of one of `drift`; 0 where there is none."""
        return self.drift[name].at(t) if name in self.drift else 0.0


def draw_motions(rng: np.random.Generator, seconds: float, habits: Habits,
                 shut: tuple[tuple[float, float], ...] = ()) -> Motions:
    """Draw what a face does in `seconds`; it blinks at no time of `shut` (from, to)."""
    # Each has its own stream of chance, so that turning one off leaves the others as they were.
    blink, speech, head, gaze, tremor = rng.spawn(5)
    return Motions(_draw_blinks(blink, seconds, habits.blinks, shut), _draw_syllables(speech, seconds, habits.speech),
                   _draw_gestures(head, seconds, habits.head), _draw_saccades(gaze, seconds, habits.gaze),
                   _draw_drift(tremor, habits))


def draw_blink(rng: np.random.Generator, start: float) -> Blink:
    """One blink: about 80 ms down, 150 ms up; one in eight stays half open."""
    depth = float(rng.uniform(0.45, 0.7)) if rng.random() < 0.125 else 1.0
    return Blink(start, float(rng.uniform(0.065, 0.1)), float(rng.uniform(0.01, 0.05)), float(rng.uniform(0.12, 0.19)),
                 depth)


def _draw_blinks(rng, seconds: float, amount: float, shut) -> tuple[Blink, ...]:
    blinks: list[Blink] = []
    if amount <= 0:
        return ()
    t = float(rng.uniform(0.3, 4.0)) / amount
    while t < seconds:
        pair = [draw_blink(rng, t)]
        if rng.random() < 0.1:
            pair.append(draw_blink(rng, pair[0].end + float(rng.uniform(0.03, 0.15))))
        blinks += [b for b in pair if not any(b.start < end + 0.3 and b.end > start - 0.3 for start, end in shut)]
        t = pair[-1].end + float(rng.uniform(2.0, 6.0)) / amount
    return tuple(blinks)


def _draw_syllables(rng, seconds: float, share: float) -> tuple[Syllable, ...]:
    syllables: list[Syllable] = []
    if share <= 0:
        return ()
    t = float(rng.uniform(0, 1.5)) * (1 - share)
    while t < seconds:
        burst = float(rng.uniform(0.8, 3.0))
        rate, end = float(rng.uniform(3.0, 6.0)), t + burst
        while (peak := t + 0.5 / rate) < min(end, seconds):
            own = rate * float(rng.uniform(0.8, 1.25))
            syllables.append(Syllable(peak, 0.62 / own, float(rng.uniform(0.03, 0.22)),
                                      str(rng.choice(list(VISEMES))), float(rng.uniform(0.3, 1.0))))
            t += 1 / own
        t = end + burst * (1 - share) / share * float(rng.uniform(0.6, 1.4))
    return tuple(syllables)


def _draw_gestures(rng, seconds: float, amount: float) -> tuple[Gesture, ...]:
    gestures: list[Gesture] = []
    if amount <= 0:
        return ()
    t = float(rng.uniform(0.5, 5.0))
    while t < seconds:
        kind, length = rng.random(), float(rng.uniform(1.2, 3.5))
        if kind < 0.4:
            angles = {"yaw": rng.normal(0, 13), "pitch": rng.normal(0, 5), "roll": rng.normal(0, 4)}
            limits = {"yaw": 24, "pitch": 10, "roll": 9}
            for axis, angle in angles.items():
                angle = np.clip(amount * angle, -limits[axis], limits[axis])
                gestures.append(Gesture(t, length, axis, float(np.radians(angle))))
        else:
            length = float(rng.uniform(0.8, 1.8))
            axis, size = ("pitch", rng.uniform(2, 6)) if kind < 0.8 else ("yaw", rng.uniform(3, 8))
            cycles = round(length * float(rng.uniform(1.3, 2.6)))
            gestures.append(Gesture(t, length, axis, float(np.radians(min(amount * size, 10))), max(cycles, 1)))
        t += length + float(rng.exponential(3.0)) + 0.3
    return tuple(gestures)


def _draw_saccades(rng, seconds: float, amount: float) -> tuple[Saccade, ...]:
    saccades: list[Saccade] = []
    if amount <= 0:
        return ()
    yaw = pitch = t = 0.0
    while t < seconds:
        # Mostly at the camera and round about it, at times elsewhere.
        spread = np.radians((1.2, 1.0) if rng.random() < 0.65 else (9.0, 5.0))
        to = np.clip(amount * spread * rng.standard_normal(2), np.radians((-22, -12)), np.radians((22, 12)))
        jump = float(np.degrees(np.hypot(to[0] - yaw, to[1] - pitch)))
        saccades.append(Saccade(t, 0.021 + 0.0022 * jump, float(to[0]), float(to[1])))  # the eyes' main sequence
        yaw, pitch = float(to[0]), float(to[1])
        t += float(np.clip(rng.lognormal(-0.4, 0.7), 0.15, 4.0))
    return tuple(saccades)


def _draw_drift(rng, habits: Habits) -> dict[str, Wave]:
    slow = {"yaw": np.radians(2.5), "pitch": np.radians(1.6), "roll": np.radians(1.5), "x": 0.008, "y": 0.006}
    fast = {"yaw": np.radians(0.06), "pitch": np.radians(0.06), "roll": np.radians(0.04), "level": 0.015}

    def waves(size: float, low: float, high: float) -> list[tuple[float, float, float]]:
        return [(float(rng.uniform(low, high)), float(size * rng.uniform(0.4, 1.0)), float(rng.uniform(0, 2 * np.pi)))
                for _ in range(3)] if size else []

    drift = {}
    for name in (*slow, "level"):
        parts = waves(habits.head * slow.get(name, 0.0), 0.04, 0.35) + waves(habits.tremor * fast.get(name, 0.0), 4, 9)
        if parts:
            drift[name] = Wave(tuple(parts))
    return drift
