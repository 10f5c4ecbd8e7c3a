"""What a person does over time: smooth, possible, the same at any frame rate; and scripts that users wrote."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtau.errors import InputError, UsageError
from rtau_train.puppet.curves import Event, Script, activation_of, draw_script, exclude
from rtau_train.puppet.habits import Blink, Gesture, Habits, Motions, Saccade, draw_motions, smooth_step
from rtau_train.puppet.labels import intensities
from rtau_train.puppet.sample import AUS, EYE_TURN
from rtau_train.puppet.script_file import read_script

STILL = Habits(blinks=0, speech=0, head=0, gaze=0, tremor=0)
SMILE = Event(12, start=1.0, onset=0.4, apex=1.0, offset=0.6, levels=(0.8, 0.4))


def curve(script: Script, au: int, times: np.ndarray) -> np.ndarray:
    """Activation [N, 2]."""
    return np.array([script.at(t).activation[AUS.index(au)] for t in times])


def test_an_event_rises_lasts_and_fades():
    script = Script(4, (SMILE,))
    at = dict(zip((0.99, 1.2, 1.4, 1.9, 2.4, 2.7, 3.01), curve(script, 12, [0.99, 1.2, 1.4, 1.9, 2.4, 2.7, 3.01]),
                  strict=True))
    assert at[0.99].tolist() == at[3.01].tolist() == [0, 0]
    assert at[1.2] == pytest.approx([0.4, 0.2]) and at[2.7] == pytest.approx([0.4, 0.2])  # half way
    assert at[1.4] == pytest.approx([0.8, 0.4]) and at[1.9] == pytest.approx([0.8, 0.4])


def test_onsets_have_no_jerk_at_their_ends():
    x = np.linspace(-0.1, 1.1, 1201)
    y = np.array([smooth_step(v) for v in x])
    speed, force = np.gradient(y, x), np.gradient(np.gradient(y, x), x)
    assert (np.diff(y) >= 0).all() and y[0] == 0 and y[-1] == 1
    for end in (0.0, 1.0):
        near = np.abs(x - end) < 0.003
        assert np.abs(speed[near]).max() < 1e-3 and np.abs(force[near]).max() < 0.5
    assert speed.max() == pytest.approx(1.875, abs=1e-3)


def test_overlapping_events_take_the_strongest():
    weaker = Event(12, 1.2, 0.3, 2.0, 0.5, (0.5, 0.5))
    t = np.linspace(0, 5, 101)
    both = curve(Script(5, (SMILE, weaker)), 12, t)
    alone = np.maximum(curve(Script(5, (SMILE,)), 12, t), curve(Script(5, (weaker,)), 12, t))
    assert both == pytest.approx(alone) and both.max() <= 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_drawn_scripts_are_possible(seed):
    script = draw_script(np.random.default_rng(seed), 20)
    for i, event in enumerate(script.events):
        assert event.start >= 0 and min(event.onset, event.offset) >= 0.05 and all(0 <= v <= 1 for v in event.levels)
        for other in script.events[:i]:
            apart = event.end <= other.start or other.end <= event.start
            assert apart or not (exclude(event.au, other.au) or event.au == other.au), (event, other)
    spoken = [s.time for s in script.motions.syllables]
    for event in script.events:
        if event.au in (17, 23, 24):
            assert not any(event.start < time < event.end for time in spoken)
    for blink in script.motions.blinks:
        assert not any(e.au == 43 and e.start < blink.end and blink.start < e.end for e in script.events)


def test_everything_is_continuous_in_time():
    script = draw_script(np.random.default_rng(5), 6, habits=Habits(speech=0.6))
    assert script.motions.syllables and script.motions.blinks and script.motions.saccades and script.events
    step = 0.001
    before, largest = script.at(0.0), {"activation": 0.0, "shapes": 0.0, "head": 0.0}
    for t in np.arange(step, 6, step):
        now = script.at(t)
        names = set(before.shapes) | set(now.shapes)
        for key, change in (("activation", np.abs(now.activation - before.activation).max()),
                            ("shapes", max(abs(now.shapes.get(n, 0) - before.shapes.get(n, 0)) for n in names)),
                            ("head", max(abs(now.yaw - before.yaw), abs(now.pitch - before.pitch)))):
            largest[key] = max(largest[key], change)
        before = now
    # Lids close in 65 ms and eyes jump in 21: nothing may go further in a millisecond than these do.
    assert largest["activation"] < 1.875 * step / 0.06 and largest["shapes"] < 0.1 and largest["head"] < 0.002


def test_a_time_has_one_answer_whatever_was_asked_before():
    script = draw_script(np.random.default_rng(8), 10)
    forward = [script.at(t) for t in (1.0, 4.5, 9.25)]
    backward = [draw_script(np.random.default_rng(8), 10).at(t) for t in (9.25, 4.5, 1.0)][::-1]
    for a, b in zip(forward, backward, strict=True):
        assert np.array_equal(a.activation, b.activation) and a.shapes == b.shapes and a.yaw == b.yaw


def test_blinks_are_as_fast_and_as_rare_as_people_s():
    blinks = draw_motions(np.random.default_rng(3), 600, Habits()).blinks
    assert 600 / 7 < len(blinks) < 600 / 2.5
    closing, opening = (np.array([getattr(b, name) for b in blinks]) for name in ("closing", "opening"))
    assert 0.07 < closing.mean() < 0.095 and 0.13 < opening.mean() < 0.17
    gaps = np.diff([b.start for b in blinks])
    assert (gaps < 0.6).any() and (gaps > 2).mean() > 0.7  # some double
    assert any(b.depth < 1 for b in blinks) and sum(b.depth == 1 for b in blinks) > 0.75 * len(blinks)
    assert draw_motions(np.random.default_rng(3), 60, Habits(blinks=0)).blinks == ()


def test_a_blink_closes_the_lids_and_lets_them_open():
    blink = Blink(1.0, 0.08, 0.03, 0.15)
    assert [blink.at(t) for t in (1.0, 1.04, 1.095, 1.185, 1.26)] == pytest.approx([0, 0.5, 1, 0.5, 0])
    wide = Event(5, 0, 0.5, 2, 0.5, (1, 1))
    script = Script(3, (wide,), motions=Motions(blinks=(blink,)))
    during, after = script.at(1.095), script.at(1.5)
    assert during.activation[AUS.index(43)].tolist() == [1, 1] and during.activation[AUS.index(5)].max() == 0
    assert after.activation[AUS.index(43)].max() == 0 and after.activation[AUS.index(5)].min() == 1


def test_syllables_come_as_fast_as_people_speak():
    syllables = draw_motions(np.random.default_rng(1), 60, Habits(speech=0.5)).syllables
    gaps = np.diff([s.time for s in syllables])
    within = gaps[gaps < 0.6]
    assert 3 < 1 / within.mean() < 6 and 60 < len(syllables) < 240
    assert max(s.jaw for s in syllables) < 0.25


def test_eyes_keep_their_aim_while_the_head_turns():
    turn = Gesture(0, 4, "yaw", np.radians(20))
    script = Script(4, motions=Motions(gestures=(turn,), saccades=(Saccade(0, 0.02, 0, 0),)))
    middle = script.at(2.0)
    assert middle.yaw == pytest.approx(np.radians(20))
    # The head turns to image right, the subject's left; the left eye turns in.
    assert middle.shapes["eyeLookIn_L"] == middle.shapes["eyeLookOut_R"] == pytest.approx(
        np.tanh(0.85 * np.radians(20) / EYE_TURN))
    assert middle.shapes["eyeLookOut_L"] == 0


def test_lids_never_pass_through_each_other():
    squint = Event(7, 0, 0.5, 2, 0.5, (1, 1))
    blink = Blink(1.0, 0.08, 0.05, 0.15)
    shapes = Script(3, (squint,), motions=Motions(blinks=(blink,))).at(1.1).shapes
    alone = Script(3, motions=Motions(blinks=(blink,))).at(1.1).shapes
    assert shapes["eyeBlink_L"] < alone["eyeBlink_L"] < 1
    assert Script(3, (squint,)).at(1.1).shapes["eyeBlink_L"] == pytest.approx(0.14)  # the recipe's own share stays


@pytest.mark.parametrize("au", [1, 4, 12, 20])
def test_asked_intensity_is_the_one_scored(au):
    for wanted in (0.0, 1.0, 2.5, 4.0, 5.0):
        activation = np.zeros((1, len(AUS), 2))
        activation[0, AUS.index(au)] = activation_of(au, wanted)
        scored, _ = intensities(activation, np.zeros(1), np.ones((1, 2)), np.zeros(1))
        assert scored[0, AUS.index(au)] == pytest.approx(wanted)


# -- files -----------------------------------------------------------------------------------

TOML = """\
seconds = 6
blinks = 0
head = 0
gaze = 0
tremor = 0

