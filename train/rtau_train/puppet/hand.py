"""Hands before the face, and what they hold: fingers and palm of joined tubes, in the person's own skin colour."""

from __future__ import annotations

import numpy as np

from .puppet import Puppet
from .rig import Rig
from .scene import Prop
from .wear import ball, curve, grid, join, prop, tube

#: Length of the fingers' three bones and their radius at the root, cm: index to little, for a hand 18 cm long.
_FINGERS = (((4.2, 2.5, 2.1), 0.85), ((4.7, 2.9, 2.2), 0.88), ((4.3, 2.7, 2.2), 0.82), ((3.4, 2.0, 1.9), 0.72))
_KNUCKLES = np.array([-2.7, -0.9, 0.9, 2.6])  # across the palm
#: Pose -> where the hand's root lies relative to the mouth (side, down, ahead), how it points and curls.
#: Angles in degrees: `lean` in the picture (0 points up), `tip` towards the face, `curl` per joint, `spread`.
_POSES: dict[str, dict[str, tuple[float, float]]] = {
    "chin": dict(side=(-2, 2), down=(8.5, 11), ahead=(-1.5, 0.5), lean=(-15, 15), tip=(5, 25), curl=(35, 60), spread=(0, 3)),
    "cheek": dict(side=(5, 7.5), down=(6, 10), ahead=(-2.5, -0.5), lean=(-15, 5), tip=(0, 15), curl=(10, 45), spread=(0, 5)),
    "mouth": dict(side=(5, 8), down=(3, 7), ahead=(1.0, 2.0), lean=(-80, -45), tip=(-5, 10), curl=(5, 25), spread=(0, 4)),
    "lips": dict(side=(1, 4), down=(10, 12), ahead=(1.0, 2.0), lean=(-25, 0), tip=(5, 20), curl=(70, 85), spread=(0, 3)),
    "eye": dict(side=(5, 8), down=(2, 6), ahead=(0.8, 2.0), lean=(-45, -15), tip=(0, 15), curl=(15, 50), spread=(0, 4)),
    "half": dict(side=(2, 5), down=(8, 12), ahead=(1.5, 3), lean=(-15, 10), tip=(0, 15), curl=(5, 25), spread=(2, 8)),
    "wave": dict(side=(-8, 8), down=(2, 14), ahead=(6, 16), lean=(-35, 35), tip=(-10, 15), curl=(0, 20), spread=(5, 14)),
}
_CURLED_BUT_ONE = ("lips",)


def hand(puppet: Puppet, rig: Rig, rng: np.random.Generator) -> tuple[Prop, ...]:
    """A hand in a pose that people take, with a piece of the forearm; named "hand"."""
    return (_hand(puppet, rig, rng, str(rng.choice(list(_POSES)))),)


def held(puppet: Puppet, rig: Rig, rng: np.random.Generator) -> tuple[Prop, ...]:
    """A cup, telephone or microphone before the face, named "object", and the hand that holds it."""
    mouth = puppet.vertices[rig.stage.landmarks[48:68]].mean(0)
    side = float(rng.choice((-1.0, 1.0)))
    colour = np.clip(np.full(3, rng.uniform(0.05, 0.9)) + rng.normal(0, 0.15, 3), 0.02, 0.98)
    kind = rng.integers(3)
    if kind == 0:  # a cup at the lips
        tall, wide = rng.uniform(7, 10), rng.uniform(3.2, 4.4)
        base = mouth + (side * rng.uniform(0, 2), -tall + rng.uniform(-1, 1.5), 3.5 + wide * 0.6)
        levels = np.linspace(0, 1, 8)
        line = base + np.outer(levels, (0, tall, 0))
        parts, where = [tube(line, wide * (0.85 + 0.15 * levels), sides=16)], base + (side * 2.0, tall * 0.4, 1.5)
    elif kind == 1:  # a telephone at the ear or before the mouth
        where = mouth + (side * rng.uniform(3, 8), rng.uniform(-4, 3), rng.uniform(0, 3.5))
        turn = np.radians(rng.uniform(-35, 35))
        x, y = np.meshgrid(np.linspace(-3.6, 3.6, 6), np.linspace(-7.5, 7.5, 8))
        px, py = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
        slab = np.stack([px, py, 0.25 * px * -side], -1).reshape(-1, 3) + where
        parts, colour = [(slab, grid(8, 6))], np.clip(colour * 0.35, 0.02, 1)
    else:  # a microphone
        where = mouth + (side * rng.uniform(0, 3), -3.5, rng.uniform(3, 6))
        line = curve([where + (side * 2.5, -12, 2), where + (side * 0.8, -4, 0.7), where], 8)
        parts, colour = [tube(line, 1.1, sides=10), ball(where, (2.3, 2.6, 2.3))], np.clip(colour * 0.4, 0.02, 1)
    pieces = [prop("object", parts, colour)]
    if rng.random() < 0.8:
        pieces.append(_hand(puppet, rig, rng, "chin", at=where + (side * 0.5, -rng.uniform(3, 6), 1.8)))
    return tuple(pieces)


