"""A puppet and a scene become a picture, and everything that is true of it."""

from __future__ import annotations

from functools import cached_property, lru_cache, partial

import cv2
import numpy as np

from .camera import Camera, rotation_of, scene_camera
from .creases import Creases
from .light import cast_shadows, relight, shade_folds, studio
from .look import FOLD, NEAR_ENOUGH, Look
from .puppet import Puppet
from .raster import follow, move, rasterise, smooth, unit, vertex_normals
from .regions import face_regions
from .rig import EYE, GUMS, LID_INSIDE, SKIN, SOCKET, TEETH, Rig
from .sample import EYE_TURN
from .scene import Prop, Scene, Shot
from .shader import MESH_VALUES, compose, shade_mesh, shade_prop, shade_relief

#: Colours of the mouth's inside, RGB 0..1 at the light of a studio.
INSIDE = {SOCKET: (0.30, 0.12, 0.13), GUMS: (0.70, 0.36, 0.37), TEETH: (0.95, 0.92, 0.85),
           LID_INSIDE: (0.30, 0.17, 0.15)}
#: cm behind the lips at which the mouth is a third as bright.
MOUTH_DEPTH = {SOCKET: 3.2, GUMS: 6.0, TEETH: 1.8}
PARTED = 0.02  # cm: lips moved apart by more show the mouth's inside
_DUMMY = np.zeros((2, 2, 3), np.float32)
_DUMMY_FLAT = np.zeros((2, 2), np.float32)


