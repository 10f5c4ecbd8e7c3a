"""One file of a cluster's run, in a worker: fetched, analysed as any other, its table put where it belongs."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from ..batch import ledger
from ..batch.task import Record, Task
from ..batch.work import LazyAnalyzer, Watcher, do
from ..errors import InputError, OutputError, RtauError
from ..process import Job, Options
from ..sinks import meta_path
from ..source import is_picture
from .find import Item
from .location import Location, Stat
from .partition import MADE, TABLE, Partition, folder_of, same_source


@dataclass(frozen=True)
class Errand:
    """Where a task's input comes from and where its outputs go; text and numbers, so that it goes through JSON.

    Attributes:
        source: the file's location in full.
        name: its name in the data set.
        folder: the location of its part of the data set.
        run: which run this is, a word.
        size, token: what was known of the file when it was found, see `Stat`.
        attempt: how often it was begun in this run, this time included.
        scratch: folder for what is fetched and made; "" for the machine's own.
    """

    source: str
    name: str
    folder: str
    run: str
    size: int | None = None
    token: str | None = None
    attempt: int = 1
    scratch: str = ""


def make_task(item: Item, out: Location, run: str, options: Options, analysis: Mapping[str, Any], *,
              resume: bool = False, threads: int | None = None) -> Task:
    """The task of a file; its job's paths are names for people."""
    partition = Partition(out.child(folder_of(item.name)))
    errand = Errand(item.place.url, item.name, partition.folder.url, run, item.stat.size, item.stat.token)
    job = Job((Path(item.place.shown),), item.picture, Path(partition.table.shown))
    return Task(job, replace(options, format="parquet"), analysis, resume, threads, asdict(errand))


def new_record(task: Task) -> Record:
    """The record of nothing done yet, under the names that people know."""
    assert task.errand is not None
    errand = Errand(**task.errand)
    return Record([Location(errand.source).shown], Partition(Location(errand.folder)).table.shown)


def finished(task: Task) -> Record | None:
    """A record from what lies at the output, if this run has put it there.

    Raises:
        InputError: the output can't be reached.
    """
    assert task.errand is not None
    errand = Errand(**task.errand)
    partition = Partition(Location(errand.folder))
    facts = partition.facts()
    made = facts.get(MADE) if facts else None
    if not facts or not isinstance(made, Mapping) or made.get("run") != errand.run or not partition.holds(facts):
        return None
    record = new_record(task)
    record.state = "done" if facts.get("complete") is True else "damaged"
    record.error, record.attempts, record.seconds = facts.get("error"), made["attempt"], made["seconds"]
    record.blame = "input" if record.error else None
    for name in ("frames", "faces", "frames_with_face", "rows"):
        setattr(record, name, facts.get(name, 0))
    return record


def run_errand(task: Task, watcher: Watcher) -> Record:
    """Do a task that has an errand. What goes wrong with its file is in the record.

    An earlier attempt of the same run that came to its end is not done again.
    """
    assert task.errand is not None
    errand = Errand(**task.errand)
    record, begun = new_record(task), time.perf_counter()
    try:
        with tempfile.TemporaryDirectory(prefix="file-", dir=errand.scratch or None, ignore_cleanup_errors=True) as folder:
            record = _run(task, errand, record, Path(folder), watcher)
            record.error = record.error and record.error.replace(f"{folder}/in/", "")
    except OutputError as error:
        record.state, record.error, record.blame = "failed", str(error), "output"
    except InputError as error:
        record.state, record.error, record.blame = "failed", str(error), "input"
    except RtauError as error:  # no file would fare better
        record.state, record.error, record.blame = "failed", str(error), "usage"
    record.seconds = record.seconds or time.perf_counter() - begun
    return record


def _run(task: Task, errand: Errand, record: Record, folder: Path, watcher: Watcher) -> Record:
    watcher.stage("check")
    if errand.attempt > 1 and (before := finished(task)) is not None:
        return before
    source = _Source(errand, folder, watcher)
    partition = Partition(Location(errand.folder))
    # What ends in .gif may be a picture or a video.
    pictures = is_picture(source.fetched) if source.path.suffix.lower() == ".gif" else task.job.pictures
    inner = replace(task, job=Job((source.path,), pictures, folder / "out" / TABLE), resume=False, errand=None,
                    options=replace(task.options, overwrite=False))
    if task.resume:
        verdict = _judge(inner, source, partition, watcher, overwrite=task.options.overwrite)
        if verdict.done:
            record.state = "skipped"
            return record
        record.notes += [verdict.note] if verdict.note else []
    source.fetched  # noqa: B018
    inside, _ = do(inner, watcher)
    watcher.stage("put")
    if inner.job.out.exists():
        table = inner.job.out
        facts = _facts(table, source, errand, inside.seconds)
        partition.publish(table, facts, watcher.step)
    return replace(inside, inputs=record.inputs, out=record.out, notes=record.notes + inside.notes)


class _Source:
    """The input on this machine: where it lies already, or fetched when it is needed."""

    def __init__(self, errand: Errand, folder: Path, watcher: Watcher) -> None:
        self.place, self.stat = Location(errand.source), Stat(errand.size, errand.token)
        self._watcher = watcher
        # The ending tells how to read it; the name must fit any file system.
        name = PurePosixPath(errand.name.partition("~")[0]).name[-100:] or "file"
        self.path = self.place.local or folder / "in" / name

    @property
    def fetched(self) -> Path:
        """The path, once the file is there."""
        if self.place.local is None and not self.path.exists():
            self._watcher.stage("fetch")
            self.path.parent.mkdir(exist_ok=True)
            self.place.fetch(self.path, self._watcher.step, self.stat.size)
        return self.path


def _judge(task: Task, source: _Source, partition: Partition, watcher: Watcher, *, overwrite: bool) -> ledger.Verdict:
    """Whether the file was done before, by the facts at the output."""
    facts = partition.facts()
    analyzer = LazyAnalyzer(task, watcher)
    evidence = ledger.Evidence(
        partition.table.shown, source.place.shown, lambda: partition.table.stat() is not None,
        lambda recorded: same_source(recorded, source.stat, lambda: ledger.sha256_of(source.fetched, watcher.step)),
        lambda: [] if facts is not None and partition.holds(facts) else ["table"])
    return ledger.weigh(facts, evidence, lambda: ledger.settings(task.job, task.options, analyzer.reading),
                        overwrite=overwrite)


def _facts(table: Path, source: _Source, errand: Errand, seconds: float) -> dict[str, Any]:
    """The facts beside the table, with the input as it is known outside."""
    facts = json.loads(meta_path(table).read_text("utf-8"))
    shown, place = source.place.shown, str(source.path)
    record = facts[ledger.KEY]
    record["inputs"] = [{"path": shown, "size": one.get("size"), "token": source.stat.token, "sha256": one.get("sha256")}
                        for one in record["inputs"]]
    error = facts.get("error")
    return {**facts, "inputs": [shown], "error": error and error.replace(place, shown),
            MADE: {"run": errand.run, "attempt": errand.attempt, "seconds": round(seconds, 3),
                   "bytes": table.stat().st_size}}
