"""What a study found: means over seeds, and differences between variants paired by seed, as tables.

A difference has two intervals of 95 %. One is Student's over seeds: another draw of labeled faces, weights and order.
The other is over people: the seeds' mean, judged on resampled people of those who test. Neither covers the other.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from rtau.sinks.paths import replaced

from .data.faces import FaceSet
from .figures.bootstrap import interval, resamples
from .figures.comparison import holm
from .figures.measures import measure
from .figures.predictions import Predictions
from .figures.report import plain
from .figures.tables import share
from .study import FIGURES, presence_of

LEVEL = 0.95
#: Resamples of the people who test.
_RESAMPLES = 400
#: What the mean over all sizes is called.
EVERY = "mean of sizes"
_TITLES = {"auc": "AUC", "f1": "F1 .5", "f1_tuned": "F1 tuned", "icc": "ICC", "mae": "MAE"}
_VIEWS = {"same": "same side of .5", "apart": "mean distance", "cosine": "classifiers' cosine", "cka": "features' CKA"}

Row = dict[str, Any]


@dataclass(frozen=True)
class Difference:
    """How much more one variant has than another over the seeds that both have; NaN what can't be given.

    Attributes:
        mean, sd: of the differences; sd with n - 1.
        low, high: Student's interval of the mean.
        p: of the paired t test.
        seeds: how many.
    """

    mean: float
    sd: float
    low: float
    high: float
    p: float
    seeds: int


def paired(more: Sequence[float], less: Sequence[float]) -> Difference:
    """Differences of values that belong together; pairs with a NaN are left out."""
    gaps = np.asarray(more, float) - np.asarray(less, float)
    gaps = gaps[np.isfinite(gaps)]
    mean = float(gaps.mean()) if len(gaps) else float("nan")
    if len(gaps) < 2:
        return Difference(mean, *[float("nan")] * 4, len(gaps))
    sd = float(gaps.std(ddof=1))
    error = sd / len(gaps) ** 0.5
    reach = float(stats.t.ppf((1 + LEVEL) / 2, len(gaps) - 1)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, len(gaps) - 1)) if error > 1e-12 else float("nan")
    return Difference(mean, sd, mean - reach, mean + reach, p, len(gaps))


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Lines of a table in Markdown, and an empty one."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(str(cell) for cell in line) + " |" for line in lines] + [""]


class Summary:
    """The tables of a study.

    Args:
        results: of `study.fulfil`, any number of them.
        folder: the study's.
        test: the faces that were judged.
        steps: pairs of variants, the one with less first; the last is the one whose labels are told one by one.
        people: whether to resample people, which takes a while.
    """

    def __init__(self, results: Iterable[Row], folder: Path, test: FaceSet, steps: Sequence[tuple[str, str]], *,
                 people: bool = True) -> None:
        self._by = {(r["order"]["labels"], r["order"]["variant"], r["order"]["seed"]): r for r in results}
        self._folder, self._test, self._pairs, self._people = folder, test, steps, people
        self._sizes = list(dict.fromkeys(key[0] for key in self._by))
        self._weights = list(resamples(test.subject, _RESAMPLES)) if people else []
        self._drawn: dict[tuple, np.ndarray] = {}
        self.variants = [self._variant(*key) for key in dict.fromkeys(key[:2] for key in self._by)]
        both = [size for size in self._sizes if steps and all(
            any((size, variant, seed) in self._by for seed in self._seeds()) for variant in steps[-1])]
        self.differences = [row for step in steps for size in [*both, *[EVERY] * (len(both) > 1)]
                            for row in self._step(size, both, *step)]
        self.labels = [row for size in both for row in self._each(size, *steps[-1])]

    def _seeds(self) -> list[int]:
        return sorted({key[2] for key in self._by})

    def _variant(self, size: str, variant: str) -> Row:
        runs = [r for key, r in self._by.items() if key[:2] == (size, variant)]
        row: Row = {"labels": size, "variant": variant, "seeds": len(runs), "labeled": runs[0]["faces"]["labeled"],
                    "people": runs[0]["faces"]["people"], "steps": runs[0]["order"]["recipe"]["loop"]["steps"],
                    "seconds": round(float(np.mean([r["seconds"] for r in runs])), 1)}
        for group, keys in (("figures", FIGURES), ("views", _VIEWS)):
            for key in keys:
                values = np.array([r[group].get(key, np.nan) for r in runs], float)
                row[key] = float(values.mean())
                row[f"{key}_sd"] = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
        return row

    def _step(self, size: str, sizes: list[str], less: str, more: str) -> Iterable[Row]:
        """The differences of all figures between two variants, at one size or on average over all."""
        of = sizes if size == EVERY else [size]
        seeds = [seed for seed in self._seeds() if all((s, v, seed) in self._by for s in of for v in (less, more))]
        if not seeds:
            return
        for key in FIGURES:
            values = [[np.mean([self._number((s, v, seed), key) for s in of]) for seed in seeds] for v in (more, less)]
            row = {"labels": size, "less": less, "more": more, "figure": key, **vars(paired(*values))}
            if key == "auc" and self._people:
                gaps = [self._resampled((s, more, n)) - self._resampled((s, less, n)) for s in of for n in seeds]
                low, high = interval(np.mean(gaps, 0), LEVEL)
                row |= {"people_low": float(low), "people_high": float(high)}
            yield row

    def _number(self, key: tuple, figure: str) -> float:
        value = self._by[key]["figures"][figure]
        return np.nan if value is None else value

    def _resampled(self, key: tuple) -> np.ndarray:
        """Mean AUC over the labels in each resample of people, [B]."""
        if key not in self._drawn:
            test, presence = self._test, presence_of(self._by[key]["order"]["name"], self._folder)
            seen = Predictions(test.names, test.subject, test.source, test.labels, test.intensity, presence,
                               np.full_like(presence, np.nan))
            none = np.full(len(test.names), np.nan)
            self._drawn[key] = np.concatenate([np.nanmean(measure(seen, none, w, ("auc",))["auc"], 0)
                                               for w in self._weights])
        return self._drawn[key]

    def _each(self, size: str, less: str, more: str) -> list[Row]:
        """Every label of two variants at one size, p corrected over the labels."""
        seeds = [seed for seed in self._seeds() if {(size, less, seed), (size, more, seed)} <= self._by.keys()]
        rows = []
        for key in FIGURES:
            found = []
            for column, name in enumerate(self._test.names):
                a, b = (np.array([self._by[size, variant, seed]["labels"][name][key] for seed in seeds], float)
                        for variant in (more, less))
                signs = self._test.labels[:, column]
                found.append({"labels": size, "label": name, "figure": key, "n": int((signs != 0).sum()),
                              "prevalence": float((signs > 0).sum() / max((signs != 0).sum(), 1)), "less": less,
                              "more": more, "of_less": float(b.mean()) if len(b) else float("nan"),
                              "of_more": float(a.mean()) if len(a) else float("nan"), **vars(paired(a, b))})
            for row, corrected in zip(found, holm(np.array([row["p"] for row in found])), strict=True):
                row["holm"] = float(corrected)
            rows += found
        return rows

    # -- files -------------------------------------------------------------------------------

    def write(self, folder: Path, facts: Row) -> None:
        """Write finding.md, finding.csv, differences.csv, labels.csv and finding.json. Raises OutputError."""
        for name, rows in (("finding", self.variants), ("differences", self.differences), ("labels", self.labels)):
            with replaced(folder / f"{name}.csv", newline="") as file:
                writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
                writer.writeheader()
                writer.writerows({key: "" if plain(value) is None else plain(value) for key, value in row.items()}
                                for row in rows)
        whole = {**facts, "variants": self.variants, "differences": self.differences, "labels": self.labels,
                 "runs": list(self._by.values())}
        with replaced(folder / "finding.json") as file:
            json.dump(_plain(whole), file, indent=1, ensure_ascii=False, allow_nan=False)
        with replaced(folder / "finding.md") as file:
            file.write(self.to_markdown(facts))

    def to_markdown(self, facts: Row) -> str:
        """All tables, with what they rest on."""
        lines = ["# The finding on open data", "", *facts.get("notes", []), ""]
        lines += ["## On those who test: mean ± standard deviation over seeds", "", *table(
            ["labels", "faces", "variant", "seeds", "steps", *_TITLES.values()],
            [[r["labels"], r["labeled"], r["variant"], r["seeds"], r["steps"],
              *(_spread(r[key], r[f"{key}_sd"]) for key in _TITLES)] for r in self.variants])]
        lines += ["## Steps, paired by seed", "",
                  "In brackets the interval over seeds and, for AUC, over people; * where it leaves out 0.", ""]
        by = {(r["labels"], r["less"], r["more"], r["figure"]): r for r in self.differences}
        keys = list(dict.fromkeys(key[:3] for key in by))
        lines += table(["labels", "from", "to", "AUC, over seeds", "over people", "F1 .5", "F1 tuned", "ICC"], [
            [*key, _gap(by[*key, "auc"]), _people(by[*key, "auc"]),
             *(_gap(by[*key, figure]) for figure in ("f1", "f1_tuned", "icc"))] for key in keys])
        for size in dict.fromkeys(row["labels"] for row in self.labels):
            of = {(r["label"], r["figure"]): r for r in self.labels if r["labels"] == size}
            less, more = self._pairs[-1]
            lines += [f"## Each AU with {size} of the labels: {less}, then {more}", "", *table(
                ["AU", "n", "share", "AUC", "difference", "p (Holm)", "F1 .5", "difference", "F1 tuned", "difference",
                 "ICC", "difference"],
                [[name, of[name, "auc"]["n"], share(of[name, "auc"]["prevalence"], 2), _both(of[name, "auc"]),
                  _gap(of[name, "auc"]), share(of[name, "auc"]["holm"], 2),
                  *(text for key in ("f1", "f1_tuned", "icc") for text in (_both(of[name, key]), _gap(of[name, key])))]
                 for name in self._test.names])]
        lines += ["## How the views agree on those who test", "", *table(
            ["labels", "variant", *_VIEWS.values()],
            [[r["labels"], r["variant"], *(_spread(r[key], r[f"{key}_sd"]) for key in _VIEWS)]
             for r in self.variants if np.isfinite(r["same"])])]
        return "\n".join(lines)


def _spread(mean: float, sd: float) -> str:
    return share(mean) + (f" ± {share(sd)}" if np.isfinite(sd) else "")


def _both(row: Row) -> str:
    return f"{share(row['of_less'])}, {share(row['of_more'])}"


def _gap(row: Row) -> str:
    mean = share(row["mean"])
    return "+" * (mean[0] != "-") + mean + _bounds(row["low"], row["high"])


def _people(row: Row) -> str:
    return _bounds(row.get("people_low", np.nan), row.get("people_high", np.nan)).strip() or "-"


def _bounds(low: float, high: float) -> str:
    if not np.isfinite(low):
        return ""
    return f" [{share(low)}, {share(high)}]" + "*" * bool(low > 0 or high < 0)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else plain(value)
