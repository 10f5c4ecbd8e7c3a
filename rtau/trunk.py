"""The shipped networks' backbone: small, residual, with features at three strides; and a head that finds points."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al., 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity() if stride == 1 and inputs == outputs else nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class Trunk(nn.Module):
    """Residual backbone; strides 4, 8, 16 with `width`, 2 `width`, 4 `width` channels."""

    def __init__(self, width: int, blocks: tuple[int, int, int]) -> None:
        super().__init__()
        half = max(width // 2, 8)
        self.stem = nn.Sequential(
            nn.Conv2d(3, half, 3, 2, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(),
            nn.Conv2d(half, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        widths = (width, 2 * width, 4 * width)
        stages, inputs = [], width
        for stage, (outputs, count) in enumerate(zip(widths, blocks, strict=True)):
            stages.append(nn.Sequential(*(
                Block(inputs if i == 0 else outputs, outputs, 2 if stage and i == 0 else 1) for i in range(count))))
            inputs = outputs
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features at strides 4, 8 and 16 of float [N, 3, S, S]."""
        x, levels = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        return levels


class PointHead(nn.Module):
    """Points of a face, each the expected place under a heat map at stride 4, from a trunk's three levels.

    Args:
        width: of the trunk.
        pyramid: channels in which the levels are added up, the coarse ones first.
        size: side of the crops, a multiple of 16.
        count: how many points.
    """

    def __init__(self, width: int, pyramid: int, size: int, count: int = 68) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(width * k, pyramid, 1) for k in (1, 2, 4))
        self.merge = nn.Sequential(
            nn.Conv2d(pyramid, pyramid, 3, 1, 1, bias=False), nn.BatchNorm2d(pyramid), nn.ReLU())
        self.maps = nn.Conv2d(pyramid, count, 1)
        self.register_buffer("places", torch.arange(size // 4, dtype=torch.float32) * 4 + 1.5, persistent=False)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Points [N, count, 2] in crop pixels, their centres at integers."""
        x = self.laterals[2](levels[2])
        for level in (1, 0):
            x = F.interpolate(x, scale_factor=2.0, mode="nearest") + self.laterals[level](levels[level])
        maps = self.maps(self.merge(F.relu(x)))
        n, k, h, w = maps.shape
        # In single precision whatever the rest is in: half would round a place to a sixteenth of a pixel.
        heat = maps.flatten(2).float().softmax(-1).view(n, k, h, w)
        return torch.stack([(heat.sum(2) * self.places).sum(-1), (heat.sum(3) * self.places).sum(-1)], -1)
