"""face-alignment's landmark network FAN behind rtau's interface: slow on a CPU, for comparison and for GPUs.

Its weights (about 90 MB, not rtau's) are fetched when it is first used. Verified here with randomly
initialised weights only: that it loads, runs and gives points in the right frame, not how good they are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .cache import fetch
from .crop import apply, invert, region_matrix, warp
from .errors import RtauError, UsageError
from .head import pose_of_points
from .landmarks import Marks, region_of_box, region_of_points

_FILE = "2DFAN4-11f355bf06.pth.tar"
_SHA256 = "11f355bf06"
_SIZE, _CELL = 256, 4
#: FAN was trained on looser squares than rtau's network.
_LOOSE = 1.6
#: Mean height of the 68 heat maps' peaks from which a region is surely no face, and surely one.
_PEAK_NONE, _PEAK_FACE = 0.1, 0.4


class Fan:
    """FAN-4 (Bulat and Tzimiropoulos, ICCV 2017), 2D points. Nothing is compiled.

    Args:
        device: "auto", "cpu" or "cuda".
        max_batch_size: faces per pass.

    Raises:
        UsageError: the package is missing, or the device is not there.
        RtauError: the weights can't be fetched or read.
    """

    name = "fan"

    def __init__(self, *, device: str = "auto", max_batch_size: int = 8) -> None:
        import torch

        try:
            from face_alignment.api import models_urls
            from face_alignment.models import FAN
        except ImportError as error:
            raise UsageError(f"--landmarks fan needs face-alignment ({error}): pip install face-alignment") from None
        if device == "cuda" and not torch.cuda.is_available():
            raise UsageError("no CUDA device that this torch can use: choose --device cpu")
        place = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        path = Path(torch.hub.get_dir()) / "checkpoints" / _FILE
        if not path.is_file():
            fetch(models_urls["2DFAN-4"], path, sha256=_SHA256, otherwise=f"put that file at {path}")
        self._torch, self._device, self._batch = torch, torch.device(place), max_batch_size
        self._net = FAN(4)
        try:
            self._net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        except Exception as error:  # torch raises many kinds for a file that is not what it should be
            raise RtauError(f"{path} is not FAN's weights ({str(error).splitlines()[0]}): delete it, and it is "
                            "fetched again") from None
        self._net.to(self._device).eval()

    def __call__(self, image: np.ndarray, regions: np.ndarray) -> Marks:
        """See `rtau.landmarks.Landmarker`; presence is judged by the heat maps' peaks."""
        points = np.zeros((len(regions), 68, 2), np.float32)
        presence = np.zeros(len(regions), np.float32)
        pose = np.zeros((len(regions), 3), np.float32)
        loose = [np.array([r[0], r[1], r[2] * _LOOSE, r[3]]) for r in regions]
        matrices = [region_matrix(r, _SIZE) for r in loose]
        for start in range(0, len(regions), self._batch):
            part = matrices[start:start + self._batch]
            maps = self._heat(np.stack([warp(image, m, _SIZE) for m in part]))
            for row, (matrix, heat) in enumerate(zip(part, maps, strict=True), start):
                found, peaks = peaks_of(heat)
                points[row] = apply(invert(matrix), (found + 0.5) * _CELL - 0.5)
                presence[row] = np.clip((peaks.mean() - _PEAK_NONE) / (_PEAK_FACE - _PEAK_NONE), 0, 1)
                pose[row] = pose_of_points(points[row], image.shape[1::-1])
        return Marks(points, presence, pose)

    region_of_points = staticmethod(region_of_points)
    region_of_box = staticmethod(region_of_box)

    def _heat(self, crops: np.ndarray) -> np.ndarray:
        with self._torch.inference_mode():
            pixels = self._torch.from_numpy(crops).to(self._device).permute(0, 3, 1, 2).float() / 255
            maps = self._net(pixels)
        return (maps[-1] if isinstance(maps, (list, tuple)) else maps).float().cpu().numpy()


def peaks_of(heat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Peaks of heat maps [K, H, W]: places [K, 2] (x, y in cells, a quarter cell fine) and heights [K]."""
    count, height, width = heat.shape
    flat = heat.reshape(count, -1).argmax(1)
    y, x = flat // width, flat % width
    rows = np.arange(count)
    places = np.stack([x, y], 1).astype(np.float64)
    # The higher neighbour tells on which side of the cell's middle the peak lies.
    inner_x, inner_y = np.clip(x, 1, width - 2), np.clip(y, 1, height - 2)
    places[:, 0] += 0.25 * np.sign(heat[rows, y, inner_x + 1] - heat[rows, y, inner_x - 1]) * (x == inner_x)
    places[:, 1] += 0.25 * np.sign(heat[rows, inner_y + 1, x] - heat[rows, inner_y - 1, x]) * (y == inner_y)
    return places, heat.max((1, 2))
