"""The training loop, for any task.

    python -m rtau_train.loop train/recipes/au.toml --run runs/au [loop.steps=20000 ...]

A run folder holds config.json, metrics.csv and last.pt / best.pt. Starting a run again
continues it: step k's batch depends on the seed and k alone, and the checkpoint carries
weights, averaged weights, optimizer and step, so the loss curve is the same as without
the stop.
"""

from __future__ import annotations

import argparse
import copy
import csv
import dataclasses
import json
import logging
import math
import os
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from .config import LoopSettings, Recipe, read_recipe

log = logging.getLogger(__name__)


class Task(Protocol):
    """What the loop needs to know of a network's training."""

    model: nn.Module

    def batch(self, rng: np.random.Generator, count: int) -> dict[str, Tensor]:
        """Draw a batch."""

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """The loss and its parts by name."""

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Figures on validation people; "score" (higher is better) chooses the best checkpoint."""


def train(task: Task, settings: LoopSettings, folder: Path) -> dict[str, float]:
    """Train, or continue, in a run folder; returns the best validation figures.

    Raises:
        FloatingPointError: the loss became NaN; the last good checkpoint is kept.
    """
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    folder.mkdir(parents=True, exist_ok=True)
    model = task.model.to(memory_format=torch.channels_last)
    averaged = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.AdamW(_groups(model, settings.weight_decay), lr=settings.lr)
    state = {"step": 0, "best": None}
    last = folder / "last.pt"
    if last.exists():
        saved = torch.load(last, weights_only=True)
        model.load_state_dict(saved["model"])
        averaged.load_state_dict(saved["averaged"])
        optimizer.load_state_dict(saved["optimizer"])
        state = saved["state"]
        log.info("continuing at step %d", state["step"])

    started, first_step, parts_sum = time.perf_counter(), state["step"], {}
    for step, batch in _prefetch(task, settings, state["step"]):
        for group in optimizer.param_groups:
            group["lr"] = _learning_rate(settings, step)
        # Dropout draws from a stream of the step's own, so that a restart repeats it.
        torch.manual_seed(settings.seed * 1_000_003 + step)
        model.train()
        loss, parts = task.loss(model, batch)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss.item()} at step {step}; lower lr or clip, then start again "
                                     f"to continue from {last}")
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
        _average(averaged, model, min(settings.ema, (1 + step) / (10 + step)))
        for name, value in parts.items():
            parts_sum[name] = parts_sum.get(name, 0.0) + value
        done = step + 1
        if done % settings.evaluate_every == 0 or done == settings.steps:
            figures = task.evaluate(averaged)
            count = done - first_step if done - first_step < settings.evaluate_every else settings.evaluate_every
            row = {"step": done, **{k: v / count for k, v in parts_sum.items()}, **figures}
            parts_sum = {}
            state["step"] = done
            improved = state["best"] is None or figures["score"] > state["best"]["score"]
            if improved:
                state["best"] = figures
                _save(folder / "best.pt", {"averaged": averaged.state_dict(), "figures": figures, "step": done})
            _save(last, {"model": model.state_dict(), "averaged": averaged.state_dict(),
                         "optimizer": optimizer.state_dict(), "state": state})
            _append(folder / "metrics.csv", row)
            speed = (done - first_step) * settings.batch / (time.perf_counter() - started)
            left = (settings.steps - done) * settings.batch / speed / 60
            print(" ".join(f"{k} {v:.4g}" for k, v in row.items()), f"{speed:.0f} pictures/s, {left:.0f} min left",
                  flush=True)
    return state["best"]


def _prefetch(task: Task, settings: LoopSettings, start: int) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Batches from a thread that stays a few ahead."""
    ready: queue.Queue = queue.Queue(maxsize=4)
    stop = threading.Event()

    def work() -> None:
        for step in range(start, settings.steps):
            try:
                item = step, task.batch(np.random.default_rng([settings.seed, step]), settings.batch)
            except Exception as error:  # raised again where the loop can see it
                item = step, error
            while not stop.is_set():
                try:
                    ready.put(item, timeout=0.5)
                    break
                except queue.Full:
                    continue
            if stop.is_set():
                return

    thread = threading.Thread(target=work, name="batches", daemon=True)
    thread.start()
    try:
        for _ in range(start, settings.steps):
            step, batch = ready.get()
            if isinstance(batch, Exception):
                raise batch
            yield step, batch
    finally:
        stop.set()
        thread.join(timeout=5)


def _groups(model: nn.Module, decay: float) -> list[dict]:
    """Weight decay for matrices and kernels, none for biases, norms and thresholds."""
    heavy = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    light = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    return [{"params": heavy, "weight_decay": decay}, {"params": light, "weight_decay": 0.0}]


def _learning_rate(settings: LoopSettings, step: int) -> float:
    if step < settings.warmup:
        return settings.lr * (step + 1) / settings.warmup
    progress = (step - settings.warmup) / max(settings.steps - settings.warmup, 1)
    return settings.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))


@torch.no_grad()
def _average(averaged: nn.Module, model: nn.Module, decay: float) -> None:
    for mean, value in zip(averaged.state_dict().values(), model.state_dict().values(), strict=True):
        if mean.dtype.is_floating_point:
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)


def _save(path: Path, values: dict) -> None:
    partial = path.with_suffix(".partial")
    torch.save(values, partial)
    os.replace(partial, path)


def _append(path: Path, row: dict[str, float]) -> None:
    new = not path.exists()
    with open(path, "a", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(row))
        if new:
            writer.writeheader()
        writer.writerow({k: f"{v:.6g}" for k, v in row.items()})


def open_task(recipe: Recipe) -> Task:
    """The task a recipe names.

    Raises:
        ValueError: no such task.
    """
    if recipe.task == "landmarks":
        from .landmarks import LandmarkTask
        return LandmarkTask(recipe)
    if recipe.task == "au":
        from .action_units import AuTask
        return AuTask(recipe)
    raise ValueError(f"unknown task {recipe.task!r}; known are au, landmarks")


def train_recipe(path: Path, changes: tuple[str, ...], folder: Path) -> dict[str, float]:
    """Train what a recipe file says, or continue, in a run folder; returns the best validation figures.

    Raises:
        ValueError: the recipe is wrong. OSError: it, or the data it names, can't be read.
        FloatingPointError: the loss became NaN.
    """
    recipe = read_recipe(path, changes)
    folder.mkdir(parents=True, exist_ok=True)
    facts = json.dumps(dataclasses.asdict(recipe), default=str, indent=2)
    (folder / "config.json").write_text(facts, encoding="utf-8")
    torch.manual_seed(recipe.loop.seed)
    return train(open_task(recipe), recipe.loop, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a network from a recipe.")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("changes", nargs="*", help="key=value, e.g. loop.steps=2000")
    parser.add_argument("--run", type=Path, required=True, help="the run's folder; an unfinished run goes on")
    args = parser.parse_intermixed_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    print(train_recipe(args.recipe, tuple(args.changes), args.run))


if __name__ == "__main__":
    main()
