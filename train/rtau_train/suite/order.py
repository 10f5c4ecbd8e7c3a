"""What a user asks of the suite."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from rtau.errors import UsageError

from ..figures.report import Settings

#: What can be measured, see `open`.
STAGES: tuple[str, ...] = ("photographs", "renders", "probes", "clips")
#: Pictures to render where nothing else is said.
PICTURES = 2200


@dataclass(frozen=True)
class Order:
    """What is to be judged, on what.

    Attributes:
        weights, against: networks, see `networks.opened`.
        faces, rig: as `rtau data fetch` packs them.
        stills: everyday photographs; without them they are left out.
        part: of the people.
        stages: some of `STAGES`.
        renders, clips: folders of rendered pictures and clips: what is there is used, else they are rendered into it;
            by default into the user's cache.
        pictures: how many to render, `PICTURES` when None; of a given folder the first so many, or all.
        frames, probes: how many to render, of faces in motion and for each shortcut test.
        smooth: how the output on clips is smoothed.
        backend, device, threads: see `rtau.backends.open_backend`; workers: processes that render.
        settings: of the intervals.
    """

    weights: str = "au"
    against: str | None = None
    faces: Path = Path("rtau-data/faces")
    rig: Path = Path("rtau-data/ict_facekit/ict_facekit.npz")
    stills: Path | None = None
    part: str = "test"
    stages: tuple[str, ...] = STAGES
    renders: Path | None = None
    clips: Path | None = None
    pictures: int | None = None
    frames: int = 3000
    probes: int = 600
    smooth: str = "one-euro"
    backend: str = "auto"
    device: str = "auto"
    threads: int | None = None
    workers: int | None = None
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        unknown = [stage for stage in self.stages if stage not in STAGES]
        if unknown or not self.stages:
            raise UsageError(f"there is no stage {(unknown or [''])[0]!r}: choose from {', '.join(STAGES)}")
        if self.part not in ("train", "validation", "test", "all"):
            raise UsageError(f"there is no part {self.part!r}: choose from train, validation, test, all")

    @property
    def processes(self) -> int:
        """How many render."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return self.workers or cores
