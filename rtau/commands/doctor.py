"""The command `rtau doctor`."""

from __future__ import annotations

import click

from .options import prepare_process


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Say what this machine has, what rtau uses of it, and why.

    \b
    rtau doctor
    rtau doctor --json > report.json
    """
    prepare_process()
    from rich.console import Console

    from ..doctor import examine, show

    report = examine()
    if as_json:
        click.echo(report.to_json())
    else:
        show(report, Console())
