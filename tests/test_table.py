"""The CSV table and the facts beside it."""

from __future__ import annotations

import csv
import errno
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from rtau.errors import OutputError, UsageError
from rtau.sinks import COLUMN_GROUPS, CsvSink, column_names, meta_path, write_meta
from rtau.types import Faces, Frame, Scores

AUS = (1, 6, 12)
IMAGE = np.zeros((4, 4, 3), np.uint8)


def make_scores(n: int = 2, *, raw: Scores | None = None, add: float = 0.0) -> Scores:
    """n faces; AU6 of face 0 can't be judged."""
    boxes = np.array([[10, 20, 110, 170]], np.float32) + 5 * np.arange(n, dtype=np.float32)[:, None]
    points = np.arange(136, dtype=np.float32).reshape(1, 68, 2).repeat(n, 0)
    pose = np.array([[0.1, -0.2, 0.3]], np.float32).repeat(n, 0)
    faces = Faces(boxes, np.full(n, 0.9, np.float32), 7 + np.arange(n), points, pose)
    presence = np.array([[0.25, 0.5, 0.75]], np.float32).repeat(n, 0) + np.float32(add)
    intensity = np.array([[1.25, 2.5, 3.75]], np.float32).repeat(n, 0) + np.float32(add)
    assessable = np.ones((n, 3), bool)
    if n:
        assessable[0, 1] = False
        presence[0, 1] = intensity[0, 1] = np.nan
    return Scores(AUS, faces, presence, intensity, (presence > 0.4) & assessable, assessable,
                  np.full(n, 0.5, np.float32), raw)


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_columns_and_values(tmp_path: Path) -> None:
    path = tmp_path / "aus.csv"
    with CsvSink(path, AUS) as sink:
        sink.write(Frame(IMAGE, 1.2345678, 37), make_scores())
    text = path.read_bytes().decode("utf-8")
    assert text.split("\n")[0] == (
        "frame,face_id,timestamp,confidence,success,box_x,box_y,box_w,box_h,pose_Rx,pose_Ry,pose_Rz,"
        "AU01_r,AU06_r,AU12_r,AU01_c,AU06_c,AU12_c,AU01_p,AU06_p,AU12_p")
    assert text.endswith("\n") and "\r" not in text and ", " not in text
    first, second = rows_of(path)
    assert sink.rows == 2
    assert (first["frame"], first["face_id"], first["timestamp"], first["success"]) == ("37", "7", "1.234568", "1")
    assert [float(first[f"box_{k}"]) for k in "xywh"] == [10, 20, 100, 150]
    # OpenFace's order: Rx pitch, Ry yaw, Rz roll; Faces.pose is yaw, pitch, roll.
    assert [float(first[f"pose_R{k}"]) for k in "xyz"] == [-0.2, 0.1, 0.3]
    assert [first[f"AU06_{k}"] for k in "rcp"] == ["NaN", "NaN", "NaN"]
    assert [second[f"AU06_{k}"] for k in "rcp"] == ["2.500", "1", "0.5000"]
    assert [first[f"AU01_{k}"] for k in "rcp"] == ["1.250", "0", "0.2500"]


def test_frame_without_face_has_a_row_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "aus.csv"
    with CsvSink(path, AUS, columns=COLUMN_GROUPS) as sink:
        sink.write(Frame(IMAGE, 2.5, 5), Scores.none(AUS))
    (row,) = rows_of(path)
    assert (row["frame"], row["face_id"], row["timestamp"]) == ("5", "-1", "2.500000")
    assert float(row["confidence"]) == 0 and row["success"] == "0"
    others = [value for name, value in row.items()
              if name not in ("frame", "face_id", "timestamp", "confidence", "success")]
    assert others and set(others) == {"NaN"}


def test_opt_in_columns_come_last(tmp_path: Path) -> None:
    path = tmp_path / "aus.csv"
    with CsvSink(path, AUS, columns={"quality", "raw", "landmarks"}) as sink:
        sink.write(Frame(IMAGE, 0.0, 0), make_scores(1, raw=make_scores(1, add=0.125)))
    (row,) = rows_of(path)
    assert list(row) == column_names(AUS, COLUMN_GROUPS)
    assert list(row)[: len(column_names(AUS))] == column_names(AUS)
    assert (row["x_0"], row["y_0"], row["x_67"], row["y_67"]) == ("0.00", "1.00", "134.00", "135.00")
    assert (row["AU01_r"], row["AU01_r_raw"], row["AU01_p_raw"]) == ("1.250", "1.375", "0.3750")
    assert row["AU06_r_raw"] == "NaN" and row["quality"] == "0.500"


def test_raw_without_smoothing_is_the_scores_themselves(tmp_path: Path) -> None:
    path = tmp_path / "aus.csv"
    with CsvSink(path, (12, 1), columns=["raw"]) as sink:  # fewer AUs, another order
        sink.write(Frame(IMAGE, 0.0, 0), make_scores(1))
    (row,) = rows_of(path)
    assert row["AU12_r"] == row["AU12_r_raw"] == "3.750" and "AU06_r" not in row
    assert list(row).index("AU12_r") < list(row).index("AU01_r")


