"""Action Units as ARKit's 52 blendshapes, as far as AUs tell them.

A coefficient is intensity / 5, or the probability where the network tells presence alone. AUs here have no side, so
left and right are always alike. What AUs don't tell is None, not 0:

- `eyeLook...` (8): where the eyes look. rtau reads no gaze.
- `jawForward`, `jawLeft`, `jawRight`, `mouthLeft`, `mouthRight`: AUs 29 and 30 and shifts of the mouth are not read.
- `cheekPuff`, `tongueOut`: AUs 34 and 19 are not read.
- `mouthLowerDownLeft`, `mouthLowerDownRight`: AU16 is not read; AU25 (lips part) does not say which lip moved.
- `mouthClose`: lips that stay closed over an open jaw, a correction of `jawOpen` that no AU measures.
- `mouthShrugUpper`: AU17 pushes both lips up, and does not say how far the upper one goes.

AU23 (lip tightener) and AU25 have no blendshape of their own and are not used.
"""

from __future__ import annotations

import math

import numpy as np

from ..types import Scores

#: Blendshape -> the AUs that move it; the strongest counts. None where AUs don't tell it.
ARKIT: dict[str, tuple[int, ...] | None] = {
    "browDownLeft": (4,), "browDownRight": (4,), "browInnerUp": (1,), "browOuterUpLeft": (2,), "browOuterUpRight": (2,),
    "cheekPuff": None, "cheekSquintLeft": (6,), "cheekSquintRight": (6,),
    "eyeBlinkLeft": (43, 45), "eyeBlinkRight": (43, 45),
    "eyeLookDownLeft": None, "eyeLookDownRight": None, "eyeLookInLeft": None, "eyeLookInRight": None,
    "eyeLookOutLeft": None, "eyeLookOutRight": None, "eyeLookUpLeft": None, "eyeLookUpRight": None,
    "eyeSquintLeft": (7,), "eyeSquintRight": (7,), "eyeWideLeft": (5,), "eyeWideRight": (5,),
    "jawForward": None, "jawLeft": None, "jawOpen": (26,), "jawRight": None,
    "mouthClose": None, "mouthDimpleLeft": (14,), "mouthDimpleRight": (14,), "mouthFrownLeft": (15,),
    "mouthFrownRight": (15,), "mouthFunnel": (22,), "mouthLeft": None, "mouthLowerDownLeft": None,
    "mouthLowerDownRight": None, "mouthPressLeft": (24,), "mouthPressRight": (24,), "mouthPucker": (18,),
    "mouthRight": None, "mouthRollLower": (28,), "mouthRollUpper": (28,), "mouthShrugLower": (17,),
    "mouthShrugUpper": None, "mouthSmileLeft": (12,), "mouthSmileRight": (12,), "mouthStretchLeft": (20,),
    "mouthStretchRight": (20,), "mouthUpperUpLeft": (10,), "mouthUpperUpRight": (10,),
    "noseSneerLeft": (9,), "noseSneerRight": (9,), "tongueOut": None,
}


def blendshapes(scores: Scores) -> list[dict[str, float | None]]:
    """Per face: each name of `ARKIT` -> 0..1, or None where AUs don't tell it or the face's could not be judged."""
    told = []
    for row in scores.strength.astype(np.float64).tolist():
        known = {au: value for au, value in zip(scores.aus, row, strict=True) if math.isfinite(value)}
        told.append({name: _strongest(known, aus or ()) for name, aus in ARKIT.items()})
    return told


def _strongest(known: dict[int, float], aus: tuple[int, ...]) -> float | None:
    values = [known[au] for au in aus if au in known]
    return round(min(max(*values, 0.0), 1.0), 4) if values else None
