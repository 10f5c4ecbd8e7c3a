"""Recordings and snapshots that begin and end while a run goes on."""

from __future__ import annotations

import logging
import threading
from datetime import datetime
from pathlib import Path

from ..errors import OutputError
from ..types import Frame, Scores, Status
from .overlay import OverlaySink, PictureSink

log = logging.getLogger(__name__)


class RecorderSink:
    """Writes overlay videos from `start` to `stop`, and single pictures; nothing in between.

    A file that can't be written ends the recording, not the run. Files are named by the time, in the folder given,
    and never replace another.

    Args:
        folder: where the files go.
        style: how the scores are drawn, see `rtau.overlay.STYLES`.

    Attributes:
        written: files that were begun, in order.
        problem: why the last file could not be written; None if it could.
    """

    def __init__(self, folder: str | Path = ".", *, style: str = "bars") -> None:
        self.folder = Path(folder)
        self.style = style
        self.written: list[Path] = []
        self.problem: str | None = None
        self._wanted = threading.Event()
        self._snapshot = threading.Event()
        self._video: OverlaySink | None = None

    @property
    def recording(self) -> bool:
        """Whether a video is being written, or will be from the next frame on."""
        return self._wanted.is_set()

    def toggle(self) -> None:
        """Begin a video with the next frame, or end the one that is being written; from any thread."""
        if self._wanted.is_set():
            self._wanted.clear()
        else:
            self.problem = None
            self._wanted.set()

    def snapshot(self) -> None:
        """Write the next frame as a picture; from any thread."""
        self._snapshot.set()

    def __enter__(self) -> RecorderSink:
        return self

    def __exit__(self, *exc: object) -> None:
        self._end()

    def write(self, frame: Frame, scores: Scores, status: Status | None = None) -> None:
        """Take one frame's results, for what is wanted of them."""
        if self._snapshot.is_set():
            self._snapshot.clear()
            self._save(frame, scores)
        if self._wanted.is_set():
            try:
                if self._video is None:
                    self._video = OverlaySink(self._name("mp4"), style=self.style)
                    self._video.__enter__()
                    self.written.append(self._video.path)
                self._video.write(frame, scores, status)
            except OutputError as error:
                self._give_up(error)
        elif self._video is not None:
            self._end()

    def _save(self, frame: Frame, scores: Scores) -> None:
        path = self._name("png")
        try:
            with PictureSink(path, style=self.style) as picture:
                picture.write(frame, scores)
            self.written.append(path)
        except OutputError as error:
            self.problem = str(error)
            log.warning("%s", error)

    def _name(self, suffix: str) -> Path:
        stem = f"rtau-{datetime.now():%Y%m%d-%H%M%S}"
        path, number = self.folder / f"{stem}.{suffix}", 2
        while path.exists():
            path, number = self.folder / f"{stem}-{number}.{suffix}", number + 1
        return path

    def _end(self) -> None:
        if self._video is not None:
            try:
                self._video.__exit__(None, None, None)
            except OutputError as error:
                self.problem = str(error)
            self._video = None

    def _give_up(self, error: OutputError) -> None:
        self._wanted.clear()
        self._end()
        self.problem = str(error)
