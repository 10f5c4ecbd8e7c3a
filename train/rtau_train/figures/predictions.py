"""What a network says of faces, beside the truth; also as a table that any tool can write."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rtau.errors import InputError
from rtau.sinks.paths import replaced

from ..data.table import Table, read_table

#: Columns of a label: probability and intensity as predicted, presence and intensity in truth.
_SUFFIXES = {"presence": "_p", "expected": "_r", "labels": "_truth", "intensity": "_truth_r"}
_COLUMN = re.compile(r"(.+?)(_truth_r|_truth|_p|_r)")
_UNKNOWN = ("", "nan", "na")
#: From this intensity on, FACS grade A, an AU is present where the truth only has intensities.
PRESENT = 1.0


@dataclass(frozen=True)
class Predictions:
    """Truth and prediction of N faces, C labels.

    Attributes:
        names: of the labels, as in `data.faces.FaceSet`.
        subject: str [N], identity; "" where unknown.
        source: str [N], the picture.
        labels: int8 [N, C], +1 present, -1 absent, 0 unknown.
        intensity: float32 [N, C], 0..5 in truth, NaN where unknown.
        presence: float32 [N, C], predicted probability 0..1, NaN where nothing was predicted.
        expected: float32 [N, C], predicted intensity 0..5, NaN where nothing was predicted.
        model: who predicts.
    """

    names: tuple[str, ...]
    subject: np.ndarray
    source: np.ndarray
    labels: np.ndarray
    intensity: np.ndarray
    presence: np.ndarray
    expected: np.ndarray
    model: str = ""

    def __post_init__(self) -> None:
        shape = (len(self.subject), len(self.names))
        for name in _SUFFIXES:
            found = getattr(self, name).shape
            if found != shape:
                raise ValueError(f"{name} has shape {found}, expected {shape}")

    def __len__(self) -> int:
        return len(self.subject)

    def __getitem__(self, rows: np.ndarray | slice | list[int]) -> Predictions:
        """Some of the faces, by slice, mask or list of rows."""
        return replace(self, **{name: getattr(self, name)[rows] for name in ("subject", "source", *_SUFFIXES)})

    def select(self, names: Sequence[str]) -> Predictions:
        """These labels in this order; all must be there."""
        columns = [self.names.index(name) for name in names]
        return replace(self, names=tuple(names), **{name: getattr(self, name)[:, columns] for name in _SUFFIXES})

    def judged(self, column: int) -> np.ndarray:
        """Rows bool [N] in which a label's presence is known and predicted."""
        return (self.labels[:, column] != 0) & np.isfinite(self.presence[:, column])

    def graded(self, column: int) -> np.ndarray:
        """Rows bool [N] in which a label's intensity is known and predicted."""
        return np.isfinite(self.intensity[:, column]) & np.isfinite(self.expected[:, column])


def write_parts(parts: Mapping[str, Predictions], path: Path) -> Path:
    """Write the table that `read_parts` reads, whole or not at all.

    Args:
        parts: of one network, with the same labels; a column says which part a row is of, unless it is "all".

    Raises:
        OutputError: it can't be written.
    """
    first, *_ = parts.values()
    kinds = [kind for kind in _SUFFIXES if kind == "labels" or any(np.isfinite(getattr(p, kind)).any()
                                                                   for p in parts.values())]
    named = ["part"] if list(parts) != ["all"] else []
    with replaced(path, newline="") as file:
        table = csv.writer(file)
        table.writerow(["source", "subject", *named, *(n + _SUFFIXES[kind] for n in first.names for kind in kinds)])
        for part, p in parts.items():
            cells = np.stack([_cells(getattr(p, kind), kind) for kind in kinds], 2).reshape(len(p), -1)
            for row in range(len(p)):
                table.writerow([p.source[row], p.subject[row], *[part] * len(named), *cells[row]])
    return path


