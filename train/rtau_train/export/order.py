"""Exporting a run, from what a user names to files in their place."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rtau.errors import UsageError
from rtau.finder import FinderNet
from rtau.model import AuConfig, DeployedAuNet, LandmarkNet
from rtau.sinks.paths import output_error
from rtau.store import sha256_of

from ..data.corpus import open_faces
from .calibrate import PRIOR, Calibration, Tell, calibrate, open_held_out, settle
from .drift import Drift, DriftError, measure
from .formats import Format, Safetensors, output_names
from .onnx_file import Onnx
from .probe import open_probe
from .shelf import Shelf
from .tensorrt import TensorRt
from .trained import Trained, open_trained

#: By the names that users give them.
FORMATS: dict[str, Format] = {"safetensors": Safetensors(), "onnx": Onnx(), "tensorrt": TensorRt()}

#: What networks without a calibration are called.
_WORDS = {"landmarks": "landmark network", "detector": "detector"}

#: Gives something to tell how many are done, while a bar shows it.
Bars = Callable[[str], AbstractContextManager[Tell | None]]


@dataclass(frozen=True)
class Order:
    """What is to be exported.

    Attributes:
        run: folder of `rtau train`.
        out: folder for the files and their manifest.
        name: of the files; by default what the network reads or finds, "au", "attributes", "landmarks" or "detector".
        formats: names of `FORMATS`; "safetensors" is always among them.
        data: labeled faces of people whom the run did not learn from, see `calibrate.open_held_out`.
        prior: share of faces that show an AU where the network will be used.
        rest: aligned faces at rest, see `calibrate.settle`.
        uncalibrated: leave probabilities as trained.
        crops: faces on which the files are checked, see `probe.open_probe`.
        overwrite: replace an earlier export of this name.
        lower_presence: of a landmark network: what to take off the log-odds that there is a face.
    """

    run: Path
    out: Path
    name: str | None = None
    formats: Sequence[str] = ()
    data: Path | None = None
    prior: float = PRIOR
    rest: Path | None = None
    uncalibrated: bool = False
    crops: Path | None = None
    overwrite: bool = False
    lower_presence: float = 0.0


@dataclass(frozen=True)
class Written:
    """One file: where it is, and how far it lies from the checkpoint."""

    path: Path
    drift: Drift


@dataclass(frozen=True)
class Exported:
    """What came of an order.

    Attributes:
        files: the .safetensors file first.
        entry: the manifest's.
        calibration: a sentence on how it was calibrated.
        aus: numbers of the AUs that it reads.
    """

    files: tuple[Written, ...]
    entry: dict[str, Any] = field(repr=False)
    calibration: str
    aus: tuple[int, ...]


def export(order: Order, bars: Bars = lambda unit: contextlib.nullcontext()) -> Exported:
    """Carry out an order: fold, calibrate, write, check against the checkpoint, put in place.

    Raises:
        InputError: the run, the data or the crops can't be read, or don't fit.
        UsageError: the checkpoint is of another version, or a format's packages are missing.
        DriftError: a file does not do what the checkpoint does; nothing is left behind.
        OutputError: the folder can't be written, or holds another network of that name.
    """
    for name in ("data", "rest"):
        if order.uncalibrated and getattr(order, name) is not None:
            raise UsageError(f"--uncalibrated and --{name} contradict each other: leave one out")
    chosen = {name: FORMATS[name] for name in dict.fromkeys(("safetensors", *order.formats))}
    for form in chosen.values():
        form.check()
    trained = open_trained(order.run)
    if unfit := next((name for name, form in chosen.items() if trained.kind not in form.tolerance), None):
        raise UsageError(f"a {trained.kind} can't be written as {unfit}: leave --format {unfit} out")
    if order.lower_presence:
        if not isinstance(trained.net, LandmarkNet):
            raise UsageError("--lower-presence is for landmark networks: leave it out")
        trained.net.presence.bias.data -= order.lower_presence
    suffixes = [form.suffix for form in FORMATS.values()]
    name = _usual_name(trained) if order.name is None else order.name
    with Shelf(order.out, name, suffixes, overwrite=order.overwrite) as shelf:
        net = trained.fold()
        calibration = _calibrate(order, trained, net, bars)
        entry = _describe(trained, net, calibration)
        if order.lower_presence:
            entry["presence_lowered"] = order.lower_presence
        probe = open_probe(order.crops, trained.kind, trained.size)
        drifts = {}
        for key, form in chosen.items():
            file = shelf.scratch / f"{name}{form.suffix}"
            try:
                form.write(net, file, entry)
                drifts[key] = measure(form.open(file, entry), trained.net, net, probe.crops,
                                      form.tolerance[trained.kind])
            except OSError as error:
                raise output_error(order.out / file.name, error) from error
            if drifts[key].broken:
                raise DriftError(f"{file.name} does not do what {order.run / 'best.pt'} does ({drifts[key]} in "
                                 f"{probe.where}): nothing was written")
        files = {key: {"file": f"{name}{form.suffix}", "sha256": sha256_of(shelf.scratch / f"{name}{form.suffix}"),
                       "drift": {k: float(f"{v:.3g}") for k, v in drifts[key].values.items()}}
                 for key, form in chosen.items()}
        own = files.pop("safetensors")
        entry = {"file": own["file"], "sha256": own["sha256"], **entry, "drift": own["drift"],
                 **({"also": files} if files else {})}
        shelf.place(entry)
    written = tuple(Written(order.out / f"{name}{form.suffix}", drifts[key]) for key, form in chosen.items())
    return Exported(written, entry, _sentence(trained, calibration), tuple(entry.get("aus", ())))


def _usual_name(trained: Trained) -> str:
    config = trained.net.config
    return "attributes" if isinstance(config, AuConfig) and not config.aus else trained.kind


def _calibrate(order: Order, trained: Trained, net: DeployedAuNet | LandmarkNet | FinderNet, bars: Bars) -> Calibration | None:
    """Calibrate an AU network in place."""
    if not isinstance(net, DeployedAuNet):
        if given := next((name for name in ("data", "rest") if getattr(order, name) is not None), None):
            raise UsageError(f"a {_WORDS[trained.kind]} has nothing to calibrate: leave --{given} out")
        return None
    if order.uncalibrated:
        return None
    faces = open_held_out(trained, order.data)
    path = order.data or trained.recipe.data.validation or trained.recipe.data.labeled or trained.recipe.renders
    with bars("faces") as tell:
        calibration = calibrate(net, faces, path.name if path else "", order.prior, tell)
    if order.rest is None:
        return calibration
    at_rest = open_faces(order.rest, memory=0)
    with bars("faces") as tell:
        return replace(calibration, rest=settle(net, at_rest, order.rest.name, tell))


def _describe(trained: Trained, net: DeployedAuNet | LandmarkNet | FinderNet, calibration: Calibration | None
              ) -> dict[str, Any]:
    """The manifest's entry, but for the files."""
    facts = {**trained.describe(), "outputs": list(output_names(net))}
    if calibration is not None:
        return {**facts, "calibration": {"data": calibration.data, "faces": calibration.faces,
                                         "people": calibration.people, "prior": calibration.prior,
                                         "as_trained": list(calibration.left), **_settled(calibration)},
                "validation": calibration.figures}
    figures = {key: round(float(value), 5) for key, value in trained.saved["figures"].items()
               if key != "score" and value == value}
    return {**facts, **({"calibration": None} if trained.kind == "au" else {}), "validation": figures}


def _settled(calibration: Calibration) -> dict[str, Any]:
    return {} if calibration.rest is None else {"rest": asdict(calibration.rest)}


def _sentence(trained: Trained, calibration: Calibration | None) -> str:
    if calibration is not None:
        return str(calibration)
    return {"au": "probabilities as trained, not calibrated", "landmarks": "points need no calibration",
            "detector": "scores as trained"}[trained.kind]
