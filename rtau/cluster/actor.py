"""What runs on the cluster: an actor for each file at a time, and one on the head that hears of them all."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections import Counter, deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any

from .. import __version__
from ..batch.pool import Pool
from ..batch.task import Record, Task
from ..errors import RtauError
from .errand import new_record
from .location import Location
from .scratch import Scratch

log = logging.getLogger(__name__)

#: How often a file is begun by actors that then die, with their machine or without.
_BEGINNINGS = 4
#: Seconds between two words on how a file goes on.
_EVERY = 1.0
#: Lines that wait to be heard at most.
_LINES = 1000


class Watch:
    """Knows which actor does what, and how often each file was begun. One for a run."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._attempts: Counter[int] = Counter()
        self._news: dict[int, dict[str, Any]] = {}
        self._said: deque[str] = deque(maxlen=_LINES)

    def begin(self, actor: str, at: int) -> int:
        """An actor takes a file; how often that was taken, this time included."""
        self._attempts[at] += 1
        number = self._numbers.setdefault(actor, len(self._numbers))
        self._news[number] = {"at": at, "frames": 0, "expected": None, "began": True}
        return self._attempts[at]

    def beat(self, actor: str, at: int, frames: int, expected: int | None) -> None:
        """It got on."""
        number = self._numbers.setdefault(actor, len(self._numbers))
        began = self._news.get(number, {}).get("began", False)
        self._news[number] = {"at": at, "frames": frames, "expected": expected, "began": began}

    def say(self, line: str) -> None:
        """Something to be read."""
        self._said.append(line)

    def hear(self) -> tuple[dict[int, dict[str, Any]], list[str]]:
        """What is new since the last time: of actors, by their numbers, and lines."""
        news, said = self._news, list(self._said)
        self._news = {}
        self._said.clear()
        return news, said


class Hand:
    """An actor's part: a worker process that stays warm, around which nothing can crash.

    Args:
        watch: handle of the run's `Watch`.
        version: of rtau, which must be the one here.
        marker: a file of this run at the output, if that lies in a folder which all machines must share.
        stall: see `rtau.batch.pool.Pool`.
        verbose: the worker says more.
    """

    def __init__(self, watch: Any, version: str, marker: str | None, stall: float, verbose: bool) -> None:
        import ray

        self._watch, self._ray = watch, ray
        self._name = ray.get_runtime_context().get_actor_id() or ""
        self._scratch = Scratch()
        self._pool = Pool(1, stall=stall, verbose=verbose)
        self._wrong = _mismatch(version, marker)
        # A worker ends with the thread that started it, and Ray calls from one thread or another.
        self._thread = ThreadPoolExecutor(1, "rtau-hand")

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Do the files of a batch: column "task", JSON of `at` and `task`, in; column "record", of `at` and `record`, out."""
        return {"record": [self._thread.submit(self._do, str(text)).result() for text in batch["task"]]}

    def _do(self, text: str) -> str:
        told = json.loads(text)
        at, task = told["at"], Task.from_json(told["task"])
        try:
            record = self._record(at, task)
        except RtauError as error:  # workers can't be started
            record = _failed(task, str(error), "usage")
        except Exception as error:  # one file's misfortune is not to end the others
            log.debug("%s", task.name, exc_info=True)
            record = _failed(task, f"unexpected {type(error).__name__}: {(str(error).splitlines() or [''])[0]}", "rtau")
        finally:
            self._scratch.empty()
        return json.dumps({"at": at, "record": asdict(record)})

    def _record(self, at: int, task: Task) -> Record:
        if self._wrong:
            return _failed(task, self._wrong, "usage")
        attempt = self._begin(at)
        if attempt > _BEGINNINGS:
            record = _failed(task, f"the {attempt - 1} actors that began it died, perhaps for lack of memory", "worker")
            record.attempts = attempt - 1
            return record
        errand = {**(task.errand or {}), "attempt": attempt, "scratch": str(self._scratch.folder)}
        told = _Told(self._watch, self._name, at)
        (record,) = self._pool.run([replace(task, errand=errand)], told, keep=True)
        plain = new_record(task)
        # One that failed speaks of the job as the pool knows it.
        record.inputs, record.out = plain.inputs, plain.out
        if attempt > 1:
            record.attempts = max(record.attempts, attempt)
            record.notes.append(f"begun {attempt} times")
        return record

    def _begin(self, at: int) -> int:
        try:
            return self._ray.get(self._watch.begin.remote(self._name, at), timeout=60)
        except self._ray.exceptions.RayError:
            return 1


class _Told:
    """Passes on how a file goes on; an `rtau.batch.pool.Audience`."""

    def __init__(self, watch: Any, name: str, at: int) -> None:
        self._watch, self._name, self._at = watch, name, at
        self._last = 0.0

    def begin(self, worker: int, task: Task) -> None:
        pass

    def beat(self, worker: int, frames: int, expected: int | None) -> None:
        if time.monotonic() - self._last > _EVERY:
            self._last = time.monotonic()
            with contextlib.suppress(Exception):
                self._watch.beat.remote(self._name, self._at, frames, expected)

    def say(self, line: str) -> None:
        with contextlib.suppress(Exception):
            self._watch.say.remote(line)


def _mismatch(version: str, marker: str | None) -> str | None:
    """Why nothing can be done here, in one line."""
    import socket

    if version != __version__:
        return (f"the cluster's machine {socket.gethostname()} has rtau {__version__}, and the command is {version}: install "
                "the same version on all")
    try:
        if marker is not None and Location(marker).stat() is None:
            return (f"the cluster's machine {socket.gethostname()} does not see {marker}: give an --out that all machines "
                    "share, or a location such as s3://bucket/folder")
    except RtauError as error:
        return str(error)
    return None


def _failed(task: Task, reason: str, blame: str) -> Record:
    record = new_record(task)
    record.state, record.error, record.blame = "failed", reason, blame
    return record
