"""rtau export: files that do what the checkpoint does, a manifest that says so, mistakes that leave nothing behind."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from stand_in import make_some
from toy import make_faces

from rtau.analyze import Analyzer
from rtau.backends import open_backend
from rtau.backends.engine import export_program, in_half
from rtau.cli import main
from rtau.crop import align
from rtau.errors import InputError
from rtau.model import AuConfig, DeployedAuNet, LandmarkConfig, LandmarkNet, TwoViewNet, build, normalize
from rtau.pictures import read_picture
from rtau.store import MANIFEST, find_weights, open_weights, read_manifest
from rtau.types import Frame
from rtau_train.checkpoint import load_checkpoint, save_checkpoint
from rtau_train.cutting import crops_of, pixels
from rtau_train.export import order as orders
from rtau_train.export.calibrate import calibrate, settle
from rtau_train.export.drift import DriftError, measure
from rtau_train.export.formats import Safetensors, Told
from rtau_train.export.order import Order, export
from rtau_train.export.probe import open_probe

SMALL = ("model.size=32", "model.width=8", "model.features=16", "loop.batch=16", "loop.warmup=2", "loop.steps=12",
         "loop.evaluate_every=6", "loop.ema=0.8", "loop.lr=0.01", "method.pretrain=4", "method.ramp=4")


def rtau(*words):
    """Exit code and all that was said."""
    done = CliRunner().invoke(main, [*map(str, words)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def renders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "renders"
    make_some(folder, count=64)
    return folder


@pytest.fixture(scope="module")
def run(renders):
    """A short training of the whole method, from a recipe."""
    file = renders.parent / "small.toml"
    file.write_text(f'task = "au"\nrenders = "{renders}"\n[data]\nunlabeled = "{renders}"\n')
    code, said = rtau("train", file, *SMALL, "--run", renders.parent / "run", "--no-progress")
    assert code == 0, said
    return renders.parent / "run"


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    """What the command makes of the run, in both formats, checked on the clip that comes with rtau."""
    out = tmp_path_factory.mktemp("exported") / "new" / "out"
    code, said = rtau("export", run, "--out", out, "--format", "onnx", "--no-progress")
    assert code == 0, said
    return out, said


@pytest.fixture(scope="module")
def face(fixtures):
    """A picture, and the aligned face in it: uint8 [1, 32, 32, 3]."""
    image, _ = read_picture(fixtures / "face.jpg")
    points = Analyzer(backend="torch", detect_width=(320, 640))(Frame(image, 0.0, 0, still=True)).faces.landmarks
    return image, align(image, points, 32)


def untrained(folder, config, recipe=None, spoil=None):
    """A run's folder as training leaves it, with a network of random weights in it."""
    torch.manual_seed(5)
    if isinstance(config, AuConfig):
        net = TwoViewNet(config, torch.rand(len(config.names), len(config.names)))
    else:
        net = LandmarkNet(config)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.normal_(module.running_mean, 0, 0.1)
    if spoil:
        spoil(net)
    task = "au" if isinstance(config, AuConfig) else "landmarks"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"task": task, **(recipe or {})}))
    save_checkpoint(folder / "best.pt", {"averaged": net.state_dict(), "figures": {"auc": 0.5, "icc": float("nan"),
                                         "score": 1.0}, "step": 7},
                    {"task": task, "network": config.as_dict(), "data": {}})
    return folder


def small(*names, **more):
    return AuConfig(names or ("AU01", "AU12"), **{"size": 32, "width": 8, "features": 16, **more})


def everything(folder):
    """Names and bytes of all files in and below a folder."""
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# -- the files -------------------------------------------------------------------------------


def test_the_weights_give_the_checkpoints_numbers(run, exported, face):
    """The whole formula once more, from the checkpoint's own pieces."""
    out, said = exported
    saved = load_checkpoint(run / "best.pt")
    config = AuConfig.from_dict(saved["facts"]["network"])
    trained = TwoViewNet(config, saved["averaged"]["graph.adjacency"])
    trained.load_state_dict(saved["averaged"])
    net = build(find_weights("au", out))
    with torch.no_grad():
        scores = trained.eval()(normalize(pixels(face[1]))).numpy()
        presence, intensity = (o.numpy() for o in net(pixels(face[1])))
        assert np.abs(net.scores(pixels(face[1])).numpy() - scores).max() < 1e-5
        chance = sigmoid(scores[..., None] - trained.thresholds().numpy()).mean(0)
    slope, shift = net.calibration.numpy()
    assert (slope != 1).any() and (shift != 0).any()
    grades = sigmoid(np.log(chance / (1 - chance)) * slope + shift)
    assert np.allclose(presence, grades[..., 0], atol=1e-5)
    expected = grades[..., 0] + sum(grades[..., :k + 1].min(-1) for k in range(1, 5))
    assert np.allclose(intensity, expected, atol=1e-4)
    assert len(saved["facts"]["network"]["names"]) == presence.shape[1] == 21


