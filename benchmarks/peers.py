"""rtau beside the work that a peer does on the same clip, on this machine, in one run.

    python benchmarks/peers.py [VIDEO] [--seconds 8] [--threads N]

py-feat's Detectorv2 finds faces in each frame with RetinaFace (MobileNet 0.25) and reads each with a ConvNeXt V2-Tiny
at 224 pixels. The package does not import beside the PyTorch that rtau is tested with, so its two networks are built
here after their papers (Deng et al., 2020; Woo et al., 2023), with random weights: what they find means nothing, how
long they take does. Not counted, which is in the peer's favour: its heads, its identity network, its tables, whatever
its Python does between the networks, and the search for the best boxes. Frames come from rtau's own decoder; the face
is where rtau finds it.

Both run by turns, frame by frame of the same clip, each for so many seconds at a time.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtau.analyze import Analyzer
from rtau.bench.clip import Clip
from rtau.bench.machine import processor
from rtau.bench.scenes import Again, play_file
from rtau.commands.options import SAMPLE
from rtau.cores import cores
from rtau.errors import RtauError
from rtau.source import open_source
from rtau.types import Frame

_ROUNDS = 3


# -- RetinaFace ------------------------------------------------------------------------------


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
                         nn.BatchNorm2d(outputs), nn.LeakyReLU(0.1, inplace=True))


def _separable(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(_conv(inputs, inputs, 3, stride, inputs), _conv(inputs, outputs, 1))


class Context(nn.Module):
    """RetinaFace's context module: 3x3, 5x5 and 7x7 fields from stacked 3x3 convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.near = _conv(width, width // 2)
        self.middle, self.middle2 = _conv(width, width // 4), _conv(width // 4, width // 4)
        self.far, self.far2 = _conv(width // 4, width // 4), _conv(width // 4, width // 4)

    def forward(self, x: Tensor) -> Tensor:
        middle = self.middle(x)
        return torch.cat([self.near(x), self.middle2(middle), self.far2(self.far(middle))], 1)


class RetinaFace(nn.Module):
    """RetinaFace on MobileNet 0.25: three levels of a feature pyramid, two anchors a cell, 16 numbers an anchor."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.stage1 = nn.Sequential(_conv(3, 8, 3, 2), *(_separable(*s) for s in (
            (8, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1))))
        self.stage2 = nn.Sequential(_separable(64, 128, 2), *(_separable(128, 128, 1) for _ in range(5)))
        self.stage3 = nn.Sequential(_separable(128, 256, 2), _separable(256, 256, 1))
        self.laterals = nn.ModuleList(_conv(inputs, width, 1) for inputs in (64, 128, 256))
        self.merges = nn.ModuleList(_conv(width, width) for _ in range(2))
        self.contexts = nn.ModuleList(Context(width) for _ in range(3))
        self.heads = nn.ModuleList(nn.Conv2d(width, 2 * 16, 1) for _ in range(3))

    def forward(self, x: Tensor) -> list[Tensor]:
        levels = []
        for stage in (self.stage1, self.stage2, self.stage3):
            x = stage(x)
            levels.append(x)
        fine, middle, coarse = (lateral(level) for lateral, level in zip(self.laterals, levels, strict=True))
        middle = self.merges[0](middle + F.interpolate(coarse, size=middle.shape[-2:]))
        fine = self.merges[1](fine + F.interpolate(middle, size=fine.shape[-2:]))
        return [head(context(level)) for head, context, level in
                zip(self.heads, self.contexts, (fine, middle, coarse), strict=True)]


# -- ConvNeXt V2 -----------------------------------------------------------------------------


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of [N, C, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class NextBlock(nn.Module):
    """7x7 depthwise, four times wider and back, with global response normalisation between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, 1, 3, groups=width)
        self.norm = nn.LayerNorm(width, 1e-6)
        self.wide, self.back = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gain, self.shift = nn.Parameter(torch.zeros(4 * width)), nn.Parameter(torch.zeros(4 * width))

    def forward(self, x: Tensor) -> Tensor:
        y = F.gelu(self.wide(self.norm(self.depthwise(x).permute(0, 2, 3, 1))))
        strength = torch.linalg.vector_norm(y, dim=(1, 2), keepdim=True)
        y = self.gain * (y * (strength / (strength.mean(-1, keepdim=True) + 1e-6))) + self.shift + y
        return x + self.back(y).permute(0, 3, 1, 2)


class NextTiny(nn.Sequential):
    """ConvNeXt V2-Tiny without its classifier: [N, 3, 224, 224] to [N, 768]."""

    def __init__(self) -> None:
        widths, layers = (96, 192, 384, 768), []
        for stage, (width, count) in enumerate(zip(widths, (3, 3, 9, 3), strict=True)):
            layers += [nn.Conv2d(3, width, 4, 4), ChannelNorm(width, 1e-6)] if not stage else [
                ChannelNorm(widths[stage - 1], 1e-6), nn.Conv2d(widths[stage - 1], width, 2, 2)]
            layers += [NextBlock(width) for _ in range(count)]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(widths[-1], 1e-6))


