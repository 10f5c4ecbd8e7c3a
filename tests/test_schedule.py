"""The simulated schedule of a fleet against what can be worked out on paper."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.schedule import Fleet, draw_lengths, measured_speed, orders, pieces, simulate
from rtau.bench.report import Column, Report, Table, keep_report

LENGTHS = st.lists(st.floats(0.01, 5), min_size=1, max_size=60).map(np.array)


@pytest.mark.parametrize(("files", "machines", "workers", "rounds"), [(12, 3, 1, 4), (13, 3, 1, 5), (12, 2, 3, 2)])
def test_equal_files_go_in_rounds(files, machines, workers, rounds):
    fleet = Fleet(machines, workers, rate=2.0)
    outcome = simulate(np.full(files, 0.5), fleet, overhead=0.05)
    assert outcome.hours == pytest.approx(rounds * (0.25 + 0.05))
    assert outcome.useful == pytest.approx(files * 0.3)
    assert (outcome.lost, outcome.attempts, outcome.begun) == (0, 1, files)


@given(LENGTHS, st.integers(1, 8))
@settings(derandomize=True, deadline=None, max_examples=100)
def test_no_order_is_worse_than_grahams_bound(lengths, machines):
    for order in orders(0.5).values():
        given_out = order(lengths)
        outcome = simulate(given_out, Fleet(machines))
        least = max(given_out.sum() / machines, given_out.max())
        assert least - 1e-9 <= outcome.hours
        assert outcome.hours <= given_out.sum() / machines + (1 - 1 / machines) * given_out.max() + 1e-9


@given(LENGTHS, st.integers(1, 5), st.integers(1, 3), st.floats(0.05, 1), st.integers(0, 1000))
@settings(derandomize=True, deadline=None, max_examples=100)
def test_whatever_is_taken_away_each_file_is_done_once(lengths, machines, workers, taken, seed):
    lengths = np.minimum(lengths, 2)
    outcome = simulate(lengths, Fleet(machines, workers, rate=2.0, taken=taken, back=0.2), seed=seed)
    assert outcome.useful == pytest.approx(lengths.sum() / 2)
    assert outcome.begun >= len(lengths)
    assert (outcome.begun > len(lengths)) == (outcome.attempts > 1) == (outcome.lost > 0)
    assert outcome.useful + outcome.lost <= outcome.paid * workers + 1e-6


def test_files_are_begun_anew_as_often_as_theory_says():
    # A file of length L, on machines that go at rate r and are replaced at once, takes (exp(r L) - 1) / r on average.
    length, rate, files = 0.5, 1.0, 20_000
    outcome = simulate(np.full(files, length), Fleet(1, taken=rate, back=0.0), seed=3)
    assert outcome.hours / files == pytest.approx((math.exp(rate * length) - 1) / rate, rel=0.03)


def test_time_in_which_a_machine_is_gone_is_not_paid():
    fleet = Fleet(1, taken=1.0, back=1.0)
    outcome = simulate(np.full(2000, 0.1), fleet, seed=1)
    assert outcome.hours == pytest.approx(2 * outcome.paid, rel=0.1)  # here for an hour, gone for an hour
    assert outcome.paid == pytest.approx(outcome.useful + outcome.lost)


def test_a_straggler_takes_longer_and_is_given_less():
    plain = simulate(np.full(400, 0.1), Fleet(20), seed=5)
    slowed = simulate(np.full(400, 0.1), Fleet(20, slow=0.2, slowness=4.0), seed=5)
    speeds = Fleet(20, slow=0.2, slowness=4.0).speeds(np.random.default_rng([5, 0]))
    assert set(speeds) == {1.0, 0.25}
    ideal = 40 / speeds.sum()
    assert plain.hours < ideal <= slowed.hours <= ideal + 0.1 / speeds.min()


def test_long_videos_first_leave_a_shorter_tail():
    lengths = draw_lengths(2000, 1 / 3, 1.0, np.random.default_rng(0))
    fleet = Fleet(100, rate=3.0)
    found, first, cut = (simulate(order(lengths), fleet) for order in orders(1 / 6).values())
    assert found.tail > first.tail >= 0
    assert cut.hours <= first.hours <= found.hours


def test_pieces_hold_all_and_are_short_enough():
    lengths = np.array([0.2, 0.5, 1.3])
    cut = pieces(lengths, 0.5)
    assert cut.sum() == pytest.approx(lengths.sum())
    assert cut.max() <= 0.5
    assert len(cut) == 5


def test_drawn_lengths_sum_to_what_was_asked():
    lengths = draw_lengths(5000, 0.25, 0.8, np.random.default_rng(2))
    assert lengths.sum() == pytest.approx(5000)
    assert np.median(lengths) == pytest.approx(0.25, rel=0.05)


def test_the_speed_is_that_of_the_report(tmp_path):
    kept = tmp_path / "bench.json"
    rate, alone = Column("frames/s"), Column("decode alone, frames/s")
    keep_report(Report({"rtau": "0"}, (
        Table("pipeline", "", "what", (rate,), (("decode alone", (600.0,)), ("to a table", (91.5,)))),
        Table("resolutions", "", "size", (alone, rate), (("480x360", (500.0, 95.0)), ("960x720", (250.0, 74.0)))))), kept)
    assert measured_speed(kept) == 91.5
    assert measured_speed(kept, "960x720") == 74.0
    with pytest.raises(SystemExit, match="no speed for '1x1'"):
        measured_speed(kept, "1x1")


@pytest.mark.parametrize("lengths", [[], [0.0, 1.0], [-1.0], [math.nan]])
def test_lengths_must_be_hours(lengths):
    with pytest.raises(ValueError, match="hours"):
        simulate(np.array(lengths), Fleet(1))
