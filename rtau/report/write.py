"""From a table to its page: finds the facts and the video, cuts the pictures, writes the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..au import are_attributes
from ..errors import InputError, UsageError
from ..sinks.paths import replaced
from ..source import is_picture
from .clip import Clip, make_clip
from .contents import STILL_PICTURES, contents, gather, still_rows
from .exports import check_target
from .facts import made_from, provenance, read_facts, weak_aus
from .page import write_page
from .pictures import choose_peaks, cut_from_stills, cut_from_video, find_source
from .reading import reading
from .statistics import FaceStatistics
from .table import Table, read_table


@dataclass(frozen=True)
class Report:
    """A report that was written.

    Attributes:
        path: the page.
        size: its bytes.
        pictures: how many pictures of faces it holds.
        clip: bytes of the video it holds, 0 without one.
        notes: what it tells the reader first.
    """

    path: Path
    size: int
    pictures: int
    clip: int
    notes: tuple[str, ...]


def report_path(table: str | Path) -> Path:
    """Where the report of a table goes unless told otherwise: `aus.csv` -> `aus.report.html`."""
    return Path(table).with_suffix(".report.html")


def write_report(table: Table | str | Path, out: str | Path, *, video: str | Path | None = None,
                 with_video: bool = False, overwrite: bool = False) -> Report:
    """Write the page about a table.

    Args:
        table: a table, or the file to read it from; the facts beside it are used if they are there.
        out: the page to write.
        video: the video, picture or folder of pictures that the table was made from; by default what the facts name,
            and a page without pictures if that is not there.
        with_video: also put the video into the page, small and without sound.
        overwrite: replace a file that exists.

    Raises:
        InputError: the table, or the video that was named, can't be read.
        UsageError: `with_video` without a video.
        OutputError: the page exists, or can't be written.
    """
    out = Path(out)
    check_target(out, overwrite)
    if not isinstance(table, Table):
        table = read_table(table)
    facts, missing = read_facts(table.path)
    named = made_from(facts)
    source = Path(video) if video is not None else find_source(table, named)
    faces, notes = gather(table)
    clip = _clip(table, source) if with_video else None
    pictures, without = _pictures(table, faces, source, named, asked=video is not None)
    weak = weak_aus(facts)
    data, simpler = contents(table, faces, pictures, weak or {})
    if clip is not None:
        simpler.append(f"The video in this page is {clip.width}x{clip.height}, without sound, and takes "
                       f"{len(clip.data) / 1e6:.1f} MB; it is for orientation, the numbers are from the original.")
    notes = [*_warnings(table, facts, missing), *notes, *simpler, *([without] if without else [])]
    title = _title(table, facts, named)
    with replaced(out, errors="replace") as file:
        thing = "attribute" if are_attributes(table.aus) else "Action Unit"
        write_page(file, thing=thing, title=title, headline=_headline(table), notes=notes, reading=reading(table, weak),
                   provenance=[("table", table.path.name), *provenance(facts)], data=data, clip=clip)
    return Report(out, out.stat().st_size, len(pictures), len(clip.data) if clip else 0, tuple(notes))


def _clip(table: Table, source: Path | None) -> Clip:
    if source is None:
        raise UsageError("the video for --with-video was not found: name it with --video")
    if table.still:
        raise UsageError("--with-video is for tables of a video, and this one is of pictures")
    return make_clip(source, max(0.0, float(table.times[0])), float(table.times[-1]))


def _pictures(table: Table, faces: Sequence[FaceStatistics], source: Path | None, named: Sequence[str], *, asked: bool
              ) -> tuple[dict[tuple[int, int], str], str | None]:
    """Pictures by face and row, and a line on those that are missing."""
    if not faces:
        return {}, None
    if table.still and (table.inputs or (source is not None and source.is_file() and is_picture(source))):
        rows = [(at, row) for at, row in still_rows(table) if row >= 0][:STILL_PICTURES]
        names = [table.inputs[at] if table.inputs else str(source) for at, _ in rows]
        boxes = [faces[0].rows.boxes[row] for _, row in rows]
        folder = source if asked and source is not None and source.is_dir() else None
        cut = cut_from_stills(table, zip(names, boxes, strict=True), folder)
        pictures = {(0, row): url for (_, row), url in zip(rows, cut, strict=True) if url is not None}
        short = len(rows) - len(pictures)
        if not short:
            return pictures, None
        return pictures, f"{short} of {len(rows)} faces have no picture here: their files were not found by name."
    if source is None:
        where = f" ({Path(named[0]).name})" if len(named) == 1 else ""
        return {}, f"The video{where} was not found, so there are no pictures: name it with --video."
    chosen = [(0, row) for _, row in still_rows(table) if row >= 0] if table.still else choose_peaks(table, faces)
    try:
        pictures = cut_from_video(table, source, faces, chosen)
    except InputError:
        if asked:
            raise
        return {}, f"{source.name} can't be read as a video, so there are no pictures."
    short = len(chosen) - len(pictures)
    if not short:
        return pictures, None
    return pictures, (f"{short} of {len(chosen)} peaks have no picture: {source.name} has no frame of that time. Is it "
                      "the video that the table was made from?")


def _warnings(table: Table, facts: Mapping[str, Any], missing: str | None) -> list[str]:
    lines = []
    if not table.faces:
        lines.append(f"No face was found in any of the {len(table.times):,} frames.")
    if table.cut:
        lines.append("The table ends within a line, which is left out: it was cut off, or not written to its end.")
    if facts.get("complete") is False:
        lines.append(f"The run was not complete: {facts.get('error') or 'it was stopped'}.")
    if isinstance(facts.get("rows"), int) and not table.cut:
        rows = sum(map(len, table.faces)) + _faceless(table)
        if rows != facts["rows"]:
            lines.append(f"The facts beside the table speak of {facts['rows']:,} rows, and it has {rows:,}: they may "
                         "belong to another run.")
    if missing:
        lines.append(missing)
    return lines


def _faceless(table: Table) -> int:
    """Frames without a face; each has one row."""
    return len(table.times) - len({int(at) for face in table.faces for at in face.at})


def _title(table: Table, facts: Mapping[str, Any], named: Sequence[str]) -> str:
    source = facts.get("source")
    name = source.get("name") if isinstance(source, Mapping) else None
    return str(name or (named[0] if len(named) == 1 else "") or table.path.name)


def _headline(table: Table) -> str:
    frames, count = len(table.times), len(table.faces)
    faces = f"{count or 'no'} face{'s' * (count != 1)}"
    away = _faceless(table)
    if table.still:
        pictures = f"{frames} picture{'s' * (frames != 1)}" if table.inputs else "one frame"
        return f"{pictures}, {faces}" + (f"; {away} without a face" if away and frames > 1 else "")
    first, last = float(table.times[0]), float(table.ends[-1])
    length = last - first
    minutes = f"{int(length) // 60} min {length % 60:.1f} s" if length >= 60 else f"{length:.2f} s"
    gaps = int(table.gaps[:-1].sum())
    return (f"{minutes} (from {first:g} s), {frames:,} frames, {faces}; no face in {100 * away / frames:.1f} % of the "
            f"frames" + (f"; {gaps} pauses in the recording" if gaps else ""))
