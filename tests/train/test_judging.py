"""Networks over faces: the same as by hand, from wherever the weights are, and `rtau eval` as a user meets it."""

import csv
import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from rich.console import Console
from scores import draw_predictions
from stand_in import make_some

from rtau.backends import open_backend
from rtau.cli import main
from rtau.crop import align
from rtau.errors import InputError
from rtau.landmarks import LandmarkReader
from rtau.model import AuConfig, DeployedAuNet, TwoViewNet, load_model
from rtau.store import find_weights, weights_folder
from rtau_train.checkpoint import save_checkpoint
from rtau_train.data.faces import FaceSet
from rtau_train.data.points import multi_pie
from rtau_train.data.portraits import read_rgb
from rtau_train.figures.comparison import compare
from rtau_train.figures.measures import tune
from rtau_train.figures.network import evaluate_network, open_network
from rtau_train.figures.plots import draw_plots
from rtau_train.figures.predictions import write_parts
from rtau_train.figures.report import Settings, figures
from rtau_train.figures.tables import comparison_table, report_table

NAMES = ("AU12", "AU99", "AU01")


@pytest.fixture(scope="module")
def network():
    return open_network("au", backend="torch")


@pytest.fixture(scope="module")
def faces(fixtures):
    """Twelve cuts of one photograph, with labels of chance; one label is unknown to the network."""
    rng = np.random.default_rng(0)
    image = read_rgb(fixtures / "face.jpg")
    landmarks = find_weights("landmarks")
    reader = LandmarkReader(landmarks, open_backend(landmarks, "torch"))
    middle = np.array([image.shape[1] / 2, image.shape[0] / 2, min(image.shape[:2]), 0], np.float32)
    points = reader(image, middle[None]).points[0]
    labels = rng.choice([-1, 1], (12, 3)).astype(np.int8)
    return FaceSet(NAMES, np.array(list("aabbccddeeff")), labels, np.full((12, 3), np.nan, np.float32),
                   np.array([f"{i}.jpg" for i in range(12)]), [np.roll(image, i, 1) for i in range(12)],
                   np.stack([points + [i, 0] for i in range(12)]).astype(np.float32))


@pytest.fixture(scope="module")
def renders(tmp_path_factory):
    """Blotches with labels: 20 of one test person, 20 of one who validates."""
    out = tmp_path_factory.mktemp("renders")
    make_some(out, count=80, per_shard=100)
    return out


@pytest.fixture
def table(tmp_path):
    parts = {"test": draw_predictions(), "validation": draw_predictions(seed=5, prefix="v")}
    return write_parts(parts, tmp_path / "net.csv")


@pytest.fixture
def run(tmp_path):
    """The folder of a run whose small network has not learned anything."""
    torch.manual_seed(0)
    net = TwoViewNet(AuConfig(("AU12", "AU01", "Smiling"), size=32, width=8, features=16, grades=1), torch.eye(3))
    save_checkpoint(tmp_path / "best.pt", {"averaged": net.state_dict(), "step": 3},
                    {"task": "au", "network": net.config.as_dict()})
    return tmp_path


def rtau(*words):
    return CliRunner().invoke(main, ["eval", *map(str, words)])


def complaint(result):
    """The one line of a user's mistake."""
    assert result.exit_code == 2 and "Traceback" not in result.output, result.output
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("rtau: "), result.stderr
    return lines[0]


# -- networks --------------------------------------------------------------------------------


def test_predictions_are_those_of_the_network(network, faces):
    told = []
    p = evaluate_network(network, faces, tell=lambda *t: told.append(t))
    assert p.names == ("AU12", "AU01") and told == [(0, 12), (12, 12)] and p.model == "au"
    crops = np.concatenate([align(faces.pictures[i], faces.points[i][None], 112) for i in range(12)])
    with torch.no_grad():
        presence, intensity, _ = load_model("au")(torch.from_numpy(crops).permute(0, 3, 1, 2).float())
    at = [network.labels.index(name) for name in p.names]
    assert p.presence == pytest.approx(presence[:, at].numpy(), abs=1e-5)
    assert p.expected == pytest.approx(intensity[:, at].numpy(), abs=1e-5)
    assert np.array_equal(p.labels, faces.labels[:, [0, 2]]) and np.array_equal(p.source, faces.source)


def test_points_can_be_found_as_at_run_time(network, faces):
    landmarks = find_weights("landmarks")
    reader = LandmarkReader(landmarks, open_backend(landmarks, "torch"))
    given, found = evaluate_network(network, faces), evaluate_network(network, faces, landmarker=reader)
    assert not np.array_equal(given.presence, found.presence)
    assert found.presence == pytest.approx(given.presence, abs=0.15), "the points are nearly the same"


