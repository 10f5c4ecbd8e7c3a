"""The faces that an AU network learns from, those that it is validated on, and those without labels."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from rtau.errors import InputError, UsageError

from .config import DataSettings, Recipe
from .data.corpus import open_faces
from .data.crops import HEADER
from .data.faces import FaceSet, Listing, au_name, au_number, check_apart
from .data.protocols import draw_folds, split_by_subject
from .data.shards import SETTINGS

log = logging.getLogger(__name__)

F = TypeVar("F", Listing, FaceSet)
#: Opens a part ("train", "validation" or "all") of the faces at a path.
Open = Callable[[Path, Any], F]


@dataclass(frozen=True)
class Parts(Generic[F]):
    """Faces for training; or listings of them, to see what would be trained.

    Attributes:
        labeled: what is learned from, with the labels that the network will have.
        validation: other people, with the same labels.
        unlabeled: faces whose labels nobody knows, or None.
    """

    labeled: F
    validation: F
    unlabeled: F | None = None

    def __post_init__(self) -> None:
        if self.labeled.names != self.validation.names:
            raise ValueError("the labels of training and validation differ")

    def facts(self) -> dict[str, Any]:
        """Counts, and fingerprints of all but the pictures themselves, as plain values."""
        return {name: None if faces is None else {
            "faces": len(faces), "people": len(set(faces.subject.tolist()) - {""}),
            "digest": digest(faces.labels, faces.intensity, faces.subject, faces.source, _places(faces))}
            for name, faces in vars(self).items()}

    def check(self) -> None:
        """Make sure that something can be learned and judged.

        Raises:
            InputError: a person is in both parts, or no label can be learned or validated.
        """
        check_apart({"training": self.labeled, "validation": self.validation})
        for where, faces, what in (("training", self.labeled, "it can hardly be learned"),
                                   ("validation", self.validation, "it has no figures and no part in the means")):
            lone = [name for name, column in zip(faces.names, faces.labels.T, strict=True)
                    if not ((column > 0).any() and (column < 0).any())]
            if len(lone) == len(faces.names):
                people = len(set(faces.subject.tolist()) - {""})
                raise InputError(f"no label is both present and absent in {where}, among {len(faces)} faces of {people} "
                                 "people: label more of them, or its labels are not those of the network")
            if lone:
                log.warning("in %s always present, always absent or never known: %s; %s", where, ", ".join(lone), what)


def open_parts(recipe: Recipe, opened: Open[F] = open_faces) -> Parts[F]:
    """The faces that a recipe names, split so that nobody is in two parts.

    Renders are split by `people.json`. Others are split by subject, the larger part to learn from, or by a
    protocol, whose test people are left out of everything; those who validate come from its training people.

    Args:
        recipe: see `DataSettings`.
        opened: opens faces; by default those whose points are known.

    Raises:
        UsageError: there is no such label, protocol or fold, or nothing to learn from.
        InputError: something can't be read, someone would be in two parts, or no label can be learned.
    """
    data, path = recipe.data, recipe.data.labeled or recipe.renders
    if path is None:
        raise UsageError("nothing to learn from: give data.labeled, a folder that rtau data align or rtau data render "
                         "wrote")
    rendered = is_renders(path)
    if rendered and data.protocol:
        raise UsageError(f"{path} holds renders, whose people have parts of their own: leave out the protocol")
    whole = opened(path, "train" if rendered else "all")
    kept_out: set[str] = set()
    if data.protocol:
        whole, kept_out = _fold(whole, data)
    names = _names(whole, data, path)
    whole = whole.select(names)
    if data.validation is not None:
        labeled = whole
        validation = opened(data.validation, "validation" if is_renders(data.validation) else "all").select(names)
    elif rendered:
        labeled, validation = whole, opened(path, "validation").select(names)
    else:
        labeled, validation = _split(whole, data.share, recipe.loop.seed)
    labeled = labeled[(labeled.labels != 0).any(1)]
    if recipe.most_per_person is not None:
        labeled = labeled[_first_of_each(labeled.subject, recipe.most_per_person)]
    if 0 < data.validated < len(validation):
        validation = validation[np.linspace(0, len(validation) - 1, data.validated).round().astype(int)]
    unlabeled = None
    if data.unlabeled is not None:
        unlabeled = _unlabeled(data.unlabeled, opened, kept_out | set(validation.subject.tolist()) - {""})
    parts = Parts(labeled, validation, unlabeled)
    parts.check()
    return parts


def is_renders(path: Path) -> bool:
    """Whether a folder is one that `rtau data render` wrote."""
    return (path / SETTINGS).exists() or (path.is_dir() and not is_aligned(path) and any(path.glob("shard-*.tar")))


def is_aligned(path: Path) -> bool:
    """Whether a folder is one that `rtau data align` wrote."""
    return (path / HEADER).exists()


def digest(*arrays: np.ndarray) -> str:
    """A fingerprint of arrays' shapes and values, 16 hex digits."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(f"{array.dtype.str}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:16]


