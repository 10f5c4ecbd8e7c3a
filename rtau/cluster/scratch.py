"""Room on a machine for what a worker fetches and makes; what dead workers left is removed."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path


class Scratch:
    """A folder of its own for this process, locked while it lives.

    Args:
        top: folder for all of them; by default in the machine's own place for such things (`TMPDIR`).
    """

    def __init__(self, top: Path | None = None) -> None:
        user = os.getuid() if hasattr(os, "getuid") else 0
        self._top = top or Path(tempfile.gettempdir(), f"rtau-cluster-{user}")
        self._top.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._top.is_symlink() or (hasattr(os, "getuid") and self._top.stat().st_uid != user):
            # Somebody else's, who could look into it.
            self._top = Path(tempfile.mkdtemp(prefix="rtau-cluster-"))
        self._sweep()
        self.folder = Path(tempfile.mkdtemp(prefix="worker-", dir=self._top))
        self._handle = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        _lock(self._handle)

    def empty(self) -> None:
        """Remove what is in it."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != ".lock":
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove it."""
        os.close(self._handle)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _sweep(self) -> None:
        for folder in self._top.glob("worker-*"):
            with contextlib.suppress(OSError):
                handle = os.open(folder / ".lock", os.O_RDWR)
                try:
                    if _lock(handle):
                        shutil.rmtree(folder, ignore_errors=True)
                finally:
                    os.close(handle)


def _lock(handle: int) -> bool:
    """Whether nobody else holds it; False too where locks are not known."""
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True
