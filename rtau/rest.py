"""What `rtau calibrate` does, as a library call: a resting face into a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .analyze import Analyzer
from .calibrate import Profile, RestError
from .pipeline import Run
from .source import Source
from .types import Frame, Scores


def record_rest(source: Source, analyzer: Analyzer, seconds: float, save: Path,
                tell: Callable[[float, int], None] | None = None) -> Profile:
    """Watch a person at rest and keep what the network says of the face.

    Args:
        source: a camera, or a recording; closed at the end.
        analyzer: that has seen nothing yet.
        seconds: how long.
        save: the file to write, JSON.
        tell: is told after each frame how many seconds are left, and how many faces are in it.

    Raises:
        RestError: no resting face could be told from what was seen.
        InputError: the source can't be read. OutputError: the file can't be written.
    """
    analyzer.prepare(side_by_side=not source.live)
    calibrator = analyzer.calibrator
    calibrator.watch(seconds)

    def watch(frame: Frame, scores: Scores) -> None:
        left = calibrator.left
        if tell is not None:
            tell(left or 0.0, len(scores))
        if left is None:
            run.stop()

    run = Run(source, analyzer, (), watch)
    outcome = run.run()
    if calibrator.profile is None:
        raise RestError(calibrator.problem or f"the recording ended after {outcome.frames} frames, before {seconds:g} "
                        "seconds were over: give --seconds less, or a longer recording")
    calibrator.profile.save(save)
    return calibrator.profile
