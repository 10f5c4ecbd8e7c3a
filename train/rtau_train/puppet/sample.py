"""What a puppet performs: which AUs, how strongly, with what nuisance motion.

A performance is drawn as one activation per AU and side in 0..1, where 1 is the
strongest believable form of that AU, and turned into the rig's blendshape
coefficients by `RECIPES`.
"""

from __future__ import annotations

import numpy as np

from .scene import Performance

AUS: tuple[int, ...] = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 24, 25, 26, 43)


def _both(**shapes: float) -> dict[str, float]:
    return {f"{name}_{side}": value for name, value in shapes.items() for side in "LR"}


#: Blendshape coefficients of each AU at activation 1. Several are below the shape's own
#: maximum because the shape's extreme looks like no face (10, 12, 17, 20).
RECIPES: dict[int, dict[str, float]] = {
    1: _both(browInnerUp=1.0),
    2: _both(browOuterUp=1.0),
    4: _both(browDown=1.0),
    5: _both(eyeWide=1.0),
    6: _both(cheekRaiser=0.9, cheekSquint=0.7, eyeSquint=0.15),
    7: _both(eyeSquint=1.1, eyeBlink=0.14),
    9: _both(noseSneer=1.0, mouthUpperUp=-0.45),
    10: _both(mouthUpperUp=0.7),
    12: _both(mouthSmile=0.9),
    14: _both(mouthDimple=1.0),
    15: _both(mouthFrown=1.0),
    17: {"mouthShrugLower": 0.7},
    20: _both(mouthStretch=0.72, mouthDimple=0.315, mouthSmile=0.16),
    23: _both(mouthPress=0.6) | {"mouthRollLower": 0.35, "mouthRollUpper": 0.35},
    24: _both(mouthPress=1.0),
    25: _both(mouthLowerDown=0.35, mouthUpperUp=0.15) | {"jawOpen": 0.12},
    26: {"jawOpen": 0.45},
    43: _both(eyeBlink=1.0),
}

#: AUs that the networks don't report but faces make all the time, above all when they speak:
#: 18 lip pucker, 22 lip funneler, 28 lip suck, 29 jaw thrust, 30 jaw sideways, 34 cheek puff.
OTHERS: dict[int, dict[str, float]] = {
    18: {"mouthPucker": 0.9},
    22: {"mouthFunnel": 0.8},
    28: {"mouthRollUpper": 0.8, "mouthRollLower": 0.8},
    29: {"jawForward": 0.8},
    30: {"jawLeft": 0.8},
    34: _both(cheekPuff=0.8),
}

#: Radians that an eye turns at coefficient 1 of eyeLookIn, Out, Up and Down. The rig's shapes move the lids only.
EYE_TURN = float(np.radians(30))

#: Lids meet at this coefficient of eyeBlink; more would push one through the other.
_LIDS_MEET = 0.92
#: Other shapes that bring the lids together, in units of eyeBlink.
_CLOSING = {"eyeSquint": 0.3, "cheekRaiser": 0.25, "cheekSquint": 0.1, "eyeLookDown": 0.5}

#: Combinations that faces make, drawn as often as single AUs.
PROTOTYPES: tuple[tuple[int, ...], ...] = (
    (6, 12), (6, 12, 25), (12, 25), (6, 12, 25, 26), (1, 4, 15), (1, 4, 15, 17), (1, 2, 5, 26),
    (1, 2, 5, 25), (4, 7, 24), (4, 7, 23), (4, 5, 7, 23), (9, 17), (9, 10, 25), (4, 9),
    (1, 2, 4, 20, 25), (1, 2, 4, 5, 20, 25), (12, 14), (15, 17), (17, 24), (1, 2), (4, 7), (14, 24),
)

#: Pairs that one face can't show at once, or whose geometry collides.
FORBIDDEN = (({5}, {43}), ({17, 23, 24}, {25, 26}), ({10}, {17, 23, 24}))


def draw(rng: np.random.Generator, shape_names: list[str]) -> Performance:
    """Draw an expression: neutral, one AU, a prototype or a random few."""
    aus = _draw_aus(rng)
    level = {au: _draw_level(rng) for au in aus}
    sides = _draw_sides(rng)
    activation = np.zeros((len(AUS), 2), np.float32)
    for au, value in level.items():
        per_side = np.clip(value * sides * rng.uniform(0.92, 1.08, 2), 0, 1)
        if au in (17, 25, 26):  # the jaw and the chin boss have no sides
            per_side[:] = value
        activation[AUS.index(au)] = per_side
    others = _draw_others(rng, aus)
    shapes = shapes_of(activation)
    for au, value in others.items():
        for name, weight in OTHERS[au].items():
            if au == 30 and rng.random() < 0.5:
                name = name.replace("Left", "Right")
            shapes[name] = shapes.get(name, 0.0) + weight * value
    for name, value in _nuisance(rng, aus, shape_names).items():
        shapes[name] = shapes.get(name, 0.0) + value
    meet_lids(shapes)
    return Performance(activation, {name: float(np.clip(v, -0.6, 1.15)) for name, v in shapes.items()}, others)


