"""What `rtau live` does, as a library call: a camera into the terminal, a window and files."""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console

from . import __version__
from .analyze import Analyzer
from .camera import open_live
from .controls import Controls
from .keys import Keys
from .pipeline import Run
from .sinks import Sink, TerminalSink, WindowSink, meta_path, open_overlay, open_table, strongest_table, write_meta
from .sinks.dashboard import count_text
from .sinks.recorder import RecorderSink
from .streams import Address, Lent, StreamSink, check_files, open_streams
from .summary import Summary

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LiveOptions:
    """What is shown and written of a live source.

    Attributes:
        window: show the overlay in a window.
        out: CSV to write.
        record: overlay video to write.
        style: how window and videos are drawn, see `rtau.overlay.STYLES`.
        seconds: stop after this time; None for until the source ends or the user stops it.
        terminal: show bars in the terminal.
        plain: a plain line a second instead.
        columns: extra column groups of the CSV.
        overwrite: replace files that exist.
        streams: where to send each frame's results.
    """

    window: bool = False
    out: Path | None = None
    record: Path | None = None
    style: str = "bars"
    seconds: float | None = None
    terminal: bool = True
    plain: bool = False
    columns: frozenset[str] = frozenset()
    overwrite: bool = False
    streams: tuple[Address, ...] = ()


def watch_live(what: str, analyzer: Analyzer, options: LiveOptions, console: Console | None = None) -> int:
    """Analyse a live source until it ends or the user stops it; print a summary.

    Returns:
        Exit code: 0, or 1 if the source broke off.

    Raises:
        InputError: it can't be opened. OutputError: a file, a window or a stream can't be. UsageError: a stream would
            write over a file of this run, or lacks a package.
    """
    # Standard output belongs to a stream alone where one writes there.
    console = console or Console(stderr=any(address.takes_stdout for address in options.streams))
    facts = meta_path(options.out) if options.out is not None else None
    check_files(options.streams, filter(None, (Path(what), options.out, facts, options.record)))
    sinks: list[Sink] = []
    if options.window:
        sinks.append(WindowSink(style=options.style))
    if options.out is not None:
        sinks.append(open_table(options.out, analyzer.aus, columns=options.columns, overwrite=options.overwrite))
    if options.record is not None:
        sinks.append(open_overlay(options.record, overwrite=options.overwrite, style=options.style))
    # Opened before all else, so that a port in use is known at once.
    with open_streams(options.streams, analyzer.aus, overwrite=options.overwrite) as streams:
        for stream in streams:
            click.echo(f"rtau: {stream.invitation}", err=True)
        code = _watch(what, analyzer, options, console, sinks, streams)
    for stream in streams:
        console.print(f"{stream.url}: {stream.account}", highlight=False, markup=False, soft_wrap=True)
    return code


def _watch(what: str, analyzer: Analyzer, options: LiveOptions, console: Console, sinks: list[Sink],
           streams: list[StreamSink]) -> int:
    sinks += [Lent(stream) for stream in streams]
    # The networks are made ready before the camera runs, or its first frames would wait for them.
    analyzer.prepare()
    recorder = RecorderSink(style=options.style)
    sinks.append(recorder)
    terminal = TerminalSink(console, plain=options.plain)
    if options.terminal:
        sinks.append(terminal)
    source = open_live(what)
    if options.terminal and console.is_terminal and not (console.is_dumb_terminal or options.plain):
        # The display has a place for it, which a line of its own would spoil.
        source.tell = log.debug
    summary = Summary()
    run = Run(source, analyzer, sinks, summary.add)
    controls = Controls(run, analyzer, terminal, recorder)
    pages = "".join(f"  {stream.url}" for stream in streams if stream.url.startswith("http"))
    terminal.note = lambda: f"{controls.note()}{pages}".lstrip()
    with ExitStack() as stack:
        if options.terminal and console.is_terminal:
            if stack.enter_context(Keys(controls.press)).listening:
                terminal.hint = controls.hint
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
    written = ", ".join(str(path) for path in (options.out, options.record, *recorder.written) if path is not None)
    console.print(f"{source.name}: {outcome.frames} frames in {outcome.seconds:.1f} s ({outcome.fps:.1f} frames/s), "
                  f"{outcome.drops} dropped, {count_text(outcome.faces)}" + (f"; wrote {written}" if written else ""),
                  highlight=False, markup=False)
    if outcome.with_face:
        console.print(strongest_table(summary))
    if analyzer.calibrator.problem:
        console.print(f"rtau: not calibrated: {analyzer.calibrator.problem}", highlight=False, markup=False)
    if recorder.problem:
        console.print(f"rtau: {recorder.problem}", highlight=False, markup=False)
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
