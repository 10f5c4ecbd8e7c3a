"""How much of what this machine can do the networks reach.

    python benchmarks/roofline.py [--backend onnxruntime] [--device cpu] [--threads N] [--seconds 1]

Measured first: the machine's fastest matrix product (several sizes, the best counts) and copy from memory to memory.
A network can't take less time than its operations take at the one, nor than its weights and maps take at the other;
the longer of the two is its roof. Operations are multiplications and additions of convolutions and linear layers; bytes
are each layer's input, output and weights once, in single precision, which is more than a good engine moves.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from rtau.backends import BACKENDS, choose, open_backend
from rtau.bench.machine import processor
from rtau.cores import cores
from rtau.errors import RtauError
from rtau.model import build
from rtau.store import find_weights

_SIDES = (256, 512, 1024, 2048)
_COPY = 256 << 20
_BATCHES = (1, 4, 16, 64)


def best_seconds(call: Callable[[], object], seconds: float) -> float:
    """The shortest of the calls that fit in so many seconds."""
    call()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        begun = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - begun)
    return best


def median_seconds(call: Callable[[], object], seconds: float) -> float:
    """The median of the calls that fit in so many seconds, three at least."""
    for _ in range(2):
        call()
    taken, end = [], time.perf_counter() + seconds
    while len(taken) < 3 or time.perf_counter() < end:
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def matrix_peak(device: torch.device, kind: torch.dtype, seconds: float) -> float:
    """Operations a second of the fastest matrix product."""
    def rate(side: int) -> float:
        a, b = (torch.randn(side, side, device=device).to(kind) for _ in range(2))

        def multiply() -> None:
            a @ b
            if device.type == "cuda":
                torch.cuda.synchronize()

        return 2 * side**3 / best_seconds(multiply, seconds)

    return max(rate(side) for side in _SIDES)


def copy_peak(device: torch.device, seconds: float) -> float:
    """Bytes a second, read and written, of copying what no cache holds."""
    source, target = (torch.zeros(_COPY // 4, device=device) for _ in range(2))

    def copy() -> None:
        target.copy_(source)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return 2 * _COPY / best_seconds(copy, seconds)


@torch.no_grad()
def cost(net: nn.Module, size: int, batch: int) -> tuple[float, float]:
    """Operations and bytes of one batch."""
    operations = moved = 0.0

    def count(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal operations, moved
        weight = layer.weight
        each = weight[0].numel()  # products for one number of the output
        operations += 2 * each * output.numel()
        moved += 4 * (inputs[0].numel() + output.numel() + weight.numel())

    hooks = [m.register_forward_hook(count) for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    net(torch.zeros(batch, 3, size, size))
    for hook in hooks:
        hook.remove()
    return operations, moved


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=BACKENDS, default="auto")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    args = parser.parse_args()
    try:
        engine, place = choose(args.backend, args.device)
        runners = [(name, open_backend(find_weights(name), engine, place, precision=args.precision, threads=args.threads))
                   for name in ("au", "landmarks")]
    except RtauError as error:
        print(f"rtau: {error}", file=sys.stderr)
        return 2
    threads = args.threads or cores()
    torch.set_num_threads(threads)
    half = place == "cuda"
    device = torch.device(place)
    peak = matrix_peak(device, torch.float16 if half else torch.float32, args.seconds)
    copied = copy_peak(device, args.seconds)
    print(f"{torch.cuda.get_device_name() if half else processor()}, {threads} threads: matrix products {peak / 1e9:.0f} "
          f"GFLOP/s in {'half' if half else 'single'} precision, copies {copied / 1e9:.1f} GB/s")
    print(f"{'network':<10} {'engine':<22} {'batch':>5} {'MFLOP':>7} {'MB':>6} {'roof ms':>8} {'by':>7} {'ms':>8} "
          f"{'GFLOP/s':>8} {'of roof':>8}")
    for name, run in runners:
        weights = find_weights(name)
        size, net = int(weights.facts["config"]["size"]), build(weights)
        for batch in _BATCHES:
            operations, moved = cost(net, size, batch)
            crops = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3)).astype(np.uint8)
            seconds = median_seconds(lambda run=run, crops=crops: run(crops), args.seconds)
            # In half precision half the bytes.
            computing, moving = operations / peak, moved / (2 if half else 1) / copied
            roof = max(computing, moving)
            print(f"{name:<10} {run.name:<22} {batch:>5} {operations / 1e6:>7.0f} {moved / 1e6:>6.1f} {1e3 * roof:>8.2f} "
                  f"{'matrix' if computing > moving else 'memory':>7} {1e3 * seconds:>8.2f} "
                  f"{operations / seconds / 1e9:>8.0f} {roof / seconds:>7.0%}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
