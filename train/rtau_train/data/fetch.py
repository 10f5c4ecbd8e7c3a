"""Gets the open parts that training data are made of, checks them and packs them.

Downloads lie under `<out>/.downloads` as they came and can be deleted afterwards; what is packed
lies under `<out>/faces` and `<out>/ict_facekit`, with licences beside. The public repositories
could not be reached where this was written: their addresses come from indexes of them, and what
arrives is judged by what it holds (`fingerprint.py`), not by where it came from.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
import urllib.error
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from rtau.cache import open_https, why_not_safe
from rtau.errors import InputError, OutputError, UsageError
from rtau.sinks.paths import replaced

from .pack import pack_portraits, pack_rig

log = logging.getLogger(__name__)

LISTING = Path(__file__).parent / "parts.json"
_HOME = "https://raw.githubusercontent.com"
_TRIES, _TIMEOUT = 4, 30.0
_CHUNK = 1 << 16
#: Bytes of one file at most.
_MOST = 500_000_000
_SUMS = "checksums.json"

#: Called with bytes that are there and bytes that there will be (an estimate until all sizes are known).
Report = Callable[[int, int], None]


def fetch(out: str | Path, *, parts: Sequence[str] | None = None, mirror: str | None = None,
          report: Report | None = None, listing: Path = LISTING, timeout: float = _TIMEOUT, pause: float = 1.0) -> None:
    """Bring the open portraits and the face rig into a folder.

    What is there and whole is not fetched again; an interrupted call goes on where it stopped.

    Args:
        out: gets `faces/`, `ict_facekit/` and `checksums.json`.
        parts: names in the listing, all by default.
        mirror: a folder or URL with files at `<owner>/<repository>/<ref>/<path>`, in place of GitHub's raw files.
        listing: what there is to fetch, with fingerprints; see `parts.json`.
        timeout: seconds without a byte after which a connection counts as dead.
        pause: seconds before the first new try; doubled each time.

    Raises:
        UsageError: no part of that name. InputError: a file can't be had, or is not what it should be.
        OutputError: the disk is full, or the folder can't be written.
    """
    out = Path(out)
    listed = json.loads(listing.read_text(encoding="utf-8"))
    unknown = sorted(set(parts or ()) - set(listed))
    if unknown:
        raise UsageError(f"there is no part {unknown[0]!r}: choose from {', '.join(listed)}")
    if mirror is not None and "://" in mirror and (why := why_not_safe(mirror)) is not None:
        raise UsageError(f"--mirror {mirror}: {why}")
    chosen = {name: listed[name] for name in (parts or listed)}
    try:
        out.mkdir(parents=True, exist_ok=True)
        store = _Store(out, mirror or _HOME, timeout, pause, report, sum(p["bytes"] for p in chosen.values()))
        for name, part in chosen.items():
            _fetch_part(store, name, part, out)
    except OSError as error:
        raise OutputError(f"{out} can't be written: {error.strerror or error}; what is complete stays") from error


def _fetch_part(store: _Store, name: str, part: dict[str, Any], out: Path) -> None:
    licence = None
    for candidate in part["licence_files"]:
        licence = store.get(part, candidate, missing=candidate != part["licence_files"][-1])
        if licence is not None:
            break
    if licence is None:
        raise InputError(f"{name}: {part['repository']} holds no licence file ({', '.join(part['licence_files'])}); "
                         "nothing without a licence is used")
    files = {path: store.get(part, path) for path in part["files"]}
    found = {path: file for path, file in files.items() if file is not None}
    place = out / _inside(part["folder"])
    place.mkdir(parents=True, exist_ok=True)
    if part["kind"] == "rig":
        pack_rig(found, part, place)
    else:
        pack_portraits(found, part, place)
    _copy(licence, place / "LICENSE.txt")
    with replaced(place / "ORIGIN.md") as file:
        file.write(part["origin"] + "\n")


def _copy(source: Path, target: Path) -> None:
    with replaced(target, "wb") as file:
        file.write(source.read_bytes())


def _inside(path: str) -> PurePosixPath:
    """A path of the listing, which may not leave the folder."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts or "\\" in path or ":" in path:
        raise InputError(f"the listing names {path!r}, which leads out of the folder")
    return pure


