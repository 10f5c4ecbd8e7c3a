"""What it brings to cut crops where the networks run, in place of on the CPU.

    python benchmarks/device.py [--device cuda] [--backend torch] [--seconds 2]

The clip that comes with rtau, from memory, one column for each way to cut. Crops a second: pictures are new each time
and go up, and what counts is when the crops are where the networks run. Frames a second: all of rtau but decoding, to no
sink. The AU network by itself takes crops from the CPU's memory in the one column, from the device's in the other; the
share is of the machine's fastest matrix product (`roofline.py`). On a CPU the second column is the device's program run
by the CPU, and only shows that it runs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from roofline import cost, matrix_peak, median_seconds

from rtau.backends import BACKENDS, CPU_ONLY, choose, open_backend
from rtau.bench.clip import Clip
from rtau.bench.machine import processor
from rtau.bench.scenes import crowd, play_images
from rtau.commands.options import SAMPLE
from rtau.crop import similarity
from rtau.cutter import Cutter, HostCutter, open_cutter
from rtau.errors import RtauError, UsageError
from rtau.model import build
from rtau.types import Frame

#: Pictures whose crops are cut at once, and crops that the network takes at once where its share of the peak counts.
_PICTURES, _LARGE = 16, 64
_CROWD = (1280, 720)
#: Times that a picture is enlarged, so that its face is averaged down.
_LARGER = 4


def cutting(cutter: Cutter, images: Sequence[np.ndarray], matrices: np.ndarray, size: int, device: torch.device
            ) -> Callable[[], None]:
    """Cuts all crops of some pictures and waits until they are on the device."""
    def cut() -> None:
        waiting = []
        for image in images:
            with cutter.hold(image):
                waiting.append(cutter.later(image, matrices, size))
        crops = cutter.join(waiting)
        if isinstance(crops, np.ndarray):
            torch.from_numpy(crops).to(device)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return cut


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--backend", choices=[name for name in BACKENDS if name not in CPU_ONLY and name != "auto"],
                        default="torch")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    try:
        if not args.seconds > 0:
            raise UsageError(f"--seconds is {args.seconds:g}: give more than 0")
        measure(args.backend, choose(args.backend, args.device)[1], args.seconds)
    except RtauError as error:
        print(f"rtau: {error}", file=sys.stderr)
        return 2
    return 0


def measure(backend: str, place: str, seconds: float) -> None:
    """Measure, and print the table."""
    device = torch.device(place)
    cutters = {name: open_cutter(name, backend, place) for name in ("host", "device")}
    with tempfile.TemporaryDirectory(prefix="rtau-device-") as folder:
        clips = {name: Clip(SAMPLE, seconds, {"backend": backend, "device": place, "cutter": name}, Path(folder))
                 for name in cutters}
        clip = clips["host"]
        analyzer = clip.analyzer()
        print(f"{torch.cuda.get_device_name() if place == 'cuda' else processor()}, {analyzer.backend}")
        print(f"{'':<44} {'host':>10} {'device':>10}")
        weights, size = analyzer.weights, int(analyzer.weights.facts["config"]["size"])
        faces = analyzer(Frame(clip.images[0], 0.0, 0, still=True)).faces
        matrix = similarity(faces.landmarks[:1], size)
        large = [cv2.resize(image, None, fx=_LARGER, fy=_LARGER) for image in clip.images[:_PICTURES]]
        height, width = clip.images[0].shape[:2]
        for images, count in ((clip.images[:_PICTURES], 1), (clip.images[:_PICTURES], 16), (large, 4)):
            scale = images[0].shape[1] / width
            several = np.repeat(matrix * [[1 / scale, 1 / scale, 1]], count, 0)
            show(f"crops/s, {count} each of {len(images)} pictures {images[0].shape[1]}x{images[0].shape[0]}", [
                count * len(images) / median_seconds(cutting(cutter, images, several, size, device), seconds)
                for cutter in cutters.values()])
        show(f"frames/s, 1 face, {width}x{height}", [
            one.run(play_images(one.images), [])[0].fps for one in clips.values()])
        for count in (4, 16):
            images = crowd(clip.images, faces.boxes[0], count, _CROWD)
            show(f"frames/s, {count} faces, {_CROWD[0]}x{_CROWD[1]}", [
                one.run(play_images(images), [])[0].fps for one in clips.values()])

        crop = HostCutter().cut(clip.images[0], matrix, size)
        runner = open_backend(weights, backend, place)

        def network(count: int, on_device: bool) -> float:
            crops = crop.repeat(count, 0)
            given = torch.from_numpy(crops).to(device) if on_device else crops
            return median_seconds(lambda: runner(given), seconds)

        show("AU network, ms for 1 face", [1e3 * network(1, on_device) for on_device in (False, True)], 2)
        kind = torch.float16 if place == "cuda" else torch.float32
        peak = matrix_peak(device, kind, seconds)
        operations = cost(build(weights), size, _LARGE)[0]
        show(f"AU network, % of {peak / 1e12:.3g} TFLOP/s, {_LARGE} faces", [
            100 * operations / network(_LARGE, on_device) / peak for on_device in (False, True)])


def show(what: str, values: Sequence[float], digits: int = 1) -> None:
    """Print a line of the table."""
    print(f"{what:<44} " + " ".join(f"{value:>10.{digits}f}" for value in values), flush=True)


if __name__ == "__main__":
    sys.exit(main())
