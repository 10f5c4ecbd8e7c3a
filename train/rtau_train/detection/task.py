"""Training the finder of faces on composites."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn

from rtau.backends.torch import TorchRunner
from rtau.boxes import suppress
from rtau.detect_rtau import cells, decode
from rtau.errors import InputError, UsageError
from rtau.finder import FinderConfig, FinderNet
from rtau.landmarks import LandmarkReader
from rtau.store import find_weights

from ..batches import Batch, Share
from ..config import Recipe
from ..cutting import pixels
from ..data.people import Part
from ..parts import digest
from .composites import Album, Composite, draw_composite
from .figures import Tally
from .loss import finder_loss
from .parts import load_backgrounds, load_people, load_rendered
from .targets import assign

#: Settings in `Recipe.options`.
_OPTIONS = {"size": 256, "faceless": 0.12, "mined": "", "validated": 160}
#: Of validation pictures that have no face.
_FACELESS = 0.3
#: Least scores of boxes that are looked at, and of those that count as found.
_FAINT, FOUND = 0.05, 0.5


class DetectorTask:
    """Batches, loss and validation of the finder.

    `recipe.options`: `size` of the composites, pixels, a multiple of 32; `faceless`, share of those without a face,
    beside those without one by chance; `mined`, a file of seeds that `detection.mine` wrote, whose composites without
    a face then take part; `validated`, composites to validate on.

    Raises:
        UsageError: the recipe lacks something, or has an unknown option.
        RtauError: the recipe's renders or faces can't be read.
    """

    charts: Mapping[str, Sequence[str]] = MappingProxyType({
        "loss": ("loss", "there", "box", "points"), "figures": ("precision", "recall", "recall_9"),
        "false": ("false", "false_faceless")})

    def __init__(self, recipe: Recipe) -> None:
        if recipe.renders is None or recipe.faces is None:
            raise UsageError("the detector needs renders and faces: give both folders in the recipe")
        unknown = sorted(set(recipe.options) - set(_OPTIONS))
        if unknown:
            raise UsageError(f"unknown option {unknown[0]!r}; known are {', '.join(_OPTIONS)}")
        options = {**_OPTIONS, **recipe.options}
        if options["size"] % 32 or options["size"] <= 0:
            raise UsageError(f"options.size is {options['size']}, expected a multiple of 32")
        self.count, self.size, self.faceless = recipe.loop.batch, int(options["size"]), float(options["faceless"])
        self.config = FinderConfig.from_dict(recipe.model)
        self.model: nn.Module = FinderNet(self.config)
        if recipe.init is not None:
            self._begin(recipe.init)
        self.mined = _read_mined(Path(options["mined"])) if options["mined"] else ()
        self.album = open_album(recipe, "train")
        self.places, self.strides = (torch.from_numpy(v).float() for v in cells(self.size, self.size))
        self.facts = {"task": "detector", "network": self.config.as_dict(), "options": options,
                      "init": None if recipe.init is None else str(recipe.init),
                      "data": {"portraits": _told(self.album.people), "renders": _told(self.album.rendered),
                               "backgrounds": {"pictures": len(self.album.pictures)},
                               "mined": {"pictures": len(self.mined)}}}
        self.checks = validation_composites(open_album(recipe, "validation"), self.size, int(options["validated"]))

    def _begin(self, file: Path) -> None:
        from ..checkpoint import load_checkpoint
        try:
            self.model.load_state_dict(load_checkpoint(file)["averaged"])
        except (KeyError, RuntimeError):
            raise InputError(f"{file} holds no detector of these settings: give best.pt of such a run") from None

    # -- batches -----------------------------------------------------------------------------

    def batch(self, share: Share) -> Batch:
        """Composites with what each cell should say of them."""
        drawn, sources = [], []
        for row in share.rows(self.count):
            rng = share.rng(row)
            kind = rng.random()
            if self.mined and kind < 0.1:
                seed = self.mined[rng.integers(len(self.mined))]
                drawn.append(faceless_composite(self.album, self.size, seed))
                sources.append(f"mined {seed}")
            else:
                drawn.append(draw_composite(self.album, self.size, rng, faces=kind < 1 - self.faceless))
                sources.append(f"composite {share.seed} {share.step} {row}")
        targets = [assign(c.boxes, c.points, c.ignored, self.size, self.size) for c in drawn]
        tensors = {"pixels": np.stack([c.image for c in drawn]),
                   **{name: np.stack([getattr(t, name) for t in targets]) for name in ("there", "boxes", "points")}}
        found = float((tensors["there"] > 0).sum())
        return Batch({name: torch.from_numpy(value) for name, value in tensors.items()},
                     {"there": float(len(drawn)), "box": found, "points": found}, tuple(sources))

    # -- loss --------------------------------------------------------------------------------

    def factors(self, step: int) -> dict[str, float]:
        """How much each term counts, the same at every step."""
        return {"there": 0.25, "box": 1.0, "points": 3.0}

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """See `finder_loss`."""
        device = batch["pixels"].device
        return finder_loss(model(pixels(batch["pixels"])), batch["there"], batch["boxes"], batch["points"],
                           self.places.to(device), self.strides.to(device))

    # -- validation --------------------------------------------------------------------------

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Average precision; recall, false boxes a picture and error of the points at the least score of a find."""
        model.eval()
        device = next(model.parameters()).device
        tally, faceless = Tally(), Tally()
        for start in range(0, len(self.checks), 16):
            part = self.checks[start:start + 16]
            outputs = [o.cpu().numpy() for o in model(pixels(np.stack([c.image for c in part])).to(device))]
            for composite, *said in zip(part, *outputs, strict=True):
                rows = decode(*said, (self.size, self.size), _FAINT)
                rows = rows[suppress(rows[:, :4], rows[:, 4])]
                for each in (tally, faceless) if not len(composite.boxes) else (tally,):
                    each.add(rows, composite.boxes, composite.points, composite.ignored)
        precision = tally.average_precision()
        return {"precision": precision, "recall": tally.recall(FOUND), "recall_9": tally.recall(FOUND, 9, 20),
                "false": tally.false(FOUND), "false_faceless": faceless.false(FOUND), "error": tally.error(),
                "score": precision - 0.2 * faceless.false(FOUND)}


