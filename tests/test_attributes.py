"""A network that reads attributes in place of Action Units, all the way through: table, picture, terminal, streams.

Such a network is made of the shipped one by giving its labels other names, so that its numbers are known.
"""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from browser import Browser, find_chromium
from click.testing import CliRunner
from networks import attributes_network
from rich.console import Console

from rtau.analyze import Analyzer
from rtau.au import are_attributes, label_of, look_up, names_of, parse_labels
from rtau.cli import main
from rtau.controls import Controls
from rtau.errors import UsageError
from rtau.overlay import STYLES, draw_overlay
from rtau.pipeline import Run
from rtau.quality import assess
from rtau.sinks import TerminalSink
from rtau.sinks.dashboard import Extras, dashboard
from rtau.sinks.recorder import RecorderSink
from rtau.sinks.terminal import plain_line
from rtau.source import open_source
from rtau.store import open_weights
from rtau.streams import Moment, build_message, open_stream
from rtau.streams.lsl import channel_names
from rtau.streams.osc import osc_bundles
from rtau.streams.web import page_html
from rtau.types import Faces, Frame, Scores

#: Names for some of the shipped network's labels; the others are called "part 9", a name that no column can have.
NAMES = {"AU12": "Smiling", "AU25": "Mouth_Slightly_Open", "AU43": "Narrow_Eyes", "AU02": "5_o_Clock_Shadow"}
SOME = ("Smiling", "Narrow_Eyes", "5_o_Clock_Shadow")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return attributes_network(tmp_path_factory.mktemp("exported"), lambda au: NAMES.get(au, f"part {int(au[2:])}"))


@pytest.fixture(scope="module")
def made(model, sample, tmp_path_factory) -> Path:
    """A folder with a part of the sample as read by that network, a.csv, and by the shipped one, aus.csv."""
    folder = tmp_path_factory.mktemp("made")
    done = rtau("process", sample, "--end", 0.4, "--model", model, "--out", folder / "a.csv", "--columns", "raw",
                "--report", "--overlay", folder / "seen.mp4", "--no-progress")
    assert done.exit_code == 0 and "Strongest attributes" in done.output, done.output
    assert re.search(r"Smiling +100%", done.output)
    assert rtau("process", sample, "--end", 0.4, "--out", folder / "aus.csv", "--no-progress").exit_code == 0
    return folder


def rtau(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def make_scores(names=SOME, presence=(0.93, 0.2, np.nan), faces=1) -> Scores:
    """Faces of which the attributes are present, absent, and can't be judged."""
    chance = np.tile(np.array(presence, np.float32), (faces, 1))
    boxes = np.array([[60 + 200 * i, 60, 200 + 200 * i, 240] for i in range(faces)], np.float32)
    return Scores(tuple(names), Faces(boxes, np.full(faces, 0.99, np.float32), np.arange(faces),
                                      np.full((faces, 68, 2), 130, np.float32), np.zeros((faces, 3), np.float32)),
                  chance, np.full_like(chance, np.nan), np.nan_to_num(chance) >= 0.5, ~np.isnan(chance),
                  np.ones(faces, np.float32))


# -- labels ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name, label", [
    ("AU12", 12), ("AU04", 4), ("Smiling", "Smiling"), ("mouth open", "mouth_open"), ("Glasses?", "Glasses"),
    ("5_o_Clock_Shadow", "5_o_Clock_Shadow"), ("a,b%s\"c", "a_b_s_c"), ("Lächeln", "Lächeln"), ("AU", "AU")])
def test_a_label_is_a_number_or_a_name_that_columns_can_have(name, label):
    assert label_of(name) == label


def test_an_attribute_is_looked_up_like_an_action_unit():
    smiling = look_up("Smiling")
    assert (smiling.code, smiling.name, smiling.region) == ("Smiling", "", None)
    assert smiling.colour == look_up("Smiling").colour != look_up("Male").colour
    assert all(0 <= value <= 255 for value in smiling.colour) and max(smiling.colour) > 200
    assert (look_up(12).code, look_up(12).name, look_up(99).code, look_up(99).name) == (
        "AU12", "Lip corner puller", "AU99", "")
    assert names_of((1, 12)) == "AU 1, 12" and names_of(SOME) == ", ".join(SOME)
    assert are_attributes(SOME) and not are_attributes((1, 2)) and not are_attributes(())


def test_attributes_are_chosen_by_name():
    known = ("Smiling", "mouth_open", "Male")
    assert parse_labels("male, Mouth open", known) == ("mouth_open", "Male")
    assert parse_labels("AU12,1") == (1, 12)
    for text, line in (("12", "unknown attribute '12': choose from Smiling, mouth_open, Male"),
                       ("disfa", "unknown attribute 'disfa'"), (" ,", "no attribute named: choose from Smiling")):
        with pytest.raises(UsageError, match=line):
            parse_labels(text, known)


# -- table -----------------------------------------------------------------------------------


