"""Events: from when to when a face shows an Action Unit, and when it is strongest. Numbers in, numbers out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .table import FaceRows, Table


@dataclass(frozen=True)
class Events:
    """The events of one AU on one face, E of them, in the order of time.

    An event is an unbroken run of frames in which the AU is present: a frame without it, without the face, one in
    which it can't be judged, or a gap in the recording ends it.

    Attributes:
        onset: float64 [E], seconds, time of the first such frame.
        apex: float64 [E], seconds, time of the strongest of them, the first if several are.
        offset: float64 [E], seconds, when the last of them ends.
        level: float32 [E], intensity (or probability) at the apex.
        begun: bool [E], whether the onset was seen: the frame before was judged, and the AU absent. False where
            the event may have begun earlier.
        ended: bool [E], whether the offset was seen, likewise.
        row: int64 [E], row of the apex among the face's rows.
    """

    onset: np.ndarray
    apex: np.ndarray
    offset: np.ndarray
    level: np.ndarray
    begun: np.ndarray
    ended: np.ndarray
    row: np.ndarray

    def __len__(self) -> int:
        return len(self.onset)

    @property
    def durations(self) -> np.ndarray:
        """float64 [E], seconds from onset to offset."""
        return self.offset - self.onset


def joined_rows(table: Table, face: FaceRows) -> np.ndarray:
    """Whether each row follows the row before without a break, bool [N]; the first one never does."""
    joined = np.zeros(len(face), bool)
    joined[1:] = (np.diff(face.at) == 1) & ~table.gaps[face.at[:-1]]
    return joined


def find_runs(on: np.ndarray, joined: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unbroken runs of True.

    Args:
        on: bool [N].
        joined: bool [N], whether a row follows the one before; where it does not, a run ends.

    Returns:
        First and last row of each run, int64 [R] both.
    """
    carried = on.copy()
    carried[:1] = False
    carried[1:] &= on[:-1] & joined[1:]
    first = np.flatnonzero(on & ~carried)
    last = np.flatnonzero(on & ~np.append(carried[1:], False)) if len(on) else first
    return first, last


def find_events(table: Table, face: FaceRows, column: int) -> Events:
    """The events of one AU.

    Args:
        table: the face's table.
        face: one of `table.faces`.
        column: place of the AU in `table.aus`.

    Returns:
        None at all for stills, which have no time.
    """
    present, level = face.present[:, column], face.level[:, column]
    joined = joined_rows(table, face)
    on = (present == 1) & (not table.still)
    first, last = find_runs(on, joined)
    top = np.array([a + int(np.argmax(level[a:b + 1])) for a, b in zip(first.tolist(), last.tolist(), strict=True)],
                   np.int64)
    # One step beyond either end, where there is one.
    begun = (joined & (np.append([-1], present[:-1]) == 0))[first] if len(first) else np.zeros(0, bool)
    ended = (np.append(joined[1:], False) & (np.append(present[1:], -1) == 0))[last] if len(last) else begun
    at = face.at
    return Events(table.times[at[first]], table.times[at[top]], table.ends[at[last]], level[top], begun, ended, top)


def seen_spans(table: Table, face: FaceRows) -> np.ndarray:
    """When the face is there, float64 [S, 2], begin and end in seconds."""
    first, last = find_runs(np.ones(len(face), bool), joined_rows(table, face))
    return np.stack([table.times[face.at[first]], table.ends[face.at[last]]], 1)


def unjudged_spans(table: Table, face: FaceRows, column: int) -> np.ndarray:
    """When the face is there but the AU can't be judged, float64 [S, 2], begin and end in seconds."""
    first, last = find_runs(face.present[:, column] < 0, joined_rows(table, face))
    return np.stack([table.times[face.at[first]], table.ends[face.at[last]]], 1)


def close_gaps(spans: np.ndarray, gap: float) -> np.ndarray:
    """The same spans [S, 2] with those joined that lie less than `gap` seconds apart."""
    if len(spans) < 2:
        return spans
    apart = spans[1:, 0] - spans[:-1, 1] >= gap
    return np.stack([spans[np.append(True, apart), 0], spans[np.append(apart, True), 1]], 1)
