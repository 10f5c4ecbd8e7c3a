"""A table as JSON lines: one object per row, with the names and the numbers of the CSV, null where it has NaN.

Not to be taken for the messages of `rtau.streams`, which have one object per frame.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from .rows import LineFile, line_maker, template_form


class JsonlRows(LineFile):
    """Writes rows as JSON objects, each on a line."""

    def _head(self) -> str:
        return ""

    def _make_line(self) -> Callable[[list, str], str]:
        fields = [f"{json.dumps(column.name)}:{template_form(column)}" for column in self.layout.columns]
        return line_maker(self.layout, "{" + ",".join(fields) + "}\n", "null", _string)


def _string(text: str) -> str:
    """A JSON string; bytes that are no text (odd file names) are replaced."""
    return json.dumps(text.encode(errors="replace").decode())
