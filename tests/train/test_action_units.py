"""The AU task: what it draws, each term of the method and its switch, figures, and that it learns."""

import logging
import math
import multiprocessing
import os
import socket

import numpy as np
import pytest
import torch
from toy import Damaged, au_values, make_faces, make_parts

from rtau.crop import align
from rtau.errors import InputError
from rtau.model import normalize
from rtau_train.action_units import AuTask
from rtau_train.batches import Share
from rtau_train.checkpoint import load_checkpoint
from rtau_train.config import AugmentSettings, build_recipe
from rtau_train.cutting import cut, pixels
from rtau_train.distributed import Team, join_team
from rtau_train.learner import Learner
from rtau_train.loop import train
from rtau_train.losses import co_regularization
from rtau_train.parts import Parts


def recipe_of(*changes, **loop):
    return build_recipe(au_values(**loop), changes)


def task_of(*changes, parts=None, **loop):
    torch.manual_seed(0)
    return AuTask(recipe_of(*changes, **loop), parts or make_parts(60, unlabeled=40))


def whole(task, step=0):
    return task.batch(Share(0, step))


# -- learning --------------------------------------------------------------------------------


def test_presence_and_intensity_are_learned_and_the_run_says_all_terms(tmp_path):
    parts = make_parts(120, unlabeled=40)
    task = task_of("method.pretrain=20", "method.ramp=10", parts=parts, steps=50, evaluate_every=25)
    best = train(task, task.recipe.loop, tmp_path)
    assert best["auc"] > 0.9 and best["icc"] > 0.6 and best["f1"] > 0.7
    header = (tmp_path / "metrics.csv").read_text().splitlines()[0].split(",")
    assert header[:5] == ["step", "supervised", "multi_view", "co_regularization", "loss"]
    assert {"auc", "f1", "icc", "same", "apart", "cosine", "cka", "AU04:auc", "AU12:icc", "pictures_per_second",
            "memory_gb"} <= set(header)
    assert {file.name for file in tmp_path.glob("*.png")} == {"loss.png", "figures.png", "views.png"}


@pytest.mark.parametrize("changes", [("model.grades=1",), ("model.views=1", "model.graph=false")])
def test_simpler_networks_learn_too(tmp_path, changes):
    task = task_of(*changes, parts=make_parts(120), steps=40, evaluate_every=40)
    task.charts = {}
    best = train(task, task.recipe.loop, tmp_path)
    assert best["auc"] > 0.85
    assert ("icc" in best) == ("model.views=1" in changes) == ("same" not in best)


def test_ungraded_labels_train_presence_in_a_graded_network():
    parts = make_parts(60, graded=False)
    figures = task_of(parts=parts).evaluate(task_of(parts=parts).model)
    assert math.isnan(figures["icc"]) and figures["score"] == figures["auc"]


# -- batches ---------------------------------------------------------------------------------


def test_a_share_of_a_batch_is_that_part_of_the_whole():
    task = task_of(steps=20)
    everything, parts = whole(task, 5), [task.batch(Share(0, 5, piece, 2)) for piece in (0, 1)]
    for name in ("pixels", "labels", "intensity"):
        joined = torch.cat([part[name][half] for half in (slice(0, 8), slice(8, 16)) for part in parts])
        assert torch.equal(joined.nan_to_num(-1), everything[name].nan_to_num(-1))
    assert everything.weights["supervised"] == sum(part.weights["supervised"] for part in parts)


def test_unlabeled_faces_come_once_pre_training_is_over():
    task = task_of("method.pretrain=3", "loop.unlabeled_batch=4")
    before, after = whole(task, 2), whole(task, 3)
    assert len(before) == 16 and len(after) == 20 and all(s.startswith("u-") for s in after.sources[16:])
    assert (after["labels"][16:] == 0).all() and after["intensity"][16:].isnan().all()
    assert len(whole(task_of("method.co_regularization=0"), 9)) == 16


