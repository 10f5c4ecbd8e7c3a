"""Training the AU network: two views, multi-view loss, co-regularization on labeled and unlabeled faces.

The method is that of Niu, Han, Shan and Chen, Multi-label Co-regularization for Semi-supervised Facial Action
Unit Recognition (NeurIPS 2019). Each of its terms can be switched off in a recipe: `method.multi_view = 0`,
`method.co_regularization = 0`, `model.graph = false`, `model.views = 1`.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from rtau.au import BY_NUMBER, REGIONS
from rtau.errors import UsageError
from rtau.model import AuConfig, TwoViewNet, normalize
from rtau.pretrained import load_pretrained

from .batches import Batch, Share
from .config import Recipe
from .cutting import cut, cut_plainly, pixels
from .data.faces import FaceSet, au_number
from .drawing import draw, readable
from .evaluate import auc, f1, icc31
from .graph import adjacency, load_prior
from .losses import HIDDEN, co_regularization, multi_view, place, sight, supervised
from .parts import Parts, open_parts
from .schedule import ramp
from .views import agreement, classifier_cosine, linear_cka

#: Streams of chance: labeled and unlabeled faces are drawn apart.
_LABELED, _UNLABELED = 0, 1
#: How much telling what shows, and where the points lie, counts in the loss.
_SIGHT, _PLACE = 0.3, 0.1
#: Faces on which the views' features are compared.
_COMPARED = 512


class AuTask:
    """Batches, loss and validation of the AU network.

    Args:
        recipe: what to train and how.
        parts: the faces; by default those that the recipe names.

    Raises:
        RtauError: they can't be read, or don't fit the recipe.
    """

    def __init__(self, recipe: Recipe, parts: Parts[FaceSet] | None = None) -> None:
        self.recipe, self.parts = recipe, parts or open_parts(recipe)
        labeled = self.parts.labeled
        self.config = AuConfig.from_dict({**recipe.model, "names": labeled.names})
        if self.config.sight and labeled.visible is None:
            raise UsageError("model.sight is on, but nothing says what is hidden in these faces: leave it off")
        #: Of each label the column of its region; None where it has none.
        self._regions = [REGIONS.index(BY_NUMBER[au].region) if (au := au_number(name)) in BY_NUMBER else None
                         for name in labeled.names]
        prior = None if recipe.graph.prior is None else load_prior(recipe.graph.prior, labeled.names)
        relations = torch.from_numpy(adjacency(
            labeled.labels, normalized=recipe.graph.normalized, signed=recipe.graph.signed, prior=prior,
            strength=recipe.graph.strength, names=labeled.names)).float()
        self.model: nn.Module = self._network(relations)
        known, present = (labeled.labels != 0).sum(0), (labeled.labels > 0).sum(0)
        rare = present / np.maximum(known, 1)
        #: Rare labels' positives count more, by the root of their rarity.
        self.positive_weight = torch.from_numpy(np.sqrt((1 - rare) / np.maximum(rare, 1e-3))).float().clamp(max=5) \
            if recipe.method.balance else None
        self.facts = {"task": "au", "network": self.config.as_dict(), "data": self.parts.facts(),
                      **{name: recipe.as_dict()[name] for name in ("method", "augment", "graph", "pretrained", "init")}}
        self._checked: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        two = self.config.views == 2
        self.charts = {"loss": ("loss", *self.factors(0)), "figures": ("auc", "f1", "icc"),
                       **({"views": ("same", "apart", "cosine", "cka")} if two else {})}

    def _network(self, relations: Tensor) -> TwoViewNet:
        recipe, model = self.recipe, TwoViewNet(self.config, relations)
        for number, view in enumerate(model.views if recipe.pretrained is not None else ()):
            load_pretrained(view.backbone, recipe.pretrained, number)
        if recipe.init is not None:
            load_pretrained(model, recipe.init)
            if model.graph is not None:
                model.graph.adjacency.copy_(relations)
        return model

    # -- batches -----------------------------------------------------------------------------

    def batch(self, share: Share) -> Batch:
        """Aligned crops: labeled ones and, once the co-regularization wants them, unlabeled ones."""
        loop, method = self.recipe.loop, self.recipe.method
        labeled, unlabeled = self.parts.labeled, self.parts.unlabeled
        crops, points, covered, picks, failed = self._draw(labeled, _LABELED, loop.batch, share)
        labels, intensity, visible = labeled.labels[picks], labeled.intensity[picks], labeled.shown[picks]
        visible = visible * (1 - covered)
        hidden = self._hidden(visible, covered)
        labels, intensity = np.where(hidden, np.int8(0), labels), np.where(hidden, np.float32(np.nan), intensity)
        sources, rows = labeled.source[picks], [2 * row for row in share.rows(loop.batch)]
        if unlabeled is not None and self.factors(share.step).get("co_regularization"):
            more, _, _, picks, others = self._draw(unlabeled, _UNLABELED, loop.unlabeled_batch or loop.batch, share)
            crops, sources = np.concatenate([crops, more]), np.concatenate([sources, unlabeled.source[picks]])
            labels = np.concatenate([labels, np.zeros((len(more), labels.shape[1]), np.int8)])
            intensity = np.concatenate([intensity, np.full((len(more), labels.shape[1]), np.nan, np.float32)])
            visible = np.concatenate([visible, np.full((len(more), len(REGIONS)), np.nan, np.float32)])
            failed = failed + others
            rows += [2 * row + 1 for row in share.rows(loop.unlabeled_batch or loop.batch)]
        told = np.arange(len(crops)) < len(share.rows(loop.batch))
        weights = {"supervised": float((labels != 0).sum())}
        if self.config.views == 2:
            counted = len(crops) if method.labeled else int((~told).sum())
            weights |= {"multi_view": 1.0, "co_regularization": float(counted * labels.shape[1])}
        tensors = {"pixels": crops, "labels": labels, "intensity": intensity, "told": told}
        if self.config.sight:
            weights["sight"] = float(np.isfinite(visible).sum())
            tensors["visible"] = visible
        if self.config.pyramid:
            # Of unlabeled faces no exact points are known.
            weights["place"] = float(len(points))
            tensors["points"] = np.concatenate([points, np.zeros((len(crops) - len(points), *points.shape[1:]), np.float32)])
        return Batch({name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in tensors.items()}, weights,
                     tuple(sources.tolist()), tuple(failed), tuple(rows))

    def _draw(self, faces: FaceSet, stream: int, count: int, share: Share
              ) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[int], list[str]]:
        """Crops of a share's rows, where their points lie in them [N, 1 or views, 68, 2], how far their regions are
        covered [N, 6], which faces they are, and sources of those that could not be read."""
        size, altered, strict = self.config.size, self.recipe.augment, self.recipe.loop.strict
        drawn, failed = draw(faces, share, count, stream, strict=strict)
        own = (self.config.views,) if altered.per_view else ()
        crops = np.empty((len(drawn), *own, size, size, 3), np.uint8)
        points = np.empty((len(drawn), *(own or (1,)), 68, 2), np.float32)
        covered = np.zeros((len(drawn), len(REGIONS)), np.float32)
        for row, (pick, image, rng) in enumerate(drawn):
            for crop, place_of in zip(crops[row] if own else crops[row, None], points[row], strict=True):
                made = cut(image, faces.points[pick], size, rng, altered)
                crop[:], place_of[:], covered[row] = made.image, made.points, np.maximum(covered[row], made.covered)
        return crops, points, covered, [face.pick for face in drawn], failed

    def _hidden(self, visible: np.ndarray, covered: np.ndarray) -> np.ndarray:
        """bool [N, C]: whose region can't be judged, by what shows of it (NaN unknown) or by what covers it."""
        shown = np.where(np.isnan(visible), 1 - covered, visible)
        return np.stack([shown[:, region] < HIDDEN if region is not None else np.zeros(len(shown), bool)
                         for region in self._regions], 1)

    # -- loss --------------------------------------------------------------------------------

    def factors(self, step: int) -> dict[str, float]:
        """Supervised learning always; the other terms once pre-training is over, rising."""
        method, factors = self.recipe.method, {"supervised": 1.0}
        if self.config.views == 2:
            risen = ramp(step, start=method.pretrain, length=method.ramp)
            factors |= {"multi_view": risen * method.multi_view, "co_regularization": risen * method.co_regularization}
        if self.config.sight:
            factors["sight"] = _SIGHT
        if self.config.pyramid:
            factors["place"] = _PLACE
        return factors

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The terms of the method; those of two views only where there are two."""
        assert isinstance(model, TwoViewNet)
        reading = model.read(self._seen(batch["pixels"]))
        scores = reading.scores.float()
        weight = None if self.positive_weight is None else self.positive_weight.to(scores.device)
        terms = {"supervised": supervised(scores, model.thresholds().float(), batch["labels"], batch["intensity"],
                                          weight)}
        if reading.sight is not None:
            terms["sight"] = sight(reading.sight.float(), batch["visible"])
        if reading.points is not None:
            known = batch["told"]
            off = place(reading.points.float(), batch["points"].transpose(0, 1), self.config.size)
            terms["place"] = (off.mean((0, 2)) * known).sum() / known.sum().clamp(min=1)
        if self.config.views == 1:
            return terms
        first, second = model.final_classifiers()
        terms["multi_view"] = multi_view(first.float(), second.float())
        told = batch["told"][:, None].expand(scores.shape[1:])
        counted = torch.ones_like(told) if self.recipe.method.labeled else ~told
        mask = counted & (told | self._sure(scores))
        # What is masked counts as agreeing: the mean is over all, as the batch's weights say.
        terms["co_regularization"] = co_regularization(scores, mask) * (mask.sum() / counted.sum().clamp(min=1))
        return terms

    def _seen(self, crops: Tensor) -> Tensor:
        """What the network takes, of crops [N, S, S, 3] or of each view's own [N, views, S, S, 3]."""
        if crops.dim() == 4:
            return normalize(pixels(crops))
        return torch.stack([normalize(pixels(own)) for own in crops.unbind(1)])

    def _sure(self, scores: Tensor) -> Tensor:
        """Where either view is sure enough of presence or of absence: bool [N, C]."""
        if not self.recipe.method.confidence:
            return torch.ones(scores.shape[1:], dtype=torch.bool, device=scores.device)
        limit = math.log(self.recipe.method.confidence / (1 - self.recipe.method.confidence))
        return scores.detach().abs().amax(0) >= limit

    # -- validation --------------------------------------------------------------------------

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Figures on validation people: means over the labels, how the views agree, and each label's own.

        "auc" and "f1" (at .5) of presence, "icc" of intensity where it is known; labels of which validation has
        one class only are left out of the means. "nme" is how far the views' points lie off, over the distance of the
        outer eye corners. "score" is auc + icc / 2, or auc without intensities.
        """
        assert isinstance(model, TwoViewNet)
        model.eval()
        crops, points, rows = self._validation()
        device = next(model.parameters()).device
        parts = [model.read(normalize(pixels(torch.from_numpy(crops[i:i + 128]).to(device)))) for i in
                 range(0, len(crops), 128)]
        scores = torch.cat([part.scores for part in parts], 1)
        grades = torch.sigmoid(scores.unsqueeze(-1) - model.thresholds()).mean(0)
        presence, expected = grades[..., 0].cpu().numpy(), grades.sum(-1).cpu().numpy()
        truth = self.parts.validation[rows]
        own = {f"{name}:{key}": value for column, name in enumerate(self.config.names)
               for key, value in self._label(truth, column, presence, expected).items()}
        means = {key: _mean([value for name, value in own.items() if name.endswith(f":{key}")])
                 for key in ("auc", "f1", "icc") if key != "icc" or self.config.grades > 1}
        if len(scores) == 2:
            means |= agreement(scores) | self._compare(model, crops[:_COMPARED], device)
        if self.config.pyramid:
            found = torch.cat([part.points for part in parts if part.points is not None], 1).cpu().numpy()
            eyes = np.linalg.norm(points[:, 36] - points[:, 45], axis=1)
            means["nme"] = float((np.linalg.norm(found - points, axis=3).mean((0, 2)) / eyes).mean())
        score = means["auc"] + 0.5 * np.nan_to_num(means.get("icc", 0.0))
        return {**means, **own, "score": float(score)}

    def _label(self, truth: FaceSet, column: int, presence: np.ndarray, expected: np.ndarray) -> dict[str, float]:
        known, graded = truth.labels[:, column] != 0, np.isfinite(truth.intensity[:, column])
        present, chance = truth.labels[known, column] > 0, presence[known, column]
        figures = {"auc": auc(present, chance),
                   "f1": f1(present, chance >= 0.5) if 0 < present.sum() < len(present) else math.nan}
        if self.config.grades > 1:
            figures["icc"] = icc31(truth.intensity[graded, column], expected[graded, column])
        return figures

    def _compare(self, model: TwoViewNet, crops: np.ndarray, device: torch.device) -> dict[str, float]:
        first, second = (torch.cat([view(normalize(pixels(torch.from_numpy(crops[i:i + 128]).to(device))))
                                    for i in range(0, len(crops), 128)]) for view in model.views)
        return {"cosine": classifier_cosine(*model.final_classifiers()), "cka": linear_cka(first, second)}

    def _validation(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Crops of the validation faces that can be read, their points there, and which these are; cut once."""
        if self._checked is None:
            faces, cuts, rows = self.parts.validation, [], []
            for row, image in readable(faces, strict=self.recipe.loop.strict):
                cuts.append(cut_plainly(image, faces.points[row], self.config.size, np.random.default_rng(row)))
                rows.append(row)
            crops, points = zip(*cuts, strict=True)
            self._checked = np.stack(crops), np.stack(points), np.array(rows)
        return self._checked


def _mean(values: list[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan
