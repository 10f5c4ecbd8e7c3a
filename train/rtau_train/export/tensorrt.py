"""TensorRT engines by torch-tensorrt's documented path: torch.export, dynamo.compile, save.

Written to the documentation and run with neither torch-tensorrt nor a GPU yet; what comes before and after is tested.
An engine fits the version of TensorRT and the kind of GPU that it was built with, so it is to be built where it runs.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rtau.errors import RtauError, UsageError
from rtau.model import DeployedAuNet, LandmarkNet

from ..cutting import pixels
from .drift import Opened, Outputs
from .formats import Told

#: Faces at once: the engine takes 1 to `MOST` and is fastest at `USUAL`.
USUAL, MOST = 8, 64
_NEEDS = "pip install 'rtau[tensorrt]' on a machine with an NVIDIA GPU, or leave --format tensorrt out"


class TensorRt:
    """A torch program with the engine in it; `torch_tensorrt.load(path).module()` gives it back. In and out it is
    like the ONNX file, on the GPU. The views of an AU network compute in half precision, all else in single.
    """

    suffix = ".ep"
    tolerance = {"au": {"logits": 0.2, "presence": 0.02, "intensity": 0.1, "sight": 0.02},
                 "landmarks": {"points": 0.1, "presence": 0.05, "pose": 0.01}}

    def check(self) -> None:
        """Raise UsageError where torch-tensorrt or the GPU is missing."""
        try:
            import torch_tensorrt  # noqa: F401
        except (ImportError, OSError) as error:  # OSError: TensorRT's own libraries are missing
            raise UsageError(f"TensorRT needs torch-tensorrt ({str(error).splitlines()[0]}): {_NEEDS}") from None
        if not torch.cuda.is_available():
            raise UsageError(f"TensorRT needs an NVIDIA GPU, and torch finds none: {_NEEDS}")

    def write(self, net: DeployedAuNet | LandmarkNet, path: Path, facts: Mapping[str, Any]) -> None:
        """Build the engine, which takes tens of seconds; see `Format.write`.

        Raises:
            RtauError: TensorRT can't build it.
        """
        import torch_tensorrt

        size = net.config.size
        shapes = {f"{name}_shape": (count, 3, size, size) for name, count in
                  (("min", 1), ("opt", USUAL), ("max", MOST))}
        program, example, dynamic = export_program(prepare(net), size, "cuda")
        try:
            engine = torch_tensorrt.dynamo.compile(
                program, arg_inputs=[torch_tensorrt.Input(**shapes, dtype=torch.float32)], use_explicit_typing=True)
            torch_tensorrt.save(engine, str(path), arg_inputs=[example], dynamic_shapes=dynamic)
        except OSError:
            raise
        except Exception as error:  # whatever the compiler raises
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise RtauError(f"TensorRT can't build the network ({reason}): leave --format tensorrt out") from error

    def open(self, path: Path, facts: Mapping[str, Any]) -> Opened:
        """The engine on the GPU; see `Format.open`."""
        import torch_tensorrt

        engine = torch_tensorrt.load(str(path)).module()

        @torch.no_grad()
        def run(crops: np.ndarray) -> Outputs:
            return dict(zip(facts["outputs"], (o.cpu().numpy() for o in engine(pixels(crops).cuda())), strict=True))

        return run


def prepare(net: DeployedAuNet | LandmarkNet) -> Told:
    """A copy in the precision that the engine is to have, since engines take theirs from the weights.

    Places of points are means over a heat map, which half precision would round to a sixteenth of a pixel.
    """
    net = copy.deepcopy(net)
    if isinstance(net, DeployedAuNet):
        net.views = nn.ModuleList(_Half(view) for view in net.views)
    return Told(net)


def export_program(net: Told, size: int, device: str) -> tuple[torch.export.ExportedProgram, Tensor, dict[str, Any]]:
    """A network as a program for 1 to `MOST` faces, an example of its input, and which of the input's axes vary."""
    example = torch.zeros(2, 3, size, size, device=device)
    dynamic = {"pixels": {0: torch.export.Dim("faces", min=1, max=MOST)}}
    return torch.export.export(net.to(device), (example,), dynamic_shapes=dynamic), example, dynamic


class _Half(nn.Module):
    """A view whose inside is half precision."""

    def __init__(self, view: nn.Module) -> None:
        super().__init__()
        self.view = view.half()

    def forward(self, x: Tensor) -> Tensor:
        return self.view(x.half()).float()
