"""What time, weather and paint do to skin: make-up, age, freckles, flush, stubble, another tone."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from .creases import Creases
from .puppet import Puppet
from .rig import Rig
from .scene import Skin

#: Side of the changes in texels: soft things need few.
SIDE = 256
_LIPSTICKS = ((0.62, 0.10, 0.14), (0.75, 0.25, 0.30), (0.45, 0.08, 0.16), (0.80, 0.35, 0.32), (0.55, 0.22, 0.20))
_SHADOWS = ((0.30, 0.20, 0.16), (0.16, 0.14, 0.16), (0.35, 0.30, 0.45), (0.55, 0.38, 0.28), (0.20, 0.28, 0.34))


def draw_skin(puppet: Puppet, rig: Rig, creases: Creases, rng: np.random.Generator) -> Skin:
    """Draw what is different about the skin today; nothing in half of the pictures.

    Returns:
        changes over the texture tile (N = `SIDE`), with the notes "lipstick", "eye shadow",
        "eyeliner", "blush", "brows", "old", "freckles", "flush", "stubble", "tone" or "shine".
    """
    if rng.random() < 0.5:
        return Skin()
    canvas = _Canvas(puppet, _regions(rig), rng)
    if rng.random() < 0.28:
        _make_up(canvas)
    if rng.random() < 0.30:
        _age(canvas, creases)
    if rng.random() < 0.15:
        _freckle(canvas)
    if rng.random() < 0.20:
        _flush(canvas)
    if rng.random() < 0.15:
        _stubble(canvas)
    if rng.random() < 0.35:
        _tone(canvas)
    if rng.random() < 0.15:
        _shine(canvas)
    return canvas.skin()


class _Canvas:
    """Gain and paint over the tile, as they grow."""

    def __init__(self, puppet: Puppet, regions: dict[str, np.ndarray], rng: np.random.Generator) -> None:
        self.puppet, self.at, self.rng = puppet, regions, rng
        self.gain: np.ndarray | None = None
        self.overall = np.ones(3, np.float32)
        self.paint: np.ndarray | None = None
        self.cover: np.ndarray | None = None
        self.notes: list[str] = []

    def factor(self, where: np.ndarray, colour: np.ndarray | float) -> None:
        """Multiply the skin's colour by 1 + where * (colour - 1)."""
        # Plane by plane: numpy is slow where the last axis is short.
        where = where.astype(np.float32, copy=False)
        change = cv2.merge([1 + where * (c - 1) for c in np.broadcast_to(np.float32(colour), 3)])
        self.gain = change if self.gain is None else cv2.multiply(self.gain, change, dst=self.gain)

    def lay(self, where: np.ndarray, colour: np.ndarray) -> None:
        """Lay colour over what is there, `where` 0..1."""
        where = where.astype(np.float32, copy=False)
        if self.paint is None or self.cover is None:
            self.paint, self.cover = np.broadcast_to(np.float32(colour), (SIDE, SIDE, 3)).copy(), where
            return
        total = self.cover + where - self.cover * where
        share = where / np.maximum(total, 1e-6)
        self.paint = cv2.merge([plane + (c - plane) * share for plane, c in
                                zip(cv2.split(self.paint), np.float32(colour), strict=True)])
        self.cover = total

    def skin(self) -> Skin:
        gain = self.gain
        if gain is None and (self.overall != 1).any():
            gain = np.ones((2, 2, 3), np.float32)
        if gain is not None:
            gain = np.ascontiguousarray(np.clip(gain * self.overall, 0.25, 1.8), np.float32)
        paint = None if self.paint is None else np.ascontiguousarray(np.clip(self.paint, 0, 1), np.float32)
        cover = None if self.cover is None else np.ascontiguousarray(np.clip(self.cover, 0, 1), np.float32)
        return Skin(gain, paint, cover, tuple(self.notes))

    def texture(self, grain: float) -> np.ndarray:
        """Smooth noise of unit spread, float32 [N, N], a piece of a fixed strip."""
        strip = _noise(grain)
        y, x = (int(v) for v in self.rng.integers(0, SIDE, 2))
        return strip[y:y + SIDE, x:x + SIDE]


