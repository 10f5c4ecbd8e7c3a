"""Aligned pictures of the faces, one per face and frame, and a table of them."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import cv2
import numpy as np

from ..crop import similarity, warp
from ..errors import OutputError, UsageError
from ..types import Frame, Scores, Status
from .paths import exists_error, open_output, output_error, write_bytes

log = logging.getLogger(__name__)

#: Name of the table in the folder, and its columns.
INDEX = "crops.csv"
_COLUMNS = ("file", "frame", "timestamp", "face_id", "confidence", "quality", "input")
#: Crops that are written at most: a file system copes with so many.
MOST = 100_000


class CropSink:
    """Writes each face as `<face_id>/<frame>.png` into a folder, as the AU network sees it: upright, from above the
    brows to below the chin. `crops.csv` there names them.

    Faces whose points are not known are left out. Nothing is written outside the folder.

    Args:
        folder: made if it isn't there.
        size: side of the crops in pixels.
        overwrite: write over crops of an earlier run; those of frames that this run doesn't have stay.
        most: crops to write at most; the rest is left out, with a warning.

    Attributes:
        written, left_out: how many crops.

    Raises:
        OutputError: on entering or writing: there are crops already, or the folder can't be written.
    """

    def __init__(self, folder: str | Path, *, size: int, overwrite: bool = False, most: int = MOST) -> None:
        self.folder = Path(folder)
        self.size, self.overwrite, self.most = size, overwrite, most
        self.written = self.left_out = 0
        self._index: IO[str] | None = None
        self._made: set[int] = set()

    def __enter__(self) -> CropSink:
        check_crops(self.folder, overwrite=self.overwrite)
        path = self.folder / INDEX
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # A line is on disk as soon as its picture is. Names of files need not be text.
            self._index = open(open_output(path, overwrite=self.overwrite), "w", encoding="utf-8",
                               errors="surrogateescape", newline="", buffering=1)
            csv.writer(self._index, lineterminator="\n").writerow(_COLUMNS)
        except OSError as error:
            raise output_error(path, error) from error
        return self

    def __exit__(self, *exc: object) -> None:
        index, self._index = self._index, None
        if index is not None:
            try:
                index.close()
            except OSError as error:
                raise output_error(self.folder / INDEX, error) from error

    def write(self, frame: Frame, scores: Scores, status: Status | None = None) -> None:
        """Cut and write the faces of one frame."""
        faces = scores.faces
        rows = np.flatnonzero(np.isfinite(faces.landmarks).all((1, 2)))
        for row, matrix in zip(rows.tolist(), similarity(faces.landmarks[rows], self.size), strict=True):
            if self.written >= self.most:
                if not self.left_out:
                    log.warning("%s: %d crops are written, the rest is left out: --every N takes fewer", self.folder,
                                self.most)
                self.left_out += 1
                continue
            face = int(faces.ids[row])
            name = f"{face}/{frame.index:06d}.png"
            self._save(face, name, warp(frame.image, matrix, self.size))
            self._note((name, frame.index, f"{frame.time:.6g}", face, f"{faces.scores[row]:.4f}",
                        f"{scores.quality[row]:.4f}", frame.input))
            self.written += 1

    def _save(self, face: int, name: str, crop: np.ndarray) -> None:
        path = self.folder / name
        if face not in self._made:
            try:
                path.parent.mkdir(exist_ok=True)
            except OSError as error:
                raise output_error(path.parent, error) from error
            self._made.add(face)
        if path.parent.is_symlink() or path.is_symlink():
            raise OutputError(f"{path} leads out of {self.folder}: choose another folder for the crops")
        # Compressed little: on one core there is no time for more.
        data = cv2.imencode(".png", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
        write_bytes(path, data, overwrite=self.overwrite)

    def _note(self, row: tuple[object, ...]) -> None:
        assert self._index is not None
        try:
            csv.writer(self._index, lineterminator="\n").writerow(row)
        except OSError as error:
            raise output_error(self.folder / INDEX, error) from error


def check_crops(folder: Path, inputs: Iterable[Path] = (), *, overwrite: bool = False) -> None:
    """Make sure that crops may be written into a folder.

    Args:
        inputs: files that are read meanwhile.

    Raises:
        OutputError: it is a file, or holds crops and `overwrite` is False, or a link in it leads elsewhere.
        UsageError: an input lies where crops go.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file: give a folder for the crops")
    real = Path(os.path.realpath(folder))
    for path in map(Path, map(os.path.realpath, inputs)):
        if path.is_relative_to(real) and path.relative_to(real).parts[0].isdecimal():
            raise UsageError(f"{path} is an input and lies where crops go: give another folder for the crops")
    for path in _there(folder):
        if not overwrite:
            raise exists_error(path)
        if path.is_symlink():
            raise OutputError(f"{path} leads out of {folder}: choose another folder for the crops")


def _there(folder: Path) -> Iterator[Path]:
    """What an earlier run may have written."""
    try:
        yield from (path for path in sorted(folder.iterdir()) if path.name == INDEX or path.name.isdecimal())
    except FileNotFoundError:
        return
    except OSError as error:
        raise output_error(folder, error) from error
