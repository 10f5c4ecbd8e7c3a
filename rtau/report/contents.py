"""What the page shows, as one plain structure: built from a table, bounded in size, with NaN as null."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..au import Label, are_attributes, look_up
from .curves import draw_curves, pack, share_bins
from .events import close_gaps, seen_spans, unjudged_spans
from .pictures import MOST
from .statistics import AuStatistics, FaceStatistics, all_faces, cooccurrence, describe_face
from .table import FaceRows, Table

#: Faces, events and stills that a page holds at most; the exported tables hold all.
FACES, EVENTS, STILLS, STILL_PICTURES = 24, 30_000, 1000, 3 * MOST
#: Spans of one kind, per AU, that are kept as they are; more are joined where they lie close.
_SPANS = 2000
#: AUs that the words below a picture name.
_NAMED = 4


def gather(table: Table) -> tuple[list[FaceStatistics], list[str]]:
    """The faces that the page shows, in the order in which they appear, and lines on what is left out."""
    if table.still:
        return ([describe_face(table, all_faces(table))] if table.faces else []), []
    longest = sorted(table.faces, key=lambda face: -float(table.durations[face.at].sum()))[:FACES]
    kept = {id(face) for face in longest}
    faces = [describe_face(table, face) for face in table.faces if id(face) in kept]
    left = len(table.faces) - len(faces)
    notes = []
    if left:
        notes.append(f"{left} more face{'s are' if left > 1 else ' is'} left out of this page, each seen for no longer "
                     "than those shown; the tables of --csv-summary and --csv-events hold all.")
    return faces, notes


def contents(table: Table, faces: Sequence[FaceStatistics], pictures: Mapping[tuple[int, int], str],
             weak: Mapping[Label, float]) -> tuple[dict[str, Any], list[str]]:
    """The page's data.

    Args:
        table: what it is about.
        faces: those to show, as `gather` gives them.
        pictures: data URL by place in `faces` and row of the face.
        weak: AUC of the AUs that are not read reliably.

    Returns:
        What JSON can hold, and lines on what was simplified.
    """
    notes: list[str] = []
    limit = _event_limit(faces)
    if limit > -np.inf:
        notes.append(f"The page holds the {EVENTS:,} strongest events and draws no others; --csv-events writes all.")
    bins = share_bins([len(face.rows) for face in faces])
    shown = [_face(table, face, place, pictures, count, limit)
             for place, (face, count) in enumerate(zip(faces, bins, strict=True))]
    widths = sorted({round(one["curves"]["bin"], 2) for one in shown if one["curves"] and one["curves"]["bin"]})
    if widths:
        span = f"{widths[0]:g}" + (f" to {widths[-1]:g}" if len(widths) > 1 else "")
        notes.append(f"The recording is long, so the curves show the least and the greatest value of each {span} s: "
                     "no peak is lost. Events and all numbers are computed from every frame.")
    data = {
        "kind": "stills" if table.still else "time", "graded": table.graded,
        "heading": "attribute" if are_attributes(table.aus) else "AU",
        "qualityName": "Picture quality" if table.rated else "Confidence in face",
        "aus": [{"au": au, "code": look_up(au).code, "short": au if isinstance(au, str) else f"{au:02d}",
                 "name": look_up(au).name, "colour": _colour(au), "weak": weak.get(au)} for au in table.aus],
        "begin": float(table.times[0]), "end": float(table.ends[-1]), "faces": shown, "clip": None,
        "stills": _stills(table, faces, pictures) if table.still else []}
    if table.still and len(table.times) > STILLS:
        notes.append(f"The page shows the first {STILLS:,} rows; the numbers below are of all.")
    return data, notes


def still_rows(table: Table) -> list[tuple[int, int]]:
    """The rows of a page of stills: place of the frame, and row of `all_faces` or -1 for a picture without one."""
    found = all_faces(table).at.tolist() if table.faces else []
    with_face = set(found)
    rows = [*((at, row) for row, at in enumerate(found)),
            *((at, -1) for at in range(len(table.times)) if at not in with_face)]
    return sorted(rows)[:STILLS]


def _face(table: Table, found: FaceStatistics, place: int, pictures: Mapping[tuple[int, int], str], bins: int | None,
          limit: float) -> dict[str, Any]:
    face = found.rows
    pairs = cooccurrence(face.present, table.durations[face.at])
    return {
        "id": face.face, "seen": found.seen,
        "spans": [] if table.still else _spans(table, seen_spans(table, face)),
        "curves": None if table.still else _curves(table, face, bins),
        "stats": [_numbers(table, face, one) for one in found.aus],
        "events": [[[round(float(e.onset[i]), 4), round(float(e.apex[i]), 4), round(float(e.offset[i]), 4),
                     round(float(e.level[i]), 3), int(e.begun[i]), int(e.ended[i])]
                    for i in np.flatnonzero(e.level > limit)] for e in found.events],
        **_unjudged(table, face),
        "pictures": [] if table.still else
        [{"time": float(table.times[face.at[row]]), "src": source, "words": _words(table, face, row),
          "peak": ", ".join(look_up(au).code for au, e in zip(table.aus, found.events, strict=True)
                            if len(e) and e.row[np.argmax(e.level)] == row)}
         for (whose, row), source in pictures.items() if whose == place],
        "pairs": {name: [_plain(line, 4) for line in getattr(pairs, name).tolist()]
                  for name in ("judged", "both", "jaccard", "phi")}}


def _curves(table: Table, face: FaceRows, bins: int | None) -> dict[str, Any]:
    curves = draw_curves(table, face, bins)
    return {"times": pack(curves.times), "high": pack(curves.high),
            "low": None if curves.low is curves.high else pack(curves.low), "breaks": curves.breaks.tolist(),
            "bin": curves.bin}


def _numbers(table: Table, face: FaceRows, one: AuStatistics) -> dict[str, Any]:
    at = int(face.at[one.peak_row]) if one.peak_row >= 0 else -1
    values = {"share": one.share, "mean": one.mean, "meanPresent": one.mean_present, "peak": one.peak, "rate": one.rate,
              "eventMean": one.event_mean, "eventLongest": one.event_longest, "judged": one.judged,
              "present": one.present, "peakTime": float(table.times[at]) if at >= 0 else float("nan")}
    return {**dict(zip(values, _plain(values.values(), 4), strict=True)), "frames": one.frames,
            "framesPresent": one.frames_present, "events": one.events,
            "peakName": Path(table.inputs[at]).name if table.inputs and at >= 0 else None}


def _unjudged(table: Table, face: FaceRows) -> dict[str, Any]:
    """Spans per AU; AUs of one region share theirs, and so are kept once."""
    if table.still:
        return {"unjudged": [], "unjudgedOf": []}
    kept: dict[bytes, int] = {}
    spans, which = [], []
    for column in range(len(table.aus)):
        key = np.packbits(face.present[:, column] < 0).tobytes()
        if key not in kept:
            kept[key] = len(spans)
            spans.append(_spans(table, unjudged_spans(table, face, column)))
        which.append(kept[key])
    return {"unjudged": spans, "unjudgedOf": which}


def _spans(table: Table, spans: np.ndarray) -> list[list[float]]:
    if len(spans) > _SPANS:
        spans = close_gaps(spans, float(table.ends[-1] - table.times[0]) / _SPANS)
    return np.round(spans, 4).tolist()


def _event_limit(faces: Sequence[FaceStatistics]) -> float:
    """Above which level an event is on the page: all, unless there are too many."""
    levels = np.concatenate([np.zeros(0), *(e.level for face in faces for e in face.events)])
    return float(np.partition(levels, -EVENTS)[-EVENTS]) if len(levels) > EVENTS else -np.inf


def _words(table: Table, face: FaceRows, row: int) -> str:
    """What a face shows in one picture, strongest first."""
    on = [int(c) for c in np.argsort(-np.nan_to_num(face.level[row], nan=-1.0), kind="stable")
          if face.present[row, c] == 1][:_NAMED]
    return ", ".join(f"{look_up(table.aus[c]).code} " + (
        f"{face.level[row, c]:.1f}" if table.graded else f"{100 * face.level[row, c]:.0f} %") for c in on)


def _stills(table: Table, faces: Sequence[FaceStatistics], pictures: Mapping[tuple[int, int], str]
            ) -> list[dict[str, Any]]:
    whole = faces[0].rows if faces else None
    rows = []
    order: dict[int, list[int]] = {}  # ids of the faces of each picture, as `all_faces` has them
    for face in table.faces:
        for at in face.at.tolist():
            order.setdefault(at, []).append(face.face)
    for at, row in still_rows(table):
        name = table.inputs[at] if table.inputs else table.path.name
        one: dict[str, Any] = {"name": name, "short": Path(name).name or name, "face": None, "levels": None,
                               "present": None, "picture": None}
        if whole is not None and row >= 0:
            one.update(face=order[at].pop(0), picture=pictures.get((0, row)),
                       present=(whole.present[row] == 1).astype(int).tolist(),
                       levels=_plain(whole.level[row].tolist(), 3))
        rows.append(one)
    return rows


def _plain(values: Iterable[float], digits: int) -> list[float | None]:
    """Numbers for JSON, which has no word for NaN."""
    return [round(value, digits) if math.isfinite(value) else None for value in values]


def _colour(au: Label) -> str:
    return "#{:02x}{:02x}{:02x}".format(*look_up(au).colour)
