"""Rendered pictures of people whom no network saw, and what a network says of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rtau.errors import InputError
from rtau.landmarks import Landmarker

from ..data.faces import FaceSet
from ..data.renders import open_renders
from ..data.shards import SETTINGS, read_labels
from ..figures.network import Network, evaluate_network
from ..figures.predictions import Predictions
from ..puppet.cast import Cast
from ..puppet.shards import render_shards
from ..puppet.studio import ENGINE, Order

Tell = Callable[[int, int], None]

#: Of the pictures: side in pixels, seed.
SIZE, SEED = 160, 11


@dataclass(frozen=True)
class Said:
    """What a network says of N rendered pictures.

    Attributes:
        faces: the pictures and their labels.
        records: what is true of each, see `puppet.record.record`.
        predictions: of the labels that the network knows, by points that rtau finds, as at run time.
        sight: float32 [N, 6], the chance that each region of `rtau.au.REGIONS` shows; None from a network that does
            not tell.
    """

    faces: FaceSet
    records: tuple[dict[str, Any], ...]
    predictions: Predictions
    sight: np.ndarray | None

    def __len__(self) -> int:
        return len(self.records)

    def first(self, count: int) -> Said:
        """The first pictures."""
        return Said(self.faces[:count], self.records[:count], self.predictions[:count],
                    None if self.sight is None else self.sight[:count])


def make_renders(order: Order, count: int, folder: Path, *, workers: int = 1, tell: Tell | None = None) -> None:
    """Render pictures into a folder, or go on where that stopped; see `puppet.shards.render_shards`."""
    render_shards(folder, count=count, size=order.size, seed=order.seed, make=order, workers=workers, run=order.run,
                  settings=order.settings(), report=tell)


def order_of(folder: Path, cast: Cast) -> Order | None:
    """How a folder was rendered, to render it again; None where that is not known, or an older engine did.

    Raises:
        InputError: what it says can't be read.
    """
    file = folder / SETTINGS
    if not file.is_file():
        return None
    try:
        s = json.loads(file.read_text("utf-8"))
        if s.get("engine") != ENGINE or "device" in s or not set(s["people"]) <= set(cast.people()):
            return None
        return Order(cast, tuple(s["people"]), size=s["size"], seed=s["seed"], look=s["look"],
                     supersample=s["supersample"], strangers=s.get("strangers", 0.0))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} can't be read ({type(error).__name__}): give a folder of rtau data render") from None


def holds_renders(folder: Path) -> bool:
    """Whether there are pictures in it, or some were begun."""
    return folder.is_dir() and any(folder.iterdir())


def ask(network: Network, folder: Path, part: str, landmarker: Landmarker, *, count: int | None = None,
        tell: Tell | None = None) -> Said:
    """Have a network read the pictures of some people, at most `count` of them.

    Raises:
        InputError: there are none, or one is damaged.
    """
    faces = open_renders(folder, part)  # type: ignore[arg-type]  (the parts are those of people.json)
    records = tuple(read_labels(folder, part=part))  # type: ignore[arg-type]
    if count is not None and count < len(faces):
        faces, records = faces[:count], records[:count]
    listener = _Listener(network)
    predictions = evaluate_network(replace(network, runner=listener), faces, landmarker=landmarker, tell=tell)
    return Said(faces, records, predictions, listener.sight(len(faces)))


class _Listener:
    """A network's runner, and what it said of what shows."""

    def __init__(self, network: Network) -> None:
        self.name, self._runner = network.runner.name, network.runner
        self._heard: list[np.ndarray] = []

    def __call__(self, crops: np.ndarray) -> tuple[np.ndarray, ...]:
        outputs = self._runner(crops)
        self._heard += outputs[2:3]
        return outputs

    def sight(self, count: int) -> np.ndarray | None:
        """Of all faces; None where it did not tell of each."""
        sight = np.concatenate(self._heard) if self._heard else np.zeros((0, 0), np.float32)
        return sight if len(sight) == count else None
