"""What cuts crops out of pictures: OpenCV on the CPU, or torch where the networks run.

Both give the same crops, up to rounding. What the rest of rtau sees is `Cutter`; what the crops are, an array or a
tensor on a device, only concerns the cutter and the `rtau.backends.Runner` that takes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np

from .backends import CPU_ONLY, choose
from .crop import warp
from .errors import UsageError
from .landmarks import fill_beyond
from .quality import luma

CUTTERS = ("auto", "host", "device")


class Cutter(Protocol):
    """Cuts crops, uint8 [N, S, S, 3], RGB, for a network."""

    def hold(self, image: np.ndarray) -> AbstractContextManager:
        """Within it the picture, uint8 [H, W, 3], stays as it is, so that one upload serves all its crops."""

    def cut(self, image: np.ndarray, matrices: np.ndarray, size: int, *, paint: bool = False) -> Any:
        """Crops of a picture as `rtau.crop.warp` cuts them.

        Args:
            image: uint8 [H, W, 3], RGB.
            matrices: [N, 2, 3], from the picture's pixels to the crop's; N is 1 or more.
            size: side of the crops in pixels.
            paint: make what lies beyond the picture grey, as `rtau.landmarks.fill_beyond` does; else it is mirrored.

        Raises:
            ValueError: a transform is not finite.
        """

    def later(self, image: np.ndarray, matrices: np.ndarray, size: int) -> Any:
        """The same without paint, but the crops need not be there before `join`; any thread may call that."""

    def join(self, several: Sequence[Any]) -> Any:
        """The crops of several calls of `later`, in one batch; of one size."""

    def luma(self, crops: Any) -> np.ndarray:
        """Mean and standard deviation [2, N] of the crops' luma, 0..255."""


class HostCutter:
    """Crops as arrays, cut by the CPU."""

    def hold(self, image: np.ndarray) -> AbstractContextManager:
        """See `Cutter.hold`."""
        return nullcontext()

    def cut(self, image: np.ndarray, matrices: np.ndarray, size: int, *, paint: bool = False) -> np.ndarray:
        """See `Cutter.cut`."""
        crops = np.stack([warp(image, matrix, size) for matrix in matrices])
        if paint:
            for crop, matrix in zip(crops, matrices, strict=True):
                fill_beyond(crop, matrix, image.shape[:2])
        return crops

    later = cut

    def join(self, several: Sequence[np.ndarray]) -> np.ndarray:
        """See `Cutter.join`."""
        return np.concatenate(several)

    def luma(self, crops: np.ndarray) -> np.ndarray:
        """See `Cutter.luma`."""
        return luma(crops)


def open_cutter(name: str, backend: str, device: str) -> Cutter:
    """What cuts crops for a backend.

    Args:
        name: one of `CUTTERS`; "auto" is "device" on a GPU and "host" elsewhere.
        backend, device: see `rtau.backends.open_backend`.

    Raises:
        UsageError: an unknown name, or a backend that takes no crops from a device.
    """
    if name not in CUTTERS:
        raise UsageError(f"crops can't be cut by {name!r}: choose from {', '.join(CUTTERS)}")
    engine, place = choose(backend, device)
    if name == "host" or (name == "auto" and place == "cpu"):
        return HostCutter()
    if engine in CPU_ONLY:
        raise UsageError(f"the {engine} backend takes no crops from a device: choose backend torch, or cut them on the "
                         "host")
    from .device_crop import DeviceCutter
    return DeviceCutter(place)
