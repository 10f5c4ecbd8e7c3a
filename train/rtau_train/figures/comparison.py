"""Two networks on the same faces: which is better, by how much, and whether that could be chance."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm

from rtau.errors import InputError
from rtau.sinks.paths import replaced

from .bootstrap import Tell, clusters, interval, resamples, two_sided
from .measures import BY_KEY, BY_SUBJECT, Thresholds, measure
from .predictions import Predictions
from .report import Settings, by_subject, mean_of, people_enough, plain


@dataclass(frozen=True)
class Difference:
    """One figure of two networks, NaN what can't be given.

    Attributes:
        a, b: its values.
        low, high: interval of `value`.
        p: chance of a difference that far from 0 if there were none; by paired resamples of subjects, and of faces.
        holm: p corrected for the number of labels (Holm, 1979); of a mean, p itself.
        delong: for AUC the chance by the test of DeLong et al. (1988) for clustered data (Obuchowski, 1997).
        effect: mean over its standard deviation of the subjects' differences (Cohen's d_z), signed as `value`.
        won: share of subjects for whom a is better, a tie counting half.
    """

    a: float
    b: float
    low: float
    high: float
    p: float
    holm: float
    delong: float = float("nan")
    effect: float = float("nan")
    won: float = float("nan")

    @property
    def value(self) -> float:
        """How much more of it a has."""
        return self.a - self.b

    def as_dict(self) -> dict[str, float | None]:
        """Plain values, None for NaN."""
        return {name: plain(getattr(self, name)) for name in
                ("a", "b", "value", "low", "high", "p", "holm", "delong", "effect", "won")}


@dataclass(frozen=True)
class Comparison:
    """Two networks on the same faces.

    Attributes:
        a, b: who predicts.
        faces, subjects: how many were judged; subjects as far as they are known.
        labels: by label, then by key of `MEASURES`.
        mean: over the labels that have a figure, by key.
        settings: of the intervals.
    """

    a: str
    b: str
    faces: int
    subjects: int
    labels: dict[str, dict[str, Difference]]
    mean: dict[str, Difference]
    settings: Settings

    def as_dict(self) -> dict[str, Any]:
        """Everything, in plain values, None for NaN."""
        return {"a": self.a, "b": self.b, "faces": self.faces, "subjects": self.subjects,
                "intervals": self.settings.as_dict(),
                "labels": {name: {key: d.as_dict() for key, d in row.items()} for name, row in self.labels.items()},
                "mean": {key: d.as_dict() for key, d in self.mean.items()}}

    def write_csv(self, path: Path) -> Path:
        """Write one row per label and figure, empty where it can't be given. Raises OutputError."""
        with replaced(path, newline="") as file:
            table = csv.writer(file)
            table.writerow(["label", "figure", "a", "b", "difference", "low", "high", "p", "holm", "delong", "effect",
                            "won"])
            for name, row in self.labels.items():
                for key, difference in row.items():
                    table.writerow([name, key, *("" if v is None else v for v in difference.as_dict().values())])
        return path


def compare(a: Predictions, b: Predictions, thresholds: tuple[Thresholds | None, Thresholds | None] = (None, None),
            settings: Settings = Settings(), tell: Tell | None = None) -> Comparison:
    """Compare two networks on faces that both were shown.

    A face counts for a label where both predict it. Each resample of subjects and faces is judged for both, so that
    what is hard for both does not blur the difference.

    Args:
        a, b: of the same faces in the same order, with the same truth; labels that only one has are left out.
        thresholds: of each, see `measures.tune`.
        settings: of the intervals.
        tell: is told how many resamples are done of how many.

    Raises:
        InputError: they are not of the same faces, or have no label in common.
    """
    a, b = paired(a, b)
    cuts = [np.full(len(a.names), np.nan) if t is None else t.of(a.names) for t in thresholds]
    for predictions, t in zip((a, b), thresholds, strict=True):
        if t is not None:
            t.check_apart(predictions)
    once = np.ones((len(a), 1), np.float32)
    values = [{key: table[:, 0] for key, table in measure(p, c, once).items()}
              for p, c in zip((a, b), cuts, strict=True)]
    batches = [(measure(a, cuts[0], weight), measure(b, cuts[1], weight))
               for weight in resamples(a.subject, settings.resamples, settings.seed, tell)]
    none = np.zeros((len(a.names), 0))
    enough = people_enough(a)
    # Each subject's mean over labels, last, is what the mean over labels is held against.
    (of_a, people), (of_b, _) = by_subject(a, cuts[0]), by_subject(b, cuts[1])
    gaps = {key: of_a[key] - of_b[key] for key in BY_SUBJECT}
    areas = [delong(a.labels[rows, c] > 0, a.presence[rows, c], b.presence[rows, c], a.subject[rows])
             for c in range(len(a.names)) for rows in [a.judged(c)]]
    labels: dict[str, dict[str, Difference]] = {name: {} for name in a.names}
    mean = {}
    for key, figure in BY_KEY.items():
        drawn = np.concatenate([none, *(first[key] - second[key] for first, second in batches)], 1)
        low, high = (np.where(enough, bound, np.nan) for bound in interval(drawn, settings.level))
        p = np.where(enough, two_sided(drawn), np.nan) if drawn.shape[1] else np.full(len(a.names), np.nan)
        corrected = holm(p)
        for column, name in enumerate(a.names):
            labels[name][key] = Difference(
                float(values[0][key][column]), float(values[1][key][column]), float(low[column]), float(high[column]),
                float(p[column]), float(corrected[column]), areas[column] if key == "auc" else float("nan"),
                *(_effect(gaps[key][column], figure.better) if key in BY_SUBJECT else ()))
        there = np.isfinite(values[0][key]) & np.isfinite(values[1][key])
        of_mean = mean_of(drawn, there)
        bounds = interval(of_mean, settings.level)
        chance = float(two_sided(of_mean)) if drawn.shape[1] else float("nan")
        if not (enough & there).any():
            bounds, chance = (np.nan, np.nan), float("nan")
        own = mean_of(gaps[key], np.ones(len(a.names), bool)) if key in BY_SUBJECT else None
        mean[key] = Difference(*(float(mean_of(v[key][:, None], there)[0]) for v in values), *map(float, bounds),
                               chance, chance, float("nan"), *(() if own is None else _effect(own, figure.better)))
    return Comparison(a.model, b.model, len(a), len(people), labels, mean, settings)


