"""Frames per second of the whole pipeline by stage, and peak memory over a long video.

    python benchmarks/pipeline.py video.mp4 [--times 30]

Plays the file so many times as one source. Prints one table: seconds per frame and stage
(decoding runs beside the others), and the memory after each tenth of the way, which must be flat.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from rtau.analyze import Analyzer
from rtau.pipeline import Run
from rtau.sinks import CsvSink
from rtau.source import open_source


class Looped:
    """A video played again and again as one, times going on."""

    live, damage, fps, expected = False, None, None, None

    def __init__(self, path: str, times: int) -> None:
        self.path, self.times, self.name, self.size = path, times, path, None

    def __iter__(self):
        index, begin, last = 0, 0.0, 0.0
        for _ in range(self.times):
            with open_source(self.path) as source:
                for frame in source:
                    last = begin + frame.time
                    yield replace(frame, time=last, index=index)
                    index += 1
            begin = last + 1 / 25

    def close(self) -> None:
        """Nothing stays open between files."""


def memory_mb() -> float:
    """Resident memory of this process now (Linux), in MB; elsewhere the peak."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("video")
    parser.add_argument("--times", type=int, default=3)
    args = parser.parse_args()
    import cv2
    cv2.setNumThreads(1)
    analyzer = Analyzer().prepare()
    marks, started = [], time.perf_counter()

    def watch(frame, scores) -> None:
        if frame.index % 500 == 0:
            marks.append((frame.index, memory_mb()))

    with tempfile.TemporaryDirectory() as folder:
        run = Run(Looped(args.video, args.times), analyzer, [CsvSink(Path(folder) / "out.csv", analyzer.aus)], watch)
        outcome = run.run()
    print(f"{outcome.frames} frames in {time.perf_counter() - started:.1f} s: {outcome.fps:.1f} frames/s, "
          f"backend {analyzer.backend}")
    for stage, seconds in sorted(outcome.stages.items(), key=lambda item: -item[1]):
        print(f"  {stage:14s} {1000 * seconds / outcome.frames:7.2f} ms a frame, {analyzer.watch.calls[stage]:6d} calls")
    step = max(len(marks) // 10, 1)
    print("memory, MB: " + ", ".join(f"{mb:.0f} at {index}" for index, mb in marks[::step]))
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")


if __name__ == "__main__":
    main()
