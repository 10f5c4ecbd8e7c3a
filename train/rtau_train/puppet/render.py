"""A puppet and a scene become a picture, and everything that is true of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache, partial

import cv2
import numpy as np

from .creases import Creases
from .light import cast_shadows, relight, studio
from .puppet import Puppet
from .raster import follow, move, rasterise, smooth, vertex_normals
from .regions import face_regions
from .rig import EYE, GUMS, LID_INSIDE, SKIN, SOCKET, TEETH, Rig
from .sample import EYE_TURN
from .scene import Performance, Prop, Scene, Shot
from .shader import MESH_VALUES, compose, shade_mesh, shade_prop, shade_relief

#: Colours of the mouth's inside, RGB 0..1 at the light of a studio.
_INSIDE = {SOCKET: (0.30, 0.12, 0.13), GUMS: (0.70, 0.36, 0.37), TEETH: (0.95, 0.92, 0.85),
           LID_INSIDE: (0.30, 0.17, 0.15)}
#: cm behind the lips at which the mouth is a third as bright.
_MOUTH_DEPTH = {SOCKET: 3.2, GUMS: 6.0, TEETH: 1.8}
#: Shading of folds: how strongly turning skin changes its brightness, and within what bounds.
_FOLD_GAIN, _FOLD_DARKEST, _FOLD_BRIGHTEST = 1.1, 0.82, 1.07
_FOLD_SMOOTH = 5  # rounds of averaging: the mesh's own folds are sharper than skin's
_BROW_TO_CHIN = 13.8  # cm on the generic head; the measure of `Scene.face`
_PARTED = 0.02  # cm: lips moved apart by more show the mouth's inside
_NEAR_ENOUGH = 0.3  # cm: a point this close behind the drawn surface is on it
_REST = 200  # pixels of the look at a face at rest
_DUMMY = np.zeros((2, 2, 3), np.float32)
_DUMMY_FLAT = np.zeros((2, 2), np.float32)


@dataclass(frozen=True)
class Camera:
    """Where the head stands before the camera.

    Attributes:
        rotation: float64 [3, 3], head to camera; pivot: [3], the point of the head it turns about, cm;
        offset: [3], where the pivot stands, cm, camera coordinates; distance: of the camera from z = 0, cm.
        focal: pixels; centre: principal point, pixels.
    """

    rotation: np.ndarray
    pivot: np.ndarray
    offset: np.ndarray
    distance: float
    focal: float
    centre: tuple[float, float]

    def see(self, head: np.ndarray) -> np.ndarray:
        """Head coordinates [N, 3] to camera coordinates, float32."""
        return ((head - self.pivot.astype(np.float32)) @ self.rotation.T.astype(np.float32)
                + self.offset.astype(np.float32))

    def place(self, camera: np.ndarray, factor: float = 1.0) -> np.ndarray:
        """Camera coordinates to pixels and depth, float32 [N, 3]; `factor` finer pixels."""
        scale = np.float32(self.focal) / (np.float32(self.distance) - camera[:, 2])
        out = np.empty_like(camera, dtype=np.float32)
        out[:, 0] = (self.centre[0] + camera[:, 0] * scale + 0.5) * factor - 0.5
        out[:, 1] = (self.centre[1] - camera[:, 1] * scale + 0.5) * factor - 0.5
        out[:, 2] = camera[:, 2]
        return out


def rotation_of(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Head to camera, float64 [3, 3], from angles in radians as in `rtau.types.Faces`."""
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    tilt = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    return tilt @ nod @ turn


def scene_camera(puppet: Puppet, rig: Rig, scene: Scene, size: tuple[int, int]) -> Camera:
    """The camera that a scene asks for."""
    width, height = size
    marks = puppet.vertices[rig.stage.landmarks[[30, 27, 8]]]
    pivot = marks.mean(0) + (0, 1.0, -4.0)
    focal = scene.face * height / _BROW_TO_CHIN * scene.distance
    centre = ((width - 1) / 2 + scene.shift[0] * height, (height - 1) / 2 + scene.shift[1] * height)
    return Camera(rotation_of(scene.yaw, scene.pitch, scene.roll), pivot, np.zeros(3), scene.distance, focal, centre)


