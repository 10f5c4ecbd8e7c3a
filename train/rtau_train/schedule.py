"""What changes as the steps go by: the learning rate, the weight of a loss term, the averaging."""

from __future__ import annotations

import math


def learning_rate(step: int, *, peak: float, warmup: int, steps: int) -> float:
    """A line from almost 0 up to `peak` at step `warmup`, then half a cosine down to 1 % of it at `steps`."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(steps - warmup, 1)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))


def ramp(step: int, *, start: int, length: int) -> float:
    """0 before step `start`, 1 from `start + length` on, a smooth rise between: exp(-5 (1 - t)^2).

    Source: Laine and Aila, Temporal Ensembling for Semi-Supervised Learning (ICLR 2017).
    """
    if step < start:
        return 0.0
    if step >= start + length:
        return 1.0
    return math.exp(-5 * (1 - (step - start) / length) ** 2)


def averaging(step: int, decay: float) -> float:
    """How much of the averaged weights stays at a step: little at first, `decay` later."""
    return min(decay, (1 + step) / (10 + step))
