"""The command `rtau bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import SAMPLE, prepare_process, words


@click.command()
@click.argument("video", required=False, type=click.Path(path_type=Path))
@click.option("--only", "only_text", default="", metavar="LIST",
              help="Parts to measure: start, pipeline, live, faces, resolutions, batches.  [default: all]")
@click.option("--seconds", type=click.FloatRange(0.1, 600), default=4.0, show_default=True, metavar="S",
              help="How long each measurement takes.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, allow_dash=True), metavar="FILE",
              help="Also keep the report as JSON; - prints it in place of the tables.")
@click.option("--against", type=click.Path(path_type=Path), metavar="FILE",
              help="A kept report: say how many times as good each figure is now.")
@click.option("--detector", default="auto", show_default=True, metavar="NAME", help="As in rtau process.")
@click.option("--backend", default="auto", show_default=True, metavar="NAME",
              help="auto, onnxruntime, openvino, torch, compile or tensorrt.")
@click.option("--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu or cuda.")
@click.option("--precision", default="auto", show_default=True, metavar="NAME",
              help="auto, float32, bfloat16 or float16.")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="CPU threads of the networks.")
@click.option("--no-progress", is_flag=True, help="Show no progress bar.")
def bench(video: Path | None, only_text: str, seconds: float, json_file: Path | None, against: Path | None,
          no_progress: bool, **analysis: Any) -> None:
    """Measure how fast rtau is on this machine, with VIDEO or the clip that comes with it.

    Frames per second from a file to a table, by stage, by number of faces, by resolution and by batch; how old a
    camera's frame is when it is shown; how long the start takes; peak memory. Takes about two minutes; other
    programs should rest meanwhile.

    \b
    rtau bench
    rtau bench video.mp4 --only pipeline,live --json before.json
    rtau bench video.mp4 --only pipeline,live --against before.json
    """
    prepare_process()
    from rich.console import Console

    from ..bench import Settings, compare, keep_report, read_report, run_bench, show
    from ..progress import PartProgress

    settings = Settings(video or SAMPLE, seconds, {k: v for k, v in analysis.items() if v is not None},
                        tuple(words(only_text)))
    before = None if against is None else read_report(against)
    with PartProgress(shown=not no_progress) as bar:
        report = run_bench(settings, bar.begin)
    if json_file is not None and str(json_file) != "-":
        keep_report(report, json_file)
    if str(json_file) == "-":
        click.echo(report.to_json())
        return
    console = Console()
    for name, value in report.facts.items():
        console.print(f"{name}: {value}", highlight=False, markup=False)
    console.print()
    show(report.tables, console)
    if before is not None:
        show(compare(report, before), console, compared=True)
