"""The networks in plain torch: the two-view AU network, as trained and as deployed, and the landmark network.

The AU network is that of *Multi-label Co-regularization for Semi-supervised Facial Action
Unit Recognition* (Niu et al., NeurIPS 2019): two backbones see the same face, a graph
convolution over AU co-occurrence, shared by both, shapes each view's classifiers. Ours is
the ordinal head: one direction and five ordered thresholds per AU, so that presence and
intensity are two readings of one score. With `grades=1` there is presence alone, as in the
paper, for AUs or for any other facial attributes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .au import REGIONS
from .errors import RtauError, UsageError
from .trunk import PointHead, Trunk
from .view import open_view

if TYPE_CHECKING:
    from .store import Weights

#: Intensity grades A..E.
GRADES = 5
#: More numbers than processors and engines take at once, or a multiple of that.
_VECTOR = 64


@dataclass(frozen=True)
class AuConfig:
    """What builds an AU network.

    Attributes:
        names: of the labels, in the order of the outputs: "AU01", ... for Action Units, any words for attributes.
        size: side of the crop in pixels, for the trunk a multiple of 16.
        backbone: "trunk", or what `rtau.backbones.open_backbone` knows; the paper has resnet34.
        views: 2, or 1 as a baseline without a partner.
        grades: 5 for presence and intensity, 1 for presence alone.
        width, blocks: of the trunk, see `rtau.trunk.Trunk`.
        features: length of a view's feature vector; None takes 128 with the trunk, and what a published backbone
            pools, without a projection, as in the paper.
        dropout: in training, on what the backbone gives.
        graph: whether a graph convolution shapes the classifiers.
        slope: of the graph's ReLU below 0: the paper's formula has 0, its release 0.2.
        sight: whether it also tells of each region in `rtau.au.REGIONS` whether it shows, or something hides it.
        pyramid: channels in which each view finds the face's 68 points, whose shape joins its features; 0 for a view
            that doesn't look for them. Only the trunk does.

    Raises:
        UsageError: a value that builds no network.
    """

    names: tuple[str, ...]
    size: int = 112
    width: int = 32
    blocks: tuple[int, int, int] = (1, 2, 2)
    features: int | None = None
    dropout: float = 0.2
    graph: bool = True
    backbone: str = "trunk"
    views: int = 2
    grades: int = GRADES
    slope: float = 0.2
    sight: bool = False
    pyramid: int = 0

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) != len(self.names) or not all(isinstance(n, str) for n in self.names):
            raise UsageError(f"an AU network needs names of labels, each once, not {self.names!r}")
        if self.views not in (1, 2):
            raise UsageError(f"an AU network has 1 or 2 views, not {self.views!r}")
        if self.grades not in (1, GRADES):
            raise UsageError(f"an AU network has 1 or {GRADES} grades, not {self.grades!r}")

    @property
    def aus(self) -> tuple[int, ...]:
        """Numbers of the AUs among the names."""
        return tuple(int(n[2:]) for n in self.names if re.fullmatch(r"AU\d+", n))

    def as_dict(self) -> dict:
        """Plain values, for a manifest."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> AuConfig:
        """Back from a manifest's plain values; older ones have the numbers "aus" in place of "names".

        Raises:
            UsageError: a setting is unknown, or builds no network.
        """
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        if "aus" in values:
            values.setdefault("names", tuple(f"AU{au:02d}" for au in values.pop("aus")))
        known = [f.name for f in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise UsageError(f"unknown setting {unknown[0]!r} of the AU network; known are {', '.join(known)}")
        return cls(**values)


def _open_views(config: AuConfig) -> nn.ModuleList:
    return nn.ModuleList(
        open_view(config.backbone, size=config.size, width=config.width, blocks=config.blocks,
                  features=config.features, dropout=config.dropout, pyramid=config.pyramid) for _ in range(config.views))


def _open_sight(config: AuConfig, features: int) -> nn.ModuleList | None:
    return nn.ModuleList(nn.Linear(features, len(REGIONS)) for _ in range(config.views)) if config.sight else None


def _sight(heads: nn.ModuleList | None, features: Sequence[Tensor]) -> Tensor | None:
    """Logits [N, 6], the mean of the views'."""
    if heads is None:
        return None
    return torch.stack([head(f) for head, f in zip(heads, features, strict=True)]).mean(0)


class Graph(nn.Module):
    """Two-layer graph convolution from initial to final classifiers, shared by the views.

    `W_t = A . ReLU(A . W_0 . H_0) . H_1`, A the adjacency of the labels; the ReLU may be a leaky one.

    H_0 begins as a random rotation, H_1 as the way back, so that the graph begins near `A . A . W_0`. What the ReLU
    adds to that points anywhere; between identities it would be one positive vector in all classifiers, which on
    features of 0 and more takes long to unlearn.
    """

    def __init__(self, adjacency: Tensor, width: int, slope: float) -> None:
        super().__init__()
        self.slope = slope
        self.register_buffer("adjacency", adjacency)
        rotation = nn.init.orthogonal_(torch.empty(width, width))
        self.first = nn.Parameter(rotation)
        # A ReLU passes (1 + slope) / 2 of what it is given, on average.
        self.second = nn.Parameter(rotation.T * (2 / (1 + slope)))

    def forward(self, classifiers: Tensor) -> Tensor:
        hidden = F.leaky_relu(self.adjacency @ classifiers @ self.first, self.slope)
        return self.adjacency @ hidden @ self.second


class Reading(NamedTuple):
    """What a network tells of N crops while it learns; None what its config did not ask for.

    Attributes:
        scores: [views, N, C], each the logit of presence.
        sight: logits [N, 6] that the regions of `rtau.au.REGIONS` show.
        points: [views, N, 68, 2], crop pixels.
    """

    scores: Tensor
    sight: Tensor | None
    points: Tensor | None


class TwoViewNet(nn.Module):
    """The AU network as it is trained. Its views start from different random weights.

    Args:
        config: its build.
        adjacency: [C, C], as the labels go together; identity when None.

    Attributes:
        views: one or two; each has a `backbone` that `rtau.backbones.load_pretrained` can fill.
        classifiers: per view [C, d + 1], before the graph.
    """

    def __init__(self, config: AuConfig, adjacency: Tensor | None = None) -> None:
        super().__init__()
        self.config = config
        count = len(config.names)
        self.views = _open_views(config)
        features = self.views[0].width
        self.classifiers = nn.ParameterList(
            nn.Parameter(torch.randn(count, features + 1) / features**0.5) for _ in self.views)
        adjacency = torch.eye(count) if adjacency is None else adjacency.float()
        if adjacency.shape != (count, count):
            raise ValueError(f"the adjacency has shape {tuple(adjacency.shape)}, expected {(count, count)}")
        self.graph = Graph(adjacency, features + 1, config.slope) if config.graph else None
        #: Gaps between the thresholds of neighbouring grades, before softplus.
        self.gaps = nn.Parameter(torch.zeros(count, config.grades - 1)) if config.grades > 1 else None
        self.sight = _open_sight(config, features)

    def final_classifiers(self) -> list[Tensor]:
        """Per view [C, d + 1]: weights and, last, the bias."""
        return [self.graph(w) if self.graph is not None else w for w in self.classifiers]

    def thresholds(self) -> Tensor:
        """[C, grades] ascending; that of grade A is 0."""
        if self.gaps is None:
            return self.classifiers[0].new_zeros(len(self.config.names), 1)
        return F.pad(F.softplus(self.gaps).cumsum(1), (1, 0))

    def forward(self, x: Tensor) -> Tensor:
        """Scores [views, N, C] of normalized crops [N, 3, S, S], or of each view's own [views, N, 3, S, S].

        Each is the logit of presence.
        """
        return self.read(x).scores

    def read(self, x: Tensor) -> Reading:
        """All that it tells in training."""
        crops = x if x.dim() == 5 else x.expand(len(self.views), *x.shape)
        features, points = zip(*(view.look(seen) for view, seen in zip(self.views, crops, strict=True)), strict=True)
        scores = torch.stack([F.linear(f, w[:, :-1], w[:, -1])
                              for f, w in zip(features, self.final_classifiers(), strict=True)])
        return Reading(scores, _sight(self.sight, features), torch.stack(points) if self.config.pyramid else None)


class DeployedAuNet(nn.Module):
    """The AU network as it runs: the graph folded into linear heads, one a view, calibration inside.

    Input: float32 [N, 3, S, S], RGB 0..255. Outputs: presence [N, C] 0..1, intensity [N, C] 0..5, which is NaN
    where the network knows presence alone; with `AuConfig.sight` also the chance [N, 6] that a region shows.
    """

    def __init__(self, config: AuConfig) -> None:
        super().__init__()
        self.config = config
        count = len(config.names)
        self.views = _open_views(config)
        self.heads = nn.ModuleList(nn.Linear(view.width, count) for view in self.views)
        self.sight = _open_sight(config, self.views[0].width)
        self.register_buffer("thresholds", torch.zeros(count, config.grades))
        #: Platt scaling of each grade's logit: rows slope and shift, fitted on people kept out of training.
        self.register_buffer("calibration", torch.stack([
            torch.ones(count, config.grades), torch.zeros(count, config.grades)]))

    @classmethod
    def fold(cls, trained: TwoViewNet) -> DeployedAuNet:
        """Fold the graph; no logit changes by more than rounding."""
        net = cls(trained.config)
        net.views.load_state_dict(trained.views.state_dict())
        if net.sight is not None:
            net.sight.load_state_dict(trained.sight.state_dict())
        with torch.no_grad():
            for head, w in zip(net.heads, trained.final_classifiers(), strict=True):
                head.weight.copy_(w[:, :-1])
                head.bias.copy_(w[:, -1])
            net.thresholds.copy_(trained.thresholds())
        return net.eval()

    def scores(self, pixels: Tensor) -> Tensor:
        """Scores [views, N, C], before thresholds."""
        return self._scores(self._features(pixels))

    def _features(self, pixels: Tensor) -> list[Tensor]:
        x = normalize(pixels)
        return [view(x) for view in self.views]

    def _scores(self, features: list[Tensor]) -> Tensor:
        return torch.stack([head(f) for head, f in zip(self.heads, features, strict=True)])

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        features = self._features(pixels)
        read = self.calibrated(self._scores(features))
        sight = _sight(self.sight, features)
        return read if sight is None else (*read, torch.sigmoid(sight))

    def calibrated(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Presence and intensity [N, C] of scores [views, N, C]."""
        logits = (scores.unsqueeze(-1) - self.thresholds).flatten(2)
        numbers = logits.shape[-1]
        # Engines take what is left over from whole vectors of numbers another way, which gives another last digit:
        # where each face fills whole ones, its values don't depend on what else is in the batch.
        logits = F.pad(logits, (0, -numbers % _VECTOR))
        # Both chances are taken from the logits: 1 - p has few digits left where p is nearly 1.
        reached, missed = (torch.sigmoid(x).mean(0).clamp(min=1e-6) for x in (logits, -logits))
        calibration = F.pad(self.calibration.flatten(1), (0, -numbers % _VECTOR))
        grades = torch.sigmoid(torch.log(reached / missed) * calibration[0] + calibration[1])
        presence, *higher = (grades[:, grade:numbers:self.config.grades] for grade in range(self.config.grades))
        if not higher:
            return presence, torch.full_like(presence, float("nan"))
        # A higher grade implies the lower ones, whatever calibration did to each.
        least = intensity = presence
        for grade in higher:
            least = torch.minimum(least, grade)
            intensity = intensity + least
        return presence, intensity


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
        self.trunk = Trunk(config.width, config.blocks)
        self.points = PointHead(config.width, config.pyramid, config.size)
        self.summary = nn.Linear(4 * config.width, 64)
        self.presence = nn.Linear(64, 1)
        self.pose = nn.Linear(64, 3)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        levels = self.trunk(normalize(pixels))
        summary = F.relu(self.summary(levels[-1].mean((2, 3))))
        return self.points(levels), self.presence(summary).squeeze(-1), self.pose(summary)


def normalize(pixels: Tensor) -> Tensor:
    """RGB 0..255 to about -1..1."""
    return (pixels - 127.5) / 64.0


def build(weights: Weights) -> nn.Module:
    """The network of a weight file, ready for inference.

    Raises:
        RtauError: the file does not fit the network that its manifest describes.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from .finder import FinderConfig, FinderNet

    kinds = {"au": (DeployedAuNet, AuConfig), "landmarks": (LandmarkNet, LandmarkConfig),
             "detector": (FinderNet, FinderConfig)}
    kind, config = kinds[weights.facts["kind"]]
    try:
        net = kind(config.from_dict(weights.facts["config"]))
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise RtauError(f"{weights.path}: its manifest describes no network of this version of rtau: "
                        f"{str(error).splitlines()[0]}") from None
    try:
        net.load_state_dict(load_file(weights.check()))
    except (RuntimeError, ValueError, SafetensorError) as error:
        raise RtauError(f"{weights.path} does not fit this version of rtau: {str(error).splitlines()[0]}") from None
    return net.eval()


def load_model(name: str = "au") -> nn.Module:
    """A shipped network as a plain torch module: "au" or "landmarks".

    "au" maps float32 [N, 3, S, S] crops (`rtau.crop.align`, RGB 0..255) to presence [N, C] 0..1, intensity [N, C]
    0..5, and the chance [N, 6] that each region of `rtau.au.REGIONS` shows.

    Raises:
        RtauError: no such weights, or they are missing or damaged.
    """
    from .store import find_weights

    return build(find_weights(name))
