"""Many small trainings on the same faces, side by side, that survive any stop.

A study's folder holds

    bank/         the faces, see `bank`: parts "train", "validation", "test" and "real", photographs without labels
    points/       the run's folder of what all backbones begin with, see `pretrain`
    runs/NAME/    the run's folder, see `run_folder`, with `result.json` and `presence.npy` once it is done

Who validates or tests never takes part in a training, with labels or without.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from rtau.errors import InputError, RtauError, UsageError
from rtau.model import AuConfig, TwoViewNet, normalize

from .bank import check_training, open_part
from .checkpoint import compare, load_checkpoint
from .config import Recipe
from .cutting import crops_of, pixels
from .data.faces import FaceSet
from .data.tars import write_whole
from .figures.measures import measure, tune
from .figures.predictions import Predictions
from .figures.report import mean_of, plain
from .interrupts import Interrupts
from .parts import Parts
from .views import agreement, classifier_cosine, linear_cka

#: Figures of a result, see `figures.measures`.
FIGURES = ("auc", "f1", "f1_tuned", "icc", "mae")
#: What `pretrain` gives a study's networks to begin with.
POINTS = Path("points/best.pt")
_RESULT = "result.json"
_PRESENCE = "presence.npy"
#: What every run needs.
_IMPORTED = ["__main__", "rtau_train.study", "rtau_train.action_units", "rtau_train.loop", "torch._dynamo",
             "tensorboard.summary.writer.event_file_writer"]
#: Seconds that a run has to save its state.
_PATIENCE = 30


def draw_labeled(faces: FaceSet, labels: str, seed: int) -> np.ndarray:
    """Which faces keep their labels, bool [N].

    Args:
        faces: of those who train.
        labels: "10%" of the pictures, the larger share holding the smaller one of the same seed; or "20x15", of 20
            people 15 pictures each.
        seed: same seed, same faces.

    Raises:
        UsageError: it is neither, or there are not as many.
    """
    rng = np.random.default_rng([seed, len(faces)])
    chosen = np.zeros(len(faces), bool)
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)%", labels):
        chosen[rng.permutation(len(faces))[:round(float(match[1]) / 100 * len(faces))]] = True
    elif match := re.fullmatch(r"(\d+)x(\d+)", labels):
        people, each = int(match[1]), int(match[2])
        who, count = np.unique(faces.subject, return_counts=True)
        who = who[count >= each]
        if len(who) < people:
            raise UsageError(f"{labels}: only {len(who)} people have {each} pictures or more")
        for person in rng.permutation(who)[:people]:
            chosen[rng.permutation(np.flatnonzero(faces.subject == person))[:each]] = True
    else:
        raise UsageError(f"{labels!r} says nothing of labels: write a share such as 10%, or people and pictures of "
                         "each such as 20x15")
    if not chosen.any():
        raise UsageError(f"{labels} of {len(faces)} pictures is none")
    return chosen


def pretrain(recipe: Recipe, folder: Path) -> None:
    """Train what all backbones of a study begin with, on all its faces and none of their labels; or go on with it.

    Args:
        recipe: of the task "points"; its faces are the study's.
        folder: the study's, with its bank; gets `POINTS`.

    Raises:
        RtauError: it can't be done; see `loop.train`.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the state is saved first.
    """
    from .loop import train
    from .points import PointsTask

    faces, validation, real = (open_part(folder / "bank", name) for name in ("train", "validation", "real"))
    parts = Parts(faces.without_labels(), validation, real.select(faces.names))
    for part in (faces, real):
        check_training(part)
    torch.manual_seed(recipe.loop.seed)
    train(PointsTask(recipe, parts), recipe.loop, (folder / POINTS).parent, config=recipe.as_dict(), shown=True)


# -- one run ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Order:
    """A training of a study.

    Attributes:
        name: of its folder in `runs`.
        variant: what is varied, for people to read.
        labels: which faces have labels, see `draw_labeled`.
        seed: of labeled faces, initial weights and order.
        recipe: of an AU network; its faces are the study's, and what it begins with is relative to the study's folder.
        judged: the part of the bank whose figures are wanted; while something is still being chosen, not "test".
    """

    name: str
    variant: str
    labels: str
    seed: int
    recipe: Recipe
    judged: Literal["validation", "test"] = "test"

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "recipe": self.recipe.as_dict()}


def fulfil(order: Order, folder: Path) -> dict[str, Any]:
    """Train as ordered, or go on, and judge the best checkpoint; writes and gives the result.

    Raises:
        RtauError: it can't be done; see `loop.train`.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the state is saved first.
    """
    from .action_units import AuTask
    from .loop import train

    begun, worked = time.monotonic(), time.process_time()
    bank, place = folder / "bank", folder / "runs" / order.name
    recipe = order.recipe
    if recipe.pretrained is not None:
        recipe = replace(recipe, pretrained=folder / recipe.pretrained)
    faces, validation, judged = (open_part(bank, name) for name in ("train", "validation", order.judged))
    chosen = draw_labeled(faces, order.labels, order.seed)
    labeled = faces[chosen]
    unlabeled = FaceSet.join([faces[~chosen].without_labels(), open_part(bank, "real").select(faces.names)])
    for part in (labeled, unlabeled):
        check_training(part)
    few = np.linspace(0, len(validation) - 1, min(recipe.data.validated or len(validation), len(validation)))
    parts = Parts(labeled, validation[few.round().astype(int)], unlabeled)
    parts.check()
    torch.manual_seed(order.seed)
    task = AuTask(recipe, parts)
    task.charts = {}  # nobody looks at hundreds of them
    best = train(task, recipe.loop, place, config=recipe.as_dict())
    saved = load_checkpoint(place / "best.pt")
    net = TwoViewNet(AuConfig.from_dict(saved["facts"]["network"]))
    net.load_state_dict(saved["averaged"])
    tuned = tune(predict(net, validation)[0], "validation people")
    seen, views = predict(net, judged)
    figures = measure(seen, tuned.of(seen.names), np.ones((len(seen), 1), np.float32), FIGURES)
    result = {"order": order.as_dict(), "seconds": round(time.monotonic() - begun, 1),
              "cpu_seconds": round(time.process_time() - worked, 1),
              "faces": {"labeled": len(labeled), "people": len(np.unique(labeled.subject)),
                        "unlabeled": len(unlabeled)},
              "validation": {key: plain(best[key]) for key in ("step", "score", "auc", "f1", "icc")},
              "figures": {key: plain(mean_of(values, np.ones(len(values), bool))[0]) for key, values in figures.items()},
              "labels": {name: {key: plain(values[column, 0]) for key, values in figures.items()}
                         for column, name in enumerate(seen.names)},
              "views": {key: plain(value) for key, value in views.items()}}
    np.save(place / _PRESENCE, seen.presence)
    write_whole(place / _RESULT, (json.dumps(result, indent=1) + "\n").encode())
    (place / "last.pt").unlink(missing_ok=True)  # there is nothing left to go on with
    return result


@torch.no_grad()
def predict(net: TwoViewNet, faces: FaceSet) -> tuple[Predictions, dict[str, float]]:
    """What a network says of faces, by points with a landmark network's error; and how its views agree, if two."""
    net.eval()
    crops = crops_of(faces.pictures, faces.points, net.config.size, seed=0)
    batches = [normalize(pixels(crops[i:i + 128])) for i in range(0, len(crops), 128)]
    scores = torch.cat([net(x) for x in batches], 1)
    grades = torch.sigmoid(scores.unsqueeze(-1) - net.thresholds()).mean(0)
    seen = Predictions(faces.names, faces.subject, faces.source, faces.labels, faces.intensity, grades[..., 0].numpy(),
                       grades.sum(-1).numpy())
    if len(scores) < 2:
        return seen, {}
    features = (torch.cat([view(x) for x in batches]) for view in net.views)
    cosine = classifier_cosine(*net.final_classifiers())
    return seen, agreement(scores) | {"cosine": cosine, "cka": linear_cka(*features)}


