"""Judging a network, or a table of predictions, from what a user names to reports and files."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rtau.au import BP4D, DISFA, EMOTIONET
from rtau.backends import open_backend
from rtau.errors import InputError, UsageError
from rtau.landmarks import Landmarker, LandmarkReader
from rtau.store import find_weights

from ..data.corpus import open_faces
from ..data.faces import FaceSet, au_name, au_number, check_apart
from ..parts import is_aligned
from .bootstrap import Tell
from .comparison import compare
from .measures import tune
from .network import Network, evaluate_network, open_network
from .predictions import Predictions, read_parts
from .report import Settings, figures
from .split import Split, read_split
from .verdict import Judged, Verdict

_SETS = {"emotionet": EMOTIONET, "bp4d": BP4D, "disfa": DISFA}

#: Gives something to tell how many are done, while a bar shows it: faces, or resamples.
Bars = Callable[[str], AbstractContextManager[Tell | None]]


@dataclass(frozen=True)
class Order:
    """What is to be judged.

    Attributes:
        data: renders, aligned faces, or a table of predictions (see `read_parts`).
        weights, against: networks, see `open_network`; for a table, `against` is another.
        part: of the people; by default "test" of renders and of tables with such a column. Of aligned faces "all",
            unless `weights` is a run that was trained on them: then those whom it kept to test or to validate on.
        subjects: only these, all when empty.
        labels: names of labels, AU numbers, or emotionet, bp4d, disfa; all when empty.
        threshold_from: other faces, of the same kind, to tune thresholds on; by default the validation people of
            `data`, if there are any beside those who are judged.
        threshold_part: of those; by default "validation" where there are parts.
        points: "given" with the faces, or "found" by rtau's landmark network, as at run time; "auto" finds them in
            renders, whose own are exact as no network's are.
        backend, device, threads: see `rtau.backends.open_backend`.
        settings: of the intervals.
    """

    data: Path
    weights: str | None = None
    against: str | None = None
    part: str | None = None
    subjects: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    threshold_from: Path | None = None
    threshold_part: str | None = None
    points: str = "auto"
    backend: str = "auto"
    device: str = "auto"
    threads: int | None = None
    settings: Settings = Settings()


def judge(order: Order, bars: Bars = lambda unit: nullcontext()) -> Verdict:
    """Carry out an order.

    Raises:
        RtauError: something named is not there, does not fit, or nothing can be judged; a sentence says what.
    """
    if _is_table(order.data):
        return _judge_tables(order, bars)
    if order.weights is None:
        raise UsageError("which network? Give --weights: a .safetensors file, the folder of a training run, or au")
    splits = _splits(order)
    part = order.part or ("test" if not is_aligned(order.data) else splits[0].usual if splits else "all")
    faces = _only(_open(order.data, part, splits), order.subjects)
    tuning, tuned_on = _open_tuning(order, part, splits)
    networks = _open_networks(order)
    names, notes = _common(faces, networks, order.labels, order.data)
    landmarker = _landmarker(order)
    if tuning is not None:
        check_apart({"the faces to judge": faces, "those to tune thresholds on": tuning})
    faces, tuning = faces.select(names), None if tuning is None else tuning.select(names)
    runs = [(_run(network, faces, landmarker, bars),
             None if tuning is None else _run(network, tuning, landmarker, bars)) for network in networks]
    facts = {"data": str(order.data), "part": part, "points": "given" if landmarker is None else "found",
             "networks": [{"name": network.name, **network.facts} for network in networks]}
    if part in ("train", "all") or is_aligned(order.data):
        notes += [f"{split.run} learned from {count} of these {len(faces)} faces, or from others of the same people: "
                  "its figures are too good." for split in splits if (count := split.learned(faces))]
    if landmarker is not None:
        notes.append("Points found by rtau's landmark network, as at run time.")
    return _verdict(runs, tuned_on, order, bars, facts, notes)


def _judge_tables(order: Order, bars: Bars) -> Verdict:
    if order.weights is not None:
        raise UsageError(f"{order.data} holds predictions already: leave --weights out")
    paths = [order.data, *([Path(order.against)] if order.against else [])]
    if not _is_table(paths[-1]):
        raise UsageError(f"{paths[-1]} is no table of predictions, as {order.data} is: judge two networks on faces, or "
                         "two tables")
    if order.threshold_from is not None and len(paths) > 1:
        raise UsageError("one table can't tune the thresholds of two: give each validation rows of its own, by a "
                         "column part, and leave --threshold-from out")
    runs = []
    for path in paths:
        parts = read_parts(path)
        part = order.part or ("test" if "test" in parts else "all")
        tuning = None
        if order.threshold_from is not None:
            others = read_parts(order.threshold_from)
            wanted = order.threshold_part or ("validation" if "validation" in others else "all")
            tuning = _part(others, wanted, order.threshold_from)
        elif part not in ("validation", "all"):
            tuning = parts.get("validation")
        runs.append((_only(_part(parts, part, path), order.subjects), tuning))
    names = [n for n in runs[0][0].names if n in runs[-1][0].names]
    if not names:
        raise InputError(f"{paths[0]} and {paths[-1]} have no label in common")
    names = _chosen(order.labels, {str(path): p.names for path, (p, _) in zip(paths, runs, strict=True)}) or names
    runs = [(p.select(names), None if t is None else t.select([n for n in names if n in t.names])) for p, t in runs]
    return _verdict(runs, "" if runs[0][1] is None else f"{len(runs[0][1])} other faces", order, bars,
                    {"data": str(order.data), "part": part}, [])


def _verdict(runs: list[tuple[Predictions, Predictions | None]], tuned_on: str, order: Order, bars: Bars,
             facts: dict[str, Any], notes: list[str]) -> Verdict:
    """Of each network's predictions, of the faces to judge and of those to tune thresholds on."""
    thresholds = [None if tuning is None else tune(tuning, tuned_on) for _, tuning in runs]
    judged = []
    for (predictions, tuning), t in zip(runs, thresholds, strict=True):
        with bars("resamples") as tell:
            judged.append(Judged(figures(predictions, t, order.settings, tell), predictions, tuning))
    if len(judged) == 1:
        return Verdict(judged[0], facts=facts, notes=tuple(notes))
    with bars("resamples") as tell:
        comparison = compare(runs[0][0], runs[1][0], (thresholds[0], thresholds[1]), order.settings, tell)
    return Verdict(*judged, comparison, facts, tuple(notes))


