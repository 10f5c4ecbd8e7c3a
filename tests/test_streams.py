"""Streams: addresses, messages, the queue before them, JSON lines, datagrams, and several at once."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from streaming import ROOT, STATUS, Command, check, connect, make_frame, make_scores, wait_until

from rtau.au import AUS
from rtau.cli import main
from rtau.errors import OutputError, UsageError
from rtau.streams import (
    Address,
    Moment,
    StreamSink,
    build_message,
    encode_message,
    open_stream,
    parse_address,
    parse_addresses,
)
from rtau.streams.jsonl import JsonlSink
from rtau.streams.mailbox import LIVE, Mailbox
from rtau.streams.shapes import ARKIT
from rtau.streams.udp import LARGEST
from rtau.types import Scores


def read_messages(path: Path) -> list[dict]:
    messages = [json.loads(line) for line in path.read_text("ascii").splitlines()]
    for message in messages:
        check(message)
    return messages


# Addresses


@pytest.mark.parametrize(("text", "expected"), [
    ("ws://", Address("ws", "127.0.0.1", 8765)), ("ws://:8765", Address("ws", "127.0.0.1", 8765)),
    ("WS://:1234/", Address("ws", "127.0.0.1", 1234)), ("ws://0.0.0.0:80", Address("ws", "0.0.0.0", 80)),
    ("ws://:0", Address("ws", "127.0.0.1", 0)), ("ws://[::1]:9", Address("ws", "::1", 9)),
    ("web://:", Address("web", "127.0.0.1", 8766)), ("osc://stage.local:9000", Address("osc", "stage.local", 9000)),
    ("udp://127.0.0.1:9001?shapes=arkit", Address("udp", "127.0.0.1", 9001, shapes=True)),
    ("ws://:1?origin=https://A.org/&origin=null", Address("ws", "127.0.0.1", 1, origins=("https://a.org", "null"))),
    ("lsl:my face", Address("lsl", name="my face")), ("jsonl:-", Address("jsonl", name="-")),
    ("jsonl:a?b.jsonl", Address("jsonl", name="a?b.jsonl")),
    ("jsonl:-?shapes=arkit", Address("jsonl", name="-", shapes=True)),
    ("jsonl:C:\\out.jsonl", Address("jsonl", name="C:\\out.jsonl"))])
def test_addresses_are_read(text: str, expected: Address) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize(("text", "says"), [
    ("", "ws://:8765"), ("8765", "jsonl:FILE"), ("tcp://a:1", "osc://host:9000"), ("wss://:8765", "ws://:8765"),
    ("ws:8765", "ws://host:port"), ("ws://:port", "host and port"), ("ws://:99999", "host and port"),
    ("ws://[::1:9", "host and port"), ("osc://", "osc://127.0.0.1:9000"), ("osc://:9000", "where to send"),
    ("udp://host", "where to send"), ("udp://host:0", "where to send"), ("lsl:", "lsl:rtau"), ("jsonl:", "jsonl:-"),
    ("lsl:a?shapes=arkit", "LSL takes none"), ("ws://:1/path", "more than"), ("ws://me@host:1", "more than"),
    ("ws://:1?shape=arkit", "choose from shapes, origin"), ("osc://h:1?origin=*", "choose from shapes"),
    ("ws://:1?shapes=vrm", "shapes=arkit"), ("ws://:1?origin=", "origin=*")])
def test_a_bad_address_is_one_line_with_the_alternatives(text: str, says: str) -> None:
    with pytest.raises(UsageError) as error:
        open_stream(text, AUS)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_the_same_address_twice_is_refused_but_any_free_port_is_not() -> None:
    with pytest.raises(UsageError, match="given twice"):
        parse_addresses(["ws://", "ws://:8765?shapes=arkit"])
    assert len(parse_addresses(["ws://:0", "ws://:0"])) == 2


# Messages


def test_a_message_says_what_the_table_says() -> None:
    scores = make_scores(2)
    message = build_message(Moment.of(make_frame(5, name="clip.mp4"), scores, STATUS))
    check(message)
    assert (message["rtau"], message["frame"], message["time"], message["captured"]) == (1, 5, 0.2, None)
    assert message["source"] == "camera 0" and message["input"] == "clip.mp4" and message["size"] == [320, 240]
    assert message["status"] == {"fps": 24.8, "frames": 300, "drops": 3, "age": 0.041, "backend": "onnxruntime/cpu f32"}
    face = message["faces"][1]
    assert face["id"] == 1 and face["box"] == [40, 10, 31, 50] and face["quality"] == 0.75
    assert face["pose"] == {"pitch": -0.2, "yaw": 0.1, "roll": 0.3}
    assert face["aus"]["AU12"] == {"presence": 0.64, "intensity": 3.2, "present": True}
    assert list(face["aus"]) == [f"AU{au:02d}" for au in AUS] and "shapes" not in face
    told = [face["aus"][f"AU{au:02d}"]["intensity"] for au in AUS if au != 4]
    assert told == pytest.approx([scores.intensity[1, i] for i, au in enumerate(AUS) if au != 4], abs=6e-4)


def test_what_cannot_be_told_is_null_and_not_nan() -> None:
    scores = make_scores(2)
    nothing = {"presence": None, "intensity": None, "present": None}
    text = encode_message(Moment.of(make_frame(), scores, replace(STATUS, age=None)))
    assert "NaN" not in text and text.isascii() and "\n" not in text
    message = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    check(message)
    assert message["faces"][0]["aus"]["AU04"] == nothing and message["status"]["age"] is None
    # A value that stands where it can't be assessed is not told either, nor is an infinite one.
    scores.intensity[0, 0], scores.assessable[0, 1] = np.inf, False
    scores.faces.pose[0] = np.nan
    face = json.loads(encode_message(Moment.of(make_frame(), scores)))["faces"][0]
    assert face["aus"]["AU01"]["intensity"] is None and face["aus"]["AU02"] == nothing
    assert face["pose"] == {"pitch": None, "yaw": None, "roll": None}


def test_a_frame_without_a_face_has_a_message() -> None:
    message = build_message(Moment.of(make_frame(), Scores.none(AUS)), shapes=True)
    check(message)
    assert message["faces"] == [] and message["status"] is None


def test_presence_alone_leaves_intensity_null() -> None:
    scores = make_scores(1)
    scores = replace(scores, intensity=np.full_like(scores.intensity, np.nan))
    face = build_message(Moment.of(make_frame(), scores, STATUS), shapes=True)["faces"][0]
    assert face["aus"]["AU12"] == {"presence": 0.64, "intensity": None, "present": True}
    assert face["shapes"]["mouthSmileLeft"] == 0.64


def test_odd_file_names_make_valid_messages() -> None:
    frame = make_frame(name=os.fsdecode(b"caf\xe9 \xff.mp4"))
    message = json.loads(encode_message(Moment.of(frame, make_scores(1))))
    assert message["input"].encode() and message["input"].startswith("caf")


def test_a_live_frame_has_its_moment_of_capture() -> None:
    moment = Moment.of(make_frame(captured=time.monotonic() - 5), make_scores(1), STATUS)
    assert time.time() - 6 < moment.captured < time.time() - 4
    check(build_message(moment))


def test_blendshapes_come_from_aus_and_the_others_are_null() -> None:
    scores = make_scores(1)
    scores.intensity[0, AUS.index(43)], scores.intensity[0, AUS.index(45)] = 0, 5
    message = build_message(Moment.of(make_frame(), scores, STATUS), shapes=True)
    check(message)
    shapes = message["faces"][0]["shapes"]
    assert len(ARKIT) == len(shapes) == 52
    assert shapes["mouthSmileLeft"] == shapes["mouthSmileRight"] == 0.64 and shapes["eyeBlinkLeft"] == 1
    assert shapes["browDownLeft"] is None, "AU04 can't be judged"
    assert {name for name, aus in ARKIT.items() if aus is None} == {
        name for name in shapes if name.startswith(("eyeLook", "jawL", "jawR", "jawF", "mouthLower", "mouthClose"))
        or name in ("mouthLeft", "mouthRight", "cheekPuff", "tongueOut", "mouthShrugUpper")}
    few = build_message(Moment.of(make_frame(), scores.select((12, 26))), shapes=True)["faces"][0]["shapes"]
    assert few["mouthSmileLeft"] == 0.64 and few["eyeBlinkLeft"] is None and few["jawOpen"] is not None


# The queue


def moments(n: int) -> list[Moment]:
    return [Moment.of(make_frame(i), make_scores(1), STATUS) for i in range(n)]


def test_the_newest_win_and_the_others_are_counted() -> None:
    box = Mailbox(3)
    for moment in moments(10):
        box.put(moment)
    box.close()
    taken = [moment.index for moment in iter(box.take, None)]
    assert taken == [7, 8, 9] and box.dropped == 7


def test_a_lossless_box_waits_for_room() -> None:
    box, taken = Mailbox(2, lossless=True), []
    reader = threading.Thread(target=lambda: taken.extend(iter(box.take, None)))
    reader.start()
    for moment in moments(50):
        box.put(moment)
    box.close()
    reader.join(10)
    assert [moment.index for moment in taken] == list(range(50)) and box.dropped == 0


class Stuck(StreamSink):
    """A stream that hangs in its first message until it is released."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__("stuck://")
        self.release, self.begun, self.open, self.error = threading.Event(), threading.Event(), False, error

    def _open(self) -> None:
        self.open = True

    def _send(self, moment: Moment) -> bool:
        self.begun.set()
        self.release.wait(60)
        if self.error is not None:
            raise self.error
        return True

    def _close(self) -> None:
        self.open = False


