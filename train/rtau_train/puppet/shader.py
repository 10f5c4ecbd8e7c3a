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
    x = min(max(x, np.float32(0.0)), np.float32(width - 1.001))
    y = min(max(y, np.float32(0.0)), np.float32(height - 1.001))
    left, top = int(x), int(y)
    return left, top, x - np.float32(left), y - np.float32(top)


@nb.njit(cache=True, fastmath=True, inline="always")
def _corners(x, y, width, height):
    """The upper left of four neighbouring pixels and the shares of the four, row by row."""
    left, top, fx, fy = _place(x, y, width, height)
    one = np.float32(1.0)
    return left, top, (one - fx) * (one - fy), fx * (one - fy), (one - fx) * fy, fx * fy


@nb.njit(cache=True, fastmath=True, inline="always")
def _mixed(image, left, top, q0, q1, q2, q3, k):
    return (q0 * image[top, left, k] + q1 * image[top, left + 1, k]
            + q2 * image[top + 1, left, k] + q3 * image[top + 1, left + 1, k])


@nb.njit(cache=True, fastmath=True, inline="always")
def _mixed_flat(image, left, top, q0, q1, q2, q3):
    return (q0 * image[top, left] + q1 * image[top, left + 1]
            + q2 * image[top + 1, left] + q3 * image[top + 1, left + 1])


