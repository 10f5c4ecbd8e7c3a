"""From renders to real faces: what each step changes, for networks as `rtau train` leaves them.

    python benchmarks/transfer.py --faces rtau-data/faces --renders renders-validation [--stills stills]
        [--unlabeled photos] [--part dev|test] RUN [RUN ...]

Steps that need no training, each alone and on each RUN:

    mirror      mean of the picture's and its mirror image's scores
    statistics  batch norms take mean and variance from real unlabeled faces (--unlabeled), half or wholly
    neutral     of portraits: scores less those of the same person at rest
    together    all RUNs' mean

Columns: mean AUC on renders (validation people); on real portraits AUC of AU 12, 6 and 25, the share of labeled smiles
that show AU12 and are found when 1 of 50 neutral faces is called one too, and the mean over the other AUs of how many
neutral faces score higher than a render that shows the AU with even odds; mean AUC on labeled everyday faces.
"dev" are the portraits of people who train or validate, by which steps are chosen; "test" those kept out.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from rtau_train.cutting import crops_of, pixels
from rtau_train.data.corpus import open_faces
from rtau_train.data.faces import FaceSet
from rtau_train.data.people import part_of
from rtau_train.data.renders import open_renders
from rtau_train.evaluate import auc
from rtau_train.export.trained import open_trained
from rtau_train.suite.photographs import Photograph, list_portraits, list_stills
from torch import nn

from rtau.analyze import Analyzer
from rtau.crop import align
from rtau.errors import RtauError
from rtau.model import TwoViewNet, normalize
from rtau.source import open_source

#: Faces that run through a network together.
_BATCH = 64
#: One neutral face in so many may be called a smile.
_ALARMS = 50
#: Labeled everyday faces that show an AU, and that don't, for its AUC to count.
_LEAST = 5

Scores = Callable[[np.ndarray], np.ndarray]


class Photographs:
    """Labeled photographs, aligned once as the whole pipeline would.

    Attributes:
        known: [N] of them; those in which no face is found are left out.
        crops: uint8 [N, S, S, 3], RGB.
    """

    def __init__(self, photographs: list[Photograph], size: int) -> None:
        analyzer = Analyzer(smooth="off", detect_width=(320, 640))
        known, crops = [], []
        for photograph in photographs:
            frame = next(iter(open_source(str(photograph.file))))
            faces = analyzer(frame).faces
            row = _row(photograph, faces.landmarks, frame.size)
            if row is not None:
                known.append(photograph)
                crops.append(align(frame.image, faces.landmarks[row:row + 1], size)[0])
        self.known, self.crops = known, np.stack(crops)


def _row(photograph: Photograph, landmarks: np.ndarray, size: tuple[int, int]) -> int | None:
    if not len(landmarks):
        return None
    if photograph.nose is None:
        return int(np.argmax(np.ptp(landmarks, axis=1).prod(1)))
    away = np.abs(landmarks[:, 30] / np.array(size) - photograph.nose).max(1)
    return int(np.argmin(away)) if away.min() < 0.05 else None


# -- steps -----------------------------------------------------------------------------------


@torch.no_grad()
def score(net: TwoViewNet, crops: np.ndarray) -> np.ndarray:
    """Log-odds of presence [N, C] of the views' mean chance."""
    parts = []
    for start in range(0, len(crops), _BATCH):
        scores = net(normalize(pixels(crops[start:start + _BATCH])))
        reached, missed = (torch.sigmoid(x).mean(0).clamp(min=1e-6) for x in (scores, -scores))
        parts.append(torch.log(reached / missed).numpy())
    return np.concatenate(parts)


def mirrored(net: TwoViewNet) -> Scores:
    """The mean of both sides."""
    return lambda crops: (score(net, crops) + score(net, np.ascontiguousarray(crops[:, :, ::-1]))) / 2


