"""Landmarks: rtau's on a real portrait, FAN behind the same interface (random weights), head pose from points."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from rtau.backends import open_backend
from rtau.crop import apply, invert, region_matrix, warp
from rtau.detect import open_detector
from rtau.errors import RtauError
from rtau.fan import Fan, peaks_of
from rtau.head import POINTS, pose_of_points
from rtau.landmarks import BEYOND, LandmarkReader, fill_beyond
from rtau.source import open_source
from rtau.store import find_weights


@pytest.fixture(scope="module")
def portrait(fixtures) -> np.ndarray:
    with open_source(fixtures / "face.jpg") as source:
        return next(iter(source)).image


@pytest.fixture(scope="module")
def reader() -> LandmarkReader:
    weights = find_weights("landmarks")
    return LandmarkReader(weights, open_backend(weights))


def mark(reader, image, region=None):
    region = reader.region_of_box(open_detector()(image)[0][0]) if region is None else region
    once = reader(image, region[None])
    return reader(image, reader.region_of_points(once.points[0])[None])


def test_a_turned_picture_gives_turned_points(portrait, reader):
    straight = mark(reader, portrait)
    assert straight.presence[0] > 0.9
    side = portrait.shape[1]
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), -25, 0.9)  # clockwise
    turned = mark(reader, cv2.warpAffine(portrait, turn, (side, side)),
                  np.array([side / 2, side * 0.45, side * 0.6, 0.0], np.float32))
    expected = straight.points[0] @ turn[:, :2].T + turn[:, 2]
    eyes = np.linalg.norm(expected[36] - expected[45])
    assert np.linalg.norm(turned.points[0] - expected, axis=1).mean() < 0.06 * eyes
    assert np.degrees(turned.pose[0, 2] - straight.pose[0, 2]) == pytest.approx(25, abs=6)


def test_a_mirrored_picture_gives_mirrored_yaw(portrait, reader):
    straight, mirrored = mark(reader, portrait), mark(reader, np.ascontiguousarray(portrait[:, ::-1]))
    assert np.degrees(straight.pose[0, 0] + mirrored.pose[0, 0]) == pytest.approx(0, abs=8)


def test_where_no_face_is_presence_is_low(fixtures, reader):
    with open_source(fixtures / "no_face.jpg") as source:
        image = next(iter(source)).image
    regions = np.array([[160, 120, s, 0] for s in (60, 120, 200)], np.float32)
    assert (reader(image, regions).presence < 0.5).all()


@pytest.mark.parametrize("region", [(20, 30, 80, 0.0), (100, 70, 90, 0.5), (60, 50, 40, 0.2), (60, 40, 400, -0.3)])
def test_what_lies_beyond_the_picture_is_grey_and_the_rest_as_it_was(region):
    image = np.random.default_rng(0).integers(130, 256, (90, 120, 3), dtype=np.uint8)
    matrix = region_matrix(np.array(region), 112)
    crop = warp(image, matrix, 112)
    filled = crop.copy()
    fill_beyond(filled, matrix, image.shape[:2])
    rows, columns = np.mgrid[:112, :112]
    places = apply(invert(matrix), np.stack([columns, rows], -1).reshape(-1, 2).astype(float)).reshape(112, 112, 2)
    inside = ((places > -0.5) & (places < [119.5, 89.5])).all(-1)
    far = np.abs(places - np.clip(places, -0.5, [119.5, 89.5])).max(-1) > 1e-3
    assert np.array_equal(filled[inside & ~far], crop[inside & ~far]) and (filled[far] == BEYOND).all()
    assert far.any() == (region[2] > 40) and inside.any()


def test_no_regions_no_marks(portrait, reader):
    marks = reader(portrait, np.zeros((0, 4), np.float32))
    assert marks.points.shape == (0, 68, 2) and marks.pose.shape == (0, 3)


@pytest.mark.parametrize("degrees", [(20, 0, 0), (0, 15, 0), (0, 0, 10), (-25, 10, -15)])
def test_pose_of_points_finds_the_turn(degrees):
    yaw, pitch, roll = np.radians(degrees)
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    about_z = np.array([[np.cos(roll), np.sin(roll), 0], [-np.sin(roll), np.cos(roll), 0], [0, 0, 1]])  # clockwise
    seen = POINTS @ (about_z @ about_x @ about_y).T + [3, 2, -120]
    points = np.c_[320 - 1280 * seen[:, 0] / seen[:, 2], 240 + 1280 * seen[:, 1] / seen[:, 2]]
    assert np.degrees(pose_of_points(points, (640, 480))) == pytest.approx(degrees, abs=0.1)


def test_peaks_are_found_to_a_quarter_cell():
    y, x = np.mgrid[0:64, 0:64]
    places = np.array([[10.25, 20.25], [40.75, 33.25], [0.0, 63.0]])
    heat = np.stack([np.exp(-((x - px) ** 2 + (y - py) ** 2) / 4) for px, py in places])
    found, heights = peaks_of(heat)
    assert np.allclose(found, places) and (heights > 0.9).all()


@pytest.fixture
def torch_home(tmp_path, monkeypatch) -> Path:
    pytest.importorskip("face_alignment")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_fan_runs_behind_the_same_interface(torch_home, portrait):
    """With random weights, since its own can't be had without a network: the frame is right, the points are not."""
    import torch
    from face_alignment.models import FAN
    torch.manual_seed(0)
    torch.save(FAN(4).state_dict(), torch_home / "2DFAN4-11f355bf06.pth.tar")
    marks = Fan(device="cpu")(portrait, np.array([[160, 150, 120, 0.2]], np.float32))
    assert marks.points.shape == (1, 68, 2) and 0 <= marks.presence[0] <= 1 and np.isfinite(marks.pose).all()
    assert (np.abs(marks.points[0] - [160, 150]) < 120 * 1.6).all()


def test_fan_without_network_or_with_a_wrong_file_is_one_line(torch_home):
    with pytest.raises(RtauError) as error:
        Fan(device="cpu")
    assert "\n" not in str(error.value)
    (torch_home / "2DFAN4-11f355bf06.pth.tar").write_bytes(b"nonsense")
    with pytest.raises(RtauError, match="not FAN's weights"):
        Fan(device="cpu")
