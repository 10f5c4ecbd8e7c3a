"""A task small enough to train in a test, and a program that trains it: `python line.py RUN [task.norm=1 batch=8 ...]`.

It finds a straight line from points of which some have no known height, with dropout to need its own chance.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from rtau_train.batches import Batch
from rtau_train.config import LoopSettings, build_recipe
from rtau_train.distributed import join_team
from rtau_train.loop import train

WANTED = np.float32([1, -2, 0.5])


class Line:
    """The task; `dropout` and `norm` make the network depend on chance and on the batch."""

    charts = {}  # drawing takes longer than learning

    def __init__(self, dropout: float = 0.2, norm: float = 0, pause: float = 0.0) -> None:
        torch.manual_seed(0)
        # A bias before a batch norm has no gradient but rounding, which Adam would blow up.
        self.model: nn.Module = nn.Sequential(
            nn.Linear(3, 8, bias=not norm),
            *((nn.Unflatten(1, (8, 1, 1)), nn.BatchNorm2d(8), nn.Flatten()) if norm else ()),
            nn.Dropout(dropout), nn.Linear(8, 1))
        self.facts = {"task": "line"}
        self.count, self.pause = 8, pause

    def batch(self, share):
        x, known = np.empty((len(share.rows(self.count)), 3), np.float32), []
        for place, row in enumerate(share.rows(self.count)):
            rng = share.rng(row)
            x[place] = rng.normal(size=3)
            known.append(rng.random() < 0.6)
        known = np.array(known)
        time.sleep(self.pause)
        return Batch({"x": torch.from_numpy(x), "y": torch.from_numpy(x @ WANTED), "known": torch.from_numpy(known)},
                     {"fit": float(known.sum()), "small": float(len(x))},
                     tuple(f"point {share.step}.{row}" for row in share.rows(self.count)),
                     rows=tuple(share.rows(self.count)))

    def factors(self, step):
        return {"fit": 1.0, "small": 0.01 if step >= 10 else 0.0}

    def loss(self, model, batch):
        found = model(batch["x"]).squeeze(-1)
        squares = (found - batch["y"]).square() * batch["known"]
        return {"fit": squares.sum() / batch["known"].sum().clamp(min=1), "small": found.square().mean()}

    @torch.no_grad()
    def evaluate(self, model):
        assert not model.training
        x = np.random.default_rng(99).normal(size=(256, 3)).astype(np.float32)
        error = (model(torch.from_numpy(x)).squeeze(-1) - torch.from_numpy(x @ WANTED)).square().mean().item()
        return {"error": error, "score": -error}


def settings_of(*changes: str, **values) -> LoopSettings:
    usual = {"steps": 60, "batch": 8, "evaluate_every": 10, "warmup": 5, "lr": 0.02, "checkpoint_minutes": 0.0,
             "threads": 1}
    return build_recipe({"task": "au", "loop": usual | values}, [f"loop.{c}" for c in changes]).loop


if __name__ == "__main__":
    folder, *words = sys.argv[1:]
    of_task = dict(word[5:].split("=") for word in words if word.startswith("task."))
    with join_team("cpu") as (team, device):
        train(Line(**{name: float(value) for name, value in of_task.items()}),
              settings_of(*(word for word in words if not word.startswith("task."))), Path(folder), team=team,
              device=device)
