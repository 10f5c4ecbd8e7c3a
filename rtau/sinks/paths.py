"""Opening an output file, and saying in one line why that failed."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

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
