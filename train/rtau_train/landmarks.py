"""Training the landmark network: exact points on renders, hand-placed points on portraits, and non-faces.

    rtau train train/recipes/landmarks.toml --run runs/landmarks renders=renders faces=rtau-data/faces \\
        data.validation=renders-validation

Options, in the recipe's table of that name:

    shares   of renders, portraits and non-faces in a batch
    hidden   how much a point counts that nothing shows of, against 1 for one that shows
    crops    of each picture, cut and altered by chance of their own; what counts in a step is `loop.batch` times that
    steady   how much it counts that the crops of a picture give the same points; 0 for not at all
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor, nn
from torch.nn import functional as F

from rtau.crop import apply, invert, region_matrix, warp
from rtau.errors import InputError, UsageError
from rtau.landmarks import fill_beyond, region_of_points
from rtau.model import LandmarkConfig, LandmarkNet
from rtau.pretrained import load_pretrained

from .batches import Batch, Share
from .config import Recipe
from .cutting import pixels
from .landmark_crops import NonFaces, mirrored, take_crop
from .landmark_faces import MarkedFaces, open_backgrounds, open_marked_portraits, open_marked_renders
from .losses import place
from .parts import digest
from .puppet.sensor import Sensor, sense

_OPTIONS: dict[str, Any] = {"shares": [0.62, 0.2, 0.18], "hidden": 0.3, "crops": 1, "steady": 0.0}
#: How much a point's error counts: eyes and mouth carry the AUs, the jaw line is vague.
_WEIGHT = np.ones(68, np.float32)
_WEIGHT[:17], _WEIGHT[36:68] = 0.5, 1.5
#: Unreadable pictures in a row that are passed over.
_TRIES = 20
#: Validation: renders looked at, crops of each portrait, stills, and looks at each still.
_RENDERS, _REPEATS, _STILLS, _LOOKS = 360, 8, 40, 6


def yaw_pitch_roll(rotation: np.ndarray) -> np.ndarray:
    """Angles [N, 3] (signs as in `rtau.types.Faces`) of head-to-camera rotations [N, 3, 3]; NaN where these are."""
    known = np.isfinite(rotation).all((1, 2))
    angles = np.full((len(rotation), 3), np.nan, np.float32)
    if known.any():
        angles[known] = Rotation.from_matrix(rotation[known]).as_euler("yxz")
    angles[:, 2] *= -1
    return angles


class LandmarkTask:
    """Batches, loss and validation of the landmark network.

    Args:
        recipe: `renders`, `faces`, `most_per_person`, `init`, `model`, `options` and `loop` count; validation renders
            lie in `data.validation`, where that is given, else among the others.

    Raises:
        RtauError: the recipe's renders or faces can't be read, or an option makes no sense.
        OSError: a portrait is missing.
    """

    charts: Mapping[str, Sequence[str]] = MappingProxyType({
        "loss": ("loss", "place", "there", "turn", "steady"),
        "figures": ("portraits_nme", "renders_nme", "altered_nme", "jitter"),
        "presence": ("portraits_found", "renders_found", "altered_found", "false_faces")})

    def __init__(self, recipe: Recipe) -> None:
        if recipe.renders is None or recipe.faces is None:
            raise UsageError("the landmark network needs renders and faces: give both folders in the recipe")
        self.options = _read_options(recipe.options)
        self.count, self.strict = recipe.loop.batch, recipe.loop.strict
        self.config = LandmarkConfig.from_dict(recipe.model)
        self.model: nn.Module = LandmarkNet(self.config)
        if recipe.init is not None:
            load_pretrained(self.model, recipe.init)
        self.renders = open_marked_renders(recipe.renders, "train", most_per_person=recipe.most_per_person)
        self.portraits = open_marked_portraits(recipe.faces, "train")
        self.pose = [yaw_pitch_roll(faces.rotation) for faces in (self.renders, self.portraits)]
        self.non_faces = NonFaces(open_backgrounds(recipe.faces), [self.renders, self.portraits], self.config.size)
        self.facts = {"task": "landmarks", "network": self.config.as_dict(), "options": self.options,
                      "init": None if recipe.init is None else str(recipe.init),
                      "data": {name: {"pictures": len(faces), "digest": digest(faces.points, faces.source)}
                               for name, faces in (("renders", self.renders), ("portraits", self.portraits))}}
        self._judged = (open_marked_portraits(recipe.faces, "validation"),
                        open_marked_renders(recipe.data.validation or recipe.renders, "validation"))
        self._backgrounds = open_backgrounds(recipe.faces, judging=True)
        self._checked: dict[str, list] | None = None

    # -- batches -----------------------------------------------------------------------------

    def batch(self, share: Share) -> Batch:
        """`crops` of each face with points in crop pixels, how much these count, presence, pose and the way back.

        `back` leads from the crop's pixels to the picture, in distances of the outer eye corners.
        """
        rows, size, crops = share.rows(self.count), self.config.size, self.options["crops"]
        shape = (len(rows), crops)
        tensors = {"pixels": np.empty((*shape, size, size, 3), np.uint8),
                   "points": np.zeros((*shape, 68, 2), np.float32), "counts": np.zeros((*shape, 68), np.float32),
                   "pose": np.zeros((*shape, 3), np.float32), "back": np.zeros((*shape, 2, 3), np.float32),
                   "face": np.zeros(shape, np.float32), "posed": np.zeros(shape, np.float32)}
        sources, failed = [], []
        for slot, row in enumerate(rows):
            rng = share.rng(row)
            kind = rng.choice(3, p=self.options["shares"])
            if kind == 2:
                for crop in tensors["pixels"][slot]:
                    crop[:] = self.non_faces(rng)
                sources.append("no face")
                continue
            faces, pose = (self.renders, self.portraits)[kind], self.pose[kind]
            pick, image = self._read(faces, rng, failed)
            sources.append(f"{('render', 'portrait')[kind]} {faces.source[pick]}")
            made = self._crops(image, faces, pick, pose[pick], rng)
            for name, values in made.items():
                tensors[name][slot] = values
        # A term's weight is what its mean is taken over.
        pairs = tensors["counts"].min(1).sum() if crops > 1 else 0.0
        return Batch({name: torch.from_numpy(value) for name, value in tensors.items()},
                     {"place": float(tensors["counts"].sum()), "there": float(tensors["face"].size),
                      "turn": float(tensors["posed"].sum()), "steady": float(pairs)}, tuple(sources), tuple(failed))

    def _read(self, faces: MarkedFaces, rng: np.random.Generator, failed: list[str]) -> tuple[int, np.ndarray]:
        """A face by chance that can be read, and its picture."""
        for _ in range(_TRIES):
            pick = int(rng.integers(len(faces)))
            try:
                return pick, faces.pictures[pick]
            except InputError:
                if self.strict:
                    raise
                failed.append(str(faces.source[pick]))
        raise InputError(f"{_TRIES} faces in a row can't be read, {failed[-1]} the last: look at the renders")

    def _crops(self, image: np.ndarray, faces: MarkedFaces, pick: int, pose: np.ndarray, rng: np.random.Generator
               ) -> dict[str, np.ndarray]:
        """The tensors of one face, `crops` of each."""
        points, shown = faces.points[pick], faces.shown[pick]
        if rng.random() < 0.5:
            image, points, shown = mirrored(image, points, shown)
            pose = pose * np.array([-1, 1, -1], np.float32)
        eyes = float(np.linalg.norm(points[36] - points[45]))
        taken = [take_crop(image, points, shown, self.config.size, rng) for _ in range(self.options["crops"])]
        known = bool(np.isfinite(pose).all())
        hidden = self.options["hidden"]
        return {"pixels": np.stack([crop.image for crop in taken]), "points": np.stack([crop.points for crop in taken]),
                "counts": np.stack([_WEIGHT * (hidden + (1 - hidden) * crop.shown) for crop in taken]),
                "back": np.stack([crop.back / eyes for crop in taken]), "face": np.ones(len(taken)),
                "posed": np.full(len(taken), known),
                "pose": np.stack([pose - np.array([0, 0, crop.roll]) if known else np.zeros(3) for crop in taken])}

    # -- loss --------------------------------------------------------------------------------

    def factors(self, step: int) -> dict[str, float]:
        """How much each term counts, the same at every step."""
        return {"place": 1.0, "there": 2.0, "turn": 4.0, "steady": float(self.options["steady"])}

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Point error in hundredths of the crop, presence cross-entropy, pose error, and how far the crops of a picture
        disagree about its points, in hundredths of the distance of the eyes."""
        shape = batch["face"].shape
        points, presence, pose = model(pixels(batch["pixels"].flatten(0, 1)))
        points = points.float().view(*shape, 68, 2)
        counts = batch["counts"]
        off = (place(points, batch["points"], self.config.size) * counts).sum() / counts.sum().clamp(min=1) / 2
        there = F.binary_cross_entropy_with_logits(presence.float(), batch["face"].flatten())
        turn = F.smooth_l1_loss(pose.float().view(*shape, 3), batch["pose"], reduction="none", beta=0.1).sum(-1)
        turn = (turn * batch["posed"]).sum() / batch["posed"].sum().clamp(min=1)
        return {"place": off, "there": there, "turn": turn, "steady": self._unsteady(points, batch)}

    def _unsteady(self, points: Tensor, batch: Batch) -> Tensor:
        if points.shape[1] < 2 or not self.options["steady"]:
            return points.new_zeros(())
        back, counts = batch["back"], batch["counts"].amin(1)
        seen = torch.einsum("ncij,nckj->ncki", back[..., :2], points) + back[..., None, :, 2]
        apart = (seen - seen.mean(1, keepdim=True)).abs().mean((1, 3))
        return 100 * (apart * counts).sum() / counts.sum().clamp(min=1)

    # -- validation --------------------------------------------------------------------------

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Mean point distance over the distance of the outer eye corners, pose error, presence, and jitter.

        "portraits" and "renders" are as they are, "altered" is both as in training; "jitter" is how far points tremble
        when a still is looked at again through another camera's noise from a hair's breadth away.
        """
        model.eval()
        if self._checked is None:
            self._checked = self._cut()
        device, figures = next(model.parameters()).device, {}
        for name, rows in self._checked.items():
            points, presence, pose = _run(model, [row[0] for row in rows], device)
            if name == "non_faces":
                figures["false_faces"] = float((presence > 0.5).mean())
                continue
            found = np.stack([apply(row[1], p) for row, p in zip(rows, points, strict=True)])
            truth, angles = np.stack([row[2] for row in rows]), np.stack([row[3] for row in rows])
            if name == "stills":
                looks = found.reshape(-1, _LOOKS, 68, 2)
                figures["jitter"] = float(np.mean([jitter(look, marks) for look, marks in
                                                   zip(looks, truth[::_LOOKS], strict=True)]))
                continue
            figures[f"{name}_nme"] = float(np.mean([*map(normalized_error, found, truth)]))
            figures[f"{name}_found"] = float((presence > 0.5).mean())
            if np.isfinite(angles).any():
                figures[f"{name}_degrees"] = float(np.degrees(np.nanmean(np.abs(pose - angles))))
        figures["score"] = -figures["portraits_nme"] - figures["renders_nme"] - 0.5 * figures["altered_nme"]
        return figures

    def _cut(self) -> dict[str, list]:
        """Crops to validate on, always the same: image, way back to the picture, points there, pose or NaN."""
        rng, size = np.random.default_rng(7), self.config.size
        portraits, renders = self._judged
        some = np.unique(np.linspace(0, len(renders) - 1, _RENDERS).round().astype(int))
        angles = yaw_pitch_roll(renders.rotation)
        each = [(portraits.pictures[i], portraits.points[i], portraits.shown[i], np.full(3, np.nan))
                for i in range(len(portraits))]
        drawn = [(renders.pictures[i], renders.points[i], renders.shown[i], angles[i]) for i in some]

        def plainly(image, points, spread: float, turn: np.ndarray, noise: bool = False) -> tuple:
            region = region_of_points(points).astype(np.float64)
            region[:2] += rng.normal(0, spread, 2) * region[2]
            region[2] *= np.exp(rng.normal(0, 1.5 * spread))
            region[3] += rng.normal(0, 2 * spread)
            matrix = region_matrix(region, size)
            crop = warp(image, matrix, size)
            crop = sense(crop, STILL_CAMERA, rng) if noise else crop
            fill_beyond(crop, matrix, image.shape[:2])
            return crop, invert(matrix), points, turn - [0, 0, region[3]]

        def altered(image, points, shown, turn: np.ndarray) -> tuple:
            crop = take_crop(image, points, shown, size, rng)
            return crop.image, crop.back, points, turn - [0, 0, crop.roll]

        stills = [*each, *drawn[::max(len(drawn) // _STILLS, 1)]]
        non_faces = NonFaces(self._backgrounds, list(self._judged), size)
        return {"portraits": [plainly(row[0], row[1], 0.04, row[3]) for row in each for _ in range(_REPEATS)],
                "renders": [plainly(row[0], row[1], 0.04, row[3]) for row in drawn],
                "altered": [altered(*row) for row in [*each * (_REPEATS // 2), *drawn]],
                "stills": [plainly(row[0], row[1], 0.005, row[3], noise=True) for row in stills
                           for _ in range(_LOOKS)],
                "non_faces": [(non_faces(rng),) for _ in range(256)]}


#: A webcam in a room, which looks at a face that keeps still.
STILL_CAMERA = Sensor("still", photons=1500.0, read=3.0, mosaic=True, denoise=3.0)


def normalized_error(found: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance of 68 points over the distance of the outer eye corners."""
    return float(np.linalg.norm(found - truth, axis=1).mean() / np.linalg.norm(truth[36] - truth[45]))


