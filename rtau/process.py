"""Files in, tables and overlays out: what `rtau process` does, as library calls."""

from __future__ import annotations

import itertools
import logging
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from . import __version__
from .analyze import Analyzer
from .errors import InputError, OutputError, UsageError
from .pipeline import Outcome, Run
from .sinks import Sink, meta_path, open_overlay, open_table, write_meta
from .sinks.crops import INDEX, CropSink, check_crops
from .sinks.paths import output_error
from .source import Input, Source
from .streams import Lent, StreamSink
from .summary import Summary
from .types import Frame, Scores

log = logging.getLogger(__name__)


#: A picture of a camera with 100 million pixels is read; a bomb is not.
MOST_PIXELS = 128_000_000


def same_numbers(**options: Any) -> Any:
    """A field of `Options` that changes neither the numbers nor the columns of a table."""
    return field(metadata={"numbers": False}, **options)


@dataclass(frozen=True)
class Options:
    """How files are processed. A table that was made with other ones counts as another table, see `rtau.batch.ledger`.

    Attributes:
        start, end: seconds of a video.
        every: each N-th frame only.
        columns: extra column groups of the table (`rtau.sinks.COLUMN_GROUPS`).
        overwrite: replace files that exist.
        max_seconds: read no more of a video than this, from `start`.
        max_pixels: refuse pictures and frames with more.
        overlay_style: how overlays are drawn, see `rtau.overlay.STYLES`.
        crop_size: side of the crops in pixels; None for what the AU network takes.
        format: of the table, csv, jsonl or parquet; None for what its name says.
        like: another tool whose layout the table has, see `rtau.tables.layout.TOOLS`; None for rtau's own.
    """

    start: float | None = None
    end: float | None = None
    every: int = 1
    columns: frozenset[str] = frozenset()
    overwrite: bool = same_numbers(default=False)
    max_seconds: float | None = None
    max_pixels: int = same_numbers(default=MOST_PIXELS)
    overlay_style: str = "bars"
    crop_size: int | None = None
    format: str | None = None
    like: str | None = None


