"""Networks that read faces: opening them, from wherever they are, and running them over a set of faces."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rtau.backends import Runner, open_backend
from rtau.crop import align
from rtau.errors import InputError, UsageError
from rtau.landmarks import Landmarker, region_of_points
from rtau.store import Weights, find_weights, open_weights, read_manifest

from ..data.faces import FaceSet, au_name
from .bootstrap import Tell
from .predictions import Predictions

log = logging.getLogger(__name__)

#: Faces that run through a network together.
_BATCH = 64


@dataclass(frozen=True)
class Network:
    """A network ready to read aligned faces.

    Attributes:
        name: for people to read.
        labels: names of its outputs, as in a `FaceSet`.
        size: side of the crops in pixels.
        graded: whether it tells intensity.
        facts: where its weights come from and what runs them, in plain values.
        runner: gives presence [N, C] and intensity [N, C] of crops uint8 [N, size, size, 3], RGB.
    """

    name: str
    labels: tuple[str, ...]
    size: int
    graded: bool
    facts: dict[str, str]
    runner: Runner


def open_network(what: str | Path, *, backend: str = "auto", device: str = "auto", threads: int | None = None
                 ) -> Network:
    """Open a network.

    Args:
        what: the name of shipped weights ("au"), a .safetensors file with its manifest beside it, or the folder of
            a training run, whose best checkpoint is taken.
        backend, device, threads: see `rtau.backends.open_backend`; "auto" runs a training run in torch, which is
            not worth preparing for another engine.

    Raises:
        InputError: there is no such thing, or it reads no faces. UsageError: the engine can't be had.
        RtauError: the weights are damaged.
    """
    path = Path(what)
    if path.is_dir():
        from .trained import open_run
        return open_run(path, backend=backend, device=device, threads=threads)
    if path.suffix == ".safetensors" or path.exists():
        weights = open_weights(path)
    elif str(what) in (known := read_manifest()):
        weights = find_weights(str(what))
    else:
        raise InputError(f"no weights {what}: give a .safetensors file, the folder of a training run, or a shipped "
                         f"name ({', '.join(name for name, w in known.items() if w.facts.get('kind') == 'au')})")
    name = str(what) if str(what) == weights.name else path.name
    return network_of(weights, name, open_backend(_reads_faces(weights), backend, device, threads=threads))


def network_of(weights: Weights, name: str, runner: Runner) -> Network:
    """A network by what the manifest says of its weights."""
    config = weights.facts["config"]
    labels = config.get("names") or [au_name(au) for au in config["aus"]]
    facts = {"file": weights.path.name, "sha256": weights.sha256, "backend": runner.name}
    return Network(name, tuple(labels), int(config["size"]), int(config.get("grades", 5)) > 1, facts, runner)


def evaluate_network(network: Network, faces: FaceSet, *, landmarker: Landmarker | None = None,
                     tell: Tell | None = None) -> Predictions:
    """What a network says of every face, beside the truth.

    Args:
        network: see `open_network`.
        faces: cropped by their points as at run time.
        landmarker: finds the points anew, from a square about those that are given, which may be truer than any
            that are found.
        tell: is told how many faces are done of how many.

    Returns:
        The labels that both know, in the faces' order; NaN for a face that can't be read, with a warning.

    Raises:
        InputError: they have no label in common, or no face can be read.
    """
    names = [name for name in faces.names if name in network.labels]
    if not names:
        raise InputError(f"{network.name} reads none of the faces' labels: it reads {_some(network.labels)}, they "
                         f"have {_some(faces.names)}")
    columns = [network.labels.index(name) for name in names]
    presence = np.full((len(faces), len(names)), np.nan, np.float32)
    expected = np.full_like(presence, np.nan)
    unread = 0
    for start in range(0, len(faces), _BATCH):
        if tell:
            tell(start, len(faces))
        rows, crops = [], []
        for row in range(start, min(start + _BATCH, len(faces))):
            try:
                crops.append(_crop(faces, row, network.size, landmarker))
                rows.append(row)
            except InputError as error:
                unread += 1
                log.warning("left out: %s", error)
        if rows:
            there, grade = network.runner(np.concatenate(crops))[:2]
            presence[rows] = np.clip(there[:, columns], 0, 1)
            if network.graded:
                expected[rows] = np.clip(grade[:, columns], 0, 5)
    if unread == len(faces):
        raise InputError(f"none of the {len(faces)} faces can be read")
    if tell:
        tell(len(faces), len(faces))
    chosen = faces.select(names)
    return Predictions(tuple(names), faces.subject, faces.source, chosen.labels, chosen.intensity, presence, expected,
                       network.name)


def _crop(faces: FaceSet, row: int, size: int, landmarker: Landmarker | None) -> np.ndarray:
    """The aligned face uint8 [1, size, size, 3]. Raises InputError where there is none."""
    if not np.isfinite(faces.points[row]).all():  # would keep OpenCV busy forever
        raise InputError(f"{faces.source[row]} has no points")
    picture, points = faces.pictures[row], faces.points[row][None]
    if landmarker is not None:
        points = landmarker(picture, region_of_points(points[0])[None]).points
    return align(picture, points, size)


def _reads_faces(weights: Weights) -> Weights:
    if weights.facts.get("kind") != "au":
        raise UsageError(f"{weights.path.name} is a network for {weights.facts.get('kind', 'something else')}, and has "
                         "no labels of faces to judge")
    return weights


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
