"""The best network of a run's folder, as it was trained, and what the folder says of how."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from rtau.errors import InputError, RtauError
from rtau.finder import FinderConfig, FinderNet
from rtau.model import AuConfig, DeployedAuNet, LandmarkConfig, LandmarkNet, TwoViewNet

from ..checkpoint import load_checkpoint
from ..config import Recipe, build_recipe

#: What stands in a manifest for a recipe that is no file: `suggest` chose the settings.
SUGGESTED = "suggested"


@dataclass(frozen=True)
class Trained:
    """A network as its checkpoint has it, with averaged weights, ready to be held against.

    Attributes:
        run: the folder.
        net: `TwoViewNet`, `LandmarkNet` or `FinderNet`.
        recipe: as it took effect.
        saved: the checkpoint, see `loop.train`; without its weights.
        around: what environment.json says; {} where there is none.
    """

    run: Path
    net: TwoViewNet | LandmarkNet | FinderNet
    recipe: Recipe
    saved: Mapping[str, Any] = field(repr=False)
    around: Mapping[str, Any] = field(repr=False)

    @property
    def kind(self) -> str:
        """"au", "landmarks" or "detector"."""
        return self.saved["facts"]["task"]

    @property
    def size(self) -> int:
        """Side of the crops, or longer side of the pictures, pixels."""
        return self.net.config.size

    def fold(self) -> DeployedAuNet | LandmarkNet | FinderNet:
        """The network as it runs."""
        return DeployedAuNet.fold(self.net) if isinstance(self.net, TwoViewNet) else self.net

    def describe(self) -> dict[str, Any]:
        """What a manifest says of it, but for file and figures; names of folders in place of whole paths."""
        config, size = self.net.config, self.size
        shape = ["H", "W"] if isinstance(config, FinderConfig) else [size, size]
        aus = {"aus": list(config.aus)} if isinstance(config, AuConfig) else {}
        data = {name: {key: value for key, value in facts.items() if key != "digest"}
                for name, facts in self.saved["facts"].get("data", {}).items() if facts}
        return {"kind": self.kind, **aus, "config": config.as_dict(),
                "input": {"shape": ["N", 3, *shape], "colour": "RGB", "range": [0, 255]},
                "recipe": self._recipe_file(), "settings": _told(asdict(self.recipe)), "data": data,
                "step": self.saved["step"], "rtau": self.saved["rtau"], "revision": self.around.get("revision")}

    def _recipe_file(self) -> str:
        """The recipe that the command line names."""
        words = [str(word) for word in self.around.get("command", ()) if str(word).endswith(".toml")]
        if not words:
            return SUGGESTED if self.around else "unknown"
        return Path(words[0]).name if Path(words[0]).is_absolute() else Path(words[0]).as_posix()


def open_trained(run: Path) -> Trained:
    """The best checkpoint of a run.

    Raises:
        InputError: the folder is no run's, has no checkpoint yet, or something in it is damaged.
        UsageError: the checkpoint is of another version.
    """
    best = run / "best.pt"
    if not best.is_file():
        why = "holds no best checkpoint yet (best.pt)" if run.is_dir() else "is no folder"
        raise InputError(f"{run} {why}: give the folder of rtau train --run, once it has validated")
    try:
        saved = load_checkpoint(best)
    except RtauError as error:
        what = str(error).rpartition(": ")[0]
        raise type(error)(f"{what}: train it again with rtau train --restart, or export it with the rtau that trained "
                          "it") from error.__cause__
    recipe = _read_recipe(run)
    try:
        net = _load(saved["facts"], saved.pop("averaged"))
    except (RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{best} holds no network that rtau {saved['rtau']} trains ({_line(error)}): give the folder "
                         "of rtau train --run") from None
    if not all(torch.isfinite(value).all() for value in net.state_dict().values()):
        raise InputError(f"{best} holds weights that are no numbers: train it again with rtau train --restart")
    around = run / "environment.json"
    return Trained(run, net, recipe, saved, _read_json(around) if around.is_file() else {})


def _load(facts: Mapping[str, Any], weights: Mapping[str, torch.Tensor]
          ) -> TwoViewNet | LandmarkNet | FinderNet:
    net: TwoViewNet | LandmarkNet | FinderNet
    if facts["task"] == "landmarks":
        net = LandmarkNet(LandmarkConfig.from_dict(facts["network"]))
    elif facts["task"] == "detector":
        net = FinderNet(FinderConfig.from_dict(facts["network"]))
    elif facts["task"] == "au":
        net = TwoViewNet(AuConfig.from_dict(facts["network"]), weights.get("graph.adjacency"))
    else:
        raise KeyError(f"task {facts['task']}")
    net.load_state_dict(weights)
    return net.requires_grad_(False).eval()


def _read_recipe(run: Path) -> Recipe:
    file = run / "config.json"
    if not file.is_file():
        raise InputError(f"{run} has no config.json, which says how it was trained: give the whole folder of "
                         "rtau train --run")
    try:
        return build_recipe(_told(_read_json(file)), where=str(file))
    except RtauError as error:
        raise InputError(f"{error}: give a folder as rtau train --run left it") from None


def _read_json(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text("utf-8"))
        if not isinstance(values, dict):
            raise ValueError("no settings")
        return values
    except (OSError, ValueError) as error:
        raise InputError(f"{file} can't be read ({_line(error)})") from None


def _told(value: Any) -> Any:
    """Plain values without what is not given, and of paths only the last name: a manifest goes to other machines."""
    if isinstance(value, dict):
        return {key: _told(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, (list, tuple)):
        return [_told(inner) for inner in value]
    return value.name if isinstance(value, Path) else value


def _line(error: BaseException) -> str:
    return (str(error).strip("'\"").splitlines() or [type(error).__name__])[0]
