"""The finder's training: composites, targets, loss, figures, a face that is learned, export, errors."""

import json
from io import StringIO
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from toy import stop_at_validation
from rich.console import Console
from stand_in import make_some

from rtau.backends import open_backend
from rtau.boxes import box_of_points, iou
from rtau.detect import open_detector
from rtau.detect_rtau import cells, decode
from rtau.errors import InputError, UsageError
from rtau.finder import FinderConfig, FinderNet
from rtau.landmarks import LandmarkReader, region_of_box, region_of_points
from rtau.store import find_weights
from rtau_train.batches import Share
from rtau_train.config import build_recipe
from rtau_train.data.portraits import read_rgb
from rtau_train.detection import mine as mining
from rtau_train.detection.composites import LEAST, Album, draw_composite
from rtau_train.detection.figures import Tally, merge
from rtau_train.detection.loss import decode as read_cells
from rtau_train.detection.loss import finder_loss, overlap
from rtau_train.detection.parts import five_points, load_backgrounds, load_people, make_cutout
from rtau_train.detection.targets import RANGES, assign
from rtau_train.detection.task import faceless_composite
from rtau_train.export.order import Order, export
from rtau_train.loop import train
from rtau_train.session import open_task, preview

TINY = {"size": 64, "stem": [8, 8], "widths": [16, 16, 16], "blocks": [1, 1, 1], "pyramid": 16}


@pytest.fixture(scope="module")
def reader():
    weights = find_weights("landmarks")
    return LandmarkReader(weights, open_backend(weights, "torch", "cpu", threads=1))


@pytest.fixture(scope="module")
def album(fixtures, reader):
    """One person, cut out of a real photograph, and a picture without a face."""
    image = read_rgb(fixtures / "face.jpg")
    points = reader(image, region_of_box(np.array([90, 30, 230, 220]))[None]).points[0]
    for _ in range(2):
        points = reader(image, region_of_points(points)[None]).points[0]
    return Album([make_cutout(image, points, "somebody")], [], [read_rgb(fixtures / "no_face.jpg")])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Renders of blotches, portraits of noise with 189 points each, and backgrounds of noise."""
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
    for number in range(5):
        cv2.imwrite(str(faces / "backgrounds_rainbow" / f"room{number}.jpg"),
                    rng.integers(0, 256, (90, 120, 3)).astype(np.uint8))
    return renders, faces


def task_of(folders, *changes):
    renders, faces = folders
    values = {"task": "detector", "renders": str(renders), "faces": str(faces), "model": dict(TINY),
              "options": {"size": 64, "validated": 6},
              "loop": {"steps": 4, "batch": 4, "evaluate_every": 2, "warmup": 2, "threads": 1}}
    return open_task(build_recipe(values, changes))


# Composites

def test_a_composite_follows_from_its_seed(album):
    one, same, other = (draw_composite(album, 96, np.random.default_rng(seed)) for seed in (5, 5, 6))
    for name in ("image", "boxes", "points", "ignored"):
        assert np.array_equal(getattr(one, name), getattr(same, name)), name
    assert not np.array_equal(one.image, other.image)
    assert one.image.shape == (96, 96, 3) and one.image.dtype == np.uint8


def test_composites_have_no_more_faces_than_they_say(album):
    for seed in range(6):
        assert not len(faceless_composite(album, 64, seed).boxes)
    drawn = [draw_composite(album, 96, np.random.default_rng([1, seed])) for seed in range(60)]
    for composite in drawn:
        assert composite.boxes.shape == (len(composite.ignored), 4)
        assert composite.points.shape == (len(composite.ignored), 5, 2)
        sides = np.sqrt((composite.boxes[:, 2:] - composite.boxes[:, :2]).prod(1))
        assert composite.ignored[sides < LEAST].all()
        # Who is to be found lies apart from the others.
        found = composite.boxes[~composite.ignored]
        assert (iou(found, found) - np.eye(len(found))).max(initial=0) < 0.2
    counts = [int((~c.ignored).sum()) for c in drawn]
    assert min(counts) == 0 and 1 in counts and max(counts) > 4
    sides = np.concatenate([np.sqrt((c.boxes[:, 2:] - c.boxes[:, :2]).prod(1))[~c.ignored] for c in drawn])
    assert sides.min() < 14 and sides.max() > 80


def test_points_of_a_face_lie_in_its_box_and_in_order(album):
    for seed in range(20):
        composite = draw_composite(album, 96, np.random.default_rng([2, seed]))
        for box, points in zip(composite.boxes, composite.points, strict=True):
            assert (points >= box[:2]).all() and (points <= box[2:]).all()
            right_eye, left_eye, nose, right_mouth, left_mouth = points
            assert right_eye[0] < left_eye[0] and right_mouth[0] < left_mouth[0]
            assert max(right_eye[1], left_eye[1]) < max(right_mouth[1], left_mouth[1])
            assert box[1] < nose[1] < box[3]


def test_a_face_is_where_the_composite_says(album, reader):
    """rtau's landmark network sees a face in the box, and its points are those of the composite."""
    presence, apart, beside = [], [], []
    for seed in range(40):
        composite = draw_composite(album, 160, np.random.default_rng([3, seed]))
        for box, points in zip(composite.boxes[~composite.ignored], composite.points[~composite.ignored], strict=True):
            side = float((box[2:] - box[:2]).max())
            if side < 48:
                continue
            marks = reader(composite.image, region_of_box(box)[None])
            presence.append(float(marks.presence[0]))
            apart.append(np.linalg.norm(five_points(marks.points[0]) - points, axis=1).mean() / side)
            far = box + (1.1 * side, 0, 1.1 * side, 0)
            if not (iou(far[None], composite.boxes) > 0).any():
                beside.append(float(reader(composite.image, region_of_box(far)[None]).presence[0]))
    assert len(presence) >= 10
    assert np.median(presence) > 0.9 and np.median(apart) < 0.05
    assert np.median(beside) < 0.5


