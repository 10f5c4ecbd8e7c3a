"""The paper's finding on open data: at equal labels, one view < two < + L_mv < + L_cr < + graph, over seeds.

    python benchmarks/finding.py --renders renders --photos faces clips --out study --tune
    python benchmarks/finding.py --renders renders --photos faces clips --out study --labels 10% --seeds 3 --steps 600

Labeled are some rendered faces of those who train; unlabeled the others, and photographs; judged are rendered faces
of people whom no training saw. The same command goes on where an earlier one stopped, and takes more seeds or labels.

In the folder: `finding.md`, the tables; `finding.csv`, `differences.csv` and `labels.csv`, the same for programs;
`finding.json`, all of it and every run; `tuning.json`, how the terms' factors and the graph's settings were chosen;
`points/`, what all backbones begin with; `runs/`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.logging import RichHandler

from rtau.errors import InputError, RtauError, UsageError
from rtau.model import AuConfig
from rtau.sinks.paths import replaced
from rtau_train.bank import fill_bank, list_photographs, open_part
from rtau_train.board import Board
from rtau_train.config import Recipe, change_recipe, read_recipe
from rtau_train.data.align import align
from rtau_train.data.corpus import open_faces
from rtau_train.data.faces import FaceSet
from rtau_train.data.people import part_of
from rtau_train.data.renders import open_renders
from rtau_train.data.tars import alone
from rtau_train.figures.tables import share
from rtau_train.parts import is_renders
from rtau_train.progress import CountBar
from rtau_train.study import POINTS, Order, fulfil_all, pretrain, read_result
from rtau_train.summary import Summary, table

_RECIPES = Path(__file__).resolve().parents[1] / "train" / "recipes"
RECIPE, PRETRAINING = _RECIPES / "finding.toml", _RECIPES / "points.toml"
_NO_MV, _NO_CR, _NO_GRAPH = "method.multi_view=0", "method.co_regularization=0", "model.graph=false"
#: Each variant is the recipe with these changes, and has one thing more than the one before.
VARIANTS: dict[str, tuple[str, ...]] = {
    "one view": ("model.views=1", _NO_MV, _NO_CR, _NO_GRAPH), "two views": (_NO_MV, _NO_CR, _NO_GRAPH),
    "+ L_mv": (_NO_CR, _NO_GRAPH), "+ L_cr": (_NO_GRAPH,), "+ graph": ()}
#: Two views with all labels: what labels in place of the method would give.
CEILING, CEILING_CHANGES = "ceiling", VARIANTS["two views"]
LABELS = ("20x20", "5%", "10%", "25%")
#: What --tune tries on those who validate, one after the other, at one size and with a seed that the study itself does
#: not use: of which variant, and which values of which settings.
TRIED: tuple[tuple[str, dict[str, tuple[Any, ...]]], ...] = (
    ("+ L_mv", {"method.multi_view": (0.03, 0.1, 0.3)}), ("+ L_cr", {"method.co_regularization": (0.3, 1.0, 3.0)}),
    ("+ graph", {"graph.normalized": (False, True), "model.slope": (0.2, 1.0)}))
TUNED_ON, TUNING_SEED = "20x20", 1000
TUNING = "tuning.json"

log = logging.getLogger("rtau_train.finding")


# -- faces -----------------------------------------------------------------------------------


def prepare(renders: Sequence[Path], photos: Sequence[Path], out: Path, size: int, *, every: int, jobs: int) -> None:
    """Align the photographs and cut all faces into the study's bank, unless that is done.

    Raises:
        RtauError: they can't be read or written, nobody is there to train, validate or test, or the bank holds others.
    """
    listing = list_photographs(photos, every)
    folders = [inner for folder in renders for inner in (
        [folder] if is_renders(folder) else [path for path in sorted(folder.glob("*")) if is_renders(path)])]
    if not folders:
        raise InputError(f"no renders in {', '.join(map(str, renders))}: give folders that rtau data render wrote")
    made_of = {"renders": {f"{file.parent.name}/{file.name}": file.stat().st_size for folder in folders
                           for file in sorted(folder.glob("shard-*.tar"))},
               "photographs": len(listing), "digest": hashlib.sha256("\n".join(listing.source).encode()).hexdigest()}

    def opened() -> dict[str, FaceSet]:
        with CountBar("photographs") as report:
            align(listing, out / "real", source=", ".join(path.name for path in photos), jobs=jobs, report=report)
        everybody = FaceSet.join([open_renders(folder, memory=0) for folder in folders])
        part = np.array([part_of(person) for person in everybody.subject])
        for name in ("train", "validation", "test"):
            if name not in part:
                raise InputError(f"no renders of {name} people: make some with rtau data render --people {name}")
        return {**{name: everybody[part == name] for name in ("train", "validation", "test")},
                "real": open_faces(out / "real", memory=0)}

    with CountBar("faces") as report:
        fill_bank(out / "bank", size, made_of, opened, report=report)


# -- what is trained -------------------------------------------------------------------------


def stretch(recipe: Recipe, factor: float) -> Recipe:
    """The recipe with `factor` times as many steps in all, in each stage, and between validations."""
    def times(steps: int) -> int:
        return max(round(steps * factor), 1)

    loop, method = recipe.loop, recipe.method
    return replace(recipe, method=replace(method, pretrain=times(method.pretrain), ramp=times(method.ramp)),
                   loop=replace(loop, steps=times(loop.steps), warmup=times(loop.warmup),
                                evaluate_every=times(loop.evaluate_every)))


def pretraining(recipe: Recipe, threads: int) -> Recipe:
    """How the backbones of a recipe's networks are trained before, in as many steps as it has."""
    points, build = read_recipe(PRETRAINING), ("backbone", "size", "width", "blocks", "features")
    long = {key: getattr(recipe.loop, key) for key in ("steps", "warmup", "evaluate_every")}
    return replace(points, model={**points.model, **{key: recipe.model[key] for key in build if key in recipe.model}},
                   loop=replace(points.loop, **long, device="cpu", threads=threads))


