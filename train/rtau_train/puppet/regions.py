"""Which vertices make up the brows, eyes, nose, cheeks, mouth, chin and forehead."""

from __future__ import annotations

import numpy as np

from .rig import Rig
from .scene import PARTS

_MOST = 120  # vertices per region suffice for a share in hundredths


def face_regions(rig: Rig) -> dict[str, np.ndarray]:
    """Stage vertices of each of `PARTS`, int64, evenly picked."""
    p = rig.neutral[rig.landmarks]
    skin = rig.neutral[:rig.stage.skin]
    x, y, z = skin.T
    left = x > 0
    within = rig.stage.ring > 4

    def about(points: list[int], reach: float) -> np.ndarray:
        return (np.linalg.norm(skin[:, None] - p[points], axis=2) < reach).any(1)

    mouth_side, brow = p[54, 0], p[[19, 24], 1].mean()
    regions = {
        "brow_left": about(list(range(22, 27)), 0.8), "brow_right": about(list(range(17, 22)), 0.8),
        "eye_left": about(list(range(42, 48)), 0.8), "eye_right": about(list(range(36, 42)), 0.8),
        "nose": about([27, 28, 29, 30, 31, 32, 33, 34, 35], 1.2) & (z > p[31, 2] - 1.2),
        "mouth": about(list(range(48, 68)), 0.7),
        "chin": (y < p[57, 1] - 1.0) & (np.abs(x) < mouth_side + 1) & within,
        "forehead": (y > brow + 1.0) & (np.abs(x) < 5) & within,
    }
    cheek = (y < p[36, 1] - 1.2) & (y > p[48, 1] - 0.5) & (np.abs(x) > mouth_side) & (np.abs(x) < 6) & within
    regions |= {"cheek_left": cheek & left, "cheek_right": cheek & ~left}
    out = {}
    for name in PARTS:
        rows = np.flatnonzero(regions[name])
        out[name] = rows[np.linspace(0, len(rows) - 1, min(_MOST, len(rows))).astype(int)]
    return out
