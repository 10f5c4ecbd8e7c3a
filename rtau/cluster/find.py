"""What is to be done: files of this machine and of anywhere else, each with the name under which its table goes."""

from __future__ import annotations

import glob
import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from ..batch.inputs import find_inputs
from ..batch.ledger import stamp
from ..errors import InputError, RtauError, UsageError
from ..source import PICTURES, VIDEOS, natural
from .location import Location, Stat, is_location, stat_of

#: Pages of a web server that are looked through at most.
_PAGES = 10_000


@dataclass(frozen=True)
class Item:
    """One file to do.

    Attributes:
        place: where it is.
        name: its own, with the folders below the one that was asked for: `sub/a.mp4`. No two are the same.
        stat: what is known of it.
    """

    place: Location
    name: str
    stat: Stat

    @property
    def picture(self) -> bool:
        """Whether it seems to be a picture, by its ending."""
        return PurePosixPath(self.name).suffix.lower() in PICTURES


@dataclass
class Found:
    """What some patterns mean.

    Attributes:
        items: each file once, in the order given.
        problems: one line for each pattern that means nothing.
    """

    items: list[Item] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def find_items(patterns: Sequence[str], *, recursive: bool = True, out: Location | None = None) -> Found:
    """What the patterns mean; one bad name does not stop the rest.

    Args:
        patterns: files, folders and globs of this machine, or locations: `s3://bucket/videos/`, `https://host/a.mp4`.
        recursive: also search the folders in a folder. Hidden ones are never searched.
        out: where the tables go; it is left out where it lies in a folder that is searched.

    Raises:
        RtauError: none of the patterns means anything.
    """
    items: dict[str, Item] = {}
    problems: list[str] = []
    first: RtauError | None = None
    for pattern in patterns:
        try:
            for item in _meaning(pattern, recursive, out, problems):
                items.setdefault(item.place.url, item)
        except (InputError, UsageError) as error:
            first = first or error
            problems.append(str(error))
    if not items:
        raise first or InputError("nothing to process was given; name a video, pictures or a folder")
    return Found(_told_apart(list(items.values())), problems)


def _meaning(pattern: str, recursive: bool, out: Location | None, problems: list[str]) -> Iterable[Item]:
    place = Location(pattern)
    if place.local is not None:
        name = str(place.local) if is_location(pattern) else pattern
        found = find_inputs([name], recursive=recursive, without=[out.local] if out and out.local else [])
        problems += found.problems
        return [_here(one.path, one.within) for one in found.inputs]
    if glob.has_magic(re.sub(r"[?#].*", "", pattern) if place.web else pattern):
        matches = _matches(place, out)
        if not matches:
            raise UsageError(f"{place.shown} matches no picture and no video")
        return matches
    if not pattern.endswith("/"):
        stat = place.stat()
        if stat is not None and not _is_folder(place):
            name = PurePosixPath(urlsplit(place.shown).path).name
            return [Item(place, (unquote(name) if place.web else name) or "file", stat)]
        if stat is None and place.web:
            raise InputError(f"{place.shown} is not there, or its server does not answer (the address of a folder ends in /)")
    inside = _inside(place, recursive, out)
    if not inside:
        raise InputError(f"{place.shown} has no pictures or videos in it, or is not there")
    return inside


def _here(path: Path, within: Path) -> Item:
    known = stamp(path)
    return Item(Location(str(path.absolute())), (within / path.name).as_posix(),
                Stat(known.get("size"), str(known["mtime_ns"]) if known else None))


def _is_folder(place: Location) -> bool:
    return not place.web and place.system.isdir(place.path)


def _inside(place: Location, recursive: bool, out: Location | None) -> list[Item]:
    top = Location(place.url.rstrip("/") + "/")
    files = dict(_linked(top, recursive)) if place.web else _stored(top, top.files(), recursive)
    return _ordered(top, files, out)


def _stored(top: Location, files: Mapping[str, Mapping[str, Any]], recursive: bool) -> dict[str, Any]:
    """The files below the folder, by their names within it."""
    root = top.path.rstrip("/") + "/"
    names = {str(name)[len(root):]: info for name, info in files.items() if str(name).startswith(root)}
    return {name: info for name, info in names.items() if recursive or "/" not in name}


def _linked(top: Location, recursive: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the pages of a web server link to below the first one, by address within it."""
    root = top.url
    waiting, seen = [root], {root}
    while waiting and len(seen) < _PAGES:
        page = Location(waiting.pop(0))
        with page._reading():
            links = page.system.ls(page.path, detail=False)
        for link in links:
            address = urljoin(page.url, str(link))
            # Links that sort the page, and those that lead elsewhere.
            if not address.startswith(root) or address in seen or re.search("[?#]", address):
                continue
            seen.add(address)
            if address.endswith("/"):
                if recursive and not _hidden(address[len(root):]):
                    waiting.append(address)
            else:
                yield address[len(root):], {}


def _matches(place: Location, out: Location | None) -> list[Item]:
    before = re.split(r"[*?\[]", place.url, maxsplit=1)[0]
    top = Location(before[:before.rfind("/") + 1])
    with place._reading():
        found = place.system.glob(place.path, detail=True)
    if place.web:
        names = {str(name).removeprefix(top.url): {} for name in found if str(name).startswith(top.url)}
    else:
        names = _stored(top, {name: info for name, info in found.items() if info.get("type") != "directory"}, True)
    return _ordered(top, names, out)


def _ordered(top: Location, files: Mapping[str, Mapping[str, Any]], out: Location | None) -> list[Item]:
    items = []
    for name, info in files.items():
        shown = unquote(name) if top.web else name
        place = top.child(name)
        if (PurePosixPath(shown).suffix.lower() not in PICTURES | VIDEOS or _hidden(shown) or ".." in shown.split("/")
                or (out is not None and place.url.startswith(out.url.rstrip("/") + "/"))):
            continue
        stat = stat_of(info) if info else (place.stat() or Stat())
        items.append(Item(place, shown, stat))
    return sorted(items, key=lambda item: (str(PurePosixPath(item.name).parent), natural(Path(item.name))))


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _told_apart(items: list[Item]) -> list[Item]:
    """Names that several have, also where large letters count as small ones, get a mark of their place each, whatever
    the order in which they are given."""
    def key(item: Item) -> str:
        return unicodedata.normalize("NFC", item.name).casefold()

    often = Counter(map(key, items))
    return [item if often[key(item)] == 1 else
            replace(item, name=f"{item.name}~{hashlib.sha256(item.place.shown.encode()).hexdigest()[:8]}")
            for item in items]
