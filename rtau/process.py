"""Files in, tables and overlays out: what `rtau process` does, as library calls."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import __version__
from .analyze import Analyzer
from .errors import InputError, OutputError, RtauError, UsageError
from .pipeline import Outcome, Run
from .sinks import CsvSink, Sink, meta_path, open_overlay, write_meta
from .source import Input, Source, list_inputs
from .streams import Lent, StreamSink
from .summary import Summary
from .types import Frame, Scores

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """How files are processed.

    Attributes:
        start, end: seconds of a video.
        every: each N-th frame only.
        columns: extra column groups of the table (`rtau.sinks.COLUMN_GROUPS`).
        overwrite: replace files that exist.
    """

    start: float | None = None
    end: float | None = None
    every: int = 1
    columns: frozenset[str] = frozenset()
    overwrite: bool = False


@dataclass(frozen=True)
class Job:
    """One table to make: of a video, or of pictures that were given together.

    Attributes:
        paths: one video, or any number of pictures.
        pictures: whether they are pictures.
        out: the CSV.
        overlay: the annotated video, or for pictures the file (one) or folder (several); None for none.
        report: the page about the table; None for none.
    """

    paths: tuple[Path, ...]
    pictures: bool
    out: Path
    overlay: Path | None = None
    report: Path | None = None

    @property
    def name(self) -> str:
        """For people: the file's name, or how many pictures."""
        return self.paths[0].name if len(self.paths) == 1 else f"{len(self.paths)} pictures"


@dataclass
class Result:
    """What became of a job.

    Attributes:
        job: which.
        outcome: how the run went; None if it never began.
        summary: its strongest AUs.
        error: one line on why it failed or what was lost, else None.
    """

    job: Job
    outcome: Outcome | None = None
    summary: Summary = field(default_factory=Summary)
    error: str | None = None


def find_inputs(patterns: Sequence[str]) -> tuple[list[Input], list[str]]:
    """What the patterns mean, and one line for each that means nothing, so that one bad name does not stop the rest.

    Raises:
        RtauError: none of them means anything.
    """
    found: dict[Path, Input] = {}
    failed: list[str] = []
    first: RtauError | None = None
    for pattern in patterns:
        try:
            for one in list_inputs([pattern]):
                found.setdefault(one.path.resolve(), one)
        except (InputError, UsageError) as error:
            first = first or error
            failed.append(str(error))
    if not found:
        raise first or UsageError("nothing to process was given; name a video, pictures or a folder")
    return list(found.values()), failed


def plan(inputs: Sequence[Input], out: Path | None, overlay: Path | None = None, *, overwrite: bool = False,
         report: bool = False) -> list[Job]:
    """Decide what is written where.

    One video, or pictures alone, make the file `out`. Anything more makes a folder `out` with one
    CSV per video and one for all pictures; `overlay` is then a folder too. With `report` a page about each table
    is written beside it.

    Raises:
        UsageError: an output would replace an input, or a file is asked for where a folder is needed.
        OutputError: an output exists and `overwrite` is False.
    """
    videos = [i.path for i in inputs if not i.picture]
    pictures = tuple(i.path for i in inputs if i.picture)
    groups = [((path,), False) for path in videos] + ([(pictures, True)] if pictures else [])
    if len(groups) == 1:
        paths, still = groups[0]
        stem = paths[0].stem if len(paths) == 1 else "pictures"
        target = out if out is not None else Path(f"{stem}.csv")
        if target.is_dir():
            target = target / f"{stem}.csv"
        if overlay is not None and len(paths) == 1 and overlay.is_dir():
            overlay = overlay / (paths[0].name if still else f"{stem}.mp4")
        jobs = [Job(paths, still, target, overlay)]
    else:
        folder = out if out is not None else Path("rtau-out")
        if folder.suffix.lower() == ".csv" or folder.is_file():
            raise UsageError(f"{len(groups)} tables are to be written, so --out must be a folder, not {folder}")
        if overlay is not None and (overlay.suffix or overlay.is_file()):
            raise UsageError(f"{len(groups)} overlays are to be written, so --overlay must be a folder, not {overlay}")
        jobs, taken = [], set()
        for paths, still in groups:
            stem = "pictures" if still else _free(paths[0], taken)
            taken.add(stem)
            drawn = None
            if overlay is not None:
                drawn = overlay / "pictures" if still else overlay / f"{stem}.mp4"
            jobs.append(Job(paths, still, folder / f"{stem}.csv", drawn))
    if report:
        from .report import report_path

        jobs = [replace(job, report=report_path(job.out)) for job in jobs]
    _check_outputs(jobs, overwrite)
    return jobs


