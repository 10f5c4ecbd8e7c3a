"""Action Units as a soft glow over the muscles that make them, and hatching over what can't be judged."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from ..au import REGIONS, look_up
from ..pen import Colour, Rect
from ..types import Scores
from .muscles import AREAS, MUSCLES, Shape, outlines, third

#: How much of the colour the weakest and the strongest movement get.
_FAINT, _FULL = 0.2, 0.72
_HATCHED, _HATCH = 0.44, (226, 230, 236)
#: Of the glow's colour: how white its rim is, its least brightness, and its least distance from grey.
_RIM, _BRIGHT, _COLOURFUL = 0.75, 235, 115
#: Pixels of the longer side in which the glow is made, before it is enlarged; more where the face is very large.
_LEAST, _USUAL = 64, 96
#: Softness of the edges, in thirds of a face.
_BLUR = 0.07

_Line = tuple[Shape, np.ndarray]


def draw_heat(canvas: np.ndarray, scores: Scores, face: int) -> None:
    """Draw one face's present AUs where they are made.

    Args:
        canvas: uint8 [H, W, 3], RGB; drawn on.
        scores: of the picture.
        face: its row.
    """
    points = scores.faces.landmarks[face]
    size = third(points)
    # Points may be missing, or lie anywhere: what is so large shows nothing that one could make out.
    if not 1 < size < 4 * max(canvas.shape):
        return
    glows = [(_outlined(shapes, points), colour, level) for shapes, colour, level in _glows(scores, face)]
    hidden = _outlined(_hidden(scores, face), points)
    rect = _around([outline for lines in (*(lines for lines, _, _ in glows), hidden) for _, outline in lines], size,
                   canvas.shape)
    if rect is None:
        return
    left, top, right, bottom = rect
    area = canvas[top:bottom, left:right]
    small = _Small(rect, size)
    for lines, colour, level in glows:
        small.glow(lines, colour, level)
    if glows:
        small.blend(area)
    if hidden:
        _hatch(area, small.mask(hidden, 0.4), _step(size), (left, top))


def _outlined(shapes: Sequence[Shape], points: np.ndarray) -> list[_Line]:
    return [(shape, outline) for shape in shapes for outline in outlines(shape, points)]


def _glows(scores: Scores, face: int) -> list[tuple[tuple[Shape, ...], Colour, float]]:
    """Shapes, colour and how much of it for each AU that is present, the weakest first."""
    strength = scores.strength[face]
    shown = [c for c in np.argsort(np.nan_to_num(strength), kind="stable").tolist()
             if scores.present[face, c] and scores.aus[c] in MUSCLES and strength[c] == strength[c]]
    return [(MUSCLES[scores.aus[c]], look_up(scores.aus[c]).colour,
             _FAINT + (_FULL - _FAINT) * min(max(float(strength[c]), 0.0), 1.0)) for c in shown]


def _hidden(scores: Scores, face: int) -> list[Shape]:
    """What to hatch: each region of which no AU can be judged."""
    judged = {look_up(au).region for c, au in enumerate(scores.aus) if scores.assessable[face, c]}
    asked = {look_up(au).region for au in scores.aus}
    return [shape for region in REGIONS if region in asked - judged for shape in AREAS[region]]


def _around(outlines: list[np.ndarray], size: float, shape: tuple[int, ...]) -> Rect | None:
    """The part of the picture that the shapes may touch; None where that is nothing."""
    if not outlines:
        return None
    corners = np.concatenate(outlines)
    margin = 0.4 * size
    left, top = np.floor(np.maximum(corners.min(0) - margin, 0)).astype(int).tolist()
    right, bottom = np.ceil(np.minimum(corners.max(0) + margin, (shape[1], shape[0]))).astype(int).tolist()
    return (left, top, right, bottom) if right - left > 1 and bottom - top > 1 else None


class _Small:
    """A small picture of the glow over one rectangle of the large one: it has no fine detail."""

    def __init__(self, rect: Rect, size: float) -> None:
        width, height = rect[2] - rect[0], rect[3] - rect[1]
        longest = max(width, height)
        scale = min(1.0, max(_LEAST, min(_USUAL, longest / 2), longest / 8) / longest)
        self._width, self._height = max(2, round(width * scale)), max(2, round(height * scale))
        self._offset = np.array(rect[:2], np.float64)
        self._scale = np.array([self._width / width, self._height / height])
        self._unit = size * scale
        self._colour = np.zeros((self._height, self._width, 3), np.uint8)
        self._kept = np.full((self._height, self._width, 3), 255, np.uint8)

    def mask(self, lines: list[_Line], softness: float = 1.0) -> np.ndarray:
        """uint8 [h, w]: how much each pixel belongs to the shapes, soft at their edges."""
        mask = np.zeros((self._height, self._width), np.uint8)
        for shape, outline in lines:
            # Pixel centres lie at half coordinates when a picture is made smaller; four bits of a pixel are kept.
            fixed = np.rint((((outline + 0.5 - self._offset) * self._scale) - 0.5) * 16)
            corners = np.clip(fixed, -1e6, 1e6).astype(np.int32)
            value = round(255 * shape.strength)
            if shape.width:
                cv2.polylines(mask, [corners], shape.closed, value, max(1, round(shape.width * self._unit)),
                              cv2.LINE_AA, 4)
            else:
                cv2.fillPoly(mask, [corners], value, cv2.LINE_AA, 4)
        return cv2.GaussianBlur(mask, (0, 0), max(0.6, _BLUR * self._unit * softness))

    def glow(self, lines: list[_Line], colour: Colour, level: float) -> None:
        """Lay one AU's colour over those before."""
        mask = cv2.merge([self.mask(lines)] * 3)
        light, kept = _tables(colour, round(level * 32))
        rest = cv2.LUT(mask, kept)
        self._colour = cv2.add(cv2.multiply(self._colour, rest, scale=1 / 255), cv2.LUT(mask, light))
        self._kept = cv2.multiply(self._kept, rest, scale=1 / 255)

    def blend(self, area: np.ndarray) -> None:
        """Lay it over the large picture."""
        size = area.shape[1], area.shape[0]
        kept = cv2.resize(self._kept, size, interpolation=cv2.INTER_LINEAR)
        colour = cv2.resize(self._colour, size, interpolation=cv2.INTER_LINEAR)
        cv2.add(cv2.multiply(area, kept, scale=1 / 255), colour, dst=area)


