"""Measures of clips with truth, on curves made by hand and on a clip."""

import numpy as np
import pytest

from rtau.analyze import Analyzer
from rtau.errors import InputError
from rtau_train.figures.report import Settings
from rtau_train.suite import timing
from rtau_train.suite.movement import au_row, blinks_of, movement_figures
from rtau_train.suite.recordings import Recording, closures_together, landmark_error, read_output, read_truth
from rtau_train.suite.tables import movement_sheets

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
    assert timing.delay(t, smile(t), smile(t - frames / hertz)) == pytest.approx(frames / hertz, abs=1e-4)


@pytest.mark.parametrize("late", [0.011, 0.047, 0.1234, -0.02])
def test_delays_between_frames_are_found(late):
    t = at_rate(30)
    assert timing.delay(t, smile(t), smile(t - late)) == pytest.approx(late, abs=1.5e-3)


def test_a_delay_does_not_depend_on_scale_noise_or_uneven_times():
    rng = np.random.default_rng(0)
    t = np.cumsum(rng.uniform(0.02, 0.05, 240))
    late = 0.5 * smile(t - 0.08) + 1 + rng.normal(0, 0.05, len(t))
    assert timing.delay(t, smile(t), late) == pytest.approx(0.08, abs=0.006)


def test_unknown_frames_take_no_part_in_a_delay():
    t = at_rate(50)
    truth, output = smile(t), smile(t - 0.1)
    truth[60:75], output[200:230], output[10] = np.nan, np.nan, np.nan
    assert timing.delay(t, truth, output) == pytest.approx(0.1, abs=1e-4)


def test_where_no_delay_can_be_told_there_is_none():
    t = at_rate(30)
    noise = np.random.default_rng(1).normal(0, 1, len(t))
    assert np.isnan(timing.delay(t, np.zeros(len(t)), smile(t)))  # the truth does not move
    assert np.isnan(timing.delay(t, smile(t), np.full(len(t), 2.0)))
    assert np.isnan(timing.delay(t, smile(t), noise))
    assert np.isnan(timing.delay(t, smile(t), np.full(len(t), np.nan)))
    assert np.isnan(timing.delay(t, smile(t), smile(t - 0.9)))  # later than is looked for


def test_crossings_lie_between_frames():
    t = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert timing.crossings(t, np.array([0, 1.0, 3.0, 3.0, 1.0, 4.0])) == pytest.approx([0.15, 0.4 + 0.1 / 3])
    assert timing.crossings(t, np.array([3.0, 3, 3, 1, 1, 1])).tolist() == []  # it was above before
    wobble = np.array([1.0, 2.2, 1.9, 2.2, 1.8, 2.4])
    assert len(timing.crossings(t, wobble)) == 1  # it must fall by more to count again
    gap = np.array([1.0, np.nan, 3.0, 3, 3, 3])
    assert timing.crossings(t, gap) == pytest.approx([0.1])
    assert timing.crossings(np.array([0.0, 5.0, 5.1]), np.array([1.0, 3.0, 3.0])).tolist() == []  # unseen when


def test_onsets_find_their_partners():
    truth, output = np.array([1.0, 3.0, 5.0]), np.array([0.9, 1.1, 3.05, 9.0])
    delays = timing.match(truth, output)
    assert delays == pytest.approx([-0.1, 0.05]) or delays == pytest.approx([0.1, 0.05])
    assert timing.match(np.array([1.0]), np.array([1.69])) == pytest.approx([0.69])
    for far in (1.71, 0.6):
        assert len(timing.match(np.array([1.0]), np.array([far]))) == 0
    assert len(timing.match(np.array([1.0, 1.1]), np.array([1.2]))) == 1  # each is used once
    assert len(timing.match(np.zeros(0), output)) == 0
    t = at_rate(30)
    late = timing.match(timing.crossings(t, smile(t)), timing.crossings(t, smile(t - 4 / 30)))
    assert late == pytest.approx([4 / 30] * 2)


