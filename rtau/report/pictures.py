"""Small pictures of faces at their peaks, cut out of the video or the stills that a table was made from."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import av
import cv2
import numpy as np

from ..errors import InputError
from ..pictures import read_picture
from ..video import Upright, Video, open_container, video_stream
from .statistics import FaceStatistics
from .table import Table

log = logging.getLogger(__name__)

#: Pixels of a picture's sides, and its JPEG quality: about 4 kB.
SIZE, _QUALITY = 112, 82
#: Pictures in a report at most.
MOST = 72
#: Second and further peaks that are closer than this to a picture of the same face get none, seconds.
_APART = 1.0
#: The same for the highest peak of an AU.
_NEAR = 0.2
#: Seconds ahead up to which it is faster to read on than to jump.
_AHEAD = 2.0
#: Seconds by which the time of the same frame may differ.
_SAME = 2e-6


def find_source(table: Table, inputs: Sequence[str]) -> Path | None:
    """The video a table was made from: as its facts name it, or beside the table. None if it isn't there."""
    return None if len(inputs) != 1 else find_file(table, inputs[0])


def find_file(table: Table, name: str, folder: Path | None = None) -> Path | None:
    """A file by the name that the user once gave: in `folder`, from here, from the table's folder, or in it."""
    near = table.path.parent
    tried = [near / name, near / Path(name).name] if folder is None else [folder / name, folder / Path(name).name]
    for path in [*([Path(name)] if folder is None else []), *tried]:
        try:
            if path.is_file():
                return path
        except (OSError, ValueError):  # a name that no file can have
            continue
    return None


def choose_peaks(table: Table, faces: Sequence[FaceStatistics], most: int = MOST) -> list[tuple[int, int]]:
    """Which pictures to show: of each AU of each face the strongest event, then the second, and so on.

    Returns:
        Place of the face in `faces` and its row, each pair once, at most `most` of them.
    """
    ranked = []
    for place, face in enumerate(faces):
        for column, events in enumerate(face.events):
            order = np.argsort(-events.level, kind="stable")[:most]
            ranked += [(rank, place, column, int(events.row[i])) for rank, i in enumerate(order)]
    chosen: dict[tuple[int, int], None] = {}
    times: dict[int, list[float]] = {}
    for rank, place, _, row in sorted(ranked):
        time = float(table.times[faces[place].rows.at[row]])
        apart = _APART if rank else _NEAR
        near = any(abs(time - other) < apart for other in times.get(place, ()))
        if len(chosen) >= most or near or (place, row) in chosen:
            continue
        chosen[place, row] = None
        times.setdefault(place, []).append(time)
    return list(chosen)


def cut_from_video(table: Table, path: Path, faces: Sequence[FaceStatistics], chosen: Sequence[tuple[int, int]]
                   ) -> dict[tuple[int, int], str]:
    """The chosen faces out of a video, as data URLs; those whose frame is not in it are left out.

    Raises:
        InputError: the video can't be read.
    """
    wanted: dict[int, list[tuple[int, int]]] = {}
    for place, row in chosen:
        wanted.setdefault(int(faces[place].rows.at[row]), []).append((place, row))
    order = sorted(wanted)
    found: dict[tuple[int, int], str] = {}

    def keep(at: int, image: np.ndarray) -> None:
        for place, row in wanted[at]:
            found[place, row] = data_url(cut_face(image, faces[place].rows.boxes[row]))

    with Video(path) as whole:  # says in one line what is wrong with it, if anything is
        whole.open()
    missing = []
    for at, image in zip(order, _jump(path, [float(table.times[at]) for at in order]), strict=True):
        if image is None:
            missing.append(at)
        else:
            keep(at, image)
    if missing:
        # Broken time stamps: only reading from the start gives each frame the time that the table has.
        for at, image in _walk(path, {int(table.frames[at]): (at, float(table.times[at])) for at in missing}):
            keep(at, image)
    return found


def cut_from_stills(table: Table, faces: Iterable[tuple[str, np.ndarray]], folder: Path | None = None
                    ) -> Iterator[str | None]:
    """Faces out of stills, as data URLs; None where the picture isn't there or can't be read.

    Args:
        table: what they are from.
        faces: file of the picture, and the box (left, top, width, height).
        folder: where the pictures are; by default where their names say.
    """
    last: tuple[str | None, np.ndarray | None] = None, None
    for name, box in faces:
        if name != last[0]:
            path = find_file(table, name, folder)
            image = None
            if path is not None:
                try:
                    image = read_picture(path)[0]
                except InputError as error:
                    log.info("%s", error)
            last = name, image
        yield None if last[1] is None else data_url(cut_face(last[1], box))


def cut_face(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The square around a face, uint8 [SIZE, SIZE, 3]; grey where it goes beyond the picture.

    Args:
        image: uint8 [H, W, 3].
        box: left, top, width, height in pixels.
    """
    side = max(float(box[2]), float(box[3]), 8.0) * 1.2
    left, top = float(box[0] + box[2] / 2 - side / 2), float(box[1] + box[3] / 2 - side / 2)
    scale = SIZE / side
    if scale < 0.5:  # averaged down first, or fine texture turns into noise
        image = cv2.resize(image, None, fx=2 * scale, fy=2 * scale, interpolation=cv2.INTER_AREA)
        left, top, scale = left * 2 * scale, top * 2 * scale, 0.5
    matrix = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
    return cv2.warpAffine(image, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderValue=(128, 128, 128))


def data_url(image: np.ndarray) -> str:
    """An RGB picture as a JPEG that a page can hold."""
    data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def _jump(path: Path, times: Sequence[float]) -> Iterator[np.ndarray | None]:
    """The frame at each of some rising times, RGB; None where there is no frame of just that time."""
    with open_container(path) as container:
        stream, upright = video_stream(container, str(path)), Upright()
        base = stream.time_base
        frames = _decoded(container, stream)
        frame = next(frames, None)
        origin = stream.start_time
        if frame is not None and frame.pts is not None:
            origin = frame.pts if origin is None else min(origin, frame.pts)
        for time in times:
            if origin is None:
                yield None
                continue
            target = origin + round(time / base)
            near = int(_SAME / base)  # the table rounds to microseconds; some clocks are finer
            if frame is None or frame.pts is None or frame.pts > target + near or (target - frame.pts) * base > _AHEAD:
                try:
                    container.seek(target, stream=stream)
                except av.FFmpegError:
                    yield None
                    continue
                frames = _decoded(container, stream)
                frame = next(frames, None)
            while frame is not None and frame.pts is not None and frame.pts < target - near:
                frame = next(frames, None)
            found = frame is not None and frame.pts is not None and abs(frame.pts - target) <= near
            yield upright(frame) if found else None


def _decoded(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """Frames up to the end, or to where nothing more can be read."""
    try:
        yield from container.decode(stream)
    except av.FFmpegError as error:
        log.debug("%s", error)


def _walk(path: Path, wanted: dict[int, tuple[int, float]]) -> Iterator[tuple[int, np.ndarray]]:
    """Frames by their number, if they also have the time that is wanted."""
    left = dict(wanted)
    with Video(path) as video:
        for frame in video:
            at, time = left.pop(frame.index, (-1, 0.0))
            if at >= 0 and abs(frame.time - time) < 2e-3:
                yield at, frame.image
            if not left:
                return
