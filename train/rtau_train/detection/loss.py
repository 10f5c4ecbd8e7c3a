"""The finder's loss: scores that tell how well the box fits, boxes, points."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

#: A score of a place where a face is aims between this and 1, by how well the box fits.
_LEAST = 0.5


def decode(boxes: Tensor, points: Tensor, places: Tensor, strides: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes [..., 4] (left, top, right, bottom) and points [..., 10] in pixels, of what cells say of them.

    Args:
        boxes, points: [..., 4] and [..., 10], in the network's units (`rtau.finder.FinderNet`).
        places, strides: centres [..., 2] and strides [...] of the cells.
    """
    stride = strides.unsqueeze(-1)
    centre, half = places + boxes[..., :2] * stride, boxes[..., 2:].clamp(-4, 6).exp() * stride / 2
    return torch.cat([centre - half, centre + half], -1), places.tile(5) + points * stride


def overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Of boxes [K, 4] pair by pair: common area by joint area, and that less how far the centres are apart.

    The second is 1 - the distance-IoU loss (Zheng et al., 2020): it has a slope where boxes don't meet.
    """
    common = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    joint = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - common
    iou = common / joint.clamp(min=1e-6)
    around = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    apart = ((a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]) / 2).square().sum(1)
    return iou, iou - apart / around.square().sum(1).clamp(min=1e-6)


def finder_loss(outputs: tuple[Tensor, Tensor, Tensor], there: Tensor, boxes: Tensor, points: Tensor, places: Tensor,
                strides: Tensor) -> dict[str, Tensor]:
    """Terms of the loss of N pictures with A cells.

    Args:
        outputs: of `rtau.finder.FinderNet`.
        there, boxes, points: [N, A], [N, A, 4] and [N, A, 10], see `targets.Targets`.
        places, strides: of the cells, [A, 2] and [A].

    Returns:
        "there": quality focal loss (Li et al., 2020), sum over the cells that count, by N. "box" and "points": means
        over the cells that find a face, by its size; 0 without one.
    """
    logits, said_boxes, said_points = (o.float() for o in outputs)
    picture, cell = torch.nonzero(there > 0, as_tuple=True)
    box, marks = decode(said_boxes[picture, :, cell], said_points[picture, :, cell], places[cell], strides[cell])
    truth, size = boxes[picture, cell], (boxes[picture, cell, 2:] - boxes[picture, cell, :2]).clamp(min=1)
    iou, fits = overlap(box, truth)
    aim = torch.zeros_like(logits)
    aim[picture, cell] = _LEAST + (1 - _LEAST) * iou.detach()
    apart = (aim - logits.sigmoid()).square()
    score = F.binary_cross_entropy_with_logits(logits, aim, reduction="none") * apart
    sides = (box[:, 2:] - box[:, :2]).clamp(min=1e-3).log() - size.log()
    shape = F.smooth_l1_loss(sides, torch.zeros_like(sides), beta=0.1, reduction="none").mean(1)
    error = (marks - points[picture, cell]) / size.prod(1).sqrt().unsqueeze(1)
    place = F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.05, reduction="none").mean(1)
    count = max(len(cell), 1)
    return {"there": (score * (there >= 0)).sum() / len(logits), "box": (1 - fits + shape).sum() / count,
            "points": place.sum() / count}
