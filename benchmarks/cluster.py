"""Files an hour on one machine, without a cluster and on one of two nodes with a core each.

    python benchmarks/cluster.py [--files 16] [--end 2.0] [--video clip.mp4] [--handed 5000]

Copies of one clip go through `rtau process` with `--jobs 1`, `--jobs 2`, and `--engine ray` on two raylets with one core
and one actor each, started beforehand. Prints a line for each: files an hour with the start of the command included
(whole) and from the first file that came to the last (running), and how much of the ideal that is: the `--jobs 1` of the
same column times the number of workers. Two cores can't give the ideal where one worker already uses more than one.
Then how many files a second can be handed out at most: to one actor that does nothing with them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SAMPLE = Path(__file__).resolve().parents[1] / "rtau" / "samples" / "astronaut.mp4"
STORE = 100 << 20


def run(clips: Path, out: Path, end: float, *more: str) -> tuple[float, float]:
    """Seconds of the whole command, and between the first file and the last."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "rtau", "process", str(clips), "--out", str(out), "--end", str(end), *more]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    said, came = [], []
    for line in child.stderr:
        said.append(line)
        if line.startswith("["):
            came.append(time.perf_counter())
    if child.wait():
        raise SystemExit("".join(said))
    return time.perf_counter() - begun, came[-1] - came[0]


class Nothing:
    """An actor that has done whatever it is handed."""

    def __call__(self, batch: dict) -> dict:
        return {"record": batch["task"]}


def handed_out(count: int) -> float:
    """Tasks a second that reach an actor and come back, one by one."""
    from rtau.batch.task import Task
    from rtau.cluster.connection import connected
    from rtau.cluster.run import Crew, _stream
    from rtau.process import Job

    texts = [json.dumps({"at": at, "task": Task(Job((Path(f"videos/{at}.mp4"),), False, Path(f"{at}.parquet"))).as_json()})
             for at in range(count)]
    with connected(None, cpus=1) as ray:
        came = [time.perf_counter() for _ in _stream(ray, texts, (Nothing, ()), Crew(1, 1), 1)]
    if len(came) != count:
        raise SystemExit(f"{len(came)} of {count} tasks came back")
    return (count - 1) / (came[-1] - came[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=16)
    parser.add_argument("--end", type=float, default=2.0)
    parser.add_argument("--video", type=Path, default=SAMPLE)
    parser.add_argument("--handed", type=int, default=5000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as scratch:
        os.makedirs(f"{scratch}/ray")
        # One thread for each network everywhere, as an actor with one core has it.
        os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_worker_niceness="0", TMPDIR=scratch, OMP_NUM_THREADS="1")
        clips = Path(scratch, "clips")
        clips.mkdir()
        for number in range(args.files):
            shutil.copy(args.video, clips / f"clip{number}{args.video.suffix}")
        run(clips, Path(scratch, "warm"), 0.1, "--jobs", "1")  # the networks are prepared, the files in memory
        times = {"local, --jobs 1": (1, run(clips, Path(scratch, "one"), args.end, "--jobs", "1")),
                 "local, --jobs 2": (2, run(clips, Path(scratch, "two"), args.end, "--jobs", "2"))}

        from ray.cluster_utils import Cluster

        node = {"num_cpus": 1, "object_store_memory": STORE, "node_ip_address": "127.0.0.2"}
        cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        try:
            cluster.add_node(**node)
            times["ray, 2 nodes"] = 2, run(clips, Path(scratch, "ray"), args.end, "--engine", "ray", "--address",
                                           cluster.address, "--cpus-per-worker", "1")
        finally:
            cluster.shutdown()
    whole, running = times["local, --jobs 1"][1]
    print(f"{args.files} copies of {args.video.name}, {args.end:g} s of each")
    print(f"{'':<16} {'s':>6} {'files/h whole':>14} {'of ideal':>9} {'files/h running':>16} {'of ideal':>9}")
    for name, (workers, (seconds, between)) in times.items():
        print(f"{name:<16} {seconds:6.1f} {3600 * args.files / seconds:14.0f} {whole / seconds / workers:9.0%} "
              f"{3600 * (args.files - 1) / between:16.0f} {running / between / workers:9.0%}")
    print(f"handed out at most: {handed_out(args.handed):.0f} files/s")


if __name__ == "__main__":
    main()
