"""What every style draws: boxes with the colour of their face, its points, and how the analysis is doing."""

from __future__ import annotations

import cv2
import numpy as np

from ..au import look_up
from ..pen import Colour, Pen, Rect, mix, overlap, text_size
from ..types import Scores, Status

WHITE, GREY, DIM = (255, 255, 255), (176, 180, 188), (128, 132, 140)
_LINE = (215, 222, 230)
_IDS = ((90, 200, 250), (255, 204, 0), (120, 220, 130), (255, 120, 150), (190, 150, 255), (255, 159, 64),
        (100, 230, 220), (220, 220, 225))

#: Runs of landmarks that make a line: first, last, closed, and the regions whose AUs move it.
_CONTOURS = ((0, 16, False, ("jaw",)), (17, 21, False, ("brow",)), (22, 26, False, ("brow",)),
             (27, 30, False, ("nose",)), (31, 35, False, ("nose",)), (36, 41, True, ("eye", "cheek")),
             (42, 47, True, ("eye", "cheek")), (48, 59, True, ("mouth",)), (60, 67, True, ("mouth",)))


def int_box(box: np.ndarray) -> Rect:
    """Whole pixels, also of a box that lies far outside the picture."""
    left, top, right, bottom = (int(v) for v in np.clip(np.rint(box), -1e5, 1e5))
    return left, top, right, bottom


def id_colour(face: int) -> Colour:
    """The colour of all that belongs to a face."""
    return _IDS[face % len(_IDS)]


def draw_box(pen: Pen, box: Rect, colour: Colour, label: str, *, corners: bool = True) -> None:
    """A thin frame, with stronger corners or without, and the face's number at its top."""
    left, top, right, bottom = box
    thin, thick = pen.px(1), max(2, pen.px(2.6))
    cv2.rectangle(pen.canvas, (left, top), (right, bottom), mix(colour, (40, 40, 40), 0.75), thin, cv2.LINE_AA)
    arm = max(4, min(right - left, bottom - top) // 7)
    for x, dx in ((left, arm), (right, -arm)) if corners else ():
        for y, dy in ((top, arm), (bottom, -arm)):
            corner = np.array([[x + dx, y], [x, y], [x, y + dy]], np.int32)
            cv2.polylines(pen.canvas, [corner], False, colour, thick, cv2.LINE_AA)
    if label:
        width = text_size(label, pen.font, True)[0] + 2 * pen.px(5)
        top = max(0, top - pen.row)
        pen.fill((left, top, left + width, top + pen.row), colour)
        pen.text(label, left + pen.px(5), top + pen.row // 2, (20, 20, 24), bold=True)


def draw_landmarks(pen: Pen, scores: Scores, face: int) -> None:
    """The 68 points and the lines between them, in the colour of the strongest AU that moves them."""
    points = scores.faces.landmarks[face]
    if not np.isfinite(points).all():
        return
    # Eight steps per pixel: points move smoothly from frame to frame.
    fixed = np.rint(np.clip(points, -1e5, 1e5) * 8).astype(np.int32)
    span = float(np.ptp(points[:, 0]))
    line = max(1, min(round(span / 260), 99))  # OpenCV draws no line of any width
    strongest: dict[str, tuple[float, Colour]] = {}
    strength = scores.strength[face]
    for c, au in enumerate(scores.aus):
        unit, level = look_up(au), 5 * float(strength[c])
        if unit.region and scores.present[face, c] and level > strongest.get(unit.region, (0.0, WHITE))[0]:
            strongest[unit.region] = level, unit.colour
    for first, last, closed, regions in _CONTOURS:
        level, colour = max((strongest[r] for r in regions if r in strongest), default=(0.0, _LINE))
        width = line + (level >= 2 and span > 160)
        cv2.polylines(pen.canvas, [fixed[first:last + 1]], closed, colour, width, cv2.LINE_AA, 3)
    radius = max(9, min(round(span / 200 * 8), 999))
    # On a tiny face dots would hide what they mark: the lines tell enough.
    for x, y in fixed.tolist() if span > 160 else ():
        cv2.circle(pen.canvas, (x, y), radius, WHITE, -1, cv2.LINE_AA, 3)


def draw_status(pen: Pen, status: Status, taken: list[Rect]) -> None:
    """Speed and age in the corner that has most room."""
    words = [f"{status.fps:.0f} fps"]
    if status.age is not None:
        words.append(f"{1000 * status.age:.0f} ms")
    if status.drops:
        words.append(f"{status.drops} dropped")
    words.append(status.backend)
    line = "  |  ".join(words)
    width = text_size(line, pen.font, False)[0] + 2 * pen.pad
    edge, height = pen.px(6), pen.row + pen.px(4)
    corners = [(x, y, x + width, y + height) for y in (pen.height - edge - height, edge)
               for x in (edge, pen.width - edge - width)]
    rect = min(corners, key=lambda corner: sum(overlap(corner, other) for other in taken))
    pen.darken(rect, pen.px(6))
    pen.text(line, rect[0] + pen.pad, (rect[1] + rect[3]) // 2, WHITE)
