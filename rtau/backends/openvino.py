"""OpenVINO on a CPU: several times faster than eager torch, and torch itself is not loaded.

The first use of a weight file converts it through torch (some seconds) and keeps the result in
the cache folder; from then on the graph is read from there.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..offline import import_openvino
from ..store import Weights
from . import ANY_SIZE
from .prepared import keep, kept_file, say_preparing

log = logging.getLogger(__name__)

#: Graphs of fixed shape that are kept at most, as pictures come in many.
_SHAPES = 16
#: Batches are padded to one of these, so that each gets a graph of fixed shape.
_BATCHES = (1, 2, 4, 8, 16)


class OpenVinoRunner:
    """OpenVINO's CPU plugin in float32.

    Args:
        weights: which network.
        threads: CPU threads, OpenVINO's choice when None.

    Raises:
        UsageError: OpenVINO is not installed.
    """

    def __init__(self, weights: Weights, *, threads: int | None = None) -> None:
        try:
            self._ov = import_openvino()
        except ImportError as error:
            raise UsageError(f"the openvino backend can't be loaded ({error}): pip install openvino, "
                             "or choose --backend torch") from None
        self._core = self._ov.Core()
        self._size = int(weights.facts["config"]["size"])
        self._any_size = weights.facts["kind"] in ANY_SIZE
        self._graph_of_one = self._load_graph(weights)
        self._threads = threads
        self._compiled: dict[tuple[int, int, int], object] = {}
        self.name = "openvino/cpu f32"

    def __call__(self, crops: np.ndarray) -> tuple[np.ndarray, ...]:
        parts = [self._run(crops[i:i + _BATCHES[-1]]) for i in range(0, max(len(crops), 1), _BATCHES[-1])]
        return parts[0] if len(parts) == 1 else tuple(np.concatenate(column) for column in zip(*parts, strict=True))

    def _run(self, crops: np.ndarray) -> tuple[np.ndarray, ...]:
        count = len(crops)
        height, width = crops.shape[1:3] if self._any_size else (self._size, self._size)
        batch = next(b for b in _BATCHES if b >= count)
        if batch != count:
            padded = np.zeros((batch, height, width, 3), np.uint8)
            padded[:count] = crops
            crops = padded
        request = self._request(batch, height, width)
        request.infer({0: np.ascontiguousarray(crops)})
        return tuple(request.get_output_tensor(i).data[:count].copy() for i in range(len(request.model_outputs)))

    def _request(self, batch: int, height: int, width: int):
        shape = batch, height, width
        if shape not in self._compiled:
            if len(self._compiled) >= _SHAPES:
                del self._compiled[next(iter(self._compiled))]
            graph = self._graph_of_one.clone()
            graph.reshape({0: self._ov.PartialShape([batch, height, width, 3])})
            settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
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


def _is_graph(file: Path) -> bool:
    """Whether a kept graph is there and complete as far as a glance tells."""
    try:
        data = file.read_bytes()
    except OSError:
        return False
    return data.startswith(b"<?xml") and data.rstrip().endswith(b"</net>") and file.with_suffix(".bin").exists()
