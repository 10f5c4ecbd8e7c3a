"""What a camera and a codec do to a picture, in the order in which they do it.

light through the lens (coarser sampling, defocus, motion, vignetting) -> automatic exposure and
white balance -> photons counted under a colour mosaic, read noise -> demosaicing -> tone curve
-> the camera's own denoising, sharpening and colour -> codec -> enlarged by whoever shows it.

Everything up to the tone curve happens in linear light. Nothing moves: landmarks stay where they are.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal

import cv2
import numpy as np

from rtau.errors import UsageError

from .codec import through_jpeg, through_video
from .exposure import expose

Codec = Literal["none", "jpeg", "video"]

#: Kinds of cameras that can be drawn; "mixed" is any of them.
KINDS: tuple[str, ...] = ("clean", "phone", "webcam", "call", "dim", "far")
#: How often "mixed" takes each of `KINDS`.
_MIX = (0.20, 0.20, 0.25, 0.15, 0.10, 0.10)
#: No face is sampled with fewer rows, brow to chin, than this.
LEAST_FACE = 40.0


@dataclass(frozen=True)
class Sensor:
    """One camera at one moment. The default changes nothing.

    Lengths are pixels of the sampled picture, before it is enlarged again.

    Attributes:
        kind: one of `KINDS`, or a caller's own word.
        scale: sampled rows over the picture's rows, 0..1.
        enlarge: how the small picture grows back: "linear", "cubic" or "nearest".
        defocus: sigma of the lens blur.
        motion: direction (radians) and length of a straight motion during exposure.
        vignette: share of light lost in the corners.
        metering: 0 keeps the scene's brightness, 1 brings every scene to the same mean.
        exposure: error of the automatic exposure, stops.
        balancing: 0 keeps the light's colour, 1 makes the picture's mean grey.
        white: error of the white balance, gain of R, G, B.
        photons: electrons that white yields; 0 for no noise at all.
        read: read noise, electrons rms.
        mosaic: one colour per pixel, interpolated: noise then comes in coloured blotches.
        denoise: grey levels that the camera takes for noise and smooths away.
        sharpen: amount of its unsharp mask, which draws halos.
        gamma, contrast, saturation: of the shown picture; 1 changes nothing.
        levels: grey levels kept, 256 for all; few make bands.
        codec: "none", "jpeg" or "video" (flat quantisation, dead zone, deblocking).
        quality: of the codec, 20..95.
    """

    kind: str = "none"
    scale: float = 1.0
    enlarge: str = "linear"
    defocus: float = 0.0
    motion: tuple[float, float] = (0.0, 0.0)
    vignette: float = 0.0
    metering: float = 0.0
    exposure: float = 0.0
    balancing: float = 0.0
    white: tuple[float, float, float] = (1.0, 1.0, 1.0)
    photons: float = 0.0
    read: float = 0.0
    mosaic: bool = False
    denoise: float = 0.0
    sharpen: float = 0.0
    gamma: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    levels: int = 256
    codec: Codec = "none"
    quality: int = 95

    def as_dict(self) -> dict[str, Any]:
        """The same as plain numbers, words and lists, for JSON."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def draw_sensor(rng: np.random.Generator, kind: str = "mixed", *, face: float | None = None) -> Sensor:
    """Draw a camera.

    Args:
        rng: the source of chance.
        kind: one of `KINDS`, or "mixed".
        face: height of the face in the picture, brow to chin, pixels. The camera then samples it with
            at least `LEAST_FACE` rows (or all rows that there are). Unknown: about half a picture of 160 rows.

    Raises:
        UsageError: there is no such kind.
    """
    if kind == "mixed":
        kind = KINDS[rng.choice(len(KINDS), p=_MIX)]
    if kind not in KINDS:
        raise UsageError(f"unknown camera {kind!r}: choose from {', '.join(KINDS)} or mixed")
    least = min(LEAST_FACE / (face or 80.0), 1.0)

    def between(low: float, high: float) -> float:
        return round(float(rng.uniform(low, high)), 4)

    def about(middle: float, spread: float) -> float:
        return round(float(np.clip(rng.normal(middle, spread), middle - 2.5 * spread, middle + 2.5 * spread)), 4)

    def many(low: float, high: float) -> float:
        return round(float(np.exp(rng.uniform(np.log(low), np.log(high)))), 1)

    def sampled(low: float, high: float) -> float:
        return between(max(low, least), max(high, least))

    def moving(chance: float, longest: float) -> tuple[float, float]:
        angle, length = between(0, np.pi), between(1.0, longest)
        return (angle, length) if rng.random() < chance else (0.0, 0.0)

    def cast(spread: float) -> tuple[float, float, float]:
        # White balance errs along the daylight line: red against blue, green less.
        warm, green = about(0, spread), about(0, spread / 3)
        return round(1 + warm, 4), round(1 + green, 4), round(1 - warm, 4)

    def levels(chance: float) -> int:
        few = int(rng.integers(24, 80))
        return few if rng.random() < chance else 256

    def encoded(jpeg: float, low: int, high: int) -> dict[str, Any]:
        return {"codec": "jpeg" if rng.random() < jpeg else "video", "quality": int(rng.integers(low, high + 1))}

    grown = ("linear", "cubic")[int(rng.integers(2))]
    if kind == "clean":
        return Sensor(kind, defocus=between(0, 0.4), exposure=about(0, 0.08), white=cast(0.012),
                      photons=many(5000, 40000), read=between(2, 4), sharpen=between(0, 0.2), **encoded(1.0, 88, 95))
    if kind == "phone":
        return Sensor(kind, sampled(0.7, 1.0), grown, defocus=between(0, 0.6), motion=moving(0.15, 3),
                      vignette=between(0, 0.15), metering=between(0.4, 0.9), exposure=about(0, 0.2),
                      balancing=between(0.1, 0.6), white=cast(0.03), photons=many(1000, 10000), read=between(2, 5),
                      mosaic=True, denoise=between(1, 6), sharpen=between(0.3, 1.2), contrast=between(1.0, 1.15),
                      saturation=between(0.95, 1.25), **encoded(0.8, 65, 95))
    if kind == "webcam":
        return Sensor(kind, sampled(0.5, 1.0), grown, defocus=between(0.2, 0.9), motion=moving(0.3, 5),
                      vignette=between(0, 0.35), metering=between(0.3, 0.9), exposure=about(0, 0.35),
                      balancing=between(0, 0.8), white=cast(0.06), photons=many(500, 6000), read=between(2, 5),
                      mosaic=True, denoise=between(1, 9), sharpen=between(0.2, 1.2), gamma=between(0.85, 1.2),
                      contrast=between(0.9, 1.2), saturation=between(0.6, 1.25), levels=levels(0.08),
                      **encoded(0.5, 35, 92))
    if kind == "call":
        return Sensor(kind, sampled(0.3, 0.7), grown, defocus=between(0.2, 0.7), motion=moving(0.3, 4),
                      vignette=between(0, 0.3), metering=between(0.4, 0.9), exposure=about(0, 0.3),
                      balancing=between(0, 0.8), white=cast(0.05), photons=many(500, 6000), read=between(2, 5),
                      mosaic=True, denoise=between(2, 10), sharpen=between(0.2, 0.9), contrast=between(0.9, 1.15),
                      saturation=between(0.7, 1.2), levels=levels(0.15), **encoded(0.0, 20, 70))
    if kind == "dim":
        return Sensor(kind, sampled(0.5, 1.0), grown, defocus=between(0.2, 0.8), motion=moving(0.5, 5),
                      vignette=between(0.1, 0.4), metering=between(0.4, 0.9), exposure=about(-0.6, 0.4),
                      balancing=between(0, 0.6), white=cast(0.09), photons=many(60, 600), read=between(1.5, 4),
                      mosaic=True, denoise=between(3, 14), sharpen=between(0, 0.8), gamma=between(0.9, 1.2),
                      contrast=between(0.85, 1.15), saturation=between(0.4, 1.1), levels=levels(0.2),
                      **encoded(0.4, 30, 88))
    return Sensor(kind, between(least, min(1.4 * least, 1.0)), grown, defocus=between(0.2, 0.7), motion=moving(0.2, 3),
                  metering=between(0.3, 0.9), exposure=about(0, 0.3), balancing=between(0, 0.7), white=cast(0.05),
                  photons=many(500, 6000), read=between(2, 5), mosaic=rng.random() < 0.5, denoise=between(0, 5),
                  sharpen=between(0, 1.0), contrast=between(0.85, 1.15), saturation=between(0.7, 1.2),
                  **encoded(0.5, 35, 90))


