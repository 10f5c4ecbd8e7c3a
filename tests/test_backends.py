"""Backends: all agree with eager float32, whatever the batch; caches are made once and mended."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from rtau.backends import choose, choose_precision, open_backend
from rtau.backends.padding import BATCHES, run_padded
from rtau.cache import cache_folder
from rtau.crop import align
from rtau.errors import UsageError
from rtau.source import open_source
from rtau.store import find_weights


@pytest.fixture(scope="module")
def crops(fixtures) -> np.ndarray:
    """Real crops: the portrait at several places, sizes and turns."""
    with open_source(fixtures / "face.jpg") as source:
        image = next(iter(source)).image
    rng = np.random.default_rng(0)
    centre = np.array(image.shape[1::-1]) / 2
    points = centre + rng.normal(0, 0.2, (19, 68, 2)) * centre
    return align(image, points, 112)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
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


@pytest.mark.parametrize("name", ["au", "landmarks"])
def test_half_precision_agrees_to_its_digits(name, crops):
    weights = find_weights(name)
    half = open_backend(weights, "torch", "cpu", precision="bfloat16")
    exact = open_backend(weights, "torch", "cpu")(crops[:2])
    assert half.name == "torch/cpu bf16"
    # Chances and grades of AUs; pixels, logit and radians of landmarks.
    limits = (0.05, 0.2, 0.05) if name == "au" else (1.0, 0.5, 0.1)
    for a, b, limit in zip(half(crops[:2]), exact, limits, strict=True):
        assert a.dtype == np.float32 and 0 < np.abs(a - b).max() < limit


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_torch_agrees(crops, tmp_path):
    # In a process of its own, since the compiler leaves workers and libraries behind.
    np.save(tmp_path / "crops.npy", crops[:1])
    code = """
