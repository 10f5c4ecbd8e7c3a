"""The networks in plain torch: a small residual backbone, the two-view AU network, the landmark network.

The AU network is that of *Multi-label Co-regularization for Semi-supervised Facial Action
Unit Recognition* (Niu et al., NeurIPS 2019): two backbones see the same face, a graph
convolution over AU co-occurrence, shared by both, shapes each view's classifiers. Ours is
the ordinal head: one direction and five ordered thresholds per AU, so that presence and
intensity are two readings of one score.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .errors import RtauError

if TYPE_CHECKING:
    from .store import Weights

#: Intensity grades A..E.
GRADES = 5


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


class View(nn.Module):
    """One feature generator: a crop in, a vector of `features` out.

    The last map is flattened, not averaged: in an aligned crop the place tells which muscle it is.
    """

    def __init__(self, size: int, width: int, blocks: tuple[int, int, int], features: int, dropout: float) -> None:
        super().__init__()
        self.trunk = Trunk(width, blocks)
        cells = (size // 16) ** 2
        self.squeeze = nn.Sequential(nn.Conv2d(4 * width, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(width * cells, features)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze(self.trunk(x)[-1]).flatten(1)
        return F.relu(self.project(self.dropout(x)))


@dataclass(frozen=True)
class AuConfig:
    """What builds an AU network.

    Attributes:
        aus: AU numbers, in the order of the outputs.
        size: side of the crop in pixels, a multiple of 16.
        width, blocks, features: see `Trunk` and `View`.
        dropout: before the projection, in training.
        graph: whether a graph convolution shapes the classifiers.
    """

    aus: tuple[int, ...]
    size: int = 112
    width: int = 32
    blocks: tuple[int, int, int] = (1, 1, 1)
    features: int = 128
    dropout: float = 0.2
    graph: bool = True

    def as_dict(self) -> dict:
        """Plain values, for a manifest."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> AuConfig:
        """Back from a manifest's plain values."""
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


class Graph(nn.Module):
    """Two-layer graph convolution from initial to final classifiers, shared by the views.

    `W_t = A . LeakyReLU(A . W_0 . H_0) . H_1` with A the normalized co-occurrence of AUs.
    """

    def __init__(self, adjacency: Tensor, width: int) -> None:
        super().__init__()
        self.register_buffer("adjacency", adjacency)
        self.first = nn.Parameter(torch.eye(width) + 0.02 * torch.randn(width, width))
        self.second = nn.Parameter(torch.eye(width) + 0.02 * torch.randn(width, width))

    def forward(self, classifiers: Tensor) -> Tensor:
        hidden = F.leaky_relu(self.adjacency @ classifiers @ self.first, 0.2)
        return self.adjacency @ hidden @ self.second


class TwoViewNet(nn.Module):
    """The AU network as it is trained.

    Args:
        config: its build.
        adjacency: [C, C] normalized co-occurrence of AUs; identity when None.
    """

    def __init__(self, config: AuConfig, adjacency: Tensor | None = None) -> None:
        super().__init__()
        self.config = config
        count, width = len(config.aus), config.features + 1
        self.views = nn.ModuleList(
            View(config.size, config.width, config.blocks, config.features, config.dropout) for _ in range(2))
        self.classifiers = nn.ParameterList(
            nn.Parameter(torch.randn(count, width) / config.features**0.5) for _ in range(2))
        self.graph = Graph(torch.eye(count) if adjacency is None else adjacency.float(), width) if config.graph else None
        #: Gaps between the thresholds of neighbouring grades, before softplus.
        self.gaps = nn.Parameter(torch.zeros(count, GRADES - 1))

    def final_classifiers(self) -> list[Tensor]:
        """Per view [C, features + 1]: weights and, last, the bias."""
        return [self.graph(w) if self.graph is not None else w for w in self.classifiers]

    def thresholds(self) -> Tensor:
        """[C, 5] ascending; that of grade A is 0."""
        return F.pad(F.softplus(self.gaps).cumsum(1), (1, 0))

    def forward(self, x: Tensor) -> Tensor:
        """Scores [2, N, C] of both views; the logit of presence."""
        return torch.stack([F.linear(view(x), w[:, :-1], w[:, -1])
                            for view, w in zip(self.views, self.final_classifiers(), strict=True)])


