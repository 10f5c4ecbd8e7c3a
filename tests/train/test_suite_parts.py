"""Groups, sight, probes, gallery and networks of the suite, on made-up figures and real scenes."""

import base64
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scores import draw_predictions
from stand_in import make_some

from rtau.au import REGIONS
from rtau.errors import InputError
from rtau.model import AuConfig, DeployedAuNet, TwoViewNet
from rtau.store import find_weights, sha256_of
from rtau_train.checkpoint import save_checkpoint
from rtau_train.figures.network import open_network
from rtau_train.figures.report import Settings, figures
from rtau_train.puppet.cast import Cast, default_puppets
from rtau_train.puppet.labels import GRADES, KNOTS
from rtau_train.puppet.sample import AUS
from rtau_train.puppet.scene import Lamp, Light, Performance, Scene
from rtau_train.puppet.studio import Order
from rtau_train.suite.clips import FPS, plan
from rtau_train.suite.gallery import Mistake, worst, write_gallery
from rtau_train.suite.groups import face_rows, group_figures, read_sexes, sex_of
from rtau_train.suite.networks import opened
from rtau_train.suite.probes import PROBES, ProbeOrder, probe_figures, removed
from rtau_train.suite.renders import Said, ask
from rtau_train.suite.sight import sight_figures
from rtau_train.suite.tables import groups_sheet, probes_sheet
from rtau_train.suite.timing import crossings


def record(person="099", yaw=0.0, covered=(), tone="light", camera="webcam", scale=0.5):
    points = np.zeros((68, 2))
    points[8, 1] = 100
    return {"person": person, "pose": [yaw, 0, 0], "occluders": list(covered), "skin": {"tone": tone},
            "sensor": {"kind": camera, "scale": scale}, "points": points.tolist()}


# -- groups ----------------------------------------------------------------------------------


def test_every_face_is_in_one_group_of_each_kind_and_in_all_that_cover_it():
    p = draw_predictions(300, 2, 6)
    records = tuple(record(tone=("dark", "light")[i % 2], yaw=np.radians((5, -15, 40)[i % 3]),
                           covered=(("hand", "glasses"), ())[i % 2]) for i in range(300))
    groups = group_figures(p, records, {"099": "female"}, Settings(30))
    by = {(g.kind, g.name): g for g in groups}
    assert by["skin tone", "dark"].faces == by["skin tone", "light"].faces == 150
    assert [g.name for g in groups if g.kind == "skin tone"] == ["light", "dark"]
    assert by["|yaw|", "below 10°"].faces == by["|yaw|", "10 to 20°"].faces == by["|yaw|", "30° or more"].faces == 100
    assert by["covered by", "hand"].faces == by["covered by", "glasses"].faces == by["covered by", "nothing"].faces
    assert by["sex", "female"].faces == by["face height", "45 to 60 px"].faces == 300
    everyone = by["camera", "webcam"]
    assert everyone.people == 6 and everyone.aus == 2 and everyone.auc.low < everyone.auc.value < everyone.auc.high
    assert everyone.usual == pytest.approx(everyone.auc.value)
    halves = [by["skin tone", name] for name in ("dark", "light")]
    assert {half.usual for half in halves} == {everyone.usual} and halves[0].auc.value != everyone.usual


def test_an_au_that_too_few_of_a_group_show_does_not_count():
    p = draw_predictions(60, 2, 4)
    labels = p.labels.copy()
    labels[:, 0] = -1
    labels[:4, 0] = 1
    groups = group_figures(replace(p, labels=labels), (record(),) * 60, {}, Settings(0))
    assert {g.aus for g in groups} == {1} and all(np.isnan(g.auc.low) for g in groups)
    labels[:, 1] = -1
    none = group_figures(replace(p, labels=labels), (record(),) * 60, {}, Settings(0))
    assert {g.aus for g in none} == {0} and all(np.isnan(g.auc.value) for g in none)


def test_sex_is_what_the_portraits_authors_say(tmp_path, shared):
    assert sex_of("048f", {}) == "female" and sex_of("100m", {}) == "male" and sex_of("099", {}) == "unknown"
    sexes = read_sexes(shared / "faces")
    assert len(sexes) >= 78 and set(sexes.values()) == {"female", "male"}
    assert read_sexes(tmp_path) == {}
    (tmp_path / "london_info.json").write_text("[1]")
    with pytest.raises(InputError, match="rtau data fetch"):
        read_sexes(tmp_path)
    assert face_rows(record(scale=0.25)) == 25


# -- what can be judged ----------------------------------------------------------------------