import sys
import numpy as np
from rtau.backends import open_backend
from rtau.store import find_weights
crops, weights = np.load(sys.argv[1]), find_weights("landmarks")
ours, exact = open_backend(weights, "compile"), open_backend(weights, "torch", "cpu")
print(ours.name, max(float(np.abs(a - b).max()) for a, b in zip(ours(crops), exact(crops), strict=True)))
"""
    told = subprocess.run([sys.executable, "-c", code, tmp_path / "crops.npy"], capture_output=True, text=True,
                          timeout=300, check=True).stdout.split()
    assert told[:2] == ["torch.compile/cpu", "f32"] and float(told[2]) < 1e-3


def test_torch_compile_without_a_compiler_is_said_in_a_line(monkeypatch):
    import torch

    def broken(net, **options):
        def run(*args):
            raise RuntimeError("No working C++ compiler found\nlots more")
        return run

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(UsageError, match="No working C.. compiler found.: it needs a C.. compiler") as error:
        open_backend(find_weights("landmarks"), "compile", "cpu")
    assert "\n" not in str(error.value)


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["au", "landmarks"])
def test_cuda_graphs_in_half_precision_agree(name, crops):
    weights = find_weights(name)
    graphs, exact = open_backend(weights, "torch", "cuda"), open_backend(weights, "torch", "cpu")
    for count in (1, 3, 19, 3):
        for a, b in zip(graphs(crops[:count]), exact(crops[:count]), strict=True):
            assert a.shape == b.shape and np.abs(a - b).max() < (0.02 if name == "au" else 0.2) * max(1, np.abs(b).max())


@pytest.mark.parametrize(("engine", "device", "wanted", "got"), [
    ("openvino", "cpu", "auto", "float32"), ("torch", "cuda", "auto", "float16"), ("torch", "cuda", "float32", "float32"),
    ("openvino", "cpu", "bfloat16", "bfloat16"), ("torch", "cpu", "bfloat16", "bfloat16")])
def test_precisions(engine, device, wanted, got):
    assert choose_precision(wanted, engine, device) == got


@pytest.mark.parametrize(("engine", "device", "wanted", "said"), [
    ("openvino", "cpu", "float16", "computes in float32 or bfloat16, not in float16"),
    ("onnxruntime", "cpu", "bfloat16", "computes in float32, not"), ("torch", "cpu", "int4", "unknown precision 'int4'")])
def test_precisions_that_can_not_be_had(engine, device, wanted, said):
    with pytest.raises(UsageError, match=said):
        choose_precision(wanted, engine, device)


def test_openvino_says_where_a_processor_knows_no_bfloat16(crops):
    pytest.importorskip("openvino")
    from rtau.offline import import_openvino

    able = "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if not able:
        with pytest.raises(UsageError, match="does not compute in bfloat16"):
            open_backend(find_weights("au"), "openvino", precision="bfloat16")
        return
    half = open_backend(find_weights("au"), "openvino", precision="bfloat16")(crops[:2])
    assert np.abs(half[0] - open_backend(find_weights("au"), "openvino")(crops[:2])[0]).max() < 0.05


@pytest.mark.parametrize("count", [0, 1, 3, 16, 17, 50])
def test_batches_are_filled_up_and_cut(count):
    seen = []

    def run(crops):
        seen.append(len(crops))
        return crops[:, 0, 0].astype(np.float32), np.arange(len(crops))

    crops = np.random.default_rng(0).integers(0, 255, (count, 2, 2, 3)).astype(np.uint8)
    colours, _ = run_padded(run, crops)
    assert np.array_equal(colours, crops[:, 0, 0]) and set(seen) <= set(BATCHES)
    assert sum(seen) < count + BATCHES[-1]


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_row_depends_neither_on_its_batch_nor_on_threads(engine, crops):
    pytest.importorskip(engine)
    for name in ("au", "landmarks"):
        together = open_backend(find_weights(name), engine, threads=2)(crops[:7])
        run = open_backend(find_weights(name), engine, threads=1)
        for row in range(7):
            assert all(np.array_equal(t[row], a[0]) for t, a in zip(together, run(crops[row:row + 1]), strict=True))


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


def test_a_network_that_can_not_be_prepared_is_said_in_a_line(monkeypatch, tmp_path):
    monkeypatch.setattr("rtau.backends.prepared.cache_folder", lambda: tmp_path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UsageError, match="pip install onnx, or choose --backend torch"):
        open_backend(find_weights("au"), "onnxruntime")


def test_a_folder_that_can_not_be_written_costs_time_only(crops, monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("rtau.backends.prepared.cache_folder", lambda: tmp_path / "file")
    expected = open_backend(find_weights("au"), "torch", "cpu")(crops[:1])
    found = open_backend(find_weights("au"), "onnxruntime")(crops[:1])
    assert np.abs(found[0] - expected[0]).max() < 1e-3
    assert "can't be kept" in caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="signals are others there")
def test_a_signal_after_networks_are_gone_is_heard():
    pytest.importorskip("openvino")
    code = """
import os, signal
import numpy as np
from rtau.backends import open_backend
from rtau.store import find_weights
runners = [open_backend(find_weights(name), "openvino") for name in ("au", "landmarks")]
for runner in runners:
    runner(np.zeros((1, 112, 112, 3), np.uint8))
del runners, runner
signal.signal(signal.SIGINT, lambda *_: print("heard"))
os.kill(os.getpid(), signal.SIGINT)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.split()) == (0, ["heard"]), done.stderr[-300:]


def test_choice_without_a_gpu():
    import torch
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert choose("auto", "auto") == ("onnxruntime", "cpu")
    assert choose("torch", "auto") == ("torch", "cpu") and choose("openvino", "auto") == ("openvino", "cpu")
    with pytest.raises(UsageError, match="--device cpu"):
        open_backend(find_weights("au"), "torch", "cuda")


@pytest.mark.parametrize(("name", "device"), [("tensorflow", "auto"), ("auto", "tpu"), ("openvino", "cuda"),
                                            ("onnxruntime", "cuda")])
def test_wrong_choices_are_one_line(name, device):
    with pytest.raises(UsageError) as error:
        choose(name, device)
    assert "\n" not in str(error.value)
