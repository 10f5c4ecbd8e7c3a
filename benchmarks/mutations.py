"""Small files of every kind that rtau reads, and ways to damage them; for `fuzz.py`."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from rtau.calibrate import Profile
from rtau.report import read_table
from rtau.source import open_source
from rtau.store import MANIFEST, open_weights, sha256_of
from rtau_train.config import read_recipe

#: Name, codec and pixel format of each seed that is a video.
_VIDEOS = (("h264.mp4", "libx264", "yuv420p"), ("h264.mkv", "libx264", "yuv420p"), ("h264.ts", "libx264", "yuv420p"),
           ("h264.flv", "libx264", "yuv420p"), ("raw.h264", "libx264", "yuv420p"), ("h265.mp4", "libx265", "yuv420p"),
           ("part2.mov", "mpeg4", "yuv420p"), ("part2.avi", "mpeg4", "yuv420p"), ("mjpeg.avi", "mjpeg", "yuvj420p"),
           ("mpeg1.mpg", "mpeg1video", "yuv420p"), ("vp8.webm", "libvpx", "yuv420p"), ("vp9.webm", "libvpx-vp9", "yuva420p"),
           ("prores.mov", "prores_ks", "yuv422p10le"), ("ffv1.mkv", "ffv1", "bgra"), ("wmv.wmv", "wmv2", "yuv420p"),
           ("theora.ogv", "libtheora", "yuv420p"), ("moving.gif", "gif", "rgb8"), ("raw.y4m", "wrapped_avframe", "yuv420p"))
_WEIGHTS = Path(__file__).resolve().parents[1] / "weights"
_PICTURES = ("a.png", "a.jpg", "a.webp", "a.bmp", "a.tiff", "a.ppm", "a.jp2", "a.avif", "a.hdr", "a.ras", "a.gif")


@dataclass(frozen=True)
class Seed:
    """A sound file.

    Attributes:
        name: what it is called; the suffix matters.
        kind: what reads it, a key of `READERS`.
        data: its bytes.
    """

    name: str
    kind: str
    data: bytes


def read_media(path: Path) -> int:
    """Frames of a video or picture; checks what every reader of frames relies on."""
    last, index = -1.0, -1
    count = 0
    with open_source(path) as source:
        for frame in source:
            assert frame.image.dtype == np.uint8 and frame.image.ndim == 3 and min(frame.image.shape) > 0
            assert frame.index > index, f"frame {frame.index} after {index}"
            assert frame.still or (np.isfinite(frame.time) and frame.time > last), f"{frame.time} s after {last}"
            last, index, count = frame.time, frame.index, count + 1
    assert source.damage is None or "\n" not in source.damage
    return count


def read_weights(path: Path) -> int:
    """Weights whose manifest vouches for the damage, so that nothing but the format keeps them from being loaded."""
    facts = json.loads((_WEIGHTS / MANIFEST).read_text("utf-8"))["landmarks"]
    return _build(path, json.dumps({"landmarks": {**facts, "file": path.name, "sha256": sha256_of(path)}}))


def read_manifest(path: Path) -> int:
    """A manifest of whole weights."""
    return _build(_WEIGHTS / "landmarks.safetensors", path.read_bytes().decode("utf-8", "surrogateescape"))


def _build(weights: Path, manifest: str) -> int:
    """The network of these weights, as this manifest describes it; gives how many parameters it has."""
    from rtau.model import build

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / weights.name
        copy.symlink_to(weights)
        copy.with_name(MANIFEST).write_text(manifest, "utf-8", errors="surrogateescape")
        return sum(values.numel() for values in build(open_weights(copy)).parameters())


def read_profile(path: Path) -> int:
    """A resting face; gives its frames."""
    return Profile.load(path).frames


def read_rows(path: Path) -> int:
    """A table; gives its frames."""
    return len(read_table(path).frames)


def read_steps(path: Path) -> int:
    """A recipe; gives its steps."""
    return read_recipe(path).loop.steps


#: What reads a kind of file and gives how much it found; all may raise `RtauError` and nothing else.
READERS: dict[str, Callable[[Path], int]] = {
    "video": read_media, "picture": read_media, "table": read_rows, "profile": read_profile,
    "recipe": read_steps, "weights": read_weights, "manifest": read_manifest}


def make_seeds(folder: Path) -> list[Seed]:
    """One small file of each kind; codecs that this FFmpeg can't write are left out."""
    seeds = []
    for name, codec, pixels in _VIDEOS:
        with contextlib.suppress(av.FFmpegError, ValueError, OSError):
            seeds.append(Seed(name, "video", _video(folder / name, codec, pixels).read_bytes()))
    image = _picture(0, (64, 48))
    for name in _PICTURES:
        if cv2.imwrite(str(folder / name), image):
            seeds.append(Seed(name, "picture", (folder / name).read_bytes()))
    recipe = _WEIGHTS.parent / "train" / "recipes" / "light.toml"
    seeds.append(Seed("light.toml", "recipe", recipe.read_bytes()))
    seeds.append(Seed("landmarks.safetensors", "weights", (_WEIGHTS / "landmarks.safetensors").read_bytes()))
    seeds.append(Seed("manifest.json", "manifest", _manifest()))
    seeds.append(Seed("me.json", "profile", _profile(folder / "me.json").read_bytes()))
    seeds.append(Seed("aus.csv", "table", _table().encode()))
    return seeds


