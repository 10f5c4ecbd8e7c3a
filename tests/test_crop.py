"""Warps: exact on similarities, insensitive to expressions, true to the picture when shrinking."""

import cv2
import numpy as np
import pytest

from rtau.crop import RIGID, TEMPLATE, align, apply, invert, region_matrix, similarity, warp
from rtau.landmarks import region_of_box, region_of_points


def face_points(rng: np.random.Generator) -> np.ndarray:
    points = rng.uniform(100, 200, (68, 2))
    points[list(RIGID)] = TEMPLATE * 100 + 100
    return points


def test_similarity_undoes_any_turn_scale_and_shift():
    rng = np.random.default_rng(0)
    points = face_points(rng)
    turn, scale, shift = 0.4, 2.3, np.array([31.0, -12.0])
    rotation = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved = points @ rotation.T + shift
    matrix = similarity(moved[None], 112)[0]
    assert np.allclose(apply(matrix, moved[list(RIGID)]), TEMPLATE * 112 - 0.5, atol=1e-3)


def test_a_smile_and_a_dropped_jaw_do_not_move_the_crop():
    points = face_points(np.random.default_rng(1))
    expressive = points.copy()
    expressive[48:68, 1] += 25
    expressive[0:17, 1] += 40
    expressive[17:27, 1] -= 12
    assert np.array_equal(similarity(points[None], 112), similarity(expressive[None], 112))


def test_invert_and_apply_are_inverse():
    matrix = similarity(face_points(np.random.default_rng(2))[None], 160)[0]
    points = np.random.default_rng(3).uniform(0, 300, (10, 2))
    assert np.allclose(apply(invert(matrix), apply(matrix, points)), points, atol=1e-6)


@pytest.mark.parametrize("roll", [-0.6, 0.0, 0.9])
def test_region_crop_shows_the_region_upright(roll):
    centre, side = np.array([200.0, 150.0]), 80.0
    matrix = region_matrix(np.array([*centre, side, roll]), 112)
    assert np.allclose(apply(matrix, centre), 55.5)
    along = np.array([np.cos(roll), np.sin(roll)])  # the face's own horizontal
    right = apply(matrix, centre + along * side / 2)
    assert np.allclose(right, [55.5 + 56, 55.5], atol=1e-6)


def test_region_of_points_reads_the_roll():
    points = np.random.default_rng(4).uniform(0, 100, (68, 2))
    points[36:42], points[42:48] = [30, 40], [70, 60]
    assert region_of_points(points)[3] == pytest.approx(np.arctan2(20, 40))


def test_region_of_box_lies_below_the_hairline():
    x, y, side, roll = region_of_box(np.array([100, 100, 200, 230], np.float32))
    assert x == 150 and roll == 0 and side > 130
    assert y > 165  # the box's middle


def test_large_faces_are_averaged_down_not_aliased():
    # Stripes one pixel wide: sampling every tenth pixel would give black or white, averaging gives grey.
    image = np.zeros((1200, 1200, 3), np.uint8)
    image[:, ::2] = 255
    crop = warp(image, region_matrix(np.array([600, 600, 1120.0, 0]), 112), 112)
    assert 110 < crop[20:-20, 20:-20].mean() < 145 and crop[20:-20, 20:-20].std() < 25


def test_shrinking_keeps_places():
    image = np.zeros((1000, 1000, 3), np.uint8)
    cv2.circle(image, (640, 420), 30, (255, 255, 255), -1)
    matrix = region_matrix(np.array([500, 500, 900.0, 0.3]), 112)
    crop = warp(image, matrix, 112).astype(float).mean(2)
    y, x = np.mgrid[0:112, 0:112]
    middle = np.array([(crop * x).sum(), (crop * y).sum()]) / crop.sum()
    assert np.allclose(middle, apply(matrix, np.array([640.0, 420.0])), atol=0.15)


def test_align_gives_one_crop_a_face_and_none_for_none():
    image = np.full((240, 320, 3), 90, np.uint8)
    points = np.stack([face_points(np.random.default_rng(5)), face_points(np.random.default_rng(6)) * 0.5])
    assert align(image, points, 112).shape == (2, 112, 112, 3)
    assert align(image, points[:0], 112).shape == (0, 112, 112, 3)


def test_points_that_coincide_do_not_crash():
    image = np.full((50, 50, 3), 90, np.uint8)
    assert align(image, np.full((1, 68, 2), 25.0), 112).shape == (1, 112, 112, 3)


def test_points_that_are_no_numbers_are_refused_at_once():
    points = np.full((1, 68, 2), np.nan)
    with pytest.raises(ValueError, match="not finite"):
        align(np.zeros((40, 40, 3), np.uint8), points, 32)