def test_the_manifest_says_what_the_file_is_and_nothing_of_this_machine(run, exported):
    out, said = exported
    assert sorted(file.name for file in out.iterdir()) == ["au.onnx", "au.safetensors", "manifest.json"]
    weights = read_manifest(out)["au"]
    facts, saved = weights.facts, load_checkpoint(run / "best.pt")
    assert weights.check().name == "au.safetensors" and facts["kind"] == "au" and facts["aus"][:3] == [1, 2, 4]
    assert AuConfig.from_dict(facts["config"]) == AuConfig.from_dict(saved["facts"]["network"])
    assert facts["input"] == {"shape": ["N", 3, 32, 32], "colour": "RGB", "range": [0, 255]}
    assert facts["step"] == saved["step"] and facts["rtau"] == saved["rtau"]
    assert facts["revision"] == json.loads((run / "environment.json").read_text())["revision"]
    assert facts["settings"]["method"]["pretrain"] == 4 and facts["settings"]["renders"] == "renders"
    assert str(run.parent) not in (out / MANIFEST).read_text()
    assert facts["calibration"] == {"data": "renders", "faces": 16, "people": 1, "prior": 0.15,
                                    "as_trained": facts["calibration"]["as_trained"]}
    # Calibration moves no face past another, so the figure of the training comes out again.
    for name, figures in facts["validation"]["per_label"].items():
        if "auc" in figures:
            assert figures["auc"] == pytest.approx(saved["figures"][f"{name}:auc"], abs=2e-3)
        assert figures["positives"] + figures["negatives"] <= 16
    assert facts["also"]["onnx"]["file"] == "au.onnx"
    assert set(facts["drift"]) == {"logits", "presence", "intensity"} and all(v < 1e-3 for v in facts["drift"].values())


def test_the_command_tells_sizes_drifts_and_what_to_do_next(exported):
    out, said = exported
    lines = said.splitlines()
    for line, (name, presence, intensity) in zip(lines[:2], (("au.safetensors", "0.0001", "0.0005"),
                                                             ("au.onnx", "0.001", "0.005")), strict=True):
        assert re.fullmatch(rf"{out / name}: \d+\.\d MB; largest drift on 32 faces: logits \S+ \(allowed \S+\), "
                            rf"presence \S+ \(allowed {presence}\), intensity \S+ \(allowed {intensity}\)", line)
    assert "calibrated on 16 faces of 1 people in renders: auc 0." in lines[2]
    assert lines[3] == f"to use it: rtau process video.mp4 --model {out / 'au.safetensors'}"


def test_onnx_needs_nothing_of_rtau(exported, face):
    out, _ = exported
    model = onnx.load(out / "au.onnx")
    facts = json.loads({p.key: p.value for p in model.metadata_props}["rtau"])
    assert facts["config"]["names"][8] == "AU12" and facts["outputs"] == ["presence", "intensity"]
    session = onnxruntime.InferenceSession(out / "au.onnx", providers=["CPUExecutionProvider"])
    assert [(i.name, i.shape, i.type) for i in session.get_inputs()] == [("pixels", ["N", 3, 32, 32], "tensor(float)")]
    runner = open_backend(find_weights("au", out), "torch")
    rng = np.random.default_rng(0)
    for count in (1, 2, 7):
        crops = np.concatenate([face[1], rng.integers(0, 256, (count - 1, 32, 32, 3)).astype(np.uint8)])
        found = session.run(["presence", "intensity"], {"pixels": crops.transpose(0, 3, 1, 2).astype(np.float32)})
        for a, b in zip(found, runner(crops), strict=True):
            assert a.shape == (count, 21) and np.abs(a - b).max() < 1e-4


