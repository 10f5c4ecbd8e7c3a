"""Folders of shards that lie elsewhere, `https://host/renders` or `s3://bucket/faces`, and their copies here.

A copy fills as it is read: a shard is fetched whole when something in it is first asked for, and ahead of that by
a thread, until the copy is as large as it may be; what lies beyond is read picture by picture. Which picture is which
never depends on what is here already. `index.json`, which `rtau data index` writes, holds sizes and SHA-256 sums.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from rtau.errors import InputError, RtauError, UsageError
from rtau.sinks.paths import output_error

from . import crops, renders
from .addresses import LostError, opener
from .index import INDEX, NAME, checked_index
from .shards import SETTINGS
from .tars import ELSEWHERE, Place, first_line, tar_name, tar_places, write_whole

try:
    import fcntl
except ImportError:  # Windows, where two processes may fetch the same shard
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

_TRIES, _BLOCK = 4, 1 << 20
#: Bytes that an index or a header takes at most.
_MOST_TOLD = 64 << 20


class Mirror:
    """A folder elsewhere, and its copy here.

    Args:
        address: of the folder, without a / at the end.
        folder: of the copy.
        most: bytes that the shards here may take.
        pause: seconds before the first new try; doubled each time.

    Raises:
        UsageError: the address is of no known kind, or not safe.
    """

    def __init__(self, address: str, folder: Path, *, most: int, pause: float = 1.0) -> None:
        self.address, self.folder = address.rstrip("/"), Path(folder)
        self._most, self._pause = most, pause
        self._open = opener(self.address)
        self._known: dict[str, dict[str, Any]] = {}
        self._beyond: set[str] = set()
        self.shards: tuple[str, ...] = ()

    def open(self) -> bool:
        """Fetch all but the shards, and make the copy known to whoever reads from it.

        Returns:
            Whether shards may come later, since all that is known of their pictures is here.

        Raises:
            LostError: it can't be had. InputError: it is no folder of shards. OutputError: the copy can't be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._read_index()
        aligned = self.bring(crops.HEADER, missing=True)
        if not aligned and not self.bring(SETTINGS, missing=True):
            raise InputError(f"{self.address} holds neither {crops.HEADER} nor {SETTINGS}: give a folder that rtau data "
                             "align or rtau data render wrote, with shards")
        header = self.folder / (crops.HEADER if aligned else SETTINGS)
        try:
            told = json.loads(header.read_text("utf-8"))
            count = -(-int(told["count"]) // int(told["per_shard"]))
            if not 0 < count < 10**6:
                raise ValueError(f"{count} shards")
        except (ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError, OSError) as error:
            raise InputError(f"{self.address}/{header.name} does not say what shards there are ({first_line(error)})"
                             ) from error
        self.shards = tuple(tar_name(number, crops.STEM if aligned else "shard") for number in range(count))
        ELSEWHERE[self.folder] = self._read
        return self.bring(crops.INDEX if aligned else renders.INDEX, missing=True)

    def fetch(self, report: Callable[[int, int], None]) -> None:
        """Fetch all shards. Raises LostError; UsageError where they are too many for the copy."""
        for number, name in enumerate(self.shards):
            report(number, len(self.shards))
            if not self.bring(name):
                raise UsageError(f"{self.address} is larger than {self._most / 1e9:g} GB: raise data.cache_gb")
        report(len(self.shards), len(self.shards))

    def fetch_ahead(self) -> None:
        """Fetch shards in a thread while others read what is there; ends with the process."""
        threading.Thread(target=self._ahead, name="shards", daemon=True).start()

    def _ahead(self) -> None:
        try:
            for name in self.shards:
                if not self.bring(name):
                    return
        except RtauError as error:  # whoever needs the shard will say so
            log.debug("%s", error)

    # -- one file ----------------------------------------------------------------------------

    def bring(self, name: str, *, missing: bool = False) -> bool:
        """Have a file here, whole; whether it is: False for a shard beyond `most`, or what may be `missing`.

        Raises:
            LostError: it can't be had. OutputError: the disk is full.
        """
        file = self.folder / name
        if name in self._beyond:
            return False
        with _held(self.folder / f".{name}.lock"):
            if file.exists():
                return True
            try:
                return self._again(name, lambda: self._download(name, file))
            except FileNotFoundError:
                if missing:
                    return False
                raise LostError(f"{self.address} has no {name}, which its {INDEX} or header names: put it there"
                                ) from None

    def _download(self, name: str, file: Path) -> bool:
        shard, known = name.endswith(".tar"), self._known.get(name, {})
        stream, size = self._open(name, None)
        with contextlib.closing(stream):
            size = known.get("bytes", size)
            room = self._most - self._used() if shard else self._most if name.endswith(".npz") else _MOST_TOLD
            if shard and (size or 0) > room:
                self._beyond.add(name)
                return False
            part, digest, there = file.with_name(f".{name}.part"), hashlib.sha256(), 0
            with _written(part) as target:
                while block := stream.read(_BLOCK):
                    there += len(block)
                    if there > room:
                        raise InputError(f"{self.address}/{name} is larger than {room / 1e6:.0f} MB: raise data.cache_gb, "
                                         "or look at what lies there")
                    digest.update(block)
                    target.write(block)
        if size is not None and there != size:
            raise OSError(f"{there} of {size} bytes came")
        if known.get("sha256") not in (None, digest.hexdigest()):
            raise OSError(f"its SHA-256 is not the one in {INDEX}")
        if shard and not known:
            try:
                tar_places(part, empty=True)
            except InputError as error:
                raise OSError("it is cut short or no tar") from error
        os.replace(part, file)
        return True

    def _used(self) -> int:
        return sum(entry.stat().st_size for entry in os.scandir(self.folder) if entry.name.endswith(".tar"))

    def _read(self, place: Place) -> bytes:
        """The bytes of a picture whose shard was not here."""
        file, begin, length = place
        if self.bring(file.name):
            with open(file, "rb") as handle:
                handle.seek(begin)
                return handle.read(length)

        def piece() -> bytes:
            stream, _ = self._open(file.name, (begin, length))
            with contextlib.closing(stream):
                data = stream.read(length)
            if len(data) != length:
                raise OSError(f"{len(data)} of {length} bytes came")
            return data

        return self._again(file.name, piece)

    def _again(self, name: str, work: Callable[[], Any]) -> Any:
        """What `work` gives, after a few tries."""
        for number in range(_TRIES):
            try:
                return work()
            except (RtauError, FileNotFoundError):
                raise
            except Exception as error:  # each library has errors of its own for a server that is not there
                reason = " ".join(str(getattr(error, "reason", None) or error).split()) or type(error).__name__
                log.info("%s/%s: %s", self.address, name, reason)
            if number + 1 < _TRIES:
                time.sleep(self._pause * 2**number)
        raise LostError(f"{self.address}/{name} can't be fetched ({reason}), tried {_TRIES} times: see that the server "
                        "is there, and give the same command again, which goes on")

    # -- what there is -----------------------------------------------------------------------

    def _read_index(self) -> None:
        """Sizes and sums, if there are any; what is here of another index is dropped."""
        file, before = self.folder / INDEX, {}
        with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
            before = checked_index(json.loads(file.read_text("utf-8")))
        with _held(self.folder / f".{INDEX}.lock"):
            try:
                data = self._again(INDEX, lambda: _limited(self._open(INDEX, None)[0]))
                self._known = checked_index(json.loads(data))
            except FileNotFoundError:
                data = b'{"files": {}}'
            except (ValueError, AttributeError, TypeError, KeyError) as error:
                raise InputError(f"{self.address}/{INDEX} is damaged ({first_line(error)}): write it again with rtau data "
                                 "index") from error
            for entry in list(os.scandir(self.folder)):
                now = self._known.get(entry.name)
                if NAME.fullmatch(entry.name) and (
                        now != before.get(entry.name) or (now and now["bytes"] != entry.stat().st_size)
                        or (not now and not entry.name.endswith(".tar"))):
                    os.unlink(entry.path)
            write_whole(file, data)


def _limited(stream: IO[bytes]) -> bytes:
    with contextlib.closing(stream):
        data = stream.read(_MOST_TOLD + 1)
    if len(data) > _MOST_TOLD:
        raise ValueError(f"more than {_MOST_TOLD >> 20} MB")
    return data


@contextlib.contextmanager
def _held(lock: Path) -> Iterator[None]:
    """Alone among threads and processes of this machine."""
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise output_error(lock, error) from error
    try:
        if fcntl is not None:
            with contextlib.suppress(OSError):  # some network file systems have no locks
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _written(part: Path) -> Iterator[IO[bytes]]:
    """A file to write; a full disk is an error of its own, and no reason for another try."""
    with open(part, "wb") as file:
        yield _Disk(part, file)  # type: ignore[misc]


class _Disk:
    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path, self._file = path, file

    def write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise output_error(self._path, error) from error
