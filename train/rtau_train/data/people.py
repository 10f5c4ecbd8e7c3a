"""Who trains, who validates, who tests: the split by identity, fixed in people.json."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Literal

Part = Literal["train", "validation", "test"]


@cache
def _listed() -> dict[str, Part]:
    record = json.loads((Path(__file__).parent / "people.json").read_text(encoding="utf-8"))
    return {person: part for part in ("validation", "test") for person in record[part]}


def part_of(person: str) -> Part:
    """The part of the data that an identity belongs to.

    Args:
        person: identity such as ``"099"`` (London) or ``"048f"`` (Canada); the London
            picture suffixes ``_03`` (neutral) and ``_08`` (smiling) may follow.
    """
    return _listed().get(person.split("_")[0], "train")
