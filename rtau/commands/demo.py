"""The command `rtau demo`."""

from __future__ import annotations

from pathlib import Path

import click

from .options import SAMPLE, prepare_process
from .process import exit_code, run_here


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("rtau-demo"), show_default=True, metavar="FOLDER",
              help="Where to put the table and the overlay.")
def demo(out: Path) -> None:
    """Analyse the short clip that comes with rtau.

    Writes a table and a video with the results drawn on it, and names both.

    \b
    rtau demo
    rtau demo --out /tmp/demo
    """
    prepare_process()
    from ..batch import Task
    from ..process import Options, plan
    from ..source import Input

    jobs = plan([Input(SAMPLE, False)], out / "astronaut.csv", out / "astronaut-overlay.mp4", overwrite=True)
    tasks = [Task(job, Options(overwrite=True), {"aus_text": "all"}) for job in jobs]
    raise SystemExit(exit_code(run_here(tasks, progress=True)))
