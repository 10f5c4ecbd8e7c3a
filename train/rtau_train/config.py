"""Recipes: TOML files that say how a network is trained, read into checked settings."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rtau.errors import InputError, UsageError

from .checked import checked
from .data.addresses import address_of


def _demand(good: bool, name: str, value: object, wanted: str) -> None:
    if not good:
        raise UsageError(f"{name} is {value}, expected {wanted}")


@dataclass(frozen=True)
class LoopSettings:
    """How long and how fast to learn.

    Attributes:
        steps: optimizer steps in all.
        batch: labeled pictures a step, over all processes.
        unlabeled_batch: unlabeled pictures a step, once they take part; as many as labeled ones when None.
        accumulate: cut each process's share of a batch in so many pieces, for less memory and the same result
            (but for batch norm, which sees a piece at a time).
        lr: peak learning rate of AdamW, reached after `warmup` steps, then a cosine to 1 %.
        weight_decay: of AdamW.
        clip: largest gradient norm.
        ema: decay of the averaged weights, which are the ones evaluated and exported.
        evaluate_every: steps between validations.
        patience: stop after so many validations in a row without a better score; 0 for never.
        checkpoint_every: steps between checkpoints, beside those at each validation; 0 for none.
        checkpoint_minutes: minutes between checkpoints; 0 for none.
        seed: of weights, order and augmentation; row i of step k's batch depends on (seed, k, i) alone.
        precision: of the network's arithmetic; weights and losses are float32 in any. Half precision is for GPUs:
            most CPUs are slower with it.
        device: "auto" (a GPU where there is one), "cpu", "cuda" or "cuda:1".
        threads: torch threads of each process; 0 leaves one core of the machine for drawing batches, or is what the
            environment says (OMP_NUM_THREADS). Too many for the cores that are free is much slower than too few.
        workers: threads that draw batches ahead.
        processes: let `workers` be processes, for machines whose GPU is faster than one Python process can draw.
        strict: stop at a picture that can't be read, instead of noting it and taking another.
    """

    steps: int = 20000
    batch: int = 48
    unlabeled_batch: int | None = None
    accumulate: int = 1
    lr: float = 2e-3
    warmup: int = 300
    weight_decay: float = 0.02
    clip: float = 5.0
    ema: float = 0.999
    evaluate_every: int = 500
    patience: int = 0
    checkpoint_every: int = 0
    checkpoint_minutes: float = 10.0
    seed: int = 0
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str = "auto"
    threads: int = 0
    workers: int = 1
    processes: bool = False
    strict: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulate", "lr", "clip", "evaluate_every", "workers"):
            _demand(getattr(self, name) > 0, f"loop.{name}", getattr(self, name), "more than 0")
        for name in ("warmup", "weight_decay", "patience", "checkpoint_every", "checkpoint_minutes", "seed", "threads"):
            _demand(getattr(self, name) >= 0, f"loop.{name}", getattr(self, name), "at least 0")
        _demand(0 <= self.ema < 1, "loop.ema", self.ema, "from 0 to less than 1")
        _demand((self.unlabeled_batch or 1) > 0, "loop.unlabeled_batch", self.unlabeled_batch, "more than 0")


#: Settings of the loop that change nothing in what is learned, so a run may go on with others.
FREE = ("accumulate", "checkpoint_every", "checkpoint_minutes", "device", "threads", "workers", "processes", "strict")


@dataclass(frozen=True)
class DataSettings:
    """Where an AU network's faces come from: folders that `rtau data align` or `rtau data render` wrote, addresses of
    such folders ("https://host/renders", "s3://bucket/faces"), or whatever `rtau data align` takes, which is then
    aligned first.

    Attributes:
        labeled: faces with labels.
        kind: of `labeled` and `validation` where they are not aligned yet, see `data.corpus.READERS`.
        validation: others, of other people, that choose the best checkpoint; by default part of `labeled`.
        unlabeled: faces whose labels nobody knows, for co-regularization.
        names: labels to train, such as ["AU01", "AU12"]; all that are coded when empty.
        share: of the labeled people that validate, where `validation` is not given.
        protocol, fold: keep out who tests in this fold, from 1, of a protocol, see `data.protocols`.
        validated: most faces to validate on, spread evenly; 0 for all.
        cache: where shards from addresses are kept; in your cache when None.
        cache_gb: GB that those of one address may take; what lies beyond is read picture by picture.
    """

    labeled: Path | None = None
    kind: str = "auto"
    validation: Path | None = None
    unlabeled: Path | None = None
    names: tuple[str, ...] = ()
    share: float = 0.15
    protocol: str = ""
    fold: int = 1
    validated: int = 4000
    cache: Path | None = None
    cache_gb: float = 100.0

    def __post_init__(self) -> None:
        _demand(0 < self.share < 1, "data.share", self.share, "between 0 and 1")
        _demand(self.validated >= 0, "data.validated", self.validated, "at least 0")
        _demand(self.cache_gb > 0, "data.cache_gb", self.cache_gb, "more than 0")


@dataclass(frozen=True)
class MethodSettings:
    """The terms of the loss, `1/2 (L_v1 + L_v2) + multi_view L_mv + co_regularization L_cr`; 0 switches one off.

    Attributes:
        multi_view, co_regularization: how much a term counts, on mean-reduced losses.
        pretrain: steps before they do: supervised learning only.
        ramp: steps over which they then rise.
        labeled: whether labeled faces take part in co-regularization too.
        confidence: co-regularize an unlabeled face's label only where either view's probability of presence or
            of absence reaches this; 0 for everywhere.
        balance: whether positives of rare labels count more, by the root of their rarity (at most 5 times).
    """

    multi_view: float = 1.0
    co_regularization: float = 3.0
    pretrain: int = 0
    ramp: int = 0
    labeled: bool = True
    confidence: float = 0.0
    balance: bool = True

    def __post_init__(self) -> None:
        for name in ("multi_view", "co_regularization", "pretrain", "ramp"):
            _demand(getattr(self, name) >= 0, f"method.{name}", getattr(self, name), "at least 0")
        _demand(self.confidence == 0 or 0.5 <= self.confidence < 1, "method.confidence", self.confidence,
                "0, or from 0.5 to less than 1")


@dataclass(frozen=True)
class AugmentSettings:
    """How far training pictures are altered; 0 for not at all, 1 as the shipped networks were trained.

    Attributes:
        misplace: error of the points that align a face.
        nudge: turn, size and place of the crop.
        degrade: light, colour, occlusion, blur, noise, compression.
        flip: share of crops that are mirrored.
        per_view: whether each view sees a crop of its own of every face, altered by other chance; in the paper both
            see the same.
    """

    misplace: float = 1.0
    nudge: float = 1.0
    degrade: float = 1.0
    flip: float = 0.5
    per_view: bool = False

    def __post_init__(self) -> None:
        for name in ("misplace", "nudge"):
            _demand(getattr(self, name) >= 0, f"augment.{name}", getattr(self, name), "at least 0")
        for name in ("degrade", "flip"):
            _demand(0 <= getattr(self, name) <= 1, f"augment.{name}", getattr(self, name), "from 0 to 1")


@dataclass(frozen=True)
class GraphSettings:
    """The graph's adjacency, see `graph.adjacency`; whether there is a graph is `model.graph`.

    Attributes:
        normalized: symmetrically by degree, instead of the paper's plain magnitudes.
        signed: keep what excludes each other negative.
        prior: table of dependencies for small sets.
        strength: how many faces the prior counts for.
    """

    normalized: bool = False
    signed: bool = False
    prior: Path | None = None
    strength: float = 100.0


@dataclass(frozen=True)
class Recipe:
    """One network's training.

    Attributes:
        task: "au"; "points", which gives an AU network's backbone something to begin with; "landmarks"; or "detector".
        renders, faces: folders that `rtau data render` and `rtau data fetch` filled, for the landmark network and the
            detector; the others take `renders` where `data.labeled` is not given.
        most_per_person: pictures of each person to read, all when None.
        pretrained: weights for each view's backbone to begin with, see `rtau.backbones.load_pretrained`: a published
            network, `best.pt` of a run of the task "points", or another AU network. "none" for random ones where some
            would be suggested.
        init: a checkpoint of the same network to begin with.
        model: arguments of the network's config.
        options: what only the landmark task or the detector's understands.
        data, augment: see the classes; of an AU network and of "points".
        method, graph: see the classes; of an AU network.
        loop: see `LoopSettings`.
    """

    task: Literal["au", "points", "landmarks", "detector"]
    renders: Path | None = None
    faces: Path | None = None
    most_per_person: int | None = None
    pretrained: Path | None = None
    init: Path | None = None
    model: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    data: DataSettings = DataSettings()
    method: MethodSettings = MethodSettings()
    augment: AugmentSettings = AugmentSettings()
    graph: GraphSettings = GraphSettings()
    loop: LoopSettings = LoopSettings()

    def __post_init__(self) -> None:
        if self.pretrained == Path("none"):
            object.__setattr__(self, "pretrained", None)

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return _plain(dataclasses.asdict(self))


def read_recipe(path: Path, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe; relative folders in it are taken from the working directory.

    Args:
        path: TOML file, or a run's config.json.
        changes: `key=value` or `table.key=value`, values in TOML's own syntax; words need no quotes.

    Raises:
        InputError: the file can't be read or is no TOML.
        UsageError: an unknown key, or a value of the wrong kind, in one line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        values = _given(json.loads(text)) if Path(path).suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise InputError(f"the recipe {path} can't be read: {error.strerror}") from None
    except (ValueError, AttributeError) as error:
        raise InputError(f"the recipe {path} is no {'JSON of settings' if Path(path).suffix == '.json' else 'TOML'}: "
                         f"{error}") from None
    return build_recipe(values, changes, str(path))


def build_recipe(values: dict[str, Any], changes: Sequence[str] = (), where: str = "the recipe") -> Recipe:
    """A recipe from plain values, as TOML gives them; see `read_recipe`."""
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals or not key:
            raise UsageError(f"{change!r} is no change: write key=value, such as loop.steps=2000")
        try:
            value = tomllib.loads(f"v = {text}")["v"]
        except tomllib.TOMLDecodeError:
            value = text
        table = values
        *parents, last = key.split(".")
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise UsageError(f"{change!r}: {parent} is no table")
        table[last] = value
    return checked(Recipe, values, where)


def change_recipe(recipe: Recipe, changes: Sequence[str]) -> Recipe:
    """A recipe with changes as `read_recipe` takes them."""
    return recipe_of(recipe.as_dict(), changes) if changes else recipe


def recipe_of(values: dict[str, Any], changes: Sequence[str] = ()) -> Recipe:
    """The recipe that `Recipe.as_dict` was called of, with changes."""
    return build_recipe(_given(values), changes)


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {key: _given(value) if isinstance(value, dict) else value for key, value in values.items()
            if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return address_of(value) or str(value) if isinstance(value, Path) else value
