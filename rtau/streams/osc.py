"""Open Sound Control over UDP, for programs that make music, light and pictures.

A bundle of one datagram says which faces there are, then one bundle per face says how each is:

| address | arguments | meaning |
|---|---|---|
| `/rtau/frame` | int, int | number of the frame in its source; its time in milliseconds |
| `/rtau/faces` | int, int ... | how many faces there are, then their ids, the largest face first |
| `/rtau/status` | float, int, float | frames per second, live frames dropped, age of the result in seconds |
| `/rtau/face/ID/AU12` | float, float, int | intensity 0..5, probability 0..1, present 1 or 0; one address per AU |
| `/rtau/face/ID/pose` | float, float, float | pitch (down positive), yaw (to image right), roll (clockwise), radians |
| `/rtau/face/ID/box` | float, float, float, float | x, y, width, height in pixels |
| `/rtau/face/ID/confidence` | float | 0..1 that this is a face |
| `/rtau/face/ID/quality` | float | 0..1, how good a picture of the face this is |
| `/rtau/face/ID/arkit/jawOpen` | float | with `?shapes=arkit`: 0..1; one address per blendshape |

A network that reads attributes has their names in place of the AUs', as in `/rtau/face/ID/Smiling`. What can't be told
is -1, also an intensity where the network tells presence alone, and the age of a file's frame: OSC has no null that all
receivers know, and NaN upsets many. A bundle's time tag is "immediately". A face that is no longer among `/rtau/faces`
is gone; its addresses keep their last values in receivers that remember them.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any

from .message import Moment, build_message, by_size
from .udp import DatagramSink

#: In the place of what can't be told.
UNKNOWN = -1.0
#: OSC's integers have 32 bits.
_INT = 0x7FFFFFFF


class OscSink(DatagramSink):
    """Sends each frame as OSC bundles, one for the frame, one per face; see `DatagramSink`."""

    scheme = "osc"

    def _pack(self, moment: Moment) -> list[bytes]:
        return osc_bundles(moment, shapes=self._shapes)


def osc_bundles(moment: Moment, *, shapes: bool = False) -> list[bytes]:
    """The datagrams of a frame: its own, then one per face, the largest first."""
    message = build_message(moment, shapes=shapes)
    order = by_size(moment.scores).tolist()
    status = message["status"]
    head = [("/rtau/frame", [_int(moment.index), _int(round(1000 * (message["time"] or 0)))]),
            ("/rtau/faces", [len(order), *(_int(message["faces"][row]["id"]) for row in order)])]
    if status is not None:
        head.append(("/rtau/status", [_float(status["fps"]), _int(status["drops"]), _float(status["age"])]))
    return [_bundle(head), *(_bundle(_face(message["faces"][row])) for row in order)]


def _face(face: dict[str, Any]) -> list[tuple[str, list[float | int]]]:
    home = f"/rtau/face/{face['id']}"
    told = [(f"{home}/{name}", [_float(au["intensity"]), _float(au["presence"]),
                                -1 if au["present"] is None else int(au["present"])])
            for name, au in face["aus"].items()]
    told += [(f"{home}/pose", [_float(face["pose"][name]) for name in ("pitch", "yaw", "roll")]),
             (f"{home}/box", [_float(value) for value in face["box"]]),
             (f"{home}/confidence", [_float(face["confidence"])]), (f"{home}/quality", [_float(face["quality"])])]
    return told + [(f"{home}/arkit/{name}", [_float(value)]) for name, value in face.get("shapes", {}).items()]


def _bundle(messages: list[tuple[str, list[float | int]]]) -> bytes:
    """A bundle to be acted on immediately."""
    parts = [b"#bundle\0\0\0\0\0\0\0\0\1"]
    for address, values in messages:
        tags = "".join("f" if isinstance(value, float) else "i" for value in values)
        message = _head(address, tags) + struct.pack(f">{tags}", *values)
        parts += struct.pack(">i", len(message)), message
    return b"".join(parts)


@lru_cache(maxsize=1024)
def _head(address: str, tags: str) -> bytes:
    """Address and type tags of a message, each ended by zeros up to a multiple of four bytes."""
    return b"".join(text + b"\0" * (4 - len(text) % 4) for text in (address.encode(), f",{tags}".encode()))


def _float(value: float | None) -> float:
    return UNKNOWN if value is None else float(value)


def _int(value: int) -> int:
    return min(value, _INT)
