"""What came of the suite: figures, tables, and the files they make."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rtau
from rtau.sinks.paths import claim_folder, replaced

from ..figures.comparison import Comparison
from ..figures.report import Report
from .gallery import photograph_mistakes, render_mistakes, write_gallery
from .groups import Group
from .movement import Movement
from .order import Order
from .photographs import Seen
from .probes import Probe
from .renders import Said
from .sight import Sight
from .smiles import Smiles
from .tables import (
    Sheet,
    comparison_sheet,
    groups_sheet,
    movement_sheets,
    probes_sheet,
    report_sheet,
    sight_sheet,
    smiles_sheets,
)

#: Version of the JSON file; a name or a meaning that changes makes a new one.
SCHEMA = "rtau-suite/1"
FILES = ("suite.json", "suite.md", "gallery.html")


@dataclass(frozen=True)
class Results:
    """Of one network; None or () for what was left out.

    Attributes:
        name, facts: which network.
        seen, smiles: of photographs.
        said, report, groups, sight: of rendered pictures; no sight of a network that does not tell what shows.
        probes: shortcut tests.
        movement: of clips.
    """

    name: str
    facts: dict[str, Any]
    seen: Seen | None = None
    smiles: Smiles | None = None
    said: Said | None = None
    report: Report | None = None
    groups: tuple[Group, ...] = ()
    sight: tuple[Sight, ...] = ()
    probes: tuple[Probe, ...] = ()
    movement: Movement | None = None

    def sheets(self, what: str) -> list[Sheet]:
        """All tables; `what` says whose clips and faces these are."""
        sheets = [] if self.smiles is None else smiles_sheets(self.smiles, what)
        if self.report is not None:
            sheets += [report_sheet(self.report, what), groups_sheet(list(self.groups), self.report)]
        if self.sight:
            sheets.append(sight_sheet(list(self.sight)))
        if self.probes:
            sheets.append(probes_sheet(self.probes))
        return sheets + ([] if self.movement is None else movement_sheets(self.movement))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, None for NaN."""
        return {"name": self.name, **self.facts, "photographs": self.smiles and self.smiles.as_dict(),
                "renders": self.report and {"report": self.report.as_dict(),
                                            "groups": [group.as_dict() for group in self.groups],
                                            "sight": [sight.as_dict() for sight in self.sight] or None},
                "probes": [probe.as_dict() for probe in self.probes] or None,
                "clips": self.movement and self.movement.as_dict()}


@dataclass(frozen=True)
class Outcome:
    """What came of an order.

    Attributes:
        results: of one network or two.
        order: what was asked for.
        comparison: of two networks on the rendered pictures.
        notes: what a person should know, a sentence each.
        given: whether clips were given by their names, and are all there is.
    """

    results: tuple[Results, ...]
    order: Order
    comparison: Comparison | None = None
    notes: tuple[str, ...] = ()
    given: bool = False

    def sheets(self) -> list[tuple[str, list[Sheet]]]:
        """The tables of each network, by its name, and last the comparison."""
        pages = [(r.name, r.sheets(self.order.part)) for r in self.results]
        if self.comparison is not None:
            pages.append((f"{self.comparison.a} against {self.comparison.b}", [comparison_sheet(self.comparison)]))
        return pages

    def to_json(self) -> str:
        """Everything as JSON."""
        order = self.order
        facts = {"schema": SCHEMA, "rtau": rtau.__version__, "suite": "clips" if self.given else "open",
                 "part": order.part, "intervals": order.settings.as_dict(), "notes": list(self.notes)}
        return json.dumps({**facts, "networks": [r.as_dict() for r in self.results],
                           "comparison": self.comparison and self.comparison.as_dict()},
                          indent=2, ensure_ascii=False, allow_nan=False)

    def command(self, stage: str) -> str:
        """What to type for a stage's tables; of whole paths the last name, as a page goes to other machines."""
        order, usual = self.order, Order()
        words = ["rtau eval", "--suite clips CLIPS" if self.given else f"--suite open --only {stage}",
                 f"--weights {_bare(order.weights)}"]
        if order.against is not None:
            words.append(f"--against {_bare(order.against)}")
        if stage == "photographs" and order.stills is not None:
            words.append(f"--stills {order.stills.name}")
        folders = {"renders": order.renders, "clips": order.clips}
        if (folder := folders.get("renders" if stage == "probes" else stage)) is not None:
            words.append(f"--{'clips' if stage == 'clips' else 'renders'} {folder.name}")
        counts = {"renders": "pictures", "probes": "probes", "clips": "frames"}
        settings = [*([counts[stage]] if stage in counts and not self.given else []), "part",
                    *(["smooth"] if stage == "clips" else [])]
        words += [f"--{name} {getattr(order, name)}" for name in settings
                  if getattr(order, name) != getattr(usual, name)]
        if order.settings.resamples != usual.settings.resamples:
            words.append(f"--resamples {order.settings.resamples}")
        return " ".join(words)

    def markdown(self) -> str:
        """All tables, ready for a model card."""
        parts = []
        for name, sheets in self.sheets():
            parts += [f"## {name}", *(sheet.markdown(self.command(sheet.stage)) for sheet in sheets)]
        return "\n\n".join([*parts, *self.notes]) + "\n"

    def write(self, folder: Path) -> list[Path]:
        """Write JSON, tables and the gallery of the first network into a folder.

        Returns:
            What was written; there is no gallery without pictures.

        Raises:
            OutputError: that can't be done; files that are complete stay.
        """
        written = [folder / name for name in FILES]
        for path, text in zip(written, (self.to_json() + "\n", self.markdown()), strict=False):
            with replaced(path) as file:
                file.write(text)
        first = self.results[0]
        parts = [(f"{what}: {kind}", show(source, kind == "misses"))
                 for what, source, show in (("Photographs", first.seen, photograph_mistakes),
                                            ("Rendered faces", first.said, render_mistakes)) if source is not None
                 for kind in ("false alarms", "misses")]
        if not parts:
            return written[:2]
        write_gallery(written[2], parts, f"What {first.name} gets most wrong")
        return written


def _bare(what: str) -> str:
    """A network without the folders of this machine."""
    return Path(what).name if Path(what).is_absolute() else what


def prepare_folder(folder: Path, *, overwrite: bool = False) -> None:
    """Make the folder for the files, before long work begins.

    Raises:
        OutputError: it can't be made, or such a file is there and `overwrite` is False.
    """
    claim_folder(folder, FILES, overwrite=overwrite)
