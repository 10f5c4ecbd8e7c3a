"""How long a fleet of machines takes over a million hours of video, and what it costs: a simulation of the schedule.

    python -m benchmarks.schedule [--bench bench.json] [--hours 1e6] [--machines 10 100 1000 10000] [--price 0.08] ...

Plays every file through a fleet whose machines differ in speed, of which some are stragglers, and which are taken away
and replaced while files are in work; what a machine held when it went is done again from its beginning, elsewhere.
Speeds are those of a report of `rtau bench --json`, or of --frames-per-second; sizes, prices and how often machines go
are assumptions, one option each. Prints, for each size of the fleet and each way to order the files,

    days        until the last file is done, and what it would take if nothing were lost and nobody waited
    used        share of the paid time in which files that stay were in work
    lost        share of the paid time that went into files whose machine was taken away
    tail        hours from when the first machine has nothing more to do until all is done
    attempts    most often that one file was begun
    cost        paid machine-hours times --price, and the same for a thousand hours of video
    reads       Gbit/s from where the videos lie

and a plan of storage. `simulate` is the simulation alone.
"""

from __future__ import annotations

import argparse
import heapq
import math
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

#: Size of a table as Parquet: 22 MB for 216,000 rows, and of the same as CSV (benchmarks/README.md).
PARQUET_BYTES_A_ROW, CSV_BYTES_A_ROW = 22e6 / 216_000, 88e6 / 216_000
#: What a worker needs for a file beside its frames (`batch.py`), and to start.
OVERHEAD_SECONDS, START_SECONDS = 0.1, 1.0


@dataclass(frozen=True)
class Fleet:
    """Machines, each with some workers.

    Attributes:
        machines: how many are kept going; who goes is replaced.
        workers: on each.
        rate: hours of video an hour that a worker does on a usual machine.
        spread: of the machines' speeds, as the standard deviation of their logarithm.
        slow: share of machines that are stragglers; slowness: how many times slower.
        taken: how often a machine is taken away, per hour; 0 for machines that are one's own.
        back: hours until its replacement is at work.
    """

    machines: int
    workers: int = 1
    rate: float = 1.0
    spread: float = 0.0
    slow: float = 0.0
    slowness: float = 4.0
    taken: float = 0.0
    back: float = 0.1

    def speeds(self, rng: np.random.Generator) -> np.ndarray:
        """float64 [machines], hours of video an hour and worker."""
        speeds = self.rate * np.exp(rng.normal(0.0, self.spread, self.machines)) if self.spread else \
            np.full(self.machines, self.rate)
        return np.where(rng.random(self.machines) < self.slow, speeds / self.slowness, speeds)


@dataclass(frozen=True)
class Outcome:
    """How a schedule went; hours.

    Attributes:
        hours: until all was done.
        paid: of machines, from the start until each had no more to do, less the time in which it was gone.
        useful: of workers, spent on what was finished; lost: on what was not.
        tail: from when the first worker had nothing more to do.
        attempts: most often that one file was begun.
        begun: how often files were begun in all.
    """

    hours: float
    paid: float
    useful: float
    lost: float
    tail: float
    attempts: int
    begun: int


class _Machine:
    """When a machine is there: periods that end when it is taken away, drawn as they are needed."""

    def __init__(self, fleet: Fleet, seed: Sequence[int]) -> None:
        self._fleet, self._rng = fleet, np.random.default_rng(seed)
        self.begins, self.ends = [0.0], [self._life()]

    def _life(self) -> float:
        return self._rng.exponential(1 / self._fleet.taken) if self._fleet.taken else math.inf

    def period(self, at: float, first: int) -> int:
        """The first period, from number `first` on, that ends after `at`."""
        while self.ends[first] <= at:
            first += 1
            if first == len(self.ends):
                self.begins.append(self.ends[-1] + self._fleet.back)
                self.ends.append(self.begins[-1] + self._life())
        return first

    def gone(self, until: float) -> float:
        """Hours before `until` in which it was not there."""
        return sum(min(begin, until) - end for end, begin in zip(self.ends, self.begins[1:], strict=False) if end < until)


