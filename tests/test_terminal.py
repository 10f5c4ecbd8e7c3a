"""The terminal: live display, plain lines, summary."""

from __future__ import annotations

import fcntl
import io
import itertools
import json
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

from rtau.au import AUS, BY_NUMBER
from rtau.cli import main
from rtau.sinks import TerminalSink, strongest_table
from rtau.sinks.dashboard import Extras, dashboard
from rtau.sinks.terminal import plain_line
from rtau.summary import Summary
from rtau.types import Faces, Frame, Scores, Status

FRAME = Frame(np.zeros((240, 320, 3), np.uint8), 12.34, 300)
STATUS = Status(24.8, 300, 3, 0.041, "onnxruntime/cpu", "/videos/a_rather_long_name_of_a_video.mp4")


def make_scores(n: int, *, seed: int = 0) -> Scores:
    """n faces; AU04 can't be judged; face 0 shows AU12 at 3.2."""
    rng = np.random.default_rng(seed)
    intensity = rng.uniform(0, 2.5, (n, len(AUS))).astype(np.float32)
    if n:
        intensity[0, AUS.index(12)] = 3.2
    assessable = np.ones((n, len(AUS)), bool)
    assessable[:, AUS.index(4)] = False
    intensity[:, AUS.index(4)] = np.nan
    boxes = np.array([[40 * i, 10, 40 * i + 30 + i, 60] for i in range(n)], np.float32).reshape(n, 4)
    faces = Faces(boxes, np.full(n, 0.9, np.float32), np.arange(n), np.zeros((n, 68, 2), np.float32),
                  np.zeros((n, 3), np.float32))
    return Scores(AUS, faces, intensity / 5, intensity, (intensity > 2) & assessable, assessable,
                  np.ones(n, np.float32))


@pytest.mark.parametrize(("width", "height", "faces"),
                         list(itertools.product((1, 20, 60, 100, 200), (1, 2, 3, 12, 24, 50), (0, 1, 2, 9))))
def test_display_fits_any_terminal(width: int, height: int, faces: int) -> None:
    text = dashboard(FRAME, make_scores(faces), STATUS, width=width, height=height, extras=Extras(75.4))
    lines = text.plain.split("\n")
    assert len(lines) <= height
    if width >= 20:
        assert max(map(len, lines)) <= width
    console = Console(record=True, file=io.StringIO(), width=width, height=height, force_terminal=True)
    console.print(text)
    assert "rtau"[:width] in console.export_text()


@pytest.mark.parametrize("width", [60, 100, 200])
def test_one_face_shows_everything(width: int) -> None:
    console = Console(record=True, file=io.StringIO(), width=width, height=24, force_terminal=True)
    console.print(dashboard(FRAME, make_scores(1), STATUS, width=width, height=24, extras=Extras(75.4)))
    shown = console.export_text()
    for au in AUS:
        assert BY_NUMBER[au].code in shown and BY_NUMBER[au].name in shown
    assert "3.2 C" in shown and "64%" in shown
    (line,) = [line for line in shown.splitlines() if line.startswith("AU04")]
    assert line.split()[-1] == "n/a" and "nan" not in shown.lower()
    assert "24.8 fps" in shown and "41 ms" in shown and "3 dropped" in shown and "1 face" in shown and "1:15" in shown
    assert ("onnxruntime/cpu" in shown) == (width == 200)
    assert ("name_of_a_video.mp4" in shown) == (width > 60)


def test_bars_grow_with_intensity() -> None:
    lines = dashboard(FRAME, make_scores(1), width=80, height=24).plain.split("\n")
    cells = {line[:4]: line.count("━") + 0.5 * line.count("╸") for line in lines[2:]}
    intensity = dict(zip((f"AU{au:02d}" for au in AUS), make_scores(1).intensity[0], strict=True))
    order = sorted((code for code in cells if code != "AU04"), key=lambda code: intensity[code])
    assert all(cells[a] <= cells[b] for a, b in itertools.pairwise(order))
    assert cells["AU12"] > 0 and cells["AU04"] == 0


