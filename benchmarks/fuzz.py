"""Damaged files of every kind that rtau reads: what becomes of each.

    python -m benchmarks.fuzz --count 10000 [--kinds video,picture] [--seed 0] [--keep DIR]

Each is read by a worker process, under a limit of time and memory. A file may be read whole or in part, or be refused
with one line; anything else is a fault: a traceback, a rule of frames that is broken (times rise, numbers rise), a
worker that hangs, dies or grows too large. Prints a table by kind and a line for each fault; the files behind faults
are kept in --keep. Files that are whole but strange (time stamps going backwards, frames of another size midway) come
first. Exit code 1 where there was a fault.
"""

from __future__ import annotations

import argparse
import collections
import multiprocessing as mp
import os
import re
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Self

import numpy as np

from benchmarks.mutations import READERS, Seed, make_seeds, mutate, odd_videos
from rtau_train.progress import CountBar

#: What may become of a file; the others are faults.
FINE = ("read", "refused")
FAULTS = ("traceback", "hung", "died", "too large")


@dataclass(frozen=True)
class Trial:
    """One damaged file.

    Attributes:
        number: from 0; with the seed of the whole, it makes the file.
        name: as the file is called, its suffix included.
        kind: what reads it.
        way: how it was damaged.
        data: its bytes.
    """

    number: int
    name: str
    kind: str
    way: str
    data: bytes


@dataclass(frozen=True)
class Fate:
    """What became of a file: the word, details in a line, seconds, and the worker's memory at its peak in MB."""

    word: str
    says: str
    seconds: float
    memory: float


def trials(seeds: list[Seed], count: int, seed: int, folder: Path) -> Iterator[Trial]:
    """Strange files first, then `count` damaged ones, always the same for the same `seed`."""
    number = 0
    if any(each.kind == "video" for each in seeds):
        for name, way, data in odd_videos(folder):
            yield Trial(number, name, "video", way, data)
            number += 1
    media = [each for each in seeds if each.kind in ("video", "picture")]
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        one = seeds[i % len(seeds)]
        way, data = mutate(one, media, rng)
        yield Trial(number + i, one.name, one.kind, way, data)


class Worker:
    """A process that reads files and may be lost.

    Args:
        seconds: what a file may take.
        memory: what the process may take, MB.
        readers: functions of a module, by the kind of file that they read.
    """

    def __init__(self, seconds: float, memory: float, readers: Mapping[str, Callable[[Path], int]] = READERS) -> None:
        self._seconds, self._memory, self._readers = seconds, memory, dict(readers)
        self._connection: Connection | None = None
        self._process: mp.process.BaseProcess | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._kill()

    def read(self, path: Path, kind: str) -> Fate:
        """Have a file read; a process that was lost by the last one is replaced."""
        if self._process is None:
            self._connection, theirs = mp.get_context("spawn").Pipe()
            self._process = mp.get_context("spawn").Process(target=_serve, args=(theirs, self._memory, self._readers),
                                                             daemon=True)
            self._process.start()
            theirs.close()
            self._connection.recv()
        started = time.monotonic()
        self._connection.send((str(path), kind))
        if not self._connection.poll(self._seconds):
            self._kill()
            return Fate("hung", f"not done after {self._seconds:g} s", time.monotonic() - started, 0.0)
        try:
            word, says, memory = self._connection.recv()
        except EOFError:
            self._process.join()
            code = self._process.exitcode or 0
            self._kill()
            return Fate("died", signal.Signals(-code).name if code < 0 else f"exit code {code}",
                        time.monotonic() - started, 0.0)
        if memory > self._memory:
            word, says = "too large", f"{memory:.0f} MB"
        if word in FAULTS:
            self._kill()
        return Fate(word, says, time.monotonic() - started, memory)

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
        self._process = None


