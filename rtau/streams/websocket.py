"""A WebSocket server: programs and pages connect to it and get each frame's message as text."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
import threading
from collections import deque
from http import HTTPStatus
from typing import Self
from urllib.parse import urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from ..au import AUS, Label
from ..errors import OutputError
from .gate import Gate
from .mailbox import LIVE, PROCESSED, StreamSink
from .message import Moment, encode_message
from .web import page_headers, page_html

log = logging.getLogger(__name__)
#: What clients do wrong is theirs to see: a port scan must not fill the terminal.
_quiet = logging.getLogger(f"{__name__}.clients")
_quiet.setLevel(logging.CRITICAL)

#: Clients at a time.
MOST_CLIENTS = 32
#: Connections that may be open beside them, whose wish is not known yet, for 5 seconds each at most.
_MORE = 32
#: New connections: at once after a quiet time, and in a second in the long run. A browser's page takes two.
_BURST, _RATE = 200, 50.0
#: Bytes that a client may say at once; there is nothing to be said to rtau.
_MOST_SAID = 1024
#: Bytes that the system keeps for a client that is slow. Its own choice would be megabytes: minutes of old news.
_SYSTEM_BUFFER = 64 << 10
#: Seconds for clients to take what waits at the end, and to say goodbye.
_DRAIN, _GOODBYE = 1.0, 0.5
_LOCAL = ("localhost", "127.0.0.1", "::1")


class WebSocketSink(StreamSink):
    """Serves each frame's message to every client that is connected.

    A client that is slower than the analysis gets the newest messages; those it missed are counted. What clients say
    is ignored; one that says too much, or what is no WebSocket, is disconnected, and no other notices. So are
    connections that come too fast, or say nothing and are many.

    Pages of other web sites are refused, or any site could read the faces of a user who visits it: a browser may
    connect from pages of this machine, from those this server itself shows, and from `origins`.

    Args:
        host: address to listen on.
        port: to listen on; 0 for any that is free, `url` then tells which.
        shapes: add ARKit's blendshapes.
        origins: of other pages that may connect, such as "https://example.org"; "*" for all.
        page: also show rtau's own page to browsers.
        aus: the AUs or attributes of the scores to come, for the page.
        live: see `StreamSink`.

    Raises:
        OutputError: on entering: the port is in use, or can't be listened on.
    """

    def __init__(self, host: str, port: int, *, shapes: bool = False, origins: tuple[str, ...] = (),
                 page: bool = False, aus: tuple[Label, ...] = AUS, live: bool = True) -> None:
        super().__init__(_url(host, port, page), live=live)
        self._host, self._port, self._page, self._aus = host, port, page, aus
        self._shapes, self._origins = shapes, origins
        self._limit = LIVE if live else PROCESSED
        self._gate = Gate(most=MOST_CLIENTS + _MORE, burst=_BURST, rate=_RATE)
        self._listener: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._woken = self._ending = False
        self._clients: set[_Client] = set()
        self._served = self._missed = 0

    @property
    def dropped(self) -> int:
        """Messages that a client did not get because it was too slow, over all clients."""
        return super().dropped + self._missed + sum(client.missed for client in tuple(self._clients))

    @property
    def clients(self) -> int:
        """Clients connected now."""
        return len(self._clients)

    @property
    def invitation(self) -> str:
        """Where to connect."""
        return f"open {self.url} in a browser" if self._page else f"streaming at {self.url}"

    @property
    def account(self) -> str:
        """What became of the messages."""
        who = f"{self._served} client{'s' * (self._served != 1)}"
        missed = f", {self.dropped} dropped since they came faster than they were taken" if self.dropped else ""
        told = f"{self.sent} message{'s' * (self.sent != 1)} sent to {who}{missed}"
        return told if self._served else "no client came"

    def _open(self) -> None:
        self._listener = _listen(self._host, self._port)
        self.url = _url(self._host, self._listener.getsockname()[1], self._page)

    def __enter__(self) -> Self:
        super().__enter__()
        self._ready.wait()
        if self._error is not None:
            self._listener.close()
            self._raise()
        return self

    def _close(self) -> None:
        assert self._listener is not None
        self._listener.close()

    def _wake(self) -> None:
        # One call in the loop's list at a time, however fast the analysis is.
        if not self._woken and self._loop is not None:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._publish)
            except RuntimeError:  # the loop has failed and is closed; `write` says so
                log.debug("%s has stopped", self.url)

    def _work(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:
            self._fail(error)
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        server = await serve(self._attend, sock=self._listener, process_request=self._answer, max_size=_MOST_SAID,
                             max_queue=4, compression=None, open_timeout=5, close_timeout=_GOODBYE,
                             server_header=None, logger=_quiet,
                             create_connection=self._gate.connection)  # type: ignore[arg-type]
        self._ready.set()
        await self._end.wait()
        await self._finish(server)

    async def _finish(self, server: Server) -> None:
        self._ending = True
        for client in self._clients:
            client.news.set()
        feeds = {client.feed: client for client in self._clients}
        if feeds:
            _, hanging = await asyncio.wait(feeds, timeout=_DRAIN)
            for feed in hanging:
                # A goodbye would not get through either.
                feeds[feed].missed += len(feeds[feed].waiting)
                feeds[feed].connection.transport.abort()
        server.close()
        try:
            await asyncio.wait_for(server.wait_closed(), 2 * _GOODBYE)
        except TimeoutError:
            log.debug("%s: a client did not say goodbye", self.url)

    def _publish(self) -> None:
        """In the loop: hand what waits to the clients."""
        self._woken = False
        while len(self._mail):
            moment = self._mail.take()
            if moment is not None and self._clients:
                self._send(moment)
        if self._mail.closed:
            self._end.set()

    def _send(self, moment: Moment) -> bool:
        try:
            text = encode_message(moment, shapes=self._shapes)
        except Exception as error:
            self._fail(error)
            return False
        for client in self._clients:
            client.give(text)
        return True

    async def _attend(self, connection: ServerConnection) -> None:
        """One client, from its coming to its going."""
        client = _Client(connection, self._limit)
        client.feed = asyncio.create_task(self._feed(client))
        self._clients.add(client)
        self._served += 1
        try:
            async for _ in connection:
                # Whoever talks is listened to slowly; the rest waits at the client.
                await asyncio.sleep(0.05)
        except ConnectionClosed as closed:
            log.debug("%s: a client has gone: %s", self.url, closed)
        finally:
            client.feed.cancel()
            self._clients.discard(client)
            self._missed += client.missed

    async def _feed(self, client: _Client) -> None:
        try:
            while True:
                await client.news.wait()
                while client.waiting:
                    await client.connection.send(client.waiting.popleft())
                    self.sent += 1
                if self._ending:
                    return
                client.news.clear()
        except ConnectionClosed:
            pass  # `_attend` sees it too

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """The answer to a request that is to become no WebSocket; None lets it become one."""
        if request.headers.get("Upgrade", "").lower() != "websocket":
            if not self._page:
                return connection.respond(HTTPStatus.UPGRADE_REQUIRED, f"This is a WebSocket: connect to {self.url}\n")
            if urlsplit(request.path).path != "/":
                return connection.respond(HTTPStatus.NOT_FOUND, "Not here.\n")
            body = page_html(self._aus)
            return Response(200, "OK", Headers(page_headers(body)), body)
        origin = request.headers.get("Origin")
        if not may_connect(origin, request.headers.get("Host", ""), self._origins):
            log.info("%s: refused a page of %s; ?origin=%s would allow it", self.url, origin, origin)
            return connection.respond(HTTPStatus.FORBIDDEN, f"Pages of {origin} may not connect: see ?origin=\n")
        if len(self._clients) >= MOST_CLIENTS:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "Too many clients.\n")
        return None


class _Client:
    """What waits for one client."""

    feed: asyncio.Task

    def __init__(self, connection: ServerConnection, limit: int) -> None:
        self.connection = connection
        self.waiting: deque[str] = deque(maxlen=limit)
        self.news = asyncio.Event()
        self.missed = 0

    def give(self, text: str) -> None:
        """Leave a message; the oldest gives way to it."""
        self.missed += len(self.waiting) == self.waiting.maxlen
        self.waiting.append(text)
        self.news.set()


def may_connect(origin: str | None, host: str, others: tuple[str, ...] = ()) -> bool:
    """Whether a page may connect.

    Args:
        origin: of the page, as its browser says; None for what is no browser.
        host: that it asked for, with the port.
        others: origins that may, too; "*" for all.
    """
    if origin is None or "*" in others or origin.lower().rstrip("/") in others:
        return True
    try:
        name = urlsplit(origin).hostname or ""
    except ValueError:
        return False
    if name in _LOCAL:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    # rtau's own page, seen from another machine. By number alone: a name can be made to mean this machine.
    return origin.lower() == f"http://{host.lower()}"


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address[:2], family=family, backlog=MOST_CLIENTS)
    except (OSError, UnicodeError) as error:
        raise OutputError(f"can't listen on {host}:{port}: {_reason(error, port)}") from error
    # Connections inherit it.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SYSTEM_BUFFER)
    return listener


def _reason(error: Exception, port: int) -> str:
    code = getattr(error, "errno", None)
    if code == errno.EADDRINUSE:
        return f"the port is in use: end the program that uses it, or choose another, such as {port % 65535 + 1}"
    if code in (errno.EACCES, errno.EPERM):
        return "no permission: choose a port from 1024 on"
    if code == errno.EADDRNOTAVAIL:
        return "this machine has no such address: leave the host out, or give 0.0.0.0 for all addresses"
    return getattr(error, "strerror", None) or str(error)


def _url(host: str, port: int, page: bool) -> str:
    return f"{'http' if page else 'ws'}://{f'[{host}]' if ':' in host else host}:{port}" + "/" * page
