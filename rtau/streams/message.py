"""What a stream says of one frame: version 1 of the message, as JSON.

One message per frame, also of a frame without a face. Whatever can't be told is `null`: there is no NaN in JSON.

| field | type | meaning |
|---|---|---|
| `rtau` | integer | version of this schema, `VERSION`: fields may be added to it, any other change raises it |
| `frame` | integer | number of the frame in its source, from 0; dropped and skipped frames leave a gap |
| `time` | number | seconds: the container's time stamp, or a camera's clock from its first frame |
| `captured` | number or null | seconds since 1970 when a live source gave the frame; null for a processed file |
| `source` | string | what is analysed, for people |
| `input` | string | name of the frame's file, as it was given; "" for a camera |
| `size` | [integer, integer] | width and height of the picture, pixels |
| `faces` | array | the faces, see below; empty where there is none |
| `omitted` | integer | smaller faces left out because the transport can't carry them (UDP); else 0 |
| `status` | object or null | `fps`, `frames`, `drops`, `age`, `backend`, see below |

A face:

| field | type | meaning |
|---|---|---|
| `id` | integer | stays with a person, never given twice |
| `box` | [x, y, width, height] | hairline to chin, pixels |
| `pose` | object | `pitch` (down is positive), `yaw` (to image right), `roll` (clockwise), radians |
| `confidence` | number | 0..1 that this is a face |
| `quality` | number | 0..1, how good a picture of the face this is |
| `aus` | object | "AU12" -> `presence` (0..1), `intensity` (0..5), `present` (true, false); null: not assessable |
| `shapes` | object | with `?shapes=arkit` only: blendshape -> 0..1, or null, see `rtau.streams.shapes` |

`intensity` alone is null where the network tells presence alone. A network that reads attributes has their names under
`aus`, such as "Smiling".

The status: `fps` analysed per second over the last second or so, `frames` analysed so far, `drops` (live frames that
a newer one replaced before they were analysed), `age` (seconds between a live frame's arrival and its result, null for
a file), `backend` (what runs the networks).

Numbers are rounded as in the table: intensity to 3 decimals, presence and pose to 4, pixels to 2, time to 6.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..au import look_up
from ..types import Frame, Scores, Status
from .shapes import blendshapes

#: Of the schema above.
VERSION = 1


@dataclass(frozen=True)
class Moment:
    """One frame's results without its picture, so that those that wait take little memory.

    Attributes:
        index, time, input, size: as of the frame.
        captured: `time.time()` when a live source gave it, else None.
        scores, status: of the frame.
        omitted: faces left out of `scores`.
    """

    index: int
    time: float
    input: str
    size: tuple[int, int]
    captured: float | None
    scores: Scores
    status: Status | None
    omitted: int = 0

    @classmethod
    def of(cls, frame: Frame, scores: Scores, status: Status | None = None) -> Moment:
        """That of a frame, now."""
        captured = None if frame.captured is None else time.time() - (time.monotonic() - frame.captured)
        return cls(frame.index, frame.time, frame.input, frame.size, captured, scores, status)

    def largest(self, count: int) -> Moment:
        """With the `count` largest faces alone, in the order they have."""
        keep = np.sort(by_size(self.scores)[:count])
        s = self.scores
        kept = replace(s, faces=s.faces[keep], presence=s.presence[keep], intensity=s.intensity[keep],
                       present=s.present[keep], assessable=s.assessable[keep], quality=s.quality[keep], raw=None)
        return replace(self, scores=kept, omitted=self.omitted + len(s) - len(kept))


def by_size(scores: Scores) -> np.ndarray:
    """Rows of the faces, int [N], the largest first."""
    boxes = scores.faces.boxes
    return np.argsort(-(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), kind="stable")


def build_message(moment: Moment, *, shapes: bool = False) -> dict[str, Any]:
    """The message of a frame as Python objects, none of them NaN.

    Args:
        moment: the frame's results.
        shapes: add ARKit's blendshapes.
    """
    scores, faces, status = moment.scores, moment.scores.faces, moment.status
    names = [look_up(au).code for au in scores.aus]
    boxes = faces.boxes.astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    columns = zip(faces.ids.tolist(), _numbers(boxes, 2), _numbers(faces.pose, 4), _numbers(faces.scores, 3),
                  _numbers(scores.quality, 3), *_judged(scores), strict=True)
    told = []
    for number, box, pose, confidence, quality, presence, intensity, present in columns:
        aus = {name: {"presence": p, "intensity": i, "present": None if p is None else yes}
               for name, p, i, yes in zip(names, presence, intensity, present, strict=True)}
        told.append({"id": number, "box": box, "pose": {"pitch": pose[1], "yaw": pose[0], "roll": pose[2]},
                     "confidence": confidence, "quality": quality, "aus": aus})
    if shapes:
        for face, values in zip(told, blendshapes(scores), strict=True):
            face["shapes"] = values
    source = status.source if status is not None else moment.input
    return {"rtau": VERSION, "frame": moment.index, "time": _number(moment.time, 6),
            "captured": _number(moment.captured, 6), "source": _text(source), "input": _text(moment.input),
            "size": list(moment.size), "faces": told, "omitted": moment.omitted,
            "status": None if status is None else {
                "fps": _number(status.fps, 2), "frames": status.frames, "drops": status.drops,
                "age": _number(status.age, 4), "backend": _text(status.backend)}}


def encode_message(moment: Moment, *, shapes: bool = False) -> str:
    """The message of a frame as one line of JSON, ASCII, without the line end."""
    return json.dumps(build_message(moment, shapes=shapes), allow_nan=False, separators=(",", ":"))


def _judged(scores: Scores) -> tuple[list, list, list]:
    """Presence, intensity and present of all faces, None where not assessable."""
    return (_numbers(np.where(scores.assessable, scores.presence, np.nan), 4),
            _numbers(np.where(scores.assessable, scores.intensity, np.nan), 3), scores.present.tolist())


def _numbers(values: np.ndarray, decimals: int) -> list:
    """As nested lists, None for what is no number. float64 first, or rounding leaves float32's digits."""
    values = np.round(values.astype(np.float64), decimals)
    return np.where(np.isfinite(values), values.astype(object), None).tolist()


def _number(value: float | None, decimals: int) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, decimals)


def _text(text: str) -> str:
    """Without bytes that are no text (odd file names), which some JSON readers refuse."""
    return text.encode(errors="replace").decode()
