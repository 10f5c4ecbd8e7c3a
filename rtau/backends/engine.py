"""TensorRT engines by torch-tensorrt's documented path: torch.export, dynamo.compile, save, load.

Written to the documentation and run with neither torch-tensorrt nor a GPU yet; what comes before and after is tested.
An engine fits the version of TensorRT and the kind of GPU that it was built with, so it is built where it runs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import RtauError, UsageError
from ..model import DeployedAuNet

#: Faces at once: an engine takes 1 to `MOST` and is fastest at `USUAL`.
USUAL, MOST = 8, 64


def check_tensorrt(otherwise: str) -> None:
    """Raise UsageError, which ends in what to do otherwise, where torch-tensorrt or the GPU is missing."""
    needs = f"pip install 'rtau[tensorrt]' on a machine with an NVIDIA GPU, or {otherwise}"
    try:
        import torch_tensorrt  # noqa: F401
    except (ImportError, OSError) as error:  # OSError: TensorRT's own libraries are missing
        raise UsageError(f"TensorRT needs torch-tensorrt ({str(error).splitlines()[0]}): {needs}") from None
    if not torch.cuda.is_available():
        raise UsageError(f"TensorRT needs an NVIDIA GPU, and torch finds none: {needs}")


def in_half(net: nn.Module) -> nn.Module:
    """A copy in the precision that an engine is to have, since engines take theirs from the weights.

    The views of an AU network compute in half precision. All else stays in single: places of points are means over a
    heat map, which half precision would round to a sixteenth of a pixel.
    """
    net = copy.deepcopy(net)
    if isinstance(net, DeployedAuNet):
        net.views = nn.ModuleList(_Half(view) for view in net.views)
    return net


def export_program(net: nn.Module, size: int, device: str) -> tuple[torch.export.ExportedProgram, Tensor, dict[str, Any]]:
    """A network of float32 [N, 3, S, S] as a program for 1 to `MOST` faces, an example of its input, and which of the
    input's axes vary. Its argument is called "pixels"."""
    example = torch.zeros(2, 3, size, size, device=device)
    dynamic = {"pixels": {0: torch.export.Dim("faces", min=1, max=MOST)}}
    return torch.export.export(net.to(device), (example,), dynamic_shapes=dynamic), example, dynamic


def build_engine(net: nn.Module, size: int, path: Path) -> None:
    """Build a network's engine, which takes tens of seconds, and write it with the program about it.

    Raises:
        RtauError: TensorRT can't build it. OSError: it can't be written.
    """
    import torch_tensorrt

    shapes = {f"{name}_shape": (count, 3, size, size) for name, count in (("min", 1), ("opt", USUAL), ("max", MOST))}
    program, example, dynamic = export_program(net, size, "cuda")
    try:
        engine = torch_tensorrt.dynamo.compile(
            program, arg_inputs=[torch_tensorrt.Input(**shapes, dtype=torch.float32)], use_explicit_typing=True)
        torch_tensorrt.save(engine, str(path), arg_inputs=[example], dynamic_shapes=dynamic)
    except OSError:
        raise
    except Exception as error:  # whatever the compiler raises
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RtauError(f"TensorRT can't build the network ({reason})") from error


def load_engine(path: Path) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """What `build_engine` wrote: float32 [N, 3, S, S] on the GPU in, the network's outputs there."""
    import torch_tensorrt

    return torch_tensorrt.load(str(path)).module()


def engine_version() -> str:
    """All that an engine depends on besides the network: versions, GPU and driver."""
    import importlib.metadata

    versions = []
    for name in ("torch", "torch-tensorrt", "tensorrt"):
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{name} unknown")
    gpu = torch.cuda.get_device_properties(0)
    driver = Path("/proc/driver/nvidia/version")
    told = driver.read_text().splitlines()[0] if driver.is_file() else ""
    return f"{', '.join(versions)}; {gpu.name} {gpu.major}.{gpu.minor}; {told}; {USUAL} {MOST} float16"


class _Half(nn.Module):
    """A view whose inside is half precision."""

    def __init__(self, view: nn.Module) -> None:
        super().__init__()
        self.view = view.half()

    def forward(self, x: Tensor) -> Tensor:
        return self.view(x.half()).float()
