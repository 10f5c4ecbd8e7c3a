"""Datagrams to a receiver: one JSON message each. Nobody says whether they arrive."""

from __future__ import annotations

import errno
import logging
import socket
from abc import abstractmethod

from ..errors import OutputError
from .mailbox import StreamSink
from .message import Moment, encode_message

log = logging.getLogger(__name__)

#: Bytes that a datagram carries at most, over IPv4 as over IPv6.
LARGEST = 65_000


class Datagrams:
    """A socket that sends datagrams to one address and never waits.

    Args:
        host: name or number; looked up once, on `open`.
        port: of the receiver.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Look the host up. Raises OutputError where there is none."""
        try:
            family, kind, protocol, _, self._to = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(family, kind, protocol)
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise OutputError(f"can't send to {self._host}:{self._port}: {reason}; check the name of the host"
                              ) from error

    def send(self, data: bytes) -> bool:
        """Whether the system took it."""
        assert self._socket is not None
        try:
            self._socket.sendto(data, self._to)
        except OSError as error:  # the network is down, the buffer full: the next one may go through
            log.debug("a datagram to %s:%d was not sent: %s", self._host, self._port,
                      errno.errorcode.get(error.errno or 0, error))
            return False
        return True

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()


class DatagramSink(StreamSink):
    """Sends each frame in datagrams; a subclass says what is in them.

    Args:
        host, port: of the receiver.
        shapes: add ARKit's blendshapes.
        live: see `StreamSink`.

    Raises:
        OutputError: on entering: there is no such host.
    """

    #: What addresses of this kind begin with.
    scheme: str

    def __init__(self, host: str, port: int, *, shapes: bool = False, live: bool = True) -> None:
        super().__init__(f"{self.scheme}://{host}:{port}", live=live)
        self._shapes = shapes
        self._datagrams = Datagrams(host, port)

    @abstractmethod
    def _pack(self, moment: Moment) -> list[bytes]:
        """The datagrams of a frame."""

    def _open(self) -> None:
        self._datagrams.open()

    def _send(self, moment: Moment) -> bool:
        sent = [self._datagrams.send(data) for data in self._pack(moment)]
        return all(sent)

    def _close(self) -> None:
        self._datagrams.close()


class UdpSink(DatagramSink):
    """Sends each frame's message as a datagram of JSON; see `DatagramSink`.

    A message with more faces than a datagram can carry goes without the smallest; its `omitted` says how many.
    """

    scheme = "udp"

    def _pack(self, moment: Moment) -> list[bytes]:
        data = encode_message(moment, shapes=self._shapes)
        while len(data) > LARGEST and len(moment.scores):
            faces = len(moment.scores)
            moment = moment.largest(min(faces - 1, faces * LARGEST // len(data)))
            data = encode_message(moment, shapes=self._shapes)
        return [data.encode("ascii")]
