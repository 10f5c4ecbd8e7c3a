"""Panels beside the faces: which of them fits where, and that they move calmly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..pen import Pen, Rect, overlap
from ..types import Scores
from .rows import draw_rows, rows_size


@dataclass(frozen=True)
class Layout:
    """What a panel shows.

    Attributes:
        name: the AUs' names too.
        rows: 0 for all AUs, else the strongest few.
        bar: length of the bars; 0 for none, and then only AUs that are present.
    """

    name: bool
    rows: int
    bar: int


#: From much to little, for the one or two faces of a picture, and for each of many.
BARS = (Layout(True, 0, 78), Layout(False, 0, 78), Layout(False, 5, 52), Layout(False, 2, 34))
NAMES = (Layout(True, 0, 0), Layout(False, 0, 0), Layout(False, 5, 0), Layout(False, 2, 0))


class Panels:
    """The panels of one video.

    Args:
        layouts: four, from the one that shows most to the smallest.
    """

    def __init__(self, layouts: Sequence[Layout]) -> None:
        self._layouts = tuple(layouts)
        self._places: dict[int, tuple[int, tuple[float, float]]] = {}

    def forget(self) -> None:
        """The next picture has nothing to do with the last one."""
        self._places.clear()

    def draw(self, pen: Pen, scores: Scores, boxes: list[Rect]) -> list[Rect]:
        """Draw a panel for each face; gives where they are."""
        ids = [int(i) for i in scores.faces.ids]
        self._places = {i: place for i, place in self._places.items() if i in ids}
        layouts = self._layouts if len(ids) <= 2 else self._layouts[2:]
        taken: list[Rect] = []
        # Large faces choose first: they belong to those in front.
        for i in sorted(range(len(ids)), key=lambda i: -(boxes[i][2] - boxes[i][0])):
            options = [(layout, side) for layout in layouts for side in range(4)]
            blocked = boxes + taken
            before = self._places.get(ids[i])
            chosen = None
            for n, (layout, side) in enumerate(options):
                rect = _beside(pen, boxes[i], rows_size(pen, scores, i, layout), side)
                # A new place must fit with room to spare, else panels would jump to and fro.
                keep = before is not None and before[0] == n
                slack = 0 if keep or before is None else round(0.03 * min(pen.width, pen.height))
                if _fits(pen, rect, slack, blocked):
                    chosen = n, layout, rect
                    break
            if chosen is None:
                short, chip = self._layouts[1], self._layouts[3]
                layout = short if len(ids) == 1 and rows_size(pen, scores, i, short)[1] <= pen.height else chip
                size = rows_size(pen, scores, i, layout)
                if size[0] > pen.width or size[1] > pen.height:
                    continue  # a picture too tiny for any text
                chosen = -1, layout, _least_harm(pen, size, boxes, taken, i)
            n, layout, rect = chosen
            rect = self._calm(ids[i], n, rect, pen)
            taken.append(rect)
            draw_rows(pen, scores, i, rect, layout)
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
    return not any(overlap(rect, other) for other in blocked)


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
    return min(rects, key=lambda rect: sum(weight * overlap(rect, other) for other, weight in weighed))