def test_real_people_are_cut_out_of_their_backdrops(shared, reader):
    people = load_people(shared / "faces", "validation", reader)
    names = {cutout.person for cutout in people}
    assert len(names) == 12 and len(people) == 22  # 10 of them smile as well
    for cutout in people:
        cover = cutout.levels[0][..., 3]
        h = len(cover)
        assert cover[0, 0] == cover[0, -1] == 0
        x, y = np.round(cutout.points[30]).astype(int)
        assert cover[y, x] == 255 and 0.2 < (cover > 127).mean() < 0.9
        for number, level in enumerate(cutout.levels):
            assert level.shape[0] == h >> number
    assert load_backgrounds(shared / "faces", "train")


# Targets

def two_faces():
    boxes = np.array([[20, 20, 40, 40], [8, 8, 120, 120]], float)
    points = np.arange(20, dtype=float).reshape(2, 5, 2)
    return boxes, points, np.zeros(2, bool)


def test_a_face_belongs_to_the_maps_of_its_size_near_its_centre():
    targets = assign(*two_faces(), 128, 128)
    places, strides = cells(128, 128)
    found = targets.there == 1
    small = found & (targets.boxes[:, 0] == 20)
    large = found & (targets.boxes[:, 0] == 8)
    assert small.sum() + large.sum() == found.sum()
    assert set(strides[small]) == {8} and set(strides[large]) == {32}
    assert (np.abs(places[small] - 30) <= 8).all() and small.sum() >= 1
    assert (np.abs(places[large] - 64) <= 28 + 1e-6).all() and large.sum() == 4
    assert (targets.points[small] == np.arange(10)).all() and (targets.points[large] == np.arange(10, 20)).all()
    assert not targets.boxes[~found].any() and not targets.points[~found].any()
    far = np.abs(places - 64).max(1) > 60
    assert (targets.there[far] == 0).all()


