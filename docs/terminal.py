"""A terminal that is recorded, and the recording as an animated SVG: text stays text, and every size is crisp.

Used by tour.py. Needs pyte (`pip install pyte==0.8.2`), which reads what programs write to a terminal; rtau itself
doesn't. Linux and macOS only.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import termios
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import pyte

#: Programs enter and leave the alternate screen by these; pyte knows one screen only.
_ALTERNATE = re.compile(rb"(\x1b\[\?1049[hl])")
#: Seconds between two pictures of the recording, and the longest that nothing may happen in it.
_STEP, _LONGEST = 0.16, 1.2
#: Pixels of a character, of the margin, and of the bar above.
_CELL_W, _CELL_H, _MARGIN, _BAR = 8.4, 18, 14, 30
_INK, _PAPER, _FRAME = "#d6d9de", "#14171c", "#23272e"
_COLOURS = {"default": _INK, "black": "#14171c", "red": "#e06c75", "green": "#98c379", "brown": "#e5c07b",
            "blue": "#61afef", "magenta": "#c678dd", "cyan": "#56b6c2", "white": "#f2f4f7",
            "brightblack": "#7f848e", "brightwhite": "#ffffff"}


@dataclass(frozen=True)
class Run:
    """Characters of one look beside each other.

    Attributes:
        column: of the first, from 0.
        text: what stands there.
        colour: as #rrggbb.
        bold: whether it is bold.
    """

    column: int
    text: str
    colour: str
    bold: bool


#: One picture of the terminal: the runs of each line.
Picture = tuple[tuple[Run, ...], ...]


class Recording:
    """A shell in a terminal of its own.

    Args:
        folder: where the shell runs.
        width, height: characters and lines.
        path: put in front of PATH.

    Attributes:
        chunks: seconds since the start, and the bytes that came.
    """

    def __init__(self, folder: Path, width: int, height: int, path: Path) -> None:
        self.width, self.height, self.chunks = width, height, []
        self._pid, self._end = pty.fork()
        if self._pid == 0:
            os.chdir(folder)
            os.environ.update(PATH=f"{path}:{os.environ['PATH']}", PS1="$ ", TERM="xterm-256color",
                              COLORTERM="truecolor", LC_ALL="C.UTF-8", HISTFILE="/dev/null")
            os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
        fcntl.ioctl(self._end, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self._start = time.monotonic()

    def type(self, text: str, pause: float = 0.045) -> None:
        """Press keys one after the other."""
        for key in text:
            os.write(self._end, key.encode())
            self.wait(pause)

    def wait(self, seconds: float, until: Callable[[bytes], bool] = lambda new: False) -> None:
        """Keep what comes, for some seconds, or until the bytes since this call fulfil something."""
        end, new = time.monotonic() + seconds, b""
        while (left := end - time.monotonic()) > 0 and not until(new):
            if select.select([self._end], [], [], left)[0]:
                data = os.read(self._end, 1 << 16)
                new += data
                self.chunks.append((time.monotonic() - self._start, data))

    def close(self) -> None:
        """End the shell."""
        os.write(self._end, b"exit\n")
        os.close(self._end)
        os.waitpid(self._pid, 0)


def pictures(recording: Recording) -> list[tuple[float, Picture]]:
    """What was to be seen, and for how many seconds each."""
    screens = [pyte.Screen(recording.width, recording.height) for _ in range(2)]
    streams = [pyte.ByteStream(screen) for screen in screens]
    seen: list[tuple[float, Picture]] = []
    other, due = 0, 0.0
    for time_, data in recording.chunks:
        if time_ >= due:
            seen.append((time_, _look(screens[other])))
            due = time_ + _STEP
        for piece in _ALTERNATE.split(data):
            if piece.endswith(b"[?1049h"):
                other = 1
                screens[1].reset()
            elif piece.endswith(b"[?1049l"):
                other = 0
            else:
                streams[other].feed(piece)
    seen.append((recording.chunks[-1][0] + _STEP, _look(screens[other])))
    out: list[tuple[float, Picture]] = []
    for (begin, picture), (end, _) in zip(seen, [*seen[1:], (seen[-1][0] + 3.5, ())], strict=True):
        length = min(end - begin, _LONGEST) if end < seen[-1][0] else end - begin
        if out and out[-1][1] == picture:
            out[-1] = (out[-1][0] + length, picture)
        else:
            out.append((length, picture))
    return out


def _look(screen: pyte.Screen) -> Picture:
    lines = []
    for y in range(screen.lines):
        runs: list[Run] = []
        blank = 2
        for x in range(screen.columns):
            cell = screen.buffer[y][x]
            if cell.data == " ":
                blank += 1
                continue
            colour = _COLOURS.get(cell.fg, f"#{cell.fg}")
            last = runs[-1] if runs else None
            if last is not None and blank < 2 and (last.colour, last.bold) == (colour, cell.bold):
                runs[-1] = Run(last.column, last.text + " " * blank + cell.data, colour, cell.bold)
            else:
                runs.append(Run(x, cell.data, colour, cell.bold))
            blank = 0
        lines.append(tuple(runs))
    return tuple(lines)


def animate(seen: Sequence[tuple[float, Picture]], title: str, still: int) -> str:
    """The recording as SVG: a film strip of pictures that one rule moves along.

    Args:
        seen: see `pictures`.
        title: what it shows, for those who can't see it.
        still: number of the picture for those who want no motion.
    """
    columns = max(run.column + len(run.text) for _, picture in seen for line in picture for run in line)
    depth = max(y + 1 for _, picture in seen for y, line in enumerate(picture) if line)
    width, height = round(columns * _CELL_W + 2 * _MARGIN), depth * _CELL_H + _MARGIN
    styles: dict[tuple[str, bool], str] = {}
    parts: dict[Run, str] = {}
    lines: dict[tuple[Run, ...], str] = {}
    defs, strip, steps = [], [], []
    total, begun = sum(length for length, _ in seen), 0.0
    for number, (length, picture) in enumerate(seen):
        for line in picture:
            for run in line:
                if run not in parts:
                    parts[run] = f"p{len(parts)}"
                    style = styles.setdefault((run.colour, run.bold), f"s{len(styles)}")
                    defs.append(f'<g id="{parts[run]}" class="{style}">{_draw(run)}</g>')
            if line and line not in lines:
                lines[line] = f"l{len(lines)}"
                inner = "".join(f'<use href="#{parts[run]}"/>' for run in line)
                defs.append(f'<g id="{lines[line]}">{inner}</g>')
        top = number * height
        strip += [f'<use href="#{lines[line]}" y="{top + y * _CELL_H}"/>' for y, line in enumerate(picture) if line]
        steps.append(f"{100 * begun / total:.2f}%{{transform:translateY({-top}px)}}")
        begun += length
    rules = "".join(f".{name}{{fill:{colour}{';font-weight:bold' if bold else ''}}}"
                    for (colour, bold), name in styles.items())
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height + _BAR}" width="{width}" \
height="{height + _BAR}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>
<style>text{{font:14px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,'Liberation Mono',monospace;white-space:pre}}
{rules}
@keyframes play{{{''.join(steps)}100%{{transform:translateY({-(len(seen) - 1) * height}px)}}}}
.strip{{animation:play {total:.1f}s step-end infinite}}
@media(prefers-reduced-motion:reduce){{.strip{{animation:none;transform:translateY({-still * height}px)}}}}</style>
<defs>{''.join(defs)}</defs>
<rect width="100%" height="100%" rx="9" fill="{_FRAME}"/><rect y="{_BAR}" width="100%" height="{height}" rx="9" \
fill="{_PAPER}"/><rect y="{_BAR}" width="100%" height="14" fill="{_PAPER}"/>
<g fill="#5c6370"><circle cx="18" cy="15" r="5.5"/><circle cx="36" cy="15" r="5.5"/><circle cx="54" cy="15" r="5.5"/>\
</g>
<svg x="{_MARGIN}" y="{_BAR + 6}" width="{width - _MARGIN}" height="{height - 6}"><g class="strip">
{''.join(strip)}
</g></svg></svg>
"""


