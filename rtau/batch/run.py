"""Many files on one machine."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

from ..cores import cores, threads_side_by_side
from ..errors import UsageError
from ..sinks.paths import output_error
from . import ledger
from .display import BatchDisplay
from .lock import locked
from .pool import Pool
from .results import Results
from .task import Record, Task


def auto_jobs(backend: str = "auto", device: str = "auto") -> tuple[int, tuple[str, ...]]:
    """How many workers suit this machine, and the GPUs to deal out to them: a worker for each GPU that is used, else
    one for two cores.

    Raises:
        UsageError: there is no such backend or device.
    """
    gpus = used_gpus(backend, device)
    return len(gpus) or max(cores() // 2, 1), gpus


def used_gpus(backend: str = "auto", device: str = "auto") -> tuple[str, ...]:
    """Names for CUDA_VISIBLE_DEVICES of the GPUs that the networks run on; () where they run on the CPU.

    Raises:
        UsageError: there is no such backend or device.
    """
    from ..backends import choose

    if choose(backend, device)[1] != "cuda":
        return ()
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return tuple(word.strip() for word in chosen.split(",") if word.strip())
    import torch

    return tuple(map(str, range(torch.cuda.device_count())))


def run_batch(tasks: Sequence[Task], folder: Path, *, jobs: int = 1, gpus: Sequence[str] = (), stall: float = 120.0,
              display: BatchDisplay | None = None, problems: Sequence[str] = (), verbose: bool = False,
              results: Results | None = None) -> Results:
    """Do tasks in worker processes. Ctrl-C ends it early; it is not raised, see `Results.interrupted`.

    Args:
        tasks: no two with the same output.
        folder: where the tables go; one run at a time is let in.
        jobs, gpus, stall, verbose: see `Pool`.
        display: told how it goes on, already entered.
        problems: for the results.
        results: filled in place of new ones, so that the caller has them after an error too.

    Raises:
        OutputError: another run is at it, or nothing can be written any more.
        UsageError: a setting that no file can be processed with.
    """
    results = results if results is not None else Results([])
    jobs = max(1, min(jobs, len(tasks)))
    results.records[:] = [Record.of(task.job) for task in tasks]
    results.problems, results.jobs = list(problems), jobs
    places = {str(task.job.out): at for at, task in enumerate(tasks)}
    since = time.time()
    threads = None if jobs == 1 else threads_side_by_side(jobs)
    display = display or BatchDisplay(len(tasks), shown=False)
    try:
        with results.clock(), locked(folder) as lock, _closing(Pool(jobs, stall=stall, gpus=gpus, verbose=verbose).run(
                [replace(task, threads=threads) for task in sorted(tasks, key=attrgetter("size"), reverse=True)], display,
                lock.renew)) as records:
            for record in records:
                results.records[places[record.out]] = record
                if record.blame == "usage":
                    raise UsageError(record.error or "no file can be processed with these settings")
                display.done(record)
                if record.blame == "output":
                    _check_disk(folder)
    except KeyboardInterrupt:
        results.interrupted = True
        # A worker may have finished a table and not have come to say so.
        results.records[:] = [ledger.finished(task.job, since) or record if record.state == "left" else record
                              for task, record in zip(tasks, results.records, strict=True)]
    return results


def _check_disk(folder: Path) -> None:
    """Whether an output that could not be written is that file's misfortune alone.

    Raises:
        OutputError: nothing else can be written either.
    """
    probe = folder / ".rtau.probe"
    try:
        probe.write_bytes(bytes(1 << 16))
    except OSError as error:
        raise output_error(folder, error) from None
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


@contextlib.contextmanager
def _closing(records: Iterator[Record]) -> Iterator[Iterator[Record]]:
    """Close the iterator at the end, so that no worker goes on; another Ctrl-C does not hinder that."""
    import signal
    import threading

    try:
        yield records
    finally:
        alone = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGINT, signal.SIG_IGN) if alone else None
        try:
            records.close()  # type: ignore[attr-defined]
        finally:
            if alone:
                signal.signal(signal.SIGINT, before)
