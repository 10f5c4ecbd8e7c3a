"""The training loop, for any task.

    rtau train train/recipes/light.toml --run runs/au [loop.steps=20000 ...]
    torchrun --nproc-per-node 2 -m rtau train train/recipes/light.toml --run-dir runs/au

Starting a run again continues it, whatever ended it: a step's batch depends on the seed and the step alone,
and the checkpoint carries weights, averaged weights, optimizer, step and running means, so the loss curve is
the same as without the stop. `run_folder` says what a run leaves behind.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import torch

from rtau.errors import RtauError

from .batches import Batch, Feed
from .checkpoint import load_checkpoint, save_checkpoint
from .clock import Clock
from .config import FREE, LoopSettings
from .display import Display, line_of
from .distributed import Team
from .interrupts import Interrupts
from .learner import DivergedError, Learner, Task
from .run_folder import RunFolder

#: How fast the shown loss terms follow.
_SMOOTH = 0.05
#: Seconds between plots.
_DRAW_EVERY = 60


class TrainingError(RtauError):
    """Training can't go on; the last good checkpoint is kept."""


@dataclass
class Progress:
    """How far a run is, as its checkpoints carry it.

    Attributes:
        step: steps done.
        best: figures of the best validation, with its step; None before the first.
        stale: validations since then.
        sums: of each loss term since the last validation, and over how many steps.
        finished: whether there is nothing left to do.
    """

    step: int = 0
    best: dict[str, float] | None = None
    stale: int = 0
    sums: dict[str, list[float]] = field(default_factory=dict)
    finished: bool = False

    def add(self, terms: Mapping[str, float]) -> None:
        """One more step, with its loss terms; NaN for one that had nothing to be taken over."""
        self.step += 1
        for name, value in terms.items():
            entry = self.sums.setdefault(name, [0.0, 0.0])
            if not math.isnan(value):
                entry[0] += value
                entry[1] += 1

    def means(self) -> dict[str, float]:
        """Of the loss terms since the last call; begins anew."""
        means = {name: total / count if count else math.nan for name, (total, count) in self.sums.items()}
        self.sums = {}
        return means


def train(task: Task, settings: LoopSettings, folder: Path, *, config: Mapping[str, Any] | None = None,
          restart: bool = False, shown: bool = False, team: Team | None = None, device: torch.device | None = None
          ) -> dict[str, float]:
    """Train, or continue, in a run folder.

    Args:
        task: what is learned.
        settings: see `LoopSettings`.
        folder: the run's.
        config: what to write into the folder as config.json, the settings when None.
        restart: begin anew; what is there moves aside.
        shown: a live display, where there is a terminal.
        team: the processes that train together; this one alone when None.
        device: where to compute, the CPU when None.

    Returns:
        The best validation's figures and its "step".

    Raises:
        TrainingError: the loss became NaN; the batch is listed in the folder, the last good checkpoint is kept.
        UsageError: the folder holds a run with other settings, or another training holds it.
        OutputError: the disk is full; the last checkpoint is intact.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the state is saved first.
    """
    team, device = team or Team(), device or torch.device("cpu")
    pieces = team.size * settings.accumulate
    if min(settings.batch, settings.unlabeled_batch or settings.batch) < pieces:
        raise TrainingError(f"a batch of {settings.batch} can't be cut in {pieces} pieces: raise loop.batch")
    cv2.setNumThreads(1)
    if settings.threads or "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(settings.threads or max((os.cpu_count() or 2) // team.here - 1, 1))
    facts = {"loop": {key: value for key, value in vars(settings).items() if key not in FREE}, **task.facts}
    learner = Learner(task, settings, team, device)
    with contextlib.ExitStack() as stack:
        run = stack.enter_context(RunFolder(folder, restart=restart)) if team.leads else None
        team.tell(None)  # the folder is in order
        progress = _resume(learner, Path(folder) / "last.pt", facts)
        if run is not None:
            run.describe(config or {"loop": vars(settings)}, task.facts.get("data", {}))
            run.go_on_from(progress.step)
        team.tell(None)  # everybody has read the checkpoint
        display = stack.enter_context(Display(settings.steps, shown=shown)) if team.leads else None
        if run is not None and display is not None and progress.step:
            where = "finished" if progress.finished else f"continues at step {progress.step} of {settings.steps}"
            run.note(where)
            display.say(f"{folder}: {where}")
        _loop(learner, progress, facts, run, display)
    assert progress.best is not None
    return progress.best


def _resume(learner: Learner, last: Path, facts: Mapping[str, Any]) -> Progress:
    if not last.exists():
        return Progress()
    saved = load_checkpoint(last, facts)
    learner.load(saved)
    return Progress(**saved["progress"])


