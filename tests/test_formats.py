"""Tables as JSON lines and Parquet, and in the layouts of other tools, as they are written."""

from __future__ import annotations

import csv
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
import pyarrow.parquet
import pytest
from click.testing import CliRunner
from test_table import AUS, IMAGE, make_scores

from rtau.cli import main
from rtau.errors import InputError, OutputError, UsageError
from rtau.report import read_table
from rtau.sinks import COLUMN_GROUPS, CsvSink, open_table, table_suffix
from rtau.sinks.parquet import partial_path
from rtau.tables.layout import layout_like, rtau_layout
from rtau.types import Frame, Scores

ODD = 'nan, "b"\n.jpg'


def write(path: Path, **options) -> None:
    """Two faces, then one, then none; AU6 of the first can't be judged."""
    with open_table(path, AUS, **options) as sink:
        for i, n in enumerate((2, 1, 0)):
            scores = make_scores(n, add=i / 7) if n else Scores.none(AUS)
            sink.write(Frame(IMAGE, i / 3, i, input=ODD), scores)
        assert sink.rows == 4


def csv_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def value_of(text: str) -> float | None:
    return None if math.isnan(float(text)) else float(text)


@pytest.mark.parametrize("with_input", [False, True])
def test_the_same_values_in_all_formats(tmp_path: Path, with_input: bool) -> None:
    for end in ("csv", "jsonl", "parquet"):
        write(tmp_path / f"a.{end}", columns=COLUMN_GROUPS, with_input=with_input)
    plain = csv_rows(tmp_path / "a.csv")
    lines = [json.loads(line, parse_constant=pytest.fail) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    table = pyarrow.parquet.read_table(tmp_path / "a.parquet")
    names = rtau_layout(AUS, COLUMN_GROUPS, with_input=with_input).names
    assert list(plain[0]) == list(lines[0]) == table.column_names == names and len(plain) == 4
    for text, line, row in zip(plain, lines, table.to_pylist(), strict=True):
        if with_input:
            assert text["input"] == line["input"] == row["input"] == ODD
        for name in names[with_input:]:
            assert line[name] == row[name] == value_of(text[name]), name
    assert plain[0]["AU06_c"] == "NaN" and lines[0]["AU06_c"] is None and table["AU06_c"].null_count == 3
    kinds = {name: str(table.schema.field(name).type) for name in ("frame", "success", "AU12_c", "AU12_r", "x_0")}
    assert kinds == {"frame": "int64", "success": "int8", "AU12_c": "int8", "AU12_r": "double", "x_0": "double"}
    assert not partial_path(tmp_path / "a.parquet").exists()


def test_csv_of_open_table_is_that_of_csv_sink(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", columns=["raw"])
    with CsvSink(tmp_path / "b.csv", AUS, columns=["raw"]) as sink:
        for i, n in enumerate((2, 1, 0)):
            sink.write(Frame(IMAGE, i / 3, i, input=ODD), make_scores(n, add=i / 7) if n else Scores.none(AUS))
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_openface(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", like="openface")
    rows = csv_rows(tmp_path / "a.csv")
    names = list(rows[0])
    assert names[:11] == ["frame", "face_id", "timestamp", "confidence", "success", "pose_Tx", "pose_Ty", "pose_Tz",
                          "pose_Rx", "pose_Ry", "pose_Rz"]
    assert names[11:147] == [f"{axis}_{i}" for axis in "xy" for i in range(68)]
    assert names[147:164] == [f"AU{au:02d}_r" for au in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)]
    assert names[164:] == [f"AU{au:02d}_c" for au in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 28, 45)]
    first, second, third, lost = rows
    # Frames count from 1; a turn to image left is positive: rtau's yaw of .1 to the right is -.1.
    assert [row["frame"] for row in rows] == ["1", "1", "2", "3"] and third["timestamp"] == "0.333"
    assert (first["pose_Rx"], first["pose_Ry"], first["pose_Rz"]) == ("-0.200", "-0.100", "0.300")
    assert (second["AU12_r"], second["AU12_c"], first["AU01_c"]) == ("3.75", "1.0", "0.0")
    # What wasn't analysed, isn't known or can't be judged is NaN, never OpenFace's 0.
    assert {first["AU06_r"], first["AU02_c"], first["pose_Tz"]} == {"NaN"}
    assert (lost["success"], lost["confidence"], lost["AU01_r"], lost["AU01_c"]) == ("0", "0.00", "NaN", "NaN")


def test_feat(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", like="feat")
    first, second, _, lost = csv_rows(tmp_path / "a.csv")
    names = list(first)
    assert names[:6] == ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore", "x_0"]
    assert names[141:144] == ["Pitch", "Roll", "Yaw"] and names[144:147] == ["AU01", "AU02", "AU04"]
    assert names[-5:] == ["input", "frame", "approx_time", "Identity", "timestamp"]
    assert [float(first[f"FaceRect{name}"]) for name in ("X", "Y", "Width", "Height")] == [10, 20, 100, 150]
    assert (first["AU12"], first["AU06"], first["AU02"]) == ("0.7500", "", "")
    assert (second["Identity"], second["approx_time"], second["input"]) == ("Person_8", "00:00", ODD)
    assert float(first["Yaw"]) == pytest.approx(math.degrees(0.1), abs=1e-3)
    assert (lost["frame"], lost["FaceRectX"], lost["Identity"], lost["AU12"]) == ("2", "", "", "")


def test_libreface(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", like="libreface", with_input=True)
    first, second, third, lost = csv_rows(tmp_path / "a.csv")
    assert list(first)[:6] == ["input", "frame_idx", "frame_time_in_ms", "pitch", "yaw", "roll"]
    assert [name for name in first if name.endswith("_intensity")] == [
        f"au_{au}_intensity" for au in (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)]
    assert (second["au_12"], second["au_12_intensity"], third["frame_time_in_ms"]) == ("1", "3.750", "333.333")
    assert (first["au_6"], first["au_6_intensity"], lost["au_12"], lost["face_id"]) == ("", "", "", "-1")


def test_other_layouts_in_other_formats(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", like="feat")
    write(tmp_path / "a.jsonl", like="feat")
    write(tmp_path / "a.parquet", like="feat")
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert lines == pyarrow.parquet.read_table(tmp_path / "a.parquet").to_pylist()
    for text, line in zip(csv_rows(tmp_path / "a.csv"), lines, strict=True):
        assert {name: word or None for name, word in text.items() if name in ("input", "approx_time", "Identity")} == {
            name: line[name] for name in ("input", "approx_time", "Identity")}
        assert [float(text[f"AU{au:02d}"] or "nan") for au in AUS] == pytest.approx(
            [np.nan if line[f"AU{au:02d}"] is None else line[f"AU{au:02d}"] for au in AUS], nan_ok=True)


def test_contradictions_are_one_line(tmp_path: Path) -> None:
    for options, says in (({"format": "csv"}, "contradicts"), ({"format": "xls"}, "csv, jsonl, parquet"),
                          ({"like": "facet"}, "openface, feat, libreface"),
                          ({"like": "openface", "columns": ["raw", "quality"]}, "quality and raw"),
                          ({"like": "libreface", "columns": ["landmarks"]}, "landmarks")):
        with pytest.raises(UsageError, match=says) as error:
            open_table(tmp_path / "a.jsonl", AUS, **options)
        assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match="none of AU 18, 22"):
        open_table(tmp_path / "a.csv", (18, 22), like="openface")
    assert table_suffix() == ".csv" and table_suffix("parquet", "openface") == ".parquet"
    assert not list(tmp_path.iterdir())


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, sample: Path) -> None:
    program = textwrap.dedent(f"""
        import sys; sys.modules["pyarrow"] = None
        from rtau.cli import main
        main(["process", {str(sample)!r}, "--out", {str(tmp_path / "a.parquet")!r}])
    """)
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120,
                          check=False)
    assert done.returncode == 2 and "pip install 'rtau[parquet]'" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("end", ["jsonl", "parquet"])
def test_killed_process_leaves_its_rows(tmp_path: Path, end: str) -> None:
    path = tmp_path / f"aus.{end}"
    program = textwrap.dedent(f"""
        import sys; sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1])]!r}
        from test_table import *
        from rtau.sinks import open_table
        with open_table({str(path)!r}, AUS) as sink:
            for i in range(10**9):
                sink.write(Frame(IMAGE, i / 30, i), make_scores(2))
                if i == 200:
                    print("going", flush=True)
    """)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline().strip() == b"going"
        process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        process.wait()
    if end == "jsonl":
        lines = path.read_text().splitlines()
        assert [json.loads(line)["frame"] for line in lines[:401]] == [i // 2 for i in range(401)]
        return
    assert not path.exists()
    # The next run does not write over them, and they become the table that was wanted.
    with pytest.raises(OutputError, match="rtau convert"), open_table(path, AUS):
        pass
    done = CliRunner().invoke(main, ["convert", str(partial_path(path)), str(path)])
    assert done.exit_code == 0, done.output
    frames = pyarrow.parquet.read_table(path)["frame"].to_pylist()
    assert len(frames) > 400 and frames == [i // 2 for i in range(len(frames))]


def test_a_damaged_parquet_file_says_where_the_rows_are(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "b.parquet").write_bytes(whole[:-9])
    with pytest.raises(InputError, match=r"b\.parquet\.partial"):
        read_table(tmp_path / "b.parquet")


def test_rows_before_an_error_are_in_the_table(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="odd"), open_table(tmp_path / "a.parquet", AUS) as sink:
        sink.write(Frame(IMAGE, 0.0, 0), make_scores(1))
        raise RuntimeError("odd")
    assert pyarrow.parquet.read_table(tmp_path / "a.parquet").num_rows == 1


def test_existing_files_are_kept_unless_told(tmp_path: Path) -> None:
    for end in ("jsonl", "parquet"):
        path = tmp_path / f"a.{end}"
        path.write_text("precious")
        with pytest.raises(OutputError, match="--overwrite"), open_table(path, AUS):
            pass
        assert path.read_text() == "precious"
        write(path, overwrite=True)
        assert path.read_bytes()[:4] in (b"PAR1", b'{"fr')


def test_full_disk_leaves_whole_rows(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if not shutil.which("mount") or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)],
                                                   capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    try:
        for end in ("jsonl", "parquet"):
            path = disk / f"aus.{end}"
            with pytest.raises(OutputError, match="disk is full"), open_table(path, AUS) as sink:
                for i in range(1000):
                    sink.write(Frame(IMAGE, i / 30, i), make_scores(2))
            kept = path if end == "jsonl" else partial_path(path)
            text = kept.read_text()
            assert text.endswith("\n") and len(text) > 8000
            assert text.count("\n") == sink.rows + (end == "parquet")
            kept.unlink()
        assert not os.listdir(disk)
    finally:
        subprocess.run(["umount", str(disk)], check=False)


def test_a_video_through_the_command_line(tmp_path: Path, sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    short = ["process", str(sample), "--end", "0.15", "--no-progress"]
    for more in (["--format", "jsonl"], ["--out", "a.parquet"], ["--out", "of.csv", "--like", "openface", "--aus",
                                                                 "1,12"]):
        done = CliRunner().invoke(main, [*short, *more])
        assert done.exit_code == 0, done.output
    lines, packed = (read_table(path) for path in (f"{sample.stem}.jsonl", "a.parquet"))
    assert np.array_equal(lines.times, packed.times) and lines.aus == packed.aus and len(lines.faces[0]) == 4
    assert np.array_equal(lines.faces[0].level, packed.faces[0].level, equal_nan=True)
    (row, *_) = csv_rows(tmp_path / "of.csv")
    assert list(row) == layout_like("openface").names and row["AU02_r"] == "NaN" and float(row["AU12_r"]) > 2
    for more, says in ((["--out", "b.csv", "--format", "parquet"], "contradicts"),
                       (["--out", "b.csv", "--like", "feat", "--report"], "leave out one")):
        done = CliRunner().invoke(main, [*short, *more])
        assert done.exit_code == 2 and says in done.stderr and len(done.stderr.splitlines()) == 1
    # The page takes all three formats.
    done = CliRunner().invoke(main, ["report", "a.parquet", "--csv-summary", "s.csv"])
    assert done.exit_code == 0 and {row["au"] for row in csv_rows(tmp_path / "s.csv")} > {"1", "12"}
