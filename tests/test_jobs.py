"""Many files at once: found, named, done with the same numbers, accounted for."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import unicodedata
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from rtau.batch import Record, Task, work
from rtau.batch.display import BatchDisplay
from rtau.batch.inputs import find_inputs
from rtau.batch.lock import NAME, locked
from rtau.batch.results import Results, line_of, results_table
from rtau.cli import main
from rtau.errors import InputError, OutputError
from rtau.picture_size import picture_size
from rtau.pictures import read_picture
from rtau.process import Job, Options, plan
from rtau.source import Input


def rtau(*words: object):
    return CliRunner().invoke(main, [str(word) for word in words])


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def grey_video(path: Path, sizes: list[tuple[int, int]]) -> None:
    """One frame of each size, 25 a second; MPEG-4 in AVI may change its size only by force, so each is muxed raw."""
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("mjpeg", 25)
        stream.width, stream.height, stream.pix_fmt = *sizes[0], "yuvj420p"
        stream.time_base = Fraction(1, 25)
        for at, (width, height) in enumerate(sizes):
            data = cv2.imencode(".jpg", np.full((height, width, 3), 128, np.uint8))[1].tobytes()
            packet = av.Packet(data)
            packet.stream, packet.pts, packet.dts = stream, at, at
            packet.time_base, packet.is_keyframe = Fraction(1, 25), True
            container.mux(packet)


@pytest.fixture(scope="module")
def mixed(sample, fixtures, tmp_path_factory):
    """Two clips, one of them twice by name; one that ends early; one that is none; pictures; and what came of them."""
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "in" / "sub").mkdir(parents=True)
    shutil.copy(sample, folder / "in" / "clip.mp4")
    shutil.copy(fixtures / "face_then_none.mp4", folder / "in" / "sub" / "clip.mp4")
    (folder / "in" / "link.mp4").symlink_to("clip.mp4")
    (folder / "in" / "text.mp4").write_text("no video\n" * 100)
    for name in ("face.jpg", "no_face.jpg"):
        shutil.copy(fixtures / name, folder / "in" / "sub")
    with av.open(str(sample)) as whole, av.open(str(folder / "whole.mkv"), "w") as copy:
        out = copy.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(whole.streams.video[0]):
            if packet.dts is not None:
                packet.stream = out
                copy.mux(packet)
    data = (folder / "whole.mkv").read_bytes()
    (folder / "in" / "cut.mkv").write_bytes(data[: len(data) // 6])
    result = rtau("process", folder / "in", "--out", folder / "out", "--jobs", 2, "--summary", folder / "s.json",
                  "--end", 1.6)
    return folder, result, json.loads((folder / "s.json").read_text())


def test_each_file_has_its_table_under_its_folder(mixed):
    folder, result, _ = mixed
    assert result.exit_code == 1, result.output
    found = {str(path.relative_to(folder / "out")) for path in (folder / "out").rglob("*")}
    assert found == {"clip.csv", "clip.csv.meta.json", "cut.csv", "cut.csv.meta.json", "sub", "sub/clip.csv",
                     "sub/clip.csv.meta.json", "pictures.csv", "pictures.csv.meta.json"}


def test_the_summary_says_what_became_of_each(mixed):
    folder, _, summary = mixed
    states = {Path(record["inputs"][0]).relative_to(folder / "in").as_posix(): record["state"]
              for record in summary["files"]}
    assert states == {"clip.mp4": "done", "cut.mkv": "damaged", "text.mp4": "failed", "sub/clip.mp4": "done",
                      "sub/face.jpg": "done"}
    totals = summary["totals"]
    assert (totals["files"], totals["done"], totals["damaged"], totals["failed"], totals["left"]) == (5, 3, 1, 1, 0)
    assert totals["rows"] == sum(record["rows"] for record in summary["files"]) and totals["files_per_hour"] > 0
    assert summary["jobs"] == 2 and summary["interrupted"] is False and summary["problems"] == []
    clip = next(record for record in summary["files"] if record["inputs"][0].endswith("in/clip.mp4"))
    assert clip["frames"] == clip["rows"] == clip["frames_with_face"] == 40 and clip["error"] is None


def test_a_damaged_file_keeps_its_rows_and_says_so(mixed):
    folder, _, summary = mixed
    record = next(record for record in summary["files"] if record["state"] == "damaged")
    assert 5 < len(rows_of(folder / "out" / "cut.csv")) == record["frames"] < 40 and "ends early" in record["error"]
    meta = json.loads((folder / "out" / "cut.csv.meta.json").read_text())
    assert meta["complete"] is False and meta["error"] == record["error"]


def test_the_table_of_results_names_what_went_wrong(mixed):
    _, result, _ = mixed
    assert "all 5" in result.stdout and "3 done, 1 damaged, 1 failed" in result.stdout
    assert sum("failed: can't be read" in line for line in result.stdout.splitlines()) == 1
    # Without a terminal: a line a file.
    lines = [line for line in result.stderr.splitlines() if line.startswith("[")]
    assert len(lines) == 5 and "[5/5]" in lines[-1]
    assert sum("text.mp4: failed: can't be read" in line for line in lines) == 1


def test_the_numbers_are_those_of_one_file_alone(mixed):
    folder, _, _ = mixed
    for name in ("clip", "sub/clip"):
        assert rtau("process", folder / "in" / f"{name}.mp4", "--out", folder / "alone.csv", "--end", 1.6,
                    "--overwrite").exit_code == 0
        assert (folder / "alone.csv").read_bytes() == (folder / "out" / f"{name}.csv").read_bytes()


def test_a_second_run_does_only_what_failed(mixed):
    folder, _, _ = mixed
    result = rtau("process", folder / "in", "--out", folder / "out", "--jobs", 1, "--resume",
                  "--end", 1.6, "--summary", folder / "s2.json")
    summary = json.loads((folder / "s2.json").read_text())
    assert result.exit_code == 1 and summary["totals"]["skipped"] == 3
    notes = {record["state"]: record["notes"] for record in summary["files"]}
    assert notes["damaged"][0].startswith("redone: it was not complete") and notes["failed"] == []


def test_mistakes_end_the_run_at_once(mixed, tmp_path):
    folder = mixed[0] / "in"
    for words, says in [(["--detector", "eyes"], "eyes"), (["--jobs", "no"], "--jobs"), (["--jobs", "0"], "--jobs"),
                        (["--stream", f"jsonl:{tmp_path}/j", "--jobs", "2"], "--stream"),
                        (["--summary", folder / "clip.mp4"], "summary"), (["--out", tmp_path / "a.csv"], "folder")]:
        result = rtau("process", folder, *(["--out", tmp_path / "o"] if "--out" not in words else []), *words)
        lines = [line for line in result.stderr.splitlines() if line.startswith("rtau: ") and "preparing" not in line]
        assert result.exit_code == 2 and says in lines[-1] and "Traceback" not in result.output, (words, result.output)
    assert not list(tmp_path.rglob("*.csv"))


def test_two_runs_in_one_folder_are_refused(mixed, tmp_path):
    with locked(tmp_path):
        result = rtau("process", mixed[0] / "in", "--out", tmp_path)
    assert result.exit_code == 2 and f"process {os.getpid()}" in result.stderr.splitlines()[-1]


def test_locks_of_the_dead_are_taken_over(tmp_path):
    code = ("import sys, os, pathlib; from rtau.batch.lock import locked\n"
            "with locked(pathlib.Path(sys.argv[1])): os.kill(os.getpid(), 9)")
    root = str(Path(__file__).resolve().parents[1])
    assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False,
                          env={**os.environ, "PYTHONPATH": root}).returncode
    assert (tmp_path / NAME).exists()
    with locked(tmp_path), pytest.raises(OutputError, match="another run"), locked(tmp_path):
        pass
    assert not (tmp_path / NAME).exists()


def test_locks_of_other_machines_grow_old(tmp_path):
    (tmp_path / NAME).write_text(json.dumps({"pid": 1, "host": "elsewhere.example"}))
    with pytest.raises(OutputError, match=r"elsewhere.*remove"), locked(tmp_path):
        pass
    os.utime(tmp_path / NAME, (1, 1))
    with locked(tmp_path):
        assert json.loads((tmp_path / NAME).read_text())["pid"] == os.getpid()


def test_folders_are_searched_through(tmp_path):
    for name in ("b10.mp4", "b9.mp4", "notes.txt", ".hidden.mp4", "in/a.MOV", "in/deep/c.png", ".cache/d.mp4",
                 "out/old.mp4"):
        (tmp_path / "top" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "top" / name).touch()
    (tmp_path / "top" / "in" / "round").symlink_to(tmp_path / "top")
    (tmp_path / "top" / "dead.mp4").symlink_to("nowhere")
    (tmp_path / "top" / "self.mp4").symlink_to("self.mp4")
    found = find_inputs([str(tmp_path / "top")], without=[tmp_path / "top" / "out"])
    named = [(one.path.relative_to(tmp_path / "top").as_posix(), one.within.as_posix()) for one in found.inputs]
    assert named == [("b9.mp4", "."), ("b10.mp4", "."), ("in/a.MOV", "in"), ("in/deep/c.png", "in/deep")]
    assert found.problems == [] and [one.picture for one in found.inputs] == [False, False, False, True]
    flat = find_inputs([str(tmp_path / "top")], recursive=False).inputs
    assert [one.path.name for one in flat] == ["b9.mp4", "b10.mp4"]


def test_globs_keep_the_folders_that_they_match(tmp_path):
    for name in ("s1/a.mp4", "s2/a.mp4", "s2/in/a.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    def within(pattern: str) -> list[str]:
        return sorted(one.within.as_posix() for one in find_inputs([str(tmp_path / pattern)]).inputs)

    assert within("s?") == ["s1", "s2", "s2/in"] and within("*/a.mp4") == ["s1", "s2"]
    assert within("**/*.mp4") == ["s1", "s2", "s2/in"] and within("s2/*.mp4") == ["."]


def test_one_bad_name_does_not_stop_the_rest(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "bare").mkdir()
    found = find_inputs([str(tmp_path / name) for name in ("a.mp4", "gone.mp4", "bare", "*.mov", "a.mp4")])
    assert [one.path.name for one in found.inputs] == ["a.mp4"] and len(found.problems) == 3
    with pytest.raises(InputError):
        find_inputs([str(tmp_path / "gone.mp4")])


def test_folders_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "shut").mkdir()
    (tmp_path / "a.mp4").touch()
    (tmp_path / "shut").chmod(0)
    try:
        if os.access(tmp_path / "shut", os.R_OK):
            pytest.skip("this user may read everything")
        found = find_inputs([str(tmp_path)])
    finally:
        (tmp_path / "shut").chmod(0o700)
    assert len(found.inputs) == 1 and "shut" in found.problems[0]


NAMES = st.sampled_from(["a.mp4", "A.mp4", "a.avi", "a.mp4.mp4", "pictures.mp4", "Pictures.mov", "a.csv.mp4", "é.mp4",
                         unicodedata.normalize("NFD", "é.mp4"), "a\nb.mp4", "a.mp4_2.mp4", "a.mp4_2", "..mp4"])


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["", "x", "X", "x/y"]), st.sampled_from(["one", "two"]), NAMES), min_size=2,
                unique=True))
def test_no_two_outputs_share_a_name_or_leave_the_folder(names):
    inputs = [Input(Path(root, within, name), False, Path(within)) for within, root, name in names]
    jobs = plan([*inputs, Input(Path("p.png"), True), Input(Path("q.png"), True)], Path("never-there/out"),
                Path("never-there/seen"), report=True)
    outputs = [path for job in jobs for path in (job.out, job.overlay, job.report)]
    plain = [unicodedata.normalize("NFC", os.path.normpath(path)).casefold() for path in outputs]
    assert len(set(plain)) == len(plain) == 3 * (len(names) + 1)
    assert all(path.startswith("never-there" + os.sep) for path in plain)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
def test_odd_names_are_done_and_shown_on_one_line(fixtures, tmp_path):
    """Line breaks, bytes that are no text, "pictures"."""
    folder = tmp_path / "in"
    folder.mkdir()
    names = [b"a\nb.mp4", b"\xff\xfe.mp4", b"pictures.mp4", b"[red]x.mp4"]
    for name in names:
        shutil.copy(fixtures / "turned.mp4", folder / os.fsdecode(name))
    shutil.copy(fixtures / "no_face.jpg", folder)
    result = rtau("process", folder, "--out", tmp_path / "out", "--end", 0.1, "--jobs", 2, "--summary", tmp_path / "s")
    assert result.exit_code == 0, result.output
    made = {os.fsencode(path.name) for path in (tmp_path / "out").glob("*.csv")}
    assert made == {b"a\nb.csv", b"\xff\xfe.csv", b"pictures.mp4.csv", b"pictures.csv", b"[red]x.csv"}
    told = {os.fsencode(Path(record["inputs"][0]).name) for record in json.loads((tmp_path / "s").read_text())["files"]}
    assert told == {*names, b"no_face.jpg"} and "a\\nb.mp4" in result.stdout and "[red]x.mp4" in result.stdout
    assert rtau("process", folder, "--out", tmp_path / "out", "--end", 0.1, "--resume", "--jobs", 1).exit_code == 0


def test_a_folder_of_pictures_is_never_written_over(fixtures, tmp_path):
    """The pictures' own folder is where their drawn copies would go."""
    (tmp_path / "pictures").mkdir()
    shutil.copy(fixtures / "face.jpg", tmp_path / "pictures")
    shutil.copy(fixtures / "no_face.jpg", tmp_path / "pictures")
    before = (tmp_path / "pictures" / "face.jpg").read_bytes()
    job = Job((tmp_path / "pictures" / "face.jpg", tmp_path / "pictures" / "no_face.jpg"), True, tmp_path / "o.csv",
              tmp_path / "pictures")
    record = Record(**work(Task(job, Options(overwrite=True)).as_json()))
    assert record.state == "failed" and "is an input" in record.error
    assert (tmp_path / "pictures" / "face.jpg").read_bytes() == before and not (tmp_path / "o.csv").exists()


