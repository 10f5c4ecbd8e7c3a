"""Training the landmark network: hand-placed points on portraits, exact points on renders, and non-faces."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor, nn
from torch.nn import functional as F

from rtau.crop import apply, invert, region_matrix, warp
from rtau.errors import UsageError
from rtau.landmarks import region_of_points
from rtau.model import LandmarkConfig, LandmarkNet

from .batches import Batch, Share
from .config import Recipe
from .cutting import mirror, pixels
from .data.augment import degrade
from .data.portraits import load_portraits, read_rgb
from .data.shards import load_shards
from .parts import digest

#: How much a point's error counts: eyes and mouth carry the AUs, the jaw line is vague.
_WEIGHT = np.ones(68, np.float32)
_WEIGHT[:17], _WEIGHT[36:68] = 0.5, 1.5


def yaw_pitch_roll(rotation: np.ndarray) -> np.ndarray:
    """Angles [N, 3] (signs as in `rtau.types.Faces`) of head-to-camera rotations [N, 3, 3]."""
    angles = Rotation.from_matrix(rotation).as_euler("yxz")
    angles[:, 2] *= -1
    return angles.astype(np.float32)


class LandmarkTask:
    """Batches, loss and validation of the landmark network.

    Raises:
        RtauError: the recipe's renders or faces can't be read.
    """

    charts = {"loss": ("loss", "place", "there", "turn"), "figures": ("portraits_nme", "renders_nme"),
              "presence": ("portraits_found", "renders_found", "false_faces")}

    def __init__(self, recipe: Recipe) -> None:
        if recipe.renders is None or recipe.faces is None:
            raise UsageError("the landmark network needs renders and faces: give both folders in the recipe")
        if set(recipe.options) - {"shares"}:
            raise UsageError(f"unknown options {', '.join(sorted(set(recipe.options) - {'shares'}))}; known is shares")
        self.count = recipe.loop.batch
        self.config = LandmarkConfig.from_dict(recipe.model)
        self.model: nn.Module = LandmarkNet(self.config)
        renders = load_shards(recipe.renders, "train", recipe.most_per_person)
        self.images, self.points = renders.images, renders.facts["points"]
        self.pose = yaw_pitch_roll(renders.facts["rotation"])
        self.portraits = load_portraits(recipe.faces, "train")
        self.backgrounds = [read_rgb(f) for f in sorted((recipe.faces / "backgrounds_rainbow").glob("*.jpg"))]
        self.shares = recipe.options.get("shares", [0.62, 0.2, 0.18])  # renders, portraits, non-faces
        self.facts = {"task": "landmarks", "network": self.config.as_dict(), "options": dict(recipe.options),
                      "data": {"renders": {"pictures": len(renders), "digest": digest(renders.facts["points"])},
                               "portraits": {"pictures": len(self.portraits[0]),
                                             "digest": digest(np.array(self.portraits[1]))}}}
        self.checks = {"portraits": self._portrait_check(recipe), "renders": self._render_check(recipe)}

    # -- batches -----------------------------------------------------------------------------

    def batch(self, share: Share) -> Batch:
        """Crops with points in crop pixels, presence, pose, and which of them are known."""
        rows, size = share.rows(self.count), self.config.size
        crops = np.empty((len(rows), size, size, 3), np.uint8)
        points = np.zeros((len(rows), 68, 2), np.float32)
        pose = np.zeros((len(rows), 3), np.float32)
        face, posed = np.zeros(len(rows), np.float32), np.zeros(len(rows), np.float32)
        sources = []
        for place, row in enumerate(rows):
            rng = share.rng(row)
            kind = rng.choice(3, p=self.shares)
            if kind == 2:
                crops[place] = self._non_face(rng)
                sources.append("no face")
                continue
            face[place] = 1
            if kind == 0:
                pick = int(rng.integers(len(self.images)))
                image, marks, angles = self.images[pick], self.points[pick], self.pose[pick]
                posed[place] = 1
            else:
                pick = int(rng.integers(len(self.portraits[0])))
                image, marks, angles = self.portraits[0][pick], self.portraits[1][pick], np.zeros(3, np.float32)
            sources.append(f"{('render', 'portrait')[kind]} {pick}")
            region = _jitter(region_of_points(marks), rng)
            matrix = region_matrix(region, size)
            crop, placed = degrade(warp(image, matrix, size), rng), apply(matrix, marks)
            angles = angles - np.array([0, 0, region[3]], np.float32)
            if rng.random() < 0.5:
                crop, placed = mirror(crop, placed)
                angles = angles * np.array([-1, 1, -1], np.float32)
            crops[place], points[place], pose[place] = crop, placed, angles
        tensors = {"pixels": crops, "points": points, "pose": pose, "face": face, "posed": posed}
        return Batch({name: torch.from_numpy(value) for name, value in tensors.items()},
                     {"place": float(face.sum()), "there": float(len(rows)), "turn": float(posed.sum())},
                     tuple(sources))

    def _non_face(self, rng: np.random.Generator) -> np.ndarray:
        """A crop that shows no face, or one so far off that tracking it would be wrong."""
        size, kind = self.config.size, rng.random()
        if kind < 0.35:
            image = self.backgrounds[rng.integers(len(self.backgrounds))]
            h, w = image.shape[:2]
            region = np.array([rng.uniform(0, w), rng.uniform(0, h), rng.uniform(40, min(h, w)), rng.uniform(-3, 3)])
        elif kind < 0.9:
            if rng.random() < 0.5:
                pick = int(rng.integers(len(self.portraits[0])))
                image, marks = self.portraits[0][pick], self.portraits[1][pick]
            else:
                pick = int(rng.integers(len(self.images)))
                image, marks = self.images[pick], self.points[pick]
            region = region_of_points(marks)
            side = region[2]
            kind = rng.random()
            if kind < 0.5:  # beside the face: neck, hair, clothes, half a face
                angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.62, 1.1) * side
                region[:2] += far * np.array([np.cos(angle), np.sin(angle)])
                region[2] *= rng.uniform(0.5, 1.1)
            elif kind < 0.8:  # a piece of skin
                region[:2] += rng.uniform(-0.3, 0.3, 2) * side
                region[2] *= rng.uniform(0.1, 0.33)
            else:  # the face is small within
                region[:2] += rng.uniform(-0.5, 0.5, 2) * side
                region[2] *= rng.uniform(2.4, 4.0)
            region[3] = rng.uniform(-3, 3) if rng.random() < 0.3 else rng.uniform(-0.5, 0.5)
        else:
            noise = rng.integers(0, 256, (rng.integers(2, 24), rng.integers(2, 24), 3)).astype(np.uint8)
            return degrade(warp(noise, region_matrix((noise.shape[1] / 2, noise.shape[0] / 2, min(noise.shape[:2]), 0),
                                                     size), size), rng)
        return degrade(warp(image, region_matrix(region, size), size), rng)

    # -- loss --------------------------------------------------------------------------------

    def factors(self, step: int) -> dict[str, float]:
        """How much each term counts, the same at every step."""
        return {"place": 1.0, "there": 2.0, "turn": 4.0}

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Point error in hundredths of the crop, presence cross-entropy, pose error."""
        points, presence, pose = model(pixels(batch["pixels"]))
        error = (points.float() - batch["points"]).abs() * (100 / self.config.size)
        # Linear far off, logarithmic close by: small errors keep a pull (wing loss, Feng et al., 2018).
        wing = torch.where(error < 8, 8 * torch.log1p(error / 2), error - 8 + 8 * np.log1p(4.0))
        weight = torch.from_numpy(_WEIGHT).to(error.device)[None, :, None] * batch["face"][:, None, None]
        place = (wing * weight).sum() / weight.sum().clamp(min=1) / 2
        there = F.binary_cross_entropy_with_logits(presence.float(), batch["face"])
        turn = F.smooth_l1_loss(pose.float(), batch["pose"], reduction="none", beta=0.1).sum(1) * batch["posed"]
        return {"place": place, "there": there, "turn": turn.sum() / batch["posed"].sum().clamp(min=1)}

    # -- validation --------------------------------------------------------------------------

    def _portrait_check(self, recipe: Recipe):
        images, points, _ = load_portraits(recipe.faces, "validation")
        return self._fixed_crops(images, points, None, repeats=8)

    def _render_check(self, recipe: Recipe):
        renders = load_shards(recipe.renders, "validation", 30)
        return self._fixed_crops(list(renders.images), list(renders.facts["points"]),
                                 yaw_pitch_roll(renders.facts["rotation"]), repeats=1)

    def _fixed_crops(self, images, points, pose, repeats: int):
        rng, size, rows = np.random.default_rng(7), self.config.size, []
        for i, (image, marks) in enumerate(zip(images, points, strict=True)):
            for _ in range(repeats):
                region = region_of_points(marks)
                region[:2] += rng.normal(0, 0.04, 2) * region[2]
                region[2] *= np.exp(rng.normal(0, 0.06))
                region[3] += rng.normal(0, 0.08)
                matrix = region_matrix(region, size)
                angles = pose[i] - [0, 0, region[3]] if pose is not None else np.full(3, np.nan)
                rows.append((warp(image, matrix, size), matrix, marks, angles))
        return rows

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Mean point distance over inter-ocular distance (outer eye corners), pose error, presence."""
        model.eval()
        device, figures = next(model.parameters()).device, {}
        for name, rows in self.checks.items():
            errors, turns, presences = [], [], []
            for start in range(0, len(rows), 64):
                part = rows[start:start + 64]
                points, presence, pose = (o.cpu() for o in model(pixels(np.stack([r[0] for r in part])).to(device)))
                presences += torch.sigmoid(presence).tolist()
                for found, angles, (_, matrix, marks, truth) in zip(points.numpy(), pose.numpy(), part, strict=True):
                    errors.append(normalized_error(apply(invert(matrix), found), marks))
                    turns.append(np.abs(angles - truth))
            figures[f"{name}_nme"] = float(np.mean(errors))
            figures[f"{name}_found"] = float(np.mean(np.array(presences) > 0.5))
            if not np.isnan(turns[0]).any():
                figures[f"{name}_degrees"] = float(np.degrees(np.mean(turns)))
        rng = np.random.default_rng(3)
        _, presence, _ = model(pixels(np.stack([self._non_face(rng) for _ in range(256)])).to(device))
        figures["false_faces"] = float((torch.sigmoid(presence) > 0.5).float().mean())
        figures["score"] = -figures["portraits_nme"] - figures["renders_nme"]
        return figures


def normalized_error(found: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance of 68 points over the distance of the outer eye corners."""
    return float(np.linalg.norm(found - truth, axis=1).mean() / np.linalg.norm(truth[36] - truth[45]))


def _jitter(region: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a tracker or a detector hands over instead of the perfect region."""
    region = region.astype(np.float64)
    if rng.random() < 0.5:  # tracked
        region[:2] += rng.normal(0, 0.05, 2) * region[2]
        region[2] *= np.exp(rng.normal(0, 0.08))
        region[3] += rng.normal(0, 0.12)
    else:  # detected: level, loose
        region[:2] += rng.normal(0, 0.08, 2) * region[2]
        region[2] *= np.exp(rng.uniform(-0.25, 0.35))
        region[3] += rng.normal(0, 0.35)
    return region

