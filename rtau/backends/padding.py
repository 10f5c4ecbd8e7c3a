"""Batches of a few fixed sizes, for engines that make a program for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    Crops = TypeVar("Crops", np.ndarray, Tensor)

#: Crops at once: a batch is filled up with black ones to one of these, and a larger one is cut.
BATCHES = (1, 2, 4, 8, 16)


def run_padded(run: Callable[[Crops], tuple[np.ndarray, ...]], crops: Crops) -> tuple[np.ndarray, ...]:
    """Run crops uint8 [N, H, W, 3] in batches of `BATCHES`; N may be 0.

    Args:
        run: the network, for one such batch; its outputs have a row for each crop.
        crops: of any number; an array, or a torch tensor.

    Returns:
        The outputs, N rows each.
    """
    parts = [_run(run, crops[i:i + BATCHES[-1]]) for i in range(0, max(len(crops), 1), BATCHES[-1])]
    return parts[0] if len(parts) == 1 else tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def _run(run: Callable[[Crops], tuple[np.ndarray, ...]], crops: Crops) -> tuple[np.ndarray, ...]:
    count = len(crops)
    batch = next(b for b in BATCHES if b >= count)
    array = isinstance(crops, np.ndarray)
    if batch != count:
        shape = (batch, *crops.shape[1:])
        padded = np.zeros(shape, np.uint8) if array else crops.new_zeros(shape)
        padded[:count] = crops
        crops = padded
    return tuple(output[:count] for output in run(np.ascontiguousarray(crops) if array else crops.contiguous()))
