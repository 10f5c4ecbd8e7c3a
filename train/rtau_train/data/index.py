"""`index.json`: names, sizes and SHA-256 sums of a folder of shards, for those who read it from elsewhere."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from rtau.errors import InputError

from . import crops, renders
from .shards import SETTINGS
from .tars import write_whole

INDEX = "index.json"
#: Names that an index may list; none leads out of its folder.
NAME = re.compile(r"(shard|faces)-\d{6,9}\.tar|render\.json|renders\.npz|faces\.json|faces\.npz")


def write_folder_index(folder: Path) -> int:
    """Write `index.json` of a folder of shards, for those who read it from elsewhere; gives the number of its shards.

    Raises:
        InputError: it holds no shards, or they are damaged. OutputError: it can't be written.
    """
    folder = Path(folder)
    if (folder / crops.HEADER).exists():
        crops.write_index(folder)
        others = [crops.HEADER, crops.INDEX]
    elif (folder / SETTINGS).exists() and any(folder.glob("shard-*.tar")):
        renders.write_index(folder)
        others = [SETTINGS, renders.INDEX]
    else:
        raise InputError(f"{folder} holds no shards: give a folder that rtau data align or rtau data render wrote, not "
                         "as loose files")
    shards = sorted(file.name for file in folder.glob("*.tar") if NAME.fullmatch(file.name))
    files = {name: {"bytes": (folder / name).stat().st_size, "sha256": _sum(folder / name)} for name in others + shards}
    write_whole(folder / INDEX, (json.dumps({"files": files}, indent=1) + "\n").encode())
    return len(shards)


def checked_index(index: Any) -> dict[str, dict[str, Any]]:
    """The files of an index: "bytes" and "sha256" by name. Raises ValueError, TypeError, KeyError or AttributeError."""
    files = index["files"]
    for name, facts in files.items():
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a shard")
        if not (isinstance(facts["bytes"], int) and facts["bytes"] >= 0 and re.fullmatch("[0-9a-f]{64}", facts["sha256"])):
            raise ValueError(f"{name} has no size and sum")
    return files


def _sum(file: Path) -> str:
    with open(file, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
