"""A folder of exported networks, described by its manifest, to which one is added whole or not at all."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rtau.errors import OutputError, RtauError, UsageError
from rtau.sinks.paths import exists_error, output_error
from rtau.store import MANIFEST, read_manifest

log = logging.getLogger(__name__)


class Shelf:
    """A place for one network's files; a context manager. Files are made in `scratch` and moved by `place`.

    Args:
        folder: is made if it is not there, and removed again if nothing comes of it.
        name: of the network: its key in the manifest, and its files' without their suffix.
        suffixes: of the files that a network may have here.
        overwrite: replace an earlier network of that name.

    Attributes:
        scratch: a hidden folder beside the final place, gone afterwards.

    Raises:
        UsageError: the name is no name of a file.
        OutputError: the name is taken, the manifest is damaged, or the folder can't be written to.
    """

    scratch: Path

    def __init__(self, folder: Path, name: str, suffixes: Sequence[str], *, overwrite: bool = False) -> None:
        if not re.fullmatch(r"\w[\w.+-]*", name):
            raise UsageError(f"{name!r} is no name: give letters, digits, and . _ + - within")
        self._folder, self._name, self._suffixes, self._overwrite = folder, name, suffixes, overwrite
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Shelf:
        for file in (path for path in self._files() if path.exists()):
            if not self._overwrite:
                raise exists_error(file)
            if not file.is_file():
                raise OutputError(f"{file} is a folder: choose another --name")
        if self._name in self._entries() and not self._overwrite:
            raise OutputError(f"{self._folder / MANIFEST} names {self._name!r} already: pass --overwrite to replace "
                              "it, or choose another --name")
        try:
            for parent in reversed([p for p in (self._folder, *self._folder.parents) if not p.exists()]):
                parent.mkdir()
                self._stack.callback(_remove_if_empty, parent)
            self.scratch = Path(self._stack.enter_context(tempfile.TemporaryDirectory(
                dir=self._folder, prefix=f".{self._name}-", suffix=".partial", ignore_cleanup_errors=True)))
        except OSError as error:
            self._stack.close()
            raise output_error(self._folder, error) from error
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def place(self, entry: Mapping[str, Any]) -> None:
        """Move what is in `scratch` to its place, and put the entry into the manifest.

        Raises:
            OutputError: that can't be written.
        """
        made = sorted(self.scratch.iterdir())
        entries, manifest = {**self._entries(), self._name: dict(entry)}, self.scratch / MANIFEST
        text = json.dumps(entries, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        try:
            # Nothing needs room on the disk any more once the first file moves; the manifest does last.
            manifest.write_text(text, encoding="utf-8")
            for file in (*made, manifest):
                os.replace(file, self._folder / file.name)
        except OSError as error:
            raise output_error(self._folder, error) from error
        names = {file.name for file in made}
        old = [file.name for file in self._files() if file.exists() and file.name not in names]
        if old:
            log.warning("%s in %s is of an earlier export: name its --format too, or delete it", ", ".join(old),
                        self._folder)

    def _files(self) -> list[Path]:
        """Where files of this name may lie."""
        return [self._folder / f"{self._name}{suffix}" for suffix in self._suffixes]

    def _entries(self) -> dict[str, dict[str, Any]]:
        """What the manifest lists by now, as it stands there."""
        if not (self._folder / MANIFEST).exists():
            return {}
        try:
            return {name: dict(weights.facts) for name, weights in read_manifest(self._folder).items()}
        except RtauError as error:
            raise OutputError(f"{self._folder / MANIFEST} is damaged ({str(error).partition(': ')[0]}): move it away, "
                              "or choose another folder") from None


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()