def portrait_camera(puppet: Puppet, scale: float = 1.0) -> Camera:
    """The camera of the puppet's own portrait, in a picture `scale` times as large."""
    from .fit import DISTANCE

    centre = tuple((float(c) + 0.5) * scale - 0.5 for c in puppet.centre)
    return Camera(puppet.turn.astype(np.float64), np.zeros(3), puppet.place.astype(np.float64), DISTANCE,
                  puppet.focal * scale, centre)


class Renderer:
    """Draws puppets of one rig on the CPU; one instance a process, no state between pictures."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.stage = rig, rig.stage
        self.creases = Creases(rig)
        self._faces = self.stage.triangles[:self.stage.skin_triangles]
        regions = face_regions(rig)
        self._region_names, self._region_rows = tuple(regions), np.concatenate(list(regions.values()))
        self._region_starts = np.cumsum([0, *(len(r) for r in regions.values())])[:-1]
        self._neutral = lru_cache(256)(partial(_Look.of, rig=rig, rows=self._region_rows, starts=self._region_starts))
        self._kinds = np.full(len(self.stage.vertices), SKIN, np.int8)
        for kind in (SOCKET, GUMS, TEETH, LID_INSIDE, EYE):
            self._kinds[np.unique(self.stage.triangles[self.stage.kind == kind])] = kind
        self._kinds[:self.stage.skin] = SKIN
        self._eye_rows, self._teeth_rows = np.flatnonzero(self._kinds == EYE), np.flatnonzero(self._kinds == TEETH)
        self._lid_rows = np.flatnonzero(self._kinds == LID_INSIDE)
        self._inner = np.flatnonzero(np.isin(self._kinds, (SOCKET, GUMS, TEETH)))

    def render(self, puppet: Puppet, scene: Scene, *, size: tuple[int, int] = (160, 160), supersample: int = 2,
               camera: Camera | None = None) -> Shot:
        """Draw one picture.

        Args:
            size: width and height in pixels.
            supersample: drawn this many times finer, then averaged.
            camera: instead of the one that the scene's pose and size of the face give.
        """
        camera = camera or scene_camera(puppet, self.rig, scene, size)
        look = self._neutral(puppet)
        stage, fine = self.stage, supersample
        width, height = size[0] * fine, size[1] * fine

        weights_of_shapes = np.zeros(len(self.rig.shape_names), np.float32)
        for name, value in scene.performance.shapes.items():
            weights_of_shapes[self.rig.shape_index[name]] = value
        motion = move(stage.shapes, weights_of_shapes, len(puppet.vertices))
        head = puppet.vertices + motion
        self._turn_eyes(head, scene.performance.shapes)
        if scene.teeth[1]:
            head[self._teeth_rows, 1] += np.float32(scene.teeth[1])
        seen = camera.see(head)
        placed = camera.place(seen, fine)

        colour, cover = np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.float32)
        lips = motion[stage.landmarks[[61, 62, 63]], 1] - motion[stage.landmarks[[67, 66, 65]], 1]
        parted = bool(lips.max() > _PARTED)
        drawn = stage.triangles if parted else stage.triangles[:stage.outer_triangles]
        depth, which, weights = rasterise(placed, drawn, height, width, cull=True)
        normals = smooth(vertex_normals(head[:stage.skin], self._faces), stage.neighbours, _FOLD_SMOOTH)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-6
        values, solid = self._mesh_values(puppet, look, scene, head, seen, normals, camera, parted)

        scene_depth = depth.copy()
        if scene.props:  # closed lips leave a slit through which nothing behind the head may show
            closed = cv2.morphologyEx(depth, cv2.MORPH_CLOSE, np.ones((2 * fine + 1,) * 2, np.uint8))
            scene_depth[which < 0] = closed[which < 0]
        finest = fine * camera.focal / puppet.focal * 150 / camera.distance
        for part in ("rear", "front"):
            self._draw_relief(part, puppet, look, scene, camera, motion, which, solid, colour, cover, fine, finest,
                              scene_depth)
        self._draw_mesh(puppet, look, scene, which, weights, values, colour, cover, fine, finest, camera)
        hidden: dict[str, float] = {}
        for prop in scene.props:
            share = self._draw_prop(prop, scene, camera, which, scene_depth, colour, cover, fine)
            hidden[prop.name] = hidden.get(prop.name, 0.0) + share

        if fine > 1:
            colour = cv2.resize(colour, size, interpolation=cv2.INTER_AREA)
            cover = cv2.resize(cover, size, interpolation=cv2.INTER_AREA)
        image = self._over_background(puppet, scene, colour, cover, size)
        marks = stage.landmarks
        points = camera.place(seen[marks])[:, :2]
        return Shot(
            image=image, points=points, pose=np.array([scene.yaw, scene.pitch, scene.roll], np.float32),
            rotation=camera.rotation.astype(np.float32), gaze=self._gaze(puppet, head, camera),
            visibility=self._visibility(look, seen, placed, normals, scene_depth, camera),
            lip_gap=10 * float(motion[marks[62], 1] - motion[marks[66], 1]), lid_gap=self._lid_gap(puppet, head),
            covered_by=hidden)

    # -- vertices ----------------------------------------------------------------------------

    def _mesh_values(self, puppet: Puppet, look: _Look, scene: Scene, head, seen, normals, camera: Camera,
                     parted: bool) -> tuple[np.ndarray, np.ndarray]:
        stage, skin = self.stage, self.stage.skin
        values = np.ones((len(head), MESH_VALUES), np.float32)
        shadows = cast_shadows(seen[:skin], self._faces, scene.light, skin) if scene.light.lamps else None
        if shadows is not None:
            shadows = smooth(shadows.T, stage.neighbours, 1).T
        light = relight(normals, camera.rotation, scene.light, shadows)

        shapes = scene.performance.shapes
        shut = np.array([_closing(shapes.get(f"eyeBlink_{s}", 0.0)) for s in "LR"], np.float32)
        # Lids that rise, and brows that lift them, stretch the lashes painted into the open texture.
        lift = np.array([max(shapes.get(f"eyeWide_{s}", 0.0), 0.6 * shapes.get(f"browOuterUp_{s}", 0.0), 0.0)
                         for s in "LR"], np.float32)
        side = np.where(puppet.vertices[:skin, 0] > 0, 0, 1)
        # Away from the eyes both textures are the same, so the whole side may turn to the other one.
        values[:skin, 6] = np.maximum(shut, np.clip(1.2 * lift - 0.2, 0, 0.6))[side]

        fold = (studio(normals) / look.studio) ** (_FOLD_GAIN * (1 - 0.85 * np.clip(stage.lid * 1.5, 0, 1) * shut[side]))
        values[:skin, 0:2] = stage.uv
        values[:skin, 2:5] = np.clip(fold, _FOLD_DARKEST, _FOLD_BRIGHTEST)[:, None] * light
        values[:skin, 5] = puppet.alpha

        mean_light = light[look.front].mean(0)
        eye = self._eye_rows
        values[eye, 0:2] = puppet.photo_xy[eye] - puppet.eye_origin
        values[eye, 2:5] = mean_light
        values[self._lid_rows, 2:5] = 153 * np.array(_INSIDE[LID_INSIDE], np.float32) * mean_light
        if parted:
            self._light_mouth(values, puppet, scene, head, seen, mean_light)
        return values, look.solid

    def _turn_eyes(self, head: np.ndarray, shapes: dict[str, float]) -> None:
        """Eyeballs turn about their middle, in place."""
        down = {side: shapes.get(f"eyeLookDown_{side}", 0.0) - shapes.get(f"eyeLookUp_{side}", 0.0) for side in "LR"}
        aside = {side: shapes.get(f"eyeLookOut_{side}", 0.0) - shapes.get(f"eyeLookIn_{side}", 0.0) for side in "LR"}
        for side, rows in self._eyeballs.items():
            if down[side] or aside[side]:
                turn = rotation_of(EYE_TURN * (aside[side] if side == "L" else -aside[side]), EYE_TURN * down[side], 0)
                middle = (head[rows].min(0) + head[rows].max(0)) / 2
                head[rows] = (head[rows] - middle) @ turn.T.astype(np.float32) + middle

    def _light_mouth(self, values, puppet: Puppet, scene: Scene, head, seen, light: np.ndarray) -> None:
        """Teeth are as bright as the whites of the eyes say the light is, never as dark as skin is."""
        shade, _, gaps = scene.teeth
        lips = seen[self.stage.landmarks[[61, 62, 63, 65, 66, 67]], 2].max()
        exposure = float(np.clip(puppet.sclera.mean() / 0.72, 0.75, 1.1))
        inner = self._inner
        deep = np.clip(lips - seen[inner, 2], 0, 5)
        facing = np.clip(0.45 + 0.55 * np.abs(self._inner_normals(head)), 0, 1)
        kinds = self._kinds[inner]
        for kind in (SOCKET, GUMS, TEETH):
            rows, base = kinds == kind, _INSIDE[kind]
            own = np.exp(-deep[rows] / _MOUTH_DEPTH[kind]) * facing[rows] * exposure
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
        shapes = scene.performance.shapes
        moved = sum(abs(v) for n, v in shapes.items() if n.startswith("eye"))
        eyes, eye_scale = look.level("eyes", finest)
        texel = finest * 270 / 768  # a portrait's face is about 270 px wide and fills its 768 texels
        shade_mesh(which, weights, self.stage.triangles, self.stage.kind, values, look.level("open", texel)[0],
                   look.level("closed", texel)[0], _DUMMY_FLAT if crease is None else crease, look.bare,
                   crease is not None,
                   _DUMMY if skin.gain is None else skin.gain, skin.gain is not None,
                   _DUMMY if skin.paint is None else skin.paint, _DUMMY_FLAT if skin.cover is None else skin.cover,
                   skin.paint is not None, eyes, eye_scale, float(np.clip(moved, 0, 1)),
                   0.45 * camera.focal / camera.distance * fine, colour, cover)

    def _draw_prop(self, prop: Prop, scene: Scene, camera: Camera, mesh_which, scene_depth, colour, cover, fine
                   ) -> float:
        seen = camera.see(np.asarray(prop.vertices, np.float32))
        triangles = np.ascontiguousarray(prop.triangles, np.int32)
        height, width = cover.shape
        depth, which, weights = rasterise(camera.place(seen, fine), triangles, height, width)
        values = np.empty((len(seen), 4), np.float32)
        values[:, :3] = 255 * prop.colour
        if prop.shaded:
            normals = vertex_normals(np.asarray(prop.vertices, np.float32), triangles)
            towards = camera.rotation[2].astype(np.float32)
            normals *= np.where(normals @ towards < 0, -1, 1)[:, None]
            # A photograph holds its light already; a prop gets the same studio's, and what the lamps change.
            values[:, :3] *= studio(normals)[:, None] * relight(normals, camera.rotation, scene.light)
        else:
            values[:, :3] *= np.float32(scene.light.exposure)
        values[:, 3] = prop.alpha
        return float(shade_prop(which, weights, depth, triangles, values, scene_depth, mesh_which,
                                self.stage.skin_triangles, colour, cover))

    @staticmethod
    def _over_background(puppet: Puppet, scene: Scene, colour, cover, size: tuple[int, int]) -> np.ndarray:
        if scene.background is None:
            behind = puppet.backdrop.astype(np.float32) * np.float32(scene.light.exposure) \
                * np.array(scene.light.tint, np.float32)
        else:
            behind = scene.background
        if behind.shape[:2] != size[::-1]:
            behind = cv2.resize(behind, size, interpolation=cv2.INTER_LINEAR)
        out = np.empty((*cover.shape, 3), np.uint8)
        compose(colour, cover, behind, out)
        return out

    # -- truth -------------------------------------------------------------------------------

    def _gaze(self, puppet: Puppet, head: np.ndarray, camera: Camera) -> np.ndarray:
        """Eyeballs turn about their centre; at rest the person looks into the portrait's camera."""
        lines = []
        for ball, iris in self._eyes:
            centre = (puppet.vertices[ball].min(0) + puppet.vertices[ball].max(0)) / 2
            at_rest, now = puppet.vertices[iris].mean(0) - centre, head[iris].mean(0) - centre
            lines.append(now / np.linalg.norm(now) - at_rest / np.linalg.norm(at_rest))
        ahead = puppet.turn.T @ np.array([0, 0, 1.0])
        line = camera.rotation @ (ahead + np.mean(lines, 0))
        return np.array([np.arctan2(line[0], line[2]), np.arctan2(-line[1], np.hypot(line[0], line[2]))], np.float32)

    @cached_property
    def _eyeballs(self) -> dict[str, np.ndarray]:
        """Stage vertices of each eyeball."""
        return {side: np.flatnonzero(np.isin(self.stage.vertices, self.rig.vertices_of(f"eyeball_{side}")))
                for side in "LR"}

    @cached_property
    def _eyes(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Stage vertices of the eyeball, and some of its iris, left and right."""
        where = self.stage.vertices
        return [(self._eyeballs[side], np.flatnonzero(np.isin(where, self.rig.vertices_of(f"iris_{side}")))[::8])
                for side in "LR"]

    def _lid_gap(self, puppet: Puppet, head: np.ndarray) -> np.ndarray:
        marks = self.stage.landmarks

        def gap(v: np.ndarray, upper: list[int], lower: list[int]) -> float:
            return float(v[marks[upper], 1].mean() - v[marks[lower], 1].mean())

        return np.array([gap(head, up, low) / gap(puppet.vertices, up, low)
                         for up, low in (([43, 44], [47, 46]), ([37, 38], [41, 40]))], np.float32)

    def _visibility(self, look, seen, placed, normals, depth, camera: Camera) -> dict[str, float]:
        """Of what a face shows at rest from the front, what is shown now."""
        height, width = depth.shape
        rows = self._region_rows
        x, y = (placed[rows, :2] + np.float32(0.5)).astype(np.int32).T
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        front = depth[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]
        turned = normals[rows] @ camera.rotation[2].astype(np.float32)
        shown = inside & (turned > 0.05) & (seen[rows, 2] > front - _NEAR_ENOUGH) & look.shown
        shares = np.add.reduceat(shown.astype(np.float64), self._region_starts) / look.region_counts
        return dict(zip(self._region_names, shares.tolist(), strict=True))


@dataclass(frozen=True, eq=False)
class _Look:
    """What the renderer derives once from a puppet at rest."""

    studio: np.ndarray
    normals: dict[str, np.ndarray]
    levels: dict[str, list[np.ndarray]]
    bare: np.ndarray
    solid: np.ndarray
    front: np.ndarray
    shown: np.ndarray
    region_counts: np.ndarray

    @classmethod
    def of(cls, puppet: Puppet, *, rig: Rig, rows: np.ndarray, starts: np.ndarray) -> _Look:
        stage = rig.stage
        faces = stage.triangles[:stage.skin_triangles]
        normals = smooth(vertex_normals(puppet.vertices[:stage.skin], faces), stage.neighbours, _FOLD_SMOOTH)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-6
        reliefs = {}
        for part in ("front", "rear"):
            own = vertex_normals(getattr(puppet, f"{part}_vertices"), getattr(puppet, f"{part}_triangles"))
            own *= np.where(own[:, 2:] < 0, -1, 1)
            own[:, 2] += 1  # the relief is flatter than what it shows
            reliefs[part] = own / (np.linalg.norm(own, axis=1, keepdims=True) + 1e-6)
        images = {"open": puppet.open_lids, "closed": puppet.closed_lids, "eyes": puppet.eye_image,
                  "front": puppet.front, "rear": puppet.rear}
        levels = {name: [image] for name, image in images.items()}
        for chain in levels.values():
            while min(chain[-1].shape[:2]) >= 48 and len(chain) < 4:
                h, w = chain[-1].shape[:2]
                chain.append(cv2.resize(chain[-1], (w // 2, h // 2), interpolation=cv2.INTER_AREA))
        from .creases import SIDE

        bare = cv2.resize(puppet.bare, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        opaque = np.ones(len(stage.vertices), bool)
        opaque[:stage.skin] = puppet.alpha > 0.995
        camera = scene_camera(puppet, rig, Scene(Performance(np.zeros((0, 2)), {})), (_REST, _REST))
        seen = camera.see(puppet.vertices)
        placed = camera.place(seen)
        depth, _, _ = rasterise(placed, stage.triangles[:stage.outer_triangles], _REST, _REST, cull=True)
        x, y = np.clip(placed[rows, :2] + 0.5, 0, _REST - 1).astype(np.int32).T
        shown = (normals[rows, 2] > 0.05) & (seen[rows, 2] > depth[y, x] - _NEAR_ENOUGH)
        return cls(studio(normals), reliefs, levels, bare, opaque[stage.triangles].all(1), normals[:, 2] > 0.5, shown,
                   np.maximum(np.add.reduceat(shown.astype(np.float64), starts), 1))

    def level(self, name: str, pixels_per_source_pixel: float) -> tuple[np.ndarray, float]:
        """The picture at the resolution that suits, and its scale; bilinear sampling skips pixels in finer ones."""
        chain = self.levels[name]
        pick = int(np.clip(np.floor(-np.log2(max(pixels_per_source_pixel, 1e-3)) + 0.4), 0, len(chain) - 1))
        return chain[pick], chain[pick].shape[1] / chain[0].shape[1]


def _closing(blink: float) -> float:
    """How far the closed-lid texture has replaced the open one."""
    return float(np.clip((blink - 0.15) / 0.45, 0, 1))
