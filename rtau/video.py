"""Video files, decoded in order with the time stamps they carry."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Self

import av
import numpy as np

from .cores import cores
from .errors import InputError
from .source import Reader, check_file, check_range
from .types import Frame

logger = logging.getLogger(__name__)

# FFmpeg would print to the user's terminal; what matters reaches the user through InputError and `damage`.
av.logging.set_level(None)

# After this many read errors in a row, the rest of a file is given up.
_READ_ERRORS = 20
# Threads of a decoder at most.
_THREADS = 4
# Seconds: who claims to last longer than 30 years is not believed.
_LONGEST = 1e9


#: What FFmpeg may take a file for: all but lists of other files and addresses, which a stranger's file could name.
_FORMATS = ",".join(sorted(av.formats_available - {"concat", "dash", "hls", "image2", "imf", "lavfi", "rtp", "rtsp", "sap",
                                                   "sdp", "webm_dash_manifest"}))


def open_container(file: Path | BinaryIO) -> av.container.InputContainer:
    """A file, or one in memory, opened by FFmpeg, which reads nothing but that.

    Raises:
        av.FFmpegError, OSError: it can't be; `av.ArgumentError` where it is a list of other files.
    """
    # Absolute: FFmpeg would take "a:b.mp4" for a protocol.
    return av.open(str(file.absolute()) if isinstance(file, Path) else file, metadata_errors="replace",
                   options={"format_whitelist": _FORMATS})


class Timeline:
    """Seconds from presentation time stamps, always rising.

    A frame without a stamp, or with one that is not after the frame before it (joined recordings do that), comes one
    nominal frame duration later.

    Args:
        time_base: seconds per unit of the stamps.
        origin: the stamp of time 0; None for the first that comes.
        rate: nominal frames per second.
        begin: seconds to give to the origin.
    """

    def __init__(self, time_base: Fraction, origin: int | None, rate: float | None, begin: float = 0.0) -> None:
        self._time_base, self._origin, self._begin = time_base, origin, begin
        self._step = 1 / (rate or 25.0)
        self._last: float | None = None

    def __call__(self, stamp: int | None) -> float:
        time = None
        if stamp is not None:
            if self._origin is None or (self._last is None and stamp < self._origin):
                self._origin = stamp
            time = self._begin + float((stamp - self._origin) * self._time_base)
        if self._last is not None and (time is None or time <= self._last):
            # Huge times have no room for a frame's duration behind them.
            time = max(self._last + self._step, math.nextafter(self._last, math.inf))
        self._last = self._begin if time is None else time
        return self._last


def video_stream(container: av.container.InputContainer, name: str) -> av.VideoStream:
    """The video stream to show, ready to decode on several threads. Raises InputError if there is none."""
    # The cover picture of a piece of music is a video stream too, to FFmpeg.
    cover = av.stream.Disposition.attached_pic
    streams = [stream for stream in container.streams.video if not stream.disposition & cover]
    if not streams:
        raise InputError(f"{name} has no video in it{', only sound' if container.streams.audio else ''}")
    best = container.streams.best("video")
    stream = best if best in streams else streams[0]
    if stream.codec_context is None:
        raise InputError(f"{name} is coded in a way that can't be decoded here; convert it to H.264")
    stream.thread_type = "AUTO"
    # Where the last frames of a file are damaged, PyAV gives up on all that the decoder's threads still hold: let
    # that be few.
    stream.codec_context.thread_count = min(cores(), _THREADS)
    return stream


def packets_of(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet]:
    """The packets of a stream, to the end. Raises av.FFmpegError."""
    try:
        yield from container.demux(stream)
    except IndexError:
        # PyAV trips at the very end over streams that only appeared on the way.
        return


def nominal_rate(stream: av.VideoStream) -> float | None:
    """Frames per second as the container claims."""
    rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate else None


def _turn(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
    """How to make the picture upright: swap rows with columns, then flip left-right, then flip up-down."""
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # PyAV 18 gives no side data at all if it does not know one kind (EXIF); what is lost so is mirroring only.
        return {90: (True, False, True), -90: (True, True, False), 180: (False, True, True),
                -180: (False, True, True)}.get(frame.rotation, (False, False, False))
    if matrix is None:
        return False, False, False
    a, b, _, c, d, *_ = np.frombuffer(bytes(matrix), np.int32).tolist()
    return (False, a < 0, d < 0) if abs(a) > abs(b) else (True, c < 0, b < 0)


def _tiny(frame: av.VideoFrame) -> av.VideoFrame:
    """A small copy with the same side data; the frame itself where it can't be scaled."""
    try:
        return frame.reformat(width=16, height=16)
    except (av.FFmpegError, ValueError):
        return frame