def test_a_stream_that_hangs_holds_up_nobody_and_is_left_behind(monkeypatch) -> None:
    monkeypatch.setattr("rtau.streams.mailbox.PATIENCE", 0.1)
    stuck = Stuck()
    with stuck:
        for i in range(100):
            stuck.write(make_frame(i), make_scores(1), STATUS)
        stuck.begun.wait(10)
    assert stuck.open and stuck.sent == 0 and stuck.dropped >= 100 - 1 - LIVE
    stuck.release.set()


def test_an_error_in_the_thread_reaches_the_run() -> None:
    stuck = Stuck(OutputError("the disk is full"))
    with pytest.raises(OutputError, match="full"), stuck:
        stuck.write(make_frame(), make_scores(1))
        stuck.release.set()
    stuck = Stuck(ZeroDivisionError("odd"))
    stuck.release.set()
    with pytest.raises(OutputError, match="stuck:// failed: odd"), stuck:
        stuck.write(make_frame(), make_scores(1))
        wait_until(lambda: stuck._error)
        stuck.write(make_frame(), make_scores(1))
    assert not stuck.open


# JSON lines


def test_jsonl_of_a_file_loses_nothing(tmp_path: Path) -> None:
    with JsonlSink(tmp_path / "a.jsonl", lossless=True) as sink:
        for i in range(2000):
            sink.write(make_frame(i), make_scores(i % 3), STATUS)
    messages = read_messages(tmp_path / "a.jsonl")
    assert [message["frame"] for message in messages] == list(range(2000))
    assert [len(message["faces"]) for message in messages[:3]] == [0, 1, 2] and sink.dropped == 0


