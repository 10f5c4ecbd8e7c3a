"""rtau train as people use it: recipes, faces of one's own, kills, previews, mistakes."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from stand_in import make_some

from rtau.cli import main
from rtau.model import AuConfig
from rtau_train.checkpoint import load_checkpoint
from rtau_train.config import read_recipe

SMALL = ("model.size=32", "model.width=8", "model.features=16", "loop.batch=8", "loop.warmup=2", "loop.threads=1",
         "loop.checkpoint_every=4", "augment.degrade=0.5")
SHORT = (*SMALL, "loop.steps=16", "loop.evaluate_every=8")


def rtau(*words):
    """Exit code and all that was said."""
    done = CliRunner().invoke(main, ["train", *map(str, words)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def renders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("renders")
    make_some(folder, count=64)
    return folder


@pytest.fixture(scope="module")
def recipe(renders):
    file = renders.parent / "recipe.toml"
    file.write_text(f'task = "au"\nrenders = "{renders}"\n[method]\npretrain = 4\nramp = 4\n')
    return file


@pytest.fixture(scope="module")
def whole(recipe, renders, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    code, said = rtau(recipe, *SHORT, f"data.unlabeled={renders}", "--run", folder)
    assert code == 0 and "best.pt: step " in said, said
    return folder


def learned(folder):
    """Steps, loss terms and figures as text."""
    with open(folder / "metrics.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k not in ("pictures_per_second", "minutes_left", "memory_gb")}
                for row in csv.DictReader(file)]


def test_a_recipe_is_trained(whole):
    assert [row["step"] for row in learned(whole)] == ["8", "16"]
    config = json.loads((whole / "config.json").read_text())
    assert config["loop"]["steps"] == 16 and config["model"]["width"] == 8 and config["task"] == "au"
    data = json.loads((whole / "data.json").read_text())
    assert data["labeled"]["faces"] == 32 and data["labeled"]["people"] == 2 and data["validation"]["faces"] == 16
    assert {f.name for f in whole.glob("*.png")} == {"loss.png", "figures.png", "views.png"}
    facts = load_checkpoint(whole / "best.pt")["facts"]
    assert facts["task"] == "au" and facts["network"]["names"][0] == "AU01"


def test_a_killed_training_goes_on_with_the_same_curve(recipe, renders, whole, tmp_path):
    """The command in a process of its own, killed by SIGKILL once it has saved."""
    words = [recipe, *SHORT, f"data.unlabeled={renders}", "--run", tmp_path]
    run = subprocess.Popen([sys.executable, "-m", "rtau", "train", *map(str, words)], stderr=subprocess.PIPE,
                           env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"})
    begun = time.monotonic()
    while not (tmp_path / "last.pt").exists():
        assert run.poll() is None and time.monotonic() - begun < 60, run.stderr.read().decode()
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait()
    run.stderr.close()
    assert load_checkpoint(tmp_path / "last.pt")["progress"]["step"] < 16
    code, said = rtau(*words)
    assert code == 0 and "continues at step" in said
    assert learned(tmp_path) == learned(whole)
    a, b = (load_checkpoint(folder / "last.pt")["averaged"] for folder in (tmp_path, whole))
    assert all((a[name] == b[name]).all() for name in b)


def test_other_settings_are_refused_until_restarted(recipe, renders, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    words = [recipe, *SHORT, f"data.unlabeled={renders}", "--run", tmp_path / "run"]
    code, said = rtau(*words, "method.co_regularization=0")
    assert code == 2 and said.count("\n") == 1 and "method.co_regularization was 3.0, now 0.0" in said
    code, said = rtau(*words, "method.co_regularization=0", "loop.steps=8", "--restart")
    assert code == 0 and (tmp_path / "run" / "previous-1" / "best.pt").exists()


def test_a_run_can_be_repeated_from_its_config(whole, tmp_path):
    code, said = rtau(whole / "config.json", "--run", tmp_path)
    assert code == 0 and learned(tmp_path) == learned(whole)


def test_a_preview_trains_nothing(recipe, tmp_path):
    code, said = rtau(recipe, *SMALL, "--dry-run", "--run", tmp_path / "run")
    assert code == 0 and not (tmp_path / "run").exists()
    assert "AU12" in said and "labeled: 32 faces of 2 people" in said and "validation: 16 faces of 1 people" in said
    assert "unlabeled: none" in said and "parameters" in said and "20000 steps of 8" in said


@pytest.fixture(scope="module")
def own(tmp_path_factory, fixtures):
    """Pictures of somebody's own, a table of labels, pictures without labels, and one file that is damaged."""
    folder = tmp_path_factory.mktemp("own")
    face = cv2.imread(str(fixtures / "face.jpg"))
    rows = []
    for number in range(12):
        shade = np.clip(face.astype(int) + (25 if number % 2 else -25), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number}.jpg"), shade)
        rows.append([f"{number}.jpg", f"s{number // 2}", number % 2, 1 - number % 2])
    (folder / "12.jpg").write_bytes(b"no picture")
    rows.append(["12.jpg", "s6", 1, 0])
    with open(folder / "labels.csv", "w", newline="") as file:
        csv.writer(file).writerows([["image", "subject", "AU12", "AU25"], *rows])
    (folder / "more").mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / "more" / f"{number}.png"), face[:, ::-1])
    (folder / "empty").mkdir()
    return folder