class Upright:
    """Makes the pictures of one stream upright, as their metadata says.

    How is looked up anew only where the rotation changes, and on a tiny copy: PyAV ties a frame and its side data into
    a knot that the garbage collector undoes late, and until then the decoder's buffers stay with the frame.
    """

    def __init__(self) -> None:
        self._rotation: int | None = None
        self._turned = False, False, False

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """A decoded frame of any pixel format as it should be seen: RGB uint8 [H, W, 3]."""
        if frame.format.name == "pal8" or any(component.is_alpha for component in frame.format.components):
            image = over_white(frame.to_ndarray(format="rgba"))
        else:
            image = frame.to_ndarray(format="rgb24")
        swap, mirror, flip = self._how(frame)
        if swap:
            image = image.swapaxes(0, 1)
        return np.ascontiguousarray(image[::-1 if flip else 1, ::-1 if mirror else 1])

    def size(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Width and height of the upright picture."""
        return (frame.height, frame.width) if self._how(frame)[0] else (frame.width, frame.height)

    def _how(self, frame: av.VideoFrame) -> tuple[bool, bool, bool]:
        if frame.rotation != self._rotation:
            self._rotation, self._turned = frame.rotation, _turn(_tiny(frame))
        return self._turned


def over_white(picture: np.ndarray) -> np.ndarray:
    """A picture with alpha, laid over white: uint8 [H, W, 4] -> uint8 [H, W, 3]; colour order as it was."""
    alpha = picture[..., 3:].astype(np.uint16)
    return ((picture[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def is_animated(path: Path) -> bool:
    """Whether a GIF has more than one frame; False if it can't be read."""
    try:
        with open_container(path) as container:
            return sum(1 for packet, _ in zip(container.demux(video=0), range(2)) if packet.size) > 1
    except (av.FFmpegError, OSError, IndexError):
        return False


class Video(Reader):
    """A video file.

    `Frame.time` is the presentation time stamp counted from the start of the stream, so it is right for videos of
    variable rate; see `Timeline` for broken stamps. `Frame.index` counts from the first frame of the file, whatever
    `start` is: everything before `start` is decoded and thrown away. A frame that could not be decoded leaves a gap.

    Args:
        path: the file.
        start, end: seconds; only frames with start <= time < end.
        every: only frames whose index is a multiple of this.
        most_seconds: end after so many seconds from `start`, and say so in `cut` if there was more.
        most_pixels: refuse frames with more.
    """

    def __init__(self, path: str | Path, *, start: float | None = None, end: float | None = None,
                 every: int = 1, most_seconds: float | None = None, most_pixels: int | None = None) -> None:
        check_range(start, end, every)
        super().__init__(Path(path).name, live=False)
        self._path, self._input = Path(path), str(path)
        self._start, self._end, self._every = start or 0.0, math.inf if end is None else end, every
        limit = self._start + (math.inf if most_seconds is None else most_seconds)
        self._limited, self._end = limit < self._end, min(limit, self._end)
        self._most_pixels = most_pixels
        self._container: av.container.InputContainer | None = None
        self._decoded: Iterator[av.VideoFrame] | None = None
        self._first: av.VideoFrame | None = None
        self._upright = Upright()
        self._packets = self._bad = self._marked = self._reached = 0
        self._stopped: str | None = None

    def open(self) -> Self:
        """Open the file and decode its first frame. Raises InputError."""
        if self._container is not None:
            return self
        check_file(self._path)
        try:
            self._container = open_container(self._path)
        except av.ArgumentError:
            raise InputError(f"{self._input} can't be read as a video: it is a list of other files, or no video at all; "
                             "name the files themselves") from None
        except (av.FFmpegError, OSError) as error:
            raise InputError(f"{self._input} can't be read as a video: {error.strerror or error}") from None
        try:
            self._stream = video_stream(self._container, self._input)
            self._check_pixels(self._stream.width * self._stream.height)
            self._decoded = self._decode()
            self._first = next(self._decoded, None)
            if self._first is None:
                raise InputError(f"{self._input} can't be read: not one frame of it could be decoded")
        except BaseException:
            self._release()
            raise
        self.size = self._upright.size(self._first)
        self.fps = nominal_rate(self._stream)
        self.expected = self._estimate()
        return self

    def _check_pixels(self, pixels: int) -> None:
        if self._most_pixels is None:
            return
        if pixels > self._most_pixels:
            raise InputError(f"{self._input} has frames of {pixels:,} pixels; the limit is {self._most_pixels:,} "
                             "(--max-pixels)")
        # Frames may grow on the way: the decoder itself then refuses them, before it takes memory for them.
        # A little more is allowed, since it counts whole blocks.
        self._stream.codec_context.options = {"max_pixels": str(self._most_pixels + self._most_pixels // 20 + 65536)}

    def _duration(self) -> float | None:
        """Seconds the video should last, by the container."""
        stream, container = self._stream, self._container
        if container.format.name == "avi" and stream.frames:
            # FFmpeg shortens the duration to what a file that was cut off still holds; the header tells the frames.
            return float(max(stream.frames, stream.duration or 0) * stream.time_base)
        if stream.duration:
            return float(stream.duration * stream.time_base)
        try:  # Matroska keeps it in a tag: "00:00:02.400000000"
            hours, minutes, seconds = map(float, stream.metadata["DURATION"].split(":"))
            told = hours * 3600 + minutes * 60 + seconds
            if 0 <= told < _LONGEST:  # False of NaN too
                return told
        except (KeyError, ValueError):
            pass  # no such tag: other formats keep it elsewhere
        if container.duration and len(container.streams) == 1:
            return container.duration / av.time_base
        return None

    def _estimate(self) -> int | None:
        duration, rate = self._duration(), self.fps
        total = self._stream.frames or (round(duration * rate) if duration and rate else 0)
        if total <= 0:
            return None
        if self._start or self._end < math.inf:
            rate = total / duration if duration else rate
            if not rate:
                return None
            total = max(0, round((min(self._end, total / rate) - self._start) * rate))
        return math.ceil(total / self._every)

    def _demux(self) -> Iterator[av.Packet]:
        errors = 0
        while True:
            try:
                for packet in packets_of(self._container, self._stream):
                    # Packets of no size would tell the decoder that the file is over; some AVIs are full of them.
                    self.steps += 1
                    if packet.size:
                        errors = 0
                        self._packets += 1
                        begun = packet.dts if packet.pts is None else packet.pts
                        self._reached = max(self._reached, (begun or 0) + (packet.duration or 0))
                        yield packet
                return
            except av.FFmpegError as error:
                errors += 1
                if errors >= _READ_ERRORS:
                    self._stopped = error.strerror
                    return

    def _decode(self) -> Iterator[av.VideoFrame]:
        """Frames, past whatever can't be decoded; `_bad` counts those that could not."""
        for packet in self._demux():
            if self._closing.is_set():
                return
            try:
                frames = self._stream.decode(packet)
            except av.FFmpegError as error:
                self._bad += 1
                logger.debug("%s: %s", self.name, error)
                continue
            yield from frames
        try:
            frames = self._stream.decode(None)
        except av.FFmpegError as error:
            self._bad += 1
            logger.debug("%s: %s", self.name, error)
            return
        yield from frames

    def _read(self) -> Iterator[Frame]:
        timeline = Timeline(self._stream.time_base, self._stream.start_time, self.fps)
        decoded = given = 0
        time = 0.0
        frame, self._first = self._first, None
        while frame is not None and not self._closing.is_set():
            # What failed so far counts, so that the frames after it keep their numbers.
            index, time = decoded + self._bad, timeline(frame.pts)
            decoded += 1
            if time >= self._end:
                self.cut = self._limited
                break
            if time >= self._start and index % self._every == 0:
                try:
                    image = self._upright(frame)
                except (av.FFmpegError, ValueError) as error:
                    decoded, self._bad = decoded - 1, self._bad + 1
                    logger.debug("%s: frame %d: %s", self.name, index, error)
                else:
                    self._marked += frame.is_corrupt
                    given += 1
                    self._report(decoded, whole=False)
                    yield Frame(image, time, index, self._input)
            frame = next(self._decoded, None)
        self._report(decoded, whole=frame is None and not self._closing.is_set())
        if not given and not self._closing.is_set():
            if not decoded:
                raise InputError(f"{self._input} can't be read: not one frame of it could be decoded")
            span = f"from {self._start:g} s" + (f" to {self._end:g} s" if self._end < math.inf else " on")
            raise InputError(f"{self._input} has no frame {span}; the last one read is at {time:.2f} s")

    def _report(self, decoded: int, *, whole: bool) -> None:
        """Set `damage`. `whole`: the file was read to its end, so what it lacks can be told."""
        lines = []
        if self._bad:
            lines.append(f"{self._bad} of {decoded + self._bad} frames could not be decoded")
        if self._marked:
            lines.append(f"{self._marked} frames are damaged and may look wrong")
        if whole:
            indexed, duration = len(self._stream.index_entries), self._duration() or 0.0
            reached = float(self._reached * self._stream.time_base)
            if self._stopped:
                lines.append(f"the file ends early: {self._stopped} after {decoded} frames")
            elif self._packets < indexed:
                lines.append(f"the file ends early: {self._packets} of {indexed} frames are there")
            elif duration - reached > max(0.5, 0.02 * duration):
                lines.append(f"the file ends early: {reached:.1f} of {duration:.1f} s are there")
        self.damage = "; ".join(lines) or None

    def _release(self) -> None:
        if self._container is not None:
            self._decoded = self._first = None
            self._container.close()
