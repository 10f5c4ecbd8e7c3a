"""Pixels of a puppet: samples photographs and textures at rasterised places, one fused kernel."""

from __future__ import annotations

import numba as nb
import numpy as np

from .creases import DEEPEST, HIGHEST
from .rig import EYE, SKIN

#: Columns of the mesh's vertex values: place on its texture, light (RGB), opacity, how closed the lid is.
U, V, RED, ALPHA, LID = 0, 1, 2, 5, 6
MESH_VALUES = 7
#: Columns of a relief's vertex values: place in the photograph, light (RGB).
RELIEF_VALUES = 5
_SHADOW_STEPS = 4


@nb.njit(cache=True, fastmath=True, inline="always")
def _place(x, y, width, height):
    x = min(max(x, 0.0), width - 1.001)
    y = min(max(y, 0.0), height - 1.001)
    left, top = int(x), int(y)
    return left, top, x - left, y - top


@nb.njit(cache=True, fastmath=True, inline="always")
def _mixed(image, left, top, fx, fy, k):
    a = image[top, left, k] * (1 - fx) + image[top, left + 1, k] * fx
    b = image[top + 1, left, k] * (1 - fx) + image[top + 1, left + 1, k] * fx
    return a * (1 - fy) + b * fy


@nb.njit(cache=True, fastmath=True, inline="always")
def _blend(values, triangles, t, w1, w2, k):
    a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
    return (1 - w1 - w2) * values[a, k] + w1 * values[b, k] + w2 * values[c, k]


@nb.njit(cache=True, fastmath=True)
def shade_relief(which, weights, triangles, values, photo, scale, mesh_which, mesh_solid, colour, cover):
    """Lay a relief of the photograph over what is drawn, where the mesh won't hide it.

    Args:
        values: float32 [V, 5]; photo: uint8 [h, w, 4]; scale: photo pixels of this image per
            pixel of the places in `values`.
        mesh_which, mesh_solid: int32 [H, W] and bool [T], to skip what the mesh covers fully.
        colour, cover: float32 [H, W, 3] (times coverage, 0..255) and [H, W], changed in place.
    """
    height, width = which.shape
    for y in range(height):
        for x in range(width):
            t = which[y, x]
            if t < 0:
                continue
            m = mesh_which[y, x]
            if m >= 0 and mesh_solid[m]:
                continue
            w1, w2 = weights[y, x, 0], weights[y, x, 1]
            px = (_blend(values, triangles, t, w1, w2, 0) + 0.5) * scale - 0.5
            py = (_blend(values, triangles, t, w1, w2, 1) + 0.5) * scale - 0.5
            left, top, fx, fy = _place(px, py, photo.shape[1], photo.shape[0])
            share = _mixed(photo, left, top, fx, fy, 3) / 255.0
            if share <= 0:
                continue
            for k in range(3):
                own = _mixed(photo, left, top, fx, fy, k) * _blend(values, triangles, t, w1, w2, 2 + k)
                colour[y, x, k] = colour[y, x, k] * (1 - share) + own * share
            cover[y, x] = cover[y, x] * (1 - share) + share


