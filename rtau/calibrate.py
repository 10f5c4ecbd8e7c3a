"""A person's resting face: looked at once, kept in a file, and taken off what is seen later.

Faces differ at rest: low corners of the mouth look like AU15, a heavy brow like AU4. What the network says of a
person's resting face, beyond what it says of an ordinary one, is therefore subtracted, on the scale on which the
network adds up its evidence (log-odds of presence). Raw values stay as they are.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from .au import Label, are_attributes, look_up
from .blink import CLOSED
from .errors import InputError, RtauError, UsageError
from .odds import chance, log_odds, ordinary_odds, quantile
from .smooth import ON
from .types import Frame, Scores

#: Format of the file.
_VERSION = 1
#: Most by which a resting face's log-odds of an AU lie above those of an ordinary one, and below them, to be believed.
_ABOVE, _BELOW = 4.0, 1.0
#: This share of it is taken off: a habit fills a part of the scale, and what is left of it says less.
_SHARE = 0.7
#: Added in turn: once a face is known at rest, the same evidence is worth more. Share and addition were chosen on
#: renders of people who validate, with one neutral photograph of each as the resting face.
_SURER = 0.4
#: A resting face is told from so many frames at least, over so many seconds.
_LEAST_FRAMES, _LEAST_SECONDS = 15, 1.0
#: A frame whose chance of any AU lies this far from the median shows a movement, such as a blink or a word.
_MOVED = 0.25
#: Least quality of the picture.
_LEAST_QUALITY = 0.3
#: Of frames that show no movement so many must be left, as a share.
_LEAST_STILL = 0.5


@dataclass(frozen=True)
class Profile:
    """What the network says of a person's resting face.

    Attributes:
        aus: AU numbers.
        presence: of each, 0..1, the median over frames at rest; NaN where it could not be judged.
        intensity: of each, 0..5, likewise.
        frames: how many.
        weights: sha256 of the AU network's weights; another network has other habits.
        made: when, ISO 8601.
    """

    aus: tuple[int, ...]
    presence: tuple[float, ...]
    intensity: tuple[float, ...]
    frames: int
    weights: str
    made: str

    @property
    def doubts(self) -> tuple[str, ...]:
        """What makes one wonder whether the face was at rest, for people."""
        return tuple(f"AU{au} ({look_up(au).name}) was there all the time" for au, presence in
                     zip(self.aus, self.presence, strict=True) if presence >= 0.8)

    def save(self, path: Path) -> None:
        """Write it as JSON.

        Raises:
            OutputError: it can't be written.
        """
        from .sinks.paths import replaced

        numbers = {name: [None if math.isnan(value) else value for value in getattr(self, name)]
                   for name in ("presence", "intensity")}
        text = json.dumps({"rtau_profile": _VERSION, **asdict(self), **numbers}, indent=1)
        with replaced(path, folder=False, alone=False) as file:
            file.write(text + "\n")

    @classmethod
    def load(cls, path: Path) -> Profile:
        """Read what `save` wrote.

        Raises:
            InputError: it can't be read, or is none.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values.pop("rtau_profile") != _VERSION:
                raise InputError(f"{path} was written by another version of rtau: calibrate again")
            numbers = {name: tuple(math.nan if v is None else float(v) for v in values[name])
                       for name in ("presence", "intensity")}
            profile = cls(tuple(int(au) for au in values["aus"]), **numbers, frames=int(values["frames"]),
                          weights=str(values["weights"]), made=str(values["made"]))
        except OSError as error:
            raise InputError(f"can't read {path} ({error.strerror}): name a profile that rtau calibrate made") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(f"{path} is no profile: make one with rtau calibrate") from None
        if not len(profile.aus) == len(profile.presence) == len(profile.intensity):
            raise InputError(f"{path} is no profile: make one with rtau calibrate")
        return profile


class RestError(RtauError):
    """No resting face could be told from what was seen."""


class Resting:
    """Watches one face until its resting state is known.

    Args:
        weights: sha256 of the AU network's weights.
    """

    def __init__(self, weights: str) -> None:
        self._weights = weights
        self._aus: tuple[Label, ...] = ()
        self._times: list[float] = []
        self._rows: list[np.ndarray] = []  # [2, C], presence and intensity

    def add(self, frame: Frame, scores: Scores, row: int) -> None:
        """Take what a frame shows of the face; poor pictures are left out."""
        if scores.quality[row] >= _LEAST_QUALITY and scores.assessable[row].mean() > 0.5:
            self._aus = scores.aus
            self._times.append(frame.time)
            self._rows.append(np.stack([scores.presence[row], scores.intensity[row]]).astype(np.float64))

    def __len__(self) -> int:
        """Frames that were taken."""
        return len(self._rows)

    def profile(self) -> Profile:
        """The resting face.

        Raises:
            RestError: too little was seen, or the face moved.
        """
        spanned = self._times[-1] - self._times[0] if self._times else 0.0
        if len(self._rows) < _LEAST_FRAMES or spanned < _LEAST_SECONDS:
            raise RestError(f"the face was seen well in {len(self._rows)} frames over {spanned:.1f} s, too few to know "
                            "it at rest: face the camera in good light, and take longer")
        rows = np.stack(self._rows)
        known = np.isfinite(rows[:, 0]).mean(0) > 0.5
        with np.errstate(invalid="ignore"):
            middle = quantile(rows[:, 0], 0.5)
            away = np.nanmax(np.where(known, np.abs(rows[:, 0] - middle), 0), 1)
        still = away <= _MOVED
        if still.mean() < _LEAST_STILL or still.sum() < _LEAST_FRAMES:
            raise RestError(f"the face moved in {1 - still.mean():.0%} of the frames: keep it relaxed, lips closed, and "
                            "calibrate again")
        rows = rows[still]
        presence = np.where(known, quantile(rows[:, 0], 0.5), np.nan)
        if CLOSED in self._aus and presence[self._aus.index(CLOSED)] >= 0.5:
            raise RestError("the eyes were shut: open them, and calibrate again")
        return Profile(self._aus, tuple(presence.round(5).tolist()),
                       tuple(np.where(known, quantile(rows[:, 1], 0.5), np.nan).round(4).tolist()), len(rows), self._weights,
                       datetime.now().astimezone().isoformat(timespec="seconds"))