def test_each_view_can_see_a_crop_of_its_own():
    task = task_of("augment.per_view=true")
    batch, same = whole(task, 9), whole(task_of(), 9)
    assert batch["pixels"].shape == (32, 2, 32, 32, 3) and same["pixels"].shape == (32, 32, 32, 3)
    first, second = batch["pixels"].unbind(1)
    assert torch.equal(first, same["pixels"]) and not torch.equal(first, second)
    net = task.model.eval()
    scores = net(torch.stack([normalize(pixels(first)), normalize(pixels(second))]))
    assert torch.equal(scores[0], net(normalize(pixels(first)))[0])
    assert torch.equal(scores[1], net(normalize(pixels(second)))[1])
    terms = task.loss(net, batch)
    assert torch.equal(terms["co_regularization"], co_regularization(scores))


def test_without_alteration_a_crop_is_that_of_run_time():
    faces = make_faces(3)
    still = AugmentSettings(0, 0, 0, 0)
    for row in range(3):
        found = cut(faces.pictures[row], faces.points[row], 32, np.random.default_rng(row), still).image
        assert np.array_equal(found, align(faces.pictures[row], faces.points[row][None], 32)[0])
    mirrored = cut(faces.pictures[0], faces.points[0], 32, np.random.default_rng(0), AugmentSettings(0, 0, 0, 1)).image
    assert np.array_equal(mirrored[:, ::-1], align(faces.pictures[0], faces.points[0][None], 32)[0])


@pytest.mark.parametrize("name", ["misplace", "nudge", "degrade"])
def test_each_alteration_has_a_strength(name):
    faces = make_faces(1)
    crops = [cut(faces.pictures[0], faces.points[0], 32, np.random.default_rng(4),
                 AugmentSettings(**{**dict.fromkeys(("misplace", "nudge", "degrade"), 0.0), "flip": 0.0, name: much})).image
             for much in (0.0, 0.3, 1.0)]
    little, much = (np.abs(crop.astype(int) - crops[0]).mean() for crop in crops[1:])
    assert 0 < little < much


def test_pictures_that_can_not_be_read_are_replaced_and_named():
    parts = make_parts(20)
    damaged = make_faces(20)
    object.__setattr__(damaged, "pictures", Damaged(damaged.pictures, range(0, 20, 2)))
    task = task_of(parts=Parts(damaged, parts.validation))
    batches = [whole(task, step) for step in range(3)]
    failed = {name for batch in batches for name in batch.unreadable}
    assert failed and failed <= {f"p-{row}.jpg" for row in range(0, 20, 2)}
    assert not any(set(batch.sources) & {f"p-{row}.jpg" for row in range(0, 20, 2)} for batch in batches)
    assert torch.equal(whole(task, 1)["pixels"], batches[1]["pixels"])
    with pytest.raises(InputError, match="picture .* is damaged"):
        whole(task_of("loop.strict=true", parts=Parts(damaged, parts.validation)))
    object.__setattr__(damaged, "pictures", Damaged(damaged.pictures, range(20)))
    with pytest.raises(InputError, match="20 faces in a row can't be read"):
        whole(task)


def test_validation_leaves_out_what_it_can_not_read(caplog):
    parts = make_parts(40)
    object.__setattr__(parts.validation, "pictures", Damaged(parts.validation.pictures, [3]))
    with caplog.at_level(logging.WARNING):
        figures = task_of(parts=parts).evaluate(task_of(parts=parts).model)
    assert "left out of the validation: picture 3" in caplog.text and 0 <= figures["auc"] <= 1


# -- the terms -------------------------------------------------------------------------------


def test_the_loss_is_the_papers():
    """L = 1/2 (L_v1 + L_v2) + l_mv L_mv + l_cr L_cr, written out in double precision for the presence-only mode."""
    task = task_of("model.grades=1", "method.multi_view=0.7", "method.co_regularization=2.0", clip=1e9)
    batch, net = whole(task, 9), task.model
    net.train()
    scores = net(normalize(pixels(batch["pixels"]))).double().detach()
    chance = torch.sigmoid(scores)
    weight, labels = task.positive_weight.double(), batch["labels"]
    by_view = []
    for p in chance:
        terms = torch.where(labels > 0, -weight * p.log(), -(1 - p).log())
        by_view.append(terms[labels != 0].mean())
    w1, w2 = (w.double().detach() for w in net.final_classifiers())
    multi = sum(abs(w1[j] @ w2[j]) / (w1[j].norm() * w2[j].norm()) for j in range(3)) / 3

    def entropy(p):
        return -(p * p.log() + (1 - p) * (1 - p).log())

    agreed = (entropy(chance.mean(0)) - entropy(chance).mean(0)).mean()
    expected = 0.5 * (by_view[0] + by_view[1]) + 0.7 * multi + 2.0 * agreed
    found = Learner(task, task.recipe.loop, Team(), torch.device("cpu")).learn(9, [batch])
    assert found["loss"] == pytest.approx(expected.item(), rel=1e-5)
    assert found["multi_view"] == pytest.approx(multi.item(), rel=1e-5)
    assert found["co_regularization"] == pytest.approx(agreed.item(), rel=1e-3)


