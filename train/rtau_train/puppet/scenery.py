"""What surrounds a performance in one picture: pose, camera, light and background, drawn by chance."""

from __future__ import annotations

import cv2
import numpy as np

from .scene import Lamp, Light

#: Radians.
MOST_YAW, MOST_PITCH, MOST_ROLL = np.radians([35, 25, 30])
_SMALL = 256  # side of the backgrounds: they are out of focus anyway


def draw_pose(rng: np.random.Generator) -> tuple[float, float, float]:
    """Yaw, pitch, roll in radians: mostly near frontal, some far turned."""
    if rng.random() < 0.2:
        yaw = rng.uniform(-MOST_YAW, MOST_YAW)
    else:
        yaw = rng.normal(0, np.radians(12))
    pitch, roll = rng.normal(0, np.radians(8)), rng.normal(0, np.radians(6))
    return (float(np.clip(yaw, -MOST_YAW, MOST_YAW)), float(np.clip(pitch, -MOST_PITCH, MOST_PITCH)),
            float(np.clip(roll, -MOST_ROLL, MOST_ROLL)))


def draw_framing(rng: np.random.Generator) -> tuple[float, float, tuple[float, float]]:
    """Height of the face as a share of the picture, distance of the camera in cm, shift of the face."""
    face = rng.uniform(0.36, 0.62)
    return float(face), float(np.exp(rng.uniform(np.log(38), np.log(160)))), (float(rng.normal(0, 0.03)),
                                                                           float(rng.normal(0, 0.03)))


def draw_light(rng: np.random.Generator) -> Light:
    """The portrait's own light, or one to three lamps; some rooms are dark, some lamps coloured."""
    exposure = float(np.exp(rng.normal(0, 0.12)))
    tint = tuple(float(v) for v in np.clip(1 + rng.normal(0, 0.025, 3), 0.9, 1.1))
    kind = rng.random()
    if kind < 0.3:
        return Light(exposure=exposure, tint=tint)
    lamps = []
    budget = rng.uniform(0.15, 0.75)
    count = 1 if kind < 0.65 else 2 if kind < 0.93 else 3
    for share in rng.dirichlet(np.full(count, 2.0)):
        lamps.append(Lamp(float(rng.uniform(-95, 95)), float(rng.uniform(-25, 65)), float(1.15 * budget * share),
                          _lamp_colour(rng)))
    if rng.random() < 0.12:  # a dark room
        exposure *= float(rng.uniform(0.3, 0.65))
    return Light(float(1 - 0.8 * budget), tuple(lamps), exposure, tint)


def _lamp_colour(rng: np.random.Generator) -> tuple[float, float, float]:
    kind = rng.random()
    if kind < 0.55:
        return (1.0, 1.0, 1.0)
    if kind < 0.85:  # along the daylight line: lamp, sky
        warm = rng.normal(0, 0.12)
        return (float(1 + warm), 1.0, float(np.clip(1 - 1.2 * warm, 0.5, 1.5)))
    colour = rng.uniform(0.35, 1.25, 3)  # a screen, a sign
    return tuple(float(v) for v in colour / colour.mean())


def draw_background(photographs: list[np.ndarray], rng: np.random.Generator) -> np.ndarray | None:
    """A piece of a photograph, a plain or graded wall, clutter, or None for the portrait's own.

    Returns:
        uint8 [256, 256, 3], RGB, or None.
    """
    kind = rng.random()
    if kind < 0.2:
        return None
    if kind < 0.6 and photographs:
        image = photographs[rng.integers(len(photographs))]
        h, w = image.shape[:2]
        side = int(rng.uniform(0.35, 1.0) * min(h, w))
        y, x = rng.integers(h - side + 1), rng.integers(w - side + 1)
        piece = cv2.resize(image[y:y + side, x:x + side], (_SMALL, _SMALL), interpolation=cv2.INTER_AREA)
        piece = cv2.GaussianBlur(piece, (0, 0), float(np.exp(rng.uniform(np.log(0.6), np.log(8)))))
        return np.clip(piece * rng.uniform(0.5, 1.15), 0, 255).astype(np.uint8)
    if kind < 0.75:
        corners = rng.uniform(15, 240) + rng.normal(0, 30, 3) + rng.normal(0, 25, (2, 2, 3)) * rng.random()
        return cv2.resize(np.clip(corners, 0, 255).astype(np.float32), (_SMALL, _SMALL)).astype(np.uint8)
    return _room(rng)


def _room(rng: np.random.Generator) -> np.ndarray:
    """Shelves, windows and furniture, as far as an unsharp background tells."""
    wall = rng.uniform(30, 220) * np.clip(1 + rng.normal(0, 0.1, 3), 0.7, 1.3)
    image = np.empty((_SMALL, _SMALL, 3), np.uint8)
    image[:] = np.clip(wall, 0, 255)
    for _ in range(int(rng.integers(3, 22))):
        w, h = (np.exp(rng.uniform(np.log(8), np.log(150), 2))).astype(int)
        x, y = int(rng.integers(-w // 2, _SMALL)), int(rng.integers(-h // 2, _SMALL))
        grey = rng.uniform(10, 245)
        colour = np.clip(grey + rng.normal(0, 35, 3), 0, 255)
        if rng.random() < 0.75:
            cv2.rectangle(image, (x, y), (x + w, y + h), colour.tolist(), -1)
        else:
            cv2.ellipse(image, (x, y), (w // 2 + 1, h // 2 + 1), float(rng.uniform(0, 180)), 0, 360, colour.tolist(), -1)
    return cv2.GaussianBlur(image, (0, 0), float(np.exp(rng.uniform(np.log(0.8), np.log(7)))))
