"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], *, words: int = 1) -> str:
    """A table; the first `words` columns are words, the others numbers."""
    ways = [" --- " if column < words else " ---: " for column in range(len(head))]
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join(ways) + "|"]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines)
