"""Batches, drawn ahead of the loop by threads or processes.

Row i of step k's batch depends on (seed, k, i) alone, so that neither the number of processes, nor of
workers, nor a restart changes what is learned.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from rtau.errors import RtauError, UsageError

#: Batches that wait for the loop, beyond those in the making.
_WAITING = 2


@dataclass(frozen=True)
class Batch:
    """What a task learns from at one step, or a piece of it.

    Attributes:
        tensors: by name; the first axis is the face.
        weights: per loss term, over how many things (known labels, faces) its mean is taken.
        sources: of each face, for a person to look it up.
        unreadable: sources of faces that could not be read and were replaced by others.
        rows: of each face, a number that no other of the step has, in whatever piece: chance within the network
            depends on it. A network that knows no chance needs none.
    """

    tensors: dict[str, Tensor]
    weights: dict[str, float]
    sources: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def __reduce__(self):
        # Between processes as plain arrays: torch would pass each tensor by a file descriptor of its own.
        return _unpacked, ({k: v.numpy() for k, v in self.tensors.items()}, self.weights, self.sources, self.unreadable,
                           self.rows)

    def to(self, device: torch.device) -> Batch:
        """The same with its tensors on a device."""
        if device.type == "cpu":
            return self
        return replace(self, tensors={k: v.pin_memory().to(device, non_blocking=True)
                                      for k, v in self.tensors.items()})


def _unpacked(arrays: dict[str, np.ndarray], *rest) -> Batch:
    return Batch({name: torch.from_numpy(value) for name, value in arrays.items()}, *rest)


@dataclass(frozen=True)
class Share:
    """Which rows of step k's batch are wanted: piece `piece` of `pieces` about equal ones.

    Attributes:
        seed, step: what chance depends on, beside the row.
        piece, pieces: the share; each process has one, or a few that it takes one after the other.
    """

    seed: int
    step: int
    piece: int = 0
    pieces: int = 1

    def rows(self, count: int) -> range:
        """The wanted rows of a batch of `count`."""
        return range(count * self.piece // self.pieces, count * (self.piece + 1) // self.pieces)

    def rng(self, row: int, stream: int = 0) -> np.random.Generator:
        """The chance of one row; `stream` tells batches apart that are drawn at the same step."""
        return np.random.default_rng([self.seed, self.step, row, stream])

    def pick(self, row: int, count: int, of: int, stream: int = 0) -> int:
        """Which of `of` faces is in a row of a batch of `count`: all once in random order, then all again."""
        place = self.step * count + row
        return int(_shuffled(self.seed, stream, place // of, of)[place % of])


@lru_cache(8)
def _shuffled(seed: int, stream: int, epoch: int, of: int) -> np.ndarray:
    return np.random.default_rng([seed, stream, epoch, of]).permutation(of)


#: Draws a share of a batch.
Draw = Callable[[Share], Batch]


@dataclass(frozen=True)
class Feed:
    """The batches of a run, in order.

    Attributes:
        draw: draws one share.
        seed: of all chance.
        rank, size: which of how many processes this is.
        accumulate: into how many pieces each process cuts its share.
        workers: threads or processes that draw ahead.
        processes: processes instead of threads: worth it where drawing is slower than learning, since
            threads wait for each other in Python code.
    """

    draw: Draw
    seed: int
    rank: int = 0
    size: int = 1
    accumulate: int = 1
    workers: int = 1
    processes: bool = False

    def at(self, step: int) -> list[Batch]:
        """This process's pieces of one step's batch."""
        pieces = self.size * self.accumulate
        return [self.draw(Share(self.seed, step, self.rank * self.accumulate + piece, pieces))
                for piece in range(self.accumulate)]

    def run(self, steps: range) -> Iterator[tuple[int, list[Batch]]]:
        """Step by step; close the iterator to end the workers.

        Raises:
            RtauError: a worker died. What `draw` raises comes through.
        """
        ahead: deque[Future[list[Batch]]] = deque()
        with self._workers() as pool:
            draw = _draw_here if self.processes else self.at
            try:
                for step in steps:
                    while len(ahead) < self.workers + _WAITING and step + len(ahead) < steps.stop:
                        ahead.append(pool.submit(draw, step + len(ahead)))
                    yield step, ahead.popleft().result()
            except BrokenProcessPool as error:
                raise RtauError("a process that draws batches died (short of memory?): run the same command again to "
                                "go on, perhaps with fewer loop.workers") from error
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _workers(self) -> Executor:
        if not self.processes:
            return ThreadPoolExecutor(self.workers, "batches")
        if "fork" not in multiprocessing.get_all_start_methods():
            raise UsageError("loop.processes needs an operating system that can fork: leave it false")
        return ProcessPoolExecutor(self.workers, multiprocessing.get_context("fork"), _begin, (self, os.getpid()))


# -- in a worker process ---------------------------------------------------------------------

_feed: Feed | None = None


def _begin(feed: Feed, parent: int) -> None:
    """Remember what to draw from; deaf to Ctrl-C, which the parent hears, and gone soon after the parent is."""
    global _feed
    _feed = feed
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_outlive_nobody, args=(parent,), daemon=True).start()


def _outlive_nobody(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _draw_here(step: int) -> list[Batch]:
    assert _feed is not None
    return _feed.at(step)