def test_input_column_survives_odd_names(tmp_path: Path) -> None:
    path, names = tmp_path / "aus.csv", ["plain.jpg", 'a, "b"\n.jpg', "día nan.jpg", "broken\udcff.jpg"]
    with CsvSink(path, AUS, with_input=True) as sink:
        for i, name in enumerate(names):
            sink.write(Frame(IMAGE, 0.0, i, input=name), make_scores(1))
    rows = rows_of(path)
    assert list(rows[0])[0] == "input"
    assert [row["input"] for row in rows] == [*names[:3], "broken?.jpg"]
    assert all(row["AU06_r"] == "NaN" for row in rows)


def test_unknown_group_names_the_choices(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="landmarks, raw, quality"):
        CsvSink(tmp_path / "a.csv", AUS, columns={"gaze"})


def test_existing_file_is_kept_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "aus.csv"
    path.write_text("precious")
    with pytest.raises(OutputError, match="--overwrite"), CsvSink(path, AUS):
        pass
    assert path.read_text() == "precious"
    with CsvSink(path, AUS, overwrite=True):
        pass
    assert path.read_text().startswith("frame,")


@pytest.mark.parametrize(("place", "word"), [("", "folder"), ("missing/aus.csv", "does not exist"),
                                             ("file/aus.csv", "not a folder"), ("x" * 300, "too long")])
def test_bad_places_say_what_to_do(tmp_path: Path, place: str, word: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=word) as caught, CsvSink(tmp_path / place, AUS):
        pass
    assert "\n" not in str(caught.value)


def test_no_permission(tmp_path: Path) -> None:
    if os.name == "nt" or os.geteuid() == 0:
        pytest.skip("this user may write everywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="permission"), CsvSink(tmp_path / "aus.csv", AUS):
        pass


def test_killed_process_leaves_whole_rows(tmp_path: Path) -> None:
    path = tmp_path / "aus.csv"
    program = textwrap.dedent(f"""
        import sys; sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1])]!r}
        from test_table import *
        with CsvSink({str(path)!r}, AUS, columns=COLUMN_GROUPS) as sink:
            for i in range(10**9):
                sink.write(Frame(IMAGE, i / 30, i), make_scores(2))
                if i == 200:
                    print("going", flush=True)
    """)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline().strip() == b"going"
        process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        process.wait()
    text = path.read_text()
    lines = text.split("\n")
    assert text.endswith("\n") and len(lines) > 400
    width = len(column_names(AUS, COLUMN_GROUPS))
    assert {line.count(",") + 1 for line in lines[:-1]} == {width}
    assert [int(line.split(",")[0]) for line in lines[1:401]] == [i // 2 for i in range(400)]


def test_full_device_is_one_line() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    with pytest.raises(OutputError, match="disk is full"), CsvSink("/dev/full", AUS):
        pass


def test_full_disk_keeps_whole_rows(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if not shutil.which("mount") or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)],
                                                   capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    try:
        path = disk / "aus.csv"
        with pytest.raises(OutputError, match="disk is full"), CsvSink(path, AUS) as sink:
            for i in range(1000):
                sink.write(Frame(IMAGE, i / 30, i), make_scores(2))
        text = path.read_text()
        assert text.endswith("\n") and len(text) > 8000
        assert len(text.split("\n")) == sink.rows + 2  # header, rows, the end
    finally:
        subprocess.run(["umount", str(disk)], check=False)


def test_meta_is_plain_json_beside_the_table(tmp_path: Path) -> None:
    out = tmp_path / "aus.csv"
    facts = {"fps": float("nan"), "rows": np.int64(3), "aus": AUS, "path": out, "complete": True,
             "thresholds": np.array([0.5, np.inf]), "source": "día"}
    target = write_meta(out, facts)
    assert target == meta_path(out) == tmp_path / "aus.csv.meta.json"
    assert json.loads(target.read_text(encoding="utf-8")) == {
        "fps": None, "rows": 3, "aus": [1, 6, 12], "path": str(out), "complete": True,
        "thresholds": [0.5, None], "source": "día"}
    write_meta(out, {"rows": 4})
    assert json.loads(target.read_text()) == {"rows": 4}
    assert os.listdir(tmp_path) == ["aus.csv.meta.json"]


def test_meta_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "aus.csv"
    write_meta(out, {"rows": 4})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="disk is full"):
        write_meta(out, {"rows": 5})
    assert json.loads(meta_path(out).read_text()) == {"rows": 4}
    assert os.listdir(tmp_path) == ["aus.csv.meta.json"]
    with pytest.raises(OutputError, match="does not exist"):
        write_meta(tmp_path / "missing" / "aus.csv", {})


def test_every_number_parses(tmp_path: Path) -> None:
    path = tmp_path / "aus.csv"
    with CsvSink(path, AUS, columns=COLUMN_GROUPS) as sink:
        sink.write(Frame(IMAGE, 3600 * 30 + 1e-6, 10**7), make_scores())
    for row in rows_of(path):
        values = {name: float(value) for name, value in row.items()}
        assert values["timestamp"] == 108000.000001
        assert all(math.isfinite(v) for name, v in values.items() if "AU06" not in name)
