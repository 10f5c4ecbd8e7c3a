"""Files an hour that `rtau process` does of short clips, by the number of workers.

    python benchmarks/batch.py [--files 12] [--jobs 1 2] [--rounds 3] [--video clip.mp4]

Copies of one clip go through the command by turns, once with each number of workers in each round, the start of the
workers included. Prints one line per number: files an hour and frames a second of the whole, median, lowest and highest
round; then what passing over the same files, done, takes a file.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

SAMPLE = Path(__file__).resolve().parents[1] / "rtau" / "samples" / "astronaut.mp4"


def run(clips: Path, out: Path, jobs: int, *more: str) -> dict:
    """The summary of one run."""
    summary = out.with_suffix(".json")
    subprocess.run([sys.executable, "-m", "rtau", "process", str(clips), "--out", str(out), "--jobs", str(jobs),
                    "--summary", str(summary), *more], check=True, capture_output=True)
    return json.loads(summary.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=12)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--video", type=Path, default=SAMPLE)
    args = parser.parse_args()
    rates: dict[int, list[float]] = {jobs: [] for jobs in args.jobs}
    speeds: dict[int, list[float]] = {jobs: [] for jobs in args.jobs}
    passed: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        clips = Path(scratch, "clips")
        clips.mkdir()
        for number in range(args.files):
            shutil.copy(args.video, clips / f"clip{number}{args.video.suffix}")
        run(clips, Path(scratch, "warm"), 1, "--end", "0.1")  # the networks are prepared, the files in memory
        for one in range(args.rounds):
            for jobs in args.jobs:
                out = Path(scratch, f"out{one}-{jobs}")
                totals = run(clips, out, jobs)["totals"]
                rates[jobs].append(totals["files_per_hour"])
                speeds[jobs].append(totals["frames_per_second"])
                if one == args.rounds - 1:
                    passed[jobs] = run(clips, out, jobs, "--resume")["seconds"] / args.files
    print(f"{args.files} copies of {args.video.name}, {args.rounds} rounds")
    print(f"{'jobs':>4} {'files/h':>8} {'lowest':>8} {'highest':>8} {'frames/s':>9}   done before: s a file")
    for jobs in args.jobs:
        print(f"{jobs:>4} {statistics.median(rates[jobs]):8.0f} {min(rates[jobs]):8.0f} {max(rates[jobs]):8.0f} "
              f"{statistics.median(speeds[jobs]):9.1f}   {passed[jobs]:.3f}")


if __name__ == "__main__":
    main()
