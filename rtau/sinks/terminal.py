"""Scores in the terminal: a live display, plain lines where there is no terminal, and a table at the end."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..au import are_attributes, look_up
from ..errors import OutputError
from ..summary import Summary
from ..types import Frame, Scores, Status
from .dashboard import Extras, au_style, count_text, dashboard, printable, reading, value_text
from .paths import os_reason
from .trends import Trends


class TerminalSink:
    """Shows a running analysis in the terminal: one column of Action Units per face.

    `write` only leaves the newest result; a thread of its own draws it, at most 15 times a second, so a slow
    terminal never holds up the analysis. Where the console is no terminal (a pipe, a file) it prints about one
    plain line per second instead.

    Args:
        console: where to show; by default standard output.
        screen: use the terminal's alternate screen, which leaves no trace when it closes.
        plain: print plain lines on a terminal too.
        clock: seconds, for the elapsed time and the pace of the plain lines.

    Attributes:
        note: tells what is going on, such as "paused", for the status line; asked at each drawing.
        hint: the last line, such as which keys there are.
        help: lines to show in place of the scores; None for the scores.
        chosen: id of the only face to show; None for all.
    """

    RATE = 15.0
    #: Seconds after which the display is drawn anew though no frame has come.
    IDLE = 0.5

    def __init__(self, console: Console | None = None, *, screen: bool = True, plain: bool = False,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console or Console()
        self.screen, self.plain = screen, plain
        self.note: Callable[[], str] = lambda: ""
        self.hint = ""
        self.help: list[str] | None = None
        self.chosen: int | None = None
        self._clock = clock
        self._started = 0.0
        self._said: float | None = None
        self._latest: tuple[Frame, Scores, Status | None] | None = None
        self._trends = Trends()
        self._live: Live | None = None
        self._thread: threading.Thread | None = None
        self._news, self._stop = threading.Event(), threading.Event()
        self._error: OSError | None = None

    def __enter__(self) -> TerminalSink:
        self._started = self._clock()
        if self.console.is_terminal and not self.console.is_dumb_terminal and not self.plain:
            self._live = Live(Text("waiting for the first frame"), console=self.console, screen=self.screen,
                              auto_refresh=False, transient=True)
            self._live.start(refresh=True)
            self._thread = threading.Thread(target=self._run, name="terminal", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._news.set()
        if self._thread is not None and self._live is not None:
            self._thread.join()
            self._live.stop()

    def write(self, frame: Frame, scores: Scores, status: Status | None = None) -> None:
        """Show this result soon, unless a newer one comes first."""
        if self._error is not None:
            raise OutputError(f"can't write to the terminal: {os_reason(self._error)}")
        if self._live is not None:
            self._trends.add(frame, scores)
            self._latest = frame, scores, status
            self._news.set()
            return
        now = self._clock()
        if self._said is None or now - self._said >= 1.0:
            self._said = now
            line = plain_line(frame, scores, status) + (f"  {note}" if (note := self.note()) else "")
            try:
                self.console.print(printable(line, self.console.options.ascii_only), soft_wrap=True, markup=False, highlight=False)
            except OSError as error:
                raise OutputError(f"can't write to the terminal: {os_reason(error)}") from error

    def choose_next(self) -> None:
        """Show the next face alone, after the last one all of them."""
        ids = [] if self._latest is None else self._latest[1].faces.ids.tolist()
        later = [face for face in ids if self.chosen is None or face > self.chosen]
        self.chosen = min(later) if later else None
        self.draw()

    def draw(self) -> None:
        """Draw anew soon: something besides the scores has changed."""
        self._news.set()

    def _run(self) -> None:
        assert self._live is not None
        while not self._stop.is_set():
            # Drawn without news too: the clock goes on while no frame comes.
            self._news.wait(self.IDLE)
            self._news.clear()
            try:
                self._live.update(self._picture(), refresh=True)
            except OSError as error:  # the terminal is gone
                self._error = error
                return
            self._stop.wait(1 / self.RATE)

    def _picture(self) -> Text:
        size = self.console.size
        if self.help is not None:
            return Text("\n".join(line[:size.width] for line in self.help[:size.height]), no_wrap=True, end="")
        if self._latest is None:
            words = " ".join(filter(None, ("waiting for the first frame", self.note())))
            return Text(printable(words, self.console.options.ascii_only)[:size.width])
        extras = Extras(self._clock() - self._started, self.note(), self.hint, self._trends.copy(), self.chosen,
                        self.console.options.ascii_only)
        return dashboard(*self._latest, width=size.width, height=size.height, extras=extras)


def plain_line(frame: Frame, scores: Scores, status: Status | None = None) -> str:
    """One frame in one line of plain text: its time, the speed, and the AUs present on each face."""
    parts = [f"{frame.time:9.2f} s"]
    if status is not None:
        parts.append(f"{status.fps:5.1f} fps")
    parts.append(count_text(len(scores)))
    for row in range(len(scores)):
        order = np.argsort(-np.nan_to_num(scores.strength[row]), kind="stable")
        words = [f"{look_up(scores.aus[c]).code} {reading(scores, row, c, scores.graded)}".rstrip()
                 for c in order if scores.present[row, c]][:5]
        if not scores.assessable[row].any():
            words = ["n/a"]
        parts.append(f"face {scores.faces.ids[row]}: {', '.join(words) or 'none present'}")
    return "  ".join(parts)


def strongest_table(summary: Summary, *, top: int = 8) -> Table:
    """A small table of the strongest Action Units of a run.

    Args:
        summary: the run.
        top: rows at most.
    """
    strongest = summary.strongest(top)
    attributes = are_attributes(one.au for one in strongest)
    things = "attributes" if attributes else "Action Units"
    title = f"Strongest {things} ({count_text(summary.faces)} in {summary.frames} frames)"
    table = Table(title=title, min_width=len(title), title_justify="left", title_style="bold",
                  box=None, pad_edge=False, header_style="grey50")
    table.add_column("" if attributes else "AU", no_wrap=True)
    table.add_column("" if attributes else "Name", no_wrap=True)
    for heading in ("Peak", "At", "Mean", "Present"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in strongest:
        unit = look_up(one.au)
        code, name = Text(unit.code, au_style(unit.colour, bold=True)), unit.name
        if one.judged and math.isnan(one.peak):
            table.add_row(code, name, f"{100 * one.chance:.0f}%", f"{one.peak_time:.1f} s", "",
                          f"{100 * one.present:.0f} %")
        elif one.judged:
            table.add_row(code, name, f"{value_text(one.peak):<5}", f"{one.peak_time:.1f} s",
                          f"{one.mean:.2f}", f"{100 * one.present:.0f} %")
        else:
            table.add_row(code, name, "n/a", "", "n/a", "n/a")
    return table