@dataclass
class _Store:
    """Downloads, kept with their SHA-256."""

    out: Path
    home: str
    timeout: float
    pause: float
    report: Report | None
    expected: int
    there: int = 0

    def __post_init__(self) -> None:
        try:
            self.sums: dict[str, str] = json.loads((self.out / _SUMS).read_text(encoding="utf-8"))
        except FileNotFoundError:
            self.sums = {}
        except ValueError:
            raise InputError(f"{self.out / _SUMS} is damaged: delete it, and the files are fetched anew") from None

    def get(self, part: dict[str, Any], path: str, *, missing: bool = False) -> Path | None:
        """The file as it came; None when it isn't there and may be `missing`."""
        key = f"{part['repository']}/{_inside(path)}"
        file = self.out / ".downloads" / _inside(key)
        wanted = part.get("sha256", {}).get(path) or self.sums.get(key)
        if file.is_file():
            if wanted == _sha256(file):
                self._tell(file.stat().st_size)
                return file
            log.info("%s is not what it was; fetching it again", key)
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(file.name + ".part")
        if not self._download(part, path, partial, missing):
            return None
        got = _sha256(partial)
        if wanted and got != wanted:
            partial.unlink()
            raise InputError(f"{key} came with SHA-256 {got[:12]}..., {wanted[:12]}... was expected: the source has "
                             f"changed or the download is damaged; try again, or another --mirror")
        os.replace(partial, file)
        self.sums[key] = got
        with replaced(self.out / _SUMS) as sums:
            sums.write(json.dumps(self.sums, indent=1, sort_keys=True) + "\n")
        return file

    def _download(self, part: dict[str, Any], path: str, target: Path, missing: bool) -> bool:
        quoted = urllib.parse.quote(path)
        for ref in part["refs"]:
            where = f"{self.home.rstrip('/')}/{part['repository']}/{ref}/{quoted}"
            if "://" not in self.home:
                local = Path(self.home) / part["repository"] / ref / path
                if not local.is_file():
                    continue
                self._save(_pieces(open(local, "rb")), target)
                return True
            if self._over_network(where, target):
                return True
        if missing:
            return False
        raise InputError(f"{self.home} has no {part['repository']}/{path}; look at --mirror, or get a newer rtau")

    def _over_network(self, url: str, target: Path) -> bool:
        """False when the server says that there is no such file."""
        before = self.there
        for number in range(_TRIES):
            try:
                with open_https(url, timeout=self.timeout) as answer:
                    length = answer.headers.get("Content-Length")
                    size = self._save(_pieces(answer), target)
                if length is None or int(length) == size:
                    return True
                reason = f"only {size} of {length} bytes came"
            except urllib.error.HTTPError as error:
                if error.code in (404, 410):
                    return False
                reason = f"the server answers {error.code}"
            except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
                reason = str(getattr(error, "reason", error)) or type(error).__name__
            self.there = before
            if number + 1 < _TRIES:
                log.info("%s: %s; trying again", url, reason)
                time.sleep(self.pause * 2**number)
        raise InputError(f"{url} can't be fetched ({reason}); what is complete stays, try again later")

    def _save(self, pieces: Iterator[bytes], target: Path) -> int:
        size = 0
        with open(target, "wb") as handle:
            for piece in pieces:
                handle.write(piece)
                size += len(piece)
                if size > _MOST:
                    raise InputError(f"{target.name.removesuffix('.part')} is larger than {_MOST} bytes, which none of "
                                     "these files is: look at --mirror")
                self._tell(len(piece))
        return size

    def _tell(self, more: int) -> None:
        self.there += more
        if self.report is not None:
            self.report(self.there, max(self.expected, self.there))


def _pieces(source: Any) -> Iterator[bytes]:
    with source:
        while piece := source.read(_CHUNK):
            yield piece


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as handle:
        for piece in iter(lambda: handle.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()
