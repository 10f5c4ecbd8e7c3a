"""Shortcut tests: the same pictures rendered again with one thing removed, and what a network then reads less well.

What only the renderer puts into a picture may be all that a network looks at. Removed is one of

    creases      the wrinkles that are drawn where a moving face folds
    shading      how the light on the skin changes as it moves: everything is lit as at rest
    lamps        the drawn lights, and so their shadows: the portrait's own light stays
    background   what is behind the head, and so what shows through at its edge: plain grey is put there

A real face that moves folds and turns its skin to the light too, so that some loss without the first two is no fault.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from ..figures.bootstrap import Tell
from ..figures.comparison import Comparison, compare
from ..figures.report import Settings
from ..puppet.look import FOLD
from ..puppet.puppet import Puppet
from ..puppet.raster import smooth, unit, vertex_normals
from ..puppet.render import Renderer
from ..puppet.scene import Scene
from ..puppet.studio import Order, Studio
from .renders import Said

PROBES: tuple[str, ...] = ("creases", "shading", "lamps", "background")
_GREY = np.full((8, 8, 3), 128, np.uint8)


@dataclass(frozen=True)
class ProbeOrder(Order):
    """An order whose pictures are those of the plain one, but for what is removed.

    Attributes:
        without: one of `PROBES`.
    """

    without: str = "creases"

    @classmethod
    def of(cls, order: Order, without: str) -> ProbeOrder:
        """The same pictures without it."""
        return cls(**{f.name: getattr(order, f.name) for f in fields(Order)}, without=without)

    def __call__(self) -> Studio:
        return ProbeStudio(self)

    def settings(self) -> dict[str, Any]:
        """What fixes the bytes."""
        return {**super().settings(), "without": self.without}


class ProbeStudio(Studio):
    """Makes the samples of a `ProbeOrder`: all is drawn by the same chance, and one thing then removed."""

    def __init__(self, order: ProbeOrder) -> None:
        super().__init__(order)
        self._without = order.without
        if order.without == "shading":
            self.renderer = LitAtRest(self.rig)

    def draw_scene(self, puppet: Puppet, rng: np.random.Generator) -> Scene:
        """The scene without it."""
        return removed(super().draw_scene(puppet, rng), self._without)


def removed(scene: Scene, without: str) -> Scene:
    """A scene without one of `PROBES`; "shading" is up to the renderer."""
    if without == "creases":
        return replace(scene, crease_amount=0.0)
    if without == "lamps":
        return replace(scene, light=replace(scene.light, ambient=1.0, lamps=()))
    return replace(scene, background=_GREY) if without == "background" else scene


class LitAtRest(Renderer):
    """Draws moved skin in the light that falls on it at rest."""

    def _mesh_values(self, puppet, look, scene, head, seen, normals, camera, parted):
        rest = puppet.vertices + scene.identity.motion(self.rig)
        rest = vertex_normals(rest[:self.stage.skin], self._faces)
        rest = unit(smooth(rest, self.stage.neighbours, FOLD.rounds))
        return super()._mesh_values(puppet, look, scene, head, seen, rest, camera, parted)


@dataclass(frozen=True)
class Probe:
    """What a network loses.

    Attributes:
        without: one of `PROBES`.
        comparison: the pictures without it against the same ones with it: differences below 0 are losses.
    """

    without: str
    comparison: Comparison

    def as_dict(self) -> dict[str, Any]:
        """Plain values, None for NaN."""
        return {"without": self.without, **self.comparison.as_dict()}


def probe_figures(without: str, there: Said, gone: Said, settings: Settings, tell: Tell | None = None
                  ) -> Probe:
    """Compare what is said of the same pictures with and without it.

    Args:
        without: one of `PROBES`.
        there, gone: of the same samples in the same order.
        settings: of the intervals, paired and over people.
        tell: hears how many resamples are done of how many.

    Raises:
        InputError: they are not of the same pictures.
    """
    count = min(len(there), len(gone))
    plain, probed = there.first(count).predictions, gone.first(count).predictions
    # What hides a part may show through a little less or more; what one of them leaves open is judged in neither.
    both = (plain.labels != 0) & (probed.labels != 0)
    kept = np.where(both, plain.labels, 0).astype(np.int8), np.where(both, plain.intensity, np.nan).astype(np.float32)
    a, b = (replace(p, labels=kept[0], intensity=kept[1], model=name)
            for p, name in ((probed, f"without {without}"), (plain, "with")))
    return Probe(without, compare(a, b, settings=settings, tell=tell))
