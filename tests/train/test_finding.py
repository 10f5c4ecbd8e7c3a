"""The study of the finding in miniature: what differs between variants, who may be learned from, going on, tables."""

import csv
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from rich.console import Console
from scipy import stats
from stand_in import make_some
from toy import NAMES, make_faces

from rtau.errors import InputError, UsageError
from rtau_train.bank import check_training, fill_bank, identity_of, list_photographs, open_part
from rtau_train.board import Board
from rtau_train.checkpoint import compare
from rtau_train.config import read_recipe
from rtau_train.cutting import crops_of
from rtau_train.data.faces import FaceSet
from rtau_train.parts import digest
from rtau_train.study import draw_labeled, fulfil, fulfil_all
from rtau_train.summary import EVERY, Summary, paired

_FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "finding.py"
_SPEC = importlib.util.spec_from_file_location("finding_benchmark", _FILE)
bench = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = bench
_SPEC.loader.exec_module(bench)

RECIPE = read_recipe(bench.RECIPE)
SMALL = ["model.size=32", "model.width=8", "model.features=8", "loop.batch=8", "loop.unlabeled_batch=8",
         "data.validated=0"]
TINY = bench.stretch(bench.change_recipe(RECIPE, SMALL), 0.002)


# -- a whole study ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def words(tmp_path_factory, fixtures):
    """The command of a study of two variants on blotches: what to give to `main`, the folder last."""
    folder = tmp_path_factory.mktemp("study")
    make_some(folder / "renders" / "some", count=80)
    photos = folder / "photos"
    photos.mkdir()
    # Of those who train, whom nobody knows, who test, who validate.
    for name in ("001_08", "holiday", "099_08", "014_03"):
        shutil.copy(fixtures / "face.jpg", photos / f"{name}.jpg")
    changes = [word for change in SMALL for word in ("--set", change)]
    return ["--renders", str(folder / "renders"), "--photos", str(photos), "--labels", "50%", "--variants", "two views",
            "+ graph", "--seeds", "1", "--ceiling", "0", "--steps", "8", *changes, "--out", str(folder / "out")]


