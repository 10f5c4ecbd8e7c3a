"""Wrinkles that expressions draw: the rig's mesh is too light to hold them, so they are painted.

Each AU has its lines, placed by the landmarks on the skin texture. A map is a factor on the
skin's colour: dark in the groove, a little lighter on the fold beside it. Many variants are
drawn once; a picture takes one, at its own depth, each side as strong as that side acts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import cv2
import numba as nb
import numpy as np

from .rig import Rig
from .sample import AUS

#: Side of a crease map in texels.
SIDE = 384
VARIANTS = 16
#: AUs that draw lines.
DRAWN = (1, 2, 4, 6, 9, 10, 12, 14, 15, 17, 20)
#: Lengths below are in thousandths of the face tile's width.
_UNIT = SIDE / 800
DEEPEST, HIGHEST = -0.5, 0.32
#: Beyond these depths a smooth young forehead shows nothing: activation -> share of the full depth.
_ONSET = 0.12


class Creases:
    """The crease maps of a rig."""

    def __init__(self, rig: Rig) -> None:
        #: Maps [SIDE, SIDE] by AU of a variant. (A cache on a bound method would keep every instance alive.)
        self.variant: Callable[[int], dict[int, np.ndarray]] = lru_cache(VARIANTS)(lambda n: _draw_variant(rig, n))
        #: Share of the subject's left side (image right of the tile) in each column.
        self.left = np.clip((np.arange(SIDE) - (SIDE - 1) / 2) / (0.06 * SIDE) + 0.5, 0, 1).astype(np.float32)

    def factor(self, activation: np.ndarray, *, seed: int, amount: float) -> np.ndarray | None:
        """The change of the skin's colour by an expression.

        Args:
            activation: float [18, 2], per AU of `sample.AUS` and side (subject's left, right).
            seed: picks the variant and how deep each AU's lines go in this person.
            amount: 0 none .. 1 full depth.

        Returns:
            float32 [SIDE, SIDE], to be added to 1 (the renderer bounds it), or None when there is no crease.
        """
        number, depths = self.plan(activation, seed=seed, amount=amount)
        maps = self.variant(number)
        total: np.ndarray | None = None
        for au, (left, right) in depths.items():
            total = np.zeros((SIDE, SIDE), np.float32) if total is None else total
            _add(total, maps[au], (right + (left - right) * self.left).astype(np.float32))
        return total

    def plan(self, activation: np.ndarray, *, seed: int, amount: float) -> tuple[int, dict[int, tuple[float, float]]]:
        """Which variant to draw, and how deep each AU's lines are on the subject's left and right."""
        rng = np.random.default_rng([17, seed])
        number = int(rng.integers(VARIANTS))
        personal = rng.uniform(0.4, 1.2, len(AUS))[:, None]
        deep = np.clip((activation - _ONSET) / (1 - _ONSET), 0, 1) * personal * amount
        return number, {au: (float(left), float(right)) for au, (left, right) in zip(AUS, deep, strict=True)
                        if au in DRAWN and max(left, right) >= 0.01}

    def at_rest(self, kinds: dict[str, float], *, seed: int) -> np.ndarray:
        """Lines that stay when the face rests, as age draws them.

        Args:
            kinds: depth 0..1 of "forehead", "frown", "crow", "fold" (nose to mouth), "bag", "corner".

        Returns:
            float32 [SIDE, SIDE], to be added to 1.
        """
        source = {"forehead": (1, 2), "frown": (4,), "crow": (6,), "fold": (12, 10), "bag": (6,), "corner": (15,)}
        maps = self.variant(seed % VARIANTS)
        total = np.zeros((SIDE, SIDE), np.float32)
        for kind, depth in kinds.items():
            for au in source[kind]:
                total += maps[au] * np.float32(depth * 0.7)
        return np.clip(total, DEEPEST, HIGHEST)


@nb.njit(cache=True, fastmath=True)
def _add(total, crease, per_column):
    for y in range(total.shape[0]):
        for x in range(total.shape[1]):
            total[y, x] += crease[y, x] * per_column[x]


def _draw_variant(rig: Rig, number: int) -> dict[int, np.ndarray]:
    rng = np.random.default_rng([23, number])
    point = rig.stage.uv[rig.stage.landmarks].astype(np.float64) * 1000  # x to image right, y down
    pen = _Pen(rng, point)
    grooves = {1: pen.forehead_middle(), 2: pen.forehead_sides(), 4: pen.frown(), 6: pen.crow_and_bag(),
               10: pen.upper_fold(), 12: pen.fold(), 14: pen.dimple(), 15: pen.mouth_corner(), 17: pen.chin(),
               20: pen.stretch()}
    grooves[9] = pen.bunny() + 0.6 * grooves[10]
    return {au: g.astype(np.float32) for au, g in grooves.items()}


class _Pen:
    """Draws grooves through landmark-relative points, never twice the same."""

    def __init__(self, rng: np.random.Generator, point: np.ndarray) -> None:
        self.rng, self.p = rng, point
        self.middle = (point[21, 0] + point[22, 0]) / 2
        breaks = cv2.GaussianBlur(rng.normal(size=(SIDE, SIDE)).astype(np.float32), (0, 0), 7)
        #: Lines fade and break along their way.
        self.broken = np.clip(0.75 + 0.6 * breaks / breaks.std(), 0.05, 1.3)

    def near(self, spread: float) -> float:
        return float(self.rng.normal(0, spread))

    def groove(self, lines: list[np.ndarray], width: float, depth: float, *, level: bool) -> np.ndarray:
        """Lines [K, 2] in thousandths of the tile; `level` lines cast their fold up and down, others sideways."""
        ink = np.zeros((SIDE, SIDE), np.float32)
        for line in lines:
            place = line * SIDE / 1000 - 0.5
            fade = np.sin(np.linspace(0.12, np.pi - 0.12, len(place) - 1))
            for a, b, f in zip(place[:-1], place[1:], fade, strict=True):
                cv2.line(ink, _fixed(a), _fixed(b), float(f), 2, cv2.LINE_AA, 4)
        sigma = width * _UNIT * self.rng.uniform(0.85, 1.25)
        narrow = cv2.GaussianBlur(ink, (0, 0), sigma)
        wide = cv2.GaussianBlur(ink, (0, 0), sigma * 2.6)
        narrow, wide = narrow / (narrow.max() + 1e-9), wide / (wide.max() + 1e-9)
        if level:
            fold = 0.55 * (_shift(wide, 0, 2 * sigma) - _shift(wide, 0, -1.2 * sigma))
        else:
            fold = 0.3 * (_shift(wide, 2.5 * sigma, 0) + _shift(wide, -2.5 * sigma, 0)) - 0.45 * wide
        return depth * (fold - narrow)

    def forehead_middle(self) -> np.ndarray:
        top, lines = min(self.p[19, 1], self.p[24, 1]), []
        for k in range(int(self.rng.integers(3, 5))):
            y, half = top - 34 - (41 + self.near(5)) * k, (116 - 10 * k) * (1 + self.near(0.12))
            lines.append(_bend([(self.middle - half, y + 12 + self.near(6)), (self.middle + self.near(14), y + 5 + self.near(7)),
                                (self.middle + half, y + 12 + self.near(6))]))
        return self.groove(lines, 4, 0.15, level=True) * self.broken

    def forehead_sides(self) -> np.ndarray:
        top, lines = min(self.p[19, 1], self.p[24, 1]), []
        for k in range(int(self.rng.integers(3, 5))):
            y = top - 34 - (41 + self.near(5)) * k
            for side, outer, inner in ((-1, self.p[17], self.p[20]), (1, self.p[26], self.p[23])):
                lines.append(_bend([(outer[0] - side * 6, y + 27 + self.near(7)),
                                    ((outer[0] + inner[0]) / 2, y - 5 + self.near(6)),
                                    (inner[0] + side * 6, y + 10 + self.near(6))]))
        return self.groove(lines, 4, 0.14, level=True) * self.broken

    def frown(self) -> np.ndarray:
        brow, lines = (self.p[21, 1] + self.p[22, 1]) / 2, []
        sides = (-1, 1) if self.rng.random() < 0.85 else (int(self.rng.choice((-1, 1))),)
        for side in sides:
            x = self.middle + side * (18 + self.near(4))
            lines.append(_bend([(x + side * 10, brow - 32 + self.near(8)), (x, brow + 2 + self.near(4)),
                                (x + side * 5, brow + 32 + self.near(8))]))
        root = self.p[27, 1]
        across = [_bend([(self.middle - 32, root + 5), (self.middle, root - 1 + self.near(3)), (self.middle + 32, root + 5)])]
        return self.groove(lines, 4, 0.24, level=False) + self.groove(across, 5, 0.10, level=True)

    def crow_and_bag(self) -> np.ndarray:
        crow, bag = [], []
        for side, outer, inner, lower in ((-1, 36, 39, (41, 40)), (1, 45, 42, (46, 47))):
            corner = self.p[outer]
            for slope in np.linspace(-0.42, 0.42, int(self.rng.integers(3, 5))):
                slope, reach = slope + self.near(0.07), 64 + self.near(9)
                crow.append(_bend([corner + (side * 17, 27 * slope),
                                   corner + (side * (17 + reach / 2), (24 + reach / 2) * slope),
                                   corner + (side * (17 + reach), (24 + reach) * slope + 10 * np.sign(slope))]))
            lid = self.p[list(lower)].mean(0)
            bag.append(_bend([(self.p[inner, 0] + side * 10, lid[1] + 20 + self.near(3)),
                              (lid[0], lid[1] + 32 + self.near(4)), (corner[0] - side * 5, lid[1] + 15 + self.near(3))]))
        return self.groove(crow, 3.8, 0.22, level=True) * self.broken + self.groove(bag, 5.4, 0.22, level=True)

    def _fold_line(self, side: int) -> tuple[np.ndarray, np.ndarray]:
        wing, corner = (31, 48) if side < 0 else (35, 54)
        return (self.p[wing] + (side * (32 + self.near(3)), -37 + self.near(4)),
                self.p[corner] + (side * (29 + self.near(4)), -2 + self.near(5)))

    def fold(self) -> np.ndarray:
        lines = []
        for side in (-1, 1):
            top, low = self._fold_line(side)
            lines.append(_bend([top, (top + low) / 2 + (side * 17 + self.near(3), -10), low]))
        return self.groove(lines, 5.5, 0.15, level=False)

    def upper_fold(self) -> np.ndarray:
        lines = []
        for side in (-1, 1):
            top, low = self._fold_line(side)
            lines.append(_bend([top + (-side * 10, -15), top + (side * 12, 17 + self.near(4)),
                                (top + low) / 2 + (side * 17, -2)]))
        return self.groove(lines, 5.8, 0.17, level=False)

    def bunny(self) -> np.ndarray:
        lines = []
        for k in range(2):
            y = self.p[27, 1] - 7 + 18 * k + self.near(3)
            lines.append(_bend([(self.middle - 37, y + 15), (self.middle + self.near(4), y), (self.middle + 37, y + 15)]))
        for side in (-1, 1):
            for k in range(2):
                y = self.p[28, 1] + 13 * k + self.near(3)
                lines.append(_bend([(self.middle + side * 27, y), (self.middle + side * 46, y + 20),
                                    (self.middle + side * 61, y + 41)]))
        return self.groove(lines, 4, 0.22, level=True)

    def dimple(self) -> np.ndarray:
        lines = []
        for side, corner in ((-1, 48), (1, 54)):
            c, tall = self.p[corner], 17 + self.near(3)
            lines.append(_bend([c + (side * 12, -tall), c + (side * (19 + self.near(2)), 0), c + (side * 12, tall)]))
        return self.groove(lines, 6, 0.3, level=False)

    def mouth_corner(self) -> np.ndarray:
        lines = []
        for side, corner in ((-1, 48), (1, 54)):
            c = self.p[corner]
            lines.append(_bend([c + (side * 10, 5), c + (side * 22, 29 + self.near(4)), c + (side * 20, 63 + self.near(6))]))
        return self.groove(lines, 6, 0.24, level=True)

    def chin(self) -> np.ndarray:
        middle, half = (self.p[57] + self.p[8]) / 2, 76 * (1 + self.near(0.08))
        pits = cv2.GaussianBlur(self.rng.normal(size=(SIDE, SIDE)).astype(np.float32), (0, 0), 6 * _UNIT)
        pits /= pits.std()
        y, x = np.mgrid[:SIDE, :SIDE] * (1000 / SIDE)
        ball = np.exp(-((((x - middle[0]) / 76) ** 2 + ((y - middle[1]) / 56) ** 2) ** 2))
        under = self.p[57, 1] + 29 + self.near(3)
        line = [_bend([(middle[0] - half, under + 12), (middle[0], under), (middle[0] + half, under + 12)])]
        return (_shift(pits, 0, 2) - _shift(pits, 0, -2)) * 0.022 * ball + self.groove(line, 6.7, 0.2, level=True)

    def stretch(self) -> np.ndarray:
        lines = []
        for side, corner in ((-1, 48), (1, 54)):
            c = self.p[corner]
            lines.append(_bend([c + (side * 27, -32 + self.near(4)), c + (side * (39 + self.near(3)), 5),
                                c + (side * 29, 44 + self.near(4))]))
        return self.groove(lines, 6, 0.16, level=True)


def _bend(three: list) -> np.ndarray:
    """A parabola through three points, 40 points dense."""
    three = np.asarray(three, np.float64)
    t = np.linspace(0, 1, 40)[:, None]
    a, b, c = three
    return a * (2 * (t - 0.5) * (t - 1)) + b * (4 * t * (1 - t)) + c * (2 * t * (t - 0.5))


def _fixed(place: np.ndarray) -> tuple[int, int]:
    return int(round(place[0] * 16)), int(round(place[1] * 16))


def _shift(image: np.ndarray, right: float, down: float) -> np.ndarray:
    move = np.array([[1, 0, right], [0, 1, down]], np.float32)
    return cv2.warpAffine(image, move, image.shape[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
