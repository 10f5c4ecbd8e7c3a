"""What a benchmark needs to know of the machine: its processor, memory and energy."""

from __future__ import annotations

import math
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

#: Where Linux shows the energy that Intel's and AMD's processors count.
_POWERCAP = Path("/sys/class/powercap")


def processor() -> str:
    """The processor's model name."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def peak_memory_mb(usage) -> float:
    """Most resident memory, MB, of what `resource.getrusage` or `os.wait4` tells; macOS counts in bytes."""
    return usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


@dataclass
class Spent:
    """What a piece of work took.

    Attributes:
        seconds: by the clock.
        cpu: seconds of all cores together.
        joules: of the processor packages; NaN where they can't be read.
    """

    seconds: float = 0.0
    cpu: float = 0.0
    joules: float = math.nan


@contextmanager
def spending(root: Path = _POWERCAP) -> Iterator[Spent]:
    """Fills in what the work within took, once it is over."""
    spent = Spent()
    before, cpu, begun = _energy(root), time.process_time(), time.perf_counter()
    try:
        yield spent
    finally:
        spent.seconds, spent.cpu = time.perf_counter() - begun, time.process_time() - cpu
        after = _energy(root)
        if before and before.keys() == after.keys():
            # The counters begin anew at their range.
            spent.joules = sum((after[k][0] - before[k][0]) % max(after[k][1], 1) for k in after) / 1e6


def _energy(root: Path) -> dict[str, tuple[int, int]]:
    """Microjoules counted by each package and the range of its counter; empty where nobody may read them."""
    found = {}
    try:
        for zone in sorted(root.glob("*-rapl:*")):
            if zone.name.count(":") == 1:  # a package; its parts have one more
                found[zone.name] = (int((zone / "energy_uj").read_text()),
                                    int((zone / "max_energy_range_uj").read_text()))
    except (OSError, ValueError):
        return {}
    return found
