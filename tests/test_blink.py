"""Blinks and closed eyes."""

import numpy as np
import pytest

from rtau.blink import LONGEST, Blinks
from rtau.types import Faces, Frame, Scores

AUS = (12, 43)
IMAGE = np.zeros((4, 4, 3), np.uint8)


def scores_of(*chances, ids=None) -> Scores:
    """Faces whose eyes are closed with these chances; NaN: nobody can tell."""
    n = len(chances)
    faces = Faces(np.zeros((n, 4), np.float32), np.ones(n, np.float32), np.array(ids or range(n), np.int64),
                  np.zeros((n, 68, 2), np.float32), np.zeros((n, 3), np.float32))
    presence = np.stack([np.full(n, 0.25), chances], 1).astype(np.float32)
    scores = Scores(AUS, faces, presence, presence * 5, np.nan_to_num(presence) >= 0.5, ~np.isnan(presence),
                    np.ones(n, np.float32))
    return Scores(**{**vars(scores), "raw": scores})


def run(chances, fps=30.0, still=False):
    """(43, 45) of presence, frame by frame, of one face."""
    blinks = Blinks()
    results = [blinks(Frame(IMAGE, i / fps, i, still=still), scores_of(c)) for i, c in enumerate(chances)]
    assert all(r.aus == (12, 43, 45) for r in results)
    return np.array([r.presence[0, 1:] for r in results]), results


def test_a_short_closure_is_a_blink_and_nothing_else():
    course = [0, 0.1, 0.6, 0.95, 0.9, 0.5, 0.1, 0]
    told, results = run(course)
    assert np.allclose(told.sum(1), course)
    assert told[2:6, 0].max() == 0 and told[2:6, 1].max() == pytest.approx(0.95)
    assert [bool(r.present[0, 2]) for r in results] == [c >= 0.5 for c in course]
    assert not any(r.present[0, 1] for r in results)


def test_after_half_a_second_the_eyes_are_closed_until_they_open():
    told, _ = run([0.0] * 3 + [1.0] * 60 + [0.0] * 3)
    shut = told[3:63]
    first = int(np.argmax(shut[:, 0] > 0))
    assert first / 30 == pytest.approx(LONGEST, abs=1.5 / 30)
    assert (shut[:first, 1] == 1).all() and (shut[first:, 0] == 1).all() and (shut[first:, 1] == 0).all()
    again, _ = run([1.0] * 30 + [0.0] * 3 + [1.0] * 3)
    assert (again[-3:, 1] == 1).all(), "what comes after they opened is a blink again"


def test_what_lies_between_does_not_switch_to_and_fro():
    told, _ = run([0.5] + [0.29, 0.21] * 30)
    switches = np.abs(np.diff((told[:, 0] > 0).astype(int))).sum()
    assert switches == 1, "shut by hysteresis, and closed after half a second"


def test_other_columns_and_raw_values_keep_their_places():
    result = Blinks()(Frame(IMAGE, 0.0, 0), scores_of(0.9, np.nan))
    assert np.allclose(result.presence[:, 0], 0.25)
    assert np.array_equal(result.raw.presence, result.presence, equal_nan=True) and result.raw.aus == result.aus
    assert np.isnan(result.presence[1, 1:]).all() and not result.assessable[1, 1:].any()
    assert result.intensity[0].tolist() == [1.25, 0.0, 4.5] and result.assessable[0].all()


def test_faces_have_lids_of_their_own_and_those_that_left_start_anew():
    blinks = Blinks()
    for i in range(30):
        result = blinks(Frame(IMAGE, i / 30, i), scores_of(0.9, 0.9 if i > 25 else 0.0, ids=[7, 8]))
    assert result.presence[:, 1].tolist() == pytest.approx([0.9, 0.0]) and result.presence[1, 2] == pytest.approx(0.9)
    result = blinks(Frame(IMAGE, 9.0, 270), scores_of(0.9, ids=[7]))
    assert result.presence[0].tolist() == pytest.approx([0.25, 0.0, 0.9])


def test_a_still_picture_shows_closed_eyes_and_no_blink():
    told, results = run([0.9], still=True)
    assert told[0, 0] == pytest.approx(0.9) and np.isnan(told[0, 1])
    assert results[0].present[0].tolist() == [False, True, False] and not results[0].assessable[0, 2]


def test_nobody_there():
    assert Blinks()(Frame(IMAGE, 0.0, 0), Scores.none(AUS)).aus == (12, 43, 45)