[[event]]
au = 12
intensity = 3
side = "left"   # the subject's
start = 1.0
onset = 0.5

[[event]]
au = 45
start = 4.0
"""


def written(folder, text, name="s.toml"):
    path = folder / name
    path.write_text(text)
    return path


def test_a_toml_script_does_what_it_says(tmp_path):
    script = read_script(written(tmp_path, TOML))
    assert script.seconds == 6 and script.motions.blinks == () and script.at(0.5).yaw == 0
    assert curve(script, 12, [1.6]).tolist() == [[pytest.approx(0.55), 0]]
    assert curve(script, 43, [4.09]) == pytest.approx(np.array([[0.95, 0.95]]))
    assert read_script(tmp_path / "s.toml", seconds=3).seconds == 3


@pytest.mark.parametrize(("old", "new", "line", "words"), [
    ("intensity = 3", "intensity = 6", 9, "must be a number from 0 to 5"),
    ("au = 12", "au = 11", 8, "AU 11 can't be performed"),
    ("au = 12", "au = 26", 10, "has no sides"),
    ("au = 12", "au = 1.5", 8, "whole number"),
    ('side = "left"', 'side = "up"', 10, "choose from both, left, right"),
    ("start = 1.0", "begin = 1.0", 7, "start is missing"),
    ("onset = 0.5", "onset = 0.0", 12, "onset is 0.0"),
    ("onset = 0.5", "onset = 0.5\nspeed = 3", 13, "unknown setting 'speed'"),
    ("onset = 0.5", "level = 0.5", 12, "not both"),
    ("start = 4.0", "start = true", 16, "start is True"),
    ("blinks = 0", "blonks = 0", 2, "unknown setting 'blonks'"),
    ("seconds = 6", "seconds = -1", 1, "seconds is -1"),
])
def test_mistakes_in_toml_are_told_with_their_line(tmp_path, old, new, line, words):
    path = written(tmp_path, TOML.replace(old, new, 1))
    with pytest.raises(UsageError) as told:
        read_script(path)
    assert f"s.toml, line {line}: " in str(told.value) and words in str(told.value) and "\n" not in str(told.value)


def test_files_that_are_no_scripts_are_refused_in_one_line(tmp_path):
    for name, text, words in (("a.toml", "seconds = = 3", "line 1"), ("b.csv", "", "no column is called time"),
                              ("d.csv", "time,AU12\n", "no row"), ("e.txt", "hello", "a .toml or a .csv")):
        with pytest.raises((InputError, UsageError)) as told:
            read_script(written(tmp_path, text, name))
        assert words in str(told.value) and name in str(told.value) and "\n" not in str(told.value)
    (tmp_path / "f.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="no text in UTF-8"):
        read_script(tmp_path / "f.csv")
    with pytest.raises(InputError, match=r"g\.csv can't be read"):
        read_script(tmp_path / "g.csv")


def test_events_that_no_face_shows_at_once_are_warned_of(tmp_path, caplog):
    both = TOML + '\n[[event]]\nau = 24\nlevel = 0.5\nstart = 1\n\n[[event]]\nau = 26\nlevel = 0.5\nstart = 1.2\n'
    with caplog.at_level(logging.WARNING):
        script = read_script(written(tmp_path, both))
    assert len(script.events) == 4 and "AU 24 and AU 26 at once" in caplog.text and "line 19" in caplog.text


def test_a_csv_script_is_joined_by_straight_lines(tmp_path):
    path = written(tmp_path, "time,AU12,AU04_left,AU43\n0,0,0,0\n1,3,,0\n2,3,3,5\n4,0,0,0\n", "s.csv")
    script = read_script(path)
    # Blinks are left out where the file says what the lids do; the head may drift.
    assert script.seconds == 4 and script.motions.blinks == ()
    still = Script(script.seconds, tracks=script.tracks)
    assert curve(still, 12, [0.5, 1.5, 3.0]) == pytest.approx(np.array([[0.275, 0.275], [0.55, 0.55], [0.275, 0.275]]))
    assert curve(still, 4, [1.0, 2.0]) == pytest.approx(np.array([[0.275, 0], [0.55, 0]]))  # the gap is bridged
    assert curve(still, 43, [2.0])[0, 0] == pytest.approx(0.95)


def test_a_table_that_rtau_wrote_is_a_script(tmp_path):
    from rtau.sinks import CsvSink
    from rtau.types import Faces, Frame, Scores

    with CsvSink(tmp_path / "t.csv", AUS) as sink:
        for index in range(3):
            faces = Faces(np.zeros((1, 4), np.float32), np.ones(1, np.float32), np.zeros(1, np.int64),
                          np.zeros((1, 68, 2), np.float32), np.zeros((1, 3), np.float32))
            table = np.full((1, len(AUS)), float(index), np.float32)
            scores = Scores(AUS, faces, table, table, table > 0.5, table >= 0, np.ones(1, np.float32))
            sink.write(Frame(np.zeros((4, 4, 3), np.uint8), index * 0.5, index), scores)
        sink.write(Frame(np.zeros((4, 4, 3), np.uint8), 1.5, 3), Scores.none(AUS))  # no face: NaN
    script = read_script(tmp_path / "t.csv")
    assert script.seconds == 1.5 and len(script.tracks) == len(AUS)
    assert curve(Script(2, tracks=script.tracks), 12, [1.0, 1.5])[:, 0] == pytest.approx([0.3, 0.3])


@pytest.mark.parametrize(("text", "line", "words"), [
    ("time,AU12\n0,1\n0,2\n", 3, "not after"),
    ("time,AU12\n0,1\n1,6\n", 3, "AU12 is 6"),
    ("time,AU12\n0,1\n1,high\n", 3, "no number"),
    ("time,AU12\n0,1\n1\n", 3, "1 fields"),
    ("time,AU12\n0,1\n1,inf\n", 3, "must lie between"),
    ("time,AU11\n0,1\n", 1, "AU 11 can't be performed"),
    ("time,AU12,AU12_left\n0,1,1\n", 1, "more than one column"),
    ("time,smile\n0,1\n", 1, "unknown column 'smile'"),
    ("time,AU25_left\n0,1\n", 1, "no sides"),
    ("time,frame\n0,1\n", 1, "no column holds an AU"),
])
def test_mistakes_in_csv_are_told_with_their_line(tmp_path, text, line, words):
    with pytest.raises((InputError, UsageError)) as told:
        read_script(written(tmp_path, text, "s.csv"))
    assert f"s.csv, line {line}: " in str(told.value) and words in str(told.value)