def test_sight_is_judged_by_what_is_surely_hidden_or_shown():
    visible = np.tile(np.array([[0.0], [0.1], [0.35], [0.9], [1.0], [np.nan]]), (4, len(REGIONS)))
    said = np.tile(np.array([[0.1], [0.7], [0.9], [0.8], [0.4], [0.5]]), (4, len(REGIONS)))
    regions = sight_figures(said, visible, np.repeat(["a", "b", "c", "d"], 6), Settings(50))
    assert [s.region for s in regions] == [*REGIONS, "all"]
    brow, everything = regions[0], regions[-1]
    assert (brow.hidden, brow.shown) == (8, 8) and (everything.hidden, everything.shown) == (48, 48)
    assert brow.passed == everything.passed == 0.5 and brow.refused == 0.5
    assert brow.auc.value == pytest.approx(0.75) and brow.auc.low <= 0.75 <= brow.auc.high
    shown = sight_figures(said, np.ones_like(visible), np.repeat(["a", "b", "c", "d"], 6), Settings(50))[0]
    assert np.isnan(shown.auc.value) and np.isnan(shown.passed) and shown.hidden == 0


# -- probes ----------------------------------------------------------------------------------


def test_one_thing_is_removed_and_all_else_stays():
    scene = Scene(Performance(np.zeros((18, 2), np.float32), {"jawOpen": 0.2}), yaw=0.3, crease_seed=5,
                  light=Light(0.4, (Lamp(30, 20, 0.5),), 0.8), background=np.zeros((4, 4, 3), np.uint8))
    assert removed(scene, "creases") == replace(scene, crease_amount=0.0)
    bare = removed(scene, "lamps")
    assert bare.light == Light(1.0, (), 0.8) and bare.background is scene.background
    plain = removed(scene, "background")
    assert np.ptp(plain.background) == 0 and plain.light == scene.light
    assert removed(scene, "shading") is scene


@pytest.fixture(scope="module")
def studio(shared):
    faces = shared / "faces"
    cast = Cast(faces, shared / "ict_facekit" / "ict_facekit.npz", default_puppets(faces))
    return Order(cast, ("099",), size=96, seed=11)


def test_probes_render_the_same_faces_with_the_same_labels(studio):
    run = range(3)
    plain = list(studio()(run))
    for without in PROBES:
        order = ProbeOrder.of(studio, without)
        probed = list(order()(run))
        assert order.settings() == {**studio.settings(), "without": without}
        differ = []
        for (image, labels), (other, others) in zip(plain, probed, strict=True):
            assert labels["points"] == others["points"] and labels["aus"] == others["aus"]
            assert labels["sensor"] == others["sensor"]
            differ.append(bool((image != other).any()))
        assert any(differ), without


def test_a_probe_tells_what_is_lost():
    p = draw_predictions(300, 3, 8, skill=2.5)
    rng = np.random.default_rng(1)
    noise = p.presence.copy()
    noise[:, 0] = rng.random(300)
    there = Said(None, (record(),) * 300, p, None)
    labels = p.labels.copy()
    labels[:10] = 0  # now hidden: judged in neither
    gone = Said(None, (record(),) * 300, replace(p, presence=noise, labels=labels), None)
    probe = probe_figures("creases", _Cut(there), _Cut(gone), Settings(100))
    lost, kept = probe.comparison.labels["AU01"]["auc"], probe.comparison.labels["AU02"]["auc"]
    assert lost.value < -0.2 and lost.high < 0 and kept.value == 0
    sheet = probes_sheet([probe])
    assert sheet.rows[0][0] == "AU01" and sheet.rows[0][2].startswith("-") and sheet.rows[0][2].endswith("*")
    assert sheet.head == ("", "AUC", "no creases")


class _Cut:
    """What is said of faces whose pictures nobody asks for."""

    def __init__(self, said):
        self.predictions = said.predictions

    def __len__(self):
        return len(self.predictions)

    def first(self, count):
        return self


# -- clips -----------------------------------------------------------------------------------


def test_every_au_begins_several_times_in_the_list_of_takes():
    takes = plan([f"{i:03d}" for i in range(22)], 3000)
    assert len(takes) == 44 and [t.still for t in takes[:4]] == ["", "rest", "", "held"]
    moving = [take for take in takes if not take.still]
    assert sum(round(take.seconds * FPS) for take in moving) == pytest.approx(3000, abs=22)
    onsets = dict.fromkeys(AUS, 0)
    for take in moving:
        times = np.arange(round(take.seconds * FPS)) / FPS
        curves = np.stack([take.script().at(t).activation.max(1) for t in times])
        for column, au in enumerate(AUS):
            onsets[au] += len(crossings(times, np.interp(curves[:, column], KNOTS, GRADES)))
    assert min(onsets.values()) >= 3, onsets
    still = next(take.script() for take in takes if take.still == "held")
    assert (still.at(0.1).activation == still.at(1.2).activation).all() and still.at(0.1).activation.max() > 0.5


# -- gallery ---------------------------------------------------------------------------------


