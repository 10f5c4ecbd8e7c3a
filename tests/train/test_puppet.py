"""The puppet engine: rig, fit, skin, drawing, and the proof that its labels are true."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtau.errors import InputError, UsageError
from rtau.head import pose_of_points
from rtau_train.data.people import part_of
from rtau_train.landmarks import yaw_pitch_roll
from rtau_train.puppet.cast import Cast, choose_people
from rtau_train.puppet.fit import fit_rig
from rtau_train.puppet.light import cast_shadows, relight
from rtau_train.puppet.portrait import Portrait
from rtau_train.puppet.proof import STATED_LEAK, landmark_error, leaks, motions, performance, rest_psnr
from rtau_train.puppet.puppet import build_puppet, load_puppet, save_puppet
from rtau_train.puppet.raster import FAR, follow, interpolate, move, rasterise, smooth, vertex_normals
from rtau_train.puppet.camera import rotation_of
from rtau_train.puppet.render import Renderer
from rtau_train.puppet.rig import SKIN, load_rig
from rtau_train.puppet.sample import AUS, OTHERS, draw, shapes_of
from rtau_train.puppet.scene import PARTS, Lamp, Light, Performance, Prop, Scene, Skin
from rtau_train.puppet.scenery import MOST_PITCH, MOST_YAW, draw_background, draw_framing, draw_light, draw_pose
from rtau_train.puppet.sheet import contact_sheet
from rtau_train.puppet.texture import fill, step

STILL = Performance(np.zeros((len(AUS), 2), np.float32), {})


# -- triangles -------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_each_pixel_shows_the_nearest_triangle_that_holds_its_centre(seed):
    rng = np.random.default_rng(seed)
    placed = rng.uniform(-4, 20, (12, 3)).astype(np.float32)
    triangles = rng.integers(0, 12, (8, 3)).astype(np.int32)
    depth, which, weights = rasterise(placed, triangles, 16, 16)
    for y, x in ((3, 4), (8, 8), (12, 2), (15, 15), (0, 0)):
        best = (FAR, -1)
        for t, (a, b, c) in enumerate(placed[triangles].astype(np.float64)):
            frame = np.array([b[:2] - a[:2], c[:2] - a[:2]]).T
            if abs(np.linalg.det(frame)) < 1e-6:
                continue
            w1, w2 = np.linalg.solve(frame, (x, y) - a[:2])
            if min(w1, w2, 1 - w1 - w2) > 1e-3 and a[2] + w1 * (b[2] - a[2]) + w2 * (c[2] - a[2]) > best[0]:
                best = (a[2] + w1 * (b[2] - a[2]) + w2 * (c[2] - a[2]), t)
            elif min(w1, w2, 1 - w1 - w2) > -1e-3:
                best = None  # on an edge: either answer is right
                break
        if best is not None and best[1] >= 0:
            assert depth[y, x] >= best[0] - 1e-3
            assert which[y, x] >= 0 and 0 <= weights[y, x].sum() <= 1.001


def test_interpolation_is_exact_on_a_plane():
    placed = np.float32([[0, 0, 1], [20, 0, 1], [0, 20, 1], [20, 20, 1]])
    triangles = np.int32([[0, 1, 2], [1, 3, 2]])
    _, which, weights = rasterise(placed, triangles, 20, 20)
    values = interpolate(which, weights, triangles, placed[:, :2] * 2 + 1)
    y, x = np.mgrid[:20, :20]
    assert (which >= 0).all() and np.allclose(values, np.stack([x, y], -1) * 2 + 1, atol=1e-3)


def test_backs_are_left_out_on_demand():
    placed = np.float32([[0, 0, 1], [9, 0, 1], [0, 9, 1]])
    front, back = np.int32([[0, 2, 1]]), np.int32([[0, 1, 2]])
    assert (rasterise(placed, front, 9, 9, cull=True)[1] >= 0).any()
    assert (rasterise(placed, back, 9, 9, cull=True)[1] < 0).all()
    assert (rasterise(placed, back, 9, 9)[1] >= 0).any()


def test_normals_smoothing_and_followers():
    square = np.float32([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    assert np.allclose(vertex_normals(square, np.int32([[0, 1, 2], [0, 2, 3]])), [0, 0, 1])
    ring = (np.int32([0, 1, 2]), np.int32([1, 0]))
    assert np.allclose(smooth(np.float32([[0.0], [4.0]]), ring, 1), [[2], [2]])
    moved = follow(square, np.float32([[0, 0, 2], [0, 0, 4]]), np.int32([[0, 1]] * 4), np.float32([[0.5, 0.5]] * 4))
    assert np.allclose(moved[:, 2], 3)
    shapes = (np.int32([0, 1, 2]), np.int32([3, 0]), np.float32([[1, 0, 0], [0, 1, 0]]))
    assert np.allclose(move(shapes, np.array([2.0, -1.0]), 4), [[0, -1, 0], [0, 0, 0], [0, 0, 0], [2, 0, 0]])


def test_filling_keeps_what_is_known_and_continues_smoothly():
    y, x = np.mgrid[:64, :64].astype(np.float32)
    image = np.dstack([x, y, x + y]) / 128
    known = np.ones((64, 64), np.float32)
    known[20:40, 24:44] = 0
    out = fill(image, known)
    assert np.allclose(out[known > 0], image[known > 0], atol=1e-5)
    assert np.abs(out - image)[known == 0].max() < 0.12
    assert step(np.array([0.0, 0.5, 1.0]), 0.0, 1.0) == pytest.approx([0, 0.5, 1])


# -- light, pose, scenery --------------------------------------------------------------------


def test_the_portraits_own_light_changes_nothing():
    normals = vertex_normals(np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32), np.int32([[0, 1, 2], [3, 4, 5]]))
    assert np.allclose(relight(normals, np.eye(3), Light()), 1)
    assert np.allclose(relight(normals, np.eye(3), Light(exposure=0.5, tint=(1, 0.9, 1.1))), [0.5, 0.45, 0.55])


def test_a_lamp_lights_the_side_that_it_stands_on():
    normals = np.float32([[0.8, 0, 0.6], [-0.8, 0, 0.6]])
    right = relight(normals, np.eye(3), Light(0.5, (Lamp(70, 0, 0.6),)))
    assert (right[0] > right[1]).all()
    # Turned by half a circle, what was right is left.
    turned = relight(normals, rotation_of(np.pi, 0, 0), Light(0.5, (Lamp(110, 0, 0.6),)))
    assert (turned[1] > turned[0]).all()


def test_a_wall_casts_a_shadow():
    wall = np.float32([[1, -2, -2], [1, 2, -2], [1, 2, 2], [1, -2, 2]])
    points = np.float32([[0, 0, 0], [3, 0, 0]])
    light = Light(0.5, (Lamp(90, 0, 0.6),))
    shadow = cast_shadows(np.vstack([points, wall]), np.int32([[2, 3, 4], [2, 4, 5]]), light, 2)
    assert shadow[0, 0] < 0.2 and shadow[0, 1] == 1


@pytest.mark.parametrize("angles", [(0.4, 0, 0), (0, 0.3, 0), (0, 0, 0.3), (0.3, -0.2, 0.1)])
def test_poses_read_back_as_they_were_asked_for(angles):
    from rtau.head import POINTS

    rotation = rotation_of(*angles)
    assert yaw_pitch_roll(rotation[None])[0] == pytest.approx(angles, abs=1e-5)
    seen = POINTS @ rotation.T
    scale = 1280 / (60 - seen[:, 2])
    points = np.stack([320 + seen[:, 0] * scale, 240 - seen[:, 1] * scale], -1)
    assert pose_of_points(points, (640, 480)) == pytest.approx(angles, abs=0.02)


def test_scenery_is_drawn_within_its_bounds():
    rng = np.random.default_rng(0)
    backgrounds = [draw_background([np.full((90, 120, 3), 90, np.uint8)], rng) for _ in range(120)]
    assert any(b is None for b in backgrounds)
    assert all(b is None or (b.shape == (256, 256, 3) and b.dtype == np.uint8) for b in backgrounds)
    poses = np.abs([draw_pose(rng) for _ in range(400)])
    assert (poses.max(0)[:2] <= (MOST_YAW + 1e-9, MOST_PITCH + 1e-9)).all() and np.degrees(poses[:, 0]).max() > 25
    lights = [draw_light(rng) for _ in range(200)]
    assert {len(light.lamps) for light in lights} == {0, 1, 2, 3}
    assert all(0.3 < face < 0.7 and 30 < distance < 170 for face, distance, _ in (draw_framing(rng) for _ in range(99)))


# -- performances ----------------------------------------------------------------------------


def test_shapes_follow_sides():
    activation = np.zeros((len(AUS), 2), np.float32)
    activation[AUS.index(12)] = 0.8, 0.2
    shapes = shapes_of(activation)
    assert shapes["mouthSmile_L"] == pytest.approx(0.72) and shapes["mouthSmile_R"] == pytest.approx(0.18)


def test_lips_that_do_something_else_are_told():
    rng = np.random.default_rng(3)
    names = ["eyeBlink_L", "eyeBlink_R"]
    drawn = [draw(rng, names) for _ in range(600)]
    seen = {au for p in drawn for au in p.others}
    assert seen == set(OTHERS)
    for p in drawn:
        for au, value in p.others.items():
            shape = next(iter(OTHERS[au]))
            assert p.shapes.get(shape, p.shapes.get(shape.replace("Left", "Right"), 0.0)) > 0.5 * value


# -- people ----------------------------------------------------------------------------------

#: Never looked at while the engine was tuned.
UNTUNED = ("044", "024", "107")


@pytest.fixture(scope="session")
def rig(shared: Path):
    return load_rig(shared / "ict_facekit")


@pytest.fixture(scope="session")
def renderer(rig) -> Renderer:
    return Renderer(rig)


@pytest.fixture(scope="session")
def cast(shared: Path, tmp_path_factory) -> Cast:
    return Cast(shared / "faces", shared / "ict_facekit", tmp_path_factory.mktemp("puppets"))


@pytest.fixture(scope="session")
def puppets(cast: Cast, rig):
    return {person: cast.puppet(person, rig) for person in UNTUNED}


def test_a_file_that_is_no_rig_is_refused(tmp_path):
    with pytest.raises(InputError, match="rtau data fetch"):
        load_rig(tmp_path / "nothing.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK no")
    with pytest.raises(InputError, match="is not the face rig"):
        load_rig(tmp_path / "broken.npz")


def test_the_stage_holds_face_mouth_and_eyes(rig):
    stage = rig.stage
    assert stage.skin == 6706 and (stage.kind[:stage.skin_triangles] == SKIN).all()
    assert ((stage.uv >= 0) & (stage.uv <= 1)).all() and len(np.unique(stage.kind)) == 6
    assert stage.ring.min() == 0 and stage.ring.max() == 26
    # A landmark is the same place in the rig and on the stage.
    assert np.array_equal(stage.vertices[stage.landmarks], rig.landmarks)
    whole = rig.motion({"jawOpen": 0.7, "eyeBlink_L": 1.0}, stage.vertices)
    weights = np.zeros(len(rig.shape_names))
    weights[[rig.shape_index["jawOpen"], rig.shape_index["eyeBlink_L"]]] = 0.7, 1.0
    assert np.abs(move(stage.shapes, weights, len(stage.vertices)) - whole).max() < 3e-3


def test_fits_are_level_and_close(cast, rig):
    for person in UNTUNED:
        portrait = cast.portrait(person)
        fit = fit_rig(portrait, rig)
        assert fit.error.mean() < 0.05 * portrait.eye_distance and fit.jaw_error < 0.04 * portrait.eye_distance
        assert abs(np.degrees(np.arcsin(fit.rotation[2, 1]))) < 9  # nobody looks at the ceiling
        placed = fit.project(fit.camera)[rig.landmarks[36:48]]
        assert np.linalg.norm(placed - portrait.points[36:48], axis=1).mean() < 1.5


def test_irises_found_in_the_picture_are_those_placed_by_hand(cast):
    off = []
    for person in cast.people("validation"):
        portrait = cast.portrait(person)
        found = Portrait.from_landmarks(person, portrait.image, portrait.points)
        off.append(np.linalg.norm(found.irises[:, :2] - portrait.irises[:, :2], axis=1) / portrait.irises[:, 2])
    assert np.median(off) < 0.4  # of the iris' radius


def test_at_rest_a_puppet_is_its_portrait(renderer, cast, puppets):
    for person, puppet in puppets.items():
        assert rest_psnr(renderer, puppet, cast.portrait(person)) > 32, person


def test_labeled_points_are_where_they_are_drawn(renderer, puppets):
    rng = np.random.default_rng(5)
    for puppet in puppets.values():
        scene = Scene(draw(rng, list(renderer.rig.shape_names)), yaw=rng.normal(0, 0.3), pitch=0.1, roll=-0.2,
                      distance=60.0)
        error = landmark_error(renderer, puppet, scene)
        assert np.isfinite(error).sum() > 30 and np.nanmax(error) < 0.5


def test_the_same_scene_gives_the_same_bytes(renderer, puppets):
    rng = np.random.default_rng(2)
    puppet = puppets[UNTUNED[0]]
    scene = Scene(draw(rng, list(renderer.rig.shape_names)), yaw=0.3, light=draw_light(rng), crease_seed=4)
    a, b = renderer.render(puppet, scene), Renderer(renderer.rig).render(puppet, scene)
    assert np.array_equal(a.image, b.image) and np.array_equal(a.points, b.points)


def test_pose_light_and_size_do_what_they_say(renderer, puppets):
    puppet = puppets[UNTUNED[1]]
    frontal = renderer.render(puppet, Scene(STILL, face=0.5))
    right = renderer.render(puppet, Scene(STILL, face=0.5, yaw=0.4))
    assert right.points[30, 0] > frontal.points[30, 0] + 8  # the nose moves to image right
    assert renderer.render(puppet, Scene(STILL, pitch=0.3)).points[30, 1] > frontal.points[30, 1] + 5
    rolled = renderer.render(puppet, Scene(STILL, roll=0.3)).points
    assert rolled[45, 1] - rolled[36, 1] > 8  # clockwise in the picture: the right eye sinks
    assert np.ptp(frontal.points[[8, 24], 1]) == pytest.approx(80, abs=8)
    dark = renderer.render(puppet, Scene(STILL, face=0.5, light=Light(exposure=0.4))).image
    assert dark.mean() == pytest.approx(0.4 * frontal.image.mean(), rel=0.03)
    wide = renderer.render(puppet, Scene(STILL), size=(200, 120))
    assert wide.image.shape == (120, 200, 3)


def test_gaze_follows_the_eyes(renderer, puppets):
    puppet = puppets[UNTUNED[2]]
    ahead = renderer.render(puppet, Scene(STILL)).gaze
    left = renderer.render(puppet, Scene(replace(STILL, shapes={"eyeLookOut_L": 0.6, "eyeLookIn_R": 0.6}))).gaze
    down = renderer.render(puppet, Scene(replace(STILL, shapes={"eyeLookDown_L": 0.6, "eyeLookDown_R": 0.6}))).gaze
    assert np.abs(ahead).max() < 0.2 and left[0] > ahead[0] + 0.1 and down[1] > ahead[1] + 0.1


def test_faces_do_what_their_aus_say(renderer, puppets):
    puppet = puppets[UNTUNED[0]]

    def shot(au, level=1.0):
        return renderer.render(puppet, Scene(performance(au, level), crease_amount=0))

    rest = renderer.render(puppet, Scene(STILL))
    assert shot(43).lid_gap.max() < 0.12 and shot(5).lid_gap.min() > 1.1
    assert shot(26).lip_gap > 8 and shot(26).points[8, 1] > rest.points[8, 1] + 4
    assert shot(12).points[48, 0] < rest.points[48, 0] - 2 and shot(12).points[54, 1] < rest.points[54, 1] - 2
    closed, open_ = shot(43).image.astype(int), rest.image.astype(int)
    x, y = np.round(rest.points[36:42].mean(0)).astype(int)
    assert np.abs(closed - open_)[y - 3:y + 4, x - 5:x + 6].mean() > 15  # skin where the iris was
    creased = renderer.render(puppet, Scene(performance(4, 1.0), crease_amount=1.0, crease_seed=1)).image
    assert np.abs(creased.astype(int) - shot(4).image).max() > 8


def test_a_prop_hides_what_is_behind_it_only(renderer, puppets):
    puppet = puppets[UNTUNED[0]]
    mouth = puppet.vertices[renderer.stage.landmarks[48:68]].mean(0)
    corner = np.float32([[-3, -2, 3], [3, -2, 3], [3, 2, 3], [-3, 2, 3]])
    square = dict(triangles=np.int32([[0, 1, 2], [0, 2, 3]]), colour=np.full((4, 3), (0, 0, 1), np.float32),
                  alpha=np.ones(4, np.float32))
    before = renderer.render(puppet, Scene(STILL, props=(Prop("mask", mouth + corner, **square),)))
    behind = renderer.render(puppet, Scene(STILL, props=(Prop("mask", mouth + corner * (1, 1, -3), **square),)))
    bare = renderer.render(puppet, Scene(STILL))
    assert before.visibility["mouth"] < 0.2 and before.visibility["eye_left"] > 0.9 and before.covered_by["mask"] > 0.05
    assert behind.visibility == bare.visibility and np.array_equal(behind.image, bare.image)
    assert set(bare.visibility) == set(PARTS) and min(bare.visibility.values()) > 0.8


def test_skin_changes_stay_on_the_skin(renderer, puppets):
    puppet = puppets[UNTUNED[1]]
    red = Skin(paint=np.full((64, 64, 3), (1, 0, 0), np.float32), cover=np.full((64, 64), 0.5, np.float32))
    painted = renderer.render(puppet, Scene(STILL, skin=red)).image.astype(int)
    bare = renderer.render(puppet, Scene(STILL)).image.astype(int)
    assert np.abs(painted - bare)[:12].max() == 0  # hair and wall
    assert painted[80:110, 70:90, 0].mean() > bare[80:110, 70:90, 0].mean() + 15


def test_people_are_kept_and_read_back(puppets, tmp_path):
    puppet = puppets[UNTUNED[0]]
    save_puppet(puppet, tmp_path / "one.npz")
    again = load_puppet(tmp_path / "one.npz")
    assert again.name == puppet.name and np.array_equal(again.open_lids, puppet.open_lids) and again.plain is True
    assert [f.name for f in tmp_path.iterdir()] == ["one.npz"]
    (tmp_path / "two.npz").write_bytes((tmp_path / "one.npz").read_bytes()[:5000])
    with pytest.raises(InputError, match="no puppet"):
        load_puppet(tmp_path / "two.npz")


def test_casting(cast, tmp_path):
    assert len(cast.people("test")) == 22 and len(cast.people("validation")) == 12 and len(cast.people()) == 108
    assert all(part_of(p) == "train" for p in cast.people("train"))
    assert choose_people(cast, ["044", "024"]) == ("044", "024")
    with pytest.raises(UsageError, match="nobody is called 'x'"):
        choose_people(cast, ["x"])
    with pytest.raises(InputError, match="rtau data fetch"):
        Cast(tmp_path, tmp_path, tmp_path).people()


def test_a_page_of_people(cast, tmp_path):
    line = contact_sheet(cast, tmp_path / "page.png", people=["044"], aus=(4, 12, 13), size=64)
    page = cv2.imread(str(tmp_path / "page.png"))
    assert page.shape == (64, 3 * 64, 3) and "1 people" in line
    with pytest.raises(UsageError, match="puppets perform"):
        contact_sheet(cast, tmp_path / "page.png", people=["044"], aus=(13,))


# -- proof of the labels ---------------------------------------------------------------------


def test_every_au_moves_its_own_sign_more_at_each_grade(rig):
    for au, steps in motions(rig).items():
        assert all(b > a for a, b in zip(steps[:-1], steps[1:], strict=True)) and steps[0] > 0.15, au
        assert steps[-1] > 1.8, au  # mm


def test_no_leak_beyond_the_stated_goes_unlabeled(rig):
    found = leaks(rig)
    assert len(found) > 10  # the measure sees something
    for leak in found:
        assert leak.handled or leak.share <= STATED_LEAK, leak