def test_the_smaller_face_has_a_cell_that_two_want():
    boxes = np.array([[0, 0, 24, 24], [6, 6, 18, 18]], float)
    targets = assign(boxes, np.zeros((2, 5, 2)), np.zeros(2, bool), 32, 32)
    places, _ = cells(32, 32)
    nearest = int(np.argmin(np.hypot(*(places - 12).T)))
    assert targets.there[nearest] == 1 and targets.boxes[nearest].tolist() == [6, 6, 18, 18]


@pytest.mark.parametrize("side", [3, 9, 17, 30, 70, 150, 500])
@pytest.mark.parametrize("shift", [0.0, 3.7])
def test_every_face_in_the_picture_has_a_cell(side, shift):
    centre = np.array([60 + shift, 70 - shift])
    box = np.concatenate([centre - side / 2, centre + side / 2])[None]
    assert (assign(box, np.zeros((1, 5, 2)), np.zeros(1, bool), 128, 128).there == 1).any()


def test_sizes_leave_no_gap():
    assert RANGES[0][0] == 0 and RANGES[-1][1] == float("inf")
    for (_, most), (least, _) in pairwise(RANGES):
        assert least < most


def test_what_is_ignored_is_neither_face_nor_none():
    boxes, points, _ = two_faces()
    targets = assign(boxes[:1], points[:1], np.array([True]), 128, 128)
    places, _ = cells(128, 128)
    inside = (np.abs(places - 30) <= 10).all(1)
    assert (targets.there[inside] == -1).all() and (targets.there[~inside] == 0).all()
    both = assign(boxes[[0, 0]], points, np.array([True, False]), 128, 128)
    assert (both.there == 1).any()


def test_without_a_face_nothing_is_to_be_found():
    targets = assign(np.zeros((0, 4)), np.zeros((0, 5, 2)), np.zeros(0, bool), 64, 96)
    count = len(cells(64, 96)[0])
    assert targets.there.shape == (count,) and not targets.there.any()
    assert targets.boxes.shape == (count, 4) and targets.points.shape == (count, 10)
    outside = assign(np.array([[200.0, 200, 220, 220]]), np.zeros((1, 5, 2)), np.zeros(1, bool), 64, 96)
    assert not outside.there.any()


# Loss

def place(height=64, width=64):
    return tuple(torch.from_numpy(value).float() for value in cells(height, width))


def told(targets):
    return tuple(torch.from_numpy(value)[None] for value in (targets.there, targets.boxes, targets.points))


def perfect(targets, places, strides):
    """Outputs that say what they should."""
    there, boxes, points = told(targets)
    centre, size = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]).clamp(min=1)
    stride = strides[:, None]
    said = torch.cat([(centre - places) / stride, (size / stride).log()], -1)
    marks = (points.view(1, -1, 5, 2) - places[:, None]) / stride[:, None]
    return torch.where(there > 0, 12.0, -12.0), said.transpose(1, 2), marks.flatten(2).transpose(1, 2)


def test_overlap_of_boxes():
    a = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]])
    b = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 0, 30, 10]])
    common, fits = overlap(a, b)
    assert torch.allclose(common, torch.tensor([1.0, 1 / 3, 0.0]))
    assert torch.allclose(fits, torch.tensor([1.0, 1 / 3 - 25 / 325, -400 / 1000]))


def test_training_and_running_read_cells_alike():
    rng = np.random.default_rng(0)
    count = len(cells(64, 64)[0])
    scores, boxes, points = (rng.normal(size=shape).astype(np.float32) for shape in ((count,), (4, count), (10, count)))
    rows = decode(scores, boxes, points, (64, 64), 0.0)
    read = read_cells(torch.from_numpy(boxes).T, torch.from_numpy(points).T, *place())
    np.testing.assert_allclose(read[0], rows[:, :4], atol=1e-3)
    np.testing.assert_allclose(read[1], rows[:, 5:], atol=1e-3)


