"""Faces that a recipe names by an address, brought to folders here before anything is opened."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rtau.cache import cache_folder

from .config import Recipe
from .data.addresses import address_of
from .data.remote import Mirror

#: Gives a function that hears of progress: shards here, and those there are.
Bar = Callable[[], AbstractContextManager[Callable[[int, int], None]]]


def bring_data(recipe: Recipe, bar: Bar, *, pause: float = 1.0) -> tuple[Recipe, dict[str, str]]:
    """Copy what a recipe names by addresses, as far as training needs it at once; the rest follows by itself.

    An AU network, or what it begins with, is trained from the first shard on where the folder has an index (`rtau data
    index`) or was aligned; for others all shards come first.

    Args:
        recipe: any.
        bar: shows progress.
        pause: see `Mirror`.

    Returns:
        The recipe with folders in place of addresses, and the addresses by folder.

    Raises:
        RtauError: it can't be had, or is no folder of shards.
    """
    places = {"renders": recipe.renders, **{name: getattr(recipe.data, name) for name in
                                            ("labeled", "validation", "unlabeled")}}
    away: dict[str, str] = {}
    here: dict[str, Path] = {}
    mirrors: list[Mirror] = []
    for name, path in places.items():
        address = None if path is None else address_of(path)
        if address is None:
            continue
        folder = here[name] = _folder(recipe, address)
        if str(folder) in away:
            continue
        away[str(folder)] = address
        mirror = Mirror(address, folder, most=int(recipe.data.cache_gb * 1e9), pause=pause)
        if not mirror.open() or recipe.task not in ("au", "points"):
            with bar() as report:
                mirror.fetch(report)
        elif os.environ.get("LOCAL_RANK", "0") == "0":
            mirrors.append(mirror)
    for mirror in mirrors:
        mirror.fetch_ahead()
    renders = here.pop("renders", recipe.renders)
    return replace(recipe, renders=renders, data=replace(recipe.data, **here)), away


def send_back(values: dict[str, Any], away: dict[str, str]) -> dict[str, Any]:
    """A recipe's plain values with addresses in place of the folders that `bring_data` chose."""
    return {name: send_back(value, away) if isinstance(value, dict) else
            away.get(value, value) if isinstance(value, str) else value for name, value in values.items()}


def _folder(recipe: Recipe, address: str) -> Path:
    words = re.sub(r"[^A-Za-z0-9.-]+", "-", address.partition("://")[2]).strip("-.")[-60:]
    name = f"{words}-{hashlib.sha256(address.rstrip('/').encode()).hexdigest()[:10]}"
    return (recipe.data.cache or cache_folder() / "shards") / name