def jitter(looks: np.ndarray, truth: np.ndarray) -> float:
    """Root mean square distance of points [L, 68, 2] from their mean over the looks, over that of the outer eye corners
    in `truth` [68, 2]."""
    square = ((looks - looks.mean(0)) ** 2).sum(-1).sum(0) / (len(looks) - 1)
    return float(np.sqrt(square.mean()) / np.linalg.norm(truth[36] - truth[45]))


def _run(model: nn.Module, crops: list[np.ndarray], device: torch.device) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, presence 0..1 and pose of crops."""
    outputs = [model(pixels(np.stack(crops[start:start + 64])).to(device)) for start in range(0, len(crops), 64)]
    points, presence, pose = (torch.cat(parts).float().cpu() for parts in zip(*outputs, strict=True))
    return points.numpy(), torch.sigmoid(presence).numpy(), pose.numpy()


def _read_options(given: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(given) - set(_OPTIONS))
    if unknown:
        raise UsageError(f"unknown options {', '.join(unknown)}; known are {', '.join(_OPTIONS)}")
    options = {**_OPTIONS, **given}
    shares = options["shares"]
    if not (isinstance(shares, list) and len(shares) == 3 and all(isinstance(s, (int, float)) and s >= 0 for s in shares)
            and math.isclose(sum(shares), 1)):
        raise UsageError(f"options.shares is {shares}, expected three shares that add up to 1: renders, portraits, "
                         "non-faces")
    for name, good, wanted in (("hidden", lambda v: 0 <= v <= 1, "from 0 to 1"),
                               ("crops", lambda v: v >= 1 and v == int(v), "a whole number from 1 on"),
                               ("steady", lambda v: v >= 0, "at least 0")):
        value = options[name]
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not good(value):
            raise UsageError(f"options.{name} is {value}, expected {wanted}")
    if options["steady"] and options["crops"] < 2:
        raise UsageError("options.steady compares the crops of a picture: give options.crops=2, or steady=0")
    return options
