"""The losses of Niu et al. (NeurIPS 2019), as pure functions; each is a mean, and a scalar.

The whole is `supervised + l_mv multi_view + l_cr co_regularization`; `supervised` already averages the views.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

#: How much each grade's threshold counts, A..E: presence first, and the rare strong grades least.
GRADE_WEIGHTS = (1.0, 0.5, 0.5, 0.4, 0.3)

#: A region of which so little shows can't be judged; one of which so much shows can. Between them nobody is sure.
HIDDEN, SHOWS = 0.2, 0.5

#: Beyond such a logit a probability is 0 or 1 to the last bit, in any precision.
_SATURATED = 1e4
#: Shorter classifiers have no direction.
_SHORTEST = 1e-8


def supervised(scores: Tensor, thresholds: Tensor, labels: Tensor, intensity: Tensor,
               positive_weight: Tensor | None = None) -> Tensor:
    """Weighted cross-entropy of every known label at every threshold it speaks of, averaged over the views.

    A label without an intensity trains the first threshold alone; one with an intensity trains all, the first too:
    there the intensity decides, not the label, so that a corpus which calls an A absent (DISFA) does not pull
    against one which calls it present. With one threshold the label decides, in its corpus' own sense.

    Args:
        scores: float [V, N, C], the logits of presence.
        thresholds: float [C, G], G = 1 or 5, subtracted from the scores to get each grade's logit.
        labels: int8 [N, C], +1 present, -1 absent, 0 unknown. An unknown one contributes exactly nothing.
        intensity: float [N, C], 0..5, NaN where unknown.
        positive_weight: float [C], what a positive counts for; all 1 when None.

    Returns:
        The sum over grades (see `GRADE_WEIGHTS`), averaged over known labels and views; 0 where none is known.
    """
    grades = thresholds.shape[1]
    known = labels != 0
    present = (labels > 0).unsqueeze(-1)
    first = torch.arange(grades, device=scores.device) == 0
    if grades == 1:
        reached, told = present, known.unsqueeze(-1)
    else:
        graded = torch.isfinite(intensity).unsqueeze(-1)
        steps = torch.arange(1, grades + 1, device=scores.device)
        reached = torch.where(graded, torch.nan_to_num(intensity).unsqueeze(-1) >= steps, present)
        told = known.unsqueeze(-1) & (graded | first)
    targets = reached.to(scores.dtype).expand(len(scores), -1, -1, -1)
    each = F.binary_cross_entropy_with_logits(
        scores.unsqueeze(-1) - thresholds, targets, reduction="none",
        pos_weight=None if positive_weight is None else positive_weight.to(scores.dtype).unsqueeze(-1))
    weight = scores.new_tensor(GRADE_WEIGHTS[:grades])
    return torch.where(told, each * weight, 0.0).sum() / (len(scores) * known.sum().clamp(min=1))


def sight(logits: Tensor, visible: Tensor) -> Tensor:
    """Cross-entropy of whether a region of the face shows: surely from `SHOWS` up, surely not from `HIDDEN` down.

    Args:
        logits: float [N, R].
        visible: float [N, R], what share of a region shows, 0..1; NaN where unknown, which contributes nothing.

    Returns:
        The mean over what is known; 0 where nothing is.
    """
    known = torch.isfinite(visible)
    wanted = ((torch.nan_to_num(visible) - HIDDEN) / (SHOWS - HIDDEN)).clamp(0, 1)
    each = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return torch.where(known, each, 0.0).sum() / known.sum().clamp(min=1)


def place(found: Tensor, points: Tensor, size: int) -> Tensor:
    """How far points lie from where they are, in a measure that is linear far off and logarithmic close by, so that
    small errors keep a pull (wing loss, Feng et al., 2018).

    Args:
        found: float [..., 68, 2], pixels of a crop of that size.
        points: the same, where they are.
        size: side of the crop.

    Returns:
        [..., 68], summed over x and y, of errors in hundredths of the crop's side.
    """
    error = (found - points).abs() * (100 / size)
    return torch.where(error < 8, 8 * torch.log1p(error / 2), error - 8 + 8 * math.log1p(4.0)).sum(-1)


def co_regularization(scores: Tensor, mask: Tensor | None = None) -> Tensor:
    """How far the views' predictions lie apart: the Jensen-Shannon divergence of the two Bernoullis.

    `H((p1 + p2) / 2) - (H(p1) + H(p2)) / 2` in nats: 0 where the views agree, at most log 2. It is computed as the
    mean divergence of each view from their mean, out of logits, so that it and its gradients stay finite at any
    logit and keep their precision where the views nearly agree.

    Args:
        scores: float [2, N, C], logits of presence.
        mask: bool [N, C], what counts; all when None.

    Returns:
        The mean over what counts; 0 where nothing does.
    """
    if len(scores) != 2:
        raise ValueError(f"co-regularization needs two views, not {len(scores)}")
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32)).clamp(-_SATURATED, _SATURATED)
    p, q = torch.sigmoid(scores), torch.sigmoid(-scores)
    log_p, log_q = F.logsigmoid(scores), F.logsigmoid(-scores)
    each = -0.5 * (p * _log_mean_over(log_p.flip(0) - log_p) + q * _log_mean_over(log_q.flip(0) - log_q)).sum(0)
    if mask is None:
        return each.mean() if each.numel() else each.sum()
    return torch.where(mask, each, 0.0).sum() / mask.sum().clamp(min=1)


def multi_view(first: Tensor, second: Tensor) -> Tensor:
    """How alike the views' classifiers are: the mean of |cosine| over the labels, 0 orthogonal, 1 parallel.

    The paper's formula has the plain cosine, whose minimum is opposite classifiers, that is the same feature with
    its sign turned; the magnitude, as in the authors' release, asks for orthogonal ones.

    Args:
        first, second: float [C, d], a classifier in each row. A row of zeros is orthogonal to everything.
    """
    a, b = (w / torch.linalg.vector_norm(w, dim=1, keepdim=True).clamp(min=_SHORTEST) for w in (first, second))
    return (a * b).sum(1).abs().mean()


def _log_mean_over(x: Tensor) -> Tensor:
    """`log((1 + e^x) / 2)`: the logarithm of (u + v) / 2 over u, where x = log v - log u. Exactly 0 at 0."""
    return x.clamp(min=0) + torch.log1p(0.5 * torch.expm1(-x.abs()))
