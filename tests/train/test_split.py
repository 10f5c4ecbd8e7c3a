"""A run is judged by people whom it never learned from."""

import io
import json
import tarfile

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from toy import au_values, make_faces

from rtau.cli import main
from rtau.errors import InputError, UsageError
from rtau_train.config import build_recipe
from rtau_train.data.corpus import open_faces
from rtau_train.figures.split import read_split
from rtau_train.session import train_recipe


def write_aligned(folder, faces):
    """A folder as `rtau data align` writes it."""
    folder.mkdir()
    (folder / "faces.json").write_text(json.dumps(
        {"names": list(faces.names), "count": len(faces), "per_shard": len(faces), "aligned": len(faces)}))
    with tarfile.open(folder / "faces-000000.tar", "w") as tar:
        for row in range(len(faces)):
            known = {name: c for c, name in enumerate(faces.names) if faces.labels[row, c]}
            said = {"index": row, "source": str(faces.source[row]), "subject": str(faces.subject[row]),
                    "labels": {name: int(faces.labels[row, c]) for name, c in known.items()},
                    "intensity": {name: float(faces.intensity[row, c]) for name, c in known.items()},
                    "points": faces.points[row].tolist()}
            jpeg = cv2.imencode(".jpg", faces.pictures[row])[1].tobytes()
            for kind, data in (("jpg", jpeg), ("json", json.dumps(said).encode())):
                member = tarfile.TarInfo(f"{row:08d}.{kind}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Aligned faces of nine people, and a run of two steps by three folds, trained on the second."""
    home = tmp_path_factory.mktemp("home")
    aligned = write_aligned(home / "aligned", make_faces(90, people=9))
    recipe = build_recipe(au_values(steps=2, evaluate_every=1) | {
        "data": {"labeled": str(aligned), "protocol": "kfold-by-subject", "fold": 2, "share": 0.3}})
    train_recipe(recipe, home / "run", shown=False)
    return aligned, home / "run"


def rtau(*words):
    return CliRunner().invoke(main, ["eval", *map(str, words), "--resamples", "0", "--backend", "torch"])


def test_parts_are_those_of_the_training(trained):
    aligned, run = trained
    split = read_split(run)
    assert split.is_of(aligned) and not split.is_of(run) and split.usual == "test"
    parts = {part: set(split.open(part).subject.tolist()) for part in ("train", "validation", "test")}
    assert parts["test"] == {"p1", "p4", "p7"} and set.union(*parts.values()) == {f"p{i}" for i in range(9)}
    assert sum(map(len, parts.values())) == 9 and parts["validation"], "nobody is in two parts"
    everybody = open_faces(aligned)
    assert split.learned(everybody) == np.isin(everybody.subject, list(parts["train"])).sum()
    assert split.learned(split.open("test")) == split.learned(split.open("validation")) == 0
    with pytest.raises(UsageError, match="no part strangers: choose from"):
        split.open("strangers")


def test_a_run_is_judged_by_its_own_test_people(trained):
    aligned, run = trained
    result = rtau(aligned, "--weights", run, "--json")
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout)
    assert values["part"] == "test" and values["points"] == "given" and values["report"]["subjects"] == 3
    validation = read_split(run).open("validation")
    assert values["report"]["tuned_on"] == f"{len(validation)} validation faces"
    assert "too good" not in rtau(aligned, "--weights", run, "--part", "validation").stdout
    everybody = rtau(aligned, "--weights", run, "--part", "all").stdout.replace("\n", " ")
    assert "90 faces of 9 subjects" in everybody and f"{run} learned from" in everybody.replace("  ", " ")
    assert "too good" in everybody


def test_other_networks_have_no_part_in_the_split(trained):
    aligned, run = trained
    result = rtau(aligned, "--weights", "au")
    assert result.exit_code == 0 and "90 faces of 9 subjects" in result.stdout and "too good" not in result.stdout
    assert "split by subject" in rtau(aligned, "--weights", "au", "--part", "test").stderr
    compared = rtau(aligned, "--weights", "au", "--against", run, "--json")
    assert compared.exit_code == 0, compared.output
    assert json.loads(compared.stdout)["part"] == "test", "the one that learned from them decides who judges both"


def test_folders_that_do_not_say(trained, tmp_path):
    _, run = trained
    assert read_split(tmp_path) is None
    (tmp_path / "config.json").write_text('{"task": "au", "speed": 3}')
    with pytest.raises(InputError, match="config.json can't be understood .*unknown setting 'speed'"):
        read_split(tmp_path)
    values = json.loads((run / "config.json").read_text())
    values["data"]["protocol"] = ""
    (tmp_path / "config.json").write_text(json.dumps(values))
    split = read_split(tmp_path)
    assert split.usual == "validation" and len(set(split.open("validation").subject)) in (2, 3)
    with pytest.raises(UsageError, match="kept nobody to test on: judge it with --part validation"):
        split.open("test")