def test_little_room_keeps_large_faces_and_strong_aus() -> None:
    shown = dashboard(FRAME, make_scores(9), STATUS, width=60, height=24).plain
    assert "9 faces (6 not shown)" in shown
    assert shown.split("\n")[1].split()[:2] == ["face", "6"]  # boxes grow with the id: 6, 7, 8 are largest
    short = dashboard(FRAME, make_scores(1), width=24, height=5).plain
    assert "AU12" in short and len(short.split("\n")) == 5
    wide = dashboard(FRAME, make_scores(1), width=100, height=9).plain
    assert all(f"AU{au:02d}" in wide for au in AUS)  # beside each other instead


def test_ascii_only() -> None:
    status = Status(24.8, 300, 3, None, "torch/cpu", "/videos/" + "x" * 90)
    assert dashboard(FRAME, make_scores(5), status, width=100, height=24, extras=Extras(ascii_only=True)).plain.isascii()
    named = replace(status, source="gesicht_ü_😀_\udcff.mp4")
    extras = Extras(note="nicht kalibriert: größer", ascii_only=True)
    shown = dashboard(FRAME, make_scores(1), named, width=200, height=24, extras=extras).plain
    assert shown.isascii() and "gesicht_?_?_?.mp4" in shown and "gr??er" in shown
    # A name whose bytes are no text can't be written to any terminal as it is.
    shown = dashboard(FRAME, make_scores(1), named, width=200, height=24).plain
    assert "gesicht_ü_😀_?.mp4" in shown and shown.encode()


@pytest.mark.parametrize("plain", [False, True])
def test_a_terminal_without_utf8_gets_ascii(plain: bool) -> None:
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, "ascii"), width=100, height=24, force_terminal=True,
                      legacy_windows=False, _environ={"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "24"})
    with TerminalSink(console, plain=plain) as sink:
        sink.note = lambda: "größer"
        for i in range(500):
            sink.write(Frame(FRAME.image, i / 30, i), make_scores(1), replace(STATUS, source="ü.mp4"))
            if b"AU12" in raw.getvalue():
                break
            time.sleep(0.02)
    shown = without_codes(raw.getvalue().decode("ascii"))
    assert "AU12" in shown and "gr??er" in shown
    if not plain:
        assert "====" in shown and "rtau | " in shown


class Pty:
    """A program in a terminal of its own.

    Args:
        command: what to run.
        size: columns and lines.
        environment: added to ours.
    """

    def __init__(self, command: list[str], size: tuple[int, int], **environment: str) -> None:
        self._near, far = os.openpty()
        self.resize(*size)
        unsized = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(command, stdin=far, stdout=far, stderr=far, start_new_session=True,
                                        env={**unsized, "TERM": "xterm-256color", **environment})
        os.close(far)

    def __enter__(self) -> Pty:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._near)

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self._near, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def read(self, until: Callable[[str], bool], seconds: float = 60.0) -> str:
        """What comes until the text since the last call is as wanted, or the program ends."""
        end, text = time.monotonic() + seconds, ""
        while not until(text):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._near], [], [], left)[0]:
                raise AssertionError(f"did not come: {text[-2000:]!r}")
            try:
                data = os.read(self._near, 1 << 16)
            except OSError:  # Linux says so that nobody holds the other end any more
                data = b""
            if not data:
                break
            text += data.decode(errors="replace")
        return text


def pictures_in(text: str) -> list[list[str]]:
    """The complete displays in a terminal's stream, as lines of text; each begins at the upper left corner."""
    return [without_codes(one).split("\n") for one in text.replace("\r", "").split("\x1b[H")[1:-1]]