# -- both, on the same frames ----------------------------------------------------------------


class Peer:
    """The peer's networks on a frame and on the face in it."""

    def __init__(self, box: np.ndarray) -> None:
        self.detector, self.reader = RetinaFace().eval(), NextTiny().eval()
        self.box = box

    @torch.inference_mode()
    def __call__(self, frame: Frame) -> None:
        picture = torch.from_numpy(frame.image).permute(2, 0, 1)[None].float() - 110
        self.detector(picture)
        left, top, right, bottom = np.maximum(self.box, 0).astype(int)
        crop = cv2.resize(frame.image[top:bottom, left:right], (224, 224))
        self.reader((torch.from_numpy(crop).permute(2, 0, 1)[None].float() - 110) / 60)

    def rate(self, video: Path, seconds: float) -> float:
        """Frames a second, decoded and run."""
        begun, count = time.perf_counter(), 0
        for frame in Again(video.name, play_file(video), seconds, 25.0):
            self(frame)
            count += 1
        return count / (time.perf_counter() - begun)


def ours(video: Path, seconds: float, threads: int | None) -> float:
    """Frames a second of `rtau process`, to a table."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Clip(video, seconds, {"threads": threads}, Path(folder))
        return clip.run(clip.play, [clip.table()])[0].fps


def parameters(net: nn.Module) -> str:
    """How many, in millions."""
    return f"{sum(p.numel() for p in net.parameters()) / 1e6:.2f} M"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path, nargs="?", default=SAMPLE)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each turn")
    parser.add_argument("--threads", type=int, help="of rtau's networks; its own choice when left out")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(cores())
    try:
        analyzer = Analyzer()
        with open_source(args.video) as source:
            box = next((scores.faces.boxes[0] for frame in source if len(scores := analyzer(frame))), None)
    except RtauError as error:
        print(f"rtau: {error}", file=sys.stderr)
        return 2
    if box is None:
        print(f"rtau: there is no face in {args.video}: give a video with one", file=sys.stderr)
        return 2
    peer = Peer(box)
    for frame in itertools.islice(play_file(args.video)(), 3):
        peer(frame)
    print(f"{processor()}, {cores()} cores; {args.video.name}; {analyzer.backend}")
    print(f"peer: RetinaFace {parameters(peer.detector)}, ConvNeXt V2-Tiny {parameters(peer.reader)}, random weights, "
          f"torch {torch.__version__}")
    rates = []
    for turn in range(_ROUNDS):
        rates.append((ours(args.video, args.seconds, args.threads), peer.rate(args.video, args.seconds)))
        print(f"turn {turn + 1}: rtau {rates[-1][0]:.1f} frames/s, peer's networks {rates[-1][1]:.2f}, "
              f"{rates[-1][0] / rates[-1][1]:.1f} times", flush=True)
    print(f"median: {statistics.median(a / b for a, b in rates):.1f} times as fast")
    return 0


if __name__ == "__main__":
    sys.exit(main())
