"""Pre-training an AU network's backbone without any AU label: where the 68 points of a face lie.

The method wants views that know something before they teach each other. Where no ImageNet weights may be used, the
points that every aligned face has are a task at hand, and its faces may be unlabeled ones.

    rtau train train/recipes/points.toml --run runs/points renders=renders data.unlabeled=photos
    rtau train train/recipes/mlcr.toml --run runs/mlcr renders=renders pretrained=runs/points/best.pt
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtau.errors import UsageError
from rtau.model import AuConfig, normalize
from rtau.view import open_view

from .batches import Batch, Share
from .config import Recipe
from .cutting import cut, pixels
from .data.faces import FaceSet
from .drawing import draw, readable
from .parts import Parts, open_parts

#: A point's error up to this counts by its square, beyond it plainly: a 64th of the crop's side.
_BEND = 1 / 64


class PointsNet(nn.Module):
    """One view of an AU network, with 68 points in place of AUs.

    Args:
        config: of the AU network; the view's build is taken from it.

    Attributes:
        view: its `backbone` is what the AU network's views begin with.
    """

    def __init__(self, config: AuConfig) -> None:
        super().__init__()
        self.view = open_view(config.backbone, size=config.size, width=config.width, blocks=config.blocks,
                              features=config.features, dropout=config.dropout)
        self.place = nn.Linear(self.view.width, 2 * 68)
        with torch.no_grad():
            # It begins by saying "in the middle", so that the first steps don't shake the backbone.
            self.place.weight.mul_(0.1)
            self.place.bias.fill_(0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Points [N, 68, 2] of normalized crops [N, 3, S, S], in sides of the crop: 0 and 1 are its edges."""
        return self.place(self.view(x)).view(-1, 68, 2)


class PointsTask:
    """Batches, loss and validation of the pre-training.

    Args:
        recipe: `data`, `augment`, `model` and `loop` count. `augment.nudge` must not be 0: all faces would lie alike,
            and there would be little to learn.
        parts: the faces; by default those that the recipe names. Labels play no part.

    Raises:
        RtauError: they can't be read, or don't fit the recipe.
    """

    charts = {"loss": ("loss", "place"), "figures": ("nme",)}

    def __init__(self, recipe: Recipe, parts: Parts[FaceSet] | None = None) -> None:
        parts = parts or open_parts(recipe)
        if recipe.augment.nudge == 0:
            raise UsageError("augment.nudge is 0, so all faces lie alike and there is nothing to learn: give 1 or more")
        self.recipe = recipe
        self.config = AuConfig.from_dict({**recipe.model, "names": parts.labeled.names})
        self.faces = parts.labeled.without_labels()
        if parts.unlabeled is not None:
            self.faces = FaceSet.join([self.faces, parts.unlabeled.select(self.faces.names)])
        self.validation = parts.validation
        self.model: nn.Module = PointsNet(self.config)
        self.facts = {"task": "points", "network": self.config.as_dict(), "data": parts.facts(),
                      "augment": recipe.as_dict()["augment"]}
        self._checked: tuple[np.ndarray, np.ndarray] | None = None

    def batch(self, share: Share) -> Batch:
        """Aligned crops, and where their points lie in sides of the crop."""
        size = self.config.size
        drawn, failed = draw(self.faces, share, self.recipe.loop.batch, strict=self.recipe.loop.strict)
        crops, places = np.empty((len(drawn), size, size, 3), np.uint8), np.empty((len(drawn), 68, 2), np.float32)
        for place, (pick, image, rng) in enumerate(drawn):
            crop = cut(image, self.faces.points[pick], size, rng, self.recipe.augment)
            crops[place], places[place] = crop.image, _shares(crop.points, size)
        return Batch({"pixels": torch.from_numpy(crops), "points": torch.from_numpy(places)},
                     {"place": float(len(drawn))}, tuple(str(self.faces.source[face.pick]) for face in drawn),
                     tuple(failed), tuple(share.rows(self.recipe.loop.batch)))

    def factors(self, step: int) -> dict[str, float]:
        """One term, the same at every step."""
        return {"place": 1.0}

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Mean error of the coordinates in hundredths of the crop's side, by its square where it is small."""
        found = model(normalize(pixels(batch["pixels"]))).float()
        return {"place": 100 * F.smooth_l1_loss(found, batch["points"], beta=_BEND)}

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """"nme", the mean distance of the points over that of the outer eye corners; "score" is less it."""
        model.eval()
        if self._checked is None:
            self._checked = self._cut()
        crops, places = self._checked
        device = next(model.parameters()).device
        found = torch.cat([model(normalize(pixels(torch.from_numpy(crops[i:i + 128]).to(device)))).cpu()
                           for i in range(0, len(crops), 128)]).numpy()
        eyes = np.linalg.norm(places[:, 36] - places[:, 45], axis=1)
        nme = float((np.linalg.norm(found - places, axis=2).mean(1) / eyes).mean())
        return {"nme": nme, "score": -nme}

    def _cut(self) -> tuple[np.ndarray, np.ndarray]:
        """Crops of the validation faces that can be read, turned and shifted but not altered, and their points."""
        size, settings = self.config.size, replace(self.recipe.augment, degrade=0.0)
        found = [cut(image, self.validation.points[row], size, np.random.default_rng(row), settings)
                 for row, image in readable(self.validation, strict=self.recipe.loop.strict)]
        return np.stack([crop.image for crop in found]), np.stack([_shares(crop.points, size) for crop in found])


def _shares(points: np.ndarray, size: int) -> np.ndarray:
    """Points in pixels, whose centres are integers, as shares of the crop's side."""
    return ((points + 0.5) / size).astype(np.float32)
