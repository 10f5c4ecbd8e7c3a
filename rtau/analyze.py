"""From frames to Action Unit scores: the library's main object."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .au import AUS, Label, are_attributes, names_of, parse_labels
from .backends import Runner, open_backend
from .baseline import BASELINES, Baseline
from .blink import BLINK, CLOSED, Blinks
from .calibrate import Calibrator, Profile
from .cores import threads_side_by_side
from .crop import similarity
from .cutter import Cutter, HostCutter, open_cutter
from .detect import Detector, open_detector
from .errors import UsageError
from .landmarks import Landmarker, LandmarkReader, Marks
from .quality import assess
from .smooth import ON, Smoother
from .stopwatch import Stopwatch
from .store import Weights, find_weights, open_weights
from .track import Tracker
from .types import Aligned, Frame, Scores


class Analyzer:
    """Finds the faces of each frame and reads their Action Units.

        analyzer = Analyzer()
        for frame in open_source("video.mp4"):
            scores = analyzer(frame)

    Frames must come in the order of their times; faces keep their ids and scores are smoothed
    from one frame to the next. The networks are made ready at the first frame, or by `prepare`.

    Args:
        aus: AU numbers to report, or names of attributes where the network reads those; or in words, as --aus has
            them. By default all that the network reads.
        model: the AU network, a .safetensors file that `rtau export` wrote; by default the shipped one.
        detector: a name of `rtau.detect.DETECTORS`, or an object like one.
        detector_model: model file of a detector, in place of its own (yunet, rtau).
        landmarks: "rtau", "fan" or an object like a `Landmarker`.
        backend, device, precision: see `rtau.backends.open_backend`.
        smooth: "one-euro" or "off".
        profile: a person's resting face, or the file that holds it, see `rtau.calibrate`.
        baseline: "auto" takes off what each face shows in its quietest moments; "off" doesn't.
        max_faces: how many faces to follow at most.
        detect_width: width, or several, at which a picture is searched (see `open_detector`); (320, 640)
            finds more small faces and suits stills.
        threads: CPU threads of the networks, the engine's choice when None.
        cutter: where crops are cut out of the pictures, see `rtau.cutter.open_cutter`: "auto" is "device", in the
            networks' memory, on a GPU, and "host", on the CPU, elsewhere.

    Raises:
        UsageError: a name that does not exist, an engine that can't be had, AUs that the network does not read, or a
            resting face for one that reads attributes.
        InputError: `model` is no such file.
        RtauError: weights missing or damaged.
    """

    def __init__(self, *, aus: tuple[Label, ...] | str | None = None, model: str | Path | None = None,
                 detector: str | Detector = "auto", detector_model: Path | None = None,
                 landmarks: str | Landmarker = "rtau", backend: str = "auto", device: str = "auto",
                 precision: str = "auto", smooth: str = "one-euro", profile: str | Path | Profile | None = None,
                 baseline: str = "off", max_faces: int = 16,
                 detect_width: int | tuple[int, ...] | None = None, threads: int | None = None,
                 cutter: str = "auto") -> None:
        self._weights = find_weights("au") if model is None else open_weights(model)
        self.aus = _choose(aus, self._weights)
        self._columns: dict[Label, int] = {**self._weights.columns, **self._weights.attributes}
        #: Those that the network reads: a blink is told by how long the eyes are closed.
        self._read_aus = tuple(sorted({CLOSED if au == BLINK else au for au in self.aus},
                                      key=list(self._columns).index))
        self._blinks = Blinks() if BLINK in self.aus else None
        self.watch = Stopwatch()
        self._detector, self._detector_model, self._landmarks = detector, detector_model, landmarks
        self._engine = {"name": backend, "device": device, "precision": precision, "threads": threads}
        self._max_faces, self._detect_width = max_faces, detect_width
        self._smoother = Smoother(self._read_aus, smooth)
        if baseline not in BASELINES:
            raise UsageError(f"unknown baseline {baseline!r}: choose from {', '.join(BASELINES)}")
        #: Takes a resting face off: it can be given one, or told to watch one, at any time.
        self.calibrator = Calibrator(self._read_aus, self._weights.sha256, self._weights.ordinary)
        if profile is not None:
            self.calibrator.use(profile if isinstance(profile, Profile) else Profile.load(Path(profile)))
        self._baseline = Baseline(self._read_aus, self._weights.ordinary) if baseline == "auto" else None
        self._cutter_name = cutter
        self._cutter: Cutter = HostCutter()
        self._runner: Runner | None = None
        self._tracker: Tracker | None = None

    def prepare(self, *, side_by_side: bool = False) -> Analyzer:
        """Load the networks now; the first frame does it otherwise.

        Args:
            side_by_side: whether the networks will run at the same time, so that each is to leave cores to the other.
                An analyzer that is prepared already stays as it is.
        """
        if self._tracker is not None:
            return self
        if side_by_side and self._engine["threads"] is None:
            self._engine["threads"] = threads_side_by_side()
        cutter = open_cutter(self._cutter_name, self._engine["name"], self._engine["device"])
        runner = open_backend(self._weights, **self._engine)
        detector = self._detector
        if isinstance(detector, str):
            detector = open_detector(detector, model=self._detector_model, width=self._detect_width)
        self.detector_name = detector.name
        tracker = Tracker(_Timed(detector, self.watch), _TimedMarks(self._open_landmarks(cutter), self.watch),
                          max_faces=self._max_faces, retry_every=0)  # found in the frame in which they appear
        self._cutter, self._runner, self._tracker = cutter, runner, tracker
        return self

    @property
    def backend(self) -> str:
        """What runs the networks, e.g. "onnxruntime/cpu f32"."""
        self.prepare()
        assert self._runner is not None
        return self._runner.name

    @property
    def on_device(self) -> bool:
        """Whether crops are cut where the networks run, which then do best on many at once."""
        self.prepare()
        return not isinstance(self._cutter, HostCutter)

    @property
    def smoothing(self) -> float:
        """How fast the smoothing lets changes through, 1 as it was set up; may be changed while running."""
        return self._smoother.pace

    @smoothing.setter
    def smoothing(self, pace: float) -> None:
        self._smoother.pace = pace

    @property
    def weights(self) -> Weights:
        """The AU weights in use."""
        return self._weights

    @property
    def settings(self) -> dict[str, object]:
        """What a results file should say of how it was made."""
        self.prepare()
        return {"weights": {"file": self._weights.path.name, "sha256": self._weights.sha256},
                "backend": self.backend, "detector": self.detector_name,
                "landmarks": self._landmarks if isinstance(self._landmarks, str) else self._landmarks.name,
                "smoothing": self._smoother.settings, "calibration": self.calibrator.settings,
                "baseline": "off" if self._baseline is None else "auto", "max_faces": self._max_faces}

    def __call__(self, frame: Frame) -> Scores:
        """Scores of every face in the frame; `raw` holds them before smoothing.

        It is `find`, `read` and `smooth`, one after the other. Whoever has many frames may run the three side by side,
        each in a thread of its own, and gets the same numbers.
        """
        aligned = self.find(frame)
        return self.smooth(frame, self.read([aligned])[0])

    def find(self, frame: Frame) -> Aligned:
        """The faces of the next frame."""
        self.prepare()
        assert self._tracker is not None
        size = int(self._weights.facts["config"]["size"])
        with self._cutter.hold(frame.image):
            faces = self._tracker(frame)
            if not len(faces):
                return Aligned(frame, faces, np.zeros((0, size, size, 3), np.uint8))
            with self.watch("crop"):
                return Aligned(frame, faces, self._cutter.later(frame.image, similarity(faces.landmarks, size), size))

    def read(self, several: Sequence[Aligned]) -> list[Scores]:
        """What the network says of the faces of some frames, before smoothing; all of them run through it at once."""
        self.prepare()
        assert self._runner is not None
        outputs: tuple[np.ndarray, ...] = ()
        light = np.zeros((2, 0))
        if any(map(len, several)):
            with self.watch("action units"):
                crops = self._cutter.join([aligned.crops for aligned in several if len(aligned)])
                outputs, light = self._runner(crops), self._cutter.luma(crops)
        scores, end = [], 0
        for aligned in several:
            begin, end = end, end + len(aligned)
            scores.append(self._scores(aligned, light[:, begin:end], *(output[begin:end] for output in outputs))
                          if len(aligned) else Scores.none(self._read_aus))
        return scores

    def smooth(self, frame: Frame, scores: Scores) -> Scores:
        """What `read` says of the next frame, calibrated and smoothed, with blinks, of the AUs asked for."""
        with self.watch("smooth"):
            scores = self.calibrator(frame, scores)
            if self._baseline is not None:
                scores = self._baseline(frame, scores)
            scores = self._smoother(frame, scores)
            if self._blinks is not None:
                scores = self._blinks(frame, scores)
            return scores if scores.aus == self.aus else scores.select(self.aus)

    def _scores(self, aligned: Aligned, light: np.ndarray, presence: np.ndarray, intensity: np.ndarray,
                *sight: np.ndarray) -> Scores:
        quality, assessable = assess(aligned.frame, aligned.faces, light, self._read_aus, *sight)
        columns = [self._columns[au] for au in self._read_aus]
        presence = np.where(assessable, presence[:, columns], np.nan).astype(np.float32)
        graded = assessable & (not are_attributes(self._read_aus))
        intensity = np.where(graded, np.clip(intensity[:, columns], 0, 5), np.nan).astype(np.float32)
        return Scores(self._read_aus, aligned.faces, presence, intensity, np.nan_to_num(presence) >= ON, assessable,
                      quality)

    def _open_landmarks(self, cutter: Cutter) -> Landmarker:
        if not isinstance(self._landmarks, str):
            return self._landmarks
        if self._landmarks == "fan":
            from .fan import Fan
            return Fan(device=self._engine["device"])
        if self._landmarks != "rtau":
            raise UsageError(f"unknown landmarks {self._landmarks!r}: choose from rtau, fan")
        weights = find_weights("landmarks")
        return LandmarkReader(weights, open_backend(weights, **self._engine), cutter)


def _choose(wanted: tuple[Label, ...] | str | None, weights: Weights) -> tuple[Label, ...]:
    """The AUs to report of those that a network reads; the attributes of one that reads no AUs."""
    if weights.facts.get("kind") != "au":
        raise UsageError(f"{weights.path.name} is a network for {weights.facts.get('kind', 'something else')}, which "
                         "reads no Action Units")
    aus = tuple(au for au in AUS if (CLOSED if au == BLINK else au) in weights.columns)
    known = aus or tuple(weights.columns) or tuple(weights.attributes)
    if are_attributes(known) and len(known) < len(weights.labels):
        raise UsageError(f"{weights.path.name} reads attributes whose names differ in signs alone, so that columns "
                         "would have one name: rename them, and train again")
    if isinstance(wanted, str):
        # "all" is what the network reads, which need not be all that rtau knows.
        wanted = None if wanted.strip().lower() == "all" else parse_labels(wanted, AUS if aus else known)
    missing = [au for au in wanted or () if au not in known]
    if missing:
        raise UsageError(f"{weights.path.name} does not read {names_of(missing)}: choose from "
                         f"{', '.join(map(str, known))}")
    return known if wanted is None else tuple(wanted)


class _Timed:
    """A detector whose seconds are counted."""

    def __init__(self, detector: Detector, watch: Stopwatch) -> None:
        self.name, self._detector, self._watch = detector.name, detector, watch

    def __call__(self, image: np.ndarray, **options) -> tuple[np.ndarray, np.ndarray]:
        with self._watch("detect"):
            return self._detector(image, **options)


class _TimedMarks:
    """A landmarker whose seconds are counted."""

    def __init__(self, landmarker: Landmarker, watch: Stopwatch) -> None:
        self.name, self._landmarker, self._watch = landmarker.name, landmarker, watch
        self.region_of_points = landmarker.region_of_points
        self.region_of_box = landmarker.region_of_box

    def __call__(self, image: np.ndarray, regions: np.ndarray) -> Marks:
        with self._watch("landmarks"):
            return self._landmarker(image, regions)
