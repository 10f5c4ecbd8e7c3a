"""OpenVINO on a CPU: another engine than ONNX Runtime; it computes in bfloat16 too, where the processor does.

The first use of a weight file converts it through torch (some seconds) and keeps the result in
the cache folder; from then on the graph is read from there.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..offline import import_openvino
from ..store import Weights
from . import ANY_SIZE
from .padding import run_padded
from .prepared import keep, kept_file, say_preparing

log = logging.getLogger(__name__)

#: Graphs of fixed shape that are kept at most, as pictures come in many.
_SHAPES = 16


class OpenVinoRunner:
    """OpenVINO's CPU plugin.

    Args:
        weights: which network.
        precision: "float32", or "bfloat16" where the processor computes in it.
        threads: CPU threads, OpenVINO's choice when None.

    Raises:
        UsageError: OpenVINO is not installed, or this processor knows no bfloat16.
    """

    def __init__(self, weights: Weights, *, precision: str = "float32", threads: int | None = None) -> None:
        try:
            self._ov = import_openvino()
        except ImportError as error:
            raise UsageError(f"the openvino backend can't be loaded ({error}): pip install 'rtau[openvino]', or "
                             "leave --backend out") from None
        self._core = _core()
        if precision == "bfloat16" and "BF16" not in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise UsageError("this processor does not compute in bfloat16: leave --precision out")
        self._hint = {"float32": "f32", "bfloat16": "bf16"}[precision]
        self._size = int(weights.facts["config"]["size"])
        self._any_size = weights.facts["kind"] in ANY_SIZE
        self._graph_of_one = self._load_graph(weights)
        self._threads = threads
        self._compiled: dict[tuple[int, int, int], object] = {}
        self.name = f"openvino/cpu {self._hint}"

    def __call__(self, crops: np.ndarray) -> tuple[np.ndarray, ...]:
        return run_padded(self._run, crops)

    def _run(self, crops: np.ndarray) -> tuple[np.ndarray, ...]:
        request = self._request(crops.shape[:3])
        request.infer({0: crops})
        return tuple(request.get_output_tensor(i).data.copy() for i in range(len(request.model_outputs)))

    def _request(self, shape: tuple[int, int, int]):
        """A program for N pictures of height H and width W."""
        if shape not in self._compiled:
            if len(self._compiled) >= _SHAPES:
                del self._compiled[next(iter(self._compiled))]
            graph = self._graph_of_one.clone()
            graph.reshape({0: self._ov.PartialShape([*shape, 3])})
            settings = {"INFERENCE_PRECISION_HINT": self._hint, "PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
            if self._threads:
                settings["INFERENCE_NUM_THREADS"] = self._threads
            self._compiled[shape] = self._core.compile_model(graph, "CPU", settings).create_infer_request()
        return self._compiled[shape]

    def _load_graph(self, weights: Weights):
        """The graph with uint8 [N, S, S, 3] or [N, H, W, 3] input, from the cache or converted anew."""
        cached = kept_file(weights, "openvino", self._ov.__version__, ".xml")
        # OpenVINO takes a file that is no XML for another format and complains on standard error.
        if _is_graph(cached):
            try:
                return self._core.read_model(cached)
            except RuntimeError as error:
                log.warning("%s is damaged and is made anew (%s)", cached, str(error).splitlines()[0])
        say_preparing(weights)
        graph = self._convert(weights)
        keep(cached, lambda file: self._ov.save_model(graph, file, compress_to_fp16=False))
        return graph

    def _convert(self, weights: Weights):
        import torch
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
        from openvino.preprocess import ColorFormat, PrePostProcessor

        from ..model import build

        example = torch.zeros(2, 3, self._size, self._size)
        decoder = TorchScriptPythonDecoder(build(weights), example_input=(example,))
        frontend = FrontEndManager().load_by_framework("pytorch")
        graph = frontend.convert(frontend.load(decoder))
        graph.reshape({0: self._ov.PartialShape([-1, 3, *((-1, -1) if self._any_size else (self._size, self._size))])})
        steps = PrePostProcessor(graph)
        steps.input().tensor().set_element_type(self._ov.Type.u8).set_layout(self._ov.Layout("NHWC")) \
            .set_color_format(ColorFormat.RGB)
        steps.input().model().set_layout(self._ov.Layout("NCHW"))
        return steps.build()


@lru_cache(1)
def _core():
    """One for the process, for good: with the last one OpenVINO unloads its plugin under the feet of that one's
    threads, and the next signal, such as Ctrl-C, wakes them in code that is gone."""
    return import_openvino().Core()


def _is_graph(file: Path) -> bool:
    """Whether a kept graph is there and complete as far as a glance tells."""
    try:
        data = file.read_bytes()
    except OSError:
        return False
    return data.startswith(b"<?xml") and data.rstrip().endswith(b"</net>") and file.with_suffix(".bin").exists()
