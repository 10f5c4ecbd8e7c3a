"""Opens whatever corpus there is: as a listing, or as faces whose points are known."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any, Literal

from rtau.errors import InputError, UsageError

from . import attributes, bp4d, disfa, emotionet
from .crops import HEADER, open_crops
from .draft import drop_missing
from .faces import FaceSet, Listing
from .folder import read_folder
from .manifest import read_manifest
from .people import Part
from .renders import open_renders
from .shards import SETTINGS

Kind = Literal["auto", "manifest", "folder", "emotionet", "bp4d", "bp4d+", "disfa", "disfa+", "celeba", "lfwa"]

#: Readers by kind; each takes the path, and options of its own.
READERS: dict[str, Callable[..., Listing]] = {
    "manifest": read_manifest, "folder": read_folder, "emotionet": emotionet.read_emotionet,
    "bp4d": lambda folder, *, present_from=1.0, first=0:
        bp4d.read_bp4d(folder, corpus="BP4D", present_from=present_from, first=first),
    "bp4d+": lambda folder, *, present_from=1.0, first=0:
        bp4d.read_bp4d(folder, corpus="BP4D+", present_from=present_from, first=first),
    "disfa": disfa.read_disfa, "disfa+": disfa.read_disfa_plus,
    "celeba": attributes.read_celeba, "lfwa": attributes.read_lfwa,
}

#: A folder that holds such a file is read by it.
MANIFEST = "manifest.csv"


def kind_of(path: str | Path) -> str:
    """The kind of a corpus, by what lies where it is.

    Raises:
        InputError: there is nothing, or it holds faces already.
    """
    path = Path(path)
    if path.is_file():
        return "emotionet" if path.suffix.lower() == ".xlsx" or emotionet.is_list(path) else "manifest"
    if not path.is_dir():
        raise InputError(f"{path} is not there; give a manifest, a folder of pictures, or that of a corpus")
    if (path / SETTINGS).exists() or (path / HEADER).exists():
        raise InputError(f"{path} holds faces whose points are known; train on it as it is")
    if (path / MANIFEST).is_file():
        return "manifest"
    tests: dict[str, Callable[[Path], bool]] = {
        "disfa": disfa.is_disfa, "disfa+": disfa.is_disfa_plus, "celeba": attributes.is_celeba,
        "lfwa": attributes.is_lfwa, "emotionet": lambda folder: bool(emotionet.lists_of(folder))}
    if bp4d.is_bp4d(path):
        return "bp4d+" if (path / "2D+3D").is_dir() else "bp4d"
    return next((kind for kind, test in tests.items() if test(path)), "folder")


def read_listing(path: str | Path, kind: str = "auto", **options: Any) -> Listing:
    """Read a corpus; pictures that are not there are listed too.

    Args:
        path: a manifest or list, or the folder of a corpus or of pictures.
        kind: a key of `READERS`, or "auto".
        options: of the kind's reader.

    Raises:
        UsageError: no such kind, or the kind has no such option.
        InputError: there is no such corpus, or something in it is wrong.
    """
    path = Path(path)
    kind = kind_of(path) if kind == "auto" else kind
    if kind not in READERS:
        raise UsageError(f"there is no kind {kind!r}: choose from auto, {', '.join(READERS)}")
    reader = READERS[kind]
    for option in options:
        if option not in signature(reader).parameters:
            raise UsageError(f"{path} is read as {kind}, for which there is no {option.replace('_', ' ')}")
    if not path.exists():
        raise InputError(f"{path} is not there")
    return reader(path / MANIFEST if kind == "manifest" and path.is_dir() else path, **options)


def open_listing(path: str | Path, kind: str = "auto", *, strict: bool = False, **options: Any) -> Listing:
    """Read a corpus; pictures that are not there are left out with a warning, or are an error if `strict`.

    Arguments and errors as `read_listing`.
    """
    return drop_missing(read_listing(path, kind, **options), path, strict=strict)


def open_faces(path: str | Path, part: Part | Literal["all"] = "all", *, memory: int = 2 << 30) -> FaceSet:
    """Faces whose points are known: what `rtau data align` or `rtau data render` wrote.

    Args:
        path: the folder.
        part: of the people of renders; of aligned faces only "all", split those by subject.
        memory: pictures are decoded once and kept if all of them take at most so many bytes; else each is read when
            asked for.

    Raises:
        InputError: the folder holds no faces, or something in it is damaged.
        UsageError: aligned faces have no parts.
    """
    path = Path(path)
    if (path / HEADER).exists():
        if part != "all":
            raise UsageError(f"{path} has no part {part}: aligned faces are split by subject")
        return open_crops(path, memory=memory)
    if not path.is_dir():
        raise InputError(f"{path} is no folder: give one that rtau data align or rtau data render wrote")
    return open_renders(path, part, memory=memory)
