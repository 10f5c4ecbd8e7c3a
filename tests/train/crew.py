"""A program that trains the AU network on made-up faces: `python crew.py RUN LOG [STOP]`, alone or started by torchrun.

Each process writes the names of the faces that it learned from into LOG, a line for each step: the step, which face it was
in the step's batch, and its name. At step STOP the last process gets a SIGTERM, as clusters send it.
"""

import os
import signal
import sys
import threading
from pathlib import Path

import torch
from toy import au_values, make_parts

from rtau_train.action_units import AuTask
from rtau_train.config import build_recipe
from rtau_train.distributed import join_team
from rtau_train.loop import train

#: Neither 2 nor 3 divides the batch, so that shares differ in size.
SETTINGS = au_values(steps=18, batch=13, unlabeled_batch=7, evaluate_every=6, lr=0.002, ema=0.5)


class Crew(AuTask):
    """Two views with dropout, on labeled and unlabeled faces that are altered by chance; tells what it learns from."""

    def __init__(self, log: Path, stop: int = -1) -> None:
        recipe = build_recipe(SETTINGS | {"model": SETTINGS["model"] | {"dropout": 0.3, "views": 2},
                                          "augment": {"degrade": 0.5, "flip": 0.5}})
        self._log, self._stop = log, stop
        torch.manual_seed(0)
        super().__init__(recipe, make_parts(60, unlabeled=30))
        self.charts = {}

    def factors(self, step):
        if threading.current_thread() is threading.main_thread():
            self._step = step
            if step == self._stop and int(os.environ.get("RANK", "0")) == int(os.environ.get("WORLD_SIZE", "1")) - 1:
                os.kill(os.getpid(), signal.SIGTERM)
        return super().factors(step)

    def loss(self, model, batch):
        with open(self._log / f"names-{os.getpid()}", "a") as file:
            file.writelines(f"{self._step:03d} {row:03d} {name}\n" for row, name in zip(batch.rows, batch.sources, strict=True))
        return super().loss(model, batch)


if __name__ == "__main__":
    folder, log, *stop = sys.argv[1:]
    with join_team("cpu") as (team, device):
        task = Crew(Path(log), *map(int, stop))
        try:
            train(task, task.recipe.loop, Path(folder), team=team, device=device)
        except KeyboardInterrupt:
            print("stopped")
