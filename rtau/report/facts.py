"""How a table was made, by the facts beside it, and what is known of how far its numbers can be trusted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..au import are_attributes
from ..errors import RtauError
from ..sinks.meta import meta_path
from ..store import read_manifest, weights_folder

_WEAK_LINE = re.compile(r"^\s*-\s*\*\*AU (.+?)\*\*", re.MULTILINE)
_WEAK = re.compile(r"(\d+) \((\.\d+|0\.\d+|1\.0+)\)")


def read_facts(table: Path) -> tuple[dict[str, Any], str | None]:
    """What lies beside a table as `.meta.json`.

    Returns:
        The facts, {} if there are none, and one line on why there are none, else None.
    """
    path = meta_path(table)
    try:
        facts = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}, f"{path.name} is not beside the table: how it was made is not known."
    except (OSError, ValueError):
        return {}, f"{path.name} can't be read: how the table was made is not known."
    if not isinstance(facts, dict):
        return {}, f"{path.name} holds no facts: how the table was made is not known."
    return facts, None


def made_from(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """The inputs that the facts name, () if none."""
    inputs = facts.get("inputs")
    return tuple(word for word in inputs if isinstance(word, str)) if isinstance(inputs, list) else ()


def provenance(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The facts as lines for people, heading and value; every one that is there, nested ones with a dot."""
    heads = {"rtau": "rtau version", "weights.file": "weights", "weights.sha256": "weights' SHA-256",
             "inputs": "input", "frames_with_face": "frames with a face", "max_faces": "faces followed at most",
             "frames_per_second": "frames analysed per second", "source.fps": "source, frames per second",
             "source.size": "source, size", "source.name": "source, name", "source.start": "from second",
             "source.end": "to second", "source.every": "each n-th frame", "aus": "Action Units"}
    lines = []
    for name, value in _flat(facts):
        if value is None or name == "error" or name.startswith("record."):  # that is for `--resume`
            continue
        if name == "inputs" and isinstance(value, list) and len(value) > 5:
            value = [*value[:5], f"and {len(value) - 5} more"]
        if name == "aus" and isinstance(value, list) and are_attributes(value):
            name = "attributes"
        if name == "source.size" and isinstance(value, list):
            value = "x".join(map(str, value))
        lines.append((heads.get(name, name.replace("_", " ").replace(".", ", ")), _words(value)))
    return lines


def weak_aus(facts: Mapping[str, Any]) -> dict[int, float] | None:
    """The AUs that the card of the shipped weights calls not reliable, with their AUC.

    Returns:
        {} if the card names none; None if the table was not made with these weights, or that can't be told.
    """
    weights = facts.get("weights")
    made_with = weights.get("sha256") if isinstance(weights, Mapping) else None
    try:
        shipped = read_manifest().get("au")
        card = (weights_folder() / "MODEL_CARD.md").read_text("utf-8")
    except (RtauError, OSError):
        return None
    if shipped is None or made_with != shipped.sha256:
        return None
    return read_weak(card)


def read_weak(card: str) -> dict[int, float]:
    """AU and AUC of each that stands in bold under "Not reliable" in a model card."""
    part = card.partition("\n## Not reliable")[2].partition("\n## ")[0]
    line = _WEAK_LINE.search(part)
    return {int(au): float(auc) for au, auc in _WEAK.findall(line[1])} if line else {}


def _flat(facts: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    lines = []
    for name, value in facts.items():
        if isinstance(value, Mapping):
            lines += _flat(value, f"{before}{name}.")
        else:
            lines.append((f"{before}{name}", value))
    return lines


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
