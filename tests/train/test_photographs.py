"""Labels of real photographs, and what rtau is measured to say of them."""

import csv
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from rtau.analyze import Analyzer
from rtau.errors import InputError
from rtau_train.figures.report import Settings
from rtau_train.suite import photographs as suite
from rtau_train.suite.photographs import Photograph, Seen, list_portraits, list_stills, look
from rtau_train.suite.smiles import Share, smile_figures
from rtau_train.suite.tables import smiles_sheets

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
    assert np.allclose(seen.boxes[:2], scores.faces.boxes) and np.isnan(seen.boxes[2:]).all()
    assert np.isnan(seen.truth(12)[2:]).all()  # what was not judged counts neither way


def photo(kind, truth, person="1", **more):
    return Photograph(Path("x.jpg"), kind, person, truth, **more)


def seen_of(photographs, presence, aus=(12, 4)):
    presence = np.array(presence)
    return Seen(tuple(photographs), aus, presence, 5 * presence, np.nan_to_num(presence) >= 0.5,
                np.zeros((len(presence), 4)))


def test_figures_count_what_they_say():
    photographs = (photo("neutral", {}, at_rest=True), photo("neutral", {}, "2", at_rest=True),
                   photo("neutral", {}, "3", at_rest=True, doubted=(12,)), photo("smile", {12: True}),
                   photo("smile", {12: True}, "2"), photo("smile", {12: False}, "3"), photo("still", {12: True}, ""),
                   photo("still", {12: False}, ""), photo("still", {}, ""))
    seen = seen_of(photographs, [[.1, .2], [.6, .2], [.9, .7], [.9, .1], [.4, .1], [.2, .1], [.3, .1], [.5, .1],
                                 [.9, .9]])
    s = smile_figures(seen, Settings(100))
    smile, brow = s.aus
    assert (smile.alarms.count, smile.alarms.of, smile.seen.count, smile.seen.of) == (1, 2, 1, 2)
    assert smile.stills == (1, 1) and smile.auc.value == pytest.approx(5 / 6) and smile.stills_auc.value == 0.0
    assert (brow.alarms.count, brow.alarms.of, brow.seen.of) == (1, 3, 0)
    assert np.isnan(brow.auc.value) and np.isnan(brow.stills_auc.value)
    assert (s.neutral, s.smiling, s.stills, s.people) == (3, 3, 3, 3)
    assert (s.alarms.count, s.alarms.of) == (2, 5) and (s.alarmed.count, s.alarmed.of) == (2, 3)
    assert s.alarms.low < 0.4 < s.alarms.high
    sheet, = smiles_sheets(s, "test")
    assert sheet.rows[0][:2] == ("AU12", "1/2") and sheet.rows[0][4] == "1/2" and sheet.rows[1][4:] == ("-",) * 5
    assert "2 of 5 (40.0 %" in sheet.notes[1]


def test_intervals_are_over_people():
    rng = np.random.default_rng(0)
    photographs = [photo(kind, {} if kind == "neutral" else {12: True}, str(person), at_rest=kind == "neutral")
                   for person in range(20) for kind in ("neutral", "smile")]
    presence = rng.normal(np.tile([0.3, 0.6], 20), 0.2)
    auc = smile_figures(seen_of(photographs, np.stack([presence, presence], 1)), Settings(200)).aus[0].auc
    assert auc.low < auc.value < auc.high and auc.high - auc.low < 0.4


def test_a_face_that_is_not_judged_is_no_false_alarm_and_no_smile_seen():
    seen = seen_of([photo("neutral", {}, at_rest=True), photo("neutral", {}, "2", at_rest=True),
                    photo("smile", {12: True})], [[np.nan, np.nan], [.9, .2], [np.nan, .1]])
    s = smile_figures(seen, Settings(0))
    smile = s.aus[0]
    assert (smile.alarms.count, smile.alarms.of) == (1, 1) and (smile.refused.count, smile.refused.of) == (1, 2)
    assert (smile.seen.count, smile.seen.of) == (0, 1) and np.isnan(s.alarms.low)


def test_shares_have_intervals_that_keep_off_the_ends():
    none = Share.among(np.zeros(22, bool))
    assert none.value == 0 and none.low == 0 and none.high == pytest.approx(0.149, abs=0.001)  # Wilson's, z = 1.96
    assert np.isnan(Share.among(np.zeros(0, bool)).low) and np.isnan(Share.among(np.zeros(0, bool)).value)
