"""The command `rtau live`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import analysis_options, open_analyzer, overlay_style_option, prepare_process, stream_option, words


@click.command()
@click.option("--camera", "what", default="0", show_default=True, metavar="SOURCE",
              help="Camera number or device path, a URL (rtsp://, http://), or a video played at its own pace.")
@click.option("--window", is_flag=True, help="Show the picture with the results drawn on it.")
@click.option("--out", type=click.Path(path_type=Path), metavar="CSV", help="Also write the table.")
@click.option("--record", type=click.Path(path_type=Path), metavar="MP4", help="Also write the overlay video.")
@overlay_style_option
@click.option("--seconds", type=click.FloatRange(0, min_open=True), metavar="S", help="Stop after this time.")
@click.option("--no-terminal", is_flag=True, help="Show nothing in the terminal until the end.")
@click.option("--plain", is_flag=True, help="A plain line a second in place of the display.")
@click.option("--json", "as_json", is_flag=True,
              help="JSON lines to standard output in place of the display: --no-terminal --stream jsonl:-.")
@click.option("--web", is_flag=False, flag_value="", metavar="[PORT]",
              help="Show bars and timelines on a page for a browser of this machine.  [default: port 8766]")
@stream_option
@analysis_options
def live(what: str, window: bool, out: Path | None, record: Path | None, overlay_style: str, seconds: float | None,
         no_terminal: bool, plain: bool, as_json: bool, web: str | None, streams: tuple[str, ...], column_text: str,
         overwrite: bool, verbose: bool, **analysis: Any) -> None:
    """Show Action Units of a camera as they happen; q or Ctrl-C ends it, ? lists the other keys.

    The newest frame always wins; those it replaces are counted as drops. While it is paused nothing is written.

    \b
    rtau live --camera 0
    rtau live --camera rtsp://192.168.0.9/stream --out aus.csv --record seen.mp4
    rtau live --camera video.mp4 --window
    rtau live --camera 0 --web --stream osc://127.0.0.1:9000
    rtau live --camera 0 --json | jq -c .faces
    """
    prepare_process(verbose)
    from ..overlay import check_style
    from ..sinks import check_columns
    from ..streams import parse_addresses
    from ..watch import LiveOptions, watch_live

    told = any(stream.partition("?")[0] == "jsonl:-" for stream in streams)
    lines = ["jsonl:-"] if as_json and not told else []
    addresses = parse_addresses([*streams, *lines, *([] if web is None else [f"web://:{web}"])])
    options = LiveOptions(window=window, out=out, record=record, style=check_style(overlay_style), seconds=seconds,
                          terminal=not (no_terminal or as_json), plain=plain,
                          columns=check_columns(words(column_text)), overwrite=overwrite, streams=tuple(addresses))
    raise SystemExit(watch_live(what, open_analyzer(**analysis), options))