def sense(image: np.ndarray, sensor: Sensor, rng: np.random.Generator) -> np.ndarray:
    """The picture that a camera makes of another.

    Args:
        image: uint8 [H, W, 3], RGB; not changed.
        sensor: the camera.
        rng: the source of noise; the same state gives the same bytes.

    Returns:
        uint8 [H, W, 3], RGB, of the same size. Pixel centres stay where they were.
    """
    height, width = image.shape[:2]
    out = expose(image, sensor, rng)
    out = _finish(out, sensor)
    if sensor.codec == "jpeg":
        out = through_jpeg(out, sensor.quality)
    elif sensor.codec == "video":
        out = through_video(out, sensor.quality)
    if out.shape[:2] != (height, width):
        way = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC, "nearest": cv2.INTER_NEAREST}[sensor.enlarge]
        out = cv2.resize(out, (width, height), interpolation=way)
    return out.copy() if out is image else out


def _finish(image: np.ndarray, s: Sensor) -> np.ndarray:
    """Denoising, sharpening, saturation and bands, on brightness and colour apart."""
    if not (s.denoise or s.sharpen or s.saturation != 1 or s.levels < 256):
        return image
    planes = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)
    bright, red, blue = cv2.split(planes)
    if s.denoise:
        colour = (0.3 + 0.12 * s.denoise,) * 2
        red, blue = (cv2.GaussianBlur(plane, (0, 0), *colour) for plane in (red, blue))
    if s.denoise or s.sharpen:
        level = bright.astype(np.float32)
        if s.denoise:
            level = _smooth(level, s.denoise)
        if s.sharpen:
            level = cv2.addWeighted(level, 1 + s.sharpen, cv2.GaussianBlur(level, (5, 5), 1.0), -s.sharpen, 0)
        bright = cv2.convertScaleAbs(np.maximum(level, 0, out=level))
    if s.levels < 256:
        bright = cv2.LUT(bright, _band_table(s.levels))
    if s.saturation != 1:
        red, blue = (cv2.addWeighted(plane, s.saturation, plane, 0, 128 * (1 - s.saturation)) for plane in (red, blue))
    return cv2.cvtColor(cv2.merge((bright, red, blue)), cv2.COLOR_YCrCb2RGB)


def _smooth(level: np.ndarray, noise: float) -> np.ndarray:
    """Keep what stands out from the noise and flatten the rest (Lee, 1980): skin turns waxy, edges stay."""
    mean = cv2.boxFilter(level, -1, (5, 5))
    spread = cv2.boxFilter(level * level, -1, (5, 5)) - mean * mean
    keep = np.maximum(spread - noise * noise, 0)
    keep /= np.maximum(spread, 1e-3)
    level -= mean
    level *= keep
    level += mean
    return level


@lru_cache(maxsize=64)
def _band_table(levels: int) -> np.ndarray:
    step = 255 / (levels - 1)
    return np.clip(np.round(np.arange(256) / step) * step + 0.5, 0, 255).astype(np.uint8)
