"""The WebSocket server: real clients, good and bad, slow and gone."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import Mock

import pytest
from click.testing import CliRunner
from streaming import STATUS, Command, check, connect, make_frame, make_scores, wait_until
from websockets.exceptions import ConnectionClosed, InvalidStatus

from rtau.au import AUS
from rtau.cli import main
from rtau.errors import OutputError
from rtau.streams import open_stream
from rtau.streams.mailbox import PROCESSED
from rtau.streams.websocket import MOST_CLIENTS, may_connect
from rtau.types import Scores


@pytest.fixture
def server():
    """A stream on a free port."""
    with open_stream("ws://127.0.0.1:0", AUS) as sink:
        yield sink


def send(sink, first: int, count: int = 1) -> None:
    for i in range(first, first + count):
        sink.write(make_frame(i), make_scores(1), STATUS)


def receive(client) -> dict:
    message = json.loads(client.recv(timeout=10))
    check(message)
    return message


def still_serves(sink) -> None:
    """A client that behaves gets what is sent now."""
    with connect(sink.url) as client:
        wait_until(lambda: sink.clients)
        send(sink, 777)
        while receive(client)["frame"] != 777:
            pass


def port_of(sink) -> int:
    return int(sink.url.rpartition(":")[2])


def test_two_clients_get_every_frame_in_order(server) -> None:
    with connect(server.url) as one, connect(server.url) as two:
        wait_until(lambda: server.clients == 2)
        for i in range(50):
            send(server, i)
            assert receive(one)["frame"] == receive(two)["frame"] == i
    wait_until(lambda: not server.clients)
    assert server.sent == 100 and server.dropped == 0 and server.account == "100 messages sent to 2 clients"


def test_a_frame_without_a_face_and_nan_are_valid_messages(server) -> None:
    with connect(server.url) as client:
        wait_until(lambda: server.clients)
        server.write(make_frame(), Scores.none(AUS), None)
        assert receive(client)["faces"] == []
        send(server, 1)
        text = client.recv(timeout=10)
        check(json.loads(text))
        assert "NaN" not in text and json.loads(text)["faces"][0]["aus"]["AU04"]["intensity"] is None


def test_nobody_connected_costs_nothing_and_drops_nothing(server) -> None:
    send(server, 0, 500)
    wait_until(lambda: not len(server._mail))
    assert server.sent == 0 and server.account.startswith(("no client came", "no client"))
    still_serves(server)


def test_a_client_reconnects_and_goes_on(server) -> None:
    for turn in range(3):
        with connect(server.url) as client:
            wait_until(lambda: server.clients == 1)
            send(server, turn)
            assert receive(client)["frame"] == turn
        wait_until(lambda: server.clients == 0)


def test_a_slow_client_gets_the_newest_and_holds_up_nobody(server) -> None:
    """It reads nothing until enough has been sent to fill every buffer on the way."""
    with connect(server.url, max_queue=1) as slow, connect(server.url) as quick:
        wait_until(lambda: server.clients == 2)
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        count = 0
        while server.dropped < 100:
            send(server, count)
            assert receive(quick)["frame"] == count
            count += 1
            assert count < 20000, "nothing was dropped"
        missed = [receive(slow)["frame"] for _ in range(count - server.dropped)]
        assert missed == sorted(set(missed)) and missed[-1] == count - 1, "the newest is among what it gets"
    assert f"{server.dropped} dropped" in server.account


def test_a_client_that_vanishes_is_forgotten(server) -> None:
    with connect(server.url) as other:
        wait_until(lambda: server.clients == 1)
        with connect(server.url, close_timeout=0.1) as gone:
            wait_until(lambda: server.clients == 2)
            # A reset in place of a goodbye, as from a program that was killed.
            gone.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            gone.socket.close()
            for i in range(200):
                send(server, i)
                assert receive(other)["frame"] == i
            wait_until(lambda: server.clients == 1)


def test_a_client_that_says_too_much_is_disconnected_alone(server) -> None:
    with connect(server.url) as other, connect(server.url) as loud:
        wait_until(lambda: server.clients == 2)
        try:
            loud.send("x" * 100_000_000)
        except ConnectionClosed:
            pass  # it may be cut off before it is done
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                loud.recv(timeout=10)
        assert closed.value.rcvd is None or closed.value.rcvd.code == 1009
        send(server, 5)
        assert receive(other)["frame"] == 5
    wait_until(lambda: not server.clients)


def test_what_clients_say_is_ignored(server) -> None:
    with connect(server.url) as client:
        wait_until(lambda: server.clients)
        for word in ("hello", b"\0\xff" * 100, '{"rtau": 1}', ""):
            client.send(word)
        for i in range(20):
            send(server, i)
            assert receive(client)["frame"] == i


def test_a_flood_of_small_messages_is_held_back_at_the_client(server) -> None:
    """Not read, so that it costs the analysis nothing; the client's sending ends up waiting."""
    with connect(server.url) as other, connect(server.url, close_timeout=1) as loud:
        wait_until(lambda: server.clients == 2)

        def shout() -> None:
            try:
                while True:
                    loud.send("x" * 1000)
            except (ConnectionClosed, OSError):
                pass

        flood = threading.Thread(target=shout, daemon=True)
        flood.start()
        for i in range(100):
            send(server, i)
            assert receive(other)["frame"] == i
        loud.socket.shutdown(socket.SHUT_RDWR)
        flood.join(10)
        assert not flood.is_alive()


