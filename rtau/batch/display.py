"""How a run of many files goes on: bars in a terminal, else a line a file."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .results import line_of, printable
from .task import Record, Task

#: Workers that have a line; a machine may have more than a terminal has.
_LINES = 16


class BatchDisplay:
    """A context manager on standard error.

    Args:
        files: how many there are.
        shown: False for silence but for what goes wrong.
        console: where to; standard error by default.
        clock: seconds that only rise.
    """

    def __init__(self, files: int, *, shown: bool = True, console: Console | None = None,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console or Console(stderr=True, soft_wrap=True)
        self._files, self._shown, self._clock = files, shown, clock
        self._begun = clock()
        self._finished = self._failed = self._skipped = self._frames = 0
        self._workers: dict[int, tuple[Task, int, int | None, float]] = {}
        self._live = Live(console=self._console, get_renderable=self.picture, refresh_per_second=4, transient=True
                          ) if shown and self._console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def begin(self, worker: int, task: Task) -> None:
        """A worker takes a file."""
        self._workers[worker] = task, 0, None, self._clock()

    def beat(self, worker: int, frames: int, expected: int | None) -> None:
        """It got on."""
        if worker in self._workers:
            task, _, _, begun = self._workers[worker]
            self._workers[worker] = task, frames, expected, begun

    def done(self, record: Record) -> None:
        """A file is finished, well or not."""
        self._finished += 1
        self._failed += record.state in ("failed", "damaged")
        self._skipped += record.state == "skipped"
        self._frames += record.frames
        self._workers = {number: kept for number, kept in self._workers.items() if kept[0].job.out != Path(record.out)}
        if self._live is None and self._shown:
            self.say(f"[{self._finished}/{self._files}] {line_of(record)}")
        elif record.error:
            self.say(f"rtau: {line_of(record)}")

    def say(self, line: str) -> None:
        """A line that stays."""
        self._console.print(Text(line), soft_wrap=True)

    def picture(self) -> RenderableType:
        """The bars as they stand."""
        seconds = max(self._clock() - self._begun, 1e-9)
        frames = self._frames + sum(kept[1] for kept in self._workers.values())
        worked = self._finished - self._skipped
        left = self._files - self._finished
        head = Table.grid(padding=(0, 1))
        facts = Text.assemble((f"{self._finished}/{self._files} files", "bold"),
                              (f", {self._failed} failed", "red") if self._failed else "",
                              f", {self._skipped} skipped" if self._skipped else "",
                              (f", {3600 * worked / seconds:,.0f} files/h", "cyan") if worked else "",
                              (f", {frames / seconds:.0f} frames/s", "cyan") if frames else "",
                              f", {_clock_time(left * seconds / worked)} left" if worked and left else "")
        head.add_row(ProgressBar(self._files, self._finished, width=30), facts)
        lines = Table.grid(padding=(0, 1))
        now = self._clock()
        for _, (task, done, expected, begun) in sorted(self._workers.items())[:_LINES]:
            of = f"/{expected}" if expected else ""
            rate = f"{done / (now - begun):.0f} frames/s" if done and now > begun else ""
            lines.add_row(ProgressBar(expected or 1, min(done, expected) if expected else 0, width=16),
                          Text(f"{done}{of}", justify="right"), Text(rate, "cyan", justify="right"),
                          _short(printable(task.name)))
        more = len(self._workers) - _LINES
        return Group(head, lines, *([Text(f"and {more} more workers", "dim")] if more > 0 else []))


def _short(name: Text) -> Text:
    name.truncate(60, overflow="ellipsis")
    return name


def _clock_time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
