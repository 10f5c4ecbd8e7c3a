"""The command `rtau process`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from .options import (
    INTERRUPTED,
    OK,
    SOME_FAILED,
    analysis_options,
    open_analyzer,
    prepare_process,
    stream_option,
    words,
)


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--out", type=click.Path(path_type=Path), metavar="OUT",
              help="The CSV; with several inputs a folder. By default named after the input.")
@click.option("--overlay", type=click.Path(path_type=Path), metavar="FILE",
              help="Also write a video (or picture) with faces and bars drawn; with several inputs a folder.")
@click.option("--report", is_flag=True, help="Also write a page about each table beside it: aus.report.html.")
@click.option("--start", type=float, metavar="S", help="Begin at this second of a video.")
@click.option("--end", type=float, metavar="S", help="Stop before this second of a video.")
@click.option("--every", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Each N-th frame only.")
@click.option("--no-progress", is_flag=True, help="Show no progress bar.")
@stream_option
@analysis_options
def process(inputs: tuple[str, ...], out: Path | None, overlay: Path | None, report: bool, start: float | None,
            end: float | None, every: int, no_progress: bool, streams: tuple[str, ...], column_text: str, overwrite: bool,
            verbose: bool, **analysis: Any) -> None:
    """Analyse videos, pictures, folders of them, or globs.

    One row per face and frame, one row with success 0 for a frame without a face. Exit code 0:
    all well; 1: some inputs failed or were damaged; 2: a mistake in the command.

    \b
    rtau process video.mp4 --out aus.csv --overlay seen.mp4
    rtau process photos/ --out photos.csv
    rtau process a.mp4 b.mp4 'more/*.mov' --out results/
    rtau process video.mp4 --stream jsonl:- | jq .faces
    """
    prepare_process(verbose)
    from ..process import Options, find_inputs, plan
    from ..sinks import check_columns, meta_path
    from ..source import check_range
    from ..streams import check_files, parse_addresses

    check_range(start, end, every)
    addresses = parse_addresses(streams)
    options = Options(start, end, every, check_columns(words(column_text)), overwrite)
    found, failed = find_inputs(inputs)
    jobs = plan(found, out, overlay, overwrite=overwrite, report=report)
    check_files(addresses, [path for job in jobs for path in (*job.paths, job.out, meta_path(job.out), job.overlay)
                            if path is not None])
    raise SystemExit(run_jobs(jobs, failed, options, analysis, progress=not no_progress, addresses=addresses))


def run_jobs(jobs: list, failed: list[str], options, analysis: dict[str, Any], *, progress: bool,
              addresses: Sequence = ()) -> int:
    from rich.console import Console

    from ..process import process as run_job
    from ..progress import JobProgress
    from ..sinks import strongest_table
    from ..streams import open_streams

    # Standard output belongs to a stream alone where one writes there.
    aside = any(address.takes_stdout for address in addresses)
    console = Console(stderr=aside)
    for line in failed:
        click.echo(f"rtau: {line}", err=True)
    results = []
    aus = open_analyzer(**analysis).aus if addresses else ()
    with (open_streams(addresses, aus, live=False, overwrite=options.overwrite) as streams,
          JobProgress(len(jobs), shown=progress) as bar):
        for stream in streams:
            click.echo(f"rtau: {stream.invitation}", err=True)
        for job in jobs:
            # A still is looked at once, so it is searched for small faces too.
            widths = {"detect_width": (320, 640)} if job.pictures else {}
            analyzer = open_analyzer(**analysis, **widths)
            result = run_job(job, analyzer, options, streams=streams, watch=bar.advance,
                             begin=lambda source, job=job: bar.begin(job.name, source))
            results.append(result)
            if analyzer.calibrator.problem:
                click.echo(f"rtau: {job.name}: not calibrated: {analyzer.calibrator.problem}", err=True)
            if result.error:
                click.echo(f"rtau: {job.name}: {result.error}", err=True)
            if result.outcome is not None and result.outcome.interrupted:
                break
    for result in results:
        if result.outcome is not None and result.outcome.frames:
            o = result.outcome
            faces = f"{o.faces} face{'s' * (o.faces != 1)}"
            overlay = f", overlay {result.job.overlay}" if result.job.overlay else ""
            overlay += f", report {result.job.report}" if result.job.report else ""
            click.echo(f"{result.job.name}: {o.frames} frames, {faces}, {o.rows} rows in {result.job.out}{overlay} "
                       f"({o.fps:.0f} frames/s)", err=aside)
    for stream in streams:
        click.echo(f"{stream.url}: {stream.account}", err=aside)
    if len(results) == 1 and results[0].outcome is not None and results[0].outcome.with_face:
        console.print(strongest_table(results[0].summary))
    if any(r.outcome is not None and r.outcome.interrupted for r in results):
        click.echo(f"rtau: stopped after {len(results)} of {len(jobs)}; what is written is complete", err=True)
        return INTERRUPTED
    return SOME_FAILED if failed or any(r.error for r in results) else OK
