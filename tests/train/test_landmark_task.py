"""The landmark task: what it draws, that it learns and goes on, and what it refuses."""

import cv2
import numpy as np
import pytest
import torch
from stand_in import make_some

from rtau.errors import InputError, UsageError
from rtau_train.batches import Share
from rtau_train.config import build_recipe
from rtau_train.loop import train
from rtau_train.session import open_task


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Renders of blotches, and portraits of noise with 189 points each."""
    renders, faces = tmp_path_factory.mktemp("renders"), tmp_path_factory.mktemp("faces")
    make_some(renders, count=24)
    rng = np.random.default_rng(0)
    for group, names in (("london_neutral", ("001_03", "042_03", "094_03")), ("canada", ("001f",))):
        (faces / group).mkdir()
        for name in names:
            cv2.imwrite(str(faces / group / f"{name}.jpg"), rng.integers(0, 256, (90, 80, 3)).astype(np.uint8))
        np.savez(faces / group / "landmarks.npz", names=np.array(names),
                 points=rng.uniform(20, 60, (len(names), 189, 2)).astype(np.float32))
    (faces / "backgrounds_rainbow").mkdir()
    cv2.imwrite(str(faces / "backgrounds_rainbow" / "room.jpg"), rng.integers(0, 256, (90, 120, 3)).astype(np.uint8))
    return renders, faces


def task_of(folders, *changes):
    renders, faces = folders
    values = {"task": "landmarks", "renders": str(renders), "faces": str(faces),
              "model": {"size": 32, "width": 8, "blocks": [1, 1, 1], "pyramid": 8},
              "loop": {"steps": 8, "batch": 8, "evaluate_every": 4, "warmup": 2, "threads": 1}}
    return open_task(build_recipe(values, changes))


def test_a_share_of_a_batch_is_that_part_of_the_whole(folders):
    _, task = task_of(folders)
    whole, parts = task.batch(Share(0, 3)), [task.batch(Share(0, 3, piece, 2)) for piece in (0, 1)]
    for name in whole.tensors:
        assert torch.equal(torch.cat([part[name] for part in parts]), whole[name])
    assert whole.sources == parts[0].sources + parts[1].sources
    for name in whole.weights:
        assert whole.weights[name] == sum(part.weights[name] for part in parts)
    assert {source.split()[0] for step in range(8) for source in task.batch(Share(0, step)).sources} == {
        "render", "portrait", "no"}


def test_pieces_add_up_to_the_loss_of_the_whole(folders):
    _, task = task_of(folders)
    task.model.eval()
    whole, parts = task.batch(Share(0, 3)), [task.batch(Share(0, 3, piece, 2)) for piece in (0, 1)]
    for name, value in task.loss(task.model, whole).items():
        by_parts = sum(task.loss(task.model, part)[name] * part.weights[name] for part in parts) / whole.weights[name]
        assert torch.allclose(value, by_parts, rtol=1e-4), name


def test_it_is_trained_and_goes_on(folders, tmp_path):
    recipe, task = task_of(folders)
    best = train(task, recipe.loop, tmp_path / "whole")
    assert {"portraits_nme", "renders_nme", "renders_degrees", "false_faces", "score"} <= best.keys()
    recipe, task = task_of(folders)
    task.charts, evaluate = {}, task.evaluate

    def interrupted(model):
        task.evaluate = evaluate
        raise KeyboardInterrupt

    task.evaluate = interrupted
    with pytest.raises(KeyboardInterrupt):
        train(task, recipe.loop, tmp_path / "cut")
    recipe, task = task_of(folders, "loop.checkpoint_every=3")
    assert train(task, recipe.loop, tmp_path / "cut") == best


def test_what_it_lacks_is_said_in_a_line(folders, tmp_path):
    with pytest.raises(UsageError, match="needs renders and faces"):
        open_task(build_recipe({"task": "landmarks"}))
    with pytest.raises(InputError, match="landmarks.npz can't be read .*rtau data fetch") as caught:
        task_of(folders, f"faces={tmp_path}")
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="unknown options speed"):
        task_of(folders, "options.speed=3")
