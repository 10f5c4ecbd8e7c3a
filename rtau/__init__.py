"""Reads facial Action Units from cameras, videos and pictures, in real time and offline.

The public names are loaded when first used, so that `import rtau` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .analyze import Analyzer
    from .au import AUS
    from .model import load_model
    from .source import open_source

__version__ = "0.1.0"

__all__ = ["AUS", "Analyzer", "__version__", "load_model", "open_source"]

_HOMES = {"AUS": "au", "Analyzer": "analyze", "load_model": "model", "open_source": "source"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
