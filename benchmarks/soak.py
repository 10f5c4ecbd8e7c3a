"""Memory and open files over a long run of the whole pipeline, which must stay flat.

    python benchmarks/soak.py video.mp4 [--minutes 60] [--one]

Plays the file again and again into a table that is thrown away: opened anew each time, or with --one decoded
once into memory and played from there, as one endless source. Prints a line after each twentieth of the time:
frames, frames per second since the line before, resident memory, open files, threads.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import threading
import time
from pathlib import Path

import cv2

from rtau.analyze import Analyzer
from rtau.bench.scenes import Again, play_file, play_images
from rtau.pipeline import Run
from rtau.sinks import CsvSink
from rtau.source import open_source

_LINES = 20
#: Frames that are kept with --one.
_KEPT = 250


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--one", action="store_true")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    with open_source(args.video) as source:
        rate = source.fps or 25.0
        images = [frame.image for frame in itertools.islice(source, _KEPT)] if args.one else []
    analyzer = Analyzer().prepare()
    begun = last = time.perf_counter()
    every, frames, before = 60 * args.minutes / _LINES, 0, 0
    print(f"{'minutes':>8} {'frames':>8} {'frames/s':>9} {'MB':>6} {'files':>6} {'threads':>8}")

    def watch(frame, scores) -> None:
        nonlocal last, frames, before
        frames += 1
        now = time.perf_counter()
        if now - last >= every:
            print(f"{(now - begun) / 60:8.1f} {frames:8d} {(frames - before) / (now - last):9.1f} {memory_mb():6.0f} "
                  f"{open_files():6d} {threading.active_count():8d}", flush=True)
            last, before = now, frames

    play = play_images(images) if args.one else play_file(args.video)
    table = CsvSink(os.devnull, analyzer.aus, overwrite=True)
    outcome = Run(Again(args.video.name, play, 60 * args.minutes, rate), analyzer, [table], watch).run()
    print(f"{outcome.frames} frames, {outcome.fps:.1f} frames/s, peak "
          f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB, backend {analyzer.backend}")


if __name__ == "__main__":
    main()
