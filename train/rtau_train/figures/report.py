"""All figures of one network, with what they are worth: intervals, and how they spread over people."""

from __future__ import annotations

import csv
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rtau.errors import InputError
from rtau.sinks.paths import replaced

from .bootstrap import Tell, clusters, interval, resamples
from .measures import BY_KEY, BY_SUBJECT, MEASURES, Thresholds, measure
from .predictions import Predictions

#: Subjects judged in one go.
_BATCH = 50


@dataclass(frozen=True)
class Settings:
    """How intervals are drawn: number of resamples (0 for none), seed, and share that they hold."""

    resamples: int = 1000
    seed: int = 0
    level: float = 0.95

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"resamples": self.resamples, "seed": self.seed, "level": self.level,
                "method": "percentiles of resampled subjects and, within them, faces"}


@dataclass(frozen=True)
class Figure:
    """A value and its interval; NaN what can't be given."""

    value: float
    low: float = float("nan")
    high: float = float("nan")

    def as_dict(self) -> dict[str, float | None]:
        """Plain values, None for NaN."""
        return {"value": plain(self.value), "low": plain(self.low), "high": plain(self.high)}


@dataclass(frozen=True)
class Spread:
    """One figure of each subject that allows it.

    Attributes:
        subjects: their names, [S].
        values: [S], no NaN.
        better: whether more or less of it is.
    """

    subjects: tuple[str, ...]
    values: np.ndarray
    better: str

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """Quarter, median and three quarters; NaN for less than two subjects."""
        if len(self.values) < 2:
            return (float("nan"),) * 3
        return tuple(float(q) for q in np.percentile(self.values, (25, 50, 75)))

    @property
    def worst(self) -> tuple[str, float]:
        """Who is read worst, and how; "" and NaN for less than two subjects."""
        if len(self.values) < 2:
            return "", float("nan")
        row = int(np.argmin(self.values) if self.better == "more" else np.argmax(self.values))
        return self.subjects[row], float(self.values[row])

    def as_dict(self) -> dict[str, Any]:
        """Plain values, None for NaN."""
        low, median, high = self.quartiles
        who, value = self.worst
        return {"subjects": len(self.values), "median": plain(median), "quartiles": [plain(low), plain(high)],
                "worst": {"subject": who or None, "value": plain(value)},
                "values": {name: plain(v) for name, v in zip(self.subjects, self.values, strict=True)}}


@dataclass(frozen=True)
class LabelFigures:
    """What is known of one label.

    Attributes:
        name: of the label.
        positives, negatives: faces that were judged, by truth.
        unknown: faces whose truth is unknown.
        unread: faces whose truth is known, and of which nothing was predicted.
        graded: faces whose intensity is known and predicted.
        threshold: tuned on other faces, NaN where none was.
        figures: by key of `MEASURES`.
        subjects: by key of `BY_SUBJECT`.
    """

    name: str
    positives: int
    negatives: int
    unknown: int
    unread: int
    graded: int
    threshold: float
    figures: dict[str, Figure]
    subjects: dict[str, Spread]

    @property
    def prevalence(self) -> float:
        """Share of positives among the faces that were judged."""
        total = self.positives + self.negatives
        return self.positives / total if total else float("nan")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, None for NaN."""
        return {"name": self.name, "positives": self.positives, "negatives": self.negatives, "unknown": self.unknown,
                "unread": self.unread, "graded": self.graded, "prevalence": plain(self.prevalence),
                "threshold": plain(self.threshold),
                "figures": {key: figure.as_dict() for key, figure in self.figures.items()},
                "subjects": {key: spread.as_dict() for key, spread in self.subjects.items()}}


@dataclass(frozen=True)
class Report:
    """All figures of one network on one set of faces.

    Attributes:
        model: who predicts.
        faces, subjects: how many; subjects as far as they are known.
        labels: each label's figures.
        mean: over the labels that have a figure, by key; their number is in `mean_of`.
        by_subject: each subject's mean over labels, by key of `BY_SUBJECT`.
        tuned_on: where the thresholds come from; "" for none.
        settings: of the intervals.
    """

    model: str
    faces: int
    subjects: int
    labels: tuple[LabelFigures, ...]
    mean: dict[str, Figure]
    mean_of: dict[str, int]
    by_subject: dict[str, Spread]
    tuned_on: str
    settings: Settings

    @property
    def graded(self) -> bool:
        """Whether any label has figures of its intensity."""
        return any(np.isfinite(label.figures["mae"].value) for label in self.labels)

    def as_dict(self) -> dict[str, Any]:
        """Everything, in plain values, None for NaN."""
        return {"model": self.model, "faces": self.faces, "subjects": self.subjects,
                "tuned_on": self.tuned_on or None, "intervals": self.settings.as_dict(),
                "labels": [label.as_dict() for label in self.labels],
                "mean": {key: {**figure.as_dict(), "labels": self.mean_of[key]} for key, figure in self.mean.items()},
                "by_subject": {key: spread.as_dict() for key, spread in self.by_subject.items()}}

    def write_csv(self, path: Path) -> Path:
        """Write one row per label, empty where a figure can't be given. Raises OutputError."""
        counts = ("positives", "negatives", "unknown", "unread", "graded")
        head = ["label", *counts, "prevalence", "threshold"]
        for key in BY_KEY:
            head += [key, f"{key}_low", f"{key}_high"]
        for key in BY_SUBJECT:
            head += [f"{key}_{what}" for what in ("subjects", "q1", "median", "q3", "worst", "worst_subject")]
        with replaced(path, newline="") as file:
            table = csv.writer(file)
            table.writerow(head)
            for label in self.labels:
                row: list[Any] = [label.name, *(getattr(label, c) for c in counts), label.prevalence, label.threshold]
                for figure in label.figures.values():
                    row += [figure.value, figure.low, figure.high]
                for spread in label.subjects.values():
                    who, worst = spread.worst
                    row += [len(spread.values), *spread.quartiles, worst, who]
                table.writerow(["" if isinstance(v, float) and np.isnan(v) else plain(v) for v in row])
        return path


