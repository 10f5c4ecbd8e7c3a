"""What live sources share: trying again after a break, playing a file at its own pace, the newest frame winning."""

from __future__ import annotations

import logging
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace

from .source import Reader, Source
from .types import Frame

logger = logging.getLogger(__name__)

#: Seconds to wait before each attempt to open a lost camera or stream again: five in about ten seconds.
RETRIES = (0.5, 1.0, 2.0, 3.0, 4.0)
#: Seconds without a frame after which a live source is said to be silent.
QUIET = 3.0


class Live(Reader):
    """A live source that opens itself again when it breaks.

    Args:
        name: for people.
        clock: seconds that only rise.
        sleep: waits so many seconds; by default it also ends at `close`.
    """

    def __init__(self, name: str, *, clock: Callable[[], float] = time.monotonic,
                 sleep: Callable[[float], object] | None = None) -> None:
        super().__init__(name, live=True)
        self._clock = clock
        self._sleep = sleep or self._closing.wait
        self._failures = 0

    @abstractmethod
    def _connect(self) -> bool:
        """Open the device or address; whether it worked."""

    def _again(self) -> bool:
        """After a failed read: wait and open it anew, as often as `RETRIES` allows since the last good frame."""
        while self._failures < len(RETRIES) and not self._closing.is_set():
            pause = RETRIES[self._failures]
            self._failures += 1
            logger.info("%s gave nothing; opening it again in %g s", self.name, pause)
            self._release()
            self._sleep(pause)
            if not self._closing.is_set() and self._connect():
                return True
        return False


class Paced(Reader):
    """A file played as if it were a camera: each frame comes when its time has come, late ones at once.

    Args:
        source: the file; its frames keep their times and get `captured`.
        clock: seconds that only rise.
        sleep: waits so many seconds; by default it also ends at `close`.
    """

    def __init__(self, source: Source, *, clock: Callable[[], float] = time.monotonic,
                 sleep: Callable[[float], object] | None = None) -> None:
        super().__init__(source.name, live=True)
        self._source = source
        self._clock = clock
        self._sleep = sleep or self._closing.wait
        self.size, self.fps, self.expected = source.size, source.fps, source.expected

    def open(self) -> Paced:
        """Nothing to do: the file is open."""
        return self

    def _read(self) -> Iterator[Frame]:
        begin: float | None = None
        for frame in self._source:
            if begin is None:
                begin = self._clock() - frame.time
            early = begin + frame.time - self._clock()
            if early > 0:
                self._sleep(early)
            if self._closing.is_set():
                break
            # The moment it was due: what a slow reader adds is its own age.
            yield replace(frame, captured=begin + frame.time)
        self.damage = self._source.damage

    def _release(self) -> None:
        self._source.close()


class Newest:
    """The newest frame of a live source wins: a thread reads into a slot for one frame.

    Iterating gives the frame that came last and waits for one that was not given yet; frames that a
    newer one replaced are counted in `drops`. An error of the source is raised after the last frame.

    Args:
        source: what is read; closed with this.
        clock: seconds that only rise.

    Attributes:
        tell: is told, in a line, when no frame has come for `QUIET` seconds, and when one comes again.
    """

    live = True

    def __init__(self, source: Source, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._source, self._clock = source, clock
        self.tell: Callable[[str], object] = logger.warning
        self._came = clock()
        self._told = self._left = False
        self.name, self.size, self.fps = source.name, source.size, source.fps
        self.expected: int | None = None
        self.drops = 0
        self._slot: Frame | None = None
        self._ended = False
        self._error: Exception | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    @property
    def damage(self) -> str | None:
        """What the source says was amiss."""
        return self._source.damage

    @property
    def silent(self) -> float | None:
        """Seconds since the last frame where these are more than `QUIET`, else None."""
        passed = self._clock() - self._came
        return passed if passed >= QUIET and not (self._ended or self._closed) else None

    def __enter__(self) -> Newest:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        if self._thread is not None or self._closed:
            raise RuntimeError(f"{self.name} was read or closed before; open it anew")
        thread = threading.Thread(target=self._read, name="rtau-live", daemon=True)
        thread.start()
        # Known to `close` only once it runs: an unstarted thread can't be waited for.
        self._thread = thread
        return self._frames()

    def _frames(self) -> Iterator[Frame]:
        while True:
            with self._changed:
                # A time-out lets Ctrl-C through on every platform.
                while self._slot is None and not self._ended and not self._closed:
                    self._changed.wait(0.2)
                    self._look()
                frame, self._slot = self._slot, None
                if frame is None or self._closed:
                    break
            yield frame
        if self._error is not None and not self._closed:
            raise self._error

    def _look(self) -> None:
        """Say it where the source falls silent, and where it is no more."""
        if self._slot is not None and self._told:
            self._told = False
            self.tell(f"{self.name} gives pictures again")
        elif self._slot is None and self.silent is not None and not self._told:
            self._told = True
            self.tell(f"{self.name} has given no picture for {QUIET:g} s; waiting for it")

    def _read(self) -> None:
        try:
            for frame in self._source:
                with self._changed:
                    if self._closed:
                        return
                    self._came = self._clock()
                    if self._slot is not None:
                        self.drops += 1
                    self._slot = frame
                    self._changed.notify()
        except Exception as error:  # the consumer raises it in its own thread
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify()

    def close(self) -> None:
        """Stop reading and let go of the source. A driver that hangs is left behind after two seconds."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._source.close()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=2)
            if self._thread.is_alive() and not self._left:
                self._left = True
                logger.warning("%s does not answer and is left behind", self.name)
