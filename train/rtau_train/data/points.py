"""From the 189-point template of the portraits to the 68 Multi-PIE points."""

from __future__ import annotations

import numpy as np

#: Share of the way from ear to chin, along the jaw, of Multi-PIE points 0..8 on a generic head.
_JAW_SHARE = np.array([0.0, 0.131, 0.262, 0.393, 0.523, 0.650, 0.772, 0.888, 1.0])


def along(line: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Points [K, 2] at shares 0..1 of the length of a polyline [M, 2]."""
    length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))]
    return np.c_[np.interp(shares * length[-1], length, line[:, 0]), np.interp(shares * length[-1], length, line[:, 1])]


def _below(line: np.ndarray, y: float) -> np.ndarray:
    """The part of a downward polyline that lies below height y, starting on it."""
    inside = line[:, 1] > y
    first = int(np.argmax(inside))
    if first == 0:
        return line
    a, b = line[first - 1], line[first]
    cut = a + (b - a) * (y - a[1]) / max(b[1] - a[1], 1e-9)
    return np.vstack([cut, line[first:]])


def multi_pie(template: np.ndarray) -> np.ndarray:
    """Map points of the 189-point template.

    Args:
        template: [189, 2], pixels; "left" in the template is left in the picture.

    Returns:
        float32 [68, 2], Multi-PIE order, pixels.
    """
    t = template
    points = np.zeros((68, 2))
    eyes = t[[0, 1], 1].mean()
    right_jaw = _below(t[[109, 185, 110, 186, 111, 125, 126, 127, 128, 129]], eyes)
    left_jaw = _below(t[[112, 187, 113, 188, 114, 133, 132, 131, 130, 129]], eyes)
    points[0:9] = along(right_jaw, _JAW_SHARE)
    points[8:17] = along(left_jaw, _JAW_SHARE)[::-1]
    quarter = np.linspace(0, 1, 5)
    points[17:22] = along(t[71:77], quarter)
    points[22:27] = along(t[77:83], quarter)
    bridge_top = (t[50] + t[56]) / 2
    tip = (t[54] + t[60]) / 2
    points[27:31] = along(np.vstack([bridge_top, tip]), np.linspace(0, 1, 4))
    points[31] = 0.6 * t[64] + 0.4 * t[65]
    points[35] = 0.6 * t[69] + 0.4 * t[70]
    points[33] = t[55]
    points[32], points[34] = (points[31] + t[55]) / 2, (points[35] + t[55]) / 2
    lid = np.array([0, 0.3, 0.7, 1])
    points[36:40] = along(t[18:23], lid)
    points[[41, 40]] = along(t[[18, 28, 29, 30, 22]], lid[1:3])
    points[42:46] = along(t[23:28], lid)
    points[[47, 46]] = along(t[[23, 31, 32, 33, 27]], lid[1:3])
    points[48:55] = t[87:94]
    points[55:60] = t[[108, 107, 106, 105, 104]]
    points[60], points[64] = (t[87] * 2 + t[94]) / 3, (t[93] * 2 + t[98]) / 3
    points[61:64] = t[[95, 96, 97]]
    points[[67, 66, 65]] = t[[100, 101, 102]]
    return points.astype(np.float32)