def test_a_face_that_can_not_be_read_is_left_out(network, faces, caplog):
    class Torn(list):
        def __getitem__(self, index):
            if index in (3, 7):
                raise InputError(f"{index}.jpg is damaged")
            return super().__getitem__(index)

    p = evaluate_network(network, replace(faces, pictures=Torn(faces.pictures)))
    assert np.flatnonzero(np.isnan(p.presence).all(1)).tolist() == [3, 7]
    assert "left out: 3.jpg is damaged" in caplog.text
    whole = evaluate_network(network, faces)
    rest = np.delete(np.arange(12), [3, 7])
    assert p.presence[rest] == pytest.approx(whole.presence[rest], abs=1e-5)
    with pytest.raises(InputError, match="none of the 2 faces can be read"):
        evaluate_network(network, replace(faces, pictures=Torn(faces.pictures))[[3, 7]])
    nowhere = faces.points.copy()
    nowhere[5, 60] = np.nan
    assert np.isnan(evaluate_network(network, replace(faces, points=nowhere)).presence[5]).all()
    with pytest.raises(InputError, match="au reads none of the faces' labels"):
        evaluate_network(network, faces.select(["AU99"]))


def test_a_run_is_folded(run, faces):
    network = open_network(run)
    assert network.labels == ("AU12", "AU01", "Smiling") and network.size == 32 and not network.graded
    saved = torch.load(run / "best.pt", weights_only=True)
    trained = TwoViewNet(AuConfig.from_dict(saved["facts"]["network"]), torch.eye(3))
    trained.load_state_dict(saved["averaged"])
    crops = align(faces.pictures[0], faces.points[0][None], 32)
    with torch.no_grad():
        presence, _ = DeployedAuNet.fold(trained)(torch.from_numpy(crops).permute(0, 3, 1, 2).float())
    p = evaluate_network(network, faces)
    assert p.presence[0] == pytest.approx(presence[0, :2].numpy(), abs=1e-5)
    assert np.isnan(p.expected).all(), "a network of one grade tells no intensity"


def test_weights_with_their_manifest(tmp_path, faces):
    for name in ("au.safetensors", "manifest.json"):
        shutil.copy(weights_folder() / name, tmp_path)
    network = open_network(tmp_path / "au.safetensors", backend="torch")
    assert network.name == "au.safetensors" and network.facts["sha256"] == find_weights("au").sha256
    assert evaluate_network(network, faces).names == ("AU12", "AU01")


def test_real_smiles_are_told_from_neutral_faces(shared, network):
    """Photographs of people whom no network saw; a smile is AU12, and mostly AU6 too."""
    marks = np.load(shared / "faces" / "london_neutral" / "landmarks.npz")
    names, points = marks["names"][::5], marks["points"][::5]
    pictures = [read_rgb(shared / "faces" / folder / f"{str(name)[:3]}_{kind}.jpg") for name in names
                for folder, kind in (("london_neutral", "03"), ("london_smiling", "08"))]
    labels = np.tile([[-1, -1], [1, 1]], (len(names), 1)).astype(np.int8)
    # Nobody placed points on the smiles; the photographs of a person are alike enough to begin with the others'.
    photographs = FaceSet(
        ("AU12", "AU06"), np.repeat([str(name)[:3] for name in names], 2), labels,
        np.full(labels.shape, np.nan, np.float32), np.arange(len(pictures)).astype(str), pictures,
        np.stack([multi_pie(p.astype(float)) for p in points]).repeat(2, 0).astype(np.float32))
    landmarks = find_weights("landmarks")
    predictions = evaluate_network(network, photographs, landmarker=LandmarkReader(
        landmarks, open_backend(landmarks, "torch")))
    report = figures(predictions, None, Settings(200))
    assert report.subjects >= 10
    assert all(label.figures["auc"].value > 0.9 and label.figures["auc"].low > 0.8 for label in report.labels)


# -- tables and plots ------------------------------------------------------------------------


def lines_of(table, width=100):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))
    console.print(table)
    return console.export_text().splitlines()


def test_tables_fit_their_width():
    p = draw_predictions(labels=6)
    big = figures(p, tune(draw_predictions(labels=6, seed=5, prefix="v"), "400 faces"), Settings(50))
    big = replace(big, labels=tuple(replace(label, positives=12345, negatives=123456, unknown=9999)
                                    for label in big.labels))
    for narrow, width in ((False, 100), (True, 80)):
        lines = lines_of(report_table(big, narrow=narrow), width)
        row = next(line for line in lines if line.startswith("AU12"))
        assert all(len(line.rstrip()) <= width for line in lines) and "…" not in "".join(lines)
        figure = big.labels[4].figures["auc"]
        assert f".{figure.value * 1000:.0f} .{figure.low * 100:.0f}–.{figure.high * 100:.0f}" in row
        assert any(line.startswith("mean") for line in lines) and "tuned on 400 faces" in "".join(lines)
    compared = lines_of(comparison_table(compare(p, replace(p, presence=1 - p.presence, model="other"),
                                                 settings=Settings(50))))
    assert all(len(line.rstrip()) <= 100 for line in compared) and "…" not in "".join(compared)
    assert any(line.startswith("AU12") and "*" in line for line in lines_of(comparison_table(
        compare(p, replace(p, presence=1 - p.presence), settings=Settings(300)))))
    assert any("take 240 or more" in line for line in compared)


