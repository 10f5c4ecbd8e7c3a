"""One run at a time in a folder."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import OutputError
from ..sinks.paths import output_error

#: Of the file in the folder.
NAME = ".rtau.lock"
#: Another machine's lock that nobody renewed for so many seconds is stale. `Lock.renew` is to be called more often.
_STALE = 600.0


class Lock:
    """Held while a run writes into a folder.

    Args:
        file: the lock's file.
        handle: its open descriptor.
    """

    def __init__(self, file: Path, handle: int) -> None:
        self._file, self._handle, self._renewed = file, handle, time.monotonic()

    def renew(self) -> None:
        """Say that the run is alive; may be called as often as one likes."""
        if time.monotonic() - self._renewed > _STALE / 10:
            self._renewed = time.monotonic()
            with contextlib.suppress(OSError):
                os.utime(self._file)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[Lock]:
    """Hold the folder, which is made if it is not there.

    The system lets go of a lock when its process ends, however that happens; of another machine's a file system may
    know nothing, so its age counts.

    Raises:
        OutputError: another run holds it, or the folder can't be written.
    """
    file = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = _grab(file)
    except OSError as error:
        raise output_error(folder, error) from None
    try:
        os.ftruncate(handle, 0)
        os.write(handle, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
        yield Lock(file, handle)
    finally:
        with contextlib.suppress(OSError):
            file.unlink()
        os.close(handle)


def _grab(file: Path) -> int:
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        try:
            alone = _try_lock(handle)
            holder = _holder(handle)
            fresh = time.time() - os.fstat(handle).st_mtime < _STALE
            elsewhere = holder is not None and holder.get("host") != socket.gethostname()
            if not alone or (elsewhere and fresh):
                who = f"process {holder.get('pid')} on {holder.get('host')}" if holder else "another process"
                raise OutputError(f"{file.parent} is being written by another run ({who}): wait for it, or choose "
                                  f"another --out{f'; if it is gone, remove {file}' if alone else ''}")
            # Who held it before may have removed the file in the meantime.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), os.stat(file)):
                    return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _try_lock(handle: int) -> bool:
    """Whether nobody else holds it; True too where the file system knows no locks."""
    try:
        if os.name == "nt":
            import msvcrt

            # Far behind the content, which others are to read.
            os.lseek(handle, 1 << 20, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            os.lseek(handle, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)
    return True


def _holder(handle: int) -> dict | None:
    os.lseek(handle, 0, os.SEEK_SET)
    try:
        holder = json.loads(os.read(handle, 4096))
    except (OSError, ValueError):
        return None
    finally:
        os.lseek(handle, 0, os.SEEK_SET)
    return holder if isinstance(holder, dict) else None
