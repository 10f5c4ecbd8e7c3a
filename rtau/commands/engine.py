"""Where `rtau process` does its work: on this machine, or on a Ray cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import OutputError, RtauError, UsageError

if TYPE_CHECKING:
    from ..batch.results import Results
    from ..cluster.find import Item
    from ..cluster.location import Location
    from ..process import Options


def engine_options(command):
    """Which engine, and of a cluster where it is and how much of it each worker gets."""
    options = [
        click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True,
                     help="Where the workers run. With ray, INPUT and OUT may be locations such as s3://bucket/folder/, "
                          "and OUT is a Parquet data set."),
        click.option("--address", metavar="HOST:PORT", help="Head of the Ray cluster.  [default: RAY_ADDRESS, or a new "
                                                            "cluster of this machine alone]"),
        click.option("--cpus-per-worker", type=click.FloatRange(0, min_open=True), metavar="N",
                     help="With --engine ray: cores for each worker.  [default: 2]"),
        click.option("--gpus-per-worker", type=click.FloatRange(0), metavar="X",
                     help="With --engine ray: GPUs for each worker; .5 lets two share one.  [default: 1 where there are]"),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def check_engine(engine: str, places: Sequence[str], address: str | None, cpus: float | None, gpus: float | None) -> None:
    """Raise UsageError for what only a cluster does."""
    if engine == "ray":
        return
    if address is not None or cpus is not None or gpus is not None:
        raise UsageError("--address, --cpus-per-worker and --gpus-per-worker go with --engine ray")
    place = next((place for place in places if "://" in place and not Path(place).exists()), None)
    if place is not None:
        scheme = place.partition("://")[0]
        raise UsageError(f"a location ({scheme}://...) goes with --engine ray alone; copy the files to this machine, or add "
                         "that option")


def refuse_with_ray(*, overlay: object, crops: object, report: object, stream: object, format: str | None) -> None:
    """Raise UsageError for what is not done on a cluster."""
    asked = [name for name, value in (("--overlay", overlay), ("--crops", crops), ("--report", report),
                                      ("--stream", stream)) if value]
    if asked:
        raise UsageError(f"{asked[0]} does not go with --engine ray, which writes tables alone")
    if format not in (None, "parquet"):
        raise UsageError(f"--engine ray writes a Parquet data set, so --format {format} does not go with it")


def run_on_cluster(inputs: Sequence[str], place: str, options: Options, analysis: Mapping[str, Any], *,
                   jobs: str | None, resume: bool, recursive: bool, stall: float, summary: Path | None, shown: bool,
                   verbose: bool, address: str | None, cpus: float | None, gpus: float | None) -> Results:
    """Find the inputs, do them on the cluster, and say what became of them.

    Raises:
        RtauError: a mistake in the command, or no cluster.
    """
    import uuid
    from datetime import UTC, datetime

    from ..batch.display import BatchDisplay
    from ..batch.results import Results, write_summary
    from ..cluster.connection import connected, ray_module
    from ..cluster.errand import make_task
    from ..cluster.find import find_items
    from ..cluster.location import Location
    from ..cluster.run import choose_crew, run_cluster
    from ..sinks import check_table

    most = _most(jobs)
    out = Location(place)
    if out.web:
        raise UsageError(f"{out.shown} is on a web server, where nothing can be written: give a folder or a bucket")
    if out.shown.rstrip("/").endswith((".csv", ".jsonl", ".parquet")) or (out.local is not None and out.local.is_file()):
        raise UsageError(f"with --engine ray a data set is written, so --out must be a folder, not {out.shown}")
    check_table(Path("part-0.parquet"), options.columns, format="parquet", like=options.like, report=False)
    ray_module()
    found = find_items(inputs, recursive=recursive, out=out)
    for line in found.problems:
        click.echo(f"rtau: {line}", err=True)
    _check_data_set(out, found.items, known=resume or options.overwrite)
    if summary is not None:
        check_summary(summary, [item.place.local for item in found.items if item.place.local is not None],
                      overwrite=options.overwrite or resume)
    run = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}"
    # Workers see relative paths from folders of their own.
    asked = {name: value.absolute() if isinstance(value, Path) else value for name, value in analysis.items()}
    tasks = [make_task(item, out, run, options, asked, resume=resume) for item in found.items]
    results = Results([])
    try:
        with connected(address, cpus=most and most * (cpus or 1), verbose=verbose) as ray:
            crew = choose_crew(ray, most=most, cpus=cpus, gpus=gpus, backend=analysis["backend"],
                               device=analysis["device"], stall=stall, verbose=verbose)
            with BatchDisplay(len(tasks), shown=shown) as display:
                run_cluster(ray, tasks, out, run, crew, display=display, problems=found.problems, results=results)
    except RtauError:
        if summary is not None and results.records:
            with contextlib.suppress(OutputError):
                write_summary(results, summary)
        raise
    say_results(results)
    if summary is not None:
        write_summary(results, summary)
    return results


def say_results(results: Results) -> None:
    """Print what became of the files of a run."""
    from rich.console import Console

    from ..batch.results import results_table

    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 160)
    console.print(results_table(results))
    if results.interrupted:
        totals = results.totals
        click.echo(f"rtau: stopped with {totals['left']} of {totals['files']} files left; --resume goes on from here",
                   err=True)


def check_summary(summary: Path, taken: Sequence[Path], *, overwrite: bool) -> None:
    """Raise UsageError or OutputError where the summary can't be written without harm."""
    if summary.resolve() in {path.resolve() for path in taken}:
        raise UsageError(f"the summary {summary} would be written over a file of this run: give another name")
    if summary.is_dir():
        raise UsageError(f"--summary {summary} is a folder: give the name of a file")
    if summary.exists() and not overwrite:
        from ..sinks.paths import exists_error

        raise exists_error(summary)


def _check_data_set(out: Location, items: Sequence[Item], *, known: bool) -> None:
    """Raise OutputError where a table that is to be made lies there already; `known`: that is well."""
    from ..cluster.partition import TABLE, folder_of

    if known:
        return
    there = {name.rsplit("/", 2)[-2] for name in out.files() if str(name).endswith(f"/{TABLE}")}
    first = next((item for item in items if folder_of(item.name) in there), None)
    if first is not None:
        raise OutputError(f"{out.child(folder_of(first.name)).shown} exists: add --resume to go on with what is not done, "
                          "or --overwrite to replace it, or choose another --out")


def _most(jobs: str | None) -> int | None:
    """How many workers `--jobs` asks for at most."""
    if jobs is None or jobs.strip().lower() == "auto":
        return None
    if not jobs.strip().isdecimal() or not 1 <= int(jobs) <= 100_000:
        raise UsageError(f"--jobs is {jobs!r}: give a number from 1 on, or auto")
    return int(jobs)