def test_jsonl_replaces_a_file_only_when_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("mine")
    with pytest.raises(OutputError, match="--overwrite"), open_stream(f"jsonl:{path}", AUS):
        pass
    assert path.read_text() == "mine"
    with open_stream(f"jsonl:{path}?shapes=arkit", AUS, overwrite=True) as sink:
        sink.write(make_frame(), make_scores(1), STATUS)
    assert "shapes" in read_messages(path)[0]["faces"][0]


@pytest.mark.parametrize(("name", "says"), [("none/a.jsonl", "folder does not exist"), ("", "jsonl:-")])
def test_jsonl_that_cannot_be_opened_is_one_line(name: str, says: str, tmp_path: Path) -> None:
    text = f"jsonl:{tmp_path / name}" if name else "jsonl:"
    with pytest.raises((OutputError, UsageError), match=says), open_stream(text, AUS):
        pass


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="no file size limits here")
def test_a_full_disk_is_one_line_and_leaves_whole_lines(tmp_path: Path) -> None:
    """With a limit on the size of files in the disk's place."""
    code = """
import resource, signal
from streaming import make_frame, make_scores
from rtau.errors import OutputError
from rtau.streams import open_stream
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
try:
    with open_stream("jsonl:a.jsonl", (), live=False) as sink:
        for i in range(1000):
            sink.write(make_frame(i), make_scores(1))
except OutputError as error:
    print(error)
"""
    paths = os.pathsep.join((str(Path(__file__).parent), str(Path(__file__).parents[1])))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": paths}, timeout=60, check=False)
    assert done.stdout.startswith("can't write a.jsonl: the disk takes no file this large"), done
    assert 1 <= len(read_messages(tmp_path / "a.jsonl")) <= 10_000 // 1000


