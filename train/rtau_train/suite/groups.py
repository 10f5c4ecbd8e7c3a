"""Whom and what a network reads worse: mean figures by skin tone, sex, pose, size, what covers the face, camera."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from rtau.errors import InputError

from ..figures.bootstrap import clusters, interval, resamples
from ..figures.measures import measure
from ..figures.predictions import Predictions
from ..figures.report import Figure, Settings, mean_of, plain
from ..puppet.record import TONES
from ..puppet.sensor import KINDS

#: Edges of |yaw|, degrees, and of the height of a face, brow to chin, as the camera sampled it, pixels.
YAW, ROWS = (10, 20, 30), (45, 60, 80)
#: An AU counts in a group where at least so many faces show it and so many do not.
LEAST = 5
_CHIN, _BROWS = 8, (19, 24)

Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Group:
    """Some of the pictures.

    Attributes:
        kind, name: what they have in common: "skin tone", "brown".
        faces, people: how many.
        aus: over how many AUs the means go.
        auc, icc: mean over those AUs, with intervals over people; NaN where none can be judged.
        usual: mean AUC of all pictures over those AUs, to hold `auc` against.
    """

    kind: str
    name: str
    faces: int
    people: int
    aus: int
    auc: Figure
    icc: Figure
    usual: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, None for NaN."""
        return {"kind": self.kind, "name": self.name, "faces": self.faces, "people": self.people, "aus": self.aus,
                "auc": self.auc.as_dict(), "icc": self.icc.as_dict(), "usual": plain(self.usual)}


def read_sexes(faces: Path) -> dict[str, str]:
    """Sex of each person, by what the portraits' authors say.

    Args:
        faces: folder of the portraits, as `rtau data fetch` packs it.

    Returns:
        Of London's people; Canada's names end in f or m.

    Raises:
        InputError: the list is damaged; where there is none nobody is in it.
    """
    file = faces / "london_info.json"
    if not file.is_file():
        return {}
    try:
        return {person: str(facts["face_gender"]) for person, facts in json.loads(file.read_text("utf-8")).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file} can't be read ({type(error).__name__}: {error}): rtau data fetch gets it") from None


def sex_of(person: str, sexes: dict[str, str]) -> str:
    """What is known of a person's sex: female, male or unknown."""
    return sexes.get(person) or {"f": "female", "m": "male"}.get(person[-1:], "unknown")


def face_rows(record: dict[str, Any]) -> float:
    """Height of a face, brow to chin, in rows of the camera that took the picture."""
    points = np.array(record["points"])
    return float(np.linalg.norm(points[_CHIN] - points[list(_BROWS)].mean(0)) * record["sensor"]["scale"])


def members(records: tuple[dict[str, Any], ...], sexes: dict[str, str]) -> Iterator[tuple[str, str, np.ndarray]]:
    """Kind, name and members bool [N] of every group that has any; those of what covers a face may overlap."""
    def by(kind: str, values: list[str], order: tuple[str, ...]) -> Iterator[tuple[str, str, np.ndarray]]:
        found = np.array(values)
        for name in order:
            if (found == name).any():
                yield kind, name, found == name

    yield from by("skin tone", [r["skin"]["tone"] for r in records], tuple(name for _, name in TONES))
    yield from by("sex", [sex_of(r["person"], sexes) for r in records], ("female", "male", "unknown"))
    yaw = _bins(YAW, "°")
    yield from by("|yaw|", [yaw[np.digitize(abs(np.degrees(r["pose"][0])), YAW)] for r in records], yaw)
    rows = _bins(ROWS, " px")
    yield from by("face height", [rows[np.digitize(face_rows(r), ROWS)] for r in records], rows)
    covers = sorted({name for r in records for name in r["occluders"]})
    yield "covered by", "nothing", np.array([not r["occluders"] for r in records])
    for name in covers:
        yield "covered by", name, np.array([name in r["occluders"] for r in records])
    yield from by("camera", [r["sensor"]["kind"] for r in records], ("none", *KINDS))


def group_figures(predictions: Predictions, records: tuple[dict[str, Any], ...], sexes: dict[str, str],
                  settings: Settings, tell: Tell | None = None) -> list[Group]:
    """Figures of every group.

    Args:
        predictions: of N pictures.
        records: what is true of each.
        sexes: see `read_sexes`.
        settings: of the intervals.
        tell: hears how many groups are done of how many.
    """
    found = list(members(records, sexes))
    once, cuts = np.ones((len(predictions), 1), np.float32), np.full(len(predictions.names), np.nan)
    usual = dict(zip(predictions.names, measure(predictions, cuts, once, ("auc",))["auc"][:, 0], strict=True))
    groups = []
    for done, (kind, name, rows) in enumerate(found):
        if rows.any():
            groups.append(_figures(kind, name, predictions[rows], usual, settings))
        if tell is not None:
            tell(done + 1, len(found))
    return groups


def _figures(kind: str, name: str, some: Predictions, usual: dict[str, float], settings: Settings) -> Group:
    judged = [some.labels[some.judged(c), c] for c in range(len(some.names))]
    there = np.array([min((truth > 0).sum(), (truth < 0).sum()) >= LEAST for truth in judged])
    people = len(np.unique(clusters(some.subject)))
    chosen = some.select([n for n, t in zip(some.names, there, strict=True) if t])
    cuts, keys = np.full(len(chosen.names), np.nan), ("auc", "icc")
    values = measure(chosen, cuts, np.ones((len(chosen), 1), np.float32), keys)
    drawn = [measure(chosen, cuts, weight, keys)
             for weight in resamples(chosen.subject, settings.resamples if people > 1 else 0, settings.seed)]

    def mean(key: str) -> Figure:
        known = np.isfinite(values[key][:, 0])
        if not known.any():
            return Figure(float("nan"))
        each = np.concatenate([np.zeros((len(chosen.names), 0)), *(part[key] for part in drawn)], 1)
        low, high = interval(mean_of(each, known), settings.level)
        return Figure(float(mean_of(values[key], known)[0]), float(low), float(high))

    same = np.array([usual[name] for name in chosen.names])
    return Group(kind, name, len(some), people, int(there.sum()), mean("auc"), mean("icc"),
                 float(same.mean()) if len(same) else float("nan"))


def _bins(edges: tuple[int, ...], unit: str) -> tuple[str, ...]:
    between = [f"{low} to {high}{unit}" for low, high in pairwise(edges)]
    return (f"below {edges[0]}{unit}", *between, f"{edges[-1]}{unit} or more")