def test_limits_for_files_of_strangers(fixtures, tmp_path):
    def limited(path: Path, **options) -> Record:
        job = Job((path,), path.suffix == ".png", tmp_path / "o.csv")
        return Record(**work(Task(job, Options(overwrite=True, **options)).as_json()))

    record = limited(fixtures / "turned.mp4", max_seconds=0.2)
    assert record.state == "done" and record.frames == 5 and record.notes == ["cut at --max-seconds"]
    assert json.loads((tmp_path / "o.csv.meta.json").read_text())["cut"] is True
    assert limited(fixtures / "turned.mp4", max_seconds=60).notes == []
    assert limited(fixtures / "turned.mp4", max_pixels=1000).blame == "input"
    grey_video(tmp_path / "grows.avi", [(64, 48)] * 5 + [(1200, 1000)] * 2)
    assert limited(tmp_path / "grows.avi").frames == 7
    record = limited(tmp_path / "grows.avi", max_pixels=500_000)
    assert record.state == "damaged" and record.frames == 5 and "2 of 7 frames" in record.error


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tif", ".ppm", ".gif"])
def test_the_size_of_a_picture_is_known_before_it_is_decoded(suffix, tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (37, 53, 3), np.uint8)
    done, data = cv2.imencode(suffix, image)
    assert done and picture_size(data.tobytes()) == (53, 37)
    path = tmp_path / f"p{suffix}"
    path.write_bytes(data.tobytes())
    assert read_picture(path, 53 * 37)[0].shape == (37, 53, 3)
    with pytest.raises(InputError, match="53x37"):
        read_picture(path, 53 * 37 - 1)


