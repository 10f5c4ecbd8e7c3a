"""Made-up faces that a small network learns in seconds: each label is a bright patch at a place of its own."""

import numpy as np
import pytest

from rtau.crop import RIGID, TEMPLATE
from rtau.errors import InputError
from rtau_train.data.faces import FaceSet
from rtau_train.loop import train
from rtau_train.parts import Parts

NAMES = ("AU01", "AU04", "AU12")
SIDE = 48
#: Where the patches lie, pixels.
_PLACES = ((6, 20), (20, 20), (36, 20))


class Damaged:
    """Pictures of which some can't be read."""

    def __init__(self, pictures, gone):
        self._pictures, self._gone = pictures, set(gone)

    def __len__(self):
        return len(self._pictures)

    def __getitem__(self, index):
        if index in self._gone:
            raise InputError(f"picture {index} is damaged")
        return self._pictures[index]


def make_faces(count, *, people=6, prefix="p", names=NAMES, graded=True, seed=0, unknown=0.1):
    """Faces of `people`, in turn; `unknown` is the share of labels that nobody coded."""
    rng = np.random.default_rng(seed)
    intensity = np.where(rng.random((count, len(names))) < 0.45, rng.integers(1, 6, (count, len(names))), 0)
    intensity = intensity.astype(np.float32)
    pictures = np.clip(rng.normal(128, 12, (count, SIDE, SIDE, 3)), 0, 255)
    for column, (top, left) in enumerate(_PLACES[:len(names)]):
        strength = 14 * intensity[:, column] + 20 * (intensity[:, column] > 0) - 10
        pictures[:, top:top + 8, left:left + 10] += strength[:, None, None, None]
    points = np.full((count, 68, 2), SIDE / 2, np.float32)
    points[:, RIGID] = TEMPLATE * SIDE - 0.5
    known = rng.random((count, len(names))) >= unknown
    labels = np.where(known, np.where(intensity > 0, 1, -1), 0).astype(np.int8)
    subject = np.array([f"{prefix}{row % people}" for row in range(count)])
    return FaceSet(names, subject, labels, np.where(known & graded, intensity, np.nan).astype(np.float32),
                   np.array([f"{prefix}-{row}.jpg" for row in range(count)]),
                   np.clip(pictures, 0, 255).astype(np.uint8), points)


def make_parts(count=120, *, unlabeled=0, **more):
    """Training faces, half as many for validation and, at wish, unlabeled ones."""
    return Parts(make_faces(count, **more), make_faces(count // 2, prefix="v", seed=1, **more),
                 make_faces(unlabeled, prefix="u", seed=2, **more).without_labels() if unlabeled else None)


def au_values(**loop):
    """A recipe's plain values for a network of 32 px."""
    return {"task": "au", "model": {"size": 32, "width": 8, "features": 16, "dropout": 0.0},
            "augment": {"misplace": 0.3, "nudge": 0.3, "degrade": 0.0, "flip": 0.0},
            "loop": {"steps": 30, "batch": 16, "evaluate_every": 10, "warmup": 5, "lr": 0.005, "ema": 0.9,
                     "checkpoint_minutes": 0.0, "threads": 1} | loop}


def stop_at_validation(task, settings, folder):
    """Train until the first validation, and press Ctrl-C there."""
    evaluate = task.evaluate

    def interrupted(model):
        task.evaluate = evaluate
        raise KeyboardInterrupt

    task.evaluate = interrupted
    with pytest.raises(KeyboardInterrupt):
        train(task, settings, folder)
