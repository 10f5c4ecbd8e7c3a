"""Real faces on which a file is held against the checkpoint that it was made from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

import rtau
from rtau.analyze import Analyzer
from rtau.crop import align, region_matrix, warp
from rtau.detect_rtau import FILL
from rtau.errors import InputError
from rtau.landmarks import region_of_points
from rtau.source import list_inputs, open_source

from ..data.corpus import open_faces
from ..parts import is_aligned, is_renders

#: Faces that are enough.
ENOUGH = 32
_CLIP = Path(rtau.__file__).parent / "samples" / "astronaut.mp4"


@dataclass(frozen=True)
class Probe:
    """Crops of real faces.

    Attributes:
        crops: uint8 [N, S, S, 3], RGB, 1 to `ENOUGH` of them.
        where: what they are of, for people to read.
    """

    crops: np.ndarray
    where: str


def open_probe(path: Path | None, kind: str, size: int) -> Probe:
    """Crop faces as a network sees them at run time.

    Args:
        path: faces that are aligned or rendered, a picture, a video, or a folder of either; None for the clip that
            comes with rtau.
        kind: "au" for aligned faces, "landmarks" for squares around them, "detector" for the whole pictures.
        size: side of the crops, pixels.

    Raises:
        InputError: there is no such thing, or it shows no face.
    """
    where = "the clip that comes with rtau" if path is None else str(path)
    crops: list[np.ndarray] = []
    for image, points in _stored(path) if path and (is_aligned(path) or is_renders(path)) else _seen(path or _CLIP):
        crops += _cut(image, points, kind, size)
        if len(crops) >= ENOUGH:
            break
    if not crops:
        raise InputError(f"{where} shows no face on which the files could be checked: give others with --crops")
    return Probe(np.stack(crops[:ENOUGH]), where)


def _stored(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pictures and points [1, 68, 2] of faces whose points are known, spread evenly."""
    faces = open_faces(path, memory=0)
    for row in np.unique(np.linspace(0, len(faces) - 1, ENOUGH).round().astype(int)):
        if np.isfinite(faces.points[row]).all():
            yield faces.pictures[row], faces.points[row][None]


def _seen(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pictures and points [N, 68, 2] of the faces that rtau finds in them."""
    # torch, which is loaded anyway, needs no preparation. Stills have nothing to do with each other, frames have.
    stills = Analyzer(backend="torch", smooth="off", detect_width=(320, 640))
    for found in list_inputs([path]):
        analyzer = stills if found.picture else Analyzer(backend="torch", smooth="off")
        with open_source(found.path) as source:
            every = max(-(-(source.expected or 0) // ENOUGH), 1)
        with open_source(found.path, every=every) as source:
            for frame in source:
                yield frame.image, analyzer(frame).faces.landmarks


def _whole(image: np.ndarray, size: int) -> np.ndarray:
    """A picture whose longer side is `size`, made up to a square."""
    scale = size / max(image.shape[:2])
    small = cv2.resize(image, [max(round(side * scale), 1) for side in image.shape[1::-1]],
                       interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    out = np.full((size, size, 3), FILL, np.uint8)
    out[:small.shape[0], :small.shape[1]] = small
    return out


def _cut(image: np.ndarray, points: np.ndarray, kind: str, size: int) -> list[np.ndarray]:
    if kind == "au":
        return list(align(image, points, size))
    if kind == "detector":
        return [_whole(image, size)] if len(points) else []
    return [warp(image, region_matrix(region_of_points(marks), size), size) for marks in points]
