"""ONNX Runtime on a CPU, in float32: several times faster than eager torch, and torch itself is not loaded.

A row of its results is the same to the last bit whatever else is in the batch, and on however many threads.

The first use of a weight file converts it through torch and keeps the result in the cache folder.
"""

from __future__ import annotations

import logging
import warnings

import numpy as np

from ..errors import RtauError, UsageError
from ..store import Weights
from . import ANY_SIZE
from .prepared import keep, kept_file, say_preparing

log = logging.getLogger(__name__)

#: What every runtime of the last years reads; the networks need nothing newer.
_OPSET = 17


class OnnxRunner:
    """ONNX Runtime's CPU provider in float32.

    Args:
        weights: which network.
        threads: CPU threads, the runtime's choice when None.

    Raises:
        UsageError: ONNX Runtime is not installed, or onnx is not and the network was not prepared yet.
    """

    def __init__(self, weights: Weights, *, threads: int | None = None) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise UsageError(f"the onnxruntime backend can't be loaded ({error}): pip install onnxruntime, or "
                             "choose --backend torch") from None
        self._runtime = onnxruntime
        self._options = onnxruntime.SessionOptions()
        self._options.log_severity_level = 3
        # Its threads would otherwise wait for work in busy loops, on cores that others need.
        self._options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if threads:
            self._options.intra_op_num_threads = threads
        self._session = self._open(weights)
        self.name = "onnxruntime/cpu f32"

    def __call__(self, crops: np.ndarray) -> tuple[np.ndarray, ...]:
        if not len(crops):
            # It reshapes no batch of nothing.
            return tuple(output[:0] for output in self(np.zeros((1, *crops.shape[1:]), np.uint8)))
        return tuple(self._session.run(None, {"pixels": np.ascontiguousarray(crops)}))

    def _open(self, weights: Weights):
        kept = kept_file(weights, "onnxruntime", self._runtime.__version__, ".onnx")
        if kept.exists():
            try:
                return self._load(kept.read_bytes())
            except Exception as error:  # its own errors share no base class
                log.warning("%s is damaged and is made anew (%s)", kept, (str(error).splitlines() or [""])[0])
        say_preparing(weights)
        data = to_onnx(weights)
        keep(kept, lambda file: file.write_bytes(data))
        return self._load(data)

    def _load(self, data: bytes):
        return self._runtime.InferenceSession(data, self._options, providers=["CPUExecutionProvider"])


def to_onnx(weights: Weights) -> bytes:
    """A network as ONNX, from uint8 "pixels" [N, S, S, 3], for some kinds [N, H, W, 3], to its outputs.

    Raises:
        UsageError: the package onnx is missing. RtauError: it can't be written so.
    """
    import io

    import torch
    from torch import Tensor, nn

    from ..model import build

    class FromBytes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = build(weights)

        def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
            return self.net(pixels.permute(0, 3, 1, 2).float())

    size = int(weights.facts["config"]["size"])
    varies = {0: "N", 1: "H", 2: "W"} if weights.facts["kind"] in ANY_SIZE else {0: "N"}
    example, buffer = torch.zeros(2, size, size, 3, dtype=torch.uint8), io.BytesIO()
    try:
        # The exporter needs it, and says so less plainly.
        import onnx  # noqa: F401

        with warnings.catch_warnings():
            # The exporter that follows torch.export needs three more packages and takes many times as long.
            warnings.simplefilter("ignore")
            torch.onnx.export(FromBytes().eval(), (example,), buffer,  # type: ignore[arg-type]
                              input_names=["pixels"], opset_version=_OPSET, dynamic_axes={"pixels": varies},
                              dynamo=False)
    except ImportError as error:
        raise UsageError(f"the network can't be prepared for ONNX Runtime ({error}): pip install onnx, or choose "
                         "--backend torch") from None
    except Exception as error:  # a network of timm's may hold anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RtauError(f"the network can't be written as ONNX ({reason}): choose --backend torch") from error
    return buffer.getvalue()