def _serve(connection: Connection, memory: float, readers: Mapping[str, Callable[[Path], int]]) -> None:
    """The worker's side: paths in, what became of them out."""
    import resource

    import cv2

    from rtau.errors import RtauError

    cv2.setNumThreads(1)
    # Address space is more than what is used: threads of decoders reserve much of it.
    limit = int(memory * 1e6) + (4 << 30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    connection.send("ready")
    while True:
        try:
            path, kind = connection.recv()
        except EOFError:
            return
        try:
            word, says = "read", str(readers[kind](Path(path)))
        except RtauError as error:
            word, says = "refused", str(error)
            if "\n" in says:
                word = "traceback"
        except Exception as error:  # whatever it is, it is what is looked for
            word, says = "traceback", _last_words(error)
        connection.send((word, says, _peak_memory()))


def _peak_memory() -> float:
    """Of this process, MB."""
    # What getrusage says begins with what the process that started this one had.
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / 1e3 if found else 0.0


def _last_words(error: Exception) -> str:
    """Where and what, in one line."""
    at = traceback.extract_tb(error.__traceback__)[-1]
    ours = [each for each in traceback.extract_tb(error.__traceback__) if "rtau" in each.filename][-1:]
    places = ", ".join(f"{Path(each.filename).name}:{each.lineno}" for each in (*ours, at))
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''} ({places})"


def run(kinds: list[str], count: int, seed: int, workers: int, seconds: float, memory: float, keep: Path | None
        ) -> list[tuple[Trial, Fate]]:
    """Try them all; what each was and became, without its bytes where it was fine."""
    done: list[tuple[Trial, Fate]] = []
    lock = threading.Lock()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        seeds = [each for each in make_seeds(folder) if each.kind in kinds]
        each = trials(seeds, count, seed, folder)

        def work(number: int) -> None:
            home = folder / f"worker{number}"
            home.mkdir()
            with Worker(seconds, memory) as worker:
                while True:
                    with lock:
                        trial = next(each, None)
                    if trial is None:
                        return
                    path = home / trial.name
                    path.write_bytes(trial.data)
                    fate = worker.read(path, trial.kind)
                    if fate.word in FAULTS and keep is not None:
                        keep.mkdir(parents=True, exist_ok=True)
                        (keep / f"{trial.number:05d}-{trial.name}").write_bytes(trial.data)
                    with lock:
                        done.append((trial, fate))

        threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(workers)]
        for thread in threads:
            thread.start()
        with CountBar("damaged files") as tell:
            while any(thread.is_alive() for thread in threads):
                tell(len(done), count)
                time.sleep(0.2)
    return done


def table(done: list[tuple[Trial, Fate]]) -> list[str]:
    """Lines by kind, then a line for each fault."""
    lines = [f"{'kind':<10}{'files':>8}" + "".join(f"{word:>11}" for word in (*FINE, *FAULTS)) + f"{'slowest s':>11}{'MB':>7}"]
    for kind in READERS:
        fates = [fate for trial, fate in done if trial.kind == kind]
        if fates:
            count = collections.Counter(fate.word for fate in fates)
            lines.append(f"{kind:<10}{len(fates):>8}" + "".join(f"{count[word]:>11}" for word in (*FINE, *FAULTS))
                         + f"{max(fate.seconds for fate in fates):>11.1f}{max(fate.memory for fate in fates):>7.0f}")
    for trial, fate in sorted(done, key=lambda each: each[0].number):
        if fate.word in FAULTS:
            lines.append(f"  {trial.number}, {trial.name}, {trial.way}: {fate.word}: {fate.says}")
    return lines


def main() -> int:
    """The command line, see above; gives its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="damaged files (default: %(default)s)")
    parser.add_argument("--kinds", default=",".join(READERS), help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 1)))
    parser.add_argument("--seconds", type=float, default=20.0, help="that a file may take (default: %(default)s)")
    parser.add_argument("--memory", type=float, default=1500.0, help="MB a worker may take (default: %(default)s)")
    parser.add_argument("--keep", type=Path, help="folder for the files behind faults")
    args = parser.parse_args()
    kinds = args.kinds.split(",")
    if unknown := set(kinds) - set(READERS):
        parser.error(f"no such kind: {', '.join(sorted(unknown))}; there are {', '.join(READERS)}")
    done = run(kinds, args.count, args.seed, args.workers, args.seconds, args.memory, args.keep)
    print("\n".join(table(done)))
    return int(any(fate.word in FAULTS for _, fate in done))


if __name__ == "__main__":
    sys.exit(main())
