"""The open test set as a whole, on two real people: what is rendered, measured, printed and written."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

from rtau.cli import main
from rtau.errors import UsageError
from rtau_train.figures.report import Settings
from rtau_train.puppet.cast import Cast, default_puppets
from rtau_train.suite import clips, material
from rtau_train.suite.clips import LIST, plan, render_clips
from rtau_train.suite.open import judge_suite
from rtau_train.suite.order import Order
from rtau_train.suite.outcome import prepare_folder

PEOPLE = ("018", "099")


@pytest.fixture(scope="module", autouse=True)
def short():
    """Small and short clips, and one probe: as good as all, and faster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clips, "SIZE", (240, 180))
        patch.setattr(clips, "STILL_SECONDS", 0.8)
        patch.setattr(material, "PROBES", ("creases",))
        yield


@pytest.fixture(scope="module")
def parts(shared, tmp_path_factory):
    """Portraits of two people who test, as they are packed."""
    folder, given = tmp_path_factory.mktemp("faces"), shared / "faces"
    for group, suffix in (("london_neutral", "_03"), ("london_smiling", "_08")):
        (folder / group).mkdir()
        table = np.load(given / group / "landmarks.npz")
        rows = [row for row, name in enumerate(table["names"]) if name[:3] in PEOPLE]
        np.savez(folder / group / "landmarks.npz", names=table["names"][rows], points=table["points"][rows])
        for person in PEOPLE:
            shutil.copy(given / group / f"{person}{suffix}.jpg", folder / group)
    shutil.copy(given / "london_info.json", folder)
    return {"faces": folder, "rig": shared / "ict_facekit" / "ict_facekit.npz"}


@pytest.fixture(scope="module")
def order(parts, tmp_path_factory):
    home = tmp_path_factory.mktemp("suite")
    return Order(**parts, renders=home / "renders", clips=home / "clips", pictures=16, frames=24, probes=8, workers=1,
                 threads=1, settings=Settings(20))


@pytest.fixture(scope="module")
def outcome(order):
    return judge_suite(order)


def test_everything_is_measured_on_the_people_who_test(outcome):
    result, = outcome.results
    assert result.smiles.people == 2 and (result.smiles.neutral, result.smiles.smiling) == (2, 2)
    assert result.report.faces == len(result.said) == 16 and set(result.said.predictions.subject) == set(PEOPLE)
    kinds = {group.kind: group for group in result.groups}
    assert {"skin tone", "sex", "|yaw|", "face height", "covered by", "camera"} == set(kinds)
    assert sum(group.faces for group in result.groups if group.kind == "sex") == 16
    assert [probe.without for probe in result.probes] == ["creases"] and result.probes[0].comparison.faces == 8
    m = result.movement
    assert m.clips == 4 and m.frames == sum(round(take.seconds * 30) for take in plan(PEOPLE, 24))
    assert m.found > 0.4 * m.frames and m.pixels < 5 and m.shake < 2
    assert any("--stills" in note for note in outcome.notes)


def test_tables_fit_a_terminal_of_100_columns_and_say_how_they_were_made(outcome):
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    (name, sheets), = outcome.sheets()
    for sheet in sheets:
        console.print(sheet.rendered())
    text = console.export_text()
    assert "…" not in text and max(map(len, text.splitlines())) <= 100
    assert {sheet.stage for sheet in sheets} == {"photographs", "renders", "probes", "clips"} and name == "au"
    page = outcome.markdown()
    assert page.count("\n### ") == len(sheets)
    assert "`rtau eval --suite open --only photographs --weights au --resamples 20`" in page
    assert "--only renders --weights au --renders renders --pictures 16" in page
    assert str(outcome.order.faces) not in page


def test_files_hold_it_all(outcome, tmp_path):
    written = outcome.write(tmp_path)
    assert [path.name for path in written] == ["suite.json", "suite.md", "gallery.html"]
    facts = json.loads((tmp_path / "suite.json").read_text())
    network, = facts["networks"]
    assert facts["schema"] == "rtau-suite/1" and network["sha256"] and network["calibrated"] is True
    assert len(network["renders"]["report"]["labels"]) == len(outcome.results[0].report.labels)
    gallery = (tmp_path / "gallery.html").read_text()
    assert "Photographs: false alarms" in gallery and "Rendered faces: misses" in gallery
    assert gallery.count("<figure>") == gallery.count("data:image/jpeg;base64,") > 0
    with pytest.raises(Exception, match="--overwrite"):
        prepare_folder(tmp_path)
    prepare_folder(tmp_path, overwrite=True)


