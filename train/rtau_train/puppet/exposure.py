"""Lens, sensor and tone curve of a camera: everything that happens in linear light."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from .sensor import Sensor

_LEVELS = 8192  # steps of linear light that the tone curve tells apart
_GREY = 0.22  # mean linear light of the middle that automatic exposure aims at


def expose(image: np.ndarray, s: Sensor, rng: np.random.Generator) -> np.ndarray:
    """From the scene (RGB bytes) to the bytes of the tone curve, at the sampled size; the picture itself if `s`
    changes nothing here."""
    metered = s.metering or s.balancing or s.exposure or s.white != (1.0, 1.0, 1.0)
    blurred = s.scale < 1 or s.defocus or s.motion[1]
    toned = s.gamma != 1 or s.contrast != 1
    if not (metered or blurred or toned or s.vignette or s.photons):
        return image
    light = cv2.LUT(image, _linear_table())
    if s.scale < 1:
        height, width = image.shape[:2]
        small = (max(round(width * s.scale), 8), max(round(height * s.scale), 8))
        light = cv2.resize(light, small, interpolation=cv2.INTER_AREA)
    if s.defocus > 0.05:  # narrower than this the kernel is a single pixel
        light = cv2.GaussianBlur(light, (0, 0), s.defocus)
    if s.motion[1]:
        light = cv2.filter2D(light, -1, streak(*s.motion), borderType=cv2.BORDER_REPLICATE)
    if s.vignette:
        light *= (1 - s.vignette * _off_axis(light.shape[0], light.shape[1]))[..., None]
    gain = _gain(light, s) if metered else np.ones(3, np.float32)
    if s.photons:
        light = _count(light, gain, s, rng)
    elif metered:
        light *= gain
    light *= _LEVELS - 1
    light += 0.5
    np.clip(light, 0, _LEVELS - 1, out=light)
    return np.take(_tone_table(s.gamma, s.contrast), light.astype(np.uint16))


def _gain(light: np.ndarray, s: Sensor) -> np.ndarray:
    """What automatic exposure and white balance multiply R, G and B with; float32 [3]."""
    height, width = light.shape[:2]
    mean = np.array(cv2.mean(light)[:3]) + 1e-4
    balance = np.clip(mean.mean() / mean, 0.5, 2.0) ** s.balancing * np.array(s.white)
    middle = light[height // 4:height - height // 4, width // 4:width - width // 4]  # where faces are expected
    brightness = 0.75 * np.mean(cv2.mean(middle)[:3]) + 0.25 * mean.mean()
    level = np.clip(_GREY / max(brightness, 1e-3), 0.4, 6.0) ** s.metering * 2.0 ** s.exposure
    return (level * balance).astype(np.float32)


def _count(light: np.ndarray, gain: np.ndarray, s: Sensor, rng: np.random.Generator) -> np.ndarray:
    """Electrons with their chance, then the camera's gain: dark scenes come out bright and noisy."""
    if s.mosaic:
        scene = _mosaic(light)
        gains = _mosaic_gain(gain, *scene.shape)
    else:
        scene, gains = light, gain
    # Poisson and read noise in one draw: the square of a Gaussian about the square root has the Poisson's
    # variance and its lean to the right, and is never far below zero. Exact to 1/8 electron.
    offset = s.read ** 2
    electrons = cv2.sqrt(scene * s.photons + offset)
    electrons += _half_normal(scene.shape, rng)
    electrons *= electrons
    electrons -= offset + 0.25
    electrons *= gains * (1 / s.photons)
    if not s.mosaic:
        return electrons
    np.clip(electrons, 0, 1, out=electrons)
    raw = (electrons * 65535).astype(np.uint16)
    return cv2.cvtColor(raw, cv2.COLOR_BayerRGGB2RGB).astype(np.float32) * np.float32(1 / 65535)


def _half_normal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise of spread 1/2, cut at a drawn place from one long strip: eight times as fast as drawing it."""
    strip = _noise_strip()
    size = int(np.prod(shape))
    if size > len(strip) // 2:
        return 0.5 * rng.standard_normal(shape, dtype=np.float32)
    start = int(rng.integers(len(strip) - size))
    return strip[start:start + size].reshape(shape)


@lru_cache(maxsize=1)
def _noise_strip() -> np.ndarray:
    return 0.5 * np.random.default_rng(0).standard_normal(1 << 20, dtype=np.float32)


def _mosaic(light: np.ndarray) -> np.ndarray:
    """One colour per pixel (R G / G B); float32 [h, w]."""
    raw = light[..., 1].copy()
    raw[0::2, 0::2] = light[0::2, 0::2, 0]
    raw[1::2, 1::2] = light[1::2, 1::2, 2]
    return raw


def _mosaic_gain(gain: np.ndarray, height: int, width: int) -> np.ndarray:
    field = np.full((height, width), gain[1], np.float32)
    field[0::2, 0::2] = gain[0]
    field[1::2, 1::2] = gain[2]
    return field


def streak(angle: float, length: float) -> np.ndarray:
    """Kernel of a straight motion, float32 [K, K] with sum 1; K odd, so that nothing shifts."""
    reach = int(np.ceil(length / 2)) + 1
    steps = np.linspace(-length / 2, length / 2, 8 * reach + 1)
    # Each moment of the motion falls on four pixels.
    x, y = steps * np.cos(angle) + reach, steps * np.sin(angle) + reach
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = x - left, y - top
    kernel = np.zeros((2 * reach + 2, 2 * reach + 2))
    for dx, dy, weight in ((0, 0, (1 - fx) * (1 - fy)), (1, 0, fx * (1 - fy)), (0, 1, (1 - fx) * fy), (1, 1, fx * fy)):
        np.add.at(kernel, (top + dy, left + dx), weight)
    kernel = kernel[:-1, :-1]
    return (kernel / kernel.sum()).astype(np.float32)


@lru_cache(maxsize=1)
def _linear_table() -> np.ndarray:
    """sRGB bytes to linear light 0..1; float32 [1, 256]."""
    v = np.arange(256) / 255
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4).astype(np.float32)[None]


@lru_cache(maxsize=1)
def _srgb_curve() -> np.ndarray:
    v = np.linspace(0, 1, _LEVELS)
    return np.where(v <= 0.0031308, 12.92 * v, 1.055 * v ** (1 / 2.4) - 0.055).astype(np.float32)


def _tone_table(gamma: float, contrast: float) -> np.ndarray:
    """Linear light in `_LEVELS` steps to the shown byte; uint8 [_LEVELS]."""
    curve = _srgb_curve() if gamma == 1 else _srgb_curve() ** np.float32(gamma)
    if contrast != 1:
        curve = (curve - 0.5) * contrast + 0.5
    return np.clip(curve * 255 + 0.5, 0, 255).astype(np.uint8)


@lru_cache(maxsize=64)
def _off_axis(height: int, width: int) -> np.ndarray:
    """Squared distance from the middle, 1 in the corners; float32 [h, w]."""
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    return ((x * x + y * y) / 2).astype(np.float32)
