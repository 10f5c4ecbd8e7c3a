"""The rows of a panel: one Action Unit each, with a bar or only its grade."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..au import Label, are_attributes, intensity_letter, look_up
from ..pen import Colour, Pen, Rect, hatch, mix, text_size
from ..types import Scores
from .marks import DIM, GREY, WHITE, id_colour

if TYPE_CHECKING:
    from .panels import Layout

#: An empty bar, and the notches between the grades.
TRACK, NOTCH = (62, 66, 74), (24, 26, 30)


def rows_size(pen: Pen, scores: Scores, face: int, layout: Layout) -> tuple[int, int]:
    """Width and height of a panel in pixels."""
    if layout.bar:
        rows = min(layout.rows or len(scores.aus), len(scores.aus))
        values = pen.gap + max(16, pen.px(layout.bar)) + pen.gap + _values_width(pen)
    else:
        rows = max(1, len(shown_columns(scores, face, layout)))
        values = pen.gap + text_size("100%" if not scores.graded else "B", pen.font, True)[0]
    names = max((text_size(look_up(au).name, pen.font, False)[0] for au in scores.aus), default=0) if layout.name else 0
    width = 2 * pen.pad + _codes_width(pen, scores.aus) + (names + pen.gap if names else 0) + values
    if not layout.bar:
        width = max(width, 2 * pen.pad + text_size("face 000  100%", pen.font, True)[0] + pen.row // 2)
    return width, (rows + 1) * pen.row + pen.pad + pen.px(2)


def draw_rows(pen: Pen, scores: Scores, face: int, rect: Rect, layout: Layout) -> None:
    """Draw a panel of the size that `rows_size` gives."""
    pen.darken(rect, pen.px(8))
    left, top, right, _ = rect
    x0, x1, row = left + pen.pad, right - pen.pad, pen.row
    middle = top + pen.px(2) + row // 2
    dot = max(2, row // 4)
    cv2.circle(pen.canvas, ((x0 + dot) * 8, middle * 8), dot * 8, id_colour(int(scores.faces.ids[face])), -1,
               cv2.LINE_AA, 3)
    pen.text(f"face {scores.faces.ids[face]}", x0 + 2 * dot + pen.px(6), middle, WHITE, bold=True)
    pen.text(f"{100 * float(scores.faces.scores[face]):.0f}%", x1, middle, GREY, right=True)
    code = _codes_width(pen, scores.aus)
    strength, graded = scores.strength[face], scores.graded
    columns = shown_columns(scores, face, layout)
    for c in columns:
        middle += row
        au, value = scores.aus[c], float(strength[c])
        unit = look_up(au)
        colour = unit.colour
        known = value == value
        present = known and bool(scores.present[face, c])
        if present:
            upper = middle - row // 2
            if layout.bar:  # without bars all rows are of AUs that are present
                strip = pen.canvas[max(0, upper):max(0, upper + row - 1), max(0, left):max(0, right)]
                cv2.add(strip, (24, 24, 24, 0), dst=strip)
            pen.fill((left, upper, left + pen.px(3), upper + row - 1), colour)
        words = WHITE if present else GREY if known else DIM
        pen.text(unit.code, x0, middle, mix(colour, WHITE, 0.6) if present else words, bold=present)
        if layout.name:
            pen.text(unit.name, x0 + code + pen.gap, middle, words)
        if layout.bar:
            _draw_bar(pen, (x1 - _values_width(pen) - pen.gap, middle), max(16, pen.px(layout.bar)), value, colour,
                      present, graded)
        _draw_value(pen, x1, middle, value, present, graded, number=bool(layout.bar))
    if not columns:
        nothing = "none present" if are_attributes(scores.aus) else "no AU present"
        words = nothing if scores.assessable[face].any() else "can't be judged"
        pen.text(words, x0, middle + row, GREY if scores.assessable[face].any() else DIM)


def _draw_bar(pen: Pen, at: tuple[int, int], length: int, value: float, colour: Colour, present: bool, graded: bool
              ) -> None:
    """A bar whose right end and middle height are `at`."""
    half = max(2, round(pen.row * 0.29))
    left, top, right, bottom = at[0] - length, at[1] - half, at[0], at[1] + half + 1
    if value != value:
        area = pen.canvas[max(0, top):max(0, bottom), max(0, left):max(0, right)]
        area[:] = hatch(area.shape[0], area.shape[1], pen.px(4))
        return
    pen.fill((left, top, right, bottom), TRACK)
    end = left + round(length * min(max(value, 0.0), 1.0))
    pen.fill((left, top, end, bottom), colour if present else mix(colour, (90, 94, 102), 0.42))
    # One notch for each FACS grade, A to E.
    for grade in range(1, 5) if graded else ():
        x = left + round(length * grade / 5)
        pen.fill((x, top, x + max(1, pen.px(1)), bottom), NOTCH)


def _draw_value(pen: Pen, right: int, middle: int, value: float, present: bool, graded: bool, *, number: bool) -> None:
    words = WHITE if present else GREY
    if value == value and not graded:
        pen.text(f"{100 * value:.0f}%", right, middle, words, right=True)
        return
    letter = right - text_size("B", pen.font, True)[0]
    if value != value:
        pen.text("n/a", letter - pen.px(5), middle, DIM, right=True)
        return
    value *= 5
    if number:
        pen.text(f"{value:.1f}", letter - pen.px(5), middle, words, right=True)
    pen.text(intensity_letter(round(value, 1)), letter, middle, WHITE if present else DIM, bold=True)


def shown_columns(scores: Scores, face: int, layout: Layout) -> list[int]:
    """Columns to show: all, those present where there are no bars, or the strongest few, in FACS order."""
    columns = list(range(len(scores.aus)))
    if not layout.bar:
        columns = [c for c in columns if scores.present[face, c]]
    if not layout.rows or layout.rows >= len(columns):
        return columns
    strength = np.where(scores.assessable[face], np.nan_to_num(scores.strength[face]) + scores.present[face], -1)
    return sorted(sorted(columns, key=lambda c: -strength[c])[:layout.rows])


def _values_width(pen: Pen) -> int:
    return text_size("0.0", pen.font, False)[0] + pen.px(5) + text_size("B", pen.font, True)[0]


def _codes_width(pen: Pen, aus: tuple[Label, ...]) -> int:
    return max((text_size(look_up(au).code if isinstance(au, str) else "AU00", pen.font, True)[0] for au in aus),
               default=0)
