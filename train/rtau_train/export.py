"""From a run's best checkpoint to a weight file that rtau ships.

    python -m rtau_train.export runs/landmarks --recipe train/recipes/landmarks.toml --out weights
    python -m rtau_train.export runs/au --recipe train/recipes/au.toml --out weights

The AU network's graph is folded, its grades are calibrated on validation people, and the
manifest gets an entry with the file's hash, the recipe and the figures.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from rtau.errors import UsageError
from rtau.model import AuConfig, DeployedAuNet, LandmarkConfig, LandmarkNet, TwoViewNet
from rtau.store import MANIFEST, sha256_of

from .checkpoint import load_checkpoint
from .config import Recipe, read_recipe
from .cutting import crops_of, pixels
from .data.faces import FaceSet
from .evaluate import auc, icc31, platt
from .parts import open_parts

#: Share of faces that show an AU, for which presence is calibrated: fewer than the renders show,
#: more than everyday video does. A larger one finds more smiles and gives more false alarms.
PRIOR = 0.15


def export(run: Path, recipe: Recipe, out: Path, name: str) -> dict:
    """Write the weight file and its manifest entry; returns the entry.

    Raises:
        UsageError: the run trains another network than the recipe. RtauError: it has no checkpoint that can be read.
    """
    saved = load_checkpoint(run / "best.pt")
    if saved["facts"]["task"] != recipe.task:
        raise UsageError(f"{run} trains {saved['facts']['task']}, the recipe {recipe.task}: give the run's own recipe")
    out.mkdir(parents=True, exist_ok=True)
    if recipe.task == "landmarks":
        config = LandmarkConfig.from_dict(saved["facts"]["network"])
        net: torch.nn.Module = LandmarkNet(config)
        net.load_state_dict(saved["averaged"])
        facts = {"kind": "landmarks", "config": config.as_dict(), "input": _input(config.size)}
        figures = {k: round(v, 5) for k, v in saved["figures"].items() if k != "score"}
    else:
        config = AuConfig.from_dict(saved["facts"]["network"])
        trained = TwoViewNet(config, saved["averaged"].get("graph.adjacency"))
        trained.load_state_dict(saved["averaged"])
        folded = DeployedAuNet.fold(trained)
        figures = calibrate(folded, open_parts(recipe).validation.select(config.names))
        facts = {"kind": "au", "aus": list(config.aus), "config": config.as_dict(), "input": _input(config.size)}
        net = folded
    file = out / f"{name}.safetensors"
    partial = file.with_suffix(".partial")
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, partial)
    partial.chmod(0o644)
    os.replace(partial, file)
    entry = {"file": file.name, "sha256": sha256_of(file), **facts, "recipe": f"train/recipes/{recipe.task}.toml",
             "step": saved["step"], "validation": figures}
    manifest = out / MANIFEST
    entries = json.loads(manifest.read_text("utf-8")) if manifest.exists() else {}
    entries[name] = entry
    partial = manifest.with_suffix(".partial")
    partial.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, manifest)
    return entry


@torch.no_grad()
def calibrate(net: DeployedAuNet, faces: FaceSet) -> dict:
    """Fit each grade's slope and shift on faces that were not learned from, in place; returns figures on them."""
    crops = crops_of((faces.pictures[row] for row in range(len(faces))), faces.points, net.config.size, seed=11)
    chances = torch.cat([
        torch.sigmoid(net.scores(pixels(crops[i:i + 128])).unsqueeze(-1) - net.thresholds).mean(0).clamp(1e-6, 1 - 1e-6)
        for i in range(0, len(crops), 128)])
    logits = torch.log(chances / (1 - chances)).double().numpy()
    for column in range(len(faces.names)):
        for grade in range(net.config.grades):
            known, truth = faces.labels[:, column] != 0, faces.labels[:, column] > 0
            if grade:
                known, truth = np.isfinite(faces.intensity[:, column]), faces.intensity[:, column] >= grade + 1
            share = max((faces.labels[known, column] > 0).mean(), 1e-3) if known.any() else 1.0
            # Stronger grades are rarer in life too, in the proportion that these faces show.
            prior = PRIOR * truth[known].mean() / share if known.any() else PRIOR
            slope, shift = platt(logits[known, column, grade], truth[known], max(prior, 0.005))
            net.calibration[0, column, grade], net.calibration[1, column, grade] = slope, shift
    presence, expected = (o.numpy() for o in _forward(net, crops))
    per_au = {}
    for column, name in enumerate(faces.names):
        known, graded = faces.labels[:, column] != 0, np.isfinite(faces.intensity[:, column])
        truth, grades = faces.labels[known, column] > 0, faces.intensity[graded, column]
        per_au[name] = {"auc": round(auc(truth, presence[known, column]), 4),
                        "positives": int(truth.sum()), "negatives": int((~truth).sum())}
        if net.config.grades > 1 and graded.any():
            per_au[name] |= {"icc": round(icc31(grades, expected[graded, column]), 4),
                             "mae": round(float(np.abs(grades - expected[graded, column]).mean()), 4)}
    return {**{key: round(float(np.nanmean([v.get(key, np.nan) for v in per_au.values()])), 4)
               for key in ("auc", "icc") if any(np.isfinite(v.get(key, np.nan)) for v in per_au.values())},
            "per_au": per_au}


def _forward(net: DeployedAuNet, crops: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    parts = [net(pixels(crops[i:i + 128])) for i in range(0, len(crops), 128)]
    return torch.cat([p for p, _ in parts]), torch.cat([i for _, i in parts])


def _input(size: int) -> dict:
    return {"shape": ["N", 3, size, size], "colour": "RGB", "range": [0, 255]}


def main() -> None:
    parser = argparse.ArgumentParser(description="Turn a run's best checkpoint into a weight file.")
    parser.add_argument("run", type=Path)
    parser.add_argument("changes", nargs="*", help="key=value, as given to the training")
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("weights"))
    args = parser.parse_intermixed_args()
    recipe = read_recipe(args.recipe, tuple(args.changes))
    print(json.dumps(export(args.run, recipe, args.out, recipe.task)["validation"], indent=1))


if __name__ == "__main__":
    main()
