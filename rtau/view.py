"""One view of the AU network: an aligned crop in, a vector of features out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .backbones import open_backbone
from .errors import UsageError
from .trunk import PointHead, Trunk

#: What the trunk's view is projected to where nothing else is asked for.
FEATURES = 128
#: Mean and deviation of ImageNet's colours, 0..1, for which published backbones were trained.
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: Width of the layer between the points and the features.
_SHAPE = 256


class View(nn.Module):
    """A trunk whose last map is flattened, not averaged: in an aligned crop the place tells which muscle it is.

    With a pyramid it also finds the 68 points of the face, and what their shape tells joins the features.

    Attributes:
        width: length of the feature vectors.
        points: finds the points; None without a pyramid.
    """

    def __init__(self, size: int, width: int, blocks: tuple[int, int, int], features: int, dropout: float,
                 pyramid: int = 0) -> None:
        super().__init__()
        self.trunk = Trunk(width, blocks)
        self.width = features
        cells = (size // 16) ** 2
        self.squeeze = nn.Sequential(nn.Conv2d(4 * width, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(width * cells, features)
        self.points = PointHead(width, pyramid, size) if pyramid else None
        self.shape = nn.Sequential(nn.BatchNorm1d(2 * 68), nn.Linear(2 * 68, _SHAPE), nn.ReLU(),
                                   nn.Linear(_SHAPE, features)) if pyramid else None
        if self.shape is not None:
            # At first the shape tells nothing, so that a view which learned without it goes on where it was.
            nn.init.zeros_(self.shape[-1].weight)
            nn.init.zeros_(self.shape[-1].bias)

    @property
    def backbone(self) -> nn.Module:
        """What can be loaded from a pretrained network."""
        return self.trunk

    def forward(self, x: Tensor) -> Tensor:
        """Features [N, width] of normalized crops [N, 3, S, S]."""
        return self.look(x)[0]

    def look(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """The features, and the points [N, 68, 2] in crop pixels; None without a pyramid."""
        levels = self.trunk(x)
        features = self.project(self.dropout(self.squeeze(levels[-1]).flatten(1)))
        if self.points is None or self.shape is None:
            return F.relu(features), None
        points = self.points(levels)
        return F.relu(features + self.shape(points.flatten(1))), points


class PooledView(nn.Module):
    """A published backbone with its pooled features, as in the paper; projected only where `features` is given.

    Attributes:
        backbone: see `rtau.backbones.open_backbone`.
        width: length of the feature vectors.

    Raises:
        UsageError: no such backbone, or it does not take crops of that size.
    """

    def __init__(self, backbone: str, size: int, features: int | None, dropout: float) -> None:
        super().__init__()
        self.backbone = open_backbone(backbone)
        pooled = _width(self.backbone, backbone, size)
        self.dropout = nn.Dropout(dropout)
        self.project = None if features is None else nn.Linear(pooled, features)
        self.width = pooled if features is None else features
        # Crops come as (RGB - 127.5) / 64.
        mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in IMAGENET)
        self.register_buffer("scale", 64 / 255 / deviation, persistent=False)
        self.register_buffer("shift", (0.5 - mean) / deviation, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Features [N, width] of normalized crops [N, 3, S, S]."""
        return self.look(x)[0]

    def look(self, x: Tensor) -> tuple[Tensor, None]:
        """The features; such a view finds no points."""
        x = self.dropout(self.backbone(x * self.scale + self.shift))
        return x if self.project is None else F.relu(self.project(x)), None


def open_view(backbone: str, *, size: int, width: int, blocks: tuple[int, int, int], features: int | None,
              dropout: float, pyramid: int = 0) -> View | PooledView:
    """A view with random weights; the arguments are those of `rtau.model.AuConfig`.

    Raises:
        UsageError: no such backbone, or it does not take crops of that size, or finds no points.
    """
    if backbone != "trunk" and pyramid:
        raise UsageError(f"only the trunk finds points: leave model.pyramid 0 with the backbone {backbone}")
    if backbone != "trunk":
        return PooledView(backbone, size, features, dropout)
    if size % 16:
        raise UsageError(f"the trunk takes crops whose side is a multiple of 16, not {size}")
    return View(size, width, blocks, FEATURES if features is None else features, dropout, pyramid)


@torch.no_grad()
def _width(backbone: nn.Module, name: str, size: int) -> int:
    """Length of a backbone's feature vectors, by trying."""
    try:
        features = backbone.eval()(torch.zeros(1, 3, size, size))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UsageError(f"the backbone {name} does not take crops of {size} pixels: "
                         f"{str(error).splitlines()[0]}") from None
    backbone.train()
    if features.ndim != 2:
        raise UsageError(f"the backbone {name} gives no feature vectors but {list(features.shape)}")
    return features.shape[1]
