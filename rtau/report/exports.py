"""The statistics as tables for other programs: one row per face and Action Unit, and one row per event.

Comma-separated, UTF-8; a number that there is none of is `NaN`. docs/report.md says what each column means.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..au import look_up
from ..errors import OutputError
from ..sinks.paths import exists_error, replaced
from .statistics import FaceStatistics, describe_face
from .table import Table

SUMMARY_COLUMNS = (
    "face_id", "au", "name", "scale", "frames", "frames_judged", "frames_present", "seconds_seen", "seconds_judged",
    "seconds_present", "present_share", "mean", "mean_present", "peak", "peak_timestamp", "peak_frame", "events",
    "events_per_minute", "event_mean_seconds", "event_longest_seconds")
EVENT_COLUMNS = ("face_id", "au", "name", "scale", "event", "onset", "apex", "offset", "duration", "peak", "apex_frame",
                 "onset_seen", "offset_seen")


def write_summary(table: Table, path: Path, *, overwrite: bool = False) -> int:
    """Write `SUMMARY_COLUMNS`, and before them `input` where the table has it, for every face and AU.

    Returns:
        How many rows.

    Raises:
        OutputError: the file exists, or can't be written.
    """
    head = (*(["input"] if table.inputs else []), *SUMMARY_COLUMNS)
    return _write(path, head, _summary_rows(table), overwrite)


def write_events(table: Table, path: Path, *, overwrite: bool = False) -> int:
    """Write `EVENT_COLUMNS` for every event of every face and AU; nothing but the header for stills.

    Returns:
        How many rows.

    Raises:
        OutputError: the file exists, or can't be written.
    """
    return _write(path, EVENT_COLUMNS, _event_rows(table), overwrite)


def _summary_rows(table: Table) -> Iterator[list[object]]:
    for found in _described(table):
        face = found.rows
        for one in found.aus:
            at = int(face.at[one.peak_row]) if one.peak_row >= 0 else -1
            seconds = [found.seen, one.judged, one.present]
            if table.still:  # a picture lasts no time
                seconds = [float("nan")] * 3
            yield [*([table.inputs[face.at[0]]] if table.inputs else []), face.face, one.au, look_up(one.au).name,
                   _scale(table), len(face), one.frames, one.frames_present, *map(_number, seconds),
                   _number(one.share), _number(one.mean), _number(one.mean_present), _number(one.peak),
                   _number(float(table.times[at]) if at >= 0 else float("nan")),
                   table.frames[at] if at >= 0 else "NaN", one.events, _number(one.rate), _number(one.event_mean),
                   _number(one.event_longest)]


def _event_rows(table: Table) -> Iterator[list[object]]:
    for found in _described(table):
        face = found.rows
        for au, events in zip(table.aus, found.events, strict=True):
            for i in range(len(events)):
                times = events.onset[i], events.apex[i], events.offset[i], events.durations[i], events.level[i]
                yield [face.face, au, look_up(au).name, _scale(table), i + 1, *(_number(float(v)) for v in times),
                       table.frames[face.at[events.row[i]]], int(events.begun[i]), int(events.ended[i])]


def _described(table: Table) -> Iterator[FaceStatistics]:
    for face in table.faces:
        yield describe_face(table, face)


def _scale(table: Table) -> str:
    return "intensity" if table.graded else "probability"


def _number(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".") if math.isfinite(value) else "NaN"


def _write(path: Path, head: Iterable[str], rows: Iterable[list[object]], overwrite: bool) -> int:
    check_target(path, overwrite)
    count = 0
    with replaced(path, newline="", errors="replace") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        for row in rows:
            writer.writerow(row)
            count += 1
    return count


def check_target(path: Path, overwrite: bool) -> None:
    """Make sure that a file may be written there.

    Raises:
        OutputError: it exists and `overwrite` is False, or is a folder.
    """
    if path.is_dir():
        raise OutputError(f"can't write {path}: that is a folder: give the name of a file")
    if path.exists() and not overwrite:
        raise exists_error(path)
