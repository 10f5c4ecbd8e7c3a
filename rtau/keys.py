"""Single keys from the terminal, as they are pressed."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
from collections.abc import Callable
from typing import TextIO

#: Seconds within which the end of a run is noticed.
_PAUSE = 0.1


class Keys:
    """Listens to the keyboard in a thread of its own; to nothing where standard input is no terminal.

    A context manager; leaving it gives the terminal back as it was. Ctrl-C stays what it is. Verified on Linux only.

    Args:
        pressed: is told each key, one character.
        stream: where keys come from, by default standard input.
    """

    def __init__(self, pressed: Callable[[str], object], stream: TextIO | None = None) -> None:
        self._pressed = pressed
        self._stream = sys.stdin if stream is None else stream
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._before: list | None = None

    @property
    def listening(self) -> bool:
        """Whether keys are heard."""
        return self._thread is not None

    def __enter__(self) -> Keys:
        try:
            if not self._stream.isatty():
                return self
        except (AttributeError, ValueError):  # no standard input, or a closed one
            return self
        listen = self._listen_windows if sys.platform == "win32" else self._listen
        if sys.platform != "win32":
            import termios
            import tty

            try:
                self._before = termios.tcgetattr(self._stream.fileno())
                # Keys come at once and are not shown.
                tty.setcbreak(self._stream.fileno())
            except termios.error:
                return self
        self._thread = threading.Thread(target=listen, name="rtau-keys", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=2)
        if self._before is not None:
            import termios

            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._stream.fileno(), termios.TCSADRAIN, self._before)

    def _listen(self) -> None:
        number = self._stream.fileno()
        while not self._stop.is_set():
            ready, _, _ = select.select([number], [], [], _PAUSE)
            if not ready:
                continue
            try:
                data = os.read(number, 64)
            except OSError:
                return
            if not data:
                return
            # An arrow or another special key sends several characters, the first of which is Esc: none of ours.
            if data[0] != 27:
                for key in data.decode(errors="ignore"):
                    self._pressed(key)

    def _listen_windows(self) -> None:
        import msvcrt

        while not self._stop.wait(_PAUSE):
            while msvcrt.kbhit():  # type: ignore[attr-defined]
                self._pressed(msvcrt.getwch())  # type: ignore[attr-defined]
