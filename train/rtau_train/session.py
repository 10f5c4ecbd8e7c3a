"""A training from its recipe to its best figures: devices, processes, data, task, loop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import RenderableType

from rtau.errors import InputError

from .config import Recipe, recipe_of
from .corpora import Bar, align_corpora, is_ready, open_unaligned
from .delivery import bring_data, send_back
from .distributed import Team, join_team
from .learner import Task
from .loop import train
from .progress import CountBar


def train_recipe(recipe: Recipe, folder: Path, *, changes: Sequence[str] | None = None, restart: bool = False,
                 shown: bool = True, jobs: int = 1) -> dict[str, float]:
    """Train what a recipe says, or continue, with the other processes of torchrun if there are any.

    Args:
        recipe: see `config.read_recipe`.
        folder: the run's; corpora that are not aligned yet are aligned into it.
        changes: settings of one's own on top of what `suggest` finds good for the data; None to take the recipe as it
            is.
        restart: begin anew; what is there moves aside.
        shown: a live display and progress bars, where there is a terminal.
        jobs: processes that align.

    Returns:
        The best validation's figures and its "step".

    Raises:
        RtauError: data, recipe or folder don't fit, or the loss became NaN; see `loop.train`.
    """
    with join_team(recipe.loop.device) as (team, device):
        recipe, away = bring_data(recipe, lambda: CountBar("shards", shown=shown and team.leads))
        recipe = _aligned(recipe, Path(folder), team, lambda: CountBar("pictures", shown=shown and team.leads), jobs)
        recipe, task = open_task(recipe, changes)
        return train(task, recipe.loop, folder, config=send_back(recipe.as_dict(), away), restart=restart, shown=shown,
                     team=team, device=device)


def open_task(recipe: Recipe, changes: Sequence[str] | None = None) -> tuple[Recipe, Task]:
    """The task that a recipe names, with its data read; and the recipe with what is suggested for them.

    Args:
        recipe: its corpora are aligned.
        changes: see `train_recipe`.

    Raises:
        RtauError: what it needs is not there, or does not fit.
    """
    torch.manual_seed(recipe.loop.seed)
    if recipe.task in ("landmarks", "detector"):
        if recipe.task == "landmarks":
            from .landmarks import LandmarkTask as FacesTask
        else:
            from .detection.task import DetectorTask as FacesTask
        try:
            return recipe, FacesTask(recipe)
        except OSError as error:
            raise InputError(f"{error.filename or error} can't be read ({error.strerror or 'missing'}): fetch it with "
                             "rtau data fetch") from None
    from .action_units import AuTask
    from .parts import open_parts
    from .points import PointsTask
    from .suggest import suggest
    parts = open_parts(recipe)
    if recipe.task == "points":
        return recipe, PointsTask(recipe, parts)
    if changes is not None:
        recipe = suggest(recipe, parts, changes)
    return recipe, AuTask(recipe, parts)


def preview(recipe: Recipe, *, changes: Sequence[str] | None = None) -> RenderableType:
    """What `train_recipe` would train, to print; aligns nothing, and writes nothing but copies of what lies elsewhere."""
    from .preview import preview_parts, preview_task

    recipe, _ = bring_data(recipe, lambda: CountBar("shards"))
    if recipe.task in ("landmarks", "detector"):
        return preview_task(recipe, open_task(recipe)[1])
    from .parts import open_parts
    from .suggest import suggest
    ready = is_ready(recipe)
    parts = open_parts(recipe) if ready else open_parts(recipe, open_unaligned(recipe))
    if changes is not None:
        recipe = suggest(recipe, parts, changes)
    return preview_parts(recipe, parts, aligned=ready)


def _aligned(recipe: Recipe, folder: Path, team: Team, bar: Bar, jobs: int) -> Recipe:
    """The first process aligns, the others wait for it."""
    if is_ready(recipe):
        return recipe
    return recipe_of(team.tell((align_corpora(recipe, folder, bar=bar, jobs=jobs) if team.leads else recipe).as_dict()))
