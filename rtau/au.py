"""What scores are about: the Action Units rtau knows, with region, colour and named sets; and other attributes."""

from __future__ import annotations

import colorsys
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

from .errors import UsageError

Region = Literal["brow", "eye", "nose", "cheek", "mouth", "jaw"]

#: In the order in which a network tells whether they show.
REGIONS: tuple[Region, ...] = get_args(Region)

#: The number of an Action Unit, or the name of another attribute that a network of one's own reads, such as "Smiling".
Label = int | str


@dataclass(frozen=True)
class ActionUnit:
    """One facial movement of the Facial Action Coding System.

    Attributes:
        number: FACS number.
        name: FACS name.
        region: part of the face that moves; None for an AU that rtau knows by its number alone.
        colour: RGB, 0..255, the same in every picture and terminal.
    """

    number: int
    name: str
    region: Region | None
    colour: tuple[int, int, int]

    @property
    def code(self) -> str:
        """Two-digit name used in columns: ``AU01``."""
        return f"AU{self.number:02d}"


@dataclass(frozen=True)
class Attribute:
    """Anything else that a network tells of a face, with the same facts as an `ActionUnit`.

    Attributes:
        code: its name, as columns have it.
        name: "", since the code says all.
        region: None, since it may be seen anywhere.
        colour: RGB, 0..255, made of the name: the same in every picture and terminal.
    """

    code: str
    name: str = ""
    region: None = None

    @property
    def colour(self) -> tuple[int, int, int]:
        """See the class."""
        hue = zlib.crc32(self.code.encode()) / 2**32
        red, green, blue = (round(255 * value) for value in colorsys.hsv_to_rgb(hue, 0.62, 0.95))
        return red, green, blue


_TABLE: tuple[ActionUnit, ...] = (
    ActionUnit(1, "Inner brow raiser", "brow", (94, 155, 255)),
    ActionUnit(2, "Outer brow raiser", "brow", (70, 120, 245)),
    ActionUnit(4, "Brow lowerer", "brow", (120, 100, 235)),
    ActionUnit(5, "Upper lid raiser", "eye", (60, 200, 230)),
    ActionUnit(6, "Cheek raiser", "cheek", (255, 190, 60)),
    ActionUnit(7, "Lid tightener", "eye", (40, 170, 190)),
    ActionUnit(9, "Nose wrinkler", "nose", (170, 210, 70)),
    ActionUnit(10, "Upper lip raiser", "mouth", (240, 120, 90)),
    ActionUnit(12, "Lip corner puller", "mouth", (255, 150, 40)),
    ActionUnit(14, "Dimpler", "mouth", (235, 105, 150)),
    ActionUnit(15, "Lip corner depressor", "mouth", (200, 90, 190)),
    ActionUnit(17, "Chin raiser", "jaw", (160, 140, 120)),
    ActionUnit(18, "Lip pucker", "mouth", (215, 120, 200)),
    ActionUnit(20, "Lip stretcher", "mouth", (220, 80, 110)),
    ActionUnit(22, "Lip funneler", "mouth", (180, 110, 225)),
    ActionUnit(23, "Lip tightener", "mouth", (190, 75, 80)),
    ActionUnit(24, "Lip pressor", "mouth", (165, 70, 95)),
    ActionUnit(25, "Lips part", "mouth", (250, 110, 60)),
    ActionUnit(26, "Jaw drop", "jaw", (190, 165, 110)),
    ActionUnit(28, "Lip suck", "mouth", (140, 90, 70)),
    ActionUnit(43, "Eyes closed", "eye", (110, 190, 170)),
    ActionUnit(45, "Blink", "eye", (130, 215, 195)),
)

#: Every known Action Unit by number.
BY_NUMBER: dict[int, ActionUnit] = {au.number: au for au in _TABLE}

#: Numbers of all AUs that rtau reports with the shipped network, in column order.
AUS: tuple[int, ...] = tuple(BY_NUMBER)

#: Of AUs that it does not know: a table of another tool may have them.
_GREY = (176, 180, 188)

#: The AU sets of three published corpora.
EMOTIONET: tuple[int, ...] = (1, 2, 4, 5, 6, 9, 12, 17, 20, 25, 26, 43)
BP4D: tuple[int, ...] = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
DISFA: tuple[int, ...] = (1, 2, 4, 6, 9, 12, 25, 26)

_SETS = {"all": AUS, "emotionet": EMOTIONET, "bp4d": BP4D, "disfa": DISFA}

#: FACS intensity letters by whole intensity 0..5; 0 has none.
LETTERS = ("", "A", "B", "C", "D", "E")


@lru_cache(maxsize=1024)
def look_up(label: Label) -> ActionUnit | Attribute:
    """What is known of an Action Unit, by its number, or of another attribute, by its name."""
    if isinstance(label, str):
        return Attribute(label)
    return BY_NUMBER.get(label) or ActionUnit(label, "", None, _GREY)


def label_of(name: str) -> Label:
    """The label that a network calls so: 12 for "AU12"; other names as columns can have them, "mouth_open" for "mouth
    open"."""
    number = re.fullmatch(r"AU(\d+)", name)
    return int(number[1]) if number else re.sub(r"\W+", "_", name).strip("_") or "attribute"


def are_attributes(labels: Iterable[Label]) -> bool:
    """Whether these are no Action Units: scores are of the one or of the other."""
    return any(isinstance(label, str) for label in labels)


def names_of(labels: Sequence[Label]) -> str:
    """Labels for people: "AU 1, 2, 12", or "Smiling, Eyeglasses"."""
    return "AU " * isinstance(labels[0], int) + ", ".join(map(str, labels)) if labels else "none"


def intensity_letter(intensity: float) -> str:
    """FACS letter of an intensity 0..5: the grade reached, '' below A or for NaN."""
    if not intensity >= 1:
        return ""
    return LETTERS[min(int(intensity), 5)]


def parse_labels(text: str, known: Sequence[Label] = AUS) -> tuple[Label, ...]:
    """Read a user's choice of AUs or, where these are known, of attributes: ``"Smiling,Eyeglasses"``.

    Arguments, result and errors are those of `parse_aus`. Large and small letters are the same.
    """
    if not are_attributes(known):
        return parse_aus(text, known)  # type: ignore[arg-type]
    by_name = {str(name).casefold(): name for name in known}
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise UsageError(f"no attribute named: choose from {names_of(known)}")
    chosen = set()
    for word in words:
        name = by_name.get(str(label_of(word)).casefold())
        if name is None:
            raise UsageError(f"unknown attribute {word!r}: choose from {names_of(known)}")
        chosen.add(name)
    return tuple(name for name in known if name in chosen)


def parse_aus(text: str, known: tuple[int, ...] = AUS) -> tuple[int, ...]:
    """Read a user's choice: ``"1,2,12"``, ``"AU6,AU12"`` or a set's name such as ``"disfa"``.

    Returns:
        Numbers in the order of `known`, each once.

    Raises:
        UsageError: an AU is unknown, or none is named.
    """
    if text.strip().lower() in _SETS:
        return tuple(au for au in known if au in _SETS[text.strip().lower()])
    chosen = set()
    for word in filter(None, (part.strip() for part in text.split(","))):
        digits = word.upper().removeprefix("AU")
        if not digits.isdigit() or int(digits) not in known:
            raise UsageError(f"unknown AU {word!r}: choose from {', '.join(map(str, known))}, or {', '.join(_SETS)}")
        chosen.add(int(digits))
    if not chosen:
        raise UsageError("no AU named: give numbers such as 1,2,12, or all, emotionet, bp4d, disfa")
    return tuple(au for au in known if au in chosen)
