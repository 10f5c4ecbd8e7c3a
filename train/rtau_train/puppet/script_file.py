"""Scripts that a user wrote: TOML with events, or CSV with the intensity of each AU over time.

A TOML file:

    seconds = 10              # how long; by default a second more than the last event
    seed = 4                  # for the blinks, the speech and all else that is drawn
    blinks = 1.0              # 1 is usual, 0 none; so are head, gaze and tremor
    speech = 0.0              # share of the time

    [[event]]
    au = 12                   # 45 is a blink
    intensity = 3             # 0..5, or level = 0..1 of the strongest form
    side = "both"             # the subject's "left" or "right"
    start = 1.0               # seconds
    onset = 0.4
    apex = 1.0
    offset = 0.6

A CSV file has a column `time` (or `timestamp`), seconds, and columns such as `AU12`, `AU12_r`, `AU12_left`
or `AU12_right` with intensities 0..5; straight lines join them, and empty cells and NaN are passed over.
Tables that rtau wrote are read too: of their other columns nothing is taken.
"""

from __future__ import annotations

import csv
import logging
import math
import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from rtau.au import AUS as READ_AUS
from rtau.errors import InputError, UsageError
from rtau.sinks import COLUMN_GROUPS, column_names

from .curves import BLINK, SIDELESS, Event, Script, Track, activation_of, exclude
from .habits import Habits, draw_motions
from .sample import AUS

log = logging.getLogger(__name__)

LONGEST = 3600.0  # seconds; a slip of the keyboard should not fill the disk
_SIDES = {"both": (1.0, 1.0), "left": (1.0, 0.0), "right": (0.0, 1.0)}
_SHAPE = {"onset": 0.4, "apex": 0.8, "offset": 0.6}
_BLINK_SHAPE = {"onset": 0.08, "apex": 0.03, "offset": 0.15}
_BRIEFEST = 0.02  # seconds of an onset or offset: nothing in a face is faster
_HEADER = re.compile(r"\s*\[\[\s*event\s*\]\]")
_AU_COLUMN = re.compile(r"AU0*(\d{1,2})(?:_(r|left|right))?", re.IGNORECASE)
_OTHER_COLUMNS = {name.lower() for name in column_names((*READ_AUS, BLINK), COLUMN_GROUPS, with_input=True)}