def without_codes(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


DISPLAY = """
import sys, time
sys.path[:0] = {paths!r}
from test_terminal import *
with TerminalSink() as sink:
    sink.hint = "q quit"
    for i in range(10_000):
        sink.write(Frame(FRAME.image, i / 30, i), make_scores(3), STATUS)
        time.sleep(0.03)
"""


def test_display_follows_a_terminal_that_is_resized() -> None:
    folder = Path(__file__).parent
    program = DISPLAY.format(paths=[str(folder), str(folder.parent)])
    with Pty([sys.executable, "-c", program], (100, 30)) as terminal:
        for width, height in ((100, 30), (44, 10), (12, 4), (1, 1), (150, 40)):
            terminal.resize(width, height)
            os.kill(terminal.process.pid, signal.SIGWINCH)

            def adapted(text: str, width: int = width, height: int = height) -> bool:
                shown = pictures_in(text)
                return (bool(shown) and not shown[-1][0].startswith("w") and len(shown[-1]) == height
                        and max(map(len, shown[-1])) == width)

            picture = pictures_in(terminal.read(adapted))[-1]
            assert "rtau"[:width] in picture[0]
            if width >= 44:
                assert any("AU12" in line for line in picture)
            assert ("q quit" in picture[-1]) == (height >= 10)
        assert terminal.process.poll() is None


def test_live_in_a_terminal_that_knows_ascii_only(tmp_path: Path, fixtures: Path) -> None:
    clip = tmp_path / "gesicht_ü_😀.mp4"
    clip.write_bytes((fixtures / "face_then_none.mp4").read_bytes())
    command = [sys.executable, "-m", "rtau", "live", "--camera", str(clip), "--seconds", "1"]
    with Pty(command, (100, 30), PYTHONIOENCODING="ascii", LANG="C", LC_ALL="C") as terminal:
        text = terminal.read(lambda text: False, 120)
        assert terminal.process.wait(30) == 0
    assert text.isascii() and "Traceback" not in text
    assert "gesicht_?_?.mp4" in text and "====" in text and "Strongest" in text


def test_json_is_all_that_standard_output_gets(fixtures: Path) -> None:
    """`--json` is `--no-terminal --stream jsonl:-`, and may stand beside it."""
    clip = str(fixtures / "face_then_none.mp4")
    done = subprocess.run([sys.executable, "-m", "rtau", "live", "--camera", clip, "--seconds", "1", "--json"],
                          capture_output=True, text=True, check=True)
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    assert messages and {message["rtau"] for message in messages} == {1}
    assert [message["frame"] for message in messages] == sorted({message["frame"] for message in messages})
    assert messages[0]["faces"][0]["aus"]["AU12"]["present"] is True
    assert "frames/s" in done.stderr and "Strongest" in done.stderr and "\x1b" not in done.stderr
    assert f"jsonl:-: {len(messages)} frames sent" in done.stderr
    twice = CliRunner().invoke(main, ["live", "--camera", "none.mp4", "--json", "--stream", "jsonl:-?shapes=arkit"])
    assert twice.exit_code == 2 and "none.mp4" in twice.output


def test_no_face() -> None:
    assert "no face" in dashboard(FRAME, Scores.none(AUS), STATUS, width=80, height=24).plain


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_plain_lines_once_a_second() -> None:
    output, clock = io.StringIO(), Clock()
    with TerminalSink(Console(file=output, width=60), clock=clock) as sink:
        for i in range(91):
            sink.write(Frame(FRAME.image, i / 30, i), make_scores(i % 2), STATUS)
            clock.now += 1 / 30 + 1e-9
    lines = output.getvalue().splitlines()
    assert len(lines) == 4
    assert "no face" in lines[0] and "24.8 fps" in lines[0] and "\x1b" not in output.getvalue()
    assert lines[-1].strip().startswith("3.00 s")


def test_plain_line_names_the_strongest() -> None:
    line = plain_line(FRAME, make_scores(2))
    assert "2 faces" in line and "face 0: AU12 3.2 C" in line and "nan" not in line.lower()
    hidden = make_scores(1)
    hidden.assessable[:] = False
    hidden.present[:] = False
    assert line != plain_line(FRAME, hidden) and plain_line(FRAME, hidden).endswith("face 0: n/a")


def test_live_display_shows_the_newest_and_restores_the_terminal() -> None:
    output = io.StringIO()
    console = Console(file=output, width=100, height=24, force_terminal=True, legacy_windows=False,
                      _environ={"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "24"})
    with TerminalSink(console) as sink:
        for i in range(2000):  # far more than can be drawn
            sink.write(Frame(FRAME.image, i / 30, i), make_scores(1), STATUS)
        while "AU12" not in output.getvalue():
            sink.write(FRAME, make_scores(1), STATUS)
    text = output.getvalue()
    assert "Lip corner puller" in text
    assert text.count("rtau") < 50
    assert text.count("\x1b[?1049h") == text.count("\x1b[?1049l") == 1  # alternate screen on and off
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l")  # the cursor is back


def test_summary_counts_only_what_was_judged() -> None:
    summary = Summary()
    summary.add(Frame(FRAME.image, 0.0, 0), Scores.none(AUS))
    for i in range(4):
        scores = make_scores(1)
        scores.intensity[0, AUS.index(12)] = i
        scores.present[0, AUS.index(12)] = i >= 3
        if i == 0:
            scores.assessable[0, AUS.index(12)] = False
        summary.add(Frame(FRAME.image, float(i), i + 1, input="clip.mp4"), scores)
    assert (summary.frames, summary.frames_with_face, summary.rows, summary.faces) == (5, 4, 4, 1)
    by_au = {one.au: one for one in summary.strongest()}
    smile = by_au[12]
    assert (smile.peak, smile.peak_time, smile.peak_input, smile.judged) == (3.0, 3.0, "clip.mp4", 3)
    assert smile.mean == pytest.approx(2.0) and smile.present == pytest.approx(1 / 3)
    assert by_au[4].judged == 0 and np.isnan(by_au[4].peak)
    assert summary.strongest()[0].au == 12 and summary.strongest()[-1].au == 4
    assert len(summary.strongest(3)) == 3


def presence_alone(seed: int = 0) -> Scores:
    """One face as a network sees it that tells no intensities; AU12 is 64 % sure."""
    scores = make_scores(1, seed=seed)
    return replace(scores, intensity=np.full_like(scores.intensity, np.nan))


def test_presence_alone_has_bars_percentages_and_a_summary() -> None:
    scores = presence_alone()
    assert not scores.graded and make_scores(1).graded and Scores.none(AUS).graded
    shown = dashboard(FRAME, scores, STATUS, width=100, height=24).plain.splitlines()
    rows = {line.split()[0]: line for line in shown if line.startswith("AU")}
    assert rows["AU12"].split()[-1] == "64%" and rows["AU04"].split()[-1] == "n/a"
    bar = rows["AU12"].count("━") / (rows["AU12"].count("━") + rows["AU12"].count("─"))
    assert bar == pytest.approx(0.64, abs=0.05) and "nan" not in "".join(shown).lower()
    assert "AU12 64%" in plain_line(FRAME, scores)
    summary = Summary()
    for i in range(3):
        summary.add(Frame(FRAME.image, float(i), i), presence_alone(seed=i))
    best = summary.strongest()[0]
    assert best.au == 12 and best.chance == pytest.approx(0.64) and best.present == 1 and best.judged == 3
    assert np.isnan(best.peak) and np.isnan(best.mean) and best.peak_time == 0.0
    assert [one.au for one in summary.strongest()][-1] == 4
    console = Console(record=True, file=io.StringIO(), width=100)
    console.print(strongest_table(summary))
    (line,) = [line for line in console.export_text().splitlines() if "AU12" in line]
    assert line.split()[-5:] == ["64%", "0.0", "s", "100", "%"]


@pytest.mark.parametrize("width", [60, 100, 200])
def test_strongest_table(width: int) -> None:
    summary = Summary()
    for i in range(3):
        summary.add(Frame(FRAME.image, i / 2, i), make_scores(2, seed=i))
    console = Console(record=True, file=io.StringIO(), width=width)
    console.print(strongest_table(summary, top=4))
    shown = console.export_text()
    assert "Strongest Action Units (2 faces in 3 frames)" in shown
    lines = shown.splitlines()
    assert len(lines) == 6 and lines[2].startswith("AU12  Lip corner puller") and "3.2 C" in lines[2]


def test_summary_of_nothing() -> None:
    console = Console(record=True, file=io.StringIO(), width=80)
    console.print(strongest_table(Summary()))
    assert "no face in 0 frames" in console.export_text()
