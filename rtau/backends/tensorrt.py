"""TensorRT on an NVIDIA GPU. Building an engine takes tens of seconds, so torch runs the network until one is there.

The engine is built in the background, compared with torch in single precision, and takes over if it agrees; it is kept
in the cache folder. The next start finds it there.

Neither TensorRT nor a GPU has run this yet: tests put other engines in its place.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from ..store import Weights
from . import ANY_SIZE, Runner
from .prepared import keep, kept_file

log = logging.getLogger(__name__)

#: How far an engine may be off in numbers up to 1, such as chances and radians, and in larger ones, such as pixels.
_NEAR, _NEAR_LARGE = 0.02, 0.1

Run = Callable[[np.ndarray], tuple[np.ndarray, ...]]


class Engines(Protocol):
    """What makes engines: TensorRT, or what stands in for it."""

    def version(self) -> str:
        """All that an engine depends on besides the network."""

    def build(self, weights: Weights, path: Path) -> None:
        """Build a network's engine into a file. Raises RtauError or OSError."""

    def load(self, path: Path) -> Run:
        """An engine that was built, for uint8 crops [N, S, S, 3], an array or a tensor on the GPU. Raises RtauError."""


class TensorRtRunner:
    """A network in TensorRT once its engine is there, and as another runner has it until then.

    Args:
        weights: which network; a detector takes pictures of many sizes, which no engine does, so it stays as it is.
        meanwhile: runs it until the engine is there, and for good if there will be none.
        exact: makes the runner in single precision that the engine is compared with.
        engines: by default TensorRT's.

    Attributes:
        name: what runs the network at the moment.
    """

    def __init__(self, weights: Weights, meanwhile: Runner, exact: Callable[[], Runner], engines: Engines | None = None
                 ) -> None:
        self._weights, self._meanwhile, self._exact = weights, meanwhile, exact
        self._engine: Run | None = None
        self._maker: threading.Thread | None = None
        if weights.facts["kind"] in ANY_SIZE:
            return
        self._engines: Engines = engines or TensorRtEngines()
        self._file = kept_file(weights, "tensorrt", self._engines.version(), ".ep")
        if self._file.exists() and self._take(self._file):
            return
        log.info("building TensorRT's engine for the %s network in the background, once; torch runs it until then",
                 weights.name)
        self._maker = threading.Thread(target=self._make, name="rtau-tensorrt", daemon=True)
        self._maker.start()

    @property
    def name(self) -> str:
        return self._meanwhile.name if self._engine is None else "tensorrt/cuda f16"

    def __call__(self, crops: np.ndarray) -> tuple[np.ndarray, ...]:
        engine = self._engine
        return self._meanwhile(crops) if engine is None or not len(crops) else engine(crops)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the engine is there or given up; whether that was so in time (seconds)."""
        if self._maker is not None:
            self._maker.join(timeout)
        return self._maker is None or not self._maker.is_alive()

    def _make(self) -> None:
        def build(path: Path) -> None:
            self._engines.build(self._weights, path)
            # Before it is kept, so that what is kept has been seen to work.
            if not self._take(path):
                raise _Unfit

        try:
            keep(self._file, build)
        except _Unfit:
            return
        except Exception as error:  # whatever TensorRT raises: torch goes on
            log.warning("%s: torch runs the %s network", _first_line(error), self._weights.name)
            log.debug("no engine", exc_info=True)

    def _take(self, path: Path) -> bool:
        """Let the engine in a file run the network, if it does what the network does."""
        try:
            engine = self._engines.load(path)
            off = _difference(engine, self._exact(), int(self._weights.facts["config"]["size"]))
        except Exception as error:  # whatever TensorRT raises: torch goes on
            log.warning("TensorRT's engine %s does not run (%s)", path, _first_line(error))
            return False
        if not off <= 1:
            log.warning("TensorRT's engine for the %s network is off by %.3g times what is allowed: torch runs it",
                        self._weights.name, off)
            return False
        self._engine = engine
        return True


class TensorRtEngines:
    """TensorRT's own engines."""

    def version(self) -> str:
        """See `Engines.version`."""
        from .engine import engine_version
        return engine_version()

    def build(self, weights: Weights, path: Path) -> None:
        """See `Engines.build`."""
        from ..model import build
        from .engine import build_engine, in_half

        build_engine(in_half(build(weights)), int(weights.facts["config"]["size"]), path)

    def load(self, path: Path) -> Run:
        """See `Engines.load`."""
        import torch

        from .engine import MOST, load_engine

        engine = load_engine(path)

        def run(crops: np.ndarray) -> tuple[np.ndarray, ...]:
            parts = []
            with torch.inference_mode():
                for start in range(0, len(crops), MOST):
                    pixels = crops[start:start + MOST]
                    if isinstance(pixels, np.ndarray):
                        pixels = torch.from_numpy(np.ascontiguousarray(pixels)).pin_memory()
                    pixels = pixels.to("cuda", non_blocking=True).permute(0, 3, 1, 2).float().contiguous()
                    parts.append([output.float().cpu().numpy() for output in engine(pixels)])
            return tuple(np.concatenate(column) for column in zip(*parts, strict=True))

        return run


class _Unfit(Exception):
    """An engine was built that can't be used; why was said."""


def _difference(engine: Run, exact: Runner, size: int) -> float:
    """How far an engine is off on a few fixed pictures, in shares of what is allowed; NaN for no numbers."""
    rng = np.random.default_rng(0)
    # Soft noise, from dark to bright: nothing like a face, but it stirs every layer.
    soft = rng.normal(0, 60, (5, size // 16, size // 16, 3)).repeat(16, 1).repeat(16, 2)
    levels = np.linspace(60, 190, 5)[:, None, None, None]
    crops = (soft + levels + rng.normal(0, 8, soft.shape)).clip(0, 255).astype(np.uint8)
    worst = 0.0
    for count in (1, 4):
        for ours, wanted in zip(engine(crops[:count]), exact(crops[:count]), strict=True):
            if ours.shape != wanted.shape:
                return float("inf")
            known = np.isfinite(wanted)
            allowed = np.where(np.abs(wanted) <= 1, _NEAR, _NEAR_LARGE)
            off = np.abs(ours - wanted)[known] / allowed[known]
            worst = max(worst, float(off.max(initial=0))) if np.isfinite(off).all() else float("nan")
    return worst


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def open_tensorrt(weights: Weights, *, threads: int | None) -> TensorRtRunner:
    """A network for an NVIDIA GPU.

    Raises:
        UsageError: torch-tensorrt or the GPU is missing.
    """
    from .engine import check_tensorrt
    from .torch import TorchRunner

    check_tensorrt("leave --backend out")
    return TensorRtRunner(weights, TorchRunner(weights, device="cuda", precision="float16", threads=threads),
                          lambda: TorchRunner(weights, device="cpu"))
