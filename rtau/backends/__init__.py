"""How a network runs: one small interface, several engines behind it.

`open_backend` picks one; the rest of rtau only sees `Runner`.
"""

from __future__ import annotations

import importlib.util
from typing import Literal, Protocol, get_args

import numpy as np

from ..errors import UsageError
from ..store import Weights

BackendName = Literal["auto", "onnxruntime", "openvino", "torch", "compile", "tensorrt"]
BACKENDS: tuple[str, ...] = get_args(BackendName)
Precision = Literal["auto", "float32", "bfloat16", "float16"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
#: Those that run on a CPU alone.
CPU_ONLY = ("onnxruntime", "openvino")
#: Kinds of networks that take pictures of other sizes than that of their config.
ANY_SIZE = ("detector",)


class Runner(Protocol):
    """A network ready to run.

    Attributes:
        name: engine, device and precision for people to read, e.g. "onnxruntime/cpu f32".
    """

    name: str

    def __call__(self, crops: np.ndarray) -> tuple[np.ndarray, ...]:
        """Outputs (float32, N rows each) of uint8 crops [N, S, S, 3], RGB; N may be 0.

        Engines that aren't in `CPU_ONLY` also take a torch tensor, on the device where they run.

        A network of a kind in `ANY_SIZE` takes pictures [N, H, W, 3] whose sides are multiples of 32.
        """


def choose(name: str, device: str) -> tuple[str, str]:
    """Resolve "auto" to an engine and a device.

    On a CPU ONNX Runtime where it is installed, else OpenVINO, else torch; on an NVIDIA GPU TensorRT where it is
    installed, else torch.

    Raises:
        UsageError: an unknown name, or a pair that does not exist.
    """
    if name not in BACKENDS:
        raise UsageError(f"unknown backend {name!r}: choose from {', '.join(BACKENDS)}")
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"unknown device {device!r}: choose from auto, cpu, cuda")
    if name in CPU_ONLY and device == "cuda":
        raise UsageError(f"the {name} backend runs on the CPU: leave --device out, or choose --backend torch")
    if name == "tensorrt" and device == "cpu":
        raise UsageError("TensorRT runs on NVIDIA GPUs: leave --device out, or choose another --backend")
    if device == "auto":
        device = "cuda" if name == "tensorrt" or name not in CPU_ONLY and _cuda_ready() else "cpu"
    if name == "auto":
        able = {"onnxruntime": "onnxruntime", "openvino": "openvino"} if device == "cpu" else {
            "tensorrt": "torch_tensorrt"}
        name = next((one for one, package in able.items() if importlib.util.find_spec(package) is not None), "torch")
    return name, device


def choose_precision(name: str, engine: str, device: str) -> str:
    """Resolve "auto" to the precision of an engine on a device: single on a CPU, half on a GPU.

    Raises:
        UsageError: an unknown name, or one in which the engine does not compute there.
    """
    if name not in PRECISIONS:
        raise UsageError(f"unknown precision {name!r}: choose from {', '.join(PRECISIONS)}")
    able = {"onnxruntime": ("float32",), "tensorrt": ("float16",)}.get(
        engine, ("float32", "bfloat16") if device == "cpu" else PRECISIONS[1:])
    if name == "auto":
        return "float32" if device == "cpu" else "float16"
    if name not in able:
        raise UsageError(f"{engine} on {device} computes in {' or '.join(able)}, not in {name}: leave --precision out")
    return name


def open_backend(weights: Weights, name: str = "auto", device: str = "auto", *, precision: str = "auto",
                 threads: int | None = None) -> Runner:
    """Make a network ready to run.

    Args:
        weights: which network.
        name: one of `BACKENDS`.
        device: "auto", "cpu" or "cuda".
        precision: one of `PRECISIONS`; "auto" is float32 on a CPU and float16 on a GPU.
        threads: CPU threads, the engine's own choice when None.

    Raises:
        UsageError: the engine, the device or the precision is unknown or can't be had here.
        RtauError: the weights are missing or damaged.
    """
    engine, place = choose(name, device)
    kind = choose_precision(precision, engine, place)
    if engine == "openvino":
        from .openvino import OpenVinoRunner
        return OpenVinoRunner(weights, precision=kind, threads=threads)
    if engine == "onnxruntime":
        from .onnxruntime import OnnxRunner
        return OnnxRunner(weights, threads=threads)
    if engine == "tensorrt":
        from .tensorrt import open_tensorrt
        return open_tensorrt(weights, threads=threads)
    from .torch import TorchRunner
    return TorchRunner(weights, device=place, precision=kind, compiled=engine == "compile", threads=threads)


def _cuda_ready() -> bool:
    """Whether an NVIDIA driver is loaded and torch can use it; the driver is asked first, as torch is slow to load."""
    from pathlib import Path
    if not (Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidiactl").exists() or _on_windows()):
        return False
    import torch
    return torch.cuda.is_available()


def _on_windows() -> bool:
    import sys
    return sys.platform == "win32"
