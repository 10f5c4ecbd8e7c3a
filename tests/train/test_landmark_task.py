"""The landmark task: what it draws, that it learns and goes on, and what it refuses."""

import json
import shutil
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
import torch
from toy import stop_at_validation
from stand_in import make_some, sample
from torch import nn

from rtau.crop import apply, invert
from rtau.errors import InputError, UsageError
from rtau.landmarks import BEYOND
from rtau_train.batches import Share
from rtau_train.config import build_recipe
from rtau_train.cutting import MIRROR
from rtau_train.landmark_crops import NonFaces, cut_off, displaced, mirrored, take_crop
from rtau_train.landmark_faces import open_backgrounds, open_marked_renders
from rtau_train.landmarks import jitter, normalized_error, yaw_pitch_roll
from rtau_train.loop import train
from rtau_train.puppet.camera import rotation_of
from rtau_train.session import open_task


@dataclass(frozen=True)
class Turned:
    """A factory of makers: all heads look to image right, tilted, and the mouth is behind a mask."""

    def __call__(self):
        def one(index: int):
            image, labels = sample(index)
            return image, labels | {"rotation": rotation_of(0.3, 0.0, 0.2).tolist(), "occluders": ["mask"],
                                    "visibility": labels["visibility"] | {"mouth": 0.0, "chin": 0.5}}
        return lambda run: map(one, run)


