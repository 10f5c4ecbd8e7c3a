"""Network streams: rtsp, http, udp and whatever else FFmpeg opens."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Self
from urllib.parse import urlsplit

import av

from .errors import InputError
from .live import Live
from .types import Frame
from .video import Timeline, Upright, nominal_rate, packets_of, video_stream

logger = logging.getLogger(__name__)


class Stream(Live):
    """A network stream.

    `Frame.time` is the presentation time stamp counted from the first frame, `Frame.captured` the clock at arrival.
    A live stream that breaks is opened again as a camera is; when the other side ends it, it ends. An address at
    which a whole video lies (its duration is known) is read like a file: `live` is False after `open`, `captured` is
    None, and where it breaks it ends, with `damage` set.

    Verified over HTTP from the same machine only, not with RTSP cameras.

    Args:
        url: the address; a password in it is left out of names and messages.
        timeout: seconds to wait for a connection, and for each piece of data.
        clock: seconds that only rise.
        sleep: waits so many seconds; by default it also ends at `close`.
    """

    def __init__(self, url: str, *, timeout: float = 10.0, clock: Callable[[], float] = time.monotonic,
                 sleep: Callable[[float], object] | None = None) -> None:
        parts = urlsplit(url)
        super().__init__(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(), clock=clock, sleep=sleep)
        self._url, self._timeout = url, timeout
        self._container: av.container.InputContainer | None = None
        self._fault = ""
        self._bad = 0

    def open(self) -> Self:
        """Connect. Raises InputError."""
        if self._container is None and not self._connect():
            raise InputError(f"{self.name} can't be opened: {self._fault}; check the address and that the other side "
                             "is sending")
        return self

    def _explain(self, error: av.FFmpegError | OSError) -> str:
        # FFmpeg says "Immediate exit requested" when PyAV ends a call that took too long.
        late = isinstance(error, av.error.ExitError)
        return f"no answer in {self._timeout:g} s" if late else error.strerror or str(error)

    def _connect(self) -> bool:
        options = {"fflags": "nobuffer", "flags": "low_delay"}
        if self._url.lower().startswith("rtsp"):
            options["rtsp_transport"] = "tcp"  # over UDP, lost packets smear the picture
        try:
            self._container = av.open(self._url, options=options, timeout=self._timeout, metadata_errors="replace")
        except (av.FFmpegError, OSError) as error:
            self._fault = self._explain(error)
            return False
        try:
            self._stream = video_stream(self._container, self.name)
        except InputError as error:
            self._fault = str(error).removeprefix(f"{self.name} ")
            self._release()
            return False
        self.live = not self._container.duration
        self.size = (self._stream.width, self._stream.height) if self._stream.width else None
        self.fps = nominal_rate(self._stream)
        return True

    def _decode(self) -> Iterator[av.VideoFrame]:
        """Frames, past broken packets. Raises av.FFmpegError when the connection breaks."""
        for packet in packets_of(self._container, self._stream):
            if self._closing.is_set():
                return
            if not packet.size:
                continue  # it would tell the decoder that all is over
            try:
                frames = self._stream.decode(packet)
            except av.FFmpegError as error:
                self._bad += 1
                logger.debug("%s: %s", self.name, error)
                continue
            yield from frames
        yield from self._stream.decode(None)

    def _read(self) -> Iterator[Frame]:
        begun: float | None = None
        upright = Upright()
        index = 0
        broken = False
        while not self._closing.is_set():
            timeline = None
            try:
                for frame in self._decode():
                    now = self._clock()
                    if timeline is None:
                        begun = now if begun is None else begun
                        # After a break the stamps may start anew, so time goes on by the clock.
                        timeline = Timeline(self._stream.time_base, None, self.fps, begin=now - begun)
                    self._failures = 0
                    yield Frame(upright(frame), timeline(frame.pts), index, self.name,
                                captured=now if self.live else None)
                    index += 1
                break
            except av.FFmpegError as error:
                self._fault = self._explain(error)
                broken = not (self.live and self._again())
                if broken:
                    break
        if self._closing.is_set():
            return
        if not index:
            raise InputError(f"{self.name} gave not one picture{': ' if self._fault else ''}{self._fault}")
        lines = [f"{self.name} broke off after {index} frames: {self._fault}"] if broken else []
        if self._bad:
            lines.append(f"{self._bad} of {index + self._bad} frames could not be decoded")
        self.damage = "; ".join(lines) or None

    def _release(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            container.close()