def test_what_is_right_costs_nothing_and_what_is_wrong_something():
    boxes, points, ignored = two_faces()
    targets = assign(boxes, boxes[:, None, :2] + points / 2, ignored, 128, 128)
    places, strides = place(128, 128)
    outputs = perfect(targets, places, strides)
    right = finder_loss(outputs, *told(targets), places, strides)
    assert all(value < 1e-3 for value in right.values()), right
    for number, name in enumerate(("there", "box", "points")):
        worse = list(outputs)
        worse[number] = worse[number] + 0.5 if number else -worse[number]
        assert finder_loss(tuple(worse), *told(targets), places, strides)[name] > 0.05, name


def test_scores_aim_at_how_well_the_box_fits():
    boxes, points, ignored = two_faces()
    targets = assign(boxes[:1], points[:1], ignored[:1], 64, 64)
    places, strides = place()
    _, said, marks = perfect(targets, places, strides)
    said = said + torch.tensor([0.0, 0.0, np.log(2), 0.0])[:, None]  # twice as wide: half the area is common
    by_score = {chance: float(finder_loss((torch.where(told(targets)[0] > 0, float(np.log(chance / (1 - chance))), -12.0),
                                           said, marks), *told(targets), places, strides)["there"])
                for chance in (0.5, 0.75, 0.95)}
    assert by_score[0.75] < 1e-4 < min(by_score[0.5], by_score[0.95])


def test_pictures_without_a_face_teach_scores_alone():
    net = FinderNet(FinderConfig.from_dict(TINY))
    empty = assign(np.zeros((0, 4)), np.zeros((0, 5, 2)), np.zeros(0, bool), 64, 64)
    loss = finder_loss(net(torch.rand(1, 3, 64, 64) * 255), *told(empty), *place())
    assert loss["box"] == 0 and loss["points"] == 0 and 0 < loss["there"] < 10
    sum(loss.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)
    assert net.heads[0][-1].weight.grad[0].abs().sum() > 0
    ignored = assign(np.array([[0.0, 0, 64, 64]]), np.zeros((1, 5, 2)), np.array([True]), 64, 64)
    assert finder_loss(net(torch.zeros(1, 3, 64, 64)), *told(ignored), *place())["there"] == 0


# Figures

def test_a_tally_counts_finds_misses_and_inventions():
    boxes = np.array([[0, 0, 10, 10], [50, 50, 90, 90], [100, 0, 108, 8]], float)
    points = np.zeros((3, 5, 2))
    ignored = np.array([False, False, True])
    found = np.array([[0, 0, 10, 9, 0.9], [1, 0, 10, 10, 0.6], [20, 20, 30, 30, 0.7], [100, 0, 108, 8, 0.8]])
    rows = np.c_[found, np.full((4, 10), 3.0)]
    tally = Tally()
    tally.add(rows, boxes, points, ignored)
    # Right at .9, wrong at .7 (nobody) and .6 (found already); what is ignored counts as neither.
    assert sorted(tally.scores) == [0.6, 0.7, 0.9] and tally.right == [True, False, False]
    assert tally.recall(0.5) == 0.5 and tally.recall(0.95) == 0 and tally.recall(0.5, 9, 16) == 1
    assert np.isnan(tally.recall(0.5, 200))
    assert tally.false(0.5) == 2 and tally.false(0.65) == 1
    assert tally.average_precision() == pytest.approx(0.5)
    assert tally.error() == pytest.approx(np.hypot(3, 3) / 10)
    empty = Tally()
    empty.add(np.zeros((0, 5)), np.zeros((0, 4)), np.zeros((0, 5, 2)), np.zeros(0, bool))
    assert np.isnan(empty.average_precision()) and empty.false(0.5) == 0 and np.isnan(empty.error())
    both = merge([tally, empty])
    assert both.pictures == 2 and both.false(0.5) == 1


