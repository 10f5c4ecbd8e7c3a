"""The facts of a run, as JSON beside its table."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .paths import replaced


def meta_path(path: str | Path) -> Path:
    """Where the facts about the output `path` are kept: `aus.csv` -> `aus.csv.meta.json`."""
    path = Path(path)
    return path.with_name(path.name + ".meta.json")


def write_meta(path: str | Path, facts: Mapping[str, Any]) -> Path:
    """Write `facts` beside the output `path`, all or nothing: a reader never sees half a file.

    Args:
        path: the output (such as the CSV file) that the facts are about.
        facts: text, numbers, True, False, None, paths, numpy values, and lists and dicts of these. NaN and
            infinity become null, since JSON has no word for them.

    Returns:
        The file written; an older one is replaced.

    Raises:
        OutputError: it can't be written.
    """
    target = meta_path(path)
    text = json.dumps(_plain(facts), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replaced(target, errors="replace", folder=False, sync=True, alone=False) as file:
        file.write(text)
    return target


def _plain(value: Any) -> Any:
    """The same facts in the types that JSON knows."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(map(_plain, value))
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    return value
