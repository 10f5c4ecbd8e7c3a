"""The types that flow through rtau, one per stage: Frame -> Faces -> Scores.

All are frozen; Faces and Scores hold parallel arrays with one row per face, so a frame
without a face has arrays of length 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .au import Label


def _check(name: str, array: np.ndarray, shape: tuple[int | None, ...], rows: int | None = None) -> None:
    expected = (rows, *shape[1:]) if rows is not None else shape
    if array.ndim != len(expected) or any(e is not None and e != a for e, a in zip(expected, array.shape, strict=True)):
        raise ValueError(f"{name} has shape {array.shape}, expected {expected}")


@dataclass(frozen=True)
class Frame:
    """One picture and when it was taken.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        time: seconds; a container's presentation time stamp counted from the stream's start,
            or a camera's clock counted from its first frame. 0.0 for a still picture.
        index: number of the frame in its source, from 0; frames that were dropped or skipped
            leave a gap.
        input: name of the file it came from, as the user gave it; "" for a camera.
        still: the picture has nothing to do with the one before it: tracking and smoothing
            start anew.
        captured: `time.monotonic()` when it arrived from a live source, else None.
    """

    image: np.ndarray
    time: float
    index: int
    input: str = ""
    still: bool = False
    captured: float | None = None

    def __post_init__(self) -> None:
        _check("image", self.image, (None, None, 3))
        if self.image.dtype != np.uint8:
            raise ValueError(f"image is {self.image.dtype}, expected uint8")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.shape[1], self.image.shape[0]


@dataclass(frozen=True)
class Faces:
    """The faces of one frame, N rows.

    Attributes:
        boxes: float32 [N, 4], left, top, right, bottom in pixels.
        scores: float32 [N], 0..1, confidence that this is a face.
        ids: int64 [N], stays with a person while the track lives, never given twice.
        landmarks: float32 [N, 68, 2], x, y in pixels (pixel centres at integers), Multi-PIE order.
        pose: float32 [N, 3], yaw, pitch, roll in radians; yaw > 0 looks to image right,
            pitch > 0 looks down, roll > 0 tilts clockwise in the image.
    """

    boxes: np.ndarray
    scores: np.ndarray
    ids: np.ndarray
    landmarks: np.ndarray
    pose: np.ndarray

    def __post_init__(self) -> None:
        n = len(self.boxes)
        _check("boxes", self.boxes, (None, 4))
        _check("scores", self.scores, (None,), n)
        _check("ids", self.ids, (None,), n)
        _check("landmarks", self.landmarks, (None, 68, 2), n)
        _check("pose", self.pose, (None, 3), n)

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, rows: np.ndarray | slice | list[int]) -> Faces:
        """A selection of faces, by slice, mask or list of rows."""
        return Faces(self.boxes[rows], self.scores[rows], self.ids[rows], self.landmarks[rows], self.pose[rows])

    @classmethod
    def none(cls) -> Faces:
        """No face at all."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64),
                   np.zeros((0, 68, 2), np.float32), np.zeros((0, 3), np.float32))


@dataclass(frozen=True)
class Aligned:
    """The faces of one frame, cut out and aligned.

    Attributes:
        frame: which.
        faces: N of them.
        crops: uint8 [N, S, S, 3], RGB, of the size that the AU network takes; on a GPU what `rtau.cutter.Cutter.join`
            makes them of.
    """

    frame: Frame
    faces: Faces
    crops: Any

    def __len__(self) -> int:
        return len(self.faces)


@dataclass(frozen=True)
class Scores:
    """Action Units of the faces of one frame, N faces by C AUs; or other attributes, by a network of one's own.

    Attributes:
        aus: AU numbers of the C columns, or names of attributes.
        faces: the N faces these belong to.
        presence: float32 [N, C], probability 0..1 that the AU is there; NaN where not assessable.
        intensity: float32 [N, C], 0..5 (FACS A = 1 .. E = 5); NaN where not assessable, and everywhere where the
            network tells presence alone.
        present: bool [N, C], the yes or no of `presence` (with hysteresis over time when smoothed);
            False where not assessable.
        assessable: bool [N, C], whether the picture allows a judgement.
        quality: float32 [N], 0..1, how good a picture of the face this is.
        raw: the scores before smoothing, where these are smoothed.
    """

    aus: tuple[Label, ...]
    faces: Faces
    presence: np.ndarray
    intensity: np.ndarray
    present: np.ndarray
    assessable: np.ndarray
    quality: np.ndarray
    raw: Scores | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        n, c = len(self.faces), len(self.aus)
        for name in ("presence", "intensity", "present", "assessable"):
            _check(name, getattr(self, name), (None, c), n)
        _check("quality", self.quality, (None,), n)

    def __len__(self) -> int:
        return len(self.faces)

    @property
    def graded(self) -> bool:
        """Whether there are intensities; else the network tells presence alone. True where nothing can be judged."""
        judged = self.assessable & ~np.isnan(self.presence)
        return not judged.any() or not np.isnan(self.intensity[judged]).all()

    @property
    def strength(self) -> np.ndarray:
        """How long to draw a bar, float32 [N, C], 0..1: intensity / 5, or presence alone; NaN where not assessable."""
        return np.where(self.assessable, self.intensity / 5 if self.graded else self.presence, np.nan)

    @classmethod
    def none(cls, aus: tuple[Label, ...]) -> Scores:
        """Scores of a frame without a face."""
        empty, no = np.zeros((0, len(aus)), np.float32), np.zeros((0, len(aus)), bool)
        return cls(aus, Faces.none(), empty, empty, no, no, np.zeros(0, np.float32))

    def select(self, aus: tuple[Label, ...]) -> Scores:
        """The same faces with some of the AUs, in the order given."""
        columns = [self.aus.index(au) for au in aus]
        return replace(self, aus=tuple(aus), presence=self.presence[:, columns], intensity=self.intensity[:, columns],
                       present=self.present[:, columns], assessable=self.assessable[:, columns],
                       raw=self.raw.select(aus) if self.raw else None)


@dataclass(frozen=True)
class Status:
    """How a running analysis is doing, for those who show it.

    Attributes:
        fps: frames analysed per second, over the last second or so.
        frames: frames analysed so far.
        drops: live frames that a newer one replaced before they were analysed.
        age: seconds between a live frame's arrival and its result; None for a file.
        backend: what runs the networks, e.g. "onnxruntime/cpu f32".
        source: what is analysed, for people to read.
    """

    fps: float
    frames: int
    drops: int
    age: float | None
    backend: str
    source: str
