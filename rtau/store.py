"""Weights, shipped or of one's own: where they are, what the manifest says of them, whether they are intact."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .au import label_of
from .errors import InputError, RtauError

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Weights:
    """One weight file, as the manifest describes it.

    Attributes:
        name: "au" or "landmarks" for the shipped ones, any word for others.
        path: the .safetensors file; `check` says whether it is there.
        sha256: of the file's bytes, 64 hex digits.
        facts: everything the manifest says of it, as it stands there: "aus", "input", "recipe",
            "figures" and what builds the network.
    """

    name: str
    path: Path
    sha256: str
    facts: Mapping[str, Any] = field(repr=False)

    @property
    def labels(self) -> tuple[str, ...]:
        """What the columns of an AU network's outputs are: "AU01", ..., or other attributes; () for other networks."""
        config = self.facts.get("config", {})
        return tuple(config.get("names") or (f"AU{au:02d}" for au in self.facts.get("aus", ())))

    @cached_property
    def columns(self) -> dict[int, int]:
        """The column of each Action Unit, by its number."""
        return {label: column for column, label in enumerate(map(label_of, self.labels)) if isinstance(label, int)}

    @cached_property
    def attributes(self) -> dict[str, int]:
        """The column of each other attribute, by its name as `rtau.au.label_of` makes it."""
        return {label: column for column, label in enumerate(map(label_of, self.labels)) if isinstance(label, str)}

    @property
    def ordinary(self) -> dict[int, float]:
        """Presence 0..1 of each Action Unit that the network sees in ordinary faces at rest; {} where nobody looked."""
        rest = (self.facts.get("calibration") or {}).get("rest") or {}
        told = rest.get("ordinary", {})
        return {au: told[name] for au, column in self.columns.items() if (name := self.labels[column]) in told}

    def check(self) -> Path:
        """The file's path, once its bytes are known to be those that were released.

        Raises:
            RtauError: the file is missing or differs.
        """
        if not self.path.is_file():
            raise RtauError(f"the weights {self.path} are missing: install rtau again, or fetch the whole repository")
        found = sha256_of(self.path)
        if found != self.sha256:
            raise RtauError(f"the weights {self.path} are damaged (sha256 {found[:12]}..., expected "
                            f"{self.sha256[:12]}...): install rtau again, or check the file out again")
        return self.path


def weights_folder() -> Path:
    """The folder of the shipped weights: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "weights"
    return inside if inside.is_dir() else package.parent / "weights"


def read_manifest(folder: Path | None = None) -> dict[str, Weights]:
    """What `manifest.json` lists, by name. Reads no weights.

    Args:
        folder: where the manifest and its files are; the shipped weights by default.

    Raises:
        RtauError: there is no manifest, or it is not one.
    """
    folder = weights_folder() if folder is None else Path(folder)
    path = folder / MANIFEST
    try:
        entries = json.loads(path.read_text("utf-8"))
        return {name: Weights(name, folder / facts["file"], facts["sha256"], MappingProxyType(facts))
                for name, facts in entries.items()}
    except FileNotFoundError:
        raise RtauError(f"no {MANIFEST} in {folder}: install rtau again, or fetch the whole repository") from None
    except OSError as error:
        raise RtauError(f"can't read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RtauError(f"{path} is not a manifest of weights ({type(error).__name__}: {error}): "
                        "install rtau again, or check the file out again") from None


def find_weights(name: str, folder: Path | None = None) -> Weights:
    """The weights of that name, checked.

    Raises:
        RtauError: unknown name, or the file is missing or damaged.
    """
    entries = read_manifest(folder)
    if name not in entries:
        raise RtauError(f"no weights named {name!r}: there are {', '.join(entries) or 'none'}")
    entries[name].check()
    return entries[name]


def open_weights(path: str | Path) -> Weights:
    """The weights in a file, such as `rtau export` wrote, by the manifest beside it; checked.

    Args:
        path: a .safetensors file; "manifest.json" must lie beside it.

    Raises:
        InputError: there is no such file, or no manifest that names it.
        RtauError: the file or the manifest is damaged.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"{path} is no weights file: give a .safetensors file, which rtau export writes")
    if not path.is_file():
        raise InputError(f"there is no weights file {path}: check the name and the folder")
    if not (path.parent / MANIFEST).is_file():
        raise InputError(f"{path} has no {MANIFEST} beside it, which says what it reads: copy it along")
    found = next((w for w in read_manifest(path.parent).values() if w.path.name == path.name), None)
    if found is None:
        raise InputError(f"{path.parent / MANIFEST} does not name {path.name}: copy the manifest that belongs to it")
    found.check()
    return found


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
