"""What renderers derive once from a puppet at rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from .camera import scene_camera
from .creases import SIDE
from .light import studio
from .puppet import Puppet
from .raster import rasterise, smooth, unit, vertex_normals
from .rig import Rig
from .scene import Performance, Scene

NEAR_ENOUGH = 0.3  # cm: a point this close behind the drawn surface is on it
_REST = 200  # pixels of the look at a face at rest


class Fold(NamedTuple):
    """Shading of folds: how strongly turning skin changes its brightness, within what bounds, and
    the rounds of averaging of normals before (the mesh's own folds are sharper than skin's)."""

    gain: float
    darkest: float
    brightest: float
    rounds: int


FOLD = Fold(1.1, 0.82, 1.07, 5)


@dataclass(frozen=True, eq=False)
class Look:
    """A puppet at rest.

    Attributes:
        studio: float32 [skin], the portrait's own light on each face vertex; front: bool [skin], faces the camera.
        side: int64 [skin], 0 on the subject's left, 1 on the right.
        normals: of the reliefs "front" and "rear", float32 [V, 3].
        levels: each picture ("open", "closed", "eyes", "front", "rear") and its halvings.
        bare: float32 [S, S], where creases can be drawn (`creases.SIDE`).
        solid: bool [triangles], whether nothing shines through.
        shown: bool [regions' vertices], seen from the front; region_counts: how many of each region, at least 1.
        eyes: of the left and right eyeball the middle, cm, and the unit vector to the iris, float32 [3] each.
    """

    studio: np.ndarray
    normals: dict[str, np.ndarray]
    levels: dict[str, list[np.ndarray]]
    bare: np.ndarray
    solid: np.ndarray
    front: np.ndarray
    side: np.ndarray
    shown: np.ndarray
    region_counts: np.ndarray
    eyes: tuple[tuple[np.ndarray, np.ndarray], ...]

    @classmethod
    def of(cls, puppet: Puppet, *, rig: Rig, rows: np.ndarray, starts: np.ndarray,
           eyes: list[tuple[np.ndarray, np.ndarray]]) -> Look:
        """Look at a puppet; `rows` and `starts` are the regions' vertices, `eyes` each eyeball's and its iris'."""
        stage = rig.stage
        faces = stage.triangles[:stage.skin_triangles]
        normals = unit(smooth(vertex_normals(puppet.vertices[:stage.skin], faces), stage.neighbours, FOLD.rounds))
        reliefs = {}
        for part in ("front", "rear"):
            own = vertex_normals(getattr(puppet, f"{part}_vertices"), getattr(puppet, f"{part}_triangles"))
            own *= np.where(own[:, 2:] < 0, -1, 1)
            own[:, 2] += 1  # the relief is flatter than what it shows
            reliefs[part] = own / (np.linalg.norm(own, axis=1, keepdims=True) + 1e-6)
        images = {"open": puppet.open_lids, "closed": puppet.closed_lids, "eyes": puppet.eye_image,
                  "front": puppet.front, "rear": puppet.rear}
        levels = {name: [image] for name, image in images.items()}
        for chain in levels.values():
            while min(chain[-1].shape[:2]) >= 48 and len(chain) < 4:
                h, w = chain[-1].shape[:2]
                chain.append(cv2.resize(chain[-1], (w // 2, h // 2), interpolation=cv2.INTER_AREA))
        bare = cv2.resize(puppet.bare, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        opaque = np.ones(len(stage.vertices), bool)
        opaque[:stage.skin] = puppet.alpha > 0.995
        camera = scene_camera(puppet, rig, Scene(Performance(np.zeros((0, 2)), {})), (_REST, _REST))
        seen = camera.see(puppet.vertices)
        placed = camera.place(seen)
        depth, _, _ = rasterise(placed, stage.triangles[:stage.outer_triangles], _REST, _REST, cull=True)
        x, y = np.clip(placed[rows, :2] + 0.5, 0, _REST - 1).astype(np.int32).T
        shown = (normals[rows, 2] > 0.05) & (seen[rows, 2] > depth[y, x] - NEAR_ENOUGH)
        return cls(studio(normals), reliefs, levels, bare, opaque[stage.triangles].all(1), normals[:, 2] > 0.5,
                   np.where(puppet.vertices[:stage.skin, 0] > 0, 0, 1), shown,
                   np.maximum(np.add.reduceat(shown.astype(np.float64), starts), 1),
                   tuple(_eye(puppet.vertices[ball], puppet.vertices[iris]) for ball, iris in eyes))

    def level(self, name: str, pixels_per_source_pixel: float) -> tuple[np.ndarray, float]:
        """The picture at the resolution that suits, and its scale; bilinear sampling skips pixels in finer ones."""
        chain = self.levels[name]
        pick = self.pick(name, pixels_per_source_pixel)
        return chain[pick], chain[pick].shape[1] / chain[0].shape[1]

    def pick(self, name: str, pixels_per_source_pixel: float) -> int:
        """The number of that picture in its chain."""
        halvings = np.floor(-np.log2(max(pixels_per_source_pixel, 1e-3)) + 0.4)
        return int(np.clip(halvings, 0, len(self.levels[name]) - 1))


def _eye(ball: np.ndarray, iris: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    centre = (ball.min(0) + ball.max(0)) / 2
    line = iris.mean(0) - centre
    return centre, line / np.linalg.norm(line)
