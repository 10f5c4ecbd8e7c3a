"""What a benchmark found: tables of numbers that can be printed, kept, and held against those of another run."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import InputError, UsageError
from ..sinks.paths import replaced

if TYPE_CHECKING:
    from rich.console import Console

#: Version of the JSON that a report is kept as.
FORMAT = 1
#: A change smaller than this share is what the same code shows from one run to the next.
_NOISE = 0.05


@dataclass(frozen=True)
class Column:
    """A column of numbers.

    Attributes:
        name: its head.
        unit: of the numbers, "" for a count or a share.
        better: which way is an improvement; "" where neither is.
        digits: after the point.
    """

    name: str
    unit: str = ""
    better: Literal["more", "less", ""] = ""
    digits: int = 1

    @property
    def head(self) -> str:
        """Name and unit."""
        return f"{self.name}, {self.unit}" if self.unit else self.name


@dataclass(frozen=True)
class Table:
    """One measurement.

    Attributes:
        name: of the part that measured it.
        title: what was measured, in a line.
        key: head of the first column, which names the rows.
        columns: the others.
        rows: name of each row and its numbers; NaN where there is none.
        note: what should be known of it, or why it is empty.
    """

    name: str
    title: str
    key: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, tuple[float, ...]], ...]
    note: str = ""

    def __post_init__(self) -> None:
        for name, values in self.rows:
            if len(values) != len(self.columns):
                raise ValueError(f"the row {name!r} of {self.name} has {len(values)} numbers for {len(self.columns)} "
                                 "columns")


@dataclass(frozen=True)
class Report:
    """All tables of a run, and what they were measured on.

    Attributes:
        facts: about the machine, rtau and the settings, by name.
        tables: in the order in which they were measured.
    """

    facts: dict[str, str]
    tables: tuple[Table, ...] = field(default=())

    def to_json(self) -> str:
        """As JSON; `read_report` reads it back. A number that there is none of is null."""
        def plain(table: Table) -> dict[str, Any]:
            rows = [[name, *(None if math.isnan(v) else v for v in values)] for name, values in table.rows]
            return {**asdict(table), "rows": rows}

        return json.dumps({"format": FORMAT, "facts": self.facts, "tables": [plain(t) for t in self.tables]}, indent=1)


def read_report(file: str | Path) -> Report:
    """A report that was kept.

    Raises:
        InputError: it can't be read, or is no such report.
    """
    try:
        data = json.loads(Path(file).read_text("utf-8"))
        if data["format"] != FORMAT:
            raise InputError(f"{file} was made by another version of rtau bench: measure again")
        tables = tuple(
            Table(t["name"], t["title"], t["key"], tuple(Column(**column) for column in t["columns"]),
                  tuple((row[0], tuple(math.nan if v is None else float(v) for v in row[1:])) for row in t["rows"]),
                  t["note"]) for t in data["tables"])
        return Report({str(k): str(v) for k, v in data["facts"].items()}, tables)
    except OSError as error:
        raise InputError(f"{file} can't be read: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise InputError(f"{file} is no report of rtau bench --json") from None


def keep_report(report: Report, file: Path) -> None:
    """Write a report as JSON, over an older one.

    Raises:
        OutputError: the file can't be written.
    """
    with replaced(file) as kept:
        kept.write(report.to_json() + "\n")


def compare(now: Report, before: Report) -> tuple[Table, ...]:
    """How many times better each number is than it was; only what both measured.

    A rate of 120 after 100, and a time of 10 after 12, are both 1.20.

    Raises:
        UsageError: they have nothing in common.
    """
    older = {(table.name, column.head, row): value for table in before.tables for row, values in table.rows
             for column, value in zip(table.columns, values, strict=True)}
    tables = []
    for table in now.tables:
        columns = tuple(column for column in table.columns if column.better)
        rows = []
        for row, values in table.rows:
            by_column = dict(zip(table.columns, values, strict=True))
            ratios = tuple(_gain(column, by_column[column], older.get((table.name, column.head, row), math.nan))
                           for column in columns)
            if any(map(math.isfinite, ratios)):
                rows.append((row, ratios))
        if rows:
            tables.append(Table(table.name, f"{table.title}: times as good as before", table.key,
                                tuple(Column(column.name, better="more", digits=2) for column in columns),
                                tuple(rows)))
    if not tables:
        raise UsageError("the two reports measured nothing in common: give the same --only to both")
    return tuple(tables)


def _gain(column: Column, now: float, before: float) -> float:
    if not (now > 0 and before > 0):
        return math.nan
    return now / before if column.better == "more" else before / now


def show(tables: Sequence[Table], console: Console, *, compared: bool = False) -> None:
    """Print tables for people; with `compared`, what is clearly better in green and what is worse in red."""
    from rich.table import Table as Drawn

    for table in tables:
        drawn = Drawn(title=table.title, title_justify="left", title_style="bold", box=None, pad_edge=False,
                      header_style="dim", padding=(0, 2, 0, 0))
        drawn.add_column(table.key)
        for column in table.columns:
            drawn.add_column(column.head, justify="right")
        for name, values in table.rows:
            drawn.add_row(name, *(_cell(c, v, compared) for c, v in zip(table.columns, values, strict=True)))
        if table.rows:
            console.print(drawn)
        else:
            console.print(table.title, style="bold", highlight=False, markup=False)
        if table.note:
            console.print(table.note, style="dim", highlight=False, markup=False)
        console.print()


def _cell(column: Column, value: float, compared: bool) -> str:
    if math.isnan(value):
        return "-"
    text = f"{value:,.{column.digits}f}"
    if compared and abs(math.log(max(value, 1e-9))) > _NOISE:
        return f"[{'green' if value > 1 else 'red'}]{text}[/]"
    return text