@dataclass(frozen=True)
class Job:
    """One table to make: of a video, or of pictures that were given together.

    Attributes:
        paths: one video, or any number of pictures.
        pictures: whether they are pictures.
        out: the CSV.
        overlay: the annotated video, or for pictures the file (one) or folder (several); None for none.
        report: the page about the table; None for none.
        crops: folder of the faces' crops; None for none.
    """

    paths: tuple[Path, ...]
    pictures: bool
    out: Path
    overlay: Path | None = None
    report: Path | None = None
    crops: Path | None = None

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
        cut: `Options.max_seconds` ended it.
    """

    job: Job
    outcome: Outcome | None = None
    summary: Summary = field(default_factory=Summary)
    error: str | None = None
    cut: bool = False


def plan(inputs: Sequence[Input], out: Path | None, overlay: Path | None = None, *, overwrite: bool = False,
         report: bool = False, crops: Path | None = None, suffix: str = ".csv") -> list[Job]:
    """Decide what is written where.

    One video, or pictures alone, make the file `out`. Anything more makes a folder `out` with one
    table per video, in the sub-folder in which the video was found, and one for all pictures; `overlay` is then a
    folder too. With `report` a page about each table is written beside it. `crops` is a folder, with one sub-folder
    for each table if there are several. Tables that `out` doesn't name end in `suffix`. No two outputs have the
    same name, also where a file system takes large letters for small ones.

    Raises:
        UsageError: an output would replace an input, or a file is asked for where a folder is needed.
        OutputError: an output exists and `overwrite` is False.
    """
    videos = [i for i in inputs if not i.picture]
    pictures = tuple(i.path for i in inputs if i.picture)
    groups = [((i.path,), False, i.within) for i in videos] + ([(pictures, True, Path())] if pictures else [])
    if len(groups) == 1:
        paths, still, _ = groups[0]
        stem = paths[0].stem if len(paths) == 1 else "pictures"
        target = out if out is not None else Path(f"{stem}{suffix}")
        if target.is_dir():
            target = target / f"{stem}{suffix}"
        if overlay is not None and len(paths) == 1 and overlay.is_dir():
            overlay = overlay / (paths[0].name if still else f"{stem}.mp4")
        jobs = [Job(paths, still, target, overlay, crops=crops)]
    else:
        folder = out if out is not None else Path("rtau-out")
        if folder.suffix.lower() in (".csv", ".jsonl", ".parquet") or folder.is_file():
            raise UsageError(f"{len(groups)} tables are to be written, so --out must be a folder, not {folder}")
        if overlay is not None and (overlay.suffix or overlay.is_file()):
            raise UsageError(f"{len(groups)} overlays are to be written, so --overlay must be a folder, not {overlay}")
        jobs, taken = [], set()
        for paths, still, within in groups:
            stem = within / ("pictures" if still else _free(paths[0], within, taken))
            drawn = None
            if overlay is not None:
                drawn = overlay / stem if still else overlay / f"{stem}.mp4"
            jobs.append(Job(paths, still, folder / f"{stem}{suffix}", drawn, crops=crops / stem if crops else None))
    if report:
        from .report import report_path

        jobs = [replace(job, report=report_path(job.out)) for job in jobs]
    _check_outputs(jobs, overwrite)
    return jobs


def process(job: Job, analyzer: Analyzer, options: Options, *,
            open_job: Callable[[Job, Options], Source] | None = None,
            streams: Sequence[StreamSink] = (),
            watch: Callable[[Frame, Scores], None] | None = None,
            begin: Callable[[Source], None] | None = None,
            before_report: Callable[[], object] | None = None,
            facts: Mapping[str, object] | None = None) -> Result:
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
        before_report: told when all but the page is done.
        facts: what else to write beside the table.

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

        sinks = _sinks(job, analyzer, options)
        if options.overwrite:
            # The facts of an older table would speak of this one if it were never finished.
            _remove(meta_path(job.out))
        run = Run(source, analyzer, [*sinks, *map(Lent, streams)], seen)
        run.run()
        result.error, result.cut = source.damage, source.cut
        if not result.error and run.outcome.frames == 0:
            result.error = "no frame in the part asked for"
    except InputError as error:
        result.error = str(error)
    finally:
        if run is not None:
            result.outcome = run.outcome
            if job.out.exists():
                write_meta(job.out, {**_facts(job, analyzer, options, source, result), **(facts or {})})
    if job.report is not None and result.outcome is not None and result.outcome.rows:
        from .report import write_report

        if before_report is not None:
            before_report()
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
        return Pictures(job.paths, every=options.every, name=job.name, most_pixels=options.max_pixels).open()
    from .video import Video
    return Video(job.paths[0], start=options.start, end=options.end, every=options.every,
                 most_seconds=options.max_seconds, most_pixels=options.max_pixels).open()


def _sinks(job: Job, analyzer: Analyzer, options: Options) -> list[Sink]:
    for path in filter(None, (job.out, job.overlay)):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"folder {path.parent} can't be made: {error.strerror}") from None
    sinks: list[Sink] = [open_table(job.out, analyzer.aus, columns=options.columns,
                                    with_input=job.pictures and len(job.paths) > 1, overwrite=options.overwrite,
                                    like=options.like, format=options.format)]
    if job.overlay is not None:
        # A name that ends with a slash asks for one picture per picture.
        name = f"{job.overlay}/" if job.pictures and len(job.paths) > 1 else job.overlay
        sinks.append(open_overlay(name, overwrite=options.overwrite, style=options.overlay_style))
    if job.crops is not None:
        size = options.crop_size or int(analyzer.weights.facts["config"]["size"])
        sinks.append(CropSink(job.crops, size=size, overwrite=options.overwrite))
    return sinks


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise output_error(path, error) from None


def _facts(job: Job, analyzer: Analyzer, options: Options, source: Source, result: Result) -> dict[str, object]:
    outcome = result.outcome
    assert outcome is not None
    return {
        "rtau": __version__, "inputs": [str(p) for p in job.paths], **analyzer.settings, "aus": list(analyzer.aus),
        "source": {"name": source.name, "size": source.size, "fps": source.fps, "start": options.start,
                   "end": options.end, "every": options.every},
        "frames": outcome.frames, "rows": outcome.rows, "frames_with_face": outcome.with_face,
        "faces": outcome.faces, "drops": outcome.drops, "frames_per_second": round(outcome.fps, 2),
        "complete": not outcome.interrupted and result.error is None, "cut": result.cut, "error": result.error}


def _free(path: Path, within: Path, taken: set[str]) -> str:
    """A name for a video's outputs that no other in that sub-folder has: its stem, its full name, or a number behind.
    It is added to those taken."""
    for name in itertools.chain((path.stem, path.name), (f"{path.name}_{n}" for n in itertools.count(2))):
        key = unicodedata.normalize("NFC", str(within / name)).casefold()
        if key not in taken and key != "pictures":
            taken.add(key)
            return name
    raise AssertionError("numbers don't end")


def _check_outputs(jobs: Sequence[Job], overwrite: bool) -> None:
    inputs = {path.resolve() for job in jobs for path in job.paths}
    for job in jobs:
        outputs = [job.out, meta_path(job.out), *filter(None, (job.overlay, job.report))]
        for path in outputs:
            if path.resolve() in inputs:
                raise UsageError(f"{path} is an input and would be written over: give another --out or --overlay")
        if job.crops is not None:
            check_crops(job.crops, inputs, overwrite=overwrite)
            if (job.crops / INDEX).resolve() in (path.resolve() for path in outputs):
                raise UsageError(f"{job.crops / INDEX} is to be two things: give another name or folder")
        if job.overlay is not None and job.overlay.resolve() == job.out.resolve():
            raise UsageError(f"--out and --overlay are the same file {job.out}: give two names")
        for path in (job.out, *([job.overlay] if job.overlay and not job.overlay.is_dir() else []),
                     *([job.report] if job.report else [])):
            if path.exists() and not overwrite:
                raise OutputError(f"{path} exists: choose another name, or add --overwrite to replace it")