def open_album(recipe: Recipe, part: Part) -> Album:
    """The parts of composites, of one part of the people; renders of those who validate may lie in `data.validation`.

    Raises RtauError or OSError where they can't be read.
    """
    renders = recipe.renders if part == "train" else recipe.data.validation or recipe.renders
    assert recipe.faces is not None and renders is not None
    weights = find_weights("landmarks")
    reader = LandmarkReader(weights, TorchRunner(weights))
    return Album(load_people(recipe.faces, part, reader), load_rendered(renders, part, recipe.most_per_person),
                 load_backgrounds(recipe.faces, part))


def faceless_composite(album: Album, size: int, seed: int) -> Composite:
    """The composite without a face of a seed, as `detection.mine` numbers them."""
    return draw_composite(album, size, np.random.default_rng([91, seed]), faces=False)


def validation_composites(album: Album, size: int, count: int) -> list[Composite]:
    """Composites that are always the same, some without a face."""
    return [draw_composite(album, size, np.random.default_rng([17, number]), faces=number >= _FACELESS * count)
            for number in range(count)]


def _told(cutouts) -> dict:
    return {"pictures": len(cutouts), "people": len({c.person for c in cutouts}),
            "digest": digest(np.array([c.points for c in cutouts]))}


def _read_mined(file: Path) -> tuple[int, ...]:
    try:
        seeds = json.loads(file.read_text("utf-8"))["seeds"]
        return tuple(int(seed) for seed in seeds)
    except OSError as error:
        raise InputError(f"the mined seeds {file} can't be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{file} holds no mined seeds: give what python -m rtau_train.detection.mine wrote") from None
