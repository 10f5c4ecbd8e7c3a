"""Triangles of many pictures to pixels in torch: the drawing of `raster.py` and `shader.py`, on any device.

Meshes of a batch lie one after the other; each triangle knows its picture. Nothing depends on
the order in which a device works: the nearest triangle wins, and of equals the first.
"""

from __future__ import annotations

import torch
from torch import Tensor

FAR = -1e9
_FINENESS = 1 << 16  # depth steps per cm
_CANDIDATES = 1 << 22  # pixels tried at a time, which bounds memory
_WINDOWS = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


def rasterise(placed: Tensor, triangles: Tensor, picture: Tensor, count: int, height: int, width: int, *,
              cull: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Find the nearest triangle of every pixel of every picture.

    Args:
        placed: float32 [V, 3], x and y in pixels, z greater is nearer; triangles: int64 [T, 3];
        picture: int64 [T], the picture each triangle is in; count: pictures.

    Returns:
        depth float32 [count, H, W] (`FAR` where nothing is), triangle int64 (-1 where nothing is),
        weights float32 [count, H, W, 2] of the second and third corner.
    """
    device, total = placed.device, len(triangles)
    keys = torch.full((count * height * width,), -1, dtype=torch.int64, device=device)
    corner = placed[triangles]
    x, y, z = corner.unbind(-1)
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    left, right = x.amin(1).ceil().clamp(min=0), x.amax(1).floor().clamp(max=width - 1)
    top, bottom = y.amin(1).ceil().clamp(min=0), y.amax(1).floor().clamp(max=height - 1)
    drawn = (area.abs() >= 1e-9) & (left <= right) & (top <= bottom)
    if cull:
        drawn &= area < 0
    span = torch.maximum(right - left, bottom - top) + 1
    low = 0
    for window in _WINDOWS:
        rows = torch.nonzero(drawn & (span > low) & (span <= window)).squeeze(1)
        low = window
        step = max(_CANDIDATES // window**2, 1)
        across = torch.arange(window, device=device)
        for first in range(0, len(rows), step):
            t = rows[first:first + step]
            px = (left[t, None] + across)[:, None, :].expand(-1, window, -1)
            py = (top[t, None] + across)[:, :, None].expand(-1, -1, window)
            w1, w2 = _weights(x[t], y[t], area[t], px, py)
            inside = (w1 >= -1e-5) & (w2 >= -1e-5) & (w1 + w2 <= 1.00001)
            inside &= (px <= right[t, None, None]) & (py <= bottom[t, None, None])
            zt = z[t, :, None, None]
            depth = zt[:, 0] + w1 * (zt[:, 1] - zt[:, 0]) + w2 * (zt[:, 2] - zt[:, 0])
            place = (picture[t, None, None] * height + py.long()) * width + px.long()
            key = ((depth + 4096) * _FINENESS).long() * 2**31 + (total - 1 - t)[:, None, None]
            keys.scatter_reduce_(0, place[inside], key[inside], "amax")
    which = torch.where(keys >= 0, total - 1 - keys % 2**31, -1).view(count, height, width)
    depth = torch.full((count, height, width), FAR, device=device)
    weights = torch.zeros((count, height, width, 2), device=device)
    b, r, c = torch.nonzero(which >= 0, as_tuple=True)
    t = which[b, r, c]
    w1, w2 = _weights(x[t], y[t], area[t], c.float(), r.float())
    weights[b, r, c] = torch.stack([w1, w2], -1)
    depth[b, r, c] = z[t, 0] + w1 * (z[t, 1] - z[t, 0]) + w2 * (z[t, 2] - z[t, 0])
    return depth, which, weights


def _weights(x: Tensor, y: Tensor, area: Tensor, px: Tensor, py: Tensor) -> tuple[Tensor, Tensor]:
    x0, x1, x2, y0, y1, y2, area = (v.view(-1, *[1] * (px.dim() - 1))
                                    for v in (*x.unbind(1), *y.unbind(1), area))
    w1 = ((px - x0) * (y2 - y0) - (x2 - x0) * (py - y0)) / area
    w2 = ((x1 - x0) * (py - y0) - (px - x0) * (y1 - y0)) / area
    return w1, w2


def blend(values: Tensor, triangles: Tensor, t: Tensor, w: Tensor) -> Tensor:
    """Vertex values [V, K] at pixels given by triangle [P] and weights [P, 2]: [P, K]."""
    a, b, c = values[triangles[t]].unbind(1)
    return a * (1 - w.sum(1, keepdim=True)) + b * w[:, :1] + c * w[:, 1:]


def vertex_normals(vertices: Tensor, triangles: Tensor) -> Tensor:
    """Area-weighted unit normals of [N, V, 3] with common triangles [T, 3]."""
    a, b, c = vertices[:, triangles].unbind(2)
    face = torch.linalg.cross(b - a, c - a)
    normals = torch.zeros_like(vertices)
    for k in range(3):
        normals.index_add_(1, triangles[:, k], face)
    return normals / (normals.norm(dim=2, keepdim=True) + 1e-12)


class Atlas:
    """Pictures of different sizes in one flat tensor, sampled bilinearly by picture number.

    Args:
        images: tensors [h, w, C] of one type and C.
    """

    def __init__(self, images: list[Tensor]) -> None:
        self.channels = images[0].shape[2]
        self.data = torch.cat([i.reshape(-1) for i in images])
        device = self.data.device
        sizes = torch.tensor([[i.shape[0], i.shape[1]] for i in images], device=device)
        self.height, self.width = sizes.unbind(1)
        lengths = torch.tensor([0, *(i.numel() for i in images)], device=device)
        self.start = lengths.cumsum(0)[:-1]

    def sample(self, picture: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Values float32 [P, C] at pixel places [P] of pictures [P]; places outside are drawn to the edge."""
        width, height = self.width[picture], self.height[picture]
        x = torch.minimum(x.clamp(min=0), width - 1.001)
        y = torch.minimum(y.clamp(min=0), height - 1.001)
        left, top = x.long(), y.long()
        fx, fy = (x - left)[:, None], (y - top)[:, None]
        at = self.start[picture] + (top * width + left) * self.channels
        channel = torch.arange(self.channels, device=x.device)
        down = width[:, None] * self.channels

        def get(offset: Tensor | int) -> Tensor:
            return self.data[at[:, None] + offset + channel].float()

        upper = get(0) * (1 - fx) + get(self.channels) * fx
        lower = get(down) * (1 - fx) + get(down + self.channels) * fx
        return upper * (1 - fy) + lower * fy

    def place(self, picture: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Pixel places of u, v in 0..1."""
        return u * self.width[picture] - 0.5, v * self.height[picture] - 0.5