def _draw(run: Run) -> str:
    """A run as text, or as bars where it is made of characters that fonts draw in different ways."""
    if not set(run.text) & set("─━╸▁▂▃▄▅▆▇█"):
        x, length = run.column * _CELL_W, len(run.text) * _CELL_W
        return f'<text x="{x:.1f}" y="14" textLength="{length:.1f}">{escape(run.text)}</text>'
    bars, x = [], 0
    while x < len(run.text):
        end = x
        while end < len(run.text) and run.text[end] == run.text[x]:
            end += 1
        bars.append(_bar(run.text[x], (run.column + x) * _CELL_W, (end - x) * _CELL_W))
        x = end
    return "".join(bars)


def _bar(character: str, x: float, width: float) -> str:
    if character in "▁▂▃▄▅▆▇█":
        tall = 2 * ("▁▂▃▄▅▆▇█".index(character) + 1)
        return f'<path d="M{x:.1f} {17 - tall}h{width:.1f}v{tall}h{-width:.1f}z"/>'
    if character in "─━╸":
        half = 1 if character == "─" else 3
        width -= _CELL_W / 2 if character == "╸" else 0
        return f'<path d="M{x:.1f} {9 - half}h{width:.1f}v{2 * half}h{-width:.1f}z"/>'
    return f'<text x="{x:.1f}" y="14">{escape(character)}</text>'
