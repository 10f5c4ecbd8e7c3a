"""Worker processes, each with a task; what dies or stands still costs its file and no more."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from ..errors import RtauError
from . import staging
from .task import Record, Task

#: Begins a worker with the same modules at hand as here.
_START = "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); from rtau.batch.worker import main; main()"
#: How often a task is begun at most.
_ATTEMPTS = 2
#: Workers that end before they begin, so many in a row, are no file's fault.
_FALSE_STARTS = 3
#: Further seconds for what shows no progress: Python's start, a network that is prepared for the first time.
_START_SECONDS = 60.0
#: Seconds between two looks at the workers that say that this process was paused (Ctrl-Z), and they with it.
_PAUSED = 5.0


class Audience(Protocol):
    """Whoever is told how the tasks go on. `worker` counts from 0."""

    def begin(self, worker: int, task: Task) -> None: ...

    def beat(self, worker: int, frames: int, expected: int | None) -> None: ...

    def say(self, line: str) -> None: ...


class Worker:
    """One process and what it is doing.

    Args:
        number: its place in the pool.
        events: where (worker, message) go; message None when it has ended.
        gpu: the only one that it sees; None for all.
        verbose: it says more.
    """

    def __init__(self, number: int, events: queue.Queue, *, gpu: str | None, verbose: bool) -> None:
        self.number = number
        self.task: Task | None = None
        self.stalled = self.ready = False
        self._allowed = 0.0
        self._last = time.monotonic()
        self._words: deque[str] = deque(maxlen=20)
        environment = {**os.environ, **({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, json.dumps(sys.path), *(["-v"] if verbose else [])], env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._readers = [threading.Thread(target=self._read, args=(events,), daemon=True),
                         threading.Thread(target=self._hear, args=(events,), daemon=True)]
        for reader in self._readers:
            reader.start()

    @property
    def process(self) -> int:
        """Its process's number."""
        return self._process.pid

    def give(self, task: Task) -> None:
        """Let it do the task; where it is dead already its end says so."""
        self.task, self._last, self._allowed = task, time.monotonic(), 0.0 if self.ready else _START_SECONDS
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps(task.as_json()).encode() + b"\n")
            self._process.stdin.flush()

    def forgive(self, seconds: float) -> None:
        """Time in which this process stood still itself."""
        self._last += seconds

    def stands_still(self, limit: float) -> bool:
        return self.task is not None and time.monotonic() - self._last > limit + self._allowed

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> None:
        """Let go of it; what it was doing is lost."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        for reader in self._readers:
            reader.join(timeout=5)

    def reason(self) -> str:
        """Why it ended, in words."""
        code = self._process.wait()
        last = next((line for line in reversed(self._words) if line.strip() and not line.startswith(" ")), "")
        if "out of memory" in last or "MemoryError" in last:
            return "the worker ran out of memory"
        if code < 0:
            why = {signal.SIGKILL: "it was killed, perhaps for lack of memory"}.get(-code)
            name = signal.strsignal(-code) or f"signal {-code}"
            return f"the worker died ({why or name.lower()})"
        return f"the worker died (exit code {code}{': ' + last[:200] if last else ''})"

    def _read(self, events: queue.Queue) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):  # cut off by its death
                message = json.loads(line)
                # At once, however long it waits for being seen to.
                self.ready, self._last, self._allowed = True, time.monotonic(), 0.0
                if "beat" in message:
                    # A page may take as long again as all before it.
                    beat = message["beat"]
                    self._allowed = {"report": beat["seconds"], "start": _START_SECONDS}.get(beat["stage"], 0.0)
                events.put((self, message))
        # Its last words may say why.
        self._readers[1].join(timeout=2)
        events.put((self, None))

    def _hear(self, events: queue.Queue) -> None:
        assert self._process.stderr is not None
        for raw in self._process.stderr:
            line = raw.decode(errors="replace").rstrip()
            self._words.append(line)
            if line.startswith("rtau: "):
                events.put((self, {"say": line}))


class Pool:
    """Does tasks in so many processes.

    Args:
        jobs: how many.
        stall: seconds without progress after which a worker is killed.
        gpus: names for CUDA_VISIBLE_DEVICES that are dealt out in turn; () for none.
        verbose: the workers say more.
    """

    def __init__(self, jobs: int, *, stall: float, gpus: Sequence[str] = (), verbose: bool = False) -> None:
        self._jobs, self._stall, self._gpus, self._verbose = jobs, stall, tuple(gpus), verbose
        self._events: queue.Queue = queue.Queue()
        self._workers: dict[int, Worker] = {}
        self._false_starts = 0
        self._looked = 0.0

    @property
    def processes(self) -> dict[int, int]:
        """The process of each worker that there is now, by its number."""
        return {number: worker.process for number, worker in self._workers.items()}

    def run(self, tasks: Sequence[Task], audience: Audience, tick: Callable[[], object] = lambda: None, *,
            keep: bool = False) -> Iterator[Record]:
        """The record of each task, as they are finished. To stop before that, close the iterator: what is being done
        is thrown away then.

        Args:
            tasks: no two with the same output.
            audience: told how it goes on.
            tick: called several times a second.
            keep: let the workers wait for the next call afterwards; `close` ends them.

        Raises:
            RtauError: no worker can be started.
        """
        waiting = deque((task, 1) for task in tasks)
        attempts: dict[int, int] = {}
        kept = False
        try:
            while waiting or any(worker.task for worker in self._workers.values()):
                self._supply(waiting, attempts, audience)
                yield from self._next(waiting, attempts, audience)
                tick()
            kept = keep
        finally:
            if not kept:
                self.close()

    def _supply(self, waiting: deque, attempts: dict[int, int], audience: Audience) -> None:
        """A task for each worker without one, a worker for each place without one."""
        for number in range(self._jobs):
            if not waiting:
                return
            worker = self._workers.get(number)
            if worker is None:
                gpu = self._gpus[number % len(self._gpus)] if self._gpus else None
                worker = self._workers[number] = Worker(number, self._events, gpu=gpu, verbose=self._verbose)
            if worker.task is None:
                task, attempts[number] = waiting.popleft()
                worker.give(task)
                audience.begin(number, task)

    def _next(self, waiting: deque, attempts: dict[int, int], audience: Audience) -> Iterator[Record]:
        """Wait for something to happen, and see to it."""
        try:
            worker, message = self._events.get(timeout=0.25)
        except queue.Empty:
            worker, message = None, {}
        looked, self._looked = self._looked, time.monotonic()
        for one in self._workers.values():
            if looked and self._looked - looked > _PAUSED:
                one.forgive(self._looked - looked)
            if one.stands_still(self._stall) and not one.stalled:
                one.stalled = True
                one.kill()
        if worker is None or self._workers.get(worker.number) is not worker:
            return
        if message is None:
            yield from self._bury(worker, waiting, attempts[worker.number], audience)
        elif "say" in message:
            audience.say(message["say"])
        elif "beat" in message:
            audience.beat(worker.number, message["beat"]["frames"], message["beat"]["expected"])
        elif "record" in message:
            worker.task, self._false_starts = None, 0
            record = Record(**message["record"])
            record.attempts = attempts[worker.number]
            if record.attempts > 1:
                record.notes.append("at the second attempt")
            yield record

    def _bury(self, worker: Worker, waiting: deque, attempt: int, audience: Audience) -> Iterator[Record]:
        """A worker has ended."""
        del self._workers[worker.number]
        reason = (f"it made no progress for {self._stall:g} seconds" if worker.stalled else worker.reason())
        worker.end()
        if worker.task is None:
            return
        staging.discard(worker.task.job)
        if not worker.ready and not worker.stalled:
            self._false_starts += 1
            if self._false_starts >= _FALSE_STARTS:
                raise RtauError(f"workers can't be started ({reason}): with --jobs 1 and one file none is needed")
        if attempt < _ATTEMPTS:
            audience.say(f"rtau: {worker.task.name}: {reason}; it is tried once more")
            # Last: by then memory may be free.
            waiting.append((worker.task, attempt + 1))
            return
        record = Record.of(worker.task.job)
        record.state, record.error, record.blame, record.attempts = "failed", reason, "worker", attempt
        yield record

    def close(self) -> None:
        """End the workers; what they were doing is thrown away."""
        workers, self._workers = list(self._workers.values()), {}
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.end()
            if worker.task is not None:
                staging.discard(worker.task.job)
