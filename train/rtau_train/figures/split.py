"""Who of the faces that a run was trained on it never learned from, so that they may judge it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rtau.errors import InputError, UsageError

from ..config import Recipe, build_recipe
from ..data.corpus import open_faces
from ..data.faces import FaceSet
from ..data.protocols import draw_folds
from ..parts import Parts, open_parts


@dataclass(frozen=True)
class Split:
    """How a run split its labeled faces.

    Attributes:
        run: its folder.
        recipe: as it took effect.
    """

    run: Path
    recipe: Recipe

    @property
    def path(self) -> Path | None:
        """Where the labeled faces are."""
        return self.recipe.data.labeled or self.recipe.renders

    @property
    def usual(self) -> str:
        """The part to judge by: who tests, where a protocol says, else who validated."""
        return "test" if self.recipe.data.protocol else "validation"

    def is_of(self, data: Path) -> bool:
        """Whether these are the faces that it split."""
        return self.path is not None and self.path.resolve() == data.resolve()

    def open(self, part: str) -> FaceSet:
        """Faces of one part.

        Raises:
            UsageError: there is no such part. InputError: the faces have changed, or can't be read.
        """
        data = self.recipe.data
        if part == "test":
            if not data.protocol or self.path is None:
                raise UsageError(f"{self.run} kept nobody to test on: judge it with --part validation, or train it "
                                 "with a data.protocol")
            return draw_folds(open_faces(self.path), data.protocol)[data.fold - 1].test
        if part not in ("train", "validation"):
            raise UsageError(f"{self.run} has no part {part}: choose from train, validation, test, all")
        return self._parts().labeled if part == "train" else self._parts().validation

    def learned(self, faces: FaceSet) -> int:
        """How many of these faces are of somebody whom the run learned from, or were themselves."""
        seen = self._parts().labeled
        known = (faces.subject != "") & np.isin(faces.subject, seen.subject)
        return int((known | np.isin(faces.source, seen.source)).sum())

    def _parts(self) -> Parts:
        return open_parts(replace(self.recipe, data=replace(self.recipe.data, unlabeled=None, validated=0)))


def read_split(run: Path) -> Split | None:
    """How a run split its faces; None for a folder that does not say.

    Raises:
        InputError: what it says can't be understood.
    """
    file = run / "config.json"
    if not file.is_file():
        return None
    try:
        return Split(run, build_recipe(_told(json.loads(file.read_text("utf-8"))), where=str(file)))
    except (ValueError, OSError, UsageError) as error:
        raise InputError(f"{file} can't be understood ({str(error).splitlines()[0]}): judge the run's best.pt alone, "
                         "in a folder of its own") from None


def _told(value: Any) -> Any:
    """Without what is null, for which TOML has no word."""
    if not isinstance(value, dict):
        return value
    return {key: _told(inner) for key, inner in value.items() if inner is not None}
