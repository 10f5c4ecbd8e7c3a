"""The loop: stages side by side give the frames in order, the same numbers, and nothing more than may wait."""

import threading
import time

import numpy as np
import pytest

from rtau.analyze import Analyzer
from rtau.errors import InputError
from rtau.pipeline import _BYTES, ReadAhead, Run, _together
from rtau.source import Source, open_source
from rtau.types import Aligned, Faces, Frame


class Counted(Source):
    """Grey frames, told how many were asked for."""

    live, damage, expected, fps, size, name = False, None, None, 25.0, (64, 48), "counted"

    def __init__(self, count, shape=(48, 64, 3), fail_at=None):
        self.count, self.shape, self.fail_at, self.given = count, shape, fail_at, 0

    def __iter__(self):
        for index in range(self.count):
            if index == self.fail_at:
                raise InputError("the rest can't be read")
            self.given += 1
            yield Frame(np.full(self.shape, 100, np.uint8), index / 25, index)

    def close(self):
        pass


class Kept:
    """A sink that remembers, and may be slow."""

    def __init__(self, each=lambda: None):
        self.frames, self.scores, self.each = [], [], each

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass

    def write(self, frame, scores, status=None):
        self.each()
        self.frames.append(frame.index)
        self.scores.append(scores)


@pytest.mark.parametrize("threads", [1, 2])
def test_side_by_side_gives_the_very_numbers_of_one_after_the_other(threads, fixtures):
    kept = Kept()
    Run(open_source(fixtures / "turned.mp4"), Analyzer(threads=threads), [kept]).run()
    analyzer = Analyzer(threads=3 - threads)
    with open_source(fixtures / "turned.mp4") as source:
        alone = [analyzer(frame) for frame in source]
    assert kept.frames == list(range(len(alone))) and sum(map(len, alone)) > 5
    for ours, theirs in zip(kept.scores, alone, strict=True):
        for name in ("presence", "intensity", "present", "assessable", "quality"):
            assert np.array_equal(getattr(ours, name), getattr(theirs, name), equal_nan=name in ("presence", "intensity"))
        assert np.array_equal(ours.faces.landmarks, theirs.faces.landmarks)


def test_a_slow_writer_holds_the_reader_back():
    source, ahead = Counted(60), []
    kept = Kept(lambda: (time.sleep(0.02), ahead.append(source.given - len(kept.frames))))
    Run(source, Analyzer(), [kept]).run()
    # Two decoded and one in hand, four searched and one in hand, four read together.
    assert kept.frames == list(range(60)) and 4 < max(ahead) <= 12


def test_what_came_before_an_error_is_written(fixtures):
    kept = Kept()
    run = Run(Counted(30, fail_at=7), Analyzer(), [kept])
    with pytest.raises(InputError, match="the rest"):
        run.run()
    assert kept.frames == list(range(7)) and run.outcome.frames == 7


def test_an_error_while_faces_are_searched_comes_after_the_frames_before():
    kept, analyzer = Kept(), Analyzer().prepare()
    find = analyzer.find

    def broken(frame):
        if frame.index == 6:
            raise RuntimeError("no such thing")
        return find(frame)

    analyzer.find = broken
    with pytest.raises(RuntimeError, match="no such thing"):
        Run(Counted(30), analyzer, [kept]).run()
    assert kept.frames == list(range(6))


def test_a_stopped_run_leaves_no_thread_behind():
    source, kept = Counted(100000), Kept()
    run = Run(source, Analyzer(), [kept])
    kept.each = lambda: len(kept.frames) == 5 and run.stop()
    outcome = run.run()
    assert outcome.interrupted and outcome.frames == 6 and source.given < 30
    assert not [thread for thread in threading.enumerate() if thread.name in ("rtau-decode", "rtau-find")]


def test_of_large_frames_fewer_wait():
    taken = []

    def items():
        for index in range(6):
            taken.append(index)
            yield index

    with ReadAhead(items(), "rtau-test", ahead=4, weigh=lambda item: _BYTES // 2) as ahead:
        iterator = iter(ahead)
        assert next(iterator) == 0
        time.sleep(0.2)
        # Two wait, a third is in hand.
        assert taken == [0, 1, 2, 3]
        assert list(iterator) == [1, 2, 3, 4, 5]


def test_a_reader_is_not_kept_waiting_when_all_is_over():
    held = threading.Event()

    def items():
        yield 1
        held.wait(30)

    with ReadAhead(items(), "rtau-test", ahead=4, weigh=lambda item: 0) as ahead:
        got = []
        reader = threading.Thread(target=lambda: got.extend(ahead))
        reader.start()
        time.sleep(0.1)
        threading.Timer(0.1, held.set).start()
    reader.join(5)
    assert not reader.is_alive() and got == [1]


def aligned(index, faces, shape=(4, 4, 3)):
    none = Faces.none()
    many = Faces(np.zeros((faces, 4), np.float32), np.ones(faces, np.float32), np.arange(faces),
                 np.zeros((faces, 68, 2), np.float32), np.zeros((faces, 3), np.float32)) if faces else none
    return Aligned(Frame(np.zeros(shape, np.uint8), 0.0, index), many, np.zeros((faces, 8, 8, 3), np.uint8))


@pytest.mark.parametrize(("faces", "wanted"), [
    ([1] * 9, [4, 4, 1]), ([0] * 5, [4, 1]), ([3, 3, 3, 1], [3, 1]), ([16, 16, 1], [1, 1, 1]), ([], [])])
def test_which_frames_are_read_together_depends_on_their_faces(faces, wanted):
    assert [len(together) for together in _together(aligned(i, n) for i, n in enumerate(faces))] == wanted


def test_large_frames_are_read_alone():
    large = [aligned(i, 1, (3000, 4000, 3)) for i in range(3)]
    assert [len(together) for together in _together(large)] == [2, 1]
    huge = [aligned(i, 1, (4320, 7680, 3)) for i in range(3)]
    assert [len(together) for together in _together(huge)] == [1, 1, 1]
