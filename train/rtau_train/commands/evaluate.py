"""`rtau eval`: how good a network is. Nothing heavy is imported before it is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rtau.errors import UsageError

from .data import _PATH

#: Options of one way of judging alone, by the names of their parameters.
_FACES = ("subjects", "labels", "threshold_from", "threshold_part", "points")
_OPEN = ("faces", "rig", "stills", "renders", "clips", "only", "pictures", "frames", "probes")
_SUITE = (*_OPEN, "smooth")


@click.command("eval")
@click.argument("data", type=_PATH, nargs=-1)
@click.option("--suite", type=click.Choice(["open", "clips"]),
              help="open: everything the open portraits and the rig can say of a network, without DATA. clips: DATA are "
                   "clips of rtau data clip, or folders of them.")
@click.option("--weights", metavar="WHAT",
              help="A .safetensors file with its manifest beside it, the folder of a training run, or a shipped name: "
                   "au (what a suite judges by default).")
@click.option("--against", metavar="WHAT", help="Another, to compare with on the same faces.")
@click.option("--part", metavar="NAME",
              help="train, validation, test or all; by default test, or whom a run kept out of its aligned faces, "
                   "or all where there are no parts.")
@click.option("--subjects", default="", metavar="LIST", help="Only these people, such as F001,M003.")
@click.option("--aus", "labels", default="all", show_default=True, metavar="LIST",
              help="Labels to judge: AU numbers, names of other labels, or all, emotionet, bp4d, disfa.")
@click.option("--threshold-from", type=_PATH, metavar="DATA",
              help="Tune thresholds on these faces of other people; by default on the validation people in DATA.")
@click.option("--threshold-part", metavar="NAME", help="Of those; by default validation where there are parts.")
@click.option("--points", type=click.Choice(["auto", "given", "found"]), default="auto", show_default=True,
              help="Crop by the points that come with the faces, or as at run time by those that rtau's landmark "
                   "network finds; auto finds them in renders.")
@click.option("--faces", type=_PATH, default=Path("rtau-data/faces"), show_default=True, metavar="FACES",
              help="Suite: folder of the open portraits, as rtau data fetch packs it.")
@click.option("--rig", type=_PATH, default=Path("rtau-data/ict_facekit/ict_facekit.npz"), show_default=True,
              metavar="RIG", help="Suite: the face rig, as rtau data fetch packs it.")
@click.option("--stills", type=_PATH, metavar="DIR",
              help="Suite: everyday photographs that suite/stills.csv labels; left out without.")
@click.option("--renders", type=_PATH, metavar="DIR",
              help="Suite: rendered pictures to judge on; an empty folder is filled. By default in your cache.")
@click.option("--clips", type=_PATH, metavar="DIR",
              help="Suite: clips with truth to judge on; an empty folder is filled. By default in your cache.")
@click.option("--only", metavar="LIST", help="Suite: some of photographs, renders, probes, clips; by default all.")
@click.option("--pictures", type=click.IntRange(1), metavar="N",
              help="Suite: pictures to render, by default 2200; of a folder of your own the first N, by default all.")
@click.option("--frames", type=click.IntRange(1), default=3000, show_default=True, metavar="N",
              help="Suite: frames of faces in motion to render.")
@click.option("--probes", type=click.IntRange(1), default=600, show_default=True, metavar="N",
              help="Suite: pictures to render anew without creases, shading, lamps or background.")
@click.option("--smooth", type=click.Choice(["one-euro", "off"]), default="one-euro", show_default=True,
              help="Suite: of what is read in clips.")
@click.option("--out", type=_PATH, metavar="DIR", help="Write JSON, CSV and plots there; of a suite JSON, Markdown and "
                                                       "a gallery of mistakes.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the table.")
@click.option("--resamples", type=click.IntRange(0, 100_000), default=1000, show_default=True, metavar="N",
              help="Of subjects and their faces, for intervals; 0 for none.")
@click.option("--level", type=click.FloatRange(0.5, 0.999), default=0.95, show_default=True, metavar="SHARE",
              help="Share that intervals hold.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, metavar="S", help="Of the resamples.")
@click.option("--backend", default="auto", show_default=True, metavar="NAME",
              help="auto, onnxruntime, openvino, torch, compile or tensorrt.")
@click.option("--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu or cuda.")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="CPU threads of the networks.")
@click.option("--no-progress", is_flag=True, help="Show no progress bar.")
@click.pass_context
def evaluate(ctx: click.Context, data: tuple[Path, ...], suite: str | None, no_progress: bool, resamples: int,
             level: float, seed: int, **given: Any) -> None:
    """Judge a network on faces whose labels are known.

    DATA is a folder that rtau data render or rtau data align wrote, or a table of predictions of any tool, a CSV
    with the columns subject, and for each label AU12_p or AU12_r (predicted) and AU12_truth or AU12_truth_r.

    Per label: AUC, average precision, F1 at 0.5 and at a threshold tuned on other people, balanced accuracy,
    calibration, and of intensity ICC(3,1), MAE and correlation, with intervals over people. "-" stands for what
    can't be given.

    --suite open measures everything on people who were kept out of every training: false alarms and smiles in real
    photographs; rendered faces by AU, skin tone, sex, pose, size, occluder and camera; which hidden regions are told;
    what is lost without drawn creases, shading, lamps and backgrounds; clips with onsets, delays and jitter. What it
    renders takes some minutes once and is kept.

    \b
    rtau eval renders --weights au --part test --out report
    rtau eval aligned --weights runs/au
    rtau eval strangers --weights au --threshold-from others
    rtau eval renders --weights runs/new --against runs/old
    rtau eval report/predictions.csv --json
    rtau eval --suite open --out suite
    rtau eval --suite open --only photographs,clips --weights exported/au.safetensors
    rtau eval --suite clips clip.mp4
    """
    _check(ctx, suite, data)
    try:
        from ..figures.report import Settings

        run = _faces if suite is None else _suite
        import cv2

        from ..progress import CountBar

        cv2.setNumThreads(1)  # the networks get the others
        run(data, suite, lambda unit: CountBar(unit, shown=not no_progress), settings=Settings(resamples, seed, level),
            **{name: value for name, value in given.items() if name not in (_SUITE if suite is None else _FACES)})
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("rtau"):
            raise
        raise UsageError(f"judging needs more packages ({error}): pip install 'rtau[train]'") from None


def _check(ctx: click.Context, suite: str | None, data: tuple[Path, ...]) -> None:
    """Options that don't go with the way of judging, and the wrong number of DATA."""
    foreign = {None: _SUITE, "open": _FACES, "clips": (*_FACES, *_OPEN, "part")}[suite]
    flags = {option.name: option.opts[0] for option in ctx.command.params}
    stray = [flags[name] for name in foreign
             if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE]
    if stray:
        raise UsageError(f"{stray[0]} is an option of --suite open: add that, or leave it out" if suite is None else
                         f"{stray[0]} does not go with --suite {suite}: leave it out")
    if suite is None and len(data) != 1:
        raise UsageError("what is to be judged on? Give one folder of faces or one table of predictions, or --suite "
                         f"open{f': there are {len(data)}' if data else ''}")
    if suite == "open" and data:
        raise UsageError(f"--suite open brings its own faces: leave {data[0]} out, or --suite")
    if suite == "clips" and not data:
        raise UsageError("which clips? Give videos that rtau data clip made, or their folder")