def test_a_dash_stands_for_what_can_not_be_given():
    p = draw_predictions()
    p.labels[:, 1] = -1
    p.presence[5, 0] = np.nan
    lines = lines_of(report_table(figures(replace(p, expected=np.full_like(p.expected, np.nan)), None, Settings(50))))
    row = next(line for line in lines if line.startswith("AU02")).split()
    assert row[1:4] == ["0", str((p.labels[:, 1] != 0).sum()), ".00"] and row[4:7] == ["-", "-", "-"]
    assert not any("ICC" in line for line in lines) and any(line.startswith("mean of 3") for line in lines)
    assert any("1 known labels are left out" in line or "1 known label is left out" in line for line in lines)


def test_plots_are_drawn_with_what_there_is(tmp_path):
    p = draw_predictions()
    p.labels[:, 1] = -1
    report = figures(p, None, Settings(50))
    drawn = draw_plots(report, p, tmp_path, compare(p, replace(p, presence=p.presence[:, ::-1]), settings=Settings(50)))
    assert [file.name for file in drawn] == ["labels.png", "roc.png", "reliability.png", "subjects.png",
                                             "comparison.png"]
    for file in drawn:
        image = cv2.imread(str(file))
        assert min(image.shape[:2]) > 200 and (image < 200).any(2).mean() > 0.005, f"{file.name} is blank"
    blue = np.abs(cv2.imread(str(tmp_path / "roc.png")).astype(int) - (178, 114, 0)).sum(2) < 60
    assert blue.any(), "the curves are there"
    assert not list(tmp_path.glob("*.partial"))
    one = draw_predictions(people=1)
    assert "subjects.png" not in [f.name for f in draw_plots(figures(one, None, Settings(0)), one, tmp_path / "one")]


# -- the command -----------------------------------------------------------------------------


def test_renders_are_judged(renders, tmp_path):
    result = rtau(renders, "--weights", "au", "--backend", "torch", "--resamples", 20, "--out", tmp_path / "out",
                  "--aus", "25,1,12")
    assert result.exit_code == 0, result.output
    assert "au: 20 faces of 1 subject" in result.stdout and "tuned on 20 validation faces" in result.stdout
    assert "Points found by rtau's landmark network" in result.stdout
    values = json.loads((tmp_path / "out" / "eval.json").read_text())
    assert values["schema"] == "rtau-eval/1" and values["part"] == "test" and values["points"] == "found"
    assert values["networks"][0]["sha256"] == find_weights("au").sha256
    assert values["comparison"] is None
    assert values["report"]["mean"]["auc"]["low"] is None, "one person gives no interval"
    with open(tmp_path / "out" / "labels.csv", newline="") as file:
        assert [row["label"] for row in csv.DictReader(file)] == ["AU25", "AU01", "AU12"]
    # What was predicted gives the same figures again, without a network.
    again = rtau(tmp_path / "out" / "predictions.csv", "--resamples", 20, "--json")
    assert again.exit_code == 0, again.output
    report = json.loads(again.stdout)["report"]
    for old, new in zip(values["report"]["labels"], report["labels"], strict=True):
        assert old["positives"] == new["positives"] and old["threshold"] == pytest.approx(new["threshold"], abs=1e-5)
        assert old["figures"]["auc"]["value"] == pytest.approx(new["figures"]["auc"]["value"], abs=1e-3)
        assert old["figures"]["icc"]["value"] == pytest.approx(new["figures"]["icc"]["value"], abs=1e-3)


def test_some_labels_and_two_networks(renders, run, tmp_path):
    result = rtau(renders, "--weights", "au", "--against", run, "--backend", "torch", "--part", "all", "--resamples",
                  20, "--aus", "12,AU1", "--points", "given", "--json")
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout)
    assert [label["name"] for label in values["report"]["labels"]] == ["AU12", "AU01"] and values["points"] == "given"
    assert values["report"]["tuned_on"] is None, "whoever validates is among those who are judged"
    assert values["comparison"]["b"] == run.name and values["against"]["model"] == run.name
    assert values["comparison"]["labels"]["AU12"]["auc"]["low"] is not None
    everything = json.loads(rtau(renders, "--weights", "au", "--backend", "torch", "--resamples", 0, "--json").stdout)
    assert len(everything["report"]["labels"]) == 21
    left = rtau(renders, "--weights", run, "--backend", "torch", "--resamples", 0)
    assert "Left out, as not every network reads them: AU02, AU04" in left.stdout.replace("\n", " ")


