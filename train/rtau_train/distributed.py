"""Several processes that train one network together, started by torchrun; or one process alone.

Each process takes its share of every step's batch. What they learn is what one process would learn
from the whole batch: loss terms are sums over all processes divided by counts over all processes,
and batch norms share their statistics. What they tell each other is numbers and JSON; nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from rtau.errors import RtauError, UsageError

T = TypeVar("T")

#: A process that says nothing for so long within a step is lost: its machine is gone, say.
_SILENCE = datetime.timedelta(minutes=10)
#: The first process reads data, aligns them and validates alone while the others wait for it.
_PATIENCE = datetime.timedelta(hours=12)


@dataclass(frozen=True)
class Team:
    """The processes that train together.

    Attributes:
        rank: number of this process, from 0; only process 0 writes files.
        size: how many there are.
        here: how many of them run on this machine.
        talk: the group in which they may wait long for each other; None for one process alone.
    """

    rank: int = 0
    size: int = 1
    here: int = 1
    talk: dist.ProcessGroup | None = field(default=None, repr=False, compare=False)

    @property
    def leads(self) -> bool:
        """Whether this process is the one that validates and writes."""
        return self.rank == 0

    def add(self, values: Sequence[float]) -> list[float]:
        """Sums over all processes, in double precision."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        return total.tolist()

    def tell(self, value: T) -> T:
        """What process 0 has, for everyone: plain values, as JSON has them (a tuple arrives as a list)."""
        if self.size == 1:
            return value
        data = _packed(value) if self.leads else b""
        length = torch.tensor([len(data)])
        dist.broadcast(length, src=0, group=self.talk)
        box = _tensor(data, int(length))
        dist.broadcast(box, src=0, group=self.talk)
        return json.loads(bytes(box.numpy()))

    def gather(self, value: T) -> list[T]:
        """What each process has, by rank; plain values as in `tell`."""
        if self.size == 1:
            return [value]
        data = _packed(value)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(lengths, torch.tensor([len(data)]), group=self.talk)
        longest = max(int(length) for length in lengths)
        boxes = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self.size)]
        dist.all_gather(boxes, _tensor(data, longest), group=self.talk)
        return [json.loads(bytes(box[:int(length)].numpy())) for box, length in zip(boxes, lengths, strict=True)]


def _packed(value: object) -> bytes:
    return json.dumps(value, default=float).encode()


def _tensor(data: bytes, length: int) -> Tensor:
    """Bytes at the beginning of so many, uint8."""
    return torch.frombuffer(bytearray(data.ljust(max(length, 1), b" ")), dtype=torch.uint8)[:length]


@contextlib.contextmanager
def join_team(device: str = "auto") -> Iterator[tuple[Team, torch.device]]:
    """Meet the other processes that torchrun started, if it did.

    Args:
        device: "auto" (a GPU where there is one), "cpu", "cuda" or "cuda:1".

    Yields:
        The team, and the device of this process.

    Raises:
        UsageError: there is no such device.
        RtauError: another process has gone, or can't be reached.
    """
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    place = choose_device(device, int(os.environ.get("LOCAL_RANK", 0)))
    if "RANK" not in os.environ or size == 1:
        yield Team(), place
        return
    if place.type == "cuda":
        torch.cuda.set_device(place)
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if place.type == "cuda" else "gloo", timeout=_SILENCE)
        talk = dist.new_group(backend="gloo", timeout=_PATIENCE)
        yield Team(rank, size, int(os.environ.get("LOCAL_WORLD_SIZE", 1)), talk), place
    except RuntimeError as error:
        # Torch tells a lost peer from other faults by its words alone.
        if not isinstance(error, dist.DistError) and "gloo" not in str(error).lower():
            raise
        raise RtauError(f"process {rank} of {size} stops: another has gone or can't be reached "
                        f"({_reason(error)}); the same command goes on from the last checkpoint") from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _reason(error: RuntimeError) -> str:
    """What torch says, without the place in its source and without what it advises."""
    return (str(error).splitlines() or [type(error).__name__])[0].rpartition("] ")[2].split(". ")[0]


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """The device that a name means on this machine; each local process gets a GPU of its own.

    Raises:
        UsageError: there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"unknown device {name!r}: choose auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"unknown device {name!r}: choose auto, cpu, cuda or cuda:N")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise UsageError("torch finds no NVIDIA GPU here: choose device cpu, or install a CUDA build of torch")
        number = local_rank if device.index is None else device.index
        if number >= torch.cuda.device_count():
            raise UsageError(f"there is no GPU {number}: torch finds {torch.cuda.device_count()}")
        return torch.device("cuda", number)
    return device


class _Normalized(torch.autograd.Function):
    """A batch norm's output by the mean and variance of all processes' pictures, which it gives too; each way, forth and
    back, the processes talk once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
                ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mean, variance, count = _moments_of_all(x)
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt(), count)
        ctx.mark_non_differentiable(mean, variance, count)
        return nn.functional.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps), mean, variance, count

    @staticmethod
    def backward(ctx: Any, slope: Tensor, *_: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        x, weight, mean, scale, count = ctx.saved_tensors
        centred = x - mean[:, None, None]
        own = torch.stack([slope.sum((0, 2, 3)), (slope * centred).sum((0, 2, 3))])
        everyone = own.clone()
        dist.all_reduce(everyone)
        # What a picture changes in the mean and the variance comes back to all pictures.
        along, across = everyone / count
        factor = scale if weight is None else scale * weight
        back = slope * factor[:, None, None] - (factor * along)[:, None, None]
        back.addcmul_(centred, (factor * scale.square() * across)[:, None, None], value=-1)
        learned = (None, None) if weight is None else (own[1] * scale, own[0])
        return back, *learned, None


def _moments_of_all(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance [C] of all processes' pictures [N, C, H, W], and over how many numbers each goes."""
    count = x.new_tensor([x.numel() / x.shape[1]])
    if x.numel():
        # In two passes: torch.var_mean takes ten times as long on a CPU.
        mean = x.mean((0, 2, 3))
        variance = (x - mean[:, None, None]).square_().mean((0, 2, 3))
    else:  # a process may have no picture
        variance = mean = x.new_zeros(x.shape[1])
    mine = torch.cat([count, mean, variance])
    rows = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(rows, mine)
    table = torch.stack(rows)
    counts, means, variances = table[:, :1], table[:, 1:1 + len(mean)], table[:, 1 + len(mean):]
    # One picture more or less in a process must not weigh more or less.
    total = counts.sum()
    whole = (counts * means).sum(0) / total
    return whole, (counts * (variances + (means - whole).square())).sum(0) / total, total


class _SharedBatchNorm(nn.BatchNorm2d):
    """Batch norm by the statistics of all processes' pictures, on any device.

    Torch's own `SyncBatchNorm` does the same on GPUs alone.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        normalized, mean, variance, count = _Normalized.apply(x, self.weight, self.bias, self.eps)
        with torch.no_grad():
            self.num_batches_tracked += 1
            rate = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, rate)
            self.running_var.lerp_(variance * count / (count - 1).clamp(min=1), rate)
        return normalized


def share_norms(model: nn.Module, device: torch.device) -> nn.Module:
    """The model with batch norms that share statistics among all processes; weights stay the same tensors."""
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = _SharedBatchNorm
    return model