def test_jitter_is_what_moves_while_the_truth_does_not():
    t = at_rate(100)
    truth, noise = smile(t), np.random.default_rng(2).normal(0, 0.2, len(t))
    assert timing.jitter(t, truth, truth + noise) == pytest.approx(0.2, rel=0.1)
    assert timing.jitter(t, truth, truth + 1.5) < 0.03  # an offset is no jitter
    assert timing.jitter(t, truth, smile(t - 0.1)) < 0.05  # nor is coming late
    assert np.isnan(timing.jitter(t, 4 * np.sin(5 * t), noise))  # never constant
    assert np.isnan(timing.jitter(t, truth, np.full(len(t), np.nan)))


def test_steady_spans_leave_out_unknown_frames_and_the_settling():
    t = at_rate(10, 4)
    values = np.where(t < 2, 0.0, 3.0)
    values[5] = np.nan
    assert timing.steady_spans(t, values) == [slice(10, 20), slice(24, 40)]


def test_landmarks_are_measured_by_the_eyes():
    truth = np.zeros((2, 68, 2))
    truth[:, 45, 0] = 50
    output = truth + np.array([3.0, 4.0])
    output[1] = np.nan
    error = landmark_error(truth, output)
    assert error[0] == pytest.approx(10) and np.isnan(error[1])


def rows(t, intensity, points=None):
    known = {12: intensity, 4: np.zeros(len(t))}
    chance = {au: np.where(np.isnan(v), np.nan, (v >= 1).astype(float)) for au, v in known.items()}
    marks = np.random.default_rng(0).uniform(0, 100, (68, 2))
    return Recording(t, known, known, chance, np.repeat(marks[None], len(t), 0), np.zeros((len(t), 3)))


def test_a_perfect_reader_gets_perfect_figures():
    t = at_rate(30)
    row = au_row(12, rows(t, smile(t)), rows(t, smile(t)))
    assert row.mae == row.onset == 0 and row.icc == pytest.approx(1)
    assert row.f1 == row.auc == 1 and row.found == row.onsets == 2
    assert row.raw == row.smooth == pytest.approx(0, abs=0.1) and row.frames == 240
    late = au_row(12, rows(t, smile(t)), rows(t, smile(t - 0.1) + 0.25))
    assert late.mae > 0.25 and late.f1 < 1 and late.smooth == pytest.approx(100, abs=1)


def test_an_au_that_never_comes_has_no_figure_but_its_error():
    t = at_rate(30)
    row = au_row(4, rows(t, smile(t)), rows(t, smile(t)))
    assert row.mae == 0 and all(np.isnan(getattr(row, name)) for name in ("icc", "f1", "auc", "onset", "raw", "smooth"))


def figures_of(truths, outputs, still=False):
    count = len(truths)
    return movement_figures(truths, outputs, [f"p{i}" for i in range(count)], [still] * count, "off", Settings(50))


def test_figures_of_clips_say_where_the_face_was_and_how_far_off():
    t = at_rate(30)
    truth, output = rows(t, smile(t)), rows(t, smile(t))
    output.points[:] += 3.0, 4.0
    output.pose[:, 0] += np.radians(2)
    output.points[:10], output.pose[:10] = np.nan, np.nan
    m = figures_of([truth, truth], [output, output])
    assert (m.clips, m.frames, m.found) == (2, 480, 460) and m.pixels == pytest.approx(5)
    assert m.pose == pytest.approx((2, 0, 0)) and m.lean == pytest.approx((2, 0, 0)) and np.isnan(m.shake)
    assert m.report is not None and m.report.labels[0].figures["auc"].low == 1
    table, where = movement_sheets(m)
    assert table.rows[0][:2] == ("AU12", "1.00 1.0–1.0") and table.rows[0][5] == "4/4"
    assert ("face found, frames", "460 of 480") in where.rows


def test_a_clip_without_a_face_has_figures_all_the_same():
    t = at_rate(30)
    nobody = rows(t, np.full(len(t), np.nan))
    nobody.points[:], nobody.pose[:], nobody.intensity[4][:] = np.nan, np.nan, np.nan
    nobody.presence[4][:] = np.nan
    m = figures_of([rows(t, smile(t))], [nobody])
    assert m.found == 0 and m.report is None and np.isnan(m.pixels) and np.isnan(m.aus[0].auc)
    assert movement_sheets(m)[1].rows[0] == ("face found, frames", "0 of 240")


