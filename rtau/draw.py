"""Faces and their Action Units drawn onto a picture: box, landmarks, id, and a panel of bars beside each face."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .au import BY_NUMBER, intensity_letter
from .pen import Colour, Pen, Rect, hatch, text_size
from .types import Scores, Status

_WHITE, _LINE, _GREY, _DIM, _TRACK = (255, 255, 255), (215, 222, 230), (176, 180, 188), (128, 132, 140), (62, 66, 74)
_IDS = ((90, 200, 250), (255, 204, 0), (120, 220, 130), (255, 120, 150), (190, 150, 255), (255, 159, 64),
        (100, 230, 220), (220, 220, 225))

#: Runs of landmarks that make a line: first, last, closed, and the regions whose AUs move it.
_CONTOURS = ((0, 16, False, ("jaw",)), (17, 21, False, ("brow",)), (22, 26, False, ("brow",)),
             (27, 30, False, ("nose",)), (31, 35, False, ("nose",)), (36, 41, True, ("eye", "cheek")),
             (42, 47, True, ("eye", "cheek")), (48, 59, True, ("mouth",)), (60, 67, True, ("mouth",)))


@dataclass(frozen=True)
class _Layout:
    """What a panel shows; `rows` 0 means all AUs, else the strongest few."""

    name: bool
    rows: int
    bar: int


_FULL, _SHORT, _LIST, _CHIP = _Layout(True, 0, 78), _Layout(False, 0, 78), _Layout(False, 5, 52), _Layout(False, 2, 34)


class Overlay:
    """Draws on the pictures of one video; panels keep their side of the face and move calmly with it.

    Args:
        landmarks: draw the 68 points.
        scale: size of text and lines, 1 is made for reading the picture as a whole.
    """

    def __init__(self, *, landmarks: bool = True, scale: float = 1.0) -> None:
        self.landmarks = landmarks
        self.scale = scale
        self._places: dict[int, tuple[int, tuple[float, float]]] = {}

    def forget(self) -> None:
        """The next picture has nothing to do with the last one."""
        self._places.clear()

    def __call__(self, image: np.ndarray, scores: Scores, status: Status | None = None) -> np.ndarray:
        """A copy of `image` with the scores drawn on it.

        Args:
            image: uint8 [H, W, 3], RGB, of any size.
            scores: the faces of this picture.
            status: write how the analysis is doing into a corner.

        Returns:
            uint8 [H, W, 3], RGB.
        """
        canvas = np.ascontiguousarray(image).copy()
        height, width = canvas.shape[:2]
        pen = Pen(canvas, max(0.3, min(width, height) / 720 * self.scale))
        faces = scores.faces
        boxes = [_int_box(box) for box in faces.boxes]
        alone = len(boxes) == 1
        for i, box in enumerate(boxes):
            colour = _id_colour(int(faces.ids[i]))
            if self.landmarks:
                _draw_landmarks(pen, scores, i)
            _draw_box(pen, box, colour, "" if alone else f"{faces.ids[i]}")
        panels = self._draw_panels(pen, scores, boxes)
        if status is not None:
            _draw_status(pen, status, panels)
        return canvas

    def _draw_panels(self, pen: Pen, scores: Scores, boxes: list[Rect]) -> list[Rect]:
        ids = [int(i) for i in scores.faces.ids]
        self._places = {i: place for i, place in self._places.items() if i in ids}
        layouts = (_FULL, _SHORT, _LIST, _CHIP) if len(ids) <= 2 else (_LIST, _CHIP)
        taken: list[Rect] = []
        # Large faces choose first: they belong to those in front.
        for i in sorted(range(len(ids)), key=lambda i: -(boxes[i][2] - boxes[i][0])):
            options = [(layout, side) for layout in layouts for side in range(4)]
            blocked = boxes + taken
            before = self._places.get(ids[i])
            chosen = None
            for n, (layout, side) in enumerate(options):
                rect = _beside(pen, boxes[i], _panel_size(pen, scores, layout), side)
                # A new place must fit with room to spare, else panels would jump to and fro.
                keep = before is not None and before[0] == n
                slack = 0 if keep or before is None else round(0.03 * min(pen.width, pen.height))
                if _fits(pen, rect, slack, blocked):
                    chosen = n, layout, rect
                    break
            if chosen is None:
                layout = _SHORT if len(ids) == 1 and _panel_size(pen, scores, _SHORT)[1] <= pen.height else _CHIP
                size = _panel_size(pen, scores, layout)
                if size[0] > pen.width or size[1] > pen.height:
                    continue  # a picture too tiny for any text
                chosen = -1, layout, _least_harm(pen, size, boxes, taken, i)
            n, layout, rect = chosen
            rect = self._calm(ids[i], n, rect, pen)
            taken.append(rect)
            _draw_panel(pen, scores, i, rect, layout)
        return taken

    def _calm(self, face: int, option: int, rect: Rect, pen: Pen) -> Rect:
        """Follow the face without its jitter: stay for small moves, ease into larger ones."""
        x, y = float(rect[0]), float(rect[1])
        before = self._places.get(face)
        if before is not None and before[0] == option:
            dx, dy = x - before[1][0], y - before[1][1]
            ease = 0.0 if max(abs(dx), abs(dy)) < 6 * pen.unit else 0.3
            x, y = before[1][0] + ease * dx, before[1][1] + ease * dy
        self._places[face] = option, (x, y)
        left, top = round(x), round(y)
        return left, top, left + rect[2] - rect[0], top + rect[3] - rect[1]


def draw_overlay(image: np.ndarray, scores: Scores, *, status: Status | None = None, landmarks: bool = True,
                 scale: float = 1.0) -> np.ndarray:
    """Draw the scores of one picture on a copy of it; see `Overlay`, which is for the pictures of a video."""
    return Overlay(landmarks=landmarks, scale=scale)(image, scores, status)


def _int_box(box: np.ndarray) -> Rect:
    left, top, right, bottom = (int(v) for v in np.clip(np.rint(box), -1e5, 1e5))
    return left, top, right, bottom


def _id_colour(face: int) -> Colour:
    return _IDS[face % len(_IDS)]


def _mix(a: Colour, b: Colour, part: float) -> Colour:
    """`part` of a, the rest of b."""
    return tuple(round(p * part + q * (1 - part)) for p, q in zip(a, b, strict=True))  # type: ignore[return-value]


def _overlap(a: Rect, b: Rect) -> int:
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


# -- where a panel goes

def _panel_size(pen: Pen, scores: Scores, layout: _Layout) -> tuple[int, int]:
    rows = min(layout.rows or len(scores.aus), len(scores.aus))
    names = max((text_size(_name(au), pen.font, False)[0] for au in scores.aus), default=0) if layout.name else 0
    width = (2 * pen.pad + text_size("AU00", pen.font, True)[0] + (names + pen.gap if layout.name else 0)
             + pen.gap + max(16, pen.px(layout.bar)) + pen.gap + _values_width(pen))
    return width, (rows + 1) * pen.row + pen.pad + pen.px(2)


def _values_width(pen: Pen) -> int:
    return text_size("0.0", pen.font, False)[0] + pen.px(5) + text_size("B", pen.font, True)[0]


def _beside(pen: Pen, box: Rect, size: tuple[int, int], side: int) -> Rect:
    """The panel right of, left of, below or above the box, moved along it so that it stays in the picture."""
    width, height = size
    gap = pen.px(10)
    left = (box[2] + gap, box[0] - gap - width, box[0], box[0])[side]
    top = (box[1], box[1], box[3] + gap, box[1] - gap - height - (pen.row if side == 3 else 0))[side]
    if side < 2:
        top = max(pen.px(6), min(top, pen.height - height - pen.px(6)))
    else:
        left = max(pen.px(6), min(left, pen.width - width - pen.px(6)))
    return left, top, left + width, top + height


def _fits(pen: Pen, rect: Rect, slack: int, blocked: list[Rect]) -> bool:
    left, top, right, bottom = rect
    if left < slack or top < 0 or right > pen.width - slack or bottom > pen.height:
        return False
    return not any(_overlap(rect, other) for other in blocked)


def _least_harm(pen: Pen, size: tuple[int, int], boxes: list[Rect], taken: list[Rect], face: int) -> Rect:
    """No free place: the one near the face, or at a side of the picture, that hides least of faces and panels."""
    width, height = size
    box, edge = boxes[face], pen.px(4)
    spots = [(pen.width - width - edge, box[1]), (edge, box[1])] if len(boxes) == 1 else []
    spots += [(x, y) for y in (box[3] - height, box[3] + edge, box[1] - height - edge, box[1])
              for x in (box[0], box[2] - width, box[2] + edge, box[0] - width - edge)]
    rects = []
    for x, y in spots:
        x, y = max(0, min(x, pen.width - width)), max(0, min(y, pen.height - height))
        rects.append((x, y, x + width, y + height))
    weighed = [(box, 1) for box in boxes] + [(panel, 3) for panel in taken]
    return min(rects, key=lambda rect: sum(weight * _overlap(rect, other) for other, weight in weighed))


# -- drawing

def _draw_box(pen: Pen, box: Rect, colour: Colour, label: str) -> None:
    left, top, right, bottom = box
    thin, thick = pen.px(1), max(2, pen.px(2.6))
    cv2.rectangle(pen.canvas, (left, top), (right, bottom), _mix(colour, (40, 40, 40), 0.75), thin, cv2.LINE_AA)
    arm = max(4, min(right - left, bottom - top) // 7)
    for x, dx in ((left, arm), (right, -arm)):
        for y, dy in ((top, arm), (bottom, -arm)):
            corner = np.array([[x + dx, y], [x, y], [x, y + dy]], np.int32)
            cv2.polylines(pen.canvas, [corner], False, colour, thick, cv2.LINE_AA)
    if label:
        width = text_size(label, pen.font, True)[0] + 2 * pen.px(5)
        top = max(0, top - pen.row)
        pen.fill((left, top, left + width, top + pen.row), colour)
        pen.text(label, left + pen.px(5), top + pen.row // 2, (20, 20, 24), bold=True)


def _draw_landmarks(pen: Pen, scores: Scores, face: int) -> None:
    points = scores.faces.landmarks[face]
    if not np.isfinite(points).all():
        return
    # Eight steps per pixel: points move smoothly from frame to frame.
    fixed = np.rint(np.clip(points, -1e5, 1e5) * 8).astype(np.int32)
    span = float(np.ptp(points[:, 0]))
    line = max(1, round(span / 260))
    strongest: dict[str, tuple[float, Colour]] = {}
    strength = scores.strength[face]
    for c, au in enumerate(scores.aus):
        unit, level = BY_NUMBER.get(au), 5 * float(strength[c])
        if unit and scores.present[face, c] and level > strongest.get(unit.region, (0.0, _WHITE))[0]:
            strongest[unit.region] = level, unit.colour
    for first, last, closed, regions in _CONTOURS:
        level, colour = max((strongest[r] for r in regions if r in strongest), default=(0.0, _LINE))
        width = line + (level >= 2 and span > 160)
        cv2.polylines(pen.canvas, [fixed[first:last + 1]], closed, colour, width, cv2.LINE_AA, 3)
    radius = max(9, round(span / 200 * 8))
    # On a tiny face dots would hide what they mark: the lines tell enough.
    for x, y in fixed.tolist() if span > 160 else ():
        cv2.circle(pen.canvas, (x, y), radius, _WHITE, -1, cv2.LINE_AA, 3)


def _name(au: int) -> str:
    return BY_NUMBER[au].name if au in BY_NUMBER else ""


def _draw_panel(pen: Pen, scores: Scores, face: int, rect: Rect, layout: _Layout) -> None:
    pen.darken(rect, pen.px(8))
    left, top, right, _ = rect
    x0, x1, row = left + pen.pad, right - pen.pad, pen.row
    middle = top + pen.px(2) + row // 2
    dot = max(2, row // 4)
    cv2.circle(pen.canvas, ((x0 + dot) * 8, middle * 8), dot * 8, _id_colour(int(scores.faces.ids[face])), -1,
               cv2.LINE_AA, 3)
    pen.text(f"face {scores.faces.ids[face]}", x0 + 2 * dot + pen.px(6), middle, _WHITE, bold=True)
    pen.text(f"{100 * float(scores.faces.scores[face]):.0f}%", x1, middle, _GREY, right=True)
    code = text_size("AU00", pen.font, True)[0]
    bar_right = x1 - _values_width(pen) - pen.gap
    bar_left = bar_right - max(16, pen.px(layout.bar))
    letter = x1 - text_size("B", pen.font, True)[0]
    half = max(2, round(row * 0.29))
    strength, graded = scores.strength[face], scores.graded
    for c in _shown(scores, face, layout.rows):
        middle += row
        au, value = scores.aus[c], float(strength[c])
        colour = BY_NUMBER[au].colour if au in BY_NUMBER else _GREY
        known = value == value
        present = known and bool(scores.present[face, c])
        bar = (bar_left, middle - half, bar_right, middle + half + 1)
        if present:
            upper = middle - row // 2
            strip = pen.canvas[max(0, upper):max(0, upper + row - 1), max(0, left):max(0, right)]
            cv2.add(strip, np.full_like(strip, 24), dst=strip)
            pen.fill((left, upper, left + pen.px(3), upper + row - 1), colour)
        pen.text(f"AU{au:02d}", x0, middle, _mix(colour, _WHITE, 0.6) if present else _GREY if known else _DIM,
                 bold=present)
        if layout.name:
            pen.text(_name(au), x0 + code + pen.gap, middle, _WHITE if present else _GREY if known else _DIM)
        if not known:
            area = pen.canvas[max(0, bar[1]):max(0, bar[3]), max(0, bar[0]):max(0, bar[2])]
            area[:] = hatch(area.shape[0], area.shape[1], pen.px(4))
            pen.text("n/a", letter - pen.px(5), middle, _DIM, right=True)
            continue
        pen.fill(bar, _TRACK)
        length = bar_right - bar_left
        end = bar_left + round(length * min(max(value, 0.0), 1.0))
        pen.fill((bar_left, bar[1], end, bar[3]), colour if present else _mix(colour, (90, 94, 102), 0.42))
        if not graded:
            pen.text(f"{100 * value:.0f}%", x1, middle, _WHITE if present else _GREY, right=True)
            continue
        value *= 5
        # One notch for each FACS grade, A to E.
        for grade in range(1, 5):
            x = bar_left + round(length * grade / 5)
            pen.fill((x, bar[1], x + max(1, pen.px(1)), bar[3]), (24, 26, 30))
        pen.text(f"{value:.1f}", letter - pen.px(5), middle, _WHITE if present else _GREY, right=True)
        pen.text(intensity_letter(round(value, 1)), letter, middle, _WHITE if present else _DIM, bold=True)


def _shown(scores: Scores, face: int, rows: int) -> list[int]:
    """Columns to show: all, or the strongest few, in FACS order."""
    columns = list(range(len(scores.aus)))
    if not rows or rows >= len(columns):
        return columns
    strength = np.where(scores.assessable[face], np.nan_to_num(scores.strength[face]) + scores.present[face], -1)
    return sorted(np.argsort(-strength, kind="stable")[:rows].tolist())


def _draw_status(pen: Pen, status: Status, panels: list[Rect]) -> None:
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
    rect = min(corners, key=lambda corner: sum(_overlap(corner, panel) for panel in panels))
    pen.darken(rect, pen.px(6))
    pen.text(line, rect[0] + pen.pad, (rect[1] + rect[3]) // 2, _WHITE)
