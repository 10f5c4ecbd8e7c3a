"""What a finder might take for a face and what hides one: parts of people, and things before them."""

from __future__ import annotations

import cv2
import numpy as np

from rtau.boxes import box_of_points

from .parts import Cutout
from .pasting import level, pose, put


def put_lure(canvas: np.ndarray, cutout: Cutout, rng: np.random.Generator) -> None:
    """Something of a person that is no face: a part of one, one that is smeared, or one upside down."""
    size, kind = len(canvas), rng.random()
    side = float(np.exp(rng.uniform(np.log(14), np.log(0.5 * size))))
    points, matrix = pose(cutout, side, rng.uniform(0, size, 2), rng)
    box = box_of_points(points[None])[0]
    if kind < 0.5:  # a piece of skin, an eye, a mouth, hair, clothes: enlarged
        image = cutout.levels[0]
        face = box_of_points(cutout.points[None])[0]
        about = np.array([cutout.points[rng.integers(68)], rng.uniform(0, 1, 2) * image.shape[1::-1]])[rng.integers(2)]
        half = max(rng.uniform(0.07, 0.16) * float((face[2:] - face[:2]).max()), 2)
        low = np.clip(np.round(about - half).astype(int), 0, np.array(image.shape[1::-1]) - 4)
        high = np.minimum(low + int(2 * half) + 1, image.shape[1::-1])
        window = np.clip(np.round(np.array([box[0], box[1], box[0] + side, box[1] + side])), 0, size).astype(int)
        if (window[2:] - window[:2] < 3).any():
            return
        piece = np.ascontiguousarray(image[low[1]:high[1], low[0]:high[0], :3])
        canvas[window[1]:window[3], window[0]:window[2]] = cv2.resize(
            piece, (window[2:] - window[:2]).tolist(), interpolation=cv2.INTER_AREA)
        return
    if kind < 0.85:  # hair, neck and shoulders about skin without features
        source, factor, matrix = level(cutout, matrix)
        image, marks = source.copy(), (cutout.points + 0.5) / factor - 0.5
        face = box_of_points(marks[None])[0]
        radius = float((face[2:] - face[:2]).max()) / 2
        mask = np.zeros(image.shape[:2], np.uint8)
        cv2.ellipse(mask, np.round((face[:2] + face[2:]) / 2).astype(int).tolist(),
                    np.round((face[2:] - face[:2]) * 0.52).astype(int).tolist(), 0, 0, 360, 255, -1)
        share = cv2.GaussianBlur(mask, (0, 0), radius * 0.08)[..., None].astype(np.float32) / 255
        skin = np.median(image[mask > 0][:, :3], 0) if rng.random() < 0.5 else image[int(max(face[1], 0)),
                                                                                     int((face[0] + face[2]) / 2), :3]
        image[..., :3] = (image[..., :3] * (1 - share) + skin * share).astype(np.uint8)
        put(canvas, Cutout((image,), marks, cutout.person, cutout.cut), matrix, points, rng)
        return
    flipped = np.column_stack([matrix[:, :2] @ np.diag([1, -1]), matrix[:, 2]])
    middle = (box_of_points(cutout.points[None])[0].reshape(2, 2)).mean(0)
    flipped[:, 2] += (matrix[:, :2] - flipped[:, :2]) @ middle
    put(canvas, cutout, flipped, points, rng, body=False)


def hide_part(canvas: np.ndarray, owner: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> None:
    """Paint something before a part of a face: from below, the side, or above."""
    box = box_of_points(points[None])[0]
    centre, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 0.6)
    middle = centre + far * size * np.array([np.cos(angle), np.sin(angle)])
    axes = size * rng.uniform(0.15, 0.45, 2)
    mask = np.zeros(owner.shape, np.uint8)
    turn = float(rng.uniform(0, 180))
    if rng.random() < 0.6:
        cv2.ellipse(mask, np.round(middle).astype(int).tolist(), np.maximum(np.round(axes), 1).astype(int).tolist(),
                    turn, 0, 360, 1, -1)
    else:
        corners = cv2.boxPoints((middle.astype(np.float32).tolist(), (2 * axes).astype(np.float32).tolist(), turn))
        cv2.fillPoly(mask, [np.round(corners).astype(np.int32)], 1)
    where = mask > 0
    if rng.random() < 0.4:  # the colour of this face's skin: a hand
        x, y = np.clip(np.round(points[30]).astype(int), 0, len(canvas) - 1)
        colour = canvas[y, x] * rng.uniform(0.7, 1.1)
    else:
        colour = np.clip(rng.uniform(0, 255) + rng.normal(0, 40, 3), 0, 255)
    canvas[where] = np.clip(colour + rng.normal(0, 6, (int(where.sum()), 3)), 0, 255).astype(np.uint8)
    owner[where] = -1
