"""The page that shows a stream in a browser: one HTML file, which loads nothing from anywhere."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from ..au import AUS, Label, look_up

#: What the page's script reads the AU table from.
_PLACE = "/*AU_TABLE*/{}"
#: The page runs its own script and style and talks to its own server, and to nobody else.
_POLICY = ("default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
           "connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")


@cache
def page_html(aus: tuple[Label, ...] = AUS) -> bytes:
    """The page, UTF-8, with names and colours of `rtau.au` filled in."""
    table = {unit.code: {"name": unit.name, "colour": "rgb({}, {}, {})".format(*unit.colour)}
             for unit in map(look_up, aus)}
    text = Path(__file__).with_name("page.html").read_text("utf-8")
    assert _PLACE in text
    return text.replace(_PLACE, json.dumps(table).replace("<", "\\u003c")).encode()


def page_headers(body: bytes) -> list[tuple[str, str]]:
    """The HTTP headers to send the page with."""
    return [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body))),
            ("Content-Security-Policy", _POLICY), ("X-Content-Type-Options", "nosniff"),
            ("Cache-Control", "no-store"), ("Connection", "close")]
