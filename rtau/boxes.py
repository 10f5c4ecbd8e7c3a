"""Arithmetic of boxes: left, top, right, bottom in pixels, one row each."""

from __future__ import annotations

import numpy as np

#: A face's forehead, from the brows to the hairline, as a part of the height from brows to
#: chin: measured on portraits as the top of YuNet's boxes (0.33 to 0.39).
FOREHEAD = 0.35


def box_of_points(points: np.ndarray) -> np.ndarray:
    """The boxes of faces, from the hairline to the chin and from ear to ear.

    68 points end at the brows, so the forehead is added above them, along the face's own
    upright direction. The box may reach beyond the picture.

    Args:
        points: [N, 68, 2], x, y in pixels.

    Returns:
        float32 [N, 4].
    """
    points = np.asarray(points, np.float64)
    along = points[:, 42:48].mean(1) - points[:, 36:42].mean(1)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    up = np.stack([along[:, 1], -along[:, 0]], 1)
    brows = points[:, 17:27]
    height = np.einsum("nkj,nj->nk", brows, up).max(1) - np.einsum("nj,nj->n", points[:, 8], up)
    forehead = brows + (up * FOREHEAD * np.maximum(height, 0)[:, None])[:, None]
    everything = np.concatenate([points, forehead], 1)
    return np.concatenate([everything.min(1), everything.max(1)], 1).astype(np.float32)


def areas(boxes: np.ndarray) -> np.ndarray:
    """Areas [N] of boxes [N, 4]; 0 for a box that is inside out."""
    return np.maximum(boxes[:, 2] - boxes[:, 0], 0) * np.maximum(boxes[:, 3] - boxes[:, 1], 0)


def centres(boxes: np.ndarray) -> np.ndarray:
    """Centres [N, 2] of boxes [N, 4]."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _common(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    size = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    return np.maximum(size, 0).prod(2)


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Common area by joint area [N, M], 0..1, of boxes [N, 4] and [M, 4]."""
    common = _common(a, b)
    return common / np.maximum(areas(a)[:, None] + areas(b)[None] - common, 1e-9)


def suppress(boxes: np.ndarray, scores: np.ndarray, *, overlap: float = 0.4, inside: float = 0.75) -> np.ndarray:
    """Rows to keep so that each face has one box, best score first.

    Args:
        boxes: [N, 4].
        scores: [N].
        overlap: a box is dropped when its `iou` with a better one exceeds this.
        inside: it is also dropped when more than this part of the smaller of the two lies in
            the other: a part of a face taken for a face.

    Returns:
        int64 [K], row numbers.
    """
    order = np.argsort(-scores, kind="stable")
    common, area = _common(boxes, boxes), areas(boxes)
    joint = np.maximum(area[:, None] + area[None] - common, 1e-9)
    smaller = np.maximum(np.minimum(area[:, None], area[None]), 1e-9)
    same = (common / joint > overlap) | (common / smaller > inside)
    kept: list[int] = []
    for row in order:
        if not same[row, kept].any():
            kept.append(int(row))
    return np.array(kept, np.int64)