def test_terms_rise_after_pre_training():
    task = task_of("method.pretrain=10", "method.ramp=10", "method.multi_view=2", "method.co_regularization=4")
    assert task.factors(9) == {"supervised": 1, "multi_view": 0, "co_regularization": 0}
    rising = [task.factors(step) for step in range(10, 21)]
    assert all(0 < f["multi_view"] < 2 and f["co_regularization"] == 2 * f["multi_view"] for f in rising[:10])
    assert rising[10] == {"supervised": 1, "multi_view": 2, "co_regularization": 4}


def test_a_term_that_is_off_moves_nothing():
    def gradients(*changes):
        task = task_of("method.labeled=true", *changes, parts=make_parts(40))
        learner = Learner(task, task.recipe.loop, Team(), torch.device("cpu"))
        learner.learn(9, [whole(task, 9)])
        return torch.cat([p.grad.flatten() for p in learner.model.parameters()])

    off = ("method.multi_view=0", "method.co_regularization=0")
    pretrained = gradients("method.pretrain=100")
    assert torch.equal(gradients(*off), pretrained)
    for name in ("multi_view", "co_regularization"):
        assert not torch.allclose(gradients(*off, f"method.{name}=1"), pretrained, atol=1e-5)


def test_unlabeled_faces_add_nothing_to_the_supervised_term():
    with_them, without = task_of(), task_of("method.co_regularization=0")
    with_them.model.eval(), without.model.eval()
    a = with_them.loss(with_them.model, whole(with_them, 2))["supervised"]
    b = without.loss(without.model, whole(without, 2))["supervised"]
    assert torch.allclose(a, b, rtol=1e-5)


def test_labeled_faces_can_stay_out_of_co_regularization():
    task = task_of("method.labeled=false", "loop.unlabeled_batch=4")
    batch = whole(task, 5)
    assert batch.weights["co_regularization"] == 4 * 3
    task.model.eval()
    scores = task.model(normalize(pixels(batch["pixels"])))
    assert task.loss(task.model, batch)["co_regularization"].item() == pytest.approx(
        co_regularization(scores[:, 16:]).item(), rel=1e-4)


def test_confidence_masks_unlabeled_faces_alone():
    batch = whole(task_of("loop.unlabeled_batch=4"), 5)

    def value(*changes):
        task = task_of("loop.unlabeled_batch=4", *changes)
        task.model.eval()
        with torch.no_grad():
            return (task.loss(task.model, batch)["co_regularization"].item(),
                    task.model(normalize(pixels(batch["pixels"]))))

    everything, scores = value()
    none_sure, _ = value("method.confidence=0.999999")
    surest = torch.sigmoid(scores[:, 16:].abs().max()).item()
    assert none_sure == pytest.approx(co_regularization(scores[:, :16]).item() * 16 / 20, rel=1e-4)
    assert none_sure < value(f"method.confidence={max(surest * 0.9, 0.5)}")[0] <= everything + 1e-7


def test_rare_labels_weigh_more_if_balanced():
    faces = make_faces(100, unknown=0)
    labels = faces.labels.copy()
    labels[:, 0] = np.where(np.arange(100) < 4, 1, -1)
    labels[:, 1] = np.where(np.arange(100) < 50, 1, -1)
    object.__setattr__(faces, "labels", labels)
    task = task_of(parts=Parts(faces, make_faces(20, prefix="v")))
    assert task.positive_weight[:2].tolist() == pytest.approx([math.sqrt(0.96 / 0.04), 1.0])
    assert task_of("method.balance=false").positive_weight is None


