"""Dropout whose chance belongs to a picture, not to the process that happens to learn from it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

#: Values that a hash takes.
_RANGE = 1 << 32


class RowDropout(nn.Dropout):
    """Drops what `torch.nn.Dropout` might, by (salt, row, column) alone: the same on any device, in any piece of a batch.

    Attributes:
        salt: of the step and of this module, 0 to 2^32 - 1.
        rows: a number for each row of what it is called with.
    """

    salt: int = 0
    rows: Sequence[int] = ()

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.p:
            return x
        if len(self.rows) != len(x):
            raise ValueError(f"{len(x)} rows, but numbers for {len(self.rows)}: a batch must name the rows of a network "
                             "that drops out")
        rows = torch.tensor(self.rows, dtype=torch.int64, device=x.device)
        columns = torch.arange(x[0].numel(), device=x.device)
        drawn = _mixed(_mixed(rows ^ self.salt)[:, None] ^ columns).view(x.shape)
        return x * (drawn >= int(self.p * _RANGE)) / (1 - self.p)


def share_dropout(model: nn.Module) -> list[RowDropout]:
    """Make a model's dropouts such; gives them, in order."""
    found = []
    for module in model.modules():
        if type(module) is nn.Dropout:
            module.__class__ = RowDropout
        if isinstance(module, RowDropout):
            found.append(module)
    return found


def salt_of(*numbers: int) -> int:
    """A salt from several numbers."""
    salt = torch.zeros((), dtype=torch.int64)
    for number in numbers:
        salt = _mixed(salt ^ (number % _RANGE))
    return int(salt)


def _mixed(x: Tensor) -> Tensor:
    """A hash of whole numbers 0 to 2^32 - 1; products stay below 2^63."""
    for factor in (0x21F0AAAD, 0x735A2D97):
        x = ((x ^ (x >> 16)) * factor) % _RANGE
        x = x ^ (x >> 15)
    return x
