"""What a reader should know of the numbers: what they mean, and where they can't be trusted."""

from __future__ import annotations

from collections.abc import Mapping

from ..au import Label, are_attributes, look_up
from .table import LONGEST, STEPS, Table

_MOVEMENTS = (
    "*Action Units are movements, not feelings.* They say which muscles moved, and nothing about emotion, truthfulness "
    "or character. Do not use this for decisions about people, or for diagnosis.")
_ATTRIBUTES = (
    "*Attributes are what a network of one's own was taught to call so*, by the pictures it learned from: appearances, "
    "not what a person is or feels. Do not use this for decisions about people.")
_INTENSITY = "*Intensity* goes from 0 to 5 (FACS A = 1 to E = 5)."
_CHANCE = (
    "The network tells *presence alone*, so the curves show its probability, 0 to 1, and not how strong anything is.")
_PRESENT = (
    "*Present* is the yes or no of the columns that end in _c: the probability of presence against a threshold, with "
    "hysteresis over time.")
_TIMES = (
    "*Times* are the time stamps of the table. A frame counts until the next one, but no longer than "
    f"{LONGEST:g} s or {STEPS} usual steps; a longer pause counts as not recorded.")
_EVENTS = (
    "*An event* is an unbroken run of frames in which it is present. *Onset* is the time of the first of them, "
    "*apex* that of the strongest, *offset* when the last one ends. A frame that can't be judged ends an event, and "
    "what was before or after it is then not known. Smoothing and hysteresis shift onset and offset by some hundredths "
    "of a second; they are no substitute for coding by a person.")
_UNJUDGED = (
    "*Not assessable* (face too small, dark or turned, cut by the border, or a part of it covered) is neither absent "
    "nor 0: such time is left out of every share and mean.")
_TOGETHER = (
    "*Which go together* counts only time in which both can be judged. Two can go together because a face shows them "
    "together, or because the network can't tell them apart.")
_UNKNOWN = (
    "*How reliable each is, is not known here:* the table was not made with the weights that come with this rtau, or "
    "does not say so. Look at the figures of the weights that were used.")


def reading(table: Table, weak: Mapping[Label, float] | None) -> list[str]:
    """Paragraphs for the page; a part between asterisks is set in bold.

    Args:
        table: what the page is about.
        weak: AUC of the AUs that are not read reliably; None if that is not known.
    """
    about = _ATTRIBUTES if are_attributes(table.aus) else _MOVEMENTS
    lines = [about, _INTENSITY if table.graded else _CHANCE, _PRESENT]
    if not table.still:
        lines += [_TIMES, _EVENTS]
    lines += [_UNJUDGED, _TOGETHER]
    if weak:
        named = ", ".join(f"{look_up(au).code} {look_up(au).name} ({auc:.2f})" for au, auc in weak.items())
        lines.append(f"*Weak: {named}.* In brackets the AUC on people whom the network never saw (1 is perfect, .5 is "
                     "guessing). Take these as hints. Dark skin, and faces below 45 pixels, are read worse as well; "
                     "MODEL_CARD.md, which comes with the weights, has all figures and limits.")
    elif weak is None:
        lines.append(_UNKNOWN)
    return lines
