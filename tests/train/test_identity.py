"""Strangers: one portrait, many faces; who somebody is changes no label."""

from dataclasses import replace

import numpy as np
import pytest

from rtau_train.puppet.cast import Cast, even_tones
from rtau_train.puppet.identity import Identity, draw_identity
from rtau_train.puppet.record import record
from rtau_train.puppet.render import Renderer
from rtau_train.puppet.rig import load_rig
from rtau_train.puppet.sample import AUS
from rtau_train.puppet.scene import Performance, Scene
from rtau_train.puppet.studio import Order

STILL = Performance(np.zeros((len(AUS), 2), np.float32), {})


@pytest.fixture(scope="module")
def rig(shared):
    return load_rig(shared / "ict_facekit")


@pytest.fixture(scope="module")
def cast(shared, tmp_path_factory) -> Cast:
    return Cast(shared / "faces", shared / "ict_facekit", tmp_path_factory.mktemp("puppets"))


@pytest.fixture(scope="module")
def puppet(cast, rig):
    return cast.puppet("001", rig)


def test_nobody_else_moves_nothing(rig):
    assert not Identity() and not Identity().motion(rig).any()


def test_strangers_differ_from_the_portrait_and_from_each_other_by_millimetres(rig):
    marks = rig.stage.landmarks
    moved = [draw_identity(np.random.default_rng(seed), rig).motion(rig)[marks] for seed in range(20)]
    # Where the head is as a whole doesn't make a face.
    apart = [np.linalg.norm(m - m.mean(0), axis=1).mean() * 10 for m in moved]
    assert 0.8 < min(apart) and max(apart) < 8 and np.linalg.norm(moved[0] - moved[1], axis=1).mean() > 0.05
    again = draw_identity(np.random.default_rng(3), rig)
    assert again == draw_identity(np.random.default_rng(3), rig) and again != draw_identity(np.random.default_rng(4), rig)


def test_a_face_that_is_somebody_else_at_rest_shows_no_au(rig, puppet):
    renderer = Renderer(rig)
    plain = renderer.render(puppet, Scene(STILL), size=(96, 96))
    for seed in range(4):
        scene = Scene(STILL, identity=draw_identity(np.random.default_rng(seed), rig))
        shot = renderer.render(puppet, scene, size=(96, 96))
        assert np.linalg.norm(shot.points - plain.points, axis=1).max() > 0.4, "another face"
        assert shot.lip_gap == 0 and shot.lid_gap == pytest.approx([1, 1], abs=1e-4)
        units = record(index=0, seed=0, person="001", colour=puppet.tone, scene=scene, shot=shot)
        assert all(unit["intensity"] == 0 for unit in units["aus"].values())
        assert len(units["identity"]["modes"]) == len(scene.identity.modes) and "identity" not in record(
            index=0, seed=0, person="001", colour=puppet.tone, scene=Scene(STILL), shot=plain)


def test_what_a_stranger_does_moves_the_points_as_it_moves_the_portrait(rig, puppet):
    renderer = Renderer(rig)
    smile = Performance(np.zeros((len(AUS), 2), np.float32), {"mouthSmile_L": 0.8, "mouthSmile_R": 0.8})
    identity = draw_identity(np.random.default_rng(1), rig)
    moved = [renderer.render(puppet, Scene(smile, identity=who), size=(96, 96)).points
             - renderer.render(puppet, Scene(STILL, identity=who), size=(96, 96)).points for who in (Identity(), identity)]
    assert np.linalg.norm(moved[0], axis=1).max() > 1 and np.abs(moved[0] - moved[1]).max() < 0.4


def test_a_share_of_the_pictures_shows_strangers_and_all_else_stays(cast):
    order = Order(cast, ("001",), size=64, seed=3)
    same, some = order(), replace(order, strangers=0.5)()
    scenes = [(same._plan(index)[2], some._plan(index)[2]) for index in range(16)]
    assert 3 <= sum(bool(one.identity) for _, one in scenes) <= 13 and not any(one.identity for one, _ in scenes)
    for one, other in scenes:
        assert one.yaw == other.yaw and one.crease_seed == other.crease_seed and one.light == other.light
        assert one.performance.shapes == other.performance.shapes
    assert "strangers" not in order.settings() and some.order.settings()["strangers"] == 0.5


def test_people_of_rare_tones_perform_more_often(cast):
    # Four of light skin and one of dark.
    people = ("001", "005", "009", "010", "042")
    chosen = even_tones(cast, people)
    assert sorted(set(chosen)) == list(people) and len(chosen) > len(people)
    counts = {person: chosen.count(person) for person in people}
    assert counts["042"] == max(counts.values()) and max(counts.values()) <= 3
    assert even_tones(cast, ("001",)) == ("001",)
