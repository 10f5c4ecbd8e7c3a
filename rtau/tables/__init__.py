"""Tables of other formats and other tools: read, converted, compared.

`layout` names the columns, `files` reads CSV, JSONL and Parquet, `reading` turns what any of the tools wrote into
rtau's own columns, `convert` writes it anew, `compare` says how far two tables agree. The names are loaded when first
used, since the command line imports this package to know its options.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .compare import Comparison, compare_tables
    from .convert import Conversion, convert_table
    from .reading import TableFile, open_table_file

__all__ = ["Comparison", "Conversion", "TableFile", "compare_tables", "convert_table", "open_table_file"]

_HOMES = {"Comparison": "compare", "Conversion": "convert", "TableFile": "reading", "compare_tables": "compare",
          "convert_table": "convert", "open_table_file": "reading"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
