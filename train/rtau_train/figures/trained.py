"""The best network of a training run, ready to read faces."""

from __future__ import annotations

import tempfile
from pathlib import Path

from safetensors.torch import save_file

from rtau.backends import open_backend
from rtau.errors import InputError
from rtau.model import AuConfig, DeployedAuNet, TwoViewNet
from rtau.store import Weights, sha256_of

from ..checkpoint import load_checkpoint
from .network import Network, network_of


def open_run(folder: Path, *, backend: str = "auto", device: str = "auto", threads: int | None = None) -> Network:
    """Fold the best checkpoint of a run's folder; its probabilities are as trained, not calibrated.

    Args:
        folder: of `rtau train`.
        backend, device, threads: see `network.open_network`.

    Raises:
        InputError: it is no such folder, has no checkpoint yet, or trains no AU network. UsageError: the checkpoint is
            of another version.
    """
    best = folder / "best.pt"
    if not best.is_file():
        raise InputError(f"{folder} holds no best checkpoint ({best.name}): give the folder of rtau train --run, once "
                         "it has validated, or a .safetensors file")
    saved = load_checkpoint(best)
    if saved["facts"].get("task") != "au":
        raise InputError(f"{folder} trains a network that has no labels of faces to judge")
    trained = TwoViewNet(AuConfig.from_dict(saved["facts"]["network"]), saved["averaged"].get("graph.adjacency"))
    trained.load_state_dict(saved["averaged"])
    net = DeployedAuNet.fold(trained)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / best.with_suffix(".safetensors").name
        save_file({key: value.contiguous() for key, value in net.state_dict().items()}, file)
        weights = Weights("au", file, sha256_of(file), {"kind": "au", "config": net.config.as_dict()})
        runner = open_backend(weights, "torch" if backend == "auto" else backend, device, threads=threads)
    return network_of(weights, folder.resolve().name, runner)
