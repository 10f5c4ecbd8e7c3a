"""Faces for a batch or a validation, past those that can't be read."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from rtau.errors import InputError

from .batches import Share
from .data.faces import FaceSet

log = logging.getLogger(__name__)

#: Faces in a row that may be unreadable before the corpus is to blame.
_TRIES = 20


class Drawn(NamedTuple):
    """A face for one row of a batch: which it is, its picture uint8 [H, W, 3], RGB, and the row's own chance."""

    pick: int
    image: np.ndarray
    rng: np.random.Generator


def draw(faces: FaceSet, share: Share, count: int, stream: int = 0, *, strict: bool = False
         ) -> tuple[list[Drawn], list[str]]:
    """The faces of a share's rows of a batch of `count`; another in place of each that can't be read.

    Args:
        faces: to draw from.
        share, count, stream: see `batches.Share`.
        strict: stop at one that can't be read.

    Returns:
        What was drawn, and the sources of those that could not be read.

    Raises:
        InputError: a face can't be read; if not strict, many in a row.
    """
    drawn, failed = [], []
    for row in share.rows(count):
        rng, pick = share.rng(row, stream), share.pick(row, count, len(faces), stream)
        for _ in range(_TRIES):
            try:
                drawn.append(Drawn(pick, faces.pictures[pick], rng))
                break
            except InputError:
                if strict:
                    raise
                failed.append(str(faces.source[pick]))
                pick = int(rng.integers(len(faces)))
        else:
            raise InputError(f"{_TRIES} faces in a row can't be read, {failed[-1]} the last: look at the corpus")
    return drawn, failed


def readable(faces: FaceSet, *, strict: bool = False) -> Iterator[tuple[int, np.ndarray]]:
    """Number and picture of each face that can be read; a warning for the others.

    Raises:
        InputError: none can, or one can't and `strict` is set.
    """
    found = False
    for row in range(len(faces)):
        try:
            image = faces.pictures[row]
        except InputError as error:
            if strict:
                raise
            log.warning("left out of the validation: %s", error)
            continue
        found = True
        yield row, image
    if not found:
        raise InputError("no validation face can be read")
