"""The clip that a benchmark plays, and one way to play it through rtau."""

from __future__ import annotations

import contextlib
import importlib.metadata
import itertools
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from .. import __version__
from ..analyze import Analyzer
from ..camera import Newest, Paced
from ..cores import cores
from ..errors import InputError
from ..pipeline import Outcome, Run
from ..sinks import CsvSink, Sink
from ..source import open_source
from ..types import Frame
from .machine import Spent, processor, spending
from .scenes import Again, play_file

#: Frames that warm up what is measured.
_WARM = 8
#: Frames of the clip that are played from memory or encoded anew.
_FRAMES = 24


class Clip:
    """A clip, played through an analyzer for as long as a measurement takes.

    Args:
        video: the file.
        seconds: of a measurement.
        analysis: settings of `rtau.analyze.Analyzer`, such as backend and device.
        folder: for what is written and thrown away.

    Attributes:
        images: some of its first frames, uint8 [H, W, 3], RGB.
        rate: its frames per second.
        play: plays it once, decoding it.

    Raises:
        InputError: it can't be read, or is a picture.
    """

    def __init__(self, video: Path, seconds: float, analysis: dict[str, Any], folder: Path) -> None:
        self.video, self.seconds, self.analysis, self.folder = video, seconds, analysis, folder
        with open_source(video) as source:
            self.rate = float(source.fps or 25.0)
            self.images = [frame.image for frame in itertools.islice(source, _FRAMES)]
        if len({image.shape for image in self.images}) != 1 or len(self.images) < 2:
            raise InputError(f"{video} is no video to measure with: it needs two frames or more, of one size")
        self.play = play_file(video)
        self._backend = "not used"

    def analyzer(self, *, side_by_side: bool = False) -> Analyzer:
        """A new one, with the networks loaded."""
        analyzer = Analyzer(**self.analysis).prepare(side_by_side=side_by_side)
        self._backend = analyzer.backend
        return analyzer

    def table(self, name: str = "out.csv") -> CsvSink:
        """A table as `rtau process` writes it."""
        return CsvSink(self.folder / name, Analyzer(**self.analysis).aus, overwrite=True)

    def run(self, play: Callable[[], Iterator[Frame]], sinks: Sequence[Sink], *, pace: float | None = None
            ) -> tuple[Outcome, Spent, Analyzer]:
        """Analyse what is played for the seconds of a measurement.

        Args:
            play: gives the frames, once.
            sinks: where the scores go.
            pace: frames per second, as of a camera whose newest frame wins; None for as fast as it goes.

        Returns:
            How it went, what it took, and the analyzer with its stages.
        """
        analyzer = self.analyzer(side_by_side=pace is None)
        for index, frame in enumerate(itertools.islice(play(), _WARM)):
            analyzer(replace(frame, time=index / self.rate - 100, index=0))
        analyzer.watch.clear()
        source = Again(self.video.name, play, self.seconds, pace or self.rate)
        with spending() as spent:
            outcome = Run(Newest(Paced(source)) if pace else source, analyzer, sinks).run()
        return outcome, spent, analyzer

    def facts(self) -> dict[str, str]:
        """What the figures belong to."""
        height, width = self.images[0].shape[:2]
        packages = []
        for name in ("torch", "openvino", "onnxruntime", "numpy", "av"):
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                packages.append(f"{name} {importlib.metadata.version(name)}")
        return {"rtau": __version__, "processor": processor(), "cores": str(cores()),
                "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
                "packages": ", ".join(packages), "backend": self._backend,
                "video": f"{self.video.name}, {width}x{height}, {self.rate:g} frames/s",
                "seconds a measurement": f"{self.seconds:g}",
                "when": datetime.now().astimezone().isoformat(timespec="seconds")}
