"""The detectors of the package face-alignment, behind rtau's interface.

The package's own constructor fetches unchecked files and unpickles some of them without
care. Here the files are fetched by rtau, checked where a checksum is known, and handed over
by path, which the package then reads as tensors only. Nothing is compiled, and its landmark
network is not touched.
"""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np

from .cache import fetch
from .detect import ResizedSearch
from .errors import RtauError, UsageError


@dataclass(frozen=True)
class _File:
    """A file that a detector reads: its name in torch's cache, its key in the package's table of
    URLs (None where there is a single URL), and the beginning of its SHA-256, if known."""

    name: str
    key: str | None
    sha256: str | None = None


@dataclass(frozen=True)
class _Kind:
    """A detector: its default widths, its name for the least score, and its files by argument."""

    widths: tuple[int, ...]
    threshold: str
    files: dict[str, _File]


_ANCHORS_SHA256 = "a10bb2fb93ab54ca426d6c750bfc3aad685028a16dcf231357d03694f261fd95"
_BLAZEFACE_FRONT = {
    "path_to_detector": _File("blazeface.pth", "blazeface_weights",
                              "54ecff653feaaaf1f7d44b6aff28fd2fc50e483a4e847563b6dd261369c43ba4"),
    "path_to_anchor": _File("anchors.npy", "blazeface_anchors", _ANCHORS_SHA256)}
_BLAZEFACE_BACK = {
    "path_to_detector": _File("blazefaceback.pth", "blazeface_back_weights",
                              "e2c03bb3ae45e769eaaa0a7cc7d4f61f54a5e3fbae6367d870166702e7022b11"),
    "path_to_anchor": _File("anchorsback.npy", "blazeface_back_anchors", _ANCHORS_SHA256)}
_KINDS = {
    "sfd": _Kind((640,), "filter_threshold", {"path_to_detector": _File("s3fd-619a316812.pth", "s3fd", "619a316812")}),
    "blazeface": _Kind((256,), "min_score_thresh", _BLAZEFACE_BACK),
    "retinaface": _Kind((640,), "confidence_threshold", {
        "path_to_detector": _File("retinaface_mobilenet0.25.pth", "retinaface_mobilenet0.25")}),
    "scrfd": _Kind((640,), "confidence_threshold", {"path_to_detector": _File("scrfd_2.5g_bnkps.onnx", None)}),
}


class FaceAlignmentDetector(ResizedSearch):
    """One of sfd, blazeface, retinaface and scrfd.

    BlazeFace has two networks: one for pictures of 128 pixels (faces near the camera), one for
    256; `widths` says which. The others take pictures of any size; scrfd resizes to 640.

    Args:
        name: "sfd", "blazeface", "retinaface" or "scrfd".
        widths: see `open_detector`; None: the detector's own.
        min_score: faces below this score are left out.
        model: file with the weights; BlazeFace's anchors (anchors.npy or anchorsback.npy) lie
            beside it. None: torch's cache, filled over the network where it is empty.
        device: torch's name of a device; scrfd knows only "cpu" and "cuda".

    Raises:
        UsageError: a width that BlazeFace does not have, or a device that is not there.
        RtauError: a package is missing, or the weights can't be fetched or read.
    """

    def __init__(self, name: str, *, widths: Sequence[int] | None = None, min_score: float = 0.5,
                 model: str | Path | None = None, device: str = "cpu") -> None:
        kind = _KINDS[name]
        super().__init__(name, widths or kind.widths, min_score)
        options: dict[str, object] = {kind.threshold: min_score}
        files = kind.files
        if name == "blazeface":
            if self.widths not in ((128,), (256,)):
                raise UsageError(f"blazeface has a network for a width of 128 and one for 256, not {self.widths}")
            options["back_model"] = self.widths == (256,)
            files = _BLAZEFACE_BACK if options["back_model"] else _BLAZEFACE_FRONT
        module, build = _import(name)
        _check_device(name, device)
        for argument, file in files.items():
            options[argument] = str(_locate(module, file, model, argument))
        try:
            self._network = build(device=device, verbose=False, **options)
        except ImportError as error:
            raise RtauError(f"the detector {name} needs {error.name or 'onnxruntime'}: "
                            f"pip install {error.name or 'onnxruntime'}") from error
        except (RuntimeError, ValueError, KeyError, OSError, EOFError, pickle.UnpicklingError) as error:
            raise RtauError(f"the detector {name} can't read its weights {options['path_to_detector']} "
                            f"({_first_line(error)}): put the right file there, or delete it") from error

    def find(self, small: np.ndarray) -> np.ndarray:
        h, w = small.shape[:2]
        if self.name == "blazeface":
            # It cuts a square out of the middle: complete the picture to one, so that nothing is cut off.
            small = cv2.copyMakeBorder(small, 0, max(w - h, 0), 0, max(h - w, 0), cv2.BORDER_CONSTANT)
        faces = np.array(self._network.detect_from_image(small), np.float64).reshape(-1, 5)
        if self.name == "blazeface":
            # Its boxes are squares from the brows to the chin, 5 % wider than the face: with the brows'
            # height at 0 and the chin's at 1, -0.05 to 0.99 and 1.04 wide.
            side = faces[:, 2] - faces[:, 0]
            faces[:, 0] += 0.03 * side
            faces[:, 2] -= 0.03 * side
            faces[:, 1] -= 0.28 * side
        return faces


def _import(name: str) -> tuple[ModuleType, Callable[..., Any]]:
    """The package's module of a detector, which holds its URLs, and the detector's class."""
    try:
        importlib.import_module("face_alignment")
    except ImportError as error:
        raise RtauError(f"the detector {name} needs the package face-alignment ({_first_line(error)}): "
                        "pip install face-alignment") from error
    try:
        module = importlib.import_module(f"face_alignment.detection.{name}.{name}_detector")
        build = importlib.import_module(f"face_alignment.detection.{name}").FaceDetector
    # A torchvision built for another torch raises RuntimeError.
    except (ImportError, RuntimeError) as error:
        missing = getattr(error, "name", None)
        raise RtauError(f"the detector {name} of the installed face-alignment does not load ({_first_line(error)}): "
                        + (f"pip install {missing.split('.')[0]}, " if missing and "face_alignment" not in missing
                           else "") + "upgrade face-alignment, or choose another detector") from error
    return module, build


def _check_device(name: str, device: str) -> None:
    import torch
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device.split(":")[0]):
        raise UsageError(f"the detector {name} can't run on {device!r} here: choose "
                         + " or ".join(kind for kind, available in there.items() if available))


def _locate(module: ModuleType, file: _File, model: str | Path | None, argument: str) -> Path:
    """Where a file of a detector lies, after fetching it if need be."""
    if model is not None:
        path = Path(model) if argument == "path_to_detector" else Path(model).with_name(file.name)
        if not path.is_file():
            raise RtauError(f"there is no file {path}, which goes with {model}")
        return path
    import torch
    path = Path(torch.hub.get_dir()) / "checkpoints" / file.name
    if path.is_file():
        return path
    url = module.model_url if file.key is None else module.models_urls[file.key]
    return fetch(url, path, sha256=file.sha256, otherwise=f"put that file at {path}")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
