"""`puppet/light.py` in torch, for many pictures at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..light import (
    AHEAD,
    BRIGHTEST,
    DARKEST,
    DIRECT,
    EVEN,
    GLOSS,
    SHADOW_BIAS,
    SHADOW_SIDE,
    SHEEN,
    UP,
    direction,
    throws_shadow,
)
from ..scene import Light
from .raster import rasterise


def studio(normals: Tensor) -> Tensor:
    """Brightness [N, V] that the portraits' own light gives to unit normals [N, V, 3] in head coordinates."""
    return EVEN + DIRECT * (normals[..., 1] * UP + normals[..., 2] * AHEAD).clamp(min=0)


def relight(normals: Tensor, rotation: Tensor, lights: Sequence[Light], lit: Tensor | None) -> Tensor:
    """Factor [N, V, 3] on the photographs' colour; `lit` [N, lamps, V], 0 dark .. 1. See `light.relight`."""
    device = normals.device
    most = max(len(light.lamps) for light in lights)
    lamps = np.zeros((len(lights), most, 9), np.float32)
    for row, light in zip(lamps, lights, strict=True):
        for lamp, values in zip(light.lamps, row, strict=False):
            towards = direction(lamp)
            half = towards + (0, 0, 1)
            values[:3], values[3:6] = towards, half / np.linalg.norm(half)
            values[6:] = lamp.strength * np.array(lamp.colour)
    tint = torch.tensor([[light.exposure * t for t in light.tint] for light in lights], device=device)
    ambient = torch.tensor([light.ambient for light in lights], device=device)
    own = studio(normals)
    total = (ambient[:, None] * own)[..., None].expand(-1, -1, 3)
    seen = normals @ rotation.mT
    table = torch.tensor(lamps, device=device)
    for k in range(most):
        direct = (seen * table[:, None, k, :3]).sum(2).clamp(min=0)
        sheen = (seen * table[:, None, k, 3:6]).sum(2).clamp(min=0)
        amount = direct + SHEEN * sheen**GLOSS
        if lit is not None:
            amount = amount * lit[:, k]
        total = total + amount[..., None] * table[:, None, k, 6:]
    factor = (total / own[..., None]).clamp(DARKEST, BRIGHTEST)
    plain = torch.tensor([not light.lamps and light.ambient == 1 for light in lights], device=device)
    return torch.where(plain[:, None, None], 1.0, factor) * tint[:, None]


def cast_shadows(camera: Tensor, triangles: Tensor, lights: Sequence[Light]) -> Tensor | None:
    """Which vertices of [N, V, 3] (camera coordinates) each lamp reaches: [N, lamps, V], or None without lamps."""
    most = max(len(light.lamps) for light in lights)
    if not most:
        return None
    count, vertices = camera.shape[:2]
    out = torch.ones((count, most, vertices), device=camera.device)
    pairs = [(i, k) for i, light in enumerate(lights) for k, lamp in enumerate(light.lamps) if throws_shadow(lamp)]
    if not pairs:
        return out
    rows = [i for i, _ in pairs]
    axes = []
    for i, k in pairs:
        towards = direction(lights[i].lamps[k])
        across = np.array([towards[2], 0, -towards[0]], np.float32) / np.hypot(towards[0], towards[2])
        axes.append(np.stack([across, np.cross(towards, across), towards], 1))
    placed = camera[rows] @ torch.tensor(np.array(axes, np.float32), device=camera.device)
    low, high = placed.amin(1), placed.amax(1)
    scale = (SHADOW_SIDE - 3) / (high - low)[:, :2].amax(1)
    flat = (placed[..., :2] - low[:, None, :2]) * scale[:, None, None] + 1
    placed = torch.cat([flat, placed[..., 2:]], 2)
    number = torch.arange(len(pairs), device=camera.device)
    moved = (triangles[None] + (number * vertices)[:, None, None]).reshape(-1, 3)
    depth, _, _ = rasterise(placed.reshape(-1, 3), moved, number.repeat_interleave(len(triangles)), len(pairs),
                            SHADOW_SIDE, SHADOW_SIDE)
    x, y = (placed[..., :2] + 0.5).int().long().unbind(2)
    near = placed[..., 2] + SHADOW_BIAS
    total = torch.zeros_like(near)
    for dx in (-1, 0, 1):
        for dy in (-1, 0, 1):
            at = depth[number[:, None], (y + dy).clamp(0, SHADOW_SIDE - 1), (x + dx).clamp(0, SHADOW_SIDE - 1)]
            total += at < near
    for pair, reached in zip(pairs, total / 9, strict=True):
        out[pair] = reached
    return out
