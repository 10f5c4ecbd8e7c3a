"""The Action Units rtau knows: number, FACS name, region, colour, and named sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from .errors import UsageError

Region = Literal["brow", "eye", "nose", "cheek", "mouth", "jaw"]

#: In the order in which a network tells whether they show.
REGIONS: tuple[Region, ...] = get_args(Region)


@dataclass(frozen=True)
class ActionUnit:
    """One facial movement of the Facial Action Coding System.

    Attributes:
        number: FACS number.
        name: FACS name.
        region: part of the face that moves.
        colour: RGB, 0..255, the same in every picture and terminal.
    """

    number: int
    name: str
    region: Region
    colour: tuple[int, int, int]

    @property
    def code(self) -> str:
        """Two-digit name used in columns: ``AU01``."""
        return f"AU{self.number:02d}"


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

#: The AU sets of three published corpora.
EMOTIONET: tuple[int, ...] = (1, 2, 4, 5, 6, 9, 12, 17, 20, 25, 26, 43)
BP4D: tuple[int, ...] = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
DISFA: tuple[int, ...] = (1, 2, 4, 6, 9, 12, 25, 26)

_SETS = {"all": AUS, "emotionet": EMOTIONET, "bp4d": BP4D, "disfa": DISFA}

#: FACS intensity letters by whole intensity 0..5; 0 has none.
LETTERS = ("", "A", "B", "C", "D", "E")


def intensity_letter(intensity: float) -> str:
    """FACS letter of an intensity 0..5: the grade reached, '' below A or for NaN."""
    if not intensity >= 1:
        return ""
    return LETTERS[min(int(intensity), 5)]


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
