"""What cameras, rooms and codecs do to a face: one picture in, one worse picture out."""

from __future__ import annotations

import cv2
import numpy as np


def degrade(image: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Light, colour, occlusion, blur, low resolution, noise and JPEG, each with some chance.

    Args:
        image: uint8 [S, S, 3], RGB; not changed.
        rng: the source of chance.
        strength: 0..1, scales how often and how far.
    """
    out = _light(image, rng, strength)
    if rng.random() < 0.25 * strength:
        _occlude(out, rng)
    if rng.random() < 0.5 * strength:
        out = _soften(out, rng)
    if rng.random() < 0.4 * strength:
        noise = rng.normal(0, rng.uniform(1, 12), (*out.shape[:2], 1 if rng.random() < 0.5 else 3)).astype(np.float32)
        out = np.clip(out + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.4 * strength:
        quality = int(rng.integers(25, 90))
        out = cv2.imdecode(cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    return out


def _light(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    ramp = np.linspace(0, 1, 256)
    gamma = np.exp(rng.normal(0, 0.3 * strength))
    gain = 1 + rng.normal(0, 0.08 * strength, 3)
    contrast, shift = 1 + rng.normal(0, 0.18 * strength), rng.normal(0, 0.06 * strength)
    table = ((ramp[:, None] ** gamma - 0.5) * contrast + 0.5) * gain + shift
    out = cv2.LUT(image, np.clip(table * 255, 0, 255).astype(np.uint8)[None])
    if rng.random() < 0.5 * strength:
        grey = cv2.cvtColor(cv2.cvtColor(out, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        keep = 0.0 if rng.random() < 0.3 else rng.uniform(0.3, 1.4)
        out = cv2.addWeighted(out, keep, grey, 1 - keep, 0)
    if rng.random() < 0.3 * strength:  # a shadow or a lamp from one side
        side = image.shape[0]
        angle, depth = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.6)
        y, x = np.mgrid[0:side, 0:side] / side - 0.5
        slope = 1 / (1 + np.exp(-rng.uniform(4, 16) * (x * np.cos(angle) + y * np.sin(angle) + rng.uniform(-0.3, 0.3))))
        out = (out * (1 - depth * slope)[..., None]).astype(np.uint8)
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


def _soften(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    side = image.shape[0]
    kind = rng.random()
    if kind < 0.35:
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.8))
    if kind < 0.8:  # a small face, enlarged
        small = max(int(side * rng.uniform(0.25, 0.8)), 8)
        way = cv2.INTER_AREA if rng.random() < 0.7 else cv2.INTER_LINEAR
        return cv2.resize(cv2.resize(image, (small, small), interpolation=way), (side, side),
                          interpolation=cv2.INTER_LINEAR)
    length = int(rng.integers(3, 9))  # motion
    kernel = np.zeros((length, length), np.float32)
    angle = rng.uniform(0, np.pi)
    middle = (length - 1) / 2
    ends = [(int(round(middle + d * middle * np.cos(angle))), int(round(middle + d * middle * np.sin(angle))))
            for d in (-1, 1)]
    cv2.line(kernel, *ends, 1.0)
    return cv2.filter2D(image, -1, kernel / kernel.sum())
