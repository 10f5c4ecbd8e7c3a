"""A table in one layout and format, written in another, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..au import names_of
from ..errors import OutputError, UsageError
from ..sinks.meta import meta_path
from ..sinks.paths import exists_error, replaced
from ..sinks.table import check_like, open_row_file, table_format
from .layout import AU_COLUMN, POINTS, TOOLS, Layout, layout_like, rtau_layout, short_list
from .reading import ORIGINS, TableFile


@dataclass(frozen=True)
class Conversion:
    """What a conversion did.

    Attributes:
        rows: how many were written.
        origin: whose layout the table had, as people call it.
        dropped: columns of it that have no place in the new one.
        empty: columns of the new one that the table tells nothing of, so that they are NaN.
        cut: whether the last line had no end and was left out.
        meta: where the facts beside the table were copied to; None if there were none.
    """

    rows: int
    origin: str
    dropped: tuple[str, ...]
    empty: tuple[str, ...]
    cut: bool
    meta: Path | None


def convert_table(source: str | Path, target: str | Path, *, origin: str = "auto", like: str | None = None,
                  format: str | None = None, overwrite: bool = False) -> Conversion:
    """Write a table anew.

    Args:
        source: the table; CSV, JSON lines or Parquet, as its content says.
        target: the file to write; its end says the format where `format` doesn't.
        origin: whose layout the table has, one of `ORIGINS`, or "auto".
        like: a tool of `TOOLS` whose layout is wanted; rtau's own if None or "rtau".
        format: csv, jsonl or parquet.
        overwrite: replace files that exist.

    Raises:
        UsageError: the options contradict each other, or the layout has no place for what the table tells.
        InputError: the table can't be read or is damaged; what was written by then stays. OutputError: the new one
            can't be written.
    """
    source, target = Path(source), Path(target)
    like = None if like == "rtau" else like
    check_like(like)
    kind = table_format(target, format)
    if target.resolve() == source.resolve():
        raise UsageError(f"{target} is the input and would be written over: give another name")
    facts = meta_path(source) if meta_path(source).is_file() else _facts_of_partial(source)
    copy = meta_path(target) if facts is not None else None
    for path in filter(None, (target, copy)):
        if path.exists() and not overwrite:
            raise exists_error(path)
    with TableFile(source, origin) as table:
        layout = _layout(table, like)
        empty = tuple(column.name for column in layout.columns if column.source not in (*table.names, *_given(table)))
        dropped = (*table.left, *_dropped(table, layout))
        names = [name for name in table.names if name in {column.source for column in layout.columns}]
        rows = 0
        with open_row_file(target, layout, kind, overwrite=overwrite, keep=False) as file:
            take = None
            for block in table.blocks(names):
                take = take or layout.taker(table.names)
                file.write(take(block.values), block.inputs)
                rows += len(block.values)
        cut = table.cut
    if copy is not None:
        _copy(facts, copy)
    return Conversion(rows, ORIGINS[table.origin], dropped, empty, cut, copy)


def _layout(table: TableFile, like: str | None) -> Layout:
    points = set(POINTS) <= set(table.names)
    with_input = "input" in _given(table)
    if like is None:
        groups = [group for group, there in (
            ("landmarks", points), ("raw", any(name.endswith("_raw") for name in table.names)),
            ("quality", "quality" in table.names)) if there]
        return rtau_layout(table.aus, groups, with_input=with_input)
    layout = layout_like(like, points=points, with_input=with_input)
    if not any(AU_COLUMN.fullmatch(column.source) and column.source in table.names for column in layout.columns):
        aus = [au for au in table.aus if not isinstance(au, str)]
        raise UsageError(f"{TOOLS[like]}'s layout has no place for what {table.path} tells: "
                         f"{_words(table.kinds)} of {names_of(aus or table.aus)}")
    return layout


def _given(table: TableFile) -> tuple[str, ...]:
    return ("input",) if table.has_inputs else ()


def _dropped(table: TableFile, layout: Layout) -> list[str]:
    kept = {column.source for column in layout.columns}
    # These five are made up where a table lacks them, and some follow from the rest.
    return [name for name in table.names if name not in kept and name not in ("success", "confidence")]


def _words(kinds: str) -> str:
    return " and ".join({"r": "the intensity", "c": "the yes or no", "p": "the probability"}[kind] for kind in kinds)


def _facts_of_partial(source: Path) -> Path | None:
    """The facts of a table whose rows a run that was cut off has left."""
    if source.suffix != ".partial":
        return None
    found = meta_path(source.with_suffix(""))
    return found if found.is_file() else None


def _copy(facts: Path, target: Path) -> None:
    try:
        data = facts.read_bytes()
    except OSError as error:
        raise OutputError(f"{facts} can't be copied: {error.strerror or error}") from None
    with replaced(target, "wb", folder=False, alone=False) as file:
        file.write(data)


def account(done: Conversion, target: Path) -> list[str]:
    """What a conversion did, in lines for people."""
    lines = [f"{done.rows} rows of {done.origin} in {target}" + (f", facts in {done.meta}" if done.meta else "")]
    if done.dropped:
        lines.append(f"dropped, no place for them: {short_list(done.dropped)}")
    if done.empty:
        lines.append(f"not told, so empty: {short_list(done.empty)}")
    if done.cut:
        lines.append("the last line had no end and was left out")
    return lines