def test_a_picture_bomb_is_not_decoded(tmp_path):
    """A PNG whose header claims 30,000 x 30,000 pixels, which nothing else holds."""
    data = bytearray(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    data[16:24] = (30_000).to_bytes(4, "big") * 2
    (tmp_path / "bomb.png").write_bytes(data)
    result = rtau("process", tmp_path / "bomb.png", "--out", tmp_path / "o.csv")
    assert result.exit_code == 1 and "900,000,000 pixels" in result.stderr


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"GIF89a", b"BM", b"II*\x00",
                                                 b"MM\x00*", b"RIFF1234WEBP", b"P6 "]))
def test_no_header_breaks_the_size(data, start):
    assert picture_size(start + data) is None or len(picture_size(start + data)) == 2


@settings(max_examples=40)
@given(st.builds(Task, st.builds(Job, st.lists(st.text(max_size=4).map(Path), max_size=3).map(tuple), st.booleans(),
                                 st.text(min_size=1, max_size=4).map(Path), st.none() | st.just(Path("o.mp4"))),
                 st.builds(Options, st.none() | st.floats(0, 9), st.none(), st.integers(1, 9),
                           st.frozensets(st.sampled_from(["raw", "quality"]))),
                 st.just({"smooth": "off"}), st.booleans(), st.none() | st.integers(1, 8)))
