"""Puppets and cameras on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..camera import Camera
from ..puppet import Puppet
from ..render import Renderer


@dataclass(frozen=True)
class Layer:
    """A relief of the photograph, see `surround.Layer`, with its normals at rest."""

    vertices: Tensor
    triangles: Tensor
    pixel: Tensor
    leaders: Tensor
    shares: Tensor
    normals: Tensor


class Person:
    """A puppet's arrays on the device."""

    def __init__(self, puppet: Puppet, one: Renderer, to: Callable[[np.ndarray], Tensor]) -> None:
        self.look = look = one.look(puppet)
        self.vertices, self.alpha = to(puppet.vertices), to(puppet.alpha)
        self.studio, self.bare, self.solid = to(look.studio), to(look.bare), to(look.solid)
        self.front_facing, self.shown = to(look.front), to(look.shown)
        self.side = to(look.side)
        self.eye_places = to((puppet.photo_xy - puppet.eye_origin)[one.eye_rows].astype(np.float32))
        self.layers = {part: Layer(
            to(getattr(puppet, f"{part}_vertices")), to(getattr(puppet, f"{part}_triangles")).long(),
            to(getattr(puppet, f"{part}_pixel")), to(getattr(puppet, f"{part}_leaders")).long(),
            to(getattr(puppet, f"{part}_shares")), to(look.normals[part])) for part in ("front", "rear")}
        self._levels = {name: [to(image) for image in chain] for name, chain in look.levels.items()}

    def level(self, name: str, pixels_per_source_pixel: float) -> tuple[Tensor, float]:
        """As `look.Look.level`."""
        chain = self._levels[name]
        pick = self.look.pick(name, pixels_per_source_pixel)
        return chain[pick], chain[pick].shape[1] / chain[0].shape[1]


class View:
    """The cameras of a batch."""

    def __init__(self, cameras: list[Camera], fine: int, device: torch.device) -> None:
        def stack(values) -> Tensor:
            return torch.tensor(np.array(values, np.float32), device=device)

        self.fine = fine
        self.rotation, self.pivot = stack([c.rotation for c in cameras]), stack([c.pivot for c in cameras])
        self.offset, self.centre = stack([c.offset for c in cameras]), stack([c.centre for c in cameras])
        self.focal, self.distance = stack([c.focal for c in cameras]), stack([c.distance for c in cameras])

    def see(self, head: Tensor, rows: Sequence[int] | slice = slice(None)) -> Tensor:
        """Head to camera coordinates, [N, V, 3]; `rows` are the cameras."""
        return (head - self.pivot[rows][:, None]) @ self.rotation[rows].mT + self.offset[rows][:, None]

    def place(self, camera: Tensor, rows: Sequence[int] | slice = slice(None)) -> Tensor:
        """Camera coordinates to pixels, `fine` times finer, and depth."""
        scale = self.focal[rows][:, None] / (self.distance[rows][:, None] - camera[..., 2])
        x = (self.centre[rows][:, None, 0] + camera[..., 0] * scale + 0.5) * self.fine - 0.5
        y = (self.centre[rows][:, None, 1] - camera[..., 1] * scale + 0.5) * self.fine - 0.5
        return torch.stack([x, y, camera[..., 2]], -1)
