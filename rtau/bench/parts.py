"""The measurements of `rtau bench`, each a table or two."""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from ..backends import open_backend
from ..cores import cores
from ..crop import align
from ..errors import UsageError
from ..pipeline import Outcome
from ..sinks import TerminalSink, open_overlay
from ..store import find_weights
from ..types import Frame, Scores, Status
from .clip import Clip
from .machine import Spent
from .report import Column, Report, Table
from .scenes import Again, crowd, play_file, play_images, write_clip
from .start import time_process, time_program

#: Size of the pictures in which there are crowds.
_CROWD = (1280, 720)
_FACES = (1, 2, 4, 8, 16)
_HEIGHTS = (360, 720, 1080, 2160)
_BATCHES = (1, 2, 4, 8, 16, 32)
_RATES = (30, 60)
#: Times that a program is started.
_STARTS = 5

_FPS = Column("frames/s", better="more")
_BUSY = Column("cores busy", better="less", digits=2)
_MEDIAN, _P95, _P99 = (Column(name, "ms", "less", 2) for name in ("median", "p95", "p99"))


@dataclass(frozen=True)
class Settings:
    """What is measured, and how long.

    Attributes:
        video: a clip with a face.
        seconds: of each measurement.
        analysis: settings of `rtau.analyze.Analyzer`, such as backend and device.
        only: parts to measure; all of `PARTS` when empty.

    Raises:
        UsageError: there is no such part.
    """

    video: Path
    seconds: float = 4.0
    analysis: dict[str, Any] = field(default_factory=dict)
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.only:
            if name not in PARTS:
                raise UsageError(f"unknown part {name!r}: choose from {', '.join(PARTS)}")


def run_bench(settings: Settings, tell: Callable[[str, int, int], object] | None = None) -> Report:
    """Measure.

    Args:
        settings: what.
        tell: told, before each part, its name, how many are done, and how many there are.

    Raises:
        InputError: the video can't be read. UsageError: a backend that can't be had.
    """
    # In one order whatever was asked for: a program that is started counts, until it is loaded, the memory that this
    # one once took.
    names = tuple(name for name in PARTS if name in settings.only or not settings.only)
    tables: list[Table] = []
    with tempfile.TemporaryDirectory(prefix="rtau-bench-") as folder:
        clip = Clip(settings.video, settings.seconds, settings.analysis, Path(folder))
        for done, name in enumerate(names):
            if tell is not None:
                tell(name, done, len(names))
            tables += PARTS[name](clip)
    return Report(clip.facts(), tuple(tables))


def _pipeline(clip: Clip) -> list[Table]:
    """The whole of `rtau process`, and its stages."""
    rows = [("decode alone", (_rate_of(Again("", clip.play, clip.seconds, clip.rate)), math.nan, math.nan))]
    outcome, spent, analyzer = clip.run(clip.play, [clip.table()])
    rows.append(("to a table", _ran(outcome, spent)))
    drawn = [clip.table("drawn.csv"), open_overlay(clip.folder / "drawn.mp4", overwrite=True)]
    rows.append(("to a table and an overlay", _ran(*clip.run(clip.play, drawn)[:2])))
    whole = Table("pipeline", "A file, from end to end", "what",
                  (_FPS, _BUSY, Column("energy", "J a frame", "less", 3)), tuple(rows),
                  "" if math.isfinite(spent.joules) else "Energy can't be read here.")
    watch = analyzer.watch
    stages = Table("stages", "Stages on the way to a table", "stage", (
        _MEDIAN, _P95, _P99, Column("ms a frame", better="less", digits=2), Column("calls a frame", digits=2)), tuple(
        (name, (*_spread(watch.recent[name]), 1000 * watch.seconds[name] / outcome.frames,
                watch.calls[name] / outcome.frames)) for name in sorted(watch.seconds, key=watch.seconds.get,
                                                                        reverse=True)),
        "Decoding runs beside the others." if outcome.with_face else "There is no face in this video.")
    return [whole, stages]


