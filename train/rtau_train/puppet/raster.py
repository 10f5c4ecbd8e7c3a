"""Triangles to pixels on a CPU: compiled kernels, one thread, the same bytes every time."""

from __future__ import annotations

import numba as nb
import numpy as np

FAR = -1e9


@nb.njit(cache=True, fastmath=True)
def _rasterise(placed, triangles, cull, depth, which, weights):
    height, width = depth.shape
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0, x1, y1, x2, y2 = placed[a, 0], placed[a, 1], placed[b, 0], placed[b, 1], placed[c, 0], placed[c, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-9 or (cull and area > 0):
            continue
        left = max(int(np.ceil(min(x0, x1, x2))), 0)
        right = min(int(np.floor(max(x0, x1, x2))), width - 1)
        if left > right:
            continue
        top = max(int(np.ceil(min(y0, y1, y2))), 0)
        bottom = min(int(np.floor(max(y0, y1, y2))), height - 1)
        if top > bottom:
            continue
        inverse = np.float32(1.0) / area
        z0, z1, z2 = placed[a, 2], placed[b, 2] - placed[a, 2], placed[c, 2] - placed[a, 2]
        # Weights are linear in x and y: a step to the right adds a constant.
        step1, step2 = (y2 - y0) * inverse, -(y1 - y0) * inverse
        for y in range(top, bottom + 1):
            w1 = ((left - x0) * (y2 - y0) - (x2 - x0) * (y - y0)) * inverse
            w2 = ((x1 - x0) * (y - y0) - (left - x0) * (y1 - y0)) * inverse
            for x in range(left, right + 1):
                if w1 >= -1e-5 and w2 >= -1e-5 and w1 + w2 <= 1.00001:
                    z = z0 + w1 * z1 + w2 * z2
                    if z > depth[y, x]:
                        depth[y, x] = z
                        which[y, x] = t
                        weights[y, x, 0] = w1
                        weights[y, x, 1] = w2
                w1 += step1
                w2 += step2


@nb.njit(cache=True, fastmath=True)
def _interpolate(which, weights, triangles, values, out):
    height, width = which.shape
    for y in range(height):
        for x in range(width):
            t = which[y, x]
            if t < 0:
                continue
            w1, w2 = weights[y, x, 0], weights[y, x, 1]
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            for k in range(values.shape[1]):
                out[y, x, k] = (1 - w1 - w2) * values[a, k] + w1 * values[b, k] + w2 * values[c, k]


@nb.njit(cache=True, fastmath=True)
def _vertex_normals(vertices, triangles, normals):
    normals[:] = 0
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        e0, e1, e2 = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        f0, f1, f2 = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        n0, n1, n2 = e1 * f2 - e2 * f1, e2 * f0 - e0 * f2, e0 * f1 - e1 * f0
        for k in (a, b, c):
            normals[k, 0] += n0
            normals[k, 1] += n1
            normals[k, 2] += n2
    _normalise(normals)


@nb.njit(cache=True, fastmath=True)
def _normalise(normals):
    for i in range(normals.shape[0]):
        length = np.sqrt(normals[i, 0] ** 2 + normals[i, 1] ** 2 + normals[i, 2] ** 2) + 1e-12
        for k in range(3):
            normals[i, k] /= length


@nb.njit(cache=True, fastmath=True)
def _smooth(values, first, neighbour, rounds):
    count = values.shape[0]
    other = np.empty_like(values)
    for _ in range(rounds):
        for i in range(count):
            x, y, z = values[i, 0], values[i, 1], values[i, 2]
            for e in range(first[i], first[i + 1]):
                n = neighbour[e]
                x += values[n, 0]
                y += values[n, 1]
                z += values[n, 2]
            share = np.float32(1.0) / np.float32(1 + first[i + 1] - first[i])
            other[i, 0], other[i, 1], other[i, 2] = x * share, y * share, z * share
        values, other = other, values
    return values


@nb.njit(cache=True, fastmath=True)
def _follow(vertices, motion, leaders, shares, out):
    for i in range(vertices.shape[0]):
        for k in range(3):
            out[i, k] = vertices[i, k]
        for j in range(leaders.shape[1]):
            leader, share = leaders[i, j], shares[i, j]
            for k in range(3):
                out[i, k] += motion[leader, k] * share


@nb.njit(cache=True, fastmath=True)
def _move(start, moved, delta, weights, out):
    for s in range(weights.shape[0]):
        w = weights[s]
        if w == 0:
            continue
        for e in range(start[s], start[s + 1]):
            v = moved[e]
            for k in range(3):
                out[v, k] += w * delta[e, k]


def move(shapes: tuple[np.ndarray, np.ndarray, np.ndarray], weights: np.ndarray, count: int) -> np.ndarray:
    """Motion float32 [count, 3] of vertices under weights [K] of sparse shapes (as in `rig.Stage`)."""
    out = np.zeros((count, 3), np.float32)
    _move(*shapes, np.asarray(weights, np.float32), out)
    return out


def follow(vertices: np.ndarray, motion: np.ndarray, leaders: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Vertices [V, 3] moved by their leaders' motion [N, 3], weighted: float32 [V, 3]."""
    out = np.empty_like(vertices)
    _follow(vertices, motion, leaders, shares, out)
    return out


def rasterise(placed: np.ndarray, triangles: np.ndarray, height: int, width: int, *, cull: bool = False
              ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the nearest triangle of every pixel.

    Args:
        placed: float32 [V, 3], x and y in pixels (centres at integers), z greater is nearer.
        triangles: int32 [T, 3].
        cull: leave out triangles that show their back (the rig's run counter-clockwise, y up).

    Returns:
        depth float32 [H, W] (`FAR` where nothing is), triangle int32 [H, W] (-1 where nothing is),
        weights float32 [H, W, 2] of the second and third corner.
    """
    depth = np.full((height, width), FAR, np.float32)
    which = np.full((height, width), -1, np.int32)
    weights = np.empty((height, width, 2), np.float32)
    _rasterise(np.ascontiguousarray(placed, np.float32), triangles, cull, depth, which, weights)
    return depth, which, weights


def interpolate(which: np.ndarray, weights: np.ndarray, triangles: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Vertex values [V, K] at every pixel: float32 [H, W, K], 0 where no triangle is."""
    out = np.zeros((*which.shape, values.shape[1]), np.float32)
    _interpolate(which, weights, np.ascontiguousarray(triangles, np.int32), np.ascontiguousarray(values, np.float32),
                 out)
    return out


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals, float32 [V, 3]."""
    normals = np.zeros((len(vertices), 3), np.float32)
    _vertex_normals(np.ascontiguousarray(vertices, np.float32), triangles, normals)
    return normals


def unit(vectors: np.ndarray) -> np.ndarray:
    """The vectors float32 [N, 3] at length 1, changed in place."""
    _normalise(vectors)
    return vectors


def smooth(values: np.ndarray, neighbours: tuple[np.ndarray, np.ndarray], rounds: int) -> np.ndarray:
    """Average each vertex's values [V, K], K at most 3, with its neighbours', some rounds; `neighbours` as in `rig.Stage`."""
    columns = values.shape[1]
    padded = np.zeros((len(values), 3), np.float32)
    padded[:, :columns] = values
    out = _smooth(padded, *neighbours, rounds)
    return out if columns == 3 else out[:, :columns]
