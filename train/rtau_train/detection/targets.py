"""What each cell of the finder's maps should say of a picture whose faces are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rtau.detect_rtau import cells

#: Sides (root of a box's area, pixels) of the faces that each map finds, least and most; they overlap.
RANGES = ((0.0, 36.0), (24.0, 90.0), (64.0, float("inf")))
#: By this factor beyond its range a map may find a face or not.
_SLACK = 1.4
#: Cells this far from a face's centre find it: strides, and a share of the box's sides.
_REACH, _WITHIN = 1.5, 0.25
_IGNORE = -1.0


@dataclass(frozen=True)
class Targets:
    """Of the A cells of a picture, in the order of `rtau.finder.FinderNet`.

    Attributes:
        there: float32 [A], 1 where a cell should find a face, 0 where not, -1 where it may do either.
        boxes: float32 [A, 4], left, top, right, bottom in pixels, of the faces found; else 0.
        points: float32 [A, 10], x, y, x, ... in pixels; else 0.
    """

    there: np.ndarray
    boxes: np.ndarray
    points: np.ndarray


def assign(boxes: np.ndarray, points: np.ndarray, ignored: np.ndarray, height: int, width: int) -> Targets:
    """Targets of a picture.

    A face is found by the cells near its centre, of the maps that its size belongs to; by the smaller face where two
    want one cell. Of every face at least the nearest cell of a map finds it, if that lies in the picture.

    Args:
        boxes: [F, 4] of the faces, pixels.
        points: [F, 5, 2].
        ignored: bool [F], faces that may be found or not: too small, too much hidden.
        height, width: of the picture, multiples of 32.
    """
    places, strides = cells(height, width)
    count = len(places)
    there = np.zeros(count, np.float32)
    chosen = np.full(count, -1)
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    sizes = boxes[:, 2:] - boxes[:, :2]
    sides = np.sqrt(np.maximum(sizes, 0).prod(1))
    for face in np.argsort(-sides, kind="stable"):  # smaller ones last: they take what they need
        centre, half = (boxes[face, :2] + boxes[face, 2:]) / 2, sizes[face] / 2
        offset = np.abs(places - centre)
        inside = (offset <= half).all(1)
        if ignored[face]:
            there[inside & (chosen < 0)] = _IGNORE
            continue
        for stride, (least, most) in zip(np.unique(strides), RANGES, strict=True):
            level = strides == stride
            if not least / _SLACK <= sides[face] <= most * _SLACK:
                continue
            if not least <= sides[face] <= most:
                there[level & inside & (chosen < 0) & (offset <= _WITHIN * sizes[face]).all(1)] = _IGNORE
                continue
            near = level & (offset <= np.minimum(_REACH * stride, _WITHIN * sizes[face])).all(1)
            distance = np.where(level, np.hypot(*(places - centre).T), np.inf)
            closest = int(np.argmin(distance))
            if distance[closest] <= stride:  # its own cell, not the border of a picture that it lies outside of
                near[closest] = True
            # Around them is neither right nor wrong.
            there[level & (offset <= (_REACH + 1) * stride).all(1) & inside & (chosen < 0)] = _IGNORE
            there[near], chosen[near] = 1, face
    found = chosen >= 0
    wanted = np.zeros((count, 4), np.float32), np.zeros((count, 10), np.float32)
    for out, values in zip(wanted, (boxes, np.reshape(points, (-1, 10))), strict=True):
        out[found] = values[chosen[found]]
    return Targets(there, *wanted)