def test_what_is_rendered_is_kept_and_gives_the_same_figures(order, outcome):
    videos = {path: path.stat().st_mtime_ns for path in Path(order.clips).glob("*.mp4")}
    tars = {path: path.stat().st_mtime_ns for path in Path(order.renders).glob("*.tar")}
    again = judge_suite(replace(order, stages=("renders", "clips")))
    assert videos and tars and all(path.stat().st_mtime_ns == time for path, time in (videos | tars).items())
    old, new = outcome.results[0], again.results[0]
    assert new.report.as_dict() == old.report.as_dict() and new.smiles is None
    assert json.dumps(new.movement.as_dict()) == json.dumps(old.movement.as_dict())


def test_a_lost_clip_is_made_again_and_foreign_takes_are_refused(order, outcome, parts):
    cast = Cast(parts["faces"], parts["rig"], default_puppets(parts["faces"]))
    lost = Path(order.clips) / "099-still.mp4"
    before = lost.read_bytes()
    lost.unlink()
    told = []
    made = render_clips(cast, list(PEOPLE), 24, order.clips, tell=lambda done, total: told.append((done, total)))
    assert lost.read_bytes() == before and len(told) == 2 and told[-1][0] == told[-1][1]
    assert [clip.still for clip in made] == [False, True] * 2
    with pytest.raises(UsageError, match="frames 24, not 48"):
        render_clips(cast, list(PEOPLE), 48, order.clips)
    assert (Path(order.clips) / LIST).is_file()


# -- as a user meets it ----------------------------------------------------------------------


def run(*words):
    return CliRunner().invoke(main, ["eval", *map(str, words)])


def test_the_command_judges_photographs_alone(parts, tmp_path):
    done = run("--suite", "open", "--faces", parts["faces"], "--only", "photographs", "--resamples", 10, "--out",
               tmp_path / "new", "--threads", 1)
    assert done.exit_code == 0, done.output
    assert "Real photographs, whole pipeline: 2 test people" in done.output and "False alarms:" in done.output
    assert "suite.json, suite.md, gallery.html" in done.output
    again = run("--suite", "open", "--faces", parts["faces"], "--only", "photographs", "--out", tmp_path / "new")
    assert again.exit_code == 2 and "--overwrite" in again.output


def test_the_command_judges_clips_that_are_given(order, outcome):
    done = run("--suite", "clips", Path(order.clips) / "018.mp4", "--json", "--resamples", 0, "--smooth", "off")
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)["networks"][0]["clips"]
    assert figures["clips"] == 1 and figures["smoothing"] == "off" and figures["frames"] == plan(PEOPLE, 24)[0].seconds * 30


@pytest.mark.parametrize(("words", "told"), [
    ((), "what is to be judged on"),
    (("a", "b"), "there are 2"),
    (("--stills", "x", "renders"), "--stills is an option of --suite open"),
    (("--suite", "open", "renders"), "leave renders out"),
    (("--suite", "open", "--points", "given"), "--points does not go with --suite open"),
    (("--suite", "clips"), "which clips"),
    (("--suite", "clips", "x.mp4"), "x.mp4 is not there"),
    (("--suite", "clips", "x.mp4", "--part", "all"), "--part does not go with"),
    (("--suite", "open", "--only", "photos"), "choose from photographs, renders, probes, clips"),
    (("--suite", "open", "--faces", "nowhere"), "nowhere holds no portraits of test people"),
    (("--suite", "open", "--only", "clips", "--faces", "nowhere", "--rig", "none"), "none is not there"),
    (("--suite", "open", "--part", "some"), "there is no part"),
    (("--suite", "open", "--weights", "nothing"), "no weights nothing"),
])
def test_a_mistake_is_told_in_one_line(words, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(*words)
    assert done.exit_code == 2 and told in done.output, done.output
    assert done.output.startswith("rtau: ") and done.output.count("\n") == 1