class Renderer:
    """Draws puppets of one rig on the CPU; one instance a process, no state between pictures."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.stage = rig, rig.stage
        self.creases = Creases(rig)
        self._faces = self.stage.triangles[:self.stage.skin_triangles]
        regions = face_regions(rig)
        self._region_names, self.region_rows = tuple(regions), np.concatenate(list(regions.values()))
        self._region_starts = np.cumsum([0, *(len(r) for r in regions.values())])[:-1]
        self.look = lru_cache(256)(partial(Look.of, rig=rig, rows=self.region_rows, starts=self._region_starts,
                                           eyes=self._eyes))
        self.kinds = np.full(len(self.stage.vertices), SKIN, np.int8)
        for kind in (SOCKET, GUMS, TEETH, LID_INSIDE, EYE):
            self.kinds[np.unique(self.stage.triangles[self.stage.kind == kind])] = kind
        self.kinds[:self.stage.skin] = SKIN
        self.eye_rows, self.teeth_rows = np.flatnonzero(self.kinds == EYE), np.flatnonzero(self.kinds == TEETH)
        self.lid_rows = np.flatnonzero(self.kinds == LID_INSIDE)
        self._inner = np.flatnonzero(np.isin(self.kinds, (SOCKET, GUMS, TEETH)))
        #: How much less folds show on the lids when these are shut, 0..1.
        self._eased = (0.85 * np.clip(self.stage.lid * 1.5, 0, 1)).astype(np.float32)

    def render(self, puppet: Puppet, scene: Scene, *, size: tuple[int, int] = (160, 160), supersample: int = 2,
               camera: Camera | None = None) -> Shot:
        """Draw one picture.

        Args:
            size: width and height in pixels.
            supersample: drawn this many times finer, then averaged.
            camera: instead of the one that the scene's pose and size of the face give.
        """
        camera = camera or scene_camera(puppet, self.rig, scene, size)
        look = self.look(puppet)
        stage, fine = self.stage, supersample
        width, height = size[0] * fine, size[1] * fine

        weights_of_shapes = np.zeros(len(self.rig.shape_names), np.float32)
        for name, value in scene.performance.shapes.items():
            weights_of_shapes[self.rig.shape_index[name]] = value
        motion = move(stage.shapes, weights_of_shapes, len(puppet.vertices))
        rest, whole = puppet.vertices, motion
        if scene.identity:
            shape = scene.identity.motion(self.rig)
            rest, whole = rest + shape, motion + shape
        head = rest + motion
        self._turn_eyes(head, scene.performance.shapes)
        if scene.teeth[1]:
            head[self.teeth_rows, 1] += np.float32(scene.teeth[1])
        seen = camera.see(head)
        placed = camera.place(seen, fine)

        colour, cover = np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.float32)
        lips = motion[stage.landmarks[[61, 62, 63]], 1] - motion[stage.landmarks[[67, 66, 65]], 1]
        parted = bool(lips.max() > PARTED)
        drawn = stage.triangles if parted else stage.triangles[:stage.outer_triangles]
        depth, which, weights = rasterise(placed, drawn, height, width, cull=True)
        normals = unit(smooth(vertex_normals(head[:stage.skin], self._faces), stage.neighbours, FOLD.rounds))
        values, solid = self._mesh_values(puppet, look, scene, head, seen, normals, camera, parted)

        scene_depth = depth.copy()
        if scene.props:  # closed lips leave a slit through which nothing behind the head may show
            closed = cv2.morphologyEx(depth, cv2.MORPH_CLOSE, np.ones((2 * fine + 1,) * 2, np.uint8))
            scene_depth[which < 0] = closed[which < 0]
        finest = fine * camera.focal / puppet.focal * 150 / camera.distance
        for part in ("rear", "front"):
            self._draw_relief(part, puppet, look, scene, camera, whole, which, solid, colour, cover, fine, finest,
                              scene_depth)
        self._draw_mesh(puppet, look, scene, which, weights, values, colour, cover, fine, finest, camera)
        hidden: dict[str, float] = {}
        for prop in scene.props:
            share = self._draw_prop(prop, scene, camera, which, scene_depth, colour, cover, fine)
            hidden[prop.name] = hidden.get(prop.name, 0.0) + share

        image = np.empty((size[1], size[0], 3), np.uint8)
        compose(colour, cover, fine, background(puppet, scene, size), image)
        marks = stage.landmarks
        points = camera.place(seen[marks])[:, :2]
        return Shot(
            image=image, points=points, pose=np.array([scene.yaw, scene.pitch, scene.roll], np.float32),
            rotation=camera.rotation.astype(np.float32), gaze=self.gaze(puppet, head, camera),
            visibility=self._visibility(look, seen, placed, normals, scene_depth, camera),
            lip_gap=10 * float(motion[marks[62], 1] - motion[marks[66], 1]), lid_gap=self.lid_gap(rest, head),
            covered_by=hidden)

    # -- vertices ----------------------------------------------------------------------------

    def _mesh_values(self, puppet: Puppet, look: Look, scene: Scene, head, seen, normals, camera: Camera,
                     parted: bool) -> tuple[np.ndarray, np.ndarray]:
        stage, skin = self.stage, self.stage.skin
        values = np.ones((len(head), MESH_VALUES), np.float32)
        shadows = cast_shadows(seen[:skin], self._faces, scene.light, skin) if scene.light.lamps else None
        if shadows is not None:
            shadows = smooth(shadows.T, stage.neighbours, 1).T
        light = relight(normals, camera.rotation, scene.light, shadows)

        shut, covered = lid_cover(scene.performance.shapes)
        # Away from the eyes both textures are the same, so the whole side may turn to the other one.
        values[:skin, 6] = covered[look.side]

        values[:skin, 0:2] = stage.uv
        shade_folds(normals, look.studio, self._eased, shut, look.side, light, *FOLD[:3], values)
        values[:skin, 5] = puppet.alpha

        mean_light = light[look.front].mean(0, dtype=np.float64).astype(np.float32)
        eye = self.eye_rows
        values[eye, 0:2] = puppet.photo_xy[eye] - puppet.eye_origin
        values[eye, 2:5] = mean_light
        values[self.lid_rows, 2:5] = 153 * np.array(INSIDE[LID_INSIDE], np.float32) * mean_light
        if parted:
            self._light_mouth(values, puppet, scene, head, seen, mean_light)
        return values, look.solid

    def _turn_eyes(self, head: np.ndarray, shapes: dict[str, float]) -> None:
        """Eyeballs turn about their middle, in place."""
        for side, turn in eye_turns(shapes).items():
            rows = self.eyeballs[side]
            middle = (head[rows].min(0) + head[rows].max(0)) / 2
            head[rows] = (head[rows] - middle) @ turn.T + middle

    def _light_mouth(self, values, puppet: Puppet, scene: Scene, head, seen, light: np.ndarray) -> None:
        """Teeth are as bright as the whites of the eyes say the light is, never as dark as skin is."""
        shade, _, gaps = scene.teeth
        lips = seen[self.stage.landmarks[[61, 62, 63, 65, 66, 67]], 2].max()
        exposure = float(np.clip(puppet.sclera.mean() / 0.72, 0.75, 1.1))
        inner = self._inner
        deep = np.clip(lips - seen[inner, 2], 0, 5)
        facing = np.clip(0.45 + 0.55 * np.abs(self._inner_normals(head)), 0, 1)
        kinds = self.kinds[inner]
        for kind in (SOCKET, GUMS, TEETH):
            rows, base = kinds == kind, INSIDE[kind]
            own = np.exp(-deep[rows] / MOUTH_DEPTH[kind]) * facing[rows] * exposure
            if kind == TEETH:
                own = own * (shade + gaps * 0.5 * (facing[rows] - 1))
            values[inner[rows], 2:5] = 255 * np.array(base, np.float32) * own[:, None] * light

    def _inner_normals(self, head: np.ndarray) -> np.ndarray:
        triangles = self.stage.triangles[self.stage.outer_triangles:]
        return vertex_normals(head, triangles)[self._inner, 2]

    # -- drawing -----------------------------------------------------------------------------

    def _draw_relief(self, part, puppet, look, scene, camera, motion, mesh_which, solid, colour, cover, fine, finest,
                     scene_depth) -> None:
        vertices, leaders = getattr(puppet, f"{part}_vertices"), getattr(puppet, f"{part}_leaders")
        shares, triangles = getattr(puppet, f"{part}_shares"), getattr(puppet, f"{part}_triangles")
        seen = camera.see(follow(vertices, motion, leaders, shares))
        height, width = cover.shape
        depth, which, weights = rasterise(camera.place(seen, fine), triangles, height, width)
        values = np.empty((len(vertices), 5), np.float32)
        values[:, :2] = getattr(puppet, f"{part}_pixel")
        values[:, 2:] = relight(look.normals[part], camera.rotation, scene.light)
        photo, scale = look.level(part, finest)
        shade_relief(which, weights, triangles, values, photo, scale, mesh_which, solid, colour, cover)
        np.maximum(scene_depth, depth, out=scene_depth)

    def _draw_mesh(self, puppet, look, scene, which, weights, values, colour, cover, fine, finest, camera) -> None:
        crease = self.creases.factor(scene.performance.activation, seed=scene.crease_seed, amount=scene.crease_amount)
        skin = scene.skin
        eyes, eye_scale = look.level("eyes", finest)
        texel = finest * 270 / 768  # a portrait's face is about 270 px wide and fills its 768 texels
        shade_mesh(which, weights, self.stage.triangles, self.stage.kind, values, look.level("open", texel)[0],
                   look.level("closed", texel)[0], _DUMMY_FLAT if crease is None else crease, look.bare,
                   crease is not None,
                   _DUMMY if skin.gain is None else skin.gain, skin.gain is not None,
                   _DUMMY if skin.paint is None else skin.paint, _DUMMY_FLAT if skin.cover is None else skin.cover,
                   skin.paint is not None, eyes, eye_scale, eyes_moved(scene.performance.shapes),
                   0.45 * camera.focal / camera.distance * fine, colour, cover)

    def _draw_prop(self, prop: Prop, scene: Scene, camera: Camera, mesh_which, scene_depth, colour, cover, fine
                   ) -> float:
        seen = camera.see(np.asarray(prop.vertices, np.float32))
        triangles = np.ascontiguousarray(prop.triangles, np.int32)
        height, width = cover.shape
        depth, which, weights = rasterise(camera.place(seen, fine), triangles, height, width)
        return float(shade_prop(which, weights, depth, triangles, prop_values(prop, scene, camera), scene_depth,
                                mesh_which, self.stage.skin_triangles, colour, cover))

    # -- truth -------------------------------------------------------------------------------

    def gaze(self, puppet: Puppet, head: np.ndarray, camera: Camera) -> np.ndarray:
        """Eyeballs turn about their centre; at rest the person looks into the portrait's camera."""
        lines = []
        for (_, iris), (centre, at_rest) in zip(self._eyes, self.look(puppet).eyes, strict=True):
            now = head[iris].mean(0) - centre
            lines.append(now / np.linalg.norm(now) - at_rest)
        ahead = puppet.turn.T @ np.array([0, 0, 1.0])
        line = camera.rotation @ (ahead + np.mean(lines, 0))
        return np.array([np.arctan2(line[0], line[2]), np.arctan2(-line[1], np.hypot(line[0], line[2]))], np.float32)

    @cached_property
    def eyeballs(self) -> dict[str, np.ndarray]:
        """Stage vertices of each eyeball."""
        return {side: np.flatnonzero(np.isin(self.stage.vertices, self.rig.vertices_of(f"eyeball_{side}")))
                for side in "LR"}

    @cached_property
    def _eyes(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Stage vertices of the eyeball, and some of its iris, left and right."""
        where = self.stage.vertices
        return [(self.eyeballs[side], np.flatnonzero(np.isin(where, self.rig.vertices_of(f"iris_{side}")))[::8])
                for side in "LR"]

    def lid_gap(self, rest: np.ndarray, head: np.ndarray) -> np.ndarray:
        """Height of the left and right lid opening over that at rest, float32 [2], of stage vertices [N, 3]."""
        marks = self.stage.landmarks

        def gap(v: np.ndarray, upper: list[int], lower: list[int]) -> float:
            return float(v[marks[upper], 1].mean() - v[marks[lower], 1].mean())

        return np.array([gap(head, up, low) / gap(rest, up, low)
                         for up, low in (([43, 44], [47, 46]), ([37, 38], [41, 40]))], np.float32)

    def _visibility(self, look, seen, placed, normals, depth, camera: Camera) -> dict[str, float]:
        """Of what a face shows at rest from the front, what is shown now."""
        height, width = depth.shape
        rows = self.region_rows
        x, y = (placed[rows, :2] + np.float32(0.5)).astype(np.int32).T
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        front = depth[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]
        turned = normals[rows] @ camera.rotation[2].astype(np.float32)
        shown = inside & (turned > 0.05) & (seen[rows, 2] > front - NEAR_ENOUGH) & look.shown
        return self.region_shares(shown, look)

    def region_shares(self, shown: np.ndarray, look: Look) -> dict[str, float]:
        """By part of the face the share of `region_rows` that is shown (bool), of those that a face at rest shows."""
        shares = np.add.reduceat(shown.astype(np.float64), self._region_starts) / look.region_counts
        return dict(zip(self._region_names, shares.tolist(), strict=True))


def eye_turns(shapes: dict[str, float]) -> dict[str, np.ndarray]:
    """How far each eyeball ("L", "R") that looks aside is turned: float32 [3, 3]."""
    turns = {}
    for side, outwards in (("L", 1), ("R", -1)):
        down = shapes.get(f"eyeLookDown_{side}", 0.0) - shapes.get(f"eyeLookUp_{side}", 0.0)
        aside = shapes.get(f"eyeLookOut_{side}", 0.0) - shapes.get(f"eyeLookIn_{side}", 0.0)
        if down or aside:
            turns[side] = rotation_of(EYE_TURN * outwards * aside, EYE_TURN * down, 0).astype(np.float32)
    return turns


def lid_cover(shapes: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """How closed the lids of the left and right eye are, and how much of the closed-lid texture shows, float32 [2].

    Lids that rise, and brows that lift them, stretch the lashes painted into the open texture, so
    the closed one's clean lid is mixed in then too.
    """
    shut = np.array([np.clip((shapes.get(f"eyeBlink_{s}", 0.0) - 0.15) / 0.45, 0, 1) for s in "LR"], np.float32)
    lift = np.array([max(shapes.get(f"eyeWide_{s}", 0.0), 0.6 * shapes.get(f"browOuterUp_{s}", 0.0), 0.0)
                     for s in "LR"], np.float32)
    return shut, np.maximum(shut, np.clip(1.2 * lift - 0.2, 0, 0.6))


def eyes_moved(shapes: dict[str, float]) -> float:
    """0..1, how much the eyes' shapes move: the shadow under the lid is drawn anew as far."""
    return float(np.clip(sum(abs(v) for name, v in shapes.items() if name.startswith("eye")), 0, 1))


def prop_values(prop: Prop, scene: Scene, camera: Camera) -> np.ndarray:
    """Colour 0..255 under the scene's light and opacity of a prop's vertices, float32 [V, 4]."""
    values = np.empty((len(prop.vertices), 4), np.float32)
    values[:, :3] = 255 * prop.colour
    if prop.shaded:
        normals = vertex_normals(prop.vertices, np.ascontiguousarray(prop.triangles, np.int32))
        towards = camera.rotation[2].astype(np.float32)
        normals *= np.where(normals @ towards < 0, -1, 1)[:, None]
        # A photograph holds its light already; a prop gets the same studio's, and what the lamps change.
        values[:, :3] *= studio(normals)[:, None] * relight(normals, camera.rotation, scene.light)
    else:
        values[:, :3] *= np.float32(scene.light.exposure)
    values[:, 3] = prop.alpha
    return values


def background(puppet: Puppet, scene: Scene, size: tuple[int, int]) -> np.ndarray:
    """What lies behind the person, RGB 0..255 [H, W, 3]."""
    behind = scene.background
    if behind is None:
        behind = puppet.backdrop.astype(np.float32) * np.float32(scene.light.exposure) \
            * np.array(scene.light.tint, np.float32)
    return behind if behind.shape[:2] == size[::-1] else cv2.resize(behind, size, interpolation=cv2.INTER_LINEAR)
