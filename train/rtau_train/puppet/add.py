"""People of one's own: neutral portraits become puppets, or are refused with a reason."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from rtau.analyze import Analyzer
from rtau.errors import InputError
from rtau.pictures import read_picture
from rtau.process import MOST_PIXELS
from rtau.types import Frame

from .portrait import Portrait
from .proof import rest_psnr
from .puppet import build_puppet, save_puppet
from .render import Renderer
from .rig import load_rig

_PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_LICENCES = ("licence", "license")
#: Limits of a portrait that can perform. Degrees; pixels between the pupils; shares of the pupils' distance.
MOST_YAW, MOST_PITCH, MOST_ROLL = 12.0, 18.0, 15.0
LEAST_EYE_DISTANCE = 45.0
MOST_LIP_GAP, LEAST_LID_GAP = 0.07, 0.09
MOST_SMILE = 0.5  # presence of AU12
MOST_MISFIT, MOST_JAW_MISFIT = 0.065, 0.075
LEAST_PSNR = 26.0  # dB; hand-placed points reach 32 and more
_LEAST_SHARPNESS = 12.0  # variance of the Laplacian on a face with eyes 96 px apart
_EYES = 96.0  # pixels between the pupils that the engine is made for
_SECOND = 0.35  # a second face this large beside the first makes it a picture of two


@dataclass(frozen=True)
class Added:
    """What became of one portrait.

    Attributes:
        picture: its file.
        person: the name under which it performs, "" when refused.
        refused: the reason, "" when it was added.
        misfit, jaw_misfit: mean distance of points and jaw before the final warp, shares of the pupils' distance.
        psnr: of the puppet at rest against the portrait, dB.
    """

    picture: Path
    person: str = ""
    refused: str = ""
    misfit: float = float("nan")
    jaw_misfit: float = float("nan")
    psnr: float = float("nan")

    def __str__(self) -> str:
        if self.refused:
            return f"{self.picture.name}: refused, {self.refused}"
        return (f"{self.picture.name}: added as {self.person}; points fit within {100 * self.misfit:.1f} % of the eye "
                f"distance, the jaw within {100 * self.jaw_misfit:.1f} %, at rest {self.psnr:.0f} dB like the portrait")


def add_portraits(folder: str | Path, out: str | Path, *, rig: str | Path, licence: str = "") -> Iterator[Added]:
    """Make a puppet of every portrait in a folder.

    Landmarks come from rtau's own network. A puppet's name is the picture's, so add each person once.

    Args:
        folder: pictures, one person each, and a file LICENCE or LICENSE that says what may be done with them.
        out: where `<person>.npz` goes; a file appears complete or not at all.
        rig: `ict_facekit.npz`, or its folder.
        licence: what may be done with the pictures, in place of the file.

    Yields:
        one `Added` for each picture, in the order of their names.

    Raises:
        InputError: no such folder, no pictures in it, no word about their licence, or no rig.
    """
    folder, out = Path(folder), Path(out)
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder of portraits")
    pictures = sorted(f for f in folder.iterdir() if f.suffix.lower() in _PICTURES and f.is_file())
    if not pictures:
        raise InputError(f"{folder} holds no pictures ({', '.join(_PICTURES)})")
    licence = licence.strip() or _licence_of(folder)
    renderer = Renderer(load_rig(rig))
    analyzer = Analyzer(smooth="off", detect_width=(320, 640))
    out.mkdir(parents=True, exist_ok=True)
    return _each(pictures, out, renderer, analyzer, licence)


def _each(pictures: list[Path], out: Path, renderer: Renderer, analyzer: Analyzer, licence: str) -> Iterator[Added]:
    taken: dict[str, Path] = {}
    for picture in pictures:
        person = _name_of(picture)
        try:
            if person in taken:
                raise _Refusal(f"{taken[person].name} has the same name; rename one")
            result = _add(picture, person, out, renderer, analyzer, licence)
            taken[person] = picture
        except _Refusal as reason:
            result = Added(picture, refused=str(reason))
        yield result


class _Refusal(Exception):
    """Why a portrait can't perform."""


def _licence_of(folder: Path) -> str:
    found = sorted(f for f in folder.iterdir() if f.stem.lower() in _LICENCES and f.is_file())
    text = found[0].read_text(encoding="utf-8", errors="replace").strip() if found else ""
    if not text:
        raise InputError(f"{folder} has no file LICENCE that says what may be done with these portraits; write one, "
                         "or name it with --licence")
    return text.splitlines()[0][:200]


def _name_of(picture: Path) -> str:
    """A name for file systems and tables; own people never take the names of the open portrait sets."""
    return "own-" + (re.sub(r"[^A-Za-z0-9]+", "-", picture.stem).strip("-") or "person")


