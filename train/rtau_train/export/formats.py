"""What a network can be written as. ONNX and TensorRT lie in modules of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from rtau.finder import FinderNet
from rtau.model import DeployedAuNet, LandmarkNet, build
from rtau.store import Weights, sha256_of

from ..cutting import pixels
from .drift import Opened, Outputs

#: Of a landmark network's outputs in float32: crop pixels, logit, radians.
LANDMARK_TOLERANCE = {"points": 0.01, "pose": 1e-3}
#: Of a detector's: logits, strides.
DETECTOR_TOLERANCE = {"scores": 1e-3, "boxes": 1e-3, "points": 1e-3}


class Format(Protocol):
    """A kind of file.

    Attributes:
        suffix: of its files.
        tolerance: for each kind of network that it can hold ("au", "landmarks", "detector"), how far each output may
            lie from the checkpoint's, see `drift.Drift`.
    """

    suffix: str
    tolerance: Mapping[str, Mapping[str, float]]

    def check(self) -> None:
        """Raise UsageError, before anything is done, if what it needs is not here."""

    def write(self, net: DeployedAuNet | LandmarkNet | FinderNet, path: Path, facts: Mapping[str, Any]) -> None:
        """Write a network, in evaluation mode and on the CPU, with the manifest's facts of it. Raises OSError."""

    def open(self, path: Path, facts: Mapping[str, Any]) -> Opened:
        """Open what `write` wrote, as a user would."""


class Safetensors:
    """Plain weights, which `rtau.model.build` reads with the manifest's help."""

    suffix = ".safetensors"
    #: The arithmetic is the checkpoint's: all agrees to rounding.
    tolerance = {"au": {"logits": 1e-5, "presence": 1e-4, "intensity": 5e-4, "sight": 1e-5},
                 "landmarks": {**LANDMARK_TOLERANCE, "presence": 1e-3}, "detector": DETECTOR_TOLERANCE}

    def check(self) -> None:
        """Nothing is needed."""

    def write(self, net: DeployedAuNet | LandmarkNet | FinderNet, path: Path, facts: Mapping[str, Any]) -> None:
        """Write the weights; see `Format.write`."""
        path.write_bytes(save({name: value.contiguous() for name, value in net.state_dict().items()}))

    def open(self, path: Path, facts: Mapping[str, Any]) -> Opened:
        """The network as rtau builds it; see `Format.open`."""
        net = build(Weights(path.stem, path, sha256_of(path), facts))

        @torch.no_grad()
        def run(crops: np.ndarray) -> Outputs:
            outputs = dict(zip(output_names(net), (o.numpy() for o in Told(net)(pixels(crops))), strict=True))
            return outputs | ({"logits": net.scores(pixels(crops)).numpy()} if isinstance(net, DeployedAuNet) else {})

        return run


def output_names(net: nn.Module) -> tuple[str, ...]:
    """Of a deployed network's outputs that mean something: a network of presence alone has no intensity."""
    return tuple(name for name in _names(net) if name)


def _names(net: nn.Module) -> tuple[str, ...]:
    """Of all its outputs, "" for one that means nothing."""
    if isinstance(net, DeployedAuNet):
        return "presence", "intensity" if net.config.grades > 1 else "", *(("sight",) if net.config.sight else ())
    return ("scores", "boxes", "points") if isinstance(net, FinderNet) else ("points", "presence", "pose")


class Told(nn.Module):
    """A deployed network with no outputs but those that mean something: float32 [N, 3, S, S] in, a tuple out."""

    def __init__(self, net: DeployedAuNet | LandmarkNet | FinderNet) -> None:
        super().__init__()
        self.net, self.names = net, output_names(net)
        # torch.onnx gives a module back in the mode that it had, with all that is inside.
        self.train(net.training)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(output for name, output in zip(_names(self.net), self.net(pixels), strict=True) if name)