def read_parts(path: str | Path, model: str | None = None) -> dict[str, Predictions]:
    """Read a table of predictions, of rtau or of any other tool.

    A CSV with a row per face. For a label AU12: `AU12_p` and `AU12_r`, the predicted probability of presence
    (0..1) and intensity (0..5), and `AU12_truth` (1, 0) and `AU12_truth_r` (0..5) in truth. An empty cell or NaN
    is unknown, or not predicted. A label needs one column of the first two and one of the last two; where truth
    has intensities alone, an AU is present from 1 (A) on. `subject`, `source` and `part` ("validation", "test", or
    any word) are columns too; each may be missing.

    Args:
        path: the table, as `data.table.read_table` takes it.
        model: what to call who predicts; by default the file's name.

    Returns:
        "all" rows, and those of each part.

    Raises:
        InputError: it can't be read, is no such table, or a value in it is none; the line is named.
    """
    table = read_table(path)
    columns, rows = _columns(table), table.rows
    if not rows:
        raise InputError(f"{path} has no rows below the line of names")
    names = tuple(dict.fromkeys(name for name, _ in columns))
    values = {kind: np.full((len(rows), len(names)), np.nan, np.float32) for kind in _SUFFIXES}
    for (name, kind), position in columns.items():
        values[kind][:, names.index(name)] = _numbers(table, rows, position, kind)
    truth, grade = values["labels"], values["intensity"]
    truth = np.where(np.isnan(truth), np.where(np.isnan(grade), np.nan, grade >= PRESENT), truth)
    labels = np.where(np.isnan(truth), 0, np.where(truth > 0, 1, -1)).astype(np.int8)
    words = {name: np.array([cells[table.columns.index(name)].strip() for _, cells in rows]
                            if name in table.columns else [""] * len(rows), str)
             for name in ("subject", "source", "part")}
    everything = Predictions(names, words["subject"], words["source"], labels, grade, values["presence"],
                             values["expected"], model or Path(path).stem)
    return {"all": everything, **{str(part): everything[words["part"] == part] for part in np.unique(words["part"])
                                  if part not in ("", "all")}}


def _columns(table: Table) -> dict[tuple[str, str], int]:
    """Where each value of each label is, by label and kind; labels without truth or prediction are left out."""
    kinds = {suffix: kind for kind, suffix in _SUFFIXES.items()}
    found: dict[str, dict[str, int]] = {}
    for position, name in enumerate(table.columns):
        match = _COLUMN.fullmatch(name)
        if match and found.setdefault(match[1], {}).setdefault(kinds[match[2]], position) != position:
            raise InputError(f"{table.file} has two columns {name}")
    whole = {label: of_label for label, of_label in found.items()
             if {"presence", "expected"} & of_label.keys() and {"labels", "intensity"} & of_label.keys()}
    if not whole:
        raise InputError(f"{table.file} holds no predictions: name columns AU12_p or AU12_r (predicted) and AU12_truth "
                         "or AU12_truth_r (in truth), and so on for each label")
    return {(label, kind): position for label, of_label in whole.items() for kind, position in of_label.items()}


def _numbers(table: Table, rows: list[tuple[int, list[str]]], position: int, kind: str) -> list[float]:
    """Values of a column, NaN where unknown."""
    most = 1.0 if kind in ("presence", "labels") else 5.0
    values = []
    for line, cells in rows:
        text = cells[position].strip()
        value = float("nan") if text.lower() in _UNKNOWN else table.number(line, position, text)
        if not (np.isnan(value) or 0 <= value <= most) or (kind == "labels" and value not in (0, 1) and value == value):
            allowed = "0 or 1" if kind == "labels" else f"from 0 to {most:g}"
            raise InputError(f"{table.file}:{line}: {table.columns[position]} is {text}; it must be {allowed}, or "
                             "empty")
        values.append(value)
    return values


def _cells(values: np.ndarray, kind: str) -> np.ndarray:
    """Values [N, C] as text, empty where unknown."""
    if kind == "labels":
        return np.array(["0", "", "1"], object)[values + 1]
    return np.array([["" if v != v else f"{v:.6g}" for v in row] for row in values.tolist()], object).reshape(
        values.shape)