def _places(faces: FaceSet | Listing) -> np.ndarray:
    return faces.points if isinstance(faces, FaceSet) else faces.frame


def _fold(faces: F, data: DataSettings) -> tuple[F, set[str]]:
    """The training faces of a protocol's fold, and who tests in it."""
    folds = draw_folds(faces, data.protocol)
    if not 1 <= data.fold <= len(folds):
        raise UsageError(f"{data.protocol} has no fold {data.fold}: choose 1 to {len(folds)}")
    fold = folds[data.fold - 1]
    log.info("%s: %d faces train, %d test", fold.name, len(fold.train), len(fold.test))
    return fold.train, set(fold.test.subject.tolist())


def _names(faces: FaceSet | Listing, data: DataSettings, path: Path) -> tuple[str, ...]:
    """The labels to train: those wanted, or all that anybody coded."""
    coded = [name for name, known in zip(faces.names, (faces.labels != 0).any(0), strict=True) if known]
    if not coded:
        raise InputError(f"{path} has no labels: give faces that somebody coded")
    if not data.names:
        return tuple(coded)
    names = [au_name(number) if (number := au_number(name)) is not None else name for name in data.names]
    unknown = [name for name in names if name not in coded]
    if unknown:
        raise UsageError(f"nobody coded {', '.join(unknown)} in {path}: it has {', '.join(coded)}")
    return tuple(dict.fromkeys(names))


def _split(faces: F, share: float, seed: int) -> tuple[F, F]:
    """Training and validation faces of different people, as far as these are known."""
    strangers = faces.subject == ""
    # A picture of an unknown person is at least not on both sides, nor are frames of one video.
    groups = np.where(strangers, np.char.partition(faces.source, "#")[:, 0], faces.subject)
    if strangers.any():
        log.warning("%d of %d faces have no subject: who validates may also be learned from, which makes the "
                    "validation look better than it is", strangers.sum(), len(faces))
    if strangers.all():
        there, group = np.unique(groups, return_inverse=True)
        if len(there) < 2:
            raise InputError("all faces are of one picture or video: there is nobody else to validate on")
        count = min(max(round(share * len(there)), 1), len(there) - 1)
        chosen = np.isin(group, np.random.default_rng(seed).permutation(len(there))[:count])
        return faces[~chosen], faces[chosen]
    numbered = replace(faces, subject=groups, source=np.arange(len(faces)).astype(str))
    parts = split_by_subject(numbered, {"train": 1 - share, "validation": share}, seed)
    rows = {name: np.sort(part.source.astype(int)) for name, part in parts.items()}
    return faces[rows["train"]], faces[rows["validation"]]


def _unlabeled(path: Path, opened: Open[F], others: set[str]) -> F:
    """Faces as unlabeled ones, without people who validate or test."""
    faces = opened(path, "train" if is_renders(path) else "all").without_labels()
    apart = ~np.isin(faces.subject, sorted(others))
    if not apart.all():
        log.warning("%d of %d unlabeled faces are of people who validate or test: they are left out",
                    (~apart).sum(), len(faces))
    if not apart.any():
        raise InputError(f"{path} holds no faces of people who neither validate nor test")
    return faces[apart]


def _first_of_each(subject: np.ndarray, most: int) -> np.ndarray:
    """Which rows are among the first `most` of their subject, bool [N]."""
    order = np.argsort(subject, kind="stable")
    _, first, count = np.unique(subject[order], return_index=True, return_counts=True)
    turn = np.empty(len(subject), int)
    turn[order] = np.arange(len(subject)) - np.repeat(first, count)
    return turn < most