def _loop(learner: Learner, progress: Progress, facts: Mapping[str, Any], run: RunFolder | None,
          display: Display | None) -> None:
    """Steps, validations and checkpoints until the end, an interrupt or an error."""
    settings, task, team = learner.settings, learner.task, learner.team
    clock = Clock(settings.steps, learner.device)
    saved_at = drawn_at = time.monotonic()
    shown: dict[str, float] = {}

    def save() -> None:
        nonlocal saved_at
        if run is not None:
            save_checkpoint(run.last, {**learner.state(), "progress": vars(progress)}, facts)
            saved_at = time.monotonic()

    feed = Feed(task.batch, settings.seed, team.rank, team.size, settings.accumulate, settings.workers,
                settings.processes)
    steps = range(settings.steps if progress.finished else progress.step, settings.steps)
    with contextlib.closing(feed.run(steps)) as batches, Interrupts() as interrupts:
        for step, pieces in batches:
            try:
                terms = learner.learn(step, pieces)
            except DivergedError as error:
                raise _diverged(step, error, pieces, learner, run) from None
            progress.add(terms)
            clock.learned(progress.step, sum(map(len, pieces)) * team.size)
            heard, unreadable = team.add([interrupts.heard, sum(len(piece.unreadable) for piece in pieces)])
            if unreadable:
                _note_unreadable(pieces, team, run)
            if display is not None:
                shown = {k: v if math.isnan(shown.get(k, math.nan)) else shown[k] + _SMOOTH * (v - shown[k])
                         for k, v in terms.items()}
                display.learned(progress.step, shown, clock.figures)
            if progress.step % settings.evaluate_every == 0 or progress.step == settings.steps:
                _validate(learner, progress, clock, run, display, facts)
                save()
                if progress.finished:
                    break
                if time.monotonic() - drawn_at > _DRAW_EVERY:
                    _draw(task, run)
                    drawn_at = time.monotonic()
            elif (settings.checkpoint_every and progress.step % settings.checkpoint_every == 0) or (
                    settings.checkpoint_minutes and time.monotonic() - saved_at > 60 * settings.checkpoint_minutes):
                save()
            if heard:
                save()
                _draw(task, run)
                if run is not None:
                    run.note(f"stopped at step {progress.step} of {settings.steps}")
                raise KeyboardInterrupt
    if steps:
        _draw(task, run)


def _validate(learner: Learner, progress: Progress, clock: Clock, run: RunFolder | None, display: Display | None,
              facts: Mapping[str, Any]) -> None:
    """Figures of the averaged network; keeps it if it is the best, and says whether to go on."""
    settings, means = learner.settings, progress.means()
    with clock.paused():
        figures = learner.team.tell(learner.task.evaluate(learner.averaged) if run is not None else {})
    best = progress.best is None or _better(figures["score"], progress.best["score"])
    if best:
        progress.best, progress.stale = {**figures, "step": progress.step}, 0
    else:
        progress.stale += 1
    progress.finished = progress.step == settings.steps or 0 < settings.patience <= progress.stale
    if run is None:
        return
    if best:
        save_checkpoint(run.best, {"averaged": learner.averaged.state_dict(), "figures": figures,
                                   "step": progress.step}, facts)
    row = {"step": progress.step, **means, **figures, **clock.figures}
    # Before the checkpoint: a restart forgets rows that it makes again, but could not make up for lost ones.
    run.record(row, {**dict.fromkeys(means, "loss"), **dict.fromkeys(figures, "validation"),
                     **dict.fromkeys(clock.figures, "speed")})
    run.note(line_of(row, best=best))
    if display is not None:
        display.validated(row, best=best)
    if progress.finished and progress.step < settings.steps:
        why = f"no better score in {progress.stale} validations: stopped at step {progress.step}"
        run.note(why)
        if display is not None:
            display.say(why)


def _better(score: float, before: float) -> bool:
    """Whether a score is higher; a number is better than none."""
    return score > before or (math.isnan(before) and not math.isnan(score))


def _diverged(step: int, error: DivergedError, pieces: list[Batch], learner: Learner, run: RunFolder | None
              ) -> TrainingError:
    """Write down whose faces were in the batch; gives the error to raise."""
    sources = [source for part in learner.team.gather([s for piece in pieces for s in piece.sources])
               for source in part]
    if run is None:
        return TrainingError("the loss is no number")
    listed = run.write(f"nan-{step:06d}.json", json.dumps(
        {"step": step, "terms": {k: str(v) for k, v in error.terms.items()}, "faces": sources}, indent=1,
        ensure_ascii=False) + "\n")
    kept = f"{run.last} is the last good checkpoint" if run.last.exists() else "there is no checkpoint yet"
    return TrainingError(f"the loss is no number at step {step} ({error}): look at the {len(sources)} faces of its "
                         f"batch in {listed}, or lower loop.lr or loop.clip; {kept}")


def _note_unreadable(pieces: list[Batch], team: Team, run: RunFolder | None) -> None:
    everybody = team.gather([name for piece in pieces for name in piece.unreadable])
    if run is not None:
        run.note_unreadable(name for part in everybody for name in part)


def _draw(task: Task, run: RunFolder | None) -> None:
    if run is not None:
        run.draw(task.charts)
