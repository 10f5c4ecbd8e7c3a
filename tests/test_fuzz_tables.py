"""Videos damaged midway keep their rows before the damage; the short form of benchmarks/fuzz_tables.py."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import fuzz_tables
from benchmarks.mutations import damage_behind
from rtau.batch.results import Results
from rtau.commands.process import exit_code
from rtau.sinks import meta_path


@pytest.fixture(scope="module")
def damaged(sample, tmp_path_factory):
    """Three containers, two damaged copies of each, and what came of them."""
    folder = tmp_path_factory.mktemp("damaged")
    done, left = fuzz_tables.run(sample, 6, 5, 1, folder, ["plain.mkv", "still.avi", "front.mp4"])
    return folder, done, left


def test_the_rows_before_the_damage_are_those_of_the_whole_file(damaged):
    _, done, left = damaged
    assert [faults for *_, faults in done if faults] == [] and left == []
    states = [record.state for _, _, record, _ in done]
    assert len(states) == 6 and states.count("damaged") >= 3 and sum(record.frames for _, _, record, _ in done) > 60
    assert exit_code(Results([record for _, _, record, _ in done])) == 1


def test_tables_that_are_wrong_are_found(damaged, tmp_path):
    """What checks the others must itself see a fault."""
    folder, done, _ = damaged
    name, _, record, _ = next(one for one in done if one[2].state == "damaged")
    path, whole = Path(record.inputs[0]), folder / "in" / name
    table, facts = Path(record.out), meta_path(record.out)
    before = table.read_text(), facts.read_text()

    def faults() -> list[str]:
        return fuzz_tables.faults_of(record, path, whole, folder / "out" / f"{name}.csv", 0)

    assert faults() == []
    lines = before[0].splitlines(keepends=True)
    changed = lines[1].split(",")
    changed[20] = f"{float(changed[20]) + 0.01:.3f}"
    for wrong, says in (("".join(lines[:-1]), "the table has"), (lines[0] + "".join(lines[2:]), "the table has"),
                        (lines[0] + ",".join(changed) + "".join(lines[2:]), "rows of frame 0")):
        table.write_text(wrong)
        assert any(fault.startswith(says) for fault in faults()), says
    table.write_text(before[0])
    facts.write_text(json.dumps({**json.loads(before[1]), "complete": True}))
    assert any(fault.startswith("the facts say") for fault in faults())
    facts.write_text(before[1])
    assert faults() == []
    lost = fuzz_tables.faults_of(record, path, whole, folder / "out" / f"{name}.csv", whole.stat().st_size)
    assert any("before the damage were read" in fault for fault in lost)


def test_damage_leaves_what_is_before_it():
    data = np.random.default_rng(1).bytes(4000)
    ways = set()
    for number in range(60):
        way, byte, copy = damage_behind(data, 0.3, np.random.default_rng([4, number]))
        assert 1200 <= byte < 4000 and copy[:byte] == data[:byte] and copy != data
        ways.add(way)
    assert len(ways) == 7