@nb.njit(cache=True, fastmath=True, inline="always")
def _blend(values, a, b, c, w0, w1, w2, k):
    return w0 * values[a, k] + w1 * values[b, k] + w2 * values[c, k]


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
    one = np.float32(1.0)
    for y in range(height):
        for x in range(width):
            t = which[y, x]
            if t < 0:
                continue
            m = mesh_which[y, x]
            if m >= 0 and mesh_solid[m]:
                continue
            # Read once: a store into `colour` could, for all the compiler knows, change what is read.
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            w1, w2 = weights[y, x, 0], weights[y, x, 1]
            w0 = one - w1 - w2
            px = (w0 * values[a, 0] + w1 * values[b, 0] + w2 * values[c, 0] + np.float32(0.5)) * scale - np.float32(0.5)
            py = (w0 * values[a, 1] + w1 * values[b, 1] + w2 * values[c, 1] + np.float32(0.5)) * scale - np.float32(0.5)
            left, top, fx, fy = _place(px, py, photo.shape[1], photo.shape[0])
            q0, q1, q2, q3 = (one - fx) * (one - fy), fx * (one - fy), (one - fx) * fy, fx * fy
            share = _mixed(photo, left, top, q0, q1, q2, q3, 3) * np.float32(1 / 255)
            if share <= 0:
                continue
            red = _mixed(photo, left, top, q0, q1, q2, q3, 0) * (w0 * values[a, 2] + w1 * values[b, 2] + w2 * values[c, 2])
            green = _mixed(photo, left, top, q0, q1, q2, q3, 1) * (w0 * values[a, 3] + w1 * values[b, 3] + w2 * values[c, 3])
            blue = _mixed(photo, left, top, q0, q1, q2, q3, 2) * (w0 * values[a, 4] + w1 * values[b, 4] + w2 * values[c, 4])
            rest = one - share
            r, g, u, v = colour[y, x, 0], colour[y, x, 1], colour[y, x, 2], cover[y, x]
            colour[y, x, 0] = r * rest + red * share
            colour[y, x, 1] = g * rest + green * share
            colour[y, x, 2] = u * rest + blue * share
            cover[y, x] = v * rest + share


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
    one = np.float32(1.0)
    for y in range(height):
        for x in range(width):
            t = which[y, x]
            if t < 0:
                continue
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            w1, w2 = weights[y, x, 0], weights[y, x, 1]
            w0 = one - w1 - w2
            alpha = _blend(values, a, b, c, w0, w1, w2, ALPHA)
            if alpha <= 0:
                continue
            alpha = min(alpha, 1.0)
            alpha = alpha * alpha * (3 - 2 * alpha)
            red = green = blue = np.float32(1.0)
            what = kind[t]
            if what == SKIN:
                u = _blend(values, a, b, c, w0, w1, w2, U)
                v = _blend(values, a, b, c, w0, w1, w2, V)
                left, top, q0, q1, q2, q3 = _corners(u * side - 0.5, v * side - 0.5, side, side)
                red = _mixed(open_lids, left, top, q0, q1, q2, q3, 0)
                green = _mixed(open_lids, left, top, q0, q1, q2, q3, 1)
                blue = _mixed(open_lids, left, top, q0, q1, q2, q3, 2)
                shut = _blend(values, a, b, c, w0, w1, w2, LID)
                if shut > 0.003:
                    shut = min(shut, 1.0)
                    red += (_mixed(closed_lids, left, top, q0, q1, q2, q3, 0) - red) * shut
                    green += (_mixed(closed_lids, left, top, q0, q1, q2, q3, 1) - green) * shut
                    blue += (_mixed(closed_lids, left, top, q0, q1, q2, q3, 2) - blue) * shut
                if gained:
                    n = gain.shape[0]
                    left, top, q0, q1, q2, q3 = _corners(u * n - 0.5, v * n - 0.5, n, n)
                    red *= _mixed(gain, left, top, q0, q1, q2, q3, 0)
                    green *= _mixed(gain, left, top, q0, q1, q2, q3, 1)
                    blue *= _mixed(gain, left, top, q0, q1, q2, q3, 2)
                if painted:
                    n = paint.shape[0]
                    left, top, q0, q1, q2, q3 = _corners(u * n - 0.5, v * n - 0.5, n, n)
                    share = _mixed_flat(covering, left, top, q0, q1, q2, q3)
                    red += (255 * _mixed(paint, left, top, q0, q1, q2, q3, 0) - red) * share
                    green += (255 * _mixed(paint, left, top, q0, q1, q2, q3, 1) - green) * share
                    blue += (255 * _mixed(paint, left, top, q0, q1, q2, q3, 2) - blue) * share
                if creased:
                    n = crease.shape[0]
                    left, top, q0, q1, q2, q3 = _corners(u * n - 0.5, v * n - 0.5, n, n)
                    fold = _mixed_flat(crease, left, top, q0, q1, q2, q3)
                    fold = 1 + min(max(fold, DEEPEST), HIGHEST) * bare[top, left]
                    red *= fold
                    green *= fold
                    blue *= fold
            elif what == EYE:
                u = (_blend(values, a, b, c, w0, w1, w2, U) + 0.5) * eye_scale - 0.5
                v = (_blend(values, a, b, c, w0, w1, w2, V) + 0.5) * eye_scale - 0.5
                left, top, q0, q1, q2, q3 = _corners(u, v, eyes.shape[1], eyes.shape[0])
                red = _mixed(eyes, left, top, q0, q1, q2, q3, 0)
                green = _mixed(eyes, left, top, q0, q1, q2, q3, 1)
                blue = _mixed(eyes, left, top, q0, q1, q2, q3, 2)
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
            red *= _blend(values, a, b, c, w0, w1, w2, RED)
            green *= _blend(values, a, b, c, w0, w1, w2, RED + 1)
            blue *= _blend(values, a, b, c, w0, w1, w2, RED + 2)
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
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            w1, w2 = weights[y, x, 0], weights[y, x, 1]
            w0 = np.float32(1.0) - w1 - w2
            alpha = min(max(_blend(values, a, b, c, w0, w1, w2, 3), 0.0), 1.0)
            for k in range(3):
                colour[y, x, k] += (_blend(values, a, b, c, w0, w1, w2, k) - colour[y, x, k]) * alpha
            cover[y, x] += (1 - cover[y, x]) * alpha
            if on_face:
                hidden += alpha
            if alpha > 0.5:
                scene_depth[y, x] = depth[y, x]
    return hidden / max(face, 1)


@nb.njit(cache=True, fastmath=True)
def compose(colour, cover, fine, behind, out):
    """Average what is drawn and lay it over a background.

    Args:
        colour, cover: float32 [H * fine, W * fine, 3] (times coverage, 0..255) and [H * fine, W * fine].
        fine: drawn pixels per pixel and axis.
        behind: [H, W, 3] 0..255; out: uint8 [H, W, 3].
    """
    share = np.float32(1.0) / (fine * fine)
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            red = green = blue = covered = np.float32(0.0)
            for row in range(y * fine, (y + 1) * fine):
                for column in range(x * fine, (x + 1) * fine):
                    red += colour[row, column, 0]
                    green += colour[row, column, 1]
                    blue += colour[row, column, 2]
                    covered += cover[row, column]
            free = np.float32(1.0) - covered * share
            out[y, x, 0] = _byte(red * share + behind[y, x, 0] * free)
            out[y, x, 1] = _byte(green * share + behind[y, x, 1] * free)
            out[y, x, 2] = _byte(blue * share + behind[y, x, 2] * free)


@nb.njit(cache=True, fastmath=True, inline="always")
def _byte(value):
    return np.uint8(min(max(value + np.float32(0.5), np.float32(0.0)), np.float32(255.0)))
