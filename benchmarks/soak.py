"""Memory and open files over a long run of the whole pipeline, which must stay flat.

    python -m benchmarks.soak video.mp4 [--minutes 60] [--one | --live]

Plays the file again and again into a table that is thrown away: opened anew each time, or with --one decoded
once into memory and played from there, as one endless source. With --live its frames play a camera of 30 frames/s, as
`rtau live` sees it: people come and go, the picture's size changes, now and then it is black, and the camera breaks off
and comes back; there are a terminal's display, recordings, and a WebSocket client that connects and leaves. Prints a
line after each twentieth of the time: frames, frames per second since the line before, resident memory, open files,
threads.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console

from rtau.analyze import Analyzer
from rtau.bench.scenes import Again, crowd, play_file, play_images
from rtau.camera import Camera, Newest
from rtau.controls import Controls
from rtau.pipeline import Outcome, Run
from rtau.sinks import CsvSink, TerminalSink
from rtau.sinks.recorder import RecorderSink
from rtau.source import open_source
from rtau.streams import Lent, open_streams, parse_address
from rtau.types import Frame

_LINES = 20
#: Frames that are kept with --one, and with --live.
_KEPT, _ACTED = 250, 24
#: Frames per second of the camera that is played, and seconds from one break of it to the next.
_RATE, _BREAK = 30.0, 150.0
#: Seconds for which a client listens, and is away; from one recording to the next, and for which it lasts.
_LISTENS, _AWAY = 7.0, 5.0
_RECORD, _RECORDED = 100.0, 5.0


def memory_mb() -> float:
    """Resident memory of this process now (Linux), in MB; elsewhere the peak."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def open_files() -> int:
    """How many files are open (Linux); 0 elsewhere."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


class Meter:
    """Prints the lines; to be called with each frame."""

    def __init__(self, seconds: float) -> None:
        self._begun = self._last = time.perf_counter()
        self._every, self._frames, self._before = seconds / _LINES, 0, 0
        print(f"{'minutes':>8} {'frames':>8} {'frames/s':>9} {'MB':>6} {'files':>6} {'threads':>8}", flush=True)

    def __call__(self, frame: object, scores: object) -> None:
        self._frames += 1
        now = time.perf_counter()
        if now - self._last >= self._every:
            # Standard output as it was: the display has taken the present one.
            speed = (self._frames - self._before) / (now - self._last)
            print(f"{(now - self._begun) / 60:8.1f} {self._frames:8d} {speed:9.1f} {memory_mb():6.0f} "
                  f"{open_files():6d} {threading.active_count():8d}", flush=True, file=sys.__stdout__)
            self._last, self._before = now, self._frames


class Stage:
    """What a camera sees: a minute that begins again and again, of pictures in BGR.

    Args:
        images: of a clip with a face, uint8 [H, W, 3], RGB.
        box: [4], left, top, right, bottom of the face in the middle one.
    """

    def __init__(self, images: Sequence[np.ndarray], box: np.ndarray) -> None:
        height, width = images[0].shape[:2]
        there_and_back = [image[..., ::-1] for image in (*images, *images[-2:0:-1])]
        three, five = ([image[..., ::-1] for image in crowd(images, box, count, (width, height))] for count in (3, 5))
        half = [cv2.resize(image, (width // 2, height // 2)) for image in there_and_back]
        grey, black = np.full_like(images[0], 110), np.zeros_like(images[0])
        #: Until which second of the minute what is seen.
        self._acts = ((20, there_and_back), (28, [grey]), (40, three), (46, five), (50, [black]), (60, half))

    def look(self, seconds: float) -> np.ndarray:
        """The picture at a time."""
        images = next(images for until, images in self._acts if seconds % 60 < until)
        return images[int(seconds * _RATE) % len(images)]


class Capture:
    """OpenCV's VideoCapture, looking at a stage; it breaks off after a while."""

    def __init__(self, stage: Stage, begun: float) -> None:
        self._stage, self._begun, self._opened, self._given = stage, begun, time.monotonic(), 0

    def isOpened(self) -> bool:
        return True

    def set(self, setting: int, value: float) -> bool:
        return True

    def get(self, setting: int) -> float:
        return 0.0

    def read(self) -> tuple[bool, np.ndarray | None]:
        self._given += 1
        time.sleep(max(self._opened + self._given / _RATE - time.monotonic(), 0))
        now = time.monotonic()
        return (False, None) if now - self._opened > _BREAK else (True, self._stage.look(now - self._begun))

    def release(self) -> None:
        """Nothing to let go of."""


