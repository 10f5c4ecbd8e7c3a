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

from rtau.model import GRADES, DeployedAuNet, LandmarkConfig, LandmarkNet, TwoViewNet
from rtau.store import MANIFEST, sha256_of

from .action_units import crops_of, pixels
from .config import Recipe, read_recipe
from .data.shards import load_shards
from .evaluate import auc, icc31, platt
from .puppet.sample import AUS

#: Share of faces that show an AU, for which presence is calibrated: fewer than the renders show,
#: more than everyday video does. A larger one finds more smiles and gives more false alarms.
PRIOR = 0.15


def export(run: Path, recipe: Recipe, out: Path, name: str) -> dict:
    """Write the weight file and its manifest entry; returns the entry.

    Raises:
        FileNotFoundError: the run has no checkpoint yet.
    """
    saved = torch.load(run / "best.pt", weights_only=True)
    out.mkdir(parents=True, exist_ok=True)
    if recipe.task == "landmarks":
        config = LandmarkConfig.from_dict(recipe.model)
        net: torch.nn.Module = LandmarkNet(config)
        net.load_state_dict(saved["averaged"])
        facts = {"kind": "landmarks", "config": config.as_dict(), "input": _input(config.size)}
        figures = {k: round(v, 5) for k, v in saved["figures"].items() if k != "score"}
    else:
        from .action_units import AuTask
        config, adjacency = AuTask.config_of(recipe), saved["averaged"]["graph.adjacency"]
        trained = TwoViewNet(config, adjacency)
        trained.load_state_dict(saved["averaged"])
        folded = DeployedAuNet.fold(trained)
        figures = calibrate(folded, recipe)
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
def calibrate(net: DeployedAuNet, recipe: Recipe) -> dict:
    """Fit each grade's slope and shift on validation people, in place; returns their figures."""
    renders = load_shards(recipe.renders, "validation")
    intensity, known = renders.facts["intensity"], renders.facts["known"]
    crops = crops_of(renders, net.config.size, seed=11)
    logits = torch.cat([
        torch.sigmoid(net.scores(pixels(crops[i:i + 128])).unsqueeze(-1) - net.thresholds).mean(0).clamp(1e-6, 1 - 1e-6)
        for i in range(0, len(crops), 128)])
    logits = torch.log(logits / (1 - logits)).double().numpy()
    for column in range(len(AUS)):
        rows = known[:, column]
        reached = intensity[rows, column] >= 1
        share = max(reached.mean(), 1e-3)
        for grade in range(GRADES):
            truth = intensity[rows, column] >= grade + 1
            # Stronger grades are rarer in life too, in the proportion that the renders show.
            prior = PRIOR * truth.mean() / share
            slope, shift = platt(logits[rows, column, grade], truth, max(prior, 0.005))
            net.calibration[0, column, grade], net.calibration[1, column, grade] = slope, shift
    presence, expected = (o.numpy() for o in _forward(net, crops))
    per_au = {}
    for column, au in enumerate(AUS):
        rows = known[:, column]
        truth = intensity[rows, column]
        per_au[f"AU{au:02d}"] = {
            "auc": round(auc(truth >= 1, presence[rows, column]), 4),
            "icc": round(icc31(truth, expected[rows, column]), 4),
            "mae": round(float(np.abs(truth - expected[rows, column]).mean()), 4),
            "positives": int((truth >= 1).sum()), "negatives": int((truth < 1).sum())}
    return {"auc": round(float(np.mean([v["auc"] for v in per_au.values()])), 4),
            "icc": round(float(np.mean([v["icc"] for v in per_au.values()])), 4), "per_au": per_au}


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