def simulate(lengths: np.ndarray, fleet: Fleet, *, overhead: float = 0.0, seed: int = 0) -> Outcome:
    """Give files out in their order, each to the first worker that is free, until all are done.

    A file whose machine is taken away waits for the next free worker, before all others.

    Args:
        lengths: float [N], hours of video of each file.
        overhead: hours that a worker needs for a file beside that.
        seed: of the machines' speeds and fates.

    Raises:
        ValueError: there is no file, or a length is not above 0.
    """
    if len(lengths) == 0 or not (np.asarray(lengths) > 0).all():
        raise ValueError("lengths must be hours above 0, one at least")
    speeds = fleet.speeds(np.random.default_rng([seed, 0])).tolist()
    machines = [_Machine(fleet, [seed, 1, number]) for number in range(fleet.machines)]
    files, count = lengths.tolist(), len(lengths)
    attempts = [0] * count
    again: deque[int] = deque()
    done, first_idle = 0.0, math.inf
    last = [0.0] * fleet.machines
    useful = lost = 0.0
    begun, following = 0, 0
    # (when it is free, worker, its machine's period, the file that is then done or -1, whether it was lost)
    events: list[tuple[float, int, int, int, bool]] = [
        (0.0, worker, 0, -1, False) for worker in range(fleet.machines * fleet.workers)]
    idle: list[tuple[int, int]] = []
    while events:
        now, worker, period, file, failed = heapq.heappop(events)
        if file >= 0:
            last[worker // fleet.workers] = now
            if failed:
                again.append(file)
                if idle:  # whoever found nothing to do takes it
                    other, older = idle.pop()
                    machine = machines[other // fleet.workers]
                    older = machine.period(now, older)
                    heapq.heappush(events, (max(now, machine.begins[older]), other, older, -1, False))
            else:
                done = now
        machine = machines[worker // fleet.workers]
        period = machine.period(now, period)
        if machine.begins[period] > now:
            heapq.heappush(events, (machine.begins[period], worker, period, -1, False))
            continue
        if again:
            file = again.popleft()
        elif following < count:
            file, following = following, following + 1
        else:
            idle.append((worker, period))
            first_idle = min(first_idle, now)
            continue
        begun += 1
        attempts[file] += 1
        takes = overhead + files[file] / speeds[worker // fleet.workers]
        left = machine.ends[period] - now
        if takes <= left:
            useful += takes
            heapq.heappush(events, (now + takes, worker, period, file, False))
        else:
            lost += left
            heapq.heappush(events, (machine.ends[period], worker, period, file, True))
    paid = sum(until - machine.gone(until) for until, machine in zip(last, machines, strict=True))
    return Outcome(done, paid, useful, lost, max(done - first_idle, 0.0), max(attempts), begun)


def draw_lengths(hours: float, median: float, spread: float, rng: np.random.Generator) -> np.ndarray:
    """Lengths in hours that sum to `hours`: log-normal, as collections of videos are: many short ones, few long ones.

    Args:
        median: hours; spread: standard deviation of the logarithm.
    """
    mean = median * math.exp(spread**2 / 2)
    lengths = median * np.exp(rng.normal(0.0, spread, max(1, round(hours / mean))))
    return lengths * (hours / lengths.sum())


def pieces(lengths: np.ndarray, most: float) -> np.ndarray:
    """Files longer than `most` hours cut into equal pieces that are not."""
    counts = np.ceil(lengths / most).astype(int)
    return np.repeat(lengths / counts, counts)


def orders(most: float) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Ways to give the files out, by name."""
    return {
        "as found": lambda lengths: lengths,
        "longest first": lambda lengths: np.sort(lengths)[::-1],
        f"{60 * most:.0f} min pieces": lambda lengths: np.sort(pieces(lengths, most))[::-1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--bench", type=Path, help="a report of rtau bench --json, whose speed from a file to a table counts")
    add("--size", help="of the videos, one of that report's resolutions; else its clip's own")
    add("--frames-per-second", type=float, default=89.5, help="of one worker, without --bench")
    add("--hours", type=float, default=1e6, help="of video")
    add("--video-rate", type=float, default=30.0, help="frames a second of the videos")
    add("--every", type=int, default=1, help="each n-th frame is read; its rows count for storage")
    add("--gain", type=float, default=1.0,
        help="how many times as fast --every makes a worker, measured: all frames are decoded still (3: 2.0 to 2.4)")
    add("--faces", type=float, default=1.0, help="rows a frame")
    add("--mbit", type=float, default=2.0, help="a second, of the videos")
    add("--median", type=float, default=20.0, help="length of a video in minutes")
    add("--length-spread", type=float, default=1.0, help="of the lengths' logarithm")
    add("--pieces", type=float, default=10.0, help="minutes, where long videos are cut")
    add("--machines", type=int, nargs="+", default=[10, 100, 1000, 10000])
    add("--workers", type=int, default=1, help="on a machine")
    add("--price", type=float, default=0.08, help="of a machine-hour")
    add("--spread", type=float, default=0.1, help="of the machines' speeds' logarithm")
    add("--slow", type=float, default=0.02, help="share of stragglers")
    add("--slowness", type=float, default=4.0, help="how many times slower they are")
    add("--taken", type=float, default=0.05, help="how often a machine is taken away, per hour")
    add("--back", type=float, default=6.0, help="minutes until it is replaced")
    add("--seed", type=int, default=0)
    args = parser.parse_args()
    speed = measured_speed(args.bench, args.size) if args.bench else args.frames_per_second
    rate = speed * args.gain / args.video_rate
    fleet = Fleet(0, args.workers, rate, args.spread, args.slow, args.slowness, args.taken, args.back / 60)
    lengths = draw_lengths(args.hours, args.median / 60, args.length_spread, np.random.default_rng(args.seed))
    print(f"{args.hours:,.0f} hours in {len(lengths):,} videos, the longest {lengths.max():.1f} h; a worker does "
          f"{rate:.2f} hours of video an hour ({speed:.0f} frames/s)")
    for line in storage(args.hours, args.video_rate / args.every * args.faces, args.mbit):
        print(line)
    print(f"\n{'machines':>8}  {'order':<14} {'days':>7} {'ideal':>7} {'used':>6} {'lost':>6} {'tail h':>7} "
          f"{'attempts':>8} {'cost':>10} {'per 1,000 h':>11} {'reads Gbit/s':>12}")
    for row in table(lengths, fleet, args.machines, args.pieces / 60, args.seed):
        size, order, outcome = row
        ideal = args.hours / (rate * size * args.workers)
        cost = outcome.paid * args.price
        print(f"{size:8,}  {order:<14} {outcome.hours / 24:7.2f} {ideal / 24:7.2f} "
              f"{outcome.useful / (outcome.paid * args.workers):6.1%} {outcome.lost / (outcome.paid * args.workers):6.1%} "
              f"{outcome.tail:7.1f} {outcome.attempts:8} {cost:10,.0f} {cost / args.hours * 1000:11.2f} "
              f"{args.hours / outcome.hours * args.mbit / 1000:12.2f}", flush=True)


def table(lengths: np.ndarray, fleet: Fleet, sizes: Sequence[int], most: float, seed: int
          ) -> Iterator[tuple[int, str, Outcome]]:
    """An outcome for each size of the fleet and each order."""
    for size in sizes:
        for name, order in orders(most).items():
            yield size, name, simulate(order(lengths), replace(fleet, machines=size),
                                       overhead=OVERHEAD_SECONDS / 3600, seed=seed)


def storage(hours: float, rows_a_second: float, mbit: float) -> Iterator[str]:
    """What lies where, a line each."""
    rows = hours * 3600 * rows_a_second
    yield (f"videos {hours * 3600 * mbit / 8e6:,.0f} TB; {rows:.3g} rows: Parquet {rows * PARQUET_BYTES_A_ROW / 1e12:,.1f} TB, "
           f"CSV {rows * CSV_BYTES_A_ROW / 1e12:,.1f} TB")


def measured_speed(file: Path, size: str | None = None) -> float:
    """Frames a second from a file to a table, of a report of `rtau bench --json`.

    Args:
        size: a row of its resolutions, such as "960x720"; None for its clip as it is.

    Raises:
        SystemExit: it holds none.
    """
    from rtau.bench.report import read_report
    from rtau.errors import RtauError

    try:
        report = read_report(file)
    except RtauError as error:
        sys.exit(f"schedule: {error}")
    table, row = ("resolutions", size) if size else ("pipeline", "to a table")
    for one in report.tables:
        if one.name == table and row in dict(one.rows):
            return dict(one.rows)[row][[column.name for column in one.columns].index("frames/s")]
    sys.exit(f"schedule: {file} has no speed for {row!r}; measure with rtau bench --only pipeline,resolutions --json FILE")


if __name__ == "__main__":
    main()
