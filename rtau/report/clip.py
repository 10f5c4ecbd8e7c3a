"""The video that a report can carry: small, and each picture at its own time."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2

from ..errors import OutputError
from ..video import Video

#: Pixels of the longer side.
_SIDE = 384
#: Pictures per second at most.
_RATE = 15.0
#: Bytes at most, roughly: a long video gets a lower rate.
MOST = 24 << 20
_CLOCK = 90_000
_CRF = 28


@dataclass(frozen=True)
class Clip:
    """A video for the page.

    Attributes:
        data: an MP4 file, H.264 without sound.
        width, height: pixels.
        begin: seconds of the table's time at which it begins.
    """

    data: bytes
    width: int
    height: int
    begin: float


def make_clip(path: Path, begin: float, end: float) -> Clip:
    """Encode a video anew, small.

    Args:
        path: the video.
        begin, end: seconds, what to take of it: begin <= time <= end.

    Raises:
        InputError: it can't be read, or has nothing from `begin` on.
        OutputError: this PyAV has no H.264 encoder.
    """
    file = io.BytesIO()
    last = -math.inf
    rate = max(20_000, 8 * MOST / max(end - begin, 1.0))
    options = {"preset": "veryfast", "crf": str(_CRF), "g": "60", "bf": "0", "maxrate": f"{rate:.0f}",
               "bufsize": f"{4 * rate:.0f}"}
    # A little more at the end, since the end of the range is not taken.
    with Video(path, start=begin, end=end + 1e-3) as video, av.open(file, "w", format="mp4") as container:
        try:
            stream = container.add_stream("libx264", rate=30, options=options)
        except ValueError as error:  # an FFmpeg built without x264
            raise OutputError(f"this PyAV has no H.264 encoder ({error}): pip install --force-reinstall av") from None
        size = first = None
        for frame in video:
            # Half a millisecond of slack, so that a rate of just _RATE is not halved.
            if frame.time - last < 1 / _RATE - 5e-4:
                continue
            if size is None:
                size, first = _small(*frame.size), frame.time
                stream.width, stream.height = size
                stream.pix_fmt = "yuv420p"
                stream.time_base = stream.codec_context.time_base = Fraction(1, _CLOCK)
            last = frame.time
            small = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
            picture = av.VideoFrame.from_ndarray(small, format="rgb24")
            picture.pts, picture.time_base = round((frame.time - first) * _CLOCK), Fraction(1, _CLOCK)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return Clip(file.getvalue(), *size, first)


def _small(width: int, height: int) -> tuple[int, int]:
    """Both even, the longer one at most _SIDE."""
    scale = min(1.0, _SIDE / max(width, height))
    return max(2, 2 * round(width * scale / 2)), max(2, 2 * round(height * scale / 2))
