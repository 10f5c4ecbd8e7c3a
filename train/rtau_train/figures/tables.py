"""Reports and comparisons for the terminal, in at most 100 columns."""

from __future__ import annotations

import numpy as np
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from .comparison import Comparison, Difference
from .measures import BY_KEY
from .report import Figure, Report, Spread

#: Chance of error, corrected over the labels, below which a difference is marked.
SIGNIFICANT = 0.05


def report_table(report: Report, *, narrow: bool = False) -> Group:
    """One row per label, their mean, and what the figures rest on.

    Args:
        narrow: leave out what 80 columns don't hold.
    """
    tuned, graded, wide = bool(report.tuned_on), report.graded, not narrow
    table = _table(f"{report.model}: {report.faces} faces of {_people(report.subjects)}", 10 if graded else 20)
    _columns(table, "pos.", "neg.", "unkn.", *["share"] * wide, "AUC", "AP", "F1 .5", *["F1 tuned"] * tuned,
             *["bal.\nacc.", "Brier", "ECE"] * wide, *["ICC", "MAE"] * graded)

    def cells(figures: dict[str, Figure]) -> list[str | Text]:
        f1 = [share(figures["f1"].value), _with_interval(figures["f1_tuned"])] if tuned else [
            _with_interval(figures["f1"])]
        rest = [share(figures[key].value) for key in ("balanced_accuracy" + "_tuned" * tuned, "brier", "ece")] * wide
        level = [_with_interval(figures["icc"]), number(figures["mae"].value)] * graded
        return [_with_interval(figures["auc"]), share(figures["ap"].value), *f1, *rest, *level]

    for label in report.labels:
        table.add_row(label.name, str(label.positives), str(label.negatives), str(label.unknown or ""),
                      *[share(label.prevalence, 2)] * wide, *cells(label.figures))
    table.add_section()
    fewer = f"of {report.mean_of['auc']}" if report.mean_of["auc"] < len(report.labels) else ""
    table.add_row("mean", fewer, "", "", *[""] * wide, *cells(report.mean), style="bold")
    return Group(table, *(Text(line) for line in _notes(report)))


def comparison_table(comparison: Comparison) -> Group:
    """One row per label with the differences in AUC, F1 and intensity, and their mean."""
    c = comparison
    f1 = "f1_tuned" if np.isfinite(c.mean["f1_tuned"].a) else "f1"
    titles = {"auc": "AUC", f1: "F1 tuned" if f1 == "f1_tuned" else "F1 .5",
              **({"icc": "ICC"} if np.isfinite(c.mean["icc"].a) else {})}
    table = _table(f"{c.a} against {c.b}: {c.faces} faces of {_people(c.subjects)}", 20)
    _columns(table, "AUC", "against")
    for title in titles.values():
        _columns(table, f"{title} difference", "p")

    def cells(row: dict[str, Difference]) -> list[str | Text]:
        found: list[str | Text] = [share(row["auc"].a), share(row["auc"].b)]
        for key in titles:
            d = row[key]
            sure = d.holm < SIGNIFICANT
            style = "" if not sure else "green" if (d.value > 0) == (BY_KEY[key].better == "more") else "red"
            bounds = Text(f" [{share(d.low, 2)}, {share(d.high, 2)}]", style=style or "dim")
            found += [Text(_signed(d.value), style=style) + (bounds if np.isfinite(d.low) else Text("")),
                      Text(f"{share(d.holm)}{'*' if sure else ' '}", style=style)]
        return found

    for name, row in c.labels.items():
        table.add_row(name, *cells(row))
    table.add_section()
    table.add_row("mean", *cells(c.mean), style="bold")
    notes = [f"Differences with {c.settings.level:.0%} intervals; p from {c.settings.resamples} paired resamples of "
             f"subjects and faces, of labels after Holm; * below {SIGNIFICANT:g}."]
    least = 2 * len(c.labels) / (c.settings.resamples + 1)
    if c.settings.resamples and least > SIGNIFICANT:
        notes.append(f"With {len(c.labels)} labels so few resamples can't give a p below {least:.2f}: "
                     f"take {40 * len(c.labels)} or more.")
    d = c.mean["auc"]
    if np.isfinite(d.effect):
        notes.append(f"AUC by subject, mean over labels: {c.a} is better for {d.won:.0%} of the subjects, effect size "
                     f"{number(d.effect)} (Cohen's d of the paired differences).")
    return Group(table, *(Text(line) for line in notes))


def _notes(report: Report) -> list[str]:
    lines = []
    s = report.settings
    if s.resamples and np.isnan(report.mean["auc"].low) and np.isnan(report.mean["mae"].low):
        lines.append("No intervals: they need two subjects or more.")
    elif s.resamples:
        lines.append(f"Intervals: {s.level:.0%}, {s.resamples} resamples of subjects and their faces.")
    if report.tuned_on:
        lines.append(f"Thresholds tuned on {report.tuned_on}; balanced accuracy at those too.")
    else:
        lines.append("No tuned thresholds: no other faces to tune them on were given.")
    unread = sum(label.unread for label in report.labels)
    if unread:
        lines.append(f"{unread} known labels are left out because nothing was predicted for them.")
    lines += [f"{title} by subject, mean over labels: {_spread(report.by_subject[key])}"
              for key, title in (("auc", "AUC"), ("f1_tuned" if report.tuned_on else "f1", "F1"))
              if len(report.by_subject[key].values) > 1]
    return lines


def _spread(spread: Spread) -> str:
    low, median, high = spread.quartiles
    who, worst = spread.worst
    return f"median {share(median)}, quartiles {share(low)} to {share(high)}, worst {share(worst)} ({who})."


def _table(title: str, longest: int) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    table.add_column("", no_wrap=True, max_width=longest)
    return table


def _columns(table: Table, *names: str) -> None:
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)


def _people(count: int) -> str:
    return f"{count} subject{'s' * (count != 1)}" if count else "unknown subjects"


def _with_interval(figure: Figure) -> Text:
    text = Text(share(figure.value))
    if np.isfinite(figure.low):
        text.append(f" {share(figure.low, 2)}–{share(figure.high, 2)}", style="dim")
    return text


def share(value: float, places: int = 3) -> str:
    """A number that seldom leaves -1..1 without its leading 0, never wider for it: ".925", "1.00"; "-" for NaN."""
    if np.isnan(value):
        return "-"
    text = f"{value:.{places}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("0.", ".", 1) if abs(float(text)) < 1 else f"{value:.{places - 1}f}"


def number(value: float) -> str:
    """A number with two places, "-" for NaN."""
    return "-" if np.isnan(value) else f"{value:.2f}"


def _signed(value: float) -> str:
    text = share(value)
    return text if text.startswith("-") else f"+{text}"
