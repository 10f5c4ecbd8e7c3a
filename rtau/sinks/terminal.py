"""Scores in the terminal: a live display, plain lines where there is no terminal, and a table at the end."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.style import Style
from rich.table import Table
from rich.text import Text

from ..au import BY_NUMBER, intensity_letter
from ..errors import OutputError
from ..summary import Summary
from ..types import Frame, Scores, Status
from .paths import os_reason

_CODE, _VALUE, _PROBABILITY, _GAP = 4, 6, 5, 3
_LEAST_BAR, _GOOD_BAR, _LEAST_NAME, _LONGEST_NAME = 5, 10, 9, 20
_NARROWEST = _CODE + 1 + _LEAST_BAR + _VALUE
_WIDEST = 72

_PLAIN, _DIM, _BOLD, _TITLE = Style(), Style(color="grey50"), Style(bold=True), Style(color="white", bold=True)
_TRACK = Style(color="grey23")


class TerminalSink:
    """Shows a running analysis in the terminal: one column of Action Units per face.

    `write` only leaves the newest result; a thread of its own draws it, at most 15 times a second, so a slow
    terminal never holds up the analysis. Where the console is no terminal (a pipe, a file) it prints about one
    plain line per second instead.

    Args:
        console: where to show; by default standard output.
        screen: use the terminal's alternate screen, which leaves no trace when it closes.
        clock: seconds, for the elapsed time and the pace of the plain lines.
    """

    RATE = 15.0

    def __init__(self, console: Console | None = None, *, screen: bool = True,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console or Console()
        self.screen = screen
        self._clock = clock
        self._started = 0.0
        self._said: float | None = None
        self._latest: tuple[Frame, Scores, Status | None] | None = None
        self._live: Live | None = None
        self._thread: threading.Thread | None = None
        self._news, self._stop = threading.Event(), threading.Event()
        self._error: OSError | None = None

    def __enter__(self) -> TerminalSink:
        self._started = self._clock()
        if self.console.is_terminal and not self.console.is_dumb_terminal:
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
            self._latest = frame, scores, status
            self._news.set()
            return
        now = self._clock()
        if self._said is None or now - self._said >= 1.0:
            self._said = now
            try:
                self.console.print(plain_line(frame, scores, status), soft_wrap=True, markup=False, highlight=False)
            except OSError as error:
                raise OutputError(f"can't write to the terminal: {os_reason(error)}") from error

    def _run(self) -> None:
        assert self._live is not None
        while not self._stop.is_set():
            self._news.wait()
            self._news.clear()
            if self._latest is None:
                continue
            size = self.console.size
            picture = dashboard(*self._latest, width=size.width, height=size.height,
                                elapsed=self._clock() - self._started, ascii_only=self.console.options.ascii_only)
            try:
                self._live.update(picture, refresh=True)
            except OSError as error:  # the terminal is gone
                self._error = error
                return
            self._stop.wait(1 / self.RATE)


def plain_line(frame: Frame, scores: Scores, status: Status | None = None) -> str:
    """One frame in one line of plain text: its time, the speed, and the AUs present on each face."""
    parts = [f"{frame.time:9.2f} s"]
    if status is not None:
        parts.append(f"{status.fps:5.1f} fps")
    parts.append(_count(len(scores)))
    for row in range(len(scores)):
        order = np.argsort(-np.nan_to_num(scores.strength[row]), kind="stable")
        words = [f"AU{scores.aus[c]:02d} {_reading(scores, row, c, scores.graded)}".rstrip()
                 for c in order if scores.present[row, c]][:5]
        if not scores.assessable[row].any():
            words = ["n/a"]
        parts.append(f"face {scores.faces.ids[row]}: {', '.join(words) or 'none present'}")
    return "  ".join(parts)


@dataclass(frozen=True)
class _Column:
    """Widths in characters; 0 leaves a part out."""

    name: int
    bar: int
    probability: int

    @property
    def width(self) -> int:
        return _CODE + 1 + (self.name + 1 if self.name else 0) + self.bar + _VALUE + self.probability

    @classmethod
    def fitting(cls, width: int) -> _Column:
        rest = min(width, _WIDEST) - _CODE - 1 - _VALUE
        probability = _PROBABILITY if rest - _PROBABILITY >= _GOOD_BAR else 0
        rest -= probability
        name = min(_LONGEST_NAME, rest - 1 - _GOOD_BAR)
        name = name if name >= _LEAST_NAME else 0
        return cls(name, rest - (name + 1 if name else 0), probability)


def dashboard(frame: Frame, scores: Scores, status: Status | None = None, *, width: int, height: int,
              elapsed: float = 0.0, ascii_only: bool = False) -> Text:
    """The live display: a status line, then a column of AU rows per face.

    Faces and AUs that find no room are left out: the smallest faces, the weakest AUs.

    Args:
        width, height: characters and lines to fill at most.
        elapsed: seconds since the start.
        ascii_only: draw without other characters than ASCII.

    Returns:
        At most `height` lines of at most `width` characters.
    """
    room = max(1, (width + _GAP) // (_NARROWEST + _GAP))
    boxes = scores.faces.boxes
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    # By id from left to right, so that columns stay in place while faces move.
    faces = sorted(np.argsort(-area, kind="stable")[:room].tolist(), key=lambda row: scores.faces.ids[row])
    text = Text(no_wrap=True, overflow="crop", end="")
    lines = max(1, height - 2)
    blocks = min(math.ceil(len(scores.aus) / lines), room // max(1, len(faces))) if len(scores.aus) > lines else 1
    _head(text, frame, scores, status, width, elapsed, len(scores) - len(faces), ascii_only)
    if not faces or height < 2:
        if height >= 2:
            text.append("\nno face", _DIM)
        return text
    column = _Column.fitting((width + _GAP) // (len(faces) * blocks) - _GAP)
    face_width = blocks * (column.width + _GAP) - _GAP
    text.append("\n")
    for n, row in enumerate(faces):
        _title(text, scores, row, face_width + (_GAP if n + 1 < len(faces) else 0))
    strength, graded = scores.strength, scores.graded
    shown = _strongest_columns(scores, faces, lines * blocks)
    depth = math.ceil(len(shown) / blocks)
    for line in range(depth if height > 2 else 0):
        text.append("\n")
        for n, row in enumerate(faces):
            for block in range(blocks):
                if n or block:
                    text.append(" " * _GAP)
                at = block * depth + line
                if at < len(shown):
                    _au_row(text, scores, row, shown[at], column, ascii_only, float(strength[row, shown[at]]), graded)
                else:
                    text.append(" " * column.width)
    return text


def _head(text: Text, frame: Frame, scores: Scores, status: Status | None, width: int, elapsed: float,
          hidden: int, ascii_only: bool) -> None:
    """The status line: what matters least is dropped where the width does not allow all."""
    faces = _count(len(scores)) + (f" ({hidden} not shown)" if hidden else "")
    clock = f"{int(elapsed) // 60}:{int(elapsed) % 60:02d}"
    parts: list[tuple[int, str]] = [(1, faces), (5, clock)]  # rank, words
    if status is not None:
        age = [(2, f"{1000 * status.age:.0f} ms old")] if status.age is not None else [(4, f"at {frame.time:.1f} s")]
        parts = [(6, status.source), (0, f"{status.fps:.1f} fps"), *age, (3, f"{status.drops} dropped"),
                 (7, status.backend), *parts]
    gap = " | " if ascii_only else " · "
    while len(parts) > 1 and sum(len(words) for _, words in parts) + len(gap) * len(parts) + 4 > width:
        worst = max(parts)
        # A long source keeps what fits of its end, where file names differ.
        spare = width - 4 - sum(len(words) for rank, words in parts if rank != 6) - len(gap) * len(parts)
        if worst[0] == 7 or (worst[0] == 6 and spare < 8):
            parts.remove(worst)
        elif worst[0] == 6:
            parts[parts.index(worst)] = 6, ("..." if ascii_only else "…") + worst[1][-(spare - 3):]
            break
        else:
            parts.remove(worst)
    text.append("rtau"[:width], Style(color="cyan", bold=True))
    for rank, words in parts:
        text.append(gap, _DIM)
        text.append(words, _BOLD if rank <= 1 else _PLAIN)
    text.truncate(width)


def _title(text: Text, scores: Scores, row: int, width: int) -> None:
    faces = scores.faces
    yaw, pitch, _ = np.degrees(faces.pose[row])
    words = f"face {faces.ids[row]}"
    extra = f"  {100 * faces.scores[row]:.0f}%"
    if len(words) + len(extra) + 22 <= width and np.isfinite((yaw, pitch)).all():
        extra += f"  yaw {yaw:+.0f} pitch {pitch:+.0f}"
    if len(words) + len(extra) > width:
        extra = ""
    text.append(words[:width], _TITLE)
    text.append(extra, _DIM)
    text.append(" " * max(0, width - len(words) - len(extra)))


def _au_row(text: Text, scores: Scores, row: int, c: int, column: _Column, ascii_only: bool, strength: float,
            graded: bool) -> None:
    au, chance = scores.aus[c], float(scores.presence[row, c])
    known = strength == strength
    present = known and bool(scores.present[row, c])
    words = _BOLD if present else _PLAIN if known else _DIM
    unit = BY_NUMBER.get(au)
    colour = unit.colour if unit else (180, 180, 180)
    text.append(f"AU{au:02d} ", _rgb(colour, bold=True) if present else words)
    if column.name:
        name = unit.name if unit else ""
        if len(name) > column.name:
            name = name[:column.name - 1] + ("." if ascii_only else "…")
        text.append(f"{name:<{column.name}} ", words)
    full, half, track = ("=", "-", ".") if ascii_only else ("━", "╸", "─")
    halves = round(2 * column.bar * min(max(strength, 0.0), 1.0)) if known else 0
    filled = full * (halves // 2) + half * (halves % 2)
    text.append(filled, _rgb(colour) if present else _rgb(tuple(round(v * 0.5 + 35) for v in colour)))
    text.append((track if known else " ") * (column.bar - len(filled)), _TRACK)
    text.append(f" {_reading(scores, row, c, graded)}".ljust(_VALUE), words)
    if column.probability:
        told = known and graded and chance == chance
        text.append(f"{f'{100 * chance:.0f}%' if told else '':>{column.probability}}",
                    _PLAIN if present else _DIM)


@lru_cache(maxsize=256)
def _rgb(colour: tuple[int, ...], *, bold: bool = False) -> Style:
    return Style(color=f"rgb({colour[0]},{colour[1]},{colour[2]})", bold=bold)


def _strongest_columns(scores: Scores, faces: list[int], count: int) -> list[int]:
    """The `count` AUs that are strongest on any of the faces, in FACS order."""
    if count >= len(scores.aus):
        return list(range(len(scores.aus)))
    strength = (np.nan_to_num(scores.strength[faces]) + scores.present[faces]).max(0)
    return sorted(np.argsort(-strength, kind="stable")[:count].tolist())


def _reading(scores: Scores, row: int, c: int, graded: bool) -> str:
    """Intensity and its letter, or the probability where a network tells presence alone."""
    if graded or not scores.assessable[row, c]:
        return _value(float(scores.intensity[row, c]))
    return f"{100 * float(scores.presence[row, c]):.0f}%"


def _value(intensity: float) -> str:
    if math.isnan(intensity):
        return "n/a"
    shown = round(float(intensity), 1)  # the letter belongs to the number one reads
    return f"{shown:.1f} {intensity_letter(shown)}"


def _count(faces: int) -> str:
    return {0: "no face", 1: "1 face"}.get(faces, f"{faces} faces")


def strongest_table(summary: Summary, *, top: int = 8) -> Table:
    """A small table of the strongest Action Units of a run.

    Args:
        summary: the run.
        top: rows at most.
    """
    title = f"Strongest Action Units ({_count(summary.faces)} in {summary.frames} frames)"
    table = Table(title=title, min_width=len(title), title_justify="left", title_style="bold",
                  box=None, pad_edge=False, header_style="grey50")
    table.add_column("AU", no_wrap=True)
    table.add_column("Name", no_wrap=True)
    for heading in ("Peak", "At", "Mean", "Present"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in summary.strongest(top):
        unit = BY_NUMBER.get(one.au)
        code = Text(f"AU{one.au:02d}", _rgb(unit.colour, bold=True) if unit else _BOLD)
        name = unit.name if unit else ""
        if one.judged and math.isnan(one.peak):
            table.add_row(code, name, f"{100 * one.chance:.0f}%", f"{one.peak_time:.1f} s", "",
                          f"{100 * one.present:.0f} %")
        elif one.judged:
            table.add_row(code, name, f"{_value(one.peak):<5}", f"{one.peak_time:.1f} s",
                          f"{one.mean:.2f}", f"{100 * one.present:.0f} %")
        else:
            table.add_row(code, name, "n/a", "", "n/a", "n/a")
    return table
