"""Settings for people without a recipe, by how many faces they have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rtau.errors import RtauError
from rtau.model import AuConfig
from rtau.store import find_weights

from .config import Recipe, change_recipe
from .parts import Parts

#: How often each labeled face is seen. Few faces are soon learned by heart; early stopping ends a longer training.
_EPOCHS = 40
_LEAST, _MOST = 400, 20000
_VALIDATIONS = 40


def suggest(recipe: Recipe, parts: Parts, changes: Sequence[str] = ()) -> Recipe:
    """The recipe with settings that suit the faces, in place of its own for loop, method and network.

    The backbones begin as those of the shipped network, if they are of its build: few faces would not teach them to
    see. A batch is at most a tenth of the faces. A quarter of the steps is supervised learning alone, since views that
    know nothing yet agree on nothing; over the next quarter co-regularization and the multi-view loss rise. Training
    ends when half of it brings no better score. Without intensities the network tells presence alone.

    Args:
        recipe: what is known already.
        parts: its faces.
        changes: settings of one's own, as `config.read_recipe` takes them; the suggested ones follow from them.
    """
    chosen = {change.partition("=")[0] for change in changes}
    wanted = change_recipe(recipe, changes).loop
    faces = len(parts.labeled)
    batch = wanted.batch if "loop.batch" in chosen else next((n for n in (64, 32, 16) if faces >= 10 * n), 8)
    steps = wanted.steps if "loop.steps" in chosen else \
        min(max(_EPOCHS * faces // batch, _LEAST), _MOST) // _VALIDATIONS * _VALIDATIONS
    loop = replace(recipe.loop, steps=steps, batch=batch, warmup=steps // 20,
                   evaluate_every=max(steps // _VALIDATIONS, 1), patience=_VALIDATIONS // 2, ema=min(0.999, max(1 - 20 / steps, 0.5)))
    method = replace(recipe.method, pretrain=steps // 4, ramp=steps // 4)
    model = {"grades": 5 if parts.labeled.graded else 1, **recipe.model}
    suggested = change_recipe(replace(recipe, loop=loop, method=method, model=model), changes)
    if suggested.pretrained is None and suggested.init is None and "pretrained" not in chosen:
        return replace(suggested, pretrained=_shipped(suggested, parts))
    return suggested


def _shipped(recipe: Recipe, parts: Parts) -> Path | None:
    """The shipped AU network, if its backbones are built as the recipe's."""
    try:
        weights = find_weights("au")
    except RtauError:
        return None
    wanted = AuConfig.from_dict({**recipe.model, "names": parts.labeled.names})
    there = AuConfig.from_dict(weights.facts["config"])
    same = all(getattr(wanted, key) == getattr(there, key) for key in ("backbone", "width", "blocks"))
    return weights.path if same else None