@pytest.mark.parametrize("config", [
    small(grades=1), small(views=1, graph=False), small("Smiling", "AU12", "Young", "AU04"),
    small("Smiling", grades=1, views=1), small(backbone="mobilenetv4_conv_small", views=1)],
    ids=["presence", "one view", "attributes", "both", "mobilenet"])
def test_every_kind_of_network_is_exported(config, renders, tmp_path, face):
    done = export(Order(untrained(tmp_path / "run", config), tmp_path / "out", "mine", ("onnx",), uncalibrated=True,
                        crops=renders))
    graded = config.grades > 1
    for file in done.files:
        assert file.drift.faces == 32 and set(file.drift.values) <= {"logits", "presence", "intensity"}
        assert ("intensity" in file.drift.values) == graded and file.drift.values["presence"] < 1e-4
    assert done.aus == tuple(done.entry["aus"]) == config.aus and done.entry["calibration"] is None
    weights = find_weights("mine", tmp_path / "out")
    assert weights.labels == config.names and done.entry["validation"] == {"auc": 0.5}
    net = build(weights)
    assert (net.calibration[0] == 1).all() and (net.calibration[1] == 0).all()
    session = onnxruntime.InferenceSession(done.files[1].path)
    assert [o.name for o in session.get_outputs()] == ["presence", "intensity"][:1 + graded] == done.entry["outputs"]


def test_a_landmark_network_is_exported(tmp_path, fixtures):
    config = LandmarkConfig(size=64, width=8, blocks=(1, 1, 1), pyramid=8)
    run = untrained(tmp_path / "run", config)
    done = export(Order(run, tmp_path / "out", formats=("onnx",), crops=fixtures / "two_faces.jpg"))
    assert [file.path.name for file in done.files] == ["landmarks.safetensors", "landmarks.onnx"]
    for file in done.files:
        assert set(file.drift.values) == {"points", "presence", "pose"} and file.drift.faces == 2
    assert done.entry["kind"] == "landmarks" and "aus" not in done.entry and done.entry["validation"] == {"auc": 0.5}
    runner = open_backend(find_weights("landmarks", tmp_path / "out"), "torch")
    assert [o.shape for o in runner(np.zeros((3, 64, 64, 3), np.uint8))] == [(3, 68, 2), (3,), (3, 3)]
    code, said = rtau("process", fixtures / "face.jpg", "--model", done.files[0].path, "--out", tmp_path / "o.csv")
    assert code == 2 and "landmarks.safetensors is a network for landmarks, which reads no Action Units" in said


def test_the_presence_of_a_face_may_be_lowered(tmp_path, run, fixtures):
    landmarks = untrained(tmp_path / "run", LandmarkConfig(size=64, width=8, blocks=(1, 1, 1), pyramid=8))
    crops = np.random.default_rng(0).integers(0, 255, (3, 64, 64, 3)).astype(np.uint8)
    told = {}
    for amount in (0.0, 2.0):
        done = export(Order(landmarks, tmp_path / f"{amount}", crops=fixtures / "two_faces.jpg", lower_presence=amount))
        told[amount] = open_backend(find_weights("landmarks", tmp_path / f"{amount}"), "torch")(crops)
        assert done.entry.get("presence_lowered", 0.0) == amount
    assert np.allclose(told[0.0][1] - told[2.0][1], 2, atol=1e-5)
    assert all(np.array_equal(told[0.0][i], told[2.0][i]) for i in (0, 2))
    assert "is for landmark networks" in one_line(run, "--out", tmp_path / "out", "--lower-presence", 1)


# -- held against the checkpoint -------------------------------------------------------------


class Spoiled(Safetensors):
    """Weights of which something went wrong on the way."""

    suffix = ".spoiled"

    def __init__(self, harm):
        self.harm = harm

    def write(self, net, path, facts):
        weights = {name: value.clone() for name, value in net.state_dict().items()}
        self.harm(net)
        super().write(net, path, facts)
        net.load_state_dict(weights)

    def open(self, path, facts):
        # Under the ending that rtau knows.
        return super().open(path.rename(path.with_suffix(".safetensors")), facts)


