"""Rendered pictures as faces with labels."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from rtau.errors import InputError

from ..puppet.labels import told
from ..puppet.record import shown
from ..puppet.sample import AUS
from .faces import FaceSet, au_name
from .people import Part
from .shards import read_places
from .stored import StoredPictures, kept
from .tars import RENDER_AGAIN


def open_renders(folder: str | Path, part: Part | Literal["all"] = "all", *, memory: int = 2 << 30) -> FaceSet:
    """What `rtau data render` wrote, with the labels that a coder would have given.

    An AU is present from intensity 1 on, absent below, and unknown where the picture does not tell. The AUs are those
    of `puppet.sample.AUS` and of `puppet.labels.TOLD`. The subject is the person, the source "person#index".

    Args:
        folder: tars or loose files.
        part: of the people, see `people.json`.
        memory: see `corpus.open_faces`.

    Raises:
        InputError: there is nothing, the part is empty, or something is damaged.
    """
    rows, places = [], []
    for place, labels in read_places(folder, part=part):
        places.append(place)
        try:
            units = {au: labels["aus"][str(au)] for au in AUS}
            grades = {au: np.nan if unit["ignore"] else unit["intensity"] for au, unit in units.items()}
            rows.append((labels["person"], labels["index"], labels["points"], grades | told(labels), shown(labels)))
        except (KeyError, TypeError) as error:
            raise InputError(f"{place[0]}: the labels lack {error}: {RENDER_AGAIN}") from error
    if not rows:
        raise InputError(f"{folder}: no pictures of {part} people: rtau data render --people all makes some of each")
    aus = sorted(rows[0][3])
    intensity = np.array([[row[3][au] for au in aus] for row in rows], np.float32)
    known = np.isfinite(intensity)
    labels = np.where(known, np.where(intensity >= 1, 1, -1), 0).astype(np.int8)
    pictures = StoredPictures(places, RENDER_AGAIN)
    return FaceSet(tuple(au_name(au) for au in aus), np.array([row[0] for row in rows], str), labels, intensity,
                   np.array([f"{row[0]}#{row[1]}" for row in rows], str), kept(pictures, memory),
                   np.array([row[2] for row in rows], np.float32).reshape(-1, 68, 2),
                   np.array([row[4] for row in rows], np.float32))
