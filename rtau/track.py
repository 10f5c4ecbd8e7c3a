"""Faces that keep their ids from frame to frame, and the decision when to look for new ones.

A face is followed by its landmarks: the square around its last points, moved on by its speed,
is read again in the next frame. The detector, which costs more, only looks for newcomers and
for faces that were lost. Everything depends on the frames and their times alone, so that a
file gives the same faces however fast it is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from .boxes import areas, box_of_points, centres, iou
from .detect import Detector
from .errors import UsageError
from .landmarks import Landmarker
from .types import Faces, Frame

#: A jump in time by more than this many seconds ends what is known of speeds.
GAP = 1.0
#: For this many seconds after its loss, a face's landmarks are still tried where it should be.
COAST = 0.25
#: Seconds in which the assumed speed of a face that is not seen fades away.
FADE = 0.8
#: Seconds over which a speed is averaged.
SETTLE = 0.2
#: Two boxes that overlap by more than this are the same face.
SAME = 0.5
#: A detection that overlaps a followed face by this much confirms it.
CONFIRM = 0.3
#: A face that the detector misses this often in a row is dropped, unless its presence is `SURE`.
DOUBTS = 3
SURE = 0.8
#: A newcomer takes the place of a smaller face only when its area is larger by this factor.
PRECEDENCE = 1.5
#: Smallest side of a face's box, in pixels.
SMALLEST = 8


@dataclass(frozen=True)
class _Moment:
    """When and where a frame was taken: what is kept of it."""

    time: float
    input: str
    still: bool


@dataclass(eq=False)
class _Look:
    """What one frame shows of a face."""

    points: np.ndarray
    presence: float
    pose: np.ndarray
    box: np.ndarray = field(init=False)
    centre: np.ndarray = field(init=False)
    size: float = field(init=False)

    def __post_init__(self) -> None:
        box = box_of_points(self.points[None])
        self.box, self.centre = box[0], centres(box)[0].astype(np.float64)
        self.size = max(float(np.sqrt(areas(box)[0])), 1.0)


@dataclass(eq=False)
class _Track:
    """A face that is followed, or was not long ago."""

    id: int
    look: _Look
    seen: float
    live: bool = True
    speed: np.ndarray = field(default_factory=lambda: np.zeros(2))
    sure_speed: np.ndarray = field(default_factory=lambda: np.zeros(2))
    doubts: int = 0

    def shift(self, now: float) -> np.ndarray:
        """How far, in pixels, it should have moved since it was seen."""
        speed = self.speed if self.live else self.sure_speed
        return speed * FADE * (1 - math.exp(-max(now - self.seen, 0) / FADE))

    def distance(self, look: _Look, now: float) -> float:
        """From where it should be, in face sizes; a change of size counts too."""
        away = np.linalg.norm(look.centre - self.look.centre - self.shift(now)) / self.look.size
        return float(away) + abs(math.log(look.size / self.look.size))

    def update(self, look: _Look, now: float, *, sure: bool) -> None:
        """Move on. A face that goes behind something seems to slow down: that is no guide to where it comes out."""
        passed = now - self.seen
        if passed > 1e-6:
            weight = 1 - math.exp(-passed / SETTLE)
            self.speed = self.speed + weight * ((look.centre - self.look.centre) / passed - self.speed)
            if sure:
                self.sure_speed = self.speed
        self.look, self.seen, self.live = look, now, True


class Tracker:
    """Finds and follows the faces of a video, or finds those of still pictures.

    Call it with each frame in the order of their times.

    Args:
        detector: finds boxes in a whole picture.
        landmarker: reads 68 points and the presence of a face in a region.
        still_detector: used for still pictures, which can afford a more careful look (a larger
            `width`); the same as `detector` when None.
        max_faces: how many faces are followed at most: the largest.
        detect_every: seconds from one look for newcomers to the next while faces are followed.
        retry_every: the same while there is no face, or one was lost a moment ago.
        min_presence: least presence, 0..1, of a face that is new or comes back.
        keep_presence: least presence, 0..1, of a face that is followed.
        memory: seconds for which a lost face is remembered; if it comes back in that time near
            the place where it should be, in a similar size, it keeps its id.

    Raises:
        UsageError: an option out of range.
    """

    def __init__(self, detector: Detector, landmarker: Landmarker, *, still_detector: Detector | None = None,
                 max_faces: int = 16, detect_every: float = 0.5, retry_every: float = 0.2,
                 min_presence: float = 0.6, keep_presence: float = 0.2, memory: float = 1.5) -> None:
        if max_faces < 1:
            raise UsageError(f"at least one face must be followed, not {max_faces}")
        if not 0 <= keep_presence <= min_presence <= 1:
            raise UsageError("presences must satisfy 0 <= keep <= min <= 1, not "
                             f"keep {keep_presence} and min {min_presence}")
        if not (detect_every >= 0 and retry_every >= 0 and memory >= 0):
            raise UsageError("times between looks and the memory of lost faces can't be below 0 seconds")
        self._detector, self._landmarker = detector, landmarker
        self._still_detector = still_detector or detector
        self._max_faces = max_faces
        self._detect_every, self._retry_every = detect_every, retry_every
        self._min_presence, self._keep_presence = min_presence, keep_presence
        self._memory = memory
        self._tracks: list[_Track] = []
        self._last: _Moment | None = None
        self._looked = self._hurried = -math.inf
        self._next_id = 0

    def reset(self) -> None:
        """Forget all faces; ids go on where they were."""
        self._tracks = []
        self._last = None
        self._looked = self._hurried = -math.inf

    def __call__(self, frame: Frame) -> Faces:
        """The faces of the frame, ordered by id.

        `scores` are the landmarker's presences; `boxes` reach from the hairline, estimated above
        the brows, to the chin, and may leave the picture.
        """
        if self._is_new_scene(frame):
            self.reset()
        now = frame.time
        if self._last is not None and not 0 <= now - self._last.time <= GAP:
            self._forget_motion(now)
        self._tracks = [track for track in self._tracks if track.live or now - track.seen <= self._memory]
        lost = self._follow(frame)
        if self._is_due(now, lost):
            self._look_around(frame)
            self._looked = now
        self._limit()
        self._last = _Moment(now, frame.input, frame.still)
        return self._faces()

    def _is_new_scene(self, frame: Frame) -> bool:
        last = self._last
        return last is not None and (frame.still or last.still or frame.input != last.input)

    def _forget_motion(self, now: float) -> None:
        """After a jump in time: speeds mean nothing, nor, when time ran backwards, do lost faces."""
        if self._last is not None and now < self._last.time:
            self._tracks = [track for track in self._tracks if track.live]
            for track in self._tracks:
                track.seen = now
        for track in self._tracks:
            track.speed = track.sure_speed = np.zeros(2)
        self._looked = self._hurried = -math.inf

    def _is_due(self, now: float, lost: bool) -> bool:
        # At once after a loss, but a face that comes and goes must not call the detector in every frame.
        if lost and now - self._hurried >= self._retry_every - 1e-6:
            self._hurried = now
            return True
        if self._tracks and all(track.live for track in self._tracks):
            wait = self._detect_every
        else:
            wait = self._retry_every
        return now - self._looked >= wait - 1e-6

    # Following

    def _follow(self, frame: Frame) -> bool:
        """Read the landmarks of known faces where they should be; whether one was lost."""
        now = frame.time
        near = [track for track in self._tracks if track.live or now - track.seen <= COAST]
        if not near:
            return False
        looks = self._read(frame, [self._landmarker.region_of_points(
            (track.look.points + track.shift(now)).astype(np.float32)) for track in near])
        found = []
        for track, look in zip(near, looks, strict=True):
            least = self._keep_presence if track.live else self._min_presence
            if look is not None and look.presence >= least:
                found.append((track, look))
        # Where two end up on one face, it belongs to the one that was followed, then to the one that had
        # less far to go (the other's face is hidden behind it), then to the older.
        found.sort(key=lambda pair: (not pair[0].live, int(pair[0].distance(pair[1], now) / 0.15), pair[0].id))
        kept: dict[int, _Look] = {}
        for track, look in found:
            if not _is_among(look, kept.values()):
                kept[track.id] = look
        lost = False
        for track in near:
            if track.id in kept:
                track.update(kept[track.id], now, sure=kept[track.id].presence >= self._min_presence)
            elif track.live:
                track.live, lost = False, True
        return lost

    def _read(self, frame: Frame, regions: list[np.ndarray]) -> list[_Look | None]:
        """One look per region; None where the points can't be a face in this picture."""
        looks: list[_Look | None] = [None] * len(regions)
        usable = [i for i, region in enumerate(regions) if np.isfinite(region).all() and region[2] >= SMALLEST]
        if not usable:
            return looks
        marks = self._landmarker(frame.image, np.stack([regions[i] for i in usable]).astype(np.float32))
        width, height = frame.size
        for i, points, presence, pose in zip(usable, marks.points, marks.presence, marks.pose, strict=True):
            if not (np.isfinite(points).all() and np.isfinite(presence) and np.isfinite(pose).all()):
                continue
            look = _Look(points, float(presence), pose)
            x, y = look.centre
            if look.size >= SMALLEST and 0 <= x < width and 0 <= y < height:
                looks[i] = look
        return looks

    # Looking around

    def _look_around(self, frame: Frame) -> None:
        """Search the whole picture: confirm faces, take lost ones up again, and admit new ones."""
        detector = self._still_detector if frame.still else self._detector
        boxes, _ = detector(frame.image)
        looks = self._newcomers(frame, self._confirm(boxes))
        now = frame.time
        lost = [track for track in self._tracks if not track.live]
        pairs = sorted(((track.distance(look, now), track.id, row, track)
                        for track in lost for row, look in enumerate(looks) if self._may_be(track, look, now)),
                       key=lambda pair: pair[:3])
        taken: set[int] = set()
        for _, _, row, track in pairs:
            if row not in taken and not track.live:
                taken.add(row)
                track.update(looks[row], now, sure=True)
                track.doubts = 0
        for row, look in enumerate(looks):
            if row not in taken:
                # The id is given when it is certain that there is room.
                self._tracks.append(_Track(-1, look, now))

    def _confirm(self, boxes: np.ndarray) -> np.ndarray:
        """Match boxes with followed faces; gives the boxes that are left, the largest first."""
        live = [track for track in self._tracks if track.live]
        free = np.ones(len(boxes), bool)
        confirmed: set[int] = set()
        if live and len(boxes):
            overlap = iou(np.stack([track.look.box for track in live]), boxes)
            for flat in np.argsort(-overlap, axis=None, kind="stable"):
                row, column = divmod(int(flat), len(boxes))
                if overlap[row, column] < CONFIRM:
                    break
                if row not in confirmed and free[column]:
                    confirmed.add(row)
                    free[column] = False
            # A second box on a face that has one already is no newcomer.
            free &= overlap.max(0) <= SAME
        for row, track in enumerate(live):
            track.doubts = 0 if row in confirmed else track.doubts + 1
            if track.doubts >= DOUBTS and track.look.presence < SURE:
                self._tracks.remove(track)
        left = boxes[free]
        return left[np.argsort(-areas(left), kind="stable")][:self._max_faces]

    def _newcomers(self, frame: Frame, boxes: np.ndarray) -> list[_Look]:
        """Looks at boxes that hold a face which is not followed yet.

        Landmarks are read twice: the square around the first ones fits better than the box's.
        """
        first = self._read(frame, [self._landmarker.region_of_box(box) for box in boxes])
        second = self._read(frame, [self._landmarker.region_of_points(look.points) for look in first if look])
        known = [track.look for track in self._tracks if track.live]
        looks: list[_Look] = []
        for look in second:
            if look and look.presence >= self._min_presence and not _is_among(look, known + looks):
                looks.append(look)
        return looks

    def _may_be(self, track: _Track, look: _Look, now: float) -> bool:
        """Whether a face may be the lost one: near enough, and of similar size."""
        away = np.linalg.norm(look.centre - track.look.centre - track.shift(now)) / track.look.size
        # The longer it was away and the faster it moved, the less is known of where it is.
        hidden = max(now - track.seen, 0)
        reach = 0.6 + hidden * (0.6 + 0.5 * float(np.linalg.norm(track.sure_speed)) / track.look.size)
        return bool(away <= min(reach, 1.5)) and 0.6 <= look.size / track.look.size <= 1 / 0.6

    def _limit(self) -> None:
        """Keep the largest faces and the latest losses, forget the rest, and give newcomers their ids."""
        live = [track for track in self._tracks if track.live]
        live.sort(key=lambda track: -track.look.size**2 * (PRECEDENCE if track.id >= 0 else 1))
        lost = sorted((track for track in self._tracks if not track.live), key=lambda track: -track.seen)
        self._tracks = live[:self._max_faces] + lost[:self._max_faces]
        for track in self._tracks:
            if track.id < 0:
                track.id, self._next_id = self._next_id, self._next_id + 1
        self._tracks.sort(key=lambda track: track.id)

    def _faces(self) -> Faces:
        looks = {track.id: track.look for track in self._tracks if track.live}
        if not looks:
            return Faces.none()
        return Faces(np.stack([look.box for look in looks.values()]),
                     np.array([look.presence for look in looks.values()], np.float32),
                     np.array(list(looks), np.int64),
                     np.stack([look.points for look in looks.values()]).astype(np.float32),
                     np.stack([look.pose for look in looks.values()]).astype(np.float32))


def _is_among(look: _Look, others: Iterable[_Look]) -> bool:
    """Whether the face is one of the others."""
    boxes = [other.box for other in others]
    return bool(boxes) and float(iou(look.box[None], np.stack(boxes)).max()) > SAME
