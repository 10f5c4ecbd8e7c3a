"""Processes that make pictures, and what becomes of them when one dies, fails or is interrupted.

Each worker builds its own maker once and then makes runs of consecutive samples; results come
back in order, however the workers race. Nothing that a worker does touches the disk.
"""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

import cv2
import numpy as np

from rtau.errors import RtauError

log = logging.getLogger(__name__)

#: A picture (RGB uint8 [S, S, 3]) and its labels (plain numbers, words, lists and dicts).
Sample = tuple[np.ndarray, dict[str, Any]]
#: Makes a run of consecutive samples, in order; sample i depends on i, not on the run that it is in.
Maker = Callable[[range], Iterator[Sample]]
#: A picture's JPEG bytes and its labels' JSON bytes.
Encoded = tuple[bytes, bytes]

#: One thread per worker: the processes are the parallelism.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
#: Runs in the hands of each worker: one being made and one waiting, so that none is idle.
_AHEAD = 2


class RenderError(RtauError):
    """A picture could not be made."""


class Crew:
    """Worker processes, started on entering and gone after leaving, whatever happened.

    Args:
        make: picklable; called once in each worker, gives its maker.
        workers: number of processes.
        size: side that every picture must have, pixels.
        quality: of the JPEG files.
    """

    def __init__(self, make: Callable[[], Maker], *, workers: int, size: int, quality: int) -> None:
        self._work = (make, size, quality)
        self._count = workers
        self._processes: dict[Connection, multiprocessing.process.BaseProcess] = {}

    def __enter__(self) -> Crew:
        context = multiprocessing.get_context("spawn")
        resource_tracker.ensure_running()  # starting it later would let Ctrl-C through
        try:
            with _inherited_by_workers():
                for number in range(self._count):
                    ours, theirs = context.Pipe()
                    process = context.Process(target=_serve, args=(theirs, *self._work), daemon=True,
                                              name=f"rtau-render-{number}")
                    process.start()
                    theirs.close()
                    self._processes[ours] = process
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        for connection, process in self._processes.items():
            connection.close()
            process.terminate()
        for process in self._processes.values():
            process.join()
        self._processes.clear()

    def run(self, runs: Sequence[range]) -> Iterator[tuple[range, list[Encoded]]]:
        """Make runs of samples; results in the order of `runs`, at most a few runs ahead of the reader.

        Raises:
            RenderError: a sample can't be made, or a worker died.
            RtauError: a maker raised it.
        """
        done: dict[int, list[Encoded]] = {}
        held: dict[Connection, list[int]] = {connection: [] for connection in self._processes}
        given = 0
        for turn, wanted in enumerate(runs):
            while turn not in done:
                for connection, hands in held.items():
                    while len(hands) < _AHEAD and given < min(len(runs), turn + 2 * _AHEAD * self._count):
                        self._give(connection, runs[given])
                        hands.append(given)
                        given += 1
                for connection in wait([c for c, hands in held.items() if hands]):
                    assert isinstance(connection, Connection)
                    done[held[connection].pop(0)] = self._take(connection)
            yield wanted, done.pop(turn)

    def _give(self, connection: Connection, run: range) -> None:
        try:
            connection.send(run)
        except OSError:
            raise self._died(connection) from None

    def _take(self, connection: Connection) -> list[Encoded]:
        try:
            answer = connection.recv()
        except (EOFError, OSError):
            raise self._died(connection) from None
        if isinstance(answer, list):
            return answer
        error, story = answer
        log.info("a worker failed:\n%s", story)
        raise error

    def _died(self, connection: Connection) -> RenderError:
        process = self._processes[connection]
        process.join(5)
        code = process.exitcode
        killed = code is not None and code < 0
        how = f"was killed by {signal.Signals(-code).name}" if killed else f"ended with code {code}"
        return RenderError(f"a worker process {how} (short of memory?): "
                           "run the same command again to go on, perhaps with fewer --workers")


@contextlib.contextmanager
def _inherited_by_workers() -> Iterator[None]:
    """One thread each, and deaf to Ctrl-C: the parent hears it and ends them."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if hasattr(signal, "pthread_sigmask") else None
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


# -- in the worker ---------------------------------------------------------------------------


def _serve(connection: Connection, make: Callable[[], Maker], size: int, quality: int) -> None:
    """Answer each run with its encoded samples, or with the error that prevents them."""
    cv2.setNumThreads(1)
    maker: Maker | None = None
    with contextlib.suppress(EOFError, OSError):  # the parent is gone
        while True:
            run = connection.recv()
            samples: list[Encoded] = []
            try:
                if maker is None:
                    maker = make()
                for sample in maker(run):
                    samples.append(encode(*sample, size=size, quality=quality))
                connection.send(samples)
            except (EOFError, BrokenPipeError):
                raise
            except RtauError as error:
                connection.send((error, traceback.format_exc()))
            except Exception as error:
                what = ("a worker can't start" if maker is None else
                        f"picture {run[min(len(samples), len(run) - 1)]} can't be made")
                first = (str(error).splitlines() or [""])[0]
                connection.send((RenderError(f"{what}: {type(error).__name__}: {first}"), traceback.format_exc()))


def encode(image: np.ndarray, labels: dict[str, Any], *, size: int, quality: int) -> Encoded:
    """A sample as it lies in a shard; colour at full resolution, since the camera's codec was drawn before.

    Raises:
        ValueError: the picture has another size, or a label is NaN or infinite.
    """
    if image.shape != (size, size, 3) or image.dtype != np.uint8:
        raise ValueError(f"the picture is {image.dtype} {image.shape}, expected uint8 {(size, size, 3)}")
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality,
                cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    jpeg = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), settings)[1].tobytes()
    return jpeg, json.dumps(labels, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