def dots(size=160):
    """A face of 68 places in a grey picture: sensible ones for the eyes, so that it has a size and stands upright."""
    rng = np.random.default_rng(5)
    points = rng.uniform(45, 115, (68, 2)).astype(np.float32)
    points[36:42] = [60, 70] + rng.normal(0, 1.5, (6, 2))
    points[42:48] = [100, 72] + rng.normal(0, 1.5, (6, 2))
    return np.full((size, size, 3), 70, np.uint8), points


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Renders of blotches, and portraits of noise with 189 points each."""
    renders, faces = tmp_path_factory.mktemp("renders"), tmp_path_factory.mktemp("faces")
    make_some(renders, count=24, make=Turned())
    rng = np.random.default_rng(0)
    for group, names in (("london_neutral", ("001_03", "042_03", "094_03")), ("canada", ("001f",))):
        (faces / group).mkdir()
        for name in names:
            cv2.imwrite(str(faces / group / f"{name}.jpg"), rng.integers(0, 256, (90, 80, 3)).astype(np.uint8))
        np.savez(faces / group / "landmarks.npz", names=np.array(names),
                 points=rng.uniform(20, 60, (len(names), 189, 2)).astype(np.float32))
    (faces / "backgrounds_rainbow").mkdir()
    for name in "abcde":
        shape = (90, 100 + ord(name), 3)
        cv2.imwrite(str(faces / "backgrounds_rainbow" / f"{name}.jpg"), rng.integers(0, 256, shape).astype(np.uint8))
    return renders, faces


def task_of(folders, *changes):
    renders, faces = folders
    values = {"task": "landmarks", "renders": str(renders), "faces": str(faces),
              "model": {"size": 32, "width": 8, "blocks": [1, 1, 1], "pyramid": 8},
              "loop": {"steps": 8, "batch": 8, "evaluate_every": 4, "warmup": 2, "threads": 1}}
    return open_task(build_recipe(values, changes))


# -- crops -----------------------------------------------------------------------------------


@pytest.mark.parametrize("point", [36, 45, 8])
def test_a_dot_lies_in_the_crop_where_its_point_does(point):
    grey, points = dots()
    y, x = np.mgrid[:160, :160]
    dot = np.exp(-((x - points[point, 0]) ** 2 + (y - points[point, 1]) ** 2) / (2 * 4**2))
    image = (grey + 170 * dot[..., None]).clip(0, 255).astype(np.uint8)
    off = []
    for seed in range(80):
        crop = take_crop(image, points, np.ones(68, np.float32), 112, np.random.default_rng(seed))
        assert np.allclose(apply(crop.back, crop.points), points, atol=1e-3)
        place = crop.points[point]
        if not crop.shown[point] or not (place > 24).all() or not (place < 87).all():
            continue
        (px, py), patch = np.round(place).astype(int), crop.image.astype(float).sum(2)
        patch = cv2.GaussianBlur(patch, (0, 0), 1.5)[py - 16:py + 17, px - 16:px + 17]
        bright = np.maximum(patch - patch.min() - 0.5 * np.ptp(patch), 0)
        rows, columns = np.mgrid[-16:17, -16:17]
        seen = np.array([(bright * columns).sum(), (bright * rows).sum()]) / max(bright.sum(), 1e-9) + (px, py)
        off.append(np.linalg.norm(seen - place))
    # Lamps, noise and things before it move some dots, but not most.
    assert len(off) > 40 and np.median(off) < 0.6


def test_a_half_face_is_really_cut_off():
    grey, points = dots()
    image = grey.copy()
    image[:, :80], image[:, 80:] = (200, 40, 40), (40, 40, 200)
    rng, left = np.random.default_rng(0), []
    for _ in range(60):
        part, matrix, inside = cut_off(image, np.eye(2, 3), points, rng)
        assert part.shape[0] < 160 or part.shape[1] < 160
        assert np.array_equal(matrix[:, :2], np.eye(2))
        placed = apply(matrix, points)
        within = ((placed > -0.5) & (placed < [part.shape[1] - 0.5, part.shape[0] - 0.5])).all(1)
        assert np.array_equal(inside, within)
        corner = np.round(-matrix[:, 2]).astype(int)
        assert np.array_equal(part, image[corner[1]:corner[1] + part.shape[0], corner[0]:corner[0] + part.shape[1]])
        low, high = points.min(0), points.max(0)
        # What is left of the points' box, along the axis that was cut.
        shares = [(min(high[a], part.shape[1 - a] - 1 + corner[a]) - max(low[a], corner[a])) / (high[a] - low[a])
                  for a in (0, 1)]
        assert 0.38 < min(shares) < 0.96 and max(shares) > 0.98
        left.append(inside.mean())
    assert min(left) < 0.6 and max(left) > 0.85
    halves = [crop for crop in (take_crop(image, points, np.ones(68, np.float32), 112, np.random.default_rng(seed))
                                for seed in range(120)) if not crop.shown[[36, 45]].all()]
    assert halves, "no crop without an eye"
    # Beyond the border there is nothing to see, instead of the face's mirror image.
    assert np.median([(crop.image == BEYOND).all(2).mean() for crop in halves]) > 0.1


def test_regions_cover_what_trackers_and_detectors_give():
    region = np.array([80, 80, 100, 0], np.float32)
    given = np.array([displaced(region, np.random.default_rng(seed)) for seed in range(2000)])
    shift, size, roll = (given[:, :2] - 80) / 100, np.log(given[:, 2] / 100), np.degrees(given[:, 3])
    assert np.percentile(np.abs(roll), 97) > 35 and np.median(np.abs(roll)) < 12
    assert np.percentile(np.abs(shift), 95) > 0.1 and np.abs(shift).max() < 0.5
    assert np.percentile(size, 99) > 0.22 and np.percentile(size, 1) < -0.17


def test_points_that_something_hides_count_less(folders):
    renders = open_marked_renders(folders[0], "train")
    assert (renders.shown[:, 48:] == 0).all() and (renders.shown[:, 36:48] == 1).all()
    assert (renders.shown[:, 5:12] == 0.5).all() and renders.worn[0] == {"mask"}
    _, task = task_of(folders, "options.shares=[1.0, 0.0, 0.0]", "options.hidden=0.2")
    counts = torch.cat([task.batch(Share(0, step))["counts"] for step in range(4)])
    assert torch.allclose(counts[..., 48:].max(), torch.tensor(1.5 * 0.2))
    assert torch.allclose(counts[..., 36:48].max(), torch.tensor(1.5))


def test_a_mirrored_face_looks_the_other_way(folders):
    _, task = task_of(folders, "options.shares=[1.0, 0.0, 0.0]")
    seen = set()
    for step in range(6):
        batch = task.batch(Share(0, step))
        for row, source in enumerate(batch.sources):
            pick = task.renders.source.tolist().index(source.split()[1])
            points, back = task.renders.points[pick], batch["back"][row, 0].numpy()
            eyes = np.linalg.norm(points[36] - points[45])
            found = apply(back * eyes, batch["points"][row, 0].numpy())
            turn = np.arctan2(back[1, 0], back[0, 0])
            yaw, pitch, roll = batch["pose"][row, 0].tolist()
            plain = np.allclose(found, points, atol=1e-2)
            if not plain:
                assert np.allclose(found, mirrored(np.zeros((32, 32, 3), np.uint8), points, np.ones(68))[1], atol=1e-2)
            sign = 1 if plain else -1
            assert (yaw, pitch) == pytest.approx((0.3 * sign, 0), abs=1e-3)
            assert np.exp(1j * (roll + turn)) == pytest.approx(np.exp(0.2j * sign), abs=1e-3)
            seen.add(plain)
    assert seen == {True, False}


def test_mirroring_twice_changes_nothing():
    image, points = dots()
    image[:, :50] = 200
    shown = np.arange(68, dtype=np.float32)
    once = mirrored(image, points, shown)
    assert (once[0][:, -50:] == 200).all() and np.array_equal(once[2], shown[MIRROR])
    for before, after in zip((image, points, shown), mirrored(*once), strict=True):
        assert np.allclose(before, after)


def test_photographs_that_judge_are_not_learned_from(folders):
    learned, judging = open_backgrounds(folders[1]), open_backgrounds(folders[1], judging=True)
    assert len(learned) == 4 and len(judging) == 1
    assert judging[0].shape[1] not in {image.shape[1] for image in learned}


def test_non_faces_are_crops_of_any_kind(folders):
    _, task = task_of(folders)
    crops = [NonFaces(open_backgrounds(folders[1]), [task.renders], 32)(np.random.default_rng(i)) for i in range(40)]
    assert all(crop.shape == (32, 32, 3) and crop.dtype == np.uint8 for crop in crops)
    # Few lie wholly beyond their picture, where there is nothing to see.
    assert len({crop.tobytes() for crop in crops}) > 34


# -- batches and loss ------------------------------------------------------------------------


@pytest.mark.parametrize("crops", [1, 2])
def test_a_share_of_a_batch_is_that_part_of_the_whole(folders, crops):
    _, task = task_of(folders, f"options.crops={crops}")
    whole, parts = task.batch(Share(0, 3)), [task.batch(Share(0, 3, piece, 2)) for piece in (0, 1)]
    for name in whole.tensors:
        assert torch.equal(torch.cat([part[name] for part in parts]), whole[name])
    assert whole.sources == parts[0].sources + parts[1].sources
    for name in whole.weights:
        assert whole.weights[name] == pytest.approx(sum(part.weights[name] for part in parts))
    assert not torch.equal(task.batch(Share(0, 4))["pixels"], whole["pixels"])
    assert not torch.equal(task.batch(Share(1, 3))["pixels"], whole["pixels"])
    assert {source.split()[0] for step in range(8) for source in task.batch(Share(0, step)).sources} == {
        "render", "portrait", "no"}


def test_non_faces_and_portraits_tell_only_what_is_known(folders):
    _, task = task_of(folders, "options.crops=2")
    kinds = set()
    for step in range(8):
        batch = task.batch(Share(0, step))
        for row, source in enumerate(batch.sources):
            kind = source.split()[0]
            kinds.add(kind)
            assert (batch["face"][row] == (kind != "no")).all() and (batch["posed"][row] == (kind == "render")).all()
            assert ((batch["counts"][row] > 0) == (kind != "no")).all()
            assert torch.isfinite(batch["pose"][row]).all()
    assert kinds == {"render", "portrait", "no"}


@pytest.mark.parametrize("changes", [(), ("options.crops=2", "options.steady=0.5")])
def test_pieces_add_up_to_the_loss_of_the_whole(folders, changes):
    _, task = task_of(folders, *changes)
    task.model.eval()
    whole, parts = task.batch(Share(0, 3)), [task.batch(Share(0, 3, piece, 2)) for piece in (0, 1)]
    for name, value in task.loss(task.model, whole).items():
        by_parts = sum(task.loss(task.model, part)[name] * part.weights[name] for part in parts)
        assert torch.allclose(value, by_parts / max(whole.weights[name], 1e-9), rtol=1e-4), name


class Says(nn.Module):
    """A network that says what it was told to."""

    def __init__(self, points: torch.Tensor) -> None:
        super().__init__()
        self.points = points

    def forward(self, crops):
        return self.points.flatten(0, 1), crops.new_zeros(len(crops)), crops.new_zeros(len(crops), 3)


def test_crops_that_agree_are_steady(folders):
    _, task = task_of(folders, "options.crops=2", "options.steady=1.0", "options.shares=[0.5, 0.5, 0.0]")
    batch = task.batch(Share(0, 1))
    right = task.loss(Says(batch["points"]), batch)
    assert right["steady"] < 1e-2 and right["place"] < 1e-5
    # One crop is off by a tenth of the eyes' distance in the picture, to the right.
    off = batch["points"].clone()
    for row, back in enumerate(batch["back"][:, 1].numpy()):
        off[row, 1] += torch.from_numpy(invert(back)[:, :2] @ np.array([0.1, 0])).float()
    assert float(task.loss(Says(off), batch)["steady"]) == pytest.approx(100 * 0.1 / 4, rel=0.02)


def test_one_batch_can_be_learned_by_heart(folders):
    _, task = task_of(folders, "options.shares=[0.5, 0.2, 0.3]")
    batch, optimizer = task.batch(Share(0, 0)), torch.optim.AdamW(task.model.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        terms = task.loss(task.model, batch)
        loss = sum(task.factors(0)[name] * value for name, value in terms.items())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append({name: float(value.detach()) for name, value in terms.items()})
    assert losses[-1]["place"] < 0.75 * losses[0]["place"]
    assert losses[-1]["there"] < 0.1 and losses[-1]["turn"] < 0.5 * losses[0]["turn"]


def test_it_is_trained_and_goes_on(folders, tmp_path):
    recipe, task = task_of(folders)
    best = train(task, recipe.loop, tmp_path / "whole")
    assert {"portraits_nme", "renders_nme", "renders_degrees", "altered_nme", "altered_found", "jitter", "false_faces",
            "score"} <= best.keys()
    recipe, task = task_of(folders)
    task.charts = {}
    stop_at_validation(task, recipe.loop, tmp_path / "cut")
    recipe, task = task_of(folders, "loop.checkpoint_every=3")
    assert train(task, recipe.loop, tmp_path / "cut") == best
    _, begun = task_of(folders, f"init={tmp_path / 'whole' / 'best.pt'}")
    saved = torch.load(tmp_path / "whole" / "best.pt", weights_only=True)["averaged"]
    assert all(torch.equal(value, saved[name]) for name, value in begun.model.state_dict().items()
               if value.dtype.is_floating_point)


def test_validation_may_lie_elsewhere(folders, tmp_path):
    make_some(tmp_path, count=3, make=Turned())
    with pytest.raises(InputError, match="no pictures of validation people"):
        task_of((folders[0], folders[1]), f"data.validation={make_only_train(tmp_path)}")
    assert len(task_of(folders, f"data.validation={tmp_path}")[1].evaluate(task_of(folders)[1].model)) > 8


def make_only_train(folder):
    """A folder of renders without anyone who validates."""
    out = folder / "train"
    out.mkdir()
    make_some(out, count=2)
    return out


# -- figures ---------------------------------------------------------------------------------


def test_errors_and_jitter_are_shares_of_the_eyes_distance():
    _, points = dots()
    eyes = np.linalg.norm(points[36] - points[45])
    assert normalized_error(points + [3, 4], points) == pytest.approx(5 / eyes)
    looks = points + np.random.default_rng(0).normal(0, 0.7, (400, 68, 2))
    assert jitter(looks, points) == pytest.approx(0.7 * np.sqrt(2) / eyes, rel=0.02)
    assert jitter(np.repeat(points[None] + 9, 4, 0), points) == 0


def test_an_unknown_turn_has_no_angles():
    rotation = np.stack([rotation_of(0.3, -0.1, 0.2), np.full((3, 3), np.nan)])
    angles = yaw_pitch_roll(rotation)
    assert angles[0] == pytest.approx((0.3, -0.1, 0.2), abs=1e-5) and np.isnan(angles[1]).all()


# -- errors ----------------------------------------------------------------------------------


def test_what_it_lacks_is_said_in_a_line(folders, tmp_path):
    with pytest.raises(UsageError, match="needs renders and faces"):
        open_task(build_recipe({"task": "landmarks"}))
    with pytest.raises(InputError, match="landmarks.npz can't be read .*rtau data fetch") as caught:
        task_of(folders, f"faces={tmp_path}")
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no readable|can't be read|is no checkpoint|holds"):
        task_of(folders, f"init={folders[0] / 'render.json'}")


@pytest.mark.parametrize(("change", "said"), [
    ("options.speed=3", "unknown options speed; known are shares, hidden, crops, steady"),
    ("options.shares=[0.5, 0.4]", "options.shares is .*, expected three shares that add up to 1"),
    ("options.shares=[0.5, 0.4, 0.3]", "expected three shares"),
    ("options.hidden=2", "options.hidden is 2, expected from 0 to 1"),
    ("options.crops=0", "options.crops is 0, expected a whole number from 1 on"),
    ("options.steady=-1.0", "options.steady is -1.0, expected at least 0"),
    ("options.steady=1.0", "give options.crops=2, or steady=0")])
def test_options_that_make_no_sense_are_refused(folders, change, said):
    with pytest.raises(UsageError, match=said) as caught:
        task_of(folders, change)
    assert "\n" not in str(caught.value)


def test_a_render_that_can_not_be_read_is_passed_over_unless_the_recipe_is_strict(folders, tmp_path):
    renders = tmp_path / "renders"
    shutil.copytree(folders[0], renders)
    lazy = open_marked_renders(renders, "train", memory=0)
    (renders / "shard-000001.tar").unlink()
    _, task = task_of(folders, "options.shares=[1.0, 0.0, 0.0]")
    task.renders = lazy
    batches = [task.batch(Share(0, step)) for step in range(6)]
    assert {source for batch in batches for source in batch.unreadable} == {"001#4", "042#5"}
    assert all("#4" not in source and "#5" not in source for batch in batches for source in batch.sources)
    task.strict = True
    with pytest.raises(InputError, match="shard-000001.tar can't be read"):
        for step in range(6):
            task.batch(Share(0, step))


def test_labels_that_lack_something_are_named(tmp_path):
    make_some(tmp_path, count=1, folder=True)
    file = tmp_path / "00000000.json"
    labels = json.loads(file.read_text())
    for broken, said in (({key: labels[key] for key in labels if key != "rotation"}, "the labels lack 'rotation'"),
                         (labels | {"points": labels["points"][1:]}, "the labels hold something else")):
        file.write_text(json.dumps(broken))
        with pytest.raises(InputError, match=said) as caught:
            open_marked_renders(tmp_path, "train")
        assert "\n" not in str(caught.value)
