"""The measures of benchmarks/truth.py on curves made by hand."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from rtau.errors import InputError

_SPEC = importlib.util.spec_from_file_location("truth_benchmark",
                                               Path(__file__).resolve().parents[2] / "benchmarks" / "truth.py")
bench = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = bench
_SPEC.loader.exec_module(bench)


def smile(t):
    """Rises, lasts and fades twice; intensity 0..4."""
    def bump(start, height):
        return height * (1 / (1 + np.exp(-12 * (t - start))) - 1 / (1 + np.exp(-12 * (t - start - 1.5))))
    return bump(1.0, 4.0) + bump(4.5, 3.0)


def at_rate(hertz, seconds=8):
    return np.arange(seconds * hertz) / hertz


@pytest.mark.parametrize("frames", [0, 1, 3, 8, -2])
@pytest.mark.parametrize("hertz", [25, 30, 50])
def test_a_delayed_copy_has_exactly_that_delay(hertz, frames):
    t = at_rate(hertz)
    assert bench.delay(t, smile(t), smile(t - frames / hertz)) == pytest.approx(frames / hertz, abs=1e-4)


@pytest.mark.parametrize("late", [0.011, 0.047, 0.1234, -0.02])
def test_delays_between_frames_are_found(late):
    t = at_rate(30)
    assert bench.delay(t, smile(t), smile(t - late)) == pytest.approx(late, abs=1.5e-3)


def test_a_delay_does_not_depend_on_scale_noise_or_uneven_times():
    rng = np.random.default_rng(0)
    t = np.cumsum(rng.uniform(0.02, 0.05, 240))
    late = 0.5 * smile(t - 0.08) + 1 + rng.normal(0, 0.05, len(t))
    assert bench.delay(t, smile(t), late) == pytest.approx(0.08, abs=0.006)


def test_unknown_frames_take_no_part_in_a_delay():
    t = at_rate(50)
    truth, output = smile(t), smile(t - 0.1)
    truth[60:75], output[200:230], output[10] = np.nan, np.nan, np.nan
    assert bench.delay(t, truth, output) == pytest.approx(0.1, abs=1e-4)


def test_where_no_delay_can_be_told_there_is_none():
    t = at_rate(30)
    noise = np.random.default_rng(1).normal(0, 1, len(t))
    assert np.isnan(bench.delay(t, np.zeros(len(t)), smile(t)))  # the truth does not move
    assert np.isnan(bench.delay(t, smile(t), np.full(len(t), 2.0)))
    assert np.isnan(bench.delay(t, smile(t), noise))
    assert np.isnan(bench.delay(t, smile(t), np.full(len(t), np.nan)))
    assert np.isnan(bench.delay(t, smile(t), smile(t - 0.9)))  # later than is looked for


def test_crossings_lie_between_frames():
    t = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert bench.crossings(t, np.array([0, 1.0, 3.0, 3.0, 1.0, 4.0])) == pytest.approx([0.15, 0.4 + 0.1 / 3])
    assert bench.crossings(t, np.array([3.0, 3, 3, 1, 1, 1])).tolist() == []  # it was above before
    wobble = np.array([1.0, 2.2, 1.9, 2.2, 1.8, 2.4])
    assert len(bench.crossings(t, wobble)) == 1  # it must fall by more to count again
    gap = np.array([1.0, np.nan, 3.0, 3, 3, 3])
    assert bench.crossings(t, gap) == pytest.approx([0.1])
    assert bench.crossings(np.array([0.0, 5.0, 5.1]), np.array([1.0, 3.0, 3.0])).tolist() == []  # unseen when


def test_onsets_find_their_partners():
    truth, output = np.array([1.0, 3.0, 5.0]), np.array([0.9, 1.1, 3.05, 9.0])
    delays = bench.match(truth, output)
    assert delays == pytest.approx([-0.1, 0.05]) or delays == pytest.approx([0.1, 0.05])
    assert bench.match(np.array([1.0]), np.array([1.69])) == pytest.approx([0.69])
    for far in (1.71, 0.6):
        assert len(bench.match(np.array([1.0]), np.array([far]))) == 0
    assert len(bench.match(np.array([1.0, 1.1]), np.array([1.2]))) == 1  # each is used once
    assert len(bench.match(np.zeros(0), output)) == 0
    t = at_rate(30)
    late = bench.match(bench.crossings(t, smile(t)), bench.crossings(t, smile(t - 4 / 30)))
    assert late == pytest.approx([4 / 30] * 2)


def test_jitter_is_what_moves_while_the_truth_does_not():
    t = at_rate(100)
    truth, noise = smile(t), np.random.default_rng(2).normal(0, 0.2, len(t))
    assert bench.jitter(t, truth, truth + noise) == pytest.approx(0.2, rel=0.1)
    assert bench.jitter(t, truth, truth + 1.5) < 0.03  # an offset is no jitter
    assert bench.jitter(t, truth, smile(t - 0.1)) < 0.05  # nor is coming late
    assert np.isnan(bench.jitter(t, 4 * np.sin(5 * t), noise))  # never constant
    assert np.isnan(bench.jitter(t, truth, np.full(len(t), np.nan)))


def test_steady_spans_leave_out_unknown_frames_and_the_settling():
    t = at_rate(10, 4)
    values = np.where(t < 2, 0.0, 3.0)
    values[5] = np.nan
    assert bench.steady_spans(t, values) == [slice(10, 20), slice(24, 40)]


def test_landmarks_are_measured_by_the_eyes():
    truth = np.zeros((2, 68, 2))
    truth[:, 45, 0] = 50
    output = truth + np.array([3.0, 4.0])
    output[1] = np.nan
    error = bench.landmark_error(truth, output)
    assert error[0] == pytest.approx(10) and np.isnan(error[1])


def rows(t, intensity, points=None):
    known = {12: intensity, 4: np.zeros(len(t))}
    chance = {au: np.where(np.isnan(v), np.nan, (v >= 1).astype(float)) for au, v in known.items()}
    marks = np.random.default_rng(0).uniform(0, 100, (68, 2))
    return bench.Rows(t, known, known, chance, np.repeat(marks[None], len(t), 0), np.zeros((len(t), 3)))


def test_a_perfect_reader_gets_perfect_figures():
    t = at_rate(30)
    row = bench.au_row(12, rows(t, smile(t)), rows(t, smile(t)))
    assert row["MAE"] == row["onset"] == 0 and row["ICC"] == pytest.approx(1)
    assert row["F1"] == row["AUC"] == 1 and row["found"] == row["onsets"] == 2
    assert row["raw"] == row["smooth"] == pytest.approx(0, abs=0.1) and row["n"] == 240
    late = bench.au_row(12, rows(t, smile(t)), rows(t, smile(t - 0.1) + 0.25))
    assert late["MAE"] > 0.25 and late["F1"] < 1 and late["smooth"] == pytest.approx(100, abs=1)


def test_an_au_that_never_comes_has_no_figure_but_its_error():
    t = at_rate(30)
    row = bench.au_row(4, rows(t, smile(t)), rows(t, smile(t)))
    assert row["MAE"] == 0 and all(np.isnan(row[name]) for name in ("ICC", "F1", "AUC", "onset", "raw", "smooth"))
    text = bench.table(rows(t, smile(t)), rows(t, smile(t)))
    assert len({len(line) for line in text.splitlines()[:3]}) == 1 and "face found in 240 of 240" in text
    nobody = rows(t, np.full(len(t), np.nan))
    nobody.points[:], nobody.pose[:], nobody.intensity[4][:] = np.nan, np.nan, np.nan
    assert "face found in 0 of 240" in bench.table(rows(t, smile(t)), nobody)


def test_several_clips_count_as_one_without_running_together():
    t = at_rate(30)
    joined = bench.Rows.join([rows(t, smile(t))] * 3)
    assert len(joined.times) == 720 and np.diff(joined.times).max() > 5
    assert len(bench.crossings(joined.times, joined.intensity[12])) == 6
    assert bench.delay(joined.times, joined.intensity[12], bench.Rows.join(
        [rows(t, smile(t - 0.1))] * 3).intensity[12]) == pytest.approx(0.1, abs=1e-4)


def test_blinks_count_as_closed_eyes_for_who_does_not_tell_them_apart():
    t = np.arange(4) / 30
    tables = {43: np.array([0, 0, 3.0, np.nan]), 45: np.array([0, 4.0, 0, np.nan])}
    truth = bench.Rows(t, tables, tables, tables, np.zeros((4, 68, 2)), np.zeros((4, 3)))
    merged = bench.closures_together(truth)
    assert merged.intensity[43][:3].tolist() == [0, 4, 3] and np.isnan(merged.intensity[43][3])
    assert 45 not in merged.intensity and 45 in truth.intensity


def test_a_missing_or_foreign_truth_is_told_in_one_line(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    for name in ("x.csv", "y.csv"):
        with pytest.raises(InputError, match=name) as told:
            bench.read_truth(tmp_path / name)
        assert "\n" not in str(told.value)


def test_the_truth_of_a_clip_is_read_back(tmp_path):
    from test_clip import SCRIPT, SIZE, Painter, Person

    from rtau_train.puppet.clip import make_clip

    clip = make_clip(Person, Painter(), SCRIPT, tmp_path / "clip.mp4", size=SIZE)
    truth = bench.read_truth(clip.truth)
    assert len(truth.times) == clip.frames and truth.points.shape == (clip.frames, 68, 2)
    assert truth.points[4, 5].tolist() == [20, 5] and truth.pose.shape == (clip.frames, 3)
    assert np.isnan(truth.intensity[12]).any() and not np.isnan(truth.performed[12]).any()
    assert truth.performed[12].max() == pytest.approx(3.2, abs=1e-3)
    # A painted wall shows no face: the reader says so and does not fail.
    output, _ = bench.read_output(clip.video, truth, "one-euro")
    assert np.isnan(output.pose).all() and output.times == pytest.approx(truth.times, abs=1e-3)
    shorter = bench.Rows(truth.times[:-1], {}, {}, {}, truth.points[:-1], truth.pose[:-1])
    with pytest.raises(InputError, match="do not belong together"):
        bench.read_output(clip.video, shorter, "off")