def test_a_still_face_tells_how_much_points_and_intensities_shake():
    rng, t = np.random.default_rng(3), at_rate(30, 3)
    truth, output = rows(t, np.full(len(t), 2.0)), rows(t, 2 + rng.normal(0, 0.1, len(t)))
    output.points[:] += rng.normal(0, 0.5, output.points.shape)
    m = figures_of([truth], [output], still=True)
    assert m.shake == pytest.approx(0.5 * 2**0.5, rel=0.05)
    assert m.aus[0].still == m.aus[0].jitter == pytest.approx(0.1, rel=0.2) and m.report is None


def test_blinks_are_counted_by_closures_that_come_when_they_come():
    t = at_rate(50, 6)

    def lids(*starts, depth=5.0):
        return sum(depth * np.exp(-((t - start) / 0.06) ** 2) for start in starts)

    nothing, where = np.zeros(len(t)), (np.zeros((len(t), 68, 2)), np.zeros((len(t), 3)))
    closed = np.where((t > 4.5) & (t < 5.5), 5.0, 0.0)
    tables = {43: closed, 45: lids(1.0, 2.0, 3.0)}
    truth = Recording(t, tables, tables, tables, *where)
    said = {43: np.fmax(lids(1.05, 2.0, 3.8), closed)}
    assert blinks_of(truth, Recording(t, said, said, said, *where)) == (3, 2, 1)
    apart = {43: closed, 45: lids(1.05, 2.0, 3.8)}
    assert blinks_of(truth, Recording(t, apart, apart, apart, *where)) == (3, 2, 1)
    without = {12: nothing}
    assert blinks_of(Recording(t, without, without, without, *where), truth) == (0, 0, 0)


def test_several_clips_count_as_one_without_running_together():
    t = at_rate(30)
    joined = Recording.join([rows(t, smile(t))] * 3)
    assert len(joined.times) == 720 and np.diff(joined.times).max() > 5
    assert len(timing.crossings(joined.times, joined.intensity[12])) == 6
    assert timing.delay(joined.times, joined.intensity[12], Recording.join(
        [rows(t, smile(t - 0.1))] * 3).intensity[12]) == pytest.approx(0.1, abs=1e-4)


def test_blinks_count_as_closed_eyes_for_who_does_not_tell_them_apart():
    t = np.arange(4) / 30
    tables = {43: np.array([0, 0, 3.0, np.nan]), 45: np.array([0, 4.0, 0, np.nan])}
    truth = Recording(t, tables, tables, tables, np.zeros((4, 68, 2)), np.zeros((4, 3)))
    merged = closures_together(truth)
    assert merged.intensity[43][:3].tolist() == [0, 4, 3] and np.isnan(merged.intensity[43][3])
    assert 45 not in merged.intensity and 45 in truth.intensity


def test_a_missing_or_foreign_truth_is_told_in_one_line(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    for name in ("x.csv", "y.csv"):
        with pytest.raises(InputError, match=name) as told:
            read_truth(tmp_path / name)
        assert "\n" not in str(told.value)


def test_the_truth_of_a_clip_is_read_back(tmp_path):
    from test_clip import SCRIPT, SIZE, Painter, Person

    from rtau_train.puppet.clip import make_clip

    clip = make_clip(Person, Painter(), SCRIPT, tmp_path / "clip.mp4", size=SIZE)
    truth = read_truth(clip.truth)
    assert len(truth.times) == clip.frames and truth.points.shape == (clip.frames, 68, 2)
    assert truth.points[4, 5].tolist() == [20, 5] and truth.pose.shape == (clip.frames, 3)
    assert np.isnan(truth.intensity[12]).any() and not np.isnan(truth.performed[12]).any()
    assert truth.performed[12].max() == pytest.approx(3.2, abs=1e-3)
    # A painted wall shows no face: the reader says so and does not fail.
    output = read_output(clip.video, truth, Analyzer(backend="torch"))
    assert np.isnan(output.pose).all() and output.times == pytest.approx(truth.times, abs=1e-3)
    shorter = Recording(truth.times[:-1], {}, {}, {}, truth.points[:-1], truth.pose[:-1])
    with pytest.raises(InputError, match="do not belong together"):
        read_output(clip.video, shorter, Analyzer(backend="torch"))
