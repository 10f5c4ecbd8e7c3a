"""A listing in the making: readers add a row for each picture and need not know in advance what is coded."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rtau.errors import InputError

from .faces import Listing

log = logging.getLogger(__name__)


class Draft:
    """Collects the rows of a `Listing`.

    Args:
        names: of the labels, in the order in which they shall stand.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._column = {name: i for i, name in enumerate(self.names)}
        self._rows: list[tuple[Path, int, str, str]] = []
        self._labels: list[np.ndarray] = []
        self._intensity: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, file: Path, *, source: str, frame: int = -1, subject: str = "",
            labels: Mapping[str, int] | None = None, intensity: Mapping[str, float] | None = None) -> None:
        """One picture, or frame of a video, with what is known of it; the rest is unknown."""
        signs = np.zeros(len(self.names), np.int8)
        grades = np.full(len(self.names), np.nan, np.float32)
        for name, value in (labels or {}).items():
            signs[self._column[name]] = value
        for name, grade in (intensity or {}).items():
            grades[self._column[name]] = grade
        self._rows.append((file, frame, subject, source))
        self._labels.append(signs)
        self._intensity.append(grades)

    def listing(self) -> Listing:
        """All of it, without the labels that nobody coded in any row."""
        count, width = len(self._rows), len(self.names)
        labels = np.array(self._labels, np.int8).reshape(count, width)
        intensity = np.array(self._intensity, np.float32).reshape(count, width)
        coded = ((labels != 0) | np.isfinite(intensity)).any(0)
        file = np.empty(count, object)
        file[:] = [row[0] for row in self._rows]
        return Listing(tuple(n for n, known in zip(self.names, coded, strict=True) if known),
                       np.array([row[2] for row in self._rows], str), labels[:, coded], intensity[:, coded],
                       np.array([row[3] for row in self._rows], str), file,
                       np.array([row[1] for row in self._rows], np.int64))


def by_intensity(intensity: Mapping[str, float], present_from: float) -> dict[str, int]:
    """Presence as +1 or -1 by a least intensity; what is NaN stays unknown."""
    return {name: 1 if grade >= present_from else -1 for name, grade in intensity.items() if np.isfinite(grade)}


def drop_missing(listing: Listing, where: str | Path, *, strict: bool = False) -> Listing:
    """The listing without the pictures and videos that are not there, which a warning counts.

    Args:
        listing: what is wanted.
        where: the corpus, for people to read.
        strict: raise an error instead.

    Raises:
        InputError: with `strict`, some are not there; or none is.
    """
    there = {file: file.is_file() for file in set(listing.file)}
    kept = np.array([there[file] for file in listing.file], bool)
    gone = [str(file) for file in dict.fromkeys(listing.file) if not there[file]]
    if not gone:
        return listing
    line = (f"{where}: {len(gone)} of {len(there)} pictures or videos are not there: {', '.join(gone[:5])}"
            f"{' and others' if len(gone) > 5 else ''}")
    if strict or not kept.any():
        raise InputError(line)
    log.warning("%s; they are left out", line)
    return listing[kept]


def unique(listing: Listing) -> Listing:
    """The first row of each picture or frame; later ones are left out, which a warning counts."""
    first: dict[tuple[Path, int], int] = {}
    for row, key in enumerate(zip(listing.file, listing.frame.tolist(), strict=True)):
        first.setdefault(key, row)
    if len(first) < len(listing):
        log.warning("%d pictures are listed more than once; the first line of each counts", len(listing) - len(first))
        return listing[list(first.values())]
    return listing