# -- many runs -------------------------------------------------------------------------------


def read_result(order: Order, folder: Path) -> dict[str, Any] | None:
    """What came of an order, or None if it is not done.

    Raises:
        UsageError: another order of this name was done. InputError: the result is damaged.
    """
    file = folder / "runs" / order.name / _RESULT
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
        changed = compare(result["order"], order.as_dict())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} can't be read ({type(error).__name__}): delete it, and the same command makes it "
                         "again") from error
    if changed:
        raise UsageError(f"{file.parent} was done with other settings: {'; '.join(changed[:3])}: choose another folder")
    return result


def presence_of(name: str, folder: Path) -> np.ndarray:
    """The probabilities of presence of the faces that were judged, float32 [N, C]. Raises InputError."""
    file = folder / "runs" / name / _PRESENCE
    try:
        return np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{file} can't be read: delete {file.parent} and run the same command") from error


def fulfil_all(orders: Sequence[Order], folder: Path, jobs: int, *,
               tell: Callable[[Order, dict[str, Any] | str], None], watch: Callable[[Sequence[Order]], None]
               ) -> list[dict[str, Any]]:
    """Do what is not done yet, each run in a process of its own with one thread; a run that fails stops no other.

    Args:
        orders: in this order.
        folder: the study's.
        jobs: processes at a time.
        tell: hears of each order that was done now, with its result, or with why it failed.
        watch: hears, every second or so, which are running.

    Returns:
        The results of all orders that are done.

    Raises:
        UsageError, InputError: see `read_result`.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the runs have saved their state.
    """
    waiting = [order for order in orders if read_result(order, folder) is None]
    running: dict[BaseProcess, Order] = {}
    with Interrupts() as interrupts:
        try:
            while (waiting or running) and not interrupts.heard:
                while waiting and len(running) < jobs:
                    process = _start(waiting[0], folder)
                    running[process] = waiting.pop(0)
                watch(list(running.values()))
                wait([process.sentinel for process in running], timeout=1)
                for process in [process for process in running if process.exitcode is not None]:
                    order = running.pop(process)
                    tell(order, read_result(order, folder) or _why(process, order, folder))
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.join(_PATIENCE)
                process.kill()
        if interrupts.heard:
            raise KeyboardInterrupt
    return [result for order in orders if (result := read_result(order, folder)) is not None]