def _picture(number: int, size: tuple[int, int]) -> np.ndarray:
    """A gradient with a square that moves, BGR uint8."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    image = np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], 2).astype(np.uint8)
    image[8:24, 3 * number % width:][:, :12] = 255 - image[8:24, 3 * number % width:][:, :12]
    return image


def _video(path: Path, codec: str, pixels: str, frames: int = 12, size: tuple[int, int] = (64, 48),
           stamps: list[int] | None = None) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = *size, pixels, 6
        if codec == "libx265":  # else it talks
            stream.options = {"x265-params": "log-level=none"}
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(_picture(number, size), format="bgr24")
            frame.pts, frame.time_base = (stamps or range(frames))[number], Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def disorder(data: bytes, rng: np.random.Generator) -> bytes:
    """A Matroska file whose frames come at any time: no muxer would write it."""
    changed = bytearray(data)
    # The head of a block: its track, milliseconds in its cluster, flags.
    for found in re.finditer(rb"[\xa1\xa3][\x40-\xff].{0,3}?\x81(..)[\x00\x80]", data, re.DOTALL):
        changed[found.start(1):found.end(1)] = int(rng.integers(-2000, 2000)).to_bytes(2, "big", signed=True)
    return bytes(changed)


def _crowded(path: Path) -> Path:
    """A video with thirty streams beside it."""
    with av.open(str(path), "w") as container:
        streams = [container.add_stream(codec, rate=25) for codec in ["libx264"] + 30 * ["mpeg1video"]]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(3):
            for stream in streams:
                frame = av.VideoFrame.from_ndarray(_picture(number, (64, 48)), format="bgr24")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    return path


def _profile(path: Path) -> Path:
    Profile((1, 2, 12), (0.1, 0.2, float("nan")), (0.5, 1.0, float("nan")), 50, "0" * 64, "2026-01-01T00:00:00").save(path)
    return path


def _manifest() -> bytes:
    """The entry of the landmark network, without the figures, which nothing reads."""
    facts = json.loads((_WEIGHTS / MANIFEST).read_text("utf-8"))["landmarks"]
    return json.dumps({"landmarks": {key: value for key, value in facts.items() if key != "figures"}}, indent=1).encode()


def _table() -> str:
    head = "frame,face_id,timestamp,confidence,success,box_x,box_y,box_w,box_h,AU01_r,AU12_r,AU01_c,AU12_c,AU01_p,AU12_p"
    rows = [f"{i},{i % 2},{i / 25:.6f},0.99,1,3.5,4.5,50,60,{i % 5}.1,NaN,{i % 2},NaN,0.{i % 10},NaN" for i in range(60)]
    return "\n".join([head, *rows]) + "\n"


def mutate(seed: Seed, others: list[Seed], rng: np.random.Generator) -> tuple[str, bytes]:
    """One damaged copy: how it was damaged, and its bytes."""
    ways = [_flip, _overwrite, _truncate, _remove, _repeat, _insert, _number]
    if seed.kind in ("video", "picture"):
        ways += [_splice, _number]
    way = ways[rng.integers(len(ways))]
    data = bytearray(seed.data)
    if way is _splice:
        other = others[rng.integers(len(others))]
        return "splice", bytes(_splice(data, other.data, rng))
    for _ in range(int(rng.integers(1, 4))):
        data = way(data, rng)
    return way.__name__.strip("_"), bytes(data)


def _place(data: bytearray, rng: np.random.Generator) -> int:
    """Half of the places lie in the head, where the formats keep what matters."""
    if not data:
        return 0
    return int(rng.integers(min(len(data), 512) if rng.random() < 0.5 else len(data)))


def _flip(data: bytearray, rng: np.random.Generator) -> bytearray:
    for _ in range(int(rng.integers(1, 24))):
        if data:
            data[_place(data, rng)] ^= 1 << int(rng.integers(8))
    return data


def _overwrite(data: bytearray, rng: np.random.Generator) -> bytearray:
    at, length = _place(data, rng), int(rng.integers(1, 200))
    fill = (b"\0", b"\xff", None)[rng.integers(3)]
    length = min(length, len(data) - at)
    data[at:at + length] = rng.bytes(length) if fill is None else fill * length
    return data


def _truncate(data: bytearray, rng: np.random.Generator) -> bytearray:
    return data[:_place(data, rng)]


def _remove(data: bytearray, rng: np.random.Generator) -> bytearray:
    at = _place(data, rng)
    del data[at:at + int(rng.integers(1, 400))]
    return data


def _repeat(data: bytearray, rng: np.random.Generator) -> bytearray:
    at, to = _place(data, rng), _place(data, rng)
    data[to:to] = data[at:at + int(rng.integers(1, 2000))]
    return data


def _insert(data: bytearray, rng: np.random.Generator) -> bytearray:
    at = _place(data, rng)
    data[at:at] = rng.bytes(int(rng.integers(1, 300)))
    return data


def _number(data: bytearray, rng: np.random.Generator) -> bytearray:
    """Absurd sizes, rates and lengths: a number in the file becomes a huge, a negative or no number."""
    text = list(re.finditer(rb"\d+(\.\d+)?", bytes(data[:4096])))
    if text and rng.random() < 0.5:
        found = text[rng.integers(len(text))]
        words = (b"0", b"-1", b"999999999999", b"1e308", b"nan", b"inf", b"null", b'""', b"[]")
        data[found.start():found.end()] = words[rng.integers(len(words))]
        return data
    size, order = int(rng.choice([2, 4, 8])), ("big", "little")[rng.integers(2)]
    values = [0, 1, 2 ** (8 * size - 1) - 1, 2 ** (8 * size - 1), 2 ** (8 * size) - 1, 65535, 100_000]
    at = _place(data, rng)
    data[at:at + size] = (values[rng.integers(len(values))] % 2 ** (8 * size)).to_bytes(size, order)
    return data


def _splice(data: bytearray, other: bytes, rng: np.random.Generator) -> bytearray:
    """The head of one file, the rest of another."""
    return data[:_place(data, rng)] + other[int(rng.integers(len(other))):]


def damage_behind(data: bytes, least: float, rng: np.random.Generator) -> tuple[str, int, bytes]:
    """A copy that is sound up to some byte: how it was damaged, that byte, and the copy.

    Args:
        least: share of the file before which nothing is touched.
    """
    at = int(rng.integers(int(least * len(data)), len(data) - 1))
    whole, rest = bytearray(data[:at]), bytearray(data[at:])
    ways = [_flip, _overwrite, _remove, _repeat, _insert]
    number = int(rng.integers(len(ways) + 2))
    if number == len(ways):
        return "truncate", at, bytes(whole)
    if number > len(ways):
        return "noise", at, bytes(whole) + rng.bytes(len(rest))
    for _ in range(int(rng.integers(1, 6))):
        rest = ways[number](rest, rng)
    return ways[number].__name__.strip("_"), at, bytes(whole + rest)


def odd_videos(folder: Path) -> Iterator[tuple[str, str, bytes]]:
    """Videos that are whole but strange: name, what is strange, bytes."""
    def made(name: str, codec: str, **more) -> bytes:
        return _video(folder / name, codec, "yuv420p", **more).read_bytes()

    for codec in ("mpeg4", "ffv1", "libvpx"):
        yield (f"{codec}.mkv", f"time stamps going backwards, {codec}",
               disorder(made(f"{codec}.mkv", codec), np.random.default_rng(7)))
    lasting = made("l.mkv", "libx264")
    for number, claim in enumerate((b"00:00:nan", b"1e999:0:0", b"1e308:0:0", b"-9:0:0", b"9" * 18)):
        yield (f"lasting{number}.mkv", f"a length of {claim.decode()}",
               re.sub(rb"\d\d:\d\d:\d\d\.\d{9}", lambda _, claim=claim: claim.ljust(18, b"\0"), lasting))
    yield "gap.mkv", "a gap of 12 days", made("gap.mkv", "libx264", stamps=[*range(6), *range(26_000_000, 26_000_006)])
    small, large = made("s.h264", "libx264"), made("l.h264", "libx264", size=(320, 240))
    yield "sizes.h264", "frames of another size midway", small + large + small
    first, second = made("s.ts", "libx264"), made("l.ts", "mpeg2video", size=(320, 240))
    yield "codecs.ts", "another size and codec midway", first + second + first
    full = _video(folder / "f.h264", "libx264", "yuv444p").read_bytes()
    yield "pixels.h264", "another pixel format midway", small + full + small
    # Neither among the first seconds, nor in the last 250 kB, which are looked at when it is opened; and so many that
    # whoever keeps a place for each must trip.
    long = made("long.ts", "mpeg2video", frames=200)
    yield ("streams.ts", "thirty streams more midway",
           long + _crowded(folder / "c.ts").read_bytes() + (b"\x47\x1f\xff\x10" + bytes(184)) * 2000 + long)
    yield "tiny.mkv", "a picture of two pixels", made("tiny.mkv", "ffv1", size=(2, 2))
    yield "one.mp4", "one frame", made("one.mp4", "libx264", frames=1)
