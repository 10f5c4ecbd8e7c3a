"""Smoothing: steadier where still, quick where fast, never inventing values."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rtau.errors import UsageError
from rtau.smooth import GAP, HOLD, Smoother
from rtau.types import Faces, Frame, Scores

AUS = (1, 12, 43)
IMAGE = np.zeros((4, 4, 3), np.uint8)


def scores_of(presence, ids=(0,), assessable=None) -> Scores:
    presence = np.atleast_2d(np.asarray(presence, np.float32))
    n = len(presence)
    faces = Faces(np.zeros((n, 4), np.float32), np.ones(n, np.float32), np.asarray(ids, np.int64),
                  np.zeros((n, 68, 2), np.float32), np.zeros((n, 3), np.float32))
    judged = np.ones((n, len(AUS)), bool) if assessable is None else np.atleast_2d(assessable)
    presence = np.where(judged, presence, np.nan)
    return Scores(AUS, faces, presence, presence * 5, np.zeros((n, len(AUS)), bool), judged, np.ones(n, np.float32))


def run(smoother: Smoother, series, fps=30.0):
    return [smoother(Frame(IMAGE, i / fps, i), scores_of(p)) for i, p in enumerate(series)]


def test_noise_shrinks_and_the_mean_stays():
    rng = np.random.default_rng(0)
    noisy = np.clip(0.5 + rng.normal(0, 0.08, (300, 3)), 0, 1)
    smooth = np.array([s.presence[0] for s in run(Smoother(AUS), noisy)])
    assert (smooth[60:, :2].std(0) < 0.5 * noisy[60:, :2].std(0)).all()
    assert np.allclose(smooth[60:].mean(0), noisy[60:].mean(0), atol=0.03)


def test_lids_are_smoothed_less_than_brows():
    step = np.repeat([[0.0] * 3, [1.0] * 3], 15, axis=0)
    smooth = np.array([s.presence[0] for s in run(Smoother(AUS), step)])
    assert smooth[16, AUS.index(43)] > smooth[16, AUS.index(1)]
    assert smooth[-1].min() > 0.95


def test_off_changes_nothing_and_keeps_raw():
    series = np.random.default_rng(1).uniform(0, 1, (5, 3)).astype(np.float32)
    for result, given_ in zip(run(Smoother(AUS, "off"), series), series, strict=True):
        assert np.array_equal(result.presence[0], given_)
        assert np.array_equal(result.present[0], given_ >= 0.5)
        assert result.raw is not None and np.array_equal(result.raw.presence[0], given_)


def test_presence_does_not_flicker_around_the_threshold():
    flicker = np.tile([[0.52] * 3, [0.48] * 3], (30, 1))
    raw_switches = np.diff(flicker[:, 1] >= 0.5).sum()
    present = np.array([s.present[0, 1] for s in run(Smoother(AUS), flicker)])
    assert raw_switches > 50 and np.abs(np.diff(present.astype(int))).sum() <= 1


def test_switches_are_apart_by_the_hold_time():
    series = np.tile(np.repeat([[0.0] * 3, [1.0] * 3], 2, axis=0), (20, 1))  # 15 Hz square wave
    present = np.array([s.present[0, 2] for s in run(Smoother(AUS), series)]).astype(int)
    changes = np.flatnonzero(np.diff(present)) / 30
    assert (np.diff(changes) >= HOLD - 1e-6).all()


def test_a_gap_starts_anew():
    smoother = Smoother(AUS)
    smoother(Frame(IMAGE, 0.0, 0), scores_of([1.0, 1.0, 1.0]))
    after = smoother(Frame(IMAGE, GAP + 0.1, 1), scores_of([0.0, 0.0, 0.0]))
    assert np.array_equal(after.presence[0], [0, 0, 0]) and not after.present.any()


def test_time_going_back_starts_anew():
    smoother = Smoother(AUS)
    smoother(Frame(IMAGE, 5.0, 0), scores_of([1.0, 1.0, 1.0]))
    after = smoother(Frame(IMAGE, 1.0, 1), scores_of([0.0, 0.0, 0.0]))
    assert np.array_equal(after.presence[0], [0, 0, 0])


def test_stills_are_independent():
    smoother = Smoother(AUS)
    smoother(Frame(IMAGE, 0.0, 0, still=True), scores_of([1.0, 1.0, 1.0]))
    after = smoother(Frame(IMAGE, 0.0, 1, still=True), scores_of([0.2, 0.2, 0.2]))
    assert np.allclose(after.presence[0], 0.2)


def test_not_assessable_stays_nan_and_comes_back_clean():
    smoother = Smoother(AUS)
    smoother(Frame(IMAGE, 0.0, 0), scores_of([0.9, 0.9, 0.9]))
    hidden = smoother(Frame(IMAGE, 0.03, 1), scores_of([0.9, 0.9, 0.9], assessable=[True, False, True]))
    assert np.isnan(hidden.presence[0, 1]) and np.isnan(hidden.intensity[0, 1]) and not hidden.present[0, 1]
    back = smoother(Frame(IMAGE, 0.06, 2), scores_of([0.9, 0.9, 0.9]))
    assert np.allclose(back.presence[0], 0.9, atol=1e-5)


def test_first_value_after_unknown_is_taken_as_it_is():
    smoother = Smoother(AUS)
    smoother(Frame(IMAGE, 0.0, 0), scores_of([0.5, 0.5, 0.5], assessable=[False, False, False]))
    first = smoother(Frame(IMAGE, 0.03, 1), scores_of([0.8, 0.1, 0.8]))
    assert np.allclose(first.presence[0], [0.8, 0.1, 0.8])


def test_faces_do_not_mix():
    smoother = Smoother(AUS)
    for i in range(10):
        both = scores_of([[1.0] * 3, [0.0] * 3], ids=(4, 9))
        result = smoother(Frame(IMAGE, i / 30, i), both)
        swapped = smoother(Frame(IMAGE, (i + 0.5) / 30, i), scores_of([[0.0] * 3, [1.0] * 3], ids=(9, 4)))
    assert np.allclose(result.presence, [[1] * 3, [0] * 3]) and np.allclose(swapped.presence, [[0] * 3, [1] * 3])


def test_many_faces_over_time_leave_no_memory_behind():
    smoother = Smoother(AUS)
    for i in range(500):
        smoother(Frame(IMAGE, i * 0.2, i), scores_of([0.5] * 3, ids=(i,)))
    assert len(smoother._states) < 10


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0.0, 0.3), st.floats(0, 1)), min_size=1, max_size=40))
@example([(0.0, 0.0), (5e-324, 1.0)])
@example([(0.0, 0.0), (1e-7, 1.0), (1e-6, 0.0)])
def test_values_stay_within_what_was_seen(steps):
    smoother, time, seen = Smoother(AUS), 0.0, []
    for i, (dt, p) in enumerate(steps):
        time += dt
        seen.append(np.float32(p))
        result = smoother(Frame(IMAGE, time, i), scores_of([p] * 3))
        assert min(seen) - 1e-5 <= result.presence.min() and result.presence.max() <= max(seen) + 1e-5


def test_unknown_method_is_one_line():
    with pytest.raises(UsageError, match="one-euro"):
        Smoother(AUS, "kalman")
