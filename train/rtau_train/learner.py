"""One optimizer step: mixed precision, gradients of all processes, clipping, averaged weights."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .batches import Batch, Share
from .config import LoopSettings
from .distributed import Team, share_norms
from .dropout import salt_of, share_dropout
from .schedule import averaging, learning_rate

_TYPES = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Task(Protocol):
    """What the loop needs to know of a network's training.

    Attributes:
        model: the network, on the CPU.
        facts: plain values that say what is learned from what: a checkpoint with others is no place to go on from.
            "network" is what builds the network, "data" what is written into the run's data.json.
        charts: plots to draw, each with the loss terms or figures in it.
    """

    model: nn.Module
    facts: Mapping[str, Any]
    charts: Mapping[str, Sequence[str]]

    def batch(self, share: Share) -> Batch:
        """Draw a share of a step's batch, from nothing but the share."""

    def factors(self, step: int) -> dict[str, float]:
        """How much each term of the loss counts at a step; always the same terms."""

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Each term of the loss, a scalar: the mean over as many things as the batch's weights say.

        With several processes every weight must have a part in terms whose factor is not 0, if only times 0.
        """

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Figures on validation people; "score" (higher is better) chooses the best checkpoint."""


class DivergedError(ArithmeticError):
    """The loss or its gradient is no number; the weights are still those of the step before."""

    def __init__(self, terms: Mapping[str, float]) -> None:
        super().__init__(" ".join(f"{key} {value:g}" for key, value in terms.items()))
        self.terms = dict(terms)


class Learner:
    """A network, its averaged twin and its optimizer.

    Args:
        task: whose network and loss these are.
        settings: see `LoopSettings`.
        team: the processes that learn together.
        device: where this one computes.

    Attributes:
        averaged: the network with averaged weights, which is the one to validate and to keep.
    """

    def __init__(self, task: Task, settings: LoopSettings, team: Team, device: torch.device) -> None:
        self.task, self.settings, self.team, self.device = task, settings, team, device
        self.model = task.model.to(device=device, memory_format=torch.channels_last)
        self.averaged = copy.deepcopy(self.model).requires_grad_(False).eval()
        if team.size > 1:
            self.model = share_norms(self.model, device)
        self._dropouts = share_dropout(self.model)
        self.optimizer = torch.optim.AdamW(_groups(self.model, settings.weight_decay), lr=settings.lr)
        self._type = _TYPES[settings.precision]
        # Gradients in half precision underflow unless the loss is scaled up; bfloat16 has the range of float32.
        self.scaler = torch.amp.GradScaler(device.type, enabled=self._type is torch.float16)
        self._objective: nn.Module = _Objective(task, self.model)
        if team.size > 1:
            # Statistics are shared already, so buffers agree.
            self._objective = nn.parallel.DistributedDataParallel(self._objective, broadcast_buffers=False)

    def learn(self, step: int, pieces: Sequence[Batch]) -> dict[str, float]:
        """Take one step on a batch, given in pieces.

        Returns:
            Each term's mean over the whole batch, and "loss", their weighted sum.

        Raises:
            DivergedError: the loss or its gradient is no number; no weight has changed.
        """
        settings = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, peak=settings.lr, warmup=settings.warmup, steps=settings.steps)
        for number, dropout in enumerate(self._dropouts):
            dropout.salt = salt_of(settings.seed, step, number)
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        factors = self.task.factors(step)
        names = list(factors)
        counts = dict(zip(names, self.team.add([sum(p.weights.get(n, 0.0) for p in pieces) for n in names]),
                          strict=True))
        sums = dict.fromkeys(names, 0.0)
        for number, piece in enumerate(pieces):
            shares = {name: piece.weights.get(name, 0.0) / max(counts[name], 1e-12) for name in names}
            terms = self._backward(piece, factors, shares, last=number == len(pieces) - 1)
            for name, value in terms.items():
                sums[name] += value * shares[name]
        means = dict(zip(names, self.team.add([sums[name] for name in names]), strict=True))
        means["loss"] = sum(factors[name] * means[name] for name in names if factors[name])
        if not math.isfinite(means["loss"]):
            raise DivergedError(means)
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip).item()
        if not math.isfinite(norm) and not self.scaler.is_enabled():  # the scaler passes over such steps
            raise DivergedError({**means, "gradient": norm})
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self._average(averaging(step, settings.ema))
        return {name: means[name] if counts[name] else math.nan for name in names} | {"loss": means["loss"]}

    def state(self) -> dict[str, Any]:
        """All that a checkpoint must hold to go on exactly here."""
        return {"model": self.model.state_dict(), "averaged": self.averaged.state_dict(),
                "optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint's state."""
        self.model.load_state_dict(state["model"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])

    def _backward(self, piece: Batch, factors: Mapping[str, float], shares: Mapping[str, float], *, last: bool
                  ) -> dict[str, float]:
        """Add a piece's gradients; returns its terms. The processes' gradients meet at the last piece."""
        for dropout in self._dropouts:
            dropout.rows = piece.rows
        apart = contextlib.nullcontext() if last or self.team.size == 1 else self._objective.no_sync()  # type: ignore
        with apart:
            with torch.autocast(self.device.type, self._type, enabled=self._type is not None):
                terms = self._objective(piece.to(self.device))
            parts = [factors[name] * shares[name] * value.float() for name, value in terms.items() if factors[name]]
            # The processes' gradients are averaged, and the shares already make them a sum.
            loss = torch.stack(parts).sum() * self.team.size
            self.scaler.scale(loss).backward()
        return dict(zip(terms, torch.stack([v.detach().float() for v in terms.values()]).tolist(), strict=True))

    @torch.no_grad()
    def _average(self, decay: float) -> None:
        for mean, value in zip(self.averaged.state_dict().values(), self.model.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)


class _Objective(nn.Module):
    """The loss terms as a module, so that all of the network's work lies inside one forward pass."""

    def __init__(self, task: Task, model: nn.Module) -> None:
        super().__init__()
        self._task, self.model = task, model

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return self._task.loss(self.model, batch)


def _groups(model: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices and kernels, none for biases, norms and thresholds."""
    heavy = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    light = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    return [{"params": heavy, "weight_decay": decay}, {"params": light, "weight_decay": 0.0}]
