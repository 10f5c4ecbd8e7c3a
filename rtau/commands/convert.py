"""The command `rtau convert`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("table", type=click.Path(path_type=Path), metavar="IN")
@click.argument("out", type=click.Path(path_type=Path), metavar="OUT")
@click.option("--from", "origin", default="auto", show_default=True, metavar="NAME",
              help="Whose table IN is: auto, rtau, openface, feat, libreface or coded.")
@click.option("--like", metavar="NAME", help="Layout of OUT: rtau, openface, feat or libreface.  [default: rtau]")
@click.option("--format", metavar="NAME", help="Format of OUT: csv, jsonl or parquet.  [default: by its name, or csv]")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
def convert(table: Path, out: Path, origin: str, like: str | None, format: str | None, overwrite: bool) -> None:
    """Write a table in another format, or in the layout of another tool.

    Reads what rtau, OpenFace, py-feat and LibreFace write, and human codes: a column frame or timestamp, and AU12_r
    (0 to 5) or AU12_c (0 or 1). What has no place in the new table is named. docs/columns.md has the layouts.

    \b
    rtau convert aus.csv aus.parquet
    rtau convert openface.csv aus.csv
    rtau convert aus.csv openface.csv --like openface
    rtau convert aus.parquet.partial aus.parquet    # what a run that was cut off has left
    """
    from ..tables.convert import account, convert_table

    done = convert_table(table, out, origin=origin, like=like, format=format, overwrite=overwrite)
    for line in account(done, out):
        click.echo(line)
