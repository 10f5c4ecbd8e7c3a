"""rtau's finder: what its network gives, how that is read, that engines agree, errors in one line."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from rtau.backends import open_backend
from rtau.detect import open_detector
from rtau.detect_rtau import FILL, Finder, cells, decode, fill, open_finder
from rtau.errors import InputError, RtauError, UsageError
from rtau.finder import STRIDES, FinderConfig, FinderNet
from rtau.model import build
from rtau.store import open_weights, sha256_of, weights_folder

TINY = FinderConfig(size=64, stem=(8, 8), widths=(8, 8, 8), blocks=(1, 1, 1), pyramid=8)


def written(folder: Path, net: FinderNet) -> Path:
    """A network in a file, with the manifest that describes it."""
    file = folder / "mine.safetensors"
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, file)
    (folder / "manifest.json").write_text(json.dumps({"mine": {
        "file": file.name, "sha256": sha256_of(file), "kind": "detector", "config": net.config.as_dict()}}))
    return file


def shaken(config: FinderConfig = TINY) -> FinderNet:
    """A network of random weights whose batch norms do something, and which finds things everywhere."""
    torch.manual_seed(0)
    net = FinderNet(config)
    net.train()
    for _ in range(3):
        net(torch.rand(4, 3, 64, 64) * 255)
    for head in net.heads:
        torch.nn.init.normal_(head[-1].weight, std=0.2)
        head[-1].bias.data[0] = 0
    return net.eval()


class Fixed:
    """A runner that gives what it was made with, for one picture."""

    name = "fixed"

    def __init__(self, scores, boxes, points) -> None:
        self.outputs, self.seen = (scores[None], boxes[None], points[None]), []

    def __call__(self, crops):
        self.seen.append(crops)
        return self.outputs


def said(height: int, width: int, faces) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outputs that say of cells (level, row, column) that there is a face: logit, box and points in strides."""
    count = len(cells(height, width)[0])
    scores, boxes, points = np.full(count, -9.0), np.zeros((4, count)), np.zeros((10, count))
    for (level, row, column), logit, box, marks in faces:
        first = sum(height * width // s**2 for s in STRIDES[:level])
        cell = first + row * (width // STRIDES[level]) + column
        scores[cell], boxes[:, cell], points[:, cell] = logit, box, marks
    return scores.astype(np.float32), boxes.astype(np.float32), points.astype(np.float32)


# The network

@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 96), (192, 320)])
def test_every_cell_of_three_maps_says_score_box_and_points(height, width):
    count = sum(height * width // stride**2 for stride in STRIDES)
    with torch.no_grad():
        scores, boxes, points = FinderNet(TINY).eval()(torch.zeros(2, 3, height, width))
    assert (scores.shape, boxes.shape, points.shape) == ((2, count), (2, 4, count), (2, 10, count))
    places, strides = cells(height, width)
    assert len(places) == len(strides) == count


def test_it_begins_with_few_faces_and_fits_below_a_megabyte():
    net = FinderNet(FinderConfig()).eval()
    assert 4 * sum(value.numel() for value in net.state_dict().values()) < 1e6
    with torch.no_grad():
        scores, boxes, _ = net(torch.rand(1, 3, 192, 320) * 255)
    assert scores.sigmoid().max() < 0.1
    assert 1 < boxes[:, 2:].exp().mean() < 9  # strides


@pytest.mark.parametrize(("x", "y"), [(43.5, 83.5), (251.5, 19.5), (123.5, 155.5)])
def test_the_cells_are_where_they_are_said_to_be(x, y):
    """What is changed at the middle of a fine cell changes that cell most, on its map."""
    torch.manual_seed(1)
    net = FinderNet(TINY).eval()
    image = torch.full((1, 3, 192, 320), 120.0)
    changed = image.clone()
    changed[0, :, int(y) - 1:int(y) + 3, int(x) - 1:int(x) + 3] = 255
    with torch.no_grad():
        moved = (net(changed)[0] - net(image)[0])[0].abs().numpy()
    places, strides = cells(192, 320)
    fine = strides == STRIDES[0]
    nearest = np.argmin(np.hypot(*(places[fine] - (x, y)).T))
    assert np.allclose(places[fine][nearest], (x, y))
    by_distance = np.abs(places[fine] - (x, y)).max(1)
    assert moved[fine][by_distance <= 8].max() == moved[fine].max()
    assert moved[fine][by_distance > 8 * 9].max() < 0.2 * moved[fine].max()


def test_settings_that_build_no_network_are_refused():
    for values in ({"stem": [8]}, {"widths": [8, 8, 0]}, {"blocks": 2}, {"size": 100}, {"pyramid": 0}):
        with pytest.raises(UsageError, match="^a finder's "):
            FinderConfig.from_dict(values)
    with pytest.raises(UsageError, match="unknown setting 'wide' of the finder; known are size, "):
        FinderConfig.from_dict({"wide": 3})
    config = FinderConfig(size=64, blocks=(0, 1, 2))
    assert FinderConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config


# Reading it

def test_a_cell_is_read_as_a_face():
    marks = [-1, -1, 1, -1, 0, 0, -0.5, 1, 0.5, 1]
    outputs = said(64, 96, [((1, 2, 4), 2.0, [0.25, -0.5, np.log(2), np.log(3)], marks)])
    (row,) = decode(*outputs, (64, 96), 0.5)
    place = np.array([4 * 16 + 7.5, 2 * 16 + 7.5])
    centre = place + [4, -8]
    np.testing.assert_allclose(row[:4], [*(centre - (16, 24)), *(centre + (16, 24))], atol=1e-4)
    assert row[4] == pytest.approx(1 / (1 + np.exp(-2.0)))
    np.testing.assert_allclose(row[5:].reshape(5, 2), place + np.reshape(marks, (5, 2)) * 16, atol=1e-4)


def test_cells_below_the_least_score_are_left_out():
    outputs = said(32, 32, [((0, 0, 0), -0.01, [0, 0, 0, 0], np.zeros(10)), ((0, 1, 1), 0.0, [0, 0, 0, 0], np.zeros(10))])
    assert len(decode(*outputs, (32, 32), 0.5)) == 1
    assert len(decode(*outputs, (32, 32), 0.4)) == 2
    assert decode(*outputs, (32, 32), 0.6).shape == (0, 15)


def test_a_face_found_by_several_cells_is_one_and_two_faces_are_two():
    near = [((0, 3, 3), 1.0, [0, 0, 1.1, 1.1], np.zeros(10)), ((0, 3, 4), 3.0, [-1, 0, 1.1, 1.1], np.zeros(10)),
            ((0, 1, 8), 2.0, [0, 0, 0.7, 0.7], np.zeros(10))]
    finder = Finder(Fixed(*said(64, 96, near)), widths=(96,), min_score=0.5)
    boxes, scores = finder(np.zeros((64, 96, 3), np.uint8))
    half = np.exp([1.1, 0.7]) * 4
    np.testing.assert_allclose(boxes, [[27.5 - half[0], 27.5 - half[0], 27.5 + half[0], 27.5 + half[0]],
                                       [67.5 - half[1], 11.5 - half[1], 67.5 + half[1], 11.5 + half[1]]], atol=1e-4)
    np.testing.assert_allclose(scores, 1 / (1 + np.exp([-3.0, -2.0])), atol=1e-6)
    assert boxes.dtype == scores.dtype == np.float32


def test_pictures_are_made_up_at_the_right_and_below():
    image = np.random.default_rng(0).integers(0, 256, (45, 64, 3), np.uint8)
    filled = fill(image)
    assert filled.shape == (64, 64, 3)
    assert (filled[:45] == image).all() and (filled[45:] == FILL).all()
    assert fill(filled) is filled


def test_faces_are_told_in_pixels_of_the_picture():
    face = [((0, 2, 5), 2.0, [0, 0, 1, 1], [0, 0] * 5)]
    runner = Fixed(*said(64, 96, face))
    finder = Finder(runner, widths=(96,), min_score=0.5)
    small = finder(np.zeros((54, 96, 3), np.uint8))[0][0]
    large = finder(np.zeros((540, 960, 3), np.uint8))[0][0]
    np.testing.assert_allclose(large, 10 * small, rtol=1e-5)
    assert [crop.shape for crop in runner.seen] == [(1, 64, 96, 3)] * 2
    boxes, scores, points = finder.find_points(np.zeros((540, 960, 3), np.uint8))
    np.testing.assert_allclose(boxes[0], large, rtol=1e-6)
    np.testing.assert_allclose(points[0], np.tile([(5 * 8 + 4) * 10 - 0.5, (2 * 8 + 4) * 10 - 0.5], (5, 1)), atol=1e-3)
    assert scores.shape == (1,)


def test_an_empty_picture_has_no_face(tmp_path):
    finder = open_finder(written(tmp_path, shaken()))
    for shape in ((0, 0, 3), (0, 20, 3)):
        boxes, scores = finder(np.zeros(shape, np.uint8))
        assert boxes.shape == (0, 4) and scores.shape == (0,)


# Engines and files

def test_openvino_agrees_with_torch_at_any_size(tmp_path):
    pytest.importorskip("openvino")
    weights = open_weights(written(tmp_path, shaken()))
    ours, reference = open_backend(weights, "openvino", threads=1), open_backend(weights, "torch", "cpu", threads=1)
    rng = np.random.default_rng(0)
    for count, height, width in ((1, 64, 64), (1, 32, 96), (3, 96, 64), (1, 64, 64)):
        pictures = rng.integers(0, 256, (count, height, width, 3), np.uint8)
        for a, b in zip(ours(pictures), reference(pictures), strict=True):
            assert a.shape == b.shape and len(a) == count
            assert np.abs(a - b).max() < 1e-3 * max(1.0, np.abs(b).max())


def test_a_file_is_opened_as_a_detector(tmp_path, fixtures):
    image = cv2.cvtColor(cv2.imread(str(fixtures / "face.jpg")), cv2.COLOR_BGR2RGB)
    file = written(tmp_path, shaken())
    detector = open_detector("rtau", model=file, width=(96, 64), min_score=0.4)
    boxes, scores = detector(image)
    assert detector.name == "rtau" and len(boxes) > 0
    assert (scores >= 0.4).all() and (np.diff(scores) <= 0).all() and (boxes[:, 2:] > boxes[:, :2]).all()
    # By hand: the network itself on the resized picture.
    small = cv2.resize(image, (96, 96), interpolation=cv2.INTER_AREA)
    with torch.no_grad():
        outputs = build(open_weights(file))(torch.from_numpy(small).permute(2, 0, 1)[None].float())
    rows = decode(*(o[0].numpy() for o in outputs), (96, 96), 0.4)
    assert scores[0] >= rows[:, 4].max() - 1e-4


def test_what_is_no_detector_is_refused_in_a_line(tmp_path):
    with pytest.raises(RtauError, match="holds no detector but a network of kind 'landmarks'") as caught:
        open_detector("rtau", model=weights_folder() / "landmarks.safetensors")
    assert "\n" not in str(caught.value)
    with pytest.raises(RtauError, match="^there is no file "):
        open_detector("rtau", model=tmp_path / "none.safetensors")
    (tmp_path / "other.onnx").write_bytes(b"")
    with pytest.raises(InputError, match="is no weights file"):
        open_detector("rtau", model=tmp_path / "other.onnx")
    net = shaken()
    net.heads[0][-1].bias.data[1] = 0.5  # weights whose graph no other test has left in the cache
    file = written(tmp_path, net)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["mine"]["config"]["pyramid"] = 16
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RtauError, match="does not fit this version of rtau") as caught:
        open_detector("rtau", model=file)
    assert "\n" not in str(caught.value)
