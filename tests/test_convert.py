"""Tables of rtau and of other tools, turned into each other."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from test_table import AUS, IMAGE, make_scores

from rtau.cli import main
from rtau.errors import InputError, OutputError, UsageError
from rtau.report import read_table
from rtau.sinks import COLUMN_GROUPS, open_table, write_meta
from rtau.tables import convert_table, open_table_file
from rtau.tables.files import open_rows
from rtau.types import Frame, Scores


def make(path: Path, frames: int = 5, **options) -> Path:
    """Two faces, none in each fifth frame; AU6 of the first can't be judged."""
    with open_table(path, AUS, **options) as sink:
        for i in range(frames):
            scores = Scores.none(AUS) if i % 5 == 4 else make_scores(2, add=i % 7 / 10)
            sink.write(Frame(IMAGE, i / 30, i, input="a, b.jpg"), scores)
    return path


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["convert", *map(str, words)])


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def number(text: str) -> float:
    return float(text) if text else np.nan


def columns(path: Path, names: list[str], origin: str = "auto") -> np.ndarray:
    """The values of rtau's columns in a table of any tool."""
    with open_table_file(path, origin) as table:
        blocks = [block.values for block in table.blocks(names)]
        return np.concatenate(blocks)[:, [table.names.index(name) for name in names]]


# Formats


@pytest.mark.parametrize("with_input", [False, True])
def test_there_and_back_through_every_format(tmp_path: Path, with_input: bool) -> None:
    first = make(tmp_path / "a.csv", 50, columns=COLUMN_GROUPS, with_input=with_input)
    before = first
    for end in ("jsonl", "parquet", "jsonl", "csv"):
        after = tmp_path / f"{before.stem}a.{end}"
        assert run(before, after).exit_code == 0
        before = after
    assert before.read_bytes() == first.read_bytes()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_long_table_is_read_in_blocks(tmp_path: Path) -> None:
    path = make(tmp_path / "a.csv", 2000, columns=["landmarks"])
    reader = open_rows(path)
    blocks = [values for values, _ in reader.blocks(["frame", "AU12_r"])]
    reader.close()
    assert len(blocks) > 1 and sum(map(len, blocks)) == 3600
    for source, target in (("a.csv", "a.parquet"), ("a.parquet", "b.csv")):
        assert run(tmp_path / source, tmp_path / target).exit_code == 0
    assert (tmp_path / "b.csv").read_bytes() == path.read_bytes()


def test_facts_go_along(tmp_path: Path) -> None:
    path = make(tmp_path / "a.csv")
    facts = write_meta(path, {"rtau": "1", "rows": 3}).read_bytes()
    done = run(path, tmp_path / "b.jsonl")
    assert done.exit_code == 0 and (tmp_path / "b.jsonl.meta.json").read_bytes() == facts
    assert "9 rows of rtau" in done.output and "b.jsonl.meta.json" in done.output
    assert run(path, tmp_path / "b.jsonl").exit_code == 2
    assert run(path, tmp_path / "b.jsonl", "--overwrite").exit_code == 0


# Layouts


@pytest.mark.parametrize("end", ["csv", "jsonl", "parquet"])
def test_openface_and_back(tmp_path: Path, end: str) -> None:
    path = make(tmp_path / "a.csv", columns=["landmarks"])
    done = run(path, tmp_path / f"of.{end}", "--like", "openface")
    assert done.exit_code == 0 and "AU.._p of 1, 6, 12" in done.output
    assert run(tmp_path / f"of.{end}", tmp_path / "b.csv").exit_code == 0
    same = ["frame", "face_id", "success", "pose_Rx", "pose_Ry", "pose_Rz", "AU01_r", "AU06_r", "AU12_c", "x_0", "y_67"]
    assert np.allclose(columns(tmp_path / "b.csv", same), columns(path, same), atol=0.051, equal_nan=True)
    for before, after in zip(rows_of(path), rows_of(tmp_path / "b.csv"), strict=True):
        assert after["AU01_p"] == after["box_x"] == "NaN" and after["frame"] == before["frame"]
        assert float(after["timestamp"]) == pytest.approx(float(before["timestamp"]), abs=6e-4)


def test_feat_and_back(tmp_path: Path) -> None:
    path = make(tmp_path / "a.csv", columns=["landmarks"])
    assert run(path, tmp_path / "f.csv", "--like", "feat").exit_code == 0
    assert run(tmp_path / "f.csv", tmp_path / "b.csv").exit_code == 0
    same = ["frame", "face_id", "timestamp", "success", "box_x", "box_h", "AU01_p", "AU06_p", "AU12_p", "x_5"]
    assert np.array_equal(columns(tmp_path / "b.csv", same), columns(path, same), equal_nan=True)
    assert {row["AU12_r"] for row in rows_of(tmp_path / "b.csv")} == {"NaN"}


