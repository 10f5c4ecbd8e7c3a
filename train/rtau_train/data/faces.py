"""Faces with labels, from whatever corpus: what every reader gives and training and evaluation take.

A `Listing` says which pictures there are and what is known of them. A `FaceSet` also knows where
the face lies in each; it comes from aligning a listing, or from renders.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np

from rtau.au import REGIONS
from rtau.errors import InputError

_AU = re.compile(r"AU0*([1-9]\d*)", re.IGNORECASE)

#: Numbers that FACS (Ekman, Friesen and Hager, 2002) gives to movements of the face, the head and the eyes.
FACS: tuple[int, ...] = (1, 2, *range(4, 47), *range(51, 59), *range(61, 67))


def au_name(au: int) -> str:
    """The name of an AU's label: 4 -> "AU04"."""
    return f"AU{au:02d}"


def au_number(name: str) -> int | None:
    """The number of the AU that a label's name says, or None: "AU04" -> 4, "Smiling" -> None."""
    match = _AU.fullmatch(name)
    return int(match[1]) if match else None


@dataclass(frozen=True)
class _Labeled:
    """What is known of N faces, C labels each.

    Attributes:
        names: of the labels: "AU01", ... for Action Units, any words for other attributes.
        subject: str [N], identity; "" where unknown.
        labels: int8 [N, C], +1 present, -1 absent, 0 unknown.
        intensity: float32 [N, C], 0..5, NaN where unknown; all NaN where only presence was coded.
        source: str [N], the picture as a person would look for it: a file, or "file#frame".
    """

    names: tuple[str, ...]
    subject: np.ndarray
    labels: np.ndarray
    intensity: np.ndarray
    source: np.ndarray

    def __post_init__(self) -> None:
        shape = (len(self.subject), len(self.names))
        for name in ("labels", "intensity"):
            found = getattr(self, name).shape
            if found != shape:
                raise ValueError(f"{name} has shape {found}, expected {shape}")

    def __len__(self) -> int:
        return len(self.subject)

    @property
    def aus(self) -> tuple[int, ...]:
        """Numbers of the AUs among the labels."""
        return tuple(n for n in map(au_number, self.names) if n is not None)

    @property
    def graded(self) -> bool:
        """Whether any intensity is known."""
        return bool(np.isfinite(self.intensity).any())

    def select(self, names: Sequence[str]) -> Self:
        """The same faces with these labels in this order; a label that was not coded is unknown."""
        labels = np.zeros((len(self), len(names)), np.int8)
        intensity = np.full((len(self), len(names)), np.nan, np.float32)
        for column, name in enumerate(names):
            if name in self.names:
                labels[:, column] = self.labels[:, self.names.index(name)]
                intensity[:, column] = self.intensity[:, self.names.index(name)]
        return replace(self, names=tuple(names), labels=labels, intensity=intensity)

    def without_labels(self) -> Self:
        """The same faces as unlabeled ones."""
        return replace(self, labels=np.zeros_like(self.labels), intensity=np.full_like(self.intensity, np.nan))


@dataclass(frozen=True)
class Listing(_Labeled):
    """Pictures, or frames of videos, with what is known of them; nobody has looked for faces yet.

    Attributes:
        file: [N] `Path`s, a picture or a video each.
        frame: int64 [N], number of the frame in the video, from 0; -1 for a picture.
    """

    file: np.ndarray
    frame: np.ndarray

    def __getitem__(self, rows: np.ndarray | slice | list[int]) -> Listing:
        """Some of the faces, by slice, mask or list of rows."""
        return replace(self, **{name: getattr(self, name)[rows] for name in
                                ("subject", "labels", "intensity", "source", "file", "frame")})


class Pictures(Protocol):
    """Pictures by number, read when asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> np.ndarray:
        """uint8 [H, W, 3], RGB. Raises InputError where it can't be read."""


@dataclass(frozen=True)
class FaceSet(_Labeled):
    """Faces whose points are known.

    Attributes:
        pictures: N of them; each is the whole picture or a piece about the face.
        points: float32 [N, 68, 2], Multi-PIE order, pixels of its picture (centres at integers).
        visible: float32 [N, 6], what share of each region in `rtau.au.REGIONS` shows, 0..1, NaN where unknown; None
            where nothing is known of any.
    """

    pictures: Pictures
    points: np.ndarray
    visible: np.ndarray | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.visible is not None and self.visible.shape != (len(self), len(REGIONS)):
            raise ValueError(f"visible has shape {self.visible.shape}, expected {(len(self), len(REGIONS))}")
        if not len(self) == len(self.pictures) == len(self.points):
            raise ValueError(f"{len(self)} faces, {len(self.pictures)} pictures, {len(self.points)} rows of points")

    def __getitem__(self, rows: np.ndarray | slice | list[int]) -> FaceSet:
        """Some of the faces, by slice, mask or list of rows."""
        chosen = np.arange(len(self))[rows]
        return replace(self, pictures=_Chosen(self.pictures, chosen), **{
            name: getattr(self, name)[chosen] for name in ("subject", "labels", "intensity", "source", "points")},
            visible=None if self.visible is None else self.visible[chosen])

    @classmethod
    def join(cls, sets: Sequence[FaceSet]) -> FaceSet:
        """All faces of several sets that have the same labels."""
        if not sets:
            raise ValueError("no sets to join")
        if any(s.names != sets[0].names for s in sets):
            raise ValueError("the sets have different labels; select the same ones first")
        return cls(sets[0].names, *(np.concatenate([getattr(s, name) for s in sets]) for name in
                                    ("subject", "labels", "intensity", "source")),
                   _Joined([s.pictures for s in sets]), np.concatenate([s.points for s in sets]),
                   None if all(s.visible is None for s in sets) else np.concatenate([s.shown for s in sets]))

    @property
    def shown(self) -> np.ndarray:
        """`visible`, all NaN where nothing is known."""
        return np.full((len(self), len(REGIONS)), np.nan, np.float32) if self.visible is None else self.visible


class _Chosen:
    def __init__(self, pictures: Pictures, rows: np.ndarray) -> None:
        self._pictures, self._rows = (pictures._pictures, pictures._rows[rows]) if isinstance(pictures, _Chosen) \
            else (pictures, rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._pictures[int(self._rows[index])]


class _Joined:
    def __init__(self, parts: list[Pictures]) -> None:
        self._parts = parts
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> np.ndarray:
        if not 0 <= index < len(self):
            raise IndexError(index)
        part = int(np.searchsorted(self._ends, index, side="right"))
        return self._parts[part][index - (int(self._ends[part - 1]) if part else 0)]


def check_apart(parts: dict[str, _Labeled]) -> None:
    """Make sure that nobody is in two parts.

    Raises:
        InputError: naming who is, and where.
    """
    seen: dict[str, str] = {}
    for name, faces in parts.items():
        for subject in np.unique(faces.subject):
            if subject and seen.setdefault(str(subject), name) != name:
                raise InputError(f"subject {subject} is in {seen[str(subject)]} and in {name}: the figures would be "
                                 "too good; split by subject")
