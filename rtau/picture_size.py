"""Width and height of a picture by its header, before any memory is taken for its pixels."""

from __future__ import annotations

import re
import struct

#: JPEG markers that begin a frame and so tell its size: SOF0..15 without DHT, JPG and DAC.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PNM = re.compile(rb"P[1-6]\s+(?:#[^\n]*\n\s*)*(\d+)\s+(?:#[^\n]*\n\s*)*(\d+)\s")


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Width and height that the header of a JPEG, PNG, GIF, BMP, WebP, TIFF or PNM claims; None if it can't be told.

    Lying on its side or not makes no difference here: what counts is the product.
    """
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return struct.unpack(">II", data[16:24])
        if data.startswith(b"\xff\xd8"):
            return _jpeg(data)
        if data.startswith((b"GIF87a", b"GIF89a")):
            return struct.unpack("<HH", data[6:10])
        if data.startswith(b"BM"):
            return _bmp(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
        if data.startswith((b"II*\x00", b"MM\x00*")):
            return _tiff(data)
        found = _PNM.match(data[:4096])
        return (int(found[1]), int(found[2])) if found else None
    except struct.error:
        return None


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 < len(data):
        if data[at] != 0xFF:
            return None
        kind = data[at + 1]
        if kind == 0xFF:  # a filler
            at += 1
        elif kind in _FRAMES:
            height, width = struct.unpack(">HH", data[at + 5:at + 9])
            return width, height
        elif kind == 0x01 or 0xD0 <= kind <= 0xD8:  # markers without a length
            at += 2
        else:
            at += 2 + struct.unpack(">H", data[at + 2:at + 4])[0]
    return None


def _bmp(data: bytes) -> tuple[int, int]:
    if struct.unpack("<I", data[14:18])[0] == 12:
        return struct.unpack("<HH", data[18:22])
    width, height = struct.unpack("<ii", data[18:26])
    return abs(width), abs(height)  # below zero: from the top down


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = struct.unpack("<I", data[21:25])[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return None


def _tiff(data: bytes) -> tuple[int, int] | None:
    order = "<" if data[:2] == b"II" else ">"
    at = struct.unpack(order + "I", data[4:8])[0]
    sides: dict[int, int] = {}
    for entry in range(struct.unpack(order + "H", data[at:at + 2])[0]):
        begin = at + 2 + 12 * entry
        tag, kind = struct.unpack(order + "HH", data[begin:begin + 4])
        if tag in (256, 257):
            short = kind == 3
            sides[tag] = struct.unpack(order + "HI"[not short], data[begin + 8:begin + 10 + 2 * (not short)])[0]
    return (sides[256], sides[257]) if len(sides) == 2 else None
