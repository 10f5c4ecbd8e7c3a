"""How well a network tells which regions of a face can be judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rtau.au import REGIONS
from rtau.quality import MIN_SIGHT

from ..evaluate import auc
from ..figures.bootstrap import interval, resamples
from ..figures.report import Figure, Settings, plain
from ..losses import HIDDEN, SHOWS


@dataclass(frozen=True)
class Sight:
    """Of one region.

    Attributes:
        region: its name, "all" for all together.
        hidden, shown: pictures in which it is hidden (at most `losses.HIDDEN` of it shows) and shown (`losses.SHOWS`).
        auc: of the chance that it is hidden.
        passed: of the hidden ones, the share said to show.
        refused: of the shown ones, the share said to be hidden.
    """

    region: str
    hidden: int
    shown: int
    auc: Figure
    passed: float
    refused: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, None for NaN."""
        return {"region": self.region, "hidden": self.hidden, "shown": self.shown, "auc": self.auc.as_dict(),
                "passed": plain(self.passed), "refused": plain(self.refused)}


def sight_figures(said: np.ndarray, visible: np.ndarray, subject: np.ndarray, settings: Settings
                  ) -> list[Sight]:
    """Figures of each region and of all together.

    Args:
        said: [N, 6], chance that each region of `REGIONS` shows.
        visible: [N, 6], the share that does, NaN where unknown.
        subject: str [N], who is in the picture.
        settings: of the intervals, over people.
    """
    figures = [_figures(region, said[:, column], visible[:, column], subject, settings)
               for column, region in enumerate(REGIONS)]
    whole = np.repeat(subject, len(REGIONS))
    return [*figures, _figures("all", said.reshape(-1), visible.reshape(-1), whole, settings)]


def _figures(region: str, said: np.ndarray, visible: np.ndarray, subject: np.ndarray, settings: Settings) -> Sight:
    known = (visible <= HIDDEN) | (visible >= SHOWS)  # NaN is neither; between, either answer will do
    said, hidden, subject = said[known], visible[known] <= HIDDEN, subject[known]
    drawn = [auc(hidden, -said, weight) for weight in resamples(subject, settings.resamples, settings.seed)
             ] if hidden.any() and not hidden.all() else []
    low, high = interval(np.concatenate([np.zeros(0), *drawn]), settings.level)
    return Sight(region, int(hidden.sum()), int((~hidden).sum()),
                 Figure(float(auc(hidden, -said)), float(low), float(high)),
                 _share(said[hidden] >= MIN_SIGHT), _share(said[~hidden] < MIN_SIGHT))


def _share(yes: np.ndarray) -> float:
    return float(yes.mean()) if len(yes) else float("nan")