def test_libreface_and_back(tmp_path: Path) -> None:
    path = make(tmp_path / "a.csv")
    assert run(path, tmp_path / "l.csv", "--like", "libreface").exit_code == 0
    assert run(tmp_path / "l.csv", tmp_path / "b.csv").exit_code == 0
    same = ["frame", "face_id", "timestamp", "success", "AU01_r", "AU06_r", "AU12_c"]
    assert np.allclose(columns(tmp_path / "b.csv", same), columns(path, same), atol=1e-6, equal_nan=True)


def test_what_process_writes_is_what_convert_makes(tmp_path: Path) -> None:
    path = make(tmp_path / "a.csv", columns=["landmarks"])
    for tool in ("openface", "libreface"):
        straight = make(tmp_path / f"{tool}.csv", like=tool)
        assert run(path, tmp_path / f"{tool}2.csv", "--like", tool).exit_code == 0
        for one, other in zip(rows_of(straight), rows_of(tmp_path / f"{tool}2.csv"), strict=True):
            assert list(one) == list(other)
            # What was rounded before may be rounded the other way.
            assert [number(v) for v in one.values()] == pytest.approx([number(v) for v in other.values()], abs=0.051,
                                                                    nan_ok=True)


# Tables as the other tools write them


def test_old_openface_with_spaces_and_zeros(tmp_path: Path) -> None:
    path = tmp_path / "of.csv"
    path.write_text("frame, face_id, timestamp, confidence, success, pose_Ry, gaze_0_x, AU01_r, AU45_r, AU01_c, "
                    "AU28_c\n"
                    "1, 0, 0, 0.98, 1, 0.2, 0.1, 1.5, 0.3, 1.0, 0.0\n"
                    "2, 0, 0.033, 0.2, 0, 0, 0, 0, 0, 0, 0\n")
    done = run(path, tmp_path / "a.csv")
    assert done.exit_code == 0 and "dropped, no place for them: gaze_0_x" in done.output
    seen, lost = rows_of(tmp_path / "a.csv")
    assert (seen["frame"], seen["pose_Ry"], seen["AU01_r"], seen["AU01_c"]) == ("0", "-0.2000", "1.500", "1")
    assert (seen["AU45_c"], seen["AU28_r"], seen["AU28_c"]) == ("NaN", "NaN", "0")
    # Its zeros for a lost face are no judgement.
    assert (lost["frame"], lost["face_id"], lost["success"], lost["confidence"]) == ("1", "-1", "0", "0.200")
    assert {lost[name] for name in lost if name.startswith(("AU", "pose"))} == {"NaN"}
    assert len(read_table(tmp_path / "a.csv").faces) == 1


