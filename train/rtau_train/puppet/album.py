"""A page of rendered pictures with the AUs that their labels claim, to look at."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from rtau.au import intensity_letter
from rtau.errors import InputError
from rtau.pen import Pen, text_size

from ..data.shards import read_shards
from .sheet import write_page

_PAPER, _INK, _FAINT = (250, 250, 248), (30, 30, 30), (140, 140, 140)
_UNIT, _FONT, _LINE, _GAP = 0.88, 11, 14, 6  # scale of the pen, and pixels


def write_album(folder: str | Path, out: str | Path, *, count: int = 48, columns: int = 8) -> Path:
    """Lay out the first pictures of a rendered folder, each with its AUs, person and camera.

    "12D" is AU12 at grade D, "12D/B" on the left and the right, "4?" an AU that the labels leave open.

    Args:
        folder: what `rtau data render` wrote.
        out: a .jpg or .png file.
        count, columns: pictures in all and beside each other.

    Raises:
        InputError: the folder can't be read or holds pictures of several sizes.
        OutputError: the page can't be written.
    """
    cells = [_cell(image, labels) for image, labels in islice(read_shards(folder), count)]
    if len({cell.shape for cell in cells}) > 1:
        raise InputError(f"{folder} holds pictures of several sizes: render all with one --size")
    columns = min(columns, len(cells))
    blank = np.full_like(cells[0], _PAPER)
    cells += [blank] * (-len(cells) % columns)
    page = np.vstack([np.hstack(cells[start:start + columns]) for start in range(0, len(cells), columns)])
    write_page(page, out)
    return Path(out)


def caption(labels: dict[str, Any]) -> str:
    """The AUs that are present or left open, in a line: "6C 12D/B 25B 4?"."""
    present, left_open = [], []
    for au, unit in labels["aus"].items():
        if unit["ignore"]:
            left_open.append(f"{au}?")
        elif unit["presence"]:
            left, right = intensity_letter(unit["left"]) or "0", intensity_letter(unit["right"]) or "0"
            present.append(f"{au}{left}" if left == right else f"{au}{left}/{right}")
    return " ".join([*present, *left_open]) or "neutral"


def _cell(image: np.ndarray, labels: dict[str, Any]) -> np.ndarray:
    height, width = image.shape[:2]
    cell = np.full((height + 3 * _LINE + _GAP, width + _GAP, 3), _PAPER, np.uint8)
    cell[:height, :width] = image
    words = caption(labels).split()
    lines = [""]
    for word in words:
        longer = f"{lines[-1]} {word}".strip()
        if _width(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > 2:
        lines = [lines[0], _shorten(" ".join(lines[1:]), width)]
    about = " ".join([labels["person"], labels["sensor"]["kind"], *labels["occluders"], *labels["skin"]["notes"]])
    pen = Pen(cell, _UNIT)
    for row, (line, colour) in enumerate([(_shorten(about, width), _FAINT), *((line, _INK) for line in lines)]):
        pen.text(line, 0, height + row * _LINE + _LINE // 2 + 1, colour)
    return cell


def _width(text: str) -> int:
    return text_size(text, _FONT, False)[0]


def _shorten(text: str, width: int) -> str:
    while _width(text) > width and len(text) > 3:
        text = text[:-3].rstrip() + ".."
    return text
