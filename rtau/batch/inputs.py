"""What was asked for, found: files, folders with all that is in them, globs."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..errors import InputError, RtauError, UsageError
from ..source import PICTURES, VIDEOS, Input, is_picture, list_inputs, natural


@dataclass
class Found:
    """What some patterns mean.

    Attributes:
        inputs: each file once, in the order given.
        problems: one line for each pattern that means nothing and each folder that can't be read.
    """

    inputs: list[Input] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def find_inputs(patterns: Sequence[str], *, recursive: bool = True, without: Collection[Path] = ()) -> Found:
    """What the patterns mean; one bad name does not stop the rest.

    Args:
        patterns: files, folders and globs.
        recursive: also search the folders in a folder. Hidden ones are never searched.
        without: folders to leave out where they lie in a folder that is searched: there the outputs go.

    Raises:
        RtauError: none of the patterns means anything.
    """
    found: dict[str, Input] = {}
    problems: list[str] = []
    first: RtauError | None = None
    outputs = {os.path.realpath(path) for path in without}
    for pattern in patterns:
        try:
            for one in _meaning(pattern, recursive, outputs, problems):
                found.setdefault(os.path.realpath(one.path), one)
        except (InputError, UsageError) as error:
            first = first or error
            problems.append(str(error))
    if not found:
        raise first or InputError(problems[0] if problems else "nothing to process was given; name a video, pictures "
                                  "or a folder")
    return Found(list(found.values()), problems)


def _meaning(pattern: str, recursive: bool, outputs: set[str], problems: list[str]) -> Iterable[Input]:
    if not recursive:
        return list_inputs([pattern])
    if os.path.isdir(pattern):
        inside = _walk(Path(pattern), outputs, problems)
        if not inside:
            raise InputError(f"folder {pattern} has no pictures or videos in it")
        return inside
    if not glob.has_magic(pattern) or os.path.exists(pattern):
        return list_inputs([pattern])
    matches = sorted(map(Path, glob.glob(pattern, recursive=True)), key=natural)
    if not matches:
        raise UsageError(f"{pattern} matches no file; check the folder and the ending")
    # What lies before the first sign of a glob is the folder whose structure the outputs keep.
    root = Path(*_before_magic(Path(pattern)))
    inputs: list[Input] = []
    for match in matches:
        within = _below(match.parent, root)
        if match.is_dir():
            # With "**" the folders within match by themselves.
            if "**" not in pattern:
                inputs += [replace(one, within=_below(match, root) / one.within)
                           for one in _walk(match, outputs, problems)]
        elif match.suffix.lower() in PICTURES | VIDEOS and os.path.realpath(match.parent) not in outputs:
            inputs.append(Input(match, is_picture(match), within))
    if not inputs:
        raise InputError(f"{pattern} matches no picture and no video")
    return inputs


def _walk(top: Path, outputs: set[str], problems: list[str]) -> list[Input]:
    """Pictures and videos in a folder and those in it, by extension, folder by folder in natural order. Links to
    folders are followed; each folder is looked into once."""
    inputs: list[Input] = []
    seen: set[tuple[int, int]] = set()
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            status = folder.stat()
            if status.st_ino and (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                visible = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            problems.append(f"folder {folder} can't be read: {error.strerror}")
            continue
        files, folders = [], []
        for entry in visible:
            path = folder / entry.name
            try:
                if entry.is_dir():
                    if os.path.realpath(path) not in outputs:
                        folders.append(path)
                elif path.suffix.lower() in PICTURES | VIDEOS and entry.is_file():
                    files.append(path)
            except OSError:  # a link that goes round in a circle
                continue
        within = folder.relative_to(top)
        inputs += [Input(path, is_picture(path), within) for path in sorted(files, key=natural)]
        waiting += sorted(folders, key=natural, reverse=True)
    return inputs


def _before_magic(pattern: Path) -> tuple[str, ...]:
    parts = pattern.parts
    return parts[:next(at for at, part in enumerate(parts) if glob.has_magic(part))]


def _below(folder: Path, root: Path) -> Path:
    """The way from one to the other; none where it would lead out of it."""
    try:
        way = folder.relative_to(root)
    except ValueError:
        return Path()
    return Path() if ".." in way.parts else way
