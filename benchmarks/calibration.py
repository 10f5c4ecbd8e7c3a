"""What a person's resting face is worth: the shipped network with and without a profile.

    python benchmarks/calibration.py --faces rtau-data/faces --renders renders-test [--part test]

Each person's neutral photograph is the resting face (one picture in place of the seconds that rtau calibrate takes).
Judged are the renders of the same person, whose AUs are known, and the smiling photograph: at a chance of .5 how many
AUs that are there are found, how many that are not are seen all the same, and the mean over AUs of the AUC. Renders
come from the same photograph, so light and camera are those of the resting face, as they are when one calibrates and
goes on; a profile from another day is worth less.

With --clips, clips with truth that `rtau eval --suite open` makes: each played to and fro, five times, as one
recording; the last time is judged, without and with the automatic baseline.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from rtau_train.cutting import crops_of
from rtau_train.data.people import part_of
from rtau_train.data.renders import open_renders
from rtau_train.evaluate import auc
from rtau_train.suite.clips import Clip, list_clips, truth_path
from rtau_train.suite.photographs import Photograph, list_portraits
from rtau_train.suite.recordings import read_truth

from rtau.analyze import Analyzer
from rtau.backends import open_backend
from rtau.baseline import BASELINES
from rtau.calibrate import Calibrator, Profile
from rtau.errors import RtauError
from rtau.source import open_source
from rtau.store import Weights, find_weights
from rtau.types import Faces, Frame, Scores

_FRAME = Frame(np.zeros((1, 1, 3), np.uint8), 0.0, 0, still=True)


def scores_of(aus: tuple[int, ...], presence: np.ndarray, intensity: np.ndarray) -> Scores:
    """One face's values [C] as scores."""
    face = Faces(np.float32([[0, 0, 1, 1]]), np.ones(1, np.float32), np.zeros(1, np.int64),
                 np.zeros((1, 68, 2), np.float32), np.zeros((1, 3), np.float32))
    known = np.isfinite(presence)[None]
    return Scores(aus, face, presence[None], intensity[None], known & (np.nan_to_num(presence) >= 0.5), known,
                  np.ones(1, np.float32))


def look(photograph: Photograph, analyzer: Analyzer) -> Scores | None:
    """What the whole pipeline says of the largest face before smoothing; None where there is none."""
    with open_source(str(photograph.file)) as source:
        aligned = analyzer.find(next(iter(source)))
    if not len(aligned):
        return None
    scores = analyzer.read([aligned])[0]
    row = int(np.argmax(np.ptp(scores.faces.landmarks, axis=1).prod(1)))
    return scores_of(scores.aus, scores.presence[row], scores.intensity[row])


def profile_of(scores: Scores, weights: Weights) -> Profile:
    """A profile from one picture."""
    return Profile(scores.aus, tuple(scores.presence[0].tolist()), tuple(scores.intensity[0].tolist()), 1,
                   weights.sha256, "")


