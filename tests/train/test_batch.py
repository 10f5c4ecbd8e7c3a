"""The renderer in torch against the compiled one: the same pictures, the same truth."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rtau.errors import UsageError
from rtau_train.puppet import light, raster
from rtau_train.puppet.batch import light as batch_light
from rtau_train.puppet.batch.raster import FAR, Atlas, rasterise, vertex_normals
from rtau_train.puppet.batch.render import BatchRenderer
from rtau_train.puppet.cast import Cast
from rtau_train.puppet.rig import load_rig
from rtau_train.puppet.scene import Lamp, Light
from rtau_train.puppet.studio import Order

#: Scenes of this seed hold, between them, props, lamps, changed skin and closed eyes.
SEED, COUNT = 5, 10


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_triangles_come_out_as_from_the_compiled_kernels(seed, cull):
    rng = np.random.default_rng(seed)
    pictures = [(rng.uniform(-4, 24, (12, 3)).astype(np.float32),
                 rng.permutation(12).reshape(4, 3)) for _ in range(3)]  # no corner twice: nothing is equally near
    placed = torch.tensor(np.concatenate([p for p, _ in pictures]))
    triangles = torch.tensor(np.concatenate([t + 12 * i for i, (_, t) in enumerate(pictures)]))
    depth, which, weights = rasterise(placed, triangles, torch.arange(3).repeat_interleave(4), 3, 18, 20, cull=cull)
    for i, (place, mesh) in enumerate(pictures):
        wanted, wanted_which, wanted_weights = raster.rasterise(place, mesh.astype(np.int32), 18, 20, cull=cull)
        # A pixel on an edge, along a sliver, or where two triangles cross, may go either way.
        same = which[i].numpy() == np.where(wanted_which < 0, -1, wanted_which + 4 * i)
        assert same.mean() > 0.98
        drawn = same & (wanted_which >= 0)
        assert np.abs(depth[i].numpy() - wanted)[drawn].max(initial=0) < 0.01
        assert np.abs(weights[i].numpy() - wanted_weights)[drawn].max(initial=0) < 0.01
        assert (depth[i].numpy()[same & (wanted_which < 0)] == FAR).all()


def test_of_equally_near_triangles_the_first_wins_in_any_order_of_work():
    corners = torch.tensor([[0.0, 0, 1], [9, 0, 1], [0, 9, 1]])
    which = rasterise(corners, torch.tensor([[0, 1, 2]] * 5), torch.zeros(5, dtype=torch.int64), 1, 9, 9)[1]
    assert set(which.unique().tolist()) == {-1, 0}


def test_an_atlas_samples_each_picture_like_the_kernels_do():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (h, w, 3)).astype(np.uint8) for h, w in ((5, 7), (16, 4), (2, 2))]
    atlas = Atlas([torch.tensor(i) for i in images])
    picture, x, y = torch.tensor([0, 1, 2, 0]), torch.tensor([2.25, 3.5, -4.0, 99.0]), torch.tensor([1.5, 7.0, 0.5, 2.0])
    found = atlas.sample(picture, x, y).numpy()
    image = images[0].astype(float)
    by_hand = 0.5 * (0.75 * image[1, 2] + 0.25 * image[1, 3]) + 0.5 * (0.75 * image[2, 2] + 0.25 * image[2, 3])
    assert np.allclose(found[0], by_hand, atol=1e-3)
    assert np.allclose(found[1], images[1][7, 3], atol=0.5)  # drawn to the edge
    assert np.allclose(found[2], images[2][:, 0].mean(0), atol=0.5)
    assert np.allclose(found[3], images[0][2, 6], atol=0.5)


def test_normals_and_light_are_those_of_the_compiled_kernels():
    rng = np.random.default_rng(1)
    vertices, triangles = rng.normal(size=(2, 30, 3)).astype(np.float32), rng.integers(0, 30, (50, 3)).astype(np.int32)
    normals = vertex_normals(torch.tensor(vertices), torch.tensor(triangles).long())
    rotation = torch.linalg.qr(torch.tensor(rng.normal(size=(2, 3, 3)).astype(np.float32)))[0]
    lights = [Light(0.4, (Lamp(40, 20, 0.7, (1.2, 1.0, 0.8)), Lamp(-80, 5, 0.3)), 0.9, (1.0, 0.95, 1.02)),
              Light(exposure=1.1)]
    lit = torch.tensor(rng.uniform(size=(2, 2, 30)).astype(np.float32))
    found = batch_light.relight(normals, rotation, lights, lit)
    for i in range(2):
        own = raster.vertex_normals(vertices[i], triangles)
        assert np.allclose(normals[i], own, atol=1e-4)
        wanted = light.relight(own, rotation[i].numpy(), lights[i], lit[i, :len(lights[i].lamps)].numpy())
        assert np.allclose(found[i], wanted, atol=1e-3)


@pytest.fixture(scope="module")
def order(shared, tmp_path_factory) -> Order:
    cast = Cast(shared / "faces", shared / "ict_facekit", tmp_path_factory.mktemp("puppets"))
    return Order(cast, ("001", "099", "116m"), size=96, seed=SEED, strangers=0.5)


@pytest.fixture(scope="module")
def drawn(order):
    """Shots of the compiled renderer, and the batch of the other, of the same scenes."""
    studio = order()
    plans = [studio._plan(index) for index in range(COUNT)]
    shots = [studio.renderer.render(puppet, scene, size=(96, 96)) for _, puppet, scene in plans]
    batch = BatchRenderer(studio.rig, "cpu", most=4).render([p for _, p, _ in plans], [s for _, _, s in plans],
                                                            size=(96, 96))
    return plans, shots, batch


def test_pictures_of_both_renderers_differ_by_rounding_only(drawn):
    plans, shots, batch = drawn
    seen = {prop.name for _, _, scene in plans for prop in scene.props}
    assert len(seen) >= 2 and any(scene.light.lamps for _, _, scene in plans)
    assert any(scene.skin.gain is not None for _, _, scene in plans) and batch.images.dtype == torch.uint8
    assert {bool(scene.identity) for _, _, scene in plans} == {True, False}
    for row, shot in enumerate(shots):
        apart = np.abs(shot.image.astype(int) - batch.shot(row).image)
        assert apart.mean() < 0.05 and (apart.max(2) > 8).mean() < 0.002, row


def test_the_truth_of_both_renderers_is_the_same(drawn):
    _, shots, batch = drawn
    for shot, other in zip(shots, batch.shots, strict=True):
        assert np.abs(shot.points - other.points).max() < 0.02 and np.abs(shot.gaze - other.gaze).max() < 1e-3
        assert np.abs(shot.lid_gap - other.lid_gap).max() < 2e-3 and abs(shot.lip_gap - other.lip_gap) < 0.01
        assert all(abs(share - other.visibility[part]) < 0.05 for part, share in shot.visibility.items())
        assert {k: round(v, 2) for k, v in shot.covered_by.items()} \
            == {k: round(v, 2) for k, v in other.covered_by.items()}


def test_a_studio_on_a_device_makes_the_same_samples_in_other_runs(order):
    studio = dataclasses.replace(order, device="torch:cpu")()
    together = list(studio(range(3)))
    again = [sample for start in range(3) for sample in studio(range(start, start + 1))]
    for (image, labels), (other, same) in zip(together, again, strict=True):
        # A camera's automatic exposure and codec may turn a rounding into a step.
        assert np.abs(image.astype(int) - other).mean() < 0.2
        assert labels["aus"] == same["aus"] and np.allclose(labels["points"], same["points"], atol=0.02)


def test_a_device_that_is_not_here_is_refused(order):
    with pytest.raises(UsageError, match="'tpu:x' is no device"):
        dataclasses.replace(order, device="tpu:x")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="no NVIDIA GPU"):
            dataclasses.replace(order, device="cuda")


@pytest.mark.cuda
def test_a_gpu_draws_what_the_cpu_draws(order, drawn):
    plans, shots, _ = drawn
    batch = BatchRenderer(load_rig(order.cast.rig), "cuda").render([p for _, p, _ in plans], [s for _, _, s in plans],
                                                                       size=(96, 96))
    for row, shot in enumerate(shots):
        apart = np.abs(shot.image.astype(int) - batch.shot(row).image)
        assert apart.mean() < 0.1 and (apart.max(2) > 8).mean() < 0.005, row
