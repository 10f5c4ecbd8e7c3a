"""The command line: each command is one library call. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import signal
import sys
from typing import Any

import click

from rtau_train.commands.align import align
from rtau_train.commands.data import data
from rtau_train.commands.evaluate import evaluate
from rtau_train.commands.export import export
from rtau_train.commands.train import train

from . import __version__
from .commands.bench import bench
from .commands.calibrate import calibrate
from .commands.compare import compare
from .commands.convert import convert
from .commands.demo import demo
from .commands.doctor import doctor
from .commands.live import live
from .commands.options import INTERRUPTED, USAGE
from .commands.process import process
from .commands.report import report
from .errors import RtauError


class _Group(click.Group):
    """Prints a user's mistake as one line instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RtauError as error:
            click.echo(f"rtau: {error}", err=True)
            ctx.exit(USAGE)
        except KeyboardInterrupt:
            click.echo("rtau: stopped", err=True)
            ctx.exit(INTERRUPTED)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="rtau")
def main() -> None:
    """Read facial Action Units from cameras, videos and pictures, in real time and offline.

    \b
    rtau demo                                   try it on the clip that comes with rtau
    rtau process video.mp4 --out aus.csv        a video to a table
    rtau live --camera 0                        a camera to the terminal
    rtau bench                                  how fast that is here
    """
    # A polite kill ends like Ctrl-C: files are completed first.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for output in (sys.stdout, sys.stderr):
        # A file's name that a terminal can't show is written with escapes: it must not end the run.
        if hasattr(output, "reconfigure"):
            output.reconfigure(errors="backslashreplace")


data.add_command(align)
for command in (bench, calibrate, compare, convert, data, demo, doctor, evaluate, export, live, process, report, train):
    main.add_command(command)


if __name__ == "__main__":
    sys.exit(main())
