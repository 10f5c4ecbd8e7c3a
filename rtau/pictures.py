"""Still pictures: one, or many as one source."""

from __future__ import annotations

import io
import logging
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from .errors import InputError
from .picture_size import picture_size
from .source import Reader, check_file, check_range
from .types import Frame

logger = logging.getLogger(__name__)

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"


def quiet_opencv() -> None:
    """Keep OpenCV from printing to the user's terminal, unless OPENCV_LOG_LEVEL asks for it."""
    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


quiet_opencv()


def _png_fault(data: bytes) -> str | None:
    """What is wrong with the chunks of a PNG. Asked first because libpng prints what it meets."""
    at = len(_PNG)
    while at + 12 <= len(data):
        length, kind = int.from_bytes(data[at:at + 4], "big"), data[at + 4:at + 8]
        end = at + 8 + length
        if end + 4 > len(data):
            break
        # A small first letter means that readers may do without this chunk.
        if kind[:1].isupper() and zlib.crc32(data[at + 4:end]) != int.from_bytes(data[end:end + 4], "big"):
            return "its data is corrupt"
        if at == len(_PNG) and kind != b"IHDR":
            return "its data is corrupt"
        if kind == b"IEND":
            return None
        at = end + 4
    return "the file ends early"


def _may_have_alpha(data: bytes) -> bool:
    if data.startswith(_JPEG):
        return False
    if data.startswith(_PNG):
        return data[25:26] in b"\x04\x06" or b"tRNS" in data[:4096]
    return True


def _by_opencv(data: bytes) -> np.ndarray | None:
    """RGB uint8 [H, W, 3], upright by EXIF; None if OpenCV can't read it. Raises cv2.error for absurd sizes."""
    raw = np.frombuffer(data, np.uint8)
    bgr = cv2.imdecode(raw, cv2.IMREAD_COLOR)
    if bgr is None:
        return None
    if _may_have_alpha(data):
        # Only this way keeps alpha; but it doesn't turn the picture upright, nor give 8 bits.
        whole = cv2.imdecode(raw, cv2.IMREAD_UNCHANGED)
        if whole is not None and whole.shape == (*bgr.shape[:2], 4) and whole.dtype in (np.uint8, np.uint16):
            from .video import over_white

            bgr = over_white((whole // 257).astype(np.uint8) if whole.dtype == np.uint16 else whole)
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def _by_ffmpeg(data: bytes) -> np.ndarray | None:
    """The first frame FFmpeg makes of it, RGB uint8 [H, W, 3], upright; None if it can't read it."""
    import av

    from .video import Upright, open_container

    try:
        with open_container(io.BytesIO(data)) as container:
            # A video by the name of a picture is not one.
            if not container.format.name.endswith(("_pipe", "ico", "gif", "image2")):
                return None
            return Upright()(next(container.decode(video=0)))
    except (av.FFmpegError, StopIteration, IndexError, ValueError) as error:
        logger.debug("FFmpeg can't read it either: %s", error)
        return None


def read_picture(path: str | Path, most_pixels: int | None = None) -> tuple[np.ndarray, str | None]:
    """A picture file as RGB uint8 [H, W, 3] and what is missing of it, in words, or None.

    Turned upright by its EXIF data, 16 bits cut to 8, grey made RGB, transparent parts laid over white. (A picture
    that is both transparent and lying on its side by EXIF keeps the colours under its transparent parts.) Of a JPEG
    that ends early, what could be decoded is given.

    Raises:
        InputError: it is not there, can't be read, or has more than `most_pixels`.
    """
    path = Path(path)
    check_file(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from None
    if most_pixels is not None:
        _check_pixels(path, picture_size(data), most_pixels)
    fault = _png_fault(data) if data.startswith(_PNG) else None
    if fault:
        raise InputError(f"{path} can't be read: {fault}")
    # Cameras and editors append things, so the end marker need not come last.
    cut = data.startswith(_JPEG) and b"\xff\xd9" not in data[-max(4096, len(data) // 20):]
    try:
        image = None if cut else _by_opencv(data)
    except cv2.error as error:
        if "CV_IO_MAX_IMAGE" in str(error):
            raise InputError(f"{path} can't be read: it has too many pixels (the limit is about 2 to the 30)") from None
        logger.debug("%s: %s", path, error)
        image = None
    if image is None:
        image = _by_ffmpeg(data)
    if image is None or 0 in image.shape:
        raise InputError(f"{path} can't be read as a picture")
    if most_pixels is not None:
        _check_pixels(path, (image.shape[1], image.shape[0]), most_pixels)
    return image, "the file ends early, parts of the picture may be missing" if cut else None


def _check_pixels(path: Path, size: tuple[int, int] | None, most: int) -> None:
    if size is not None and size[0] * size[1] > most:
        raise InputError(f"{path} has {size[0]}x{size[1]} = {size[0] * size[1]:,} pixels; the limit is {most:,} "
                         "(--max-pixels)")


def _names(paths: list[Path]) -> str:
    more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
    return ", ".join(path.name for path in paths[:5]) + more


class Pictures(Reader):
    """Still pictures as one source, in the order given.

    Each `Frame` has `still=True`, time 0.0, the picture's path as `input` and its place in the list as `index`.
    Pictures that can't be read are skipped, leave a gap in the indices and are named in `damage`; if none can be
    read, InputError is raised.

    Args:
        paths: the picture files.
        every: only those whose place in the list is a multiple of this.
        name: what to call them; by default the file's name, or "N pictures".
        most_pixels: refuse pictures with more.
    """

    def __init__(self, paths: Iterable[str | Path], *, every: int = 1, name: str | None = None,
                 most_pixels: int | None = None) -> None:
        check_range(None, None, every)
        self._paths = [Path(path) for path in paths]
        if not self._paths:
            raise InputError("no pictures were given")
        single = len(self._paths) == 1
        super().__init__(name or (self._paths[0].name if single else f"{len(self._paths)} pictures"), live=False)
        self._every, self._most_pixels = every, most_pixels
        self._first: tuple[np.ndarray, str | None] | None = None
        self.expected = len(range(0, len(self._paths), every))

    def open(self) -> Self:
        """Read the picture if there is but one, so that what is wrong with it shows. Raises InputError."""
        if len(self._paths) == 1 and self._first is None:
            self._first = read_picture(self._paths[0], self._most_pixels)
            self.size = self._first[0].shape[1], self._first[0].shape[0]
        return self

    def _read(self) -> Iterator[Frame]:
        unread: list[Path] = []
        cut: list[Path] = []
        for index in range(0, len(self._paths), self._every):
            if self._closing.is_set():
                return
            path = self._paths[index]
            self.steps += 1
            try:
                image, missing = self._first or read_picture(path, self._most_pixels)
            except InputError as error:
                logger.info("%s", error)
                unread.append(path)
            else:
                self._first = None
                if missing:
                    cut.append(path)
                yield Frame(image, 0.0, index, str(path), still=True)
            self._report(unread, cut)
        if len(unread) == self.expected:
            raise InputError(f"none of the {self.expected} pictures of {self.name} could be read: {_names(unread)}")

    def _report(self, unread: list[Path], cut: list[Path]) -> None:
        lines = []
        if unread:
            lines.append(f"{len(unread)} of {self.expected} pictures could not be read: {_names(unread)}")
        if cut:
            lines.append(f"{len(cut)} of {self.expected} pictures end early, parts may be missing: {_names(cut)}")
        self.damage = "; ".join(lines) or None

    def _release(self) -> None:
        self._first = None