def test_the_table_has_what_the_network_says_under_its_names(made, model):
    rows, of_aus = rows_of(made / "a.csv"), rows_of(made / "aus.csv")
    names = list(open_weights(model).attributes)
    assert "part_9" in names
    kinds = [f"{name}_{kind}" for kind in ("c", "p", "p_raw") for name in names]
    assert list(rows[0]) == [*list(of_aus[0])[:12], *kinds]  # no intensities
    assert len(rows) == len(of_aus) == 10
    for row, other in zip(rows, of_aus, strict=True):
        assert row["Smiling_c"] == "1" and row["Narrow_Eyes_c"] == "0"
        for au, name in NAMES.items():
            if au != "AU43":  # a blink is told apart from it, and smoothed less
                assert float(row[f"{name}_p"]) == pytest.approx(float(other[f"{au}_p"]), abs=1e-4)
    facts = json.loads((made / "a.csv.meta.json").read_text("utf-8"))
    assert facts["aus"] == names and facts["weights"]["file"] == "attributes.safetensors"


def test_some_attributes_in_json_lines(model, fixtures, tmp_path):
    done = rtau("process", fixtures / "face.jpg", "--model", model, "--aus", "narrow_eyes,Smiling", "--smooth", "off",
                "--out", tmp_path / "a.jsonl", "--no-progress")
    assert done.exit_code == 0, done.output
    row = json.loads((tmp_path / "a.jsonl").read_text("utf-8"))
    assert list(row)[12:] == ["Smiling_c", "Narrow_Eyes_c", "Smiling_p", "Narrow_Eyes_p"]


def test_a_table_of_attributes_is_converted_and_compared(made, tmp_path):
    done = rtau("convert", made / "a.csv", tmp_path / "a.jsonl")
    assert done.exit_code == 0 and "dropped" not in done.output, done.output
    assert rtau("convert", tmp_path / "a.jsonl", tmp_path / "back.csv").exit_code == 0
    assert (tmp_path / "back.csv").read_text("utf-8") == (made / "a.csv").read_text("utf-8")
    (tmp_path / "coded.csv").write_text("frame,Smiling_c,notes\n" + "".join(f"{i},{i % 2},x\n" for i in range(10)))
    done = rtau("compare", tmp_path / "coded.csv", made / "a.csv", "--json", tmp_path / "found.json")
    assert done.exit_code == 0 and "Smiling" in done.output, done.output
    found, = json.loads((tmp_path / "found.json").read_text("utf-8"))["aus"]
    assert (found["au"], found["n"], found["share_a"], found["share_b"]) == ("Smiling", 10, 0.5, 1.0)
    done = rtau("compare", made / "aus.csv", made / "a.csv")
    assert done.exit_code == 2 and re.search("no AU in common: AU 1, 2, .* and part_1, ", done.output)
    done = rtau("convert", made / "a.csv", tmp_path / "of.csv", "--like", "openface")
    assert done.exit_code == 2 and "OpenFace's layout has no place for what" in done.output


# -- what can be judged ----------------------------------------------------------------------


