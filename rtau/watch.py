"""What `rtau live` does, as a library call: a camera into the terminal, a window and files."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from . import __version__
from .analyze import Analyzer
from .camera import open_live
from .pipeline import Run
from .sinks import CsvSink, Sink, TerminalSink, WindowSink, open_overlay, strongest_table, write_meta
from .summary import Summary


@dataclass(frozen=True)
class LiveOptions:
    """What is shown and written of a live source.

    Attributes:
        window: show the overlay in a window.
        out: CSV to write.
        record: overlay video to write.
        seconds: stop after this time; None for until the source ends or the user stops it.
        terminal: show bars in the terminal.
        columns: extra column groups of the CSV.
        overwrite: replace files that exist.
    """

    window: bool = False
    out: Path | None = None
    record: Path | None = None
    seconds: float | None = None
    terminal: bool = True
    columns: frozenset[str] = frozenset()
    overwrite: bool = False


def watch_live(what: str, analyzer: Analyzer, options: LiveOptions, console: Console | None = None) -> int:
    """Analyse a live source until it ends or the user stops it; print a summary.

    Returns:
        Exit code: 0, or 1 if the source broke off.

    Raises:
        InputError: it can't be opened. OutputError: a file or a window can't be.
    """
    console = console or Console()
    sinks: list[Sink] = []
    if options.window:
        sinks.append(WindowSink())
    if options.out is not None:
        sinks.append(CsvSink(options.out, analyzer.aus, columns=options.columns, overwrite=options.overwrite))
    if options.record is not None:
        sinks.append(open_overlay(options.record, overwrite=options.overwrite))
    # The networks are made ready before the camera runs, or its first frames would wait for them.
    analyzer.prepare()
    if options.terminal:
        sinks.append(TerminalSink(console))
    source = open_live(what)
    summary = Summary()
    run = Run(source, analyzer, sinks, summary.add)
    with ExitStack() as stack:
        if options.seconds is not None:
            timer = threading.Timer(options.seconds, run.stop)
            timer.daemon = True
            timer.start()
            stack.callback(timer.cancel)
        try:
            run.run()
        finally:
            if options.out is not None and options.out.exists():
                write_meta(options.out, _facts(analyzer, run, source.name))
    outcome = run.outcome
    written = ", ".join(str(path) for path in (options.out, options.record) if path is not None)
    console.print(f"{source.name}: {outcome.frames} frames in {outcome.seconds:.1f} s ({outcome.fps:.1f} frames/s), "
                  f"{outcome.drops} dropped, {outcome.faces} faces" + (f"; wrote {written}" if written else ""),
                  highlight=False, markup=False)
    if outcome.with_face:
        console.print(strongest_table(summary))
    if analyzer.calibrator.problem:
        console.print(f"rtau: not calibrated: {analyzer.calibrator.problem}", highlight=False, markup=False)
    if outcome.damage:
        console.print(f"rtau: {outcome.damage}", highlight=False, markup=False)
        return 1
    return 0


def _facts(analyzer: Analyzer, run: Run, name: str) -> dict[str, object]:
    outcome = run.outcome
    return {"rtau": __version__, "inputs": [name], **analyzer.settings, "aus": list(analyzer.aus),
            "frames": outcome.frames, "rows": outcome.rows, "frames_with_face": outcome.with_face,
            "faces": outcome.faces, "drops": outcome.drops, "frames_per_second": round(outcome.fps, 2),
            "complete": outcome.damage is None, "error": outcome.damage}
