"""Chances and their log-odds, on which a network adds up its evidence."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .au import Label

#: What a network says of an ordinary resting face, where its weights don't tell.
_ORDINARY = 0.02
#: Chances are kept this far from 0 and 1, beyond which nobody can tell them apart.
_EDGE = 1e-3


def log_odds(chances: np.ndarray) -> np.ndarray:
    """Of chances 0..1; NaN stays NaN."""
    chances = np.clip(chances, _EDGE, 1 - _EDGE)
    return np.log(chances / (1 - chances))


def chance(odds: np.ndarray) -> np.ndarray:
    """Of log-odds, 0..1."""
    return 1 / (1 + np.exp(-odds))


def ordinary_odds(aus: tuple[Label, ...], told: Mapping[int, float] | None) -> np.ndarray:
    """Log-odds of presence [C] in an ordinary face at rest, of what is told of some AUs."""
    return log_odds(np.array([(told or {}).get(au, _ORDINARY) for au in aus]))


def quantile(rows: np.ndarray, share: float) -> np.ndarray:
    """Over the first axis, of what is no NaN; NaN where all is."""
    known = np.isfinite(rows).any(0)
    values = np.full(rows.shape[1:], np.nan)
    values[known] = np.nanquantile(rows[:, known], share, axis=0)
    return values
