"""Where the muscle behind each Action Unit lies on a face, as weighted sums of the 68 landmarks.

Because every corner of a shape is such a sum, the shapes turn, tilt and stretch with the face. Where the points are
known no pixel matters: `rtau.overlay.heat` makes a picture of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..au import Region

#: The landmark on the other side of the face, for each of the 68.
MIRROR = np.array([*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
                   45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55,
                   64, 63, 62, 61, 60, 67, 66, 65])

_P = np.eye(68)


def _mean(*points: int) -> np.ndarray:
    return _P[list(points)].mean(0)


def _way(start: np.ndarray, end: np.ndarray, part: float) -> np.ndarray:
    """The place that lies so far on the way from one to the other."""
    return start + part * (end - start)


#: From the base of the nose to the brows, a third of a face's height; and the width of an eye, outwards.
_UP = _mean(*range(17, 27)) - _P[33]
_OUT = _P[36] - _P[39]
_GLABELLA, _NASION = _mean(21, 22), _P[27]
_EYE, _LIPS = _mean(*range(36, 42)), _mean(48, 51, 54, 57)
_CHEEK = 0.5 * _P[36] + 0.5 * _P[2]


@dataclass(frozen=True)
class Shape:
    """A part of a muscle in one half of the face, or across it.

    Attributes:
        weights: float64 [K, 68], of the landmarks in each of K corners. A shape of one side is that of image left.
        width: of a line through the corners, in thirds of a face; 0 fills what they enclose.
        closed: whether the line comes back to its first corner.
        both: there is the same on the other side.
        strength: of its colour, 0..1.
    """

    weights: np.ndarray
    width: float = 0.0
    closed: bool = False
    both: bool = True
    strength: float = 1.0


def _patch(*corners: np.ndarray, both: bool = True, strength: float = 1.0) -> Shape:
    return Shape(np.stack(corners), both=both, strength=strength)


def _band(width: float, *corners: np.ndarray, both: bool = True, strength: float = 1.0) -> Shape:
    return Shape(np.stack(corners), width, both=both, strength=strength)


def _ring(width: float, corners: Sequence[np.ndarray], both: bool = False, strength: float = 1.0) -> Shape:
    return Shape(np.stack(corners), width, True, both, strength)


def _lips(size: float, first: int = 48, last: int = 59) -> list[np.ndarray]:
    """The outer edge of the lips, grown or shrunk about their middle."""
    return [_way(_LIPS, _P[i], size) for i in range(first, last + 1)]


def _lids(size: float) -> list[np.ndarray]:
    return [_way(_EYE, _P[i], size) for i in range(36, 42)]


#: Action Unit -> its shapes.
MUSCLES: dict[int, tuple[Shape, ...]] = {
    # Frontalis, its inner and its outer part.
    1: (_patch(_P[20] + 0.06 * _UP, _P[21] + 0.06 * _UP, _way(_P[21], _P[22], 0.35) + 0.1 * _UP,
               _way(_P[21], _P[22], 0.3) + 0.62 * _UP, _P[20] + 0.58 * _UP),),
    2: (_patch(_P[17] + 0.1 * _UP, _P[18] + 0.05 * _UP, _P[19] + 0.06 * _UP, _P[19] + 0.52 * _UP, _P[18] + 0.46 * _UP,
               _P[17] + 0.3 * _UP),),
    # Corrugator from above the nose into the brow, procerus between the brows.
    4: (_band(0.17, _way(_NASION, _P[21], 0.75), _way(_P[20], _P[21], 0.5) + 0.05 * _UP, _P[19] + 0.1 * _UP),
        _band(0.16, _NASION, _GLABELLA + 0.12 * _UP, both=False, strength=0.8)),
    # Levator palpebrae: from the upper lid to under the brow.
    5: (_patch(_P[36], _P[37], _P[38], _P[39], _way(_P[38], _P[20], 0.62), _way(_P[37], _P[19], 0.62),
               _way(_P[36], _P[17], 0.5)),),
    # Orbicularis oculi: its outer part around eye and cheek, its inner part on the lids.
    6: (_band(0.26, _way(_P[36], _P[17], 0.55) + 0.28 * _OUT, _P[36] + 0.42 * _OUT - 0.05 * _UP,
              _P[41] + 0.34 * _OUT - 0.3 * _UP, _mean(40, 41) - 0.36 * _UP, _P[39] - 0.1 * _OUT - 0.28 * _UP),),
    7: (_ring(0.13, _lids(1.35), both=True),),
    # Levator labii superioris alaeque nasi: along the nose, and the wrinkles across its bridge.
    9: (_band(0.17, _way(_P[27], _P[39], 0.5), _way(_P[28], _P[39], 0.4) - 0.1 * _UP, _way(_P[31], _P[40], 0.2)),
        _band(0.14, _way(_P[31], _P[40], 0.2), _P[31] + 0.1 * _OUT - 0.08 * _UP, _way(_P[50], _P[31], 0.3),
              strength=0.8),
        _band(0.16, _P[27] - 0.05 * _UP, _P[28], both=False, strength=0.7)),
    # Levator labii superioris: from under the eye to the upper lip.
    10: (_patch(_P[41] - 0.32 * _UP, _P[40] - 0.3 * _UP, _way(_P[31], _P[40], 0.12), _way(_P[50], _P[31], 0.2),
                _P[49] + 0.02 * _UP),),
    # Zygomaticus major: from the cheekbone to the corner of the mouth.
    12: (_band(0.21, _CHEEK - 0.16 * _UP - 0.12 * _OUT, _way(_CHEEK, _P[48], 0.6), _P[48] + 0.04 * _OUT),),
    # Buccinator, behind the corner.
    14: (_band(0.22, _P[48] + 0.06 * _OUT, _way(_P[48], _P[4], 0.5)),),
    # Depressor anguli oris: from the corner down to the jaw.
    15: (_patch(_P[48] + 0.08 * _OUT, _way(_P[48], _P[59], 0.3), _way(_P[59], _P[7], 0.8), _way(_P[48], _P[6], 0.9),
                _way(_P[48], _P[5], 0.78)),),
    # Mentalis.
    17: (_patch(_way(_P[58], _P[7], 0.35), _way(_P[57], _P[8], 0.3), _way(_P[57], _P[8], 0.88), _way(_P[58], _P[7], 0.8)),),
    # Orbicularis oris: its rim and all of it.
    18: (_ring(0.2, _lips(1.22)),),
    # Risorius: outwards from the corner.
    20: (_band(0.17, _P[48] + 0.02 * _OUT, _way(_P[48], _P[3], 0.35), _way(_P[48], _P[3], 0.72)),),
    22: (_ring(0.26, _lips(1.3)),),
    23: (_ring(0.13, _lips(1.0)),),
    24: (_band(0.15, *_lips(0.95, 48, 54), both=False), _band(0.15, *_lips(0.95, 55, 59), both=False, strength=0.8)),
    # Lips that part: depressor labii, and the opening itself.
    25: (_patch(*(_way(_mean(62, 66), _P[i], 1.4) for i in range(60, 68)), both=False),
         _patch(_way(_P[59], _P[58], 0.2), _P[58], _P[57], _way(_P[57], _P[8], 0.3), _way(_P[59], _P[6], 0.4),
                strength=0.85)),
    # Masseter, which lets go, and the jaw that drops.
    26: (_band(0.2, _way(_P[3], _P[48], 0.12), _way(_P[4], _P[48], 0.12), _way(_P[5], _P[48], 0.12),
               _way(_P[6], _P[58], 0.14), _way(_P[7], _P[57], 0.12), _way(_P[8], _P[57], 0.12)),),
    28: (_ring(0.15, _lips(0.7)),),
    # The lids.
    43: (_patch(*_lids(1.3)),),
    45: (_patch(*_lids(1.3)),),
}

#: Region of the face -> what is hatched where it can't be judged.
AREAS: dict[Region, tuple[Shape, ...]] = {
    "brow": (_patch(_P[17], _P[19], _P[21], _GLABELLA, _GLABELLA + 0.55 * _UP, _P[19] + 0.5 * _UP, _P[17] + 0.3 * _UP),),
    "eye": (_patch(*_lids(1.7)),),
    "nose": (_patch(_P[27], _way(_P[28], _P[39], 0.3), _P[31] + 0.1 * _OUT, _P[33], _P[30]),),
    "cheek": (_patch(_P[36] + 0.3 * _OUT - 0.15 * _UP, _P[40] - 0.25 * _UP, _way(_P[31], _P[48], 0.3), _way(_P[48], _P[3], 0.5),
                     _way(_P[2], _P[36], 0.2)),),
    "mouth": (_patch(*_lips(1.35), both=False),),
    "jaw": (_patch(_way(_P[48], _P[5], 0.6), _way(_P[59], _P[6], 0.35), _way(_P[57], _P[8], 0.35), _P[8], _P[7], _P[6],
                   _P[5]),),
}


def outlines(shape: Shape, points: np.ndarray) -> list[np.ndarray]:
    """The shape on a face, once or on both sides.

    Args:
        points: [68, 2], landmarks in pixels; those that are not known are NaN.

    Returns:
        float64 [K, 2] each, pixels; a side with a corner that depends on an unknown point is left out.
    """
    if np.isfinite(points).all():
        return [weights @ points for weights in _sides(shape)]
    known = np.isfinite(points).all(1)
    filled = np.where(known[:, None], points, 0.0)
    return [weights @ filled for weights in _sides(shape) if known[(weights != 0).any(0)].all()]


def _sides(shape: Shape) -> tuple[np.ndarray, ...]:
    return (shape.weights, shape.weights[:, MIRROR])[:1 + shape.both]


def third(points: np.ndarray) -> float:
    """A third of a face's height in pixels, about the same whichever way the head turns; NaN if points are missing."""
    height = np.linalg.norm(points[17:27].mean(0) - points[33])
    return float(max(height, 0.72 * np.linalg.norm(points[36] - points[45])))
