"""Each face and Action Unit in a few numbers, and which Action Units go together. Numbers in, numbers out.

Frames count by the time they stand for, so that a video of variable rate is not judged by its busy parts. What is
not assessable counts nowhere: neither as absent nor as 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..au import Label
from .events import Events, find_events
from .table import FaceRows, Table

#: Rows that are multiplied at once.
_BLOCK = 20_000


@dataclass(frozen=True)
class AuStatistics:
    """One AU on one face. Seconds are numbers of pictures where the table is of stills.

    Attributes:
        au: its number, or an attribute's name.
        frames: rows in which it could be judged.
        frames_present: those of them in which it was present.
        judged: seconds in which it could be judged.
        present: seconds in which it was present.
        share: present / judged, 0..1; NaN if it never could be judged.
        mean: mean intensity over the judged time, 0..5; probability where there are no intensities. NaN likewise.
        mean_present: the same over the time in which it was present; NaN if it never was.
        peak: highest intensity while judged; NaN if it never could be.
        peak_row: its row among the face's rows; -1 if there is none.
        events: how many (see `rtau.report.events`).
        rate: events per minute of judged time; NaN for stills and if it never could be judged.
        event_mean, event_longest: seconds from onset to offset; NaN if there are no events.
    """

    au: Label
    frames: int
    frames_present: int
    judged: float
    present: float
    share: float
    mean: float
    mean_present: float
    peak: float
    peak_row: int
    events: int
    rate: float
    event_mean: float
    event_longest: float


def describe(table: Table, face: FaceRows, column: int, events: Events) -> AuStatistics:
    """The numbers of one AU.

    Args:
        table: the face's table.
        face: one of `table.faces`.
        column: place of the AU in `table.aus`.
        events: those of this AU.
    """
    nan = float("nan")
    level, present = face.level[:, column].astype(np.float64), face.present[:, column]
    weight, known, on = table.durations[face.at], present >= 0, present == 1
    judged, there = float(weight[known].sum()), float(weight[on].sum())
    peak = int(np.argmax(np.where(known, level, -1.0))) if known.any() else -1
    durations = events.durations
    return AuStatistics(
        table.aus[column], int(known.sum()), int(on.sum()), judged, there, there / judged if judged else nan,
        _mean(level[known], weight[known]), _mean(level[on], weight[on]), float(level[peak]) if peak >= 0 else nan,
        peak, len(events), 60 * len(events) / judged if judged and not table.still else nan,
        float(durations.mean()) if len(events) else nan, float(durations.max()) if len(events) else nan)


@dataclass(frozen=True)
class FaceStatistics:
    """All that is counted of one face.

    Attributes:
        rows: its rows in the table.
        seen: seconds in which it is there (for stills: pictures).
        events: of each AU, as in `Table.aus`.
        aus: the numbers of each AU, likewise.
    """

    rows: FaceRows
    seen: float
    events: tuple[Events, ...]
    aus: tuple[AuStatistics, ...]


def describe_face(table: Table, face: FaceRows) -> FaceStatistics:
    """Events and numbers of all AUs of one face."""
    events = tuple(find_events(table, face, column) for column in range(len(table.aus)))
    return FaceStatistics(face, float(table.durations[face.at].sum()), events,
                          tuple(describe(table, face, column, found) for column, found in enumerate(events)))


def all_faces(table: Table) -> FaceRows:
    """The rows of all faces together, as if they were one with the id -1: for stills, where ids mean nothing."""
    faces = table.faces
    order = np.argsort(np.concatenate([face.at for face in faces]), kind="stable")
    return FaceRows(-1, *(np.concatenate([getattr(face, name) for face in faces])[order]
                          for name in ("at", "boxes", "confidence", "quality", "level", "present")))


@dataclass(frozen=True)
class Cooccurrence:
    """How often two AUs are present together, C by C, symmetric. Only the time counts in which both can be judged.

    Attributes:
        judged: float64 [C, C], seconds (for stills: faces) in which both can be judged.
        both: float64 [C, C], share of it in which both are present, 0..1; on the diagonal the share of the one.
        jaccard: float64 [C, C], time of both over time of at least one, 0..1; NaN if neither ever was.
        phi: float64 [C, C], correlation of the two yes-or-no series, -1..1; NaN where one never changes.
    """

    judged: np.ndarray
    both: np.ndarray
    jaccard: np.ndarray
    phi: np.ndarray


def cooccurrence(present: np.ndarray, weight: np.ndarray) -> Cooccurrence:
    """Count the pairs.

    Args:
        present: int8 [N, C], 1 present, 0 absent, -1 not assessable.
        weight: float64 [N], seconds that each row stands for.
    """
    count = present.shape[1]
    both, one, judged = np.zeros((3, count, count))
    for begin in range(0, len(present), _BLOCK):
        part, seconds = present[begin:begin + _BLOCK], weight[begin:begin + _BLOCK, None]
        on, known = (part == 1).astype(np.float64), (part >= 0).astype(np.float64)
        both += (on * seconds).T @ on
        one += (on * seconds).T @ known
        judged += (known * seconds).T @ known
    with np.errstate(divide="ignore", invalid="ignore"):
        share = both / judged
        jaccard = both / (one + one.T - both)
        spread = one * (judged - one)
        phi = (judged * both - one * one.T) / np.sqrt(spread * spread.T)
    # Rounding can leave a spread that is not quite 0.
    still = np.minimum(spread, spread.T) <= 1e-9 * judged ** 2
    return Cooccurrence(judged, share, jaccard, np.clip(np.where(still, np.nan, phi), -1, 1))


def _mean(values: np.ndarray, weight: np.ndarray) -> float:
    """Mean by weight; nan of nothing. Frames that share one time stand for none, and then count alike."""
    if not len(values):
        return float("nan")
    return float(np.average(values, weights=weight)) if weight.sum() > 0 else float(values.mean())
