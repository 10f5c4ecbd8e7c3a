"""A window that shows the pictures with their scores."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import cv2

from ..errors import OutputError
from ..overlay import Overlay
from ..types import Frame, Scores, Status

log = logging.getLogger(__name__)

_NO_SCREEN = "no screen to open a window on: run it on a desktop, or write a video with --overlay out.mp4"


class WindowSink:
    """Shows the overlay in an OpenCV window; `q`, Esc or the window's own button close it.

    After that `closed` is True and `write` does nothing: the caller decides whether to stop. All calls must
    come from one thread, on macOS from the main one. Verified on Linux with a virtual screen only.

    Args:
        title: of the window.
        style: how the scores are drawn, see `rtau.overlay.STYLES`.

    Raises:
        UsageError: there is no such style.
        OutputError: on entering: there is no screen, or this OpenCV can't open windows.
    """

    def __init__(self, title: str = "rtau", *, style: str = "bars") -> None:
        self.title = title
        self.closed = False
        self._overlay = Overlay(style)
        self._open = False

    def __enter__(self) -> WindowSink:
        # Qt complains about fonts that the OpenCV wheels don't bring, and does without them.
        os.environ.setdefault("QT_LOGGING_RULES", "*.warning=false")
        check_screen()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._open:
            self._open = False
            try:
                cv2.destroyWindow(self.title)
            except cv2.error:
                log.debug("the window was gone already")

    def write(self, frame: Frame, scores: Scores, status: Status | None = None) -> None:
        """Show this frame and look at the keyboard; never waits."""
        if self.closed:
            return
        if frame.still:
            self._overlay.forget()
        if not self._open:
            self._open = True
            # Without OpenCV's toolbar, and as large as what is shown, so that text stays sharp.
            cv2.namedWindow(self.title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
            cv2.resizeWindow(self.title, *shown_size(frame.size))
        elif cv2.getWindowProperty(self.title, cv2.WND_PROP_VISIBLE) < 1:
            self.closed = True
            return
        picture = self._overlay(frame.image, scores, status)
        size = shown_size(frame.size)
        if size != frame.size:
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if size < frame.size else cv2.INTER_LINEAR)
        cv2.imshow(self.title, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        if cv2.pollKey() & 0xFF in (ord("q"), ord("Q"), 27):
            self.closed = True


def shown_size(size: tuple[int, int]) -> tuple[int, int]:
    """Width and height on the screen of a picture: large ones are made to fit, tiny ones are doubled."""
    width, height = size
    scale = min(1280 / width, 800 / height, 1.0 if max(size) >= 400 else 2.0)
    return max(1, round(width * scale)), max(1, round(height * scale))


def check_screen() -> None:
    """Make sure that a window can be opened, without opening one in this process.

    On Linux OpenCV's window library ends the whole process where it finds no screen, so a short-lived process
    tries first.

    Raises:
        OutputError: no window can be opened.
    """
    if any("GUI:" in line and "NONE" in line for line in cv2.getBuildInformation().splitlines()):
        raise OutputError("this OpenCV can't open windows: pip uninstall opencv-python-headless, "
                          "then pip install --force-reinstall opencv-python")
    if not sys.platform.startswith("linux"):
        return
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise OutputError(_NO_SCREEN)
    attempt = "import cv2; cv2.namedWindow('rtau'); cv2.destroyAllWindows()"
    try:
        done = subprocess.run([sys.executable, "-c", attempt], capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise OutputError(_NO_SCREEN) from error
    if done.returncode != 0:
        log.debug("trying a window failed: %s", done.stderr.decode(errors="replace"))
        raise OutputError(_NO_SCREEN)
