"""How well photographs are read: false alarms in neutral faces, labeled smiles that are seen, everyday faces."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest

from rtau.blink import BLINK

from ..evaluate import auc
from ..figures.bootstrap import interval, resamples
from ..figures.report import Figure, Settings, plain
from .photographs import Seen


@dataclass(frozen=True)
class Share:
    """So many of so many, with Wilson's interval (1927); NaN of none."""

    count: int
    of: int
    low: float
    high: float

    @classmethod
    def among(cls, yes: np.ndarray, level: float = 0.95) -> Share:
        """Of bool [N]."""
        count, of = int(yes.sum()), len(yes)
        bounds = binomtest(count, of).proportion_ci(level, "wilson") if of else (math.nan, math.nan)
        return cls(count, of, float(bounds[0]), float(bounds[1]))

    @property
    def value(self) -> float:
        """The share, 0..1."""
        return self.count / self.of if self.of else math.nan

    def as_dict(self) -> dict[str, Any]:
        """Plain values, None for NaN."""
        return {"count": self.count, "of": self.of, "low": plain(self.low), "high": plain(self.high)}


@dataclass(frozen=True)
class AuSmiles:
    """How good one AU is on photographs; NaN where nothing is known of it.

    Attributes:
        au: its number.
        alarms: of neutral faces that were judged, those said to show it.
        refused: of neutral faces, those that were not judged.
        seen: of labeled smiles that show it, those said to; who is not judged is not seen.
        auc: of its presence among all portraits.
        stills: labeled everyday faces that show it, and those that do not.
        stills_auc: among them.
    """

    au: int
    alarms: Share
    refused: Share
    seen: Share
    auc: Figure
    stills: tuple[int, int]
    stills_auc: Figure

    def as_dict(self) -> dict[str, Any]:
        """Plain values, None for NaN."""
        return {"au": self.au, "stills": list(self.stills), **{
            name: getattr(self, name).as_dict() for name in ("alarms", "refused", "seen", "auc", "stills_auc")}}


@dataclass(frozen=True)
class Smiles:
    """All of it.

    Attributes:
        neutral, smiling, stills: faces looked at; missed: those in which no face was found.
        people: who is in the portraits.
        aus: each AU's figures.
        alarms: false alarms over all neutral faces and AUs; its interval is over people.
        alarmed: of neutral faces, those with any false alarm.
    """

    neutral: int
    smiling: int
    stills: int
    missed: int
    people: int
    aus: tuple[AuSmiles, ...]
    alarms: Share
    alarmed: Share

    def as_dict(self) -> dict[str, Any]:
        """Plain values, None for NaN."""
        return {**{name: value for name, value in asdict(self).items() if isinstance(value, int)},
                "alarms": self.alarms.as_dict(), "alarmed": self.alarmed.as_dict(),
                "aus": [au.as_dict() for au in self.aus]}


def smile_figures(seen: Seen, settings: Settings) -> Smiles:
    """Work out every figure; those of portraits have intervals over people, those of everyday faces over faces."""
    portraits, neutral, smiling, stills = (seen.of(*kinds) for kinds in (
        ("neutral", "smile"), ("neutral",), ("smile",), ("still",)))
    rows, judged, alarms = [], np.zeros(len(neutral)), np.zeros(len(neutral))
    for column, au in enumerate(seen.aus):
        if au == BLINK:  # takes time
            continue
        absent = np.array([photograph.shows(au) is False for photograph in neutral.photographs], bool)
        read = np.isfinite(neutral.presence[:, column])
        shown = np.array([photograph.shows(au) is True for photograph in smiling.photographs], bool)
        judged += absent & read
        alarms += absent & read & neutral.present[:, column]
        truth = stills.truth(au)
        rows.append(AuSmiles(
            au, Share.among(neutral.present[absent & read, column], settings.level), Share.among(~read, settings.level),
            Share.among(smiling.present[shown, column], settings.level),
            _auc(portraits, au, settings) if np.isfinite(smiling.truth(au)).any() else Figure(math.nan),
            (int((truth == 1).sum()), int((truth == 0).sum())), _auc(stills, au, settings)))
    drawn = [(alarms @ weight) / np.maximum(judged @ weight, 1)
             for weight in resamples(neutral.people, settings.resamples, settings.seed)]
    low, high = interval(np.concatenate([np.zeros(0), *drawn]), settings.level)
    return Smiles(len(neutral), len(smiling), len(stills), int(np.isnan(seen.boxes[:, 0]).sum()),
                  len(np.unique(portraits.people)), tuple(rows),
                  Share(int(alarms.sum()), int(judged.sum()), float(low), float(high)),
                  Share.among(alarms[judged > 0] > 0, settings.level))


def _auc(seen: Seen, au: int, settings: Settings) -> Figure:
    truth = seen.truth(au)
    known = np.isfinite(truth)
    truth, presence = truth[known] > 0, seen.presence[known, seen.aus.index(au)]
    if not truth.any() or truth.all():
        return Figure(math.nan)
    drawn = [auc(truth, presence, weight)
             for weight in resamples(seen.people[known], settings.resamples, settings.seed)]
    low, high = interval(np.concatenate([np.zeros(0), *drawn]), settings.level)
    return Figure(float(auc(truth, presence)), float(low), float(high))
