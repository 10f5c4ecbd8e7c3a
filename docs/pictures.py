"""Makes the pictures of overlay.md, all from the clip that comes with rtau.

    python docs/pictures.py        # all of them; or some: python docs/pictures.py styles muscles crops

They go to docs/pictures: styles.jpg, one frame in each style; muscles.jpg, where each Action Unit is drawn, as if it
were present; crops.jpg, some crops beside each other.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from rtau import Analyzer, open_source
from rtau.au import AUS, BY_NUMBER
from rtau.overlay import STYLES, Overlay
from rtau.overlay.heat import draw_heat
from rtau.pen import Pen
from rtau.sinks.crops import CropSink
from rtau.types import Frame, Scores

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "rtau" / "samples" / "astronaut.mp4"
PICTURES = ROOT / "docs" / "pictures"
#: Frames of the clip that are shown, the last one large.
FRAMES = (20, 45, 70, 85, 105)


def styles(seen: dict[int, tuple[Frame, Scores]]) -> np.ndarray:
    """One frame, drawn in each style."""
    frame, scores = seen[FRAMES[-1]]
    return np.hstack([_named(Overlay(style)(frame.image, scores), style) for style in STYLES])


def muscles(seen: dict[int, tuple[Frame, Scores]]) -> np.ndarray:
    """A face for each Action Unit, as if that alone were present."""
    frame, scores = seen[FRAMES[-1]]
    left, top, right, bottom = scores.faces.boxes[0].round().astype(int)
    cells = []
    for au in AUS:
        alone = np.array([one == au for one in scores.aus])[None]
        told = replace(scores, intensity=np.where(alone, np.float32(3.5), np.float32(0)), present=alone,
                       assessable=np.ones_like(alone))
        canvas = frame.image.copy()
        draw_heat(canvas, told, 0)
        face = cv2.resize(canvas[max(0, top):bottom + 8, left - 12:right + 12], (156, 182), interpolation=cv2.INTER_AREA)
        cells.append(_named(face, f"{au} {BY_NUMBER[au].name}"))
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % 6)
    return np.vstack([np.hstack(cells[i:i + 6]) for i in range(0, len(cells), 6)])


def crops(seen: dict[int, tuple[Frame, Scores]]) -> np.ndarray:
    """What `--crops` writes of some frames."""
    with tempfile.TemporaryDirectory() as folder:
        with CropSink(Path(folder, "crops"), size=160) as sink:
            for frame, scores in seen.values():
                sink.write(frame, scores)
        return np.hstack([cv2.imread(str(path))[..., ::-1] for path in sorted(Path(folder, "crops", "0").iterdir())])


def _named(picture: np.ndarray, words: str) -> np.ndarray:
    """The picture with a line of words above it."""
    head = np.full((22, picture.shape[1], 3), 255, np.uint8)
    Pen(head, 0.96).text(words, 6, 11, (40, 40, 46), bold=True)
    return np.vstack([head, picture])


def main() -> None:
    seen: dict[int, tuple[Frame, Scores]] = {}
    analyzer = Analyzer()
    for frame in open_source(SAMPLE):
        scores = analyzer(frame)
        if frame.index in FRAMES:
            seen[frame.index] = frame, scores
    makers = {make.__name__: make for make in (styles, muscles, crops)}
    for name in sys.argv[1:] or makers:
        picture = makers[name](seen)
        path = PICTURES / f"{name}.jpg"
        path.write_bytes(cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 70])[1].tobytes())
        print(f"{path.relative_to(ROOT)}: {picture.shape[1]}x{picture.shape[0]}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
