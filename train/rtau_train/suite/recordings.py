"""One face over the frames of a clip: as it truly was, and as rtau says it was."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rtau.analyze import Analyzer
from rtau.errors import InputError
from rtau.pipeline import Run
from rtau.source import open_source

_APART = 10.0  # seconds between the clips of one recording
#: Frames of a clip and of its truth are the same if their times are, to so many seconds.
_SAME_TIME = 1e-3


@dataclass(frozen=True)
class Recording:
    """One face over N frames; NaN where nothing is known.

    Attributes:
        times: [N] seconds.
        intensity, performed, presence: AU -> [N]. `performed`: the truth's intensity also where a picture does not
            tell, the output's before smoothing.
        points: [N, 68, 2], pixels; pose: [N, 3], yaw, pitch, roll, radians.
    """

    times: np.ndarray
    intensity: dict[int, np.ndarray]
    performed: dict[int, np.ndarray]
    presence: dict[int, np.ndarray]
    points: np.ndarray
    pose: np.ndarray

    def __len__(self) -> int:
        return len(self.times)

    @classmethod
    def join(cls, parts: Sequence[Recording]) -> Recording:
        """One after the other, some seconds apart."""
        times, begin = [], 0.0
        for part in parts:
            times.append(part.times + begin)
            begin = times[-1][-1] + _APART
        each = {name: {au: np.concatenate([getattr(part, name)[au] for part in parts])
                       for au in getattr(parts[0], name)} for name in ("intensity", "performed", "presence")}
        return cls(np.concatenate(times), **each, points=np.concatenate([p.points for p in parts]),
                   pose=np.concatenate([p.pose for p in parts]))


def read_truth(path: Path) -> Recording:
    """The truth of a clip, as `rtau data clip` writes it beside the video.

    Raises:
        InputError: it is missing or no such table.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        header, table = rows[0], np.array(rows[1:], float)
        column = {name: table[:, i] for i, name in enumerate(header)}
        aus = [int(name[2:4]) for name in header if name.startswith("AU") and name.endswith("_r")]
        intensity = {au: column[f"AU{au:02d}_r"] for au in aus}
        return Recording(column["timestamp"], intensity,
                         {au: column.get(f"AU{au:02d}_r_raw", intensity[au]) for au in aus},
                         {au: column[f"AU{au:02d}_p"] for au in aus},
                         np.stack([np.stack([column[f"{axis}_{i}"] for i in range(68)], 1) for axis in "xy"], 2),
                         np.stack([column[name] for name in ("pose_Ry", "pose_Rx", "pose_Rz")], 1))
    except FileNotFoundError:
        raise InputError(f"{path} is missing, the truth of a clip: rtau data clip writes both") from None
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise InputError(f"{path} is no truth of a clip ({type(error).__name__}: {error})") from None


def read_output(video: Path, truth: Recording, analyzer: Analyzer, tell: Callable[[int], None] | None = None
                ) -> Recording:
    """What rtau says of the clip, as `rtau process` reads it: of each frame the face that is nearest to the true one.

    Args:
        analyzer: has seen no other clip.
        tell: hears how many frames are done.

    Raises:
        InputError: the video can't be read, or its frames are not those of the truth.
    """
    seen: list[tuple] = []
    nothing, nowhere = np.full(len(analyzer.aus), np.nan), (np.full((68, 2), np.nan), np.full(3, np.nan))

    def watch(frame, scores) -> None:
        row = len(seen)
        face = _nearest(scores, truth.points[row]) if row < len(truth) else None
        if face is None:
            seen.append((frame.time, nothing, nothing, nothing, *nowhere))
        else:
            raw = scores.raw or scores
            seen.append((frame.time, scores.intensity[face], raw.intensity[face], scores.presence[face],
                         scores.faces.landmarks[face], scores.faces.pose[face]))
        if tell is not None:
            tell(len(seen))

    if Run(open_source(str(video)), analyzer, [], watch).run().interrupted:
        raise KeyboardInterrupt
    times, smoothed, raw, presence, points, pose = (np.array(part, float) for part in zip(*seen, strict=True))
    if len(times) != len(truth) or np.abs(times - truth.times).max() > _SAME_TIME:
        raise InputError(f"{video} has {len(times)} frames up to {times[-1]:.3f} s, its truth {len(truth)} up to "
                         f"{truth.times[-1]:.3f} s: they do not belong together")

    def by_au(table: np.ndarray) -> dict[int, np.ndarray]:
        return dict(zip(analyzer.aus, table.T, strict=True))

    return Recording(times, by_au(smoothed), by_au(raw), by_au(presence), points, pose)


def _nearest(scores, points: np.ndarray) -> int | None:
    """Number of the face that lies where the true one does; None where there is none."""
    if not len(scores):
        return None
    far = np.linalg.norm(scores.faces.landmarks - points, axis=2).mean(1)
    face = int(np.argmin(far))
    return face if far[face] < np.ptp(points, axis=0).max() / 2 else None


def closures_together(truth: Recording) -> Recording:
    """The truth with blinks (45) counted as closed eyes (43), for an output that does not tell them apart."""
    tables = [dict(table) for table in (truth.intensity, truth.performed, truth.presence)]
    for table in tables:
        table[43] = np.fmax(table[43], table.pop(45))
    return Recording(truth.times, *tables, truth.points, truth.pose)


def landmark_error(truth: np.ndarray, output: np.ndarray) -> np.ndarray:
    """Mean distance of points [N, 68, 2], per cent of the true distance of the outer eye corners: [N]."""
    eyes = np.linalg.norm(truth[:, 36] - truth[:, 45], axis=1)
    return 100 * point_error(truth, output) / eyes


def point_error(truth: np.ndarray, output: np.ndarray) -> np.ndarray:
    """Mean distance of points [N, 68, 2], pixels: [N]."""
    return np.linalg.norm(output - truth, axis=2).mean(1)