class DeployedAuNet(nn.Module):
    """The AU network as it runs: the graph folded into two linear heads, calibration inside.

    Input: float32 [N, 3, S, S], RGB 0..255. Outputs: presence [N, C] 0..1, intensity [N, C] 0..5.
    """

    def __init__(self, config: AuConfig) -> None:
        super().__init__()
        self.config = config
        count = len(config.aus)
        self.views = nn.ModuleList(
            View(config.size, config.width, config.blocks, config.features, config.dropout) for _ in range(2))
        self.heads = nn.ModuleList(nn.Linear(config.features, count) for _ in range(2))
        self.register_buffer("thresholds", torch.zeros(count, GRADES))
        #: Platt scaling of each grade's logit: rows slope and shift, fitted on people kept out of training.
        self.register_buffer("calibration", torch.stack([torch.ones(count, GRADES), torch.zeros(count, GRADES)]))

    @classmethod
    def fold(cls, trained: TwoViewNet) -> DeployedAuNet:
        """Fold the graph; no logit changes by more than rounding."""
        net = cls(trained.config)
        net.views.load_state_dict(trained.views.state_dict())
        with torch.no_grad():
            for head, w in zip(net.heads, trained.final_classifiers(), strict=True):
                head.weight.copy_(w[:, :-1])
                head.bias.copy_(w[:, -1])
            net.thresholds.copy_(trained.thresholds())
        return net.eval()

    def scores(self, pixels: Tensor) -> Tensor:
        """Scores [2, N, C] of both views, before thresholds."""
        x = normalize(pixels)
        return torch.stack([head(view(x)) for view, head in zip(self.views, self.heads, strict=True)])

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        agreed = torch.sigmoid(self.scores(pixels).unsqueeze(-1) - self.thresholds).mean(0).clamp(1e-6, 1 - 1e-6)
        slope, shift = self.calibration[0], self.calibration[1]
        grades = torch.sigmoid(torch.log(agreed / (1 - agreed)) * slope + shift)
        # A higher grade implies the lower ones, whatever calibration did to each.
        grades = torch.stack([grades[..., 0], *(grades[..., : k + 1].amin(-1) for k in range(1, GRADES))], -1)
        return grades[..., 0], grades.sum(-1)


@dataclass(frozen=True)
class LandmarkConfig:
    """What builds a landmark network: crop side in pixels, `Trunk` width and blocks, pyramid width."""

    size: int = 112
    width: int = 32
    blocks: tuple[int, int, int] = (1, 2, 2)
    pyramid: int = 48

    def as_dict(self) -> dict:
        """Plain values, for a manifest."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> LandmarkConfig:
        """Back from a manifest's plain values."""
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


class LandmarkNet(nn.Module):
    """68 points as the expected place under 68 heat maps, face presence, head pose.

    Input: float32 [N, 3, S, S], RGB 0..255. Outputs: points [N, 68, 2] in crop pixels
    (pixel centres at integers), presence logit [N], pose [N, 3] yaw, pitch, roll in radians,
    roll relative to the crop.
    """

    def __init__(self, config: LandmarkConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * k for k in (1, 2, 4)]
        self.trunk = Trunk(config.width, config.blocks)
        self.laterals = nn.ModuleList(nn.Conv2d(w, config.pyramid, 1) for w in widths)
        self.merge = nn.Sequential(
            nn.Conv2d(config.pyramid, config.pyramid, 3, 1, 1, bias=False), nn.BatchNorm2d(config.pyramid), nn.ReLU())
        self.maps = nn.Conv2d(config.pyramid, 68, 1)
        self.summary = nn.Linear(widths[-1], 64)
        self.presence = nn.Linear(64, 1)
        self.pose = nn.Linear(64, 3)
        cells = config.size // 4
        self.register_buffer("places", torch.arange(cells, dtype=torch.float32) * 4 + 1.5, persistent=False)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fine, middle, coarse = self.trunk(normalize(pixels))
        x = self.laterals[2](coarse)
        x = F.interpolate(x, scale_factor=2.0, mode="nearest") + self.laterals[1](middle)
        x = F.interpolate(x, scale_factor=2.0, mode="nearest") + self.laterals[0](fine)
        maps = self.maps(self.merge(F.relu(x)))
        n, k, h, w = maps.shape
        heat = maps.flatten(2).softmax(-1).view(n, k, h, w)
        points = torch.stack([(heat.sum(2) * self.places).sum(-1), (heat.sum(3) * self.places).sum(-1)], -1)
        summary = F.relu(self.summary(coarse.mean((2, 3))))
        return points, self.presence(summary).squeeze(-1), self.pose(summary)


def normalize(pixels: Tensor) -> Tensor:
    """RGB 0..255 to about -1..1."""
    return (pixels - 127.5) / 64.0


def build(weights: Weights) -> nn.Module:
    """The network of a weight file, ready for inference.

    Raises:
        RtauError: the file does not fit the network that its manifest describes.
    """
    from safetensors.torch import load_file

    kinds = {"au": (DeployedAuNet, AuConfig), "landmarks": (LandmarkNet, LandmarkConfig)}
    kind, config = kinds[weights.facts["kind"]]
    net = kind(config.from_dict(weights.facts["config"]))
    try:
        net.load_state_dict(load_file(weights.check()))
    except (RuntimeError, ValueError) as error:
        raise RtauError(f"{weights.path} does not fit this version of rtau: {str(error).splitlines()[0]}") from None
    return net.eval()


def load_model(name: str = "au") -> nn.Module:
    """A shipped network as a plain torch module: "au" or "landmarks".

    "au" maps float32 [N, 3, S, S] crops (`rtau.crop.align`, RGB 0..255) to presence [N, C] 0..1
    and intensity [N, C] 0..5.

    Raises:
        RtauError: no such weights, or they are missing or damaged.
    """
    from .store import find_weights

    return build(find_weights(name))
