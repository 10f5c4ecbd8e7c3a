"""Samples in WebDataset tars: `00000012.jpg` and `00000012.json` side by side, the same bytes on every day.

A file is written under a `.partial` name and renamed when it is complete, so what carries its
final name is whole.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import tarfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import cv2
import numpy as np

from rtau.errors import InputError, OutputError, UsageError
from rtau.picture_size import picture_size
from rtau.sinks.paths import os_reason, output_error, replaced

try:
    import fcntl
except ImportError:  # not on Windows, where nothing guards against a second run
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

PARTIAL = ".partial"
#: Pixels of a stored picture: far more than any that rtau makes, far fewer than fill the memory.
_MOST_PIXELS = 1 << 25
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)
KINDS = (".jpg", ".json")

#: A picture's JPEG bytes and its labels' JSON bytes.
Encoded = tuple[bytes, bytes]

#: Where a picture's bytes lie: the file, the first byte, how many.
Place = tuple[Path, int, int]

#: Folders that are copies of others elsewhere, and what reads a picture whose shard is not in them yet.
ELSEWHERE: dict[Path, Callable[[Place], bytes]] = {}

#: What to do about damaged renders.
RENDER_AGAIN = "delete it and render again, or fetch it anew"


def tar_name(number: int, stem: str = "shard") -> str:
    """The name of the tar of this number, from 0: "shard-000000.tar"."""
    return f"{stem}-{number:06d}.tar"


def tar_places(file: Path, *, empty: bool = False, again: str = RENDER_AGAIN) -> dict[str, tuple[int, int]]:
    """Where each file in a tar begins and how long it is, in order.

    Args:
        file: the tar.
        empty: whether it may hold nothing.
        again: what to do if it is damaged, for the error.

    Raises:
        InputError: it is damaged or cut short.
    """
    try:
        with tarfile.open(file, "r:") as tar:
            members = tar.getmembers()
        # A tar cut between two files reads well; only its end marker tells.
        end = max((member.offset_data + member.size for member in members), default=0)
        whole = (bool(members) or empty) and file.stat().st_size >= end + 1024
    # A header that promises terabytes ends as one of the last two.
    except (tarfile.TarError, OSError, EOFError, ValueError, MemoryError, OverflowError) as error:
        raise InputError(f"{file} is no readable shard ({first_line(error)}): {again}") from error
    if not whole:
        raise InputError(f"{file} is cut short: {again}")
    odd = next((member for member in members if member.type not in _PLAIN or member.issparse()), None)
    if odd is not None:
        raise InputError(f"{file} holds {odd.name!r}, which is no plain file: {again}")
    return {member.name: (member.offset_data, member.size) for member in members}


def read_place(place: Place, again: str = RENDER_AGAIN) -> bytes:
    """The bytes that lie there; `again` says what to do if they can't be read. Raises InputError."""
    file, begin, length = place
    try:
        with open(file, "rb", buffering=0) as handle:
            handle.seek(begin)
            return handle.read(length)
    except FileNotFoundError as error:
        if file.parent in ELSEWHERE:
            return ELSEWHERE[file.parent](place)
        raise InputError(f"{file} can't be read ({error.strerror}): {again}") from error
    except OSError as error:
        raise InputError(f"{file} can't be read ({error.strerror}): {again}") from error


def decode(jpeg: bytes, name: str, again: str = RENDER_AGAIN) -> np.ndarray:
    """A stored picture as uint8 [H, W, 3], RGB.

    Raises:
        InputError: it is damaged; `name` is said, and `again` is what to do.
    """
    width, height = picture_size(jpeg) or (0, 0)
    fits = jpeg.endswith(b"\xff\xd9") and 0 < width * height <= _MOST_PIXELS
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) if fits else None
    if image is None:
        raise InputError(f"{name}: the picture can't be decoded: {again}")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def write_whole(file: Path, data: bytes) -> None:
    """Write all of a file or nothing of it. Raises OutputError."""
    with replaced(file, "wb") as handle:
        handle.write(data)


