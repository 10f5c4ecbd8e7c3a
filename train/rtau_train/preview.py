"""What would be trained, to look at before it is."""

from __future__ import annotations

import math

import numpy as np
import torch
from rich.console import Group, RenderableType
from rich.table import Table

from rtau.model import AuConfig, TwoViewNet

from .config import Recipe
from .data.faces import FaceSet, Listing
from .parts import Parts
from .points import PointsNet


def preview_parts(recipe: Recipe, parts: Parts, *, aligned: bool = True) -> RenderableType:
    """Counts of each label, people, the network's parameters and the loop's settings, for an AU network or what it begins with.

    Args:
        recipe: as it would be trained.
        parts: faces, or listings of pictures that may turn out to show none.
        aligned: whether they are faces.
    """
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("label")
    for part in ("labeled", "validation"):
        for word in ("present", "absent", "unknown"):
            table.add_column(f"{part}\n{word}", justify="right")
    for column, name in enumerate(parts.labeled.names):
        table.add_row(name, *(str(count) for faces in (parts.labeled, parts.validation)
                              for count in _counts(faces.labels[:, column])))
    config, loop = AuConfig.from_dict({**recipe.model, "names": parts.labeled.names}), recipe.loop
    views = f"{config.views} view{'s' * (config.views > 1)}"
    reads, build = "presence and intensity" if config.grades > 1 else "presence alone", TwoViewNet
    learned, count = "labeled faces", len(parts.labeled)
    if recipe.task == "points":
        views, reads, build = "1 view", "68 points", PointsNet
        learned, count = "faces", count + (0 if parts.unlabeled is None else len(parts.unlabeled))
    with torch.device("meta"):  # counts parameters without making them
        net = build(config)
    kind = "faces" if aligned else "pictures"
    lines = [f"{name}: {_size(faces, kind)}" for name, faces in vars(parts).items()]
    lines += [f"network: {config.backbone}, {views}, crops of {config.size} px, {reads}, "
              f"{_parameters(net):,} parameters, begins {_begin(recipe)}",
              f"loop: {loop.steps} steps of {loop.batch} {learned}, "
              f"each seen {loop.steps * loop.batch / max(count, 1):.1f} times"]
    return Group(table, "", *lines)


def preview_task(recipe: Recipe, task) -> RenderableType:
    """The same for any other task, as far as it can be said."""
    data = task.facts.get("data", {})
    lines = [f"{name}: {', '.join(f'{value} {key}' for key, value in facts.items() if key != 'digest')}"
             for name, facts in data.items()]
    lines += [f"network: {_parameters(task.model):,} parameters",
              f"loop: {recipe.loop.steps} steps of {recipe.loop.batch} pictures"]
    return Group(*lines)


def _begin(recipe: Recipe) -> str:
    if recipe.init is not None:
        return f"as {recipe.init}"
    return "at random" if recipe.pretrained is None else f"with the backbones of {recipe.pretrained}"


def _counts(labels: np.ndarray) -> tuple[int, int, int]:
    return int((labels > 0).sum()), int((labels < 0).sum()), int((labels == 0).sum())


def _size(faces: FaceSet | Listing | None, kind: str) -> str:
    if faces is None:
        return "none"
    people, strangers = len(set(faces.subject.tolist()) - {""}), int((faces.subject == "").sum())
    who = f" of {people} people" if people else ""
    return f"{len(faces)} {kind}{who}{f', {strangers} of them of nobody known' if strangers else ''}"


def _parameters(net: torch.nn.Module) -> int:
    return sum(math.prod(p.shape) for p in net.parameters())
