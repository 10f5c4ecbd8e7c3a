"""Recipes: TOML files that say how a network is trained, read into checked settings."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class LoopSettings:
    """How long and how fast to learn.

    Attributes:
        steps: optimizer steps in all.
        batch: pictures a step.
        lr: peak learning rate of AdamW, reached after `warmup` steps, then a cosine to 1 %.
        weight_decay: of AdamW.
        clip: largest gradient norm.
        ema: decay of the averaged weights, which are the ones evaluated and exported.
        evaluate_every: steps between validations and checkpoints.
        seed: of weights, order and augmentation; step k's batch depends on (seed, k) alone.
        threads: torch threads.
    """

    steps: int = 20000
    batch: int = 48
    lr: float = 2e-3
    warmup: int = 300
    weight_decay: float = 0.02
    clip: float = 5.0
    ema: float = 0.999
    evaluate_every: int = 500
    seed: int = 0
    threads: int = 1


@dataclass(frozen=True)
class Recipe:
    """One network's training.

    Attributes:
        task: "au" or "landmarks".
        renders, faces: folders that `rtau data render` and `rtau data fetch` filled.
        most_per_person: pictures of each person to read, all when None.
        model: arguments of the network's config.
        options: what only this task understands.
        loop: see `LoopSettings`.
    """

    task: str
    renders: Path
    faces: Path
    most_per_person: int | None = None
    model: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    loop: LoopSettings = LoopSettings()


def read_recipe(path: Path, changes: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe; relative folders in it are taken from the working directory.

    Args:
        path: TOML file.
        changes: `key=value` or `table.key=value`, values in TOML's own syntax.

    Raises:
        ValueError: an unknown key or a value that is no TOML, in one line.
    """
    values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    for change in changes:
        key, _, text = change.partition("=")
        try:
            value = tomllib.loads(f"v = {text}")["v"]
        except tomllib.TOMLDecodeError:
            value = text
        table = values
        *parents, last = key.split(".")
        for parent in parents:
            table = table.setdefault(parent, {})
        table[last] = value
    loop = _checked(LoopSettings, values.pop("loop", {}), f"{path} [loop]")
    recipe = _checked(Recipe, {**values, "loop": loop}, str(path))
    return dataclasses.replace(recipe, renders=Path(recipe.renders), faces=Path(recipe.faces))


def _checked(kind: type, values: dict[str, Any], where: str) -> Any:
    known = {f.name for f in dataclasses.fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(f"{where}: unknown setting {unknown[0]!r}; known are {', '.join(sorted(known))}")
    return kind(**values)