@pytest.fixture(scope="module")
def out(words):
    """The study's folder: the command was killed with one run done and another, very long, at work; then it went on."""
    folder = Path(words[-1])
    command = subprocess.Popen([sys.executable, str(_FILE), *words, "--variants", "two views", "--ceiling", "100000",
                                "--jobs", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    first, long = (folder / "runs" / name for name in ("two_views_50_seed_0/result.json", "ceiling_100_seed_0/log.txt"))
    end = time.monotonic() + 300
    while not long.exists() and command.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    command.kill()  # it alone: the process that trains must notice by itself, and so let go of this pipe
    told = command.communicate(timeout=30)[1].decode()
    assert first.exists() and not (folder / "finding.md").exists(), told
    before = first.stat().st_mtime_ns
    assert bench.main(["--jobs", "1", *words]) == 0
    assert first.stat().st_mtime_ns == before
    return folder


def rows_of(file):
    with open(file, newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_a_study_that_was_killed_goes_on_to_its_tables(out):
    table = {row["variant"]: row for row in rows_of(out / "finding.csv")}
    assert list(table) == ["two views", "+ graph"] and all(row["labeled"] == "20" for row in table.values())
    whole = json.loads((out / "finding.json").read_text())
    runs = {run["order"]["variant"]: run for run in whole["runs"]}
    for variant, row in table.items():
        assert float(row["auc"]) == pytest.approx(runs[variant]["figures"]["auc"]) and 0 <= float(row["same"]) <= 1
    gap = next(row for row in rows_of(out / "differences.csv") if row["figure"] == "auc")
    less, more = (float(table[variant]["auc"]) for variant in ("two views", "+ graph"))
    assert float(gap["mean"]) == pytest.approx(more - less, abs=2e-6)
    labels = rows_of(out / "labels.csv")
    assert {row["label"] for row in labels} == set(open_part(out / "bank", "test").names)
    text = (out / "finding.md").read_text()
    assert "| 50% | 20 | + graph | 1 | 8 |" in text and "40 renders of 2 people to learn from" in text
    assert "2 photographs" in text and "begin as one trained on the points" in text and "a crop of its own" in text


def test_a_finished_study_is_not_done_again(out, words, capsys):
    before = {file: file.stat().st_mtime_ns for file in (out / "runs").rglob("*")}
    assert bench.main(words) == 0 and bench.main(["--report", *words]) == 0
    assert {file: file.stat().st_mtime_ns for file in (out / "runs").rglob("*")} == before
    assert "2 of 2 trainings" in capsys.readouterr().out


def test_other_settings_or_faces_are_refused_in_a_line(out, words, capsys):
    assert bench.main(["--report", "--set", "loop.lr=0.1", *words]) == 2
    assert "recipe.loop.lr was 0.002, now 0.1: choose another folder" in capsys.readouterr().err
    assert bench.main([*words[:-4], "--set", "model.size=48", *words[-2:]]) == 2
    assert "holds other faces: size was 32, now 48" in capsys.readouterr().err
    assert bench.main(words[4:]) == 2 and bench.main(["--seeds", "0", "--report", "--out", words[-1]]) == 2
    told = capsys.readouterr().err
    assert "which faces? Give --renders and --photos" in told and "--seeds" in told and "Traceback" not in told


def test_who_tests_or_validates_is_in_no_training(out, words):
    bank = out / "bank"
    train, real, validation, test = (open_part(bank, name) for name in ("train", "real", "validation", "test"))
    assert set(train.subject) == {"001", "042"} and set(validation.subject) == {"094"} and set(test.subject) == {"099"}
    assert sorted(real.source) == ["photos/001_08.jpg", "photos/holiday.jpg"] and sorted(real.subject) == ["", "001"]
    facts = json.loads((out / "runs" / "graph_50_seed_0" / "data.json").read_text())
    assert facts["labeled"]["faces"] == 20 and facts["unlabeled"]["faces"] == 22
    facts = json.loads((out / "points" / "data.json").read_text())
    assert (facts["labeled"]["faces"], facts["labeled"]["people"], facts["unlabeled"]["faces"]) == (40, 2, 2)
    learned = torch.load(out / "points" / "best.pt", weights_only=True)["averaged"]["view.trunk.stem.0.weight"]
    begun = torch.load(out / "runs" / "graph_50_seed_0" / "best.pt", weights_only=True)["averaged"]
    gone = [(begun[f"views.{view}.trunk.stem.0.weight"] - learned).abs().mean() for view in (0, 1)]
    assert max(gone) < 0.1 * learned.abs().mean()  # in eight steps it hasn't gone far from where it began


@pytest.mark.parametrize(("part", "change"), [
    ("real", {"subject": np.array(["", "099"])}), ("real", {"source": np.array(["a/099_08.jpg", "b.jpg"])}),
    ("real", {"subject": np.array(["094", ""])}), ("train", {"subject": np.array(["099"] * 40)})])
def test_a_training_refuses_those_who_test_or_validate(out, tmp_path, part, change):
    shutil.copytree(out / "bank", tmp_path / "bank")
    facts = dict(np.load(tmp_path / "bank" / f"{part}.npz"))
    np.savez(tmp_path / "bank" / f"{part}.npz", **facts | change)
    order = bench.order_of(bench.change_recipe(RECIPE, SMALL), "+ graph", (), "50%", 0)
    with pytest.raises(InputError, match="people, who must not be learned from, with labels or without"):
        fulfil(order, tmp_path)
    assert not (tmp_path / "runs").exists()


def test_a_run_that_fails_is_told_and_stops_no_other(out, tmp_path):
    for part in ("bank", "points"):
        shutil.copytree(out / part, tmp_path / part)
    orders = [bench.order_of(TINY, "one view", bench.VARIANTS["one view"], labels, 0) for labels in ("9x9", "50%")]
    result = fulfil(orders[1], tmp_path)
    assert result["views"] == {} and result["faces"] == {"labeled": 20, "people": 2, "unlabeled": 22}
    told = {}
    results = fulfil_all(orders, tmp_path, 1, tell=lambda order, result: told.update({order.labels: result}),
                         watch=lambda running: None)
    assert told == {"9x9": "rtau: 9x9: only 2 people have 9 pictures or more"} and results == [result]


def test_the_factors_are_chosen_on_those_who_validate(out, tmp_path, monkeypatch):
    for part in ("bank", "points"):
        shutil.copytree(out / part, tmp_path / part)
    for ending in ("npy", "npz"):
        (tmp_path / "bank" / f"test.{ending}").unlink()  # nobody looks at those who test
    monkeypatch.setattr(bench, "TRIED", (("+ L_mv", {"method.multi_view": (0.5, 0.2)}),
                                         ("+ graph", {"graph.normalized": (False, True), "model.slope": (0.1,)})))
    monkeypatch.setattr(bench, "TUNED_ON", "50%")
    asked = []
    record = bench.tune(TINY, tmp_path, lambda orders: asked.extend(orders) or [fulfil(order, tmp_path)
                                                                               for order in orders])
    assert record == json.loads((tmp_path / "tuning.json").read_text()) and len(record["tried"]) == 4
    first, second = record["tried"][:2], record["tried"][2:]
    factor = max(first, key=lambda row: row["score"])["method.multi_view"]
    assert record["chosen"] == {"method.multi_view": factor, "model.slope": 0.1,
                                "graph.normalized": max(second, key=lambda row: row["score"])["graph.normalized"]}
    # What was chosen first is kept in what is tried next, and each is tried on the variant that it first belongs to.
    assert [(order.recipe.method.multi_view, order.recipe.model.get("graph", True)) for order in asked] == [
        (0.5, False), (0.2, False), (factor, True), (factor, True)]
    assert all(row["score"] == pytest.approx(row["auc"] + 0.5 * (row["icc"] or 0), abs=1e-5) for row in record["tried"])


# -- what is trained -------------------------------------------------------------------------


def test_each_variant_has_one_thing_more_than_the_one_before():
    orders = bench.plan(RECIPE, list(bench.VARIANTS), ["10%"], 1, 0)
    added = []
    for less, more in pairwise(orders):
        added.append([change.split(" was ")[0] for change in compare(less.recipe.as_dict(), more.recipe.as_dict())])
    assert added == [["model.views"], ["method.multi_view"], ["method.co_regularization"], ["model.graph"]]
    assert orders[1].recipe.method.multi_view == orders[1].recipe.method.co_regularization == 0
    assert orders[-1].recipe.method == RECIPE.method and len({order.name for order in orders}) == 5


def test_seeds_change_the_start_and_a_longer_training_stretches_all_stages():
    orders = bench.plan(RECIPE, ["two views"], ["5%", "20x15"], 3, 2.0)
    assert len({order.name for order in orders}) == 9 and [order.seed for order in orders] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert all(order.recipe.loop.seed == order.seed for order in orders)
    long = [order for order in orders if order.variant == bench.CEILING]
    assert [(order.labels, order.recipe.loop.steps) for order in long] == [("100%", 2 * RECIPE.loop.steps)] * 3
    assert long[0].recipe.method.pretrain == 2 * RECIPE.method.pretrain and not long[0].recipe.model["graph"]
    assert long[0].recipe.method.co_regularization == 0


def test_labels_are_drawn_by_share_or_by_people():
    faces = make_faces(400, people=10)
    some, more = draw_labeled(faces, "10%", 3), draw_labeled(faces, "25%", 3)
    assert some.sum() == 40 and more.sum() == 100 and not (some & ~more).any()
    assert (some != draw_labeled(faces, "10%", 4)).any() and draw_labeled(faces, "100%", 0).all()
    few = faces[draw_labeled(faces, "4x15", 1)]
    assert len(few) == 60 and np.unique(few.subject, return_counts=True)[1].tolist() == [15] * 4
    for wrong in ("11x5", "2x41", "ten", "0%", "0x5"):
        with pytest.raises(UsageError, match=wrong):
            draw_labeled(faces, wrong, 0)


def test_people_are_known_by_their_portraits_names_only():
    named = {"london/099_08.jpg": "099", "048f.jpg": "048f", "a/129m.png": "129m", "014_5.jpg": "", "007_B.jpg": "",
             "clip.mp4#12": "", "099": ""}
    assert {source: identity_of(source) for source in named} == named


def test_photographs_of_others_are_left_out(tmp_path, fixtures):
    for name in ("099_03", "020_08", "048f", "022f", "100m"):
        shutil.copy(fixtures / "face.jpg", tmp_path / f"{name}.jpg")
    with pytest.raises(InputError, match="no photographs but of people who validate or test"):
        list_photographs([tmp_path])
    shutil.copy(fixtures / "turned.mp4", tmp_path / "turned.mp4")
    shutil.copy(fixtures / "face.jpg", tmp_path / "010f.jpg")
    listing = list_photographs([tmp_path], every=2)
    assert listing.subject.tolist() == ["010f"] + [""] * (len(listing) - 1)
    assert all(frame % 2 == 0 for frame in listing.frame[1:]) and listing.source[0] == f"{tmp_path.name}/010f.jpg"
    check_training(FaceSet(("AU01",), listing.subject, np.zeros((len(listing), 1), np.int8),
                           np.zeros((len(listing), 1), np.float32), listing.source, np.zeros((len(listing), 1)),
                           np.zeros((len(listing), 68, 2), np.float32)))


# -- the bank --------------------------------------------------------------------------------


def test_a_bank_shows_the_same_faces_as_the_pictures(tmp_path):
    faces = make_faces(12, people=3)
    coarse = np.random.default_rng(0).integers(0, 256, (12, 6, 6, 3), np.uint8)
    faces = replace(faces, pictures=np.stack([cv2.resize(image, (48, 48)) for image in coarse]))
    seen = []
    fill_bank(tmp_path, 32, {"of": 1}, lambda: {"train": faces}, report=lambda done, total: seen.append((done, total)))
    banked = open_part(tmp_path, "train")
    assert banked.names == NAMES and digest(banked.labels, banked.subject, banked.source) == digest(
        faces.labels, faces.subject, faces.source)
    a, b = (crops_of(f.pictures, f.points, 32, seed=1).astype(float) for f in (faces, banked))
    assert np.abs(a - b).mean() < 4 < np.abs(a - a[::-1]).mean()
    fill_bank(tmp_path, 32, {"of": 1}, lambda: pytest.fail("the bank is full"))
    with pytest.raises(UsageError, match="holds other faces: made_of.of was 1, now 2: choose another folder"):
        fill_bank(tmp_path, 32, {"of": 2}, dict)
    (tmp_path / "train.npz").write_bytes(b"torn")
    with pytest.raises(InputError, match="the train faces can't be read"):
        open_part(tmp_path, "train")


# -- tables ----------------------------------------------------------------------------------


def test_paired_differences_are_those_of_a_t_test():
    rng = np.random.default_rng(5)
    a, b = rng.normal(0.62, 0.02, 5), rng.normal(0.6, 0.02, 5)
    found, known = paired(a, b), stats.ttest_rel(a, b)
    bounds = known.confidence_interval(0.95)
    assert (found.p, found.low, found.high) == pytest.approx((known.pvalue, bounds.low, bounds.high))
    assert (found.mean, found.sd, found.seeds) == pytest.approx(((a - b).mean(), (a - b).std(ddof=1), 5))
    one = paired([0.7, np.nan], [0.6, 0.5])
    assert one.mean == pytest.approx(0.1) and one.seeds == 1 and np.isnan([one.sd, one.low, one.high, one.p]).all()
    assert np.isnan(paired([], []).mean)


@pytest.fixture()
def made_up(tmp_path):
    """Results of two variants, two sizes, three seeds, the second better by 0.1; and the faces they are of."""
    test = make_faces(300, people=8, prefix="t", seed=9, unknown=0)
    rng = np.random.default_rng(1)
    results = []
    for seed in range(3):
        for size in ("5%", "10%"):
            for variant, noise in (("two views", 3.0), ("+ graph", 0.5)):
                name = f"{variant}-{size}-{seed}"
                (tmp_path / "runs" / name).mkdir(parents=True)
                score = (test.labels > 0) + rng.normal(0, noise, test.labels.shape)
                np.save(tmp_path / "runs" / name / "presence.npy", 1 / (1 + np.exp(-score)).astype(np.float32))
                base = 0.6 + 0.01 * seed + 0.1 * (variant == "+ graph") + 0.05 * (size == "10%")
                own = {"auc": base, "f1": base / 2, "f1_tuned": base / 2, "icc": None if seed else 0.1, "mae": 1.0}
                results.append({"order": {"name": name, "variant": variant, "labels": size, "seed": seed,
                                          "recipe": {"loop": {"steps": 10}}},
                                "seconds": 5.0, "faces": {"labeled": 30, "people": 8, "unlabeled": 5}, "figures": own,
                                "labels": {label: {**own, "auc": base + 0.01 * i * seed}
                                           for i, label in enumerate(NAMES)},
                                "views": {"same": 0.9, "apart": 0.1, "cosine": 0.2, "cka": None}})
    return results, tmp_path, test


def test_a_summary_gives_means_deviations_and_paired_differences(made_up):
    results, folder, test = made_up
    summary = Summary(results, folder, test, [("two views", "+ graph")])
    row = next(r for r in summary.variants if (r["labels"], r["variant"]) == ("5%", "+ graph"))
    assert row["auc"] == pytest.approx(0.71) and row["auc_sd"] == pytest.approx(0.01) and row["seeds"] == 3
    gaps = {(r["labels"], r["figure"]): r for r in summary.differences}
    assert {key[0] for key in gaps} == {"5%", "10%", EVERY}
    for size in ("5%", "10%", EVERY):
        assert gaps[size, "auc"]["mean"] == pytest.approx(0.1) and gaps[size, "auc"]["sd"] == pytest.approx(0, abs=1e-9)
        # The people's interval is of the probabilities, in which the second variant is far better.
        assert 0.05 < gaps[size, "auc"]["people_low"] < gaps[size, "auc"]["people_high"] < 0.5
    assert gaps["5%", "icc"]["seeds"] == 1
    last = next(r for r in summary.labels if (r["labels"], r["label"], r["figure"]) == ("5%", NAMES[2], "auc"))
    assert last["of_more"] - last["of_less"] == pytest.approx(0.1) and last["n"] == 300
    assert last["prevalence"] == pytest.approx((test.labels[:, 2] > 0).mean())


def test_tables_are_written_for_people_and_for_programs(made_up, tmp_path_factory):
    results, folder, test = made_up
    out = tmp_path_factory.mktemp("tables")
    summary = Summary(results[:6], folder, test, [("two views", "+ graph")], people=False)
    summary.write(out, {"notes": ["A note."], "x": None})
    text = (out / "finding.md").read_text()
    assert "A note." in text and "| 5% | 30 | + graph | 2 | 10 | .705 ± .007 |" in text and "nan" not in text.lower()
    assert "| 10% | two views | + graph | +.100 | - |" in text  # one seed has no interval
    whole = json.loads((out / "finding.json").read_text())
    assert whole["x"] is None and len(whole["runs"]) == 6 and len(whole["variants"]) == 4
    assert len(rows_of(out / "finding.csv")) == 4 and len(rows_of(out / "labels.csv")) == 2 * len(NAMES) * 5
    assert {file.name for file in out.iterdir()} == {"differences.csv", "finding.csv", "finding.json", "finding.md",
                                                     "labels.csv"}


def test_a_board_tells_the_time_left(tmp_path):
    orders = bench.plan(RECIPE, ["one view", "+ graph"], ["5%"], 2, 0)
    with open(tmp_path / "said", "w") as said:
        console = Console(file=said, width=200)
        of = {order.name: {"order": {"variant": order.variant}, "seconds": 60.0 if "one" in order.variant else 240.0,
                           "figures": {"auc": 0.7, "f1": 0.3, "icc": None}} for order in orders}
        with Board(orders, [], 2, console) as board:
            assert board.time_left() == "time left unknown yet"
            board.tell(orders[0], of[orders[0].name])
            assert board.time_left() == "2 min left"  # three that take as long as the one known, on two cores
            board.tell(orders[1], of[orders[1].name])
            board.watch(orders[2:])
            assert board.time_left() == "2 min left"
            board.tell(orders[2], "was killed by SIGKILL (short of memory?)")
            board.tell(orders[3], of[orders[3].name])
            assert board.time_left() == "0 min left"
        with Board(orders, [of[orders[0].name]], 1, console):
            pass
    lines = (tmp_path / "said").read_text().splitlines()
    assert lines[0] == "1/4 one view, 5% of the labels, seed 0: AUC 0.700 F1 0.300, 60 s; 2 min left"
    assert "3/4 one view" in lines[2] and "failed: was killed by SIGKILL" in lines[2]
    assert lines[4] == "1 of 4 trainings are done already, 3 min left"
