"""What cameras, rooms and codecs do to a face: one picture in, one worse picture out."""

from __future__ import annotations

import cv2
import numpy as np

from ..puppet.sensor import Sensor, sense

_RAMP = np.linspace(0, 1, 256)[:, None]


def degrade(image: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Light, colour, occlusion, blur, low resolution, noise and JPEG, each with some chance.

    Args:
        image: uint8 [S, S, 3], RGB; not changed.
        rng: the source of chance.
        strength: 0..1, scales how often and how far.
    """
    return degrade_telling(image, rng, strength)[0]


def degrade_telling(image: np.ndarray, rng: np.random.Generator, strength: float = 1.0
                    ) -> tuple[np.ndarray, np.ndarray | None]:
    """The same, and bool [S, S] where something was drawn over the picture; None for nowhere."""
    out, covered = _light(image, rng, strength), None
    if rng.random() < 0.25 * strength:
        before = out.copy()
        _occlude(out, rng)
        covered = (out != before).any(2)
    return sense(out, _draw_camera(rng, strength), rng), covered


def _draw_camera(rng: np.random.Generator, strength: float) -> Sensor:
    """A camera with few faults at a time: softness, noise and compression, each with some chance."""
    faults: dict = {}
    if rng.random() < 0.5 * strength:
        kind = rng.random()
        if kind < 0.35:
            faults["defocus"] = rng.uniform(0.4, 1.8)
        elif kind < 0.8:  # a small face, enlarged
            faults["scale"] = rng.uniform(0.25, 0.8)
        else:
            faults["motion"] = (rng.uniform(0, np.pi), rng.uniform(2, 8))
    if rng.random() < 0.4 * strength:
        faults |= {"photons": np.exp(rng.uniform(np.log(80), np.log(6000))), "read": rng.uniform(1, 5), "mosaic": True}
        if rng.random() < 0.5:
            faults["denoise"] = rng.uniform(1, 8)
    if rng.random() < 0.15 * strength:
        faults["sharpen"] = rng.uniform(0.2, 1.2)
    if rng.random() < 0.4 * strength:
        faults |= {"codec": "jpeg" if rng.random() < 0.6 else "video", "quality": int(rng.integers(25, 90))}
    return Sensor(**faults)


def _light(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    gamma = np.exp(rng.normal(0, 0.3 * strength))
    gain = 1 + rng.normal(0, 0.08 * strength, 3)
    contrast, shift = 1 + rng.normal(0, 0.18 * strength), rng.normal(0, 0.06 * strength)
    table = ((_RAMP ** gamma - 0.5) * contrast + 0.5) * gain + shift
    out = cv2.LUT(image, np.clip(table * 255, 0, 255).astype(np.uint8)[None])
    if rng.random() < 0.5 * strength:
        grey = cv2.cvtColor(cv2.cvtColor(out, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        keep = 0.0 if rng.random() < 0.3 else rng.uniform(0.3, 1.4)
        out = cv2.addWeighted(out, keep, grey, 1 - keep, 0)
    if rng.random() < 0.3 * strength:  # a shadow or a lamp from one side
        side = image.shape[0]
        angle, depth = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.6)
        steep, shift = rng.uniform(4, 16), rng.uniform(-0.3, 0.3)
        across = (np.arange(side, dtype=np.float32) / side - 0.5) * np.float32(steep)
        slope = 1 / (1 + np.exp(-np.add.outer(across * np.sin(angle), across * np.cos(angle) + steep * shift)))
        shade = (1 - depth * slope).astype(np.float32)
        out = cv2.multiply(out, cv2.merge([shade] * 3), dtype=cv2.CV_8U)
    return out


def _occlude(image: np.ndarray, rng: np.random.Generator) -> None:
    """Draw on the picture: a bar, an ellipse (hand, hair, microphone) or spectacle frames."""
    side = image.shape[0]
    kind = rng.random()
    colour = tuple(int(v) for v in rng.integers(0, 256, 3))
    if kind < 0.35:
        h, w = rng.integers(side // 10, side // 3, 2)
        y, x = rng.integers(0, side - h), rng.integers(0, side - w)
        image[y:y + h, x:x + w] = rng.integers(0, 256, 3) if rng.random() < 0.6 else rng.integers(0, 256, (h, w, 3))
    elif kind < 0.7:
        skin = tuple(int(v) for v in image[side // 2, side // 3] * rng.uniform(0.6, 1.1))
        axes = (int(rng.uniform(0.06, 0.22) * side), int(rng.uniform(0.1, 0.4) * side))
        centre = (int(rng.uniform(0, 1) * side), int(rng.uniform(0.2, 1.1) * side))
        cv2.ellipse(image, centre, axes, float(rng.uniform(0, 180)), 0, 360,
                    skin if rng.random() < 0.6 else colour, -1, cv2.LINE_AA)
    else:
        dark = tuple(int(v) for v in rng.integers(0, 90, 3))
        thick, radius = int(rng.integers(1, max(side // 28, 2))), int(rng.uniform(0.10, 0.15) * side)
        y = int(rng.uniform(0.25, 0.42) * side)
        for x in (0.32, 0.68):
            cv2.ellipse(image, (int(x * side), y), (radius, int(radius * rng.uniform(0.6, 1))), 0, 0, 360, dark, thick,
                        cv2.LINE_AA)
        cv2.line(image, (int(0.32 * side) + radius, y), (int(0.68 * side) - radius, y), dark, thick, cv2.LINE_AA)
