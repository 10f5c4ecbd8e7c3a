"""Crops of the faces: what they show, their names and table, and that they stay in their folder."""

from __future__ import annotations

import csv
import logging
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from rtau import Analyzer, open_source
from rtau.cli import main
from rtau.crop import RIGID, TEMPLATE, apply, similarity
from rtau.errors import OutputError, UsageError
from rtau.sinks.crops import CropSink, check_crops
from rtau.types import Frame, Scores


@pytest.fixture(scope="module")
def analyzer() -> Analyzer:
    return Analyzer(detect_width=(320, 640), device="cpu")


@pytest.fixture(scope="module")
def seen(analyzer: Analyzer, fixtures: Path) -> tuple[Frame, Scores]:
    """Two faces of a picture."""
    frame = next(iter(open_source(fixtures / "two_faces.jpg")))
    return frame, analyzer(frame)


def picture(path: Path) -> np.ndarray:
    return cv2.imread(str(path))[..., ::-1]


def index(folder: Path) -> list[dict[str, str]]:
    with open(folder / "crops.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def run(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["process", *map(str, words), "--no-progress"], catch_exceptions=False)
    return done.exit_code, done.output


def test_a_crop_is_what_the_network_sees(tmp_path: Path, seen: tuple[Frame, Scores], analyzer: Analyzer) -> None:
    frame, scores = seen
    size = analyzer.weights.facts["config"]["size"]
    with CropSink(tmp_path / "new" / "crops", size=size) as sink:
        sink.write(replace(frame, index=7), scores)
    folder = tmp_path / "new" / "crops"
    aligned = Analyzer(detect_width=(320, 640), device="cpu").find(frame)
    assert len(aligned) == len(scores) == 2 == sink.written
    for row, face in enumerate(scores.faces.ids.tolist()):
        assert (picture(folder / f"{face}" / "000007.png") == aligned.crops[row]).all()
    rows = index(folder)
    assert [row["file"] for row in rows] == [f"{face}/000007.png" for face in scores.faces.ids]
    assert files(folder) == {"crops.csv", *(row["file"] for row in rows)}
    assert all(0 < float(row["quality"]) <= 1 and float(row["timestamp"]) == frame.time for row in rows)


def test_larger_crops_show_the_same(tmp_path: Path, seen: tuple[Frame, Scores]) -> None:
    """The eyes lie where the template has them, and a large crop made small is the small one."""
    frame, scores = seen
    for size in (112, 336):
        with CropSink(tmp_path / f"{size}", size=size) as sink:
            sink.write(frame, scores)
    large, small = (picture(tmp_path / f"{size}" / "0" / f"{frame.index:06d}.png") for size in (336, 112))
    assert large.shape == (336, 336, 3)
    assert np.abs(cv2.resize(large, (112, 112), interpolation=cv2.INTER_AREA).astype(int) - small).mean() < 5
    points = scores.faces.landmarks[:1].astype(float)
    place = apply(similarity(points, 336)[0], points[0, list(RIGID)])
    assert np.abs(place - (TEMPLATE * 336 - 0.5)).max() < 0.06 * 336


def test_faces_without_points_are_left_out(tmp_path: Path, seen: tuple[Frame, Scores]) -> None:
    frame, scores = seen
    points = scores.faces.landmarks.copy()
    points[0, 3] = np.nan
    with CropSink(tmp_path, size=64) as sink:
        sink.write(frame, replace(scores, faces=replace(scores.faces, landmarks=points)))
        sink.write(frame, Scores.none(scores.aus))
    assert [row["face_id"] for row in index(tmp_path)] == [str(scores.faces.ids[1])] and sink.written == 1


def test_crops_are_bounded(tmp_path: Path, seen: tuple[Frame, Scores], caplog: pytest.LogCaptureFixture) -> None:
    frame, scores = seen
    with caplog.at_level(logging.WARNING), CropSink(tmp_path, size=32, most=5) as sink:
        for i in range(6):
            sink.write(replace(frame, index=i), scores)
    assert (sink.written, sink.left_out) == (5, 7)
    assert len(index(tmp_path)) == 5 and len(files(tmp_path)) == 6
    assert len(caplog.records) == 1 and "--every" in caplog.text


def test_earlier_crops_are_safe(tmp_path: Path, seen: tuple[Frame, Scores]) -> None:
    frame, scores = seen
    with CropSink(tmp_path, size=64) as sink:
        sink.write(frame, scores)
    before = picture(tmp_path / "0" / f"{frame.index:06d}.png")
    with pytest.raises(OutputError, match="--overwrite"), CropSink(tmp_path, size=32):
        pass
    (tmp_path / "crops.csv").unlink()
    with pytest.raises(OutputError, match="--overwrite"), CropSink(tmp_path, size=32):
        pass
    assert (picture(tmp_path / "0" / f"{frame.index:06d}.png") == before).all()
    with CropSink(tmp_path, size=32, overwrite=True) as sink:
        sink.write(frame, scores)
    assert picture(tmp_path / "0" / f"{frame.index:06d}.png").shape == (32, 32, 3)


def test_nothing_is_written_outside_the_folder(tmp_path: Path, seen: tuple[Frame, Scores]) -> None:
    frame, scores = seen
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "crops"
    elsewhere.mkdir()
    (elsewhere / "precious.png").write_text("precious")
    folder.mkdir()
    (folder / "0").symlink_to(elsewhere)
    with pytest.raises(OutputError, match="leads out"), CropSink(folder, size=32, overwrite=True):
        pass
    (folder / "0").unlink()
    with pytest.raises(OutputError, match="leads out"), CropSink(folder, size=32, overwrite=True) as sink:
        (folder / "0").symlink_to(elsewhere)  # comes while it runs
        sink.write(frame, scores)
    (folder / "0").unlink()
    (folder / "0").mkdir()
    (folder / "0" / f"{frame.index:06d}.png").symlink_to(elsewhere / "precious.png")
    with pytest.raises(OutputError, match="leads out"), CropSink(folder, size=32, overwrite=True) as sink:
        sink.write(frame, scores)
    assert files(elsewhere) == {"precious.png"} and (elsewhere / "precious.png").read_text() == "precious"


def test_inputs_among_the_crops_are_refused(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    crop = tmp_path / "0" / "000000.png"
    with pytest.raises(UsageError, match="input"):
        check_crops(tmp_path, [crop], overwrite=True)
    check_crops(tmp_path, [tmp_path / "film.mp4", tmp_path.parent / "other.mp4"], overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        check_crops(tmp_path / "file")


def test_command(tmp_path: Path, sample: Path) -> None:
    table, folder = tmp_path / "t.csv", tmp_path / "faces"
    code, said = run(sample, "--out", table, "--crops", folder, "--crop-size", 200, "--every", 40, "--end", 4)
    assert code == 0, said
    assert files(folder) == {"crops.csv", "0/000000.png", "0/000040.png", "0/000080.png"}
    assert picture(folder / "0" / "000040.png").shape == (200, 200, 3)
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["frame"], row["face_id"]) for row in rows] == [(row["frame"], row["face_id"]) for row in index(folder)]
    code, said = run(sample, "--out", tmp_path / "other.csv", "--crops", folder)
    assert code == 2 and "--overwrite" in said and not (tmp_path / "other.csv").exists()


def test_several_inputs_have_a_folder_each(tmp_path: Path, fixtures: Path) -> None:
    code, said = run(fixtures / "turned.mp4", fixtures / "face.jpg", fixtures / "no_face.jpg", "--every", 10, "--jobs", 1,
                     "--out", tmp_path / "out", "--crops", tmp_path / "faces")
    assert code == 0, said
    found = files(tmp_path / "faces")
    assert {name.split("/")[0] for name in found} == {"turned", "pictures"}
    assert sum(name.startswith("turned/0/") for name in found) == 2
    (row,) = index(tmp_path / "faces" / "pictures")
    assert row["input"].endswith("face.jpg") and f"pictures/{row['file']}" in found


@pytest.mark.parametrize(("words", "reason"), [
    (("--crop-size", 200), "--crops"), (("--crops", "x", "--crop-size", 3), "16"),
    (("--crops", "crops-here", "--out", "crops-here/crops.csv"), "two things")])
def test_mistakes_are_told_before_anything_is_written(tmp_path: Path, sample: Path, words: tuple, reason: str,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = run(sample, *words)
    assert code == 2 and reason in said and not list(tmp_path.iterdir())