def order_of(recipe: Recipe, variant: str, changes: Sequence[str], labels: str, seed: int, name: str = "") -> Order:
    """A training of the recipe with changes, in a folder called by what it is."""
    words = re.sub(r"\W+", "_", f"{name or variant} {labels} seed {seed}").strip("_")
    always = (f"loop.seed={seed}", 'loop.device="cpu"', "loop.threads=1")
    return Order(words, variant, labels, seed, change_recipe(recipe, [*changes, *always]))


def plan(recipe: Recipe, variants: Sequence[str], labels: Sequence[str], seeds: int, ceiling: float) -> list[Order]:
    """All trainings, seed by seed, so that an unfinished study can be compared too."""
    long = stretch(recipe, ceiling) if ceiling else recipe
    return [order for seed in range(seeds) for order in (
        *(order_of(recipe, variant, VARIANTS[variant], size, seed) for size in labels for variant in variants),
        *([order_of(long, CEILING, CEILING_CHANGES, "100%", seed)] if ceiling else []))]


def tune(recipe: Recipe, out: Path, run: Callable[[Sequence[Order]], list[dict[str, Any]]]) -> dict[str, Any]:
    """Choose the factors of the terms, then the graph's adjacency and slope, by those who validate.

    Args:
        recipe: what is tuned.
        out: the study's folder, which gets tuning.json.
        run: gives the results of trainings.

    Returns:
        What was tried and what was chosen, as tuning.json has it.

    Raises:
        RtauError: a training failed.
    """
    chosen: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for variant, grid in TRIED:
        points = [{**chosen, **dict(zip(grid, values, strict=True))} for values in product(*grid.values())]
        orders = [replace(order_of(recipe, variant, [*VARIANTS[variant], *_changes(point)], TUNED_ON, TUNING_SEED,
                                   " ".join(["tune", variant, *_changes(point)])), judged="validation")
                  for point in points]
        found = {result["order"]["name"]: result["validation"] for result in run(orders)}
        if len(found) < len(orders):
            raise RtauError("the factors can't be chosen, for a training failed: the same command tries it again")
        scores = [found[order.name] for order in orders]
        rows += [{"variant": variant, **point, **score} for point, score in zip(points, scores, strict=True)]
        chosen = max(zip(points, scores, strict=True), key=lambda pair: pair[1]["score"])[0]
    record = {"labels": TUNED_ON, "seed": TUNING_SEED, "steps": recipe.loop.steps, "chosen": chosen, "tried": rows}
    with replaced(out / TUNING) as file:
        file.write(json.dumps(record, indent=1) + "\n")
    return record


def _changes(point: dict[str, Any]) -> list[str]:
    return [f"{key}={json.dumps(value)}" for key, value in point.items()]


def perform(orders: Sequence[Order], out: Path, jobs: int) -> list[dict[str, Any]]:
    """The results of all trainings that could be done, those of earlier commands among them."""
    done = [result for order in orders if (result := read_result(order, out)) is not None]
    with Board(orders, done, jobs) as board:
        return fulfil_all(orders, out, jobs, tell=board.tell, watch=board.watch)


# -- the command -----------------------------------------------------------------------------