@pytest.mark.parametrize("harm, broken", [
    (lambda net: net.heads[0].bias.add_(0.01), "logits"),
    (lambda net: net.thresholds[:, 3:].add_(0.05), "intensity"),
    (lambda net: net.calibration[1].add_(0.02), "presence"),
    (lambda net: net.heads[1].weight[0].fill_(float("nan")), "logits nan"),
])
def test_a_file_that_differs_is_refused_and_nothing_stays(harm, broken, renders, tmp_path, monkeypatch):
    monkeypatch.setitem(orders.FORMATS, "spoiled", Spoiled(torch.no_grad()(harm)))
    order = Order(untrained(tmp_path / "run", small()), tmp_path / "a" / "b", formats=("spoiled",), uncalibrated=True,
                  crops=renders)
    with pytest.raises(DriftError, match=rf"au.spoiled does not do what .*best.pt does .*{broken}.*nothing was written"
                       ) as caught:
        export(order)
    assert "\n" not in str(caught.value) and not (tmp_path / "a").exists()


def test_a_file_that_differs_leaves_the_earlier_ones(renders, tmp_path, monkeypatch):
    run, out = untrained(tmp_path / "run", small()), tmp_path / "out"
    export(Order(run, out, uncalibrated=True, crops=renders))
    held = everything(out)
    monkeypatch.setitem(orders.FORMATS, "spoiled", Spoiled(torch.no_grad()(lambda net: net.heads[0].bias.add_(0.01))))
    with pytest.raises(DriftError):
        export(Order(untrained(tmp_path / "other", small("AU01", "AU04")), out, formats=("spoiled",), uncalibrated=True,
                     crops=renders, overwrite=True))
    assert everything(out) == held


def test_drift_is_what_differs_most(face):
    torch.manual_seed(0)
    trained = TwoViewNet(small()).eval()
    net = DeployedAuNet.fold(trained)
    crops = np.repeat(face[1], 3, 0)
    with torch.no_grad():
        presence, intensity = (o.numpy() for o in net(pixels(crops)))

    def off(first):
        """0.25 off in intensity at one face: the one that runs alone, or one of the others."""
        def opened(batch):
            shift = 0.25 * ((len(batch) == 1) == first)
            return {"presence": presence[:len(batch)], "intensity": intensity[:len(batch)] - shift}
        return opened

    allowed = {"logits": 1e-3, "presence": 1e-3, "intensity": 1e-3}
    for first in (True, False):
        drift = measure(off(first), trained, net, crops, allowed)
        assert drift.values["intensity"] == pytest.approx(0.25, abs=1e-5) and drift.broken == ("intensity",)
        assert drift.values["presence"] < 1e-6 and drift.faces == 3
    assert "intensity 0.25 (allowed 0.001)" in str(drift)


def test_the_faces_may_come_from_anywhere(renders, fixtures):
    for path, kind, least, most in ((renders, "au", 32, 32), (renders, "landmarks", 32, 32),
                                    (fixtures / "two_faces.jpg", "au", 2, 2),
                                    (fixtures / "turned.mp4", "landmarks", 5, 32)):
        crops = open_probe(path, kind, 48).crops
        assert crops.shape[1:] == (48, 48, 3) and crops.dtype == np.uint8 and least <= len(crops) <= most
    with pytest.raises(InputError, match="no_face.jpg shows no face"):
        open_probe(fixtures / "no_face.jpg", "au", 48)


# -- calibration -----------------------------------------------------------------------------


@pytest.mark.parametrize("confident", [1, 40])
def test_presence_is_calibrated_for_the_prior_and_attributes_as_they_are(confident):
    """Weighed as the prior says, the mean chance is the prior, also of scores that are sure of nothing true."""
    faces = make_faces(300, names=("AU01", "Smiling", "AU12"))
    faces.labels[:, 2] = -np.abs(faces.labels[:, 2])  # never there
    torch.manual_seed(1)
    net = DeployedAuNet.fold(TwoViewNet(small(*faces.names)))
    with torch.no_grad():
        for head in net.heads:
            head.weight.mul_(confident)
    done = calibrate(net, faces, "toy", prior=0.3)
    crops = np.concatenate([crops_of([faces.pictures[row]], faces.points[row:row + 1], 32, seed=row)
                            for row in range(300)])
    with torch.no_grad():
        presence = net(pixels(crops))[0].double().numpy()
    assert done.left == ("AU12",) and (net.calibration[:, 2, 0] == torch.tensor([1.0, 0.0])).all()
    assert done.faces == 300 and done.people == 6 and set(done.figures["per_label"]["AU01"]) == {
        "auc", "icc", "mae", "positives", "negatives"}
    assert "auc" not in done.figures["per_label"]["AU12"]
    there, absent = ([presence[faces.labels[:, c] == sign, c].mean() for c in (0, 1)] for sign in (1, -1))
    share = (faces.labels[:, 1] > 0).sum() / (faces.labels[:, 1] != 0).sum()
    assert 0.3 * there[0] + 0.7 * absent[0] == pytest.approx(0.3, abs=0.01)
    assert share * there[1] + (1 - share) * absent[1] == pytest.approx(share, abs=0.01)


