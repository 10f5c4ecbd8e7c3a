"""Training the two-view AU network on rendered faces, supervised."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtau.crop import similarity, warp
from rtau.model import GRADES, AuConfig, TwoViewNet, normalize

from .config import Recipe
from .data.augment import degrade
from .data.shards import Renders, load_shards
from .evaluate import auc, icc31
from .graph import adjacency
from .puppet.sample import AUS


class AuTask:
    """Batches, loss and validation of the AU network."""

    def __init__(self, recipe: Recipe) -> None:
        self.config = self.config_of(recipe)
        renders = load_shards(recipe.renders, "train", recipe.most_per_person)
        self.images, self.points = renders.images, renders.facts["points"]
        self.intensity, self.known = renders.facts["intensity"], renders.facts["known"]
        signs = np.where(self.known, np.where(self.intensity >= 1, 1, -1), 0)
        self.model: nn.Module = TwoViewNet(self.config, torch.from_numpy(adjacency(signs, normalized=True)))
        rare = (signs > 0).sum(0) / np.maximum((signs != 0).sum(0), 1)
        #: Rare AUs' positives count more, by the root of their rarity.
        self.positive_weight = torch.from_numpy(np.sqrt((1 - rare) / np.maximum(rare, 1e-3))).float().clamp(max=5)
        self.checks = self._check(load_shards(recipe.renders, "validation", recipe.options.get("checked", 100)))

    @staticmethod
    def config_of(recipe: Recipe) -> AuConfig:
        """The network that a recipe builds."""
        return AuConfig.from_dict({"aus": AUS, **recipe.model})

    def batch(self, rng: np.random.Generator, count: int) -> dict[str, Tensor]:
        """`count` aligned crops with graded labels."""
        size = self.config.size
        picks = rng.integers(len(self.images), size=count)
        crops = np.empty((count, size, size, 3), np.uint8)
        for row, pick in enumerate(picks):
            matrix = similarity(misplace(self.points[pick], rng)[None], size)[0]
            crop = degrade(warp(self.images[pick], nudge(matrix, size, rng), size), rng)
            crops[row] = crop[:, ::-1] if rng.random() < 0.5 else crop
        return {"pixels": pixels(crops), "intensity": torch.from_numpy(self.intensity[picks]),
                "known": torch.from_numpy(self.known[picks])}

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Masked, weighted cross-entropy of every grade, averaged over the views."""
        assert isinstance(model, TwoViewNet)
        logits = model(normalize(batch["pixels"])).unsqueeze(-1) - model.thresholds()
        reached = (batch["intensity"].unsqueeze(-1) >= torch.arange(1, GRADES + 1)).float().expand(2, -1, -1, -1)
        known = batch["known"].float().unsqueeze(-1)
        each = F.binary_cross_entropy_with_logits(
            logits, reached, reduction="none", pos_weight=self.positive_weight[:, None])
        grade_weight = torch.tensor([1.0, 0.5, 0.5, 0.4, 0.3])
        loss = (each * known * grade_weight).sum() / (2 * known.sum().clamp(min=1))
        return loss, {"loss": loss.item()}

    def _check(self, renders: Renders) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return crops_of(renders, self.config.size, seed=5), renders.facts["intensity"], renders.facts["known"]

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Mean AUC of presence, mean ICC of intensity, and each AU's AUC, on validation people."""
        assert isinstance(model, TwoViewNet)
        model.eval()
        crops, intensity, known = self.checks
        presence, expected = [], []
        for start in range(0, len(crops), 128):
            logits = model(normalize(pixels(crops[start:start + 128]))).unsqueeze(-1) - model.thresholds()
            grades = torch.sigmoid(logits).mean(0)
            presence.append(grades[..., 0])
            expected.append(grades.sum(-1))
        presence, expected = torch.cat(presence).numpy(), torch.cat(expected).numpy()
        areas = {f"AU{au:02d}": auc(intensity[known[:, i], i] >= 1, presence[known[:, i], i])
                 for i, au in enumerate(AUS)}
        iccs = [icc31(intensity[known[:, i], i], expected[known[:, i], i]) for i in range(len(AUS))]
        figures = {"auc": float(np.nanmean(list(areas.values()))), "icc": float(np.nanmean(iccs))}
        return {**figures, **areas, "score": figures["auc"] + 0.5 * figures["icc"]}


def crops_of(renders: Renders, size: int, seed: int) -> np.ndarray:
    """Aligned crops uint8 [N, S, S, 3] of rendered faces, from points with a landmark network's error."""
    rng = np.random.default_rng(seed)
    return np.stack([warp(image, similarity(misplace(points, rng)[None], size)[0], size)
                     for image, points in zip(renders.images, renders.facts["points"], strict=True)])


def misplace(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Points as a landmark network would have them: a common shift and a tremble of each."""
    eyes = np.linalg.norm(points[36] - points[45])
    return points + rng.normal(0, 0.012, 2) * eyes + rng.normal(0, 0.015, points.shape) * eyes


def nudge(matrix: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A crop transform, slightly turned, scaled and shifted about the crop's middle."""
    turn, scale = rng.normal(0, 0.06), np.exp(rng.normal(0, 0.05))
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    middle, shift = size / 2, rng.normal(0, 0.02, 2) * size
    rotation = np.array([[cosine, -sine], [sine, cosine]])
    moved = rotation @ matrix
    moved[:, 2] += middle - rotation @ np.full(2, middle) + shift
    return moved


def pixels(crops: np.ndarray) -> Tensor:
    """uint8 [N, S, S, 3] to float [N, 3, S, S] 0..255, channels last in memory."""
    return torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 3, 1, 2).float()
