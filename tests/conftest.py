"""What all tests share: fixtures, a home folder of their own, one thread, no network."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import shutil
import socket
import tempfile
from pathlib import Path

# Before anything imports numpy or torch: they read this once.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import pytest

ROOT = Path(__file__).resolve().parents[1]

cv2.setNumThreads(1)


def pytest_configure(config: pytest.Config) -> None:
    """Give the run a home folder of its own, so that no test reads or fills the user's cache."""
    home = tempfile.mkdtemp(prefix="rtau-tests-home-")
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "TORCH_HOME"):
        os.environ.pop(name, None)
    os.environ.update(HOME=home, USERPROFILE=home, LOCALAPPDATA=home, XDG_CACHE_HOME=str(Path(home, ".cache")))


def _why_not(marker: str) -> str | None:
    """Why tests so marked can't run here."""
    import torch

    if not torch.cuda.is_available():
        return "torch finds no NVIDIA GPU here"
    if marker == "tensorrt" and importlib.util.find_spec("torch_tensorrt") is None:
        return "torch-tensorrt is not installed: pip install 'rtau[tensorrt]'"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none."""
    for marker in ("cuda", "tensorrt"):
        marked = [item for item in items if item.get_closest_marker(marker)]
        reason = _why_not(marker) if marked else None
        if reason:
            for item in marked:
                item.add_marker(pytest.mark.skip(reason=reason))


def _is_here(host: object) -> bool:
    """Whether a socket address names this machine."""
    if host in (None, "", "localhost", b"localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.decode() if isinstance(host, bytes) else str(host).split("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


@pytest.fixture(autouse=True, scope="session")
def no_network():
    """Python code that tries to leave this machine gets an OSError that says so.

    Sockets that C libraries open themselves (FFmpeg's, for URLs) are out of its reach.
    """
    patch = pytest.MonkeyPatch()
    connect, connect_ex, lookup = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def refuse(host: object) -> None:
        if not _is_here(host):
            raise OSError(f"tests may not use the network, and this one wanted {host!r}")

    def guarded_connect(self, address, /):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            refuse(address[0])
        return connect(self, address)

    def guarded_connect_ex(self, address, /):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            refuse(address[0])
        return connect_ex(self, address)

    def guarded_lookup(host, *args, **kwargs):
        refuse(host)
        return lookup(host, *args, **kwargs)

    patch.setattr(socket.socket, "connect", guarded_connect)
    patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
    patch.setattr(socket, "getaddrinfo", guarded_lookup)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data: `$RTAU_SHARED`, or `../shared/data` beside the checkout."""
    folder = Path(os.environ.get("RTAU_SHARED") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"the shared data is not at {folder}; set RTAU_SHARED to where it is")
    return folder


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """The folder of small pictures and clips; its README says what each is."""
    return ROOT / "tests" / "fixtures"


@pytest.fixture(scope="session")
def sample() -> Path:
    """The clip that comes with rtau: one face in each of 125 frames."""
    return ROOT / "rtau" / "samples" / "astronaut.mp4"