def test_tables_are_judged_and_compared(table, tmp_path):
    result = rtau(table, "--aus", "disfa", "--resamples", 50)
    assert result.exit_code == 0, result.output
    assert "net: 400 faces of 12 subjects" in result.stdout and "tuned on 400 other faces" in result.stdout
    assert "AU06" in result.stdout and "AU26" not in result.stdout
    other = write_parts({"all": draw_predictions(seed=9, prefix="s")}, tmp_path / "other.csv")
    assert "not of the same faces" in complaint(rtau(table, "--against", other, "--resamples", 10))
    p = draw_predictions()
    better = write_parts({"test": replace(p, presence=np.clip((p.labels + 1) / 2 * 0.3 + p.presence * 0.7, 0, 1))},
                         tmp_path / "better.csv")
    compared = rtau(table, "--against", better, "--resamples", 50, "--aus", "1,2", "--out",
                    tmp_path / "out")
    assert compared.exit_code == 0 and "net against better" in compared.stdout
    assert (tmp_path / "out" / "comparison.csv").exists() and (tmp_path / "out" / "comparison.png").exists()
    validation = rtau(table, "--part", "validation", "--subjects", "v01,v02", "--resamples", 0, "--json")
    assert json.loads(validation.stdout)["report"]["subjects"] == 2
    tuned = rtau(better, "--threshold-from", table, "--resamples", 0, "--json")
    assert json.loads(tuned.stdout)["report"]["tuned_on"] == "400 other faces"


def test_mistakes_are_told_in_a_line(renders, run, table, tmp_path):
    def said(*words):
        return complaint(rtau(*words))

    assert "is not there" in said(tmp_path / "nowhere", "--weights", "au")
    assert "Give --weights" in said(renders)
    assert "no weights best: give" in said(renders, "--weights", "best")
    assert "no weights file" in said(renders, "--weights", tmp_path / "x.safetensors")
    assert "network for landmarks" in said(renders, "--weights", "landmarks")
    assert "holds no best checkpoint" in said(renders, "--weights", renders)
    (tmp_path / "lone").mkdir()
    shutil.copy(weights_folder() / "au.safetensors", tmp_path / "lone")
    assert "has no manifest.json beside it" in said(renders, "--weights", tmp_path / "lone" / "au.safetensors")
    (tmp_path / "lone" / "best.pt").write_bytes(b"no checkpoint")
    assert "no readable checkpoint" in said(renders, "--weights", tmp_path / "lone")
    assert "has no label AU45" in said(renders, "--weights", "au", "--aus", "12,45", "--backend", "torch")
    assert f"{run.name} has no label AU02" in said(renders, "--weights", run, "--aus", "2")
    assert "no pictures of bystander people" in said(renders, "--weights", "au", "--part", "bystander")
    assert "unknown backend" in said(renders, "--weights", "au", "--backend", "abacus")
    assert "there is no subject Bob" in said(renders, "--weights", "au", "--subjects", "Bob")
    assert "leave --weights out" in said(table, "--weights", "au")
    assert "no table of predictions" in said(table, "--against", renders)
    assert "one table can't tune the thresholds of two" in said(table, "--against", table, "--threshold-from", table)
    assert "has no rows of part train: choose from all, test, validation" in said(table, "--part", "train")
    assert "subject s00 is judged" in said(table, "--threshold-from", table, "--threshold-part", "all")
    assert "099 is in the faces to judge" in said(renders, "--weights", "au", "--backend", "torch", "--threshold-from",
                                                  renders, "--threshold-part", "test")
    same = draw_predictions()
    same.labels[:] = 1
    alike = write_parts({"all": replace(same, intensity=np.full_like(same.intensity, np.nan))}, tmp_path / "same.csv")
    assert "one class only" in said(alike)


def test_files_that_exist_are_kept(table, tmp_path):
    out = tmp_path / "out"
    assert rtau(table, "--aus", "1", "--resamples", 0, "--out", out).exit_code == 0
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    assert "exists already: pass --overwrite" in complaint(rtau(table, "--resamples", 0, "--out", out))
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    assert rtau(table, "--aus", "2", "--resamples", 0, "--out", out, "--overwrite").exit_code == 0
    assert (out / "eval.json").read_bytes() != before["eval.json"]
    assert "part of that path is a file" in complaint(rtau(table, "--out", table / "out"))


def test_help_has_examples():
    text = rtau("--help").stdout
    assert "rtau eval renders --weights au --part test --out report" in text and "Usage: main eval" in text