def notes(recipe: Recipe, tuned: dict[str, Any] | None, bank: Path, seeds: int) -> list[str]:
    """What the tables rest on, in Markdown."""
    count = {name: open_part(bank, name) for name in ("train", "real", "validation", "test")}
    people = {name: len(set(faces.subject.tolist()) - {""}) for name, faces in count.items()}
    loop, method, model = recipe.loop, recipe.method, recipe.model
    faces = (f"{len(count['train'])} renders of {people['train']} people to learn from, with labels or without; "
             f"{len(count['real'])} photographs and frames, without. {len(count['validation'])} renders of "
             f"{people['validation']} others choose checkpoints and thresholds, {len(count['test'])} of "
             f"{people['test']} others again are judged.")
    begin = "begin as one trained on the points of all these faces" if recipe.pretrained else "begin at random"
    cuts = "a crop of its own" if recipe.augment.per_view else "the same crop"
    networks = (f"Backbones {begin}; each view sees {cuts} of a face. Networks of width {model['width']} see "
                f"{model['size']} px; {loop.steps} steps of {loop.batch} labeled and, for L_cr, "
                f"{loop.unlabeled_batch or loop.batch} unlabeled faces; from step {method.pretrain} to "
                f"{method.pretrain + method.ramp} the terms rise to λ_mv {method.multi_view:g} and λ_cr "
                f"{method.co_regularization:g}. Adjacency {'' if recipe.graph.normalized else 'not '}normalized, the "
                f"graph's ReLU of slope {model.get('slope', AuConfig.slope):g} below 0. Seeds 0 to {seeds - 1}.")
    if tuned is None:
        return [faces, "", networks]
    settings = [key for _, grid in TRIED for key in grid]
    head = ["variant", "λ_mv", "λ_cr", "normalized", "slope", "score", "AUC", "ICC", "step"]
    rows = [[row["variant"], *(row.get(key, "") for key in settings),
             *("-" if row[key] is None else share(row[key]) for key in ("score", "auc", "icc")), int(row["step"])]
            for row in tuned["tried"]]
    chosen = ("The terms' factors, then the graph's adjacency and slope, were chosen by the score (AUC + ICC / 2) of "
              f"those who validate, at {tuned['labels']} of the labels with seed {tuned['seed']}:")
    return [faces, "", networks, "", chosen, "", *table(head, rows)]


def study(args: argparse.Namespace) -> int:
    """Prepare, tune, train and tell; gives the exit code."""
    recipe = read_recipe(args.recipe, args.set)
    recipe = stretch(recipe, args.steps / recipe.loop.steps) if args.steps else recipe
    with alone(args.out, "running a study in it"):
        if not args.report:
            prepare(args.renders, args.photos, args.out, recipe.model["size"], every=args.every, jobs=args.jobs)
            if recipe.pretrained == POINTS:
                pretrain(pretraining(recipe, args.jobs), args.out)
        try:
            tuned = json.loads((args.out / TUNING).read_text(encoding="utf-8"))
        except FileNotFoundError:
            tuned = tune(recipe, args.out, lambda orders: perform(orders, args.out, args.jobs)) \
                if args.tune and not args.report else None
        except ValueError:
            raise InputError(f"{args.out / TUNING} is damaged: delete it and give --tune") from None
        recipe = change_recipe(recipe, _changes(tuned["chosen"])) if tuned else recipe
        orders = plan(recipe, args.variants, args.labels, args.seeds, args.ceiling)
        stopped: KeyboardInterrupt | None = None
        try:
            results = [] if args.report else perform(orders, args.out, args.jobs)
        except KeyboardInterrupt as error:
            stopped = error
        if args.report or stopped:
            results = [result for order in orders if (result := read_result(order, args.out)) is not None]
        if results:
            pairs = list(pairwise(args.variants))
            ends = [("two views", args.variants[-1])] if "two views" in args.variants[:-2] else []
            summary = Summary(results, args.out, open_part(args.out / "bank", "test"), [*pairs, *ends],
                              people=not stopped)
            summary.write(args.out, {"recipe": recipe.as_dict(), "tuning": tuned,
                                     "notes": notes(recipe, tuned, args.out / "bank", args.seeds)})
            print(f"{args.out / 'finding.md'}: {len(results)} of {len(orders)} trainings")
        if stopped:
            raise stopped
        if not results:
            raise RtauError(f"no training in {args.out} is done" + (" yet: leave out --report" if args.report else ""))
    return int(len(results) < len(orders) and not args.report)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; gives its exit code: 0 all done, 1 some trainings failed, 2 a mistake, 130 stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renders", type=Path, nargs="+", default=[], help="folders of rtau data render, or of such")
    parser.add_argument("--photos", type=Path, nargs="+", default=[], help="folders of photographs and videos")
    parser.add_argument("--every", type=int, default=3, help="of videos, each so many-th frame (default %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="the study's folder")
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="what all variants share (default %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a change of the recipe")
    parser.add_argument("--steps", type=int, help="shorten or lengthen all stages of the recipe to so many steps")
    parser.add_argument("--labels", nargs="+", default=LABELS,
                        help="shares of the labels, or people x pictures of each (default %(default)s)")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--seeds", type=int, default=5, help="how many (default %(default)s)")
    parser.add_argument("--ceiling", type=float, default=2.0,
                        help="how many times as many steps with all labels; 0 leaves that out (default %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, one core each (default %(default)s)")
    parser.add_argument("--tune", action="store_true", help="first choose the factors of the terms")
    parser.add_argument("--report", action="store_true", help="only write the tables of what is done")
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s",
                        handlers=[RichHandler(console=Console(stderr=True), show_time=False, show_path=False)])
    try:
        if not args.report and not (args.renders and args.photos):
            raise UsageError("which faces? Give --renders and --photos, or --report for the tables of what is done")
        if min(args.seeds, args.jobs, args.every) < 1 or args.ceiling < 0 or (args.steps or 1) < 1:
            raise UsageError("--seeds, --jobs, --every and --steps must be 1 or more, --ceiling 0 or more")
        return study(args)
    except RtauError as error:
        print(f"rtau: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("rtau: stopped; the same command goes on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
