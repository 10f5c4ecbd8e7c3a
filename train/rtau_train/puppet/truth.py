"""From what a clip performed to rows of rtau's own table: the exact truth, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rtau.boxes import box_of_points
from rtau.types import Faces, Scores

from .curves import BLINK, Moment
from .labels import intensities
from .sample import AUS, OTHERS
from .scene import Shot

#: Columns of the truth: the AUs of the labels, and blinks.
TRUTH_AUS: tuple[int, ...] = (*AUS, BLINK)
#: Lids closed for less than this are a blink (45), else closed eyes (43). Seconds.
LONGEST_BLINK = 0.5
#: An AU is present from this intensity (A) on.
PRESENT = 1.0
#: An AU whose part of the face is hidden by more than this can't be told.
_HIDDEN = 0.5
_LIDS_MOVE = 0.25  # seconds around a blink in which half-closed lids are still a part of it

_BROWS, _EYES, _CHEEKS = (("brow_left", "brow_right"), ("eye_left", "eye_right"), ("cheek_left", "cheek_right"))
#: Parts of the face of which at least one must be seen to judge an AU.
_PARTS: dict[int, tuple[str, ...]] = {
    **dict.fromkeys((1, 2, 4), _BROWS), **dict.fromkeys((5, 7, 43, BLINK), _EYES), 6: (*_CHEEKS, *_EYES), 9: ("nose",),
    17: ("chin",), **dict.fromkeys((10, 12, 14, 15, 20, 23, 24, 25, 26), ("mouth",))}


@dataclass(frozen=True)
class Fact:
    """What is true of one frame.

    Attributes:
        time: seconds.
        activation: float32 [18, 2].
        others: float32 [6], activation of `sample.OTHERS`.
        jaw_open: rig coefficient of the jaw.
        points: float32 [68, 2]; pose: float32 [3]; gaze: float32 [2]; lip_gap, lid_gap, visibility: as in `scene.Shot`.
    """

    time: float
    activation: np.ndarray
    others: np.ndarray
    jaw_open: float
    points: np.ndarray
    pose: np.ndarray
    gaze: np.ndarray
    lip_gap: float
    lid_gap: np.ndarray
    visibility: dict[str, float]

    @classmethod
    def of(cls, time: float, moment: Moment, shot: Shot) -> Fact:
        """What a shot of a moment shows; its picture is not kept."""
        others = np.array([moment.others.get(au, 0.0) for au in OTHERS], np.float32)
        return cls(time, moment.activation, others, moment.shapes.get("jawOpen", 0.0), shot.points, shot.pose,
                   shot.gaze, shot.lip_gap, shot.lid_gap, shot.visibility)


def truth_of(facts: list[Fact]) -> list[Scores]:
    """The truth of a clip's frames, one face each, for rtau's sinks.

    Returns:
        Per frame scores of `TRUTH_AUS`: intensity 0..5, presence 1 where it is at least A, else 0; not
        assessable where the picture does not tell, where it lies between absent and A, or where the part of the
        face is hidden. `raw` holds the intensities of all AUs as they were performed, those not assessable too.
    """
    times = np.array([fact.time for fact in facts])
    intensity, known = intensities(
        np.stack([f.activation for f in facts]), np.array([f.lip_gap for f in facts]),
        np.stack([f.lid_gap for f in facts]), np.array([f.jaw_open for f in facts]),
        np.stack([f.others for f in facts]))
    lids = AUS.index(43)
    closed, blinked = split_closures(times, intensity[:, lids])
    intensity = np.c_[intensity, blinked]
    intensity[:, lids] = closed
    known = np.c_[known, known[:, lids]]
    for column, au in enumerate(TRUTH_AUS):
        seen = np.array([max(fact.visibility.get(part, 1.0) for part in _PARTS[au]) for fact in facts])
        known[:, column] &= seen >= 1 - _HIDDEN
    return [_scores(fact, intensity[row], known[row]) for row, fact in enumerate(facts)]


def split_closures(times: np.ndarray, closure: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tell blinks from closed eyes by how long they last.

    Args:
        times: [N] seconds, rising.
        closure: [N] intensity 0..5 of closed lids, whatever they are closed for.

    Returns:
        Intensities [N] of 43 and of 45; at each frame one of them is `closure` and the other 0. A closure
        lasts from the first frame that reaches A to the first that no longer does.
    """
    times, closure = np.asarray(times, float), np.asarray(closure, float)
    shut = np.r_[False, closure >= PRESENT, False]
    first, end = np.flatnonzero(shut[1:] & ~shut[:-1]), np.flatnonzero(~shut[1:] & shut[:-1])
    frame = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    blink, long = np.zeros(len(times), bool), np.zeros(len(times), bool)
    for a, b in zip(first, end, strict=True):
        lasts = (times[b] if b < len(times) else times[-1] + frame) - times[a]
        if lasts < LONGEST_BLINK:
            blink |= (times >= times[a] - _LIDS_MOVE) & (times <= times[b - 1] + _LIDS_MOVE)
        else:
            long[a:b] = True
    blink &= ~long
    return np.where(blink, 0.0, closure), np.where(blink, closure, 0.0)


def _scores(fact: Fact, intensity: np.ndarray, known: np.ndarray) -> Scores:
    points = fact.points[None].astype(np.float32)
    faces = Faces(box_of_points(points), np.ones(1, np.float32), np.zeros(1, np.int64), points,
                  fact.pose[None].astype(np.float32))
    intensity = intensity[None].astype(np.float32)
    present = intensity >= PRESENT
    quality, everything = np.ones(1, np.float32), np.ones_like(present)
    raw = Scores(TRUTH_AUS, faces, present.astype(np.float32), intensity, present, everything, quality)
    return Scores(TRUTH_AUS, faces, present.astype(np.float32), intensity, present & known, known[None], quality, raw)