def test_a_label_that_is_always_present_is_trained_and_left_out_of_the_means(caplog):
    parts = make_parts(40, unknown=0)
    for faces in (parts.labeled, parts.validation):
        faces.labels[:, 1] = 1
        faces.intensity[:, 1] = np.nan
    with caplog.at_level(logging.WARNING):
        parts.check()
        task = task_of(parts=parts)
    assert "in training always present, always absent or never known: AU04" in caplog.text
    assert "in validation always present, always absent or never known: AU04" in caplog.text
    figures = task.evaluate(task.model)
    assert math.isnan(figures["AU04:auc"]) and math.isnan(figures["AU04:f1"])
    assert figures["auc"] == pytest.approx((figures["AU01:auc"] + figures["AU12:auc"]) / 2)
    task.model.train()
    before = task.model.classifiers[0][1].clone()
    Learner(task, task.recipe.loop, Team(), torch.device("cpu")).learn(3, [whole(task)])
    assert not torch.equal(task.model.classifiers[0][1], before)


def test_the_graph_comes_from_the_training_labels():
    parts = make_parts(40)
    plain, normalized = task_of(parts=parts), task_of("graph.normalized=true", parts=parts)
    assert (plain.model.graph.adjacency.diagonal() == 1).all()
    assert (normalized.model.graph.adjacency.diagonal() < 1).all()


def test_a_network_begins_with_another_ones_weights(tmp_path):
    parts = make_parts(40)
    first = task_of(parts=parts, steps=10)
    train(first, first.recipe.loop, tmp_path / "first")
    torch.manual_seed(1)
    second = AuTask(recipe_of(f"init={tmp_path / 'first' / 'best.pt'}"), parts)
    trained = load_checkpoint(tmp_path / "first" / "best.pt")["averaged"]
    assert all(torch.equal(value, trained[name]) for name, value in second.model.state_dict().items()
               if value.is_floating_point())
    trunk = first.model.views[0].backbone.state_dict()
    torch.save(trunk, tmp_path / "trunk.pt")
    third = AuTask(recipe_of(f"pretrained={tmp_path / 'trunk.pt'}"), parts)
    for view in third.model.views:
        assert all(torch.equal(value, trunk[name]) for name, value in view.backbone.named_parameters())


# -- several processes -----------------------------------------------------------------------


def member(rank, port, folder):
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1",
                      MASTER_PORT=str(port))
    with join_team("cpu") as (team, device):
        task = task_of("method.pretrain=2", steps=6, evaluate_every=6)
        train(task, task.recipe.loop, folder, team=team, device=device)


def test_two_processes_learn_what_one_learns(tmp_path):
    """The whole method: batch norms, labels known here and there, unlabeled faces, both terms."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
    context = multiprocessing.get_context("fork")
    runs = [context.Process(target=member, args=(rank, port, tmp_path / "two")) for rank in (0, 1)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    assert [run.exitcode for run in runs] == [0, 0]
    task = task_of("method.pretrain=2", steps=6, evaluate_every=6)
    train(task, task.recipe.loop, tmp_path / "one")
    first, second = ([float(v) for v in (tmp_path / name / "metrics.csv").read_text().splitlines()[1].split(",")[1:5]]
                     for name in ("one", "two"))
    assert np.allclose(first, second, rtol=1e-4)
    a, b = (load_checkpoint(tmp_path / name / "last.pt")["model"] for name in ("one", "two"))
    start = task_of().model.state_dict()
    for name, value in a.items():
        moved = (value - start[name]).abs().max() if value.is_floating_point() else 1
        assert (value - b[name]).abs().max() <= 0.02 * moved + 1e-6, name


def test_half_precision_gives_finite_float32_terms():
    task = task_of(precision="bfloat16")
    learner = Learner(task, task.recipe.loop, Team(), torch.device("cpu"))
    half = learner.learn(3, [whole(task, 3)])
    full = Learner(task_of(), recipe_of().loop, Team(), torch.device("cpu")).learn(3, [whole(task, 3)])
    assert all(math.isfinite(v) for v in half.values())
    assert half["supervised"] == pytest.approx(full["supervised"], rel=0.05)
