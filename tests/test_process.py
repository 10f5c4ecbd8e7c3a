"""`rtau process` as a user meets it: good input, bad input, exit codes, nothing lost."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from rtau.au import AUS
from rtau.cli import main

ROOT = Path(__file__).resolve().parents[1]


def rtau(*words: object):
    return CliRunner().invoke(main, [str(word) for word in words])


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def times_of(path: Path) -> list[float]:
    """Presentation times by a decoder loop of its own."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stamps = [frame.pts * stream.time_base for frame in container.decode(stream)]
    start = stream.start_time * stream.time_base if stream.start_time is not None else stamps[0]
    return [float(stamp - start) for stamp in stamps]


def one_line(result) -> str:
    """The complaint, which must be a single line and no traceback."""
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    lines = [line for line in result.stderr.splitlines() if line.startswith("rtau: ") and "preparing" not in line]
    assert len(lines) == 1 and "Traceback" not in result.output, result.output
    return lines[0]


@pytest.fixture(scope="module")
def done(sample, tmp_path_factory):
    """The sample, processed once with everything on."""
    folder = tmp_path_factory.mktemp("sample")
    result = rtau("process", sample, "--out", folder / "a.csv", "--overlay", folder / "a.mp4",
                  "--columns", "raw,quality,landmarks")
    assert result.exit_code == 0, result.output
    return folder, result


def test_a_video_gives_a_row_a_frame_with_the_containers_times(done, sample):
    rows = rows_of(done[0] / "a.csv")
    assert [float(row["timestamp"]) for row in rows] == pytest.approx(times_of(sample), abs=1e-6)
    assert {row["success"] for row in rows} == {"1"} and {row["face_id"] for row in rows} == {"0"}
    for au in AUS:
        assert all(0 <= float(row[f"AU{au:02d}_r"]) <= 5 for row in rows)
        assert all(0 <= float(row[f"AU{au:02d}_p"]) <= 1 and row[f"AU{au:02d}_c"] in "01" for row in rows)


def test_the_smile_of_the_sample_is_seen(done):
    rows = rows_of(done[0] / "a.csv")
    mean = {au: np.mean([float(row[f"AU{au:02d}_p"]) for row in rows]) for au in AUS}
    assert mean[12] > 0.5 and mean[25] > 0.5 and mean[4] < 0.5 and mean[43] < 0.5


def test_landmarks_lie_on_the_face(done):
    for row in rows_of(done[0] / "a.csv")[::20]:
        x, y, w, h = (float(row[f"box_{k}"]) for k in "xywh")
        points = np.array([[float(row[f"x_{i}"]), float(row[f"y_{i}"])] for i in range(68)])
        assert (points >= [x - 1, y - 1]).all() and (points <= [x + w + 1, y + h + 1]).all()
        assert points[36:42, 0].mean() < points[27, 0] < points[42:48, 0].mean()
        assert points[36:48, 1].mean() < points[30, 1] < points[48:68, 1].mean() < points[8, 1]


def test_the_overlay_has_every_frame_at_its_time(done, sample):
    assert times_of(done[0] / "a.mp4") == pytest.approx(times_of(sample), abs=2e-3)


def test_the_facts_lie_beside_the_table(done):
    meta = json.loads((done[0] / "a.csv.meta.json").read_text())
    assert meta["frames"] == meta["rows"] == 125 and meta["faces"] == 1 and meta["complete"] is True
    assert len(meta["weights"]["sha256"]) == 64 and meta["backend"] and meta["smoothing"]["method"] == "one-euro"


def test_it_ends_with_what_was_written(done):
    assert "a.csv" in done[1].output and "a.mp4" in done[1].output and "Lip corner puller" in done[1].output


def test_live_from_the_same_file_gives_the_same_numbers(done, sample, tmp_path):
    """Played live, each frame after the one before was analysed, so that none is dropped."""
    from rtau.analyze import Analyzer
    from rtau.live import Newest, Paced
    from rtau.pipeline import Run
    from rtau.sinks import CsvSink
    from rtau.source import open_source

    analyzed = threading.Semaphore(0)
    paced = Paced(open_source(sample), clock=lambda: 0.0, sleep=lambda seconds: analyzed.acquire(timeout=30))
    out = tmp_path / "live.csv"
    outcome = Run(Newest(paced), Analyzer(), [CsvSink(out, AUS)], lambda frame, scores: analyzed.release()).run()
    assert outcome.drops == 0
    keys = ["frame", "timestamp", "face_id", *(f"AU{au:02d}_{k}" for au in AUS for k in "rcp")]
    live, offline = rows_of(out), rows_of(done[0] / "a.csv")
    assert [[row[k] for k in keys] for row in live] == [[row[k] for k in keys] for row in offline]


