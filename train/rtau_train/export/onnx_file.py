"""ONNX files, for onnxruntime and whatever else reads them."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rtau.errors import RtauError, UsageError
from rtau.model import DeployedAuNet, LandmarkNet

from .drift import Opened, Outputs
from .formats import LANDMARK_TOLERANCE, Told

#: What every runtime of the last years reads; the networks need nothing newer.
OPSET = 17


class Onnx:
    """One file, with a batch of any size: "pixels" float32 [N, 3, S, S], RGB 0..255, to "presence" and "intensity"
    [N, C] and, where the network tells it, "sight" [N, 6], or "points", "presence" and "pose". Its metadata "rtau" holds the manifest's facts as JSON, names of labels
    included.
    """

    suffix = ".onnx"
    #: Another engine adds up in another order, and has batch norms multiplied into the convolutions. The logits are
    #: those of presence, whose digits float32 loses where the views are sure: only a wrong graph is beyond this.
    tolerance = {"au": {"logits": 0.1, "presence": 1e-3, "intensity": 5e-3, "sight": 1e-3},
                 "landmarks": {**LANDMARK_TOLERANCE, "presence": 5e-3}}

    def check(self) -> None:
        """Raise UsageError where onnx or onnxruntime is missing."""
        try:
            import onnx  # noqa: F401
            import onnxruntime  # noqa: F401
        except ImportError as error:
            raise UsageError(f"ONNX files need more packages ({error}): pip install onnx onnxruntime") from None

    def write(self, net: DeployedAuNet | LandmarkNet, path: Path, facts: Mapping[str, Any]) -> None:
        """Write the graph; see `Format.write`.

        Raises:
            RtauError: torch can't express the network in ONNX.
        """
        import onnx

        told, buffer, size = Told(net), io.BytesIO(), net.config.size
        try:
            with warnings.catch_warnings():
                # The exporter that follows torch.export needs three more packages and takes many times as long.
                warnings.simplefilter("ignore")
                torch.onnx.export(told, (torch.zeros(2, 3, size, size),), buffer,  # type: ignore[arg-type]
                                  input_names=["pixels"], output_names=list(told.names), opset_version=OPSET,
                                  dynamic_axes={name: {0: "N"} for name in ("pixels", *told.names)}, dynamo=False)
            model = onnx.load_from_string(buffer.getvalue())
            onnx.helper.set_model_props(model, {"rtau": json.dumps(dict(facts))})
            onnx.checker.check_model(model)
        except Exception as error:  # a network of timm's may hold anything
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise RtauError(f"the network can't be written as ONNX ({reason}): leave --format onnx out") from error
        path.write_bytes(model.SerializeToString())

    def open(self, path: Path, facts: Mapping[str, Any]) -> Opened:
        """The file in onnxruntime on the CPU; see `Format.open`."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]

        def run(crops: np.ndarray) -> Outputs:
            planes = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), np.float32)
            return dict(zip(names, session.run(None, {"pixels": planes}), strict=True))

        return run
