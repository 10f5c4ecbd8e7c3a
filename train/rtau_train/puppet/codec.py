"""What codecs do to a picture: JPEG as cameras write it, and video at low bit rates without a video codec.

Video: 8x8 cosine transform, one step size for all frequencies with a dead zone (faint detail vanishes
rather than ringing as in JPEG), colour at half resolution, block edges smoothed. Motion
compensation is left out: this is a key frame, or a face that keeps still.
"""

from __future__ import annotations

import cv2
import numpy as np

_SIDE = 8


def _cosines() -> np.ndarray:
    """Orthonormal cosine transform, float32 [8, 8], rows are frequencies."""
    n = np.arange(_SIDE)
    matrix = np.cos(np.pi * (2 * n[None] + 1) * n[:, None] / (2 * _SIDE)) * np.sqrt(2 / _SIDE)
    matrix[0] /= np.sqrt(2)
    return matrix.astype(np.float32)


_COSINES = _cosines()


def step_of(quality: float) -> float:
    """Quantisation step in grey levels: 1.5 at quality 95, doubling every 17 below (about 32 at 20)."""
    return 1.5 * 2 ** ((95 - quality) / 17)


def through_video(image: np.ndarray, quality: float) -> np.ndarray:
    """The picture after a video codec.

    Args:
        image: uint8 [H, W, 3], RGB.
        quality: 20 (a starved video call) .. 95 (nearly untouched).

    Returns:
        uint8 [H, W, 3], RGB.
    """
    height, width = image.shape[:2]
    bright, *colours = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb))
    step = step_of(quality)
    planes = [_quantise(bright, step)]
    half = ((width + 1) // 2, (height + 1) // 2)
    for plane in colours:
        small = _quantise(cv2.resize(plane, half, interpolation=cv2.INTER_AREA), step)
        planes.append(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))
    return cv2.cvtColor(cv2.merge(planes), cv2.COLOR_YCrCb2RGB)


def _quantise(plane: np.ndarray, step: float) -> np.ndarray:
    """A uint8 plane through the transform and back."""
    height, width = plane.shape
    padded = cv2.copyMakeBorder(plane, 0, -height % _SIDE, 0, -width % _SIDE, cv2.BORDER_REPLICATE)
    rows, columns = padded.shape
    values = padded.astype(np.float32) - 128
    values = (values.reshape(-1, _SIDE) @ _COSINES.T).reshape(rows // _SIDE, _SIDE, columns)
    values = np.matmul(_COSINES, values)
    size = np.abs(values) * np.float32(1 / step)
    size += np.float32(1 / 3)  # less than a half: small coefficients die
    np.floor(size, out=size)
    size *= np.float32(step)
    values = np.copysign(size, values)
    values = np.matmul(_COSINES.T, values).reshape(-1, _SIDE) @ _COSINES
    values = values.reshape(rows, columns)
    values += 128
    _deblock(values, step)
    _deblock(values.T, step)
    return np.clip(values[:height, :width] + 0.5, 0, 255).astype(np.uint8)


def _deblock(values: np.ndarray, step: float) -> None:
    """Smooth the steps at block edges that are too small to be the picture's own (as in H.264); in place."""
    a, b = values[:, _SIDE - 2:-_SIDE:_SIDE], values[:, _SIDE - 1:-_SIDE:_SIDE]
    c, d = values[:, _SIDE::_SIDE], values[:, _SIDE + 1::_SIDE]
    jump = c - b
    shift = np.clip((4 * jump + (a - d)) / 8, -step / 2, step / 2)
    shift *= np.abs(jump) < 1.5 * step
    b += shift
    c -= shift


def through_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """JPEG with halved colour resolution (4:2:0), as cameras write it."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, int(quality),
                cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), settings)[1]
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