def test_precision_falls_with_inventions_that_are_surer():
    face, nobody = [10, 10, 30, 30], [60, 60, 80, 80]

    def precision(of_face, of_nobody):
        tally = Tally()
        tally.add(np.array([[*face, of_face], [*nobody, of_nobody]]), np.array([face], float), np.zeros((1, 5, 2)),
                  np.zeros(1, bool))
        return tally.average_precision()

    assert precision(0.9, 0.5) == 1 and precision(0.5, 0.9) == 0.5


# The task

def test_a_share_of_a_batch_is_that_part_of_the_whole(folders):
    _, task = task_of(folders)
    whole, parts = task.batch(Share(0, 3)), [task.batch(Share(0, 3, piece, 2)) for piece in (0, 1)]
    for name in whole.tensors:
        assert torch.equal(torch.cat([part[name] for part in parts]), whole[name])
    assert whole.sources == parts[0].sources + parts[1].sources
    task.model.eval()
    for name, value in task.loss(task.model, whole).items():
        by_parts = sum(task.loss(task.model, part)[name] * part.weights[name] for part in parts)
        assert torch.allclose(value * whole.weights[name], by_parts, rtol=1e-3, atol=1e-5), name


def test_it_is_trained_goes_on_and_is_exported(folders, tmp_path, fixtures):
    recipe, task = task_of(folders)
    best = train(task, recipe.loop, tmp_path / "whole", config=recipe.as_dict())
    assert {"precision", "recall", "false", "false_faceless", "score"} <= best.keys()
    recipe, task = task_of(folders)
    task.charts = {}
    stop_at_validation(task, recipe.loop, tmp_path / "cut")
    recipe, task = task_of(folders, "loop.checkpoint_every=1")
    again = train(task, recipe.loop, tmp_path / "cut")
    assert again.keys() == best.keys()
    np.testing.assert_equal([again[key] for key in best], [best[key] for key in best])

    done = export(Order(tmp_path / "whole", tmp_path / "out"))
    assert done.entry["kind"] == "detector" and done.calibration == "scores as trained"
    assert done.entry["input"]["shape"] == ["N", 3, "H", "W"] and done.entry["config"]["pyramid"] == 16
    file = tmp_path / "out" / "detector.safetensors"
    assert done.files[0].path == file and not done.files[0].drift.broken
    image = read_rgb(fixtures / "face.jpg")
    boxes, scores = open_detector("rtau", model=file, width=64, min_score=0.0)(image)
    assert len(boxes) and np.isfinite(boxes).all() and (scores < 0.5).all()  # four steps teach nothing
    with pytest.raises(UsageError, match="a detector can't be written as onnx"):
        export(Order(tmp_path / "whole", tmp_path / "other", formats=("onnx",)))
    with pytest.raises(UsageError, match="a detector has nothing to calibrate: leave --data out"):
        export(Order(tmp_path / "whole", tmp_path / "other", data=tmp_path))

    seeds = mining.mine(task.model.eval(), task.album, 64, range(4), least=0.0)
    assert sorted(seeds) == [0, 1, 2, 3]
    assert mining.mine(task.model, task.album, 64, range(4), least=1.1) == []
    (tmp_path / "mined.json").write_text(json.dumps({"seeds": seeds}))
    _, second = task_of(folders, f"options.mined={tmp_path / 'mined.json'}", f"init={tmp_path / 'whole' / 'best.pt'}")
    assert any(source.startswith("mined ") for step in range(12) for source in second.batch(Share(0, step)).sources)
    for a, b in zip(second.model.state_dict().values(), task.model.state_dict().values(), strict=True):
        assert a.shape == b.shape


