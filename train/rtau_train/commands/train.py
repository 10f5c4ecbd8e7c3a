"""The command `rtau train`. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import click

from rtau.cores import cores
from rtau.errors import UsageError

from .data import _INTERRUPTED, _PATH

_KINDS = ("auto", "manifest", "folder", "emotionet", "bp4d", "bp4d+", "disfa", "disfa+", "celeba", "lfwa")
_PROTOCOLS = ("emotionet-3random", "bp4d-3fold", "disfa-3fold", "kfold-by-subject")


class _Says(logging.Handler):
    """Prints warnings as the command line prints errors; click finds the standard error that a live table leaves."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(f"rtau: {record.getMessage()}", err=True)


@click.command()
@click.argument("words", nargs=-1, metavar="[RECIPE] [KEY=VALUE]...")
@click.option("--run", "--run-dir", "folder", type=_PATH, metavar="DIR",
              help="The run's folder; an unfinished run goes on where it stopped. (torchrun takes --run for its own.)")
@click.option("--labels", "labeled", type=_PATH, metavar="DATA",
              help="Faces with labels: what rtau data align or render wrote, or anything that rtau data align takes.")
@click.option("--kind", type=click.Choice(_KINDS),
              help="What DATA is, where it is not aligned yet; by default found out.")
@click.option("--unlabeled", type=_PATH, metavar="DATA", help="Faces without labels: a folder of pictures or videos.")
@click.option("--validation", type=_PATH, metavar="DATA",
              help="Labeled faces of other people that choose the best network; by default some people of --labels.")
@click.option("--aus", "names_text", metavar="LIST",
              help="Labels to train: AU numbers, names of others, or emotionet, bp4d, disfa; by default all.")
@click.option("--protocol", type=click.Choice(_PROTOCOLS), help="Keep out who tests in a fold of this protocol.")
@click.option("--fold", type=click.IntRange(1), metavar="N", help="Which fold.  [default: 1]")
@click.option("--device", metavar="NAME", help="auto, cpu, cuda or cuda:N.  [default: auto]")
@click.option("--restart", is_flag=True, help="Begin anew; what an earlier run left moves to DIR/previous-N.")
@click.option("--strict", is_flag=True, help="Stop at a picture that can't be read, in place of taking another.")
@click.option("--dry-run", is_flag=True, help="Say what would be trained, and end.")
@click.option("--no-progress", is_flag=True, help="Plain lines in place of the live table.")
def train(words: tuple[str, ...], folder: Path | None, names_text: str | None, restart: bool, strict: bool,
          dry_run: bool, no_progress: bool, device: str | None, **data: Any) -> None:
    """Train a network: from a RECIPE, or on faces of your own with settings that suit them.

    Settings follow as KEY=VALUE; DIR/config.json lists all of them with their values, and is a RECIPE too. Pictures
    that are not aligned yet are aligned into DIR first. Ctrl-C, a crash or a full disk loses nothing: the same
    command goes on.

    \b
    rtau train train/recipes/light.toml --run runs/au renders=renders
    rtau train train/recipes/light.toml --run runs/au loop.steps=2000 method.co_regularization=0
    rtau train --labels labels.csv --unlabeled photos/ --run runs/mine
    rtau train --labels BP4D/ --kind bp4d --protocol bp4d-3fold --fold 2 --run runs/bp4d-2
    rtau train --labels CelebA/ --aus Smiling,Eyeglasses --dry-run
    torchrun --nproc-per-node 4 -m rtau train train/recipes/light.toml --run-dir runs/au
    """
    logging.basicConfig(level=logging.WARNING, handlers=[_Says()])
    try:
        import matplotlib  # noqa: F401  (its absence should show now, not when the first plot is drawn)
        import tensorboard  # noqa: F401
        from rich.console import Console

        from ..config import build_recipe, change_recipe, read_recipe
        from ..session import preview, train_recipe
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("rtau"):
            raise
        raise UsageError(f"training needs more packages ({error}): pip install 'rtau[train]'") from None

    recipe_file = next((word for word in words[:1] if "=" not in word), None)
    changes = words[1:] if recipe_file else words
    if recipe_file is None and data["labeled"] is None:
        raise UsageError("nothing to train on: give a recipe, or --labels with faces of your own")
    given = {name: str(value) if isinstance(value, Path) else value for name, value in data.items()
             if value is not None}
    if names_text is not None:
        given["names"] = _names(names_text)
    loop = {"strict": True} if strict else {}
    loop |= {"device": device} if device is not None else {}
    if recipe_file is None:
        recipe = build_recipe({"task": "au", "data": given, "loop": loop}, changes)
    else:
        recipe = change_recipe(read_recipe(Path(recipe_file), changes), [
            f"{table}.{key}={_toml(value)}" for table, values in (("data", given), ("loop", loop))
            for key, value in values.items()])
    suggested = None if recipe_file else changes
    if dry_run:
        Console(width=None if Console().is_terminal else 120, highlight=False).print(preview(recipe, changes=suggested))
        return
    if folder is None:
        raise UsageError("where to? Give --run DIR, or --dry-run to see what would be trained")
    try:
        best = train_recipe(recipe, folder, changes=suggested, restart=restart, shown=not no_progress, jobs=cores())
    except KeyboardInterrupt:
        if os.environ.get("RANK", "0") == "0":
            click.echo("rtau: stopped; what is learned is kept, and the same command goes on", err=True)
        raise SystemExit(_INTERRUPTED) from None
    if os.environ.get("RANK", "0") == "0":
        figures = ", ".join(f"{key} {value:.4g}" for key, value in best.items() if ":" not in key and key != "step")
        click.echo(f"{folder / 'best.pt'}: step {best['step']:.0f}, {figures}")


def _names(text: str) -> list[str]:
    """Names of labels: "1,2" -> AU01, AU02; sets by their names."""
    from rtau.au import BP4D, DISFA, EMOTIONET

    from ..data.faces import au_name

    sets = {"emotionet": EMOTIONET, "bp4d": BP4D, "disfa": DISFA}
    names: list[str] = []
    for word in (word.strip() for word in text.split(",") if word.strip()):
        if word.lower() in sets:
            names += map(au_name, sets[word.lower()])
        else:
            names.append(au_name(int(word)) if word.isdigit() else word)
    if not names:
        raise UsageError("no label named: give AU numbers such as 1,2,12 or names such as Smiling")
    return names


def _toml(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)  # words, numbers, true and lists of words look the same in TOML
