"""Cameras: each does what it says, moves nothing, and gives the same bytes for the same chance."""

import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtau.errors import UsageError
from rtau_train.puppet.codec import through_video
from rtau_train.puppet.sensor import KINDS, LEAST_FACE, Sensor, draw_sensor, sense


def scene(seed: int = 0, height: int = 96, width: int = 96) -> np.ndarray:
    """Soft blobs with some detail, as a picture has."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.uniform(20, 235, (6, 6, 3)).astype(np.float32), (width, height),
                        interpolation=cv2.INTER_CUBIC)
    return np.clip(coarse + rng.normal(0, 4, (height, width, 1)), 0, 255).astype(np.uint8)


def grey(level: int, side: int = 128) -> np.ndarray:
    return np.full((side, side, 3), level, np.uint8)


def take(image, **faults):
    return sense(image, Sensor(**faults), np.random.default_rng(1))


def linear(image):
    v = image / 255
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from((*KINDS, "mixed")), st.integers(40, 200), st.integers(40, 200))
def test_any_camera_keeps_the_size_and_repeats_itself(seed, kind, height, width):
    image = scene(seed, height, width)
    before = image.copy()
    camera = draw_sensor(np.random.default_rng(seed), kind, face=0.5 * height)
    assert camera == draw_sensor(np.random.default_rng(seed), kind, face=0.5 * height)
    out = sense(image, camera, np.random.default_rng(seed))
    assert out.shape == image.shape and out.dtype == np.uint8 and out.flags.c_contiguous
    assert np.array_equal(out, sense(image, camera, np.random.default_rng(seed)))
    assert np.array_equal(image, before)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(KINDS), st.floats(20, 300))
def test_drawn_cameras_are_possible_and_json(seed, kind, face):
    camera = draw_sensor(np.random.default_rng(seed), kind, face=face)
    assert 0 < camera.scale <= 1 and camera.scale * face >= min(LEAST_FACE, face) - 0.02
    assert 20 <= camera.quality <= 95 and 2 <= camera.levels <= 256 and camera.photons > 0
    assert camera.kind == kind
    told = json.loads(json.dumps(camera.as_dict()))
    assert Sensor(**{k: tuple(v) if isinstance(v, list) else v for k, v in told.items()}) == camera


def test_small_faces_are_drawn_too():
    rows = [draw_sensor(np.random.default_rng(seed), "far", face=90).scale * 90 for seed in range(200)]
    assert min(rows) < 44 and min(rows) >= LEAST_FACE - 0.01


def test_unknown_cameras_are_refused():
    with pytest.raises(UsageError, match="unknown camera 'toaster': choose from clean"):
        draw_sensor(np.random.default_rng(0), "toaster")


def test_a_perfect_camera_changes_nothing_and_gives_a_copy():
    image = scene()
    out = take(image)
    assert np.array_equal(out, image) and out is not image


def test_linear_light_there_and_back_is_exact():
    ramp = np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (16, 1, 3))
    assert np.array_equal(take(ramp, exposure=1e-9), ramp)


@pytest.mark.parametrize("faults", [
    {"scale": 0.5}, {"scale": 0.3, "enlarge": "cubic"}, {"defocus": 1.5}, {"motion": (0.7, 6.0)},
    {"motion": (2.0, 3.3)},
    {"photons": 20000.0, "mosaic": True}, {"denoise": 8.0}, {"sharpen": 1.0}, {"codec": "jpeg", "quality": 60},
    {"codec": "video", "quality": 60}, {"saturation": 0.5}])
def test_nothing_moves(faults):
    """The middle of a bright spot stays where it is: labels hold for the picture that was taken."""
    y, x = np.mgrid[0:97, 0:97]
    spot = 20 + 200 * np.exp(-((x - 50.3) ** 2 + (y - 44.6) ** 2) / (2 * 6.0 ** 2))
    weight = take(np.repeat(np.round(spot).astype(np.uint8)[..., None], 3, 2), **faults)[..., 1].astype(float)
    weight = np.maximum(weight - 30, 0)
    where = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
    assert where == pytest.approx([50.3, 44.6], abs=0.15)


def test_noise_follows_the_photons():
    """Photon noise grows as the root of the light: variance over mean is one electron."""
    for photons, level in ((400.0, 90), (400.0, 200), (3000.0, 90)):
        light = linear(take(grey(level), photons=photons)) * photons
        assert light.mean() == pytest.approx(linear(np.array(level)) * photons, rel=0.03)
        assert light.var() / light.mean() == pytest.approx(1, abs=0.15)


def test_read_noise_shows_in_the_dark():
    quiet, loud = (take(grey(40), photons=2000.0, read=read).std() for read in (0.0, 12.0))
    assert loud > 1.6 * quiet


def test_a_mosaic_makes_noise_that_neighbours_share():
    def likeness(image):
        colour = image[..., 0].astype(float) - image[..., 1]
        return np.corrcoef(colour[:, :-1].ravel(), colour[:, 1:].ravel())[0, 1]

    assert abs(likeness(take(grey(110), photons=300.0))) < 0.05
    assert likeness(take(grey(110), photons=300.0, mosaic=True)) > 0.25


def test_a_mosaic_keeps_colours():
    colour = np.tile(np.uint8([200, 120, 40]), (64, 64, 1))
    out = take(colour, photons=1e7, mosaic=True)
    assert np.abs(out.reshape(-1, 3).mean(0) - [200, 120, 40]).max() < 1


def test_metering_brings_dark_scenes_up_with_noise():
    dark = take(grey(40), photons=500.0, read=3.0)
    metered = take(grey(40), photons=500.0, read=3.0, metering=1.0)
    assert metered.mean() > 2 * dark.mean() and metered.std() > 1.5 * dark.std()


def test_an_exposure_error_is_in_stops():
    assert linear(take(grey(120), exposure=1.0)).mean() == pytest.approx(2 * linear(np.array(120)), rel=0.02)


def test_balancing_takes_a_cast_away_and_white_adds_one():
    warm = np.tile(np.uint8([190, 150, 110]), (32, 32, 1))
    assert np.ptp(take(warm, balancing=1.0).mean((0, 1))) < 3
    red, _, blue = take(grey(128), white=(1.1, 1.0, 0.9)).mean((0, 1))
    assert red > blue + 10


def test_vignetting_darkens_the_corners():
    out = take(grey(180), vignette=0.4)
    assert linear(out)[0, 0, 0] / linear(out)[64, 64, 0] == pytest.approx(0.6, abs=0.02)


def test_motion_smears_along_its_direction_only():
    stripes = np.tile(np.uint8([40, 40, 210, 210])[:, None, None], (24, 96, 3))
    assert take(stripes, motion=(0.0, 6.0))[8:-8].std() > 0.95 * stripes.std()  # along the stripes
    assert take(stripes, motion=(np.pi / 2, 6.0))[8:-8].std() < 0.5 * stripes.std()


def test_blur_mixes_light_not_bytes():
    half = grey(0)
    half[:, 64:] = 255
    assert linear(take(half, defocus=2.0)).mean() == pytest.approx(0.5, abs=0.01)


def test_denoising_flattens_noise_and_keeps_edges():
    half = grey(70)
    half[:, 64:] = 180
    noisy = take(half, photons=600.0, mosaic=True)
    clean = take(half, photons=600.0, mosaic=True, denoise=12.0)
    assert clean[8:-8, 8:56].std() < 0.6 * noisy[8:-8, 8:56].std()
    assert clean[:, 68:72].mean() - clean[:, 56:60].mean() > 100


def test_sharpening_draws_a_halo():
    half = grey(70)
    half[:, 64:] = 180
    out = take(half, sharpen=1.0)[..., 1]
    assert out[:, 64].mean() > 190 and out[:, 63].mean() < 60 and out[0, 5] == 70


def test_saturation_contrast_gamma():
    colour = np.tile(np.uint8([180, 120, 90]), (16, 16, 1))
    assert np.ptp(take(colour, saturation=0.0)[8, 8].astype(int)) <= 2
    assert take(grey(180), contrast=1.2).mean() > 185 and take(grey(70), contrast=1.2).mean() < 65
    assert take(grey(100), gamma=1.3).mean() < 90


def test_few_levels_make_bands():
    ramp = np.repeat(np.tile(np.arange(256, dtype=np.uint8)[None], (16, 1))[..., None], 3, 2)
    assert len(np.unique(take(ramp, levels=24)[..., 1])) == 24


@pytest.mark.parametrize("codec", ["jpeg", "video"])
def test_lower_quality_loses_more(codec):
    image = scene(3)
    errors = [np.abs(take(image, codec=codec, quality=q).astype(int) - image).mean() for q in (92, 60, 25)]
    assert errors[0] < errors[1] < errors[2] and errors[0] < 4


def test_codecs_halve_the_colour_and_keep_grey():
    fine = grey(128)
    fine[:, ::2] = (200, 80, 128)
    for codec in ("jpeg", "video"):
        assert np.abs(np.diff(take(fine, codec=codec, quality=95)[..., 0].astype(int), axis=1)).mean() < 60
        assert np.abs(take(grey(90), codec=codec, quality=30).astype(int) - 90).max() <= 16


def test_video_smooths_block_edges():
    """At starvation rates a gentle slope would be a staircase; deblocking leaves no large step at block edges."""
    slope = np.repeat(np.tile(np.linspace(90, 130, 128).astype(np.uint8)[None], (64, 1))[..., None], 3, 2)
    out = through_video(slope, 25)[..., 1].astype(int)
    assert np.abs(np.diff(out, axis=1)).max() <= 12 and np.abs(out - slope[..., 1]).max() <= 20


def test_large_pictures_have_noise_of_their_own():
    out = take(grey(128, 600), photons=300.0)
    assert out.shape == (600, 600, 3) and 5 < out.std() < 40