def _run(network: Network, faces: FaceSet, landmarker: Landmarker | None, bars: Bars) -> Predictions:
    with bars("faces") as tell:
        return evaluate_network(network, faces, landmarker=landmarker, tell=tell)


# -- what is judged --------------------------------------------------------------------------


def _is_table(path: Path) -> bool:
    if not path.exists():
        raise InputError(f"{path} is not there: give faces (of rtau data render or rtau data align), or a table of "
                         "predictions")
    return path.is_file()


def _only(people: FaceSet | Predictions, subjects: tuple[str, ...]) -> Any:
    """The faces of some subjects, or of all where none is named."""
    stranger = next((name for name in subjects if name not in people.subject), None)
    if stranger is not None:
        there = np.unique(people.subject).tolist()
        raise UsageError(f"there is no subject {stranger}: there are {', '.join(there[:8])}{' ...' * (len(there) > 8)}")
    return people[np.isin(people.subject, subjects)] if subjects else people


def _splits(order: Order) -> list[Split]:
    """Of the runs among the networks that were trained on these very faces."""
    runs = [Path(what) for what in (order.weights, order.against) if what is not None and Path(what).is_dir()]
    return [split for run in runs if (split := read_split(run)) is not None and split.is_of(order.data)]


def _open(path: Path, part: str, splits: list[Split]) -> FaceSet:
    if splits and part != "all" and is_aligned(path):
        return splits[0].open(part)
    return open_faces(path, part)  # type: ignore[arg-type]  (it says which parts there are)


