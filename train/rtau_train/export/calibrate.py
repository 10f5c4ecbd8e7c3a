"""Calibration: that of the faces given 30 % of a label, about 30 % show it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rtau.errors import InputError, RtauError
from rtau.model import DeployedAuNet

from ..cutting import crops_of, pixels
from ..data.corpus import open_faces
from ..data.faces import FaceSet, au_number, check_apart
from ..evaluate import auc, icc31, mae, platt
from ..parts import Parts, is_renders, open_parts
from .reading import agreed_logits, read
from .trained import Trained

log = logging.getLogger(__name__)

#: Share of faces that show an AU, for which presence is calibrated: fewer than the renders show,
#: more than everyday video does. A larger one finds more smiles and gives more false alarms.
PRIOR = 0.15
#: Share of faces at rest that may be called present, of each AU.
ALARMS = 0.01
#: Least share that any grade is calibrated for.
_LEAST = 0.005
#: Least and largest slope of a calibration.
_SLOPES = 0.1, 5.0
_BATCH = 64

#: Is told how many faces are done of how many.
Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Rest:
    """What was made of faces that show nothing.

    Attributes:
        data: name of their folder.
        faces: how many.
        alarms: share of them that may be called present.
        shifts: by how much the log-odds of presence were lowered for that, of the labels for which they were.
        ordinary: presence 0..1 of each label in the middle one of them, thereafter.
    """

    data: str
    faces: int
    alarms: float
    shifts: dict[str, float]
    ordinary: dict[str, float]

    def __str__(self) -> str:
        lowered = ", ".join(f"{name} by {shift:.1f}" for name, shift in self.shifts.items()) or "nothing"
        return f"lowered for {self.faces} faces at rest in {self.data}: {lowered}"


@dataclass(frozen=True)
class Calibration:
    """How it was calibrated, and figures on the same faces.

    Attributes:
        data: name of the folder of the faces.
        faces, people: how many.
        prior: share of faces for which the presence of AUs was calibrated; None where there are none.
        figures: plain values: means, and "per_label" the same for each label with the counts behind them.
        left: labels that stay as trained, because they are always or never present in these faces.
        rest: what was then made of faces at rest, if there were any.
    """

    data: str
    faces: int
    people: int
    prior: float | None
    figures: dict[str, Any]
    left: tuple[str, ...]
    rest: Rest | None = None

    def __str__(self) -> str:
        means = ", ".join(f"{key} {value:.3f}" for key, value in self.figures.items() if key != "per_label")
        text = f"calibrated on {self.faces} faces of {self.people} people in {self.data}" + f": {means}" * bool(means)
        return text if self.rest is None else f"{text}; {self.rest}"


def open_held_out(trained: Trained, data: Path | None) -> FaceSet:
    """Faces of people whom a run did not learn from, with the network's labels.

    Args:
        trained: the run's network.
        data: aligned or rendered faces; None for those on which the run was validated.

    Raises:
        InputError: they can't be read, have changed since, have none of the labels, or are of people whom the run
            learned from.
    """
    names = trained.net.config.names
    if data is None:
        return _validated(trained).select(names)
    # Each picture is looked at once: it need not stay in memory.
    faces = open_faces(data, "validation" if is_renders(data) else "all", memory=0)
    if not set(names) & set(faces.names):
        raise InputError(f"{data} has none of the network's labels: it has {', '.join(faces.names[:6])}, the network "
                         f"{', '.join(names[:6])}")
    try:
        learned = _open_parts(trained).labeled
    except RtauError as error:
        log.warning("whether %s was trained on people in %s can't be checked: %s", trained.run, data, error)
    else:
        check_apart({"the training": learned, str(data): faces})
    return faces.select(names)


def _validated(trained: Trained) -> FaceSet:
    again = "give faces of other people with --data, or --uncalibrated"
    try:
        faces = _open_parts(trained).validation
    except RtauError as error:
        raise InputError(f"the faces that {trained.run} was validated on can't be opened: {again} ({error})"
                         ) from None
    now, then = Parts(faces, faces).facts()["validation"], trained.saved["facts"].get("data", {}).get("validation", {})
    if now["digest"] != then.get("digest"):
        raise InputError(f"the faces that {trained.run} was validated on have changed since ({now['faces']} now, "
                         f"{then.get('faces', 'unknown')} then), so some may have been learned from: {again}")
    return faces


def _open_parts(trained: Trained) -> Parts[FaceSet]:
    recipe = trained.recipe
    return open_parts(replace(recipe, data=replace(recipe.data, unlabeled=None)),
                      lambda path, part: open_faces(path, part, memory=0))


def calibrate(net: DeployedAuNet, faces: FaceSet, data: str, prior: float = PRIOR, tell: Tell | None = None
              ) -> Calibration:
    """Fit each grade's slope and shift (Platt, 1999) on faces that were not learned from, in place.

    The presence of an AU is calibrated for `prior`; stronger grades are rarer, in the proportion that these faces show.
    Other attributes keep the share that they have in these faces.

    Args:
        net: with calibration that changes nothing.
        faces: with the network's labels. Faces that can't be read are left out with a warning.
        data: what to call them.
        prior: share of faces that show an AU where the network will be used.
        tell: hears of the progress.

    Raises:
        InputError: none of the faces can be read.
    """
    scores, rows = _scores(net, faces, tell)
    faces = faces[rows]
    logits = agreed_logits(scores, net.thresholds.numpy())
    left = []
    for column, name in enumerate(faces.names):
        known, truth = faces.labels[:, column] != 0, faces.labels[:, column] > 0
        if len(set(truth[known].tolist())) < 2:
            left.append(name)
        share = max(truth[known].mean(), 1e-3) if known.any() else 1.0
        for grade in range(net.config.grades):
            if grade:
                known, truth = np.isfinite(faces.intensity[:, column]), faces.intensity[:, column] >= grade + 1
            there = truth[known].mean() if known.any() else 0.0
            wanted = float(np.clip(prior * there / share, _LEAST, 1 - _LEAST)) if au_number(name) else None
            slope, shift = platt(logits[known, column, grade], truth[known], wanted, _SLOPES)
            net.calibration[0, column, grade], net.calibration[1, column, grade] = slope, shift
    if left:
        log.warning("always or never present in %s, so not calibrated: %s", data, ", ".join(left))
    figures = _figures(faces, *read(logits, net.calibration.numpy()), graded=net.config.grades > 1)
    asked = prior if any(map(au_number, faces.names)) else None
    return Calibration(data, len(faces), len(set(faces.subject.tolist()) - {""}), asked, figures, tuple(left))


def settle(net: DeployedAuNet, faces: FaceSet, data: str, tell: Tell | None = None) -> Rest:
    """Lower the presence of Action Units, in place, until no more than `ALARMS` of these faces at rest show one.

    Renders are not reality: a real face at rest may look a little like what the network calls an AU. Nothing is
    raised, and other attributes stay as they are.

    Args:
        net: calibrated.
        faces: at rest, of people who neither test nor matter afterwards. Labels play no part.
        data: what to call them.
        tell: hears of the progress.

    Raises:
        InputError: none of the faces can be read.
    """
    scores, rows = _scores(net, faces, tell)
    slope, shift = (net.calibration[k, :, 0].numpy() for k in (0, 1))
    logits = agreed_logits(scores, net.thresholds.numpy())[..., 0] * slope + shift
    highest = np.quantile(logits, 1 - ALARMS, axis=0)
    shifts = {}
    for column, name in enumerate(net.config.names):
        if au_number(name) and highest[column] > 0:
            net.calibration[1, column, 0] -= float(highest[column])
            shifts[name] = round(float(highest[column]), 3)
            logits[:, column] -= highest[column]
    ordinary = 1 / (1 + np.exp(-np.median(logits, 0)))
    return Rest(data, len(rows), ALARMS, shifts, dict(zip(net.config.names, ordinary.round(5).tolist(), strict=True)))


@torch.no_grad()
def _scores(net: DeployedAuNet, faces: FaceSet, tell: Tell | None) -> tuple[np.ndarray, np.ndarray]:
    """Scores [V, N, C] of the faces that can be read, and which these are."""
    parts: list[np.ndarray] = []
    rows: list[int] = []
    for start in range(0, len(faces), _BATCH):
        crops = []
        for row in range(start, min(start + _BATCH, len(faces))):
            try:
                # The same crop as in the run's own validation.
                crops.append(crops_of([faces.pictures[row]], faces.points[row:row + 1], net.config.size, seed=row))
                rows.append(row)
            except InputError as error:
                log.warning("left out: %s", error)
        if crops:
            parts.append(net.scores(pixels(np.concatenate(crops))).numpy())
        if tell:
            tell(min(start + _BATCH, len(faces)), len(faces))
    if not rows:
        raise InputError(f"none of the {len(faces)} faces to calibrate on can be read")
    return np.concatenate(parts, 1), np.array(rows)


def _figures(faces: FaceSet, presence: np.ndarray, expected: np.ndarray, *, graded: bool) -> dict[str, Any]:
    """Of each label, and their means; what can't be given is left out."""
    per_label: dict[str, dict[str, float | int]] = {}
    for column, name in enumerate(faces.names):
        known, judged = faces.labels[:, column] != 0, np.isfinite(faces.intensity[:, column])
        truth, grades = faces.labels[known, column] > 0, faces.intensity[judged, column]
        values = {"auc": auc(truth, presence[known, column])}
        if graded and judged.any():
            values |= {"icc": icc31(grades, expected[judged, column]), "mae": mae(grades, expected[judged, column])}
        per_label[name] = {**{key: round(value, 4) for key, value in values.items() if np.isfinite(value)},
                           "positives": int(truth.sum()), "negatives": int((~truth).sum())}
    means = {key: [values[key] for values in per_label.values() if key in values] for key in ("auc", "icc", "mae")}
    return {**{key: round(float(np.mean(values)), 4) for key, values in means.items() if values},
            "per_label": per_label}