@torch.no_grad()
def with_statistics(net: TwoViewNet, crops: np.ndarray, share: float) -> TwoViewNet:
    """A copy whose batch norms have, by `share`, the mean and variance of these faces."""
    twin = copy.deepcopy(net)
    norms = [m for m in twin.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    before = [(m.running_mean.clone(), m.running_var.clone()) for m in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    for start in range(0, len(crops) - _BATCH + 1, _BATCH):
        twin(normalize(pixels(crops[start:start + _BATCH])))
    for norm, (mean, variance) in zip(norms, before, strict=True):
        norm.running_mean.lerp_(mean, 1 - share)
        norm.running_var.lerp_(variance, 1 - share)
    return twin.eval()


# -- figures ---------------------------------------------------------------------------------


class Ruler:
    """What all are measured on."""

    def __init__(self, names: tuple[str, ...], size: int, args: argparse.Namespace) -> None:
        self.names = names
        renders = open_renders(args.renders, "validation").select(names)
        self.renders: FaceSet = renders[np.linspace(0, len(renders) - 1, min(args.count, len(renders))).astype(int)]
        self.render_crops = np.concatenate([crops_of([self.renders.pictures[i]], self.renders.points[i:i + 1], size, seed=i)
                                            for i in range(len(self.renders))])
        portraits = list_portraits(args.faces, "all")
        portraits = [p for p in portraits if (part_of(p.person) == "test") == (args.part == "test")]
        self.portraits = Photographs(portraits, size)
        self.stills = Photographs(list_stills(args.stills), size) if args.stills else None

    def line(self, scores: Scores, *, neutral: bool = False) -> str:
        """One row of the table."""
        renders, portraits = scores(self.render_crops), scores(self.portraits.crops)
        truth = self.renders.labels
        each = [auc(truth[known, c] > 0, renders[known, c]) for c in range(truth.shape[1])
                if (known := truth[:, c] != 0).any()]
        known = self.portraits.known
        at_rest = np.array([p.kind == "neutral" for p in known])
        if neutral:
            rest = {p.person: row for row, p in enumerate(known) if p.kind == "neutral"}
            # A person's neutral portrait is compared with everybody's mean at rest: it can't be its own reference.
            mean = portraits[at_rest].mean(0)
            portraits = np.stack([s - (portraits[rest[p.person]] if p.kind == "smile" and p.person in rest else mean)
                                  for s, p in zip(portraits, known, strict=True)])
        real = [self._auc(self.portraits, portraits, au) for au in (12, 6, 25)]
        column = self.names.index("AU12")
        smiles = np.array([p.kind == "smile" and p.shows(12) is True for p in known])
        limit = np.sort(portraits[at_rest, column])[::-1][max(at_rest.sum() // _ALARMS, 1) - 1]
        found = (portraits[smiles, column] > limit).mean()
        false = np.mean([(portraits[at_rest, c] > np.median(renders[truth[:, c] > 0, c])).mean()
                         for c, name in enumerate(self.names) if name not in ("AU12", "AU06", "AU25")
                         and (truth[:, c] > 0).any()])
        text = f"{np.nanmean(each):8.4f} " + " ".join(f"{v:6.3f}" for v in real) + f" {found:6.2f} " + ("      -" if neutral else f"{false:7.4f}")
        if self.stills is not None:
            stills = scores(self.stills.crops)
            text += f" {np.nanmean([self._auc(self.stills, stills, int(n[2:])) for n in self.names]):7.3f}"
        return text

    def _auc(self, photographs: Photographs, scores: np.ndarray, au: int) -> float:
        shown = np.array([np.nan if (s := p.shows(au)) is None else float(s) for p in photographs.known])
        known = np.isfinite(shown)
        if min((shown[known] > 0).sum(), (shown[known] == 0).sum()) < _LEAST:
            return float("nan")
        return float(auc(shown[known] > 0, scores[known, self.names.index(f"AU{au:02d}")]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of rtau train, all with the same AUs and crops")
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--renders", type=Path, required=True, help="of validation people")
    parser.add_argument("--stills", type=Path)
    parser.add_argument("--unlabeled", type=Path, help="aligned real faces")
    parser.add_argument("--part", choices=("dev", "test"), default="dev")
    parser.add_argument("--count", type=int, default=1200, help="renders to measure on")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    try:
        nets = {run.name: open_trained(run).net for run in args.runs}
        first = next(iter(nets.values()))
        ruler = Ruler(first.config.names, first.config.size, args)
        faces = None
        if args.unlabeled:
            photos = open_faces(args.unlabeled)
            faces = np.concatenate([crops_of([photos.pictures[i]], photos.points[i:i + 1], first.config.size, seed=i)
                                    for i in range(len(photos))])
    except RtauError as error:
        print(f"rtau: {error}", file=sys.stderr)
        return 2
    count = sum(p.kind == "neutral" for p in ruler.portraits.known)
    print(f"{len(ruler.renders)} renders; {len(ruler.portraits.known)} portraits of {args.part} people, {count} neutral")
    print(f"{'run':<16} {'step':<16} {'renders':>8} {'AU12':>6} {'AU6':>6} {'AU25':>6} {'found':>6} {'false':>7} "
          f"{'stills':>7}")

    def tell(run: str, step: str, scores: Scores, **more: bool) -> None:
        print(f"{run:<16} {step:<16} {ruler.line(scores, **more)}", flush=True)

    for name, net in nets.items():
        plain: Scores = lambda crops, net=net: score(net, crops)
        tell(name, "as trained", plain)
        tell(name, "mirror", mirrored(net))
        tell(name, "neutral", plain, neutral=True)
        if faces is not None:
            for share in (0.5, 1.0):
                twin = with_statistics(net, faces, share)
                tell(name, f"statistics {share:g}", lambda crops, net=twin: score(net, crops))
    if len(nets) > 1:
        tell("all", "together", lambda crops: np.mean([score(net, crops) for net in nets.values()], axis=0))
    return 0


if __name__ == "__main__":
    sys.exit(main())
