"""Crops cut by torch, on a GPU or wherever the networks run: pictures go up once, crops never come back.

They are, number by number, what `rtau.crop.warp` and `rtau.landmarks.fill_beyond` cut, since each step is that of
OpenCV 5: the inverse transform in single precision, floor and fraction of each place, four pixels whose indices are
mirrored at the picture's border, two mixtures along x and one along y, rounded half to even. A face much larger than
its crop is averaged first, over the blocks that `rtau.crop.shrinking` names: whole-number sums, rounded as OpenCV does.
Where processors multiply and add with one rounding, double precision does so here. Elsewhere, and with an older OpenCV,
which knew places to a 32nd of a pixel only, a pixel between two grey levels may fall to the other one, or more of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .crop import Blocks, checked_scale, invert, shrinking
from .landmarks import BEYOND

#: Uploads that may be under way at once.
_UNDER_WAY = 3
#: Weights of red, green and blue in luma, in 2**-15, as OpenCV has them.
_LUMA = (9798, 19235, 3735)


def cut(pictures: Sequence[Tensor], which: Sequence[int] | np.ndarray, matrices: np.ndarray, size: int, *,
        paint: bool = False) -> Tensor:
    """Crops of some pictures in one batch.

    Args:
        pictures: uint8 [H, W, 3] each, RGB, of any sizes, on one device; or one tensor [B, H, W, 3].
        which: [N], each crop's picture; N is 1 or more.
        matrices: [N, 2, 3], from the picture's pixels to the crop's (pixel centres at integers), similarities.
        size: side S of the crops in pixels.
        paint: make what lies beyond the picture grey (`rtau.landmarks.BEYOND`); else it is mirrored.

    Returns:
        uint8 [N, S, S, 3], on the device.

    Raises:
        ValueError: a transform is not finite.
    """
    sources: list[Tensor] = []
    whole: dict[int, int] = {}
    rows, inverses = [], []
    with torch.inference_mode():
        for number, matrix in zip(which, matrices, strict=True):
            picture, scale = pictures[number], checked_scale(matrix)
            if 0 < scale < 0.5:
                blocks, matrix = shrinking(picture.shape[:2], matrix, size, scale)
                row = len(sources)
                sources.append(_means(picture, blocks))
            else:
                row = whole.setdefault(int(number), len(sources))
                if row == len(sources):
                    sources.append(picture)
            rows.append(row)
            inverses.append(invert(matrix))
        crops = _sample(sources, rows, np.stack(inverses), size)
        if paint:
            _paint(crops, np.stack([invert(matrix) for matrix in matrices]),
                   np.array([pictures[number].shape[1::-1] for number in which]))
        return crops


def _means(picture: Tensor, blocks: Blocks) -> Tensor:
    """Means uint8 [rows, columns, 3] of blocks of a picture."""
    part = picture[blocks.y:blocks.y + blocks.rows * blocks.high, blocks.x:blocks.x + blocks.columns * blocks.wide]
    sums = part.unflatten(1, (blocks.columns, blocks.wide)).unflatten(0, (blocks.rows, blocks.high)).sum(
        (1, 3), dtype=torch.int32)
    if blocks.wide == blocks.high == 2:
        return ((sums + 2) >> 2).to(torch.uint8)
    return (sums.float() * float(np.float32(1 / (blocks.wide * blocks.high)))).round_().to(torch.uint8)


def _sample(pictures: Sequence[Tensor], which: Sequence[int], inverses: np.ndarray, size: int) -> Tensor:
    """Crops uint8 [N, S, S, 3] by transforms [N, 2, 3] from the crop's pixels to those of its picture."""
    # All pictures are one row of pixels, so that it does not matter how many they are.
    lines = [picture.reshape(-1, 3) for picture in pictures]
    pixels = torch.cat(lines) if len(lines) > 1 else lines[0]
    begins = np.cumsum([0, *map(len, lines)])
    numbers = np.array([(begins[number], *pictures[number].shape[:2]) for number in which])
    begin, height, width = torch.from_numpy(numbers).to(pixels.device)[:, :, None, None].unbind(1)
    x, y = _places(inverses, size, _fused, pixels.device)
    left, top = x.floor(), y.floor()
    right, low = (x - left)[..., None], (y - top)[..., None]
    (x0, x1), (y0, y1) = (_mirrored(start.long(), length) for start, length in ((left, width), (top, height)))
    index = torch.stack([begin + row * width + column for row in (y0, y1) for column in (x0, x1)])
    a, b, c, d = pixels.index_select(0, index.flatten()).float().view(4, len(which), size, size, 3)
    above, below = _fused(right, b - a, a), _fused(right, d - c, c)
    return _fused(low, below - above, above).round_().to(torch.uint8)


