"""How well clips are read: when an AU comes, how steady the output is, where the points lie, which blinks are seen."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rtau.errors import InputError

from ..data.faces import au_name
from ..evaluate import auc, f1, icc31
from ..figures.predictions import PRESENT, Predictions
from ..figures.report import Report, Settings, figures, plain
from .recordings import Recording, closures_together, landmark_error, point_error
from .timing import crossings, delay, jitter, match

NAN = float("nan")
_BLINK, _CLOSED = 45, 43


@dataclass(frozen=True)
class AuMovement:
    """One AU in all clips; NaN where the truth does not allow a figure.

    Attributes:
        au: its number.
        frames: in which it is known and read.
        mae, icc: of the intensity 0..5, ICC(3,1).
        f1, auc: of its presence.
        found, onsets: intensity rising through 2, in the output beside the truth, and in the truth.
        onset, spread: median delay of the onsets found, and its standard deviation, ms.
        jitter: deviation of the intensity while the truth is constant; still: in faces that keep still.
        raw, smooth: delay of the whole curve, ms, before and after smoothing.
    """

    au: int
    frames: int
    mae: float
    icc: float
    f1: float
    auc: float
    found: int
    onsets: int
    onset: float
    spread: float
    jitter: float
    still: float
    raw: float
    smooth: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, None for NaN."""
        return {name: plain(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Movement:
    """Everything of some clips.

    Attributes:
        clips, frames, found: how many, and in how many frames there was the face.
        aus: each AU's figures.
        report: AUC, F1, ICC and MAE with intervals over people; None where nothing can be judged.
        together: whether blinks (45) count as closed eyes (43).
        landmarks, landmarks_95, pixels: mean error of the points and that of 95 % of the frames, per cent of the
            outer-eye distance; mean in pixels.
        shake: how far points move about their mean place in faces that keep still, pixels.
        pose, lean: mean of the error's size and of the error: yaw, pitch, roll, degrees.
        blinks, seen, false: blinks in the truth, those the output shows, and closures it shows that are not there.
        smoothing: how the output was smoothed.
    """

    clips: int
    frames: int
    found: int
    aus: tuple[AuMovement, ...]
    report: Report | None
    together: bool
    landmarks: float
    landmarks_95: float
    pixels: float
    shake: float
    pose: tuple[float, float, float]
    lean: tuple[float, float, float]
    blinks: int
    seen: int
    false: int
    smoothing: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values, None for NaN."""
        facts = {name: getattr(self, name) for name in (
            "clips", "frames", "found", "together", "landmarks", "landmarks_95", "pixels", "shake", "blinks", "seen",
            "false", "smoothing")}
        return {**{name: plain(value) for name, value in facts.items()},
                "pose": [plain(v) for v in self.pose], "lean": [plain(v) for v in self.lean],
                "aus": [row.as_dict() for row in self.aus], "report": self.report and self.report.as_dict()}


def movement_figures(truths: list[Recording], outputs: list[Recording], people: list[str], still: list[bool],
                     smoothing: str, settings: Settings) -> Movement:
    """Figures of clips.

    Args:
        truths, outputs: of each clip.
        people: who performs in each, "" where unknown.
        still: whether its face keeps still.
        smoothing: of the outputs.
        settings: of the intervals.
    """
    blinks, seen, false = map(sum, zip(*map(blinks_of, truths, outputs), strict=True))
    together = _BLINK in truths[0].intensity and _BLINK not in outputs[0].intensity
    if together:
        truths = [closures_together(truth) for truth in truths]
    truth, output = Recording.join(truths), Recording.join(outputs)
    quiet = [(t, o) for t, o, s in zip(truths, outputs, still, strict=True) if s]
    calm = (Recording.join([t for t, _ in quiet]), Recording.join([o for _, o in quiet])) if quiet else None
    aus = tuple(au_row(au, truth, output, calm) for au in truth.intensity if au in output.intensity)
    if not aus:
        raise InputError("the clips' truth and the network have no AU in common")
    there = np.isfinite(output.pose[:, 0])
    error, pixels = landmark_error(truth.points, output.points)[there], point_error(truth.points, output.points)[there]
    off = np.degrees(output.pose - truth.pose)[there]
    some = bool(there.any())
    return Movement(
        len(truths), len(truth), int(there.sum()), aus, _report(truths, outputs, people, settings), together,
        float(error.mean()) if some else NAN, float(np.percentile(error, 95)) if some else NAN,
        float(pixels.mean()) if some else NAN, _shake([o for _, o in quiet]),
        tuple(np.abs(off).mean(0).tolist()) if some else (NAN,) * 3,
        tuple(off.mean(0).tolist()) if some else (NAN,) * 3, blinks, seen, false, smoothing)


def au_row(au: int, truth: Recording, output: Recording, calm: tuple[Recording, Recording] | None = None) -> AuMovement:
    """Figures of one AU; `calm` are truth and output of faces that keep still."""
    times, wanted, got = truth.times, truth.intensity[au], output.intensity[au]
    both = ~np.isnan(wanted) & ~np.isnan(got)
    there = truth.presence[au][both] >= 0.5
    true_onsets = crossings(times, truth.performed[au])
    late = match(true_onsets, crossings(times, got))
    moves = bool(both.any() and np.ptp(wanted[both]) >= 0.5)
    return AuMovement(
        au, int(both.sum()), float(np.abs(wanted - got)[both].mean()) if both.any() else NAN,
        icc31(wanted[both], got[both]) if moves else NAN, f1(there, output.presence[au][both] >= 0.5),
        auc(there, output.presence[au][both]), len(late), len(true_onsets),
        1000 * float(np.median(late)) if len(late) else NAN, 1000 * float(late.std()) if len(late) > 1 else NAN,
        jitter(times, truth.performed[au], got),
        jitter(calm[0].times, calm[0].performed[au], calm[1].intensity[au]) if calm else NAN,
        1000 * delay(times, truth.performed[au], output.performed[au]),
        1000 * delay(times, truth.performed[au], got))


def blinks_of(truth: Recording, output: Recording) -> tuple[int, int, int]:
    """Blinks there are, those of them that the output's 43 or 45 shows, and closures shown that are none at all."""
    lids = [au for au in (_BLINK, _CLOSED) if au in output.intensity]
    if _BLINK not in truth.performed or not lids:
        return 0, 0, 0
    blinks = crossings(truth.times, truth.performed[_BLINK])
    closures = crossings(truth.times, np.fmax(truth.performed[_BLINK], truth.performed[_CLOSED]))
    shown = crossings(output.times, np.fmax.reduce([output.intensity[au] for au in lids]))
    return len(blinks), len(match(blinks, shown)), len(shown) - len(match(closures, shown))


def _report(truths: list[Recording], outputs: list[Recording], people: list[str], settings: Settings) -> Report | None:
    """Every frame as a picture of its person, so that intervals are over people."""
    aus = [au for au in truths[0].intensity if au in outputs[0].intensity]

    def table(recordings: list[Recording], name: str) -> np.ndarray:
        return np.concatenate([np.stack([getattr(r, name)[au] for au in aus], 1) for r in recordings]).astype(np.float32)

    wanted = table(truths, "intensity")
    labels = np.where(np.isnan(wanted), 0, np.where(wanted >= PRESENT, 1, -1)).astype(np.int8)
    who = [person or f"clip {number}" for number, person in enumerate(people)]
    subject = np.concatenate([np.full(len(truth), name) for name, truth in zip(who, truths, strict=True)])
    frame = np.array([f"{name}#{row}" for name, truth in zip(who, truths, strict=True) for row in range(len(truth))])
    predictions = Predictions(tuple(map(au_name, aus)), subject, frame, labels, wanted, table(outputs, "presence"),
                              table(outputs, "intensity"), "clips")
    try:
        return figures(predictions, None, settings)
    except InputError:  # nothing that varies: a single still face
        return None


def _shake(outputs: list[Recording]) -> float:
    """Root mean square distance of points from their mean place, over clips in which nothing moves."""
    squares = [((o.points - np.nanmean(o.points, 0)) ** 2).sum(2) for o in outputs if np.isfinite(o.points).any()]
    return float(np.sqrt(np.nanmean(np.concatenate(squares)))) if squares else NAN
