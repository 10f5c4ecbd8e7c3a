"""How far a file's outputs lie from those of the checkpoint that it was made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from rtau.errors import RtauError
from rtau.finder import FinderNet
from rtau.model import DeployedAuNet, LandmarkNet, TwoViewNet, normalize

from ..cutting import pixels
from .reading import agreed_logits, read

#: Within these chances a float32 probability tells its logit.
_TOLD = 1e-3, 1 - 1e-3

#: A file, opened: outputs by name of uint8 crops [N, S, S, 3], RGB. "logits" [V, N, C] are the views' scores.
Outputs = dict[str, np.ndarray]
Opened = Callable[[np.ndarray], Outputs]


@dataclass(frozen=True)
class Drift:
    """The largest differences.

    Attributes:
        values: by output: "logits", "presence" (0..1), "intensity" (0..5) and "sight" (0..1) of an AU network; "points" (crop pixels),
            "presence" (a logit) and "pose" (radians) of a landmark network; "scores" (logits), "boxes" and "points"
            (strides) of a detector. Logits are those of the views where the
            file tells them, in shares of what is larger than 1; else of presence where it is neither near 0 nor near 1.
        allowed: the tolerance of each.
        faces: on how many faces.
    """

    values: Mapping[str, float]
    allowed: Mapping[str, float]
    faces: int

    @property
    def broken(self) -> tuple[str, ...]:
        """Outputs that differ by more than is allowed, or are no numbers."""
        return tuple(name for name, value in self.values.items() if not value <= self.allowed[name])

    def __str__(self) -> str:
        told = ", ".join(f"{name} {value:.2g} (allowed {self.allowed[name]:g})" for name, value in self.values.items())
        return f"largest drift on {self.faces} faces: {told}"


class DriftError(RtauError):
    """A file does not do what its checkpoint does."""


def measure(opened: Opened, trained: TwoViewNet | LandmarkNet | FinderNet,
            deployed: DeployedAuNet | LandmarkNet | FinderNet, crops: np.ndarray, allowed: Mapping[str, float]) -> Drift:
    """Run a file and its checkpoint on the same faces, one alone and then the others together.

    Args:
        opened: the file.
        trained: the checkpoint's network, unfolded, in evaluation mode.
        deployed: only its calibration is taken, which the checkpoint has none of.
        crops: uint8 [N, S, S, 3], RGB.
        allowed: tolerance of each output.
    """
    batches = [part for part in (crops[:1], crops[1:]) if len(part)]
    each = [_differences(_expected(trained, deployed, part), opened(part)) for part in batches]
    # np.max keeps a NaN, which max might not.
    values = {name: float(np.max([found[name] for found in each if name in found]))
              for name in dict.fromkeys(key for found in each for key in found)}
    return Drift(values, {name: allowed[name] for name in values}, len(crops))


@torch.no_grad()
def _expected(trained: TwoViewNet | LandmarkNet | FinderNet, deployed: DeployedAuNet | LandmarkNet | FinderNet,
              crops: np.ndarray) -> Outputs:
    if not isinstance(trained, TwoViewNet):
        names = ("scores", "boxes", "points") if isinstance(trained, FinderNet) else ("points", "presence", "pose")
        return dict(zip(names, (o.numpy() for o in trained(pixels(crops))), strict=True))
    assert isinstance(deployed, DeployedAuNet)
    reading = trained.read(normalize(pixels(crops)))
    scores, shows = reading.scores.numpy(), reading.sight
    presence, intensity = read(agreed_logits(scores, trained.thresholds().numpy()), deployed.calibration.numpy())
    return ({"logits": scores, "presence": presence} | ({"intensity": intensity} if trained.config.grades > 1 else {})
            | ({} if shows is None else {"sight": torch.sigmoid(shows).numpy()}))


def _differences(wanted: Outputs, found: Outputs) -> dict[str, float]:
    values = {}
    for name, value in wanted.items():
        if name in found:
            unit = np.maximum(np.abs(value), 1) if name == "logits" else 1.0
            values[name] = float((np.abs(found[name].astype(np.float64) - value) / unit).max())
        elif name == "logits":
            low, high = _TOLD
            told = (wanted["presence"] > low) & (wanted["presence"] < high)
            if told.any():
                values[name] = float(np.abs(_logit(found["presence"]) - _logit(wanted["presence"]))[told].max())
    return values


def _logit(chance: np.ndarray) -> np.ndarray:
    chance = np.clip(chance.astype(np.float64), 1e-9, 1 - 1e-9)
    return np.log(chance) - np.log1p(-chance)
