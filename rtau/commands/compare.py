"""The command `rtau compare`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("a", type=click.Path(path_type=Path), metavar="A")
@click.argument("b", type=click.Path(path_type=Path), metavar="B")
@click.option("--by", default="auto", show_default=True, metavar="NAME",
              help="Match frames by frame (number), by time (nearest within half a frame), or auto.")
@click.option("--shift", type=int, default=0, metavar="N", help="Add N to the frame numbers of B before matching.")
@click.option("--face-a", type=int, metavar="ID", help="Only this face of A.")
@click.option("--face-b", type=int, metavar="ID", help="Only this face of B.")
@click.option("--from-a", default="auto", show_default=True, metavar="NAME",
              help="Whose table A is: auto, rtau, openface, feat, libreface or coded.")
@click.option("--from-b", default="auto", show_default=True, metavar="NAME", help="Whose table B is.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, allow_dash=True), metavar="FILE",
              help="Also keep the figures as JSON; - prints it in place of the table.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), metavar="FILE",
              help="Also keep the figures as a table, one row per AU.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
def compare(a: Path, b: Path, by: str, shift: int, face_a: int | None, face_b: int | None, from_a: str, from_b: str,
            json_file: Path | None, csv_file: Path | None, overwrite: bool) -> None:
    """Say how far two tables of the same video agree, AU by AU.

    A is the reference: codes of a person, or the table to trust more. Each may be of rtau, OpenFace, py-feat,
    LibreFace, or human codes: columns frame or timestamp, and AU12_c (0 or 1) or AU12_r (0 to 5).

    \b
    rtau compare coded.csv aus.csv
    rtau compare openface.csv aus.csv --json agreement.json
    """
    from rich.console import Console

    from ..errors import UsageError
    from ..sinks.paths import exists_error
    from ..tables.compare import compare_tables
    from ..tables.shown import agreement_table, write_agreement_csv, write_agreement_json

    aside = json_file is not None and str(json_file) == "-"
    files = [path for path in (None if aside else json_file, csv_file) if path is not None]
    for path in files:
        if path.resolve() in {a.resolve(), b.resolve()}:
            raise UsageError(f"{path} is an input and would be written over: choose another name")
        if path.exists() and not overwrite:
            raise exists_error(path)
    if len({path.resolve() for path in files}) < len(files):
        raise UsageError("--json and --csv are to have the same name: give each its own")
    found = compare_tables(a, b, by=by, shift=shift, face_a=face_a, face_b=face_b, from_a=from_a, from_b=from_b)
    if json_file is not None:
        write_agreement_json(found, None if aside else json_file)
    if csv_file is not None:
        write_agreement_csv(found, csv_file)
    if not aside:
        Console().print(agreement_table(found))
        for path in files:
            click.echo(f"figures in {path}")
