"""`rtau eval`: how good a network is. Nothing heavy is imported before it is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rtau.errors import UsageError

_PATH = click.Path(path_type=Path)


@click.command("eval")
@click.argument("data", type=_PATH)
@click.option("--weights", metavar="WHAT",
              help="A .safetensors file with its manifest beside it, the folder of a training run, or a shipped name: "
                   "au.")
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
@click.option("--out", type=_PATH, metavar="DIR", help="Write JSON, CSV and plots there.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the table.")
@click.option("--resamples", type=click.IntRange(0, 100_000), default=1000, show_default=True, metavar="N",
              help="Of subjects and their faces, for intervals; 0 for none.")
@click.option("--level", type=click.FloatRange(0.5, 0.999), default=0.95, show_default=True, metavar="SHARE",
              help="Share that intervals hold.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, metavar="S", help="Of the resamples.")
@click.option("--backend", default="auto", show_default=True, metavar="NAME", help="auto, openvino or torch.")
@click.option("--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu or cuda.")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="CPU threads of the networks.")
@click.option("--no-progress", is_flag=True, help="Show no progress bar.")
def evaluate(data: Path, weights: str | None, against: str | None, subjects: str, labels: str, out: Path | None,
             overwrite: bool, as_json: bool, resamples: int, level: float, seed: int, no_progress: bool,
             **more: Any) -> None:
    """Judge a network on faces whose labels are known.

    DATA is a folder that rtau data render or rtau data align wrote, or a table of predictions of any tool, a CSV
    with the columns subject, and for each label AU12_p or AU12_r (predicted) and AU12_truth or AU12_truth_r.

    Per label: AUC, average precision, F1 at 0.5 and at a threshold tuned on other people, balanced accuracy,
    calibration, and of intensity ICC(3,1), MAE and correlation, with intervals over people. "-" stands for what
    can't be given.

    \b
    rtau eval renders --weights au --part test --out report
    rtau eval aligned --weights runs/au
    rtau eval strangers --weights au --threshold-from others
    rtau eval renders --weights runs/new --against runs/old
    rtau eval report/predictions.csv --json
    """
    try:
        from rich.console import Console

        from ..figures.judging import Order, judge
        from ..figures.report import Settings
        from ..figures.tables import comparison_table, report_table
        from ..figures.verdict import prepare_folder
        if out is not None:
            from ..figures import plots  # noqa: F401  (its package may be missing; say so before the work)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("rtau"):
            raise
        raise UsageError(f"judging needs more packages ({error}): pip install 'rtau[train]'") from None
    import logging

    import cv2

    from ..progress import CountBar

    cv2.setNumThreads(1)  # the networks get the others
    logging.basicConfig(level=logging.WARNING, format="rtau: %(message)s")
    order = Order(data, weights, against, subjects=_words(subjects),
                  labels=tuple(word for word in _words(labels) if word != "all"),
                  settings=Settings(resamples, seed, level), **more)
    if out is not None:
        prepare_folder(out, compared=against is not None, overwrite=overwrite)
    verdict = judge(order, lambda unit: CountBar(unit, shown=not no_progress))
    if as_json:
        click.echo(verdict.to_json())
    else:
        console = Console(highlight=False)
        console.width = min(console.width, 100) if console.is_terminal else 100
        narrow = console.width < 100
        for judged in filter(None, (verdict.network, verdict.other)):
            console.print(report_table(judged.report, narrow=narrow), "")
        if verdict.comparison is not None:
            console.print(comparison_table(verdict.comparison), "")
        for note in verdict.notes:
            console.print(note)
    if out is not None:
        verdict.write(out)
        click.echo(f"{out}: eval.json, labels.csv, predictions.csv and plots", err=as_json)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
