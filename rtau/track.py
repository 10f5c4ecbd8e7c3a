"""Ids that stay with a face, and the choice of when to look again for new ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .boxes import areas, box_of_points, centres, iou
from .detect import Detector
from .landmarks import Landmarker
from .types import Faces, Frame

#: A track lives while the landmarks' face presence is at least this; a new one needs the second.
#: A hand before the face lowers it; scores below 0.5 are reported as not assessable.
KEEP, START = 0.2, 0.6
#: Seconds between looks over the whole picture while faces are followed. Without any, every frame is searched,
#: so that a face is found in the frame in which it appears.
LOOK = 0.5
#: Seconds for which a lost face is remembered, so that it gets its id back.
MEMORY = 2.0
#: After a longer pause than this nothing is known of how faces moved.
GAP = 1.0
#: Two tracks whose boxes overlap more than this follow one face; a detection that overlaps a
#: track more than the second belongs to it.
_SAME, _MINE = 0.5, 0.3
#: A track that so many looks in a row did not confirm and whose presence is below the second is no face.
_UNSEEN, _DOUBTFUL = 3, 0.8
_MOST_LOST = 64


@dataclass
class _Track:
    id: int
    time: float
    points: np.ndarray  # [68, 2]
    pose: np.ndarray
    score: float
    velocity: np.ndarray  # [2] pixels a second, of the box's centre
    unseen: int = 0

    @property
    def box(self) -> np.ndarray:
        return box_of_points(self.points[None])[0]

    def ahead(self, time: float) -> np.ndarray:
        """How far the face has likely moved by then; a long guess is a bad one."""
        return self.velocity * min(max(time - self.time, 0.0), 0.3)


class Tracker:
    """Follows faces from frame to frame.

    Landmarks of one frame say where to look in the next, so the detector rests most of the time.
    What comes out depends on the frames and their times alone, never on how fast they came.

    Args:
        detector: finds boxes in a whole picture.
        landmarker: finds points in a region.
        max_faces: how many to follow; the largest win.
    """

    def __init__(self, detector: Detector, landmarker: Landmarker, *, max_faces: int = 16) -> None:
        self._detector, self._landmarker, self._most = detector, landmarker, max_faces
        self._tracks: list[_Track] = []
        self._lost: list[_Track] = []
        self._next_id = 0
        self._time: float | None = None
        self._looked: float | None = None

    def __call__(self, frame: Frame) -> Faces:
        """The faces of the next frame, in the order of their ids. Boxes reach from hairline to chin."""
        pause = None if self._time is None else frame.time - self._time
        if frame.still or (pause is not None and pause < 0):
            self._tracks, self._lost, self._looked = [], [], None
        elif pause is not None and pause > GAP:
            self._looked = None
            for track in self._tracks:
                track.velocity = np.zeros(2)
        self._time = frame.time
        lost = self._follow(frame)
        self._lost = [t for t in self._lost if frame.time - t.time <= MEMORY][-_MOST_LOST:]
        if self._due(frame.time, lost):
            self._look(frame)
        self._tracks.sort(key=lambda t: t.id)
        return self._faces()

    def _due(self, time: float, lost: bool) -> bool:
        if self._looked is None or lost:
            return True
        return not self._tracks or time - self._looked >= LOOK - 1e-6

    def _follow(self, frame: Frame) -> bool:
        """Move every track to this frame; returns whether one was lost just now."""
        if not self._tracks:
            return False
        guesses = [t.points + t.ahead(frame.time) for t in self._tracks]
        marks = self._landmarker(frame.image, np.stack([self._landmarker.region_of_points(g) for g in guesses]))
        kept: list[_Track] = []
        before = len(self._tracks)
        for row, track in enumerate(self._tracks):
            points = marks.points[row]
            if marks.presence[row] < KEEP or not _plausible(points, track.points):
                self._lost.append(track)
                continue
            dt = frame.time - track.time
            if dt > 0:
                moved = (centres(box_of_points(points[None])) - centres(track.box[None]))[0]
                track.velocity = 0.5 * track.velocity + 0.5 * moved / dt
            track.points, track.pose = points, marks.pose[row]
            track.score, track.time = float(marks.presence[row]), frame.time
            # The older of two tracks on one face keeps it.
            if any(iou(track.box[None], other.box[None])[0, 0] > _SAME for other in kept):
                self._lost.append(track)
                continue
            kept.append(track)
        self._tracks = kept
        return len(kept) < before

    def _look(self, frame: Frame) -> None:
        """Detect in the whole picture: start tracks for newcomers, give lost faces their ids back."""
        self._looked = frame.time
        boxes, _ = self._detector(frame.image)
        if self._tracks:
            held = np.stack([t.box for t in self._tracks])
            overlap = iou(held, boxes) if len(boxes) else np.zeros((len(held), 0))
            for track, row in zip(self._tracks, overlap, strict=True):
                track.unseen = 0 if (row > _MINE).any() else track.unseen + 1
            if len(boxes):
                boxes = boxes[~(overlap > _MINE).any(0)]
            self._tracks = [t for t in self._tracks if t.unseen < _UNSEEN or t.score >= _DOUBTFUL]
        for points, pose, score in self._mark(frame, boxes):
            self._admit(frame.time, points, pose, score)
        if len(self._tracks) > self._most:
            self._tracks.sort(key=lambda t: -float(areas(t.box[None])[0]))
            del self._tracks[self._most:]

    def _mark(self, frame: Frame, boxes: np.ndarray):
        """Points in detected boxes; the second pass starts from the points of the first."""
        if not len(boxes):
            return []
        rough = self._landmarker(frame.image, np.stack([self._landmarker.region_of_box(b) for b in boxes]))
        regions = np.stack([self._landmarker.region_of_points(p) for p in rough.points])
        fine = self._landmarker(frame.image, regions)
        return [(fine.points[i], fine.pose[i], float(fine.presence[i]))
                for i in np.argsort(-fine.presence, kind="stable") if fine.presence[i] >= START]

    def _admit(self, time: float, points: np.ndarray, pose: np.ndarray, score: float) -> None:
        box = box_of_points(points[None])
        if any(iou(t.box[None], box)[0, 0] > _MINE for t in self._tracks):
            return
        former = self._former(time, box)
        if former is None:
            number, self._next_id = self._next_id, self._next_id + 1
        else:
            number = former.id
            self._lost = [t for t in self._lost if t.id != number]
        self._tracks.append(_Track(number, time, points, pose, score, np.zeros(2)))

    def _former(self, time: float, box: np.ndarray) -> _Track | None:
        """The lost face that this may be: near where it would be by now, and of similar size."""
        size = float(np.sqrt(areas(box)[0]))
        best, nearest = None, 1.0
        for track in self._lost:
            then = track.box[None]
            ratio = size / max(float(np.sqrt(areas(then)[0])), 1e-6)
            if not 0.6 < ratio < 1.7:
                continue
            reach = 0.6 + 0.6 * (time - track.time)  # in face sizes
            far = float(np.linalg.norm(centres(box)[0] - centres(then)[0] - track.ahead(time))) / size / reach
            if far < nearest:
                best, nearest = track, far
        return best

    def _faces(self) -> Faces:
        if not self._tracks:
            return Faces.none()
        points = np.stack([t.points for t in self._tracks]).astype(np.float32)
        return Faces(box_of_points(points), np.array([t.score for t in self._tracks], np.float32),
                     np.array([t.id for t in self._tracks], np.int64), points,
                     np.stack([t.pose for t in self._tracks]).astype(np.float32))


def _plausible(points: np.ndarray, before: np.ndarray) -> bool:
    """Whether points could be the same face a frame later: finite, and of about the same size."""
    if not np.isfinite(points).all():
        return False
    now, then = np.ptp(points, axis=0).max(), np.ptp(before, axis=0).max()
    return now > 4 and 0.5 < now / max(then, 1e-6) < 2.0
