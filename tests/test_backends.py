"""Backends: all agree with eager float32, whatever the batch; caches are made once and mended."""

import numpy as np
import pytest

from rtau.backends import choose, open_backend
from rtau.cache import cache_folder
from rtau.crop import align
from rtau.errors import UsageError
from rtau.source import open_source
from rtau.store import find_weights

pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def crops(fixtures) -> np.ndarray:
    """Real crops: the portrait at several places, sizes and turns."""
    with open_source(fixtures / "face.jpg") as source:
        image = next(iter(source)).image
    rng = np.random.default_rng(0)
    centre = np.array(image.shape[1::-1]) / 2
    points = centre + rng.normal(0, 0.2, (19, 68, 2)) * centre
    return align(image, points, 112)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("name", ["au", "landmarks"])
@pytest.mark.parametrize("count", [0, 1, 3, 19])
def test_engines_agree_with_torch(engine, name, count, crops):
    pytest.importorskip(engine)
    weights = find_weights(name)
    ours = open_backend(weights, engine)(crops[:count])
    reference = open_backend(weights, "torch", "cpu")(crops[:count])
    for a, b in zip(ours, reference, strict=True):
        assert a.shape == b.shape and len(a) == count
        if count:
            assert np.abs(a - b).max() < 1e-3 * max(1.0, np.abs(b).max())


def test_a_row_does_not_depend_on_its_batch(crops):
    run = open_backend(find_weights("au"), "openvino")
    together = run(crops[:8])
    for row in range(8):
        alone = run(crops[row:row + 1])
        assert all(np.abs(t[row] - a[0]).max() < 1e-5 for t, a in zip(together, alone, strict=True))


@pytest.mark.parametrize("engine, suffix", [("openvino", ".xml"), ("onnxruntime", ".onnx")])
def test_the_prepared_network_is_kept_and_a_damaged_one_made_anew(engine, suffix, crops, caplog):
    pytest.importorskip(engine)
    weights = find_weights("au")
    before = open_backend(weights, engine)(crops[:2])
    folder = cache_folder() / engine
    [kept] = folder.glob(f"au-*{suffix}")
    assert not list(folder.glob("tmp*"))
    good = kept.read_bytes()
    kept.write_text("not a network")
    with caplog.at_level("INFO", "rtau"):
        after = open_backend(weights, engine)(crops[:2])
        assert "preparing the au network" in caplog.text
        caplog.clear()
        open_backend(weights, engine)
        assert not caplog.text, "the mended one is taken as it is"
    assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(before, after, strict=True))
    assert kept.read_bytes()[:5] == good[:5]


def test_a_folder_that_can_not_be_written_costs_time_only(crops, monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("rtau.backends.prepared.cache_folder", lambda: tmp_path / "file")
    expected = open_backend(find_weights("au"), "torch", "cpu")(crops[:1])
    found = open_backend(find_weights("au"), "openvino")(crops[:1])
    assert np.abs(found[0] - expected[0]).max() < 1e-3
    assert "can't be kept" in caplog.text


def test_choice_without_a_gpu():
    import torch
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert choose("auto", "auto") == ("openvino", "cpu")
    assert choose("torch", "auto") == ("torch", "cpu") and choose("onnxruntime", "auto") == ("onnxruntime", "cpu")
    with pytest.raises(UsageError, match="--device cpu"):
        open_backend(find_weights("au"), "torch", "cuda")


@pytest.mark.parametrize(("name", "device"), [("tensorflow", "auto"), ("auto", "tpu"), ("openvino", "cuda"),
                                            ("onnxruntime", "cuda")])
def test_wrong_choices_are_one_line(name, device):
    with pytest.raises(UsageError) as error:
        choose(name, device)
    assert "\n" not in str(error.value)
