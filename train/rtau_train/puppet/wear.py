"""Meshes that props are made of: tubes, sheets, balls and ribbons, in head coordinates (cm)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .scene import Prop


def prop(name: str, parts: Sequence[tuple[np.ndarray, np.ndarray]], colour: Sequence[float] | np.ndarray,
         alpha: float | np.ndarray = 1.0, *, shaded: bool = True) -> Prop:
    """One prop of several meshes (vertices [V, 3], triangles [T, 3]), of one colour (RGB 0..1) or one for each vertex."""
    vertices, triangles = join(parts)
    count = len(vertices)
    return Prop(name, vertices, triangles, np.broadcast_to(np.asarray(colour, np.float32), (count, 3)).copy(),
                np.broadcast_to(np.asarray(alpha, np.float32), (count,)).copy(), shaded)


def join(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Several meshes as one."""
    offsets = np.cumsum([0, *(len(v) for v, _ in parts)])
    return (np.concatenate([v for v, _ in parts]).astype(np.float32),
            np.concatenate([t + o for (_, t), o in zip(parts, offsets[:-1], strict=True)]).astype(np.int32))


def grid(rows: int, columns: int, *, closed: bool = False) -> np.ndarray:
    """Triangles [T, 3] of a sheet of vertices, row by row; `closed` joins the last column to the first."""
    index = np.arange(rows * columns).reshape(rows, columns)
    if closed:
        index = np.concatenate([index, index[:, :1]], 1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    return np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)])


def tube(line: np.ndarray, radius: float | np.ndarray, *, sides: int = 6, closed: bool = False, flat: float = 1.0
         ) -> tuple[np.ndarray, np.ndarray]:
    """A tube along a line [K, 3]; `radius` may vary along it, `flat` squeezes it in depth."""
    line = np.asarray(line, np.float64)
    ahead = np.roll(line, -1, 0) - np.roll(line, 1, 0) if closed else np.gradient(line, axis=0)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True) + 1e-9
    # A fixed direction far from the line's own keeps the tube from twisting.
    up = np.array([0, 0, 1.0]) if abs(ahead[:, 2]).mean() < 0.8 else np.array([0, 1.0, 0])
    side = np.cross(ahead, up)
    side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-9
    over = np.cross(side, ahead)
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = side[:, None] * np.cos(turn)[:, None] + flat * over[:, None] * np.sin(turn)[:, None]
    vertices = line[:, None] + ring * np.broadcast_to(np.asarray(radius, np.float64), (len(line),))[:, None, None]
    triangles = grid(len(line) + closed, sides, closed=True) % (len(line) * sides)
    return vertices.reshape(-1, 3), triangles


def ball(centre: np.ndarray, radii: Sequence[float], *, rings: int = 7, sides: int = 10,
         axes: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """An ellipsoid; `axes` [3, 3] are its directions as rows."""
    polar, around = np.linspace(0, np.pi, rings), np.linspace(0, 2 * np.pi, sides, endpoint=False)
    unit = np.stack([np.outer(np.sin(polar), np.cos(around)), np.outer(np.cos(polar), np.ones(sides)),
                     np.outer(np.sin(polar), np.sin(around))], -1)
    shaped = unit * np.asarray(radii)
    if axes is not None:
        shaped = shaped @ axes
    return (shaped + centre).reshape(-1, 3), grid(rings, sides, closed=True)


def ribbon(line: np.ndarray, width: np.ndarray, across: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A flat band along a line [K, 3], `width` [K] cm, spread along `across` [3] or [K, 3]; three vertices wide."""
    line, across = np.asarray(line, np.float64), np.broadcast_to(across, np.shape(line))
    offsets = np.array([-0.5, 0.0, 0.5])
    vertices = line[:, None] + offsets[None, :, None] * width[:, None, None] * across[:, None]
    return vertices.reshape(-1, 3), grid(len(line), 3)


def curve(points: Sequence[Sequence[float]], count: int) -> np.ndarray:
    """A smooth line [count, 3] through points (Catmull-Rom)."""
    p = np.asarray(points, np.float64)
    p = np.vstack([2 * p[0] - p[1], p, 2 * p[-1] - p[-2]])
    t = np.linspace(0, len(p) - 3 - 1e-9, count)
    i = t.astype(int)
    f = (t - i)[:, None]
    a, b, c, d = p[i], p[i + 1], p[i + 2], p[i + 3]
    return 0.5 * (2 * b + (c - a) * f + (2 * a - 5 * b + 4 * c - d) * f**2 + (3 * b - a - 3 * c + d) * f**3)
