"""Strangers: a person's face in another shape, and with another look at rest.

A few dozen portraits show a few dozen faces, and a network soon knows each by heart: how high this one's brows are,
that the corners of that one's mouth hang. The rig's identity modes say how people's shapes differ; moved along them, a
portrait shows somebody else. A slight expression that never leaves the face is part of who it is, too: it is no AU.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .rig import Rig

#: Modes that are changed, and the deviation of their weights: people's own is 1, and the portrait's skin has to fit.
_MODES, _SPREAD = 40, 0.8
#: Expression shapes that a face may carry at rest, each with its two sides or none, and how far.
_CARRIED = ("browDown", "browInnerUp", "browOuterUp", "cheekSquint", "eyeSquint", "eyeWide", "mouthDimple", "mouthFrown",
            "mouthPress", "mouthSmile", "mouthStretch", "mouthPucker", "mouthShrugLower", "mouthRollUpper")
_OFTEN, _FAR = 0.25, 0.1
#: Shapes that only grow: lips can't be parted or rolled out by being pressed or pulled in less.
_ONE_WAY = ("mouthPress", "mouthRollUpper")


@dataclass(frozen=True)
class Identity:
    """How a face differs from the portrait's, at rest.

    Attributes:
        modes: weights of the rig's first identity modes.
        bearing: blendshape coefficients that are always there, by name.
    """

    modes: tuple[float, ...] = ()
    bearing: dict[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.modes or self.bearing)

    def motion(self, rig: Rig) -> np.ndarray:
        """float32 [N, 3], cm: by how much the stage's vertices lie elsewhere."""
        stage = rig.stage
        moved = rig.motion(self.bearing, stage.vertices)
        if self.modes:
            moved += np.tensordot(np.array(self.modes, np.float32), rig.stage_identity[:len(self.modes)], 1)
        return moved


def draw_identity(rng: np.random.Generator, rig: Rig) -> Identity:
    """Somebody else."""
    bearing: dict[str, float] = {}
    for name in _CARRIED:
        if rng.random() < _OFTEN:
            value = float(rng.uniform(0 if name in _ONE_WAY else -_FAR, _FAR))
            sides = [f"{name}_{side}" for side in "LR"] if f"{name}_L" in rig.shape_index else [name]
            # Nobody's face is quite even.
            bearing |= {side: value * float(rng.uniform(0.8, 1.2)) for side in sides}
    return Identity(tuple(rng.normal(0, _SPREAD, _MODES).tolist()), bearing)