def test_feat_of_any_version(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("frame,FaceRectX,FaceRectY,FaceRectWidth,FaceRectHeight,FaceScore,AU01,AU11,Pitch,anger,input,"
                    "approx_time\n"
                    '0.0,10,20,30,40,0.9,0.25,0.5,3.1,0.1,"a, b.mp4",00:00\n'
                    '0.0,50,20,30,40,0.8,0.75,0.5,3.1,0.1,"a, b.mp4",00:00\n'
                    '90.0,,,,,,,,,,"a, b.mp4",01:03\n')
    done = run(path, tmp_path / "a.csv")
    assert done.exit_code == 0 and "dropped, no place for them: Pitch, anger" in done.output
    one, other, lost = rows_of(tmp_path / "a.csv")
    assert [row["face_id"] for row in (one, other, lost)] == ["0", "1", "-1"]
    assert (one["input"], other["AU01_p"], one["AU11_p"], other["box_x"]) == ("a, b.mp4", "0.7500", "0.5000", "50.00")
    assert (lost["frame"], lost["timestamp"], lost["success"]) == ("90", "63.000000", "0")


@pytest.mark.parametrize("per_second", [1000, 1])
def test_librefaces_milliseconds_that_are_seconds(tmp_path: Path, per_second: int) -> None:
    path = tmp_path / "l.csv"
    lines = [f"{i},{i / 25 * per_second},1.0,0.5,1,2.5,Neutral" for i in range(4)]
    path.write_text("frame_idx,frame_time_in_ms,pitch,lm_mp_0_x,au_1,au_1_intensity,facial_expression\n"
                    + "\n".join(lines) + "\n")
    assert run(path, tmp_path / "a.csv").exit_code == 0
    rows = rows_of(tmp_path / "a.csv")
    assert [float(row["timestamp"]) for row in rows] == pytest.approx([0, 0.04, 0.08, 0.12])
    assert (rows[1]["AU01_r"], rows[1]["AU01_c"], rows[1]["face_id"], rows[1]["success"]) == ("2.500", "1", "0", "1")


def test_codes_of_a_person(tmp_path: Path) -> None:
    path = tmp_path / "codes.csv"
    path.write_bytes(b"\xef\xbb\xbftimestamp;AU12_c;AU06_r;coder\r\n0;1;2;Ann\r\n0.5;0;NA;Ann\r\n1;;0;Ann\r\n")
    done = run(path, tmp_path / "a.csv")
    assert done.exit_code == 0 and "coder" in done.output
    rows = rows_of(tmp_path / "a.csv")
    assert [(row["frame"], row["timestamp"], row["AU12_c"], row["AU06_r"]) for row in rows] == [
        ("0", "0.000000", "1", "2.000"), ("1", "0.500000", "0", "NaN"), ("2", "1.000000", "NaN", "0.000")]


# Mistakes


@pytest.mark.parametrize(("text", "origin", "says"), [
    ("", "auto", "empty"), ("a,b\n1,2\n", "auto", "frame or timestamp"),
    ("frame,AU12_c\n1,x\n", "auto", "line 2 of"), ("frame,AU12_c\n1,1\n1\n", "auto", "line 3 of"),
    ("frame,AU12_c\n1,1\n", "openface", "no table of OpenFace: it lacks the columns timestamp, success"),
    ("frame,AU12_c\n1,1\n", "rtau", "it lacks the columns face_id, timestamp, success"),
    ("frame,FaceScore\n1,1\n", "auto", "no table of py-feat: it lacks the column AU01"),
    ("frame_idx,pitch\n1,1\n", "auto", "no table of LibreFace: it lacks the column au_1"),
    ("frame,AU12_c\n,1\n", "auto", "without a frame number"),
    ('{"v":1,"faces":[]}\n', "auto", "stream of messages"), ('{"frame":1,"AU12_c":1}\n{"frame":\n', "auto", "line 2"),
    ('{"frame":[1],"AU12_c":1}\n', "auto", "line 1"), ("PAR1 and then nothing", "auto", "no whole Parquet file"),
])
def test_what_is_no_table_is_one_line(tmp_path: Path, text: str, origin: str, says: str) -> None:
    path = tmp_path / "in.csv"
    path.write_text(text)
    done = run(path, tmp_path / "out.csv", "--from", origin)
    assert done.exit_code == 2 and says in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


def test_options_that_contradict_each_other(tmp_path: Path) -> None:
    path = make(tmp_path / "a.csv")
    before = path.read_bytes()
    with pytest.raises(UsageError, match="written over"):
        convert_table(path, tmp_path / "." / "a.csv", overwrite=True)
    with pytest.raises(OutputError, match="overwrite"):
        convert_table(path, make(tmp_path / "b.csv"))
    with pytest.raises(UsageError, match="contradicts"):
        convert_table(path, tmp_path / "c.csv", format="jsonl")
    with pytest.raises(UsageError, match="auto, rtau, openface"):
        convert_table(path, tmp_path / "c.csv", origin="facet")
    with pytest.raises(InputError, match="no table"):
        convert_table(tmp_path / "x.csv", tmp_path / "c.csv")
    convert_table(path, tmp_path / "f.csv", like="feat")
    with pytest.raises(UsageError, match="no place for what"):
        convert_table(tmp_path / "f.csv", tmp_path / "c.csv", like="openface")
    assert path.read_bytes() == before and not (tmp_path / "c.csv").exists()


def test_a_last_line_without_its_end_is_left_out(tmp_path: Path) -> None:
    path = make(tmp_path / "a.csv")
    path.write_text(path.read_text()[:-2])
    done = run(path, tmp_path / "b.jsonl")
    assert done.exit_code == 0 and "left out" in done.output
    lines = (tmp_path / "b.jsonl").read_text()
    assert lines.count("\n") == 8
    (tmp_path / "b.jsonl").write_text(lines[:-1])
    done = run(tmp_path / "b.jsonl", tmp_path / "c.csv")
    assert "left out" in done.output and len(rows_of(tmp_path / "c.csv")) == 7
    assert json.loads(lines.splitlines()[0])["AU06_r"] is None
