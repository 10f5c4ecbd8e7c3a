"""How lamps change a portrait: per vertex, as a factor on the light that the photograph already holds."""

from __future__ import annotations

import numpy as np

from .raster import FAR, rasterise
from .scene import Lamp, Light

#: A studio's soft light from a little above the camera: an even part, and a part from one direction.
_EVEN, _DIRECT = 0.55, 0.45
_FROM = np.array([0, 0.35, 1.0], np.float32) / np.float32(np.hypot(0.35, 1))
_DARKEST, _BRIGHTEST = 0.12, 1.9
_SHADOW_SIDE = 128
_SHADOW_BIAS = 0.35  # cm
_SHEEN, _GLOSS = 0.10, 18


def studio(normals: np.ndarray) -> np.ndarray:
    """Brightness [V] that the portrait's own light gives to unit normals [V, 3] in head coordinates."""
    return _EVEN + _DIRECT * np.clip(normals @ _FROM, 0, None)


def direction(lamp: Lamp) -> np.ndarray:
    """Unit vector towards a lamp in camera coordinates (x right, y up, z to the camera)."""
    a, e = np.radians([lamp.azimuth, lamp.elevation])
    return np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)], np.float32)


def relight(normals: np.ndarray, rotation: np.ndarray, light: Light, shadows: list[np.ndarray] | None = None
            ) -> np.ndarray:
    """Factor on the photograph's colour.

    Args:
        normals: float32 [V, 3], unit, head coordinates.
        rotation: [3, 3], head to camera.
        shadows: per lamp, float32 [V], 0 dark .. 1 lit.

    Returns:
        float32 [V, 3], RGB; exactly exposure x tint when there are no lamps and full room light.
    """
    tint = np.float32(light.exposure) * np.array(light.tint, np.float32)
    if not light.lamps and light.ambient == 1:
        return np.broadcast_to(tint, (len(normals), 3))
    own = studio(normals)
    total = np.repeat((light.ambient * own)[:, None], 3, 1)
    seen = normals @ rotation.T.astype(np.float32)
    for i, lamp in enumerate(light.lamps):
        towards = direction(lamp)
        lit = np.clip(seen @ towards, 0, None)
        half = towards + (0, 0, 1)
        sheen = _SHEEN * np.clip(seen @ (half / np.linalg.norm(half)).astype(np.float32), 0, None) ** _GLOSS
        amount = lamp.strength * (lit + sheen)
        if shadows is not None:
            amount = amount * shadows[i]
        total += amount[:, None] * np.array(lamp.colour, np.float32)
    return (np.clip(total / own[:, None], _DARKEST, _BRIGHTEST) * tint).astype(np.float32)


def cast_shadows(camera: np.ndarray, triangles: np.ndarray, light: Light, count: int) -> list[np.ndarray]:
    """Which of the first `count` vertices each lamp reaches.

    Args:
        camera: float32 [V, 3], camera coordinates, cm.
        triangles: int32 [T, 3] of what casts shadows.

    Returns:
        per lamp float32 [count], 0..1.
    """
    out = []
    for lamp in light.lamps:
        towards = direction(lamp)
        if towards[2] > 0.97 or lamp.strength < 0.05:  # next to the camera: its shadows lie behind what casts them
            out.append(np.ones(count, np.float32))
            continue
        across = np.cross((0, 1, 0), towards)
        across /= np.linalg.norm(across)
        axes = np.stack([across, np.cross(towards, across), towards]).astype(np.float32)
        seen = camera @ axes.T
        low, high = seen[:, :2].min(0), seen[:, :2].max(0)
        scale = (_SHADOW_SIDE - 3) / float((high - low).max())
        placed = np.c_[(seen[:, :2] - low) * scale + 1, seen[:, 2]].astype(np.float32)
        depth, _, _ = rasterise(placed, triangles, _SHADOW_SIDE, _SHADOW_SIDE)
        out.append(_reached(placed[:count], depth))
    return out


def _reached(placed: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Share of a few texels about each vertex that nothing nearer to the lamp covers."""
    total = np.zeros(len(placed), np.float32)
    offsets = ((0, 0), (1.5, 0), (-1.5, 0), (0, 1.5), (0, -1.5))
    for dx, dy in offsets:
        x = np.clip(np.round(placed[:, 0] + dx).astype(int), 0, _SHADOW_SIDE - 1)
        y = np.clip(np.round(placed[:, 1] + dy).astype(int), 0, _SHADOW_SIDE - 1)
        front = depth[y, x]
        total += (front <= FAR / 2) | (placed[:, 2] > front - _SHADOW_BIAS)
    return total / len(offsets)
