"""Reader of the open portraits with their hand-placed points."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from .people import Part, part_of
from .points import multi_pie


def load_portraits(faces: Path, part: Part) -> tuple[list[np.ndarray], list[np.ndarray], list[str]]:
    """Neutral portraits with hand-placed points: pictures (RGB), points [68, 2] and identities."""
    images, points, person = [], [], []
    for group in ("london_neutral", "canada"):
        table = np.load(Path(faces) / group / "landmarks.npz", allow_pickle=False)
        for name, template in zip(table["names"], table["points"], strict=True):
            if part_of(str(name)) != part:
                continue
            images.append(read_rgb(Path(faces) / group / f"{name}.jpg"))
            points.append(multi_pie(template.astype(float)))
            person.append(str(name).split("_")[0])
    return images, points, person


def read_rgb(path: Path) -> np.ndarray:
    """A picture as uint8 [H, W, 3], RGB.

    Raises:
        FileNotFoundError: it can't be read.
    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise FileNotFoundError(f"{path} can't be read as a picture")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
