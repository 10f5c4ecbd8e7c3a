"""The command `rtau report`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("table", type=click.Path(path_type=Path), metavar="TABLE")
@click.option("--out", type=click.Path(path_type=Path), metavar="HTML",
              help="The page; by default beside the table, aus.csv -> aus.report.html.")
@click.option("--video", type=click.Path(path_type=Path), metavar="FILE",
              help="What the table was made from: the video, the picture, or the folder of pictures. By default what "
                   "the table's .meta.json names.")
@click.option("--with-video", is_flag=True, help="Also put the video into the page, small, in step with the curves.")
@click.option("--csv-summary", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the statistics as a table, one row per face and AU.")
@click.option("--csv-events", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the events as a table, with onset, apex and offset.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
def report(table: Path, out: Path | None, video: Path | None, with_video: bool, csv_summary: Path | None,
           csv_events: Path | None, overwrite: bool) -> None:
    """Make one page, which needs no network, of a table that rtau wrote.

    With --csv-summary or --csv-events no page is written unless --out names it. docs/report.md says what each part
    and column means.

    \b
    rtau report aus.csv
    rtau report aus.csv --video video.mp4 --with-video --out report.html
    rtau report aus.csv --csv-summary summary.csv --csv-events events.csv
    """
    import cv2

    from ..errors import UsageError
    from ..report import read_table, report_path, write_events, write_report, write_summary
    from ..sinks.paths import exists_error

    cv2.setNumThreads(1)
    page = out if out is not None or csv_summary or csv_events else report_path(table)
    if page is None and (video is not None or with_video):
        raise UsageError("--video and --with-video are for the page: name it with --out")
    targets = [path for path in (page, csv_summary, csv_events) if path is not None]
    for path in targets:
        if path.resolve() in {other.resolve() for other in (table, video) if other is not None}:
            raise UsageError(f"{path} is an input and would be written over: choose another name")
        if path.exists() and not overwrite:
            raise exists_error(path)
    if len({path.resolve() for path in targets}) < len(targets):
        raise UsageError("two outputs are to have the same name: give each its own")
    read = read_table(table)
    if csv_summary is not None:
        click.echo(f"{write_summary(read, csv_summary, overwrite=overwrite)} rows in {csv_summary}")
    if csv_events is not None:
        click.echo(f"{write_events(read, csv_events, overwrite=overwrite)} events in {csv_events}")
    if page is not None:
        done = write_report(read, page, video=video, with_video=with_video, overwrite=overwrite)
        clip = f", the video {done.clip / 1e6:.1f} MB of it" if done.clip else ""
        click.echo(f"{page}: {done.size / 1e6:.1f} MB{clip}, {done.pictures} pictures of faces")
        for note in done.notes:
            click.echo(f"  {note}")
