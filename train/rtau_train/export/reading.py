"""What scores mean, in double precision and apart from the deployed network's code, to hold that against."""

from __future__ import annotations

import numpy as np

#: Chances of presence and of absence are at least this before calibration.
_EDGE = 1e-6


def agreed_logits(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Logits float64 [N, C, G] of the views' mean chance that a grade is reached.

    Args:
        scores: [V, N, C] of V views.
        thresholds: [C, G], ascending; that of the first grade is 0.
    """
    offset = scores.astype(np.float64)[..., None] - thresholds.astype(np.float64)
    reached, missed = (np.maximum((1 / (1 + np.exp(-np.clip(x, -700, 700)))).mean(0), _EDGE) for x in (offset, -offset))
    return np.log(reached) - np.log(missed)


def read(logits: np.ndarray, calibration: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Presence float64 [N, C], 0..1, and expected intensity [N, C], 0..G, after calibration.

    Args:
        logits: [N, C, G], see `agreed_logits`.
        calibration: [2, C, G], slopes and shifts.
    """
    grades = 1 / (1 + np.exp(-(logits * calibration[0].astype(np.float64) + calibration[1].astype(np.float64))))
    # A higher grade implies the lower ones.
    grades = np.minimum.accumulate(grades, axis=-1)
    return grades[..., 0], grades.sum(-1)
