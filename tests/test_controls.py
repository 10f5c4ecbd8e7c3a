"""Keys of a live run: heard from a terminal, and doing what they say."""

import os
import sys
import threading
import time
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from rtau.analyze import Analyzer
from rtau.controls import Controls
from rtau.keys import Keys
from rtau.pipeline import Run
from rtau.sinks import TerminalSink
from rtau.sinks.dashboard import Extras, dashboard
from rtau.sinks.recorder import RecorderSink
from rtau.sinks.trends import Trends
from rtau.source import Source, open_source
from rtau.types import Faces, Frame, Scores

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    assert condition()


# -- keys ------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are of POSIX")
def test_keys_of_a_terminal_are_heard_one_by_one_and_it_is_given_back():
    import termios

    outside, inside = os.openpty()
    before = termios.tcgetattr(inside)
    heard = []
    with os.fdopen(inside, "r") as terminal:
        with Keys(heard.append, terminal) as keys:
            assert keys.listening
            os.write(outside, b"q")
            until(lambda: heard == ["q"])
            os.write(outside, b"\x1b[A")  # an arrow: none of ours
            time.sleep(0.3)
            os.write(outside, "c é ".encode())
            until(lambda: "".join(heard) == "qc é ")
        assert termios.tcgetattr(terminal.fileno()) == before
    os.close(outside)
    assert not [thread for thread in threading.enumerate() if thread.name == "rtau-keys"]


def test_what_is_no_terminal_is_not_listened_to(tmp_path):
    with Keys(lambda key: None, StringIO("q")) as keys:
        assert not keys.listening
    closed = open(os.devnull)
    closed.close()
    with Keys(lambda key: None, closed) as keys:
        assert not keys.listening


# -- what they do ----------------------------------------------------------------------------


class Endless(Source):
    """A face from a picture, again and again, as a camera gives it."""

    live, damage, expected, fps, size, name, drops = True, None, None, 25.0, None, "endless", 0

    def __init__(self, image):
        self.image, self.given = image, 0

    def __iter__(self):
        while True:
            self.given += 1
            yield Frame(self.image, self.given / 25, self.given, captured=time.monotonic())
            time.sleep(0.002)

    def close(self):
        pass


@pytest.fixture
def playing(fixtures, tmp_path):
    """Controls of a run that goes on in a thread, the run, its parts, and how many frames it wrote."""
    with open_source(fixtures / "face.jpg") as source:
        image = next(iter(source)).image
    analyzer, recorder = Analyzer(threads=1), RecorderSink(tmp_path)
    console = Console(file=StringIO(), force_terminal=True, width=100, height=40)
    terminal = TerminalSink(console, screen=False)
    seen = []
    run = Run(Endless(image), analyzer, [recorder, terminal], lambda frame, scores: seen.append(scores))
    controls = Controls(run, analyzer, terminal, recorder)
    terminal.note, terminal.hint = controls.note, controls.hint
    thread = threading.Thread(target=run.run)
    thread.start()
    until(lambda: len(seen) > 2)
    yield controls, run, analyzer, terminal, recorder, seen
    run.stop()
    thread.join(30)
    assert not thread.is_alive()


def test_pausing_passes_frames_over(playing):
    controls, run, *_, seen = playing
    controls.press(" ")
    assert run.paused and controls.note() == "paused"
    time.sleep(0.2)
    count = len(seen)
    time.sleep(0.3)
    assert len(seen) == count
    controls.press(" ")
    until(lambda: len(seen) > count + 2)
    assert controls.note() == ""
    controls.press(" ")
    controls.press("q")
    until(lambda: run.outcome.interrupted)


def test_calibrating_by_key(playing):
    controls, _, analyzer, *_, seen = playing
    controls.press("C")
    assert controls.note().startswith("keep a relaxed face")
    until(lambda: analyzer.calibrator.left is None, 60)
    assert controls.note() == "calibrated", analyzer.calibrator.problem
    controls.press("u")
    assert controls.note() == "" and analyzer.calibrator.profile is None


def test_recording_and_snapshots(playing, tmp_path):
    controls, *_, recorder, seen = playing
    controls.press("s")
    until(lambda: list(tmp_path.glob("*.png")))
    controls.press("r")
    assert "recording" in controls.note()
    count = len(seen)
    until(lambda: len(seen) > count + 8)
    controls.press("r")
    until(lambda: not recorder._video)
    [video] = tmp_path.glob("*.mp4")
    with open_source(video) as source:
        assert sum(1 for _ in source) >= 6
    assert sorted(path.suffix for path in recorder.written) == [".mp4", ".png"] and recorder.problem is None


