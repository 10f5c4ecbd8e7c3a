"""How many processor cores there are, and how many threads a network gets of them."""

from __future__ import annotations

import os

#: More threads than this don't make the small networks faster.
_MOST = 4


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_side_by_side(processes: int = 1) -> int:
    """Threads for each network where two of them, and the decoding of a video, run at the same time, in each of so
    many processes."""
    return min(max(cores() // (2 * processes), 1), _MOST)
