"""What bars, letters and colours mean, in a corner of a picture that has room for it."""

from __future__ import annotations

import numpy as np

from ..pen import Colour, Pen, Rect, hatch, mix, overlap, text_size
from .marks import GREY
from .rows import NOTCH, TRACK

#: A smaller picture gets no legend: it would hide too much of it.
_LEAST_WIDTH, _LEAST_HEIGHT = 480, 480
_ORANGE: Colour = (255, 150, 40)
_SWATCH = 40


class Legend:
    """Finds a place that covers nothing and keeps it while it can.

    Args:
        style: "bars" or "regions".
    """

    def __init__(self, style: str) -> None:
        self._style = style
        self._place: int | None = None

    def forget(self) -> None:
        """The next picture has nothing to do with the last one."""
        self._place = None

    def draw(self, pen: Pen, blocked: list[Rect], *, graded: bool) -> list[Rect]:
        """Draw it if there is room; gives where.

        Args:
            blocked: what it may not cover.
            graded: whether bars are intensities, not probabilities.
        """
        if pen.width < _LEAST_WIDTH or pen.height < _LEAST_HEIGHT:
            return []
        lines = self._lines(graded)
        edge, swatch = pen.px(6), pen.px(_SWATCH)
        width = 2 * pen.pad + swatch + pen.gap + max(text_size(words, pen.font, False)[0] for _, words in lines)
        height = len(lines) * pen.row + pen.pad
        spots = [(x, y, x + width, y + height) for y in (pen.height - edge - height, edge)
                 for x in (pen.width - edge - width, edge)]
        free = [n for n, spot in enumerate(spots) if not any(overlap(spot, other) for other in blocked)]
        if not free or width > pen.width // 2:
            self._place = None
            return []
        self._place = self._place if self._place in free else free[0]
        rect = spots[self._place]
        pen.darken(rect, pen.px(8))
        left, middle = rect[0] + pen.pad, rect[1] + pen.pad // 2 + pen.row // 2
        for kind, words in lines:
            half = max(2, round(pen.row * 0.29))
            self._swatch(pen, kind, (left, middle - half, left + swatch, middle + half + 1), graded)
            pen.text(words, left + swatch + pen.gap, middle, GREY)
            middle += pen.row
        return [rect]

    def _lines(self, graded: bool) -> list[tuple[str, str]]:
        if self._style == "regions":
            return [("glow", "muscle at work: fuller is stronger"), ("hatch", "can't be judged")]
        bar = "intensity 0 to 5, FACS A to E" if graded else "probability 0 to 100 %"
        return [("present", f"present: {bar}"), ("absent", "not present"), ("hatch", "can't be judged")]

    def _swatch(self, pen: Pen, kind: str, rect: Rect, graded: bool) -> None:
        left, top, right, bottom = rect
        if kind == "hatch":
            pen.canvas[top:bottom, left:right] = hatch(bottom - top, right - left, pen.px(4))
        elif kind == "glow":
            share = np.linspace(0.15, 0.9, right - left)[None, :, None]
            area = pen.canvas[top:bottom, left:right]
            area[:] = area * (1 - share) + np.array(_ORANGE) * share
        else:
            pen.fill(rect, TRACK)
            length, level = right - left, 0.7 if kind == "present" else 0.3
            pen.fill((left, top, left + round(length * level), bottom),
                     _ORANGE if kind == "present" else mix(_ORANGE, (90, 94, 102), 0.42))
            for grade in range(1, 5) if graded else ():
                x = left + round(length * grade / 5)
                pen.fill((x, top, x + max(1, pen.px(1)), bottom), NOTCH)
