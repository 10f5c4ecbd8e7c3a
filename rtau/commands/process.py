"""The command `rtau process`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import RtauError, UsageError
from .engine import check_engine, check_summary, engine_options, refuse_with_ray, run_on_cluster, say_results
from .options import (
    INTERRUPTED,
    OK,
    SOME_FAILED,
    analysis_options,
    open_analyzer,
    overlay_style_option,
    prepare_process,
    stream_option,
    words,
)

if TYPE_CHECKING:
    from ..batch.results import Results
    from ..batch.task import Task

#: Where tables go when --out is not given and there are several.
FOLDER = "rtau-out"


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--out", "place", metavar="OUT",
              help="The table; with several inputs a folder. By default named after the input.")
@click.option("--overlay", type=click.Path(path_type=Path), metavar="FILE",
              help="Also write a video (or picture) with faces and bars drawn; with several inputs a folder.")
@overlay_style_option
@click.option("--crops", type=click.Path(path_type=Path), metavar="DIR",
              help="Also write each face of each frame as a picture, aligned, and a list of them. They show people's "
                   "faces: keep them as you would the video.")
@click.option("--crop-size", type=click.IntRange(16, 2048), metavar="PX",
              help="Side of the crops.  [default: as the AU network sees them]")
@click.option("--format", metavar="NAME", help="Of the table: csv, jsonl or parquet.  [default: by its name or csv]")
@click.option("--like", metavar="NAME", help="Columns as of another tool: openface, feat or libreface.")
@click.option("--report", is_flag=True, help="Also write a page about each table beside it: aus.report.html.")
@click.option("--start", type=float, metavar="S", help="Begin at this second of a video.")
@click.option("--end", type=float, metavar="S", help="Stop before this second of a video.")
@click.option("--every", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Each N-th frame only.")
@click.option("--jobs", metavar="N", help="Work on N files at once, each in a process of its own; auto: one for two "
              "cores, or one for each GPU.  [default: auto for several files]")
@click.option("--resume", is_flag=True, help="Skip what is done: same input, same settings, and its outputs are there.")
@click.option("--recursive/--no-recursive", default=True, show_default=True, help="Search the folders in a folder too.")
@click.option("--summary", type=click.Path(path_type=Path), metavar="FILE", help="Write what became of each file as JSON.")
@click.option("--stall", type=click.FloatRange(1), default=120.0, show_default=True, metavar="S",
              help="With several files: give a file up that makes no progress for so many seconds.")
@click.option("--max-seconds", type=click.FloatRange(0, min_open=True), metavar="S", help="Read no more of a video.")
@click.option("--max-pixels", type=click.IntRange(1), metavar="N",
              help="Refuse pictures and frames with more.  [default: 128 million]")
@click.option("--no-progress", is_flag=True, help="Show no progress bar.")
@engine_options
@stream_option
@analysis_options
def process(inputs: tuple[str, ...], place: str | None, overlay: Path | None, overlay_style: str,
            crops: Path | None, crop_size: int | None, format: str | None, like: str | None, report: bool,
            start: float | None, end: float | None, every: int,
            jobs: str | None, resume: bool, recursive: bool, summary: Path | None,
            stall: float, max_seconds: float | None, max_pixels: int | None, no_progress: bool,
            engine: str, address: str | None, cpus_per_worker: float | None, gpus_per_worker: float | None,
            streams: tuple[str, ...], column_text: str, overwrite: bool, verbose: bool, **analysis: Any) -> None:
    """Analyse videos, pictures, folders of them, or globs.

    One row per face and frame, one row with success 0 for a frame without a face. Of several files each gets its own
    table, under its name once it is finished; a file that fails does not stop the others. Exit code 0: all well; 1:
    some inputs failed or were damaged; 2: a mistake in the command; 130: stopped.

    \b
    rtau process video.mp4 --out aus.csv --overlay seen.mp4
    rtau process photos/ --out photos.csv
    rtau process a.mp4 b.mp4 'more/*.mov' --out results/
    rtau process videos/ --out results/ --jobs 4 --resume --summary done.json
    rtau process video.mp4 --stream jsonl:- | jq .faces
    rtau process s3://bucket/videos/ --out s3://bucket/aus/ --engine ray --resume
    """
    check_engine(engine, (*inputs, place or ""), address, cpus_per_worker, gpus_per_worker)
    prepare_process(verbose)
    out = Path(place) if place is not None else None
    from ..batch import Task
    from ..batch.inputs import find_inputs
    from ..batch.results import write_summary
    from ..overlay import check_style
    from ..process import MOST_PIXELS, Options, plan
    from ..sinks import check_columns, check_table, meta_path, table_suffix
    from ..source import check_range
    from ..streams import check_files, parse_addresses

    check_range(start, end, every)
    if crop_size is not None and crops is None:
        raise UsageError("--crop-size goes with --crops DIR")
    addresses = parse_addresses(streams)
    options = Options(start, end, every, check_columns(words(column_text)), overwrite, max_seconds,
                      max_pixels or MOST_PIXELS, check_style(overlay_style), crop_size, format, like)
    if engine == "ray":
        refuse_with_ray(overlay=overlay, crops=crops, report=report, stream=streams, format=format)
        results = run_on_cluster(inputs, place or FOLDER, options, analysis, jobs=jobs, resume=resume,
                                 recursive=recursive, stall=stall, summary=summary, shown=not no_progress,
                                 verbose=verbose, address=address, cpus=cpus_per_worker, gpus=gpus_per_worker)
        raise SystemExit(exit_code(results))
    found = find_inputs(inputs, recursive=recursive, without=[path for path in (out or Path(FOLDER), overlay, crops) if path])
    planned = plan(found.inputs, out, overlay, overwrite=overwrite or resume, report=report,
                   crops=crops, suffix=table_suffix(format, like))
    for job in planned:
        check_table(job.out, options.columns, format=format, like=like, report=report)
    files = [path for job in planned for path in (*job.paths, job.out, meta_path(job.out), job.overlay, job.report)
             if path is not None]
    if addresses:
        check_files(addresses, files)
    if summary is not None:
        check_summary(summary, files, overwrite=overwrite or resume)
    tasks = [Task(job, options, analysis, resume) for job in planned]
    if len(tasks) == 1 or addresses:
        if addresses and jobs not in (None, "1"):
            raise UsageError("--stream sends one file after the other, so it goes with --jobs 1 alone")
        _count_jobs(jobs, analysis)
        results = run_here(tasks, found.problems, progress=not no_progress, addresses=addresses, stage=resume)
    else:
        results = _run_pool(tasks, found.problems, out or Path(FOLDER), _count_jobs(jobs, analysis), stall=stall,
                            summary=summary, shown=not no_progress, verbose=verbose)
    if summary is not None:
        write_summary(results, summary)
    raise SystemExit(exit_code(results))


def run_here(tasks: Sequence[Task], problems: Sequence[str] = (), *, progress: bool, addresses: Sequence = (),
             stage: bool = False) -> Results:
    """Do tasks in this process, one after the other, and say what became of them.

    Args:
        problems: inputs that could not be found, one line each.
        progress: show bars.
        addresses: streams that get each frame's results.
        stage: let the outputs appear when they are finished, as they do with several tasks anyway.

    Raises:
        UsageError: a setting that does not exist.
        OutputError: the output of a single task can't be written.
    """
    from rich.console import Console

    from ..batch.results import Results
    from ..batch.task import Record
    from ..batch.work import Watcher, do
    from ..progress import JobProgress
    from ..sinks import strongest_table
    from ..streams import open_streams

    # Standard output belongs to a stream alone where one writes there.
    aside = any(address.takes_stdout for address in addresses)
    for line in problems:
        click.echo(f"rtau: {line}", err=True)
    results = Results([Record.of(task.job) for task in tasks], list(problems))
    done = []
    aus = open_analyzer(**tasks[0].analysis).aus if addresses else ()
    overwrite = any(task.options.overwrite for task in tasks)
    with (open_streams(addresses, aus, live=False, overwrite=overwrite) as streams,
          JobProgress(len(tasks), shown=progress) as bar, results.clock()):
        for stream in streams:
            click.echo(f"rtau: {stream.invitation}", err=True)
        for at, task in enumerate(tasks):
            watcher = Watcher()
            watcher.frame, watcher.begin = bar.advance, partial(bar.begin, task.name)
            record, result = do(task, watcher, streams=streams, stage=stage or len(tasks) > 1)
            if record.blame == "usage":
                raise UsageError(record.error or "")
            results.records[at] = record
            for line in (*record.notes, *([record.error] if record.error and record.error != "stopped" else [])):
                click.echo(f"rtau: {task.name}: {line}", err=True)
            if record.state == "skipped":
                click.echo(f"{task.name}: done before, {task.job.out} is kept", err=aside)
            if result is not None:
                done.append(result)
                if result.outcome is not None and result.outcome.interrupted:
                    results.interrupted = True
                    break
    for result in done:
        if result.outcome is not None and result.outcome.frames and result.job.out.exists():
            o = result.outcome
            faces = f"{o.faces} face{'s' * (o.faces != 1)}"
            overlay = f", overlay {result.job.overlay}" if result.job.overlay else ""
            overlay += f", report {result.job.report}" if result.job.report else ""
            click.echo(f"{result.job.name}: {o.frames} frames, {faces}, {o.rows} rows in {result.job.out}{overlay} "
                       f"({o.fps:.0f} frames/s)", err=aside)
    for stream in streams:
        click.echo(f"{stream.url}: {stream.account}", err=aside)
    if len(done) == 1 and done[0].outcome is not None and done[0].outcome.with_face:
        Console(stderr=aside).print(strongest_table(done[0].summary))
    if results.interrupted:
        click.echo(f"rtau: stopped after {len(done)} of {len(tasks)}; what is written is complete", err=True)
    return results


def exit_code(results: Results) -> int:
    """What the command ends with."""
    return INTERRUPTED if results.interrupted else OK if results.all_well else SOME_FAILED


def _run_pool(tasks: Sequence[Task], problems: Sequence[str], folder: Path, jobs: tuple[int, Sequence[str]], *,
              stall: float, summary: Path | None, shown: bool, verbose: bool) -> Results:
    """Do tasks in worker processes, and say what became of them; the summary is written after an error too."""
    from ..batch import run_batch
    from ..batch.display import BatchDisplay
    from ..batch.results import Results, write_summary

    for line in problems:
        click.echo(f"rtau: {line}", err=True)
    results = Results([])
    try:
        with BatchDisplay(len(tasks), shown=shown) as display:
            run_batch(tasks, folder, jobs=jobs[0], gpus=jobs[1], stall=stall, display=display, problems=problems,
                      verbose=verbose, results=results)
    except RtauError:
        if summary is not None and results.records:
            write_summary(results, summary)
        raise
    say_results(results)
    return results


def _count_jobs(text: str | None, analysis: Mapping[str, Any]) -> tuple[int, Sequence[str]]:
    """How many workers `--jobs` asks for, and the GPUs that they share."""
    from ..batch.run import auto_jobs

    count, gpus = auto_jobs(analysis["backend"], analysis["device"])
    if text is None or text.strip().lower() == "auto":
        return count, gpus
    if not text.strip().isdecimal() or not 1 <= int(text) <= 1024:
        raise UsageError(f"--jobs is {text!r}: give a number from 1 on, or auto")
    return int(text), gpus
