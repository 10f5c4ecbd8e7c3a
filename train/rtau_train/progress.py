"""A progress bar for things that are counted: pictures, frames or bytes."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text


class CountBar:
    """A bar with rate and time left on standard error; nothing where that is no terminal.

    On entering it gives a function to be told how many are there and how many there will be. What the
    first call tells was there before, and is no part of the rate.

    Args:
        unit: what is counted; "bytes" are shown as such.
        shown: False for silence.
        console: where to, instead of standard error.
    """

    def __init__(self, unit: str, *, shown: bool = True, console: Console | None = None) -> None:
        console = console or Console(stderr=True)
        counts = (DownloadColumn(), TransferSpeedColumn()) if unit == "bytes" else (MofNCompleteColumn(), _Rate(unit))
        self._bar = Progress(TextColumn("{task.description}"), BarColumn(), *counts, TimeRemainingColumn(),
                             console=console, transient=True, disable=not (shown and console.is_terminal))
        self._task = self._bar.add_task("", total=None, start=False)
        self._begun = False

    def __enter__(self):
        self._bar.__enter__()
        return self.tell

    def __exit__(self, *error: object) -> None:
        self._bar.__exit__(*error)  # type: ignore[arg-type]

    def tell(self, there: int, total: int) -> None:
        """So many are there of so many."""
        if not self._begun:
            self._begun = True
            self._bar.reset(self._task, total=total, completed=there)
        self._bar.update(self._task, total=total, completed=there)


class _Rate(ProgressColumn):
    """How many a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} {self._unit}/s" if speed else "", style="cyan")
