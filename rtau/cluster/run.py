"""Many files on a cluster: a Ray Data pool of actors, whose records come back one by one."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .. import __version__
from ..batch.display import BatchDisplay
from ..batch.lock import locked
from ..batch.results import Results, write_summary
from ..batch.task import Record, Task
from ..errors import InputError, OutputError, RtauError, UsageError
from .actor import Hand, Watch
from .connection import check_workers
from .errand import finished, new_record
from .location import Location
from .partition import RUNS

log = logging.getLogger(__name__)

#: Blocks of tasks at most; with more files than that several go together.
_BLOCKS = 10_000
#: How often what was lost by Ray is given to it again.
_ROUNDS = 3
#: Threads of a network at most: more don't make it faster.
_THREADS = 4
#: Files that an actor has or waits for; with fewer Ray never finds a pool so busy that it asks for more actors.
_IN_FLIGHT = 2
#: Seconds between two looks at how the files go on.
_LOOK = 0.5


@dataclass(frozen=True)
class Crew:
    """Who does the work.

    Attributes:
        most: actors at once at most; None for as many as the cluster has room for, now or later.
        cpus, gpus: of each actor.
        stall: seconds without progress after which a file is given up.
        verbose: the actors' workers say more.
    """

    most: int | None = None
    cpus: float = 2
    gpus: float = 0
    stall: float = 120.0
    verbose: bool = False

    @property
    def threads(self) -> int:
        """Of each network: two run side by side."""
        return min(max(int(self.cpus) // 2, 1), _THREADS)


def choose_crew(ray: Any, *, most: int | None, cpus: float | None, gpus: float | None, backend: str, device: str,
                stall: float = 120.0, verbose: bool = False) -> Crew:
    """Fill in what was not asked for: two cores for each actor, or what the machines have; a GPU each where the
    cluster has some and the networks may use them.

    Raises:
        UsageError: no machine of the cluster has what was asked for.
    """
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    able = device == "cuda" or (device == "auto" and backend in ("auto", "torch", "compile", "tensorrt"))
    has = max((machine.get("GPU", 0) for machine in machines), default=0)
    chosen_gpus = gpus if gpus is not None else float(able and has >= 1)
    largest = max((machine.get("CPU", 0) for machine in machines), default=0)
    chosen_cpus = cpus if cpus is not None else min(2.0, largest or 2.0)
    return Crew(most, chosen_cpus, chosen_gpus, stall, verbose)


def room(ray: Any, crew: Crew) -> int:
    """How many actors the cluster has room for as it is now."""
    def of(machine: Mapping[str, float]) -> int:
        parts = [machine.get("CPU", 0) / crew.cpus] if crew.cpus else []
        parts += [machine.get("GPU", 0) / crew.gpus] if crew.gpus else []
        return math.floor(min(parts) + 1e-9) if parts else 1

    return sum(of(node["Resources"]) for node in ray.nodes() if node["Alive"])


def run_cluster(ray: Any, tasks: Sequence[Task], out: Location, run: str, crew: Crew, *,
                display: BatchDisplay | None = None, problems: Sequence[str] = (), results: Results | None = None
                ) -> Results:
    """Do tasks on the cluster. Ctrl-C ends it early; it is not raised, see `Results.interrupted`.

    Args:
        ray: connected, see `rtau.cluster.connection.connected`.
        tasks: of `rtau.cluster.errand.make_task`, no two with the same output.
        out: the data set; what became of each file is written there too, under `_runs`.
        run: the word that the tasks were made with.
        display: told how it goes on, already entered.
        problems: for the results.
        results: filled in place of new ones, so that the caller has them after an error too.

    Raises:
        OutputError: nothing can be written there.
        UsageError: a setting that no file can be processed with, or a machine that can't do any.
        RtauError: the cluster is gone.
    """
    results = results if results is not None else Results([])
    display = display or BatchDisplay(len(tasks), shown=False)
    tasks = [replace(task, threads=crew.threads) for task in tasks]
    results.records[:], results.problems = [new_record(task) for task in tasks], list(problems)
    fits = room(ray, crew)
    results.jobs = min(max(fits, 1), len(tasks), crew.most or len(tasks))
    note = out.child(f"{RUNS}/{run}.json")
    begun: set[int] = set()
    with locked(out.local) if out.local is not None else contextlib.nullcontext() as lock:
        _note(note, results)
        check_workers(ray)
        if not fits:
            display.say(f"rtau: no machine of the cluster has {crew.cpus:g} cores" + f" and {crew.gpus:g} GPUs" * bool(
                crew.gpus) + "; waiting for one to join (--cpus-per-worker and --gpus-per-worker ask for less)")
        try:
            with results.clock(), _watching(ray, tasks, display, begun) as watch:
                made = Hand, (watch, __version__, str(note.local) if note.local else None, crew.stall, crew.verbose)
                for at, record in _records(ray, tasks, made, crew, results):
                    results.records[at] = record
                    if record.blame == "usage":
                        raise UsageError(record.error or "no file can be processed with these settings")
                    display.done(record)
                    if record.blame == "output":
                        _note(note, results)
                    if lock is not None:
                        lock.renew()
        except KeyboardInterrupt:
            results.interrupted = True
            # An actor may have put a table there and not have come to say so.
            for at in begun:
                if results.records[at].state == "left":
                    with contextlib.suppress(InputError):
                        results.records[at] = finished(tasks[at]) or results.records[at]
        finally:
            with contextlib.suppress(OutputError):
                _note(note, results)
    return results


def _records(ray: Any, tasks: Sequence[Task], made: tuple[type, tuple], crew: Crew, results: Results
             ) -> Iterator[tuple[int, Record]]:
    """The record of each task as it is finished. What Ray loses, an actor with its machine and its own room to begin
    anew, is given to it again."""
    missing = sorted(range(len(tasks)), key=lambda at: tasks[at].size, reverse=True)
    for _ in range(_ROUNDS):
        for text in _stream(ray, [json.dumps({"at": at, "task": tasks[at].as_json()}) for at in missing], made, crew,
                            results.jobs):
            told = json.loads(text)
            yield told["at"], Record(**told["record"])
        missing = [at for at in missing if results.records[at].state == "left"]
        if not missing:
            return
    for at in missing:
        record = new_record(tasks[at])
        record.state, record.error, record.blame = "failed", "the cluster lost it several times", "worker"
        yield at, record


def _stream(ray: Any, texts: Sequence[str], made: tuple[type, tuple], crew: Crew, first: int) -> Iterator[str]:
    """What the actors give, as it comes."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    # A block that fails is missing, and no more.
    context.max_errored_blocks = -1
    size = max(len(texts) // _BLOCKS, 1)
    most = min(crew.most or len(texts), len(texts))
    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=most, initial_size=min(first, most),
                                      max_tasks_in_flight_per_actor=_IN_FLIGHT)
    data = ray.data.from_items([{"task": text} for text in texts], override_num_blocks=math.ceil(len(texts) / size))
    data = data.map_batches(made[0], fn_constructor_args=made[1], batch_size=1, compute=pool, num_cpus=crew.cpus,
                            **({"num_gpus": crew.gpus} if crew.gpus else {}))
    try:
        for batch in data.iter_batches(batch_size=None, prefetch_batches=0):
            yield from map(str, batch["record"])
    except (ray.exceptions.RayError, RuntimeError, ConnectionError) as error:
        first_line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        raise RtauError(f"the cluster ended the run ({type(error).__name__}: {first_line[:200]}); --resume goes on from "
                        "here") from None


@contextlib.contextmanager
def _watching(ray: Any, tasks: Sequence[Task], display: BatchDisplay, begun: set[int]) -> Iterator[Any]:
    """The run's `Watch` and what it hears on the display; files that were begun are put into a set."""
    # On the head, without which there is no cluster anyway.
    watch = ray.remote(Watch).options(num_cpus=0, resources={"node:__internal_head__": 0.001}).remote()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(_LOOK):
            try:
                news, said = ray.get(watch.hear.remote(), timeout=60)
            except ray.exceptions.RayError:
                log.debug("no news", exc_info=True)
                continue
            for number, one in news.items():
                if one["began"]:
                    begun.add(one["at"])
                    display.begin(number, tasks[one["at"]])
                display.beat(number, one["frames"], one["expected"])
            for line in said:
                display.say(line)

    thread = threading.Thread(target=look, name="rtau-watch", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        ended.set()
        thread.join(timeout=5)


def _note(note: Location, results: Results) -> None:
    """Write at the output what became of each file.

    Raises:
        OutputError: nothing can be written there.
    """
    with tempfile.TemporaryDirectory(prefix="rtau-") as folder:
        path = Path(folder, "run.json")
        write_summary(results, path)
        note.put(path)
