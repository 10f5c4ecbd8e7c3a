"""Pictures that lie in tars or files, read when they are asked for, from any thread or process."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from .faces import Pictures
from .tars import Place, decode, read_place

#: Bytes that the arrays of one file may take, unpacked.
_MOST = 8 << 30


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


def load_arrays(file: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz, unless they would fill the memory.

    Raises:
        OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile: there are none, or they are damaged or too large.
    """
    with zipfile.ZipFile(file) as packed:
        size = sum(entry.file_size for entry in packed.infolist())
    if size > _MOST:
        raise ValueError(f"{size} bytes of arrays")
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except MemoryError as error:
        raise ValueError("larger than the memory") from error


def check_places(places: np.ndarray, sizes: np.ndarray) -> None:
    """Make sure that places, int64 [N, 3] of tar, first byte and length, lie within tars of these sizes. Raises ValueError."""
    if places.dtype != np.int64 or places.ndim != 2 or places.shape[1] != 3 or sizes.dtype != np.int64 or sizes.ndim != 1:
        raise ValueError("these are no places")
    number, begin, length = places.T
    if len(places) and ((number < 0) | (number >= len(sizes)) | (begin < 0) | (length < 0)).any():
        raise ValueError("a place lies outside its tar")
    if (length > sizes[number] - begin).any():
        raise ValueError("a place lies outside its tar")
