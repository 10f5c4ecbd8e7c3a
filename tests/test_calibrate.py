"""A person's resting face: told from what was seen, kept, taken off; and the slow baseline."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner

from rtau.analyze import Analyzer
from rtau.baseline import Baseline
from rtau.calibrate import Calibrator, Profile, RestError, Resting
from rtau.cli import main
from rtau.errors import InputError, OutputError, UsageError
from rtau.source import open_source
from rtau.types import Faces, Frame, Scores

AUS = (1, 4, 12, 15, 43)
WEIGHTS = "0" * 64


def scores_of(*presences, ids=None, quality=1.0, sides=None):
    """Scores of faces with these presences of `AUS`; intensity is five times as much."""
    presence = np.array(presences, np.float32).reshape(-1, len(AUS))
    n = len(presence)
    sides = sides or [50.0] * n
    boxes = np.stack([[0, 0, side, side] for side in sides]).astype(np.float32) if n else np.zeros((0, 4), np.float32)
    faces = Faces(boxes, np.ones(n, np.float32), np.array(ids if ids is not None else range(n), np.int64),
                  np.zeros((n, 68, 2), np.float32), np.zeros((n, 3), np.float32))
    known = np.isfinite(presence)
    return Scores(AUS, faces, presence, 5 * presence, np.nan_to_num(presence) >= 0.5, known, np.full(n, quality, np.float32))


def frame(time, still=False):
    return Frame(np.zeros((4, 4, 3), np.uint8), time, round(time * 25), still=still)


def rest_of(rows, rate=25.0, **more):
    resting = Resting(WEIGHTS)
    for index, row in enumerate(rows):
        resting.add(frame(index / rate), scores_of(row, **more), 0)
    return resting


HABIT = [0.02, 0.6, 0.01, 0.7, 0.05]


def test_the_median_of_still_frames_is_the_rest():
    rows = [HABIT] * 30
    rows[10:14] = [[0.02, 0.6, 0.01, 0.7, 0.95]] * 4  # a blink
    rows[20] = [0.02, 0.6, 0.9, 0.1, 0.05]  # a smile
    profile = rest_of(rows).profile()
    assert profile.aus == AUS and profile.frames == 25 and profile.weights == WEIGHTS
    assert np.allclose(profile.presence, HABIT, atol=1e-5) and np.allclose(profile.intensity, 5 * np.array(HABIT), atol=1e-3)
    assert not profile.doubts
    assert "AU12" in rest_of([[0, 0, 0.9, 0, 0]] * 30).profile().doubts[0]


@pytest.mark.parametrize(("rows", "more", "said"), [
    ([HABIT] * 10, {}, "seen well in 10 frames over 0.4 s"), ([], {}, "in 0 frames"),
    ([HABIT] * 40, {"quality": 0.1}, "in 0 frames"),
    ([[0, 0, index % 3 / 2, 0, 0] for index in range(60)], {}, "moved in"),
    ([[0, 0, 0, 0, 0.9]] * 40, {}, "eyes were shut")])
def test_what_is_no_rest_is_said(rows, more, said):
    with pytest.raises(RestError, match=said) as error:
        rest_of(rows, **more).profile()
    assert "\n" not in str(error.value)


def test_an_au_that_could_not_be_judged_is_left_alone(tmp_path):
    profile = rest_of([[0.02, 0.6, 0.01, np.nan, 0.05]] * 30).profile()
    assert np.isnan(profile.presence[3])
    profile.save(tmp_path / "me.json")
    again = Profile.load(tmp_path / "me.json")
    assert again.presence[:3] == profile.presence[:3] and np.isnan(again.presence[3])
    calibrator = Calibrator(AUS, WEIGHTS)
    calibrator.use(again)
    assert calibrator(frame(0), scores_of([0.5] * 5)).presence[0, 3] == 0.5


@pytest.mark.parametrize("text", ["", "{}", "[1, 2]", "not json", '{"rtau_profile": 1, "aus": [1], "presence": [], '
                                  '"intensity": [0], "frames": 1, "weights": "", "made": ""}', '{"rtau_profile": 7}'])
def test_what_is_no_profile_is_one_line(text, tmp_path):
    (tmp_path / "me.json").write_text(text)
    with pytest.raises(InputError, match="calibrate") as error:
        Profile.load(tmp_path / "me.json")
    assert "\n" not in str(error.value)


def test_files_that_can_not_be_had(tmp_path):
    with pytest.raises(InputError, match="can't read"):
        Profile.load(tmp_path / "none.json")
    with pytest.raises(OutputError, match="can't write"):
        rest_of([HABIT] * 30).profile().save(tmp_path / "no" / "me.json")


def calibrated(profile_of=HABIT, **more):
    calibrator = Calibrator(AUS, WEIGHTS, **more)
    calibrator.use(rest_of([profile_of] * 30).profile())
    return calibrator


def test_a_habit_is_taken_off_and_movements_stay():
    calibrator = calibrated(ordinary={4: 0.03, 15: 0.05, 12: 0.01, 1: 0.02})
    rest = calibrator(frame(0), scores_of(HABIT))
    assert (rest.presence[0] < [0.04, 0.2, 0.03, 0.25, 0.06]).all() and not rest.present.any()
    assert (rest.intensity[0, [1, 3]] == 0).all()
    assert rest.raw.present[0].tolist() == [False, True, False, True, False] and rest.raw.raw is None
    smile = calibrator(frame(0.04), scores_of([0.02, 0.6, 0.95, 0.7, 0.05]))
    assert smile.present[0].tolist() == [False, False, True, False, False] and smile.presence[0, 2] > 0.94
    # The more is there, the more is told, up to all of it.
    steps = [calibrator(frame(0), scores_of([0, 0, 0, p, 0])) for p in np.linspace(0, 1, 21)]
    told = [(s.presence[0, 3], s.intensity[0, 3]) for s in steps]
    assert told == sorted(told) and told[-1][1] == 5 and told[-1][0] > 0.9


def test_closed_eyes_are_no_habit():
    calibrator = calibrated([0.02, 0.02, 0.02, 0.02, 0.4])
    assert calibrator(frame(0), scores_of([0, 0, 0, 0, 0.4])).presence[0, 4] == pytest.approx(0.4, abs=1e-3)


def test_what_can_not_be_judged_stays_so():
    told = calibrated()(frame(0), scores_of([0.02, np.nan, 0.5, 0.7, 0.05]))
    assert np.isnan(told.presence[0, 1]) and np.isnan(told.intensity[0, 1]) and not told.present[0, 1]


def test_the_profile_stays_with_one_face():
    calibrator = calibrated()
    told = calibrator(frame(0), scores_of(HABIT, HABIT, ids=[3, 5], sides=[40, 60]))
    assert told.present.sum(1).tolist() == [2, 0]
    # The other comes nearer: the profile stays where it is; once that face is gone it goes to the largest.
    assert calibrator(frame(1), scores_of(HABIT, HABIT, ids=[3, 5], sides=[90, 60])).present.sum(1).tolist() == [2, 0]
    assert len(calibrator(frame(2), scores_of())) == 0
    assert calibrator(frame(3), scores_of(HABIT, HABIT, ids=[3, 8], sides=[90, 60])).present.sum(1).tolist() == [0, 2]


def test_another_network_has_other_habits():
    with pytest.raises(UsageError, match="other weights"):
        Calibrator(AUS, "1" * 64).use(rest_of([HABIT] * 30).profile())


def test_it_can_be_watched_while_running():
    calibrator = Calibrator(AUS, WEIGHTS)
    calibrator.watch(2.0)
    assert calibrator.left == 2.0
    for index in range(51):
        told = calibrator(frame(10 + index / 25), scores_of(HABIT, [0] * 5, ids=[0, 1], sides=[60, 70 if index < 3 else 9]))
        assert (calibrator.left is None) == (index == 50)
    # Who was only passing by does not count.
    assert calibrator.profile.presence[1] == pytest.approx(0.6) and not told.present[0].any()
    calibrator.forget()
    assert calibrator(frame(13), scores_of(HABIT)).present[0].any() and calibrator.settings == {}


def test_a_watch_without_a_face_says_so():
    calibrator = Calibrator(AUS, WEIGHTS)
    calibrator.watch(1.0)
    for index in range(30):
        calibrator(frame(index / 25), scores_of())
    assert calibrator.profile is None and "in 0 frames" in calibrator.problem and calibrator.left is None


def test_the_baseline_is_what_is_quiet():
    baseline = Baseline(AUS, seconds=30)
    for index in range(2000):
        time = index / 25
        smiling = (time % 10) > 7
        told = baseline(frame(time), scores_of([0.02, 0.6, 0.9 if smiling else 0.02, 0.7, 0.3]))
        if time < 9:
            assert told.present[0, 1] and told.present[0, 3]
        elif time > 11:
            assert told.present[0].tolist() == [False, False, smiling, False, False], time
            assert told.presence[0, 4] == pytest.approx(0.3, abs=1e-3) and told.raw.present[0, 1]
    assert max(map(len, baseline._past.values())) <= 61
    baseline(frame(200.0), scores_of(HABIT, ids=[9]))
    assert list(baseline._past) == [9], "faces that are long gone are forgotten"
    assert baseline(frame(0, still=True), scores_of(HABIT)).raw is None


# -- from the command line -------------------------------------------------------------------


def rtau(*words):
    done = CliRunner().invoke(main, [str(word) for word in words])
    return done.exit_code, done.output


def rows_of(path):
    return list(csv.DictReader(open(path, newline="")))


@pytest.fixture(scope="module")
def profile(tmp_path_factory, sample):
    path = tmp_path_factory.mktemp("profile") / "me.json"
    code, said = rtau("calibrate", "--video", sample, "--seconds", 2, "--save", path, "--no-progress")
    assert code == 0 and "frames of a face at rest" in said
    assert "AU12 (Lip corner puller) was there all the time: if that was a movement, calibrate again" in said
    return path


def test_a_profile_is_used(profile, sample, tmp_path):
    code, said = rtau("process", sample, "--profile", profile, "--columns", "raw", "--out", tmp_path / "a.csv")
    assert code == 0, said
    plain = Analyzer(smooth="off")
    with open_source(sample) as source:
        raw = [plain(f).presence[0, plain.aus.index(12)] for f, _ in zip(source, range(10), strict=False)]
    rows = rows_of(tmp_path / "a.csv")
    assert np.allclose([float(row["AU12_p_raw"]) for row in rows[:10]], raw, atol=1e-4), "raw values stay as they are"
    assert float(rows[5]["AU12_p"]) < min(raw) - 0.01
    meta = json.loads((tmp_path / "a.csv.meta.json").read_text())
    assert meta["calibration"]["frames"] == Profile.load(profile).frames and meta["baseline"] == "off"


def test_the_first_seconds_may_be_the_rest(sample, tmp_path):
    code, said = rtau("process", sample, "--calibrate", 2, "--out", tmp_path / "a.csv")
    assert code == 0 and "not calibrated" not in said
    rows = rows_of(tmp_path / "a.csv")
    assert float(rows[20]["AU12_p"]) > 0.99 > 0.98 > float(rows[-1]["AU12_p"])
    code, said = rtau("process", sample, "--calibrate", 1, "--every", 8, "--out", tmp_path / "b.csv")
    assert code == 0 and "not calibrated: the face was seen well in" in said


def test_mistakes_are_one_line(profile, sample, fixtures, tmp_path):
    for words, part in (
            (("calibrate", "--video", sample, "--save", profile), "exists"),
            (("calibrate", "--video", sample, "--save", tmp_path / "x.json", "--seconds", 30), "ended after"),
            (("calibrate", "--video", fixtures / "no_face.jpg", "--save", tmp_path / "x.json"), "ended after"),
            (("process", sample, "--out", tmp_path / "a.csv", "--profile", sample), "is no profile"),
            (("process", sample, "--out", tmp_path / "a.csv", "--profile", tmp_path / "none.json"), "can't read"),
            (("process", sample, "--out", tmp_path / "a.csv", "--baseline", "fast"), "unknown baseline")):
        code, said = rtau(*words)
        assert code == 2 and part in said and len(said.strip().splitlines()) == 1, said
    assert not (tmp_path / "x.json").exists()
