"""Readers of the archives that `rtau_train.puppet.render` writes, and of the portraits with their points."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .people import Part, part_of
from .points import multi_pie

log = logging.getLogger(__name__)


@dataclass
class Renders:
    """Rendered pictures in memory, N of side S.

    Attributes:
        images: uint8 [N, S, S, 3], RGB.
        person: [N] identity of each.
        facts: arrays [N, ...] by the archive's names (`activation`, `points`, `rotation`,
            `lip_gap`, `lid_gap`, `jaw_open`).
    """

    images: np.ndarray
    person: np.ndarray
    facts: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.images)


def load_renders(folder: Path, part: Part, most_per_person: int | None = None) -> Renders:
    """Read the pictures of one part of the people.

    Raises:
        FileNotFoundError: the folder holds no archive of that part.
    """
    archives = [f for f in sorted(Path(folder).glob("*.npz")) if part_of(f.stem) == part]
    if not archives:
        raise FileNotFoundError(f"{folder}: no renders of {part} people")
    images, person = [], []
    facts: dict[str, list[np.ndarray]] = {}
    for archive in archives:
        with np.load(archive) as table:
            data, ends = table["jpeg"], table["ends"][:most_per_person]
            starts = np.r_[0, ends[:-1]]
            images += [cv2.cvtColor(cv2.imdecode(data[a:b], cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
                       for a, b in zip(starts, ends, strict=True)]
            person += [archive.stem] * len(ends)
            for name in set(table.files) - {"jpeg", "ends"}:
                facts.setdefault(name, []).append(table[name][:most_per_person])
    log.info("%s: %d pictures of %d people (%s)", folder, len(images), len(archives), part)
    return Renders(np.stack(images), np.array(person), {k: np.concatenate(v) for k, v in facts.items()})


def load_portraits(faces: Path, part: Part) -> tuple[list[np.ndarray], list[np.ndarray], list[str]]:
    """Neutral portraits with hand-placed points: pictures (RGB), points [68, 2] and identities."""
    images, points, person = [], [], []
    for group in ("london_neutral", "canada"):
        table = np.load(Path(faces) / group / "landmarks.npz")
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
