"""Labeled photographs, and what rtau says of them through the whole pipeline.

    neutral   portraits at rest: everything that is called present is a false alarm
    smile     smiling portraits of the same people, labeled for AU 6, 12 and 25
    still     faces in everyday photographs, labeled for what is plain to see

Who trains, validates and tests is in `data.people`; figures are of those who test unless asked otherwise.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from rtau.analyze import Analyzer
from rtau.errors import InputError
from rtau.source import open_source

from ..data.people import part_of

Kind = Literal["neutral", "smile", "still"]

_LABELS = Path(__file__).parent
#: Neutral portraits that show an AU all the same.
_NOT_AT_REST = {"103_03": (25,)}
#: A face whose nose is this far from the labeled one, in shares of the picture, is another.
_NEAR = 0.05


@dataclass(frozen=True)
class Photograph:
    """A labeled face.

    Attributes:
        file: of the picture.
        kind: see the module.
        person: identity, "" where unknown.
        truth: AU -> whether it is present; AUs that are not in it are unknown.
        nose: tip of the labeled face's nose, x and y in shares of the picture; None for the largest face.
        at_rest: every AU that is not in `truth` or among `doubted` is absent.
        doubted: AUs that may or may not be there.
    """

    file: Path
    kind: Kind
    person: str
    truth: dict[int, bool]
    nose: tuple[float, float] | None = None
    at_rest: bool = False
    doubted: tuple[int, ...] = ()

    def shows(self, au: int) -> bool | None:
        """Whether it shows an AU; None if nobody knows."""
        return self.truth.get(au, False if self.at_rest and au not in self.doubted else None)


def list_portraits(faces: Path, part: str = "test") -> list[Photograph]:
    """Neutral portraits and, of London, smiling ones.

    Args:
        faces: folder as `rtau data fetch` packs it.
        part: "train", "validation", "test" or "all".

    Raises:
        InputError: there are none.
    """
    smiles = {row["person"]: _truth(row) for row in _read("smiles.csv")}
    found = []
    for folder, pattern in (("london_neutral", r"(\d{3})_03"), ("london_smiling", r"(\d{3})_08"),
                            ("canada", r"(\d{3}[fm])")):
        for file in sorted((faces / folder).glob("*.jpg")):
            match = re.fullmatch(pattern, file.stem)
            if match is None or part not in ("all", part_of(match[1])):
                continue
            if folder == "london_smiling":
                found.append(Photograph(file, "smile", match[1], smiles.get(match[1], {})))
            else:
                found.append(Photograph(file, "neutral", match[1], {}, at_rest=True,
                                        doubted=_NOT_AT_REST.get(file.stem, ())))
    if not found:
        raise InputError(f"{faces} holds no portraits of {part} people: get them with rtau data fetch")
    return found


def list_stills(stills: Path) -> list[Photograph]:
    """Labeled faces in everyday photographs; those whose picture is not there are left out.

    Raises:
        InputError: none is there.
    """
    found = [Photograph(stills / row["file"], "still", "", _truth(row), (float(row["nose_x"]), float(row["nose_y"])))
             for row in _read("stills.csv") if (stills / row["file"]).is_file()]
    if not found:
        raise InputError(f"{stills} holds none of the labeled photographs")
    return found


def _read(name: str) -> Iterator[dict[str, str]]:
    with open(_LABELS / name, newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def _truth(row: dict[str, str]) -> dict[int, bool]:
    return {int(name[2:]): value == "1" for name, value in row.items() if re.fullmatch(r"AU\d\d", name) and value}


# -- what rtau says --------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """What was said of N photographs, C AUs.

    Attributes:
        photographs: N of them.
        aus: C numbers.
        presence, intensity: float32 [N, C], NaN where not assessable or no face was found.
        present: bool [N, C], the yes or no.
        boxes: float32 [N, 4], of the face that was taken, xyxy pixels, NaN where none was.
    """

    photographs: tuple[Photograph, ...]
    aus: tuple[int, ...]
    presence: np.ndarray
    intensity: np.ndarray
    present: np.ndarray
    boxes: np.ndarray

    def __len__(self) -> int:
        return len(self.photographs)

    def of(self, *kinds: Kind) -> Seen:
        """Those of some kinds."""
        rows = [i for i, photograph in enumerate(self.photographs) if photograph.kind in kinds]
        return Seen(tuple(self.photographs[i] for i in rows), self.aus, self.presence[rows], self.intensity[rows],
                    self.present[rows], self.boxes[rows])

    @property
    def people(self) -> np.ndarray:
        """str [N], who is in each, "" where unknown."""
        return np.array([photograph.person for photograph in self.photographs], str)

    def truth(self, au: int) -> np.ndarray:
        """float [N]: 1 present, 0 absent, NaN unknown or not judged."""
        known = np.array([math.nan if (shown := photograph.shows(au)) is None else float(shown)
                          for photograph in self.photographs])
        return np.where(np.isnan(self.presence[:, self.aus.index(au)]), math.nan, known)


def look(photographs: Sequence[Photograph], analyzer: Analyzer, tell: Callable[[int, int], None] | None = None) -> Seen:
    """Analyse each picture once, as `rtau process` does, and take the labeled face.

    Raises:
        InputError: a picture can't be read.
    """
    shape = len(photographs), len(analyzer.aus)
    presence, intensity = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    present, boxes = np.zeros(shape, bool), np.full((len(photographs), 4), np.nan, np.float32)
    order = sorted(range(len(photographs)), key=lambda i: str(photographs[i].file))
    before, scores, size = None, None, (0, 0)
    for done, row in enumerate(order):
        photograph = photographs[row]
        if photograph.file != before:
            frame = next(iter(open_source(str(photograph.file))))
            before, scores, size = photograph.file, analyzer(frame), frame.image.shape[1::-1]
        face = _face(photograph, scores, size)
        if face is not None:
            presence[row], intensity[row], present[row], boxes[row] = (
                scores.presence[face], scores.intensity[face], scores.present[face], scores.faces.boxes[face])
        if tell is not None:
            tell(done + 1, len(order))
    return Seen(tuple(photographs), analyzer.aus, presence, intensity, present, boxes)


def _face(photograph: Photograph, scores, size: tuple[int, int]) -> int | None:
    """Which of the faces found is the labeled one."""
    if not len(scores):
        return None
    if photograph.nose is None:
        boxes = scores.faces.boxes
        return int(np.argmax((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])))
    away = np.abs(scores.faces.landmarks[:, 30] / np.array(size) - photograph.nose).max(1)
    return int(np.argmin(away)) if away.min() < _NEAR else None
