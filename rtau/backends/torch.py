"""Plain torch, on a CPU or an NVIDIA GPU: the reference that other engines are held against.

On a GPU the networks compute in half precision, and each batch size is one CUDA graph, which spares the launching of
some hundred small kernels. `torch.compile` makes programs of its own, on either.

Verified on a CPU only: CUDA graphs and half precision have not run yet.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UsageError
from ..store import Weights
from .padding import run_padded
from .prepared import say_preparing

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

_SHORT = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
#: Graphs that are kept at most, as pictures come in many sizes.
_GRAPHS = 16
#: Runs of a network before its graph is taken.
_WARM = 3


class TorchRunner:
    """A network in torch.

    Args:
        weights: which network.
        device: "cpu" or "cuda".
        precision: of the convolutions: "float32", "bfloat16" or, on a GPU, "float16".
        compiled: let torch.compile make a program for each batch size, which takes up to a minute each.
        threads: CPU threads of torch, which are set for the whole process.

    Raises:
        UsageError: cuda is asked for and there is none, or torch.compile finds no compiler.
    """

    def __init__(self, weights: Weights, *, device: str = "cpu", precision: str = "float32", compiled: bool = False,
                 threads: int | None = None) -> None:
        import torch

        from ..model import build

        if device == "cuda" and not torch.cuda.is_available():
            raise UsageError("no CUDA device that this torch can use: choose --device cpu")
        if threads:
            torch.set_num_threads(threads)
        self._torch = torch
        self._device = torch.device(device)
        self._type = None if precision == "float32" else getattr(torch, precision)
        self._net: Callable = build(weights).to(self._device, memory_format=torch.channels_last)
        self._graphs: dict[tuple[int, ...], _Graph] = {}
        self._fixed = compiled or device == "cuda"
        self.name = f"{'torch.compile' if compiled else 'torch'}/{device} {_SHORT[precision]}"
        if compiled:
            self._net = torch.compile(self._net, dynamic=False)
            say_preparing(weights)
            self._try(int(weights.facts["config"]["size"]))

    def __call__(self, crops: np.ndarray | Tensor) -> tuple[np.ndarray, ...]:
        """See `rtau.backends.Runner`; also of a tensor on the device."""
        with self._torch.inference_mode():
            pixels = self._torch.from_numpy(np.ascontiguousarray(crops)) if isinstance(crops, np.ndarray) else crops
            return run_padded(self._run, pixels) if self._fixed else self._run(pixels)

    def _run(self, pixels: Tensor) -> tuple[np.ndarray, ...]:
        outputs = self._compute(pixels) if self._device.type == "cpu" else self._graph(tuple(pixels.shape))(pixels)
        return tuple(o.float().cpu().numpy() for o in outputs)

    def _compute(self, pixels):
        """The outputs of uint8 [N, H, W, 3] on the device."""
        # A graph can't hold what autocast keeps between calls.
        with self._torch.autocast(self._device.type, self._type, enabled=self._type is not None, cache_enabled=False):
            return self._net(pixels.permute(0, 3, 1, 2).float())

    def _graph(self, shape: tuple[int, ...]) -> _Graph:
        if shape not in self._graphs:
            if len(self._graphs) >= _GRAPHS:
                del self._graphs[next(iter(self._graphs))]
            self._graphs[shape] = _Graph(self._compute, shape, self._device)
        return self._graphs[shape]

    def _try(self, size: int) -> None:
        """Compile now, so that what is missing is said at once."""
        try:
            self(np.zeros((1, size, size, 3), np.uint8))
        except Exception as error:  # whatever the compiler raises
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UsageError(f"torch.compile does not work here ({reason}): it needs a C++ compiler; leave --backend "
                             "out") from None


class _Graph:
    """A CUDA graph of a network for one shape of input."""

    def __init__(self, compute: Callable, shape: tuple[int, ...], device) -> None:
        import torch

        self._pixels = torch.zeros(shape, dtype=torch.uint8, device=device)
        self._pinned = torch.zeros(shape, dtype=torch.uint8, pin_memory=True)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM):
                compute(self._pixels)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        # Another thread may be at work on the GPU meanwhile.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._outputs = compute(self._pixels)

    def __call__(self, pixels):
        """The outputs of uint8 [N, H, W, 3] on the CPU or the device; the next call, which must wait until these were
        taken, overwrites them."""
        if pixels.device.type == "cpu":
            pixels = self._pinned.copy_(pixels)
        self._pixels.copy_(pixels, non_blocking=True)
        self._graph.replay()
        return self._outputs
