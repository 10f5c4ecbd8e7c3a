"""What each stream adds: seconds from `write` until a program beside rtau holds the frame's message, decoded.

    python benchmarks/streams.py [--frames 500] [--faces 1] [--video clip.mp4]

One receiver per stream, each a process of its own, all at once. Without --video the frames are made by hand, 25 a
second, so that nothing else runs; with it a video is played live through the whole pipeline, which competes for the
cores. Prints one line per stream: milliseconds, median, 99th percentile and highest, then what `write` itself takes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import socket
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import numpy as np

from rtau.au import AUS
from rtau.streams import StreamSink, open_stream
from rtau.types import Faces, Frame, Scores, Status

_LSL = "[multicast]\nResolveScope = machine\n[lab]\nKnownPeers = {127.0.0.1}\n[log]\nlevel = -3\n"


def receive_websocket(where: str, got: Callable[[int], None]) -> None:
    from websockets.sync.client import connect

    with connect(where, proxy=None) as client:
        for text in client:
            got(json.loads(text)["frame"])


def receive_udp(where: str, got: Callable[[int], None]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", int(where)))
        one.settimeout(10)
        while (frame := json.loads(one.recv(1 << 16))["frame"]) >= 0:
            got(frame)


def receive_osc(where: str, got: Callable[[int], None]) -> None:
    from pythonosc.osc_bundle import OscBundle

    frame, faces = -1, 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", int(where)))
        one.settimeout(10)
        while True:
            values = {message.address: message.params for message in OscBundle(one.recv(1 << 16))}
            if "/rtau/frame" in values:
                frame, faces = values["/rtau/frame"][0], values["/rtau/faces"][0]
            else:
                faces -= 1
            if not faces and frame >= 0:
                got(frame)


def receive_lsl(where: str, got: Callable[[int], None]) -> None:
    import pylsl

    (found,) = pylsl.resolve_byprop("name", where, 1, 20)
    inlet = pylsl.StreamInlet(found)
    while (sample := inlet.pull_sample(10)[0]) is not None:
        got(int(sample[0]))


def receive_jsonl(where: str, got: Callable[[int], None]) -> None:
    with open(where) as pipe:
        for line in pipe:
            got(json.loads(line)["frame"])


def receiver(receive: Callable, where: str, frames: int, results: multiprocessing.Queue) -> None:
    """In a process of its own: the moment of each frame, once all have come or no more come."""
    moments: dict[int, float] = {}

    def got(frame: int) -> None:
        moments[frame] = time.monotonic()
        if frame >= frames - 1:
            raise EOFError

    try:
        receive(where, got)
    except (EOFError, OSError):
        pass
    results.put((receive.__name__, moments))


class Stamped:
    """A stream, and when each frame was written into it."""

    def __init__(self, stream: StreamSink, written: dict[int, float], taken: list[float]) -> None:
        self._stream, self._written, self._taken = stream, written, taken

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def write(self, frame: Frame, scores: Scores, status: Status | None = None) -> None:
        begun = self._written[frame.index] = time.monotonic()
        self._stream.write(frame, scores, status)
        self._taken.append(time.monotonic() - begun)


def make_scores(n: int, seed: int) -> Scores:
    """n faces of random scores."""
    rng = np.random.default_rng(seed)
    presence = rng.uniform(0, 1, (n, len(AUS))).astype(np.float32)
    faces = Faces(np.tile(np.float32([10, 20, 110, 140]), (n, 1)), np.ones(n, np.float32), np.arange(n),
                  np.zeros((n, 68, 2), np.float32), np.zeros((n, 3), np.float32))
    return Scores(AUS, faces, presence, 5 * presence, presence > 0.5, np.ones_like(presence, bool),
                  np.ones(n, np.float32))


def play(sinks: list[Stamped], frames: int, faces: int) -> None:
    """Frames made by hand, 25 a second."""
    image, status = np.zeros((360, 640, 3), np.uint8), Status(25.0, 1, 0, 0.03, "none", "made by hand")
    begin = time.monotonic()
    for i in range(frames):
        time.sleep(max(0.0, begin + i / 25 - time.monotonic()))
        frame, scores = Frame(image, i / 25, i, captured=time.monotonic()), make_scores(faces, i)
        for sink in sinks:
            sink.write(frame, scores, status)


def free_port(kind: int) -> int:
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--faces", type=int, default=1)
    parser.add_argument("--video", type=Path)
    args = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        settings, pipe = Path(folder, "lsl_api.cfg"), Path(folder, "pipe.jsonl")
        settings.write_text(_LSL)
        os.environ.setdefault("LSLAPICFG", str(settings))
        os.mkfifo(pipe)
        udp, osc, web = (free_port(kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_DGRAM, socket.SOCK_STREAM))
        streams = {"receive_websocket": (f"ws://:{web}", receive_websocket, f"ws://127.0.0.1:{web}"),
                   "receive_udp": (f"udp://127.0.0.1:{udp}", receive_udp, str(udp)),
                   "receive_osc": (f"osc://127.0.0.1:{osc}", receive_osc, str(osc)),
                   "receive_lsl": (f"lsl:bench-{os.getpid()}", receive_lsl, f"bench-{os.getpid()}"),
                   "receive_jsonl": (f"jsonl:{pipe}", receive_jsonl, str(pipe))}
        limit = args.frames if args.video is None else 1 << 30
        written: dict[str, dict[int, float]] = {name: {} for name in streams}
        taken: dict[str, list[float]] = {name: [] for name in streams}
        children, sinks = [], []
        for name, (url, receive, where) in streams.items():
            child = context.Process(target=receiver, args=(receive, where, limit, results), daemon=True)
            if receive is receive_jsonl:  # a pipe opens when both sides do
                child.start()
            stream = stack.enter_context(open_stream(url, AUS))
            if receive is not receive_jsonl:
                child.start()
            children.append(child)
            sinks.append(Stamped(stream, written[name], taken[name]))
        time.sleep(5)  # until all receivers listen
        if args.video is None:
            play(sinks, args.frames, args.faces)
        else:
            from rtau.analyze import Analyzer
            from rtau.camera import open_live
            from rtau.pipeline import Run

            outcome = Run(open_live(args.video), Analyzer().prepare(), sinks).run()
            print(f"{outcome.frames} frames, {outcome.fps:.1f} frames/s, {outcome.drops} dropped")
        stack.close()
        received = dict(results.get(timeout=60) for _ in children)
    print(f"{'stream':<10} {'frames':>7} {'median':>7} {'p99':>7} {'max':>7}   write: median, p99")
    for name in streams:
        moments, times = received[name], 1000 * np.array(taken[name])
        delays = 1000 * np.array([moments[frame] - begun for frame, begun in written[name].items() if frame in moments])
        figures = np.percentile(delays, (50, 99, 100)) if len(delays) else (np.nan,) * 3
        print(f"{name.removeprefix('receive_'):<10} {len(delays):>3}/{len(times):<3} "
              + " ".join(f"{value:7.2f}" for value in figures)
              + f"   {np.percentile(times, 50):.3f}, {np.percentile(times, 99):.3f}")


if __name__ == "__main__":
    main()
