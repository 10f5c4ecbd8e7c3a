"""Where the time goes: seconds per stage of a run."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

#: Calls of a stage that are remembered one by one.
_RECENT = 4096


class Stopwatch:
    """Sums the seconds spent in named stages. Each stage is timed by one thread at a time.

    Attributes:
        seconds: in all, by stage.
        calls: how many, by stage.
        recent: seconds of each of the last calls, by stage.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.calls: dict[str, int] = {}
        self.recent: dict[str, deque[float]] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - started
            self.seconds[stage] = self.seconds.get(stage, 0.0) + took
            self.calls[stage] = self.calls.get(stage, 0) + 1
            self.recent.setdefault(stage, deque(maxlen=_RECENT)).append(took)

    def clear(self) -> None:
        """Forget all."""
        for counted in (self.seconds, self.calls, self.recent):
            counted.clear()
