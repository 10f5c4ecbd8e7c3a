"""The open test set: everything that portraits, a rig and everyday photographs of people kept out of every training
can say of a network, in one run.

    photographs   portraits at rest and smiling, and everyday faces, through the whole pipeline
    renders       the same people's puppets with known AUs: per AU, by whom and what they show, what can be judged
    probes        shortcut tests: the same pictures without what only a renderer draws
    clips         their puppets in motion: onsets, delays, steadiness, points, pose, blinks

What is rendered for it is kept, in the user's cache or where they say, and goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from ..figures.comparison import compare
from ..figures.report import figures
from .clips import Clip, list_clips
from .groups import group_figures, read_sexes
from .material import Bars, Material, gather
from .movement import Movement, movement_figures
from .networks import Candidate, opened
from .order import Order
from .outcome import Outcome, Results
from .photographs import look
from .probes import probe_figures
from .recordings import read_output, read_truth
from .renders import Said, ask
from .sight import sight_figures
from .smiles import smile_figures


def judge_suite(order: Order, bars: Bars = lambda unit: nullcontext()) -> Outcome:
    """Render what is missing, and judge one network or two.

    Raises:
        RtauError: something named is not there, does not fit, or can't be written; a sentence says what.
    """
    with _networks(order) as candidates:
        material = gather(order, bars)
        results = [_judge(candidate, order, material, bars) for candidate in candidates]
    said = [result.said for result in results if result.said is not None]
    comparison = None
    if len(said) == 2:
        with bars("resamples") as tell:
            comparison = compare(said[0].predictions, said[1].predictions, settings=order.settings, tell=tell)
    return Outcome(tuple(results), order, comparison, (*material.notes, *_warnings(candidates)))


def judge_clips(order: Order, videos: Sequence[Path], bars: Bars = lambda unit: nullcontext()) -> Outcome:
    """Judge one network or two on clips that `rtau data clip` made: videos, or folders of them.

    Raises:
        RtauError: as `judge_suite`.
    """
    clips = list_clips(videos)
    with _networks(order) as candidates:
        results = [Results(candidate.name, _facts(candidate), movement=_watch(candidate, clips, order, bars))
                   for candidate in candidates]
    return Outcome(tuple(results), order, notes=_warnings(candidates), given=True)


@contextmanager
def _networks(order: Order) -> Iterator[list[Candidate]]:
    with ExitStack() as stack:
        candidates = [stack.enter_context(opened(what, backend=order.backend, device=order.device,
                                                 threads=order.threads))
                      for what in (order.weights, order.against) if what is not None]
        for candidate in candidates:
            candidate.analyzer()  # says before the long work what it can't read
        yield candidates


def _judge(candidate: Candidate, order: Order, material: Material, bars: Bars) -> Results:
    found: dict[str, Any] = {}
    if material.photographs:
        with bars("photographs") as tell:
            found["seen"] = look(material.photographs, candidate.analyzer(detect_width=(320, 640)), tell)
        found["smiles"] = smile_figures(found["seen"], order.settings)
    if material.renders is not None:
        whole = "renders" in order.stages
        said = _ask(candidate, material.renders, order, material.pictures if whole else order.probes, bars)
        found |= _figures(said, order, bars) if whole else {}
        found["probes"] = tuple(_probe(candidate, without, folder, said, order, bars)
                                for without, folder in material.probes)
    if material.clips:
        found["movement"] = _watch(candidate, material.clips, order, bars)
    return Results(candidate.name, _facts(candidate), **found)


def _ask(candidate: Candidate, folder: Path, order: Order, count: int | None, bars: Bars) -> Said:
    with bars("faces") as tell:
        return ask(candidate.network(), folder, order.part, candidate.landmarker(), count=count, tell=tell)


def _figures(said: Said, order: Order, bars: Bars) -> dict[str, Any]:
    """Of rendered pictures."""
    with bars("resamples") as tell:
        report = figures(said.predictions, None, order.settings, tell)
    with bars("groups") as tell:
        groups = group_figures(said.predictions, said.records, read_sexes(order.faces), order.settings, tell)
    sight = [] if said.sight is None else sight_figures(said.sight, said.faces.shown, said.faces.subject,
                                                        order.settings)
    return {"said": said, "report": report, "groups": tuple(groups), "sight": tuple(sight)}


def _probe(candidate: Candidate, without: str, folder: Path, said: Said, order: Order, bars: Bars):
    gone = _ask(candidate, folder, order, order.probes, bars)
    with bars("resamples") as tell:
        return probe_figures(without, said.first(order.probes), gone, order.settings, tell)


def _watch(candidate: Candidate, clips: Sequence[Clip], order: Order, bars: Bars) -> Movement:
    truths = [read_truth(Path(f"{clip.video}.csv")) for clip in clips]
    outputs, done, total = [], 0, sum(map(len, truths))
    with bars("frames") as tell:
        for clip, truth in zip(clips, truths, strict=True):
            outputs.append(read_output(clip.video, truth, candidate.analyzer(smooth=order.smooth)))
            done += len(truth)
            if tell is not None:
                tell(done, total)
    return movement_figures(truths, outputs, [clip.person for clip in clips], [clip.still for clip in clips],
                            order.smooth, order.settings)


def _facts(candidate: Candidate) -> dict[str, Any]:
    analyzer = candidate.analyzer()
    return {"file": candidate.file.name, "sha256": analyzer.weights.sha256, "backend": analyzer.backend,
            "calibrated": not candidate.trained}


def _warnings(candidates: Sequence[Candidate]) -> tuple[str, ...]:
    return tuple(f"{candidate.name} is judged as trained: what it says is not calibrated before rtau export."
                 for candidate in candidates if candidate.trained)
