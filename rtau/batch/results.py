"""What became of the files of a run: totals, a table for people, a summary for programs."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from .. import __version__
from ..sinks.paths import replaced
from .task import Record

#: Of more files than this only those that went wrong are listed, and as many at most.
_LISTED = 30
_COLOURS = {"done": "green", "skipped": "dim", "damaged": "yellow", "failed": "red", "left": "dim"}


@dataclass
class Results:
    """A run's records and what belongs to the run as a whole.

    Attributes:
        records: of each task, in the order of the inputs.
        problems: inputs that could not be found or read, one line each.
        started: when, ISO 8601.
        jobs: workers.
        seconds: wall clock.
        interrupted: it was stopped.
    """

    records: list[Record]
    problems: list[str] = field(default_factory=list)
    started: str = ""
    jobs: int = 1
    seconds: float = 0.0
    interrupted: bool = False

    @contextlib.contextmanager
    def clock(self) -> Iterator[None]:
        """Take the time of what happens within."""
        begun, self.started = time.perf_counter(), datetime.now().astimezone().isoformat(timespec="seconds")
        try:
            yield
        finally:
            self.seconds = time.perf_counter() - begun

    @property
    def totals(self) -> dict[str, Any]:
        """Counts of files by state, and sums over those that were done in this run."""
        states = Counter(record.state for record in self.records)
        now = [record for record in self.records if record.frames]
        sums = {name: sum(getattr(record, name) for record in now) for name in ("frames", "frames_with_face", "rows")}
        worked = states["done"] + states["damaged"] + states["failed"]
        return {"files": len(self.records), **{name: states[name] for name in _COLOURS}, **sums,
                "files_per_hour": round(3600 * worked / self.seconds, 1) if self.seconds else 0.0,
                "frames_per_second": round(sums["frames"] / self.seconds, 2) if self.seconds else 0.0}

    @property
    def all_well(self) -> bool:
        """Whether every input was read whole."""
        return not self.problems and all(record.good for record in self.records)


def write_summary(results: Results, path: Path) -> None:
    """Write the run as JSON, whole or not at all.

    Raises:
        OutputError: it can't be written.
    """
    files = [{**asdict(record), "seconds": round(record.seconds, 3), "frames_per_second": round(record.speed, 2)}
             for record in results.records]
    facts = {"rtau": __version__, "started": results.started, "seconds": round(results.seconds, 3),
             "jobs": results.jobs, "interrupted": results.interrupted, "totals": results.totals,
             "problems": results.problems, "files": files}
    # Names whose bytes are no text are written as \\udcXX, from which os.fsencode makes the bytes again.
    with replaced(path) as file:
        file.write(json.dumps(facts, indent=1) + "\n")


def results_table(results: Results) -> Table:
    """For the terminal: one line a file; of many files only those that went wrong, and a total."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("file", overflow="fold")
    for name in ("frames", "faces", "with a face", "rows", "frames/s"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("what happened", overflow="fold")
    chosen: Sequence[Record] = results.records
    if len(chosen) > _LISTED:
        wrong = [record for record in chosen if record.state in ("failed", "damaged")]
        chosen = wrong[:_LISTED]
        if len(wrong) > len(chosen):
            table.caption = f"{len(wrong) - len(chosen)} more failed or were damaged; --summary FILE.json lists all"
            table.caption_justify = "left"
    for record in chosen:
        table.add_row(printable(record.name), *_figures(record), _happened(record))
    if len(results.records) > 1:
        totals = results.totals
        share = _share(totals["frames_with_face"], totals["frames"])
        said = ", ".join(f"{totals[name]} {name}" for name in _COLOURS if totals[name])
        table.add_section()
        table.add_row(Text(f"all {totals['files']}", "bold"), f"{totals['frames']:,}", "", share, f"{totals['rows']:,}",
                      f"{totals['frames_per_second']:.0f}", f"{said}; {totals['files_per_hour']:,.0f} files/h")
    return table


def line_of(record: Record) -> str:
    """One file in one line, where there is no terminal."""
    figures = ""
    if record.frames:
        figures = (f"{record.frames} frames, {record.faces} face{'s' * (record.faces != 1)}, {record.rows} rows in "
                   f"{printable(record.out).plain} ({record.speed:.0f} frames/s)")
    elif record.state == "skipped":
        figures = "skipped, done before"
    more = "; ".join(filter(None, [figures, *record.notes, *([f"{record.state}: {_reason(record)}"] if record.error else [])]))
    return f"{printable(record.name).plain}: {more or record.state}"


def printable(name: str) -> Text:
    """A file's name on one line, also where it holds line breaks or bytes that are no text."""
    return Text(name.encode("utf-8", "backslashreplace").decode().translate(_CONTROLS))


_CONTROLS = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160))}


def _figures(record: Record) -> tuple[str, ...]:
    if not record.frames:
        return ("",) * 5
    return (f"{record.frames:,}", f"{record.faces:,}", _share(record.frames_with_face, record.frames),
            f"{record.rows:,}", f"{record.speed:.0f}")


def _happened(record: Record) -> Text:
    # "redone: ..." says that it is done.
    state = "" if record.state == "done" and record.notes[:1] and record.notes[0].startswith("redone") else record.state
    text = Text(state, _COLOURS[record.state])
    said = "; ".join([*record.notes, *filter(None, [_reason(record)])])
    return text.append(": " * bool(state and said) + said, "default")


def _reason(record: Record) -> str:
    """The error without the file's name in front, which stands there already."""
    said = record.error or ""
    return next((said.removeprefix(record.name + after) for after in (": ", " ") if said.startswith(record.name + after)),
                said)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else ""