def _start(order: Order, folder: Path) -> BaseProcess:
    """A process at work; deaf to Ctrl-C, which the parent hears."""
    # Where there is a fork server, what takes seconds to import is imported once, and stays the same during the study.
    there = "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if there else "spawn")
    if there:
        context.set_forkserver_preload(_IMPORTED)
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if hasattr(signal, "pthread_sigmask") else None
    try:
        process = context.Process(target=_work, args=(order, folder))
        process.start()
    finally:
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.environ.pop("OMP_NUM_THREADS") if before is None else os.environ.update(OMP_NUM_THREADS=before)
    return process


def _why(process: BaseProcess, order: Order, folder: Path) -> str:
    if process.exitcode is not None and process.exitcode < 0:
        return f"was killed by {signal.Signals(-process.exitcode).name} (short of memory?)"
    log = folder / "runs" / order.name / "output.txt"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return lines[-1] if lines else f"ended with code {process.exitcode}"


def _work(order: Order, folder: Path) -> None:
    """In the process: what it prints goes to the run's folder, its last line being the error if there is one."""
    threading.Thread(target=_outlive_nobody, daemon=True).start()
    place = folder / "runs" / order.name
    place.mkdir(parents=True, exist_ok=True)
    with open(place / "output.txt", "a", encoding="utf-8", buffering=1) as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        try:
            fulfil(order, folder)
        except RtauError as error:
            sys.exit(f"rtau: {error}")
        except KeyboardInterrupt:
            sys.exit(130)


def _outlive_nobody() -> None:
    """End when the study's own process does, however it ended; a fork server would live as long as its processes."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