def process(job: Job, analyzer: Analyzer, options: Options, *,
            open_job: Callable[[Job, Options], Source] | None = None,
            streams: Sequence[StreamSink] = (),
            watch: Callable[[Frame, Scores], None] | None = None,
            begin: Callable[[Source], None] | None = None) -> Result:
    """Do one job: write its table, its overlay, the facts beside the table, and the page about it.

    Nothing is raised for what a file holds: the result's `error` says it.

    Args:
        job: what to do.
        analyzer: used for this job alone; faces and smoothing belong to one input.
        options: how.
        open_job: opens the job's source; by default `open_job_source`.
        streams: where to send each frame's results too; opened by the caller and left open, for the next job.
        watch: told of each frame and its scores.
        begin: told of the source once it is open.

    Raises:
        OutputError: the table, the overlay or the page can't be written; rows already written stay.
    """
    result = Result(job)
    run: Run | None = None
    try:
        source = (open_job or open_job_source)(job, options)
        if begin is not None:
            begin(source)

        def seen(frame: Frame, scores: Scores) -> None:
            result.summary.add(frame, scores)
            if watch is not None:
                watch(frame, scores)

        run = Run(source, analyzer, [*_sinks(job, analyzer, options), *map(Lent, streams)], seen)
        run.run()
        result.error = source.damage
        if not result.error and run.outcome.frames == 0:
            result.error = "no frame in the part asked for"
    except InputError as error:
        result.error = str(error)
    finally:
        if run is not None:
            result.outcome = run.outcome
            if job.out.exists():
                write_meta(job.out, _facts(job, analyzer, options, source, result))
    if job.report is not None and result.outcome is not None and result.outcome.rows:
        from .report import write_report

        try:
            write_report(job.out, job.report, overwrite=options.overwrite)
        except InputError as error:
            result.error = result.error or f"no report: {error}"
    return result


def open_job_source(job: Job, options: Options) -> Source:
    """The source of a job.

    Raises:
        InputError: it can't be read.
    """
    if job.pictures:
        from .pictures import Pictures
        return Pictures(job.paths, every=options.every, name=job.name).open()
    from .video import Video
    return Video(job.paths[0], start=options.start, end=options.end, every=options.every).open()


def _sinks(job: Job, analyzer: Analyzer, options: Options) -> list[Sink]:
    for path in filter(None, (job.out, job.overlay)):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"folder {path.parent} can't be made: {error.strerror}") from None
    sinks: list[Sink] = [CsvSink(job.out, analyzer.aus, columns=options.columns,
                                 with_input=job.pictures and len(job.paths) > 1, overwrite=options.overwrite)]
    if job.overlay is not None:
        # A name that ends with a slash asks for one picture per picture.
        name = f"{job.overlay}/" if job.pictures and len(job.paths) > 1 else job.overlay
        sinks.append(open_overlay(name, overwrite=options.overwrite))
    return sinks


def _facts(job: Job, analyzer: Analyzer, options: Options, source: Source, result: Result) -> dict[str, object]:
    outcome = result.outcome
    assert outcome is not None
    return {
        "rtau": __version__, "inputs": [str(p) for p in job.paths], **analyzer.settings, "aus": list(analyzer.aus),
        "source": {"name": source.name, "size": source.size, "fps": source.fps, "start": options.start,
                   "end": options.end, "every": options.every},
        "frames": outcome.frames, "rows": outcome.rows, "frames_with_face": outcome.with_face,
        "faces": outcome.faces, "drops": outcome.drops, "frames_per_second": round(outcome.fps, 2),
        "complete": not outcome.interrupted and result.error is None, "error": result.error}


def _free(path: Path, taken: set[str]) -> str:
    """A name for a video's outputs that no other has: its stem, its full name, or a number behind."""
    names = [path.stem, path.name, *(f"{path.name}_{n}" for n in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken and name != "pictures")


def _check_outputs(jobs: Sequence[Job], overwrite: bool) -> None:
    inputs = {path.resolve() for job in jobs for path in job.paths}
    for job in jobs:
        outputs = [job.out, meta_path(job.out), *filter(None, (job.overlay, job.report))]
        for path in outputs:
            if path.resolve() in inputs:
                raise UsageError(f"{path} is an input and would be written over: give another --out or --overlay")
        if job.overlay is not None and job.overlay.resolve() == job.out.resolve():
            raise UsageError(f"--out and --overlay are the same file {job.out}: give two names")
        for path in (job.out, *([job.overlay] if job.overlay and not job.overlay.is_dir() else []),
                     *([job.report] if job.report else [])):
            if path.exists() and not overwrite:
                raise OutputError(f"{path} exists: choose another name, or add --overwrite to replace it")