@nb.njit(cache=True, fastmath=True)
def shade_mesh(which, weights, triangles, kind, values, open_lids, closed_lids, crease, bare, creased, gain, gained, paint,
               covering, painted, eyes, eye_scale, eye_shadow, reach, colour, cover):
    """Draw face, mouth and eyes over what is drawn.

    Args:
        values: float32 [V, 7], columns `U`..`LID`; the place of skin is 0..1 over the texture, of
            eyes in pixels of the strip `eyes`.
        open_lids, closed_lids: uint8 [T, T, 3]; eyes: uint8 [h, w, 3], `eye_scale` of its full size.
        crease, bare: float32 [S, S], their product is added to 1, used when `creased`; gain: float32 [N, N, 3] used when
            `gained`; paint, covering: float32 [N, N, 3] 0..1 and [N, N] used when `painted`.
        eye_shadow: 0..1, how much darker eyes are under the lid; reach: pixels of that shadow.
        colour, cover: changed in place.
    """
    height, width = which.shape
    side = open_lids.shape[0]
    for y in range(height):
        for x in range(width):
            t = which[y, x]
            if t < 0:
                continue
            w1, w2 = weights[y, x, 0], weights[y, x, 1]
            alpha = _blend(values, triangles, t, w1, w2, ALPHA)
            if alpha <= 0:
                continue
            alpha = min(alpha, 1.0)
            alpha = alpha * alpha * (3 - 2 * alpha)
            red = green = blue = np.float32(1.0)
            what = kind[t]
            if what == SKIN:
                u = _blend(values, triangles, t, w1, w2, U)
                v = _blend(values, triangles, t, w1, w2, V)
                left, top, fx, fy = _place(u * side - 0.5, v * side - 0.5, side, side)
                red = _mixed(open_lids, left, top, fx, fy, 0)
                green = _mixed(open_lids, left, top, fx, fy, 1)
                blue = _mixed(open_lids, left, top, fx, fy, 2)
                shut = _blend(values, triangles, t, w1, w2, LID)
                if shut > 0.003:
                    shut = min(shut, 1.0)
                    red += (_mixed(closed_lids, left, top, fx, fy, 0) - red) * shut
                    green += (_mixed(closed_lids, left, top, fx, fy, 1) - green) * shut
                    blue += (_mixed(closed_lids, left, top, fx, fy, 2) - blue) * shut
                if gained:
                    n = gain.shape[0]
                    left, top, fx, fy = _place(u * n - 0.5, v * n - 0.5, n, n)
                    red *= _mixed(gain, left, top, fx, fy, 0)
                    green *= _mixed(gain, left, top, fx, fy, 1)
                    blue *= _mixed(gain, left, top, fx, fy, 2)
                if painted:
                    n = paint.shape[0]
                    left, top, fx, fy = _place(u * n - 0.5, v * n - 0.5, n, n)
                    a = covering[top, left] * (1 - fx) + covering[top, left + 1] * fx
                    b = covering[top + 1, left] * (1 - fx) + covering[top + 1, left + 1] * fx
                    share = a * (1 - fy) + b * fy
                    red += (255 * _mixed(paint, left, top, fx, fy, 0) - red) * share
                    green += (255 * _mixed(paint, left, top, fx, fy, 1) - green) * share
                    blue += (255 * _mixed(paint, left, top, fx, fy, 2) - blue) * share
                if creased:
                    n = crease.shape[0]
                    left, top, fx, fy = _place(u * n - 0.5, v * n - 0.5, n, n)
                    a = crease[top, left] * (1 - fx) + crease[top, left + 1] * fx
                    b = crease[top + 1, left] * (1 - fx) + crease[top + 1, left + 1] * fx
                    fold = a * (1 - fy) + b * fy
                    fold = 1 + min(max(fold, DEEPEST), HIGHEST) * bare[top, left]
                    red *= fold
                    green *= fold
                    blue *= fold
            elif what == EYE:
                u = (_blend(values, triangles, t, w1, w2, U) + 0.5) * eye_scale - 0.5
                v = (_blend(values, triangles, t, w1, w2, V) + 0.5) * eye_scale - 0.5
                left, top, fx, fy = _place(u, v, eyes.shape[1], eyes.shape[0])
                red = _mixed(eyes, left, top, fx, fy, 0)
                green = _mixed(eyes, left, top, fx, fy, 1)
                blue = _mixed(eyes, left, top, fx, fy, 2)
                if eye_shadow > 0:
                    covered = 0
                    for k in range(1, _SHADOW_STEPS + 1):
                        above = int(y - reach * k / _SHADOW_STEPS)
                        if above >= 0 and which[above, x] >= 0 and kind[which[above, x]] == SKIN:
                            covered += 1
                    dark = 1 - 0.4 * eye_shadow * covered / _SHADOW_STEPS
                    red *= dark
                    green *= dark
                    blue *= dark
            red *= _blend(values, triangles, t, w1, w2, RED)
            green *= _blend(values, triangles, t, w1, w2, RED + 1)
            blue *= _blend(values, triangles, t, w1, w2, RED + 2)
            colour[y, x, 0] += (red - colour[y, x, 0]) * alpha
            colour[y, x, 1] += (green - colour[y, x, 1]) * alpha
            colour[y, x, 2] += (blue - colour[y, x, 2]) * alpha
            cover[y, x] += (1 - cover[y, x]) * alpha


@nb.njit(cache=True, fastmath=True)
def shade_prop(which, weights, depth, triangles, values, scene_depth, mesh_which, skin_triangles, colour, cover):
    """Draw a prop where it stands before the scene.

    Args:
        values: float32 [V, 4], RGB 0..255 under the light, and opacity.
        scene_depth: float32 [H, W], moved forward where the prop is mostly opaque.
        mesh_which, skin_triangles: to count the face's pixels that it hides.

    Returns:
        share of the face's pixels that it hides, weighted by its opacity.
    """
    height, width = which.shape
    hidden, face = 0.0, 0
    for y in range(height):
        for x in range(width):
            m = mesh_which[y, x]
            on_face = m >= 0 and m < skin_triangles
            if on_face:
                face += 1
            t = which[y, x]
            if t < 0 or depth[y, x] < scene_depth[y, x]:
                continue
            w1, w2 = weights[y, x, 0], weights[y, x, 1]
            alpha = min(max(_blend(values, triangles, t, w1, w2, 3), 0.0), 1.0)
            for k in range(3):
                colour[y, x, k] += (_blend(values, triangles, t, w1, w2, k) - colour[y, x, k]) * alpha
            cover[y, x] += (1 - cover[y, x]) * alpha
            if on_face:
                hidden += alpha
            if alpha > 0.5:
                scene_depth[y, x] = depth[y, x]
    return hidden / max(face, 1)


@nb.njit(cache=True, fastmath=True)
def compose(colour, cover, behind, out):
    """Lay the drawn over a background: colour float32 [H, W, 3] (times coverage, 0..255), cover float32 [H, W],
    behind [H, W, 3] 0..255, out uint8 [H, W, 3]."""
    for y in range(cover.shape[0]):
        for x in range(cover.shape[1]):
            free = 1 - cover[y, x]
            for k in range(3):
                value = colour[y, x, k] + behind[y, x, k] * free + np.float32(0.5)
                out[y, x, k] = np.uint8(min(max(value, np.float32(0.0)), np.float32(255.0)))
