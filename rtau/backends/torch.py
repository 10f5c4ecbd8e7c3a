"""Plain torch, on a CPU or an NVIDIA GPU: the reference that other engines are held against."""

from __future__ import annotations

import numpy as np

from ..errors import UsageError
from ..store import Weights


class TorchRunner:
    """Eager float32 torch.

    Args:
        weights: which network.
        device: "cpu" or "cuda".
        threads: CPU threads of torch, which are set for the whole process.

    Raises:
        UsageError: cuda is asked for and there is none.
    """

    def __init__(self, weights: Weights, *, device: str = "cpu", threads: int | None = None) -> None:
        import torch

        from ..model import build

        if device == "cuda" and not torch.cuda.is_available():
            raise UsageError("no CUDA device that this torch can use: choose --device cpu")
        if threads:
            torch.set_num_threads(threads)
        self._torch = torch
        self._device = torch.device(device)
        self._net = build(weights).to(self._device, memory_format=torch.channels_last)
        self.name = f"torch/{device} f32"

    def __call__(self, crops: np.ndarray) -> tuple[np.ndarray, ...]:
        with self._torch.inference_mode():
            pixels = self._torch.from_numpy(np.ascontiguousarray(crops)).to(self._device)
            outputs = self._net(pixels.permute(0, 3, 1, 2).float())
        return tuple(o.cpu().numpy() for o in outputs)
