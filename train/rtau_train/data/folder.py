"""A folder of pictures and videos that nobody labeled."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import av

from rtau.errors import InputError, UsageError
from rtau.source import PICTURES, VIDEOS, is_picture, natural
from rtau.video import open_container

from .draft import Draft
from .faces import Listing

log = logging.getLogger(__name__)


def read_folder(folder: str | Path, *, every: int = 1) -> Listing:
    """The pictures and videos in a folder and in the folders in it, without labels or subjects.

    Hidden files and folders are left out. A video that can't be opened has one row, so that aligning it says why.

    Args:
        folder: where to look.
        every: of videos, each frame whose number from 0 is a multiple of this.

    Raises:
        InputError: it is no folder, or holds neither pictures nor videos.
        UsageError: `every` is below 1.
    """
    folder = Path(folder)
    if every < 1:
        raise UsageError(f"every is {every}; give 1 for all frames, 2 for each second one, and so on")
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder")
    draft = Draft(())
    for file in _media(folder):
        source = file.relative_to(folder).as_posix()
        if is_picture(file):
            draft.add(file, source=source)
        else:
            for frame in range(0, max(_frames(file), 1), every):
                draft.add(file, frame=frame, source=f"{source}#{frame}")
    if not len(draft):
        raise InputError(f"{folder} holds no pictures and no videos, nor do the folders in it")
    return draft.listing()


def _media(folder: Path) -> list[Path]:
    found = []
    for inside, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += sorted((Path(inside) / name for name in files if not name.startswith(".")
                         and Path(name).suffix.lower() in PICTURES | VIDEOS), key=natural)
    return found


def _frames(file: Path) -> int:
    """How many frames a video holds, by its packets; 0 where it can't be read."""
    try:
        with open_container(file) as container:
            return sum(1 for packet in container.demux(video=0) if packet.size)
    except (av.FFmpegError, OSError, IndexError) as error:
        log.debug("%s: %s", file, error)
        return 0
