"""Files that are fetched once and kept: where they lie, and how they get there whole."""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import os
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, BinaryIO
from urllib.error import URLError
from urllib.parse import urlsplit

from .errors import RtauError

logger = logging.getLogger(__name__)

#: No file fetched by rtau is larger than this many bytes.
_LIMIT = 500_000_000
_BLOCK = 1 << 20


def cache_folder() -> Path:
    """The folder for files that can be made or fetched again; it may not exist yet.

    `$XDG_CACHE_HOME/rtau` (or `~/.cache/rtau`) on Linux, `~/Library/Caches/rtau` on macOS,
    `%LOCALAPPDATA%/rtau` on Windows.
    """
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "rtau"
    variable, default = (("LOCALAPPDATA", Path.home() / "AppData" / "Local") if sys.platform == "win32"
                         else ("XDG_CACHE_HOME", Path.home() / ".cache"))
    base = Path(os.environ.get(variable) or default)
    return (base if base.is_absolute() else default) / "rtau"


def has_checksum(path: Path, sha256: str) -> bool:
    """Whether a file exists and its SHA-256, in hexadecimal, begins with `sha256`."""
    if not path.is_file():
        return False
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest().startswith(sha256.lower())


def why_not_safe(url: str) -> str | None:
    """Why nothing is fetched from an address: it is neither HTTPS nor of this machine; None where all is well."""
    try:
        parts = urlsplit(url)
        if parts.scheme == "https" or (parts.scheme == "http" and _is_here(parts.hostname or "")):
            return None
    except ValueError:
        return "that is no address"
    return "rtau fetches over https:// alone, which nobody on the way can change"


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect to what is not safe, nor from elsewhere to this machine."""

    def redirect_request(self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: object,
                         newurl: str) -> urllib.request.Request | None:
        here, there = (_is_here(urlsplit(url).hostname or "") for url in (req.full_url, newurl))
        if why_not_safe(newurl) is not None or (there and not here):
            raise URLError(f"it leads on to {newurl}, which is not followed: not https://, or on this machine")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def open_https(url: str, *, headers: Mapping[str, str] | None = None, timeout: float = 30) -> HTTPResponse:
    """Open an address over HTTPS, or of this machine, with whatever it leads on to.

    Raises:
        OSError: it is another kind of address (URLError), or can't be opened.
    """
    if (why := why_not_safe(url)) is not None:
        raise URLError(why)
    request = urllib.request.Request(url, headers=dict(headers or {}))
    return urllib.request.build_opener(_SafeRedirects).open(request, timeout=timeout)


def fetch(url: str, path: Path, *, sha256: str | None, otherwise: str,
          open_url: Callable[[str], BinaryIO] = open_https) -> Path:
    """Fetch a file into its place, unless it is there already.

    It is written under a temporary name beside its place and renamed when it is complete and
    its checksum right: two programs may fetch it at once, and a break leaves nothing behind.

    Args:
        url: where to fetch it.
        path: where to keep it.
        sha256: its checksum in hexadecimal, or the beginning of it. A file that is there with another is fetched
            again; where None is known, a file that is there is taken, and none is fetched.
        otherwise: what the user can do without a network, for the error message.
        open_url: gives a readable binary stream for a URL.

    Returns:
        `path`.

    Raises:
        RtauError: no network, a wrong checksum, or a folder that cannot be written.
    """
    if path.is_file() if sha256 is None else has_checksum(path, sha256):
        return path
    if sha256 is None:
        raise RtauError(f"{path.name} is not fetched from {url}, since nobody has told its checksum: fetch it yourself if "
                        f"you trust that place, or {otherwise}")
    logger.info("fetching %s to %s", url, path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=path.name + ".", suffix=".part", dir=path.parent)
        with os.fdopen(handle, "wb") as file, open_url(url) as stream:
            digest = _copy(stream, file)
        if not digest.startswith(sha256.lower()):
            raise RtauError(f"{url} gave another file than expected (SHA-256 {digest[:16]}..., expected "
                            f"{sha256[:16]}...): {otherwise}")
        os.replace(temporary, path)
        temporary = None
    except (OSError, HTTPException, ValueError) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split()) or type(error).__name__
        raise RtauError(f"{path.name} could not be fetched from {url} ({reason}): {otherwise}") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
    return path


def _copy(stream: BinaryIO, file: BinaryIO) -> str:
    """Copy all of a stream and give its SHA-256 in hexadecimal."""
    digest, size = hashlib.sha256(), 0
    while block := stream.read(_BLOCK):
        size += len(block)
        if size > _LIMIT:
            raise ValueError(f"more than {_LIMIT} bytes")
        digest.update(block)
        file.write(block)
    return digest.hexdigest()
