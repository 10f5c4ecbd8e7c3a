"""Spectacles and sunglasses, made to measure."""

from __future__ import annotations

import numpy as np

from .puppet import Puppet
from .rig import Rig
from .scene import Prop
from .wear import ball, curve, grid, prop, tube

_POINTS = 40  # of a rim
#: Superellipse exponents and width over height of the usual shapes.
_SHAPES = {"round": (2.0, 1.05), "oval": (2.1, 1.4), "rectangle": (4.0, 1.55), "square": (3.2, 1.2),
           "aviator": (2.4, 1.15), "cat-eye": (2.6, 1.4)}
_FRAMES = ((0.03, 0.03, 0.035), (0.10, 0.06, 0.04), (0.28, 0.16, 0.08), (0.55, 0.55, 0.56), (0.66, 0.55, 0.30),
           (0.08, 0.10, 0.22), (0.45, 0.08, 0.10), (0.80, 0.78, 0.75))


def glasses(puppet: Puppet, rig: Rig, rng: np.random.Generator, *, dark: bool = False) -> tuple[Prop, ...]:
    """A frame that sits on this person's nose and ears, with its lenses.

    Args:
        dark: sunglasses.

    Returns:
        the frame, then lenses and reflections, all named "glasses" or "sunglasses".
    """
    marks = puppet.vertices[rig.stage.landmarks]
    eyes = np.stack([marks[36:42].mean(0), marks[42:48].mean(0)])  # subject's right first, x < 0
    name = "sunglasses" if dark else "glasses"
    kind = str(rng.choice(list(_SHAPES)))
    power, ratio = _SHAPES[kind]
    half_width = rng.uniform(2.2, 2.9) + (0.3 if dark else 0.0)
    half_height = half_width / ratio * rng.uniform(0.92, 1.08)
    front = marks[27, 2] + rng.uniform(0.25, 0.6)  # before the root of the nose and the lashes
    low = rng.uniform(-0.6, -0.1) - (0.25 if rng.random() < 0.15 else 0.0)  # some slide down
    gap = np.abs(eyes[:, 0]).mean() + rng.uniform(-0.1, 0.25)
    height = eyes[:, 1].mean() + low
    curvature = rng.uniform(0.05, 0.14)

    frame = np.array(_FRAMES[rng.integers(len(_FRAMES))]) * rng.uniform(0.8, 1.15)
    thick = 0.06 if rng.random() < 0.4 else rng.uniform(0.09, 0.28)
    rimless = not dark and rng.random() < 0.12
    parts, lenses, shines = [], [], []
    turn = np.linspace(0, 2 * np.pi, _POINTS, endpoint=False)
    rims = []
    for side in (-1.0, 1.0):
        x, y = (np.sign(f) * np.abs(f) ** (2 / power) for f in (np.cos(turn), np.sin(turn)))
        if kind == "aviator":
            y = np.where(y < 0, y * (1.12 - 0.25 * x), y * 0.9)
        if kind == "cat-eye":
            y = y + 0.28 * np.clip(x, 0, 1) * (y > -0.2)
        x = side * (gap + x * half_width)
        y = height + y * half_height
        rim = np.stack([x, y, front - curvature * (np.abs(x) - 1.0) ** 2 * 0.45], -1)
        rims.append(rim)
        if not rimless:
            parts.append(tube(rim, thick * 0.5, sides=5, closed=True, flat=1.4))
        lenses.append(_lens(rim))
        shines.append(rim)
    inner = [rim[np.argmin(np.abs(rim[:, 0]) + 0.3 * np.abs(rim[:, 1] - height - 0.4 * half_height))] for rim in rims]
    bridge = [inner[0], (inner[0] + inner[1]) / 2 + (0, 0.25, 0.25), inner[1]]
    parts.append(tube(curve(bridge, 8), max(thick * 0.45, 0.06), sides=5))
    for side, rim in zip((-1.0, 1.0), rims, strict=True):
        outer = rim[np.argmax(side * rim[:, 0] + 0.25 * rim[:, 1])]
        ear = marks[0 if side < 0 else 16]
        temple = [outer, outer + (side * 0.35, 0.05, -0.8),
                  (side * (abs(ear[0]) + 0.2), outer[1] + 0.1, (outer[2] + ear[2]) / 2),
                  (side * (abs(ear[0]) + 0.15), max(ear[1], outer[1] - 0.6), ear[2] - 1.2)]
        parts.append(tube(curve(temple, 12), max(thick * 0.45, 0.08), sides=5, flat=0.6))
        if thick < 0.1:
            pad = np.array([side * (abs(inner[0][0]) - 0.1), height - 0.3 * half_height, front - 0.5])
            parts.append(ball(pad, (0.12, 0.3, 0.12), rings=5, sides=6))
    glass = _glass(rng, dark)
    out = [prop(name, parts, frame), prop(name, lenses, *glass)]
    return (*out, *_reflections(name, rims, rng, dark))


