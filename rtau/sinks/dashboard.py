"""What the live display looks like: a status line, and a column of Action Units for each face."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from rich.style import Style
from rich.text import Text

from ..au import Label, intensity_letter, look_up
from ..types import Frame, Scores, Status

_CODE, _LONGEST_CODE, _VALUE, _PROBABILITY, _GAP = 4, 20, 6, 5, 3
_LEAST_BAR, _GOOD_BAR, _LEAST_NAME, _LONGEST_NAME, _LEAST_TREND, _LONGEST_TREND = 5, 10, 9, 20, 6, 16
_WIDEST = 90
#: Lines from which on there is room for a hint.
_HINT_HEIGHT = 8

_PLAIN, _DIM, _BOLD, _TITLE = Style(), Style(color="grey50"), Style(bold=True), Style(color="white", bold=True)
_TRACK = Style(color="grey23")


@dataclass(frozen=True)
class _Column:
    """Widths in characters; 0 leaves a part out."""

    code: int
    name: int
    bar: int
    trend: int
    probability: int

    @property
    def width(self) -> int:
        return (self.code + 1 + (self.name + 1 if self.name else 0) + self.bar + (self.trend + 1 if self.trend else 0)
                + _VALUE + self.probability)

    @classmethod
    def fitting(cls, width: int, aus: tuple[Label, ...], *, trends: bool) -> _Column:
        rest = min(width, _WIDEST) - 1 - _VALUE
        code = max(_CODE, min(_code_width(aus), rest - _LEAST_BAR))
        rest -= code
        probability = _PROBABILITY if rest - _PROBABILITY >= _GOOD_BAR else 0
        rest -= probability
        name = min(_LONGEST_NAME, rest - 1 - _GOOD_BAR) if any(look_up(au).name for au in aus) else 0
        name = name if name >= _LEAST_NAME else 0
        rest -= name + 1 if name else 0
        trend = min(_LONGEST_TREND, rest - _GOOD_BAR - 1) if trends else 0
        trend = trend if trend >= _LEAST_TREND else 0
        return cls(code, name, rest - (trend + 1 if trend else 0), trend, probability)


@dataclass(frozen=True)
class Extras:
    """What the display shows besides the scores.

    Attributes:
        elapsed: seconds since the start.
        note: what is going on, such as "paused", in the status line.
        hint: last line, where there is room for it; "" for none.
        trends: see `rtau.sinks.trends.Trends.copy`.
        chosen: id of the only face to show; None for all.
        ascii_only: draw without other characters than ASCII.
    """

    elapsed: float = 0.0
    note: str = ""
    hint: str = ""
    trends: Mapping[int, np.ndarray] = field(default_factory=dict)
    chosen: int | None = None
    ascii_only: bool = False


def dashboard(frame: Frame, scores: Scores, status: Status | None = None, *, width: int, height: int,
              extras: Extras = Extras()) -> Text:
    """The live display: a status line, then a column of AU rows per face.

    Faces and AUs that find no room are left out: the smallest faces, the weakest AUs.

    Args:
        width, height: characters and lines to fill at most.
        extras: what else to show.

    Returns:
        At most `height` lines of at most `width` characters.
    """
    room = max(1, (width + _GAP) // (_code_width(scores.aus) + 1 + _LEAST_BAR + _VALUE + _GAP))
    boxes = scores.faces.boxes
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    ids = scores.faces.ids.tolist()
    # By id from left to right, so that columns stay in place while faces move.
    faces = sorted(np.argsort(-area, kind="stable")[:room].tolist(), key=lambda row: ids[row])
    if extras.chosen in ids:
        faces = [ids.index(extras.chosen)]
    text = Text(no_wrap=True, overflow="crop", end="")
    hint = extras.hint if height >= _HINT_HEIGHT else ""
    lines = max(1, height - 2 - bool(hint))
    blocks = min(math.ceil(len(scores.aus) / lines), room // max(1, len(faces))) if len(scores.aus) > lines else 1
    _head(text, frame, scores, status, width, len(scores) - len(faces), extras)
    if not faces or height < 2:
        if height >= 2:
            text.append("\nno face", _DIM)
        if hint:
            text.append("\n" * (height - 2) + hint[:width], _DIM)
        return text
    column = _Column.fitting((width + _GAP) // (len(faces) * blocks) - _GAP, scores.aus, trends=bool(extras.trends))
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
                    trend = extras.trends.get(ids[row])
                    _au_row(text, scores, row, shown[at], column, extras.ascii_only, float(strength[row, shown[at]]),
                            graded, None if trend is None else trend[shown[at]])
                else:
                    text.append(" " * column.width)
    if hint:
        text.append("\n" * (height - 2 - depth) + hint[:width], _DIM)
    return text


def _head(text: Text, frame: Frame, scores: Scores, status: Status | None, width: int, hidden: int,
          extras: Extras) -> None:
    """The status line: what matters least is dropped where the width does not allow all."""
    faces = count_text(len(scores)) + (f" ({hidden} not shown)" if hidden else "")
    clock = f"{int(extras.elapsed) // 60}:{int(extras.elapsed) % 60:02d}"
    parts: list[tuple[int, str]] = [(1, faces), (5, clock)]  # rank, words
    ascii_only = extras.ascii_only
    if status is not None:
        age = [(2, f"{1000 * status.age:.0f} ms old")] if status.age is not None else [(4, f"at {frame.time:.1f} s")]
        parts = [(6, printable(status.source, ascii_only)), (0, f"{status.fps:.1f} fps"), *age, (3, f"{status.drops} dropped"),
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
    if extras.note:
        # What one has just asked for matters most.
        parts.insert(0, (0, printable(extras.note, ascii_only)))
    text.append("rtau"[:width], Style(color="cyan", bold=True))
    for rank, words in parts:
        text.append(gap, _DIM)
        text.append(words, _BOLD if rank <= 1 else _PLAIN)
    text.truncate(width)


def printable(words: str, ascii_only: bool) -> str:
    """The words with a ? for each character that a terminal can't show: half a code of a damaged file name, too."""
    encoding = "ascii" if ascii_only else "utf-8"
    return words.encode(encoding, "replace").decode(encoding)


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
            graded: bool, trend: np.ndarray | None) -> None:
    au, chance = scores.aus[c], float(scores.presence[row, c])
    known = strength == strength
    present = known and bool(scores.present[row, c])
    words = _BOLD if present else _PLAIN if known else _DIM
    unit = look_up(au)
    colour = unit.colour
    text.append(f"{_cut(unit.code, column.code, ascii_only):<{column.code}} ",
                au_style(colour, bold=True) if present else words)
    if column.name:
        text.append(f"{_cut(unit.name, column.name, ascii_only):<{column.name}} ", words)
    full, half, track = ("=", "-", ".") if ascii_only else ("━", "╸", "─")
    halves = round(2 * column.bar * min(max(strength, 0.0), 1.0)) if known else 0
    filled = full * (halves // 2) + half * (halves % 2)
    text.append(filled, au_style(colour) if present else au_style(tuple(round(v * 0.5 + 35) for v in colour)))
    text.append((track if known else " ") * (column.bar - len(filled)), _TRACK)
    if column.trend:
        text.append(" " + _sparks(trend, column.trend, ascii_only), au_style(tuple(round(v * 0.6 + 30) for v in colour)))
    text.append(f" {reading(scores, row, c, graded)}".ljust(_VALUE), words)
    if column.probability:
        told = known and graded and chance == chance
        text.append(f"{f'{100 * chance:.0f}%' if told else '':>{column.probability}}",
                    _PLAIN if present else _DIM)


def _code_width(aus: tuple[Label, ...]) -> int:
    return min(max((len(au) for au in aus if isinstance(au, str)), default=_CODE), _LONGEST_CODE)


def _cut(words: str, width: int, ascii_only: bool) -> str:
    """What fits of some words; their end is told by a dot or three."""
    return printable(words if len(words) <= width else words[:width - 1] + ("." if ascii_only else "…"), ascii_only)


def _sparks(trend: np.ndarray | None, width: int, ascii_only: bool) -> str:
    """Strengths 0..1 as characters of growing height, the newest last."""
    if trend is None:
        return " " * width
    levels = " .:-=+*#" if ascii_only else "▁▂▃▄▅▆▇█"
    newest = trend[-width:]
    steps = np.nan_to_num(newest * len(levels), nan=-1).astype(int)
    return "".join(levels[min(step, len(levels) - 1)] if step >= 0 else " " for step in steps.tolist()).rjust(width)


@lru_cache(maxsize=256)
def au_style(colour: tuple[int, ...], *, bold: bool = False) -> Style:
    """Text in an Action Unit's colour."""
    return Style(color=f"rgb({colour[0]},{colour[1]},{colour[2]})", bold=bold)


def _strongest_columns(scores: Scores, faces: list[int], count: int) -> list[int]:
    """The `count` AUs that are strongest on any of the faces, in FACS order."""
    if count >= len(scores.aus):
        return list(range(len(scores.aus)))
    strength = (np.nan_to_num(scores.strength[faces]) + scores.present[faces]).max(0)
    return sorted(np.argsort(-strength, kind="stable")[:count].tolist())


def reading(scores: Scores, row: int, c: int, graded: bool) -> str:
    """Intensity and its letter, or the probability where a network tells presence alone."""
    if graded or not scores.assessable[row, c]:
        return value_text(float(scores.intensity[row, c]))
    return f"{100 * float(scores.presence[row, c]):.0f}%"


def value_text(intensity: float) -> str:
    """An intensity and its letter."""
    if math.isnan(intensity):
        return "n/a"
    shown = round(float(intensity), 1)  # the letter belongs to the number one reads
    return f"{shown:.1f} {intensity_letter(shown)}"


def count_text(faces: int) -> str:
    """How many faces, in words."""
    return {0: "no face", 1: "1 face"}.get(faces, f"{faces} faces")