def test_an_attribute_is_judged_by_the_whole_face():
    """A covered mouth hides AU 12 and not glasses; a face that is cut by the border, or turned away, hides both."""
    def judged(points, yaw=0.0, mouth=1.0):
        faces = Faces(np.array([[0, 0, 100, 100]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int64), points,
                      np.array([[yaw, 0, 0]], np.float32))
        sight = np.array([[1, 1, 1, 1, mouth, 1]], np.float32)
        frame = Frame(np.zeros((200, 200, 3), np.uint8), 0.0, 0)
        return [assess(frame, faces, np.array([[100.0], [40.0]]), labels, sight)[1][0].tolist()
                for labels in ((12, 1), ("Eyeglasses",))]

    rng = np.random.default_rng(0)
    points = rng.uniform(20, 120, (1, 68, 2)).astype(np.float32)
    points[0, [36, 45]] = [[40, 60], [100, 60]]
    assert judged(points) == [[True, True], [True]]
    assert judged(points, mouth=0.1) == [[False, True], [True]]
    assert judged(points, yaw=1.0) == [[False, False], [False]]
    cut = points.copy()
    cut[0, :17] = -20
    assert judged(cut) == [[True, True], [False]]


# -- mistakes --------------------------------------------------------------------------------


@pytest.mark.parametrize("words, line", [
    (["--aus", "Smiling,Grinning"], "unknown attribute 'Grinning': choose from part_1, 5_o_Clock_Shadow"),
    (["--calibrate", 3], "a resting face is taken off Action Units, not off attributes"),
    (["--baseline", "auto"], "a resting face is taken off Action Units, not off attributes"),
    (["--like", "openface"], "OpenFace's layout has no columns of attributes: leave out --like")])
def test_what_goes_with_action_units_alone_is_refused_in_a_line(model, fixtures, tmp_path, words, line):
    done = rtau("process", fixtures / "face.jpg", "--model", model, "--out", tmp_path / "a.csv", *words)
    assert done.exit_code == 2 and line in done.output and "Traceback" not in done.output
    assert len([text for text in done.output.splitlines() if text.startswith("rtau: ")]) == 1
    assert not (tmp_path / "a.csv").exists()


def test_no_resting_face_of_attributes(model, sample, tmp_path):
    done = rtau("calibrate", "--video", sample, "--model", model, "--save", tmp_path / "me.json", "--no-progress")
    assert done.exit_code == 2 and "a resting face is taken off Action Units" in done.output
    assert not (tmp_path / "me.json").exists()
    with pytest.raises(UsageError, match=r"does not read Grinning: choose from"):
        Analyzer(model=model, aus=("Grinning",))
    analyzer = Analyzer(model=model)
    keys = Controls(Run(open_source(sample), analyzer), analyzer, TerminalSink(Console()), RecorderSink())
    assert "calibrate" not in keys.hint and "q quit" in keys.hint


def test_names_that_would_share_a_column_are_refused(tmp_path):
    file = attributes_network(tmp_path / "twins", lambda au: {"AU01": "no hat", "AU02": "no-hat"}.get(au, f"x{au}"))
    with pytest.raises(UsageError, match="names differ in signs alone"):
        Analyzer(model=file)


# -- what is shown ---------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("size", [(120, 160), (480, 640), (720, 1280)])
@pytest.mark.parametrize("faces", [1, 3])
def test_every_style_draws_attributes(style, size, faces):
    names = ("Smiling", "Wearing_Necktie", "A_name_that_is_" + "very_" * 12 + "long")
    image = np.full((*size, 3), 90, np.uint8)
    drawn = draw_overlay(image, make_scores(names, faces=faces), style=style)
    assert drawn.shape == image.shape and (drawn != image).any()


def test_a_present_attribute_has_its_colour_in_the_picture():
    image = np.full((480, 800, 3), 90, np.uint8)
    drawn = draw_overlay(image, make_scores(), style="bars")
    colour = np.array(look_up("Smiling").colour)
    assert (drawn == colour).all(2).sum() > 200
    absent = draw_overlay(image, make_scores(presence=(0.1, 0.2, np.nan)), style="bars")
    assert not (absent == colour).all(2).any()


@pytest.mark.parametrize("width", [20, 60, 100, 200])
@pytest.mark.parametrize("height", [4, 24])
@pytest.mark.parametrize("faces", [1, 4])
def test_the_terminal_names_attributes(width, height, faces):
    frame = Frame(np.zeros((8, 8, 3), np.uint8), 1.0, 25)
    names = (*SOME[:2], "A_name_longer_than_anything")
    shown = dashboard(frame, make_scores(names, faces=faces), width=width, height=height, extras=Extras())
    lines = shown.plain.split("\n")
    assert len(lines) <= height and max(map(len, lines)) <= width
    if width >= 60:
        assert "Smiling" in lines[2] and "93%" in lines[2]
    assert "face 0: Smiling 93%" in plain_line(frame, make_scores(names, faces=faces))


def test_the_report_speaks_of_attributes(made, tmp_path):
    text = (made / "a.report.html").read_text("utf-8")
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert data["heading"] == "attribute" and not data["graded"]
    assert {one["code"]: one["short"] for one in data["aus"]}["Smiling"] == "Smiling"
    assert "<h2>Each attribute</h2>" in text and "muscles moved" not in text and "appearances" in text
    done = rtau("report", made / "a.csv", "--out", tmp_path / "r.html", "--csv-summary", tmp_path / "s.csv")
    assert done.exit_code == 0, done.output
    smiling = next(row for row in rows_of(tmp_path / "s.csv") if row["au"] == "Smiling")
    assert smiling["scale"] == "probability" and float(smiling["present_share"]) == 1


@pytest.mark.skipif(find_chromium() is None, reason="no Chromium here")
def test_the_report_draws_itself_in_a_browser(made, tmp_path):
    with Browser(tmp_path / "profile") as browser:
        browser.open(made / "a.report.html")
        words = browser.value("document.querySelector('#timeline').textContent")
        assert "Smiling" in words and "Narrow_Eyes" in words and not browser.complaints


# -- streams ---------------------------------------------------------------------------------


def test_streams_tell_attributes_by_name():
    frame = Frame(np.zeros((8, 8, 3), np.uint8), 1.0, 25)
    moment = Moment.of(frame, make_scores())
    told = build_message(moment)["faces"][0]
    assert told["aus"]["Smiling"] == {"presence": 0.93, "intensity": None, "present": True}
    assert told["aus"]["5_o_Clock_Shadow"] == {"presence": None, "intensity": None, "present": None}
    assert b"/rtau/face/0/Smiling\0" in osc_bundles(moment)[1]
    assert channel_names(SOME)[9:] == [f"{name}_{kind}" for kind in "cp" for name in SOME]
    page = page_html(SOME).decode()
    with pytest.raises(UsageError, match="blendshapes are made of Action Units"):
        open_stream("udp://127.0.0.1:9?shapes=arkit", SOME)
    assert '"Smiling": {"name": "", "colour": "rgb(' in page and "Lip corner puller" not in page
