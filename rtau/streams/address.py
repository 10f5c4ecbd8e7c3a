"""The address of a stream, as a user types it: `ws://:8765`, `osc://host:9000`, `lsl:NAME`, `jsonl:-` ..."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import parse_qsl, urlsplit

from ..errors import UsageError

Kind = Literal["ws", "web", "osc", "udp", "lsl", "jsonl"]

KINDS: tuple[Kind, ...] = get_args(Kind)
#: What there is, for a message about what there isn't.
ALTERNATIVES = "ws://:8765, web://:8766, osc://host:9000, udp://host:9001, lsl:NAME, jsonl:- or jsonl:FILE"
#: Where servers listen unless a host is told: for programs of this machine alone.
HERE = "127.0.0.1"
#: Ports that need not be told.
WS_PORT, WEB_PORT = 8765, 8766

_OPTIONS: dict[str, tuple[str, ...]] = {"ws": ("shapes", "origin"), "web": ("shapes", "origin"), "osc": ("shapes",),
                                        "udp": ("shapes",)}
_SHAPES = "?shapes=arkit"


@dataclass(frozen=True)
class Address:
    """Where a stream goes.

    Attributes:
        kind: which sort of stream.
        host, port: of ws, web, osc and udp; port 0 of a server takes any that is free.
        name: of the LSL stream, or the file of jsonl, where "-" is standard output.
        shapes: add ARKit's blendshapes.
        origins: web sites whose pages may connect to a server, besides those of this machine; "*" for any.
    """

    kind: Kind
    host: str = ""
    port: int = 0
    name: str = ""
    shapes: bool = False
    origins: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """For people, without its options."""
        if self.kind in ("lsl", "jsonl"):
            return f"{self.kind}:{self.name}"
        return f"{self.kind}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def file(self) -> Path | None:
        """The file it writes, if it writes one."""
        return Path(self.name) if self.kind == "jsonl" and self.name != "-" else None

    @property
    def takes_stdout(self) -> bool:
        """Whether it writes to standard output, which then belongs to it alone."""
        return self.kind == "jsonl" and self.name == "-"


def parse_address(text: str) -> Address:
    """Read a user's choice.

    Raises:
        UsageError: it is no address of a stream; the message names the alternatives.
    """
    kind, colon, rest = text.strip().partition(":")
    kind = kind.lower()
    if not colon or kind not in KINDS:
        raise UsageError(f"unknown stream {text!r}: choose from {ALTERNATIVES}")
    if kind in ("lsl", "jsonl"):
        shapes = kind == "jsonl" and rest.endswith(_SHAPES)
        name = rest.removesuffix(_SHAPES) if shapes else rest
        if not name:
            raise UsageError(f"the stream {text!r} names nothing: write "
                             + ("lsl:NAME, such as lsl:rtau" if kind == "lsl" else "jsonl:FILE, or jsonl:- for "
                                "standard output"))
        if kind == "lsl" and "?" in name:
            raise UsageError(f"the stream {text!r} has options, and LSL takes none: write lsl:NAME")
        return Address(kind, name=name, shapes=shapes)
    if not rest.startswith("//"):
        raise UsageError(f"the stream {text!r} needs slashes: write {kind}://host:port")
    try:
        parts = urlsplit(f"{kind}:{rest}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise UsageError(f"the stream {text!r} has no valid host and port: write {kind}://host:port") from None
    if parts.path.strip("/") or parts.username is not None or parts.fragment:
        raise UsageError(f"the stream {text!r} has more than host, port and options: write {kind}://host:port")
    if kind in ("ws", "web"):
        default = WS_PORT if kind == "ws" else WEB_PORT
        host, port = host or HERE, default if port is None else port
    elif not host or not port:
        raise UsageError(f"the stream {text!r} says not where to send: write {kind}://host:port, such as "
                         f"{kind}://127.0.0.1:9000")
    return Address(kind, host, port, **_read_options(text, kind, parts.query))


def parse_addresses(texts: Sequence[str]) -> list[Address]:
    """Several at once.

    Raises:
        UsageError: one is no address of a stream, or two are the same.
    """
    found = [parse_address(text) for text in texts]
    seen = set()
    for one in found:
        if one.port or one.name:  # any free port can be asked for twice
            if one.url in seen:
                raise UsageError(f"the stream {one.url} is given twice: leave one out")
            seen.add(one.url)
    return found


def check_files(addresses: Sequence[Address], taken: Iterable[Path]) -> None:
    """Make sure that no stream writes over what is read or written otherwise.

    Raises:
        UsageError: one does.
    """
    others = {path.resolve() for path in taken}
    for one in addresses:
        if one.file is not None and one.file.resolve() in others:
            raise UsageError(f"the stream {one.url} would write over a file of this run: give another name")


def _read_options(text: str, kind: str, query: str) -> dict:
    known = _OPTIONS[kind]
    read: dict = {"shapes": False, "origins": ()}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            raise UsageError(f"the stream {text!r} has an unknown option {name!r}: choose from {', '.join(known)}")
        if name == "shapes":
            if value != "arkit":
                raise UsageError(f"the stream {text!r} asks for shapes={value}: there is shapes=arkit alone")
            read["shapes"] = True
        else:
            if not value:
                raise UsageError(f"the stream {text!r} has an empty origin: write origin=https://example.org, or "
                                 "origin=* for any")
            read["origins"] += (value.rstrip("/").lower(),)
    return read
