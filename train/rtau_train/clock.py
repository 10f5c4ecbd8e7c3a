"""How fast a training goes, how long it still takes, and what memory it needs."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Iterator

import torch


class Clock:
    """Times a run from its first step on.

    Args:
        steps: of the whole run.
        device: where it computes.

    Attributes:
        figures: pictures a second (validations apart), minutes left (validations included) and gigabytes, for the
            display and the metrics.
    """

    def __init__(self, steps: int, device: torch.device) -> None:
        self._steps, self._device = steps, device
        self._first, self._faces, self._begun, self._pauses = -1, 0, 0.0, 0.0
        self.figures = {"pictures_per_second": math.nan, "minutes_left": math.nan, "memory_gb": memory(device)}

    def learned(self, done: int, faces: int) -> None:
        """So many steps are done, the last with so many faces."""
        now = time.perf_counter()
        if self._first < 0:  # it also paid for starting
            self._first, self._begun = done, now
            return
        self._faces += faces
        whole = max(now - self._begun, 1e-9)
        self.figures = {"pictures_per_second": self._faces / max(whole - self._pauses, 1e-9),
                        "minutes_left": whole / (done - self._first) * (self._steps - done) / 60,
                        "memory_gb": memory(self._device)}

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Time that is no learning."""
        begun = time.perf_counter()
        yield
        if self._first >= 0:
            self._pauses += time.perf_counter() - begun


def memory(device: torch.device) -> float:
    """The most that was in use so far, in GB: of the GPU's memory, or by this process; NaN where nobody knows."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    try:
        import resource
    except ImportError:  # Windows
        return math.nan
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9