def test_a_face_that_leaves_is_reported_as_gone(fixtures, tmp_path):
    assert rtau("process", fixtures / "face_then_none.mp4", "--out", tmp_path / "o.csv").exit_code == 0
    rows = rows_of(tmp_path / "o.csv")
    success = [int(row["success"]) for row in rows]
    assert len(rows) == 50 and success == sorted(success, reverse=True) and 15 <= sum(success) <= 35
    last = rows[-1]
    assert last["face_id"] == "-1" and math.isnan(float(last["AU12_r"])) and math.isnan(float(last["box_x"]))


def test_a_video_filmed_upright_is_read_upright(fixtures, tmp_path):
    assert rtau("process", fixtures / "turned.mp4", "--out", tmp_path / "o.csv").exit_code == 0
    rows = rows_of(tmp_path / "o.csv")
    assert len(rows) == 20 and all(row["success"] == "1" and abs(float(row["pose_Rz"])) < 0.5 for row in rows)


def test_pictures_together_make_one_table(fixtures, tmp_path):
    result = rtau("process", fixtures / "*.jpg", "--out", tmp_path / "p.csv", "--overlay", tmp_path / "drawn")
    assert result.exit_code == 0, result.output
    rows = rows_of(tmp_path / "p.csv")
    faces = {name: sum(int(r["success"]) for r in rows if r["input"].endswith(name))
             for name in ("face.jpg", "two_faces.jpg", "no_face.jpg")}
    assert next(iter(rows[0])) == "input" and faces == {"face.jpg": 1, "two_faces.jpg": 2, "no_face.jpg": 0}
    assert len(list((tmp_path / "drawn").iterdir())) == 3


def test_several_inputs_make_a_folder(fixtures, tmp_path):
    result = rtau("process", fixtures / "turned.mp4", fixtures / "face.jpg", fixtures / "two_faces.jpg",
                  "--out", tmp_path / "out", "--every", 5)
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in (tmp_path / "out").glob("*.csv")) == ["pictures.csv", "turned.csv"]
    assert [row["frame"] for row in rows_of(tmp_path / "out" / "turned.csv")] == ["0", "5", "10", "15"]


def test_a_part_of_a_video_keeps_true_times(sample, tmp_path):
    assert rtau("process", sample, "--out", tmp_path / "o.csv", "--start", 1, "--end", 2).exit_code == 0
    times = [float(row["timestamp"]) for row in rows_of(tmp_path / "o.csv")]
    assert times == pytest.approx([t for t in times_of(sample) if 1 <= t < 2], abs=1e-6)


def test_chosen_aus_only(sample, tmp_path):
    assert rtau("process", sample, "--out", tmp_path / "o.csv", "--aus", "12,AU6", "--end", 0.2).exit_code == 0
    names = [name for name in rows_of(tmp_path / "o.csv")[0] if name.startswith("AU")]
    assert names == ["AU06_r", "AU12_r", "AU06_c", "AU12_c", "AU06_p", "AU12_p"]


def write_video(path: Path, frames: list[np.ndarray], pix_fmt: str = "yuv420p", times: list[float] | None = None) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", 25)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], pix_fmt
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for i, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = round(1000 * (times[i] if times else i / 25))
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


GREY = np.full((48, 64, 3), 128, np.uint8)


@pytest.mark.parametrize(("name", "make"), [
    ("missing.mp4", lambda path, fixtures: None),
    ("empty.mp4", lambda path, fixtures: path.write_bytes(b"")),
    ("text.mp4", lambda path, fixtures: path.write_text("no video at all\n" * 50)),
    ("noise.mp4", lambda path, fixtures: path.write_bytes(np.random.default_rng(0).bytes(20000))),
    ("headless.mp4", lambda path, fixtures: path.write_bytes((fixtures / "turned.mp4").read_bytes()[200:])),
    ("empty.png", lambda path, fixtures: path.write_bytes(b"")),
    ("cut.png", lambda path, fixtures: path.write_bytes(cv2.imencode(".png", GREY)[1].tobytes()[:60])),
    ("folder", lambda path, fixtures: path.mkdir()),
])
def test_what_cannot_be_read_is_one_line(name, make, fixtures, tmp_path):
    make(tmp_path / name, fixtures)
    result = rtau("process", tmp_path / name, "--out", tmp_path / "o.csv")
    assert result.exit_code in (1, 2) and name in one_line(result)