def test_a_dry_run_tells_of_the_parts(folders):
    recipe, task = task_of(folders)
    console = Console(width=200, record=True, file=StringIO())
    console.print(preview(recipe))
    said = console.export_text()
    assert f"portraits: {len(task.album.people)} pictures, {len({c.person for c in task.album.people})} people" in said
    assert "backgrounds: " in said and "loop: 4 steps of 4 pictures" in said


def test_a_face_is_learned(album):
    """A few hundred composites of one person are enough for a tiny network to find that person elsewhere."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)

    def draw():
        """One face of 24 to 40 pixels on a plain ground, and what the cells should say."""
        cutout = album.people[0]
        side = rng.uniform(24, 40)
        box = box_of_points(cutout.points[None])[0]
        scale = side / np.sqrt((box[2:] - box[:2]).prod())
        centre = rng.uniform(20, 44, 2)
        shift = centre - scale * (box[:2] + box[2:]) / 2
        image = np.full((64, 64, 3), rng.uniform(20, 230, 3), np.uint8)
        warped = cv2.warpAffine(cutout.levels[2], np.column_stack([np.eye(2) * scale * 4, shift + scale * 1.5]), (64, 64))
        share = warped[..., 3:] / 255
        points = cutout.points * scale + shift
        return (image * (1 - share) + warped[..., :3] * share).astype(np.uint8), box_of_points(points[None]), \
            five_points(points)[None]

    net = FinderNet(FinderConfig.from_dict(TINY)).train()
    steps = 120
    optimizer = torch.optim.AdamW(net.parameters(), lr=8e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 8e-3, total_steps=steps)
    losses = []
    for _ in range(steps):
        drawn = [draw() for _ in range(8)]
        targets = [assign(boxes, points, np.zeros(1, bool), 64, 64) for _, boxes, points in drawn]
        pictures = torch.from_numpy(np.stack([image for image, _, _ in drawn])).permute(0, 3, 1, 2).float()
        wanted = [torch.from_numpy(np.stack([getattr(t, name) for t in targets])) for name in ("there", "boxes", "points")]
        terms = finder_loss(net(pictures), *wanted, *place())
        loss = 0.25 * terms["there"] + terms["box"] + 3 * terms["points"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.35 * np.mean(losses[:10])
    net.eval()
    tally = Tally()
    for _ in range(24):
        image, boxes, points = draw()
        with torch.no_grad():
            outputs = net(torch.from_numpy(image).permute(2, 0, 1)[None].float())
        rows = decode(*(o[0].numpy() for o in outputs), (64, 64), 0.3)
        tally.add(rows[np.argsort(-rows[:, 4])][:1], boxes, points, np.zeros(1, bool))
    assert tally.recall(0.3) > 0.9 and tally.error() < 0.12


# Errors

def test_what_it_lacks_is_said_in_a_line(folders, tmp_path):
    with pytest.raises(UsageError, match="the detector needs renders and faces"):
        open_task(build_recipe({"task": "detector"}))
    with pytest.raises(InputError, match="can't be read .*rtau data fetch") as caught:
        task_of((folders[0], tmp_path))
    assert "\n" not in str(caught.value)
    for change, what in (("options.sise=3", "unknown option 'sise'; known are size, "),
                         ("options.size=100", "options.size is 100, expected a multiple of 32"),
                         ("model.wide=3", "unknown setting 'wide' of the finder"),
                         ("options.mined=none.json", "the mined seeds none.json can't be read"),
                         (f"options.mined={folders[1] / 'canada' / '001f.jpg'}", "holds no mined seeds")):
        with pytest.raises((UsageError, InputError), match=what):
            task_of(folders, change)


def test_mining_says_its_mistakes_in_a_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["mine", str(tmp_path), "--out", str(tmp_path / "mined.json")])
    assert mining.main() == 2
    said = capsys.readouterr().err
    assert said.startswith("rtau: ") and "holds no best checkpoint yet" in said and said.count("\n") == 1
