"""A page of what a network gets most wrong, to look at: HTML that holds its pictures.

It shows the user's own files, portraits of people among them, and is written only where the user asks.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import cv2
import numpy as np

from rtau.au import BY_NUMBER
from rtau.sinks.paths import replaced
from rtau.source import open_source

from .photographs import Seen
from .renders import Said

#: Of each kind of mistake; of one AU at most.
MOST, OF_ONE = 24, 3
_SIDE = 160  # pixels of a picture on the page
_STYLE = """body{font:13px sans-serif;margin:20px;color:#222}figure{display:inline-block;width:164px;margin:4px;
vertical-align:top}img{width:160px;height:160px;object-fit:contain;background:#eee}figcaption{word-break:break-all}"""


@dataclass(frozen=True)
class Mistake:
    """A face that is read wrongly.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        source: the file, or where in the renders it lies.
        au: of the label.
        truth: what is so: "absent", "present", or its intensity.
        presence: what was said, 0..1.
    """

    image: np.ndarray
    source: str
    au: int
    truth: str
    presence: float


def worst(presence: np.ndarray, truth: np.ndarray, shown: bool, most: int = MOST, of_one: int = OF_ONE
          ) -> list[tuple[int, int]]:
    """Rows and columns of the gravest mistakes, the gravest first.

    Args:
        presence: [N, C], NaN where nothing was said.
        truth: [N, C], 1 present, 0 absent, NaN unknown.
        shown: of what is there the lowest presences (misses), else of what is not the highest (false alarms); only
            those on the wrong side of .5.
        most, of_one: in all, and of one column.
    """
    wrong = (truth == 1) & (presence < 0.5) if shown else (truth == 0) & (presence >= 0.5)
    rows, columns = np.nonzero(wrong)
    order = np.argsort(presence[rows, columns] * (1 if shown else -1), kind="stable")
    taken: list[tuple[int, int]] = []
    counts = np.zeros(presence.shape[1], int)
    for row, column in zip(rows[order], columns[order], strict=True):
        if counts[column] < of_one and len(taken) < most:
            counts[column] += 1
            taken.append((int(row), int(column)))
    return taken


def photograph_mistakes(seen: Seen, shown: bool) -> list[Mistake]:
    """Of real photographs, cut out about the face."""
    truth = np.stack([seen.truth(au) for au in seen.aus], 1)
    return [Mistake(_cut(next(iter(open_source(str(seen.photographs[row].file)))).image, seen.boxes[row]),
                    f"{seen.photographs[row].file.parent.name}/{seen.photographs[row].file.name}", seen.aus[column],
                    "present" if shown else "absent", float(seen.presence[row, column]))
            for row, column in worst(seen.presence, truth, shown)]


def render_mistakes(said: Said, shown: bool) -> list[Mistake]:
    """Of rendered pictures."""
    p = said.predictions
    truth = np.where(p.labels == 0, np.nan, (p.labels > 0).astype(float))
    return [Mistake(said.faces.pictures[row], str(p.source[row]), int(p.names[column][2:]),
                    f"{p.intensity[row, column]:.1f} of 5", float(p.presence[row, column]))
            for row, column in worst(p.presence, truth, shown)]


def write_gallery(path: Path, parts: Sequence[tuple[str, Sequence[Mistake]]], title: str) -> None:
    """Write the page.

    Args:
        parts: headings and what belongs below.

    Raises:
        OutputError: it can't be written.
    """
    with replaced(path) as file:
        file.write(f"<!doctype html><meta charset='utf-8'><title>{escape(title)}</title><style>{_STYLE}</style>"
                   f"<h1>{escape(title)}</h1>\n")
        for heading, mistakes in parts:
            file.write(f"<h2>{escape(heading)}</h2>\n" + ("" if mistakes else "<p>None.</p>\n"))
            for m in mistakes:
                name = BY_NUMBER[m.au].name if m.au in BY_NUMBER else ""
                file.write(f"<figure><img alt='' src='data:image/jpeg;base64,{_jpeg(m.image)}'><figcaption>AU {m.au} "
                           f"{escape(name)}<br>truth {escape(m.truth)}, presence {m.presence:.2f}<br>"
                           f"{escape(m.source)}</figcaption></figure>\n")


def _cut(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The face with some surroundings."""
    if not np.isfinite(box).all():
        return image
    height, width = image.shape[:2]
    middle, half = (box[:2] + box[2:]) / 2, 0.75 * float(max(box[2] - box[0], box[3] - box[1]))
    left, top = (max(int(v), 0) for v in middle - half)
    right, bottom = int(min(middle[0] + half, width)), int(min(middle[1] + half, height))
    return image[top:bottom, left:right] if right > left and bottom > top else image


def _jpeg(image: np.ndarray) -> str:
    scale = _SIDE / max(image.shape[:2])
    size = max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
    return base64.b64encode(data.tobytes()).decode()
