"""The landmark network on people it never saw: accuracy, steadiness, presence, pose, in good pictures and bad ones.

    python benchmarks/landmarks.py --renders renders-test --faces rtau-data/faces [--weights exported/landmarks.safetensors]
        [--part test|validation] [--count 600] [--clips clip.mp4 ...]

With --weights, two networks side by side on the same pictures: the shipped one and that of the file. Each face is looked
at as when it is met: in the square of a detector's box, then in that of the points found there. Columns:

    found    per cent of faces whose presence then reaches what a newcomer needs (0.6)
    NME      mean distance of the points, per cent of that of the outer eye corners; 95 %: of so many faces below
    shown    the same of the points that show: not behind something, not beyond the picture's border
    degrees  mean error of yaw, pitch and roll

Portraits are real ones with hand-placed points, found by the detector or followed through 8 frames by a moving camera.
Jitter is how far points tremble (root mean square, per cent of the eyes' distance) on a still: "noise" under a webcam's
noise while it is tracked, "shift" when the square is off by up to a pixel of the crop. On clips it is that of the error
from frame to frame. Alarms are per cent of crops without a face whose presence reaches 0.6 (in brackets 0.2, which
keeps a face that is followed).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from rtau.backends import open_backend
from rtau.boxes import box_of_points
from rtau.crop import apply
from rtau.detect import Detector, open_detector
from rtau.errors import InputError, RtauError
from rtau.landmarks import LandmarkReader
from rtau.store import find_weights, open_weights
from rtau.track import Tracker
from rtau.types import Frame
from rtau_train.landmark_crops import NonFaces
from rtau_train.landmark_faces import MarkedFaces, open_backgrounds, open_marked_portraits, open_marked_renders
from rtau_train.landmarks import STILL_CAMERA, jitter, yaw_pitch_roll
from rtau_train.progress import CountBar
from rtau_train.puppet.sensor import Sensor, sense

#: What a newcomer's presence must reach, and what keeps a face that is followed; as `rtau.track.Tracker` has them.
ADMIT, KEEP = 0.6, 0.2
#: Spread of a detector's square about that of the points: centre (in sides), logarithm of the side; measured.
BOX_SPREAD = (0.026, 0.05)
#: |yaw| in degrees, from .. to.
TURNS = ((0, 10), (10, 20), (20, 30), (30, 36))
#: A camera in a dark room; and one that sees a face with few pixels.
DARK = Sensor("dark", metering=0.3, photons=800.0, read=2.0, mosaic=True, denoise=4.0)
FAR = Sensor("far", photons=3000.0, read=3.0, codec="jpeg", quality=80)
#: Sides of the points' box, pixels: of small faces, and of portraits that are not small.
SMALL, LARGE = 40, 160
#: Frames of a still, and of a portrait that is followed.
LOOKS, FOLLOWED = 12, 8


@dataclass(frozen=True)
class Face:
    """A face in a picture (uint8 RGB): points [68, 2], which of them show [68], yaw, pitch and roll [3] or NaN."""

    image: np.ndarray
    points: np.ndarray
    shown: np.ndarray
    pose: np.ndarray
    worn: frozenset[str] = frozenset()


@dataclass
class Row:
    """A line of the table: per face presence, mean error, that of what shows (shares of the eyes' distance), degrees."""

    presence: list[float] = field(default_factory=list)
    error: list[float] = field(default_factory=list)
    shown: list[float] = field(default_factory=list)
    degrees: list[np.ndarray] = field(default_factory=list)

    def add(self, face: Face, points: np.ndarray | None, presence: float, pose: np.ndarray | None) -> None:
        """What a network said of a face; None where it found none."""
        self.presence.append(presence)
        if points is None or pose is None:
            return
        far = np.linalg.norm(points - face.points, axis=1) / np.linalg.norm(face.points[36] - face.points[45])
        self.error.append(float(far.mean()))
        if (face.shown > 0.5).any():
            self.shown.append(float(far[face.shown > 0.5].mean()))
        if np.isfinite(face.pose).all():
            turn = np.degrees(pose - face.pose)
            self.degrees.append(np.abs((turn + 180) % 360 - 180))

    def __str__(self) -> str:
        found = 100 * np.mean([p >= ADMIT for p in self.presence]) if self.presence else np.nan
        turn = np.mean(self.degrees, 0) if self.degrees else np.full(3, np.nan)
        late = np.percentile(self.error, 95) if self.error else np.nan
        cells = [_f(found, 6, ".1f"), _f(100 * _mean(self.error)), _f(100 * late), _f(100 * _mean(self.shown)),
                 *(_f(t, 5, ".1f") for t in turn)]
        return " ".join(cells)


HEAD = " found   NME  95 % shown   yaw pitch  roll"
#: The order of the lines; what else there is follows.
LINES = ("portraits", f"portraits of {SMALL} px", "portraits, followed", "renders", "  free", "  glasses", "  sunglasses",
         "  mask", "  hand", "  object", "  hair", *(f"  yaw {low} to {high}" for low, high in TURNS))


# -- pictures --------------------------------------------------------------------------------


def faces_of(marked: MarkedFaces, count: int) -> list[Face]:
    """Evenly chosen faces."""
    pose = yaw_pitch_roll(marked.rotation)
    rows = np.unique(np.linspace(0, len(marked) - 1, min(count, len(marked))).round().astype(int))
    return [Face(marked.pictures[i], marked.points[i], marked.shown[i], pose[i], marked.worn[i]) for i in rows]


def resized(face: Face, side: float) -> Face:
    """The same with points whose box has this side, if it is larger."""
    scale = side / float(np.ptp(face.points, axis=0).max())
    if scale >= 1:
        return face
    h, w = face.image.shape[:2]
    small = cv2.resize(face.image, (round(w * scale), round(h * scale)), interpolation=cv2.INTER_AREA)
    grow = np.array([small.shape[1] / w, small.shape[0] / h])
    return replace(face, image=small, points=(face.points + 0.5) * grow - 0.5)


def seen_by(face: Face, sensor: Sensor, rng: np.random.Generator) -> Face:
    """The same through another camera."""
    return replace(face, image=sense(face.image, sensor, rng))


def in_the_dark(face: Face, rng: np.random.Generator) -> Face:
    """The same with a sixteenth of the light."""
    table = 255 * (np.arange(256) / 255 / 16 ** (1 / 2.2))
    return seen_by(replace(face, image=cv2.LUT(face.image, np.round(table).astype(np.uint8)[None])), DARK, rng)


def halved(face: Face, left: bool) -> Face:
    """The picture ends within the face: a little more than one half of it, in the picture at the left or right, is left."""
    low, high = face.points[:, 0].min(), face.points[:, 0].max()
    if left:
        edge = round(low + 0.55 * (high - low))
        image, points = face.image[:, :edge], face.points
    else:
        edge = round(low + 0.45 * (high - low))
        image, points = face.image[:, edge:], face.points - [edge, 0]
    inside = (points[:, 0] >= -0.5) & (points[:, 0] <= image.shape[1] - 0.5)
    return replace(face, image=np.ascontiguousarray(image), points=points, shown=face.shown * inside)


def moved(face: Face, degrees: float, shift: Sequence[float] = (0, 0), scale: float = 1.0) -> Face:
    """The camera turned, moved (pixels) and zoomed; degrees > 0 tilt the face clockwise."""
    h, w = face.image.shape[:2]
    matrix = cv2.getRotationMatrix2D((w / 2 - 0.5, h / 2 - 0.5), -degrees, scale)
    matrix[:, 2] += shift
    image = cv2.warpAffine(face.image, matrix, (w, h), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return replace(face, image=image, points=apply(matrix, face.points),
                   pose=face.pose + [0, 0, np.radians(degrees)])


# -- looks -----------------------------------------------------------------------------------


def look(reader: LandmarkReader, face: Face, box: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """Points, presence and pose after two looks, as a newcomer is met."""
    first = reader(face.image, reader.region_of_box(box)[None])
    second = reader(face.image, reader.region_of_points(first.points[0])[None])
    return second.points[0], float(second.presence[0]), second.pose[0]


def box_by_chance(face: Face, rng: np.random.Generator) -> np.ndarray:
    """What a detector would give."""
    left, top, right, bottom = box_of_points(face.points[None])[0]
    size = np.array([right - left, bottom - top])
    centre = np.array([left + right, top + bottom]) / 2 + rng.normal(0, BOX_SPREAD[0], 2) * size.max()
    half = size / 2 * np.exp(rng.normal(0, BOX_SPREAD[1]))
    return np.r_[centre - half, centre + half].astype(np.float32)


def nearest_box(detector: Detector, face: Face) -> np.ndarray | None:
    """The detector's box on the face."""
    boxes, _ = detector(face.image)
    middle = face.points.mean(0)
    on = [box for box in boxes if (box[:2] < middle).all() and (middle < box[2:]).all()]
    return on[0] if on else None


def follow(reader: LandmarkReader, detector: Detector, face: Face, rng: np.random.Generator, row: Row) -> None:
    """Through some frames by a hand-held camera; each frame is a face of the row."""
    tracker, place = Tracker(detector, reader, max_faces=1), np.zeros(4)
    step = np.array([0.8, 0.01, 0.01, 0.01])  # degrees; shift and zoom in shares
    for number in range(FOLLOWED):
        place = place + rng.normal(0, step)
        here = seen_by(moved(face, place[0], place[1:3] * face.image.shape[0], float(np.exp(place[3]))), STILL_CAMERA,
                       rng)
        seen = tracker(Frame(here.image, number / 30, number))
        if len(seen):
            row.add(here, seen.landmarks[0], float(seen.scores[0]), seen.pose[0])
        else:
            row.add(here, None, 0.0, None)


def trembles(reader: LandmarkReader, face: Face, rng: np.random.Generator) -> tuple[float, float]:
    """Jitter of a still under noise while it is tracked, and under shifts of the square alone."""
    region, noisy = reader.region_of_points(face.points), []
    for number in range(LOOKS + 3):
        marks = reader(sense(face.image, STILL_CAMERA, rng), region[None])
        region = reader.region_of_points(marks.points[0])
        if number >= 3:  # it has settled
            noisy.append(marks.points[0])
    regions = np.repeat(region[None], LOOKS, 0).astype(np.float64)
    pixel = region[2] / 112
    regions[:, :2] += rng.uniform(-pixel, pixel, (LOOKS, 2))
    regions[:, 2] *= np.exp(rng.uniform(-0.01, 0.01, LOOKS))
    regions[:, 3] += rng.uniform(-0.01, 0.01, LOOKS)
    return jitter(np.stack(noisy), face.points), jitter(reader(face.image, regions).points, face.points)


# -- table -----------------------------------------------------------------------------------


def measure(reader: LandmarkReader, portraits: list[Face], renders: list[Face], tell: Callable[[int, int], None]
            ) -> tuple[dict[str, Row], dict[str, list[tuple[float, float]]]]:
    """Rows by name, and jitters of portraits and renders."""
    rows: dict[str, Row] = {}
    detector, rng = open_detector("auto", width=(320, 640)), np.random.default_rng(0)
    some = renders[::3]
    total, done = 2 * len(portraits) + len(renders) + 4 * len(some), 0

    def one(names: Sequence[str], face: Face, box: np.ndarray | None) -> None:
        nonlocal done
        done += 1
        tell(done, total)
        for name in names:
            rows.setdefault(name, Row())
        said = (None, 0.0, None) if box is None else look(reader, face, box)
        for name in names:
            rows[name].add(face, *said)

    for face in portraits:
        for name, side in (("portraits", LARGE), (f"portraits of {SMALL} px", SMALL)):
            sized = resized(face, side)
            sized = seen_by(sized, FAR, rng) if side == SMALL else sized
            one([name], sized, nearest_box(detector, sized))
        follow(reader, detector, resized(face, LARGE), rng, rows.setdefault("portraits, followed", Row()))
    for face in renders:
        one(["renders", *groups_of(face)], face, box_by_chance(face, rng))
    for number, face in enumerate(some):
        for name, other in ((f"  of {SMALL} px", seen_by(resized(face, SMALL), FAR, rng)),
                            ("  in the dark", in_the_dark(face, rng)), ("  half", halved(face, number % 2 == 0)),
                            ("  tilted by 35", moved(face, (-35, 35)[number % 2]))):
            one([name], other, box_by_chance(other, rng))
    stills = {"portraits": [resized(face, LARGE) for face in portraits], "renders": some[::4]}
    jitters = {name: [trembles(reader, face, rng) for face in faces] for name, faces in stills.items()}
    return rows, jitters


def groups_of(face: Face) -> Iterator[str]:
    """The lines of the table that a render belongs to, beside that of all."""
    if not face.worn:
        yield "  free"
    for name in sorted(face.worn):
        yield f"  {name}"
    yaw = abs(np.degrees(face.pose[0]))
    yield from (f"  yaw {low} to {high}" for low, high in TURNS if low <= yaw < high)


def alarms(reader: LandmarkReader, non_faces: NonFaces, count: int) -> tuple[float, float]:
    """Shares of crops without a face whose presence reaches `ADMIT`, and `KEEP`."""
    rng = np.random.default_rng(1)
    crops = [non_faces(rng) for _ in range(count)]
    middle = np.array([[55.5, 55.5, 112, 0]], np.float32)
    presence = np.array([reader(crop, middle).presence[0] for crop in crops])
    return float((presence >= ADMIT).mean()), float((presence >= KEEP).mean())


def on_clip(reader: LandmarkReader, clip: Path, row: Row) -> float:
    """A clip's frames as faces of the row; gives the jitter of the error, a share of the eyes' distance.

    Raises:
        InputError: clip or truth can't be read.
    """
    from truth import read_truth

    from rtau.source import open_source
    truth, tracker, errors = read_truth(Path(f"{clip}.csv")), Tracker(open_detector("auto"), reader, max_faces=1), []
    with open_source(clip) as source:
        for number, frame in enumerate(source):
            if number >= len(truth.times):
                raise InputError(f"{clip} has more frames than its truth: they do not belong together")
            face = Face(frame.image, truth.points[number], np.ones(68), truth.pose[number])
            seen = tracker(frame)
            if len(seen):
                row.add(face, seen.landmarks[0], float(seen.scores[0]), seen.pose[0])
                errors.append((seen.landmarks[0] - face.points) / np.linalg.norm(face.points[36] - face.points[45]))
            else:
                row.add(face, None, 0.0, None)
                errors.append(np.full((68, 2), np.nan))
    steps = np.diff(np.stack(errors), axis=0)
    return float(np.sqrt(np.nanmean((steps**2).sum(-1)) / 2))


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _f(value: float, width: int = 5, form: str = ".2f") -> str:
    return ("-" if np.isnan(value) else f"{value:{form}}").rjust(width)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renders", type=Path, required=True, help="what rtau data render wrote of the part's people")
    parser.add_argument("--faces", type=Path, required=True, help="portraits, as rtau data fetch packs them")
    parser.add_argument("--weights", type=Path, help="a landmark network that rtau export wrote, beside the shipped one")
    parser.add_argument("--part", default="test", choices=("validation", "test"))
    parser.add_argument("--count", type=int, default=600, help="renders to look at")
    parser.add_argument("--clips", type=Path, nargs="+", default=[], help="videos with their truth beside them")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    try:
        if args.count < 1:
            raise InputError(f"--count is {args.count}, expected 1 or more")
        networks = [find_weights("landmarks"), *([open_weights(args.weights)] if args.weights else [])]
        if networks[-1].facts["kind"] != "landmarks":
            raise InputError(f"{args.weights} is no landmark network: give the landmarks.safetensors of rtau export")
        marked = open_marked_portraits(args.faces, args.part), open_marked_renders(args.renders, args.part, memory=0)
        portraits, renders = (faces_of(faces, count) for faces, count in zip(marked, (10**6, args.count), strict=True))
        non_faces = NonFaces(open_backgrounds(args.faces, judging=True), list(marked), 112)
        columns = []
        for weights in networks:
            reader = LandmarkReader(weights, open_backend(weights, threads=1))
            with CountBar("faces") as tell:
                rows, jitters = measure(reader, portraits, renders, tell)
            clips = {clip.name: on_clip(reader, clip, rows.setdefault(clip.name, Row())) for clip in args.clips}
            columns.append((rows, jitters, clips, alarms(reader, non_faces, args.count)))
    except RtauError as error:
        print(f"rtau: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"rtau: {error.filename or error} can't be read: fetch it with rtau data fetch", file=sys.stderr)
        return 2
    print_table([str(weights.path.name) for weights in networks], columns, args.part)
    return 0


def print_table(names: list[str], columns: list, part: str) -> None:
    """All figures, a network beside the other."""
    names[0] = "shipped"
    print(f"{part} people; {' | '.join(names)}")
    print(" | ".join([f"{'':<24} {'faces':>6}", *[HEAD] * len(columns)]))
    for name in sorted(columns[0][0], key=lambda name: LINES.index(name) if name in LINES else len(LINES)):
        count = len(columns[0][0][name].presence)
        print(" | ".join([f"{name:<24} {count:>6}", *(str(rows[name]) for rows, *_ in columns)]))
    for name in columns[0][1]:
        each = [np.mean(jitters[name], 0) * 100 for _, jitters, *_ in columns]
        print(" | ".join([f"jitter of {name}", *(f"noise {_f(n)} % shift {_f(s)} %" for n, s in each)]))
    for name in columns[0][2]:
        print(" | ".join([f"jitter on {name}", *(f"{100 * clips[name]:.2f} %" for _, _, clips, _ in columns)]))
    print(" | ".join(["alarms on non-faces", *(f"{100 * at:.1f} % ({100 * low:.1f} %)" for *_, (at, low) in columns)]))


if __name__ == "__main__":
    sys.exit(main())
