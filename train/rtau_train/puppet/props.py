"""What people wear, hold, or let hang before their faces: which of it in a picture, and how often."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rtau.errors import UsageError

from .glasses import glasses
from .hair import hair
from .hand import hand, held
from .mask import mask
from .puppet import Puppet
from .rig import Rig
from .scene import Performance, Prop

#: How often each is seen. Glasses and sunglasses exclude each other, and so do hands and masks.
CHANCES = {"glasses": 0.20, "sunglasses": 0.03, "mask": 0.045, "hand": 0.06, "object": 0.035, "hair": 0.07}


def draw_props(puppet: Puppet, rig: Rig, performance: Performance, rng: np.random.Generator,
               kinds: Sequence[str] | None = None) -> tuple[Prop, ...]:
    """Draw what is before a face.

    Args:
        kinds: names of `CHANCES` to show; by chance when None.

    Raises:
        UsageError: there is no such prop.
    """
    if kinds is None:
        kinds = [name for name, chance in CHANCES.items() if rng.random() < chance]
        if "glasses" in kinds and "sunglasses" in kinds:
            kinds.remove("sunglasses")
        if "mask" in kinds:
            kinds = [name for name in kinds if name not in ("hand", "object")]
    unknown = sorted(set(kinds) - set(CHANCES))
    if unknown:
        raise UsageError(f"there is no prop {unknown[0]!r}: choose from {', '.join(CHANCES)}")
    out: list[Prop] = []
    # Lenses let through what lies behind them, so they are drawn after hair and mask, and before hands.
    for name in ("hair", "mask", "glasses", "sunglasses", "hand", "object"):
        if name not in kinds:
            continue
        if name == "mask":
            out += mask(puppet, rig, performance, rng)
        elif name in ("glasses", "sunglasses"):
            out += glasses(puppet, rig, rng, dark=name == "sunglasses")
        else:
            out += {"hair": hair, "hand": hand, "object": held}[name](puppet, rig, rng)
    return tuple(out)