# Datagrams


@pytest.fixture
def receiver():
    """A UDP socket of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        one.settimeout(10)
        yield one


def test_udp_sends_a_message_per_frame(receiver) -> None:
    with open_stream(f"udp://127.0.0.1:{receiver.getsockname()[1]}", AUS, live=False) as sink:
        for i in range(20):
            sink.write(make_frame(i), make_scores(i % 2), STATUS)
    got = [json.loads(receiver.recv(1 << 16)) for _ in range(20)]
    for message in got:
        check(message)
    assert [message["frame"] for message in got] == list(range(20)) and sink.account == "20 frames sent"


def test_more_faces_than_a_datagram_holds_are_left_out_and_told(receiver) -> None:
    with open_stream(f"udp://127.0.0.1:{receiver.getsockname()[1]}?shapes=arkit", AUS) as sink:
        sink.write(make_frame(), make_scores(64), STATUS)
        data = receiver.recv(1 << 17)
    message = json.loads(data)
    check(message)
    assert len(data) <= LARGEST and len(message["faces"]) + message["omitted"] == 64 and message["omitted"] > 0
    assert [face["id"] for face in message["faces"]] == list(range(message["omitted"], 64)), "the largest stay"


def test_nobody_there_is_no_error() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    with open_stream(f"udp://127.0.0.1:{port}", AUS) as sink:
        for i in range(50):
            sink.write(make_frame(i), make_scores(1), STATUS)
    # The system may say of some that nobody took the one before; none is forgotten.
    assert sink.sent + sink.dropped == 50 and sink.sent > 0


def test_what_cannot_be_sent_is_counted(receiver) -> None:
    with open_stream(f"udp://127.0.0.1:{receiver.getsockname()[1]}", AUS) as sink:
        sink._datagrams._to = ("127.0.0.1", 0)  # no port at all: the system refuses
        sink.write(make_frame(), make_scores(1), STATUS)
    assert sink.dropped == 1 and sink.account == "0 frames sent, 1 dropped"


def test_an_unknown_host_is_one_line() -> None:
    for kind in ("udp", "osc"):
        with pytest.raises(OutputError, match="check the name") as error, open_stream(f"{kind}://no.such.host:1", AUS):
            pass
        assert "\n" not in str(error.value)


# Through the pipeline and the command line


def rtau(*words: object):
    return CliRunner().invoke(main, [str(word) for word in words])


def test_process_streams_every_frame_with_the_tables_numbers(fixtures, tmp_path: Path) -> None:
    result = rtau("process", fixtures / "face_then_none.mp4", "--out", tmp_path / "o.csv",
                  "--stream", f"jsonl:{tmp_path / 'o.jsonl'}", "--no-progress")
    assert result.exit_code == 0, result.output
    assert "o.jsonl: 50 frames sent" in result.stdout
    messages = read_messages(tmp_path / "o.jsonl")
    rows = list(csv.DictReader((tmp_path / "o.csv").open(newline="")))
    assert len(messages) == len(rows) == 50 and not messages[-1]["faces"] and messages[0]["faces"]
    for row, message in zip(rows, messages, strict=True):
        assert int(row["frame"]) == message["frame"] and float(row["timestamp"]) == message["time"]
        assert message["source"] == "face_then_none.mp4" and message["captured"] is message["status"]["age"] is None
        for face in message["faces"]:
            assert int(row["face_id"]) == face["id"]
            assert [float(row[f"box_{k}"]) for k in "xywh"] == pytest.approx(face["box"], abs=0.011)
            for au in AUS:
                told = face["aus"][f"AU{au:02d}"]
                for kind, name, limit in (("r", "intensity", 1.1e-3), ("p", "presence", 1.1e-4), ("c", "present", 0)):
                    value = float(row[f"AU{au:02d}_{kind}"])
                    if np.isnan(value):
                        assert told[name] is None
                    else:
                        assert abs(told[name] - value) <= limit


def test_several_inputs_go_through_one_stream(fixtures, tmp_path: Path) -> None:
    result = rtau("process", fixtures / "turned.mp4", fixtures / "face.jpg", fixtures / "two_faces.jpg",
                  "--out", tmp_path / "out", "--every", 5, "--stream", f"jsonl:{tmp_path / 'o.jsonl'}")
    assert result.exit_code == 0, result.output
    messages = read_messages(tmp_path / "o.jsonl")
    assert [len(message["faces"]) for message in messages] == [1, 1, 1, 1, 1]  # every fifth picture is the first
    assert messages[0]["source"] == "turned.mp4" and messages[-1]["input"].endswith("face.jpg")


@pytest.mark.parametrize("words", [
    ["--stream", "ftp://x"], ["--stream", "jsonl:no/folder/a.jsonl"], ["--stream", "jsonl:{video}"],
    ["--stream", "jsonl:o.csv.meta.json"], ["--stream", "jsonl:x", "--stream", "jsonl:x"]])
@pytest.mark.parametrize("command", ["process", "live"])
def test_a_bad_stream_is_one_line_and_writes_nothing(command, words, fixtures, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    video = tmp_path / "v.mp4"
    video.write_bytes((fixtures / "turned.mp4").read_bytes())
    before = video.read_bytes()
    given = ["process", video, "--out", "o.csv"] if command == "process" else [
        "live", "--camera", video, "--no-terminal", "--out", "o.csv"]
    result = rtau(*given, "--overwrite", *(word.format(video=video) for word in words))
    lines = result.stderr.splitlines()
    assert result.exit_code == 2 and len(lines) == 1 and lines[0].startswith("rtau: "), result.output
    assert video.read_bytes() == before and not (tmp_path / "o.csv").exists()


@pytest.mark.slow
def test_standard_output_holds_messages_and_nothing_else(fixtures, tmp_path: Path) -> None:
    with Command("process", fixtures / "turned.mp4", "--out", "o.csv", "--stream", "jsonl:-", "-v", folder=tmp_path,
                 stdout=(tmp_path / "out").open("wb")) as command:
        assert command.end() == 0, command.said
    assert [message["frame"] for message in read_messages(tmp_path / "out")] == list(range(20))
    assert "20 rows in o.csv" in command.said and "jsonl:-: 20 frames sent" in command.said
    with Command("live", "--camera", fixtures / "turned.mp4", "--stream", "jsonl:-", folder=tmp_path,
                 stdout=(tmp_path / "live").open("wb")) as command:
        assert command.end() == 0, command.said
    messages = read_messages(tmp_path / "live")
    assert messages and all(message["captured"] and message["status"]["age"] >= 0 for message in messages)
    assert "frames/s" in command.said


@pytest.mark.slow
def test_a_closed_pipe_ends_neither_the_table_nor_in_a_traceback(sample, tmp_path: Path) -> None:
    with Command("process", sample, "--out", "o.csv", "--stream", "jsonl:-", folder=tmp_path) as command:
        check(json.loads(command.child.stdout.readline()))
        command.child.stdout.close()
        assert command.end() == 0, command.said
    assert len((tmp_path / "o.csv").read_text().splitlines()) == 126
    assert "the reader had left" in command.said and "Traceback" not in command.said and "Exception" not in command.said


@pytest.mark.slow
def test_a_pipe_that_nobody_reads_does_not_hold_up_a_camera(sample, tmp_path: Path) -> None:
    """The pipe holds two messages or three."""
    with Command("live", "--camera", sample, "--no-terminal", "--out", "o.csv", "--stream", "jsonl:-", folder=tmp_path,
                 pipesize=4096) as command:
        assert command.end() == 0, command.said
    rows = len((tmp_path / "o.csv").read_text().splitlines()) - 1
    sent, dropped = map(int, re.search(r"jsonl:-: (\d+) frames sent, (\d+) dropped", command.said).groups())
    # The one that it hangs in is neither.
    assert sent < rows and sent + dropped + 1 == rows and "Traceback" not in command.said


@pytest.mark.slow
def test_ctrl_c_leaves_a_line_for_each_row_of_the_table(sample, tmp_path: Path) -> None:
    with Command("process", sample, "--out", "o.csv", "--stream", "jsonl:o.jsonl", "--stream", "jsonl:-",
                 folder=tmp_path) as command:
        command.child.stdout.readline()
        command.child.send_signal(signal.SIGINT)
        command.child.stdout.read()
        assert command.end() in (0, 130) and "Traceback" not in command.said
    frames = [message["frame"] for message in read_messages(tmp_path / "o.jsonl")]
    rows = (tmp_path / "o.csv").read_text().splitlines()[1:]
    # The frame in hand when the signal came may have reached the table alone.
    assert frames == list(range(len(frames))) and len(rows) - 1 <= len(frames) <= len(rows)


@pytest.mark.slow
def test_several_streams_at_once_from_the_command_line(sample, receiver, tmp_path: Path) -> None:
    port = receiver.getsockname()[1]
    with Command("live", "--camera", sample, "--no-terminal", "--stream", "ws://:0", "--stream", "jsonl:a.jsonl",
                 "--stream", f"udp://127.0.0.1:{port}", "--web", "0", folder=tmp_path) as command:
        with connect(command.address("ws"), open_timeout=30) as client:
            by_socket = [json.loads(text) for text in client]
        by_datagram = json.loads(receiver.recv(1 << 16))
        assert command.end() == 0, command.said
        report = command.child.stdout.read().decode()
    for message in (*by_socket, by_datagram):
        check(message)
    by_file = read_messages(tmp_path / "a.jsonl")
    frames = [message["frame"] for message in by_file]
    assert frames == sorted(set(frames)) and {message["frame"] for message in by_socket} <= set(frames)
    assert by_socket[-1]["frame"] == frames[-1], "what waits at the end is delivered"
    assert f"{len(frames)} frames sent" in report and "messages sent to 1 client" in report
    assert "no client came" in report


# The documentation


def client_code(mark: str) -> str:
    """The code that follows a mark in docs/streaming.md."""
    text = (ROOT / "docs" / "streaming.md").read_text("utf-8")
    return re.search(rf"<!-- {mark} -->\n```\w+\n(.*?)```", text, re.DOTALL)[1]


def test_the_python_client_of_the_documentation_works_and_connects_again(tmp_path: Path) -> None:
    with open_stream("ws://:0", AUS) as first:
        port = int(first.url.rpartition(":")[2])
        (tmp_path / "client.py").write_text(client_code("python client").replace("8765", str(port)))
        child = subprocess.Popen([sys.executable, "client.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True,
                                 env={**os.environ, "no_proxy": "127.0.0.1"})
        try:
            wait_until(lambda: first.clients)
            first.write(make_frame(25), make_scores(1), STATUS)
            assert child.stdout.readline() == "1.00 s, face 0: AU12 3.2\n"
            first.__exit__(None, None, None)
            assert child.stdout.readline().startswith("rtau has ended")
            with open_stream(f"ws://:{port}", AUS) as second:
                wait_until(lambda: second.clients, 60)
                hidden = make_scores(1)
                hidden.assessable[:] = False
                second.write(make_frame(50), hidden, STATUS)
                assert child.stdout.readline() == "2.00 s, face 0: AU12 n/a\n"
        finally:
            child.kill()
            child.wait()
            child.stdout.close()


def test_the_udp_client_of_the_documentation_works(receiver, tmp_path: Path) -> None:
    port = receiver.getsockname()[1]
    receiver.close()
    (tmp_path / "client.py").write_text(client_code("udp client").replace("9001", str(port)))
    child = subprocess.Popen([sys.executable, "client.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        with open_stream(f"udp://127.0.0.1:{port}", AUS) as sink:
            said: list[str] = []
            reader = threading.Thread(target=lambda: said.append(child.stdout.readline()), daemon=True)
            reader.start()
            for _ in range(1000):
                sink.write(make_frame(25), make_scores(1), STATUS)
                reader.join(0.05)
                if said:
                    break
            assert said == ["25 [3.2]\n"]
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_the_documented_message_is_valid() -> None:
    text = (ROOT / "docs" / "streaming.md").read_text("utf-8")
    check(json.loads(re.search(r"```json\n(.*?)```", text, re.DOTALL)[1]))
