"""Programs that are started to be timed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import RtauError
from .machine import peak_memory_mb

#: Seconds between two looks at a table that is being written, and after which a program is given up.
_LOOK, _PATIENCE = 0.005, 300.0


@dataclass(frozen=True)
class Started:
    """What a program took.

    Attributes:
        seconds: until its end.
        memory_mb: its peak; NaN where that can't be read.
        first_row: seconds until the first row of its table; NaN without one.
    """

    seconds: float
    memory_mb: float
    first_row: float = float("nan")


def time_program(words: Sequence[str]) -> Started:
    """Run `rtau` with these words to its end.

    Raises:
        RtauError: it failed.
    """
    return _watch(words, None)


def time_process(video: Path, table: Path, words: Sequence[str] = ()) -> Started:
    """Run `rtau process` on a video, and see when the first row is there.

    Raises:
        RtauError: it failed, or wrote no row.
    """
    return _watch(["process", str(video), "--out", str(table), "--no-progress", *words], table)


def _watch(words: Sequence[str], table: Path | None) -> Started:
    begun = time.perf_counter()
    program = subprocess.Popen([sys.executable, "-m", "rtau", *words], stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE)
    assert program.stderr is not None
    first, memory = float("nan"), float("nan")
    try:
        while table is not None and program.poll() is None and not _has_row(table):
            if time.perf_counter() - begun > _PATIENCE:
                raise RtauError(f"rtau {words[0]} gave no row in {_PATIENCE:g} s: look at rtau {' '.join(words)}")
            time.sleep(_LOOK)
        if table is not None and _has_row(table):
            first = time.perf_counter() - begun
        said = program.stderr.read().decode(errors="replace")
        if hasattr(os, "wait4") and program.returncode is None:
            _, status, usage = os.wait4(program.pid, 0)
            program.returncode, memory = os.waitstatus_to_exitcode(status), peak_memory_mb(usage)
        else:
            program.wait()
    finally:
        if program.returncode is None:
            program.kill()
            program.wait()
        program.stderr.close()
    seconds = time.perf_counter() - begun
    if program.returncode:
        raise RtauError(f"rtau {' '.join(words)} failed: {said.strip().splitlines()[-1] if said.strip() else 'silent'}")
    return Started(seconds, memory, first)


def _has_row(table: Path) -> bool:
    """Whether there is more than a header."""
    try:
        with table.open("rb") as file:
            return file.readline().endswith(b"\n") and bool(file.readline())
    except OSError:
        return False
