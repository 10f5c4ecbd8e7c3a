"""Pre-training on points: what it draws, that it learns without labels, and that an AU network begins with it."""

import io

import numpy as np
import pytest
import torch
from rich.console import Console
from toy import Damaged, au_values, make_faces, make_parts

from rtau.errors import InputError, UsageError
from rtau_train.action_units import AuTask
from rtau_train.batches import Share
from rtau_train.config import AugmentSettings, build_recipe
from rtau_train.cutting import MIRROR, cut
from rtau_train.loop import train
from rtau_train.parts import Parts
from rtau_train.points import PointsTask
from rtau_train.preview import preview_parts


def recipe_of(*changes, **loop):
    values = au_values(**loop)
    return build_recipe({**values, "task": "points", "augment": values["augment"] | {"nudge": 2.0}}, changes)


def task_of(*changes, parts=None, **loop):
    torch.manual_seed(0)
    return PointsTask(recipe_of(*changes, **loop), parts or make_parts(60, unlabeled=40))


def test_points_go_where_the_crop_goes():
    """A bright dot at a point of the picture is found again where the crop's point lies, mirrored or not."""
    faces = make_faces(1)
    points = faces.points[0].copy()
    points[36], points[45] = (14, 16), (33, 16)
    picture = np.zeros((48, 48, 3), np.uint8)
    picture[15:18, 13:16] = 255
    sides = set()
    for chance in range(8):
        settings = AugmentSettings(misplace=0.5, nudge=1.0, degrade=0.0, flip=0.5)
        crop, placed, _ = cut(picture, points, 96, np.random.default_rng(chance), settings)
        plain, unturned, _ = cut(picture, points, 96, np.random.default_rng(chance),
                                 AugmentSettings(0.5, 1.0, 0.0, 0.0))
        mirrored = not np.array_equal(crop, plain)
        sides.add(mirrored)
        rows, columns = np.nonzero(crop[..., 0] > 127)
        assert np.abs(placed[45 if mirrored else 36] - (columns.mean(), rows.mean())).max() < 0.5
        if mirrored:
            assert placed[:, 1] == pytest.approx(unturned[MIRROR, 1])
    assert sides == {True, False}


def test_it_learns_from_all_faces_and_no_label(tmp_path):
    parts = make_parts(60, unlabeled=40)
    task = task_of("augment.flip=0", parts=parts, steps=120, evaluate_every=30, lr=0.01)
    drawn = {name for step in range(7) for name in task.batch(Share(0, step)).sources}
    assert any(name.startswith("u-") for name in drawn) and any(name.startswith("p-") for name in drawn)
    assert (task.faces.labels == 0).all() and np.isnan(task.faces.intensity).all() and len(task.faces) == 100
    before = task.evaluate(task.model)["nme"]
    places = task._checked[1]
    eyes = np.linalg.norm(places[:, 36] - places[:, 45], axis=1)
    always_the_mean = (np.linalg.norm(places - places.mean(0), axis=2).mean(1) / eyes).mean()
    best = train(task, task.recipe.loop, tmp_path)
    assert best["nme"] < 0.8 * always_the_mean < before and best["score"] == -best["nme"]


def test_a_share_of_a_batch_is_that_part_of_the_whole():
    task = task_of()
    whole, parts = task.batch(Share(0, 3)), [task.batch(Share(0, 3, piece, 2)) for piece in (0, 1)]
    for name in ("pixels", "points"):
        assert torch.equal(torch.cat([part[name] for part in parts]), whole[name])
    assert whole.weights["place"] == sum(part.weights["place"] for part in parts) == 16


def test_a_dry_run_tells_of_one_view_and_all_faces():
    task, told = task_of(), io.StringIO()
    parts = make_parts(60, unlabeled=40)
    Console(file=told, width=200).print(preview_parts(task.recipe, parts))
    count = sum(p.numel() for p in task.model.parameters())
    assert f"1 view, crops of 32 px, 68 points, {count:,} parameters, begins at random" in told.getvalue()
    assert "30 steps of 16 faces, each seen 4.8 times" in told.getvalue()


def test_both_views_of_an_au_network_begin_with_it(tmp_path):
    task = task_of(steps=4, evaluate_every=4)
    task.charts = {}
    train(task, task.recipe.loop, tmp_path)
    torch.manual_seed(1)
    au = AuTask(build_recipe(au_values(), [f"pretrained={tmp_path / 'best.pt'}"]), make_parts(20))
    learned = torch.load(tmp_path / "best.pt", weights_only=True)["averaged"]
    for view in au.model.views:
        for name, value in view.backbone.state_dict().items():
            if value.is_floating_point():  # else it counts batches
                assert torch.equal(value, learned[f"view.trunk.{name}"]), name
    assert not torch.equal(au.model.views[0].project.weight, au.model.views[1].project.weight)
    with pytest.raises(InputError, match="another network's checkpoint"):
        AuTask(build_recipe(au_values(), [f"pretrained={tmp_path / 'best.pt'}", "model.width=16"]), make_parts(20))


def test_a_published_backbone_can_be_pre_trained_too():
    task = task_of("model.backbone=mobilenetv4_conv_small", "model.size=64", "loop.batch=2")
    assert task.model(torch.zeros(2, 3, 64, 64)).shape == (2, 68, 2)


def test_faces_that_all_lie_alike_are_refused_and_unreadable_ones_are_passed_over():
    with pytest.raises(UsageError, match="augment.nudge is 0"):
        task_of("augment.nudge=0")
    damaged = make_faces(20)
    object.__setattr__(damaged, "pictures", Damaged(damaged.pictures, range(0, 20, 2)))
    task = task_of(parts=Parts(damaged, make_faces(10, prefix="v")))
    batch = task.batch(Share(0, 0))
    assert batch.unreadable and not set(batch.unreadable) & set(batch.sources) and len(batch) == 16
