"""Corpora as people have them, made ready for training: aligned into the run's folder where they are not yet."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from .config import Recipe
from .data.corpus import open_faces, read_listing
from .data.crops import SKIPPED
from .parts import is_aligned, is_renders

log = logging.getLogger(__name__)

#: Sides of aligned faces: enough for every crop up to this one.
_SIZE = 160
#: Pictures for which another process is worth its start.
_WORTH = 64

#: Gives a function that hears of progress: pictures done, and those there are.
Bar = Callable[[], AbstractContextManager[Callable[[int, int], None]]]


def align_corpora(recipe: Recipe, folder: Path, *, bar: Bar, jobs: int = 1) -> Recipe:
    """Align what a recipe names and nobody aligned; what an earlier call did is not done again.

    Args:
        recipe: of an AU network.
        folder: gets "labeled", "validation" and "unlabeled", as `rtau data align` writes them.
        bar: shows progress.
        jobs: processes.

    Returns:
        The recipe with the aligned folders in place of the corpora.

    Raises:
        RtauError: a corpus can't be read, or shows no faces.
    """
    from .data.align import align

    size = max(_SIZE, int(recipe.model.get("size", 0)))
    places: dict[str, Path] = {}
    for name, (path, kind) in _raw(recipe).items():
        listing = read_listing(path, kind)
        with bar() as report:
            done = align(listing, folder / name, source=path.name, kind=kind, size=size,
                         jobs=min(jobs, 1 + len(listing) // _WORTH),
                         strict=recipe.loop.strict, report=report)
        if done.skipped:
            log.warning("%d of %d pictures in %s can't be read or show no face: %s says why", done.skipped, done.count,
                        path, folder / name / SKIPPED)
        places[name] = folder / name
    return replace(recipe, data=replace(recipe.data, kind="auto", **places)) if places else recipe


def is_ready(recipe: Recipe) -> bool:
    """Whether all that a recipe names is aligned or rendered."""
    return not _raw(recipe)


def open_unaligned(recipe: Recipe) -> Callable[[Path, Any], Any]:
    """What opens the listings of corpora that are not aligned yet, and the faces of the others, to count them."""
    kinds = dict(_raw(recipe).values())
    return lambda path, part: read_listing(path, kinds[path]) if path in kinds else open_faces(path, part)


def _raw(recipe: Recipe) -> dict[str, tuple[Path, str]]:
    """Path and kind of each corpus that is not ready, by what it is for."""
    if recipe.task == "landmarks":
        return {}
    data = recipe.data
    corpora = {"labeled": (data.labeled, data.kind), "validation": (data.validation, data.kind),
               "unlabeled": (data.unlabeled, "auto")}
    return {name: (path, kind) for name, (path, kind) in corpora.items()
            if path is not None and not is_aligned(path) and not is_renders(path)}
