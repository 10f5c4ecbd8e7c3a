"""Addresses of folders that lie elsewhere: what is one, and what opens the files below it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit

from rtau.cache import open_https, why_not_safe
from rtau.errors import RtauError, UsageError

#: Beginnings of addresses that fsspec reads, and the package that it needs; "memory" is its own, for trying things.
_STORES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "hdfs": "pyarrow", "memory": ""}
#: A path's parts have single slashes between them, so an address that was taken for one has lost its second.
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+([^/].*)")

#: Opens a file, or (begin, length) of it; gives a stream and its size, None where nobody says.
Open = Callable[[str, tuple[int, int] | None], tuple[IO[bytes], int | None]]


class LostError(RtauError):
    """What lies elsewhere can't be had; unlike a damaged picture, no other may take its place."""


def address_of(path: Path) -> str | None:
    """The address that was given as a path, "https://host/renders"; None for a path."""
    match = _ADDRESS.fullmatch(path.as_posix())
    return f"{match[1]}://{match[2]}" if match else None


def opener(address: str) -> Open:
    """What opens files below an address; it raises FileNotFoundError for what is not there, LostError where trying
    again is of no use, and for all else whatever the library raises.

    Raises:
        UsageError: it is of no known kind, not safe, or a package is missing.
    """
    kind = urlsplit(address).scheme
    if "?" in address or "#" in address or "::" in address or "@" in urlsplit(address).netloc:
        raise UsageError(f"the address of shards may hold no ?, #, :: or password: {kind}://HOST/FOLDER")
    if kind in ("http", "https"):
        if (why := why_not_safe(address)) is not None:
            raise UsageError(f"{address}: {why}")
        return lambda name, span: _from_web(f"{address}/{quote(name)}", span)
    if kind not in _STORES:
        raise UsageError(f"{kind}:// is no kind of address that shards are read from: give https://, "
                         f"{', '.join(f'{store}://' for store in _STORES if _STORES[store])}, or a folder")
    try:
        from fsspec.core import url_to_fs

        store, path = url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise UsageError(f"reading {kind}:// needs more packages ({(str(error).splitlines() or [''])[0]}): pip install "
                         f"fsspec {_STORES[kind]}") from None

    def opened(name: str, span: tuple[int, int] | None) -> tuple[IO[bytes], int | None]:
        if span is not None:
            return io.BytesIO(store.cat_file(f"{path}/{name}", start=span[0], end=sum(span))), span[1]
        return store.open(f"{path}/{name}", "rb"), store.info(f"{path}/{name}")["size"]

    return opened


def _from_web(url: str, span: tuple[int, int] | None) -> tuple[IO[bytes], int | None]:
    try:
        answer = open_https(url, headers={} if span is None else {"Range": f"bytes={span[0]}-{sum(span) - 1}"})
    except HTTPError as error:
        if error.code in (404, 410):
            raise FileNotFoundError(url) from None
        raise
    if span is not None and answer.status != 206:
        answer.close()
        raise LostError(f"{url}: the server gives no pieces of files, and the copy here is full: raise data.cache_gb")
    size = answer.headers.get("Content-Length", "")
    return answer, int(size) if size.isdigit() else None