@lru_cache(8)
def _noise(grain: float) -> np.ndarray:
    out = np.random.default_rng(int(grain * 100)).normal(size=(2 * SIDE, 2 * SIDE)).astype(np.float32)
    out = cv2.GaussianBlur(out, (0, 0), grain)
    return out / out.std()


@lru_cache(2)
def _regions(rig: Rig) -> dict[str, np.ndarray]:
    """Soft masks [N, N] of the tile's regions."""
    point = rig.stage.uv[rig.stage.landmarks] * SIDE - 0.5
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)

    def filled(points: list[np.ndarray], soft: float) -> np.ndarray:
        out = np.zeros((SIDE, SIDE), np.float32)
        for p in points:
            cv2.fillPoly(out, [np.round(p * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
        return cv2.GaussianBlur(out, (0, 0), soft)

    def blob(centre: np.ndarray, wide: float, tall: float) -> np.ndarray:
        return np.exp(-(((x - centre[0]) / wide) ** 2 + ((y - centre[1]) / tall) ** 2))

    def line(points: np.ndarray, wide: int, soft: float) -> np.ndarray:
        out = np.zeros((SIDE, SIDE), np.float32)
        cv2.polylines(out, [np.round(points * 16).astype(np.int32)], False, 1.0, wide, cv2.LINE_AA, 4)
        out = cv2.GaussianBlur(out, (0, 0), soft)
        return out / out.max()

    mouth_hole = filled([point[60:68]], 0.8)
    lips = np.clip(filled([point[48:60]], 1.0) - 0.4 * mouth_hole, 0, 1)
    lids = []
    for first in (36, 42):
        corner = point[first:first + 4]
        lids.append(np.vstack([corner, corner[::-1] - (0, 0.055 * SIDE)]))
    under = [point[[41, 40]].mean(0) + (0, 0.028 * SIDE), point[[46, 47]].mean(0) + (0, 0.028 * SIDE)]
    cheeks = [0.5 * (point[a] + point[b]) for a, b in ((41, 48), (46, 54))]
    chin = 0.5 * (point[57] + point[8])
    jaw = blob(chin, 0.24 * SIDE, 0.14 * SIDE) + blob((point[33] + point[51]) / 2, 0.11 * SIDE, 0.028 * SIDE)
    for side in (4, 12):
        jaw += blob(0.75 * point[side] + 0.25 * point[57], 0.1 * SIDE, 0.12 * SIDE)
    return {
        "lips": lips, "lids": filled(lids, 3.0),
        "liner": np.maximum(line(point[36:40], 3, 1.0), line(point[42:46], 3, 1.0)),
        "brows": np.maximum(line(point[17:22] + (0, 0.008 * SIDE), 8, 2.0), line(point[22:27] + (0, 0.008 * SIDE), 8, 2.0)),
        "bags": np.clip(blob(under[0], 0.05 * SIDE, 0.02 * SIDE) + blob(under[1], 0.05 * SIDE, 0.02 * SIDE), 0, 1),
        "cheeks": np.clip(sum(blob(c, 0.09 * SIDE, 0.065 * SIDE) for c in cheeks), 0, 1),
        "nose": blob(point[30], 0.05 * SIDE, 0.06 * SIDE), "jaw": np.clip(jaw - lips, 0, 1),
        "middle": np.clip(blob((point[27] + point[30]) / 2, 0.24 * SIDE, 0.2 * SIDE), 0, 1),
        "shine": np.clip(blob(point[30], 0.03 * SIDE, 0.05 * SIDE) + blob((point[21] + point[22]) / 2 - (0, 0.1 * SIDE),
                         0.12 * SIDE, 0.06 * SIDE) + sum(0.7 * blob(c - (0, 0.05 * SIDE), 0.04 * SIDE, 0.02 * SIDE)
                                                         for c in cheeks), 0, 1)}


def _make_up(c: _Canvas) -> None:
    rng = c.rng
    if rng.random() < 0.75:
        colour = np.array(_LIPSTICKS[rng.integers(len(_LIPSTICKS))]) * rng.uniform(0.8, 1.15)
        colour = colour * (0.45 + 0.8 * c.puppet.tone.mean())  # no brighter than the light on the skin
        c.lay(c.at["lips"] * rng.uniform(0.2, 0.65), colour)
        c.notes.append("lipstick")
    if rng.random() < 0.55:
        colour = np.array(_SHADOWS[rng.integers(len(_SHADOWS))]) * rng.uniform(0.8, 1.2)
        c.lay(c.at["lids"] * rng.uniform(0.1, 0.5), colour)
        c.notes.append("eye shadow")
    if rng.random() < 0.5:
        c.lay(c.at["liner"] * rng.uniform(0.3, 0.85), np.array([0.04, 0.035, 0.035]))
        c.notes.append("eyeliner")
    if rng.random() < 0.5:
        c.factor(c.at["cheeks"] * rng.uniform(0.1, 0.4), np.array([1.12, 0.86, 0.88]))
        c.notes.append("blush")
    if rng.random() < 0.4:
        c.factor(c.at["brows"] * rng.uniform(0.3, 0.8), 0.6)
        c.notes.append("brows")


def _age(c: _Canvas, creases: Creases) -> None:
    """Lines that stay at rest, bags, spots and uneven colour; brows turn grey."""
    rng = c.rng
    depth = rng.uniform(0.25, 1.0)
    kinds = {kind: depth * rng.uniform(0.3, 1.2) for kind in ("forehead", "frown", "crow", "fold", "bag", "corner")
             if rng.random() < 0.75}
    lines = cv2.resize(creases.at_rest(kinds, seed=int(rng.integers(2**31))), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    bare = cv2.resize(c.puppet.bare, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    c.factor(c.at["bags"] * np.float32(depth * rng.uniform(0.2, 0.6)), np.array([0.82, 0.74, 0.76]))
    uneven = np.float32(0.035 * depth) * c.texture(7.0)
    c.factor((lines + uneven) * bare, 2.0)
    spots = np.clip(c.texture(2.2) - 2.3, 0, 0.7) * depth * rng.uniform(0, 0.6)
    c.factor(spots * bare, np.array([0.72, 0.6, 0.52]))
    if rng.random() < 0.6 * depth:
        grey = c.puppet.tone.mean() * 0.35 + 0.4
        c.lay(c.at["brows"] * rng.uniform(0.15, 0.5), np.full(3, grey) * (1.0, 0.98, 0.95))
    c.notes.append("old")


def _freckle(c: _Canvas) -> None:
    dots = np.clip(c.texture(1.0) - c.rng.uniform(1.3, 2.0), 0, 0.8) * c.at["middle"] * c.rng.uniform(0.2, 0.6)
    c.factor(dots, np.array([0.8, 0.62, 0.5]))
    c.notes.append("freckles")


def _flush(c: _Canvas) -> None:
    where = np.clip(c.at["cheeks"] + 0.7 * c.at["nose"], 0, 1) * (1 + 0.2 * c.texture(7.0))
    c.factor(np.clip(where, 0, 1) * c.rng.uniform(0.15, 0.5), np.array([1.10, 0.84, 0.84]))
    c.notes.append("flush")


def _stubble(c: _Canvas) -> None:
    dots = np.clip(0.55 + 0.45 * c.texture(1.0), 0, 1)
    hair = np.minimum(c.puppet.hair, c.puppet.tone * 0.6)
    c.lay(c.at["jaw"] * dots * c.rng.uniform(0.1, 0.45), hair * 0.8 + 0.05)
    c.notes.append("stubble")


def _tone(c: _Canvas) -> None:
    """Sun, winter, and how a camera sees them: one factor, more of it for red than for blue."""
    step = c.rng.normal(0, 0.10)
    warm = c.rng.normal(0, 0.025)
    c.overall *= np.float32(np.clip([1 + step + warm, 1 + step, 1 + step - 1.4 * warm], 0.7, 1.3))
    c.notes.append("tone")


def _shine(c: _Canvas) -> None:
    c.lay(c.at["shine"] * np.clip(0.8 + 0.3 * c.texture(2.2), 0, 1) * c.rng.uniform(0.05, 0.3),
          np.array([0.96, 0.93, 0.9]))
    c.notes.append("shine")