def shapes_of(activation: np.ndarray) -> dict[str, float]:
    """Rig coefficients that perform activations [18, 2] (subject's left, right), without any nuisance."""
    shapes: dict[str, float] = {}
    for au, (left, right) in zip(AUS, np.asarray(activation, np.float64), strict=True):
        if max(left, right) <= 0:
            continue
        for name, weight in RECIPES[au].items():
            side = {"_L": left, "_R": right}.get(name[-2:], max(left, right))
            shapes[name] = shapes.get(name, 0.0) + weight * float(side)
    return shapes


def meet_lids(shapes: dict[str, float]) -> None:
    """Lids touch but don't cross: a blink ends where they meet, sooner if squinting or looking down has begun it."""
    for side in "LR":
        begun = sum(share * shapes.get(f"{name}_{side}", 0.0) for name, share in _CLOSING.items())
        if shapes.get(f"eyeBlink_{side}", 0.0) > 0:
            shapes[f"eyeBlink_{side}"] = min(shapes[f"eyeBlink_{side}"], max(_LIDS_MEET - begun, 0.2))


def _draw_aus(rng: np.random.Generator) -> list[int]:
    kind = rng.random()
    if kind < 0.18:
        aus: list[int] = []
    elif kind < 0.45:
        aus = [AUS[rng.integers(len(AUS))]]
    elif kind < 0.78:
        aus = list(PROTOTYPES[rng.integers(len(PROTOTYPES))])
        if rng.random() < 0.35:
            aus.append(AUS[rng.integers(len(AUS))])
    else:
        aus = [int(a) for a in rng.choice(AUS, rng.integers(2, 5), replace=False)]
    aus = list(dict.fromkeys(aus))
    for first, second in FORBIDDEN:
        if first & set(aus) and second & set(aus):
            aus = [a for a in aus if a not in second]
    return aus


def _draw_others(rng: np.random.Generator, aus: list[int]) -> dict[int, float]:
    """Now and then the lips do something else, most often with the upper face at rest or speaking."""
    if rng.random() > 0.22 or {12, 17, 20, 23, 24} & set(aus):
        return {}
    au = int(rng.choice(list(OTHERS), p=[0.3, 0.25, 0.12, 0.08, 0.1, 0.15]))
    if au in (28, 34) and {25, 26} & set(aus):
        return {}
    return {au: _draw_level(rng)}


def _draw_level(rng: np.random.Generator) -> float:
    # Drawn beyond 1 and cut, so that the strongest grade is seen as often as the others.
    return float(rng.uniform(0.04, 0.35) if rng.random() < 0.4 else min(rng.uniform(0.35, 1.15), 1.0))


def _draw_sides(rng: np.random.Generator) -> np.ndarray:
    if rng.random() >= 0.1:
        return np.ones(2)
    weak = rng.uniform(0.0, 0.4)
    return np.array([1.0, weak]) if rng.random() < 0.5 else np.array([weak, 1.0])


def _nuisance(rng: np.random.Generator, aus: list[int], shape_names: list[str]) -> dict[str, float]:
    """Motion that is no AU: gaze, a lid that hangs a little, speech, small noise everywhere."""
    extra: dict[str, float] = {}
    if 5 not in aus and 43 not in aus:
        extra |= _both(eyeBlink=float(rng.uniform(0, 0.25)))
    if not {17, 23, 24, 25, 26} & set(aus) and rng.random() < 0.2:
        extra["jawOpen"] = float(rng.uniform(0, 0.08))
    for name in shape_names:
        if rng.random() < 0.15 and not name.startswith(("eyeBlink", "jaw", "Pupil", "eyeLook")):
            extra[name] = extra.get(name, 0.0) + float(rng.uniform(0, 0.04))
    if rng.random() < 0.5:
        sideways, vertical = rng.normal(0, 0.3, 2)
        inward, outward = ("In", "Out") if sideways > 0 else ("Out", "In")
        look = float(min(abs(sideways), 0.7))
        extra[f"eyeLook{inward}_L"] = look
        extra[f"eyeLook{outward}_R"] = look
        extra |= _both(**{"eyeLookUp" if vertical > 0 else "eyeLookDown": float(min(abs(vertical), 0.5))})
    return {name: value for name, value in extra.items() if name in set(shape_names)}
