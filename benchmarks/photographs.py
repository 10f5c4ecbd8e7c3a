"""rtau on real photographs: which smiles it sees, what it sees in neutral faces, and everyday photographs.

    python benchmarks/photographs.py --faces rtau-data/faces [--stills stills] [--model au.safetensors] [--part test]

Whole pipeline, pictures one by one. Per AU:

    neutral   false alarms / neutral portraits           smiles   seen / labeled smiles that show it
    AUC       of presence among all labeled portraits    stills   AUC among labeled everyday faces (how many show it)
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import cv2

from rtau.analyze import Analyzer
from rtau.errors import RtauError
from rtau_train.progress import CountBar
from rtau_train.suite.photographs import Figures, figures, list_portraits, list_stills, look


def line_of(row: Figures) -> str:
    """A line of the table."""
    def share(value: float) -> str:
        return "-" if math.isnan(value) else f"{value:.3f}"

    smiles = f"{row.seen}/{row.smiles}" if row.smiles else "-"
    stills = f"{share(row.stills_auc)} ({row.stills})" if not math.isnan(row.stills_auc) else "-"
    return f"{row.au:>4} {f'{row.alarms}/{row.neutral}':>9} {smiles:>8} {share(row.auc):>6} {stills:>12}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True, help="portraits, as rtau data fetch packs them")
    parser.add_argument("--stills", type=Path, help="everyday photographs")
    parser.add_argument("--model", type=Path, help="an AU network that rtau export wrote (default: the shipped one)")
    parser.add_argument("--part", default="test", choices=("train", "validation", "test", "all"))
    args = parser.parse_args()
    cv2.setNumThreads(1)
    try:
        photographs = list_portraits(args.faces, args.part) + (list_stills(args.stills) if args.stills else [])
        analyzer = Analyzer(model=args.model, smooth="off", detect_width=(320, 640))
        with CountBar("photographs") as tell:
            seen = look(photographs, analyzer, tell)
    except RtauError as error:
        print(f"rtau: {error}", file=sys.stderr)
        return 2
    print(f"{len(photographs)} faces, {args.part} people, {analyzer.weights.path.name}, {analyzer.backend}")
    print(f"{'AU':>4} {'neutral':>9} {'smiles':>8} {'AUC':>6} {'stills':>12}")
    rows = figures(seen)
    for row in rows:
        print(line_of(row))
    alarms, judged = sum(row.alarms for row in rows), sum(row.neutral for row in rows)
    print(f"false alarms on neutral faces: {alarms} of {judged} ({100 * alarms / max(judged, 1):.1f} %)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
