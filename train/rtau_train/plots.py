"""Plots of a run's metrics."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path


def draw_chart(rows: Sequence[Mapping[str, float]], columns: Sequence[str], target: Path, *, title: str = "") -> None:
    """Draw columns over "step" as lines, one PNG; columns without a number are left out.

    Args:
        rows: a run's metrics, each with "step".
        columns: what to draw.
        target: a .png; replaced once the new one is whole. Nothing is written where there is nothing to draw.
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
    partial = target.with_name(target.name + ".partial")
    figure.savefig(partial, format="png", dpi=110)
    os.replace(partial, target)
