"""Damaged files are read in part or refused in a line, whatever the damage; the short form of benchmarks/fuzz.py."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import fuzz
from benchmarks.mutations import READERS, make_seeds, mutate, odd_videos, read_manifest, read_media
from rtau.errors import InputError, RtauError
from rtau.store import MANIFEST

ROOT = Path(__file__).resolve().parents[1]


def read_badly(path: Path) -> int:
    """What a reader may do wrong, by the file's first word."""
    what = path.read_text().split()[0]
    if what == "die":
        os.abort()
    if what == "hang":
        time.sleep(60)
    if what == "grow":
        held = np.ones(900 << 20, np.uint8)
        return len(held)
    if what == "raise":
        raise KeyError("oops")
    if what == "refuse":
        raise InputError("can't be read: it says so")
    return 7


def test_what_goes_wrong_is_told_and_costs_one_worker(tmp_path):
    # Generous for the good file: a process begins with imports.
    with fuzz.Worker(10.0, 800.0, {"bad": read_badly}) as worker:
        fates = {}
        for what in ("die", "read", "hang", "grow", "raise", "refuse", "read"):
            path = tmp_path / f"{what}.txt"
            path.write_text(what)
            fates[what] = worker.read(path, "bad")
    assert {what: fate.word for what, fate in fates.items()} == {
        "die": "died", "read": "read", "hang": "hung", "grow": "too large", "raise": "traceback", "refuse": "refused"}
    assert "SIGABRT" in fates["die"].says and "KeyError" in fates["raise"].says and fates["read"].says == "7"


def test_seeds_are_sound_and_mutations_follow_from_their_numbers(tmp_path):
    seeds = make_seeds(tmp_path)
    assert {seed.kind for seed in seeds} == set(READERS) and len(seeds) > 20
    home = tmp_path / "whole"
    home.mkdir()
    for seed in seeds:
        path = home / seed.name
        path.write_bytes(seed.data)
        assert READERS[seed.kind](path) > 0, seed.name
        ways = [mutate(seed, seeds, np.random.default_rng([3, i])) for i in range(20)]
        assert ways == [mutate(seed, seeds, np.random.default_rng([3, i])) for i in range(20)]
        assert sum(data != seed.data for _, data in ways) >= 18 and len({way for way, _ in ways}) >= 4


def test_videos_that_are_whole_but_strange_are_read(tmp_path):
    """Among them stamps in disorder, streams that come up midway, lengths that are no numbers."""
    (tmp_path / "made").mkdir()
    found = {}
    for name, what, data in odd_videos(tmp_path / "made"):
        path = tmp_path / name
        path.write_bytes(data)
        found[what] = read_media(path)
    assert len(found) > 12
    few = {what for what, frames in found.items() if frames < 12}
    assert few == {"one frame"}, found
    assert found["frames of another size midway"] == found["another pixel format midway"] == 36


@pytest.mark.parametrize("odd", [
    {"blocks": ["", 2, 2]}, {"width": 2.5}, {"width": [32]}, {"eyes": 3}, {"size": "large"}, {"width": -1}, {"blocks": 2},
    {"pyramid": None}])
def test_a_manifest_of_no_network_is_one_line(odd, tmp_path):
    facts = json.loads((ROOT / "weights" / MANIFEST).read_text("utf-8"))["landmarks"]
    path = tmp_path / MANIFEST
    path.write_text(json.dumps({"landmarks": {**facts, "config": {**facts["config"], **odd}}}))
    with pytest.raises(RtauError) as caught:
        read_manifest(path)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_no_damage_hangs_crashes_or_ends_in_a_traceback():
    done = fuzz.run(list(READERS), 250, seed=11, workers=1, seconds=30, memory=1500, keep=None)
    assert [line for line in fuzz.table(done) if line.startswith("  ")] == []
    words = [fate.word for _, fate in done]
    assert len(words) > 255 and words.count("read") > 40 and words.count("refused") > 40
