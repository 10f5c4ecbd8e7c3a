"""Places where files lie: on this machine, or in anything that fsspec knows (S3, HTTP, Google Cloud, Azure, SFTP)."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..errors import InputError, OutputError, RtauError, UsageError
from ..sinks.paths import output_error, replaced

_CHUNK = 4 << 20
#: A transfer that breaks off is begun so often, after so many seconds each time.
_WAITS = (1.0, 4.0)
#: Seconds without a byte after which a server is given up.
_SILENCE = 60
#: Where an object appears when all of it has arrived, so that it needs no other name until then.
_WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "memory"})
#: Under which names file systems tell what changes with a file's content.
_TOKENS = ("ETag", "etag", "Content-MD5", "content_md5", "generation", "mtime", "LastModified", "last_modified",
           "Last-Modified", "updated", "created")


def is_location(text: str) -> bool:
    """Whether this names a place as fsspec does, with a scheme."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) is not None


@dataclass(frozen=True)
class Stat:
    """What is known of a file that was not read.

    Attributes:
        size: bytes; None where the server does not say.
        token: changes with the content: an ETag or the time of change; None where the server says neither.
    """

    size: int | None = None
    token: str | None = None


@dataclass(frozen=True)
class Location:
    """A file or a folder somewhere.

    Args:
        url: with a scheme, or a path on this machine.

    Raises:
        UsageError: it holds a password, or is no single place.
    """

    url: str

    def __post_init__(self) -> None:
        if self.local is not None:
            return
        if "::" in self.url:
            raise UsageError(f"{self.shown}: chains of file systems (::) are not taken; name one place")
        try:
            secret = urlsplit(self.url).password
        except ValueError as error:
            raise UsageError(f"{self.shown} is no location: {error}") from None
        if secret is not None:
            raise UsageError(f"{self.shown}: passwords and keys don't belong in a command, where others can read them: "
                             "put them into the environment (docs/cluster.md)")

    @property
    def scheme(self) -> str:
        """In small letters; "file" on this machine."""
        return self.url.partition("://")[0].lower() if is_location(self.url) else "file"

    @property
    def web(self) -> bool:
        """Whether it is on a web server, which can only be read."""
        return self.scheme in ("http", "https")

    @property
    def local(self) -> Path | None:
        """The path on this machine, in full; None elsewhere."""
        if self.scheme not in ("file", "local"):
            return None
        path = self.url.partition("://")[2] if is_location(self.url) else self.url
        return Path(os.path.abspath(path))

    @property
    def shown(self) -> str:
        """For people and records: without a query, which may be a signature, and without a password."""
        if self.local is not None:
            return str(self.local).encode("utf-8", "backslashreplace").decode()
        url = re.sub(r"[?#].*", "", self.url) if self.web else self.url
        return re.sub(r"(?<=://)[^/@]*@", "", url)

    def child(self, name: str) -> Location:
        """What lies in this folder under that name, which may hold slashes."""
        return Location(str(self.local / name) if self.local is not None else f"{self.url.rstrip('/')}/{name}")

    def stat(self) -> Stat | None:
        """Size and token; None where nothing is.

        Raises:
            InputError: the place can't be reached.
        """
        with self._reading():
            try:
                # Others may have written there since.
                self.system.invalidate_cache()
                return stat_of(self.system.info(self.path))
            except FileNotFoundError:
                return None

    def read(self) -> bytes | None:
        """All that is in a small file; None where nothing is.

        Raises:
            InputError: it can't be read.
        """
        with self._reading():
            try:
                return self.system.cat_file(self.path)
            except FileNotFoundError:
                return None

    def fetch(self, to: Path, step: Callable[[], object] = lambda: None, size: int | None = None) -> None:
        """Copy the file to this machine.

        Args:
            to: the file to write; its folder exists.
            step: called for each piece.
            size: how many bytes are expected, if that is known.

        Raises:
            InputError: it can't be read, or has another size. OutputError: there is no room for it.
        """
        for wait in (*_WAITS, None):
            try:
                with self._reading():
                    got = self._copy(to, step)
            except InputError as error:
                if wait is None or isinstance(error.__cause__, (FileNotFoundError, PermissionError)):
                    raise
            else:
                if size is None or got == size:
                    return
                if wait is None:
                    raise InputError(f"{self.shown} gave {got} bytes in place of {size}: it is being changed, or the "
                                     "connection broke")
            step()
            time.sleep(wait)

    def put(self, data: bytes | Path, step: Callable[[], object] = lambda: None) -> None:
        """Write the file, whole or not at all, in place of what is there.

        Args:
            data: its bytes, or a file on this machine that holds them.

        Raises:
            OutputError: it can't be written.
        """
        step()
        if self.local is not None:
            # Two attempts may write the same.
            with replaced(self.local, "wb", alone=False, sync=True) as file:
                if isinstance(data, Path):
                    with data.open("rb") as source:
                        shutil.copyfileobj(source, file, _CHUNK)
                else:
                    file.write(data)
            return
        with self._writing():
            if self.scheme in _WHOLE:
                self._send(data, self.path)
            else:
                folder, _, name = self.path.rpartition("/")
                self.system.makedirs(folder, exist_ok=True)
                aside = f"{folder}/_{name}.{uuid.uuid4().hex}"
                self._send(data, aside)
                self.system.mv(aside, self.path)
        step()

    def remove(self) -> None:
        """Let nothing be there.

        Raises:
            OutputError: it can't be removed.
        """
        with self._writing(), contextlib.suppress(FileNotFoundError):
            self.system.rm_file(self.path)

    def files(self) -> dict[str, Mapping[str, Any]]:
        """Every file below this folder, in the file system's own names, with what that tells of it; {} where
        there is no such folder.

        Raises:
            InputError: it can't be read.
        """
        with self._reading():
            self.system.invalidate_cache()
            try:
                return self.system.find(self.path, detail=True)
            except FileNotFoundError:
                return {}

    @property
    def system(self) -> Any:
        """fsspec's file system."""
        return _opened(self.url, self.shown)[0]

    @property
    def path(self) -> str:
        """The name within the file system."""
        return _opened(self.url, self.shown)[1]

    def _copy(self, to: Path, step: Callable[[], object]) -> int:
        got = 0
        # A server may not know how to send a part, so a web page's file is taken in one go.
        with self.system.open(self.path, "rb", **({"block_size": 0} if self.web else {})) as source:
            try:
                file = to.open("wb")
            except OSError as error:
                raise output_error(to, error) from None
            with file:
                while chunk := source.read(_CHUNK):
                    try:
                        file.write(chunk)
                    except OSError as error:
                        raise OutputError(f"no room to fetch {self.shown} on this machine: {error.strerror}") from None
                    got += len(chunk)
                    step()
        return got

    def _send(self, data: bytes | Path, path: str) -> None:
        if isinstance(data, Path):
            self.system.put_file(str(data), path)
        else:
            self.system.pipe_file(path, data)

    def _reading(self) -> contextlib.AbstractContextManager[None]:
        return self._telling(InputError, f"{self.shown} is not there; check the name", f"{self.shown} can't be read")

    def _writing(self) -> contextlib.AbstractContextManager[None]:
        return self._telling(OutputError, f"can't write {self.shown}: there is no such folder or bucket",
                             f"can't write {self.shown}")

    @contextlib.contextmanager
    def _telling(self, kind: type[RtauError], gone: str, failed: str) -> Iterator[None]:
        """Turn whatever a file system throws into an error of ours, in one line."""
        try:
            yield
        except RtauError:
            raise
        except FileNotFoundError as error:
            raise kind(gone) from error
        except Exception as error:
            raise kind(f"{failed}: {self._reason(error)}") from error

    def _reason(self, error: Exception) -> str:
        """In one line, without what may be secret."""
        said = (str(error).splitlines() or [""])[0].replace(self.url, self.shown)
        said = re.sub(r"\?[^\s'\"]+", "", re.sub(r"(?<=://)[^/@\s]*@", "", said))[:200]
        return said if isinstance(error, OSError) and said else f"{type(error).__name__}{f': {said}' * bool(said)}"


def stat_of(info: Mapping[str, Any]) -> Stat:
    """What a file system tells of a file, in few words."""
    token = next((info[name] for name in _TOKENS if info.get(name) is not None), None)
    return Stat(info.get("size"), None if token is None else str(token))


@lru_cache(maxsize=512)
def _opened(url: str, shown: str) -> tuple[Any, str]:
    """fsspec's file system and the name in it.

    Raises:
        UsageError: there is no such kind, or its package is missing.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise UsageError("locations need further packages: pip install 'rtau[ray]'") from None
    options: dict[str, Any] = {}
    if url.lower().startswith(("http://", "https://")):
        try:
            import aiohttp
        except ImportError:
            raise UsageError("http locations need further packages: pip install 'rtau[ray]'") from None
        # A large file may take as long as it likes while bytes come.
        options["client_kwargs"] = {"timeout": aiohttp.ClientTimeout(total=None, sock_connect=_SILENCE,
                                                                     sock_read=_SILENCE)}
    try:
        return url_to_fs(url, **options)
    except ImportError as error:
        raise UsageError(f"{shown} needs another package: {error}") from None
    except ValueError as error:
        raise UsageError(f"{shown} is no location: {error}") from None
