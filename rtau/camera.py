"""Cameras, and whatever else may stand in for one.

Not verified on real cameras, nor on macOS and Windows: the tests put an object with OpenCV's methods in a camera's
place.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from .errors import InputError
from .live import RETRIES, Live, Newest, Paced
from .source import is_camera, is_picture, is_url, open_source
from .stream import Stream
from .types import Frame

__all__ = ["Camera", "CameraInfo", "Capture", "Newest", "Paced", "Stream", "find_cameras", "open_live"]

logger = logging.getLogger(__name__)


class Capture(Protocol):
    """What is needed of OpenCV's VideoCapture; `read` gives BGR uint8 [H, W, 3]."""

    def isOpened(self) -> bool: ...  # noqa: N802 (OpenCV's name)

    def read(self) -> tuple[bool, np.ndarray | None]: ...

    def set(self, setting: int, value: float) -> bool: ...

    def get(self, setting: int) -> float: ...

    def release(self) -> None: ...


@dataclass(frozen=True)
class CameraInfo:
    """A camera that is there: what to pass to `Camera`, and its name as the system gives it."""

    device: int
    name: str


def find_cameras(root: Path = Path("/")) -> list[CameraInfo]:
    """The cameras of this machine; on Linux without opening them, elsewhere by trying numbers 0 to 3.

    One camera can have several devices on Linux, not all of which give pictures.

    Args:
        root: where /dev and /sys are found, on Linux.
    """
    if sys.platform.startswith("linux"):
        found = []
        for device in (root / "dev").glob("video*"):
            if device.name[5:].isdigit():
                label = root / "sys/class/video4linux" / device.name / "name"
                name = label.read_text(errors="replace").strip() if label.exists() else device.name
                found.append(CameraInfo(int(device.name[5:]), name))
        return sorted(found, key=lambda camera: camera.device)
    found = []
    for number in range(4):
        capture = _opencv_capture(number)
        if capture.isOpened():
            found.append(CameraInfo(number, f"camera {number}"))
        capture.release()
    return found


def _system() -> str:
    """What OpenCV asks for cameras on this system, in words."""
    if sys.platform.startswith("linux"):
        return "V4L2"
    return {"darwin": "AVFoundation", "win32": "DirectShow, then Media Foundation"}.get(sys.platform, "any driver")


def _opencv_capture(device: int | str) -> Capture:
    import cv2

    from .pictures import quiet_opencv

    quiet_opencv()
    if sys.platform.startswith("linux"):
        drivers = (cv2.CAP_V4L2,)
    else:
        drivers = {"darwin": (cv2.CAP_AVFOUNDATION,), "win32": (cv2.CAP_DSHOW, cv2.CAP_MSMF)}.get(sys.platform, ())
    for driver in drivers:
        capture = cv2.VideoCapture(device, driver)
        if capture.isOpened():
            return capture
    return cv2.VideoCapture(device, cv2.CAP_ANY) if not drivers else capture


class Camera(Live):
    """A camera, through OpenCV.

    `Frame.time` and `Frame.captured` are the clock when a frame arrives; the former counts from the first frame.
    When reading fails, the camera is opened again after each of the pauses `RETRIES`; if that does not help, the
    iteration ends and `damage` says so.

    Args:
        device: number, digits, or a device such as /dev/video0.
        size: width and height to ask for; the camera may grant others, see `size` after `open`.
        fps: frames per second to ask for.
        capture: opens the device; for something else in OpenCV's place.
        clock: seconds that only rise.
        sleep: waits so many seconds; by default it also ends at `close`.
    """

    def __init__(self, device: int | str, *, size: tuple[int, int] | None = None, fps: float | None = None,
                 capture: Callable[[int | str], Capture] | None = None, clock: Callable[[], float] = time.monotonic,
                 sleep: Callable[[float], object] | None = None) -> None:
        text = str(device)
        self._device: int | str = int(text) if text.isdigit() else text
        super().__init__(f"camera {text}", clock=clock, sleep=sleep)
        self._wanted = size, fps
        self._open_capture = capture or _opencv_capture
        self._capture: Capture | None = None

    def open(self) -> Self:
        """Open the camera and set it up. Raises InputError, with the cameras there are."""
        if self._capture is None and not self._connect():
            cameras = ", ".join(f"{camera.device} ({camera.name})" for camera in find_cameras()) or "none"
            path = f"/dev/video{self._device}" if isinstance(self._device, int) else self._device
            tried = f"{path} with V4L2" if sys.platform.startswith("linux") else _system()
            raise InputError(f"{self.name} can't be opened: tried {tried}. Cameras found: {cameras}. Plug one in, close "
                             "programs that use it, or give another number, a URL or a file: "
                             "rtau live --camera video.mp4")
        return self

    def _connect(self) -> bool:
        import cv2

        capture = self._open_capture(self._device)
        if not capture.isOpened():
            capture.release()
            return False
        size, fps = self._wanted
        # In this order, and all before the first read: later changes make V4L2 start its stream anew.
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter_fourcc(*"MJPG"))
        if size:
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
        if fps:
            capture.set(cv2.CAP_PROP_FPS, fps)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        width, height = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.size = (width, height) if width > 0 and height > 0 else None
        granted = capture.get(cv2.CAP_PROP_FPS)
        self.fps = granted if granted > 0 else None
        if size and self.size != tuple(size):
            logger.info("%s: asked for %dx%d, got %s", self.name, *size, self.size)
        self._capture = capture
        return True

    def _read(self) -> Iterator[Frame]:
        import cv2

        first: float | None = None
        index = 0
        while not self._closing.is_set():
            good, image = self._capture.read()
            now = self._clock()
            if not good or image is None or not image.size:
                if self._again():
                    continue
                break
            self._failures = 0
            first = now if first is None else first
            code = cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB
            yield Frame(cv2.cvtColor(image, code), now - first, index, captured=now)
            index += 1
        if self._closing.is_set():
            return
        tries = f"opened it again {len(RETRIES)} times in vain"
        if not index:
            raise InputError(f"{self.name} can be opened but gives no picture ({tries}); another program may be using "
                             "it, or give another number")
        self.damage = f"{self.name} stopped giving pictures after {index} frames; {tries}"

    def _release(self) -> None:
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()


def open_live(what: int | str | Path, *, size: tuple[int, int] | None = None, fps: float | None = None) -> Newest:
    """Open something live, the newest frame winning: a camera, a stream, or a video played at its own pace.

    Args:
        what: number of a camera (also as digits) or its device (/dev/video0), a URL, or a video file.
        size, fps: what to ask a camera for; of no effect on the others.

    Raises:
        InputError: it can't be opened, or is a picture or a folder.
    """
    if is_url(what):
        stream = Stream(str(what)).open()
        return Newest(stream if stream.live else Paced(stream))
    if is_camera(what):
        return Newest(Camera(str(what), size=size, fps=fps).open())
    path = Path(str(what))
    if os.path.isdir(path) or (os.path.isfile(path) and is_picture(path)):
        raise InputError(f"{path} can't be played as if live; give a camera, a URL or a video, or use: "
                         f"rtau process {path}")
    return Newest(Paced(open_source(path)))
