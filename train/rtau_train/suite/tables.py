"""The tables of the suite, once: for a terminal of 100 columns and for a model card in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from rich import box
from rich.console import Group as Rendered
from rich.table import Table
from rich.text import Text

from ..data.faces import au_number
from ..figures.comparison import Comparison, Difference
from ..figures.report import Figure, Report
from ..figures.tables import number, share
from ..puppet.markdown import table as markdown_table
from .groups import Group
from .movement import Movement
from .probes import Probe
from .sight import Sight
from .smiles import Share, Smiles


@dataclass(frozen=True)
class Sheet:
    """One table.

    Attributes:
        stage: what made it, see `open.STAGES`.
        title: its name, and what it is of.
        head: names of the columns; the first `words` hold words.
        rows: cells; an empty row is a line between two parts.
        notes: what a reader should know, a sentence each.
    """

    stage: str
    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    words: int = 1

    def rendered(self) -> Rendered:
        """For a terminal."""
        table = Table(title=self.title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0),
                      pad_edge=False, show_edge=False)
        for column, name in enumerate(self.head):
            table.add_column(name, justify="left" if column < self.words else "right", no_wrap=True)
        for row in self.rows:
            if row:
                table.add_row(*row)
            else:
                table.add_section()
        return Rendered(table, *(Text(note) for note in self.notes))

    def markdown(self, command: str) -> str:
        """For a page, with the command that made it."""
        table = markdown_table(self.head, [row for row in self.rows if row], words=self.words)
        return "\n\n".join([f"### {self.title}", f"`{command}`", table, *self.notes])


def smiles_sheets(s: Smiles, part: str) -> list[Sheet]:
    """Of real photographs."""
    rows = [(f"AU{row.au:02d}", f"{row.alarms.count}/{row.alarms.of}", _between(row.alarms),
             f"{row.refused.count}" if row.refused.count else "", *_seen(row.seen), _figure(row.auc),
             f"{row.stills[0]}/{sum(row.stills)}" if all(row.stills) else "-", _figure(row.stills_auc))
            for row in s.aus]
    a, b = s.alarms, s.alarmed
    return [Sheet("photographs", f"Real photographs, whole pipeline: {s.people} {part} people",
                  ("", "alarms", "interval", "refused", "smiles", "interval", "AUC portraits", "stills",
                   "AUC stills"), tuple(rows), (
        f"{s.neutral} neutral and {s.smiling} smiling portraits, "
        + (f"{s.stills} everyday faces" if s.stills else "no everyday faces (give --stills)")
        + (f"; no face was found in {s.missed}." if s.missed else "."),
        (f"False alarms: {a.count} of {a.of} ({_percent(a.value)}, {_percent(a.low)} to {_percent(a.high)} over people); "
         f"in {b.count} of {b.of} neutral faces any ({_percent(b.value)})."),
        "Alarms and smiles at the shipped thresholds with Wilson intervals; stills: faces that show it of those labeled."
    ))]


def report_sheet(report: Report, part: str) -> Sheet:
    """Of rendered pictures, per AU."""
    def cells(figures: dict[str, Figure]) -> tuple[str, ...]:
        return (_figure(figures["auc"]), _figure(figures["f1"]), _figure(figures["icc"]), number(figures["mae"].value),
                share(figures["ece"].value))

    rows = [(label.name, str(label.positives), str(label.negatives), str(label.unknown), *cells(label.figures))
            for label in report.labels]
    return Sheet("renders", f"Rendered faces: {report.faces} of {report.subjects} {part} people",
                 ("", "pos.", "neg.", "unkn.", "AUC", "F1 at .5", "ICC(3,1)", "MAE", "ECE"),
                 (*rows, (), ("mean", "", "", "", *cells(report.mean))), (_intervals(report),))


def groups_sheet(groups: list[Group], report: Report) -> Sheet:
    """Of rendered pictures, by whom and what they show."""
    rows: list[tuple[str, ...]] = [
        ("all", "", str(report.faces), str(report.subjects), str(report.mean_of["auc"]), _figure(report.mean["auc"]),
         share(report.mean["auc"].value), _figure(report.mean["icc"]))]
    kind = ""
    for group in groups:
        if group.kind != kind:
            rows.append(())
        rows.append((group.kind if group.kind != kind else "", group.name, str(group.faces), str(group.people),
                     str(group.aus), _figure(group.auc), share(group.usual), _figure(group.icc)))
        kind = group.kind
    return Sheet("renders", "Rendered faces, by whom and what they show",
                 ("", "", "faces", "people", "AUs", "mean AUC", "of all", "mean ICC"), tuple(rows), (
        ("Means over the AUs that enough faces of the group show; of all: mean AUC of all faces over the same AUs. "
         "Intervals over people say little of few."),
        "Skin tone by the typology angle of the portrait's cheek; face height as the camera sampled it."), words=2)


def sight_sheet(sight: list[Sight]) -> Sheet:
    """Of what can be judged."""
    rows: list[tuple[str, ...]] = [
        (s.region, str(s.hidden), str(s.shown), _figure(s.auc), _percent(s.passed), _percent(s.refused)) for s in sight]
    return Sheet("renders", "Rendered faces: which regions can be judged",
                 ("", "hidden", "shown", "AUC", "hidden, said to show", "shown, said hidden"),
                 (*rows[:-1], (), rows[-1]))


def movement_sheets(m: Movement) -> list[Sheet]:
    """Of clips."""
    by_au = {} if m.report is None else {au_number(label.name): label.figures for label in m.report.labels}
    nothing = {key: Figure(float("nan")) for key in ("auc", "icc")}
    rows = []
    for row in m.aus:
        figures = by_au.get(row.au, nothing)
        name = "43+45" if row.au == 43 and m.together else f"AU{row.au:02d}"
        rows.append((name, _figure(figures["auc"]) if m.report else share(row.auc), share(row.f1, 2),
                     _figure(figures["icc"]) if m.report else share(row.icc), number(row.mae),
                     f"{row.found}/{row.onsets}", _late(row.onset, row.spread), number(row.jitter),
                     number(row.still), _signed(row.smooth)))
    mean = {name: _mean([getattr(row, name) for row in m.aus]) for name in ("auc", "f1", "icc", "mae", "jitter", "still")}
    late = [row.onset for row in m.aus if np.isfinite(row.onset)]
    curves = [row.smooth for row in m.aus if np.isfinite(row.smooth)]
    total = ("mean", share(mean["auc"]), share(mean["f1"], 2), share(mean["icc"]), number(mean["mae"]),
             f"{sum(r.found for r in m.aus)}/{sum(r.onsets for r in m.aus)}",
             f"{np.median(late):+.0f}" if late else "-", number(mean["jitter"]), number(mean["still"]),
             f"{np.median(curves):+.0f}" if curves else "-")
    notes = ["Onsets: intensity rising through 2, found of those there; median lateness in ms (its deviation).",
             "Jitter: deviation of the intensity while the truth is constant; still: in faces that keep still.",
             "Delay: of the whole curve, ms. Last row: means, and medians of times."]
    if m.report is not None and np.isfinite(m.report.mean["auc"].low):
        notes.insert(0, _intervals(m.report))
    if m.blinks:
        notes.append(f"Blinks: {m.seen} of {m.blinks} seen, {m.false} closures seen that are none.")
    head = ("", "AUC", "F1", "ICC(3,1)", "MAE", "onsets", "late ms", "jitter", "still", "delay")
    where = Sheet("clips", "Clips: points and pose", ("", "value"), (
        ("face found, frames", f"{m.found} of {m.frames}"),
        ("mean error of points, % of the outer-eye distance", number(m.landmarks)),
        ("95 % of frames below", number(m.landmarks_95)), ("mean error of points, px", number(m.pixels)),
        ("points shake in still faces, px", number(m.shake)),
        *((f"{name}, degrees off (bias)", f"{size:.1f} ({lean:+.1f})")
          for name, size, lean in zip(("yaw", "pitch", "roll"), m.pose, m.lean, strict=True))))
    return [Sheet("clips", f"Clips: {m.clips}, {m.frames} frames, smoothing {m.smoothing}", head,
                  (*rows, (), total), tuple(notes)), where]


def probes_sheet(probes: Sequence[Probe]) -> Sheet:
    """Of pictures with one thing removed."""
    first = probes[0].comparison
    names = [name for name in first.labels if all(name in p.comparison.labels for p in probes)]
    rows = [(name, share(first.labels[name]["auc"].b), *(_loss(p.comparison.labels[name]["auc"]) for p in probes))
            for name in names]
    mean = ("mean", share(first.mean["auc"].b), *(_loss(p.comparison.mean["auc"]) for p in probes))
    return Sheet("probes", f"Shortcut tests: change of AUC when one thing is left out of {first.faces} rendered faces",
                 ("", "AUC", *(f"no {p.without}" for p in probes)), (*rows, (), mean), (
        f"The same pictures with and without it; paired {first.settings.level:.0%} intervals over people; * leaves 0 out.",
        "Real skin creases and turns to the light too: some loss without creases or shading is no fault."))


def comparison_sheet(c: Comparison) -> Sheet:
    """Of two networks on the same rendered pictures."""
    def cells(row: dict[str, Difference]) -> tuple[str, ...]:
        return (share(row["auc"].a), share(row["auc"].b), *(_loss(row[key]) for key in ("auc", "f1", "icc")))

    return Sheet("renders", f"{c.a} against {c.b}: {c.faces} rendered faces",
                 ("", "AUC", "against", "AUC more", "F1 more", "ICC more"),
                 (*((name, *cells(row)) for name, row in c.labels.items()), (), ("mean", *cells(c.mean))),
                 (f"Paired {c.settings.level:.0%} intervals over people; * leaves 0 out.",))


# -- cells -----------------------------------------------------------------------------------


def _figure(figure: Figure) -> str:
    text = share(figure.value)
    return f"{text} {share(figure.low, 2)}–{share(figure.high, 2)}" if np.isfinite(figure.low) else text


def _between(s: Share) -> str:
    return f"{100 * s.low:.0f}–{100 * s.high:.0f} %" if s.of else "-"


def _seen(s: Share) -> tuple[str, str]:
    return (f"{s.count}/{s.of}", _between(s)) if s.of else ("-", "-")


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{100 * value:.1f} %"


def _loss(difference: Difference) -> str:
    if np.isnan(difference.value):
        return "-"
    sure = difference.low > 0 or difference.high < 0
    bounds = f" {share(difference.low, 2)} to {share(difference.high, 2)}" if np.isfinite(difference.low) else ""
    return f"{round(difference.value, 3) + 0.0:+.3f}{bounds}{'*' if sure else ' ' if bounds else ''}"


def _late(onset: float, spread: float) -> str:
    if np.isnan(onset):
        return "-"
    return f"{onset:+.0f}" + ("" if np.isnan(spread) else f" ({spread:.0f})")


def _signed(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:+.0f}"


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def _intervals(report: Report) -> str:
    s = report.settings
    if not s.resamples:
        return "No intervals were asked for."
    return f"Intervals: {s.level:.0%}, {s.resamples} resamples of people and their faces."
