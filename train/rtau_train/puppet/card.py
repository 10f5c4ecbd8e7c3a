"""DATA_CARD.md: what a rendered folder holds, counted, and what it lacks, in words."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rtau.au import BY_NUMBER
from rtau.errors import InputError
from rtau.sinks.paths import output_error

from ..data.shards import SETTINGS, read_labels
from .labels import TOLD, told
from .markdown import table
from .record import TONES
from .sample import AUS
from .scene import PARTS

#: AUs in the order of the table.
_LABELED = tuple(sorted((*AUS, *TOLD)))
#: Edges of the bins, in the unit that people read.
_YAW = (-35, -25, -15, -5, 5, 15, 25, 35)
_PITCH = (-20, -10, 0, 10, 20)
_ROLL = (-20, -10, 0, 10, 20)
_FACE = (20, 30, 40, 60, 80, 120, 200)
_SEEN = (0.25, 0.5, 0.75, 0.95)
_EXPOSURE = (0.5, 0.8, 1.25, 2.0)

_MISSING = """\
## What is missing

Read this before you trust a model that was trained on this data.

- **Few people.** The open portraits that come with rtau show 108 adults, aged 17 to 54. A thousand pictures of
  one person are still one person: count identities, not pictures.
- **Nobody young or old.** There are no children and no one over 54. Age that is painted on the skin is no age.
- **Few dark-skinned people.** See the table by skin tone above, and judge each tone by its own figures. The
  typology angle is measured on the portrait, in the portrait's light; it is no statement about ancestry.
- **Frontal sources.** Every person was photographed from the front. Ears, the sides of the nose and the jaw under
  yaw are guessed from that picture and from a generic head.
- **Drawn creases.** Wrinkles of the forehead, the glabella, the eyes' corners, the nose and the chin are drawn on
  the skin where faces have them. They are not this person's own, and not scanned from anyone.
- **One rig.** Every face moves along the same shapes, made by one team. Real faces differ in how they smile.
  AUs 11, 13, 16, 19, 21, 27, 29 to 42 and the tongue are not labeled; 23 and 24 are hard to tell apart; 14 is weak
  on smooth skin.
- **The labels are what was asked for,** or what the geometry shows (25, 26, 43). No certified coder looked at these
  pictures. The grades follow rtau's own scale from millimetres to A..E, and "ignore" marks what a picture
  doesn't tell.
- **The neutral face is the portrait's.** Some people's resting face hints at an AU; activity counts from there.
- **Played, not felt.** Combinations are sampled from a list and at random, without speech, timing between AUs, or
  a reason. How often an AU appears here says nothing about life.
- **Teeth, tongue and the inside of the mouth** are generic, and closed lids are painted: the portraits show neither.
- **Cameras are simulated.** Noise, blur and compression follow simple physical models, not measured devices.
- **Not covered on purpose:** facial palsy, scars, a cleft lip and other conditions that change how a face moves or
  looks; head scarves, hats, and medical devices. Expect a model to fail on them, and test before you use it there.
"""

_SOURCES = """\
## Sources and licences

People consented to their portraits being used openly; keep these lines with anything made from them.

- London portraits: DeBruine, L. & Jones, B. (2017). Face Research Lab London Set. figshare.
  doi:10.6084/m9.figshare.5047666. CC-BY 4.0. Resized.
- Canada portraits: DeBruine, L. & Jones, B. (2017). Young Adult White Faces with Manipulated Versions. figshare.
  doi:10.6084/m9.figshare.4220517. CC-BY 4.0. Resized.
