"""What a training shows while it runs: a live table in a terminal, a line for each validation elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

#: Columns of a row that say how fast it goes, shown beside the bar.
_SPEED = ("pictures_per_second", "minutes_left", "memory_gb")


class Display:
    """Loss terms, validation figures, speed and time left; a context manager.

    Args:
        steps: how many there will be.
        shown: False for plain lines even in a terminal.
        console: where to, instead of standard error.
    """

    def __init__(self, steps: int, *, shown: bool = True, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._live: Live | None = None
        self._bar = Progress(TextColumn("step"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                             TextColumn("{task.description}"))
        self._task = self._bar.add_task("", total=steps)
        self._terms: dict[str, float] = {}
        self._row: dict[str, float] = {}
        self._best = 0.0
        if shown and self._console.is_terminal:
            self._live = Live(get_renderable=self._picture, console=self._console, refresh_per_second=2)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.__exit__(*error)  # type: ignore[arg-type]

    def learned(self, done: int, terms: Mapping[str, float], speed: Mapping[str, float]) -> None:
        """So many steps are done; smoothed loss terms, and how fast it goes."""
        self._terms = dict(terms)
        self._bar.update(self._task, completed=done, description=_speed(speed))

    def validated(self, row: Mapping[str, float], *, best: bool) -> None:
        """A validation's row of the metrics, and whether its score is the best so far."""
        self._row = dict(row)
        self._best = row["step"] if best else self._best
        if self._live is None:
            self.say(line_of(row, best=best))

    def say(self, text: str) -> None:
        """A line of its own, above a live table."""
        self._console.print(text, soft_wrap=True, highlight=False, markup=False)

    def _picture(self) -> Group:
        table = Table.grid(padding=(0, 2))
        left, right = Table(title="loss", box=None), Table(title="validation", box=None)
        for column, values in ((left, self._terms), (right, {
                key: value for key, value in self._row.items() if key not in (*_SPEED, *self._terms)
                and ":" not in key})):
            column.show_header = False
            for key, value in values.items():
                column.add_row(key.replace("_", " "), f"{value:.4g}")
        if self._row:
            right.add_row("best at step", f"{self._best:.0f}")
        table.add_row(left, right)
        return Group(table, self._bar)


def line_of(row: Mapping[str, float], *, best: bool) -> str:
    """A row of the metrics in one line, without the figures of single labels ("AU12:f1")."""
    words = " ".join(f"{key} {value:.4g}" for key, value in row.items() if key not in _SPEED and ":" not in key)
    return f"{words}{' (best)' if best else ''}, {_speed(row)}"


def _speed(values: Mapping[str, float]) -> str:
    minutes = values.get("minutes_left", 0.0)
    left = f"{minutes / 60:.1f} h" if minutes >= 90 else f"{minutes:.0f} min" if minutes >= 1.5 else \
        f"{minutes * 60:.0f} s"
    return (f"{values.get('pictures_per_second', 0):.0f} pictures/s, {values.get('memory_gb', 0):.1f} GB, "
            f"{left} left")