def figures(predictions: Predictions, thresholds: Thresholds | None = None, settings: Settings = Settings(),
            tell: Tell | None = None) -> Report:
    """Work out every figure.

    Args:
        predictions: of the faces to judge.
        thresholds: see `measures.tune`, of other faces; without them there are no figures at tuned thresholds.
        settings: of the intervals, which take people as they come: subjects are resampled, then their faces.
        tell: is told how many resamples are done of how many.

    Raises:
        InputError: no label has faces that show it and faces that do not, nor an intensity that varies; or a
            subject was used for tuning too.
    """
    if thresholds is not None:
        thresholds.check_apart(predictions)
    cuts = np.full(len(predictions.names), np.nan) if thresholds is None else thresholds.of(predictions.names)
    once = np.ones((len(predictions), 1), np.float32)
    values = {key: table[:, 0] for key, table in measure(predictions, cuts, once).items()}
    if not (np.isfinite(values["auc"]).any() or np.isfinite(values["icc"]).any()):
        raise InputError("nothing can be judged: every label has one class only, or nothing known and predicted")
    drawn = resampled(predictions, cuts, settings, tell)
    low, high, mean = {}, {}, {}
    enough = people_enough(predictions)
    for measure_ in MEASURES:
        key = measure_.key
        sure = enough & measure_.interval
        low[key], high[key] = (np.where(sure, bound, np.nan) for bound in interval(drawn[key], settings.level))
        there = np.isfinite(values[key])
        bounds = interval(mean_of(drawn[key], there), settings.level) if (sure & there).any() else (np.nan,) * 2
        mean[key] = Figure(float(mean_of(values[key][:, None], there)[0]), *map(float, bounds))
    each, people = by_subject(predictions, cuts)
    labels = []
    for column, name in enumerate(predictions.names):
        truth, judged = predictions.labels[:, column], predictions.judged(column)
        labels.append(LabelFigures(
            name, int((truth[judged] > 0).sum()), int((truth[judged] < 0).sum()), int((truth == 0).sum()),
            int((truth != 0).sum() - judged.sum()), int(predictions.graded(column).sum()), float(cuts[column]),
            {key: Figure(float(values[key][column]), float(low[key][column]), float(high[key][column]))
             for key in BY_KEY},
            {key: spread_of(people, each[key][column], key) for key in BY_SUBJECT}))
    overall = {key: spread_of(people, mean_of(each[key], np.ones(len(labels), bool)), key) for key in BY_SUBJECT}
    return Report(predictions.model, len(predictions), len(people), tuple(labels), mean,
                  {key: int(np.isfinite(values[key]).sum()) for key in BY_KEY}, overall,
                  "" if thresholds is None else thresholds.origin, settings)


def resampled(predictions: Predictions, cuts: np.ndarray, settings: Settings, tell: Tell | None = None
              ) -> dict[str, np.ndarray]:
    """Every figure of every resample: by key float64 [C, B]."""
    parts = [measure(predictions, cuts, weight)
             for weight in resamples(predictions.subject, settings.resamples, settings.seed, tell)]
    none = np.zeros((len(predictions.names), 0))
    return {key: np.concatenate([none, *(part[key] for part in parts)], 1) for key in BY_KEY}


def people_enough(predictions: Predictions) -> np.ndarray:
    """Labels [C] that at least two people were judged by, without whom there is no telling how people differ."""
    person = clusters(predictions.subject)
    rows = [predictions.judged(c) | predictions.graded(c) for c in range(len(predictions.names))]
    return np.array([len(np.unique(person[row])) >= 2 for row in rows])


def by_subject(predictions: Predictions, cuts: np.ndarray) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Figures of each known subject: by key float64 [C, S], NaN where they can't be given; and who they are."""
    people = np.unique(predictions.subject[predictions.subject != ""])
    tables = [{key: np.zeros((len(predictions.names), 0)) for key in BY_SUBJECT}]
    order = np.argsort(predictions.subject, kind="stable")
    ordered = predictions.subject[order]
    for first in range(0, len(people), _BATCH):
        some = people[first:first + _BATCH]
        rows = order[np.searchsorted(ordered, some[0]):np.searchsorted(ordered, some[-1], "right")]
        own = (predictions.subject[rows, None] == some).astype(np.float32)
        tables.append(measure(predictions[rows], cuts, own, BY_SUBJECT))
    return {key: np.concatenate([t[key] for t in tables], 1) for key in BY_SUBJECT}, tuple(map(str, people))


def spread_of(people: tuple[str, ...], values: np.ndarray, key: str) -> Spread:
    """The subjects that a figure [S] could be given for."""
    there = np.isfinite(values)
    return Spread(tuple(p for p, t in zip(people, there, strict=True) if t), values[there], BY_KEY[key].better)


def mean_of(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean [B] over some of the labels of values [C, B], as far as they exist; NaN where none does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmean(values[labels], 0) if labels.any() else np.full(values.shape[1], np.nan)


def plain(value: Any) -> Any:
    """A value for a file: numbers to six places, None for NaN."""
    if isinstance(value, (float, np.floating)):
        return None if not np.isfinite(value) else round(float(value), 6)
    return value
