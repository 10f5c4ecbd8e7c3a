"""Videos and pictures as users have them: variable, turned, cut off, broken, misnamed."""

from __future__ import annotations

import gc
import os
import re
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from rtau.errors import InputError, UsageError
from rtau.pictures import Pictures, read_picture
from rtau.source import Source, is_camera, is_picture, is_url, is_video, list_inputs, open_source
from rtau.video import Timeline, Video

MS = Fraction(1, 1000)
RED, GREEN, BLUE, WHITE = (220, 30, 30), (30, 200, 30), (30, 30, 220), (235, 235, 235)


def corners(size: tuple[int, int]) -> np.ndarray:
    """RGB: red top left, green top right, blue bottom left, white bottom right."""
    width, height = size
    image = np.empty((height, width, 3), np.uint8)
    x, y = width // 2, height // 2
    image[:y, :x], image[:y, x:], image[y:, :x], image[y:, x:] = RED, GREEN, BLUE, WHITE
    return image


def assert_corners(image: np.ndarray, expected: list[tuple[int, int, int]]) -> None:
    height, width = image.shape[:2]
    at = [(height // 4, width // 4), (height // 4, width * 3 // 4), (height * 3 // 4, width // 4),
          (height * 3 // 4, width * 3 // 4)]
    for (y, x), colour in zip(at, expected, strict=True):
        np.testing.assert_allclose(image[y, x].astype(int), colour, atol=25)


def make(path: Path, n: int = 30, size: tuple[int, int] = (64, 48), *, stamps: list[int] | None = None,
         codec: str = "mpeg4", pixels: str = "yuv420p", turned: tuple | None = None, noise: bool = False,
         gop: int = 12, rate: int = 25, **options: str) -> Path:
    """A video of n frames at `stamps` milliseconds, by default 40 apart."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = *size, pixels, gop
        stream.codec_context.time_base = MS if codec not in ("mpeg2video", "gif") else Fraction(1, rate)
        if turned:
            stream.set_display_rotation(*turned)
        for i, stamp in enumerate(stamps or range(0, 40 * n, 40)):
            image = corners(size)
            if noise:
                image[::2] = rng.integers(0, 255, image[::2].shape, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = (stamp, MS) if codec not in ("mpeg2video", "gif") else (i, Fraction(1, rate))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def sound_only(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def independent(path: Path) -> list[float]:
    """Presentation times by a plain PyAV loop."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [float((frame.pts - stream.start_time) * stream.time_base) for frame in container.decode(stream)]


def read(source: Source) -> tuple[list[float], list[int]]:
    with source:
        frames = [(frame.time, frame.index) for frame in source]
    return [time for time, _ in frames], [index for _, index in frames]


def png(path: Path, image: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), image)
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """25 frames, 25 a second, 64x48."""
    return make(tmp_path_factory.mktemp("clip") / "clip.mp4", 25)


# Videos as they should be


def test_video_gives_every_frame_with_its_time(clip):
    source = open_source(clip)
    assert (source.name, source.live, source.size, source.fps, source.expected) == ("clip.mp4", False, (64, 48), 25, 25)
    with source:
        frames = list(source)
    assert [frame.index for frame in frames] == list(range(25))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(25) / 25, atol=1e-9)
    assert source.damage is None
    first = frames[0]
    assert first.image.dtype == np.uint8 and first.image.flags.c_contiguous
    assert first.input == str(clip) and not first.still and first.captured is None
    assert_corners(first.image, [RED, GREEN, BLUE, WHITE])


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
def test_times_of_variable_rate_are_those_of_the_file(tmp_path, name):
    stamps = [0, 40, 50, 200, 205, 900, 1000, 1033, 2500]
    path = make(tmp_path / name, stamps=stamps)
    times, indices = read(open_source(path))
    np.testing.assert_allclose(times, np.array(stamps) / 1000, atol=1e-9)
    np.testing.assert_allclose(times, independent(path), atol=1e-12)
    assert indices == list(range(9))


def test_time_counts_from_the_start_of_the_stream(tmp_path):
    path = make(tmp_path / "late.mkv", stamps=[5000, 5040, 5100])
    np.testing.assert_allclose(read(open_source(path))[0], [0, .04, .1], atol=1e-9)


def test_frames_between_keep_their_numbers_past_reordering(tmp_path):
    path = make(tmp_path / "b.mp4", 20, codec="libx264", gop=20)
    times, indices = read(open_source(path))
    np.testing.assert_allclose(times, np.arange(20) / 25, atol=1e-9)
    assert indices == list(range(20))


def test_start_end_and_every(clip):
    source = open_source(clip, start=0.2, end=0.6, every=2)
    assert source.expected == 5
    times, indices = read(source)
    assert indices == [6, 8, 10, 12, 14]
    np.testing.assert_allclose(times, np.array(indices) / 25, atol=1e-9)
    source = open_source(clip, every=10)
    assert source.expected == 3
    assert read(source)[1] == [0, 10, 20]
    assert read(open_source(clip, end=0.2))[1] == [0, 1, 2, 3, 4]


def test_a_range_without_frames_says_how_long_the_video_is(clip):
    with pytest.raises(InputError, match=r"from 50 s on; the last one read is at 0\.96 s"):
        read(open_source(clip, start=50))


@pytest.mark.parametrize("options", [{"start": -1}, {"start": 2, "end": 1}, {"end": 0}, {"every": 0},
                                     {"start": float("nan")}])
def test_options_without_sense(clip, options):
    with pytest.raises(UsageError):
        open_source(clip, **options)


@pytest.mark.parametrize(("turned", "expected", "upright"), [
    ((0,), [RED, GREEN, BLUE, WHITE], (64, 48)),
    ((90,), [GREEN, WHITE, RED, BLUE], (48, 64)),  # counter-clockwise
    ((180,), [WHITE, BLUE, GREEN, RED], (64, 48)),
    ((270,), [BLUE, RED, WHITE, GREEN], (48, 64)),
    ((0, True), [GREEN, RED, WHITE, BLUE], (64, 48)),
    ((0, False, True), [BLUE, WHITE, RED, GREEN], (64, 48)),
])
def test_rotation_by_metadata_is_applied(tmp_path, turned, expected, upright):
    source = open_source(make(tmp_path / "turned.mp4", 3, turned=turned))
    assert source.size == upright
    with source:
        for frame in source:
            assert frame.size == upright
            assert_corners(frame.image, expected)


@pytest.mark.parametrize("turned", [None, (90,), (0, True)])
def test_decoded_frames_are_let_go_at_once(tmp_path, turned):
    file = make(tmp_path / "a.mp4", 60, turned=turned)
    gc.collect()
    gc.disable()  # it would undo a knot sooner or later, but pictures are large
    try:
        most = 0
        with open_source(file) as source:
            for frame in source:
                if frame.index % 10 == 9:
                    most = max(most, sum(isinstance(thing, av.VideoFrame) for thing in gc.get_objects()))
        del frame  # whose picture is the decoder's
        # One that stays keeps the decoder's buffers with it, for each file that is read.
        left = [thing.width for thing in gc.get_objects() if isinstance(thing, av.VideoFrame)]
    finally:
        gc.enable()
    assert most < 10 and all(width <= 16 for width in left)


@pytest.mark.parametrize(("name", "codec", "pixels"), [
    ("grey.mkv", "ffv1", "gray"), ("grey10.mkv", "ffv1", "gray10le"), ("ten.mkv", "ffv1", "yuv420p10le"),
    ("sixteen.mkv", "ffv1", "gray16le"), ("rgb.mkv", "ffv1", "bgr0"), ("full.mkv", "mjpeg", "yuvj420p")])
def test_pixel_formats(tmp_path, name, codec, pixels):
    source = open_source(make(tmp_path / name, 2, codec=codec, pixels=pixels))
    with source:
        frame = next(iter(source))
    colours = np.array([RED, GREEN, BLUE, WHITE])
    if pixels.startswith("gray"):
        grey = (colours @ [0.299, 0.587, 0.114]).astype(int)
        colours = np.stack([grey] * 3, axis=1)
    assert_corners(frame.image, colours.tolist())


def test_transparent_video_is_laid_over_white(tmp_path):
    path = tmp_path / "alpha.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "rgba"
        image = np.zeros((16, 16, 4), np.uint8)
        image[:, 8:] = 10, 20, 30, 255
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgba")))
        container.mux(stream.encode(None))
    with open_source(path) as source:
        image = next(iter(source)).image
    assert image[3, 3].tolist() == [255, 255, 255] and image[3, 12].tolist() == [10, 20, 30]


@pytest.mark.parametrize("size", [(16, 16), (7680, 4320)])
def test_small_and_large(tmp_path, size):
    source = open_source(make(tmp_path / "v.mkv", 1, size, codec="mjpeg", pixels="yuvj420p"))
    assert source.size == size
    with source:
        frames = list(source)
    assert [frame.size for frame in frames] == [size]
    assert_corners(frames[0].image, [RED, GREEN, BLUE, WHITE])


def test_one_frame(tmp_path):
    times, indices = read(open_source(make(tmp_path / "one.mp4", 1)))
    assert times == [0.0] and indices == [0]


def test_size_and_time_stamps_that_change_midway(tmp_path):
    # Recordings are joined by appending one transport stream to another; the second starts at time 0 again.
    parts = [make(tmp_path / f"{size[0]}.ts", 10, size, codec="mpeg2video") for size in ((64, 48), (96, 64))]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    with open_source(joined) as source:
        frames = list(source)
    assert {frame.size for frame in frames} == {(64, 48), (96, 64)}
    assert len(frames) >= 18
    assert np.all(np.diff([frame.time for frame in frames]) > 0)
    assert_corners(frames[-1].image, [RED, GREEN, BLUE, WHITE])


def test_timeline_bridges_missing_and_falling_stamps():
    timeline = Timeline(MS, 100, 10.0)
    assert [timeline(stamp) for stamp in (100, 150, None, 300, 120, 900)] == pytest.approx([0, .05, .15, .2, .3, .8])
    assert [Timeline(MS, None, None)(stamp) for stamp in (None, 70)] == [0.0, 0.0]


def test_raw_stream_without_stamps_counts_by_its_rate(tmp_path):
    path = make(tmp_path / "raw.h264", 10, codec="libx264", bf="0", tune="zerolatency")
    times, indices = read(open_source(path))
    assert indices == list(range(10))
    assert times[0] == 0 and np.all(np.diff(times) > 0)


def test_reading_twice_is_an_error_and_closing_twice_is_not(clip):
    source = open_source(clip)
    frames = iter(source)
    next(frames)
    with pytest.raises(RuntimeError, match="open it anew"):
        iter(source)
    source.close()
    source.close()
    assert list(frames) == []


# Videos as they should not be


@pytest.mark.parametrize(("name", "options"), [("cut.mp4", {"movflags": "faststart"}), ("cut.mkv", {})])
def test_a_file_that_ends_early_gives_what_is_there(tmp_path, name, options):
    whole = make(tmp_path / f"whole_{name}", 60, noise=True, **options)
    path = tmp_path / name
    path.write_bytes(whole.read_bytes()[:whole.stat().st_size * 6 // 10])
    source = open_source(path)
    times, indices = read(source)
    assert 5 < len(times) < 55
    np.testing.assert_allclose(times, np.arange(len(times)) / 25, atol=1e-9)
    assert "the file ends early" in source.damage and "\n" not in source.damage


def test_an_avi_is_as_long_as_its_header_says(tmp_path):
    # FFmpeg takes what a cut one still holds for all there was.
    whole = make(tmp_path / "whole.avi", 60, noise=True, codec="mpeg2video")
    assert read(source := open_source(whole))[1] == list(range(60)) and source.damage is None
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole.read_bytes()[:whole.stat().st_size * 6 // 10])
    source = open_source(cut)
    assert source.expected == 60
    assert 5 < len(read(source)[1]) < 55 and re.search(r"the file ends early: [01]\.\d of 2\.4 s are there", source.damage)


@pytest.mark.parametrize("name", ["bad.mp4", "bad.mkv", "bad.ts"])
def test_a_damaged_middle_is_passed_over_and_reported(tmp_path, name):
    codec = "mpeg2video" if name.endswith("ts") else "mpeg4"
    path = make(tmp_path / name, 60, noise=True, codec=codec)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle:middle + 6000] = np.random.default_rng(1).integers(0, 256, 6000, dtype=np.uint8).tobytes()
    path.write_bytes(data)
    source = open_source(path)
    times, indices = read(source)
    assert 10 < len(times) <= 60
    assert np.all(np.diff(times) > 0) and np.all(np.diff(indices) > 0)
    assert source.damage and "\n" not in source.damage


def test_frames_after_damage_keep_their_numbers(tmp_path):
    path = make(tmp_path / "v.mp4", 40, codec="mjpeg", pixels="yuvj420p")
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for position, size in packets[10:13]:
        data[position:position + size] = bytes(size)
    path.write_bytes(data)
    source = open_source(path)
    times, indices = read(source)
    assert len(indices) == 37 and indices[-1] == 39
    np.testing.assert_allclose(times, np.array(indices) / 25, atol=1e-9)
    assert source.damage == "3 of 40 frames could not be decoded"


def test_an_edited_file_is_not_called_damaged(tmp_path):
    # Packets that an edit list hides are no loss.
    path = make(tmp_path / "b.mp4", 30, codec="libx264", stamps=[i * 40 - 80 for i in range(30)])
    source = open_source(path)
    read(source)
    assert source.damage is None


def broken_inputs(folder: Path) -> dict[str, tuple[Path, str]]:
    whole = make(folder / "whole.mp4", 30)
    headless = folder / "headless.mp4"  # the index comes last, so this has none
    headless.write_bytes(whole.read_bytes()[:whole.stat().st_size // 2])
    text = folder / "text.mp4"
    text.write_text("This is not a film.\n" * 50)
    empty = folder / "empty.mp4"
    empty.touch()
    noise = folder / "noise.mkv"
    noise.write_bytes(np.random.default_rng(0).bytes(50000))
    nothing = make(folder / "nothing.mp4", 10, codec="mjpeg", pixels="yuvj420p")
    with av.open(str(nothing)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(nothing.read_bytes())
    for position, size in packets:
        data[position:position + size] = bytes(size)
    nothing.write_bytes(data)
    bare = folder / "bare"
    bare.mkdir()
    (bare / "notes.txt").write_text("nothing to see")
    heic = folder / "phone.heic"
    heic.write_bytes(b"\0\0\0\x18ftypheic")
    return {
        "missing": (folder / "not_there.mp4", "is not there"), "beneath a file": (text / "a.mp4", "is not there"),
        "no index": (headless, "can't be read as a video"), "text": (text, "can't be read as a video"),
        "empty": (empty, "is empty"), "noise": (noise, "can't be read as a video"),
        "nothing decodes": (nothing, "not one frame"), "only sound": (sound_only(folder / "a.m4a"), "only sound"),
        "sound as mp4": (sound_only(folder / "a.mp4"), "only sound"), "bare folder": (bare, "no pictures or videos"),
        "heic": (heic, "convert it"), "too long a name": (folder / ("x" * 300), "can't be read"),
    }


@pytest.mark.parametrize("text", ["ffconcat version 1.0\nfile clip.mp4\n",
                                  "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nclip.mp4\n#EXT-X-ENDLIST\n"])
@pytest.mark.parametrize("name", ["list.mp4", "list.m3u8", "list.png"])
def test_a_list_of_other_files_opens_none_of_them(clip, tmp_path, text, name):
    # Else a stranger's file could have others of one's own files read in its place.
    (tmp_path / "clip.mp4").write_bytes(clip.read_bytes())
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match="can't be read"):
        read(open_source(tmp_path / name))


def test_what_is_no_video_is_refused_in_one_line(tmp_path, capfd):
    for kind, (path, reason) in broken_inputs(tmp_path).items():
        with pytest.raises(InputError) as caught:
            read(open_source(path))
        message = str(caught.value)
        assert reason in message and path.name[:20] in message and "\n" not in message, kind
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="this user may read everything")
def test_no_permission(clip, tmp_path):
    path = tmp_path / "secret.mp4"
    path.write_bytes(clip.read_bytes())
    path.chmod(0)
    with pytest.raises(InputError, match="permission"):
        open_source(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(InputError, match="regular file"):
        open_source(tmp_path / "pipe.mp4")


def test_odd_names(clip, tmp_path):
    for name in ("a:b.mp4", "clip %03d.mp4", "lächeln 笑.mp4", "-y.mp4", "[1].mp4"):
        path = tmp_path / name
        path.write_bytes(clip.read_bytes())
        assert len(read(open_source(path))[0]) == 25
        assert [one.path for one in list_inputs([path])] == [path]


# Pictures


def test_picture(tmp_path):
    path = png(tmp_path / "Grüße 笑.png", corners((20, 12))[..., ::-1])
    source = open_source(path)
    assert (source.name, source.live, source.size, source.expected) == (path.name, False, (20, 12), 1)
    with source:
        frame, = source
    np.testing.assert_array_equal(frame.image, corners((20, 12)))
    assert (frame.time, frame.index, frame.still, frame.input) == (0.0, 0, True, str(path))
    assert source.damage is None


@pytest.mark.parametrize("name", ["p.png", "p.tiff", "p.bmp", "p.webp", "p.jpg", "p.ppm", "p.jp2", "p.avif"])
def test_picture_formats(tmp_path, name):
    image, damage = read_picture(png(tmp_path / name, corners((64, 48))[..., ::-1]))
    assert_corners(image, [RED, GREEN, BLUE, WHITE])
    assert damage is None


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_depth_grey_and_alpha_of_pictures(tmp_path, depth):
    scale = 1 if depth == np.uint8 else 257
    colour = corners((20, 12)).astype(depth) * scale
    image, _ = read_picture(png(tmp_path / "colour.png", colour[..., ::-1]))
    np.testing.assert_allclose(image.astype(int), corners((20, 12)), atol=1)
    image, _ = read_picture(png(tmp_path / "grey.png", colour[..., 1]))
    np.testing.assert_allclose(image.astype(int), np.repeat(corners((20, 12))[..., 1:2], 3, axis=2), atol=1)
    alpha = np.zeros((12, 20, 1), depth)
    alpha[:, 10:] = 255 * scale
    alpha[:, 18:] = 51 * scale
    image, _ = read_picture(png(tmp_path / "alpha.png", np.dstack([colour[..., ::-1], alpha])))
    assert image[3, 3].tolist() == [255, 255, 255]
    np.testing.assert_allclose(image[3, 14].astype(int), GREEN, atol=1)
    np.testing.assert_allclose(image[3, 19].astype(int), 0.2 * np.array(GREEN) + 0.8 * 255, atol=2)


def exif(orientation: int) -> bytes:
    tiff = b"II*\0" + struct.pack("<IHHHII", 8, 1, 0x0112, 3, 1, orientation) + bytes(4)
    body = b"Exif\0\0" + tiff
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


@pytest.mark.parametrize("cut", [False, True])
def test_jpeg_lying_on_its_side_is_turned(tmp_path, cut):
    data = cv2.imencode(".jpg", corners((64, 48))[..., ::-1])[1].tobytes()
    path = tmp_path / "phone.jpg"
    path.write_bytes(data[:2] + exif(6) + (data[2:-2] if cut else data[2:]))
    image, damage = read_picture(path)
    assert image.shape == (64, 48, 3)
    assert_corners(image, [BLUE, RED, WHITE, GREEN])
    assert (damage is not None) == cut


def test_jpeg_that_ends_early_is_given_with_a_warning(tmp_path, capfd):
    data = cv2.imencode(".jpg", corners((200, 200))[..., ::-1])[1].tobytes()
    path = tmp_path / "cut.jpg"
    path.write_bytes(data[:len(data) * 8 // 10])
    source = open_source(path)
    with source:
        frame, = source
    assert frame.size == (200, 200)
    np.testing.assert_allclose(frame.image[40, 40].astype(int), RED, atol=25)
    assert source.damage == "1 of 1 pictures end early, parts may be missing: cut.jpg"
    path.write_bytes(data[:20])
    with pytest.raises(InputError, match=r"cut\.jpg can't be read as a picture"):
        open_source(path)
    assert capfd.readouterr() == ("", "")


def test_pictures_that_can_not_be_read(tmp_path, capfd):
    good = png(tmp_path / "good.png", corners((64, 48))).read_bytes()
    absurd = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    header = struct.pack(">I", 13) + b"IHDR" + absurd + struct.pack(">I", zlib.crc32(b"IHDR" + absurd))
    end = struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
    flipped = bytearray(good)
    flipped[60] ^= 0xFF
    film = make(tmp_path / "film.mp4", 5).read_bytes()
    cases = {"cut": (good[:-30], "ends early"), "flipped": (bytes(flipped), "corrupt"),
             "absurd": (good[:8] + header + end, "can't be read"),
             "too large": (b"P5 100000 100000 255\n" + bytes(100), "too many pixels"), "text": (b"hello", "as a picture"),
             "film": (film, "as a picture"), "empty": (b"", "empty")}
    for name, (data, reason) in cases.items():
        path = tmp_path / f"{name}.png"
        path.write_bytes(data)
        with pytest.raises(InputError, match=reason) as caught:
            open_source(path)
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_icon_is_read_by_other_means(tmp_path):
    picture = cv2.imencode(".png", corners((32, 32))[..., ::-1])[1].tobytes()
    path = tmp_path / "p.ico"
    path.write_bytes(struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 32, 32, 0, 0, 1, 24, len(picture), 22)
                     + picture)
    image, _ = read_picture(path)
    np.testing.assert_array_equal(image, corners((32, 32)))


def test_gif_is_a_video_if_it_moves(tmp_path):
    moving = make(tmp_path / "moving.gif", 5, codec="gif", pixels="rgb8", rate=10)
    resting = png(tmp_path / "resting.gif", corners((64, 48))[..., ::-1])
    assert is_video(moving) and is_picture(resting)
    with open_source(moving) as source:
        frames = list(source)
    assert len(frames) == 5 and not frames[0].still
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(5) / 10, atol=1e-6)
    with open_source(resting) as source:
        frame, = source
    assert frame.still


@pytest.fixture
def album(tmp_path) -> Path:
    """img1, img2 and img10, a hidden one, notes, a folder inside; img2 is broken."""
    folder = tmp_path / "album"
    (folder / "inner").mkdir(parents=True)
    for i, name in enumerate(["img10.png", "img1.png", "inner/deep.png", ".hidden.png"]):
        png(folder / name, np.full((16, 16 + i, 3), 50 * i, np.uint8))
    (folder / "img2.png").write_bytes(b"broken")
    (folder / "notes.txt").write_text("hello")
    return folder


def test_folder_of_pictures(album):
    source = open_source(album)
    assert (source.name, source.size, source.expected) == ("album", None, 3)
    with source:
        frames = list(source)
    assert [(Path(frame.input).name, frame.index, frame.still) for frame in frames] == [
        ("img1.png", 0, True), ("img10.png", 2, True)]
    assert source.damage == "1 of 3 pictures could not be read: img2.png"
    assert [frame.index for frame in open_source(album, every=2)] == [0, 2]
    with pytest.raises(UsageError, match="for videos"):
        open_source(album, start=1)


def test_folder_with_videos_is_not_one_source(album, clip):
    (album / "clip.mp4").write_bytes(clip.read_bytes())
    with pytest.raises(InputError, match="holds 1 videos"):
        open_source(album)


def test_nothing_of_many_pictures_can_be_read(album):
    with pytest.raises(InputError, match=r"none of the 2 pictures.*img2\.png, notes\.txt"):
        list(Pictures([album / "img2.png", album / "notes.txt"]))
    with pytest.raises(InputError):
        Pictures([])


# What the user names


def test_inputs_from_files_folders_and_globs(album, clip, tmp_path):
    (album / "clip.mp4").write_bytes(clip.read_bytes())
    one, two, ten = (album / f"img{i}.png" for i in (1, 2, 10))
    film = album / "clip.mp4"

    def names(*patterns):
        return [(found.path, found.picture) for found in list_inputs(patterns)]

    assert names(album) == [(film, False), (one, True), (two, True), (ten, True)]
    assert names(ten, one, ten) == [(ten, True), (one, True)]
    assert names(str(album / "img*.png"), film) == [(one, True), (two, True), (ten, True), (film, False)]
    assert names(str(tmp_path / "alb*")) == names(album)
    assert [path.name for path, _ in names(str(album / "*"))] == ["clip.mp4", "img1.png", "img2.png", "img10.png",
                                                                  "deep.png"]
    assert names(album / ".." / "album" / "img1.png", one) == [(album / ".." / "album" / "img1.png", True)]
    with pytest.raises(UsageError, match="matches no file"):
        names(str(album / "*.mkv"))
    with pytest.raises(InputError, match="no picture and no video"):
        names(str(album / "*.txt"))
    with pytest.raises(InputError, match="is not there"):
        names(one, album / "img3.png")
    with pytest.raises(UsageError, match="nothing to process"):
        names()


def test_a_file_without_extension_is_known_by_its_first_bytes(clip, tmp_path):
    picture = tmp_path / "picture"
    picture.write_bytes(cv2.imencode(".jpg", corners((64, 48)))[1].tobytes())
    film = tmp_path / "film"
    film.write_bytes(clip.read_bytes())
    assert [found.picture for found in list_inputs([picture, film])] == [True, False]
    with open_source(picture) as source:
        assert next(iter(source)).still
    assert len(read(open_source(film))[0]) == 25


def test_what_is_a_camera_or_an_address():
    assert all(map(is_camera, (0, "1", "/dev/video0", "/dev/v4l/by-id/usb-1")))
    assert not any(map(is_camera, (True, "clip.mp4", "1.mp4", "")))
    assert all(map(is_url, ("rtsp://10.0.0.1/live", "HTTP://a/b.mp4", "udp://@:1234")))
    assert not any(map(is_url, ("clip.mp4", "C:\\clip.mp4", "a:b.mp4", 0)))
    with pytest.raises(UsageError, match="for files"):
        open_source(0, start=1)


# Files from elsewhere


def test_shared_clips_agree_with_a_plain_loop(shared):
    counts = {"carphone_176x144.mp4": 120, "hungry.mkv": 49, "h265_no_face.mp4": 10, "no_face.mp4": 95,
              "none_then_face.mov": 169}
    for name, count in counts.items():
        path = shared / "clips" / name
        source = Video(path)
        times, indices = read(source)
        assert len(times) == count and indices == list(range(count)), name
        np.testing.assert_allclose(times, independent(path), atol=1e-9, err_msg=name)
        assert source.damage is None, name
        assert source.expected is None or abs(source.expected - count) <= 3


def test_shared_pictures(shared, tmp_path):
    folder = shared / "stills" / "compreface"
    eight = [folder / f"einstein.{kind}" for kind in ("bmp", "gif", "ico", "jpeg", "png", "tiff", "webp")]
    images = [read_picture(path)[0].astype(float) for path in eight]
    for path, image in zip(eight, images, strict=True):
        assert image.shape == (256, 256, 3), path.name
        assert np.abs(image - images[4]).mean() < 6, path.name
    names = ["corrupted.png", "einstein.png", "empty.png", "truncated.jpg"]
    source = Pictures([folder / name for name in names])
    with source:
        assert [(frame.index, frame.size) for frame in source] == [(1, (256, 256)), (3, (225, 225))]
    assert source.damage == ("2 of 4 pictures could not be read: corrupted.png, empty.png; "
                             "1 of 4 pictures end early, parts may be missing: truncated.jpg")
    for name in ("corrupted.png", "empty.png"):
        with pytest.raises(InputError, match="can't be read"):
            open_source(folder / name)


def test_a_picture_read_from_memory_is_not_needed_on_disk_twice(tmp_path):
    path = png(tmp_path / "p.png", corners((64, 48)))
    source = open_source(path)
    path.unlink()
    assert len(list(source)) == 1
