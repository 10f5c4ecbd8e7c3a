"""What goes wrong around rtau: cameras that stall, freeze, change or vanish, clocks that jump, disks that are full."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from rtau.analyze import Analyzer
from rtau.camera import Camera
from rtau.cli import main
from rtau.controls import Controls
from rtau.errors import InputError
from rtau.live import QUIET, RETRIES, Newest
from rtau.pipeline import Run
from rtau.sinks import CsvSink, OverlaySink, TerminalSink, meta_path
from rtau.sinks.recorder import RecorderSink
from rtau.source import open_source
from rtau.streams import build_message
from rtau.streams.message import Moment
from rtau.types import Frame, Scores


class Clock:
    """Time that passes when somebody sleeps, or when a frame is read."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Capture:
    """OpenCV's VideoCapture by a script: pictures (RGB), None where nothing is read, or something to do before it."""

    def __init__(self, *script: np.ndarray | None | Callable[[], object], opens: bool = True) -> None:
        self.script, self.opens = list(script), opens

    def isOpened(self) -> bool:
        return self.opens

    def set(self, setting: int, value: float) -> bool:
        return True

    def get(self, setting: int) -> float:
        return 0.0

    def read(self) -> tuple[bool, np.ndarray | None]:
        while self.script:
            step = self.script.pop(0)
            if not callable(step):
                return step is not None, None if step is None else step[..., ::-1]
            step()
        return False, None

    def release(self) -> None:
        self.opens = False


def camera(*captures: Capture, clock: Clock | None = None) -> Camera:
    """A camera that opens these in turn, and none after them."""
    clock, waiting = clock or Clock(), list(captures)
    return Camera(0, capture=lambda device: waiting.pop(0) if waiting else Capture(opens=False), clock=clock,
                  sleep=clock.sleep)


def passing(clock: Clock, pictures: list[np.ndarray], step: float = 0.04) -> list:
    """A script in which each picture comes `step` seconds after the one before."""
    return [one for picture in pictures for one in (lambda: clock.sleep(step), picture)]


class Plain:
    """A live source that gives every frame of another: none is dropped, so that all is told by the script."""

    def __init__(self, source: Camera) -> None:
        self.source, self.live, self.drops, self.expected, self.steps = source.open(), True, 0, None, 0
        self.name, self.size, self.fps = source.name, source.size, source.fps

    @property
    def damage(self) -> str | None:
        return self.source.damage

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.source)

    def close(self) -> None:
        self.source.close()


@pytest.fixture
def analyzer() -> Analyzer:
    return Analyzer(threads=1).prepare()


@pytest.fixture(scope="module")
def face(fixtures) -> np.ndarray:
    with open_source(fixtures / "face.jpg") as source:
        return next(iter(source)).image


def watched(source: Camera, analyzer: Analyzer, path: Path, *more) -> list[dict[str, str]]:
    """The rows of the table of a live run over all that a camera gives."""
    Run(Plain(source), analyzer, [CsvSink(path, analyzer.aus), *more]).run()
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def rising(rows: list[dict[str, str]]) -> bool:
    return all(float(a["timestamp"]) < float(b["timestamp"]) for a, b in pairwise(rows))