def read_script(path: str | Path, *, seconds: float | None = None, seed: int = 0) -> Script:
    """Read a script.

    Args:
        path: `.toml` or `.csv`, see the module.
        seconds: how long, in place of what the file says.
        seed: for what is drawn, where the file gives none.

    Raises:
        InputError: the file can't be read, or is no such file; file and line are named.
        UsageError: it asks for something impossible; file and line are named.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".toml", ".csv"):
        raise UsageError(f"{path}: a script is a .toml or a .csv file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text in UTF-8") from None
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror or error}") from None
    if seconds is not None and not 0 < seconds <= LONGEST:
        raise UsageError(f"a script lasts more than 0 and at most {LONGEST:g} seconds, not {seconds:g}")
    return (_read_toml if suffix == ".toml" else _read_csv)(path, text, seconds, seed)


# -- TOML ------------------------------------------------------------------------------------


def _read_toml(path: Path, text: str, seconds: float | None, seed: int) -> Script:
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: {error}") from None
    lines = text.splitlines()
    top = _Table(path, lines, 0, values)
    habits = Habits(**{f.name: top.number(f.name, f.default, 0, 1 if f.name == "speech" else 10)
                       for f in fields(Habits)})
    given = values.pop("event", [])
    if not isinstance(given, list) or not all(isinstance(event, dict) for event in given):
        raise top.wrong("event", "write each event as a table [[event]]")
    headers = [number for number, line in enumerate(lines) if _HEADER.match(line)]
    tables = [_Table(path, lines, headers[k] if k < len(headers) else top.line("event"), event)
              for k, event in enumerate(given)]
    events = [_event(table) for table in tables]
    last = max((event.end for event in events), default=0.0)
    length = top.number("seconds", min(last + 1, LONGEST), 0.1, LONGEST)
    own_seed = top.number("seed", seed, 0, 2**63)
    top.finish()
    for table, event in zip(tables, events, strict=True):
        other = next((other for other in events if exclude(event.au, other.au)
                      and other.start < event.end and event.start < other.end), None)
        if other is not None:
            log.warning("%s: AU %d and AU %d at once look like no face", table.place("au"), event.au, other.au)
    return _finish(path, seconds or length, int(own_seed), habits, tuple(events), ())


def _event(table: _Table) -> Event:
    au = int(table.number("au", None, 1, 99, whole=True))
    if au not in (*AUS, BLINK):
        raise table.wrong("au", f"AU {au} can't be performed; choose from {', '.join(map(str, (*AUS, BLINK)))}")
    side = table.values.pop("side", "both")
    if side not in _SIDES:
        raise table.wrong("side", f"side is {side!r}; choose from {', '.join(_SIDES)}")
    if side != "both" and au in SIDELESS:
        raise table.wrong("side", f"AU {au} has no sides")
    if "level" in table.values and "intensity" in table.values:
        raise table.wrong("level", "give level or intensity, not both")
    if "level" in table.values:
        level = table.number("level", None, 0, 1)
    else:
        level = activation_of(au, table.number("intensity", 5 if au in (43, BLINK) else None, 0, 5))
    shape = _BLINK_SHAPE if au == BLINK else _SHAPE
    times = {name: table.number(name, value, 0 if name == "apex" else _BRIEFEST, LONGEST)
             for name, value in shape.items()}
    event = Event(au, table.number("start", None, 0, LONGEST), **times,
                  levels=tuple(level * share for share in _SIDES[side]))
    table.finish()
    return event


class _Table:
    """One table of a TOML file, whose mistakes are told with their line."""

    def __init__(self, path: Path, lines: list[str], first: int, values: dict[str, Any]) -> None:
        self.path, self.values, self._lines, self._first = path, values, lines, first

    def line(self, key: str) -> int:
        """The line, counted from 0, that sets `key`; the table's first if there is none."""
        own = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=|.*[{{,]\s*{re.escape(key)}\s*=")
        for number in range(self._first, len(self._lines)):
            if number > self._first and self._lines[number].lstrip().startswith("["):
                break
            if own.match(self._lines[number]):
                return number
        return self._first

    def place(self, key: str) -> str:
        """File and line of `key`."""
        return f"{self.path}, line {self.line(key) + 1}"

    def wrong(self, key: str, what: str) -> UsageError:
        """The error to raise for `key`."""
        return UsageError(f"{self.place(key)}: {what}")

    def number(self, key: str, default: float | None, low: float, high: float, *, whole: bool = False) -> float:
        """Take a number out of the table."""
        value = self.values.pop(key, default)
        if value is None:
            raise self.wrong(key, f"{key} is missing")
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not low <= value <= high:
            kind = "a whole number" if whole else "a number"
            raise self.wrong(key, f"{key} is {value!r}; it must be {kind} from {low:g} to {high:g}")
        return value

    def finish(self) -> None:
        """Nothing may be left over."""
        for key in self.values:
            raise self.wrong(key, f"unknown setting {key!r}")


# -- CSV -------------------------------------------------------------------------------------


def _read_csv(path: Path, text: str, seconds: float | None, seed: int) -> Script:
    rows = csv.reader(text.splitlines())
    try:
        header = [name.strip() for name in next(rows, [])]
        columns = _columns(path, header)
        times: list[float] = []
        cells: list[list[float]] = []
        for row in rows:
            if not row or not "".join(row).strip():
                continue
            where = f"{path}, line {rows.line_num}"
            if len(row) != len(header):
                raise InputError(f"{where}: {len(row)} fields where the first line has {len(header)}")
            time = _number(where, header[columns["time"]], row[columns["time"]], 0, LONGEST)
            if math.isnan(time) or (times and time <= times[-1]):
                raise InputError(f"{where}: time {row[columns['time']]!r} is not after the one before it")
            times.append(time)
            cells.append([_number(where, header[column], row[column], 0, 5) for column, *_ in columns["aus"]])
    except csv.Error as error:
        raise InputError(f"{path}, line {rows.line_num}: {error}") from None
    if not times:
        raise InputError(f"{path}, line 1: no row follows the names of the columns")
    table = np.array(cells)
    tracks = []
    for (_, au, side), values in zip(columns["aus"], table.T, strict=True):
        known = ~np.isnan(values)
        if known.any():
            level = tuple(activation_of(au, value) for value in values[known])
            nothing = (0.0,) * len(level)
            tracks.append(Track(au, tuple(np.array(times)[known].tolist()), level if side != "right" else nothing,
                                level if side != "left" else nothing))
    lids = any(track.au in (43, BLINK) for track in tracks)
    return _finish(path, seconds or max(times[-1], 0.1), seed, Habits(blinks=0.0 if lids else 1.0), (), tuple(tracks))


def _columns(path: Path, header: list[str]) -> dict[str, Any]:
    where = f"{path}, line 1"
    found: list[tuple[int, int, str]] = []
    time = None
    for column, name in enumerate(header):
        match = _AU_COLUMN.fullmatch(name)
        if name.lower() in ("time", "timestamp"):
            time = column
        elif match:
            au, side = int(match[1]), {"left": "left", "right": "right"}.get((match[2] or "").lower(), "both")
            if au not in (*AUS, BLINK):
                raise UsageError(f"{where}: AU {au} can't be performed; choose from "
                                 f"{', '.join(map(str, (*AUS, BLINK)))}")
            if side != "both" and au in SIDELESS:
                raise UsageError(f"{where}: AU {au} has no sides, so there can be no column {name!r}")
            if any(au == other and (side == which or "both" in (side, which)) for _, other, which in found):
                raise UsageError(f"{where}: AU {au} has more than one column for one side")
            found.append((column, au, side))
        elif name.lower() not in _OTHER_COLUMNS:
            raise UsageError(f"{where}: unknown column {name!r}; columns are time and AU01, AU12_left and the like")
    if time is None:
        raise UsageError(f"{where}: no column is called time or timestamp")
    if not found:
        raise UsageError(f"{where}: no column holds an AU, such as AU12")
    return {"time": time, "aus": found}


def _number(where: str, name: str, text: str, low: float, high: float) -> float:
    """A cell's number; NaN for an empty one."""
    try:
        value = float(text) if text.strip() else math.nan
    except ValueError:
        raise InputError(f"{where}: {name} is {text!r}, which is no number") from None
    if not math.isnan(value) and not low <= value <= high:
        raise UsageError(f"{where}: {name} is {text.strip()}; it must lie between {low:g} and {high:g}")
    return value


def _finish(path: Path, seconds: float, seed: int, habits: Habits, events, tracks) -> Script:
    shut = tuple((event.start, event.end) for event in events if event.au in (43, BLINK))
    motions = draw_motions(np.random.default_rng(seed), seconds, habits, shut)
    return Script(seconds, events, tracks, motions, source=path.name)
