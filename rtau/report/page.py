"""The page itself: one HTML file that holds everything it shows.

The charts are drawn by a script of our own, about 36 kB that write SVG, and not by plotly.js: that is 4.5 MB in every
report (1 MB in its smallest form), draws 22 lanes with presence spans slowly, and has no lanes that print well. What
is here needs no library that could change, and a policy in the page (Content-Security-Policy) forbids the browser to
fetch anything or to run any script but ours, which it knows by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from .. import __version__
from .clip import Clip

_HERE = Path(__file__).parent
# One after the other: each builds on those before it.
_SCRIPTS = ("svg.js", "shapes.js", "gestures.js", "timeline.js", "page.js", "tables.js", "start.js")
_STARRED = re.compile(r"[*]([^*]+)[*]")


def write_page(file: TextIO, *, thing: str, title: str, headline: str, notes: Sequence[str], reading: Sequence[str],
               provenance: Sequence[tuple[str, str]], data: dict[str, Any], clip: Clip | None = None) -> None:
    """Write the page.

    Args:
        file: to write to, UTF-8.
        thing: what it tells of, "Action Unit" or "attribute".
        title: what the report is about, such as a video's name. This and all other words are escaped here.
        headline: the facts in a line.
        notes: what the reader must know first.
        reading: paragraphs on how to read the page; a part between asterisks is set in bold.
        provenance: headings and values on how the table was made.
        data: what the scripts show, see `rtau.report.contents`.
        clip: the video to carry.
    """
    script = "\n".join((_HERE / name).read_text("utf-8") for name in _SCRIPTS)
    if clip is not None:
        data = {**data, "clip": {"width": clip.width, "height": clip.height, "begin": clip.begin}}
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    parts = {
        "policy": f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
                  "media-src blob:",
        "version": html.escape(__version__), "thing": html.escape(thing),
        "title": html.escape(title), "headline": html.escape(headline),
        "style": (_HERE / "page.css").read_text("utf-8"), "script": script,
        "notes": _list(notes, "notes") if notes else "", "reading": _list(reading, bold=True),
        "provenance": "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
                              for name, value in provenance),
        "data": _inert(json.dumps(data, allow_nan=False, separators=(",", ":"))), "clip": ""}
    # Piece by piece: what was put in is never looked through for marks again, and the video is not copied about.
    for piece in re.split(r"(\{\{\w+\}\})", (_HERE / "page.html").read_text("utf-8")):
        name = piece[2:-2] if piece.startswith("{{") else None
        if name == "clip" and clip is not None:
            _write_clip(file, clip.data)
        else:
            file.write(piece if name is None else parts[name])


def _inert(text: str) -> str:
    """JSON that can't end the script element it stands in, nor begin another."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _list(lines: Sequence[str], name: str = "", *, bold: bool = False) -> str:
    items = map(html.escape, lines)
    if bold:
        items = (_STARRED.sub(r"<b>\1</b>", item) for item in items)
    return f'<ul class="{name}">' + "".join(f"<li>{item}</li>" for item in items) + "</ul>"


def _write_clip(file: TextIO, data: bytes) -> None:
    file.write('<script type="application/octet-stream" id="clip">')
    step = 3 << 18  # a multiple of three, so that the pieces join without padding
    file.writelines(base64.b64encode(data[begin:begin + step]).decode() for begin in range(0, len(data), step))
    file.write("</script>")
