"""Checkpoints: written whole or not at all, and read only where they fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import rtau
from rtau.errors import InputError, OutputError, UsageError
from rtau.sinks.paths import replaced

#: Of what a checkpoint holds; one of another format is refused.
FORMAT = 2

_AGAIN = "--restart begins anew"


def save_checkpoint(path: Path, values: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Write a checkpoint, replacing the one before only once the new one is whole and on the disk.

    Args:
        path: such as RUN/last.pt.
        values: tensors, numbers, words, and lists and dicts of them.
        facts: what a run must agree in to go on from here: settings and data, as nested dicts of plain values.

    Raises:
        OutputError: the disk is full or can't be written to; the checkpoint before is intact.
    """
    try:
        with replaced(path, "wb", sync=True) as file:
            torch.save({"format": FORMAT, "rtau": rtau.__version__, "facts": dict(facts), **values}, file)
    except (OutputError, RuntimeError) as error:  # torch turns a failed write into a RuntimeError
        kept = f"; the checkpoint before it is intact ({path})" if path.exists() else ""
        raise OutputError(f"the checkpoint {path} can't be written ({_reason(error)}): free some space, then run the "
                          f"same command again{kept}") from error


def load_checkpoint(path: Path, facts: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Read a checkpoint.

    Args:
        path: the file.
        facts: what the run that wants to go on from it says; None to take any.

    Raises:
        InputError: it is damaged or no checkpoint.
        UsageError: it is of another version, or its facts differ; the line says which.
    """
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler and its zip reader do
        raise InputError(f"{path} is no readable checkpoint ({_reason(error)}): {_AGAIN}") from error
    if not isinstance(saved, dict) or not {"format", "rtau", "facts"} <= saved.keys():
        raise UsageError(f"{path} was written by an older rtau: {_AGAIN}")
    if saved["format"] != FORMAT or (facts is not None and saved["rtau"] != rtau.__version__):
        raise UsageError(f"{path} was written by rtau {saved['rtau']} (format {saved['format']}), this is "
                         f"{rtau.__version__} (format {FORMAT}): {_AGAIN}")
    if facts is None:
        return saved
    differences = compare(saved["facts"], facts)
    if differences:
        more = f", and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise UsageError(f"{path.parent} was begun with other settings: {'; '.join(differences[:3])}{more}: choose "
                         f"another folder, or {_AGAIN}")
    return saved


def compare(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """What differs between two nested dicts of plain values: "loop.lr was 0.002, now 0.001", one each."""
    found = []
    for key in [*before, *(k for k in now if k not in before)]:
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += compare(old, new, f"{prefix}{key}.")
        elif _plain(old) != _plain(new):
            found.append(f"{prefix}{key} was {_short(old)}, now {_short(new)}")
    return found


def _plain(value: Any) -> Any:
    return list(map(_plain, value)) if isinstance(value, (list, tuple)) else value


def _short(value: Any) -> str:
    text = "not given" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _reason(error: BaseException) -> str:
    """The system's words where it was the system, however torch wrapped them."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
        inner = inner.__context__
    return (str(error).splitlines() or [type(error).__name__])[0].split(". ")[0]
