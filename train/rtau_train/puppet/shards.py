"""Rendering many pictures into shards: the same bytes however many workers, however often interrupted.

A folder of shards holds `shard-000000.tar`, ... (WebDataset: `00000012.jpg` and `00000012.json`
side by side), a plain folder holds the same files loose; `render.json` says how they were made.
A file is written under a `.partial` name and renamed when it is complete, so what carries its
final name is whole.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtau.errors import InputError, OutputError, UsageError
from rtau.sinks.paths import os_reason, output_error

from ..data.shards import SETTINGS, tar_places
from .workers import Crew, Encoded, Maker

try:
    import fcntl
except ImportError:  # not on Windows, where nothing guards against a second run
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

_PARTIAL = ".partial"

#: Called with the samples that are there and those that there will be.
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Rendered:
    """What `render_shards` did.

    Attributes:
        count: samples in the folder.
        made: samples made by this call; the others were there.
    """

    count: int
    made: int


def render_shards(out: str | Path, *, count: int, size: int, seed: int, make: Callable[[], Maker], workers: int = 1,
                  per_shard: int = 1000, folder: bool = False, quality: int = 95, run: int = 16,
                  settings: Mapping[str, Any] | None = None, report: Report | None = None) -> Rendered:
    """Render `count` samples into a folder; one that was interrupted goes on where it stopped.

    Args:
        out: the folder, made if need be.
        count: samples in all. A folder that holds fewer is extended.
        size: side of the pictures, pixels.
        seed: with a sample's index all that the sample may depend on.
        make: picklable, without arguments; called once in each worker, gives a function from a run of
            indices to pictures and labels.
        workers: processes.
        per_shard: samples in one tar.
        folder: loose files in place of tars.
        quality: of the JPEG files.
        run: samples in a worker's hands at a time, fewer where few are left.
        settings: what else the samples depend on (names to JSON values); must agree when going on.
        report: hears of progress.

    Raises:
        UsageError: the folder was made with other settings, or a number is out of range.
        OutputError: it can't be written.
        RenderError: a sample can't be made, or a worker died.
        KeyboardInterrupt: as it came; what is complete stays.
    """
    out = Path(out)
    if min(count, size, workers, per_shard) < 1:
        raise UsageError("count, size, workers and per_shard must be at least 1")
    wanted = {"seed": seed, "size": size, "quality": quality, "format": "folder" if folder else "shards",
              **({} if folder else {"per_shard": per_shard}), **(settings or {})}
    with _alone(out):
        _agree(out, count, wanted)
        target = _Loose(out, count) if folder else _Tars(out, count, per_shard)
        missing = target.missing()
        made, there = 0, count - sum(map(len, missing))
        if report is not None:
            report(there, count)
        runs = [piece for part in missing for piece in _runs(part, workers, run)]
        if runs:
            with Crew(make, workers=min(workers, len(runs)), size=size, quality=quality) as crew, \
                    contextlib.closing(target):
                for piece, samples in crew.run(runs):
                    for index, sample in zip(piece, samples, strict=True):
                        target.add(index, sample)
                    made += len(piece)
                    if report is not None:
                        report(there + made, count)
    return Rendered(count, made)


def _runs(part: range, workers: int, most: int) -> Iterator[range]:
    """Short runs, shorter where few are left, so that all workers have some."""
    length = max(1, min(most, len(part) // (2 * workers)))
    for start in range(part.start, part.stop, length):
        yield range(start, min(start + length, part.stop))


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold the folder, so that a second run does not write into it; the system lets go of it at any end."""
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
            raise UsageError(f"{out}: another rtau is rendering into it: wait for it, or choose another folder"
                             ) from None
        except OSError as error:  # some network file systems have no locks
            log.debug("%s can't be locked: %s", out, error)
        yield
    finally:
        os.close(handle)


