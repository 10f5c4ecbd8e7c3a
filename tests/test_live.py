"""Live reading: pace, newest frame wins, breaks and errors, with a clock and a camera of our own."""

import threading

import numpy as np
import pytest

from rtau.camera import Camera, open_live
from rtau.errors import InputError
from rtau.live import RETRIES, Newest, Paced
from rtau.source import open_source
from rtau.types import Frame


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Scripted:
    """A live source whose frames the test releases one by one."""

    name, live, size, fps, expected, damage = "scripted", True, None, None, None, None

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.given = threading.Semaphore(0)
        self.count, self.error, self.closed = count, error, False

    def __iter__(self):
        for index in range(self.count):
            self.given.acquire()
            yield Frame(np.zeros((2, 2, 3), np.uint8), index / 30, index, captured=index / 30)
        self.given.acquire()
        if self.error:
            raise self.error

    def close(self) -> None:
        self.closed = True
        for _ in range(self.count + 1):
            self.given.release()


class FakeCapture:
    """OpenCV's VideoCapture, as far as `Camera` uses it: gives `good` frames, then fails."""

    def __init__(self, good: int, opens: bool = True) -> None:
        self.good, self.opens, self.settings = good, opens, []

    def isOpened(self) -> bool:  # noqa: N802 (OpenCV's name)
        return self.opens

    def set(self, setting: int, value: float) -> bool:
        self.settings.append(setting)
        return True

    def get(self, setting: int) -> float:
        return 0.0

    def read(self):
        if not self.good:
            return False, None
        self.good -= 1
        image = np.zeros((4, 6, 3), np.uint8)
        image[..., 0] = 200  # blue in OpenCV's order
        return True, image

    def release(self) -> None:
        self.opens = False


def test_a_file_plays_at_its_own_pace(fixtures):
    clock = Clock()
    with open_source(fixtures / "face_then_none.mp4") as source:
        frames = list(Paced(source, clock=clock, sleep=clock.sleep))
    assert len(frames) == 50
    assert sum(clock.slept) == pytest.approx(frames[-1].time - frames[0].time)
    assert np.allclose([f.captured - 100 for f in frames], [f.time for f in frames])


def test_the_newest_frame_wins_and_the_others_are_counted():
    source = Scripted(10)
    newest = Newest(source)
    frames = iter(newest)
    source.given.release()
    assert next(frames).index == 0
    for _ in range(9):  # nine more arrive while the consumer is busy
        source.given.release()
    source.given.release()
    newest._thread.join(5)
    assert [f.index for f in frames] == [9] and newest.drops == 8


def test_an_error_of_the_source_reaches_the_consumer_after_the_last_frame():
    source = Scripted(1, InputError("gone"))
    frames = iter(Newest(source))
    source.given.release()
    assert next(frames).index == 0
    source.given.release()
    with pytest.raises(InputError, match="gone"):
        next(frames)


def test_close_ends_a_waiting_consumer():
    newest = Newest(Scripted(3))
    got = []
    consumer = threading.Thread(target=lambda: got.extend(newest))
    consumer.start()
    newest.close()
    consumer.join(5)
    assert not consumer.is_alive() and got == []


def test_camera_times_count_from_the_first_frame_and_colours_are_rgb():
    clock = Clock()
    captures = [FakeCapture(3)]
    camera = Camera(0, capture=lambda device: captures[0], clock=clock, sleep=clock.sleep).open()
    frames = []
    for frame in camera:
        frames.append(frame)
        clock.now += 0.04
        if len(frames) == 3:
            break
    assert [f.time for f in frames] == pytest.approx([0, 0.04, 0.08]) and frames[0].captured == 100.0
    assert frames[0].image[0, 0].tolist() == [0, 0, 200]


def test_a_camera_that_breaks_is_opened_again():
    clock = Clock()
    captures = iter([FakeCapture(2), FakeCapture(0, opens=False), FakeCapture(2), *[FakeCapture(0)] * 9])
    camera = Camera(0, capture=lambda device: next(captures), clock=clock, sleep=clock.sleep).open()
    frames = list(camera)
    assert [f.index for f in frames] == [0, 1, 2, 3]
    assert camera.damage and "4 frames" in camera.damage
    assert clock.slept[:2] == list(RETRIES[:2])


def test_no_camera_is_one_line_that_says_what_to_do():
    with pytest.raises(InputError, match="rtau live --camera video.mp4") as error:
        Camera(7, capture=lambda device: FakeCapture(0, opens=False)).open()
    assert "\n" not in str(error.value)


def test_pictures_are_not_played(fixtures):
    with pytest.raises(InputError, match="rtau process"):
        open_live(fixtures / "face.jpg")
