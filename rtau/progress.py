"""Progress bars: of `rtau process` in frames, with their rate and the time left; of `rtau bench` in parts."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from .source import Source
from .types import Frame, Scores


class _Rate(ProgressColumn):
    """Frames per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.0f} frames/s" if speed else "", style="cyan")


class JobProgress:
    """A bar on standard error for the job in hand; nothing where that is no terminal.

    Args:
        jobs: how many there are in all.
        shown: False for silence.
    """

    def __init__(self, jobs: int, *, shown: bool = True) -> None:
        console = Console(stderr=True)
        self._bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(),
                             TimeRemainingColumn(), console=console, transient=True,
                             disable=not (shown and console.is_terminal))
        self._jobs, self._number = jobs, 0
        self._task = None

    def __enter__(self) -> JobProgress:
        self._bar.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.__exit__(*error)  # type: ignore[arg-type]

    def begin(self, name: str, source: Source) -> None:
        """The next job starts."""
        self._number += 1
        if self._task is not None:
            self._bar.remove_task(self._task)
        where = f"[{self._number}/{self._jobs}] " if self._jobs > 1 else ""
        self._task = self._bar.add_task(where.replace("[", r"\[") + name, total=source.expected)

    def advance(self, frame: Frame, scores: Scores) -> None:
        """One frame is done."""
        if self._task is not None:
            self._bar.advance(self._task)


class PartProgress:
    """A bar on standard error for work in parts of about the same length; nothing where that is no terminal.

    Args:
        shown: False for silence.
    """

    def __init__(self, *, shown: bool = True) -> None:
        console = Console(stderr=True)
        self._bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                             console=console, transient=True, disable=not (shown and console.is_terminal))
        self._task = self._bar.add_task("")

    def __enter__(self) -> PartProgress:
        self._bar.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.__exit__(*error)  # type: ignore[arg-type]

    def begin(self, name: str, done: int, parts: int) -> None:
        """The next part starts, after so many."""
        self._bar.update(self._task, description=name, completed=done, total=parts)
