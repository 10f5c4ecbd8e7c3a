"""One message per line, into a file or to standard output."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from pathlib import Path

from ..sinks.paths import close_output, open_output, output_error
from .mailbox import StreamSink
from .message import Moment, encode_message

log = logging.getLogger(__name__)


class JsonlSink(StreamSink):
    """Writes each frame's message as a line of JSON, in one unbuffered write.

    When whoever reads standard output has gone, the rest is dropped and counted, and the analysis goes on.

    Args:
        name: the file, whose folder must exist; "-" is standard output, to which nothing else may write meanwhile.
        shapes: add ARKit's blendshapes.
        lossless: `write` waits while the file is slow; otherwise the newest frames win.
        overwrite: replace a file that exists.

    Raises:
        OutputError: on entering, writing or leaving: the file exists, or can't be written; what was written stays.
    """

    def __init__(self, name: str | Path, *, shapes: bool = False, lossless: bool = False, overwrite: bool = False
                 ) -> None:
        super().__init__(f"jsonl:{name}", live=not lossless, lossless=lossless)
        self.path = Path(name)
        self._stdout = str(name) == "-"
        self._shapes, self._overwrite = shapes, overwrite
        self._file: int | None = None
        self._size = 0
        self._left = False

    @property
    def account(self) -> str:
        """What became of the frames."""
        return super().account + (": the reader had left" if self._left else "")

    def _open(self) -> None:
        if not self._stdout:
            self._file = open_output(self.path, overwrite=self._overwrite)
            return
        # The descriptor itself: what a broken pipe leaves in Python's buffer would fail once more at exit.
        with contextlib.suppress(OSError, AttributeError, ValueError):
            sys.stdout.flush()
            self._file = os.dup(sys.stdout.fileno())

    def _send(self, moment: Moment) -> bool:
        if self._left:
            return False
        data = (encode_message(moment, shapes=self._shapes) + "\n").encode("ascii")
        try:
            self._append(data)
        except BrokenPipeError:
            log.info("%s: the reader has left", self.url)
            self._left = True
            return False
        except OSError as error:
            # A full disk may have taken a part of the line: cut it off. A device or a pipe can't be cut.
            with contextlib.suppress(OSError):
                if not self._stdout:
                    os.ftruncate(self._file, self._size)
            raise output_error(self.path, error) from error
        self._size += len(data)
        return True

    def _append(self, data: bytes) -> None:
        if self._file is None:  # a standard output of Python's own, without a descriptor
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return
        done = os.write(self._file, data)
        while done < len(data):
            done += os.write(self._file, data[done:])

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            close_output(file, self.path)
