"""Plots of a run's metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from rtau.sinks.paths import replaced


def draw_chart(rows: Sequence[Mapping[str, float]], columns: Sequence[str], target: Path, *, title: str = "") -> None:
    """Draw columns over "step" as lines, one PNG; columns without a number are left out.

    Args:
        rows: a run's metrics, each with "step".
        columns: what to draw.
        target: a .png; replaced once the new one is whole. Nothing is written where there is nothing to draw.

    Raises:
        OutputError: it can't be written.
    """
    lines = {column: [(row["step"], row[column]) for row in rows if math.isfinite(row.get(column, math.nan))]
             for column in columns}
    lines = {column: points for column, points in lines.items() if points}
    if not lines:
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5))
    axes = figure.add_axes((0.1, 0.12, 0.87, 0.8), title=title, xlabel="step")
    for column, points in lines.items():
        axes.plot(*zip(*points, strict=True), label=column.replace("_", " "), marker="." if len(points) < 30 else "")
    axes.grid(alpha=0.3)
    axes.legend()
    with replaced(target, "wb") as file:
        figure.savefig(file, format="png", dpi=110)