@pytest.mark.parametrize("data", [b"\0" * 100, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"A" * 100_000,
                                  b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n\r\n",
                                  b"GET /" + b"a" * 50_000 + b" HTTP/1.1\r\n\r\n", os.urandom(5000)])
def test_what_is_no_websocket_is_turned_away(data: bytes, server, capfd) -> None:
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=20) as raw:
        try:
            raw.sendall(data)
            raw.shutdown(socket.SHUT_WR)
            while raw.recv(4096):
                pass
        except ConnectionError:
            pass
    still_serves(server)
    assert capfd.readouterr().err == ""


def test_garbage_after_the_handshake_is_turned_away(server) -> None:
    with connect(server.url) as client:
        wait_until(lambda: server.clients)
        client.socket.sendall(b"\xff" * 1000)
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=10)
    still_serves(server)


def test_no_more_clients_than_allowed(server) -> None:
    with ExitStack() as stack:
        for _ in range(MOST_CLIENTS - 1):
            stack.enter_context(connect(server.url))
        with connect(server.url):
            wait_until(lambda: server.clients == MOST_CLIENTS)
            with pytest.raises(InvalidStatus, match="503"), connect(server.url):
                pass
        wait_until(lambda: server.clients < MOST_CLIENTS)
        still_serves(server)


# Who may connect


@pytest.mark.parametrize(("origin", "host", "others", "may"), [
    (None, "127.0.0.1:8765", (), True), ("http://localhost:3000", "127.0.0.1:8765", (), True),
    ("http://127.0.0.1:8765", "127.0.0.1:8765", (), True), ("https://[::1]:1", "x", (), True),
    ("https://evil.org", "127.0.0.1:8765", (), False), ("null", "127.0.0.1:8765", (), False),
    ("http://evil.org:8765", "evil.org:8765", (), False), ("http://localhost.evil.org", "x", (), False),
    ("http://192.168.0.5:8766", "192.168.0.5:8766", (), True), ("http://6.6.6.6", "192.168.0.5:8766", (), False),
    ("https://[", "x", (), False), ("", "x", (), False), ("https://Good.org", "x", ("https://good.org",), True),
    ("null", "x", ("null",), True), ("https://any.org", "x", ("*",), True)])
def test_pages_of_other_sites_are_refused_unless_allowed(origin, host, others, may) -> None:
    assert may_connect(origin, host, others) is may


def test_a_browser_on_a_foreign_page_gets_403(server) -> None:
    with pytest.raises(InvalidStatus, match="403"), connect(server.url, origin="https://evil.org"):
        pass
    with open_stream("ws://:0?origin=https://good.org", AUS) as sink, connect(sink.url, origin="https://good.org"):
        pass
    with connect(server.url, origin="http://localhost:8000"):
        pass


