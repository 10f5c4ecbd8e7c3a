"""Face masks: cloth that lies over nose, mouth and chin and moves with them a little."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.spatial import cKDTree

from .puppet import Puppet
from .raster import smooth, vertex_normals
from .rig import Rig
from .scene import Performance, Prop
from .wear import curve, grid, prop, tube

_ROWS, _COLUMNS = 21, 25

_COLOURS = {"surgical": ((0.55, 0.75, 0.86), (0.62, 0.80, 0.78), (0.93, 0.94, 0.95), (0.20, 0.22, 0.25)),
            "cloth": ((0.10, 0.10, 0.11), (0.15, 0.20, 0.38), (0.55, 0.12, 0.15), (0.80, 0.76, 0.68), (0.35, 0.40, 0.30)),
            "respirator": ((0.94, 0.94, 0.93), (0.16, 0.16, 0.17))}


def mask(puppet: Puppet, rig: Rig, performance: Performance, rng: np.random.Generator) -> tuple[Prop, ...]:
    """A mask as worn: mostly right, sometimes under the nose or on the chin.

    Returns:
        one prop, or two with the loops, named "mask".
    """
    kind = str(rng.choice(list(_COLOURS), p=[0.5, 0.3, 0.2]))
    worn = rng.random()
    p = rig.neutral[rig.landmarks]
    # Worn right its upper edge crosses the bridge of the nose; else the tip is free, or it hangs on the chin.
    top = (p[28, 1] if worn < 0.85 else p[33, 1] - 0.5 if worn < 0.95 else p[57, 1] - 0.3) + rng.uniform(-0.4, 0.3)
    low = p[8, 1] - rng.uniform(0.3, 1.0)
    across, down = np.meshgrid(np.linspace(-1, 1, _COLUMNS), np.linspace(0, 1, _ROWS))
    # Highest on the nose, falling towards the cheeks, narrowing towards the chin.
    x = across * (rng.uniform(5.6, 6.3) - rng.uniform(1.0, 1.8) * down**1.5)
    sag = (1.1 if worn < 0.85 else 0.5) * np.abs(across) ** 1.7
    y = top - sag + (low - top + sag - rng.uniform(0.3, 0.8) * np.abs(across) ** 2 * -1.6) * down

    sheet, moved, generic, normals = _cloth_over(puppet, rig, performance)
    distance, near = cKDTree(generic[:, :2]).query(np.stack([x, y], -1).reshape(-1, 2), k=8)
    share = 1 / (distance + 0.15)
    share /= share.sum(1, keepdims=True)
    place = (sheet[near] * share[..., None]).sum(1)
    # Never through the nose: as far out as the farthest skin nearby, pulled taut over it.
    out_to = np.maximum(place[:, 2], moved[near, 2].max(1) + 0.15).reshape(_ROWS, _COLUMNS).astype(np.float32)
    taut = np.maximum(cv2.GaussianBlur(out_to, (0, 0), 2.0, borderType=cv2.BORDER_REPLICATE), out_to)
    place[:, 2] = taut.ravel()
    outwards = (normals[near] * share[..., None]).sum(1)
    lift = np.full(len(place), rng.uniform(0.3, 0.5))
    flat = np.stack([x.ravel(), y.ravel()], -1)
    if kind == "respirator":
        lift += rng.uniform(0.7, 1.5) * np.exp(-((flat[:, 0] / 2.6) ** 2 + ((flat[:, 1] - p[51, 1]) / 2.4) ** 2))
    lift -= 0.2 * (np.maximum(np.abs(across), np.abs(2 * down - 1)) > 0.97).ravel()  # edges lie on
    vertices = (place + outwards * lift[:, None]).astype(np.float32)
    out = [Prop("mask", vertices, grid(_ROWS, _COLUMNS).astype(np.int32), _cloth(kind, flat, p, rng),
                np.ones(len(vertices), np.float32))]
    if worn < 0.95:
        out.append(_loops(vertices.reshape(_ROWS, _COLUMNS, 3), puppet, rig, rng))
    return tuple(out)


def _cloth_over(puppet: Puppet, rig: Rig, performance: Performance) -> tuple[np.ndarray, ...]:
    """Where cloth would lie: place, skin under it, generic place and normal, each [V, 3], of the face's front vertices.

    Cloth bridges what lies between nose, cheeks and chin, and follows the jaw by half.
    """
    stage = rig.stage
    moved = puppet.vertices[:stage.skin] + 0.5 * rig.motion(performance.shapes, stage.vertices[:stage.skin])
    sheet = smooth(moved, stage.neighbours, 30)
    sheet[:, 2] = np.maximum(sheet[:, 2], moved[:, 2] * 0.6 + sheet[:, 2] * 0.4)
    normals = smooth(vertex_normals(sheet, stage.triangles[:stage.skin_triangles]), stage.neighbours, 8)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-6
    front = np.flatnonzero(normals[:, 2] > 0.15)
    return sheet[front], moved[front], rig.neutral[:stage.skin][front], normals[front]


def _cloth(kind: str, place: np.ndarray, p: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Colour float32 [V, 3]: pleats, a seam or a print."""
    colours = _COLOURS[kind]
    base = np.clip(np.array(colours[rng.integers(len(colours))]) + rng.normal(0, 0.03, 3), 0.02, 0.98)
    x, y = place[:, 0], place[:, 1]
    shade = 1 + 0.04 * np.sin(3.1 * x + rng.uniform(0, 6)) * np.sin(2.3 * y + rng.uniform(0, 6))
    if kind == "surgical":
        pleat = (y - p[8, 1]) / rng.uniform(1.5, 2.0)
        shade = shade - 0.16 * np.exp(-(((pleat - np.round(pleat)) / 0.12) ** 2)) * (np.abs(x) < 5)
    if kind == "respirator":
        shade = shade - 0.15 * np.exp(-((x / 0.18) ** 2))
    colour = base * shade[:, None]
    if kind == "cloth" and rng.random() < 0.4:
        step = rng.uniform(0.5, 1.4)
        print_ = ((np.floor(x / step) + np.floor(y / step)) % 2 if rng.random() < 0.5
                  else np.floor(y / step) % 2)
        colour = colour * (1 - print_[:, None]) + np.clip(rng.random(3), 0.05, 0.95) * shade[:, None] * print_[:, None]
    return np.clip(colour, 0, 1).astype(np.float32)


def _loops(sheet: np.ndarray, puppet: Puppet, rig: Rig, rng: np.random.Generator) -> Prop:
    """Bands from the mask's upper and lower corners to the ears."""
    marks = puppet.vertices[rig.stage.landmarks]
    white = float(rng.uniform(0.75, 0.95)) if rng.random() < 0.7 else float(rng.uniform(0.05, 0.2))
    parts = []
    for side, column, ear in ((-1.0, 0, marks[0]), (1.0, -1, marks[16])):
        for row, height in ((1, 0.5), (-3, -2.0)):
            corner, end = sheet[row, column], ear + (side * 0.1, height, -1.0)
            middle = (corner + end) / 2 + (side * 0.2, 0, 0)
            parts.append(tube(curve([corner, middle, end], 8), 0.13, sides=5, flat=0.5))
    return prop("mask", parts, (white, white, white))
