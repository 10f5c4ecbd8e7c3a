"""What the AU network would gain and lose in 8 bits: speed against the AUC of each AU.

    python benchmarks/int8.py --renders renders-validation [--photos photos] [--threads 1]

ONNX Runtime's static quantisation, weights by channel, ranges of activations from faces that it is shown: real ones
(--photos, aligned by rtau data align) and every ninth render. Without VNNI instructions the sum of two products of 8
bits can overflow, so weights are tried with 7 bits too. Both networks run by turns; times are medians.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from rtau_train.cutting import crops_of
from rtau_train.data.corpus import open_faces
from rtau_train.data.faces import FaceSet
from rtau_train.data.renders import open_renders
from rtau_train.evaluate import auc

from rtau.backends.onnxruntime import to_onnx
from rtau.errors import RtauError
from rtau.store import find_weights

_BATCHES = (1, 8)
_TURNS = 15


class Shown(CalibrationDataReader):
    """Crops uint8 [N, S, S, 3], one at a time."""

    def __init__(self, crops: np.ndarray) -> None:
        self._crops = iter(crops)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next one as the network's input, or None after the last."""
        return next(({"pixels": crop[None]} for crop in self._crops), None)


def crops(faces: FaceSet, size: int, step: int = 1) -> np.ndarray:
    """Every so many'th face, cut out: uint8 [N, S, S, 3]."""
    return np.concatenate([crops_of([faces.pictures[i]], faces.points[i:i + 1], size, seed=i)
                           for i in range(0, len(faces), step)])


def open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """A network on so many threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def presence(session: onnxruntime.InferenceSession, pictures: np.ndarray) -> np.ndarray:
    """[N, C], 0..1."""
    return np.concatenate([session.run(None, {"pixels": pictures[i:i + 50]})[0] for i in range(0, len(pictures), 50)])


def aucs(faces: FaceSet, found: np.ndarray) -> np.ndarray:
    """Of each AU that some faces show and some don't; NaN of others."""
    values = np.full(len(faces.names), np.nan)
    for column in range(len(values)):
        known = faces.labels[:, column] != 0
        truth = faces.labels[known, column] > 0
        if 0 < truth.sum() < len(truth):
            values[column] = auc(truth, found[known, column])
    return values


def times(sessions: list[onnxruntime.InferenceSession], pictures: np.ndarray) -> list[float]:
    """Median ms a face of each, by turns."""
    taken: list[list[float]] = [[] for _ in sessions]
    for turn in range(_TURNS + 2):
        for session, kept in zip(sessions, taken, strict=True):
            begun = time.perf_counter()
            session.run(None, {"pixels": pictures})
            if turn >= 2:
                kept.append(1e3 * (time.perf_counter() - begun) / len(pictures))
    return [statistics.median(kept) for kept in taken]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renders", type=Path, required=True, help="of people who were not learned from")
    parser.add_argument("--photos", type=Path, help="aligned real faces")
    parser.add_argument("--count", type=int, default=1200, help="renders to judge on")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    try:
        weights = find_weights("au")
        size = int(weights.facts["config"]["size"])
        faces = open_renders(args.renders).select(weights.labels)
        faces = faces[np.linspace(0, len(faces) - 1, min(args.count, len(faces))).astype(int)]
        judged = crops(faces, size)
        shown = judged[::9]
        if args.photos:
            shown = np.concatenate([shown, crops(open_faces(args.photos), size, 5)])
        with tempfile.TemporaryDirectory() as folder:
            plain, prepared = Path(folder) / "plain.onnx", Path(folder) / "prepared.onnx"
            plain.write_bytes(to_onnx(weights))
            quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
            exact = open_session(plain, args.threads)
            wanted = presence(exact, judged)
            print(f"float32: mean AUC {np.nanmean(aucs(faces, wanted)):.4f} on {len(faces)} renders")
            for bits in (8, 7):
                small = Path(folder) / f"{bits}.onnx"
                quantize_static(str(prepared), str(small), Shown(shown), quant_format=QuantFormat.QDQ, per_channel=True,
                                op_types_to_quantize=["Conv", "Gemm", "MatMul"], reduce_range=bits == 7,
                                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
                session = open_session(small, args.threads)
                found = presence(session, judged)
                lost = aucs(faces, wanted) - aucs(faces, found)
                worst = int(np.nanargmax(lost))
                speed = ", ".join(f"{a:.2f} to {b:.2f} ms a face in batches of {batch}" for batch in _BATCHES
                                  for a, b in [times([exact, session], judged[:batch])])
                print(f"weights of {bits} bits: mean AUC {np.nanmean(lost):+.4f} less, {faces.names[worst]} most "
                      f"({lost[worst]:+.4f}); presence off by up to {np.abs(found - wanted).max():.2f}, "
                      f"{np.abs(found - wanted).mean():.3f} in the mean; {speed}", flush=True)
    except RtauError as error:
        print(f"rtau: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
