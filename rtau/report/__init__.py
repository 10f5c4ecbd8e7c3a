"""Reports: one HTML page, and tables of statistics and events, from a table that rtau wrote.

`write_report` makes the page, `write_summary` and `write_events` the tables. What is counted is in `table`, `events`
and `statistics`, which know nothing of the page. The names are loaded when first used, since the command line imports
this package to know its options.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .exports import write_events, write_summary
    from .table import Table, read_table
    from .write import Report, report_path, write_report

__all__ = ["Report", "Table", "read_table", "report_path", "write_events", "write_report", "write_summary"]

_HOMES = {"Report": "write", "Table": "table", "read_table": "table", "report_path": "write", "write_events": "exports",
          "write_report": "write", "write_summary": "exports"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
