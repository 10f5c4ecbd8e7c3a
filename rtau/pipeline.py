"""The one loop: frames from a source, through an analyzer, into sinks.

A file's frames are decoded, searched for faces and read side by side, in three threads with short queues between them,
so that every core has something to do; a camera's go through one after the other, since what counts there is how soon
a result is there. Both give the same numbers.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from .analyze import Analyzer
from .errors import RtauError
from .sinks import Sink
from .source import Source
from .types import Aligned, Frame, Scores, Status

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Frames that may wait for being searched, and for being read: enough to smooth out a slow one.
_DECODED, _FOUND = 2, 4
#: The AU network reads the faces of some frames together: of so many at most, or until there are so many faces.
_FRAMES, _FACES = 4, 8
#: The same where crops are cut on a GPU, for which few faces are too little to do.
_DEVICE_DECODED, _DEVICE_FOUND = 8, 32
_DEVICE_FRAMES, _DEVICE_FACES = 16, 16
#: As many bytes of large frames may wait in a place, or be read together; but one frame always.
_BYTES = 64 << 20


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        frames: frames analysed.
        rows: faces in all frames, plus one for every frame without a face.
        faces: different people (ids) seen.
        with_face: frames with at least one face.
        drops: live frames that were never analysed.
        seconds: wall clock.
        stages: seconds spent per stage; reading and encoding run beside the others.
        damage: what could not be decoded, in one line, or None.
        interrupted: stopped before the source ended, by the user or a closed window.
    """

    frames: int
    rows: int
    faces: int
    with_face: int
    drops: int
    seconds: float
    stages: dict[str, float] = field(repr=False)
    damage: str | None
    interrupted: bool

    @property
    def fps(self) -> float:
        """Frames per second, end to end."""
        return self.frames / self.seconds if self.seconds else 0.0


class Run:
    """One source, analysed into sinks.

    Args:
        source: where frames come from; closed at the end.
        analyzer: what reads them.
        sinks: opened before the first frame and closed at the end, whatever happens.
        watch: told of every frame and its scores after the sinks (progress bars, summaries).

    While `paused` is True a camera's frames are passed over: nothing is analysed or written.

    `run()` returns when the source ends, `stop()` was called, a sink asks for it (a closed
    window) or Ctrl-C is pressed; `outcome` then says how it went, also after an error.
    """

    def __init__(self, source: Source, analyzer: Analyzer, sinks: Sequence[Sink] = (),
                 watch: Callable[[Frame, Scores], None] | None = None) -> None:
        self._source, self._analyzer, self._sinks, self._watch = source, analyzer, sinks, watch
        self._stopped = threading.Event()
        self.paused = False
        self._frames = self._rows = self._with_face = 0
        self._ids: set[int] = set()
        self._seconds = 0.0
        self._interrupted = False

    def stop(self) -> None:
        """End the run after the frame in hand; may be called from any thread."""
        self._stopped.set()
        if self._source.live:
            # A camera that hangs gives no frame after which to end.
            self._source.close()

    @property
    def silent(self) -> float | None:
        """Seconds for which a live source has given nothing, where that is worth a word."""
        return getattr(self._source, "silent", None)

    @property
    def outcome(self) -> Outcome:
        """How the run went, so far or in the end."""
        return Outcome(self._frames, self._rows, len(self._ids), self._with_face, getattr(self._source, "drops", 0),
                       self._seconds, dict(self._analyzer.watch.seconds), self._source.damage, self._interrupted)

    def run(self) -> Outcome:
        """Do it.

        Raises:
            InputError: nothing could be read at all.
            OutputError: a sink can't write; what it had written stays.
        """
        started = time.perf_counter()
        try:
            with ExitStack() as stack:
                stack.callback(self._source.close)
                self._analyzer.prepare(side_by_side=not self._source.live)
                for sink in self._sinks:
                    stack.enter_context(sink)
                self._loop(stack)
        finally:
            self._seconds = time.perf_counter() - started
        return self.outcome

    def _loop(self, stack: ExitStack) -> None:
        watch = self._analyzer.watch
        recent: deque[float] = deque(maxlen=60)
        try:
            for frame, scores in self._one_by_one() if self._source.live else self._side_by_side(stack):
                recent.append(time.perf_counter())
                self._count(scores)
                status = self._status(frame, recent)
                with watch("write"):
                    for sink in self._sinks:
                        sink.write(frame, scores, status)
                if self._watch is not None:
                    self._watch(frame, scores)
                if self._stopped.is_set() or any(getattr(sink, "closed", False) for sink in self._sinks):
                    self._interrupted = True
                    break
        except KeyboardInterrupt:
            self._interrupted = True

    def _one_by_one(self) -> Iterator[tuple[Frame, Scores]]:
        for frame in self._source:
            if not self.paused:
                yield frame, self._analyzer(frame)
            elif self._stopped.is_set():
                break
        self._interrupted = self._stopped.is_set()

    def _side_by_side(self, stack: ExitStack) -> Iterator[tuple[Frame, Scores]]:
        analyzer = self._analyzer
        decoded_ahead, found_ahead, *most = (
            (_DEVICE_DECODED, _DEVICE_FOUND, _DEVICE_FRAMES, _DEVICE_FACES) if analyzer.on_device else
            (_DECODED, _FOUND, _FRAMES, _FACES))
        frames = ReadAhead(_timed(self._source, analyzer.watch), "rtau-decode", decoded_ahead, _frame_bytes)
        found = ReadAhead(map(analyzer.find, frames), "rtau-find", found_ahead,
                          lambda aligned: _frame_bytes(aligned.frame))
        # The first stage is left last, thus closed first, so that the second does not wait for it.
        stack.enter_context(found)
        stack.enter_context(frames)
        for together in _together(found, *most):
            for aligned, scores in zip(together, analyzer.read(together), strict=True):
                yield aligned.frame, analyzer.smooth(aligned.frame, scores)

    def _count(self, scores: Scores) -> None:
        self._frames += 1
        self._rows += max(len(scores), 1)
        self._with_face += len(scores) > 0
        self._ids.update(scores.faces.ids.tolist())

    def _status(self, frame: Frame, recent: deque[float]) -> Status:
        fps = (len(recent) - 1) / max(recent[-1] - recent[0], 1e-9) if len(recent) > 1 else 0.0
        age = time.monotonic() - frame.captured if frame.captured is not None else None
        return Status(fps, self._frames, getattr(self._source, "drops", 0), age, self._analyzer.backend,
                      self._source.name)