@contextlib.contextmanager
def alone(out: Path, doing: str) -> Iterator[None]:
    """Hold a folder, made if need be, so that a second run does not write into it; it is let go at any end.

    Args:
        out: the folder.
        doing: what is done to it, for the error, such as "rendering into it".

    Raises:
        UsageError: another run holds it. OutputError: it can't be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        handle = os.open(out, os.O_RDONLY) if fcntl is not None else None
    except OSError as error:
        raise OutputError(f"can't write into {out}: {os_reason(error)}") from error
    if fcntl is None or handle is None:
        yield
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"{out}: another rtau is {doing}: wait for it, or choose another folder") from None
        except OSError as error:  # some network file systems have no locks
            log.debug("%s can't be locked: %s", out, error)
        yield
    finally:
        os.close(handle)


class Tars:
    """A folder of tars, each with the samples of `per_shard` consecutive numbers, which must be added in order.

    Args:
        out: the folder.
        count: numbers in all.
        per_shard: numbers to a tar.
        without: numbers that have no sample.
        stem: how the tars' names begin.
    """

    def __init__(self, out: Path, count: int, per_shard: int, without: Collection[int] = (), stem: str = "shard"
                 ) -> None:
        self._out, self._stem = out, stem
        self._parts = [range(start, min(start + per_shard, count)) for start in range(0, count, per_shard)]
        self._per_shard = per_shard
        self._without = without
        self._tar: tarfile.TarFile | None = None
        self._raw: io.BufferedWriter | None = None

    def _file(self, index: int) -> Path:
        return self._out / tar_name(index // self._per_shard, self._stem)

    def missing(self) -> list[range]:
        """The numbers of the tars that are not there or not whole, a range for each; leftovers are removed."""
        for leftover in self._out.glob(f"{self._stem}-*.tar{PARTIAL}"):
            leftover.unlink()
        return [part for part in self._parts if not self._complete(part)]

    def _complete(self, part: range) -> bool:
        file = self._file(part.start)
        if not file.exists():
            return False
        expected = [f"{index:08d}{kind}" for index in part if index not in self._without for kind in KINDS]
        try:
            names = list(tar_places(file, empty=not expected))
        except InputError as error:
            log.warning("%s; it is made anew", error)
            return False
        if names != expected:
            log.info("%s holds %d of %d pictures: it is made anew", file, len(names) // 2, len(part))
        return names == expected

    def add(self, index: int, sample: Encoded | None) -> None:
        """The next sample, or None where this number has none. Raises OutputError."""
        file = self._file(index)
        part = self._parts[index // self._per_shard]
        partial = file.with_name(file.name + PARTIAL)
        try:
            if index == part.start:
                self._raw = open(partial, "wb")
                self._tar = tarfile.open(fileobj=self._raw, mode="w", format=tarfile.USTAR_FORMAT)
            assert self._tar is not None and self._raw is not None
            for kind, data in zip(KINDS, sample, strict=True) if sample is not None else ():
                member = tarfile.TarInfo(f"{index:08d}{kind}")  # owner, group and time stay 0
                member.size, member.mode = len(data), 0o644
                self._tar.addfile(member, io.BytesIO(data))
            if index == part.stop - 1:
                self._tar.close()
                self._raw.flush()
                os.fsync(self._raw.fileno())
                self._raw.close()
                os.replace(partial, file)
                self._tar = self._raw = None
        except OSError as error:
            raise output_error(file, error) from error

    def close(self) -> None:
        """Drop a tar that is not complete."""
        if self._raw is not None:
            partial = Path(self._raw.name)
            with contextlib.suppress(OSError):  # closing writes what is buffered, and the disk may be full
                self._raw.close()
            with contextlib.suppress(OSError):
                partial.unlink()
            self._tar = self._raw = None
