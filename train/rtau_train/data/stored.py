"""Pictures that lie in tars or files, read when they are asked for, from any thread or process."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from .faces import Pictures
from .tars import Place, decode, read_place


class StoredPictures:
    """N pictures by where their JPEG bytes lie. No file stays open, so threads need not wait for each other.

    Args:
        places: of the pictures.
        again: what to do if one is damaged, for the error.
    """

    def __init__(self, places: Iterable[Place], again: str) -> None:
        files: dict[Path, int] = {}
        rows = [(files.setdefault(file, len(files)), begin, length) for file, begin, length in places]
        self._files, self._rows, self._again = list(files), np.array(rows, np.int64).reshape(-1, 3), again

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> np.ndarray:
        """uint8 [H, W, 3], RGB. Raises InputError where it can't be read."""
        number, begin, length = self._rows[index].tolist()
        file = self._files[number]
        return decode(read_place((file, begin, length), self._again), f"{file} at byte {begin}", self._again)


def kept(pictures: Pictures, memory: int) -> Pictures:
    """The pictures, decoded and in memory if all of them, being of one size, take at most so many bytes."""
    if not len(pictures):
        return pictures
    first = pictures[0]
    if first.nbytes * len(pictures) > memory:
        return pictures
    images = np.empty((len(pictures), *first.shape), np.uint8)
    for index in range(len(pictures)):
        image = pictures[index]
        if image.shape != first.shape:
            return pictures
        images[index] = image
    return images  # type: ignore[return-value]  # an array of pictures is one
