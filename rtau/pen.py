"""Sizes, text and see-through panels for drawing on a picture of any resolution."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

Rect = tuple[int, int, int, int]  # left, top, right, bottom
Colour = tuple[int, int, int]


def mix(a: Colour, b: Colour, part: float) -> Colour:
    """`part` of a, the rest of b."""
    return tuple(round(p * part + q * (1 - part)) for p, q in zip(a, b, strict=True))  # type: ignore[return-value]


def overlap(a: Rect, b: Rect) -> int:
    """Pixels that two rectangles share."""
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


class Pen:
    """A picture to draw on and the sizes that suit it."""

    def __init__(self, canvas: np.ndarray, unit: float) -> None:
        self.canvas = canvas
        self.height, self.width = canvas.shape[:2]
        self.unit = unit
        # Letters of 8 pixels can just be read; where more fit, 9 are easier.
        self.font = max(9 if min(self.height, self.width) >= 240 else 8, round(12.5 * unit))
        self.row = max(self.font + 2, round(18 * unit))
        self.pad = self.px(7)
        self.gap = self.px(8)

    def px(self, length: float) -> int:
        """A length made for a picture 720 pixels high, in pixels of this one."""
        return max(1, round(length * self.unit))

    def text(self, words: str, x: int, middle: int, colour: Colour, *, bold: bool = False,
             right: bool = False) -> None:
        """Write with the left (or right) end at x, centred on the height `middle`."""
        width, cap = text_size(words, self.font, bold)
        _put_text(self.canvas, words, (x - width if right else x, middle + (cap + 1) // 2), colour, self.font, bold)

    def fill(self, rect: Rect, colour: Colour) -> None:
        """Fill a rectangle; what lies outside the picture is left out."""
        left, top, right, bottom = rect
        if right > left and bottom > top:
            self.canvas[max(0, top):max(0, bottom), max(0, left):max(0, right)] = colour

    def darken(self, rect: Rect, radius: int) -> None:
        """A dark, see-through panel with round corners; what lies behind is blurred so that text stays readable."""
        left, top = max(0, rect[0]), max(0, rect[1])
        area = self.canvas[top:max(top, rect[3]), left:max(left, rect[2])]
        height, width = area.shape[:2]
        radius = min(radius, height // 2, width // 2)
        if radius < 1:
            return
        ends = np.s_[:radius], np.s_[-radius:]
        corners = [(y, x) for y in ends for x in ends]
        kept = [area[c].astype(np.float32) for c in corners]
        step = max(4, self.px(10))
        small = cv2.resize(area, (max(2, width // step), max(2, height // step)), interpolation=cv2.INTER_AREA)
        small = cv2.convertScaleAbs(small, alpha=0.24, beta=15)
        area[:] = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
        for n, (c, old) in enumerate(zip(corners, kept, strict=True)):
            inside = _corner(radius)[:: -1 if n >= 2 else 1, :: -1 if n % 2 else 1]
            area[c] = old + inside * (area[c] - old)


if hasattr(cv2, "FontFace"):  # OpenCV 5: a real typeface, hinted for small sizes
    @lru_cache(maxsize=1)
    def _face() -> cv2.FontFace:
        return cv2.FontFace("sans")

    @lru_cache(maxsize=4096)
    def text_size(text: str, size: int, bold: bool) -> tuple[int, int]:
        """Width of a text and height of its capitals, in pixels."""
        x, _, width, _ = cv2.getTextSize((9999, 9999), text, (0, 0), _face(), size, 650 if bold else 430)
        return x + width, round(0.7 * size)

    def _put_text(canvas: np.ndarray, text: str, origin: tuple[int, int], colour: Colour, size: int,
                  bold: bool) -> None:
        cv2.putText(canvas, text, origin, colour, _face(), size, 650 if bold else 430)
else:
    def _strokes(size: int, bold: bool) -> tuple[int, float, int]:
        return (cv2.FONT_HERSHEY_DUPLEX if bold else cv2.FONT_HERSHEY_SIMPLEX), size / 30, max(1, round(size / 18))

    @lru_cache(maxsize=4096)
    def text_size(text: str, size: int, bold: bool) -> tuple[int, int]:
        return cv2.getTextSize(text, *_strokes(size, bold))[0]

    def _put_text(canvas: np.ndarray, text: str, origin: tuple[int, int], colour: Colour, size: int,
                  bold: bool) -> None:
        font, scale, thickness = _strokes(size, bold)
        cv2.putText(canvas, text, origin, font, scale, colour, thickness, cv2.LINE_AA)


@lru_cache(maxsize=16)
def _corner(radius: int) -> np.ndarray:
    """float32 [radius, radius, 1]: how much of each pixel of a top left corner lies inside the rounding."""
    big = np.zeros((radius * 8, radius * 8), np.uint8)
    cv2.circle(big, (radius * 8, radius * 8), radius * 8, 255, -1)
    return cv2.resize(big, (radius, radius), interpolation=cv2.INTER_AREA)[..., None].astype(np.float32) / 255


@lru_cache(maxsize=8)
def hatch(height: int, width: int, step: int) -> np.ndarray:
    """uint8 [height, width, 3]: grey slanted stripes, for what can't be judged."""
    y, x = np.mgrid[:height, :width]
    stripes = ((x + y) // max(2, step)) % 2 == 0
    return np.where(stripes[..., None], np.uint8(92), np.uint8(46)).repeat(3, axis=2)
