"""What fetched parts must look like once packed: small descriptions, compared with some tolerance.

The checksums of the originals are not known here, so each packed part is held against a
description of the one that rtau was made with. Pictures may differ by what another JPEG library
makes of them, meshes by rounding.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from rtau.errors import InputError

_GRID = 6  # squares of a picture's description across and down
_SHADE = 6.0  # grey levels, mean over the squares
_PLACE = 1.0  # pixels
_DEPTH = 2e-3  # cm
_POINTS = (0, 1, 55, 90, 129)  # points of a portrait that are described
_VERTICES = (100, 3000, 8000, 18000, 22500)


def describe_picture(image: np.ndarray) -> dict[str, Any]:
    """Size and mean colours of a picture (uint8 [H, W, 3], BGR)."""
    small = cv2.resize(image, (_GRID, _GRID), interpolation=cv2.INTER_AREA)
    return {"size": [image.shape[1], image.shape[0]], "colours": base64.b64encode(small.tobytes()).decode()}


def check_picture(name: str, image: np.ndarray, wanted: dict[str, Any] | None) -> None:
    """Compare a packed picture with its description.

    Raises:
        InputError: it is another picture.
    """
    if wanted is None:
        return
    got = describe_picture(image)
    colours = [np.frombuffer(base64.b64decode(d["colours"]), np.uint8).astype(float) for d in (got, wanted)]
    off = float(np.abs(colours[0] - colours[1]).mean())
    if got["size"] != wanted["size"] or off > _SHADE:
        raise InputError(f"{name} is another picture than the one that rtau knows (size {got['size']}, should be "
                         f"{wanted['size']}; colours off by {off:.0f} levels); the source has changed")


def describe_points(points: np.ndarray) -> list[list[float]]:
    """Some of a portrait's points [N, 2]."""
    return [[round(float(v), 2) for v in points[i]] for i in _POINTS if i < len(points)]


def check_points(name: str, points: np.ndarray, wanted: list[list[float]] | None) -> None:
    """Compare a portrait's points with their description.

    Raises:
        InputError: they lie elsewhere.
    """
    if wanted is None:
        return
    got = np.array(describe_points(points))
    if got.shape != np.shape(wanted) or np.abs(got - wanted).max() > _PLACE:
        raise InputError(f"the landmarks of {name} are not those that rtau knows; the source has changed")


def describe_rig(table: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Counts, and where some vertices lie in the neutral mesh and go in each shape, cm."""
    count = len(table["neutral"])
    picked = [v for v in _VERTICES if v < count] or list(range(count))

    def shapes(key: str) -> list[list[float]]:
        moved = table[f"{key}_q"][:, picked].astype(float) * table[f"{key}_scale"].astype(float)[:, None, None]
        return moved.round(5).reshape(len(moved), -1).tolist()

    return {"counts": {key: len(table[key]) for key in ("neutral", "quads", "tris", "uv")}, "vertices": picked,
            "neutral": table["neutral"][picked].astype(float).round(5).ravel().tolist(), "id": shapes("id"),
            "expr": shapes("expr")}


def check_rig(table: Mapping[str, np.ndarray], wanted: dict[str, Any]) -> None:
    """Compare a packed rig with its description.

    Raises:
        InputError: it is another rig.
    """
    got = describe_rig(table)
    if got["counts"] != wanted["counts"]:
        raise InputError(f"the face rig has {got['counts']}, not {wanted['counts']}; the source has changed")
    for key in ("neutral", "id", "expr"):
        a, b = np.array(got[key]), np.array(wanted[key])
        if a.shape != b.shape or np.abs(a - b).max() > _DEPTH:
            raise InputError(f"the face rig's {key} shapes are not those that rtau knows; the source has changed")
