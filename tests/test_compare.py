"""How far two tables agree."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from test_table import AUS, IMAGE, make_scores

from rtau.cli import main
from rtau.errors import InputError, UsageError
from rtau.sinks import CsvSink, open_table
from rtau.tables import compare_tables
from rtau.tables.compare import Agreement, Comparison, cohen_kappa
from rtau.types import Faces, Frame, Scores


def table(path: Path, head: str, *rows: str) -> Path:
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def one(found: Comparison, au: int) -> Agreement:
    return next(agreement for agreement in found.aus if agreement.au == au)


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, words)])


def face_points() -> np.ndarray:
    """68 points of a face in a box of 1 by 1, float32."""
    points = np.full((68, 2), 0.5, np.float32)
    turn = np.linspace(np.pi, 0, 17)
    points[:17] = np.stack([0.5 + 0.5 * np.cos(turn), 0.4 + 0.6 * np.sin(turn)], 1)
    points[17:27] = np.stack([np.linspace(0.1, 0.9, 10), np.full(10, 0.3)], 1)
    points[36:42], points[42:48], points[48:] = (0.3, 0.4), (0.7, 0.4), (0.5, 0.8)
    return points


def two_faces(path: Path, *, swapped: bool = False, ids: tuple[int, int] = (0, 1), frames: int = 20, **options) -> Path:
    """A face at the left that smiles in odd frames, and one at the right that smiles in even ones."""
    with open_table(path, AUS, **options) as sink:
        for i in range(frames):
            scores = make_scores(2)
            smile = np.array([[0, 0, i % 2], [0, 0, 1 - i % 2]], np.float32)
            boxes = np.array([[0, 0, 100, 100], [300, 0, 400, 100]], np.float32) + i
            order = [1, 0] if swapped else [0, 1]
            points = boxes[order][:, None, :2] + 100 * face_points()
            faces = Faces(boxes[order], scores.faces.scores, np.array(ids), points, scores.faces.pose)
            level = smile[order]
            sink.write(Frame(IMAGE, i / 25, i), Scores(
                AUS, faces, 0.1 + 0.8 * level, 4 * level, level > 0.5, np.ones((2, 3), bool), scores.quality))
    return path


# Figures


def test_figures_against_a_coder(tmp_path: Path) -> None:
    a = table(tmp_path / "codes.csv", "frame,AU12_c", *(f"{i},{c}" for i, c in enumerate("1110000001")))
    says = "1100000011"
    chance = [0.9, 0.8, 0.4, 0.3, 0.1, 0.1, 0.2, 0.1, 0.6, 0.7]
    b = table(tmp_path / "b.csv", "frame,face_id,timestamp,success,AU12_c,AU12_p",
              *(f"{i},0,{i / 10},1,{c},{p}" for i, (c, p) in enumerate(zip(says, chance, strict=True))))
    found = one(compare_tables(a, b), 12)
    # 3 hits, 1 missed, 1 false, 5 rejected: 8 of 10 the same; by chance .4 * .4 + .6 * .6 = .52.
    assert (found.n, found.share_a, found.share_b, found.agreement) == (10, 0.4, 0.4, 0.8)
    assert found.kappa == pytest.approx((0.8 - 0.52) / 0.48) and found.f1 == pytest.approx(6 / 8)
    # Of 4 * 6 pairs one is in the wrong order: .4 of a smile below .6 of none.
    assert found.auc == pytest.approx(23 / 24) and found.auc_of == "b"
    assert found.graded == 0 and math.isnan(found.icc)
    # The other way round the probabilities are the reference's own: they are judged by B's yes or no.
    turned = one(compare_tables(b, a), 12)
    assert turned.auc_of == "a" and turned.auc == pytest.approx(23 / 24) and turned.kappa == found.kappa


def test_figures_of_intensity(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.random(60) * 5
    y = np.clip(0.5 * x + 1 + rng.normal(0, 0.3, 60), 0, 5)
    a = table(tmp_path / "a.csv", "frame,AU06_r", *(f"{i},{v:.6f}" for i, v in enumerate(x)))
    b = table(tmp_path / "b.csv", "frame,AU06_r", *(f"{i},{v:.6f}" for i, v in enumerate(y)))
    found = one(compare_tables(a, b), 6)
    assert found.graded == 60 and found.pearson == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-4)
    assert found.mae == pytest.approx(np.abs(x - y).mean(), abs=1e-4)
    assert found.bias == pytest.approx((y - x).mean(), abs=1e-4)
    # ICC(3,1) of Shrout and Fleiss, from a two-way analysis of variance written out.
    ratings = np.stack([x, y], 1)
    between = 2 * ((ratings.mean(1) - ratings.mean()) ** 2).sum() / 59
    rest = ratings - ratings.mean(1, keepdims=True) - ratings.mean(0) + ratings.mean()
    error = (rest**2).sum() / 59
    assert found.icc == pytest.approx((between - error) / (between + error), abs=1e-4)
    # No yes or no anywhere: from 1 on it counts as one.
    assert found.n == 60 and found.share_a == pytest.approx((x >= 1).mean())
    assert any("intensity of 1" in note for note in compare_tables(a, b).notes)


def test_kappa() -> None:
    truth, said = np.array([1, 1, 0, 0], bool), np.array([1, 0, 0, 0], bool)
    assert cohen_kappa(truth, said) == 0.5 and cohen_kappa(truth, truth) == 1 and cohen_kappa(truth, ~truth) == -1
    assert math.isnan(cohen_kappa(truth[:2], truth[:2])) and math.isnan(cohen_kappa(truth[:0], truth[:0]))


def test_what_can_not_be_judged_does_not_count(tmp_path: Path) -> None:
    a = table(tmp_path / "a.csv", "frame,AU12_c,AU12_r", "0,1,2", "1,NaN,1", "2,0,NaN", "3,1,3")
    b = table(tmp_path / "b.csv", "frame,AU12_c,AU12_r", "0,1,2", "1,1,1", "2,0,2", "3,NaN,4")
    found = one(compare_tables(a, b), 12)
    assert (found.n, found.agreement, found.graded) == (2, 1.0, 3) and found.mae == pytest.approx(1 / 3)


# Matching


def test_a_table_agrees_with_itself_in_every_layout(tmp_path: Path) -> None:
    path = two_faces(tmp_path / "a.csv", columns=["landmarks"])
    for tool, end in (("openface", "csv"), ("feat", "jsonl"), ("libreface", "parquet")):
        other = tmp_path / f"{tool}.{end}"
        assert CliRunner().invoke(main, ["convert", str(path), str(other), "--like", tool]).exit_code == 0
        for a, b in ((path, other), (other, path)):
            found = compare_tables(a, b)
            assert len(found.pairs.judgements) == 40 and found.alone == ((0, 0), (0, 0))
            smile = one(found, 12)
            assert (smile.n, smile.kappa, smile.f1) == (40, 1.0, 1.0)
            assert smile.graded == (0 if tool == "feat" else 40) and (tool == "feat" or smile.icc == 1)
            if tool != "libreface":
                assert smile.auc == 1


def test_faces_are_matched_by_their_boxes_whatever_their_ids(tmp_path: Path) -> None:
    a, b = two_faces(tmp_path / "a.csv"), two_faces(tmp_path / "b.csv", swapped=True)
    found = compare_tables(a, b)
    assert found.pairs.boxed and one(found, 12).kappa == 1
    # Without boxes there is their order alone, and the wrong ones are compared.
    without = tmp_path / "c.csv"
    assert CliRunner().invoke(main, ["convert", str(b), str(without), "--like", "libreface"]).exit_code == 0
    found = compare_tables(a, without)
    assert not found.pairs.boxed and one(found, 12).kappa == -1


def test_faces_elsewhere_are_no_pair(tmp_path: Path) -> None:
    a = table(tmp_path / "a.csv", "frame,face_id,timestamp,success,box_x,box_y,box_w,box_h,AU12_c",
              "0,0,0,1,0,0,50,50,1", "1,0,.1,1,0,0,50,50,1", "2,-1,.2,0,NaN,NaN,NaN,NaN,NaN", "3,0,.3,1,0,0,50,50,1")
    b = table(tmp_path / "b.csv", "frame,face_id,timestamp,success,box_x,box_y,box_w,box_h,AU12_c",
              "0,0,0,1,5,5,50,50,1", "1,0,.1,1,200,0,50,50,0", "2,0,.2,1,0,0,50,50,1", "4,0,.4,1,0,0,50,50,1")
    found = compare_tables(a, b)
    assert found.pairs.judgements.tolist() == [[0, 0]] and found.pairs.moments.tolist() == [[0, 0], [1, 1], [2, 2]]
    assert found.alone == ((1, 1), (1, 2))


def test_numbers_that_time_contradicts(tmp_path: Path) -> None:
    """Frames counted from 1 are matched by time; so are two clocks that nearly agree."""
    smile = [int(i % 7 < 3) for i in range(40)]
    head = "frame,timestamp,AU12_c"
    a = table(tmp_path / "a.csv", head, *(f"{i},{i / 25:.3f},{c}" for i, c in enumerate(smile)))
    b = table(tmp_path / "b.csv", head, *(f"{i + 1},{i / 25 + 0.008:.3f},{c}" for i, c in enumerate(smile)))
    found = compare_tables(a, b)
    assert found.pairs.way == "time" and len(found.pairs.moments) == 40 and one(found, 12).kappa == 1
    by_number = compare_tables(a, b, by="frame")
    assert len(by_number.pairs.moments) == 39 and one(by_number, 12).kappa < 0.7
    shifted = compare_tables(a, b, shift=-1)
    assert shifted.pairs.way == "frame" and len(shifted.pairs.moments) == 40 and one(shifted, 12).kappa == 1
    assert compare_tables(a, a).pairs.way == "frame"


def test_time_takes_the_nearest_within_half_a_frame(tmp_path: Path) -> None:
    a = table(tmp_path / "a.csv", "timestamp,AU12_c", *(f"{i / 30:.6f},{i % 2}" for i in range(90)))
    b = table(tmp_path / "b.csv", "timestamp,AU12_c", *(f"{t},1" for t in (0.034, 0.1, 0.515, 0.6499, 1.0, 7.5)))
    found = compare_tables(a, b)
    assert found.pairs.way == "time" and found.pairs.moments.tolist() == [[1, 0], [3, 1], [15, 2], [19, 3], [30, 4]]
    assert found.alone[0] == (85, 1) and one(found, 12).agreement == 0.8


def test_one_face_alone(tmp_path: Path) -> None:
    a = two_faces(tmp_path / "a.csv", ids=(4, 9))
    coded = table(tmp_path / "codes.csv", "frame,AU12_c", *(f"{i},{1 - i % 2}" for i in range(20)))
    assert one(compare_tables(coded, a, face_b=9), 12).kappa == 1
    assert one(compare_tables(coded, a, face_b=4), 12).kappa == -1
    with pytest.raises(InputError, match="no face 3: it has 4, 9"):
        compare_tables(coded, a, face_b=3)


# The command


def test_what_the_command_shows_and_keeps(tmp_path: Path) -> None:
    a, b = two_faces(tmp_path / "a.csv"), two_faces(tmp_path / "b.csv", frames=15)
    done = run(a, b, "--json", tmp_path / "c.json", "--csv", tmp_path / "c.csv")
    assert done.exit_code == 0, done.output
    text = " ".join(done.output.split())
    assert "AU12 Lip corner puller" in text
    assert "15 frames in both, matched by number; 5 only in A, 0 only in B." in text
    assert max(len(line) for line in done.output.splitlines() if str(tmp_path) not in line) <= 80
    kept = json.loads((tmp_path / "c.json").read_text())
    assert kept["frames"] == {"matched_by": "frame", "both": 15, "only_a": 5, "only_b": 0}
    assert kept["faces"]["matched_by"] == "boxes" and kept["faces"]["both"] == 30 and kept["a"]["origin"] == "rtau"
    smile = next(one for one in kept["aus"] if one["au"] == 12)
    assert (smile["kappa"], smile["name"], smile["icc"]) == (1.0, "Lip corner puller", 1.0)
    assert kept["mean"]["agreement"] == 1.0 and kept["aus"][0]["kappa"] is None
    with (tmp_path / "c.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["au"], row["kappa"]) for row in rows] == [("1", "NaN"), ("6", "NaN"), ("12", "1.0000")]
    printed = run(a, b, "--json", "-")
    assert json.loads(printed.stdout) == kept
    again = run(a, b, "--json", tmp_path / "c.json")
    assert again.exit_code == 2 and "--overwrite" in again.stderr
    assert run(a, b, "--json", tmp_path / "c.json", "--overwrite").exit_code == 0


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    frames = table(tmp_path / "f.csv", "frame,AU12_c", "0,1", "1,0")
    times = table(tmp_path / "t.csv", "timestamp,AU12_c", "0,1", "1,0")
    other = table(tmp_path / "o.csv", "frame,AU06_c", "0,1", "1,0")
    later = table(tmp_path / "l.csv", "frame,AU12_c", "100,1", "101,0")
    lost = table(tmp_path / "n.csv", "frame,face_id,timestamp,success,AU12_c", "0,-1,0,0,NaN", "1,-1,.1,0,NaN")
    for words, says in (((frames, times), "can't be matched"), ((frames, other), "no AU in common"),
                        ((frames, later), "no frame in common"), ((frames, lost), "no face in common"),
                        ((frames, frames, "--by", "time"), "can't be matched by time"),
                        ((frames, frames, "--by", "hand"), "auto, frame, time"),
                        ((frames, tmp_path / "x.csv"), "there is no table"),
                        ((frames, frames, "--from-b", "feat"), "no table of py-feat"),
                        ((frames, frames, "--json", frames), "is an input"),
                        ((frames, frames, "--json", tmp_path / "j", "--csv", tmp_path / "j"), "the same name")):
        done = run(*words)
        assert done.exit_code == 2 and says in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    assert not (tmp_path / "j").exists()
    with pytest.raises(UsageError, match="unknown way"):
        compare_tables(frames, frames, by="hand")


def test_a_table_of_a_video_against_truth(tmp_path: Path) -> None:
    """Noise added to a table lowers every figure, and no figure leaves its range."""
    rng = np.random.default_rng(1)
    for name, noise in (("a.csv", 0.0), ("b.csv", 0.3), ("c.csv", 1.5)):
        with CsvSink(tmp_path / name, AUS) as sink:
            for i in range(200):
                scores = make_scores(1)
                wave = 1 + np.sin(i / 9 + np.arange(3)) + noise * rng.normal(size=3)
                chance = np.clip(wave / 2, 0, 1).astype(np.float32)[None]
                sink.write(Frame(IMAGE, i / 25, i), Scores(
                    AUS, scores.faces, chance, 5 * chance, chance > 0.5, np.ones((1, 3), bool), scores.quality))
    near, far = (compare_tables(tmp_path / "a.csv", tmp_path / name) for name in ("b.csv", "c.csv"))
    for figure in ("agreement", "kappa", "f1", "auc", "pearson", "icc"):
        assert 1 >= near.mean(figure) > far.mean(figure) > -1
    assert 0 < near.mean("mae") < far.mean("mae") < 5