def _hand(puppet: Puppet, rig: Rig, rng: np.random.Generator, pose: str, at: np.ndarray | None = None) -> Prop:
    asked = {key: float(rng.uniform(*bounds)) for key, bounds in _POSES[pose].items()}
    mirror = float(rng.choice((-1.0, 1.0)))
    size = float(rng.normal(0.98, 0.06))
    mouth = puppet.vertices[rig.stage.landmarks[48:68]].mean(0)
    root = mouth + (mirror * asked["side"], -asked["down"], asked["ahead"]) if at is None else at
    meshes, shades = [], []
    palm = ball((0, 3.9, 0), (3.9, 4.6, 1.25), rings=9, sides=14)
    meshes += [palm, tube(curve([(0, -9, -0.5), (0, -4, 0), (0, 1.5, 0)], 8), np.linspace(3.2, 2.5, 8), sides=12, flat=0.75)]
    shades += [0.97, 0.95]
    for number, ((bones, thick), x) in enumerate(zip(_FINGERS, _KNUCKLES, strict=True)):
        curl = asked["curl"] * rng.uniform(0.8, 1.2)
        if pose in _CURLED_BUT_ONE and number == 0:
            curl = rng.uniform(0, 8)
        line, radius = _finger(np.array([x, 7.4 - 0.25 * abs(x - 0.5), 0.0]), bones, thick, curl,
                               asked["spread"] * (x / 2.7), rng)
        meshes.append(tube(line, radius, sides=9))
        shades.append(1.0)
    thumb, radius = _finger(np.array([-3.2, 3.0, 0.5]), (4.2, 3.2, 2.6), 1.05, asked["curl"] * 0.35,
                            -rng.uniform(25, 55), rng)
    meshes.append(tube(thumb, radius, sides=9))
    shades.append(1.0)

    vertices, triangles = join(meshes)
    place = np.concatenate([np.full(len(v), s) for (v, _), s in zip(meshes, shades, strict=True)])
    # The back of the hand or the palm may face the camera; bones point up before they are turned.
    vertices = vertices * (mirror, 1, -1 if rng.random() < 0.5 else 1) * size
    lean, tip = -np.radians(asked["lean"]) * mirror, np.radians(asked["tip"])
    c, s, ct, st = np.cos(lean), np.sin(lean), np.cos(tip), np.sin(tip)
    vertices = vertices @ np.array([[1, 0, 0], [0, ct, st], [0, -st, ct]]).T @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T
    tone = np.clip(puppet.tone * rng.uniform(0.85, 1.12) * np.array([1.02, 0.99, 0.98]), 0, 1)
    # Creases at the joints and a redder finger tip, as noise along the bones.
    ripple = 1 + 0.06 * np.sin(vertices[:, 1] * 2.1 + rng.uniform(0, 6)) + rng.normal(0, 0.015, len(vertices))
    colour = tone * (place * ripple)[:, None]
    return Prop("hand", (vertices + root).astype(np.float32), triangles, np.clip(colour, 0, 1).astype(np.float32),
                np.ones(len(vertices), np.float32))


def _finger(root: np.ndarray, bones: tuple[float, ...], thick: float, curl: float, spread: float,
            rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Middle line [K, 3] and radius [K] of a finger that bends towards +z."""
    bend, points = 0.0, [root - (0, 1.5, 0), root]
    aside = np.radians(spread)
    for length in bones:
        bend += np.radians(curl) * rng.uniform(0.8, 1.1)
        step = np.array([np.sin(aside) * np.cos(bend), np.cos(aside) * np.cos(bend), np.sin(bend)])
        points.append(points[-1] + length * step)
    line = curve(points, 22)
    along = np.linspace(0, 1, 22)
    radius = thick * (1 - 0.25 * along) * (1 + 0.05 * np.cos(along * 6 * np.pi))
    radius[-3:] *= (0.9, 0.7, 0.25)  # a round tip
    return line, radius
