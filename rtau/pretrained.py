"""Networks that others trained, as a start: their checkpoints into our modules, by name."""

from __future__ import annotations

import logging
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from .errors import InputError

log = logging.getLogger(__name__)

#: Under which keys training programs keep a network within a checkpoint, averaged weights first.
_WRAPPERS = ("averaged", "state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model")
#: What they put before the names.
_PREFIXES = ("module.", "_orig_mod.", "model.", "view.", "trunk.", "backbone.", "encoder.")
#: How an AU network's tensors begin that belong to one of its views.
_VIEW = re.compile(r"(?:model\.)?views\.(\d+)\.")
#: Less than this share of a network filled is another network's checkpoint.
_ENOUGH = 0.75


@dataclass(frozen=True)
class Loaded:
    """What a checkpoint gave, as names of tensors.

    Attributes:
        taken: filled from the file.
        missing: left as they were, since the file lacks them.
        unused: in the file, but not in the network: the classifier, as a rule.
    """

    taken: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]


def load_pretrained(module: nn.Module, file: str | Path, view: int | None = None) -> Loaded:
    """Fill a network, such as a view's `backbone`, from a checkpoint; nothing in the file is run as code.

    Args:
        module: changed in place, or not at all.
        file: .safetensors, or what torch.save wrote (.pth, .pt, .bin). A dictionary around the weights ("model",
            "state_dict", ...) and prefixes of the names ("module.", "backbone.", ...) are seen through.
        view: take this view of an AU network in the file, in turn where it has fewer; None for a whole network, or
            where there are no views.

    Returns:
        What was taken and what was left; the log says so too, as a warning where the network has gaps.

    Raises:
        InputError: the file can't be read, fits another network, or holds NaN or infinity.
    """
    found = {}
    own = {name: value for name, value in module.state_dict().items() if value.dtype.is_floating_point}
    values = _read(Path(file))
    for name, value in (values if view is None else _of_view(values, view)).items():
        while name not in own and (prefix := next((p for p in _PREFIXES if name.startswith(p)), None)):
            name = name.removeprefix(prefix)
        found[name] = value
    taken = tuple(name for name in own if name in found)
    if len(taken) < _ENOUGH * len(own):
        raise InputError(f"{file} is another network's checkpoint: it has {len(taken)} of the {len(own)} tensors "
                         f"needed, and lacks {next(n for n in own if n not in found)}")
    for name in taken:
        if found[name].shape != own[name].shape:
            raise InputError(f"{file} is another network's checkpoint: {name} is {list(found[name].shape)} in it, "
                             f"expected {list(own[name].shape)}")
        if not torch.isfinite(found[name]).all():
            raise InputError(f"{file} is damaged: {name} holds NaN or infinity")
    with torch.no_grad():
        for name in taken:
            own[name].copy_(found[name])
    missing = tuple(name for name in own if name not in found)
    unused = tuple(n for n, v in found.items() if n not in own and v.dtype.is_floating_point)
    if missing:
        log.warning("%s lacks %s: they keep their random values", file, _some(missing))
    if len(unused) > (1 - _ENOUGH) * len(own):
        log.warning("%s is for a larger network; left out: %s", file, _some(unused))
    else:
        log.info("%s: %d tensors taken; left out: %s", file, len(taken), _some(unused))
    return Loaded(taken, missing, unused)


def _of_view(values: Mapping[str, Tensor], view: int) -> dict[str, Tensor]:
    """The tensors of one view of an AU network, under their names in that view, and those that belong to none."""
    split = {name: _VIEW.match(name) for name in values}
    views = sorted({int(match[1]) for match in split.values() if match})
    wanted = views[view % len(views)] if views else 0
    return {name if match is None else name[match.end():]: values[name] for name, match in split.items()
            if match is None or int(match[1]) == wanted}


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") or "nothing"


def _read(file: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, on the CPU."""
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file
            return load_file(file)
        values = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"the checkpoint {file} can't be read: {error.strerror or error}") from None
    except pickle.UnpicklingError:
        raise InputError(f"{file} holds more than weights, or is damaged: save its state_dict() alone, best as "
                         ".safetensors") from None
    except Exception as error:  # torch and safetensors have many ways to say so
        why = (str(error) or type(error).__name__).splitlines()[0].partition(". ")[0]
        raise InputError(f"{file} is no checkpoint, or is damaged: {why}") from None
    while isinstance(values, Mapping) and (inner := next(
            (w for w in _WRAPPERS if isinstance(values.get(w), Mapping)), None)):
        values = values[inner]
    named = values.items() if isinstance(values, Mapping) else ()
    tensors = {name: value for name, value in named if isinstance(name, str) and isinstance(value, Tensor)}
    if not tensors:
        raise InputError(f"{file} holds no weights by name: save the network's state_dict()")
    return tensors
