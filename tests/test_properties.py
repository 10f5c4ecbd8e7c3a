"""What must hold of any times, faces, values and tables, however odd."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_smooth import AUS, IMAGE, scores_of
from test_track import Oracle, Watcher, picture

from benchmarks.mutations import disorder
from rtau.blink import Blinks
from rtau.calibrate import Profile
from rtau.report import read_table
from rtau.sinks import COLUMN_GROUPS, open_table
from rtau.smooth import Smoother
from rtau.source import open_source
from rtau.tables import convert_table, open_table_file
from rtau.track import Tracker
from rtau.types import Faces, Frame, Scores
from rtau.video import Timeline

steady = settings(derandomize=True, deadline=None, max_examples=100)
few = settings(derandomize=True, deadline=None, max_examples=25)
#: For drawn scenes, in which every face is searched pixel by pixel.
fewest = settings(derandomize=True, deadline=None, max_examples=8)

# -- times -----------------------------------------------------------------------------------

STAMPS = st.none() | st.integers(-2**63, 2**63 - 1) | st.integers(-1000, 1000)
RATES = st.none() | st.fractions(Fraction(1, 2**31), 2**31).map(float) | st.sampled_from([-25.0, 1e300, 1e-300])


@steady
@given(st.lists(STAMPS, min_size=1, max_size=30), st.fractions(Fraction(1, 2**31), 2**31),
       st.none() | st.integers(-2**63, 2**63), RATES, st.floats(0, 1e9))
@example([0, 2**62, 0, None], Fraction(1), None, 25.0, 0.0)
@example([5, 4, 3], Fraction(1, 25), None, -25.0, 0.0)
def test_times_rise_whatever_the_stamps(stamps, base, origin, rate, begin):
    timeline = Timeline(base, origin, rate, begin)
    times = [timeline(stamp) for stamp in stamps]
    assert all(map(math.isfinite, times)) and all(before < after for before, after in pairwise(times))


@steady
@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=30), st.integers(-2**40, 2**40))
def test_rising_stamps_are_kept_as_they_are(steps, first):
    stamps = [first + sum(steps[:i]) for i in range(len(steps))]
    timeline = Timeline(Fraction(1, 90_000), first, 30.0)
    assert [timeline(stamp) for stamp in stamps] == pytest.approx([(stamp - first) / 90_000 for stamp in stamps])


@fewest
@given(st.lists(st.integers(1, 900), min_size=1, max_size=9), st.integers(0, 2**32), st.booleans())
def test_a_video_gives_each_frame_once_at_its_time(steps, seed, broken):
    """Variable rate; and with stamps in disorder, which no muxer writes, put in afterwards."""
    stamps = np.cumsum([0, *steps])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "v.mkv")
        with av.open(str(path), "w") as container:
            stream = container.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = 16, 16, "gray"
            stream.codec_context.time_base = Fraction(1, 1000)
            for number, stamp in enumerate(stamps.tolist()):
                frame = av.VideoFrame.from_ndarray(np.full((16, 16), 20 * number, np.uint8), format="gray")
                frame.pts, frame.time_base = stamp, Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        if broken:
            path.write_bytes(disorder(path.read_bytes(), np.random.default_rng(seed)))
        with open_source(path) as source:
            frames = list(source)
    seen = [int(frame.image[0, 0, 0]) // 20 for frame in frames]
    assert seen == [frame.index for frame in frames] == list(range(len(stamps)))
    times = [frame.time for frame in frames]
    assert all(before < after for before, after in pairwise(times))
    if not broken:
        assert times == pytest.approx(stamps / 1000)


@few
@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=20), st.booleans())
def test_no_frame_of_a_report_lasts_less_than_nothing(steps, still):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.csv")
        with open_table(path, AUS) as sink:
            for index, time in enumerate(np.cumsum(steps).tolist()):
                sink.write(Frame(IMAGE, 0.0 if still else time, index), scores_of([0.5] * 3))
        table = read_table(path)
    assert len(table.frames) == len(steps) and (table.durations >= 0).all() and np.isfinite(table.durations).all()
    assert (np.diff(table.times) >= 0).all() and (np.diff(table.ends) >= 0).all()


# -- tracking --------------------------------------------------------------------------------

DISCS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 319), st.integers(0, 239), st.integers(3, 40)), max_size=4,
                 unique_by=lambda disc: disc[0])


class Shuffled(Watcher):
    """The same boxes in another order each time."""

    def __call__(self, image):
        boxes, scores = super().__call__(image)
        order = np.random.default_rng(self.calls).permutation(len(boxes))
        return boxes[order], scores[order]


class Odd(Watcher):
    """Boxes that are none, among the others."""

    BAD = np.array([[np.nan] * 4, [np.inf, 0, 9, 9], [50, 50, 50, 50], [90, 90, 10, 10], [-1e9, -1e9, 1e9, 1e9],
                    [-500, -500, -400, -400], [1e30, 1e30, 2e30, 2e30], [10, 10, 10.5, 200]], np.float32)

    def __call__(self, image):
        boxes, scores = super().__call__(image)
        sure = np.ones(4, np.float32)
        return np.concatenate([self.BAD[::2], boxes, self.BAD[1::2]]), np.concatenate([sure, scores, sure])


def followed(steps: Sequence, detector: Watcher, *, most: int = 8) -> list[Faces]:
    tracker, time, found = Tracker(detector, Oracle(), max_faces=most), 0.0, []
    for i, (discs, passed) in enumerate(steps):
        time += passed
        found.append(tracker(Frame(picture(discs), time, i)))
    return found


@fewest
@given(st.lists(st.tuples(DISCS, st.floats(0, 2.5)), max_size=7))
def test_ids_are_never_given_twice_and_never_come_back(steps):
    memory, seen, times = 1.5, {}, np.cumsum([passed for _, passed in steps])
    for faces, now in zip(followed(steps, Watcher()), times, strict=True):
        ids = faces.ids.tolist()
        assert len(set(ids)) == len(ids)
        for face in ids:
            # A new one is the next number; an old one was here a moment ago.
            assert now - seen[face] <= memory + 2.5 if face in seen else face >= len(seen)
        seen |= dict.fromkeys(ids, now)
    assert sorted(seen) == list(range(len(seen)))


@fewest
@given(st.lists(st.tuples(DISCS, st.floats(0, 0.6)), max_size=5))
def test_the_order_of_the_boxes_changes_nothing(steps):
    for one, other in zip(followed(steps, Watcher()), followed(steps, Shuffled()), strict=True):
        np.testing.assert_array_equal(one.landmarks, other.landmarks)
        np.testing.assert_array_equal(one.ids, other.ids)


@fewest
@given(st.lists(st.tuples(DISCS, st.floats(0, 0.6)), max_size=5), st.integers(1, 3))
def test_boxes_that_are_none_break_nothing(steps, most):
    for faces, (discs, _) in zip(followed(steps, Odd(), most=most), steps, strict=True):
        assert np.isfinite(faces.boxes).all() and len(set(faces.ids.tolist())) == len(faces) <= min(most, len(discs))


@fewest
@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.01, 0.1)), min_size=5, max_size=12),
       st.integers(0, 5), st.integers(12, 40))
def test_a_face_alone_that_moves_slowly_keeps_its_id(moves, colour, radius):
    x, y, steps = 160.0, 120.0, []
    for dx, dy, passed in moves:
        x, y = min(max(x + dx * radius / 4, 45), 275), min(max(y + dy * radius / 4, 45), 195)
        steps.append(([(colour, x, y, radius)], passed))
    assert {tuple(faces.ids.tolist()) for faces in followed(steps, Watcher())} == {(0,)}


# -- smoothing -------------------------------------------------------------------------------

STEPS = st.floats(-2, 2) | st.sampled_from([0.0, 1e-300, 1e-7, 1e9, -1e9])
CHANCES = st.lists(st.floats(0, 1) | st.just(math.nan), min_size=3, max_size=3)


@steady
@given(st.lists(st.tuples(STEPS, st.booleans(), CHANCES, CHANCES), max_size=30), st.sampled_from(["one-euro", "off"]),
       st.floats(0.05, 20))
def test_smoothing_never_leaves_the_scale_nor_loses_a_value(steps, method, pace):
    smoother, blinks, time = Smoother(AUS, method), Blinks(), 0.0
    smoother.pace = pace
    for i, (passed, both, *rows) in enumerate(steps):
        time += passed
        rows = np.array(rows if both else rows[:1], np.float32)
        given_ = scores_of(rows, ids=range(len(rows)), assessable=~np.isnan(rows))
        made = smoother(Frame(IMAGE, time, i), given_)
        for scores in (made, blinks(Frame(IMAGE, time, i), made)):
            judged = scores.assessable
            assert np.isfinite(scores.presence[judged]).all() and np.isfinite(scores.intensity[judged]).all()
            assert np.isnan(scores.presence[~judged]).all() and not scores.present[~judged].any()
            assert (scores.presence[judged] >= 0).all() and (scores.presence[judged] <= 1).all()
            assert (scores.intensity[judged] >= 0).all() and (scores.intensity[judged] <= 5).all()
        np.testing.assert_array_equal(made.raw.presence, given_.presence)


# -- tables ----------------------------------------------------------------------------------

VALUES = st.floats(0, 1, width=32) | st.sampled_from([math.nan, 0.0, 1.0, 1e-9, 0.00005])
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8) | st.sampled_from(
    ['a, b.jpg', 'say "x".png', "two\nlines.jpg", "carriage\rreturn.jpg", "\r\n", "nan", "NaN", " ", "null", "ÄÖ 😀.jpg",
     "'", ";\t", '"', '""', "\ufeffx", "-"])
PIXELS = st.floats(-1e6, 1e6, width=32) | st.sampled_from([math.nan, -0.0, 1e30])


@st.composite
def any_scores(draw) -> Scores:
    """Up to three faces with whatever values."""
    count = draw(st.integers(0, 3))

    def array(values: st.SearchStrategy, *shape: int) -> np.ndarray:
        size = int(np.prod((count, *shape)))
        return np.array(draw(st.lists(values, min_size=size, max_size=size)), np.float32).reshape(count, *shape)

    presence, intensity, judged = array(VALUES, 3), 5 * array(VALUES, 3), array(st.booleans(), 3).astype(bool)
    ids = np.array(draw(st.lists(st.integers(0, 2**53), min_size=count, max_size=count, unique=True)), np.int64)
    # The points of a face come from one number: drawing 136 tells no more.
    faces = Faces(array(PIXELS, 4), array(st.floats(0, 1, width=32)), ids,
                  array(PIXELS, 1, 1).repeat(68, 1).repeat(2, 2), array(st.floats(-4, 4, width=32), 3))
    return Scores(AUS, faces, presence, intensity, (presence > 0.4) & judged, judged, array(VALUES))


FRAMES = st.lists(st.tuples(any_scores(), NAMES, st.floats(0, 1e7), st.integers(0, 2**50)), min_size=1, max_size=5)


@few
@given(FRAMES, st.booleans(), st.frozensets(st.sampled_from(sorted(COLUMN_GROUPS))))
def test_a_table_goes_through_all_formats_and_comes_back_the_same(frames, named, groups):
    with tempfile.TemporaryDirectory() as folder:
        first = before = Path(folder, "a.csv")
        with open_table(first, AUS, columns=groups, with_input=named) as sink:
            for scores, name, time, index in frames:
                sink.write(Frame(IMAGE, time, index, input=name), scores)
        for end in ("jsonl", "parquet", "csv"):
            after = Path(folder, f"b.{end}")
            done = convert_table(before, after)
            assert done.rows == sink.rows and not done.cut
            before = after
        assert before.read_bytes() == first.read_bytes()


@few
@given(FRAMES, st.sampled_from(["csv", "jsonl", "parquet"]))
def test_what_is_written_is_what_is_read(frames, end):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"a.{end}")
        with open_table(path, AUS, with_input=True) as sink:
            for scores, name, time, index in frames:
                sink.write(Frame(IMAGE, time, index, input=name), scores)
        with open_table_file(path) as table:
            blocks = list(table.blocks())
            values = np.concatenate([block.values for block in blocks])
            names = [name for block in blocks for name in block.inputs]
            at = {name: i for i, name in enumerate(table.names)}
    row = 0
    for scores, name, time, index in frames:
        for face in range(max(len(scores), 1)):
            found = {key: values[row, i] for key, i in at.items()}
            assert (found["frame"], found["timestamp"]) == (index, pytest.approx(time, abs=1e-6, rel=1e-12))
            assert names[row] == name
            assert found["face_id"] == (scores.faces.ids[face] if len(scores) else -1)
            for column, au in enumerate(AUS):
                judged = len(scores) and scores.assessable[face, column]
                chance = scores.presence[face, column] if judged else math.nan
                assert found[f"AU{au:02d}_p"] == pytest.approx(chance, abs=5.1e-5, nan_ok=True)
            row += 1
    assert row == len(values)


# -- profiles --------------------------------------------------------------------------------


@steady
@given(st.lists(st.tuples(st.integers(1, 64), VALUES, st.floats(0, 5) | st.just(math.nan)), min_size=1, max_size=22),
       st.integers(0, 2**31), NAMES)
def test_a_profile_is_what_was_saved(rows, frames, text):
    profile = Profile(*zip(*rows, strict=True), frames=frames, weights=text, made=text)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "me.json")
        profile.save(path)
        json.loads(path.read_text("utf-8"), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
        loaded = Profile.load(path)
    assert (loaded.aus, loaded.frames, loaded.weights, loaded.made) == (profile.aus, frames, text, text)
    np.testing.assert_array_equal(loaded.presence, profile.presence)
    np.testing.assert_array_equal(loaded.intensity, profile.intensity)