def paired(a: Predictions, b: Predictions) -> tuple[Predictions, Predictions]:
    """Both on the labels that both have, and only what both predict.

    Raises:
        InputError: they are not of the same faces, or have no label in common.
    """
    names = [name for name in a.names if name in b.names]
    if not names:
        raise InputError(f"{a.model} and {b.model} have no label in common: nothing to compare")
    a, b = a.select(names), b.select(names)
    same = len(a) == len(b) and all(np.array_equal(getattr(a, what), getattr(b, what)) for what in
                                    ("subject", "source", "labels"))
    if not same or not np.array_equal(a.intensity, b.intensity, equal_nan=True):
        raise InputError(f"{a.model} ({len(a)} faces) and {b.model} ({len(b)} faces) are not of the same faces with "
                         "the same truth in the same order: they can't be compared")
    seen = {what: np.isfinite(getattr(a, what)) & np.isfinite(getattr(b, what)) for what in ("presence", "expected")}
    return tuple(replace(p, **{what: np.where(both, getattr(p, what), np.nan) for what, both in seen.items()})
                 for p in (a, b))


def holm(p: np.ndarray) -> np.ndarray:
    """p [C] of C tests so corrected that 5 % of all such families have one falsely below .05 (Holm, 1979).

    Those that are NaN were not tested.
    """
    corrected = np.full(len(p), np.nan)
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1.0)
    return corrected


def delong(truth: np.ndarray, a: np.ndarray, b: np.ndarray, subject: np.ndarray) -> float:
    """Two-sided p of equal areas under the ROC curves of two scores, the subjects' faces being alike.

    Obuchowski (1997), which is DeLong, DeLong and Clarke-Pearson (1988) where each subject has one face.

    Args:
        truth: bool [N].
        a, b: scores [N].
        subject: str [N]; "" is nobody twice.

    Returns:
        NaN with less than two subjects that have positives or less than two that have negatives, or where the
        scores rank all faces alike.
    """
    person = clusters(subject)
    people = int(person.max(initial=-1)) + 1
    counts = [np.bincount(person[rows], minlength=people) for rows in (truth, ~truth)]
    present, absent = ((count > 0).sum() for count in counts)
    if min(present, absent) < 2:
        return float("nan")
    positives, negatives = truth.sum(), (~truth).sum()
    # Of each subject's faces, how far they win more often than usual: by positives, by negatives; per score.
    excess = np.zeros((2, people, 2))
    area = np.zeros(2)
    for k, score in enumerate((a, b)):
        wins, losses = _placements(score[truth], score[~truth])
        area[k] = wins.mean()
        for side, (rows, share) in enumerate(((truth, wins), (~truth, losses))):
            excess[side, :, k] = np.bincount(person[rows], share - area[k], minlength=people)
    within_p = present / ((present - 1) * positives) * excess[0].T @ excess[0]
    within_n = absent / ((absent - 1) * negatives) * excess[1].T @ excess[1]
    across = people / (people - 1) * excess[0].T @ excess[1]
    cover = within_p / positives + within_n / negatives + (across + across.T) / (positives * negatives)
    variance = cover[0, 0] + cover[1, 1] - 2 * cover[0, 1]
    return float(2 * norm.sf(abs(area[0] - area[1]) / np.sqrt(variance))) if variance > 1e-15 else float("nan")


def _placements(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of the negatives that each positive is above, and of the positives that each negative is below."""
    shares = []
    for own, other in ((positive, np.sort(negative)), (-negative, np.sort(-positive))):
        shares.append((np.searchsorted(other, own, "left") + np.searchsorted(other, own, "right")) / 2 / len(other))
    return shares[0], shares[1]


def _effect(gaps: np.ndarray, better: str) -> tuple[float, float]:
    """Cohen's d_z of the subjects' differences [S], and the share of them that a wins; NaN below two subjects."""
    gaps = gaps[np.isfinite(gaps)]
    if len(gaps) < 2:
        return float("nan"), float("nan")
    deviation = gaps.std(ddof=1)
    won = float(((gaps > 0) if better == "more" else (gaps < 0)).mean() + (gaps == 0).mean() / 2)
    return float(gaps.mean() / deviation) if deviation > 1e-12 else float("nan"), won