def test_audio_alone_is_one_line(tmp_path):
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", 16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    result = rtau("process", tmp_path / "sound.mp4", "--out", tmp_path / "o.csv")
    assert result.exit_code in (1, 2) and "video" in one_line(result)


def test_a_truncated_video_keeps_what_was_read(sample, tmp_path):
    with av.open(str(sample)) as whole, av.open(str(tmp_path / "whole.mkv"), "w") as copy:
        out = copy.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(whole.streams.video[0]):
            if packet.dts is not None:
                packet.stream = out
                copy.mux(packet)
    data = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    result = rtau("process", tmp_path / "cut.mkv", "--out", tmp_path / "o.csv")
    assert result.exit_code == 1 and "cut.mkv" in one_line(result)
    assert 10 < len(rows_of(tmp_path / "o.csv")) < 125
    assert json.loads((tmp_path / "o.csv.meta.json").read_text())["complete"] is False


@pytest.mark.parametrize(("frames", "pix_fmt"), [
    ([GREY], "yuv420p"), ([np.full((16, 16, 3), 90, np.uint8)] * 3, "yuv420p"), ([GREY] * 3, "gray"),
    ([GREY] * 3, "yuv420p10le"), ([GREY] * 3, "yuv444p")])
def test_odd_videos_are_read(frames, pix_fmt, tmp_path):
    write_video(tmp_path / "odd.mp4", frames, pix_fmt)
    assert rtau("process", tmp_path / "odd.mp4", "--out", tmp_path / "o.csv").exit_code == 0
    assert [row["success"] for row in rows_of(tmp_path / "o.csv")] == ["0"] * len(frames)


def test_variable_rate_times_are_the_files(tmp_path):
    times = [0.0, 0.04, 0.2, 0.21, 1.0]
    write_video(tmp_path / "vfr.mp4", [GREY] * 5, times=times)
    assert rtau("process", tmp_path / "vfr.mp4", "--out", tmp_path / "o.csv").exit_code == 0
    assert [float(row["timestamp"]) for row in rows_of(tmp_path / "o.csv")] == pytest.approx(times, abs=2e-3)


