"""What a second process brings to a training, and how much of its time goes into talking to the first.

    python -m benchmarks.distributed [--steps 12] [--rounds 3] [--batch 48] [--size 112]

The shipped network's own training step, on made-up faces that are in memory: torchrun with gloo, one thread to a process,
one process and two by turns with the same batch, which two share. Pictures a second are the median over the rounds, each
without its first steps. The share of time in communication is that of the two: between a process' handing over of numbers
(gradients, statistics of batch norms, counts of labels) and its getting the sum, waiting for the slower one included.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from rtau.bench.machine import processor
from rtau.crop import RIGID, TEMPLATE

#: Steps at the start that do not count.
_WARM = 3
_NAMES = tuple(f"AU{number:02d}" for number in (1, 2, 4, 6, 7, 9, 10, 12, 15, 17, 25, 26))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12, help="that count, in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=48, help="pictures a step, over all processes")
    parser.add_argument("--size", type=int, default=112, help="side of the crops, pixels")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if min(args.steps, args.rounds, args.batch - 1, args.size - 31) < 1:
        print("rtau: steps and rounds are at least 1, a batch 2, a size 32", file=sys.stderr)
        return 2
    if args.inside is not None:
        learn(args.inside, args.steps, args.batch, args.size)
        return 0
    found: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    for number in range(args.rounds):
        for processes in (1, 2) if number % 2 == 0 else (2, 1):
            found[processes].append(run(processes, args))
    rates = {processes: [one["pictures"] for one in each] for processes, each in found.items()}
    print(f"{processor()}, {os.cpu_count()} cores; {args.batch} pictures of {args.size} px a step, {args.rounds} rounds of "
          f"{args.steps} steps")
    print(f"{'processes':<12} {'pictures/s':>11} {'from':>8} {'to':>8} {'talking':>9}")
    for processes, each in found.items():
        print(f"{processes:<12} {statistics.median(rates[processes]):>11.1f} {min(rates[processes]):>8.1f} "
              f"{max(rates[processes]):>8.1f} {statistics.median(one['talking'] for one in each):>9.0%}")
    print(f"two bring {statistics.median(rates[2]) / statistics.median(rates[1]):.2f} times as much as one")
    return 0


def run(processes: int, args: argparse.Namespace) -> dict[str, float]:
    """One round, in processes of its own."""
    with tempfile.TemporaryDirectory(prefix="rtau-distributed-") as folder:
        answer = Path(folder) / "answer.json"
        words = [f"--{name}={getattr(args, name)}" for name in ("steps", "batch", "size")]
        done = subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes),
             "-m", "benchmarks.distributed", *words, "--inside", answer], capture_output=True, text=True, check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)})
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        return json.loads(answer.read_text())


def learn(answer: Path, steps: int, batch: int, size: int) -> None:
    """In each process: learn, and let the first one write what was measured."""
    from rtau_train.action_units import AuTask
    from rtau_train.batches import Feed
    from rtau_train.config import build_recipe
    from rtau_train.distributed import join_team
    from rtau_train.learner import Learner
    from rtau_train.parts import Parts

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    recipe = build_recipe({"task": "au", "model": {"size": size}, "loop": {"batch": batch}})
    with join_team("cpu") as (team, device):
        torch.manual_seed(0)
        task = AuTask(recipe, Parts(made_up(4 * batch, "a"), made_up(8, "b")))
        learner = Learner(task, recipe.loop, team, device)
        pieces = {step: Feed(task.batch, 0, team.rank, team.size).at(step) for step in range(_WARM + steps)}
        for step in range(_WARM):
            learner.learn(step, pieces[step])
        team.add([0.0])
        begun = time.perf_counter()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            for step in range(_WARM, _WARM + steps):
                learner.learn(step, pieces[step])
        took = time.perf_counter() - begun
        spans = [(event.time_range.start, event.time_range.end) for event in profile.events()
                 if event.name.startswith("gloo:")]
        talking, = team.add([covered(spans) / 1e6 / team.size])
        if team.leads:
            answer.write_text(json.dumps({"pictures": steps * batch / took, "talking": talking / took}))


def covered(spans: list[tuple[float, float]]) -> float:
    """The length of all spans together; where two overlap it counts once."""
    total, until = 0.0, -float("inf")
    for begin, end in sorted(spans):
        total += max(end - max(begin, until), 0.0)
        until = max(until, end)
    return total


def made_up(count: int, who: str):
    """Grey faces with labels by chance."""
    from rtau_train.data.faces import FaceSet

    rng = np.random.default_rng(0)
    side = 160
    points = np.full((count, 68, 2), side / 2, np.float32)
    points[:, RIGID] = TEMPLATE * side - 0.5
    intensity = rng.integers(0, 6, (count, len(_NAMES))).astype(np.float32)
    return FaceSet(_NAMES, np.array([f"{who}{row % 5}" for row in range(count)]),
                   np.where(intensity > 0, 1, -1).astype(np.int8), intensity,
                   np.array([f"{who}-{row}" for row in range(count)]),
                   rng.integers(0, 256, (count, side, side, 3), np.uint8), points)


if __name__ == "__main__":
    sys.exit(main())
