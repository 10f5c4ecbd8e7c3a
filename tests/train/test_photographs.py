"""Labels of real photographs, and what rtau is measured to say of them."""

import csv
import importlib.util
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from rtau.analyze import Analyzer
from rtau.errors import InputError
from rtau_train.suite import photographs as suite
from rtau_train.suite.photographs import Photograph, Seen, figures, list_portraits, list_stills, look

_FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "photographs.py"
_SPEC = importlib.util.spec_from_file_location("photographs_benchmark", _FILE)
bench = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = bench
_SPEC.loader.exec_module(bench)


@pytest.fixture(scope="module")
def faces(tmp_path_factory, fixtures):
    """Portraits of somebody who trains and of somebody who tests, neutral and smiling: all the same face."""
    folder = tmp_path_factory.mktemp("faces")
    for group, names in (("london_neutral", ("001_03", "099_03", "notes")), ("london_smiling", ("001_08", "099_08")),
                         ("canada", ("048f",))):
        (folder / group).mkdir()
        for name in names:
            shutil.copy(fixtures / "face.jpg", folder / group / f"{name}.jpg")
    return folder


def table(name):
    with open(Path(suite.__file__).parent / name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# -- labels ----------------------------------------------------------------------------------


def test_a_smiles_label_is_what_both_passes_say():
    rows = table("smiles.csv")
    assert len(rows) == len({row["person"] for row in rows}) == 78
    for row in rows:
        for au in ("AU06", "AU12", "AU25"):
            first, second = row[f"{au}_first"], row[f"{au}_second"]
            assert row[au] == (first if first == second else "") and {row[au], first, second} <= {"", "0", "1"}


def test_each_still_names_a_face_and_says_something_of_it():
    rows = table("stills.csv")
    places = {(row["file"], row["nose_x"], row["nose_y"]) for row in rows}
    assert len(places) == len(rows) == 56
    for row in rows:
        values = [value for key, value in row.items() if key.startswith("AU")]
        assert set(values) <= {"", "0", "1"} and any(values)
        assert 0 < float(row["nose_x"]) < 1 and 0 < float(row["nose_y"]) < 1


def test_portraits_are_listed_by_part_with_their_labels(faces):
    test = {(p.person, p.kind): p for p in list_portraits(faces)}
    assert set(test) == {("099", "neutral"), ("099", "smile"), ("048f", "neutral")}
    assert test["099", "neutral"].shows(4) is False and test["048f", "neutral"].shows(12) is False
    smile = test["099", "smile"]
    assert smile.shows(12) is True and smile.shows(25) is True and smile.shows(4) is None
    assert smile.shows(6) is None  # the passes differ
    assert len(list_portraits(faces, "all")) == 5 and {p.person for p in list_portraits(faces, "train")} == {"001"}
    with pytest.raises(InputError, match="no portraits of validation people"):
        list_portraits(faces, "validation")


def test_of_stills_those_are_listed_that_are_there(tmp_path, fixtures):
    with pytest.raises(InputError, match="none of the labeled photographs"):
        list_stills(tmp_path)
    (tmp_path / "compreface").mkdir()
    shutil.copy(fixtures / "face.jpg", tmp_path / "compreface" / "010_2.jpg")
    found = list_stills(tmp_path)
    assert len(found) == 2 and {p.kind for p in found} == {"still"} and found[0].nose != found[1].nose
    assert all(p.shows(12) for p in found) and [p.shows(43) for p in found].count(True) == 1


# -- what is seen ----------------------------------------------------------------------------


def test_the_labeled_face_is_taken_of_those_in_the_picture(fixtures, tmp_path):
    """Two faces side by side, one smiling and one mirrored small: the nose says which."""
    picture = cv2.imread(str(fixtures / "two_faces.jpg"))
    analyzer = Analyzer(smooth="off", backend="torch")
    from rtau.source import open_source
    scores = analyzer(next(iter(open_source(str(fixtures / "two_faces.jpg")))))
    noses = scores.faces.landmarks[:, 30] / picture.shape[1::-1]
    asked = [Photograph(fixtures / "two_faces.jpg", "still", "", {12: True}, tuple(nose)) for nose in noses]
    asked.append(Photograph(fixtures / "two_faces.jpg", "still", "", {12: True}, (0.01, 0.99)))
    asked.append(Photograph(fixtures / "no_face.jpg", "neutral", "", {}, at_rest=True))
    told = []
    seen = look(asked, analyzer, lambda done, total: told.append((done, total)))
    assert len(noses) == 2 and told[-1] == (4, 4)
    assert np.allclose(seen.presence[:2], scores.presence, atol=1e-5, equal_nan=True)
    assert np.isnan(seen.presence[2:]).all() and not seen.present[2:].any()
    assert np.isnan(seen.truth(12)[2:]).all()  # what was not judged counts neither way


def test_figures_count_what_they_say():
    def photo(kind, truth, **more):
        return Photograph(Path("x.jpg"), kind, "1", truth, **more)

    photographs = (photo("neutral", {}, at_rest=True), photo("neutral", {}, at_rest=True),
                   photo("neutral", {}, at_rest=True, doubted=(12,)), photo("smile", {12: True}),
                   photo("smile", {12: True}), photo("smile", {12: False}), photo("still", {12: True}),
                   photo("still", {12: False}), photo("still", {}))
    presence = np.array([[.1, .2], [.6, .2], [.9, .7], [.9, .1], [.4, .1], [.2, .1], [.3, .1], [.5, .1], [.9, .9]])
    seen = Seen(photographs, (12, 4), presence, 5 * presence, presence >= 0.5)
    smile, brow = figures(seen)
    assert (smile.neutral, smile.alarms, smile.smiles, smile.seen, smile.stills) == (2, 1, 2, 1, 1)
    assert smile.auc == pytest.approx(5 / 6) and smile.stills_auc == 0.0  # .9 and .4 against .1, .6 and .2
    assert (brow.neutral, brow.alarms, brow.smiles) == (3, 1, 0) and np.isnan(brow.auc) and np.isnan(brow.stills_auc)
    assert "1/2" in bench.line_of(smile) and "0.833" in bench.line_of(smile) and bench.line_of(brow).count("-") == 3


def test_the_command_prints_a_table_or_a_line(faces, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["photographs.py", "--faces", str(faces)])
    assert bench.main() == 0
    out = capsys.readouterr().out
    assert "3 faces, test people" in out and "false alarms on neutral faces" in out and "\n  12 " in out
    monkeypatch.setattr(sys, "argv", ["photographs.py", "--faces", str(tmp_path)])
    assert bench.main() == 2
    assert "rtau data fetch" in capsys.readouterr().err
