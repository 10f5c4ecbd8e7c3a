"""Finds the face in each picture of a corpus and writes it, aligned and with its points, into tars.

The result depends on the corpus and the settings alone, not on the number of processes or on interruptions. Rows are
worked on in runs: some pictures, or some frames of one video, which are followed from one to the next.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rtau import __version__
from rtau.errors import InputError, UsageError

from ..puppet.workers import Crew, encode
from .cropper import SKIP, Cropper, CropSettings
from .crops import HEADER, SKIPPED, STEM, write_index
from .draft import drop_missing
from .faces import Listing
from .tars import PARTIAL, Encoded, Tars, alone, write_whole

log = logging.getLogger(__name__)

_QUALITY = 95
#: Rows in a process's hands at a time: pictures, and frames of one video.
_RUN, _TAKE = 16, 256

#: Called with the rows that are done and those that there are.
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Aligned:
    """What `align` did: rows of the corpus, faces written, pictures without one, and rows done by this call."""

    count: int
    faces: int
    skipped: int
    made: int


def align(listing: Listing, out: str | Path, *, source: str = "", kind: str = "", size: int = 160,
          margin: float = 0.25, face: Literal["largest", "middle"] = "largest", jobs: int = 1, per_shard: int = 1000,
          strict: bool = False, careful: bool = False, detector: str = "auto", detector_model: Path | None = None,
          report: Report | None = None) -> Aligned:
    """Align a corpus into a folder, in the form that `crops` tells; one that was interrupted goes on where it stopped.

    Args:
        listing: the pictures. What can't be read, or shows no face, goes into `skipped.csv` with the reason.
        out: the folder, made if need be.
        source, kind: of the corpus, noted in the header.
        size: side in pixels at which the face is aligned as at inference.
        margin: what the crop shows beyond that on each side, in shares of `size`.
        face: which one where there are several; in a video, the one chosen first is kept while it is followed.
        jobs: processes.
        per_shard: rows to a tar.
        strict: stop at the first picture that is not there, can't be read or shows no face.
        careful, detector, detector_model: see `CropSettings`.
        report: hears of progress.

    Raises:
        UsageError: the folder was made with other settings or from another corpus; or a number is out of range.
        InputError: with `strict`, as said there; or no picture shows a face.
        OutputError: the folder can't be written.
        RenderError: a process died.
        KeyboardInterrupt: as it came; what is complete stays.
    """
    out = Path(out)
    if not (32 <= size <= 1024 and 0 <= margin <= 1 and jobs >= 1 and per_shard >= 1):
        raise UsageError("size must be 32 to 1024 pixels, margin 0 to 1, jobs and per_shard at least 1")
    if not len(listing):
        raise InputError(f"{source or 'the listing'} holds no pictures")
    if strict:
        drop_missing(listing, source, strict=True)
    settings = CropSettings(size, round(margin * size), face, careful, detector, detector_model)
    listing = listing[_in_order(listing)]
    header = {"rtau": __version__, "kind": kind, "source": source, "names": list(listing.names),
              "graded": listing.graded, "count": len(listing), "per_shard": per_shard, "size": size,
              "pad": settings.pad, "side": settings.side, "face": face, "careful": careful, "quality": _QUALITY,
              **settings.tools(), "corpus": _digest(listing)}
    with alone(out, "aligning into it"):
        _agree(out, header)
        skipped = _read_skipped(out)
        target = Tars(out, len(listing), per_shard, without=skipped, stem=STEM)
        missing = target.missing()
        for part in missing:
            skipped = {row: reason for row, reason in skipped.items() if row not in part}
        made, there = 0, len(listing) - sum(map(len, missing))
        if report is not None:
            report(there, len(listing))
        runs = [run for part in missing for run in _runs(listing, part)]
        maker = partial(Cropper, listing, settings)
        with contextlib.closing(target):
            for run, samples in _work(maker, runs, jobs, settings.side):
                for index, sample in zip(run, samples, strict=True):
                    if sample[1].startswith(SKIP):
                        skipped[index] = json.loads(sample[1])["skipped"]
                        if strict:
                            raise InputError(f"{listing.source[index]}: {skipped[index]}")
                        sample = None
                    if (index + 1) % per_shard == 0 or index + 1 == len(listing):
                        _write_skipped(out, listing, skipped)  # before the tar has its name, so that it says why
                    target.add(index, sample)
                made += len(run)
                if report is not None:
                    report(there + made, len(listing))
        faces = len(listing) - len(skipped)
        _write_header(out, {**header, "aligned": faces, "skipped": len(skipped)})
        write_index(out)
    if not faces:
        raise InputError(f"{source or out}: none of {len(listing)} pictures shows a face: {out / SKIPPED} says why")
    return Aligned(len(listing), faces, len(skipped), made)


def _work(make: Callable[[], Cropper], runs: list[range], jobs: int, side: int
          ) -> Iterator[tuple[range, Iterable[Encoded]]]:
    """The crops of each run, in order; black ones with a reason where there is no face."""
    if jobs == 1 and runs:
        cropper = make()
        for run in runs:
            yield run, (encode(*crop, size=side, quality=_QUALITY) for crop in cropper(run))
    elif runs:
        with Crew(make, workers=min(jobs, len(runs)), size=side, quality=_QUALITY) as crew:
            yield from crew.run(runs)


def _in_order(listing: Listing) -> np.ndarray:
    """Rows by file, in the order in which files come first, and by frame."""
    first: dict[Path, int] = {}
    place = [first.setdefault(file, len(first)) for file in listing.file]
    return np.lexsort((listing.frame, place))


def _runs(listing: Listing, part: range) -> Iterator[range]:
    """Runs of one tar's rows: some pictures, or some frames of one video."""
    start = part.start
    for index in range(part.start + 1, part.stop + 1):
        still = listing.frame[start] < 0
        if index < part.stop:
            same = listing.frame[index] < 0 if still else listing.file[index] == listing.file[start]
            if same and index - start < (_RUN if still else _TAKE):
                continue
        yield range(start, index)
        start = index


