"""TensorRT engines as files, by `rtau.backends.engine`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rtau.backends.engine import build_engine, check_tensorrt, in_half, load_engine
from rtau.errors import RtauError
from rtau.model import DeployedAuNet, LandmarkNet

from ..cutting import pixels
from .drift import Opened, Outputs
from .formats import Told

_OTHERWISE = "leave --format tensorrt out"


class TensorRt:
    """A torch program with the engine in it; `torch_tensorrt.load(path).module()` gives it back. In and out it is
    like the ONNX file, on the GPU. The views of an AU network compute in half precision, all else in single.
    """

    suffix = ".ep"
    tolerance = {"au": {"logits": 0.2, "presence": 0.02, "intensity": 0.1, "sight": 0.02},
                 "landmarks": {"points": 0.1, "presence": 0.05, "pose": 0.01}}

    def check(self) -> None:
        """Raise UsageError where torch-tensorrt or the GPU is missing."""
        check_tensorrt(_OTHERWISE)

    def write(self, net: DeployedAuNet | LandmarkNet, path: Path, facts: Mapping[str, Any]) -> None:
        """Build the engine, which takes tens of seconds; see `Format.write`.

        Raises:
            RtauError: TensorRT can't build it.
        """
        try:
            build_engine(Told(in_half(net)), net.config.size, path)
        except RtauError as error:
            raise RtauError(f"{error}: {_OTHERWISE}") from error

    def open(self, path: Path, facts: Mapping[str, Any]) -> Opened:
        """The engine on the GPU; see `Format.open`."""
        engine = load_engine(path)

        @torch.no_grad()
        def run(crops: np.ndarray) -> Outputs:
            return dict(zip(facts["outputs"], (o.cpu().numpy() for o in engine(pixels(crops).cuda())), strict=True))

        return run
