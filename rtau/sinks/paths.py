"""Writing output files: whole or not at all, and saying in one line why that failed."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from ..errors import OutputError

_REASONS = {
    errno.ENOSPC: "the disk is full: free some space; what was written so far is kept",
    errno.EDQUOT: "your disk quota is used up: free some space; what was written so far is kept",
    errno.EACCES: "no permission to write there: choose another place",
    errno.EPERM: "no permission to write there: choose another place",
    errno.EROFS: "that disk is read-only: choose another place",
    errno.EISDIR: "that is a folder: give the name of a file",
    errno.ENOENT: "the folder does not exist: create it, or choose another place",
    errno.ENOTDIR: "a part of that path is a file, not a folder: choose another place",
    errno.EFBIG: "the disk takes no file this large: choose another place; what was written so far is kept",
    errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
}


def os_reason(error: OSError) -> str:
    """Why it failed and what to do, in a few words."""
    return _REASONS.get(error.errno or 0) or error.strerror or str(error)


def output_error(path: Path, error: OSError) -> OutputError:
    """The one-line error for a failed write to `path`."""
    return OutputError(f"can't write {path}: {os_reason(error)}")


def exists_error(path: Path) -> OutputError:
    """The error for a file that may not be replaced."""
    return OutputError(f"{path} exists already: pass --overwrite to replace it, or choose another name")


def claim_folder(folder: Path, names: Iterable[str], *, overwrite: bool = False) -> None:
    """Make a folder for files of these names, before long work begins.

    Raises:
        OutputError: it can't be made, or such a file is there and `overwrite` is False.
    """
    there = next((folder / name for name in names if (folder / name).exists()), None)
    if there is not None and not overwrite:
        raise exists_error(there)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error


def close_output(file: int, path: Path) -> None:
    """Close a descriptor of `open_output`; some file systems say only now that a write has failed.

    Raises:
        OutputError: it did.
    """
    try:
        os.close(file)
    except OSError as error:
        raise output_error(path, error) from error


def open_output(path: Path, *, overwrite: bool = False) -> int:
    """Open `path` for writing and give its descriptor, unbuffered; a device or a pipe may stand there too.

    Raises:
        OutputError: it exists and `overwrite` is False, or it can't be opened.
    """
    flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        special = path.exists() and not stat.S_ISREG(path.stat().st_mode)
        return os.open(path, flags | (os.O_TRUNC if overwrite or special else os.O_EXCL), 0o666)
    except FileExistsError:
        raise exists_error(path) from None
    except OSError as error:
        raise output_error(path, error) from error


def write_bytes(path: Path, data: Any, *, overwrite: bool = False) -> None:
    """Write a whole file at once; `data` is bytes, or an array of them.

    Raises:
        OutputError: it exists and `overwrite` is False, or it can't be written.
    """
    file = open_output(path, overwrite=overwrite)
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(data)
    except OSError as error:
        raise output_error(path, error) from error


@contextlib.contextmanager
def replaced(path: Path, mode: str = "w", *, folder: bool = True, sync: bool = False, alone: bool = True, **options: Any
             ) -> Iterator[IO]:
    """Open a file for writing that takes its place under `path` when all is written.

    Until then it is called `<path>.partial`, or, where other processes may write the same, not `alone`, it has
    a name of its own.

    Args:
        folder: make the folder that it lies in.
        sync: wait until it is on the disk.
        options: of `open`; text is UTF-8.

    Raises:
        OutputError: it can't be written; what was there before stays.
    """
    partial = path.with_name(f"{path.name}.partial" if alone else f".{path.name}.{os.getpid()}.partial")
    try:
        if folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, mode, **{**({} if "b" in mode else {"encoding": "utf-8"}), **options}) as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
