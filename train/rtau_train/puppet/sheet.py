"""A page of people performing single AUs, to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from rtau.errors import OutputError, UsageError

from .render import Renderer
from .rig import load_rig
from .sample import AUS, shapes_of
from .scene import Performance, Scene

if TYPE_CHECKING:
    from .cast import Cast

_CAPTION = 0.38
_INK = (200, 0, 0)


def contact_sheet(cast: Cast, out: str | Path, *, people: Sequence[str], aus: Sequence[int] = AUS, size: int = 160,
                  level: float = 0.85, yaw: float = 0.0, face: float = 0.55) -> str:
    """Write a page with a row for each person: at rest, then each AU.

    Args:
        out: a .jpg or .png.
        aus: AU numbers that puppets can perform; others are left out.
        size: side of each picture, pixels.
        level: activation, 0..1.
        yaw: of all heads, radians.
        face: height of the face as a share of the picture's.

    Returns:
        one line that says what was written.

    Raises:
        UsageError: none of the AUs can be performed. OutputError: the page can't be written.
    """
    shown = [au for au in aus if au in AUS]
    if not shown:
        raise UsageError(f"puppets perform the AUs {', '.join(map(str, AUS))}; choose from these")
    renderer = Renderer(load_rig(cast.rig))
    rows = []
    for person in people:
        puppet = cast.puppet(person, renderer.rig)
        row = []
        for au in (None, *shown):
            activation = np.zeros((len(AUS), 2), np.float32)
            if au is not None:
                activation[AUS.index(au)] = level
            scene = Scene(Performance(activation, shapes_of(activation)), yaw=yaw, face=face, crease_seed=7)
            picture = renderer.render(puppet, scene, size=(size, size)).image.copy()
            words = f"{person}" if au is None else f"AU{au}"
            cv2.putText(picture, words, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, _CAPTION, _INK, 1, cv2.LINE_AA)
            row.append(picture)
        rows.append(np.hstack(row))
    write_page(np.vstack(rows), out)
    return f"{out}: {len(people)} people, at rest and {len(shown)} AUs"


def write_page(page: np.ndarray, out: str | Path) -> None:
    """Write uint8 [H, W, 3] RGB as .jpg or .png.

    Raises:
        OutputError: the name has another ending, or the file can't be written.
    """
    out = Path(out)
    if out.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        raise OutputError(f"{out}: a page is a .jpg or .png")
    good, data = cv2.imencode(out.suffix, cv2.cvtColor(page, cv2.COLOR_RGB2BGR))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(data.tobytes())
    except OSError as error:
        raise OutputError(f"{out} can't be written: {error.strerror or error}") from None
    if not good:
        raise OutputError(f"{out} can't be encoded")
