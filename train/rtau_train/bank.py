"""Faces cut once, small, for many trainings at a time; and the photographs that may be learned from.

A bank is a folder with, of each part, `NAME.npy`, the crops, which all processes map into memory, and `NAME.npz`, what
is known of them; `bank.json`, written last, says what they were cut from.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rtau.crop import apply, warp
from rtau.errors import InputError, OutputError, UsageError

from .checkpoint import compare
from .data.cropper import CropSettings
from .data.draft import Draft
from .data.faces import FaceSet, Listing
from .data.folder import read_folder
from .data.people import part_of
from .data.tars import write_whole

log = logging.getLogger(__name__)

#: A stored crop shows the face somewhat larger than the network sees it, and more around it, so that cutting it
#: again, turned and shifted, costs little sharpness and shows little that was not there.
_LARGER, _AROUND = 1.25, 0.1
_HEADER = "bank.json"
#: Portraits whose people `people.json` knows by the file's name.
_PORTRAIT = re.compile(r"(\d{3})_0[38]|(\d{3}[fm])")


# -- the bank --------------------------------------------------------------------------------


def fill_bank(folder: Path, size: int, made_of: Mapping[str, Any], opened: Callable[[], Mapping[str, FaceSet]], *,
              report: Callable[[int, int], None] | None = None) -> None:
    """Cut every face once, for networks that see crops of `size` pixels; a bank that is full stays as it is.

    Args:
        folder: is made.
        size: side in pixels.
        made_of: what the faces come from, in plain values; a full bank of anything else is refused.
        opened: gives the faces by the name of the part; not called where the bank is full.
        report: hears of progress: faces done, and those there are.

    Raises:
        UsageError: the bank holds other faces, or of another size.
        InputError: a picture can't be read. OutputError: the folder can't be written.
    """
    look = CropSettings(round(_LARGER * size), round(_AROUND * _LARGER * size))
    facts = {"size": size, "side": look.side, "made_of": dict(made_of)}
    if (folder / _HEADER).exists():
        changed = compare({key: value for key, value in _header(folder).items() if key in facts}, facts)
        if changed:
            raise UsageError(f"{folder} holds other faces: {'; '.join(changed[:2])}: choose another folder")
        return
    parts = opened()
    total, done = sum(map(len, parts.values())), 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, faces in parts.items():
            crops = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.uint8,
                                              (len(faces), look.side, look.side, 3))
            points = np.empty_like(faces.points)
            for row in range(len(faces)):
                matrix = look.matrix(faces.points[row])
                crops[row] = warp(faces.pictures[row], matrix, look.side)
                points[row] = apply(matrix, faces.points[row])
                if report is not None and (row + 1) % 50 == 0:
                    report(done + row + 1, total)
            crops.flush()
            done += len(faces)
            np.savez(folder / f"{name}.npz", names=np.array(faces.names, str), subject=faces.subject,
                     labels=faces.labels, intensity=faces.intensity, source=faces.source, points=points)
    except OSError as error:
        raise OutputError(f"{folder} can't be written: {error.strerror or error}") from error
    facts["faces"] = {name: len(faces) for name, faces in parts.items()}
    write_whole(folder / _HEADER, (json.dumps(facts, indent=1) + "\n").encode())


def open_part(folder: Path, name: str) -> FaceSet:
    """The faces of a part, crops mapped into memory.

    Raises:
        InputError: the bank is not full, or damaged.
    """
    try:
        with np.load(folder / f"{name}.npz", allow_pickle=False) as table:
            facts = {key: table[key] for key in table.files}
        crops = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False).view(np.ndarray)
        return FaceSet(tuple(facts.pop("names").tolist()), pictures=crops, **facts)
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise InputError(f"{folder}: the {name} faces can't be read ({type(error).__name__}): delete the folder, it is "
                         "made again") from error


def _header(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / _HEADER).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{folder / _HEADER} can't be read ({type(error).__name__}): delete the folder, it is made "
                         "again") from error


# -- who may be learned from -----------------------------------------------------------------


def list_photographs(folders: Sequence[Path], every: int = 1) -> Listing:
    """Pictures and frames of videos, without labels, of those who train or whom nobody knows.

    Args:
        folders: where to look, see `folder.read_folder`.
        every: of videos, each frame whose number is a multiple of this.

    Raises:
        InputError: a folder holds none, or there is nobody who trains.
    """
    draft, others = Draft(()), 0
    for folder in folders:
        listing = read_folder(folder, every=every)
        for file, frame, source in zip(listing.file, listing.frame.tolist(), listing.source.tolist(), strict=True):
            who = identity_of(source)
            if who and part_of(who) != "train":
                others += 1
            else:
                draft.add(file, frame=frame, subject=who, source=f"{folder.name}/{source}")
    log.info("%d photographs of people who validate or test are left out", others)
    if not len(draft):
        raise InputError(f"{', '.join(map(str, folders))}: no photographs but of people who validate or test")
    return draft.listing()


def identity_of(source: str) -> str:
    """Whom a portrait shows by its file's name, as in `people.json`: "a/099_08.jpg" -> "099"; "" if it does not say."""
    match = _PORTRAIT.fullmatch(Path(source).stem)
    return (match[1] or match[2]) if match else ""


def check_training(faces: FaceSet) -> None:
    """Make sure that only those who train are among the faces, by subject and by the names of the pictures.

    Raises:
        InputError: naming a picture of somebody who does not.
    """
    for subject, source in zip(faces.subject.tolist(), faces.source.tolist(), strict=True):
        for who in (subject, identity_of(source)):
            if who and part_of(who) != "train":
                raise InputError(f"{source} shows {who}, one of the {part_of(who)} people, who must not be learned "
                                 "from, with labels or without: leave the picture out")