def _add(picture: Path, person: str, out: Path, renderer: Renderer, analyzer: Analyzer, licence: str) -> Added:
    try:
        image, _ = read_picture(picture, MOST_PIXELS)
    except InputError as error:
        raise _Refusal("it can't be read as a picture") from error
    points = _judge(image, analyzer)
    image, points = _framed(image, points)
    # Points are surer at the size that the networks see best, and the mean of both looks steadies them.
    again = analyzer(Frame(image, 0.0, 0, still=True)).faces
    if len(again):
        found = again.landmarks[np.argmax(_areas(again.boxes))]
        if np.linalg.norm(found - points, axis=1).mean() < 0.1 * _EYES:
            points = (points + found) / 2
    portrait = Portrait.from_landmarks(person, image, points, licence)
    puppet = build_puppet(portrait, renderer.rig)
    psnr = rest_psnr(renderer, puppet, portrait)
    if puppet.fit_error > MOST_MISFIT or puppet.jaw_error > MOST_JAW_MISFIT:
        raise _Refusal(f"the rig doesn't take this face's shape (points off by {100 * puppet.fit_error:.1f} %, jaw by "
                       f"{100 * puppet.jaw_error:.1f} % of the eye distance; {100 * MOST_MISFIT:.1f} and "
                       f"{100 * MOST_JAW_MISFIT:.1f} are allowed); use a level, frontal portrait with a free jaw")
    if psnr < LEAST_PSNR:
        raise _Refusal(f"at rest the puppet looks unlike the portrait ({psnr:.0f} dB, {LEAST_PSNR:.0f} needed); use "
                       "a portrait with the whole face free")
    save_puppet(puppet, out / f"{person}.npz")
    return Added(picture, person, "", puppet.fit_error, puppet.jaw_error, psnr)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _judge(image: np.ndarray, analyzer: Analyzer) -> np.ndarray:
    """The points [68, 2] of the one neutral, frontal face."""
    scores = analyzer(Frame(image, 0.0, 0, still=True))
    faces = scores.faces
    if not len(faces):
        raise _Refusal("no face is found in it")
    areas = _areas(faces.boxes)
    first = int(np.argmax(areas))
    others = np.delete(areas, first)
    if len(others) and others.max() > _SECOND * areas[first]:
        raise _Refusal(f"it shows {1 + int((others > _SECOND * areas[first]).sum())} faces; crop it to one person")
    points = faces.landmarks[first]
    pupils = np.stack([points[36:42].mean(0), points[42:48].mean(0)])
    eyes = float(np.linalg.norm(pupils[1] - pupils[0]))
    if eyes < LEAST_EYE_DISTANCE:
        raise _Refusal(f"the face is too small: the eyes are {eyes:.0f} pixels apart, {LEAST_EYE_DISTANCE:.0f} are "
                       "needed; use a larger picture")
    yaw, pitch, roll = np.degrees(faces.pose[first])
    for angle, most, word in ((yaw, MOST_YAW, "turned to the side"), (pitch, MOST_PITCH, "raised or lowered"),
                              (roll, MOST_ROLL, "tilted")):
        if abs(angle) > most:
            raise _Refusal(f"the head is {word} by {abs(angle):.0f} degrees, {most:.0f} are allowed; use a frontal "
                           "portrait")
    inside = ((points >= 0) & (points <= np.array(image.shape[1::-1]) - 1)).all()
    if not inside:
        raise _Refusal("a part of the face lies outside the picture")
    lips = float(np.linalg.norm(points[[61, 62, 63]] - points[[67, 66, 65]], axis=1).mean()) / eyes
    if lips > MOST_LIP_GAP:
        raise _Refusal("the mouth is open; use a neutral portrait with closed lips")
    smile = float(scores.presence[first, scores.aus.index(12)])
    if smile > MOST_SMILE:
        raise _Refusal(f"the person smiles (AU12 {smile:.2f}, {MOST_SMILE:.2f} is allowed); use a neutral portrait")
    lids = np.linalg.norm(points[[37, 38, 43, 44]] - points[[41, 40, 47, 46]], axis=1).mean() / eyes
    if lids < LEAST_LID_GAP:
        raise _Refusal("the eyes are closed; use a portrait with open eyes")
    return points


def _framed(image: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Head and shoulders, with the eyes as far apart as the engine is made for; never enlarged."""
    pupils = np.stack([points[36:42].mean(0), points[42:48].mean(0)])
    eyes, middle = np.linalg.norm(pupils[1] - pupils[0]), pupils.mean(0)
    height, width = image.shape[:2]
    left, right = max(int(middle[0] - 3.4 * eyes), 0), min(int(middle[0] + 3.4 * eyes), width)
    top, bottom = max(int(middle[1] - 3.2 * eyes), 0), min(int(middle[1] + 3.6 * eyes), height)
    scale = min(_EYES / eyes, 1.0)
    piece = image[top:bottom, left:right]
    size = (int(piece.shape[1] * scale), int(piece.shape[0] * scale))
    small = cv2.resize(piece, size, interpolation=cv2.INTER_AREA)
    box = (small[int(0.2 * size[1]):int(0.8 * size[1]), int(0.2 * size[0]):int(0.8 * size[0])])
    if cv2.Laplacian(cv2.cvtColor(box, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var() < _LEAST_SHARPNESS:
        raise _Refusal("it is blurred; use a sharp portrait")
    return small, ((points - (left, top) + 0.5) * scale - 0.5).astype(np.float32)