def visit(url: str, ended: threading.Event, count: list[int]) -> None:
    """A client that connects and leaves, again and again; counts its visits and the messages."""
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    while not ended.wait(_AWAY):
        try:
            with connect(url, proxy=None) as client:
                count[0] += 1
                until = time.monotonic() + _LISTENS
                while time.monotonic() < until:
                    client.recv(timeout=_LISTENS)
                    count[1] += 1
        except (OSError, TimeoutError, WebSocketException):
            continue


def record_now_and_then(recorder: RecorderSink, ended: threading.Event) -> None:
    """Recordings and snapshots, deleted when they are done."""
    while not ended.wait(_RECORD):
        recorder.toggle()
        recorder.snapshot()
        ended.wait(_RECORDED)
        recorder.toggle()
        ended.wait(2 * _RECORDED)
        for path in recorder.written:
            path.unlink(missing_ok=True)
        recorder.written.clear()


def live(images: Sequence[np.ndarray], analyzer: Analyzer, seconds: float) -> Outcome:
    """A live run over what the camera sees."""
    box = analyzer(Frame(images[len(images) // 2], 0.0, 0, still=True)).faces.boxes[0]
    stage, begun, ended, count = Stage(images, box), time.monotonic(), threading.Event(), [0, 0]
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        nowhere = stack.enter_context(open(os.devnull, "w"))
        console = Console(file=nowhere, force_terminal=True, width=120, height=40)
        streams = stack.enter_context(open_streams([parse_address("ws://127.0.0.1:0")], analyzer.aus))
        terminal, recorder = TerminalSink(console, screen=False), RecorderSink(folder)
        source = Newest(Camera(0, capture=lambda device: Capture(stage, begun)).open())
        source.tell = lambda line: None
        sinks = [CsvSink(os.devnull, analyzer.aus, overwrite=True), *map(Lent, streams), recorder, terminal]
        run = Run(source, analyzer, sinks, Meter(seconds))
        controls = Controls(run, analyzer, terminal, recorder)
        terminal.note, terminal.hint = controls.note, controls.hint
        for work in ((visit, streams[0].url, ended, count), (record_now_and_then, recorder, ended)):
            threading.Thread(target=work[0], args=work[1:], daemon=True).start()
        stack.callback(ended.set)
        timer = threading.Timer(seconds, run.stop)
        timer.daemon = True
        timer.start()
        outcome = run.run()
    print(f"{outcome.drops} dropped, {outcome.faces} people by their ids, {count[0]} visits with {count[1]} messages, "
          f"damage: {outcome.damage}, recording: {recorder.problem}")
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--one", action="store_true")
    how.add_argument("--live", action="store_true")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    seconds, kept = 60 * args.minutes, _KEPT if args.one else _ACTED if args.live else 0
    with open_source(args.video) as source:
        rate = source.fps or 25.0
        images = [frame.image for frame in itertools.islice(source, kept)]
    analyzer = Analyzer().prepare(side_by_side=not args.live)
    if args.live:
        outcome = live(images, analyzer, seconds)
    else:
        play = play_images(images) if args.one else play_file(args.video)
        table = CsvSink(os.devnull, analyzer.aus, overwrite=True)
        outcome = Run(Again(args.video.name, play, seconds, rate), analyzer, [table], Meter(seconds)).run()
    print(f"{outcome.frames} frames, {outcome.fps:.1f} frames/s, peak "
          f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB, backend {analyzer.backend}")


if __name__ == "__main__":
    main()
