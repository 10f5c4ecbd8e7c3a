"""Networks as the suite needs them: a file that the whole pipeline reads, and one that reads aligned faces."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rtau.analyze import Analyzer
from rtau.backends import open_backend
from rtau.errors import InputError
from rtau.landmarks import Landmarker, LandmarkReader
from rtau.store import MANIFEST, find_weights, open_weights, read_manifest, sha256_of

from ..figures.network import Network, open_network


@dataclass(frozen=True)
class Candidate:
    """A network to judge.

    Attributes:
        name: what the user calls it.
        file: its .safetensors, with a manifest beside it.
        backend, device, threads: see `rtau.backends.open_backend`.
        trained: whether it comes from a run, as trained, and is not calibrated.
    """

    name: str
    file: Path
    backend: str = "auto"
    device: str = "auto"
    threads: int | None = None
    trained: bool = False

    def analyzer(self, *, smooth: str = "off", detect_width: int | tuple[int, ...] | None = None) -> Analyzer:
        """The whole pipeline; it has seen nothing yet."""
        return Analyzer(model=self.file, smooth=smooth, detect_width=detect_width, backend=self.backend,
                        device=self.device, threads=self.threads)

    def network(self) -> Network:
        """What reads aligned faces."""
        network = open_network(self.file, backend=self.backend, device=self.device, threads=self.threads)
        return replace(network, name=self.name)

    def landmarker(self) -> Landmarker:
        """What finds the points of a face at run time."""
        weights = find_weights("landmarks")
        return LandmarkReader(weights, open_backend(weights, self.backend, self.device, threads=self.threads))


@contextmanager
def opened(what: str, *, backend: str = "auto", device: str = "auto", threads: int | None = None
           ) -> Iterator[Candidate]:
    """A network by what a user calls it: a shipped name, a .safetensors file, or the folder of a training run.

    Raises:
        InputError: there is no such thing. RtauError: it is damaged.
    """
    path = Path(what)
    if path.is_dir():
        with tempfile.TemporaryDirectory() as scratch:
            yield Candidate(what, _fold(path, Path(scratch)), backend, device, threads, trained=True)
    elif path.suffix == ".safetensors" or path.exists():
        yield Candidate(what, open_weights(path).path, backend, device, threads)
    elif what in (known := read_manifest()):
        yield Candidate(what, find_weights(what).path, backend, device, threads)
    else:
        raise InputError(f"no weights {what}: give a .safetensors file, the folder of a training run, or a shipped "
                         f"name ({', '.join(name for name, w in known.items() if w.facts.get('kind') == 'au')})")


def _fold(run: Path, folder: Path) -> Path:
    """The best network of a run as a file."""
    from safetensors.torch import save_file

    from ..export.trained import open_trained

    trained = open_trained(run)
    if trained.kind != "au":
        raise InputError(f"{run} trains a network that has no labels of faces to judge")
    file = folder / f"{run.resolve().name}.safetensors"
    save_file({key: value.contiguous() for key, value in trained.fold().state_dict().items()}, file)
    entry = {**trained.describe(), "file": file.name, "sha256": sha256_of(file)}
    (folder / MANIFEST).write_text(json.dumps({"au": entry}), "utf-8")
    return file