def until(what: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


# -- cameras ---------------------------------------------------------------------------------


def test_a_frozen_picture_is_one_face_that_goes_on(analyzer, face, tmp_path):
    clock = Clock()
    rows = watched(camera(Capture(*passing(clock, [face] * 12)), clock=clock), analyzer, tmp_path / "o.csv")
    assert len(rows) == 12 and {row["face_id"] for row in rows} == {rows[0]["face_id"]} and rising(rows)
    settled = [float(row["AU12_r"]) for row in rows[4:]]
    assert max(settled) - min(settled) < 0.05


def test_black_pictures_are_rows_without_a_face_and_the_face_comes_back(analyzer, face, tmp_path):
    clock, black = Clock(), np.zeros_like(face)
    script = passing(clock, [*[face] * 5, *[black] * 10, *[face] * 12])
    rows = watched(camera(Capture(*script), clock=clock), analyzer, tmp_path / "o.csv")
    assert [row["success"] for row in rows[:15]] == ["1"] * 5 + ["0"] * 10 and rising(rows)
    assert rows[10]["AU12_r"] == "NaN" and rows[10]["face_id"] == "-1"
    # Away for .4 seconds: the same person.
    assert rows[-1]["success"] == "1" and rows[-1]["face_id"] == rows[0]["face_id"]


def test_another_resolution_midway_goes_on_in_table_and_video(analyzer, face, tmp_path):
    clock = Clock()
    small, wide = cv2.resize(face, (200, 200)), cv2.copyMakeBorder(face, 0, 0, 150, 171, cv2.BORDER_REPLICATE)
    script = passing(clock, [*[face] * 6, *[small] * 12, *[wide] * 12])
    rows = watched(camera(Capture(*script), clock=clock), analyzer, tmp_path / "o.csv", OverlaySink(tmp_path / "o.mp4"))
    assert len(rows) == 30 and rising(rows)
    for first, last in ((0, 5), (12, 17), (24, 29)):
        assert all(row["success"] == "1" for row in rows[first:last + 1])
    assert float(rows[17]["box_w"]) == pytest.approx(float(rows[5]["box_w"]) * 200 / 320, rel=0.15)
    with open_source(tmp_path / "o.mp4") as source:
        assert sum(1 for _ in source) == 30


def test_a_camera_that_vanishes_and_comes_back_goes_on_in_time(analyzer, face, tmp_path):
    clock = Clock()
    captures = [Capture(*passing(clock, [face] * 6)), Capture(opens=False), Capture(opens=False),
                Capture(*passing(clock, [face] * 6)), *[Capture() for _ in RETRIES]]
    rows = watched(camera(*captures, clock=clock), analyzer, tmp_path / "o.csv")
    assert [row["frame"] for row in rows] == [str(i) for i in range(12)] and rising(rows)
    gap = float(rows[6]["timestamp"]) - float(rows[5]["timestamp"])
    assert gap == pytest.approx(sum(RETRIES[:3]) + 0.04) and all(row["success"] == "1" for row in rows)


def test_what_came_before_a_camera_broke_is_kept(analyzer, face, tmp_path):
    source = camera(Capture(face, face, None), *[Capture() for _ in RETRIES])
    assert len(watched(source, analyzer, tmp_path / "o.csv")) == 2
    assert "stopped giving pictures after 2 frames" in source.damage and "\n" not in source.damage


def test_a_camera_that_opens_and_gives_nothing_is_one_line():
    with pytest.raises(InputError, match="gives no picture") as caught:
        list(camera(*[Capture() for _ in range(len(RETRIES) + 1)]).open())
    assert "\n" not in str(caught.value)


@pytest.fixture
def stalled(analyzer, face):
    """A run over a camera that gives two frames and then blocks until it is let go; what lets it go, and the lines that
    were told of it."""
    released, seen, lines = threading.Event(), [], []
    newest = Newest(Camera(0, capture=lambda device: Capture(face, face, released.wait, face)).open())
    newest.tell = lines.append
    run = Run(newest, analyzer, (), lambda frame, scores: seen.append(frame))
    thread = threading.Thread(target=run.run, daemon=True)
    thread.start()
    until(lambda: seen)
    newest._clock = lambda: time.monotonic() + QUIET + 4
    until(lambda: lines)
    yield run, newest, thread, released, seen, lines
    released.set()
    run.stop()
    thread.join(30)


def test_a_run_ends_though_its_camera_hangs(stalled, caplog):
    run, _, thread, *_ = stalled
    run.stop()
    thread.join(30)
    assert not thread.is_alive() and run.outcome.interrupted and 1 <= run.outcome.frames <= 2
    assert [record.message for record in caplog.records] == ["camera 0 does not answer and is left behind"]


def test_a_silent_camera_is_told_once_and_again_when_it_speaks(stalled, analyzer):
    run, newest, _, released, seen, lines = stalled
    note = Controls(run, analyzer, TerminalSink(), RecorderSink()).note
    assert re.fullmatch(r"no picture for \d+ s", note())
    time.sleep(0.5)
    newest._clock = time.monotonic
    count = len(seen)
    released.set()
    until(lambda: len(seen) > count)
    assert newest.silent is None and note() == ""
    assert lines == ["camera 0 has given no picture for 3 s; waiting for it", "camera 0 gives pictures again"]


# -- clocks ----------------------------------------------------------------------------------


def test_the_wall_clock_may_jump(analyzer, face, tmp_path, monkeypatch):
    """An hour forward, then two back: times of frames go by another clock, and no recording replaces another."""
    wall, clock = [1.8e9], Clock()

    class Wall(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls.fromtimestamp(wall[0], tz)

    monkeypatch.setattr(time, "time", lambda: wall[0])
    monkeypatch.setattr("rtau.sinks.recorder.datetime", Wall)
    recorder = RecorderSink(tmp_path)
    script = [step for jump in (0, 3600, -3600) for step in (
        lambda jump=jump: wall.__setitem__(0, wall[0] + jump), recorder.toggle, recorder.snapshot,
        *passing(clock, [face] * 3), recorder.toggle, *passing(clock, [face]))]
    rows = watched(camera(Capture(*script), clock=clock), analyzer, tmp_path / "o.csv", recorder)
    assert [float(row["timestamp"]) for row in rows] == pytest.approx([i * 0.04 for i in range(12)], abs=1e-6)
    names = [path.name for path in recorder.written]
    assert len(set(names)) == len(names) == 6 and recorder.problem is None
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix in (".mp4", ".png")) == sorted(names)


def test_a_message_says_when_the_frame_came_by_the_clock_of_now(monkeypatch):
    frame = Frame(np.zeros((2, 2, 3), np.uint8), 4.0, 100, captured=time.monotonic() - 1.0)
    for now in (1.8e9, 1.8e9 + 3600, 1.8e9 - 3600):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        message = build_message(Moment.of(frame, Scores.none((12,))))
        assert message["time"] == 4.0 and message["captured"] == pytest.approx(now - 1.0, abs=0.5)


# -- disks -----------------------------------------------------------------------------------


@contextlib.contextmanager
def largest(size: int) -> Iterator[None]:
    """No file may become larger than so many bytes: a full disk that needs no mounting."""
    resource = pytest.importorskip("resource", reason="only Unix limits the size of files")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def rtau(*words: object):
    return CliRunner().invoke(main, [str(word) for word in words])


def problem(result) -> str:
    """The one line that says what is wrong."""
    lines = [line for line in result.stderr.splitlines() if line.startswith("rtau: ") and "preparing" not in line]
    assert len(lines) == 1 and "Traceback" not in result.output, result.output
    return lines[0]


def whole_rows(path: Path) -> int:
    """How many rows there are, each with all its fields."""
    text = path.read_text()
    assert text.endswith("\n")
    rows = list(csv.reader(text.splitlines()))
    assert {len(row) for row in rows} == {len(rows[0])}
    return len(rows) - 1


@pytest.mark.parametrize(("more", "size", "kept"), [
    (["--overlay", "o.mp4"], 20_000, 10), (["--crops", "crops"], 12_000, 1), (["--report"], 60_000, 10)])
def test_a_full_disk_costs_no_row_of_the_table(more, size, kept, sample, tmp_path, monkeypatch):
    """What is written beside it does not fit."""
    monkeypatch.chdir(tmp_path)
    with largest(size):
        result = rtau("process", sample, "--out", "o.csv", "--end", 0.4, "--no-progress", *more)
    assert result.exit_code == 2 and ("space" in problem(result) or "no file this large" in problem(result))
    assert whole_rows(tmp_path / "o.csv") >= kept and meta_path(tmp_path / "o.csv").exists()


@pytest.mark.parametrize("frames", [3, 200])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_video_whose_end_does_not_fit_is_no_success(suffix, frames, tmp_path):
    """FFmpeg says nothing of it in MP4."""
    picture = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    sink = OverlaySink(tmp_path / f"o{suffix}")
    with pytest.raises(Exception, match="can't write") as caught, largest(9_000), sink:
        for index in range(frames):
            sink.write(Frame(picture, index / 25, index), Scores.none((12,)))
    assert "\n" not in str(caught.value)
    with OverlaySink(tmp_path / f"p{suffix}") as sink:
        for index in range(frames):
            sink.write(Frame(picture, index / 25, index), Scores.none((12,)))


def test_live_on_a_full_disk_keeps_the_rows_that_fitted(sample, tmp_path):
    with largest(8_000):
        result = rtau("live", "--camera", sample, "--seconds", 20, "--no-terminal", "--out", tmp_path / "o.csv")
    assert result.exit_code == 2 and "o.csv" in problem(result) and whole_rows(tmp_path / "o.csv") > 5


def test_of_several_files_those_that_fit_are_there(sample, fixtures, tmp_path):
    """As docs/many-files.md says: exit code 1 where others could be written, 2 where nothing can."""
    (tmp_path / "in").mkdir()
    shutil.copy(sample, tmp_path / "in" / "a.mp4")
    shutil.copy(fixtures / "turned.mp4", tmp_path / "in" / "b.mp4")
    words = ["process", tmp_path / "in", "--end", 0.8, "--jobs", 1, "--columns", "landmarks,raw"]
    with largest(66_000):
        result = rtau(*words, "--out", tmp_path / "out", "--overlay", tmp_path / "seen",
                      "--summary", tmp_path / "s.json")
    assert result.exit_code == 1, result.output
    states = {Path(one["inputs"][0]).name: (one["state"], one["blame"]) for one in json.loads(
        (tmp_path / "s.json").read_text())["files"]}
    assert states["a.mp4"] == ("failed", "output")
    assert not [path for path in tmp_path.rglob(".*")]
    with largest(3_000):
        result = rtau(*words, "--out", tmp_path / "none")
    assert result.exit_code == 2 and "Traceback" not in result.output
    assert not list((tmp_path / "none").rglob("*.csv")) and not list((tmp_path / "none").rglob(".*"))


@pytest.mark.skipif(sys.platform != "linux", reason="a place where nobody may write, not even root")
@pytest.mark.parametrize("words", [
    ["--out", "/sys/o.csv"], ["--out", "/sys/x/o.csv"], ["--out", "o.csv", "--overlay", "/sys/o.mp4"],
    ["--out", "o.csv", "--crops", "/sys/crops"], ["--out", "o.csv", "--summary", "/sys/s.json"],
    ["--out", "file/o.csv"], ["--out", "o.csv", "--crops", "file"]])
def test_a_place_where_nothing_can_be_written_is_one_line(words, fixtures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    result = rtau("process", fixtures / "turned.mp4", "--end", 0.1, "--no-progress", *words)
    assert result.exit_code == 2 and problem(result)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("more", [[], ["--overwrite"]])
def test_a_folder_in_the_place_of_the_facts_is_one_line(more, fixtures, tmp_path):
    meta_path(tmp_path / "o.csv").mkdir()
    result = rtau("process", fixtures / "turned.mp4", "--end", 0.1, "--no-progress", "--out", tmp_path / "o.csv", *more)
    assert result.exit_code == 2 and "folder" in problem(result)