def test_http_at_a_websocket_says_what_it_is(server) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.HTTPError) as error:
        direct.open(server.url.replace("ws:", "http:"), timeout=10)
    assert error.value.code == 426 and server.url in error.value.read().decode()


# Beginning and end


def test_it_listens_on_this_machine_alone_unless_told() -> None:
    with open_stream("ws://:0", AUS) as sink:
        assert sink._listener.getsockname()[0] == "127.0.0.1"
    with open_stream("ws://0.0.0.0:0", AUS) as sink:
        assert sink._listener.getsockname()[0] == "0.0.0.0"


def test_ipv6(server) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    with open_stream("ws://[::1]:0", AUS) as sink:
        assert sink.url.startswith("ws://[::1]:")
        still_serves(sink)


def test_a_port_that_cannot_be_had_is_one_line(server, monkeypatch) -> None:
    def one_line() -> str:
        with pytest.raises(OutputError) as error, open_stream(server.url, AUS):
            pass
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "in use" in one_line()
    for code, says in ((errno.EACCES, "from 1024 on"), (errno.EADDRNOTAVAIL, "no such address")):
        error = OSError(code, os.strerror(code))
        monkeypatch.setattr(socket, "create_server", Mock(side_effect=error))
        assert says in one_line()


def test_a_port_in_use_ends_the_command_before_anything_is_loaded(server, sample, tmp_path: Path) -> None:
    for words in (["process", sample, "--out", tmp_path / "o.csv", "--stream", server.url],
                  ["live", "--camera", sample, "--no-terminal", "--web", port_of(server)]):
        result = CliRunner().invoke(main, [str(word) for word in words])
        assert result.exit_code == 2 and "in use" in result.stderr and len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "o.csv").exists()


def test_at_the_end_clients_get_what_waits_and_a_goodbye() -> None:
    got: list[int] = []
    with ExitStack() as stack:
        with open_stream("ws://:0", AUS, live=False) as sink:
            client = stack.enter_context(connect(sink.url))
            reader = threading.Thread(target=lambda: got.extend(json.loads(text)["frame"] for text in client))
            reader.start()
            wait_until(lambda: sink.clients)
            send(sink, 0, PROCESSED)
        reader.join(20)
    assert got == list(range(PROCESSED)) and client.protocol.close_code == 1001
    with pytest.raises(OSError), connect(sink.url):
        pass


def test_the_end_does_not_wait_for_a_client_that_hangs() -> None:
    with ExitStack() as stack:
        with open_stream("ws://:0", AUS, live=False) as sink:
            client = stack.enter_context(connect(sink.url, max_queue=1, close_timeout=0.1))
            wait_until(lambda: sink.clients)
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            send(sink, 0, 2 * PROCESSED)
        assert not sink._thread.is_alive()
        client.socket.shutdown(socket.SHUT_RDWR)


@pytest.mark.slow
def test_a_live_run_goes_on_while_clients_come_misbehave_and_vanish(sample, tmp_path: Path) -> None:
    """From the command line: one stays, one is killed in the middle, one sends garbage; the table is complete."""
    code = ("import sys, time; from websockets.sync.client import connect\n"
            "client = connect(sys.argv[1]); client.recv(); print('in', flush=True); time.sleep(60)")
    with Command("live", "--camera", sample, "--no-terminal", "--out", "o.csv", "--stream", "ws://:0",
                 folder=tmp_path) as command:
        url = command.address("ws")
        killed = subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE)
        frames = []
        with connect(url, open_timeout=30) as client:
            for text in client:
                frames.append(json.loads(text)["frame"])
                if len(frames) == 3:
                    if killed.stdout.readline():
                        killed.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
                    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as raw:
                        raw.sendall(os.urandom(10_000))
        killed.wait(60)
        killed.stdout.close()
        assert command.end() == 0, command.said
        report = command.child.stdout.read().decode()
    rows = (tmp_path / "o.csv").read_text().splitlines()[1:]
    written = [int(row.split(",")[0]) for row in rows]
    assert frames == sorted(set(frames)) and set(frames) <= set(written) and frames[-1] == written[-1]
    assert "2 clients" in report and "Traceback" not in command.said
