"""Composites without a face in which a finder finds one, for its next training.

    python -m rtau_train.detection.mine runs/detector --out mined.json --count 4000
    rtau train train/recipes/detector.toml --run runs/second init=runs/detector/best.pt options.mined=mined.json

A composite follows from its seed, so that seeds are all that is kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from rtau.errors import InputError, RtauError
from rtau.finder import FinderNet
from rtau.sinks.paths import replaced

from ..cutting import pixels
from ..export.trained import open_trained
from ..progress import CountBar
from .composites import Album
from .task import faceless_composite, open_album

#: Of a box that is worth learning from.
LEAST = 0.3


def mine(net: FinderNet, album: Album, size: int, seeds: range, *, least: float = LEAST,
         tell: Callable[[int, int], None] | None = None) -> list[int]:
    """The seeds whose composites without a face have a score of `least` or more somewhere, the worst first."""
    worst: list[tuple[float, int]] = []
    for start in range(0, len(seeds), 16):
        part = seeds[start:start + 16]
        with torch.no_grad():
            scores = net(pixels(np.stack([faceless_composite(album, size, seed).image for seed in part])))[0]
        worst += zip(scores.sigmoid().amax(1).tolist(), part, strict=True)
        if tell:
            tell(start + len(part), len(seeds))
    return [seed for score, seed in sorted(worst, reverse=True) if score >= least]


def main() -> int:
    """The command line, see above; gives its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a detector's rtau train")
    parser.add_argument("--out", type=Path, required=True, help="file for the seeds")
    parser.add_argument("--count", type=int, default=4000, help="composites to look at (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="seed of the first, to look at others than before")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    try:
        trained = open_trained(args.run)
        if not isinstance(trained.net, FinderNet):
            raise InputError(f"{args.run} holds no detector: give the folder of one")
        options = trained.saved["facts"]["options"]
        with CountBar("pictures") as tell:
            seeds = mine(trained.net, open_album(trained.recipe, "train"), int(options["size"]),
                         range(args.first, args.first + args.count), tell=tell)
        with replaced(args.out) as file:
            json.dump({"seeds": seeds, "of": args.count, "least": LEAST}, file)
    except RtauError as error:
        print(f"rtau: {error}", file=sys.stderr)
        return 2
    print(f"{args.out}: {len(seeds)} of {args.count} composites without a face have a score of {LEAST} or more")
    return 0


if __name__ == "__main__":
    sys.exit(main())