def _lens(rim: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    middle = rim.mean(0)
    vertices = np.vstack([middle + (rim - middle) * s for s in (1.0, 0.7, 0.4)] + [middle])
    count = len(rim)
    triangles = []
    for ring in range(2):
        a, b = np.arange(count) + ring * count, np.roll(np.arange(count), -1) + ring * count
        triangles += [np.stack([a, b, a + count], -1), np.stack([b, b + count, a + count], -1)]
    a = np.arange(count) + 2 * count
    triangles.append(np.stack([a, np.roll(a, -1), np.full(count, 3 * count)], -1))
    return vertices, np.concatenate(triangles)


def _glass(rng: np.random.Generator, dark: bool) -> tuple[np.ndarray, np.ndarray]:
    """Colour and opacity of both lenses' vertices."""
    count = 2 * (3 * _POINTS + 1)
    if not dark:
        return np.broadcast_to(np.clip(0.75 + rng.normal(0, 0.15, 3), 0, 1), (count, 3)), \
            np.full(count, rng.uniform(0.0, 0.10))
    tint = np.clip(np.array([0.05, 0.05, 0.055]) + rng.uniform(0, 0.08, 3), 0, 1)
    return np.broadcast_to(tint, (count, 3)), np.full(count, rng.uniform(0.75, 0.98))


def _reflections(name: str, rims: list[np.ndarray], rng: np.random.Generator, dark: bool) -> list[Prop]:
    """Windows and screens mirrored in the lenses: soft bright patches at the same place in both."""
    if rng.random() > (0.7 if dark else 0.55):
        return []
    columns, rows = 9, 7
    width, tall = rng.uniform(0.25, 1.0), rng.uniform(0.25, 0.9)
    where, slant = rng.uniform(-0.5, 0.5, 2), rng.uniform(-0.6, 0.6)
    colour = np.clip(np.array([0.9, 0.93, 1.0]) + rng.normal(0, 0.08, 3), 0, 1)
    strength = rng.uniform(0.1, 0.75)
    x, y = np.meshgrid(np.linspace(-1, 1, columns), np.linspace(-1, 1, rows))
    soft = np.clip(1.6 * (1 - np.abs(x)), 0, 1) * np.clip(1.6 * (1 - np.abs(y)), 0, 1)
    out = []
    for rim in rims:
        middle, half = rim.mean(0), np.ptp(rim, axis=0) / 2
        px = np.clip(where[0] + width * 0.5 * (x + slant * y), -0.82, 0.82)
        py = np.clip(where[1] + tall * 0.5 * y, -0.82, 0.82)
        inside = np.clip(1.25 - np.hypot(px, py), 0, 1)
        vertices = np.stack([middle[0] + px * half[0], middle[1] + py * half[1], np.full_like(px, rim[:, 2].max() + 0.02)], -1)
        vertices[..., 2] -= 0.08 * np.abs(px)
        out.append(prop(name, [(vertices.reshape(-1, 3), grid(rows, columns))], colour,
                        (strength * soft * np.clip(inside * 2, 0, 1)).ravel(), shaded=False))
    return out
