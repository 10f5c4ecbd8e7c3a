"""Networks in an engine's own form: made once, which takes seconds, and kept in the cache folder."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from ..cache import cache_folder
from ..store import Weights

log = logging.getLogger(__name__)

#: Modules that define networks: a kept one is made anew when one changes.
_CODE = ("model", "view", "trunk", "backbones", "finder")


def kept_file(weights: Weights, engine: str, version: str, suffix: str) -> Path:
    """Where an engine keeps a network; the name changes with the weights, rtau's networks and the engine.

    Args:
        weights: which network.
        engine: folder of the engine's files.
        version: of the engine, and of whatever else its files depend on.
        suffix: of the file.
    """
    home = Path(__file__).parent.parent
    code = hashlib.sha256(b"".join((home / f"{name}.py").read_bytes() for name in _CODE)).hexdigest()
    key = hashlib.sha256(f"{weights.sha256} {code} {version}".encode()).hexdigest()[:24]
    return cache_folder() / engine / f"{weights.name}-{key}{suffix}"


def say_preparing(weights: Weights) -> None:
    """Tell the user why it takes longer this once."""
    log.info("preparing the %s network for this machine, once", weights.name)


def keep(file: Path, write: Callable[[Path], object]) -> None:
    """Put a file, and others of the same stem, into the cache whole; a folder that can't be written is only said.

    Args:
        file: where it is to lie.
        write: makes it at the path that it is given, and the others beside it. What it raises comes through, but
            for OSError.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent) as scratch:
            made = Path(scratch) / f"network{file.suffix}"
            write(made)
            # It is looked for by its own name, so it goes last.
            for other in sorted(Path(scratch).iterdir(), key=lambda other: other == made):
                os.replace(other, file.with_suffix(other.suffix))
    except OSError as error:
        log.warning("the prepared network can't be kept in %s (%s): the next start will be slow too", file.parent, error)
