"""Hair that falls over forehead, eyes and cheeks: locks of the person's own colour."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from .puppet import Puppet
from .rig import Rig
from .scene import Prop
from .wear import curve, prop, ribbon

_POINTS = 14  # of a strand


def hair(puppet: Puppet, rig: Rig, rng: np.random.Generator) -> tuple[Prop, ...]:
    """A fringe, a lock over one eye, or strands beside the face; named "hair"."""
    marks = puppet.vertices[rig.stage.landmarks]
    skin = puppet.vertices[:rig.stage.skin]
    brow, eyes, mouth = marks[17:27, 1].mean(), marks[36:48, 1].mean(), marks[48:68, 1].mean()
    top = skin[:, 1].max() + 1.2  # under the hair that is there
    base = puppet.hair if puppet.hair.mean() < 0.75 else puppet.tone * 0.5
    kind = rng.random()
    side = float(rng.choice((-1.0, 1.0)))
    strands = []
    if kind < 0.35:  # a fringe
        end = rng.uniform(eyes + 0.2, brow + 1.5)
        sweep = rng.uniform(-1.5, 1.5)
        for x in np.linspace(-5.5, 5.5, int(rng.integers(34, 70))):
            strands.append(((x * 0.75, top), (x * 0.95 + 0.4 * sweep, (top + brow) / 2),
                            (x + sweep, end + 0.06 * x**2 * rng.uniform(-0.4, 0.5) + rng.normal(0, 0.35))))
    elif kind < 0.6:  # a lock that falls from a parting over one eye
        count, end = int(rng.integers(14, 36)), rng.uniform(mouth - 1, eyes)
        root = side * rng.uniform(-1.0, 1.5)
        for share in np.linspace(0, 1, count):
            x = root + side * share * rng.uniform(1.5, 4.5)
            strands.append(((root + side * share * 1.5, top), (x + side * 0.5, brow + rng.normal(0.5, 0.2)),
                            (x + side * rng.uniform(0.2, 1.2), end + rng.normal(0, 0.6))))
    elif kind < 0.85:  # strands beside the face
        for s in ((-1.0, 1.0) if rng.random() < 0.5 else (side,)):
            for _ in range(int(rng.integers(14, 34))):
                x = s * rng.uniform(4.6, 6.8)
                strands.append(((s * rng.uniform(3.5, 5.5), top), (x, eyes + rng.normal(0, 0.5)),
                                (x - s * rng.uniform(0, 1.8), rng.uniform(mouth - 6, mouth + 1))))
    else:  # single wisps
        for _ in range(int(rng.integers(3, 9))):
            x = rng.uniform(-5, 5)
            strands.append(((x, top), (x + rng.normal(0, 1.2), rng.uniform(brow, brow + 2)),
                            (x + rng.normal(0, 2.5), rng.uniform(mouth - 2, brow))))
    broad = (0.08, 0.25) if kind >= 0.85 else (0.3, 1.0)
    return (_locks(strands, skin, base, broad, rng),)


def _locks(strands: list, skin: np.ndarray, base: np.ndarray, broad: tuple[float, float], rng: np.random.Generator) -> Prop:
    """Ribbons along strands given by three places (x, y) in the face's plane, `broad` cm wide, lying a little off the skin."""
    parts, colours, alphas = [], [], []
    flats = np.stack([curve(points, _POINTS) for points in strands])
    flats += np.cumsum(rng.normal(0, 0.03, flats.shape), 1)
    depths = _front(skin, flats.reshape(-1, 2)).reshape(len(strands), _POINTS)
    for flat, depth in zip(flats, depths, strict=True):
        line = np.column_stack([flat, depth + np.linspace(0.35, rng.uniform(0.3, 1.2), _POINTS)])
        along = np.linspace(0, 1, _POINTS)
        width = rng.uniform(*broad) * (1 - 0.8 * along**2)
        parts.append(ribbon(line, width, np.array([1.0, 0.15 * rng.normal(), 0.0])))
        tone = base * rng.uniform(0.6, 1.35) * np.array([1.0, 1.0, 1.0]) + rng.normal(0, 0.01, 3)
        shine = 1 + 0.35 * rng.random() * np.exp(-(((along - rng.uniform(0.2, 0.6)) / 0.12) ** 2))
        colours.append(np.repeat(np.clip(tone * shine[:, None], 0, 1), 3, 0))
        opacity = rng.uniform(0.75, 1.0) * np.clip((1 - along) * 5, 0, 1) * np.clip(along * 6, 0, 1)
        alphas.append((opacity[:, None] * np.array([0.55, 1.0, 0.55])).ravel())
    return prop("hair", parts, np.concatenate(colours), np.concatenate(alphas))


def _front(skin: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """Depth of the skin's front surface at places [N, 2]."""
    some = skin[::3]
    _, near = cKDTree(some[:, :2]).query(flat, k=6)
    return some[near, 2].max(1)
