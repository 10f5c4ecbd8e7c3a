"""Crops cut by torch are those that OpenCV cuts, and rtau reads the same from them. What needs a GPU is marked so."""

import numpy as np
import pytest
import torch

from rtau.analyze import Analyzer
from rtau.backends import open_backend
from rtau.backends.padding import run_padded
from rtau.crop import region_matrix, similarity
from rtau.cutter import HostCutter, open_cutter
from rtau.device_crop import DeviceCutter, Uploads, cut
from rtau.errors import UsageError
from rtau.pipeline import Run, _together
from rtau.quality import luma
from rtau.source import open_source
from rtau.store import find_weights
from rtau.types import Aligned, Faces, Frame

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]
SIZE = 112


@pytest.fixture(scope="module")
def pictures(sample, fixtures) -> list[np.ndarray]:
    """Real ones, and noise, in which a wrong place shows at once; of several sizes."""
    found = []
    for file in (sample, fixtures / "turned.mp4", fixtures / "face.jpg"):
        with open_source(file) as source:
            found.append(next(iter(source)).image)
    rng = np.random.default_rng(1)
    return [*found, *(rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in ((333, 517), (1080, 1920)))]


def squares(rng, pictures, which, least, most) -> np.ndarray:
    """Transforms of turned squares, `least` to `most` times as large as a crop, in the pictures and across their edges."""
    matrices = []
    for number in which:
        height, width = pictures[number].shape[:2]
        x, y = rng.uniform(-0.15, 1.15, 2) * [width, height]
        side = SIZE * np.exp(rng.uniform(np.log(least), np.log(most)))
        matrices.append(region_matrix(np.array([x, y, side, rng.uniform(-np.pi, np.pi)]), SIZE))
    return np.stack(matrices)


def by_opencv(pictures, which, matrices, paint=False) -> np.ndarray:
    return np.concatenate([HostCutter().cut(pictures[number], matrix[None], SIZE, paint=paint)
                           for number, matrix in zip(which, matrices, strict=True)])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("paint", [False, True])
@pytest.mark.parametrize(("least", "most"), [(0.3, 1), (1, 2), (2, 3), (3, 8), (8, 20)])
def test_crops_are_those_of_opencv(least, most, paint, device, pictures):
    rng = np.random.default_rng(int(10 * least))
    which = rng.integers(0, len(pictures), 40)
    matrices = squares(rng, pictures, which, least, most)
    ours = cut([torch.from_numpy(picture).to(device) for picture in pictures], which, matrices, SIZE, paint=paint)
    assert ours.dtype == torch.uint8 and ours.device.type == device
    off = np.abs(ours.cpu().numpy().astype(int) - by_opencv(pictures, which, matrices, paint))
    # Where a processor multiplies and adds in one step, all are equal.
    assert off.max() <= 1 and (off > 0).mean() < 3e-4


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (5, 3), (2, 2), (1, 1)])
def test_pictures_of_a_few_pixels_are_mirrored_as_by_opencv(shape):
    rng = np.random.default_rng(2)
    picture = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    matrices = np.concatenate([squares(rng, [picture], [0] * 4, *span) for span in ((0.02, 0.1), (0.5, 2), (3, 6))])
    ours = cut([torch.from_numpy(picture)], [0] * 12, matrices, SIZE).numpy().astype(int)
    assert np.abs(ours - by_opencv([picture], [0] * 12, matrices)).max() <= 1


def test_pictures_of_one_size_may_come_as_one_tensor(pictures):
    rng = np.random.default_rng(3)
    several = np.stack([pictures[0], pictures[0][::-1], 255 - pictures[0]])
    which = [2, 0, 1, 0]
    matrices = squares(rng, several, which, 0.5, 4)
    ours = cut(torch.from_numpy(several), which, matrices, SIZE).numpy()
    assert np.array_equal(ours, cut([torch.from_numpy(one) for one in several], which, matrices, SIZE).numpy())
    assert np.abs(ours.astype(int) - by_opencv(several, which, matrices)).max() <= 1


