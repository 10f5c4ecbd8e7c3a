"""The command `rtau demo`."""

from __future__ import annotations

from pathlib import Path

import click

from .options import SAMPLE, prepare_process
from .process import run_jobs


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
    from ..process import Options, plan
    from ..source import Input

    jobs = plan([Input(SAMPLE, False)], out / "astronaut.csv", out / "astronaut-overlay.mp4", overwrite=True)
    raise SystemExit(run_jobs(jobs, [], Options(overwrite=True), {"aus_text": "all"}, progress=True))