def test_faces_of_ones_own_need_no_recipe(own, tmp_path, caplog):
    words = ("--labels", own / "labels.csv", "--unlabeled", own / "more", "--run", tmp_path / "run", *SMALL[:3],
             "loop.steps=8", "loop.evaluate_every=4")
    code, said = rtau("--labels", own / "labels.csv", "--dry-run")
    assert code == 0 and "pictures" in said and "presence alone" in said and "400 steps of 8" in said
    code, said = rtau(*words)
    assert code == 0 and "1 of 13 pictures" in caplog.text and "skipped.csv says why" in caplog.text
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["data"]["labeled"] == str(tmp_path / "run" / "labeled") and config["method"]["pretrain"] == 2
    data = json.loads((tmp_path / "run" / "data.json").read_text())
    assert data["labeled"]["faces"] + data["validation"]["faces"] == 12 and data["unlabeled"]["faces"] == 3
    code, said = rtau(*words)
    assert code == 0 and "finished" in said
    code, said = rtau(*words[:4], "--run", tmp_path / "strict", "--strict")
    assert code == 2 and "12.jpg" in said


@pytest.mark.parametrize("words, line", [
    (["--labels", "{own}/labels.csv", "--unlabeled", "{own}/empty", "--run", "{new}"],
     "empty holds no pictures and no videos"),
    (["--labels", "{own}/labels.csv", "--aus", "12,99", "--dry-run"], "nobody coded AU99 in .*: it has AU12, AU25"),
    (["--labels", "{own}/none.csv", "--dry-run"], "none.csv is not there"),
    (["--labels", "{own}/labels.csv"], "where to\\? Give --run DIR"),
    (["--labels", "{own}/labels.csv", "--protocol", "bp4d-3fold", "--fold", "9", "--dry-run"], "has no fold 9"),
    (["--labels", "{own}/labels.csv", "--device", "tpu", "--run", "{new}"], "unknown device 'tpu'"),
    (["--run", "{new}"], "nothing to train on: give a recipe, or --labels"),
    (["{own}/none.toml", "--run", "{new}"], "the recipe .*none.toml can't be read"),
    (["{recipe}", "loop.speed=3", "--run", "{new}"], "unknown setting 'speed'"),
    (["{recipe}", "model.speed=3", "--run", "{new}"], "unknown setting 'speed'"),
    (["{recipe}", "loop.lr=fast", "--run", "{new}"], "lr is 'fast', expected a number"),
    (["{recipe}", "task=landmarks", "--run", "{new}"], "needs renders and faces"),
    (["{recipe}", "task=landmarks", "faces={own}", "--run", "{new}"], "can't be read .*rtau data fetch"),
])
def test_a_mistake_is_one_line_and_leaves_no_run(own, recipe, tmp_path, words, line):
    places = {"own": own, "recipe": recipe, "new": tmp_path / "new"}
    code, said = rtau(*(word.format(**places) for word in words))
    last = said.rstrip().splitlines()[-1]
    assert code == 2 and last.startswith("rtau: ") and "Traceback" not in said
    assert re.search(line, last), said
    assert not (tmp_path / "new" / "last.pt").exists()


def test_the_shipped_recipes_are_read():
    folder = Path(__file__).parents[2] / "train" / "recipes"
    recipes = {file.stem: read_recipe(file) for file in folder.glob("*.toml")}
    assert {"light", "landmarks", "detector", "mlcr", "paper"} <= recipes.keys()
    for recipe in recipes.values():
        if recipe.task == "au":
            assert AuConfig.from_dict({**recipe.model, "names": ("AU01",)}).views == 2
            assert recipe.method.pretrain + recipe.method.ramp < recipe.loop.steps