def _faces(clip: Clip) -> list[Table]:
    """Crowds of one to sixteen faces."""
    title, columns = f"Faces in {_CROWD[0]}x{_CROWD[1]}, from memory", (_FPS, Column("faces/s", better="more"), _BUSY)
    middle = clip.images[len(clip.images) // 2]
    boxes = clip.analyzer()(Frame(middle, 0.0, 0, still=True)).faces.boxes
    if not len(boxes):
        return [Table("faces", title, "faces", columns, (), "There is no face in the middle of what was looked at.")]
    box = boxes[np.argmax((boxes[:, 2:] - boxes[:, :2]).prod(1))]
    rows, missed = [], []
    for faces in _FACES:
        outcome, spent, _ = clip.run(play_images(crowd(clip.images, box, faces, _CROWD)), [clip.table()])
        followed = outcome.rows / max(outcome.frames, 1)
        rows.append((str(faces), (outcome.fps, outcome.fps * followed, spent.cpu / spent.seconds)))
        if followed < 0.95 * faces:
            missed.append(f"{followed:.1f} of {faces}")
    return [Table("faces", title, "faces", columns, tuple(rows),
                  f"Not all were found: {', '.join(missed)} a frame." if missed else "")]


def _resolutions(clip: Clip) -> list[Table]:
    """The same picture at 360p to 2160p, decoding included."""
    height, width = clip.images[0].shape[:2]
    rows = []
    for tall in _HEIGHTS:
        size = 2 * round(tall * width / height / 2), tall
        file = clip.folder / f"{tall}.mp4"
        write_clip(clip.images, size, file, round(clip.rate))
        alone = _rate_of(Again("", play_file(file), clip.seconds, clip.rate))
        outcome, spent, _ = clip.run(play_file(file), [clip.table()])
        rows.append((f"{size[0]}x{size[1]}", (alone, outcome.fps, spent.cpu / spent.seconds)))
        file.unlink()
    return [Table("resolutions", "Resolutions, from a file to a table", "size", (
        Column("decode alone, frames/s", better="more"), _FPS, _BUSY), tuple(rows))]


def _batches(clip: Clip) -> list[Table]:
    """The networks alone, on so many crops at once."""
    analyzer = clip.analyzer()
    chosen = {name: clip.analysis[name] for name in ("device", "precision", "threads") if name in clip.analysis}
    columns, runners = [], []
    for name, weights in (("AU", analyzer.weights), ("landmarks", find_weights("landmarks"))):
        runners.append((open_backend(weights, clip.analysis.get("backend", "auto"), **chosen),
                        int(weights.facts["config"]["size"])))
        columns += [Column(name, "ms", "less", 2), Column(name, "faces/s", "more", 0)]
    faces = analyzer(Frame(clip.images[0], 0.0, 0, still=True)).faces
    rows = []
    for batch in _BATCHES:
        values: list[float] = []
        for runner, size in runners:
            one = align(clip.images[0], faces.landmarks[:1], size) if len(faces) else np.zeros((1, size, size, 3), np.uint8)
            median = _median_seconds(lambda r=runner, crops=one.repeat(batch, 0): r(crops), clip.seconds / 2)
            values += [1000 * median, batch / median]
        rows.append((str(batch), tuple(values)))
    return [Table("batches", "The networks alone, crops at once", "crops", tuple(columns), tuple(rows), "Medians.")]


class _Ages:
    """Remembers how old each frame is when all sinks before this one have it."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __enter__(self) -> _Ages:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def write(self, frame: Frame, scores: Scores, status: Status | None = None) -> None:
        assert frame.captured is not None
        self.seconds.append(time.monotonic() - frame.captured)


def _live(clip: Clip) -> list[Table]:
    """The clip as a camera of 30 and of 60 frames a second, to the terminal."""
    rows = []
    for rate in _RATES:
        ages = _Ages()
        terminal = TerminalSink(Console(file=StringIO(), force_terminal=True, width=100, height=40), screen=False)
        outcome, spent, _ = clip.run(clip.play, [terminal, ages], pace=rate)
        rows.append((f"{rate} frames/s", (outcome.fps, *_spread(ages.seconds), outcome.drops,
                                          100 * spent.cpu / spent.seconds / cores())))
    columns = (_FPS, _MEDIAN, _P95, _P99, Column("dropped", better="less", digits=0),
               Column("of all cores", "%", "less", 0))
    return [Table("live", "A camera, from its time stamp to the terminal", "camera", columns, tuple(rows),
                  "The clip plays the camera's part; decoding it counts.")]


def _start(clip: Clip) -> list[Table]:
    """How soon something is to be seen, and how much memory that takes."""
    helps = [time_program(["--help"]) for _ in range(_STARTS)]
    words = [f"--{name}={clip.analysis[name]}" for name in ("backend", "device", "precision") if name in clip.analysis]
    # The first one may have to prepare networks for this machine, once.
    runs = [time_process(clip.video, clip.folder / f"start-{number}.csv", words) for number in range(4)][1:]
    columns = (Column("seconds", better="less", digits=2), Column("peak memory", "MB", "less", 0))
    def row(name: str, seconds: Iterable[float], memory: Iterable[float]):
        return name, (statistics.median(seconds), statistics.median(memory))
    return [Table("start", "From the return key, caches warm", "until", columns, (
        row("rtau --help is over", *zip(*((h.seconds, h.memory_mb) for h in helps), strict=True)),
        row("the first row of rtau process", *zip(*((r.first_row, r.memory_mb) for r in runs), strict=True)),
        row("its end", *zip(*((r.seconds, r.memory_mb) for r in runs), strict=True))), "Medians; memory of the whole.")]


#: What can be measured, by name.
PARTS: dict[str, Callable[[Clip], list[Table]]] = {
    "start": _start, "pipeline": _pipeline, "live": _live, "faces": _faces, "resolutions": _resolutions,
    "batches": _batches}


def _ran(outcome: Outcome, spent: Spent) -> tuple[float, float, float]:
    return outcome.fps, spent.cpu / spent.seconds, spent.joules / max(outcome.frames, 1)


def _spread(seconds: Iterable[float]) -> tuple[float, float, float]:
    """Median, 95th and 99th percentile, ms; NaN of nothing."""
    taken = np.fromiter(seconds, float)
    if not len(taken):
        return math.nan, math.nan, math.nan
    median, p95, p99 = 1000 * np.percentile(taken, (50, 95, 99))
    return float(median), float(p95), float(p99)


def _rate_of(frames: Iterable[Frame]) -> float:
    """How many a second."""
    begun = time.perf_counter()
    count = sum(1 for _ in frames)
    return count / (time.perf_counter() - begun)


def _median_seconds(call: Callable[[], object], seconds: float) -> float:
    """Of one call, made for so long, at least three times."""
    call()
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < 3 or time.perf_counter() < end:
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)
