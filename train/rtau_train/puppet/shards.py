"""Rendering many pictures into shards: the same bytes however many workers, however often interrupted.

A folder of shards holds `shard-000000.tar`, ... (WebDataset: `00000012.jpg` and `00000012.json`
side by side), a plain folder holds the same files loose; `render.json` says how they were made.
What carries its final name is whole; see `data.tars`.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtau.errors import UsageError

from ..data.shards import SETTINGS
from ..data.tars import KINDS, PARTIAL, Encoded, Tars, alone, write_whole
from .workers import Crew, Maker

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
    with alone(out, "rendering into it"):
        _agree(out, count, wanted)
        target = _Loose(out, count) if folder else Tars(out, count, per_shard)
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
    elif any(file.suffix != PARTIAL for file in out.iterdir()):
        raise UsageError(f"{out} holds other files and no {SETTINGS}: choose an empty folder")
    text = json.dumps({"count": count, **wanted}, indent=1, sort_keys=True) + "\n"
    write_whole(file, text.encode())


def _said(value: Any) -> str:
    return "none" if value is None else str(value)


class _Loose:
    """Samples as loose files; the JSON comes last, so a sample with one is complete."""

    def __init__(self, out: Path, count: int) -> None:
        self._out, self._count = out, count

    def missing(self) -> list[range]:
        for leftover in self._out.glob(f"*{PARTIAL}"):
            leftover.unlink()
        sizes = {entry.name: entry.stat().st_size for entry in os.scandir(self._out)}
        there = [all(sizes.get(f"{index:08d}{kind}") for kind in KINDS) for index in range(self._count)]
        gaps, start = [], None
        for index in range(self._count + 1):
            if index < self._count and not there[index]:
                start = index if start is None else start
            elif start is not None:
                gaps.append(range(start, index))
                start = None
        return gaps

    def add(self, index: int, sample: Encoded) -> None:
        picture, labels = (self._out / f"{index:08d}{kind}" for kind in KINDS)
        try:
            for file, data in zip((picture, labels), sample, strict=True):
                write_whole(file, data)
        except BaseException:  # a picture without labels is half a sample
            if not labels.exists():
                picture.unlink(missing_ok=True)
            raise

    def close(self) -> None:
        """Nothing is open between samples."""