@pytest.mark.parametrize("kind", ["grey", "16-bit", "alpha", "8K"])
def test_odd_pictures_show_the_same_face(kind, fixtures, tmp_path):
    image = cv2.imread(str(fixtures / "face.jpg"))
    odd = {"grey": lambda: cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), "16-bit": lambda: image.astype(np.uint16) * 257,
           "alpha": lambda: cv2.cvtColor(image, cv2.COLOR_BGR2BGRA),
           "8K": lambda: cv2.resize(image, (4320, 4320))}[kind]()
    cv2.imwrite(str(tmp_path / "odd.png"), odd, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert rtau("process", tmp_path / "odd.png", "--out", tmp_path / "o.csv").exit_code == 0
    assert [row["success"] for row in rows_of(tmp_path / "o.csv")] == ["1"]


def test_one_bad_input_does_not_stop_the_others(fixtures, tmp_path):
    (tmp_path / "bad.mp4").write_text("no video")
    result = rtau("process", tmp_path / "bad.mp4", fixtures / "turned.mp4", tmp_path / "gone.mp4", "--out", tmp_path / "o")
    assert result.exit_code == 1
    assert "bad.mp4" in result.stderr and "gone.mp4" in result.stderr
    assert len(rows_of(tmp_path / "o" / "turned.csv")) == 20


@pytest.mark.parametrize(("words", "says"), [
    (["--out", "{input}"], "--out"), (["--overlay", "{input}"], "--out"), (["--aus", "3"], "unknown au"),
    (["--aus", ","], "no au"), (["--columns", "colours"], "colours"), (["--start", "-1"], "start"),
    (["--start", "3", "--end", "2"], "end"), (["--smooth", "kalman"], "kalman"), (["--backend", "abacus"], "abacus"),
    (["--detector", "eyes"], "eyes"), (["--landmarks", "none"], "none"), (["--device", "cuda"], "cuda")])
def test_mistakes_are_one_line_and_exit_code_2(words, says, fixtures, tmp_path):
    clip = tmp_path / "in.mp4"
    shutil.copy(fixtures / "turned.mp4", clip)
    before = clip.read_bytes()
    words = [word.format(input=clip) for word in words]
    if "--out" not in words:
        words += ["--out", str(tmp_path / "o.csv")]
    if words[1] == "cuda" and Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has a GPU")
    result = rtau("process", clip, *words)
    assert result.exit_code == 2 and says in one_line(result).lower() and clip.read_bytes() == before


def test_an_output_is_not_replaced_unasked(fixtures, tmp_path):
    (tmp_path / "o.csv").write_text("mine")
    result = rtau("process", fixtures / "turned.mp4", "--out", tmp_path / "o.csv")
    assert result.exit_code == 2 and "--overwrite" in one_line(result)
    assert (tmp_path / "o.csv").read_text() == "mine"
    assert rtau("process", fixtures / "turned.mp4", "--out", tmp_path / "o.csv", "--overwrite").exit_code == 0
    assert len(rows_of(tmp_path / "o.csv")) == 20


def test_a_full_disk_keeps_the_rows_that_fitted(sample, tmp_path):
    """On a file system of 64 kB, where this user may make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this user can't mount a small file system")
    try:
        result = rtau("process", sample, "--out", disk / "o.csv", "--columns", "landmarks")
        assert result.exit_code == 2 and "space" in one_line(result)
        rows = rows_of(disk / "o.csv")
        assert len(rows) > 10 and all(row["AU43_p"] for row in rows[:-1])
    finally:
        subprocess.run(["umount", str(disk)], check=False)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on Windows")
@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_leaves_a_valid_table(kill, sample, tmp_path):
    command = [sys.executable, "-m", "rtau", "process", str(sample), "--out", "o.csv", "--overlay", "o.mp4"]
    child = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
                             stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    out = tmp_path / "o.csv"
    deadline = time.monotonic() + 120
    while (not out.exists() or out.stat().st_size < 6000) and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    child.send_signal(kill)
    _, errors = child.communicate(timeout=60)
    rows = rows_of(out)
    assert rows and all(float(row["AU43_p"]) >= 0 for row in rows)
    if kill == signal.SIGINT and len(rows) < 125:
        assert child.returncode == 130 and b"Traceback" not in errors
        # The frame in hand when the signal came may have reached the table alone.
        assert len(rows) - len(times_of(tmp_path / "o.mp4")) in (0, 1)


def test_demo_names_what_it_wrote(tmp_path):
    result = rtau("demo", "--out", tmp_path)
    assert result.exit_code == 0 and "astronaut.csv" in result.output and "astronaut-overlay.mp4" in result.output


def test_live_writes_while_it_shows(sample, tmp_path):
    result = rtau("live", "--camera", sample, "--seconds", 2, "--out", tmp_path / "o.csv", "--record", tmp_path / "o.mp4")
    assert result.exit_code == 0, result.output
    rows = rows_of(tmp_path / "o.csv")
    assert len(rows) > 5 and len(times_of(tmp_path / "o.mp4")) == len(rows) and "dropped" in result.output


def test_live_without_a_camera_says_what_to_do():
    if Path("/dev/video7").exists():
        pytest.skip("this machine has that camera")
    result = rtau("live", "--camera", "7")
    assert result.exit_code == 2 and "camera 7" in one_line(result)


@pytest.mark.parametrize("command", ["process", "live", "demo", "doctor", "train"])
def test_every_help_has_an_example(command):
    result = rtau(command, "--help")
    assert result.exit_code == 0 and f"rtau {command}" in result.output.split("Options:")[0].split("\n", 2)[2]


def test_real_clips(shared, tmp_path):
    """Rows and times of real videos, and when their faces come and go."""
    for name, coming_and_going in {"none_then_face.mov": (60, 80), "face_then_none.mov": (70, 74), "no_face.mp4": (0, 0),
                                   "carphone_176x144.mp4": (120, 120)}.items():
        clip = shared / "clips" / name
        assert rtau("process", clip, "--out", tmp_path / f"{name}.csv").exit_code == 0
        rows = rows_of(tmp_path / f"{name}.csv")
        assert [float(row["timestamp"]) for row in rows] == pytest.approx(times_of(clip), abs=1e-6)
        assert coming_and_going[0] <= sum(int(row["success"]) for row in rows) <= coming_and_going[1]
        assert {row["face_id"] for row in rows} <= {"0", "-1"}


def test_real_stills(shared, tmp_path):
    """How many faces a picture holds stands in its name."""
    folder = tmp_path / "stills"
    folder.mkdir()
    for name in ("000_5", "007_B", "010_2", "011_3", "012_4", "014_5", "016_8", "017_0"):
        os.symlink(shared / "stills" / "compreface" / f"{name}.jpg", folder / f"{name}.jpg")
    assert rtau("process", folder, "--out", tmp_path / "o.csv").exit_code == 0
    rows = rows_of(tmp_path / "o.csv")
    for file in folder.iterdir():
        said = file.stem.split("_")[1]
        found = sum(int(row["success"]) for row in rows if row["input"].endswith(file.name))
        assert found == (int(said) if said.isdigit() else 1), file.name
