"""What came of judging a network: reports, a comparison, and the files they make."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rtau
from rtau.sinks.paths import claim_folder, replaced

from .comparison import Comparison
from .predictions import Predictions, write_parts
from .report import Report

#: Version of the JSON file; a name or a meaning that changes makes a new one.
SCHEMA = "rtau-eval/1"
_ALONE = ("eval.json", "labels.csv", "predictions.csv", "labels.png", "roc.png", "reliability.png", "subjects.png")
_COMPARED = ("against.csv", "comparison.csv", "comparison.png")


@dataclass(frozen=True)
class Judged:
    """One network.

    Attributes:
        report: its figures.
        predictions: what they are of.
        tuning: of the faces that its thresholds were tuned on; None for none.
    """

    report: Report
    predictions: Predictions
    tuning: Predictions | None

    def write_predictions(self, path: Path) -> None:
        """Write a table that gives the same figures again. Raises OutputError where that can't be done."""
        parts = {"all": self.predictions} if self.tuning is None else {
            "test": self.predictions, "validation": self.tuning}
        write_parts(parts, path)


@dataclass(frozen=True)
class Verdict:
    """What came of an order.

    Attributes:
        network, other: what was judged, and what it was held against, if anything.
        comparison: of the two.
        facts: how it came about, in plain values.
        notes: what a person should know, a sentence each.
    """

    network: Judged
    other: Judged | None = None
    comparison: Comparison | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Everything, in plain values, None for NaN."""
        return {"schema": SCHEMA, "rtau": rtau.__version__, **self.facts, "report": self.network.report.as_dict(),
                "against": self.other and self.other.report.as_dict(),
                "comparison": self.comparison and self.comparison.as_dict()}

    def to_json(self) -> str:
        """Everything as JSON."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False, allow_nan=False)

    def write(self, folder: Path) -> None:
        """Write JSON, tables and plots into a folder; `predictions.csv` can be judged again.

        Raises:
            OutputError: that can't be done; files that are complete stay.
        """
        from .plots import draw_plots

        with replaced(folder / "eval.json") as file:
            file.write(self.to_json() + "\n")
        self.network.report.write_csv(folder / "labels.csv")
        self.network.write_predictions(folder / "predictions.csv")
        if self.other is not None and self.comparison is not None:
            self.other.write_predictions(folder / "against.csv")
            self.comparison.write_csv(folder / "comparison.csv")
        draw_plots(self.network.report, self.network.predictions, folder, self.comparison)


def prepare_folder(folder: Path, *, compared: bool = False, overwrite: bool = False) -> None:
    """Make the folder for the files, before long work begins.

    Args:
        compared: whether there will be a comparison.
        overwrite: replace files that exist.

    Raises:
        OutputError: it can't be made, or such a file is there and `overwrite` is False.
    """
    claim_folder(folder, _ALONE + (_COMPARED if compared else ()), overwrite=overwrite)