def test_a_recording_that_fails_does_not_end_the_run(playing, tmp_path):
    controls, *_, recorder, seen = playing
    recorder.folder = tmp_path / "nowhere"
    controls.press("r")
    controls.press("s")
    until(lambda: recorder.problem is not None)
    until(lambda: not recorder.recording)
    count = len(seen)
    until(lambda: len(seen) > count + 2)
    assert "can't write" in controls.note()


def test_smoothing_steps_are_limited(playing):
    controls, _, analyzer, *_ = playing
    controls.press("=")
    assert analyzer.smoothing < 1 and controls.note() == "smoothing x1.5"
    for _ in range(30):
        controls.press("-")
    assert analyzer.smoothing == 20
    for _ in range(40):
        controls.press("+")
    assert analyzer.smoothing == 0.2


def test_one_face_after_the_other_and_help(playing):
    controls, _, _, terminal, _, seen = playing
    face = seen[-1].faces.ids[0]
    controls.press("f")
    assert terminal.chosen == face
    controls.press("f")
    assert terminal.chosen is None
    controls.press("?")
    assert any("end the run" in line for line in terminal.help)
    until(lambda: "watch your face at rest" in terminal.console.file.getvalue())
    controls.press("?")
    controls.press("x")
    assert terminal.help is None


# -- what is shown ---------------------------------------------------------------------------


def scores_of(strength, ids=(0,)):
    strength = np.atleast_2d(np.array(strength, np.float32))
    n = len(strength)
    faces = Faces(np.tile(np.float32([[0, 0, 50, 50]]), (n, 1)), np.ones(n, np.float32), np.array(ids, np.int64),
                  np.zeros((n, 68, 2), np.float32), np.zeros((n, 3), np.float32))
    return Scores((1, 12), faces, strength, 5 * strength, strength > 0.5, np.isfinite(strength), np.ones(n, np.float32))


def frame(time_):
    return Frame(np.zeros((60, 80, 3), np.uint8), time_, 0)


def test_trends_hold_the_strongest_of_each_stretch():
    trends = Trends()
    for index in range(40):
        trends.add(frame(index / 10), scores_of([0.1, 1.0 if index == 22 else 0.2]))
    trend = trends.copy()[0]
    assert trend.shape == (2, Trends.BINS) and np.nanmax(trend[1]) == 1.0
    # 2.2 s is in the stretch from 2.0, and now is in that from 3.5.
    assert trend[1, -4] == 1.0 and np.isnan(trend[:, :8]).all() and np.allclose(trend[0, 8:], 0.1)
    trends.add(frame(6.0), scores_of([0.3, np.nan], ids=[5]))
    both = trends.copy()
    assert set(both) == {0, 5} and np.isnan(both[0][:, -1]).all() and np.isnan(both[5][1]).all()
    trends.add(frame(30.0), scores_of([0.3, 0.3], ids=[5]))
    assert set(trends.copy()) == {5}
    trends.add(frame(1.0), scores_of([0.3, 0.3], ids=[7]))
    assert set(trends.copy()) == {7}, "time that runs backwards begins anew"


def test_the_display_shows_trends_a_note_a_hint_and_one_face():
    trend = np.linspace(0, 1, 16)[None].repeat(2, 0)
    extras = Extras(trends={0: trend, 3: trend}, note="recording", hint="q quit", chosen=3)
    text = dashboard(frame(1), scores_of([[0.2, 0.8], [0.4, 0.6]], ids=[0, 3]), width=100, height=12, extras=extras).plain
    lines = text.split("\n")
    assert "recording" in lines[0] and lines[-1] == "q quit" and len(lines) == 12
    assert "face 3" in text and "face 0" not in text
    assert "▁▁▂▂▃▃▄▄▅▅▆▆▇▇██" in lines[2]
    ascii_only = dashboard(frame(1), scores_of([0.2, np.nan]), width=60, height=12,
                           extras=Extras(trends={0: trend}, ascii_only=True, note="né")).plain
    assert ascii_only.isascii() and "#" in ascii_only
    for width in (20, 40, 60, 100, 200):
        for height in (1, 2, 5, 9, 30):
            told = dashboard(frame(1), scores_of([0.2, 0.8]), width=width, height=height, extras=extras).plain.split("\n")
            assert len(told) <= height and max(map(len, told)) <= width
