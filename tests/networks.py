"""Networks of one's own for tests: the shipped one under other names, so that its numbers are known."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from rtau.store import MANIFEST, find_weights


def attributes_network(folder: Path, name: Callable[[str], str]) -> Path:
    """The shipped AU network with attributes for labels, as `rtau export` leaves one, beside what the folder's manifest
    names already.

    Args:
        folder: is made if it isn't there.
        name: gives the attribute for a label such as "AU12".
    """
    weights = find_weights("au")
    facts = json.loads(json.dumps(dict(weights.facts)))
    facts["config"].pop("aus", None)
    facts["config"]["names"] = [name(label) for label in weights.labels]
    facts |= {"file": "attributes.safetensors", "aus": []}
    folder.mkdir(exist_ok=True)
    shutil.copy(weights.path, folder / facts["file"])
    manifest = folder / MANIFEST
    entries = json.loads(manifest.read_text("utf-8")) if manifest.exists() else {}
    manifest.write_text(json.dumps(entries | {"attributes": facts}), encoding="utf-8")
    return folder / facts["file"]
