"""How alike the two views are: figures to watch while they train. Too alike and the second view adds nothing."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def agreement(scores: Tensor) -> dict[str, float]:
    """How the views' predictions agree.

    Args:
        scores: float [2, N, C], logits of presence.

    Returns:
        "apart", the mean of |p1 - p2|, 0..1; "same", the share of faces and labels that both put on the same side
        of p = 0.5.
    """
    first, second = torch.sigmoid(scores.double())
    return {"apart": (first - second).abs().mean().item(),
            "same": ((first >= 0.5) == (second >= 0.5)).double().mean().item()}


@torch.no_grad()
def classifier_cosine(first: Tensor, second: Tensor) -> float:
    """Mean |cosine| of the views' classifiers, float [C, d] each: 0 orthogonal, 1 parallel; rows of zeros count 0."""
    a, b = (torch.nn.functional.normalize(w.double(), dim=1) for w in (first, second))
    return (a * b).sum(1).abs().mean().item()


@torch.no_grad()
def linear_cka(first: Tensor, second: Tensor) -> float:
    """Linear centred kernel alignment of the views' features (Kornblith et al., 2019), 0 unrelated to 1 alike.

    Rotating, scaling or shifting a view's features changes nothing. Few faces with many features give high values
    by chance: compare values at the same number of faces.

    Args:
        first, second: float [N, d1] and [N, d2], the same N faces.

    Returns:
        The alignment; NaN where a view's features are all the same.
    """
    x, y = (f.double() - f.double().mean(0) for f in (first, second))
    # A mean of equal numbers may be off by rounding.
    if any(centred.norm() <= 1e-12 * f.norm() for centred, f in ((x, first), (y, second))):
        return float("nan")
    shared = (x.T @ y).square().sum()
    return (shared / (torch.linalg.matrix_norm(x.T @ x) * torch.linalg.matrix_norm(y.T @ y))).item()
