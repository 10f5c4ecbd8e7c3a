"""Plots of a report, as PNG files. Colours are those of Okabe and Ito (2008), told apart without red and green."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas

from rtau.sinks.paths import replaced

from ..evaluate import BINS, equal_mass
from .comparison import Comparison
from .measures import HALF
from .predictions import Predictions
from .report import Report

BLUE, ORANGE, GREY, LIGHT = "#0072B2", "#D55E00", "#5A5A5A", "#D9D9D9"
_STYLE = {"font.size": 8, "axes.titlesize": 9, "axes.labelsize": 8, "axes.edgecolor": GREY, "axes.linewidth": 0.6,
          "axes.spines.top": False, "axes.spines.right": False, "xtick.color": GREY, "ytick.color": GREY,
          "xtick.major.width": 0.6, "ytick.major.width": 0.6, "figure.dpi": 130, "savefig.facecolor": "white"}
_PANEL, _ACROSS = 1.75, 6


def draw_plots(report: Report, predictions: Predictions, folder: Path, comparison: Comparison | None = None
               ) -> list[Path]:
    """Draw every plot that the figures allow.

    Args:
        report, predictions: of the same network and faces.
        folder: where `labels.png`, `roc.png`, `reliability.png`, `subjects.png` and, for a comparison,
            `comparison.png` go.

    Raises:
        OutputError: they can't be written.
    """
    with rc_context(_STYLE):
        drawn = {"labels": draw_labels(report), "roc": draw_roc(report, predictions),
                 "reliability": draw_reliability(report, predictions), "subjects": draw_subjects(report)}
        if comparison is not None:
            drawn["comparison"] = draw_comparison(comparison)
        files = []
        for name, canvas in drawn.items():
            if canvas is not None:
                with replaced(folder / f"{name}.png", "wb") as file:
                    FigureCanvasAgg(canvas).print_png(file)
                files.append(folder / f"{name}.png")
    return files


def draw_labels(report: Report) -> Canvas:
    """AUC, F1 and intensity of each label as bars with intervals, the mean last."""
    f1 = "f1_tuned" if report.tuned_on else "f1"
    columns = [("auc", "AUC", 0.5), (f1, "F1 at the tuned threshold" if report.tuned_on else "F1 at 0.5", 0.0)]
    if report.graded:
        columns.append(("icc", "ICC(3,1) of intensity", 0.0))
    rows = [(label.name, label.figures) for label in report.labels] + [("mean", report.mean)]
    places = np.arange(len(rows), dtype=float)
    places[-1] += 0.5
    canvas = Canvas(figsize=(2.6 * len(columns) + 0.8, 0.2 * len(rows) + 1.3), layout="constrained")
    axes = np.atleast_1d(canvas.subplots(1, len(columns), sharey=True))
    for ax, (key, title, start) in zip(axes, columns, strict=True):
        values = np.array([figures[key].value for _, figures in rows])
        bounds = np.array([(figures[key].low, figures[key].high) for _, figures in rows])
        ax.barh(places, values - start, left=start, height=0.72, color=[BLUE] * (len(rows) - 1) + [GREY])
        ax.hlines(places, *bounds.T, color="black", linewidth=0.9)
        if key == f1:
            # What calling every face positive gives: 2 p / (1 + p).
            share = np.array([label.prevalence for label in report.labels])
            ax.plot(2 * share / (1 + share), places[:-1], "|", color=ORANGE, markersize=7, markeredgewidth=1.6)
        for place, (_, figures) in zip(places, rows, strict=True):
            if np.isnan(figures[key].value):
                ax.text(start, place, " -", va="center", color=GREY)
        low = np.nanmin([start, *values, *bounds[:, 0]])
        ax.set(xlim=(min(start, math.floor(low * 10) / 10), 1), ylim=(places[-1] + 0.6, -0.6))
        ax.set_title(title, loc="left")
        ax.set_yticks(places, [name for name, _ in rows])
        ax.tick_params(axis="y", length=0, labelcolor="black")
        ax.grid(axis="x", color=LIGHT, linewidth=0.5)
        ax.set_axisbelow(True)
    lines = f"{report.settings.level:.0%} intervals; " if report.settings.resamples else ""
    canvas.suptitle(_caption(report, f"{lines}orange: F1 of calling every face positive"), fontsize=8)
    return canvas


def draw_roc(report: Report, predictions: Predictions) -> Canvas | None:
    """The ROC curve of each label, and where 0.5 and the tuned threshold lie on it."""

    def panel(ax: Axes, column: int, truth: np.ndarray, score: np.ndarray) -> None:
        cuts = np.append(np.unique(score)[::-1], -np.inf)
        ranked = [np.sort(score[truth]), np.sort(score[~truth])]
        hit, false = (1 - np.searchsorted(values, cuts, "left") / len(values) for values in ranked)
        ax.plot([0, 1], [0, 1], color=LIGHT, linewidth=0.8)
        ax.plot(np.append(0, false), np.append(0, hit), color=BLUE, linewidth=1.2)
        for cut, marker, colour in ((HALF, "o", BLUE), (report.labels[column].threshold, "D", ORANGE)):
            if np.isfinite(cut):
                ax.plot((score[~truth] >= cut).mean(), (score[truth] >= cut).mean(), marker, color=colour,
                        markersize=4, markeredgecolor="white", markeredgewidth=0.5)
        ax.text(0.97, 0.05, f"{report.labels[column].figures['auc'].value:.3f}", ha="right", color=BLUE)

    legend = "dots: threshold 0.5" + ("; diamonds: tuned threshold" if report.tuned_on else "")
    return _panels(report, predictions, panel, "false alarms", "hits", f"ROC curves, their area; {legend}")


def draw_reliability(report: Report, predictions: Predictions) -> Canvas | None:
    """How often each label is there, by how probable it is said to be, in bins of equal mass."""

    def panel(ax: Axes, column: int, truth: np.ndarray, score: np.ndarray) -> None:
        where = equal_mass(score, BINS)
        there = [i for i in range(BINS) if (where == i).any()]
        said, found, count = np.array([(score[where == i].mean(), truth[where == i].mean(), (where == i).sum())
                                       for i in there]).T
        low, high = _wilson(found, count)
        ax.plot([0, 1], [0, 1], color=LIGHT, linewidth=0.8)
        ax.vlines(said, low, high, color=BLUE, linewidth=0.8, alpha=0.6)
        ax.plot(said, found, "o-", color=BLUE, markersize=2.8, linewidth=0.9)
        ax.text(0.05, 0.9, f"{report.labels[column].figures['ece'].value:.3f}", color=BLUE)

    return _panels(report, predictions, panel, "probability said", "share present",
                   f"Reliability, expected calibration error; {BINS} bins of equal mass")


def draw_subjects(report: Report) -> Canvas | None:
    """The AUC of every subject: a dot each, a bar from quarter to three quarters, a line at the median."""
    rows = [(label.name, label.subjects["auc"]) for label in report.labels] + [("mean", report.by_subject["auc"])]
    if not any(len(spread.values) > 1 for _, spread in rows):
        return None
    canvas = Canvas(figsize=(6.4, 0.24 * len(rows) + 1.2), layout="constrained")
    ax = canvas.subplots()
    for row, (_, spread) in enumerate(rows):
        place = row + 0.5 * (row == len(rows) - 1)
        if len(spread.values) < 2:
            ax.text(0, place, "-", va="center", color=GREY)
            continue
        low, median, high = spread.quartiles
        ax.barh(place, high - low, left=low, height=0.66, color=LIGHT)
        # The same shake for all, so that dots on one spot can be counted.
        shake = np.random.default_rng(row).uniform(-0.24, 0.24, len(spread.values))
        ax.plot(spread.values, place + shake, "o", color=BLUE, markersize=3, alpha=0.55, markeredgewidth=0)
        ax.vlines(median, place - 0.36, place + 0.36, color=ORANGE, linewidth=1.8)
    ax.axvline(0.5, color=GREY, linewidth=0.6, linestyle=":")
    ax.set_yticks([row + 0.5 * (row == len(rows) - 1) for row in range(len(rows))], [name for name, _ in rows])
    ax.set(xlim=(-0.02, 1.02), ylim=(len(rows) + 0.1, -0.7), xlabel="AUC of one subject")
    ax.tick_params(axis="y", length=0, labelcolor="black")
    canvas.suptitle(_caption(report, "a dot each; bar: quartiles; line: median"), fontsize=8)
    return canvas


def draw_comparison(comparison: Comparison) -> Canvas:
    """Differences in AUC and F1, and in ICC where there is one, with intervals; filled where Holm's p is below .05."""
    f1 = "f1_tuned" if np.isfinite(comparison.mean["f1_tuned"].a) else "f1"
    keys = [("auc", "AUC"), (f1, "F1 at the tuned threshold" if f1 == "f1_tuned" else "F1 at 0.5")]
    keys += [("icc", "ICC(3,1)")] if np.isfinite(comparison.mean["icc"].a) else []
    rows = [*comparison.labels.items(), ("mean", comparison.mean)]
    places = np.arange(len(rows), dtype=float)
    places[-1] += 0.5
    canvas = Canvas(figsize=(2.6 * len(keys) + 0.8, 0.2 * len(rows) + 1.4), layout="constrained")
    for ax, (key, title) in zip(np.atleast_1d(canvas.subplots(1, len(keys), sharey=True)), keys, strict=True):
        ax.axvline(0, color=GREY, linewidth=0.8)
        for place, (_, row) in zip(places, rows, strict=True):
            d = row[key]
            if np.isnan(d.value):
                ax.text(0, place, " -", va="center", color=GREY)
                continue
            colour = BLUE if d.value >= 0 else ORANGE
            ax.hlines(place, d.low, d.high, color=colour, linewidth=1.2)
            ax.plot(d.value, place, "o" if d.value >= 0 else "s", markersize=4.5, color=colour,
                    markerfacecolor=colour if d.holm < 0.05 else "white")
        ax.set_title(title, loc="left")
        ax.set_yticks(places, [name for name, _ in rows])
        ax.set_ylim(places[-1] + 0.6, -0.6)
        ax.tick_params(axis="y", length=0, labelcolor="black")
        ax.grid(axis="x", color=LIGHT, linewidth=0.5)
        ax.set_axisbelow(True)
    canvas.suptitle(f"{comparison.a} minus {comparison.b}: {comparison.faces} faces; lines: "
                    f"{comparison.settings.level:.0%} intervals; squares: below 0; filled: p < 0.05 over all labels",
                    fontsize=8)
    return canvas


