"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from rtau.sinks.paths import output_error


@contextlib.contextmanager
def replaced(path: Path, mode: str = "w", **options: Any) -> Iterator[IO]:
    """Open a file for writing that takes its place under `path` when all is written; the folder is made.

    Raises:
        OutputError: it can't be written; what was there before stays.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, mode, encoding=None if "b" in mode else "utf-8", **options) as file:
            yield file
        os.replace(partial, path)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
