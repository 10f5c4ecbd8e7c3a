"""What a benchmark looks at: a clip played as often as wanted, frames from memory, crowds, other resolutions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np

from ..source import Source, open_source
from ..types import Frame

#: Side of the grid of a crowd, in faces.
_GRID = 4
#: How much is cut out about a face, as a multiple of the larger side of its box.
_ABOUT = 1.5


class Again(Source):
    """Frames played again and again as one source, times going on, until so many seconds by the clock are over.

    Args:
        name: for people.
        play: gives the frames once.
        seconds: how long; the round in hand ends where it is.
        rate: frames per second, by which the times go on; those that `play` gives are not looked at.
    """

    live, damage, expected = False, None, None

    def __init__(self, name: str, play: Callable[[], Iterator[Frame]], seconds: float, rate: float) -> None:
        self.name, self._play, self._seconds, self.fps = name, play, seconds, rate
        self.size: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[Frame]:
        end, index = time.perf_counter() + self._seconds, 0
        while True:
            for frame in self._play():
                if time.perf_counter() >= end:
                    return
                yield replace(frame, time=index / self.fps, index=index)
                index += 1
            if not index:
                return

    def close(self) -> None:
        """Nothing stays open between two rounds."""


def play_file(path: Path) -> Callable[[], Iterator[Frame]]:
    """Plays a file once, decoding it."""
    def play() -> Iterator[Frame]:
        with open_source(path) as source:
            yield from source
    return play


def play_images(images: Sequence[np.ndarray]) -> Callable[[], Iterator[Frame]]:
    """Plays pictures from memory: forwards and back, so that nothing jumps where they begin anew."""
    order = [*images, *images[-2:0:-1]]

    def play() -> Iterator[Frame]:
        for index, image in enumerate(order):
            yield Frame(image, 0.0, index)
    return play


def crowd(images: Sequence[np.ndarray], box: np.ndarray, faces: int, size: tuple[int, int]) -> list[np.ndarray]:
    """Pictures of `faces` faces, up to 16, in a grid on grey; each moves as that of the clip does.

    Args:
        images: uint8 [H, W, 3], of one size, with the same face in each.
        box: [4], left, top, right, bottom of the face in the middle one.
        faces: how many.
        size: width and height of the pictures to make. A face has the same size in each, however many there are.
    """
    width, height = size
    cell_width, cell_height = width // _GRID, height // _GRID
    middle, side = (box[:2] + box[2:]) / 2, float((box[2:] - box[:2]).max()) * _ABOUT
    scale = min(cell_width, cell_height) / side
    made = []
    for image in images:
        picture = np.full((height, width, 3), 110, np.uint8)
        matrix = np.array([[scale, 0, cell_width / 2 - scale * middle[0]],
                           [0, scale, cell_height / 2 - scale * middle[1]]])
        cell = cv2.warpAffine(image, matrix, (cell_width, cell_height), flags=cv2.INTER_AREA,
                              borderMode=cv2.BORDER_REPLICATE)
        for place in range(faces):
            row, column = divmod(place, _GRID)
            picture[row * cell_height:(row + 1) * cell_height, column * cell_width:(column + 1) * cell_width] = cell
        made.append(picture)
    return made


def write_clip(images: Sequence[np.ndarray], size: tuple[int, int], file: Path, rate: int) -> None:
    """Encode pictures at another size, as H.264 where this FFmpeg can, else as MPEG-4."""
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    options = {"preset": "veryfast", "crf": "23"} if codec == "libx264" else {"qscale": "4"}
    with av.open(str(file), "w") as container:
        stream = container.add_stream(codec, rate, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for image in images:
            picture = av.VideoFrame.from_ndarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), "rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
