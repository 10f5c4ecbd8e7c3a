"""Ctrl-C and SIGTERM, heard at once and obeyed at a good moment."""

from __future__ import annotations

import signal
import threading
from typing import Any, Self


class Interrupts:
    """Notes them from entering to leaving; a second one ends at once. Deaf outside the main thread.

    Attributes:
        heard: whether there was one.
    """

    def __init__(self) -> None:
        self.heard = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, *_: object) -> None:
        if self.heard:
            raise KeyboardInterrupt
        self.heard = True