def _open_tuning(order: Order, part: str, splits: list[Split]) -> tuple[FaceSet | None, str]:
    """Faces to tune thresholds on, none where there are no others; and what to call them."""
    if order.threshold_from is not None:
        if _is_table(order.threshold_from):
            raise UsageError(f"{order.threshold_from} is a file: tune a network's thresholds on faces")
        wanted = order.threshold_part or ("all" if is_aligned(order.threshold_from) else "validation")
        faces = open_faces(order.threshold_from, wanted)  # type: ignore[arg-type]
        return faces, f"{len(faces)} {wanted} faces of {order.threshold_from}".replace(" all ", " ")
    if part in ("validation", "all") or (is_aligned(order.data) and not splits):
        return None, ""
    try:
        faces = _open(order.data, "validation", splits)
    except InputError:  # whatever is damaged was said when the data were opened: nobody there validates
        return None, ""
    return faces, f"{len(faces)} validation faces"


def _part(parts: dict[str, Predictions], part: str, path: Path) -> Predictions:
    if part not in parts:
        raise InputError(f"{path} has no rows of part {part}: " + (
            f"choose from {', '.join(parts)}" if len(parts) > 1 else "it has no column part"))
    return parts[part]


def _open_networks(order: Order) -> list[Network]:
    """One or two; of one name they are told apart by what the user calls them."""
    asked = [what for what in (order.weights, order.against) if what is not None]
    networks = [open_network(what, backend=order.backend, device=order.device, threads=order.threads) for what in asked]
    if len({network.name for network in networks}) < len(networks):
        networks = [replace(network, name=what) for network, what in zip(networks, asked, strict=True)]
    return networks


def _landmarker(order: Order) -> Landmarker | None:
    if order.points not in ("auto", "given", "found"):
        raise UsageError(f"unknown points {order.points!r}: choose from auto, given, found")
    if order.points == "given" or (order.points == "auto" and is_aligned(order.data)):
        return None
    weights = find_weights("landmarks")
    return LandmarkReader(weights, open_backend(weights, order.backend, order.device, threads=order.threads))


# -- which labels ----------------------------------------------------------------------------


def _common(faces: FaceSet, networks: list[Network], words: tuple[str, ...], data: Path) -> tuple[list[str], list[str]]:
    """The labels to judge, in the faces' order, and notes on those that a network does not read."""
    holders = {str(data): faces.names, **{network.name: network.labels for network in networks}}
    names = _chosen(words, holders)
    if names:
        return names, []
    names = [name for name in faces.names if all(name in network.labels for network in networks)]
    if not names:
        raise InputError("; ".join(f"{who} has {', '.join(labels[:8])}{' ...' * (len(labels) > 8)}"
                                   for who, labels in holders.items()) + ": there is no label in common")
    left = [name for name in faces.names if name not in names]
    return names, [f"Left out, as not every network reads them: {', '.join(left)}."] if left else []


def _chosen(words: tuple[str, ...], holders: dict[str, tuple[str, ...]]) -> list[str]:
    """The labels that a user names, each once; of a named set those that all holders have.

    Raises:
        UsageError: a holder does not have one.
    """
    names: list[str] = []
    for word in words:
        if word.lower() in _SETS:
            names += [au_name(au) for au in _SETS[word.lower()]
                      if all(au_name(au) in labels for labels in holders.values())]
            continue
        name = au_name(int(word)) if word.isdigit() else au_name(au_number(word) or 0) if au_number(word) else word
        for who, labels in holders.items():
            if name not in labels:
                raise UsageError(f"{who} has no label {name}: it has {', '.join(labels)}")
        names.append(name)
    if words and not names:
        raise UsageError(f"{' and '.join(holders)} have none of the labels {', '.join(words)} in common")
    return list(dict.fromkeys(names))