def test_the_gravest_mistakes_come_first_and_no_au_fills_the_page():
    truth = np.array([[0, 0], [0, 1], [0, 0], [0, 1], [np.nan, 0]])
    presence = np.array([[.9, .6], [.8, .4], [.7, np.nan], [.95, .1], [.99, .55]])
    assert worst(presence, truth, False, of_one=2) == [(3, 0), (0, 0), (0, 1), (4, 1)]
    assert worst(presence, truth, False, most=1) == [(3, 0)]
    assert worst(presence, truth, True) == [(3, 1), (1, 1)]
    assert worst(np.zeros((0, 2)), np.zeros((0, 2)), True) == []


def test_the_page_holds_its_pictures_and_no_markup_of_a_file_name(tmp_path):
    image = np.full((40, 20, 3), 128, np.uint8)
    write_gallery(tmp_path / "g.html", [("Alarms", [Mistake(image, "<b>x</b>.jpg", 12, "absent", 0.91)]),
                                        ("Misses", [])], "Mistakes")
    page = (tmp_path / "g.html").read_text()
    assert "AU 12 Lip corner puller" in page and "presence 0.91" in page and "&lt;b&gt;x&lt;/b&gt;.jpg" in page
    assert "<b>x</b>" not in page and "<p>None.</p>" in page
    data = base64.b64decode(page.split("base64,")[1].split("'")[0])
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == (160, 80, 3)


# -- networks and tables ---------------------------------------------------------------------


def test_shipped_networks_and_files_are_opened_and_nothing_else(tmp_path):
    with opened("au", backend="torch") as shipped:
        assert shipped.file == find_weights("au").path and not shipped.trained
        assert shipped.network().labels[0] == "AU01"
    with opened(str(find_weights("au").path)) as named:
        assert named.file == shipped.file
    for what, told in (("nothing", "no weights nothing"), (str(tmp_path), "holds no best checkpoint")):
        with pytest.raises(InputError, match=told), opened(what):
            pass


@pytest.fixture
def sighted():
    """A small network that has learned nothing and tells what shows."""
    torch.manual_seed(0)
    return TwoViewNet(AuConfig(("AU12", "AU01"), size=32, width=8, features=16, sight=True), torch.eye(2))


def test_a_network_that_tells_what_shows_is_heard(sighted, tmp_path):
    make_some(tmp_path / "renders", count=8)
    manifest = {}
    for name, net in (("mine", sighted), ("blind", TwoViewNet(replace(sighted.config, sight=False)))):
        file = tmp_path / f"{name}.safetensors"
        save_file({key: value.contiguous() for key, value in DeployedAuNet.fold(net).state_dict().items()}, file)
        manifest[name] = {"file": file.name, "sha256": sha256_of(file), "kind": "au", "config": net.config.as_dict()}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    file = tmp_path / "mine.safetensors"
    with opened(str(file), backend="torch") as candidate:
        said = ask(candidate.network(), tmp_path / "renders", "test", candidate.landmarker())
        deaf = ask(open_network(tmp_path / "blind.safetensors", backend="torch"), tmp_path / "renders", "test", candidate.landmarker(), count=1)
    assert said.sight.shape == (2, 6) and ((said.sight > 0) & (said.sight < 1)).all()
    assert said.predictions.names == ("AU01", "AU12") and said.predictions.model == str(file)
    assert [r["person"] for r in said.records] == ["099"] * 2 and len(said.first(1)) == len(said.first(1).sight) == 1
    assert deaf.sight is None and len(deaf) == 1


def test_the_best_network_of_a_run_is_judged_as_trained(sighted, tmp_path):
    save_checkpoint(tmp_path / "best.pt", {"averaged": sighted.state_dict(), "step": 3},
                    {"task": "au", "network": sighted.config.as_dict()})
    (tmp_path / "config.json").write_text('{"task": "au"}')
    with opened(str(tmp_path), backend="torch") as run:
        assert run.trained and run.analyzer().aus == (1, 12)
        crops = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
        presence = run.network().runner(crops)[0]
        file = run.file
    wanted = DeployedAuNet.fold(sighted)(torch.from_numpy(crops).permute(0, 3, 1, 2).float())[0]
    assert presence == pytest.approx(wanted.detach().numpy(), abs=1e-5) and not file.exists()


def test_groups_are_told_apart_by_lines():
    p = draw_predictions(200, 2, 5)
    records = tuple(record(tone=("dark", "light")[i % 2]) for i in range(200))
    sheet = groups_sheet(group_figures(p, records, {}, Settings(0)), figures(p, None, Settings(0)))
    assert sheet.rows[0][0] == "all" and sheet.rows[1] == () and sheet.rows[2][:2] == ("skin tone", "light")
    assert sheet.rows[3][:2] == ("", "dark")
    assert "| skin tone | light |" in sheet.markdown("rtau eval")
