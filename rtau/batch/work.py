"""One task, from plain data to a plain record: the same in this process, in a worker's and on another machine."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from ..analyze import Analyzer
from ..commands.options import open_analyzer
from ..errors import InputError, OutputError, RtauError, UsageError
from ..process import Result, open_job_source, process
from ..source import Source
from ..streams import StreamSink
from ..types import Frame, Scores
from . import ledger, staging
from .task import Record, Task

log = logging.getLogger(__name__)

#: Arguments of the analyzer that are files.
_FILES = ("model", "detector_model", "profile")


@dataclass
class Watcher:
    """Whoever wants to know how a task goes on; does nothing by itself."""

    def stage(self, name: str) -> None:
        """Something without frames begins: "check", "start", "analyse", "report", "finish"."""

    def begin(self, source: Source) -> None:
        """The source is open."""

    def frame(self, frame: Frame, scores: Scores) -> None:
        """A frame is done."""

    def step(self) -> None:
        """A piece of a large input was read."""


def work(task: Mapping[str, Any], watcher: Watcher | None = None) -> dict[str, Any]:
    """Do one task: `Task.as_json()` in, the fields of a `Record` out. Nothing but MemoryError is raised.

    Outputs appear under their names when all are finished. Each call stands alone.
    """
    told = Task.from_json(task)
    try:
        if told.errand:
            from ..cluster.errand import run_errand

            record = run_errand(told, watcher or Watcher())
        else:
            record, _ = do(told, watcher)
    except MemoryError:
        raise
    except Exception as error:  # one file's misfortune is not to end the others
        log.debug("%s", told.name, exc_info=True)
        record = Record.of(told.job)
        record.state, record.blame = "failed", "rtau"
        record.error = f"unexpected {type(error).__name__}: {(str(error).splitlines() or ['no more is known'])[0]}"
    return vars(record)


def do(task: Task, watcher: Watcher | None = None, *, streams: Sequence[StreamSink] = (), stage: bool = True
       ) -> tuple[Record, Result | None]:
    """Do one task here; its result is None where it never began.

    Args:
        watcher: told how it goes on.
        streams: where to send each frame's results too.
        stage: keep outputs aside until all are finished; else they grow under their names.

    Raises:
        OutputError: where `stage` is False: an output can't be written.
    """
    watcher = watcher or Watcher()
    record, begun = Record.of(task.job), time.perf_counter()
    result: Result | None = None
    try:
        result = _do(task, record, watcher, streams, stage)
    except OutputError as error:
        if not stage:
            raise
        record.state, record.error, record.blame = "failed", staging.plainly(str(error), task.job), "output"
    except UsageError as error:
        record.state, record.error, record.blame = "failed", str(error), "usage"
    except InputError as error:
        record.state, record.error, record.blame = "failed", str(error), "input"
    except RtauError as error:  # weights that are damaged: no file would fare better
        record.state, record.error, record.blame = "failed", str(error), "usage"
    finally:
        if stage:
            staging.discard(task.job)
        record.seconds = time.perf_counter() - begun
    return record, result


def _do(task: Task, record: Record, watcher: Watcher, streams: Sequence[StreamSink], stage: bool) -> Result | None:
    watcher.stage("check")
    job, options = task.job, task.options
    analyzer = LazyAnalyzer(task, watcher)
    if task.resume:
        verdict = ledger.judge(job, lambda: ledger.settings(job, options, analyzer.reading), step=watcher.step,
                               overwrite=options.overwrite)
        if verdict.done:
            record.state = "skipped"
            return None
        record.notes += [verdict.note] if verdict.note else []
        options = replace(options, overwrite=verdict.replace)
    source = open_job_source(job, options)
    try:
        made_with = ledger.settings(job, options, analyzer.reading)
        kept = ledger.new_record(job, made_with, watcher.step)
        inner = staging.staged(job) if stage else job
        watcher.stage("analyse")
        watcher.begin(source)
        result = process(inner, analyzer.open(), options, open_job=lambda *_: source, streams=streams, watch=watcher.frame,
                         facts={ledger.KEY: kept}, before_report=lambda: watcher.stage("report"))
    finally:
        source.close()
    watcher.stage("finish")
    result.job = job
    if stage and result.outcome is not None and result.outcome.frames and not result.outcome.interrupted:
        staging.publish(job, overwrite=options.overwrite)
    problem = analyzer.open().calibrator.problem
    if problem:
        record.notes.append(f"not calibrated: {problem}")
    _tell(record, result, stage)
    return result


class LazyAnalyzer:
    """An analyzer that is made when it is needed. What may be said of it beforehand is remembered for the next file,
    so that thousands that are done are passed over quickly."""

    _readings: ClassVar[dict[str, dict[str, Any]]] = {}

    def __init__(self, task: Task, watcher: Watcher) -> None:
        # A still is looked at once, so it is searched for small faces too.
        asked = {**task.analysis, **({"detect_width": (320, 640)} if task.job.pictures else {})}
        self._asked = {name: Path(value) if name in _FILES and isinstance(value, str) else value
                       for name, value in asked.items()}
        self._threads, self._watcher = task.threads, watcher
        self._analyzer: Analyzer | None = None

    def open(self) -> Analyzer:
        """The analyzer, made ready."""
        if self._analyzer is None:
            self._watcher.stage("start")
            try:
                self._analyzer = open_analyzer(**self._asked, threads=self._threads).prepare(side_by_side=True)
            except InputError as error:  # a profile or a model, which is no file to analyse
                raise UsageError(str(error)) from None
        return self._analyzer

    @property
    def reading(self) -> dict[str, Any]:
        """See `ledger.reading`."""
        key = json.dumps([[name, str(value), ledger.stamp(value)] for name, value in self._asked.items()])
        if key not in self._readings:
            if len(self._readings) > 100:
                self._readings.clear()
            self._readings[key] = ledger.reading(self.open(), self._asked)
        return self._readings[key]


def _tell(record: Record, result: Result, stage: bool) -> None:
    """Put what a job gave into its record; of one that was stopped nothing is kept where it was staged."""
    outcome = result.outcome
    if outcome is not None:
        record.frames, record.faces, record.rows = outcome.frames, outcome.faces, outcome.rows
        record.frames_with_face = outcome.with_face
    if result.cut:
        record.notes.append("cut at --max-seconds")
    record.error = result.error
    if outcome is not None and outcome.interrupted:
        record.state, record.error = "left" if stage else "damaged", record.error or "stopped"
    elif result.error is None:
        record.state = "done"
    else:
        record.state = "damaged" if outcome is not None and outcome.frames else "failed"
        record.blame = "input"
