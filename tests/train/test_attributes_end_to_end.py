"""Attributes from a set in CelebA's form to a table: align, train with unlabeled faces, judge, export, run."""

import csv
import json
import logging

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from trees import PORTRAIT, text

from rtau.analyze import Analyzer
from rtau.cli import main
from rtau.store import open_weights
from rtau.types import Frame

#: Which colours make the attributes, BGR: one is lightness, the other redness.
TINTS = {"Pale_Skin": (45, 45, 45), "Rosy_Cheeks": (-25, -25, 45)}
SMALL = ("model.size=32", "model.width=8", "model.features=16", "loop.batch=8", "loop.steps=64",
         "loop.evaluate_every=32", "loop.threads=1", "loop.lr=0.005", "augment.degrade=0")


def rtau(*words):
    logging.getLogger().handlers.clear()
    done = CliRunner().invoke(main, list(map(str, words)))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def tinted(signs, rng):
    """The portrait with the attributes that `signs` says, on a background and in a light of its own."""
    image = cv2.imread(str(PORTRAIT)).astype(np.float32) * rng.uniform(0.85, 0.95) - 20
    for tint, sign in zip(TINTS.values(), signs, strict=True):
        image += np.float32(tint) * (sign > 0)
    return np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """CelebA/ with three parts of different people, and photos/ whose labels nobody knows."""
    home, rng = tmp_path_factory.mktemp("attributes"), np.random.default_rng(0)
    (home / "CelebA" / "img_celeba").mkdir(parents=True)
    (home / "photos").mkdir()
    listed, people, parts = [], [], []
    for number in range(28):
        name, signs = f"{number + 1:06d}.jpg", [1 if number & bit else -1 for bit in (1, 2)]
        cv2.imwrite(str(home / "CelebA" / "img_celeba" / name), tinted(signs, rng))
        listed.append(f"{name} " + " ".join(f"{sign:2d}" for sign in signs))
        people.append(f"{name} {number // 4}")
        parts.append(f"{name} {0 if number < 16 else 1 if number < 20 else 2}")
    for number in range(4):
        cv2.imwrite(str(home / "photos" / f"{number}.jpg"), tinted([number % 2, number // 2 % 2], rng))
    text(home / "CelebA" / "list_attr_celeba.txt", [str(len(listed)), " ".join(TINTS), *listed])
    text(home / "CelebA" / "identity_CelebA.txt", people)
    text(home / "CelebA" / "list_eval_partition.txt", parts)
    return home


@pytest.fixture(scope="module")
def exported(folder):
    """The network's file, by the commands of docs/training.md."""
    for part in ("train", "validation", "test"):
        rtau("data", "align", folder / "CelebA", "--part", part, "--out", folder / part, "--no-progress")
    rtau("data", "align", folder / "photos", "--out", folder / "unlabeled", "--no-progress")
    rtau("train", "--labels", folder / "train", "--validation", folder / "validation", "--unlabeled",
         folder / "unlabeled", "--run", folder / "run", "--no-progress", *SMALL)
    said = rtau("export", folder / "run", "--out", folder / "exported", "--no-progress")
    assert f"rtau process video.mp4 --model {folder / 'exported' / 'attributes.safetensors'}" in said
    return folder / "exported" / "attributes.safetensors"


def test_the_unlabeled_faces_taught_too(exported, folder):
    with open(folder / "run" / "metrics.csv", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert float(last["co_regularization"]) > 0 and float(last["auc"]) > 0.95
    data = json.loads((folder / "run" / "data.json").read_text())
    assert (data["labeled"]["faces"], data["validation"]["faces"], data["unlabeled"]["faces"]) == (16, 4, 4)


def test_the_file_says_what_it_reads_and_how_often_that_is_there(exported):
    facts = open_weights(exported).facts
    assert facts["kind"] == "au" and facts["aus"] == [] and facts["config"]["names"] == list(TINTS)
    assert facts["calibration"]["prior"] is None and facts["calibration"]["as_trained"] == []
    assert facts["config"]["grades"] == 1 and facts["outputs"] == ["presence"]


def test_people_kept_out_are_told_apart(exported, folder):
    rtau("eval", folder / "test", "--weights", folder / "run", "--out", folder / "judged", "--resamples", 50)
    found = json.loads((folder / "judged" / "eval.json").read_text("utf-8"))["report"]
    assert [label["name"] for label in found["labels"]] == list(TINTS)
    assert found["mean"]["auc"]["value"] > 0.9


def test_process_reads_new_pictures(exported, tmp_path):
    rng = np.random.default_rng(7)
    for pale in (-1, 1):
        for rosy in (-1, 1):
            cv2.imwrite(str(tmp_path / f"pale{pale}rosy{rosy}.png"), tinted((pale, rosy), rng))
    said = rtau("process", tmp_path, "--model", exported, "--backend", "torch", "--out", tmp_path / "a.csv",
                "--no-progress")
    assert "Strongest attributes" in said
    with open(tmp_path / "a.csv", newline="") as file:
        rows = {row["input"].rpartition("/")[2]: row for row in csv.DictReader(file)}
    assert len(rows) == 4 and not any(name.endswith("_r") for name in next(iter(rows.values())))
    for name in TINTS:
        there = [float(row[f"{name}_p"]) for file, row in rows.items() if f"{name[:4].lower()}1" in file]
        absent = [float(row[f"{name}_p"]) for file, row in rows.items() if f"{name[:4].lower()}-1" in file]
        assert len(there) == len(absent) == 2 and min(there) > max(absent)


def test_the_library_gives_scores_by_name(exported):
    image = cv2.cvtColor(tinted((1, -1), np.random.default_rng(3)), cv2.COLOR_BGR2RGB)
    analyzer = Analyzer(model=exported, aus=("Rosy_Cheeks", "Pale_Skin"), backend="torch")
    scores = analyzer(Frame(image, 0.0, 0, still=True))
    assert scores.aus == ("Rosy_Cheeks", "Pale_Skin") and len(scores) == 1
    assert np.isnan(scores.intensity).all() and not scores.graded and scores.presence[0, 1] > scores.presence[0, 0]
