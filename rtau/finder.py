"""The network that finds faces of any size in a picture of any size: boxes, five points and scores of every place.

Three maps, of a cell every 8, 16 and 32 pixels, look for faces of about 8 to 36, 24 to 90 and 64 and more
pixels. Each cell says whether the middle of a face is near, and where box and points lie from there, in
units of its stride; `rtau.detect_rtau` reads that.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .errors import UsageError

#: Pixels from cell to cell of the maps, finest first.
STRIDES = (8, 16, 32)
#: Points of a face: centres of the eyes, tip of the nose, corners of the mouth; image left first.
POINTS = 5


@dataclass(frozen=True)
class FinderConfig:
    """What builds a finder.

    Attributes:
        size: longer side, in pixels, of the pictures that it is made for; it takes any whose sides are
            multiples of 32.
        stem: channels at strides 2 and 4.
        widths: channels at strides 8, 16 and 32.
        blocks: so many at each of these.
        pyramid: channels of the maps that the answers are read from.

    Raises:
        UsageError: a value that builds no network.
    """

    size: int = 320
    stem: tuple[int, int] = (16, 24)
    widths: tuple[int, int, int] = (32, 64, 96)
    blocks: tuple[int, int, int] = (2, 3, 3)
    pyramid: int = 48

    def __post_init__(self) -> None:
        for name, count in (("stem", 2), ("widths", 3), ("blocks", 3)):
            values = getattr(self, name)
            if not isinstance(values, tuple) or len(values) != count or min(values) < (name != "blocks"):
                raise UsageError(f"a finder's {name} are {count} numbers, not {values!r}")
        if self.size <= 0 or self.size % 32 or self.pyramid < 1:
            raise UsageError(f"a finder's size is a multiple of 32 and its pyramid at least 1, not {self.size} and "
                             f"{self.pyramid}")

    def as_dict(self) -> dict:
        """Plain values, for a manifest."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> FinderConfig:
        """Back from a manifest's plain values. Raises UsageError for a setting that there is not."""
        known = [f.name for f in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise UsageError(f"unknown setting {unknown[0]!r} of the finder; known are {', '.join(known)}")
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


class FinderNet(nn.Module):
    """Faces of pictures.

    Input: float32 [N, 3, H, W], RGB 0..255, H and W multiples of 32. Outputs, of the A = H W (1/8^2 + 1/16^2 + 1/32^2)
    cells of all maps, finest map first, row by row: score logits [N, A]; boxes [N, 4, A] as x and y of the centre from
    the cell's, and logarithms of width and height; points [N, 10, A] as x, y, x, ... from the cell's centre. All in
    units of the map's stride.
    """

    def __init__(self, config: FinderConfig) -> None:
        super().__init__()
        self.config = config
        half, quarter = config.stem
        self.stem = nn.Sequential(_conv(3, half, 2), _conv(half, quarter, 2))
        stages, inputs = [], quarter
        for width, count in zip(config.widths, config.blocks, strict=True):
            # The coarsest maps must see whole faces: wide kernels cost little there.
            kernel = 5 if len(stages) == len(STRIDES) - 1 else 3
            stages.append(nn.Sequential(_conv(inputs, width, 2), *(_Separable(width, kernel) for _ in range(count))))
            inputs = width
        self.stages = nn.ModuleList(stages)
        self.laterals = nn.ModuleList(nn.Conv2d(width, config.pyramid, 1) for width in config.widths)
        self.heads = nn.ModuleList(nn.Sequential(
            _Separable(config.pyramid, 3), nn.Conv2d(config.pyramid, 5 + 2 * POINTS, 1)) for _ in STRIDES)
        for head in self.heads:
            with torch.no_grad():
                head[-1].weight.mul_(0.1)
                head[-1].bias.zero_()
                # Faces are rare, and a few cells wide.
                head[-1].bias[0] = -math.log(99)
                head[-1].bias[3:5] = math.log(3)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, levels = self.stem((pixels - 127.5) / 64.0), []
        for stage, lateral in zip(self.stages, self.laterals, strict=True):
            x = stage(x)
            levels.append(lateral(x))
        maps = [F.relu(levels[-1])]
        for level in levels[-2::-1]:
            maps.insert(0, F.relu(level + F.interpolate(maps[0], scale_factor=2.0, mode="nearest")))
        cells = torch.cat([head(x).flatten(2) for head, x in zip(self.heads, maps, strict=True)], 2)
        return cells[:, 0], cells[:, 1:5], cells[:, 5:]


def _conv(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class _Separable(nn.Module):
    """A convolution of each channel alone, one across them, and a shortcut."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.along = nn.Sequential(
            nn.Conv2d(width, width, kernel, 1, kernel // 2, groups=width, bias=False), nn.BatchNorm2d(width))
        self.across = nn.Sequential(nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.across(self.along(x))
