"""TensorRT's part of rtau: who runs a network, and when. In place of TensorRT and the GPU other engines do the work."""

import sys
import threading

import numpy as np
import pytest

from rtau.backends import choose, choose_precision, open_backend
from rtau.backends.tensorrt import TensorRtRunner
from rtau.crop import align
from rtau.errors import RtauError, UsageError
from rtau.source import open_source
from rtau.store import find_weights


class Engines:
    """What TensorRT would do, done by torch on the CPU; `change` makes it wrong."""

    def __init__(self, runner, change=lambda outputs: outputs):
        self.runner, self.change = runner, change
        self.built, self.go = 0, threading.Event()
        self.go.set()

    def version(self):
        return "stand-in 1"

    def build(self, weights, path):
        assert self.go.wait(30)
        self.built += 1
        path.write_text("an engine")

    def load(self, path):
        if path.read_text() != "an engine":
            raise RuntimeError("no engine\nat all")
        return lambda crops: self.change(self.runner(crops))


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setattr("rtau.backends.prepared.cache_folder", lambda: tmp_path)
    return tmp_path / "tensorrt"


@pytest.fixture(scope="module")
def exact():
    return open_backend(find_weights("au"), "torch", "cpu")


@pytest.fixture(scope="module")
def crops(fixtures):
    with open_source(fixtures / "face.jpg") as source:
        image = next(iter(source)).image
    points = np.array(image.shape[1::-1]) / 2 + np.random.default_rng(0).normal(0, 30, (3, 68, 2))
    return align(image, points, 112)


def meanwhile(crops):
    """Stands in for torch on the GPU; its zeros tell it from an engine."""
    return tuple(np.zeros((len(crops), width), np.float32) for width in (21, 21, 6))


meanwhile.name = "torch/cuda f16"


def open_with(engines, exact, name="au"):
    return TensorRtRunner(find_weights(name), meanwhile, lambda: exact, engines)


def test_torch_runs_it_until_the_engine_is_there_and_the_next_start_finds_it(exact, crops, cache, caplog):
    engines = Engines(exact)
    engines.go.clear()
    with caplog.at_level("INFO", "rtau"):
        run = open_with(engines, exact)
    assert "building TensorRT's engine for the au network in the background, once" in caplog.text
    assert run.name == "torch/cuda f16" and not run(crops)[0].any() and not run.wait(0)
    engines.go.set()
    assert run.wait(60) and run.name == "tensorrt/cuda f16"
    assert all(np.array_equal(a, b) for a, b in zip(run(crops), exact(crops), strict=True))
    assert [file.suffix for file in cache.iterdir()] == [".ep"]

    again = open_with(engines, exact)
    assert again.name == "tensorrt/cuda f16" and again.wait(0) and engines.built == 1
    assert [len(output) for output in again(crops[:0])] == [0, 0, 0]


@pytest.mark.parametrize(("change", "said"), [
    (lambda outputs: (outputs[0] + 0.03, *outputs[1:]), "off by 1.5 times"),
    (lambda outputs: (outputs[0] * np.nan, *outputs[1:]), "off by nan times"),
    (lambda outputs: (outputs[0][:, :5], *outputs[1:]), "off by inf times"),
    (lambda outputs: outputs[:2], "does not run")], ids=["far", "no numbers", "shape", "outputs"])
def test_an_engine_that_does_something_else_is_left(change, said, exact, crops, cache, caplog):
    run = open_with(Engines(exact, change), exact)
    assert run.wait(60) and run.name == "torch/cuda f16" and not run(crops)[0].any()
    assert said in caplog.text and not list(cache.iterdir())


def test_small_differences_are_let_pass(exact, cache):
    run = open_with(Engines(exact, lambda outputs: (outputs[0] + 0.01, outputs[1] + 0.015, *outputs[2:])), exact)
    assert run.wait(60) and run.name == "tensorrt/cuda f16" and list(cache.iterdir())


def test_a_damaged_engine_is_built_anew(exact, cache, caplog):
    assert open_with(Engines(exact), exact).wait(60)
    [kept] = cache.iterdir()
    kept.write_text("half an eng")
    engines = Engines(exact)
    run = open_with(engines, exact)
    assert run.wait(60) and engines.built == 1 and run.name == "tensorrt/cuda f16" and kept.read_text() == "an engine"
    assert "does not run (no engine)" in caplog.text


def test_torch_goes_on_where_no_engine_can_be_built(exact, crops, cache, caplog):
    engines = Engines(exact)

    def build(weights, path):
        raise RtauError("TensorRT can't build the network (unsupported)")

    engines.build = build
    run = open_with(engines, exact)
    assert run.wait(60) and run.name == "torch/cuda f16" and not run(crops)[0].any()
    assert "can't build the network (unsupported): torch runs the au network" in caplog.text and not list(cache.iterdir())


def test_engines_depend_on_what_they_were_built_with(exact, cache):
    engines = Engines(exact)
    assert open_with(engines, exact).wait(60)
    engines.version = lambda: "stand-in 2"
    assert open_with(engines, exact).wait(60)
    assert engines.built == 2 and len(list(cache.iterdir())) == 2


def test_where_it_can_not_be_had_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_tensorrt", None)
    with pytest.raises(UsageError, match=r"pip install 'rtau\[tensorrt\]'") as error:
        open_backend(find_weights("au"), "tensorrt")
    assert "\n" not in str(error.value)
    assert choose("tensorrt", "auto") == ("tensorrt", "cuda")
    assert choose_precision("auto", "tensorrt", "cuda") == "float16"
    with pytest.raises(UsageError, match="NVIDIA GPUs"):
        choose("tensorrt", "cpu")
    with pytest.raises(UsageError, match="computes in float16, not in float32"):
        choose_precision("float32", "tensorrt", "cuda")


@pytest.mark.tensorrt
def test_a_real_engine_takes_over(crops, exact):
    run = open_backend(find_weights("au"), "tensorrt")
    assert run.wait(600) and run.name == "tensorrt/cuda f16"
    for ours, wanted in zip(run(crops), exact(crops), strict=True):
        assert np.abs(ours - wanted).max() < 0.1
