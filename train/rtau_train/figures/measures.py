"""Which figures there are, and all of them at once for every label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rtau.errors import InputError

from .. import evaluate
from .predictions import Predictions

#: The threshold that every network is judged at, whatever suits it.
HALF = 0.5


@dataclass(frozen=True)
class Measure:
    """One figure of merit.

    Attributes:
        key: its name in files.
        title: its name for people.
        better: whether more or less of it is.
        of: what it is taken of: the probability of presence, presence at .5 or at the tuned threshold, or the
            intensity.
        function: of truth, prediction and weight, see `evaluate`.
        interval: whether resamples tell how sure it is. Not where they change it themselves: faces drawn twice make
            any probability look worse calibrated.
    """

    key: str
    title: str
    better: Literal["more", "less"]
    of: Literal["probability", "half", "tuned", "intensity"]
    function: Callable
    interval: bool = True


MEASURES: tuple[Measure, ...] = (
    Measure("auc", "AUC", "more", "probability", evaluate.auc),
    Measure("ap", "average precision", "more", "probability", evaluate.average_precision),
    Measure("f1", "F1 at 0.5", "more", "half", evaluate.f1),
    Measure("f1_tuned", "F1 at the tuned threshold", "more", "tuned", evaluate.f1),
    Measure("balanced_accuracy", "balanced accuracy at 0.5", "more", "half", evaluate.balanced_accuracy),
    Measure("balanced_accuracy_tuned", "balanced accuracy at the tuned threshold", "more", "tuned",
            evaluate.balanced_accuracy),
    Measure("brier", "Brier score", "less", "probability", evaluate.brier),
    Measure("ece", "expected calibration error", "less", "probability", evaluate.ece, interval=False),
    Measure("icc", "ICC(3,1)", "more", "intensity", evaluate.icc31),
    Measure("mae", "mean absolute error", "less", "intensity", evaluate.mae),
    Measure("pearson", "correlation", "more", "intensity", evaluate.pearson))
BY_KEY = {measure.key: measure for measure in MEASURES}

#: Those that are also given for each subject.
BY_SUBJECT = ("auc", "f1", "f1_tuned", "mae")


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of presence found on faces other than those that are judged.

    Attributes:
        values: by label; NaN where those faces could not tell.
        origin: of those faces, for people to read.
        subject, source: str [M], see `Predictions`.
    """

    values: dict[str, float]
    origin: str
    subject: np.ndarray
    source: np.ndarray

    def of(self, names: tuple[str, ...]) -> np.ndarray:
        """Thresholds [C] of these labels, NaN where there is none."""
        return np.array([self.values.get(name, np.nan) for name in names])

    def check_apart(self, predictions: Predictions) -> None:
        """Make sure that no subject, or no picture where subjects are unknown, is judged as well.

        Raises:
            InputError: naming one that is.
        """
        for what in ("subject", "source"):
            here, there = getattr(self, what), getattr(predictions, what)
            if what == "source":
                here, there = here[self.subject == ""], there[predictions.subject == ""]
            both = np.setdiff1d(np.intersect1d(here, there), [""])
            if len(both):
                raise InputError(f"{what} {both[0]} is judged, and the thresholds were tuned on it ({self.origin}): "
                                 "the figures would be too good; tune on others")


def tune(predictions: Predictions, origin: str = "other faces") -> Thresholds:
    """The thresholds with the highest F1 on these faces."""
    values = {}
    for column, name in enumerate(predictions.names):
        rows = predictions.judged(column)
        values[name] = evaluate.best_threshold(predictions.labels[rows, column] > 0, predictions.presence[rows, column])
    return Thresholds(values, origin, predictions.subject, predictions.source)


def measure(predictions: Predictions, thresholds: np.ndarray, weight: np.ndarray,
            keys: tuple[str, ...] = tuple(BY_KEY)) -> dict[str, np.ndarray]:
    """Figures of every label.

    Args:
        predictions: N faces, C labels.
        thresholds: [C], NaN where none was tuned.
        weight: [N, B], how often each face counts.
        keys: which figures.

    Returns:
        By key float64 [C, B], NaN where the figure can't be given.
    """
    table = {key: np.full((len(predictions.names), weight.shape[1]), np.nan) for key in keys}
    for column in range(len(predictions.names)):
        judged, graded = predictions.judged(column), predictions.graded(column)
        present, score = predictions.labels[judged, column] > 0, predictions.presence[judged, column]
        level, expected = predictions.intensity[graded, column], predictions.expected[graded, column]
        of_judged = weight[judged] if judged.any() else None
        of_graded = weight[graded] if graded.any() else None
        for key in keys:
            figure = BY_KEY[key]
            if figure.of == "intensity":
                if of_graded is not None:
                    table[key][column] = figure.function(level, expected, of_graded)
            elif of_judged is not None and not (figure.of == "tuned" and np.isnan(thresholds[column])):
                cut = HALF if figure.of == "half" else thresholds[column]
                value = score if figure.of == "probability" else score >= cut
                table[key][column] = figure.function(present, value, of_judged)
    return table
