"""OSC: what a receiver of python-osc makes of our bundles."""

from __future__ import annotations

import queue
import threading
import time

import pytest
from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_bundle import OscBundle
from pythonosc.osc_server import ThreadingOSCUDPServer
from streaming import STATUS, make_frame, make_scores

from rtau.au import AUS
from rtau.streams import Moment, open_stream
from rtau.streams.osc import osc_bundles
from rtau.types import Scores


def contents(data: bytes) -> dict[str, list]:
    """Address -> arguments of a bundle."""
    return {message.address: message.params for message in OscBundle(data)}


@pytest.fixture
def server():
    """A real receiver on a free port, and what it receives: (address, arguments)."""
    got: queue.Queue = queue.Queue()
    dispatcher = Dispatcher()
    dispatcher.set_default_handler(lambda address, *values: got.put((address, list(values))))
    with ThreadingOSCUDPServer(("127.0.0.1", 0), dispatcher) as receiver:
        thread = threading.Thread(target=receiver.serve_forever, daemon=True)
        thread.start()
        yield receiver.server_address[1], got
        receiver.shutdown()
        thread.join(10)


def test_a_receiver_gets_each_documented_address(server) -> None:
    port, got = server
    with open_stream(f"osc://127.0.0.1:{port}", AUS) as sink:
        sink.write(make_frame(50), make_scores(2, ids=[7, 9]), STATUS)
        received = dict(got.get(timeout=10) for _ in range(3 + 2 * (len(AUS) + 4)))
    assert received["/rtau/frame"] == [50, 2000] and received["/rtau/faces"] == [2, 9, 7], "the largest first"
    assert received["/rtau/status"] == pytest.approx([24.8, 3, 0.041])
    assert received["/rtau/face/7/AU12"] == pytest.approx([3.2, 0.64, 1])
    assert received["/rtau/face/7/AU04"] == [-1, -1, -1], "not assessable"
    assert received["/rtau/face/9/pose"] == pytest.approx([-0.2, 0.1, 0.3])
    assert received["/rtau/face/9/box"] == [40, 10, 31, 50]
    assert received["/rtau/face/9/confidence"] == pytest.approx([0.9])
    assert received["/rtau/face/9/quality"] == pytest.approx([0.75])
    assert {address for address in received if address.startswith("/rtau/face/9/AU")} == {
        f"/rtau/face/9/AU{au:02d}" for au in AUS}
    assert sink.account == "1 frame sent"


def test_types_are_floats_and_integers_of_32_bits() -> None:
    scores = make_scores(1, ids=[2**40])
    moment = Moment.of(make_frame(2**40), scores)
    head, face = map(contents, osc_bundles(moment))
    assert head["/rtau/frame"] == [2**31 - 1, 2**31 - 1] and head["/rtau/faces"] == [1, 2**31 - 1]
    assert "/rtau/status" not in head and f"/rtau/face/{2**40}/AU12" in face
    intensity, presence, present = face[f"/rtau/face/{2**40}/AU12"]
    assert isinstance(intensity, float) and isinstance(presence, float) and present == 1 and isinstance(present, int)


def test_a_frame_without_a_face_says_so() -> None:
    (data,) = osc_bundles(Moment.of(make_frame(), Scores.none(AUS), STATUS))
    assert contents(data)["/rtau/faces"] == [0]


def test_a_faces_datagram_fits_into_a_packet() -> None:
    assert all(len(data) <= 1400 for data in osc_bundles(Moment.of(make_frame(), make_scores(16, ids=list(
        range(1000, 1016))), STATUS)))


def test_blendshapes_have_addresses_of_their_own() -> None:
    _, face = map(contents, osc_bundles(Moment.of(make_frame(), make_scores(1), STATUS), shapes=True))
    assert face["/rtau/face/0/arkit/mouthSmileLeft"] == pytest.approx([0.64])
    assert face["/rtau/face/0/arkit/tongueOut"] == [-1]
    assert sum("/arkit/" in address for address in face) == 52


def test_a_receiver_that_comes_late_gets_what_is_sent_from_then_on(server) -> None:
    port, got = server
    with open_stream(f"osc://127.0.0.1:{port}", AUS) as sink:
        while got.empty():
            sink.write(make_frame(1), make_scores(1), STATUS)
            time.sleep(0.01)
    assert got.get()[0] == "/rtau/frame"
