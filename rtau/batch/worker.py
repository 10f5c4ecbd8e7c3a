"""A worker: a process that does tasks, one after the other, told over its standard input in lines of JSON.

It answers on what was its standard output: {"ready": true} once, {"beat": ...} while it gets on, {"record": ...} when
a task is done. Whatever libraries print goes to standard error. When whoever started it is gone, it ends at once.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import queue
import signal
import sys
import threading
import time
from typing import Any, Self

#: Seconds between two looks at whether there is something to tell.
_EVERY = 0.25


def main() -> None:
    """Do tasks until standard input ends; whoever starts it passes its number of -v as the only word."""
    _settle()
    out = os.fdopen(os.dup(1), "w", encoding="ascii", buffering=1)
    os.dup2(2, 1)
    tasks: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_listen, args=(tasks,), name="rtau-tasks", daemon=True).start()

    from ..commands.options import prepare_process

    prepare_process("-v" in sys.argv)
    from .work import work

    out.write('{"ready": true}\n')
    while True:
        task = tasks.get()
        with _Beats(out) as beats:
            try:
                record = work(task, beats)
            except MemoryError:
                print("rtau: out of memory", file=sys.stderr, flush=True)
                os._exit(70)
        out.write(json.dumps({"record": record}) + "\n")
        if record["frames"]:
            # PyAV's frames hang in knots that hold whole pictures.
            gc.collect()


def _settle() -> None:
    """Leave Ctrl-C to whoever started it, and go when that one goes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        import ctypes

        parent = os.getppid()
        # PR_SET_PDEATHSIG is 1. The closed pipe says the same, but not to a decoder that holds the interpreter up.
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(0)


def _listen(tasks: queue.Queue[dict[str, Any]]) -> None:
    for line in sys.stdin.buffer:
        tasks.put(json.loads(line))
    os._exit(0)


class _Beats:
    """Tells now and then how a task gets on, and only if it does; a `Watcher`."""

    def __init__(self, out: Any) -> None:
        self._out = out
        self._stage, self._frames, self._steps = "", 0, 0
        self._source: Any = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tell, name="rtau-beats", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def stage(self, name: str) -> None:
        self._stage = name
        self._steps += 1

    def begin(self, source: Any) -> None:
        self._source = source

    def frame(self, frame: Any, scores: Any) -> None:
        self._frames += 1

    def step(self) -> None:
        self._steps += 1

    def _tell(self) -> None:
        told, begun = None, time.monotonic()
        while not self._ended.wait(_EVERY):
            source = self._source
            now = self._stage, self._frames, self._steps, source and source.steps
            if now != told:
                told = now
                beat = {"stage": self._stage, "frames": self._frames, "expected": source and source.expected,
                        "seconds": time.monotonic() - begun}
                try:
                    self._out.write(json.dumps({"beat": beat}) + "\n")
                except OSError:
                    os._exit(0)


if __name__ == "__main__":
    main()
