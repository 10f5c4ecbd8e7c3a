"""A comparison for people and for programs: a table in the terminal, JSON, CSV."""

from __future__ import annotations

import csv
import json
import math
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text
from rtau_train.figures.tables import number, share

from .. import __version__
from ..au import Label, look_up, names_of
from ..sinks.paths import replaced
from .coding import Coding
from .compare import FIGURES, Agreement, Comparison


def agreement_table(found: Comparison) -> Group:
    """One row per AU, their mean, and what was matched; at most 80 columns."""
    yes = any(one.n for one in found.aus)
    graded = any(one.graded for one in found.aus)
    scored = any(one.auc_of for one in found.aus)
    table = Table(title=f"{found.b.path.name} ({found.b.origin}) against {found.a.path.name} ({found.a.origin})",
                  title_justify="left", box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    table.add_column("", no_wrap=True, max_width=25)
    heads = [*(["n", "A\nyes", "B\nyes", "same", "kappa", "F1"] if yes else []), *(["AUC"] if scored else []),
             *(["n\ngraded", "r", "ICC", "MAE"] if graded else [])]
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)

    def cells(one: Agreement | None) -> list[str]:
        def value(name: str) -> float:
            return found.mean(name) if one is None else getattr(one, name)

        row = []
        if yes:
            row += ["" if one is None else str(one.n), *(share(value(name), 2) for name in ("share_a", "share_b")),
                    *(share(value(name)) for name in ("agreement", "kappa", "f1"))]
        if scored:
            row.append(share(value("auc")))
        if graded:
            row += ["" if one is None else str(one.graded), share(value("pearson")), share(value("icc")),
                    number(value("mae"))]
        return row

    for one in found.aus:
        table.add_row(_title(one.au), *cells(one))
    table.add_section()
    table.add_row("mean", *cells(None), style="bold")
    return Group(table, *(Text(line) for line in describe(found)))


def describe(found: Comparison) -> list[str]:
    """What was matched and how, in lines."""
    (frames_a, frames_b), (faces_a, faces_b) = found.alone
    moments, judged = len(found.pairs.moments), len(found.pairs.judgements)
    way = "number" if found.pairs.way == "frame" else "time (nearest within half a frame)"
    who = "the overlap of their boxes" if found.pairs.boxed else "the order of their ids in the frame"
    lines = [f"{moments} frames in both, matched by {way}; {frames_a} only in A, {frames_b} only in B.",
             f"{judged} faces in both, matched by {who}; {faces_a} only in A, {faces_b} only in B."]
    scored = {one.auc_of for one in found.aus} - {""}
    if scored == {"a"}:
        lines.append("AUC: A's probability against B's yes or no, since B has no probability.")
    both = {one.au for one in found.aus}
    alone = [[au for au in one.aus if au not in both] for one in (found.a, found.b)]
    lines += [f"Only in {name}: {names_of(aus)}." for name, aus in zip("AB", alone, strict=True) if aus]
    return lines + list(found.notes)


def write_agreement_json(found: Comparison, path: Path | None) -> None:
    """Keep the figures; None prints them. What can't be given is null.

    Raises:
        OutputError: the file can't be written.
    """
    (frames_a, frames_b), (faces_a, faces_b) = found.alone
    whole = {
        "rtau": __version__, "a": _about(found.a), "b": _about(found.b),
        "frames": {"matched_by": found.pairs.way, "both": len(found.pairs.moments), "only_a": frames_a,
                   "only_b": frames_b},
        "faces": {"matched_by": "boxes" if found.pairs.boxed else "order", "both": len(found.pairs.judgements),
                  "only_a": faces_a, "only_b": faces_b},
        "aus": [{"name": look_up(one.au).name, **_plain(asdict(one))} for one in found.aus],
        "mean": _plain({name: found.mean(name) for name in FIGURES}), "notes": list(found.notes)}
    text = json.dumps(whole, indent=2, ensure_ascii=path is None, allow_nan=False) + "\n"
    if path is None:
        sys.stdout.write(text)
        return
    with replaced(path, folder=False, errors="replace") as file:
        file.write(text)


def write_agreement_csv(found: Comparison, path: Path) -> None:
    """Keep the figures, one row per AU; what can't be given is NaN.

    Raises:
        OutputError: the file can't be written.
    """
    names = [field.name for field in fields(Agreement)]
    with replaced(path, folder=False, newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["au", "name", *names[1:]])
        for one in found.aus:
            values = [getattr(one, name) for name in names[1:]]
            writer.writerow([one.au, look_up(one.au).name, *(_field(value) for value in values)])


def _about(one: Coding) -> dict[str, Any]:
    return {"path": str(one.path), "origin": one.origin, "rows": one.rows, "frames": len(one.frames),
            "faces": len(set(one.faces.tolist())), "aus": list(one.aus)}


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and math.isnan(value) else
            round(value, 6) if isinstance(value, float) else value for name, value in values.items()}


def _field(value: object) -> object:
    if not isinstance(value, float):
        return value
    return "NaN" if math.isnan(value) else f"{value:.4f}"


def _title(au: Label) -> str:
    return f"{look_up(au).code} {look_up(au).name}".rstrip()
