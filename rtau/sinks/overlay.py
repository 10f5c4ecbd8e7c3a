"""Annotated videos and pictures: the source with boxes, landmarks and Action Units drawn on it."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..errors import OutputError
from ..overlay import Overlay, check_style
from ..types import Frame, Scores, Status
from .paths import exists_error, open_output, output_error, write_bytes

log = logging.getLogger(__name__)

VIDEO_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")

#: Ticks per second of the video's clock: fine enough that any source's times are kept to 0.01 ms.
_CLOCK = 90_000
#: Seconds a picture is shown where the source gives no time for it (a folder of stills).
_STILL_SECONDS = 1.0
#: Seconds between key frames; a killed run loses at most this much of the video.
_KEY_SECONDS = 1.0


def open_overlay(path: str | Path, *, overwrite: bool = False, style: str = "bars") -> OverlaySink | PictureSink:
    """The sink that suits the name: a video, a picture, or a folder of pictures.

    Args:
        path: `out.mp4` (also .m4v, .mov, .mkv) for a video; `out.jpg`, `out.png` for one picture; a folder
            that exists, or a name that ends with `/`, for one picture per picture of the source.
        overwrite: replace files that exist.
        style: how the scores are drawn, see `rtau.overlay.STYLES`.

    Raises:
        OutputError: the name fits none of these. UsageError: there is no such style.
    """
    suffix = Path(path).suffix.lower()
    if Path(path).is_dir() or str(path).endswith(("/", os.sep)) or suffix in PICTURE_SUFFIXES:
        return PictureSink(path, overwrite=overwrite, style=style)
    return OverlaySink(path, overwrite=overwrite, style=style)


class OverlaySink:
    """Writes an H.264 video with the scores drawn on it, each picture at its source time.

    Drawing and encoding run in their own thread behind a short queue: when the encoder can't keep up, `write`
    waits. The file is fragmented, so it plays even after the process was killed. Odd sizes are padded by one
    pixel; a picture of another size than the first is fitted into the first's size with black borders.

    Args:
        path: the file; its suffix (.mp4, .m4v, .mov, .mkv) chooses the container.
        overwrite: replace a file that exists.
        crf: quality, 0 (best) to 51; 18..23 look good.
        preset: x264's name for speed against size.
        style: how the scores are drawn, see `rtau.overlay.STYLES`.

    Raises:
        OutputError: the suffix is unknown; on entering or writing: the file exists or can't be written.
        UsageError: there is no such style.
    """

    def __init__(self, path: str | Path, *, overwrite: bool = False, crf: int = 20, preset: str = "ultrafast",
                 style: str = "bars") -> None:
        self.path = Path(path)
        if self.path.suffix.lower() not in VIDEO_FORMATS:
            raise OutputError(f"can't write a video named {self.path.name}: end it with {', '.join(VIDEO_FORMATS)}, "
                              "or with .jpg or .png for a picture")
        self.overwrite = overwrite
        self.crf = crf
        self.preset = preset
        self.style = check_style(style)
        self._queue: queue.Queue[tuple[Frame, Scores] | None] | None = None
        self._worker: threading.Thread | None = None
        self._error: OutputError | None = None

    def __enter__(self) -> OverlaySink:
        os.close(open_output(self.path, overwrite=self.overwrite))
        return self

    def write(self, frame: Frame, scores: Scores, status: Status | None = None) -> None:
        """Hand over one frame; waits while the queue is full."""
        if self._queue is None:
            # About 64 MB of waiting pictures, whatever their size.
            self._queue = queue.Queue(max(2, min(8, (64 << 20) // frame.image.nbytes)))
            self._worker = threading.Thread(target=self._run, args=(frame.size,), name="overlay", daemon=True)
            self._worker.start()
        while self._error is None:
            with contextlib.suppress(queue.Full):
                return self._queue.put((frame, scores), timeout=0.1)
        raise self._error

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self._queue is None or self._worker is None:  # nothing was ever written: leave no empty video
            with contextlib.suppress(OSError):
                if self.path.is_file() and self.path.stat().st_size == 0:
                    self.path.unlink()
            return
        while self._worker.is_alive():
            with contextlib.suppress(queue.Full):
                self._queue.put(None, timeout=0.1)
                break
        self._worker.join()
        if self._error is not None and kind is None:
            raise self._error

    def _run(self, size: tuple[int, int]) -> None:
        """The thread: draw and encode until told to stop."""
        assert self._queue is not None
        try:
            with _Encoder(self.path, size, crf=self.crf, preset=self.preset) as encoder:
                overlay, last = Overlay(self.style), None
                while (item := self._queue.get()) is not None:
                    frame, scores = item
                    if frame.still:
                        overlay.forget()
                    time = frame.time
                    if frame.still and last is not None and time <= last:
                        time = last + _STILL_SECONDS
                    last = time
                    encoder.add(overlay(frame.image, scores), time)
        except OSError as error:
            self._error = output_error(self.path, error)
        except Exception as error:
            log.debug("encoding failed", exc_info=True)
            self._error = OutputError(f"can't write {self.path}: {error}")


class _Encoder:
    """One H.264 stream in one file."""

    def __init__(self, path: Path, size: tuple[int, int], *, crf: int, preset: str) -> None:
        import av
        from av.video.reformatter import Colorspace

        self._path = path
        self._av, self._colours = av, Colorspace.ITU709
        self.size = size[0] + size[0] % 2, size[1] + size[1] % 2
        # Fragments make a cut-off file playable; "delay_moov" lets the header say when the first picture is shown.
        # "file:" keeps a name with a colon from being read as a protocol.
        self._container: Any = av.open(
            f"file:{path}", "w", format=VIDEO_FORMATS[path.suffix.lower()],
            container_options={"movflags": "frag_keyframe+delay_moov+default_base_moof", "flush_packets": "1"}
            if path.suffix.lower() != ".mkv" else {"flush_packets": "1", "cluster_time_limit": "1000"})
        try:
            # Without B-frames every picture is decoded in the order it is shown, and a cut-off file loses least.
            self._stream: Any = self._container.add_stream(
                "libx264", rate=30, options={"preset": preset, "crf": str(crf), "bf": "0", "g": "600",
                                          "forced-idr": "1"})
        except ValueError as error:  # an FFmpeg built without x264
            self._container.close()
            raise OSError(f"this PyAV has no H.264 encoder ({error}): pip install --force-reinstall av") from error
        from fractions import Fraction

        stream, context = self._stream, self._stream.codec_context
        stream.width, stream.height = self.size
        stream.pix_fmt = "yuv420p"
        stream.time_base = context.time_base = Fraction(1, _CLOCK)
        context.color_primaries = context.color_trc = context.colorspace = 1  # BT.709
        context.color_range = 1  # limited
        self._last = -1
        self._next_key = 0.0

    def __enter__(self) -> _Encoder:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()
        if kind is None and not _ends_whole(self._path):
            raise OSError("its end is missing, perhaps for lack of space; what was written so far is kept")

    def add(self, image: np.ndarray, time: float) -> None:
        """Append a picture, RGB uint8, shown from `time` seconds on."""
        picture = self._av.VideoFrame.from_ndarray(fitted(image, self.size), format="rgb24")
        picture = picture.reformat(format="yuv420p", dst_colorspace=self._colours)
        picture.pts = self._last = max(round(time * _CLOCK), self._last + 1)
        picture.time_base = self._stream.codec_context.time_base
        if time >= self._next_key:
            picture.pict_type = self._av.video.frame.PictureType.I
            self._next_key = time + _KEY_SECONDS
        self._container.mux(self._stream.encode(picture))


def _ends_whole(path: Path) -> bool:
    """Whether an MP4 file holds its last part to the end: FFmpeg is silent when that can't be written. True of what
    isn't MP4, or can't be read back."""
    if path.suffix.lower() == ".mkv" or not path.is_file():
        return True
    kind, at, size = b"", 0, path.stat().st_size
    with path.open("rb") as file:
        while at + 8 <= size:
            file.seek(at)
            head = file.read(16)
            # A length of 1 says that the length follows in 8 bytes more.
            length, kind = int.from_bytes(head[:4], "big"), head[4:8]
            at += max(int.from_bytes(head[8:], "big") if length == 1 else length, 8)
    return at == size and kind == b"mfra"


def fitted(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The picture at `size` (width, height): padded where it is one pixel short, else scaled between black borders."""
    width, height = size
    h, w = image.shape[:2]
    if (w, h) == size:
        return image
    if 0 <= width - w <= 1 and 0 <= height - h <= 1:
        return cv2.copyMakeBorder(image, 0, height - h, 0, width - w, cv2.BORDER_REPLICATE)
    scale = min(width / w, height / h)
    w, h = max(1, min(width, round(w * scale))), max(1, min(height, round(h * scale)))
    small = cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    x, y = (width - w) // 2, (height - h) // 2
    return cv2.copyMakeBorder(small, y, height - h - y, x, width - w - x, cv2.BORDER_CONSTANT)


