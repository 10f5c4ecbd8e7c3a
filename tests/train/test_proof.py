"""The proof of labels as a command and as a page."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

from rtau.cli import main
from rtau.errors import OutputError
from rtau_train.puppet.proof import Leak
from rtau_train.puppet.proof_page import Proof, write_proof
from rtau_train.puppet.sample import AUS


def test_the_command_proves_the_labels_of_a_person_kept_out(shared, tmp_path):
    out = tmp_path / "PROOF.md"
    command = ["data", "proof", "--people", "099", "--faces", shared / "faces", "--rig", shared / "ict_facekit",
               "--puppets", tmp_path / "puppets", "--out", out, "--no-progress"]
    done = CliRunner().invoke(main, list(map(str, command)))
    assert done.exit_code == 0, done.output
    page = out.read_text()
    rows = [line.split(" | ") for line in page.splitlines() if re.match(r"\| \d+ \| [A-Z]", line)]
    assert len(rows) == len(AUS)
    for row in rows:
        grades = [float(cell.strip(" |")) for cell in row[2:]]
        assert 0 < grades[0] and grades == sorted(set(grades)), row  # each grade moves more than the one before
    assert float(re.search(r"greatest distance ([\d.]+) px", page)[1]) < 0.5
    assert float(re.search(r"least ([\d.]+) dB \(099\)", page)[1]) > 32


def test_a_page_names_the_worst_and_what_the_labels_say_of_leaks(tmp_path):
    proof = Proof({1: [1.0, 2, 3, 4, 5]}, [Leak(9, 10, 0.7, "ignored"), Leak(1, 2, 0.3, "")],
                  {"a": 0.2, "b": 0.4}, {})
    page = write_proof(proof, tmp_path / "p.md").read_text()
    assert "0.40 px (b)" in page and "| 9 | 10 | 70 % | ignored |" in page and "| 1 | 2 | 30 % | stated |" in page
    assert "At rest" not in page  # nobody with a portrait was measured
    with pytest.raises(OutputError, match="name it something.md"):
        write_proof(proof, tmp_path / "p.html")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="can't write"):
        write_proof(proof, tmp_path / "file" / "p.md")
