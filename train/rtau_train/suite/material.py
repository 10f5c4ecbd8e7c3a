"""What networks are judged on: portraits that are there, pictures and clips that are rendered once and kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtau.cache import cache_folder
from rtau.errors import InputError

from ..data.shards import SETTINGS
from ..puppet.cast import Cast, default_puppets
from ..puppet.studio import Order as RenderOrder
from .clips import Clip, holds_takes, list_clips, render_clips
from .order import PICTURES, Order
from .photographs import Photograph, list_portraits, list_stills
from .probes import PROBES, ProbeOrder
from .renders import SEED, SIZE, holds_renders, make_renders, order_of

Tell = Callable[[int, int], None]
#: Gives something to tell how many are done, while a bar shows it: pictures, faces, frames or resamples.
Bars = Callable[[str], AbstractContextManager[Tell | None]]


@dataclass(frozen=True)
class Material:
    """What there is; None or () for a stage that is left out.

    Attributes:
        photographs: portraits and everyday faces.
        renders: folder of rendered pictures; of which the first `pictures` count, all when None.
        probes: what is left out, and the folder of pictures without it.
        clips: with their truth.
        notes: what was left out, and why.
    """

    photographs: tuple[Photograph, ...] = ()
    renders: Path | None = None
    pictures: int | None = None
    probes: tuple[tuple[str, Path], ...] = ()
    clips: tuple[Clip, ...] = ()
    notes: tuple[str, ...] = ()


def gather(order: Order, bars: Bars) -> Material:
    """See that everything is there, and render what is not.

    Raises:
        RtauError: something is missing or damaged, or can't be rendered or written.
    """
    notes: list[str] = []
    photographs: list[Photograph] = []
    if "photographs" in order.stages:
        photographs += list_portraits(order.faces, order.part)
        if order.stills is not None:
            photographs += list_stills(order.stills)
        else:
            notes.append("Everyday photographs are left out: give their folder with --stills.")
    cast = Cast(order.faces, order.rig, default_puppets(order.faces))
    renders, pictures, probes, clips = None, None, [], []
    if {"renders", "probes"} & set(order.stages):
        renders, pictures = _renders(order, cast, bars)
    if "probes" in order.stages and renders is not None:
        plain = order_of(renders, cast)
        if plain is None:
            notes.append(f"Shortcut tests are left out: it is not known how {renders.name} was rendered, or an older "
                         "engine did it.")
        else:
            probes = [(without, _probe(order, plain, without, bars)) for without in PROBES]
    if "clips" in order.stages:
        clips = _clips(order, cast, bars)
    return Material(tuple(photographs), renders, pictures, tuple(probes), tuple(clips), tuple(notes))


def _renders(order: Order, cast: Cast, bars: Bars) -> tuple[Path, int | None]:
    """The folder of rendered pictures, and how many of them count."""
    count = order.pictures or PICTURES if "renders" in order.stages else order.probes
    folder, plain = order.renders, _plain(order, cast)
    if folder is None or not holds_renders(folder) or order_of(folder, cast) == plain:
        folder = folder or _kept("renders", order, plain)
        _render(plain, count, folder, order, bars)
        return folder, count
    return folder, order.pictures


def _plain(order: Order, cast: Cast) -> RenderOrder:
    return RenderOrder(cast, tuple(cast.people(order.part)), size=SIZE, seed=SEED)  # type: ignore[arg-type]


def _probe(order: Order, plain: RenderOrder, without: str, bars: Bars) -> Path:
    probe = ProbeOrder.of(plain, without)
    folder = _kept(f"without-{without}", order, probe)
    _render(probe, order.probes, folder, order, bars)
    return folder


def _render(wanted: RenderOrder, count: int, folder: Path, order: Order, bars: Bars) -> None:
    _check_rig(order)
    with bars("pictures") as tell:
        make_renders(wanted, max(count, _held(folder)), folder, workers=order.processes, tell=tell)


def _held(folder: Path) -> int:
    """How many pictures a folder was last to hold: fewer can't be asked of it."""
    try:
        return int(json.loads((folder / SETTINGS).read_text("utf-8"))["count"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _clips(order: Order, cast: Cast, bars: Bars) -> list[Clip]:
    folder = order.clips
    if folder is not None and not holds_takes(folder):
        return list_clips([folder])
    _check_rig(order)
    people = cast.people(order.part)  # type: ignore[arg-type]
    folder = folder or _cached("clips", order, {"people": people, "frames": order.frames})
    with bars("frames") as tell:
        return render_clips(cast, people, order.frames, folder, workers=order.processes, tell=tell)


def _check_rig(order: Order) -> None:
    if not order.rig.exists():
        raise InputError(f"the face rig {order.rig} is not there: rtau data fetch gets it, or give --rig")


def _kept(name: str, order: Order, wanted: RenderOrder) -> Path:
    """A folder in the user's cache for pictures."""
    return _cached(name, order, {**wanted.settings(), "seed": wanted.seed, "size": wanted.size})


def _cached(name: str, order: Order, settings: dict[str, Any]) -> Path:
    """A folder in the user's cache for what depends on the portraits and these settings."""
    text = json.dumps([str(order.faces.resolve()), settings], sort_keys=True)
    return cache_folder() / "suite" / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