@lru_cache(maxsize=512)
def _tables(colour: Colour, level: int) -> tuple[np.ndarray, np.ndarray]:
    """What a pixel gets, uint8 [256, 1, 3], and how much of it stays, uint8 [256], by how much it belongs to a shape.

    Colours of skin and lips are made brighter and more colourful, and all are lighter towards the edge, or nobody
    would see them there. `level` is in 32nds.
    """
    given = np.array(colour, np.float64)
    grey = given.mean()
    lively = grey + (given - grey) * max(1.0, _COLOURFUL / max(np.ptp(given), 1.0))
    lively = np.clip(lively * max(1.0, _BRIGHT / lively.max()), 0, 255)
    inside = np.arange(256)[:, None] / 255
    rim = np.exp(-((inside - 0.3) / 0.2) ** 2) * _RIM
    share = inside * level / 32
    light = (lively * (1 - rim) + 255 * rim) * share
    return np.rint(light).astype(np.uint8)[:, None], np.rint(255 * (1 - share)).astype(np.uint8)[:, 0]


def _hatch(area: np.ndarray, mask: np.ndarray, step: int, at: tuple[int, int]) -> None:
    height, width = area.shape[:2]
    large = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)
    # The stripes belong to the picture, not to the face, so that they stand still.
    x, y = at[0] % step, at[1] % step
    # In few sizes, so that they are seldom made.
    stripes = _stripes(-(-height // 256) * 256 + step, -(-width // 256) * 256 + step, step)
    share = cv2.multiply(large, stripes[y:y + height, x:x + width], scale=_HATCHED / 255)[..., None].repeat(3, axis=2)
    cv2.add(cv2.multiply(area, 255 - share, scale=1 / 255),
            cv2.multiply(share, (*_HATCH, 0), scale=1 / 255), dst=area)


def _step(size: float) -> int:
    """Pixels from stripe to stripe; a power of two, or a face that nears a little would shake them all."""
    return max(4, 2 ** round(np.log2(size / 9)))


@lru_cache(maxsize=16)
def _stripes(height: int, width: int, step: int) -> np.ndarray:
    """uint8 [height, width], 255 on slanted lines, every `step` pixels one, 0 between them."""
    y, x = np.ogrid[:height, :width]
    distance = np.abs((x + y) % step - step / 2)
    return np.clip((step * 0.2 + 0.5 - distance) * 255, 0, 255).astype(np.uint8)
