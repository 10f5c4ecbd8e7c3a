"""One line per face: its number, and the Action Units present with their grades."""

from __future__ import annotations

from ..au import intensity_letter, look_up
from ..pen import Colour, Pen, Rect, mix, overlap, text_size
from ..types import Scores
from .marks import DIM, WHITE, id_colour

#: A word, its colour, whether it is bold, and the gap before it in widths of the pen's gap.
_Word = tuple[str, Colour, bool, float]


def draw_words(pen: Pen, scores: Scores, boxes: list[Rect]) -> list[Rect]:
    """Write above each box, or below where there is no room; gives where."""
    taken: list[Rect] = []
    for face, box in enumerate(boxes):
        lines = _wrapped(pen, _words(scores, face), max(box[2] - box[0], pen.px(150)))
        width = min(pen.width, max(_width(pen, line) for line in lines) + 2 * pen.px(5))
        height = len(lines) * pen.row + pen.px(2)
        left = max(0, min(box[0], pen.width - width))
        spots = [(left, top, left + width, top + height)
                 for top in (box[1] - height, box[3] + 1, box[1] + 1, box[3] - height)
                 if 0 <= top <= pen.height - height] or [(left, 0, left + width, height)]
        rect = min(spots, key=lambda spot: sum(overlap(spot, other) for other in boxes + taken))
        taken.append(rect)
        pen.darken(rect, pen.px(4))
        for n, line in enumerate(lines):
            x, middle = rect[0] + pen.px(5), rect[1] + pen.px(1) + n * pen.row + pen.row // 2
            for m, (word, colour, bold, gap) in enumerate(line):
                x += round(gap * pen.gap) if m else 0
                pen.text(word, x, middle, colour, bold=bold)
                x += text_size(word, pen.font, bold)[0]
    return taken


def _words(scores: Scores, face: int) -> list[list[_Word]]:
    """Groups of words that stay on one line."""
    colour = id_colour(int(scores.faces.ids[face]))
    groups: list[list[_Word]] = [[(f"{scores.faces.ids[face]}", mix(colour, WHITE, 0.8), True, 0.0)]]
    strength, graded = scores.strength[face], scores.graded
    for c, au in enumerate(scores.aus):
        if not scores.present[face, c] or strength[c] != strength[c]:
            continue
        value = 5 * float(strength[c])
        grade = intensity_letter(round(value, 1)) if graded else f"{20 * value:.0f}%"
        groups.append([(f"{au}", mix(look_up(au).colour, WHITE, 0.6), True, 1.4),
                       *([(grade, WHITE, False, 0.4)] if grade else [])])
    if not scores.assessable[face].any():
        groups.append([("n/a", DIM, False, 1.4)])
    return groups


def _wrapped(pen: Pen, groups: list[list[_Word]], width: int) -> list[list[_Word]]:
    lines: list[list[_Word]] = [[]]
    for group in groups:
        if lines[-1] and _width(pen, lines[-1] + group) > width:
            lines.append([])
        lines[-1] += group
    return lines


def _width(pen: Pen, line: list[_Word]) -> int:
    return sum(text_size(word, pen.font, bold)[0] + (round(gap * pen.gap) if n else 0)
               for n, (word, _, bold, gap) in enumerate(line))