def test_tasks_go_through_json(task):
    assert Task.from_json(json.loads(json.dumps(task.as_json()))) == task


def record(name: str, state: str = "done", **more) -> Record:
    return Record([name], f"{name}.csv", state, **more)


def test_the_largest_file_is_begun_first_and_listed_where_it_was(fixtures, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, like in (("a.mp4", "turned.mp4"), ("b.mp4", "face_then_none.mp4"), ("c.mp4", "turned.mp4")):
        shutil.copy(fixtures / like, folder / name)
    result = rtau("process", folder, "--out", tmp_path / "out", "--end", 0.1, "--jobs", 1, "--summary", tmp_path / "s")
    told = [line.split("]")[1].split(":")[0].strip()[-5:] for line in result.stderr.splitlines() if line.startswith("[")]
    assert told == ["b.mp4", "a.mp4", "c.mp4"], result.stderr
    listed = [record["inputs"][0][-5:] for record in json.loads((tmp_path / "s").read_text())["files"]]
    assert listed == ["a.mp4", "b.mp4", "c.mp4"]


def test_a_task_knows_how_much_it_is(fixtures, tmp_path):
    there = fixtures / "turned.mp4"
    assert Task(Job((there, there, tmp_path / "gone.jpg"), True, tmp_path / "a.csv")).size == 2 * there.stat().st_size
    assert Task(Job((there,), False, tmp_path / "a.csv"), errand={"size": 7}).size == 7
    assert Task(Job((there,), False, tmp_path / "a.csv"), errand={"size": None}).size == 0


def test_of_many_files_only_the_bad_ones_are_listed():
    many = [record(f"good{n}.mp4", frames=10, faces=1, frames_with_face=5, rows=10, seconds=1.0) for n in range(200)]
    many[7] = record("bad.mp4", "failed", error="no video")
    many += [record(f"odd{n}.mp4", "damaged", error="it ends early") for n in range(40)]
    console = Console(file=io.StringIO(), width=120)
    console.print(results_table(Results(many, seconds=100.0)))
    text = console.file.getvalue()
    assert "bad.mp4" in text and "good5.mp4" not in text and "11 more" in text and "all 240" in text
    assert "199 done, 40 damaged, 1 failed" in text and "50 %" in text and "8,640 files/h" in text


def test_a_record_is_one_line():
    line = line_of(record("a\nb.mp4", "damaged", frames=3, rows=3, error="half of it is gone", notes=["redone: x"]))
    assert "\n" not in line and "a\\nb.mp4" in line and "half of it" in line and "redone: x" in line


@pytest.mark.parametrize("error", ["in/a.mp4 can't be read", "in/a.mp4: can't be read", "can't be read"])
def test_a_record_names_its_file_once(error):
    failed = record("in/a.mp4", "failed", error=error)
    assert line_of(failed) == "in/a.mp4: failed: can't be read"
    console = Console(file=io.StringIO(), width=100)
    console.print(results_table(Results([failed])))
    assert console.file.getvalue().count("in/a.mp4") == 1 and "failed: can't be read" in console.file.getvalue()


def test_the_display_shows_the_whole_and_each_worker():
    now = [0.0]
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    display = BatchDisplay(4, console=console, clock=lambda: now[0])
    tasks = [Task(Job((Path(f"{name}.mp4"),), False, Path(f"{name}.csv"))) for name in "abc"]
    display.begin(0, tasks[0])
    display.begin(1, tasks[1])
    display.beat(1, 30, 120)
    now[0] = 10.0
    display.done(Record.of(tasks[0].job).__class__(["a.mp4"], "a.csv", "failed", error="no video"))
    plain = Console(file=io.StringIO(), width=100)
    plain.print(display.picture())
    text = plain.file.getvalue()
    assert "1/4 files, 1 failed, 360 files/h" in text and "0:30 left" in text
    assert "30/120" in text and "b.mp4" in text and "a.mp4" not in text and "3 frames/s" in text
    assert "no video" in console.file.getvalue()
