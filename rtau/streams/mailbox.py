"""What stands between the analysis and a stream: a short queue, and the thread that empties it.

The analysis only leaves results in the queue. In a live run the newest win and it never waits; where nothing may be
lost (JSON lines of a file that is processed) it waits for room instead.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections import deque
from typing import Self

from ..errors import OutputError, RtauError
from ..types import Frame, Scores, Status
from .message import Moment

log = logging.getLogger(__name__)

#: Results that may wait in a live run: enough for a hiccup, few enough to stay fresh.
LIVE = 8
#: And when a file is processed, which goes faster than receivers are used to. Some megabytes at most.
PROCESSED = 512
#: Seconds that a stream may take at the end to hand over what waits, where losing it is allowed.
PATIENCE = 3.0


class Mailbox:
    """A queue of a few results between two threads.

    Args:
        limit: how many may wait.
        lossless: `put` waits for room; otherwise the oldest gives way to the newest.

    Attributes:
        dropped: results that gave way.
    """

    def __init__(self, limit: int, *, lossless: bool = False) -> None:
        self._limit, self._lossless = limit, lossless
        self._waiting: deque[Moment] = deque()
        self._change = threading.Condition()
        self._closed = False
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def closed(self) -> bool:
        """Whether no more results come."""
        return self._closed

    def put(self, moment: Moment) -> None:
        """Leave a result; after `close` it is dropped."""
        with self._change:
            # Not for good: Ctrl-C comes through between two waits.
            while self._lossless and len(self._waiting) >= self._limit and not self._closed:
                self._change.wait(0.2)
            if self._closed:
                self.dropped += 1
                return
            if len(self._waiting) >= self._limit:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(moment)
            self._change.notify_all()

    def take(self) -> Moment | None:
        """The oldest result, as soon as there is one; None once the box is closed and empty."""
        with self._change:
            self._change.wait_for(lambda: self._waiting or self._closed)
            moment = self._waiting.popleft() if self._waiting else None
            self._change.notify_all()
            return moment

    def close(self) -> None:
        """No more results come; those that wait can still be taken."""
        with self._change:
            self._closed = True
            self._change.notify_all()

    def clear(self) -> None:
        """Drop what waits."""
        with self._change:
            self.dropped += len(self._waiting)
            self._waiting.clear()
            self._change.notify_all()


class StreamSink(ABC):
    """A sink that sends each frame's results somewhere, from a thread of its own.

    A context manager like every sink: entering opens the address and raises OutputError where that fails, leaving
    hands over what waits and closes it. A stream may be opened once.

    Args:
        url: the address, for people.
        live: results of a camera: those that wait are few. Else of files.
        lossless: nothing may be lost; the analysis then waits for the stream.

    Attributes:
        url: the address, for people; with the port in use once it is open.
        sent: messages handed over.
    """

    def __init__(self, url: str, *, live: bool = True, lossless: bool = False) -> None:
        self.url = url
        self.sent = 0
        self._failed = 0
        self._lossless = lossless
        self._mail = Mailbox(LIVE if live else PROCESSED, lossless=lossless)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name=f"rtau-{url.split(':')[0]}", daemon=True)

    @property
    def dropped(self) -> int:
        """Frames of which nothing was sent, because the stream was slower than the analysis or sending failed."""
        return self._mail.dropped + self._failed

    @property
    def account(self) -> str:
        """What became of the frames, in one line without the address."""
        told = f"{self.sent} frame{'s' * (self.sent != 1)} sent"
        return told + (f", {self.dropped} dropped" if self.dropped else "")

    @property
    def invitation(self) -> str:
        """What a user should know once it is open, in one line."""
        return f"streaming to {self.url}"

    def __enter__(self) -> Self:
        self._open()
        self._thread.start()
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        self._mail.close()
        self._wake()
        if self._lossless:
            while self._thread.is_alive():
                self._thread.join(0.2)
        else:
            self._thread.join(PATIENCE)
        if self._thread.is_alive():
            # It hangs in a system call, of a pipe that nobody reads: what it uses must stay open.
            self._mail.clear()
            log.debug("%s takes nothing and is left behind", self.url)
        else:
            self._close()
        if kind is None:
            self._raise()

    def write(self, frame: Frame, scores: Scores, status: Status | None = None) -> None:
        """Leave this frame's results for the stream's thread.

        Raises:
            OutputError: the stream can't go on; for a network stream this does not happen.
        """
        self._raise()
        self._mail.put(Moment.of(frame, scores, status))
        self._wake()

    def _wake(self) -> None:
        """Called when there is something new in the mailbox, or it was closed."""

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _work(self) -> None:
        try:
            while (moment := self._mail.take()) is not None:
                if self._send(moment):
                    self.sent += 1
                else:
                    self._failed += 1
        except Exception as error:
            self._failed += 1
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """The stream can't go on: the analysis raises the error in its own thread."""
        if not isinstance(error, RtauError):
            log.debug("%s failed", self.url, exc_info=error)
        self._error = error if isinstance(error, RtauError) else OutputError(f"{self.url} failed: {error}")
        self._mail.close()
        self._mail.clear()

    @abstractmethod
    def _open(self) -> None:
        """Open the address, in the caller's thread. Raises OutputError."""

    @abstractmethod
    def _send(self, moment: Moment) -> bool:
        """Send one frame's results, in the stream's thread; whether that worked. An error ends the stream."""

    @abstractmethod
    def _close(self) -> None:
        """Close what `_open` opened; the thread has ended."""
