"""Telling blinks (AU 45) from closed eyes (AU 43): FACS calls lids that are shut for less than half a second a blink."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .smooth import GAP
from .types import Frame, Scores

CLOSED, BLINK = 43, 45

#: Seconds for which lids are shut in a blink at most.
LONGEST = 0.5
#: Presence of closed eyes from which on lids count as shutting, and below which they have opened again.
_SHUTS, _OPENS = 0.3, 0.2


@dataclass
class _Lids:
    """Of one face: when it was last seen, and since when its lids are shut; None while they are open."""

    seen: float
    since: float | None = None


class Blinks:
    """Adds a column of AU 45 to scores that have AU 43: what the lids do counts as one or the other.

    While lids are shut for no longer than `LONGEST` it is a blink; from then on, until they open, the eyes are closed.
    It is told at once: the first half second of closed eyes is called a blink too. A still picture shows no blinks.
    """

    def __init__(self) -> None:
        self._faces: dict[int, _Lids] = {}

    def __call__(self, frame: Frame, scores: Scores) -> Scores:
        """The same faces with one column more, after that of AU 43; frames come in the order of their times."""
        self._faces = {face: lids for face, lids in self._faces.items() if 0 <= frame.time - lids.seen <= GAP}
        column = scores.aus.index(CLOSED)
        chance = np.nan_to_num(scores.presence[:, column])
        blinking = np.zeros(len(scores), bool)
        for row, face in enumerate(scores.faces.ids.tolist()):
            lids = self._faces.setdefault(face, _Lids(frame.time))
            lids.seen = frame.time
            if lids.since is None and chance[row] >= _SHUTS:
                lids.since = frame.time
            elif lids.since is not None and chance[row] < _OPENS:
                lids.since = None
            blinking[row] = lids.since is not None and frame.time - lids.since <= LONGEST
        return _split(scores, column, blinking, still=frame.still)


def _split(scores: Scores, column: int, blinking: np.ndarray, *, still: bool) -> Scores:
    """AU 43's values go to AU 45 where a face blinks, and leave zeros behind."""
    arrays = {}
    twice = [*range(column + 1), *range(column, len(scores.aus))]
    for name in ("presence", "intensity", "present", "assessable"):
        values = getattr(scores, name)[:, twice]
        closed, blink = values[:, column], values[:, column + 1]
        if name == "assessable":
            blink &= not still
        elif still:
            blink[:] = np.nan if blink.dtype.kind == "f" else False
        else:
            # What can't be judged, NaN, stays so in both columns.
            told = ~np.isnan(closed)
            closed[blinking & told], blink[~blinking & told] = 0, 0
        arrays[name] = values
    raw = scores.raw and _split(scores.raw, column, blinking, still=still)
    return replace(scores, aus=(*scores.aus[:column + 1], BLINK, *scores.aus[column + 1:]), raw=raw, **arrays)
