"""Makes the pictures of the README's tour, all from the clip that comes with rtau.

    pip install pyte==0.8.2
    python docs/tour.py            # all of them; or some: python docs/tour.py live overlay report web

live.svg is a recording of a real terminal (see terminal.py), overlay.jpg a frame of the annotated video, report.png
and web.png the pages in a headless Chromium, which must be installed. Needs rtau installed beside this Python, and a
machine with nothing else to do, or the recording stutters.
"""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import av
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
RTAU = Path(sys.executable).with_name("rtau")
SAMPLE = Path("rtau", "samples", "astronaut.mp4")
#: Seconds into the clip that the overlay shows.
MOMENT = 3.0

sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "docs")]


def live(folder: Path) -> None:
    """`rtau live` in a terminal: the display, the keys, the table at the end."""
    from terminal import Recording, animate, pictures

    recording = Recording(ROOT, 92, 27, RTAU.parent)
    recording.wait(3, until=lambda new: new.endswith(b"$ "))
    recording.type(f"rtau live --camera {SAMPLE}")
    recording.wait(0.4)
    recording.type("\n")
    recording.wait(20, until=lambda new: b"AU12" in new)
    recording.wait(3.2)
    recording.type("?")
    recording.wait(0.9)
    recording.type("?")
    recording.wait(20, until=lambda new: b"Strongest" in new and new.endswith(b"$ "))
    seen = pictures(recording)
    recording.close()
    bars = [i for i, (_, picture) in enumerate(seen) if any("AU12" in run.text for run in picture[10])]
    text = animate(seen, "rtau live in a terminal: a bar for each Action Unit, then the strongest in a table",
                   bars[len(bars) // 2])
    _write("live.svg", text.encode())


def overlay(folder: Path) -> None:
    """A frame of the annotated video."""
    _rtau("process", SAMPLE, "--out", folder / "aus.csv", "--overlay", folder / "seen.mp4")
    with av.open(str(folder / "seen.mp4")) as video:
        frame = next(frame for frame in video.decode(video=0) if frame.time >= MOMENT)
    file = io.BytesIO()
    frame.to_image().save(file, "JPEG", quality=88)
    _write("overlay.jpg", file.getvalue())


def report(folder: Path) -> None:
    """The upper part of a report."""
    from browser import Browser

    _rtau("process", SAMPLE, "--out", folder / "r.csv", "--report", "--columns", "quality")
    with Browser(folder / "one", 1100, 900) as browser:
        browser.open(folder / "r.report.html")
        _write("report.png", _shot(browser, 1100, 868))


def web(folder: Path) -> None:
    """The page of `rtau live --web`, while it runs."""
    from browser import Browser

    command = [RTAU, "live", "--camera", SAMPLE, "--web", "0", "--no-terminal"]
    with (Browser(folder / "two", 720, 725) as browser,
          subprocess.Popen([*map(str, command)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True) as running):
        said = ""
        while not (address := re.search(r"http://\S+", said)):
            said = running.stdout.readline()
            if not said:
                raise SystemExit("rtau live ended before it told its address")
        browser.open(address[0])
        browser.until("parseFloat(document.getElementById('time').textContent) > 3.5")
        _write("web.png", _shot(browser, 720, 725))
        running.terminate()


def _rtau(*words: object) -> None:
    subprocess.run([str(RTAU), *map(str, words)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def _shot(browser, width: int, height: int) -> bytes:
    """The top of a page as PNG of 256 colours."""
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    data = browser.ask("Page.captureScreenshot", captureBeyondViewport=True, format="png", clip=clip)["data"]
    picture = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
    file = io.BytesIO()
    picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return file.getvalue()


def _write(name: str, data: bytes) -> None:
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / name).write_bytes(data)
    print(f"{name}: {len(data) / 1000:.0f} kB")


if __name__ == "__main__":
    known = {"live": live, "overlay": overlay, "report": report, "web": web}
    for chosen in sys.argv[1:] or known:
        with tempfile.TemporaryDirectory() as scratch:
            known[chosen](Path(scratch))