def test_faces_at_rest_lower_what_they_set_off_and_nothing_else():
    faces = make_faces(300, names=("AU01", "Smiling", "AU12"))
    torch.manual_seed(1)
    net = DeployedAuNet.fold(TwoViewNet(small(*faces.names)))
    with torch.no_grad():
        for head in net.heads:
            head.weight.mul_(100)
    crops = pixels(np.concatenate([crops_of([faces.pictures[row]], faces.points[row:row + 1], 32, seed=row)
                                   for row in range(300)]))
    with torch.no_grad():
        # Most faces are said to show the first two, none the third.
        net.calibration[1] = torch.tensor([2.0, 2.0, -30.0])[:, None] - torch.logit(net(crops)[0]).mean(0)[:, None]
        before = net(crops)[0].numpy()
        done = settle(net, faces, "rest")
        after = net(crops)[0].numpy()
    assert (before[:, 0] >= 0.5).mean() > 0.5 and 1 <= (after[:, 0] >= 0.5).sum() <= 0.01 * 300
    assert np.array_equal(before[:, 1], after[:, 1]), "another attribute stays as it is"
    assert np.array_equal(before[:, 2], after[:, 2]) and set(done.shifts) == {"AU01"}, "nothing is raised"
    assert done.faces == 300 and "AU01 by" in str(done)
    assert np.diff(after[np.argsort(before[:, 0]), 0]).min() > -1e-3, "the order stays"


def test_pictures_that_cannot_be_read_are_left_out(caplog):
    from dataclasses import replace

    from toy import Damaged

    faces = make_faces(40, names=("AU01", "AU12"))
    net = DeployedAuNet.fold(TwoViewNet(small()))
    done = calibrate(net, replace(faces, pictures=Damaged(faces.pictures, range(4, 9))), "toy")
    assert done.faces == 35 and "picture 4 is damaged" in caplog.text
    with pytest.raises(InputError, match="none of the 40 faces to calibrate on can be read"):
        calibrate(net, replace(faces, pictures=Damaged(faces.pictures, range(40))), "toy")


@pytest.fixture(scope="module")
def others(tmp_path_factory, fixtures):
    """Aligned faces: of strangers, and of somebody whom the run learned from."""
    folder = tmp_path_factory.mktemp("others")
    for name in "abc":
        shutil.copy(fixtures / "face.jpg", folder / f"{name}.jpg")
    for name, who in (("strangers", "Ann"), ("learned", "042")):
        (folder / f"{name}.csv").write_text(
            f"image,subject,AU12,AU25\na.jpg,{who},1,0\nb.jpg,{who},1,0\nc.jpg,{who},0,1\n")
        assert rtau("data", "align", folder / f"{name}.csv", "--out", folder / name, "--size", "48", "--jobs", "1",
                    "--no-progress")[0] == 0
    return folder


def test_other_people_may_calibrate_but_none_that_the_run_learned_from(run, renders, others, tmp_path, caplog):
    done = export(Order(run, tmp_path / "out", data=others / "strangers", crops=renders))
    assert done.entry["calibration"]["faces"] == 3 and done.entry["calibration"]["data"] == "strangers"
    assert "AU01" in done.entry["calibration"]["as_trained"] and "AU12" not in done.entry["calibration"]["as_trained"]
    assert "not calibrated: AU01" in caplog.text
    with pytest.raises(InputError, match="subject 042 is in the training and in .*learned"):
        export(Order(run, tmp_path / "no", data=others / "learned", crops=renders))
    assert not (tmp_path / "no").exists()