def with_baseline(clips: Sequence[Clip], passes: int = 5) -> list[str]:
    """Lines on the automatic baseline; see above."""
    moving = [clip for clip in clips if not clip.still]
    told: dict[str, list[np.ndarray]] = {name: [] for name in BASELINES}
    truth: list[np.ndarray] = []
    for clip in moving:
        answer = read_truth(truth_path(clip.video))
        with open_source(str(clip.video)) as source:
            frames = list(source)
        step = frames[1].time
        for name in BASELINES:
            analyzer = Analyzer(baseline=name)
            aus = [au for au in analyzer.aus if au in answer.presence]
            columns = [analyzer.aus.index(au) for au in aus]
            for index in range(passes * len(frames)):
                each, row = divmod(index, len(frames))
                # To and fro: a jump would be another face.
                frame = frames[row if each % 2 == 0 else len(frames) - 1 - row]
                scores = analyzer(replace(frame, time=index * step, index=index))
                if each == passes - 1:
                    told[name].append(scores.presence[0, columns] if len(scores) else np.full(len(aus), np.nan))
        truth += [np.array([answer.presence[au][row] for au in aus]) for row in range(len(frames))]
    there = np.stack(truth)
    before = step * len(frames) * (passes - 1)
    lines = [f"{len(there)} frames of {len(moving)} people, after {before:.0f} s of the same"]
    for name in BASELINES:
        said = np.stack(told[name])
        known = ~np.isnan(said) & ~np.isnan(there)
        shown, absent = known & (there > 0.5), known & (there <= 0.5)
        each = [auc(there[known[:, c], c] > 0.5, said[known[:, c], c]) for c in range(there.shape[1]) if shown[:, c].any()]
        lines.append(f"baseline {name:<6} mean AUC {np.nanmean(each):.4f}, found {(said[shown] >= 0.5).mean():.1%} of "
                     f"{shown.sum()}, seen where it is not {(said[absent] >= 0.5).mean():.2%} of {absent.sum()}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, help="portraits, for profiles")
    parser.add_argument("--renders", type=Path, help="renders of the same people")
    parser.add_argument("--clips", type=Path, help="folder of clips with truth, for the automatic baseline")
    parser.add_argument("--part", choices=("validation", "test"), default="test")
    parser.add_argument("--count", type=int, default=2200, help="renders to measure on")
    args = parser.parse_args()
    if not args.clips and not (args.faces and args.renders):
        parser.error("give --faces and --renders, or --clips")
    cv2.setNumThreads(1)
    try:
        if args.clips:
            print("\n".join(with_baseline(list_clips([args.clips]))))
        if not args.faces or not args.renders:
            return 0
        weights = find_weights("au")
        names, size = weights.labels, int(weights.facts["config"]["size"])
        renders = open_renders(args.renders, args.part).select(names)
        renders = renders[np.linspace(0, len(renders) - 1, min(args.count, len(renders))).astype(int)]
        portraits = [p for p in list_portraits(args.faces, "all") if part_of(p.person) == args.part]
    except RtauError as error:
        print(f"rtau: {error}", file=sys.stderr)
        return 2
    aus = tuple(int(name[2:]) for name in names)
    analyzer = Analyzer(aus=aus, smooth="off", detect_width=(320, 640))
    seen = {(p.person, p.kind): (p, scores) for p in portraits if (scores := look(p, analyzer)) is not None}
    profiles = {person: profile_of(scores, weights) for (person, kind), (_, scores) in seen.items() if kind == "neutral"}

    def calibrate(person: str, scores: Scores) -> Scores:
        calibrator = Calibrator(aus, weights.sha256, weights.ordinary)
        calibrator.use(profiles[person])
        return calibrator(_FRAME, scores)

    run = open_backend(weights)
    crops = np.concatenate([crops_of([renders.pictures[i]], renders.points[i:i + 1], size, seed=i)
                            for i in range(len(renders))])
    outputs = [run(crops[i:i + 64]) for i in range(0, len(crops), 64)]
    presence, intensity = (np.concatenate(column) for column in list(zip(*outputs, strict=True))[:2])
    people = [str(subject).split("#")[0] for subject in renders.subject]
    rows = np.flatnonzero([person in profiles for person in people])
    with_profile = np.stack([calibrate(people[i], scores_of(aus, presence[i], intensity[i])).presence[0] for i in rows])
    print(f"{len(rows)} renders of {len(profiles)} people ({args.part})")
    truth = renders.labels[rows]
    for label, told in (("without", presence[rows]), ("with a profile", with_profile)):
        there, absent = truth > 0, truth < 0
        each = [auc(truth[k, c] > 0, told[k, c]) for c in range(len(aus)) if 0 < (there[k := truth[:, c] != 0, c]).sum()]
        print(f"{label:<15} mean AUC {np.mean(each):.4f}, found {(told[there] >= 0.5).mean():.1%} of {there.sum()}, seen "
              f"where it is not {(told[absent] >= 0.5).mean():.2%} of {absent.sum()}")
    for au in (6, 12, 25):
        smiles = [(person, scores) for (person, kind), (p, scores) in seen.items()
                  if kind == "smile" and person in profiles and p.shows(au) is True]
        before = sum(scores.presence[0, aus.index(au)] >= 0.5 for _, scores in smiles)
        after = sum(calibrate(person, scores).presence[0, aus.index(au)] >= 0.5 for person, scores in smiles)
        print(f"real smiles that show AU{au}: {before} of {len(smiles)} found without, {after} with a profile")
    return 0


if __name__ == "__main__":
    sys.exit(main())