@pytest.mark.parametrize("paint", [False, True])
def test_all_of_it_is_done_on_the_device(paint, pictures):
    """Tensors on "meta" have no values, and refuse to be mixed with those on the CPU."""
    rng = np.random.default_rng(8)
    which = [0, 1, 4, 4]
    matrices = squares(rng, pictures, which, 0.5, 8)
    there = cut([torch.empty(picture.shape, dtype=torch.uint8, device="meta") for picture in pictures], which, matrices,
                SIZE, paint=paint)
    assert there.device.type == "meta" and there.shape == (4, SIZE, SIZE, 3)


def test_transforms_that_are_no_numbers_are_refused(pictures):
    with pytest.raises(ValueError, match="not finite"):
        cut([torch.from_numpy(pictures[0])], [0], np.full((1, 2, 3), np.nan), SIZE)


@pytest.mark.parametrize("device", DEVICES)
def test_luma_is_that_of_opencv(device, pictures):
    rng = np.random.default_rng(4)
    which = rng.integers(0, len(pictures), 12)
    crops = by_opencv(pictures, which, squares(rng, pictures, which, 0.5, 3))
    crops[0] = 255
    assert np.allclose(DeviceCutter(device).luma(torch.from_numpy(crops).to(device)), luma(crops), atol=1e-4)


@pytest.mark.parametrize("device", DEVICES)
def test_crops_of_several_pictures_are_joined_in_their_order(device, pictures):
    rng = np.random.default_rng(5)
    host, there = HostCutter(), DeviceCutter(device)
    ours, theirs = [], []
    for number, count in ((3, 2), (0, 1), (4, 3)):
        matrices = squares(rng, pictures, [number] * count, 0.5, 5)
        theirs.append(host.later(pictures[number], matrices, SIZE))
        with there.hold(pictures[number]):
            ours.append(there.later(pictures[number], matrices, SIZE))
    joined = there.join(ours).cpu().numpy().astype(int)
    assert joined.shape == (6, SIZE, SIZE, 3) and np.abs(joined - host.join(theirs)).max() <= 1


@pytest.mark.parametrize("device", DEVICES)
def test_a_picture_that_is_held_goes_up_once_and_the_next_in_its_memory_anew(device):
    memory = np.full((80, 90, 3), 100, np.uint8)
    image = memory.view()
    image.flags.writeable = False  # so that the CPU has to copy it too
    cutter, whole = DeviceCutter(device), region_matrix(np.array([45, 40, 60.0, 0]), 32)[None]
    seen = []
    for level in (100, 200):
        memory[:] = level
        with cutter.hold(image):
            for _ in range(2):
                seen.append(int(cutter.cut(image, whole, 32).float().mean()))
                memory[:] = 50
    assert seen == [100, 100, 200, 200] and int(cutter.cut(image, whole, 32).float().mean()) == 50


@pytest.mark.cuda
def test_pinned_memory_is_not_overwritten_before_it_was_read():
    upload, rng = Uploads(torch.device("cuda")), np.random.default_rng(6)
    images = [rng.integers(0, 256, (*rng.integers(10, 2000, 2), 3), dtype=np.uint8) for _ in range(12)]
    there = [upload(image) for image in images]
    assert all(np.array_equal(one.cpu().numpy(), image) for one, image in zip(there, images, strict=True))


class Kept:
    """A sink that remembers."""

    def __init__(self):
        self.scores = []

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass

    def write(self, frame, scores, status=None):
        self.scores.append(scores)


def scores_of(source, **settings) -> list:
    kept = Kept()
    Run(source, Analyzer(**settings), [kept]).run()
    return kept.scores


@pytest.mark.parametrize(("device", "limit"), [
    ("cpu", 0.01), pytest.param("cuda", 0.05, marks=pytest.mark.cuda)])  # half precision there
def test_the_pipeline_reads_the_same_from_crops_of_a_device(device, limit, sample, fixtures):
    for open_clip in (lambda: open_source(sample, end=1), lambda: open_source(fixtures / "turned.mp4")):
        ours = scores_of(open_clip(), backend="torch", device=device, cutter="device")
        theirs = scores_of(open_clip(), backend="torch", device="cpu", cutter="host")
        assert len(ours) == len(theirs) >= 20 and sum(map(len, ours)) >= 20
        for a, b in zip(ours, theirs, strict=True):
            assert np.array_equal(a.assessable, b.assessable) and np.array_equal(a.faces.ids, b.faces.ids)
            assert np.nanmax(np.abs(a.presence - b.presence), initial=0) < limit
            assert np.abs(a.quality - b.quality).max(initial=0) < limit