def test_faces_that_changed_since_calibrate_nothing(run, renders, others, tmp_path, caplog):
    moved = tmp_path / "run"
    shutil.copytree(run, moved)
    config = json.loads((moved / "config.json").read_text())
    make_some(tmp_path / "more", count=72)
    for folder, what in ((tmp_path / "more", r"have changed since \(18 now, 16 then\)"),
                         (tmp_path / "gone", r"can't be opened: .*--data.*gone")):
        (moved / "config.json").write_text(json.dumps({**config, "renders": str(folder)}))
        with pytest.raises(InputError, match=f"{what}.*") as caught:
            export(Order(moved, tmp_path / "out", crops=renders))
        assert "--uncalibrated" in str(caught.value) and not (tmp_path / "out").exists()
    done = export(Order(moved, tmp_path / "out", data=others / "learned", crops=renders))
    assert done.entry["calibration"]["faces"] == 3
    assert "can't be checked" in caplog.text
    assert export(Order(moved, tmp_path / "plain", uncalibrated=True, crops=renders)).entry["calibration"] is None


# -- networks of one's own in use ------------------------------------------------------------


def test_an_exported_network_reads_a_clip(exported, fixtures, tmp_path):
    out, _ = exported
    code, said = rtau("process", fixtures / "turned.mp4", "--model", out / "au.safetensors", "--aus", "12,1",
                      "--backend", "torch", "--out", tmp_path / "o.csv", "--no-progress")
    assert code == 0, said
    with open(tmp_path / "o.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["success"] == "1"]
    assert rows and "AU12_p" in rows[0] and "AU04_p" not in rows[0]
    assert json.loads((tmp_path / "o.csv.meta.json").read_text())["weights"] == {
        "file": "au.safetensors", "sha256": find_weights("au", out).sha256}


def test_columns_are_found_by_name_and_presence_alone_is_told(renders, face, tmp_path):
    """A network of which the AUs are neither all nor the first labels, and which tells no intensity."""
    config = small("Smiling", "AU12", "Young", "AU04", "AU99", grades=1)
    done = export(Order(untrained(tmp_path / "run", config), tmp_path / "out", uncalibrated=True, crops=renders))
    analyzer = Analyzer(model=done.files[0].path, backend="torch", smooth="off")
    assert analyzer.aus == (4, 12)  # AU 99 is none that rtau knows
    scores = analyzer(Frame(face[0], 0.0, 0, still=True))
    whole = open_backend(open_weights(done.files[0].path), "torch")(face[1])[0]
    assert np.allclose(scores.presence, whole[:, [3, 1]], atol=1e-6) and np.isnan(scores.intensity).all()
    cv2.imwrite(str(tmp_path / "face.png"), face[0][..., ::-1])
    code, said = rtau("process", tmp_path / "face.png", "--model", done.files[0].path, "--backend", "torch", "--out",
                      tmp_path / "o.csv")
    with open(tmp_path / "o.csv", newline="") as file:
        row, = csv.DictReader(file)
    assert code == 0 and float(row["AU12_p"]) == pytest.approx(whole[0, 1], abs=1e-3) and row["AU12_r"] == "NaN"
    assert row["AU12_c"] in ("0", "1")


def test_a_model_that_does_not_fit_is_one_line(exported, renders, fixtures, tmp_path):
    out, _ = exported
    face = fixtures / "face.jpg"
    done = export(Order(untrained(tmp_path / "run", small("Smiling", "Young")), tmp_path / "out", uncalibrated=True,
                        crops=renders))
    few = export(Order(untrained(tmp_path / "few", small()), tmp_path / "out", "few", uncalibrated=True, crops=renders))
    shutil.copy(out / "au.safetensors", tmp_path / "alone.safetensors")
    for words, line in (([done.files[0].path, "--aus", "disfa"], "unknown attribute 'disfa': choose from Smiling, Young"),
                        ([few.files[0].path, "--aus", "disfa"],
                         "does not read AU 2, 4, 6, 9, 25, 26: choose from 1, 12"),
                        ([tmp_path / "alone.safetensors"], "has no manifest.json beside it"),
                        ([tmp_path / "none.safetensors"], "there is no weights file"),
                        ([out / "au.onnx"], "is no weights file: give a .safetensors file")):
        code, said = rtau("process", face, "--model", *words, "--out", tmp_path / "o.csv")
        assert code == 2 and said.startswith("rtau: ") and line in said and said.count("\n") == 1
    assert not (tmp_path / "o.csv").exists()


# -- mistakes --------------------------------------------------------------------------------


def one_line(*words):
    code, said = rtau("export", *words)
    assert code == 2 and said.startswith("rtau: ") and said.count("\n") == 1, said
    return said


def test_a_run_that_is_none_is_one_line(run, tmp_path):
    out = ("--out", tmp_path / "out", "--uncalibrated")
    (tmp_path / "begun").mkdir()
    assert "begun holds no best checkpoint yet (best.pt): give the folder" in one_line(tmp_path / "begun", *out)
    assert "nowhere is no folder" in one_line(tmp_path / "nowhere", *out)
    cut = tmp_path / "cut"
    shutil.copytree(run, cut)
    (cut / "best.pt").write_bytes((run / "best.pt").read_bytes()[:5000])
    assert "no readable checkpoint" in one_line(cut, *out)
    torch.save({**torch.load(run / "best.pt", weights_only=True), "format": 1}, cut / "best.pt")
    said = one_line(cut, *out)
    assert "format 1" in said and "rtau train --restart, or export it with the rtau that trained it" in said
    shutil.copy(run / "best.pt", cut)
    for text, line in (("{", "config.json can't be read"), ('{"task": "au", "speed": 1}', "unknown setting 'speed'")):
        (cut / "config.json").write_text(text)
        assert line in one_line(cut, *out)
    (cut / "config.json").unlink()
    assert "has no config.json" in one_line(cut, *out)
    saved = torch.load(run / "best.pt", weights_only=True)
    shutil.copy(run / "config.json", cut)
    for change, line in (({"facts": {**saved["facts"], "task": "line"}}, "holds no network that rtau"),
                         ({"averaged": {}}, "holds no network that rtau"),
                         ({"facts": {**saved["facts"], "network": {"speed": 3}}}, "unknown setting 'speed'")):
        torch.save({**saved, **change}, cut / "best.pt")
        assert line in one_line(cut, *out)
    nan = untrained(tmp_path / "nan", small(), spoil=lambda net: net.classifiers[0].data.fill_(float("nan")))
    assert "weights that are no numbers" in one_line(nan, *out)
    assert not (tmp_path / "out").exists()


def test_options_that_make_no_sense_are_one_line(run, renders, fixtures, tmp_path):
    out = ("--out", tmp_path / "out")
    assert "contradict" in one_line(run, *out, "--uncalibrated", "--data", renders)
    assert "'../au' is no name" in one_line(run, *out, "--name", "../au")
    assert "no_face.jpg shows no face" in one_line(run, *out, "--crops", fixtures / "no_face.jpg")
    assert "nothing.jpg is not there" in one_line(run, *out, "--crops", tmp_path / "nothing.jpg")
    assert "none is no folder" in one_line(run, *out, "--data", tmp_path / "none")
    marks = untrained(tmp_path / "marks", LandmarkConfig(size=64, width=8, blocks=(1, 1, 1), pyramid=8))
    assert "nothing to calibrate" in one_line(marks, *out, "--data", renders)
    assert not (tmp_path / "out").exists()


def test_what_is_there_stays_unless_told_otherwise(run, renders, tmp_path, caplog):
    out = tmp_path / "out"
    for name, formats in (("one", ()), ("two", ("onnx",))):
        export(Order(run, out, name, formats, uncalibrated=True, crops=renders))
    held = everything(out)
    assert "one.safetensors exists already: pass --overwrite" in one_line(run, "--out", out, "--name", "one")
    (out / "one.safetensors").unlink()
    assert "names 'one' already: pass --overwrite" in one_line(run, "--out", out, "--name", "one")
    (out / "three.onnx").write_bytes(b"mine")
    assert "three.onnx exists already" in one_line(run, "--out", out, "--name", "three")
    export(Order(run, out, "two", crops=renders, overwrite=True))
    assert "two.onnx" in caplog.text and "is of an earlier export" in caplog.text
    now, entries = everything(out), read_manifest(out)
    assert now["two.onnx"] == held["two.onnx"] and now["two.safetensors"] != held["two.safetensors"]
    assert dict(entries["one"].facts) == json.loads(held[MANIFEST])["one"] and "also" not in entries["two"].facts
    entries["two"].check()


@pytest.mark.parametrize("text", ["", "[]", '{"au": 3}', "no manifest"])
def test_a_damaged_manifest_is_not_touched(text, run, renders, tmp_path):
    (tmp_path / MANIFEST).write_text(text)
    said = one_line(run, "--out", tmp_path, "--uncalibrated", "--crops", renders)
    assert "manifest.json is damaged" in said and "move it away" in said
    assert everything(tmp_path) == {MANIFEST: text.encode()}


def test_a_folder_that_cannot_be_written_is_one_line(run, renders, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    assert "a part of that path is a file" in one_line(run, "--out", tmp_path / "file" / "out", "--crops", renders)
    if os.geteuid():
        (tmp_path / "shut").mkdir(mode=0o500)
        assert "no permission" in one_line(run, "--out", tmp_path / "shut", "--crops", renders)


def test_a_full_disk_leaves_what_was_there(run, renders, tmp_path):
    """On a file system with room for the first export and not for the next, where this user may make one."""
    size = sum(map(len, everything(export(Order(run, tmp_path / "out", uncalibrated=True, crops=renders)).files[0]
                                   .path.parent).values()))
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size * 3 // 2 // 1024}k", "tmpfs", str(disk)],
                             capture_output=True)
    if mounted.returncode:
        pytest.skip("this user can't mount a small file system")
    try:
        export(Order(run, disk, uncalibrated=True, crops=renders))
        held = everything(disk)
        for more in (("--name", "other"), ("--overwrite",)):
            said = one_line(run, "--out", disk, "--crops", renders, *more)
            assert "the disk is full" in said and everything(disk) == held
        find_weights("au", disk).check()
    finally:
        subprocess.run(["umount", str(disk)], check=False)


# -- formats that need more ------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_missing_packages_are_named_before_any_work(missing, run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    said = one_line(run, "--out", tmp_path / "out", "--format", "onnx")
    assert missing in said and "pip install onnx onnxruntime" in said and not (tmp_path / "out").exists()


def test_tensorrt_where_it_cannot_be_had_is_one_line(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_tensorrt", None)
    said = one_line(run, "--out", tmp_path / "out", "--format", "tensorrt")
    assert "pip install 'rtau[tensorrt]'" in said and not (tmp_path / "out").exists()


def test_what_tensorrt_is_given_takes_any_number_of_faces_and_is_nearly_the_network(face):
    torch.manual_seed(2)
    net = DeployedAuNet.fold(TwoViewNet(small()))
    program, example, dynamic = export_program(Told(in_half(net)), 32, "cpu")
    module = program.module()
    faces = pixels(np.repeat(face[1], 64, 0))
    faces += torch.randn(64, 1, 1, 1) * 20
    kinds = {node.meta["val"].dtype for node in program.graph.nodes if "conv2d" in str(node.target)}
    assert kinds == {torch.float16}
    for count in (1, 2, 5, 64):
        with torch.no_grad():
            found, wanted = module(faces[:count]), Told(net)(faces[:count])
        assert len(found) == 2
        for a, b in zip(found, wanted, strict=True):
            assert a.dtype == torch.float32 and a.shape == (count, 2) and (a - b).abs().max() < 0.02
    with pytest.raises((AssertionError, RuntimeError)):
        module(torch.zeros(65, 3, 32, 32))
    assert dynamic["pixels"][0].max == 64 and example.shape == (2, 3, 32, 32)
    assert next(net.views.parameters()).dtype == torch.float32  # the network itself stays as it was


def test_points_keep_their_precision_for_tensorrt():
    net = LandmarkNet(LandmarkConfig(size=64, width=8, blocks=(1, 1, 1), pyramid=8)).eval()
    prepared, faces = Told(in_half(net)), torch.rand(3, 3, 64, 64) * 255
    with torch.no_grad():
        for a, b in zip(prepared(faces), net(faces), strict=True):
            assert torch.equal(a, b) and a.dtype == torch.float32


@pytest.mark.tensorrt
def test_a_real_engine_does_what_the_checkpoint_does(run, renders, tmp_path):
    done = export(Order(run, tmp_path / "out", formats=("tensorrt",), uncalibrated=True, crops=renders))
    assert done.files[1].path.name == "au.ep" and not done.files[1].drift.broken