def _digest(listing: Listing) -> str:
    """A fingerprint of all that is known of the corpus, whatever folder it lies in."""
    text = json.dumps([list(listing.names), listing.subject.tolist(), listing.source.tolist(),
                       listing.frame.tolist()]).encode()
    return hashlib.sha256(b"\0".join((text, listing.labels.tobytes(), listing.intensity.tobytes()))).hexdigest()[:16]


# -- header and what was skipped -------------------------------------------------------------


def _agree(out: Path, header: Mapping[str, Any]) -> None:
    """Compare with what an earlier run into this folder was told, or begin."""
    file = out / HEADER
    if not file.exists():
        if any(inside.suffix != PARTIAL for inside in out.iterdir()):
            raise UsageError(f"{out} holds other files and no {HEADER}: choose an empty folder")
    else:
        try:
            before = json.loads(file.read_text(encoding="utf-8"))
            changed = [name for name in header if before.get(name) != header[name] and name not in ("rtau", "source")]
        except (ValueError, AttributeError, OSError) as error:
            raise UsageError(f"{file} can't be read ({type(error).__name__}): choose another folder") from error
        if set(changed) & {"corpus", "names", "count"}:
            raise UsageError(f"{out} was aligned from other pictures or labels: choose another folder")
        if changed:
            name = changed[0]
            raise UsageError(f"{out} was aligned with {name} {before.get(name)}, not {header[name]}: choose another "
                             f"folder, or the same {name}")
    _write_header(out, {**header, "aligned": None, "skipped": None})


def _write_header(out: Path, header: Mapping[str, Any]) -> None:
    write_whole(out / HEADER, (json.dumps(header, indent=1, ensure_ascii=False) + "\n").encode())


def _read_skipped(out: Path) -> dict[int, str]:
    """Row -> reason."""
    try:
        with open(out / SKIPPED, newline="", encoding="utf-8") as file:
            return {int(row["row"]): row["reason"] for row in csv.DictReader(file)}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, OSError, csv.Error) as error:
        log.warning("%s can't be read (%s): what it concerns is done again", out / SKIPPED, type(error).__name__)
        return {}


def _write_skipped(out: Path, listing: Listing, skipped: Mapping[int, str]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("row", "source", "subject", "reason"))
    for row, reason in sorted(skipped.items()):
        writer.writerow((row, listing.source[row], listing.subject[row], reason))
    write_whole(out / SKIPPED, text.getvalue().encode())
