"""Writing the pictures of a clip as a video whose time stamps are exactly those asked for."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import av
import numpy as np
from av.video.reformatter import Colorspace

from rtau.errors import UsageError
from rtau.sinks.overlay import VIDEO_FORMATS

#: Ticks per second of a clip's clock: a whole number of them lie between frames at all usual rates, NTSC's too,
#: and MPEG-4 allows no more than 65,535.
_CLOCK = 60_000
#: Matroska keeps milliseconds.
_MATROSKA_CLOCK = 1000
_KEY_SECONDS = 2


def check_video_name(path: Path) -> None:
    """Raises UsageError if the name says of no known kind of video."""
    if path.suffix.lower() not in VIDEO_FORMATS:
        raise UsageError(f"can't write a video named {path.name}: end it with {', '.join(VIDEO_FORMATS)}")


def clock_of(path: Path) -> int:
    """Ticks per second that such a video can tell apart."""
    return _MATROSKA_CLOCK if VIDEO_FORMATS[path.suffix.lower()] == "matroska" else _CLOCK


class Encoder:
    """One video, H.264 where this FFmpeg has it, else MPEG-4; yuv420p, BT.709.

    Args:
        path: the file to write, replaced if it exists.
        suffix: chooses the container.
        size: width and height, even.
        fps: nominal frames per second.
        crf: H.264 quality, 0 (best) to 51.

    Attributes:
        codec: "h264" or "mpeg4".

    Raises:
        OSError: on opening, writing or closing: the file can't be written.
    """

    def __init__(self, path: Path, suffix: str, size: tuple[int, int], fps: float, *, crf: int) -> None:
        self._clock = clock_of(Path(f"x{suffix}"))
        # "file:" keeps a name with a colon from being read as a protocol.
        self._container: Any = av.open(f"file:{path}", "w", format=VIDEO_FORMATS[suffix.lower()])
        try:
            rate = Fraction(fps).limit_denominator(1001)
            try:
                # Without B-frames the first time stamp is 0 and none is shifted.
                self._stream: Any = self._container.add_stream(
                    "libx264", rate=rate, options={"preset": "veryfast", "crf": str(crf), "bf": "0"})
                self.codec = "h264"
            except ValueError:  # an FFmpeg without x264
                self._stream = self._container.add_stream("mpeg4", rate=rate, options={"qscale": "2", "bf": "0"})
                self._stream.codec_context.flags |= av.codec.context.Flags.qscale
                self._stream.codec_context.global_quality = 2 * 118  # FFmpeg's unit of quality
                self.codec = "mpeg4"
            stream, context = self._stream, self._stream.codec_context
            stream.width, stream.height = size
            stream.pix_fmt = "yuv420p"
            stream.time_base = context.time_base = Fraction(1, self._clock)
            context.gop_size = max(round(_KEY_SECONDS * fps), 1)
            context.color_primaries = context.color_trc = context.colorspace = 1  # BT.709
            context.color_range = 1  # limited
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                self._container.mux(self._stream.encode(None))
        finally:
            try:
                self._container.close()
            except OSError:
                if kind is None:  # else the first error says what happened
                    raise

    def add(self, image: np.ndarray, time: float) -> None:
        """Append a picture, uint8 RGB [H, W, 3], at `time` seconds, later than the one before."""
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        picture = picture.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
        picture.pts = round(time * self._clock)
        picture.time_base = Fraction(1, self._clock)
        self._container.mux(self._stream.encode(picture))
