"""Results out as they come: WebSocket, a page in a browser, OSC, UDP, Lab Streaming Layer, JSON lines.

Each is a sink like those of `rtau.sinks`, with a thread of its own, so that a slow or absent receiver never holds up
the analysis. `rtau.streams.message` says what is sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Self

from ..au import Label, are_attributes
from ..errors import UsageError
from ..types import Frame, Scores, Status
from .address import ALTERNATIVES, Address, check_files, parse_address, parse_addresses
from .mailbox import StreamSink
from .message import VERSION, Moment, build_message, encode_message

__all__ = ["ALTERNATIVES", "VERSION", "Address", "Lent", "Moment", "StreamSink", "build_message", "check_files",
           "encode_message", "open_stream", "open_streams", "parse_address", "parse_addresses"]


def open_stream(address: str | Address, aus: tuple[Label, ...], *, live: bool = True, overwrite: bool = False
                ) -> StreamSink:
    """A stream to an address; entering it opens it.

        with open_stream("ws://:8765", analyzer.aus) as stream:
            for frame in open_source("video.mp4"):
                stream.write(frame, analyzer(frame))

    Args:
        address: such as ws://:8765, osc://host:9000, udp://host:9001, lsl:NAME, jsonl:- or jsonl:FILE.
        aus: the AUs of the scores to come.
        live: the results of a camera, of which the newest count: few may wait, the oldest of them is dropped. Of a
            file, more may wait, and jsonl loses nothing: `write` then waits for it.
        overwrite: replace a file that exists.

    Raises:
        UsageError: it is no address of a stream, or the package that it needs is not installed.
    """
    if isinstance(address, str):
        address = parse_address(address)
    if address.shapes and are_attributes(aus):
        raise UsageError(f"blendshapes are made of Action Units, not of attributes such as {aus[0]}: leave out "
                         "shapes=arkit, or take another --model")
    if address.kind in ("ws", "web"):
        from .websocket import WebSocketSink
        return WebSocketSink(address.host, address.port, shapes=address.shapes, origins=address.origins,
                             page=address.kind == "web", aus=aus, live=live)
    if address.kind == "osc":
        from .osc import OscSink
        return OscSink(address.host, address.port, shapes=address.shapes, live=live)
    if address.kind == "udp":
        from .udp import UdpSink
        return UdpSink(address.host, address.port, shapes=address.shapes, live=live)
    if address.kind == "lsl":
        from .lsl import LslSink
        return LslSink(address.name, aus, live=live)
    from .jsonl import JsonlSink
    return JsonlSink(address.name, shapes=address.shapes, lossless=not live, overwrite=overwrite)


@contextmanager
def open_streams(addresses: Sequence[Address], aus: tuple[Label, ...], *, live: bool = True, overwrite: bool = False
                 ) -> Iterator[list[StreamSink]]:
    """Open several at once; all are closed at the end. Arguments and errors are those of `open_stream`."""
    with ExitStack() as stack:
        yield [stack.enter_context(open_stream(one, aus, live=live, overwrite=overwrite)) for one in addresses]


class Lent:
    """A sink that is open already and stays open after a run: of several files, say.

    Args:
        sink: opened and closed by its owner.
    """

    def __init__(self, sink: StreamSink) -> None:
        self._sink = sink

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def write(self, frame: Frame, scores: Scores, status: Status | None = None) -> None:
        """Pass it on."""
        self._sink.write(frame, scores, status)