def _fused(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """a * b + c of float32, rounded once."""
    return (a.double() * b.double() + c.double()).float()


def _places(inverses: np.ndarray, size: int, combine: Callable[[Tensor, Tensor, Tensor], Tensor], device: torch.device
            ) -> tuple[Tensor, Tensor]:
    """x and y, float32 [N, S, S], of each of the crop's pixels by transforms [N, 2, 3]; `combine` adds the share of
    the column, as a product, to that of the line."""
    rows = torch.from_numpy(inverses.astype(np.float32)).to(device)[:, :, :, None, None]
    along = torch.arange(size, dtype=torch.float32, device=device)
    x, y = (combine(row[:, 0], along, row[:, 1] * along[:, None] + row[:, 2]) for row in rows.unbind(1))
    return x, y


def _mirrored(index: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """Indices and those after them, mirrored at the first and last of `length` pixels."""
    last = length - 1
    turns = (2 * last).clamp(min=1)
    return tuple(last - (last - one.remainder(turns)).abs() for one in (index, index + 1))


def _paint(crops: Tensor, inverses: np.ndarray, shapes: np.ndarray) -> None:
    """Paint what lies beyond the pictures of widths and heights [N, 2], in place, as `rtau.landmarks.fill_beyond`."""
    x, y = _places(inverses, crops.shape[1], lambda a, b, c: a * b + c, crops.device)
    width, height = torch.from_numpy(shapes.astype(np.float32)).to(crops.device)[:, :, None, None].unbind(1)
    outside = (x < -0.5) | (x > width - 0.5) | (y < -0.5) | (y > height - 0.5)
    crops.masked_fill_(outside[..., None], BEYOND)


class Uploads:
    """Takes pictures to a device, on a GPU through pinned memory that is used again and again.

    An upload is under way while the next picture is being looked at; whoever uses the picture on the device gets it
    whole. A device that is the CPU itself needs none of this.

    Args:
        device: where to.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._slots: list[tuple[Tensor, torch.cuda.Event]] = []
        self._next = 0
        self._lock = threading.Lock()

    def __call__(self, image: np.ndarray) -> Tensor:
        """A picture, uint8 [H, W, 3], on the device."""
        if self._device.type == "cpu":
            return torch.from_numpy(np.require(image, requirements=("C", "W")))
        with self._lock:
            memory, taken = self._slot(image.nbytes)
            np.copyto(memory[:image.nbytes].numpy().reshape(image.shape), image)
            picture = torch.empty(image.shape, dtype=torch.uint8, device=self._device)
            picture.view(-1).copy_(memory[:image.nbytes], non_blocking=True)
            taken.record()
            return picture

    def _slot(self, length: int) -> tuple[Tensor, torch.cuda.Event]:
        """Pinned memory of so many bytes at least, that no upload needs any more."""
        if len(self._slots) < _UNDER_WAY:
            self._slots.append((torch.empty(length, dtype=torch.uint8, pin_memory=True), torch.cuda.Event()))
            return self._slots[-1]
        number, self._next = self._next, (self._next + 1) % _UNDER_WAY
        memory, taken = self._slots[number]
        taken.synchronize()
        if len(memory) < length:
            self._slots[number] = torch.empty(length, dtype=torch.uint8, pin_memory=True), taken
        return self._slots[number]


class _Picture:
    """A picture that goes to the device when it is first needed there."""

    def __init__(self, image: np.ndarray, upload: Uploads) -> None:
        self.image, self._upload, self._pixels = image, upload, None

    @property
    def pixels(self) -> Tensor:
        if self._pixels is None:
            self._pixels = self._upload(self.image)
        return self._pixels


@dataclass(frozen=True)
class Waiting:
    """Crops that are not cut yet: N of one picture on the device.

    Attributes:
        picture: uint8 [H, W, 3].
        matrices: [N, 2, 3].
        size: side of the crops.
    """

    picture: Tensor
    matrices: np.ndarray
    size: int


class DeviceCutter:
    """Crops as tensors on a device; see `rtau.cutter.Cutter`, whose methods these are.

    Args:
        device: "cuda", or "cpu" to have the same done there.
    """

    def __init__(self, device: str) -> None:
        self._upload = Uploads(torch.device(device))
        self._held: _Picture | None = None

    @contextmanager
    def hold(self, image: np.ndarray) -> Iterator[None]:
        """See `Cutter.hold`."""
        self._held = _Picture(image, self._upload)
        try:
            yield
        finally:
            self._held = None

    def cut(self, image: np.ndarray, matrices: np.ndarray, size: int, *, paint: bool = False) -> Tensor:
        """See `Cutter.cut`."""
        return cut([self._there(image)], np.zeros(len(matrices), int), matrices, size, paint=paint)

    def later(self, image: np.ndarray, matrices: np.ndarray, size: int) -> Waiting:
        """See `Cutter.later`. The picture goes to the device now."""
        return Waiting(self._there(image), matrices, size)

    def join(self, several: Sequence[Waiting]) -> Tensor:
        """See `Cutter.join`."""
        which = np.repeat(np.arange(len(several)), [len(waiting.matrices) for waiting in several])
        return cut([waiting.picture for waiting in several], which,
                   np.concatenate([waiting.matrices for waiting in several]), several[0].size)

    def luma(self, crops: Tensor) -> np.ndarray:
        """See `Cutter.luma`."""
        with torch.inference_mode():
            red, green, blue = crops.flatten(1, 2).int().unbind(-1)
            grey = (red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2] + (1 << 14)) >> 15
            sums = torch.stack([grey.sum(1), (grey * grey).sum(1)]).cpu().numpy().astype(np.float64)
        mean, square = sums / grey.shape[1]
        return np.stack([mean, np.sqrt(np.maximum(square - mean**2, 0))])

    def _there(self, image: np.ndarray) -> Tensor:
        held = self._held
        return (held if held is not None and held.image is image else _Picture(image, self._upload)).pixels