@pytest.mark.parametrize("cutter", ["host", "device"])
def test_frames_read_together_are_read_as_each_by_itself(cutter, fixtures):
    with open_source(fixtures / "face.jpg") as source:
        image = next(iter(source)).image
    analyzer = Analyzer(backend="torch", device="cpu", cutter=cutter)
    pictures = (image, np.zeros_like(image), image // 3, image[:, ::-1])
    found = [analyzer.find(Frame(picture, 0.0, index, still=True)) for index, picture in enumerate(pictures)]
    assert [len(one) for one in found] == [1, 0, 1, 1]
    together = analyzer.read(found)
    for ours, one in zip(together, found, strict=True):
        [alone] = analyzer.read([one])
        assert np.array_equal(ours.quality, alone.quality) and np.array_equal(ours.assessable, alone.assessable)
        assert np.allclose(ours.presence, alone.presence, atol=1e-4, equal_nan=True)
    assert together[0].assessable.any() and together[2].quality < together[0].quality


def test_a_picture_without_a_face_is_read_too(fixtures):
    [scores] = scores_of(open_source(fixtures / "no_face.jpg"), backend="torch", device="cpu", cutter="device")
    assert len(scores) == 0


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("count", [0, 1, 3, 19])
def test_networks_take_crops_from_a_device(device, count, pictures):
    face = pictures[2]
    points = np.array(face.shape[1::-1]) / 2 + np.random.default_rng(7).normal(0, 30, (count, 68, 2))
    crops = by_opencv([face] * count, range(count), similarity(points, SIZE)) if count else np.zeros(
        (0, SIZE, SIZE, 3), np.uint8)
    run = open_backend(find_weights("au"), "torch", device)
    for ours, theirs in zip(run(torch.from_numpy(crops).to(device)), run(crops), strict=True):
        assert isinstance(ours, np.ndarray) and ours.shape == theirs.shape and len(ours) == count
        assert np.allclose(ours, theirs, atol=1e-3)


@pytest.mark.parametrize("count", [0, 1, 3, 17])
def test_tensors_are_filled_up_as_arrays_are(count):
    seen = []

    def run(crops):
        seen.append(tuple(crops.shape))
        return (crops[:, 0, 0].numpy(),)

    crops = torch.randint(0, 255, (count, 2, 2, 3), dtype=torch.uint8)
    [colours] = run_padded(run, crops)
    assert np.array_equal(colours, crops[:, 0, 0].numpy()) and {shape[0] for shape in seen} <= {1, 2, 4, 16}


def test_who_cuts_is_chosen_by_the_device():
    assert isinstance(open_cutter("auto", "torch", "cpu"), HostCutter)
    assert isinstance(open_cutter("auto", "auto", "cpu"), HostCutter)
    assert isinstance(open_cutter("device", "torch", "cpu"), DeviceCutter)
    assert isinstance(open_cutter("auto", "torch", "cuda"), DeviceCutter)
    assert isinstance(open_cutter("host", "torch", "cuda"), HostCutter)


@pytest.mark.parametrize(("name", "backend", "said"), [
    ("gpu", "torch", "'gpu': choose from auto, host, device"), ("device", "onnxruntime", "onnxruntime backend takes no")])
def test_cutters_that_can_not_be_had_are_one_line(name, backend, said):
    with pytest.raises(UsageError, match=said) as error:
        Analyzer(cutter=name, backend=backend, device="cpu").prepare()
    assert "\n" not in str(error.value)


def test_a_device_reads_more_frames_together():
    picture = np.zeros((4, 4, 3), np.uint8)
    one = Faces(np.zeros((1, 4), np.float32), np.ones(1, np.float32), np.arange(1), np.zeros((1, 68, 2), np.float32),
                np.zeros((1, 3), np.float32))
    frames = [Aligned(Frame(picture, 0.0, index), one, None) for index in range(40)]
    assert [len(together) for together in _together(frames, 16, 16)] == [16, 16, 8]
    assert Analyzer(backend="torch", device="cpu", cutter="device").on_device
    assert not Analyzer(backend="torch", device="cpu").on_device
