"""What people wear and hold, and what is done to their skin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rtau.errors import UsageError
from rtau_train.puppet.cast import Cast
from rtau_train.puppet.props import CHANCES, draw_props
from rtau_train.puppet.render import Renderer
from rtau_train.puppet.rig import load_rig
from rtau_train.puppet.sample import AUS, shapes_of
from rtau_train.puppet.scene import Performance, Scene
from rtau_train.puppet.skin import draw_skin
from rtau_train.puppet.wear import ball, curve, grid, join, prop, ribbon, tube

STILL = Performance(np.zeros((len(AUS), 2), np.float32), {})


# -- meshes ----------------------------------------------------------------------------------


def area(mesh) -> float:
    v, t = mesh
    return float(np.linalg.norm(np.cross(v[t[:, 1]] - v[t[:, 0]], v[t[:, 2]] - v[t[:, 0]]), axis=1).sum() / 2)


def test_tubes_and_balls_have_the_surface_that_they_should():
    line = np.column_stack([np.zeros(20), np.linspace(0, 5, 20), np.zeros(20)])
    assert area(tube(line, 1.0, sides=24)) == pytest.approx(2 * np.pi * 5, rel=0.02)
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    ring = np.column_stack([3 * np.cos(turn), 3 * np.sin(turn), np.zeros(40)])
    assert area(tube(ring, 0.2, sides=16, closed=True)) == pytest.approx(4 * np.pi**2 * 3 * 0.2, rel=0.04)
    assert area(ball((1, 2, 3), (2, 2, 2), rings=24, sides=40)) == pytest.approx(16 * np.pi, rel=0.02)


def test_ribbons_are_as_wide_as_asked_and_curves_pass_their_points():
    line = curve([(0, 0, 0), (1, 2, 0), (2, 0, 1)], 41)
    for point in ((0, 0, 0), (1, 2, 0), (2, 0, 1)):
        assert np.linalg.norm(line - point, axis=1).min() < 1e-6
    vertices, triangles = ribbon(line, np.full(41, 0.5), np.array([0, 0, 1.0]))
    rows = vertices.reshape(41, 3, 3)
    assert np.linalg.norm(rows[:, 2] - rows[:, 0], axis=1) == pytest.approx(np.full(41, 0.5))
    assert triangles.max() == len(vertices) - 1


def test_joined_meshes_keep_their_own_vertices():
    a = (np.zeros((4, 3)), grid(2, 2))
    vertices, triangles = join([a, a])
    assert len(vertices) == 8 and triangles[2:].min() == 4
    one = prop("glasses", [a, a], (1, 0, 0), 0.5)
    assert one.colour.shape == (8, 3) and (one.alpha == 0.5).all()


# -- on people -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rig(shared: Path):
    return load_rig(shared / "ict_facekit")


@pytest.fixture(scope="module")
def renderer(rig) -> Renderer:
    return Renderer(rig)


@pytest.fixture(scope="module")
def people(shared: Path, rig, tmp_path_factory):
    cast = Cast(shared / "faces", shared / "ict_facekit", tmp_path_factory.mktemp("puppets"))
    return [cast.puppet(person, rig) for person in ("082", "030")]


def shots(renderer, people, kind, count=6, performance=STILL):
    for number in range(count):
        rng = np.random.default_rng([number, 8])
        puppet = people[number % len(people)]
        props = draw_props(puppet, renderer.rig, performance, rng, (kind,))
        yield props, renderer.render(puppet, Scene(performance, props=props, face=0.6)), puppet


@pytest.mark.parametrize("kind", CHANCES)
def test_props_are_whole_and_reproducible(renderer, people, kind):
    for props, shot, puppet in shots(renderer, people, kind, count=4):
        assert props and kind in {p.name for p in props}
        for p in props:
            assert np.isfinite(p.vertices).all() and p.vertices.shape == (len(p.colour), 3) and len(p.alpha) == len(p.colour)
            assert 0 <= p.triangles.min() and p.triangles.max() < len(p.vertices)
            assert p.colour.min() >= 0 and p.colour.max() <= 1 and p.alpha.min() >= 0 and p.alpha.max() <= 1
            assert np.abs(p.vertices).max() < 45  # cm
        again = draw_props(puppet, renderer.rig, STILL, np.random.default_rng(3), (kind,))
        twice = draw_props(puppet, renderer.rig, STILL, np.random.default_rng(3), (kind,))
        assert all(np.array_equal(a.vertices, b.vertices) and np.array_equal(a.colour, b.colour)
                   for a, b in zip(again, twice, strict=True))
        assert kind in shot.covered_by


def test_glasses_stand_before_the_eyes_of_everyone(renderer, people):
    for props, _, puppet in shots(renderer, people, "glasses"):
        frame = props[0].vertices
        eyes = puppet.vertices[renderer.stage.landmarks[36:48]]
        near = frame[(np.abs(frame[:, 0]) < 5) & (np.abs(frame[:, 1] - eyes[:, 1].mean()) < 3)]
        assert near[:, 2].min() > eyes[:, 2].mean() - 0.5
        assert abs(frame[:, 0].max() + frame[:, 0].min()) < 1.0  # as far to the left as to the right


def test_clear_glasses_leave_the_eyes_to_be_seen_and_dark_ones_do_not(renderer, people):
    clear = [shot.visibility["eye_left"] for _, shot, _ in shots(renderer, people, "glasses")]
    dark = [shot.visibility["eye_left"] for _, shot, _ in shots(renderer, people, "sunglasses")]
    assert np.median(clear) > 0.75 and np.median(dark) < 0.25


def test_masks_hide_the_mouth_not_the_eyes(renderer, people):
    smile = np.zeros((len(AUS), 2), np.float32)
    smile[AUS.index(12)] = 0.9
    hidden = []
    for _, shot, _ in shots(renderer, people, "mask", count=12, performance=Performance(smile, shapes_of(smile))):
        hidden.append(shot.visibility["mouth"])
        assert shot.visibility["eye_left"] > 0.8 and shot.visibility["brow_right"] > 0.8
    assert np.median(hidden) < 0.1


def test_hands_cover_some_of_the_face(renderer, people):
    covered = [shot.covered_by["hand"] for _, shot, _ in shots(renderer, people, "hand", count=16)]
    assert np.median(covered) > 0.02 and max(covered) > 0.12


def test_kinds_come_as_often_as_they_should(people, rig):
    rng = np.random.default_rng(0)
    seen = [frozenset(p.name for p in draw_props(people[0], rig, STILL, rng)) for _ in range(400)]
    share = np.mean(["glasses" in s for s in seen])
    assert 0.12 < share < 0.28 and np.mean([not s for s in seen]) > 0.5
    assert not any("mask" in s and ("hand" in s or "object" in s) for s in seen)
    with pytest.raises(UsageError, match="no prop 'hat'"):
        draw_props(people[0], rig, STILL, rng, ("hat",))


def test_skin_changes_are_sound_named_and_reproducible(renderer, people):
    notes = set()
    for seed in range(80):
        skin, twice = (draw_skin(people[0], renderer.rig, renderer.creases, np.random.default_rng(seed)) for _ in "ab")
        notes |= set(skin.notes)
        assert skin.notes == twice.notes
        if not skin.notes:
            assert skin.gain is None and skin.paint is None
        if skin.gain is not None:
            assert skin.gain.dtype == np.float32 and 0.2 < skin.gain.min() and skin.gain.max() < 1.9
            assert np.array_equal(skin.gain, twice.gain)
        if skin.paint is not None:
            assert skin.cover is not None and 0 <= skin.cover.min() and skin.cover.max() <= 1
    assert {"lipstick", "old", "tone", "flush", "freckles"} <= notes


def test_lipstick_is_on_the_lips(renderer, people):
    puppet = people[1]
    for seed in range(1000):
        skin = draw_skin(puppet, renderer.rig, renderer.creases, np.random.default_rng(seed))
        if "lipstick" in skin.notes and set(skin.notes) <= {"lipstick", "eye shadow", "eyeliner"}:
            break
    else:
        pytest.fail("no seed draws make-up alone")
    bare, painted = (renderer.render(puppet, s) for s in (Scene(STILL, face=0.6), Scene(STILL, face=0.6, skin=skin)))
    change = np.abs(painted.image.astype(int) - bare.image).sum(2)
    x, y = np.round(bare.points[[51, 57]].mean(0) + (0, 3)).astype(int)
    assert change[y - 2:y + 3, x - 4:x + 5].mean() > 10
    forehead = bare.points[27].astype(int) - (0, 22)
    assert change[forehead[1] - 4:forehead[1] + 4, forehead[0] - 8:forehead[0] + 8].max() <= 2