class ReadAhead(Generic[T]):
    """Goes through items in a thread of its own, a few ahead of whoever iterates; nothing is dropped.

    An error on the way is raised to who iterates, after the items that came before it.

    Args:
        items: where they come from; nobody else may iterate them.
        name: of the thread.
        ahead: how many may wait.
        weigh: bytes of an item; of large ones fewer wait, see `_BYTES`.
    """

    def __init__(self, items: Iterable[T], name: str, ahead: int, weigh: Callable[[T], int]) -> None:
        self._items, self._ahead, self._weigh = items, ahead, weigh
        self._waiting: deque[T] = deque()
        self._bytes = 0
        self._change = threading.Condition()
        self._ended = self._closed = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._read, name=name, daemon=True)

    def __enter__(self) -> ReadAhead[T]:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        with self._change:
            self._closed = True
            self._change.notify_all()
        self._thread.join(timeout=5)
        if self._thread.is_alive():
            log.warning("%s did not stop in time and is left behind", self._thread.name)

    def __iter__(self) -> Iterator[T]:
        while (item := self._take()) is not None:
            yield item

    def _take(self) -> T | None:
        with self._change:
            # Not for good: where waiting for a lock holds Ctrl-C off, it comes through between two waits.
            while not self._change.wait_for(lambda: self._waiting or self._ended or self._closed, timeout=0.2):
                pass
            if self._closed:
                return None
            if not self._waiting:
                if self._error is not None:
                    raise self._error
                return None
            item = self._waiting.popleft()
            self._bytes -= self._weigh(item)
            self._change.notify_all()
            return item

    def _read(self) -> None:
        try:
            for item in self._items:
                if not self._put(item):
                    return
        except Exception as error:  # who iterates raises it in their own thread
            if not isinstance(error, RtauError):
                log.debug("%s failed", self._thread.name, exc_info=True)
            self._error = error
        with self._change:
            self._ended = True
            self._change.notify_all()

    def _put(self, item: T) -> bool:
        """Whether anybody is still there to take it."""
        size = self._weigh(item)
        with self._change:
            self._change.wait_for(lambda: self._closed or not self._waiting or (
                len(self._waiting) < self._ahead and self._bytes + size <= _BYTES))
            self._waiting.append(item)
            self._bytes += size
            self._change.notify_all()
            return not self._closed


def _together(frames: Iterable[Aligned], most: int = _FRAMES, faces: int = _FACES) -> Iterator[list[Aligned]]:
    """Frames whose faces are read together, `most` or until there are so many faces. Which these are depends on the
    frames alone, not on how fast they come; those before an error come before it."""
    together: list[Aligned] = []
    try:
        for aligned in frames:
            together.append(aligned)
            held = sum(_frame_bytes(one.frame) for one in together)
            if len(together) >= most or sum(map(len, together)) >= faces or held >= _BYTES:
                yield together
                together = []
    except Exception:
        if together:
            yield together
        raise
    if together:
        yield together


def _frame_bytes(frame: Frame) -> int:
    return frame.image.nbytes


def _timed(source: Source, watch: Callable) -> Iterator[Frame]:
    frames = iter(source)
    while True:
        with watch("decode"):
            frame = next(frames, None)
        if frame is None:
            return
        yield frame