def _faces(data: tuple[Path, ...], suite: None, bars: Any, *, out: Path | None, overwrite: bool, as_json: bool,
           subjects: str, labels: str, **more: Any) -> None:
    """On faces with labels, or a table of predictions."""
    import logging

    from ..figures.judging import Order, judge
    from ..figures.tables import comparison_table, report_table
    from ..figures.verdict import prepare_folder

    if out is not None:
        from ..figures import plots  # noqa: F401  (its package may be missing; say so before the work)
    logging.basicConfig(level=logging.WARNING, format="rtau: %(message)s")
    order = Order(data[0], subjects=_words(subjects), labels=tuple(word for word in _words(labels) if word != "all"),
                  **more)
    if out is not None:
        prepare_folder(out, compared=order.against is not None, overwrite=overwrite)
    verdict = judge(order, bars)
    if as_json:
        click.echo(verdict.to_json())
    else:
        console = _console()
        for judged in filter(None, (verdict.network, verdict.other)):
            console.print(report_table(judged.report, narrow=console.width < 100), "")
        if verdict.comparison is not None:
            console.print(comparison_table(verdict.comparison), "")
        for note in verdict.notes:
            console.print(note)
    if out is not None:
        verdict.write(out)
        click.echo(f"{out}: eval.json, labels.csv, predictions.csv and plots", err=as_json)


def _suite(data: tuple[Path, ...], suite: str, bars: Any, *, out: Path | None, overwrite: bool, as_json: bool,
           weights: str | None, part: str | None, only: str | None, **more: Any) -> None:
    """On the open test set, or on clips with truth."""
    import logging

    from ..suite.open import judge_clips, judge_suite
    from ..suite.order import STAGES, Order
    from ..suite.outcome import prepare_folder

    logging.basicConfig(level=logging.WARNING, format="rtau: %(message)s")
    order = Order(weights=weights or "au", part=part or "test", stages=STAGES if only is None else _words(only), **more)
    if out is not None:
        prepare_folder(out, overwrite=overwrite)
    outcome = judge_suite(order, bars) if suite == "open" else judge_clips(order, data, bars)
    if as_json:
        click.echo(outcome.to_json())
    else:
        console = _console()
        for name, sheets in outcome.sheets():
            console.rule(name, align="left")
            for sheet in sheets:
                console.print(sheet.rendered(), "")
        for note in outcome.notes:
            console.print(note)
    if out is not None:
        click.echo(f"{out}: {', '.join(path.name for path in outcome.write(out))}", err=as_json)


def _console() -> Any:
    """At most 100 columns."""
    from rich.console import Console

    console = Console(highlight=False)
    console.width = min(console.width, 100) if console.is_terminal else 100
    return console


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
