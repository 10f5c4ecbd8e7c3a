"""How lamps change a portrait: per vertex, as a factor on the light that the photograph already holds."""

from __future__ import annotations

import numba as nb
import numpy as np

from .raster import rasterise
from .scene import Lamp, Light

#: A studio's soft light from a little above the camera: an even part, and a part from one direction.
EVEN, DIRECT = 0.55, 0.45
UP, AHEAD = 0.35 / float(np.hypot(0.35, 1)), 1 / float(np.hypot(0.35, 1))
DARKEST, BRIGHTEST = 0.12, 1.9
SHADOW_SIDE = 128
SHADOW_BIAS = 0.35  # cm
SHEEN, GLOSS = 0.10, 18


def studio(normals: np.ndarray) -> np.ndarray:
    """Brightness [V] that the portrait's own light gives to unit normals [V, 3] in head coordinates."""
    return EVEN + DIRECT * np.clip(normals[:, 1] * np.float32(UP) + normals[:, 2] * np.float32(AHEAD), 0, None)


def direction(lamp: Lamp) -> np.ndarray:
    """Unit vector towards a lamp in camera coordinates (x right, y up, z to the camera)."""
    a, e = np.radians([lamp.azimuth, lamp.elevation])
    return np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)], np.float32)


def relight(normals: np.ndarray, rotation: np.ndarray, light: Light, shadows: np.ndarray | None = None
            ) -> np.ndarray:
    """Factor on the photograph's colour.

    Args:
        normals: float32 [V, 3], unit, head coordinates.
        rotation: [3, 3], head to camera.
        shadows: float32 [lamps, V], 0 dark .. 1 lit.

    Returns:
        float32 [V, 3], RGB; exactly exposure x tint when there are no lamps and full room light.
    """
    tint = np.float32(light.exposure) * np.array(light.tint, np.float32)
    out = np.empty((len(normals), 3), np.float32)
    if not light.lamps and light.ambient == 1:
        out[:] = tint
        return out
    lamps = np.zeros((len(light.lamps), 9), np.float32)
    for row, lamp in zip(lamps, light.lamps, strict=True):
        # Turned into head coordinates, where the normals are.
        towards = direction(lamp)
        half = towards + (0, 0, 1)
        row[:3], row[3:6] = rotation.T @ towards, rotation.T @ (half / np.linalg.norm(half))
        row[6:] = lamp.strength * np.array(lamp.colour)
    lit = np.ones((len(lamps), len(normals)), np.float32) if shadows is None else np.ascontiguousarray(shadows, np.float32)
    _relight(np.ascontiguousarray(normals, np.float32), np.float32(light.ambient), lamps, lit, tint, out)
    return out


@nb.njit(cache=True, fastmath=True)
def _relight(normals, ambient, lamps, lit, tint, out):
    for i in range(normals.shape[0]):
        x, y, z = normals[i, 0], normals[i, 1], normals[i, 2]
        own = EVEN + DIRECT * max(y * UP + z * AHEAD, 0.0)
        red = green = blue = ambient * own
        for k in range(lamps.shape[0]):
            amount = max(x * lamps[k, 0] + y * lamps[k, 1] + z * lamps[k, 2], 0.0)
            sheen = max(x * lamps[k, 3] + y * lamps[k, 4] + z * lamps[k, 5], 0.0)
            amount = (amount + SHEEN * sheen**GLOSS) * lit[k, i]
            red += amount * lamps[k, 6]
            green += amount * lamps[k, 7]
            blue += amount * lamps[k, 8]
        out[i, 0] = min(max(red / own, DARKEST), BRIGHTEST) * tint[0]
        out[i, 1] = min(max(green / own, DARKEST), BRIGHTEST) * tint[1]
        out[i, 2] = min(max(blue / own, DARKEST), BRIGHTEST) * tint[2]


@nb.njit(cache=True, fastmath=True)
def shade_folds(normals, at_rest, eased, shut, side, light, gain, darkest, brightest, values):
    """Light on a moving face: what the lamps give, times how the portrait's own light changes where skin turns.

    Args:
        normals: float32 [S, 3], unit; at_rest: float32 [S], `studio` of the face at rest.
        eased: float32 [S], 0..1, how much less folds show where lids are shut; shut: [2]; side: [S], 0 or 1.
        light: float32 [S, 3]; gain, darkest, brightest: see `look.Fold`.
        values: float32 [V, >= 5]; columns 2 to 4 of the first S rows are written.
    """
    for i in range(normals.shape[0]):
        own = EVEN + DIRECT * max(normals[i, 1] * UP + normals[i, 2] * AHEAD, 0.0)
        fold = (own / at_rest[i]) ** (gain * (1 - eased[i] * shut[side[i]]))
        fold = min(max(fold, darkest), brightest)
        for k in range(3):
            values[i, 2 + k] = fold * light[i, k]


def throws_shadow(lamp: Lamp) -> bool:
    """Shadows of a lamp next to the camera lie behind what casts them; a weak one's are not seen."""
    return lamp.strength >= 0.05 and direction(lamp)[2] <= 0.97


def cast_shadows(camera: np.ndarray, triangles: np.ndarray, light: Light, count: int) -> np.ndarray:
    """Which of the first `count` vertices each lamp reaches.

    Args:
        camera: float32 [V, 3], camera coordinates, cm.
        triangles: int32 [T, 3] of what casts shadows.

    Returns:
        float32 [lamps, count], 0..1.
    """
    out = np.ones((len(light.lamps), count), np.float32)
    for row, lamp in zip(out, light.lamps, strict=True):
        if not throws_shadow(lamp):
            continue
        towards = direction(lamp)
        across = np.array([towards[2], 0, -towards[0]], np.float32) / np.hypot(towards[0], towards[2])
        axes = np.stack([across, np.cross(towards, across), towards], 1).astype(np.float32)
        placed = camera @ axes
        low, high = placed.min(0), placed.max(0)
        scale = np.float32((SHADOW_SIDE - 3) / float((high - low)[:2].max()))
        placed[:, :2] = (placed[:, :2] - low[:2]) * scale + 1
        depth, _, _ = rasterise(placed, triangles, SHADOW_SIDE, SHADOW_SIDE)
        _reach(placed, depth, row)
    return out


@nb.njit(cache=True, fastmath=True)
def _reach(placed, depth, out):
    """Share of the texels about each vertex that nothing nearer to the lamp covers."""
    side = depth.shape[0]
    for i in range(out.shape[0]):
        x, y, z = int(placed[i, 0] + 0.5), int(placed[i, 1] + 0.5), placed[i, 2] + SHADOW_BIAS
        total = 0
        for dx in range(-1, 2):
            for dy in range(-1, 2):
                front = depth[min(max(y + dy, 0), side - 1), min(max(x + dx, 0), side - 1)]
                if front < z:
                    total += 1
        out[i] = total / np.float32(9.0)
