"""One file's part of the data set: `OUT/file=<its name>/part-0.parquet`, and beside it the facts about it.

What begins with `_` is left out by whatever reads such data sets (pyarrow, pandas, Spark, DuckDB's globs).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .location import Location, Stat

TABLE, FACTS = "part-0.parquet", "_meta.json"
#: Runs are told of in this folder of the data set.
RUNS = "_runs"
#: Under which key of the facts stands how they came about.
MADE = "made"
#: A file system may take no longer name than 255 bytes.
_LONGEST = 200


def folder_of(name: str) -> str:
    """The folder of a file's part: `sub/a b.mp4` -> `file=sub%2Fa%20b.mp4`, as Hive writes it.

    Of a very long name only the beginning stands there, and a hash of all of it.
    """
    escaped = quote(name, safe="~", errors="surrogateescape")
    if len(escaped) > _LONGEST:
        mark = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:16]
        # Not in the middle of a %20.
        escaped = f"{escaped[:_LONGEST - 20].rpartition('%')[0] or escaped[:_LONGEST - 20]}~{mark}"
    return f"file={escaped}"


@dataclass(frozen=True)
class Partition:
    """One file's part, in its folder."""

    folder: Location

    @property
    def table(self) -> Location:
        """The rows."""
        return self.folder.child(TABLE)

    def facts(self) -> Mapping[str, Any] | None:
        """The facts beside the table; None where there are none.

        Raises:
            InputError: the place can't be reached.
        """
        data = self.folder.child(FACTS).read()
        if data is None:
            return None
        try:
            facts = json.loads(data)
        except ValueError:
            return None
        return facts if isinstance(facts, Mapping) else None

    def holds(self, facts: Mapping[str, Any]) -> bool:
        """Whether the table that these facts speak of is there."""
        there = self.table.stat()
        made = facts.get(MADE)
        return there is not None and isinstance(made, Mapping) and there.size == made.get("bytes")

    def publish(self, table: Path, facts: Mapping[str, Any], step: Callable[[], object] = lambda: None) -> None:
        """Put the table and its facts there, in place of what is there.

        Whoever ends it at any moment leaves no table that is not a finished one: an older one goes first, the new one
        comes last, after its facts. Two that do it at once leave one table.

        Raises:
            OutputError: that can't be done.
        """
        self.table.remove()
        self.folder.child(FACTS).put(json.dumps(facts, indent=2, ensure_ascii=False).encode(errors="replace") + b"\n")
        self.table.put(table, step)


def same_source(recorded: Any, stat: Stat, sha256: Callable[[], str | None]) -> bool:
    """Whether a file is the one that a record names.

    Args:
        recorded: its inputs.
        stat: what is known of the file now. With the size and token of the record it is the same.
        sha256: gives the hash of its content; asked only where size is equal and token is not.
    """
    if not isinstance(recorded, list) or len(recorded) != 1 or not isinstance(recorded[0], Mapping):
        return False
    before = recorded[0]
    if stat.size is not None and stat.size != before.get("size"):
        return False
    if stat.token is not None and stat.token == before.get("token"):
        return True
    return before.get("sha256") is not None and sha256() == before["sha256"]
