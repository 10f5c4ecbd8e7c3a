"""Where frames come from: videos, pictures, folders of pictures, cameras and streams, all behind one interface.

The kinds live in `video.py`, `pictures.py` and `camera.py`. This module says what they share and which is meant.
"""

from __future__ import annotations

import glob
import logging
import os
import re
import stat
import threading
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self
from urllib.parse import urlsplit

from .errors import InputError, UsageError
from .types import Frame

logger = logging.getLogger(__name__)

PICTURES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .bmp .dib .tif .tiff .webp .gif .ico .avif .jp2 .pgm .ppm .pbm .pnm .pfm .ras .sr "
    ".hdr .pic".split())
VIDEOS = frozenset(
    ".mp4 .m4v .mov .qt .mkv .webm .avi .mpg .mpeg .mpe .m1v .m2v .ts .mts .m2ts .vob .wmv .asf .flv .f4v .3gp .3g2 "
    ".ogv .ogg .mxf .y4m .mjpeg .mjpg .h264 .264 .h265 .265 .hevc .dv .rm .rmvb .divx .amv .nut .ivf".split())
SCHEMES = frozenset({"rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "tcp", "srt", "rtp"})
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"BM", b"II*\x00", b"MM\x00*")


class Source(Protocol):
    """Frames in order. Iterate once; use as a context manager, or call `close`.

    Attributes:
        name: for people: file name, "camera 0", URL without its password.
        live: frames arrive in real time and are lost if not taken.
        size: width and height in pixels of the upright picture; None where not known, or where pictures differ.
        fps: nominal frames per second, only informational; None where not known.
        expected: about how many frames the iteration will give; None where not known.
        damage: after the iteration, one line on what could not be read; None if nothing was amiss.
        steps: rises while the reading goes on, also where no frame is given for long.
        cut: after the iteration, whether a limit on its length ended it.
    """

    name: str
    live: bool
    size: tuple[int, int] | None
    fps: float | None
    expected: int | None
    damage: str | None
    steps: int = 0
    cut: bool = False

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Reader(Source):
    """A source that something has to be opened for: opened once, read once, closed from any thread.

    Constructing costs nothing. `open` does the slow part and is called by the iteration if you have not.
    """

    def __init__(self, name: str, *, live: bool) -> None:
        self.name = name
        self.live = live
        self.size: tuple[int, int] | None = None
        self.fps: float | None = None
        self.expected: int | None = None
        self.damage: str | None = None
        self.steps = 0
        self.cut = False
        self._closing = threading.Event()
        self._frames: Iterator[Frame] | None = None

    @abstractmethod
    def open(self) -> Self:
        """Open it and fill in `size`, `fps` and `expected`. Does nothing if it is open. Raises InputError."""

    @abstractmethod
    def _read(self) -> Iterator[Frame]:
        """The frames, until the end or until `_closing` is set."""

    @abstractmethod
    def _release(self) -> None:
        """Let go of what `open` took; may be called more than once."""

    def __iter__(self) -> Iterator[Frame]:
        if self._frames is not None or self._closing.is_set():
            raise RuntimeError(f"{self.name} was read or closed before; open it anew")
        self.open()
        self._frames = self._run()
        return self._frames

    def _run(self) -> Iterator[Frame]:
        try:
            yield from self._read()
        finally:
            self._release()

    def close(self) -> None:
        """End the reading and let go of the file or device. May be called from any thread, and more than once."""
        self._closing.set()
        if self._frames is not None:
            try:
                self._frames.close()
            except ValueError:
                # Another thread is inside the decoder or driver, which must not be pulled from under it.
                # It sees the flag after its present frame and releases everything itself.
                logger.debug("%s: closed while being read; the reading thread ends it", self.name)
                return
        self._release()


@dataclass(frozen=True)
class Input:
    """One file to process.

    Attributes:
        path: where it is, as the user gave it or as found in a folder the user gave.
        picture: a still picture; else a video.
        within: the sub-folder of the given folder in which it was found; "." where it lay directly inside.
    """

    path: Path
    picture: bool
    within: Path = Path()


def is_url(what: object) -> bool:
    """Whether this is the address of a network stream."""
    return isinstance(what, str) and "://" in what and urlsplit(what).scheme.lower() in SCHEMES


def is_camera(what: object) -> bool:
    """Whether this names a camera: a number, digits, or a device such as /dev/video0."""
    if isinstance(what, int):
        return not isinstance(what, bool)
    text = str(what)
    return bool(re.fullmatch(r"[0-9]+", text) or re.match(r"/dev/(video|v4l/)", text))


def is_picture(path: str | Path) -> bool:
    """Whether this file is taken as a still picture: by extension, by its first bytes if it has an unknown one.

    A GIF with more than one frame is a video.
    """
    path = Path(path)
    extension = path.suffix.lower()
    if extension in VIDEOS or (extension not in PICTURES and not _looks_like_picture(path)):
        return False
    if extension == ".gif":
        from .video import is_animated

        return not is_animated(path)
    return True


def is_video(path: str | Path) -> bool:
    """Whether this file is taken as a video: whatever is not a picture."""
    return not is_picture(path)


def _looks_like_picture(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(8).startswith(_MAGIC)
    except OSError:
        return False


def natural(path: Path) -> tuple[list[str | int], str]:
    """Sort key by which frame_9 comes before frame_10."""
    parts = re.split(r"([0-9]+)", path.name.casefold())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], str(path)


def check_file(path: Path) -> None:
    """Raise InputError in one line unless this is a file with something in it that may be read."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path} is not there; check the name and the folder") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from None
    if stat.S_ISDIR(found.st_mode):
        raise InputError(f"{path} is a folder, not a file")
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path} is not a regular file; save it to a file first")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} can't be read: you have no permission to read it")
    if not found.st_size:
        raise InputError(f"{path} is empty (0 bytes)")


def _media_in(folder: Path) -> list[Path]:
    """Pictures and videos directly inside, by extension, in natural order; hidden files are left out."""
    try:
        inside = [path for path in folder.iterdir()
                  if path.suffix.lower() in PICTURES | VIDEOS and not path.name.startswith(".") and path.is_file()]
    except OSError as error:
        raise InputError(f"folder {folder} can't be read: {error.strerror}") from None
    if not inside:
        raise InputError(f"folder {folder} has no pictures or videos directly inside; folders in it are not searched")
    return sorted(inside, key=natural)


def list_inputs(patterns: Iterable[str | Path]) -> list[Input]:
    """What files, folders and globs mean, in the order given, each file once.

    A folder means the pictures and videos directly inside. A file is taken whatever its extension. Of what a glob
    matches, pictures, videos and folders are taken.

    Raises:
        UsageError: nothing was given, or a glob matches nothing.
        InputError: a file is not there or can't be read, or a folder holds nothing readable.
    """
    found: dict[Path, Input] = {}

    def add(path: Path) -> None:
        key = path.resolve()
        if key not in found:
            found[key] = Input(path, is_picture(path))

    for pattern in patterns:
        path = Path(pattern)
        if os.path.isdir(path):
            inside = _media_in(path)
        elif glob.has_magic(str(pattern)) and not os.path.exists(path):
            inside = _match(str(pattern))
        else:
            check_file(path)
            inside = [path]
        for one in inside:
            add(one)
    if not found:
        raise UsageError("nothing to process was given; name a video, pictures or a folder")
    return list(found.values())


def _match(pattern: str) -> list[Path]:
    matches = sorted((Path(match) for match in glob.glob(pattern, recursive=True)), key=natural)
    if not matches:
        raise UsageError(f"{pattern} matches no file; check the folder and the ending")
    media: list[Path] = []
    for path in matches:
        if path.suffix.lower() in PICTURES | VIDEOS and path.is_file():
            media.append(path)
        elif path.is_dir():
            try:
                media += _media_in(path)
            except InputError as error:
                logger.info("%s", error)
    if not media:
        raise InputError(f"{pattern} matches no picture and no video")
    return media


def check_range(start: float | None, end: float | None, every: int) -> None:
    """Raise UsageError unless `start` and `end` (seconds) and `every` make sense together."""
    if every < 1:
        raise UsageError(f"every is {every}; give 1 for all frames, 2 for each second one, and so on")
    # Written so that NaN fails too.
    if start is not None and not 0 <= start < float("inf"):
        raise UsageError(f"start is {start:g}; give seconds from the beginning, 0 or more")
    if end is not None and not end > (start or 0):
        raise UsageError(f"end is {end:g}; give seconds from the beginning, more than the start ({start or 0:g})")


def open_source(what: str | int | Path, *, start: float | None = None, end: float | None = None,
                every: int = 1) -> Source:
    """Open a video, a picture, a folder of pictures, a camera or a stream.

    Args:
        what: path of a file or folder; number of a camera or its device (/dev/video0); or a URL.
        start, end: seconds; of a video, only frames with start <= time < end.
        every: of a video or a folder, only frames whose index is a multiple of this.

    Returns:
        An open source. Close it, or use it as a context manager. Nothing of a file is dropped; for cameras and
        streams with "newest frame wins", use `rtau.camera.open_live`.

    Raises:
        InputError: it is not there or can't be read. What shows only later is raised by the iteration before its
            first frame; after the first frame nothing is raised, see `Source.damage`.
        UsageError: the options make no sense, or don't apply to this kind of source.
    """
    check_range(start, end, every)
    chosen = start is not None or end is not None
    there = not isinstance(what, int) and not is_url(what) and os.path.exists(what)
    if is_url(what) or (is_camera(what) and (not there or str(what).startswith("/dev/"))):
        if chosen or every != 1:
            raise UsageError(f"start, end and every are for files, and {what} is not a file")
        from .camera import Camera, Stream

        return (Stream(str(what)) if is_url(what) else Camera(str(what))).open()

    path = Path(str(what))
    if os.path.isdir(path):
        inside = _media_in(path)
        pictures = [one for one in inside if is_picture(one)]
        if len(pictures) < len(inside):
            raise InputError(f"folder {path} holds {len(inside) - len(pictures)} videos; open them one by one")
    else:
        check_file(path)
        if path.suffix.lower() in (".heic", ".heif"):
            raise InputError(f"{path} is a HEIC picture, which can't be read; convert it to JPEG or PNG")
        pictures = [path] if is_picture(path) else []
    if pictures:
        if chosen:
            raise UsageError(f"start and end are for videos, and {path} is not one")
        from .pictures import Pictures

        return Pictures(pictures, every=every, name=path.name or str(path)).open()
    from .video import Video

    return Video(path, start=start, end=end, every=every).open()