- Face rig: ICT-FaceKit, USC Institute for Creative Technologies, Vision and Graphics Lab. MIT licence.
- Portraits of your own that were added stand under the licences you gave them.
"""


@dataclass
class _Tally:
    """Everything the card tells, counted in one pass over the labels."""

    pictures: int = 0
    parts: Counter[str] = field(default_factory=Counter)
    people: dict[str, Counter[str]] = field(default_factory=dict)
    tones: dict[str, tuple[set[str], int]] = field(default_factory=dict)
    grades: dict[int, Counter[str]] = field(default_factory=lambda: {au: Counter() for au in _LABELED})
    bins: dict[str, Counter[str]] = field(default_factory=dict)
    sides: Counter[int] = field(default_factory=Counter)
    seen: dict[str, list[int]] = field(default_factory=lambda: {part: [0] * (len(_SEEN) + 1) for part in PARTS})

    def add(self, labels: dict[str, Any]) -> None:
        """Count one picture."""
        self.pictures += 1
        self.parts[labels["part"]] += 1
        shown = self.people.setdefault(labels["person"], Counter())
        shown["pictures"] += 1
        people, count = self.tones.get(labels["skin"]["tone"], (set(), 0))
        self.tones[labels["skin"]["tone"]] = (people | {labels["person"]}, count + 1)
        for au in AUS:
            unit = labels["aus"][str(au)]
            grade = "ignored" if unit["ignore"] else "0ABCDE"[int(unit["intensity"])]
            self.grades[au][grade] += 1
            if not unit["ignore"] and unit["presence"]:
                shown["present"] += 1
                self.sides[au] += abs(unit["left"] - unit["right"]) >= 1
        for au, intensity in told(labels).items():
            unsure = math.isnan(intensity)
            self.grades[au]["ignored" if unsure else "0ABCDE"[int(intensity)]] += 1
            shown["present"] += not unsure and intensity >= 1
        self._count_view(labels)

    def _count_view(self, labels: dict[str, Any]) -> None:
        yaw, pitch, roll = (math.degrees(angle) for angle in labels["pose"])
        points = np.array(labels["points"])
        face = float(np.linalg.norm(points[8] - points[17:27].mean(0)))
        light, sensor = labels["light"], labels["sensor"]
        self._bin("Yaw, degrees", _between(yaw, _YAW))
        self._bin("Pitch, degrees", _between(pitch, _PITCH))
        self._bin("Roll, degrees", _between(roll, _ROLL))
        self._bin("Face height, brow to chin, px of the picture", _between(face, _FACE))
        self._bin("Face height, rows that the camera sampled", _between(face * sensor["scale"], _FACE))
        self._bin("Lamps", str(len(light["lamps"])) if light["lamps"] else "the portrait's own light")
        self._bin("Exposure of the scene", _between(light["exposure"], _EXPOSURE))
        self._bin("Camera", "none, as rendered" if sensor["kind"] == "none" else sensor["kind"])
        self._bin("Codec", sensor["codec"])
        for name in labels["occluders"] or ["nothing"]:
            self._bin("Before the face", name)
        for name in labels["skin"]["notes"] or ["as photographed"]:
            self._bin("Skin", name)
        for part in PARTS:
            self.seen[part][sum(labels["visibility"][part] >= edge for edge in _SEEN)] += 1

    def _bin(self, table: str, name: str) -> None:
        self.bins.setdefault(table, Counter())[name] += 1


def write_card(folder: str | Path, out: str | Path | None = None) -> Path:
    """Count a rendered folder and write its card.

    Args:
        folder: what `rtau data render` wrote.
        out: the file; by default DATA_CARD.md in the folder.

    Returns:
        The file written. The same folder gives the same bytes.

    Raises:
        InputError: the folder can't be read, see `data.shards.read_labels`.
        OutputError: the card can't be written.
    """
    folder = Path(folder)
    out = Path(out) if out is not None else folder / "DATA_CARD.md"
    tally = _Tally()
    for labels in read_labels(folder):
        try:
            tally.add(labels)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{folder}: the labels of picture {labels['index']} lack {error}: "
                             "render them again") from error
    text = _text(tally, _settings(folder))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise output_error(out, error) from error
    return out


def _settings(folder: Path) -> dict[str, Any]:
    file = folder / SETTINGS
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def _text(tally: _Tally, settings: dict[str, Any]) -> str:
    parts = ", ".join(f"{tally.parts[part]} {part}" for part in ("train", "validation", "test") if tally.parts[part])
    made = ", ".join(f"{name} {value}" for name, value in sorted(settings.items()) if isinstance(value, (str, int, float)))
    strangers = settings.get("strangers", 0)
    pieces = [
        "# Data card",
        f"{tally.pictures} pictures of {len(tally.people)} {'person' if len(tally.people) == 1 else 'people'} "
        f"({parts}): openly licensed portraits that perform Action Units on an openly licensed face rig, rendered by "
        "rtau."
        + (f" In {100 * strangers:.0f} % of them the face has another shape and another look at rest than the "
           "portrait's." if strangers else "")
        + (f" Rendered with: {made}." if made else ""),
        "## Action Units",
        "Pictures by intensity, 0 (absent) and A to E. *Ignored*: the picture doesn't tell. *One-sided*: present, and "
        "a grade or more apart between left and right.",
        table(("AU", "name", "0", *"ABCDE", "present", "one-sided", "ignored"), map(_unit_row(tally), _LABELED)),
        "## Skin tone",
        "By individual typology angle of the portrait: very light > 55, light 41 to 55, intermediate 28 to 41, tan "
        "10 to 28, brown -30 to 10, dark < -30 degrees.",
        table(("tone", "people", "pictures", "share"), (
            (name, len(tally.tones.get(name, (set(), 0))[0]), tally.tones.get(name, (set(), 0))[1],
             _share(tally.tones.get(name, (set(), 0))[1], tally.pictures)) for _, name in TONES)),
    ]
    for title, names in (("Pose and size", ("Yaw, degrees", "Pitch, degrees", "Roll, degrees",
                                            "Face height, brow to chin, px of the picture",
                                            "Face height, rows that the camera sampled")),
                         ("Light and camera", ("Lamps", "Exposure of the scene", "Camera", "Codec")),
                         ("Skin and what covers it", ("Before the face", "Skin"))):
        pieces.append(f"## {title}")
        for name in names:
            counts = tally.bins.get(name, Counter())
            ordered = sorted(counts, key=_order)
            pieces.append(table((name, "pictures", "share"),
                                 ((key, counts[key], _share(counts[key], tally.pictures)) for key in ordered)))
    edges = ("< 25 %", "25-50 %", "50-75 %", "75-95 %", ">= 95 %")
    pieces += ["## Visibility", "Pictures by the visible share of each part of the face (subject's sides).",
               table(("part", *edges), ((part.replace("_", " "), *tally.seen[part]) for part in PARTS)),
               _MISSING.strip(), _SOURCES.strip(), "## People",
               table(("person", "pictures", "AUs present per picture"), (
                   (name, shown["pictures"], f"{shown['present'] / shown['pictures']:.2f}")
                   for name, shown in sorted(tally.people.items())))]
    return "\n\n".join(pieces) + "\n"


def _unit_row(tally: _Tally) -> Callable[[int], Sequence[Any]]:
    def row(au: int) -> Sequence[Any]:
        grades = tally.grades[au]
        return (au, BY_NUMBER[au].name, grades["0"], *(grades[letter] for letter in "ABCDE"),
                sum(grades[letter] for letter in "ABCDE"), tally.sides[au], grades["ignored"])

    return row


def _share(count: int, of: int) -> str:
    return f"{100 * count / of:.1f} %" if of else "-"


def _between(value: float, edges: Sequence[float]) -> str:
    """The bin a value lies in, as people write it."""
    if value < edges[0]:
        return f"< {edges[0]:g}"
    for low, high in zip(edges, edges[1:], strict=False):
        if value < high:
            return f"{low:g} to {high:g}"
    return f">= {edges[-1]:g}"


def _order(name: str) -> tuple[int, float, str]:
    """Bins by their lower edge, words by the alphabet."""
    if name.startswith("<"):
        return 0, float("-inf"), name
    first = name.removeprefix(">= ").split(" ")[0]
    try:
        return 0, float(first), name
    except ValueError:
        return 1, 0.0, name
