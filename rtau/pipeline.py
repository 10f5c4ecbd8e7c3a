"""The one loop: frames from a source, through an analyzer, into sinks."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from .analyze import Analyzer
from .errors import RtauError
from .sinks import Sink
from .source import Source
from .types import Frame, Scores, Status

log = logging.getLogger(__name__)

#: Decoded frames that may wait for the analysis: enough to smooth out a slow one, little memory even at 8K.
_AHEAD = 4


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

    `run()` returns when the source ends, `stop()` was called, a sink asks for it (a closed
    window) or Ctrl-C is pressed; `outcome` then says how it went, also after an error.
    """

    def __init__(self, source: Source, analyzer: Analyzer, sinks: Sequence[Sink] = (),
                 watch: Callable[[Frame, Scores], None] | None = None) -> None:
        self._source, self._analyzer, self._sinks, self._watch = source, analyzer, sinks, watch
        self._stopped = threading.Event()
        self._frames = self._rows = self._with_face = 0
        self._ids: set[int] = set()
        self._seconds = 0.0
        self._interrupted = False

    def stop(self) -> None:
        """End the run after the frame in hand; may be called from any thread."""
        self._stopped.set()

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
                self._analyzer.prepare()
                for sink in self._sinks:
                    stack.enter_context(sink)
                self._loop(stack)
        finally:
            self._seconds = time.perf_counter() - started
        return self.outcome

    def _loop(self, stack: ExitStack) -> None:
        watch = self._analyzer.watch
        frames: Iterable[Frame]
        if self._source.live:
            frames = self._source
        else:
            frames = stack.enter_context(ReadAhead(_timed(self._source, watch)))
        recent: deque[float] = deque(maxlen=60)
        try:
            for frame in frames:
                scores = self._analyzer(frame)
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


class ReadAhead:
    """Reads frames in a thread, a few ahead of whoever iterates; nothing is dropped.

    An error while reading is raised to the reader, after the frames that came before it.
    """

    def __init__(self, frames: Iterable[Frame], ahead: int = _AHEAD) -> None:
        self._frames = frames
        self._ready: queue.Queue = queue.Queue(maxsize=ahead)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read, name="rtau-read", daemon=True)

    def __enter__(self) -> ReadAhead:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closed.set()
        self._thread.join(timeout=5)
        if self._thread.is_alive():
            log.warning("the reader did not stop in time and is left behind")

    def __iter__(self) -> Iterator[Frame]:
        while True:
            kind, value = self._ready.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value

    def _read(self) -> None:
        try:
            for frame in self._frames:
                if not self._offer(("frame", frame)):
                    return
            self._offer(("end", None))
        except Exception as error:  # the consumer raises it in its own thread
            if not isinstance(error, RtauError):
                log.debug("reading failed", exc_info=True)
            self._offer(("error", error))

    def _offer(self, item: tuple[str, object]) -> bool:
        while not self._closed.is_set():
            try:
                self._ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False


def _timed(source: Source, watch: Callable) -> Iterator[Frame]:
    frames = iter(source)
    while True:
        with watch("decode"):
            frame = next(frames, None)
        if frame is None:
            return
        yield frame
