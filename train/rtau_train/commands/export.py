"""The command `rtau export`. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from rtau.errors import UsageError

from .data import _PATH

_FORMATS = ("safetensors", "onnx", "tensorrt")


@click.command()
@click.argument("run", type=_PATH)
@click.option("--out", type=_PATH, required=True, metavar="DIR",
              help="Where the files and manifest.json go; other networks there stay.")
@click.option("--name", metavar="NAME", help="Of the files.  [default: au, attributes, landmarks or detector]")
@click.option("--format", "formats", type=click.Choice(_FORMATS), multiple=True,
              help="May be repeated. safetensors, which rtau itself reads, is always written. onnx runs in anything that reads ONNX. "
                   "tensorrt builds an engine for this machine's GPU and needs rtau[tensorrt]; it is written to "
                   "torch-tensorrt's documentation and has not been run with it yet.")
@click.option("--data", type=_PATH, metavar="DATA",
              help="Labeled faces, aligned or rendered, of people whom the run did not learn from, to calibrate on; by "
                   "default those who validated.")
@click.option("--prior", type=click.FloatRange(0.001, 0.999), default=0.15, show_default=True, metavar="SHARE",
              help="Of faces that show an AU where the network will be used. Other attributes keep the share that they "
                   "have in DATA.")
@click.option("--rest", type=_PATH, metavar="DATA",
              help="Aligned faces at rest, whose people don't test: presence is then lowered until no more than 1 % of "
                   "them are said to show an AU.")
@click.option("--lower-presence", type=click.FloatRange(0, 10), default=0.0, metavar="X",
              help="Of a landmark network: take X off the log-odds that there is a face.")
@click.option("--uncalibrated", is_flag=True, help="Leave probabilities as trained; needs no data.")
@click.option("--crops", type=_PATH, metavar="DATA",
              help="Faces on which each file is held against the checkpoint: aligned, rendered, pictures or a video; "
                   "by default the clip that comes with rtau.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier export of this name.")
@click.option("--no-progress", is_flag=True, help="Show no progress bar.")
def export(run: Path, no_progress: bool, **settings: Any) -> None:
    """Write the best network of a training RUN into files that rtau and others run.

    The graph is folded into the network, and probabilities are calibrated. Each file is then run on real faces and
    held against the checkpoint: the largest differences are shown, and one beyond the tolerance is an error that leaves
    nothing behind.

    \b
    rtau export runs/au --out exported
    rtau process video.mp4 --model exported/au.safetensors
    rtau export runs/attributes --out exported
    rtau process video.mp4 --model exported/attributes.safetensors
    rtau export runs/au --out exported --name mine --format onnx
    rtau export runs/au --out exported --data others --crops photos/
    rtau export runs/au --out exported --prior 0.3 --rest portraits
    """
    try:
        from ..export.order import Order
        from ..export.order import export as carry_out
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("rtau"):
            raise
        raise UsageError(f"exporting needs more packages ({error}): pip install 'rtau[train]'") from None
    import cv2

    from ..progress import CountBar

    cv2.setNumThreads(1)
    logging.basicConfig(level=logging.WARNING, format="rtau: %(message)s")
    done = carry_out(Order(run, **settings), lambda unit: CountBar(unit, shown=not no_progress))
    for file in done.files:
        click.echo(f"{file.path}: {file.path.stat().st_size / 1e6:.1f} MB; {file.drift}")
    click.echo(done.calibration)
    if done.entry["kind"] == "au":
        click.echo(f"to use it: rtau process video.mp4 --model {done.files[0].path}")