def _agree(out: Path, count: int, wanted: Mapping[str, Any]) -> None:
    """Compare with the settings of an earlier run and keep those of this one."""
    file = out / SETTINGS
    wanted = json.loads(json.dumps(wanted))
    if file.exists():
        try:
            before = json.loads(file.read_text(encoding="utf-8"))
            held = int(before.pop("count"))
        except (ValueError, KeyError, AttributeError, TypeError, OSError) as error:
            raise UsageError(f"{file} can't be read ({type(error).__name__}): choose another folder") from error
        for name in sorted({*before, *wanted}):
            if before.get(name) != wanted.get(name):
                raise UsageError(f"{out} was rendered with {name} {_said(before.get(name))}, not "
                                 f"{_said(wanted.get(name))}: choose another folder, or the same {name}")
        if count < held:
            raise UsageError(f"{out} was begun with count {held}: a larger count extends it, a smaller one ({count}) "
                             "needs another folder")
        if count == held:
            return
    elif any(file.suffix != _PARTIAL for file in out.iterdir()):
        raise UsageError(f"{out} holds other files and no {SETTINGS}: choose an empty folder")
    text = json.dumps({"count": count, **wanted}, indent=1, sort_keys=True) + "\n"
    _write_whole(file, text.encode())


def _said(value: Any) -> str:
    return "none" if value is None else str(value)


def _write_whole(file: Path, data: bytes) -> None:
    """All of a file or nothing of it."""
    partial = file.with_name(file.name + _PARTIAL)
    try:
        with open(partial, "wb") as handle:
            handle.write(data)
        os.replace(partial, file)
    except OSError as error:
        raise output_error(file, error) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


class _Loose:
    """Samples as loose files; the JSON comes last, so a sample with one is complete."""

    def __init__(self, out: Path, count: int) -> None:
        self._out, self._count = out, count

    def missing(self) -> list[range]:
        for leftover in self._out.glob(f"*{_PARTIAL}"):
            leftover.unlink()
        sizes = {entry.name: entry.stat().st_size for entry in os.scandir(self._out)}
        there = [all(sizes.get(f"{index:08d}{kind}") for kind in (".jpg", ".json")) for index in range(self._count)]
        gaps, start = [], None
        for index in range(self._count + 1):
            if index < self._count and not there[index]:
                start = index if start is None else start
            elif start is not None:
                gaps.append(range(start, index))
                start = None
        return gaps

    def add(self, index: int, sample: Encoded) -> None:
        picture, labels = (self._out / f"{index:08d}{kind}" for kind in (".jpg", ".json"))
        try:
            for file, data in zip((picture, labels), sample, strict=True):
                _write_whole(file, data)
        except BaseException:  # a picture without labels is half a sample
            if not labels.exists():
                picture.unlink(missing_ok=True)
            raise

    def close(self) -> None:
        """Nothing is open between samples."""


class _Tars:
    """Samples in tars of `per_shard`, which must be added in order."""

    def __init__(self, out: Path, count: int, per_shard: int) -> None:
        self._out = out
        self._parts = [range(start, min(start + per_shard, count)) for start in range(0, count, per_shard)]
        self._per_shard = per_shard
        self._tar: tarfile.TarFile | None = None
        self._raw: io.BufferedWriter | None = None

    def _file(self, index: int) -> Path:
        return self._out / f"shard-{index // self._per_shard:06d}.tar"

    def missing(self) -> list[range]:
        for leftover in self._out.glob(f"shard-*.tar{_PARTIAL}"):
            leftover.unlink()
        return [part for part in self._parts if not self._complete(part)]

    def _complete(self, part: range) -> bool:
        file = self._file(part.start)
        if not file.exists():
            return False
        expected = [f"{index:08d}{kind}" for index in part for kind in (".jpg", ".json")]
        try:
            names = list(tar_places(file))
        except InputError as error:
            log.warning("%s; it is made anew", error)
            return False
        if names != expected:
            log.info("%s holds %d of %d pictures: it is made anew", file, len(names) // 2, len(part))
        return names == expected

    def add(self, index: int, sample: Encoded) -> None:
        file = self._file(index)
        part = self._parts[index // self._per_shard]
        partial = file.with_name(file.name + _PARTIAL)
        try:
            if index == part.start:
                self._raw = open(partial, "wb")
                self._tar = tarfile.open(fileobj=self._raw, mode="w", format=tarfile.USTAR_FORMAT)
            assert self._tar is not None and self._raw is not None
            for kind, data in zip((".jpg", ".json"), sample, strict=True):
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
        """Drop a shard that is not complete."""
        if self._raw is not None:
            partial = Path(self._raw.name)
            with contextlib.suppress(OSError):  # closing writes what is buffered, and the disk may be full
                self._raw.close()
            with contextlib.suppress(OSError):
                partial.unlink()
            self._tar = self._raw = None