def _panels(report: Report, predictions: Predictions, panel: Callable[[Axes, int, np.ndarray, np.ndarray], None],
            x: str, y: str, title: str) -> Canvas | None:
    """One small square for each label that has both classes."""
    shown = [c for c, label in enumerate(report.labels) if np.isfinite(label.figures["auc"].value)]
    if not shown:
        return None
    across = min(_ACROSS, len(shown))
    down = math.ceil(len(shown) / across)
    canvas = Canvas(figsize=(max(_PANEL * across + 0.4, 4.5), _PANEL * down + 0.8), layout="constrained")
    axes = canvas.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    for ax in axes.flat[len(shown):]:
        ax.axis("off")
    for ax, column in zip(axes.flat, shown, strict=False):
        rows = predictions.judged(column)
        panel(ax, column, predictions.labels[rows, column] > 0, predictions.presence[rows, column])
        head = f"{report.labels[column].name} ({report.labels[column].positives})"
        ax.set_title(head, loc="left", fontsize=min(9, 190 / len(head)))  # which keeps off the next one's
        ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
        ax.set_xticklabels(["0", ".5", "1"])
        ax.set_yticklabels(["0", ".5", "1"])
    canvas.supxlabel(x, fontsize=8)
    canvas.supylabel(y, fontsize=8)
    canvas.suptitle(_caption(report, f"{title} (in brackets: positives)"), fontsize=8)
    return canvas


def _wilson(share: np.ndarray, count: np.ndarray, z: float = 1.96) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of shares of counts (Wilson, 1927)."""
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return middle - half, middle + half


def _caption(report: Report, what: str) -> str:
    people = f"{report.subjects or 'unknown'} subjects"
    return f"{report.model}, {report.faces} faces of {people}. {what[0].upper()}{what[1:]}"
