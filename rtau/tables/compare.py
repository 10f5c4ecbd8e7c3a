"""How far two tables of one video agree, AU by AU."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from rtau_train.evaluate import auc, f1, icc31, mae, pearson

from ..au import Label, names_of
from ..errors import InputError
from .coding import Coding, read_coding
from .matching import Pairs, match

#: From which probability, and which intensity (A, a trace), an AU counts as present where a table says no yes or no.
CHANCE, TRACE = 0.5, 1.0


@dataclass(frozen=True)
class Agreement:
    """Of one AU, B against the reference A; NaN where it can't be given.

    Attributes:
        au: its number, or an attribute's name.
        n: judgements with a yes or no in both.
        share_a, share_b: share of them that say yes.
        agreement: share of them that say the same.
        kappa: Cohen's; 0 is what chance gives.
        f1: of B, with A as the truth.
        auc: area under the ROC curve of one table's probability against the other's yes or no.
        auc_of: whose probability: "b", or "a" where B has none; "" for neither.
        graded: judgements with an intensity in both.
        pearson, icc: correlation, and ICC(3,1), of the intensities.
        mae: mean absolute difference of the intensities, 0..5.
        bias: mean of B's intensity less A's.
    """

    au: Label
    n: int
    share_a: float
    share_b: float
    agreement: float
    kappa: float
    f1: float
    auc: float
    auc_of: str
    graded: int
    pearson: float
    icc: float
    mae: float
    bias: float


#: Figures that have a mean over the AUs.
FIGURES = tuple(field.name for field in fields(Agreement) if field.type == "float")


@dataclass(frozen=True)
class Comparison:
    """Two tables, and how far they agree.

    Attributes:
        a, b: the tables; A is the reference.
        pairs: what of them was compared.
        aus: of each AU that both tell anything of.
        notes: what a reader should know of the figures, in lines.
    """

    a: Coding
    b: Coding
    pairs: Pairs
    aus: tuple[Agreement, ...]
    notes: tuple[str, ...]

    def mean(self, name: str) -> float:
        """The mean of a figure over the AUs that have it; NaN for none."""
        values = [value for one in self.aus if not np.isnan(value := getattr(one, name))]
        return float(np.mean(values)) if values else float("nan")

    @property
    def alone(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """What only one has: frames of A and of B, and faces of A and of B in the frames that both have."""
        moments, judged = self.pairs.moments, self.pairs.judgements
        faces = [int(np.isin(one.at, moments[:, i]).sum()) - len(judged) for i, one in enumerate((self.a, self.b))]
        return ((len(self.a.frames) - len(moments), len(self.b.frames) - len(moments)), (faces[0], faces[1]))


def compare_tables(a: str | Path, b: str | Path, *, by: str = "auto", shift: int = 0, face_a: int | None = None,
                   face_b: int | None = None, from_a: str = "auto", from_b: str = "auto") -> Comparison:
    """Compare the tables A, which is the reference, and B.

    Args:
        by, shift: how frames are matched, see `matching.match`.
        face_a, face_b: only these faces; all by default.
        from_a, from_b: whose tables they are, see `reading.ORIGINS`.

    Raises:
        UsageError: an option is unknown. InputError: a table can't be read, or they have nothing in common.
    """
    return compare_codings(read_coding(a, from_a, face_a), read_coding(b, from_b, face_b), by=by, shift=shift)


def compare_codings(a: Coding, b: Coding, *, by: str = "auto", shift: int = 0) -> Comparison:
    """As `compare_tables`, of tables that were read."""
    shared = [au for au in a.aus if au in b.aus]
    if not shared:
        raise InputError(f"{a.path} and {b.path} have no AU in common: {names_of(a.aus)} and {names_of(b.aus)}")
    pairs = match(a, b, by, shift)
    if not len(pairs.judgements):
        raise InputError(f"{a.path} and {b.path} have no face in common, in {len(pairs.moments)} frames that both have")
    notes: list[str] = []
    found = tuple(_agreement(au, _judged(a, au, pairs.judgements[:, 0], notes),
                             _judged(b, au, pairs.judgements[:, 1], notes)) for au in shared)
    notes = _together(notes)
    for one in (a, b):
        if one.cut:
            notes.append(f"{one.path.name}: the last line had no end and was left out.")
    return Comparison(a, b, pairs, found, tuple(notes))


@dataclass(frozen=True)
class _Judged:
    """One table's judgements of one AU in the pairs, float64 [Q] each."""

    intensity: np.ndarray
    yes: np.ndarray
    chance: np.ndarray


def _judged(one: Coding, au: Label, rows: np.ndarray, notes: list[str]) -> _Judged:
    column = one.aus.index(au)
    intensity, yes, chance = (values[rows, column].astype(np.float64)
                              for values in (one.intensity, one.yes, one.chance))
    if np.isnan(yes).all():
        for values, least, what in ((chance, CHANCE, "a probability of .5"), (intensity, TRACE, "an intensity of 1")):
            if np.isfinite(values).any():
                yes = np.where(np.isnan(values), np.nan, values >= least)
                notes.append(f"{one.path.name}\0{what}\0{au}")
                break
    return _Judged(intensity, yes, chance)


def _together(notes: list[str]) -> list[str]:
    """One note per table and threshold."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, what, au in (note.split("\0") for note in notes):
        found.setdefault((name, what), []).append(au)
    return [f"{name} has no yes or no of AU {', '.join(aus)}: from {what} on it counts as a yes."
            for (name, what), aus in found.items()]


def _agreement(au: Label, a: _Judged, b: _Judged) -> Agreement:
    both = ~np.isnan(a.yes) & ~np.isnan(b.yes)
    truth, said = a.yes[both] > 0.5, b.yes[both] > 0.5
    score, score_of = _first((("b", a.yes, b.chance), ("a", b.yes, a.chance)))
    graded = ~np.isnan(a.intensity) & ~np.isnan(b.intensity)
    level_a, level_b = a.intensity[graded], b.intensity[graded]
    count = len(truth)
    return Agreement(
        au, count, _mean(truth), _mean(said), _mean(truth == said), cohen_kappa(truth, said), f1(truth, said), score,
        score_of, len(level_a), pearson(level_a, level_b), icc31(level_a, level_b), mae(level_a, level_b),
        _mean(level_b - level_a))


def _first(ways: tuple[tuple[str, np.ndarray, np.ndarray], ...]) -> tuple[float, str]:
    """The AUC of the first way that gives one, and whose probabilities they are."""
    for whose, yes, chance in ways:
        known = ~np.isnan(yes) & ~np.isnan(chance)
        area = auc(yes[known] > 0.5, chance[known])
        if not np.isnan(area):
            return area, whose
    return float("nan"), ""


def cohen_kappa(truth: np.ndarray, said: np.ndarray) -> float:
    """Cohen's kappa (1960) of bool arrays [N]: agreement beyond chance. NaN where both say the same throughout, or
    N is 0."""
    if not len(truth):
        return float("nan")
    yes, other = float(np.mean(truth)), float(np.mean(said))
    chance = yes * other + (1 - yes) * (1 - other)
    return float((np.mean(truth == said) - chance) / (1 - chance)) if chance < 1 else float("nan")


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")

