"""The measures of benchmarks/landmarks.py on faces whose answers are known, and its table from end to end."""

import importlib.util
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from stand_in import make_some

from rtau.landmarks import Marks, region_of_box, region_of_points

_SPEC = importlib.util.spec_from_file_location("landmarks_benchmark",
                                               Path(__file__).resolve().parents[2] / "benchmarks" / "landmarks.py")
bench = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = bench
_SPEC.loader.exec_module(bench)


def face(size=160, dot=30):
    """A grey picture with a dot at one of 68 points."""
    points = np.random.default_rng(3).uniform(50, 110, (68, 2))
    points[36:42], points[42:48] = [60, 75], [100, 75]
    y, x = np.mgrid[:size, :size]
    spot = np.exp(-((x - points[dot, 0]) ** 2 + (y - points[dot, 1]) ** 2) / (2 * 3**2))
    image = np.repeat((40 + 200 * spot)[..., None], 3, 2).astype(np.uint8)
    return bench.Face(image, points, np.ones(68), np.array([0.1, 0.0, -0.1]))


def dot_of(image):
    bright = np.maximum(image.astype(float).sum(2) - 150, 0)
    y, x = np.mgrid[:image.shape[0], :image.shape[1]]
    return np.array([(bright * x).sum(), (bright * y).sum()]) / bright.sum()


class Reader:
    """Finds the points of a face wherever it looks, but for noise of its own."""

    region_of_points, region_of_box = staticmethod(region_of_points), staticmethod(region_of_box)

    def __init__(self, face, noise=0.0):
        self.face, self.noise, self.rng = face, noise, np.random.default_rng(0)

    def __call__(self, image, regions):
        points = np.repeat(self.face.points[None], len(regions), 0)
        return Marks(points + self.rng.normal(0, self.noise, points.shape), np.full(len(regions), 0.9),
                     np.repeat(self.face.pose[None], len(regions), 0))


@pytest.mark.parametrize("change", [
    lambda f: bench.resized(f, 30), lambda f: bench.moved(f, 25, (4, -3), 1.1), lambda f: bench.halved(f, True),
    lambda f: bench.halved(f, False)])
def test_points_stay_on_what_they_mark(change):
    for dot in (30, 45):
        changed = change(face(dot=dot))
        if changed.shown[dot]:
            assert dot_of(changed.image) == pytest.approx(changed.points[dot], abs=0.35)


def test_half_a_face_is_half_a_face():
    for left in (True, False):
        half = bench.halved(face(), left)
        assert 0.4 < half.shown.mean() < 0.7 and half.image.shape[1] < 110
        assert bool(half.shown[36]) == left and bool(half.shown[45]) != left


def test_a_turned_camera_turns_the_head():
    turned = bench.moved(face(), 30)
    dx, dy = turned.points[42] - turned.points[36]
    assert np.degrees(np.arctan2(dy, dx)) == pytest.approx(30, abs=0.1)
    assert np.degrees(turned.pose - face().pose) == pytest.approx([0, 0, 30])


def test_in_the_dark_little_light_is_left():
    dark = bench.in_the_dark(face(), np.random.default_rng(0))
    assert dark.image.mean() < 0.6 * face().image.mean()


def test_the_figures_of_a_line():
    row, known = bench.Row(), face()
    hidden = bench.replace(known, shown=np.r_[np.zeros(17), np.ones(51)])
    off = known.points + np.r_[np.tile([8.0, 0], (17, 1)), np.zeros((51, 2))]
    row.add(hidden, off, 0.9, known.pose + np.radians([2, 0, 359]))
    row.add(hidden, None, 0.0, None)
    assert row.error == pytest.approx([17 / 68 * 8 / 40]) and row.shown == [0]
    assert row.degrees[0] == pytest.approx([2, 0, 1])
    assert str(row).split() == ["50.0", "5.00", "5.00", "0.00", "2.0", "0.0", "1.0"]


def test_a_reader_that_knows_is_right_and_one_that_trembles_is_told():
    known, rng = face(), np.random.default_rng(0)
    points, presence, pose = bench.look(Reader(known), known, bench.box_by_chance(known, rng))
    assert np.allclose(points, known.points) and presence == 0.9 and np.allclose(pose, known.pose)
    assert bench.trembles(Reader(known), known, rng) == pytest.approx((0, 0), abs=1e-9)
    noise, shift = bench.trembles(Reader(known, 0.5), known, rng)
    assert noise == pytest.approx(0.5 * 2**0.5 / 40, rel=0.15) and shift == pytest.approx(noise, rel=0.2)


def test_boxes_by_chance_are_as_far_off_as_a_detectors():
    known, rng = face(), np.random.default_rng(0)
    regions = np.array([region_of_box(bench.box_by_chance(known, rng)) for _ in range(800)])
    assert (regions[:, :2] / regions[:, 2:3].mean()).std(0).max() < 0.04
    assert np.log(regions[:, 2]).std() == pytest.approx(0.05, rel=0.1)


def test_the_table_of_the_shipped_network(fixtures, tmp_path, monkeypatch, capsys):
    """On one portrait and renders of blotches: every line is there."""
    faces, renders = tmp_path / "faces", tmp_path / "renders"
    for group in ("london_neutral", "canada", "backgrounds_rainbow"):
        (faces / group).mkdir(parents=True)
    picture = cv2.imread(str(fixtures / "no_face.jpg"))
    cv2.imwrite(str(faces / "backgrounds_rainbow" / "room.jpg"), picture)
    portrait = cv2.imread(str(fixtures / "face.jpg"))
    cv2.imwrite(str(faces / "london_neutral" / "099_03.jpg"), portrait)
    template = np.random.default_rng(0).uniform(0.3, 0.7, (1, 189, 2)) * portrait.shape[0]
    np.savez(faces / "london_neutral" / "landmarks.npz", names=np.array(["099_03"]), points=template)
    np.savez(faces / "canada" / "landmarks.npz", names=np.array([], str), points=np.zeros((0, 189, 2)))
    make_some(renders, count=12)
    arguments = ["landmarks.py", "--renders", str(renders), "--faces", str(faces), "--count", "3"]
    monkeypatch.setattr(sys, "argv", arguments)
    assert bench.main() == 0
    lines = {line.split("|")[0].strip(): line for line in capsys.readouterr().out.splitlines()}
    for name in ("portraits", "portraits of 40 px", "portraits, followed", "renders", "free", "of 40 px", "in the dark",
                 "half", "tilted by 35"):
        assert any(name == " ".join(line.rsplit(None, 1)[:1]).strip() for line in lines), name
    assert any(line.startswith("jitter of portraits") for line in lines) and "alarms on non-faces" in lines
    # What is wrong is said in a line.
    for more, said in ((["--weights", str(tmp_path / "no.safetensors")], "there is no weights file"),
                       (["--count", "0"], "--count is 0"), (["--renders", str(tmp_path / "none")], "is no folder")):
        monkeypatch.setattr(sys, "argv", [*arguments, *more])
        assert bench.main() == 2
        error = capsys.readouterr().err
        assert error.startswith("rtau: ") and said in error and error.count("\n") == 1