class Calibrator:
    """Takes a person's resting face off the scores, before they are smoothed.

    A profile belongs to one person, and nobody here knows faces again: it is applied to the largest face, which keeps
    it while it is followed.

    Args:
        aus: labels of the scores.
        weights: sha256 of the AU network's weights.
        ordinary: presence 0..1 of each of the AUs that the network sees in an ordinary resting face.

    Attributes:
        profile: what is applied; None for nothing.
        problem: why the last watch gave no profile; None if it did, or there was none.
    """

    def __init__(self, aus: tuple[Label, ...], weights: str, ordinary: dict[int, float] | None = None) -> None:
        self._aus, self._weights = aus, weights
        self._ordinary = ordinary_odds(aus, ordinary)
        self.profile: Profile | None = None
        self.problem: str | None = None
        self._face: int | None = None
        self._off = self._excess = np.zeros(len(aus))  # log-odds and intensity to take off
        self._watched: dict[int, Resting] | None = None
        self._seconds = 0.0
        self._begun: float | None = None
        self._left = 0.0

    @property
    def settings(self) -> dict[str, object]:
        """What a results file should say of it."""
        return {} if self.profile is None else {"made": self.profile.made, "frames": self.profile.frames}

    @property
    def left(self) -> float | None:
        """Seconds for which a resting face is still watched; None where it is not."""
        return None if self._watched is None else self._left

    def use(self, profile: Profile) -> None:
        """Apply a profile from now on.

        Raises:
            UsageError: it was made with another network, or the scores are of attributes.
        """
        check_rest(self._aus)
        if profile.weights != self._weights:
            raise UsageError("the profile was made with other weights, whose habits differ: calibrate again")
        presence = dict(zip(profile.aus, profile.presence, strict=True))
        intensity = dict(zip(profile.aus, profile.intensity, strict=True))
        rest = np.array([presence.get(au, math.nan) for au in self._aus])
        off = _SHARE * (log_odds(rest) - self._ordinary).clip(-_BELOW, _ABOVE) - _SURER
        # Shut lids are no habit of a face.
        known = np.isfinite(off) & (np.array(self._aus) != CLOSED)
        self._off = np.where(known, off, 0.0)
        told = np.nan_to_num([intensity.get(au, 0.0) for au in self._aus])
        self._excess = np.where(known & (off > 0), told, 0.0)
        self.profile, self._face = profile, None

    def forget(self) -> None:
        """Apply no profile any more."""
        self.profile = self._face = None

    def watch(self, seconds: float) -> None:
        """Watch the face from the next frame on for so long, and apply what it shows then. Until then the profile so
        far, if any, stays.

        Raises:
            UsageError: the scores are of attributes.
        """
        check_rest(self._aus)
        self._watched, self._seconds, self._begun, self._left, self.problem = {}, seconds, None, seconds, None

    def __call__(self, frame: Frame, scores: Scores) -> Scores:
        """The scores of the next frame, calibrated for the face that the profile belongs to, with those given as
        `raw`."""
        if self._watched is not None:
            self._look(frame, scores)
        if self.profile is None or not len(scores):
            return scores
        ids = scores.faces.ids.tolist()
        if self._face not in ids:
            self._face = ids[_largest(scores)]
        row = ids.index(self._face)
        presence, intensity = scores.presence.copy(), scores.intensity.copy()
        presence[row] = chance(log_odds(presence[row]) - self._off)
        intensity[row] = ((intensity[row] - self._excess) * 5 / (5 - self._excess.clip(0, 4))).clip(0, 5)
        present = (np.nan_to_num(presence) >= ON) & scores.assessable
        return replace(scores, presence=presence, intensity=intensity, present=present, raw=scores)

    def _look(self, frame: Frame, scores: Scores) -> None:
        assert self._watched is not None
        if self._begun is None or frame.time < self._begun:
            self._begun = frame.time
        self._left = max(self._begun + self._seconds - frame.time, 0.0)
        if len(scores):
            row = _largest(scores)
            face = int(scores.faces.ids[row])
            self._watched.setdefault(face, Resting(self._weights)).add(frame, scores, row)
        if self._left > 0:
            return
        # Somebody may have passed by: who was seen longest counts.
        longest = max(self._watched.values(), key=len, default=Resting(self._weights))
        try:
            self.use(longest.profile())
        except RestError as error:
            self.problem = str(error)
        self._watched = None


def check_rest(aus: tuple[Label, ...]) -> None:
    """Make sure that these have a resting state, which can be taken off.

    Raises:
        UsageError: they are attributes: who wears glasses wears them at rest too.
    """
    if are_attributes(aus):
        raise UsageError(f"a resting face is taken off Action Units, not off attributes such as {aus[0]}: leave out "
                         "--calibrate, --profile and --baseline, or take another --model")


def _largest(scores: Scores) -> int:
    """Row of the largest face."""
    boxes = scores.faces.boxes
    return int(np.argmax((boxes[:, 2:] - boxes[:, :2]).prod(1)))