class PictureSink:
    """Writes annotated pictures: one file, or one per picture into a folder, under the source's names.

    Args:
        path: `out.jpg`, `out.png` or the like for a single picture; else a folder, made if its parent exists.
        overwrite: replace files that exist.
        style: how the scores are drawn, see `rtau.overlay.STYLES`.

    Raises:
        UsageError: there is no such style.
        OutputError: on entering or writing: a file exists or can't be written, or a single picture was named
            and the source has more.
    """

    def __init__(self, path: str | Path, *, overwrite: bool = False, style: str = "bars") -> None:
        self.path = Path(path)
        self.overwrite = overwrite
        self._overlay = Overlay(style)
        self._folder = self.path.suffix.lower() not in PICTURE_SUFFIXES or self.path.is_dir()
        self._written = 0
        self._names: set[str] = set()

    def __enter__(self) -> PictureSink:
        try:
            if self._folder:
                self.path.mkdir(exist_ok=True)
                if not os.access(self.path, os.W_OK):
                    raise PermissionError(13, "")
            elif self.path.exists() and not self.overwrite:
                raise exists_error(self.path)
            elif not self.path.parent.is_dir():
                raise FileNotFoundError(2, "")
        except OSError as error:
            raise output_error(self.path, error) from error
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def write(self, frame: Frame, scores: Scores, status: Status | None = None) -> None:
        """Draw and write one picture."""
        if not self._folder and self._written:
            raise OutputError(f"{self.path} holds one picture but the source has more: name a video such as "
                              f"{self.path.with_suffix('.mp4')}, or a folder such as "
                              f"{self.path.with_suffix('')}{os.sep}")
        target = self._target(frame)
        if frame.still:
            self._overlay.forget()
        bgr = cv2.cvtColor(self._overlay(frame.image, scores), cv2.COLOR_RGB2BGR)
        try:
            done, data = cv2.imencode(target.suffix.lower(), bgr)
        except cv2.error:
            done = False
        if not done:
            raise OutputError(f"can't write {target}: this OpenCV can't make {target.suffix} files: use .png or .jpg")
        write_bytes(target, data, overwrite=self.overwrite)
        self._written += 1

    def _target(self, frame: Frame) -> Path:
        if not self._folder:
            return self.path
        source = Path(frame.input)
        suffix = source.suffix.lower() if source.suffix.lower() in PICTURE_SUFFIXES else ".jpg"
        # The frames of a video share a name, and pictures of two folders may.
        name = f"{source.stem}{suffix}"
        if not frame.still or not source.stem or name in self._names:
            name = f"{source.stem or 'frame'}_{frame.index:06d}{suffix}"
        self._names.add(name)
        target = self.path / name
        if frame.input and target.exists() and source.exists() and target.samefile(source):
            raise OutputError(f"{target} is the source itself: choose another folder for the annotated pictures")
        return target
