"""How AUs go together: the adjacency of the graph network, from labels or from a published table."""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rtau.errors import InputError

from .data.faces import au_name, au_number

log = logging.getLogger(__name__)


def dependency(labels: np.ndarray) -> np.ndarray:
    """AU dependency of Niu et al. (NeurIPS 2019), signed: what b says about a.

    `P_dep = 1/2 (P(a=+1 | b=+1) + P(a=-1 | b=-1))`, then `2 (P_dep - 0.5)`. That is also the slope of
    a's regression on b, `cov(a, b) / var(b)`: 1 where a follows b, -1 where they exclude each other and one of
    them is always there, 0 where they are independent. It is not symmetric unless both are equally frequent.

    Args:
        labels: [N, C], +1 present, -1 absent, 0 unknown; a pair counts where both are known.

    Returns:
        float64 [C, C] in -1..1, row a, column b; 0 where b was not seen both present and absent.
    """
    return _dependency(labels)[0]


def adjacency(labels: np.ndarray, *, normalized: bool = False, signed: bool = False, prior: np.ndarray | None = None,
              strength: float = 100.0, names: Sequence[str] | None = None) -> np.ndarray:
    """The graph's adjacency: the magnitude of `dependency`, with 1 on the diagonal.

    A label that is always present, always absent or never known depends on nothing but itself, and a warning
    says so; with a prior it takes the prior's values.

    Args:
        labels: [N, C], +1 present, -1 absent, 0 unknown.
        normalized: `D^-1/2 A D^-1/2` with D the row sums of the magnitudes, instead of the paper's plain A.
        signed: keep what excludes each other negative, instead of the paper's magnitude.
        prior: [C, C] as `load_prior` gives it, for small sets: each pair's value is the mean of the labels' and
            the prior's, weighted by the number of faces that know both and by `strength`.
        strength: how many faces the prior counts for.
        names: of the labels, for the warning.

    Returns:
        float64 [C, C], finite.
    """
    dep, pairs = _dependency(labels)
    lone = [i for i in range(len(dep)) if not pairs[i, i]]
    if lone:
        named = ", ".join(names[i] if names is not None else f"label {i + 1}" for i in lone)
        log.warning("never both present and absent among the labels: %s; the graph %s", named,
                    "leaves them alone" if prior is None else "takes them from the prior")
    if prior is not None:
        weight = pairs / np.maximum(pairs + strength, 1e-12)
        dep = weight * dep + (1 - weight) * prior
    np.fill_diagonal(dep, 1.0)
    magnitude = np.abs(dep)
    matrix = dep if signed else magnitude
    if normalized:
        scale = 1 / np.sqrt(magnitude.sum(1))
        matrix = matrix * scale[:, None] * scale[None]
    return matrix


def load_prior(file: Path, names: Sequence[str]) -> np.ndarray:
    """A table of signed dependencies, for label sets too small to estimate their own.

    Args:
        file: CSV. The first row and the first column name the labels, in the same order: AU numbers, "AU01" or
            words; row a, column b holds `2 (P_dep - 0.5)` of a given b.
        names: the labels wanted, in this order; the table may have more.

    Returns:
        float64 [C, C] in -1..1.

    Raises:
        InputError: the file can't be read, is no such table, or lacks a label.
    """
    try:
        with open(file, newline="", encoding="utf-8-sig") as handle:
            rows = [row for row in csv.reader(handle) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"the prior {file} can't be read: {getattr(error, 'strerror', None) or error}") from None
    known = [_label(cell) for cell in rows[0][1:]] if rows else []
    if not known or len(set(known)) != len(known) or [_label(row[0]) for row in rows[1:]] != known:
        raise InputError(f"{file} is no table of dependencies: the first row and the first column must name the same "
                         "labels in the same order, each once")
    matrix = np.empty((len(known), len(known)))
    for a, row in enumerate(rows[1:]):
        if len(row) != len(known) + 1:
            raise InputError(f"{file}: the row of {known[a]} has {len(row) - 1} values, expected {len(known)}")
        for b, cell in enumerate(row[1:]):
            matrix[a, b] = _value(cell, f"{file}: the value of {known[a]} given {known[b]}")
    missing = [name for name in names if _label(name) not in known]
    if missing:
        raise InputError(f"{file} has no {', '.join(missing)}: it knows {', '.join(known)}; leave the prior out, or "
                         "train on labels that it knows")
    order = [known.index(_label(name)) for name in names]
    return matrix[np.ix_(order, order)]


def _dependency(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Dependencies [C, C] and, [C, C], how many faces each rests on: 0 where it is unknown."""
    present, absent = (labels > 0).astype(np.float64), (labels < 0).astype(np.float64)
    both, neither = present.T @ present, absent.T @ absent
    given_present = both + absent.T @ present
    given_absent = neither + present.T @ absent
    defined = (given_present > 0) & (given_absent > 0)
    dep = both / np.maximum(given_present, 1) + neither / np.maximum(given_absent, 1) - 1
    return np.where(defined, dep, 0.0), np.where(defined, given_present + given_absent, 0.0)


def _label(cell: str) -> str:
    word = cell.strip()
    number = int(word) if word.isascii() and word.isdigit() else au_number(word)
    return word if number is None else au_name(number)


def _value(cell: str, where: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        raise InputError(f"{where} is {cell.strip()!r}, expected a number from -1 to 1") from None
    if not -1 <= value <= 1:
        raise InputError(f"{where} is {cell.strip()}, expected a number from -1 to 1")
    return value
