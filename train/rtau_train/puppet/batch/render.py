"""Many pictures at once in torch: the renderer for a GPU, so that one card can render and train.

It draws what `render.Renderer` draws, vertex for vertex; only the kernels are others. The two are
held together by tests on the CPU. No CUDA device was at hand when this was written: on one it has
not run, and its speed there is not known.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..camera import scene_camera
from ..creases import DEEPEST, DRAWN, HIGHEST, SIDE
from ..look import FOLD, NEAR_ENOUGH
from ..puppet import Puppet
from ..render import INSIDE, MOUTH_DEPTH, PARTED, Renderer, background, eye_turns, eyes_moved, lid_cover, prop_values
from ..rig import EYE, GUMS, LID_INSIDE, SKIN, SOCKET, TEETH, Rig
from ..scene import Scene, Shot
from .light import cast_shadows, relight, studio
from .person import Person, View
from .raster import Atlas, blend, rasterise, vertex_normals

_KEPT = 128  # puppets on the device


@dataclass(frozen=True)
class Batch:
    """Rendered pictures on the device, and what is true of them.

    Attributes:
        images: uint8 [N, H, W, 3], RGB, on the renderer's device.
        shots: the same as N `Shot`s with the truth; their `image` is made on demand by `shot`.
    """

    images: Tensor
    shots: tuple[Shot, ...]

    def shot(self, row: int) -> Shot:
        """One picture as the CPU renderer gives it."""
        return replace(self.shots[row], image=self.images[row].cpu().numpy())


class BatchRenderer:
    """Draws puppets of one rig, many at once.

    Args:
        device: "cuda", "cpu", ...
        most: pictures drawn together; more are split, which bounds memory.
    """

    def __init__(self, rig: Rig, device: str | torch.device = "cuda", *, most: int = 64) -> None:
        self.rig, self.device, self.most = rig, torch.device(device), most
        self.one = Renderer(rig)
        stage = self.stage = rig.stage
        self._triangles = self._to(stage.triangles).long()
        self._kind = self._to(stage.kind)
        self._shapes = self._to(rig.shapes[:, stage.vertices].reshape(len(rig.shapes), -1))
        self._uv, self._lid = self._to(stage.uv), self._to(stage.lid)
        first, neighbour = stage.neighbours
        owner = np.repeat(np.arange(stage.skin), np.diff(first))
        self._owner, self._neighbour = self._to(owner).long(), self._to(neighbour).long()
        self._degree = self._to(np.diff(first) + 1.0).float()
        self._people: OrderedDict[int, tuple[Puppet, Person]] = OrderedDict()
        self._variants: dict[int, Tensor] = {}

    def _to(self, array: np.ndarray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(array)).to(self.device)

    @torch.no_grad()
    def render(self, puppets: Sequence[Puppet], scenes: Sequence[Scene], *, size: tuple[int, int] = (160, 160),
               supersample: int = 2) -> Batch:
        """Draw puppet i in scene i; see `Renderer.render`."""
        parts = [self._render(puppets[i:i + self.most], scenes[i:i + self.most], size, supersample)
                 for i in range(0, len(scenes), self.most)]
        return Batch(torch.cat([p.images for p in parts]), tuple(s for p in parts for s in p.shots))

    # -- one chunk ---------------------------------------------------------------------------

    def _render(self, puppets, scenes, size, fine) -> Batch:
        n, stage, rig = len(scenes), self.stage, self.rig
        width, height = size[0] * fine, size[1] * fine
        people = [self._person(p) for p in puppets]
        cameras = [scene_camera(p, rig, s, size) for p, s in zip(puppets, scenes, strict=True)]
        view = View(cameras, fine, self.device)

        weights = np.zeros((n, len(rig.shape_names)), np.float32)
        for row, scene in enumerate(scenes):
            for name, value in scene.performance.shapes.items():
                weights[row, rig.shape_index[name]] = value
        motion = (self._to(weights) @ self._shapes).view(n, -1, 3)
        shape = self._to(np.stack([s.identity.motion(rig) for s in scenes]))
        rest, whole = torch.stack([p.vertices for p in people]) + shape, motion + shape
        head = rest + motion
        self._turn_eyes(head, scenes)
        teeth = self._to(self.one.teeth_rows).long()
        head[:, teeth, 1] += self._to(np.array([s.teeth[1] for s in scenes], np.float32))[:, None]
        seen = view.see(head)
        placed = view.place(seen)

        marks = self._to(stage.landmarks).long()
        lips = motion[:, marks[[61, 62, 63]], 1] - motion[:, marks[[67, 66, 65]], 1]
        parted = lips.amax(1) > PARTED
        count = len(self._triangles)
        shown = torch.arange(count, device=self.device)[None] < torch.where(parted, count, stage.outer_triangles)[:, None]
        picture, local = torch.nonzero(shown, as_tuple=True)
        flat = self._triangles[local] + (picture * placed.shape[1])[:, None]
        depth, which, share = rasterise(placed.reshape(-1, 3), flat, picture, n, height, width, cull=True)
        normals = self._smooth(vertex_normals(head[:, :stage.skin], self._triangles[:stage.skin_triangles]), FOLD.rounds)
        normals = normals / (normals.norm(dim=2, keepdim=True) + 1e-6)
        values = self._mesh_values(people, puppets, scenes, head, seen, normals, view, parted)

        colour = torch.zeros((n, height, width, 3), device=self.device)
        cover = torch.zeros((n, height, width), device=self.device)
        scene_depth = depth.clone()
        if any(s.props for s in scenes):
            window = 2 * fine + 1
            closed = F.max_pool2d(depth[:, None], window, 1, fine)
            closed = -F.max_pool2d(-closed, window, 1, fine)[:, 0]
            scene_depth = torch.where(which < 0, closed, depth)
        on_mesh = torch.where(which >= 0, local[which.clamp(min=0)], -1)
        solid = torch.stack([p.solid for p in people])
        hidden_by_mesh = (on_mesh >= 0) & solid.gather(1, on_mesh.clamp(min=0).view(n, -1)).view(which.shape)
        scale = [fine * c.focal / p.focal * 150 / c.distance for c, p in zip(cameras, puppets, strict=True)]
        for part in ("rear", "front"):
            layer_depth = self._draw_relief(part, people, scenes, view, whole, scale, hidden_by_mesh, colour, cover)
            scene_depth = torch.maximum(scene_depth, layer_depth)
        self._draw_mesh(people, scenes, cameras, which, share, flat, on_mesh, values, scale, fine, colour, cover)
        hidden = self._draw_props(scenes, cameras, view, on_mesh, scene_depth, colour, cover)

        if fine > 1:
            colour = F.avg_pool2d(colour.permute(0, 3, 1, 2), fine).permute(0, 2, 3, 1)
            cover = F.avg_pool2d(cover[:, None], fine)[:, 0]
        behind = self._to(np.stack([background(p, s, size).astype(np.float32) for p, s in zip(puppets, scenes, strict=True)]))
        images = (colour + behind * (1 - cover)[..., None] + 0.5).clamp(0, 255).to(torch.uint8)
        return Batch(images, self._truth(people, puppets, scenes, cameras, view, motion, rest, head, seen, placed, normals,
                                         scene_depth, hidden))

    # -- vertices ----------------------------------------------------------------------------

    def _smooth(self, values: Tensor, rounds: int) -> Tensor:
        for _ in range(rounds):
            total = values.clone()
            total.index_add_(1, self._owner, values[:, self._neighbour])
            values = total / self._degree[:, None]
        return values

    def _turn_eyes(self, head: Tensor, scenes: Sequence[Scene]) -> None:
        turns = [eye_turns(s.performance.shapes) for s in scenes]
        for side, rows in self.one.eyeballs.items():
            turn = self._to(np.stack([t.get(side, np.eye(3, dtype=np.float32)) for t in turns]))
            rows = self._to(rows).long()
            ball = head[:, rows]
            middle = (ball.amin(1, keepdim=True) + ball.amax(1, keepdim=True)) / 2
            head[:, rows] = (ball - middle) @ turn.mT + middle

    def _mesh_values(self, people, puppets, scenes, head, seen, normals, view: View, parted: Tensor) -> Tensor:
        stage, skin = self.stage, self.stage.skin
        values = torch.ones((len(scenes), head.shape[1], 7), device=self.device)
        lit = cast_shadows(seen[:, :skin], self._triangles[:stage.skin_triangles], [s.light for s in scenes])
        if lit is not None:
            lit = self._smooth(lit.mT, 1).mT
        light = relight(normals, view.rotation, [s.light for s in scenes], lit)
        shut, covered = (self._to(np.stack(v)) for v in
                         zip(*(lid_cover(s.performance.shapes) for s in scenes), strict=True))
        side = torch.stack([p.side for p in people])
        values[:, :skin, 6] = covered.gather(1, side)
        fold = (studio(normals) / torch.stack([p.studio for p in people])) ** (
            FOLD.gain * (1 - 0.85 * (self._lid * 1.5).clamp(0, 1) * shut.gather(1, side)))
        values[:, :skin, 0:2] = self._uv
        values[:, :skin, 2:5] = fold.clamp(FOLD.darkest, FOLD.brightest)[..., None] * light
        values[:, :skin, 5] = torch.stack([p.alpha for p in people])
        front = torch.stack([p.front_facing for p in people]).float()
        mean_light = (light * front[..., None]).sum(1) / front.sum(1, keepdim=True)
        eye = self._to(self.one.eye_rows).long()
        values[:, eye, 0:2] = torch.stack([p.eye_places for p in people])
        values[:, eye, 2:5] = mean_light[:, None]
        base = {kind: self._to(np.array(c, np.float32)) for kind, c in INSIDE.items()}
        values[:, self._to(self.one.lid_rows).long(), 2:5] = (153 * base[LID_INSIDE] * mean_light)[:, None]
        if parted.any():
            self._light_mouth(values, puppets, scenes, head, seen, mean_light, base)
        return values

    def _light_mouth(self, values, puppets, scenes, head, seen, light, base) -> None:
        stage = self.stage
        marks = self._to(stage.landmarks[[61, 62, 63, 65, 66, 67]]).long()
        lips = seen[:, marks, 2].amax(1, keepdim=True)
        inner = vertex_normals(head, self._triangles[stage.outer_triangles:])[..., 2]
        facing = (0.45 + 0.55 * inner.abs()).clamp(0, 1)
        deep = (lips - seen[..., 2]).clamp(0, 5)
        exposure = self._to(np.array([np.clip(p.sclera.mean() / 0.72, 0.75, 1.1) for p in puppets], np.float32))
        teeth = self._to(np.array([s.teeth for s in scenes], np.float32))
        for kind in (SOCKET, GUMS, TEETH):
            rows = self._to(np.flatnonzero(self.one.kinds == kind)).long()
            own = torch.exp(-deep[:, rows] / MOUTH_DEPTH[kind]) * facing[:, rows] * exposure[:, None]
            if kind == TEETH:
                own = own * (teeth[:, :1] + teeth[:, 2:] * 0.5 * (facing[:, rows] - 1))
            values[:, rows, 2:5] = 255 * base[kind] * own[..., None] * light[:, None]

    # -- drawing -----------------------------------------------------------------------------

    def _draw_relief(self, part, people, scenes, view: View, motion, scale, hidden, colour, cover) -> Tensor:
        n, height, width = cover.shape
        layers = [p.layers[part] for p in people]
        starts = np.cumsum([0, *(len(layer.vertices) for layer in layers)])
        placed, values, triangles, picture = [], [], [], []
        for row, layer in enumerate(layers):
            moved = layer.vertices + (motion[row][layer.leaders] * layer.shares[..., None]).sum(1)
            placed.append(view.place(view.see(moved[None], [row]), [row])[0])
            light = relight(layer.normals[None], view.rotation[row:row + 1], [scenes[row].light], None)[0]
            values.append(torch.cat([layer.pixel, light], 1))
            triangles.append(layer.triangles + int(starts[row]))
            picture.append(torch.full((len(layer.triangles),), row, device=self.device))
        placed, values, triangles = torch.cat(placed), torch.cat(values), torch.cat(triangles)
        depth, which, share = rasterise(placed, triangles, torch.cat(picture), n, height, width)
        levels = [p.level(part, s) for p, s in zip(people, scale, strict=True)]
        atlas = Atlas([image for image, _ in levels])
        factor = torch.tensor([f for _, f in levels], device=self.device)
        b, r, c = torch.nonzero((which >= 0) & ~hidden, as_tuple=True)
        own = blend(values, triangles, which[b, r, c], share[b, r, c])
        sampled = atlas.sample(b, (own[:, 0] + 0.5) * factor[b] - 0.5, (own[:, 1] + 0.5) * factor[b] - 0.5)
        alpha = sampled[:, 3:] / 255
        colour[b, r, c] = colour[b, r, c] * (1 - alpha) + sampled[:, :3] * own[:, 2:] * alpha
        cover[b, r, c] = cover[b, r, c] * (1 - alpha[:, 0]) + alpha[:, 0]
        return depth

    def _draw_mesh(self, people, scenes, cameras, which, share, flat, on_mesh, values, scale, fine, colour, cover):
        b, r, c = torch.nonzero(which >= 0, as_tuple=True)
        own = blend(values.reshape(-1, 7), flat, which[b, r, c], share[b, r, c])
        kind = self._kind[on_mesh[b, r, c]]
        out = torch.ones((len(b), 3), device=self.device)
        skin = kind == SKIN
        out[skin] = self._skin(people, scenes, scale, b[skin], own[skin])
        eye = kind == EYE
        levels = [p.level("eyes", s) for p, s in zip(people, scale, strict=True)]
        factor = torch.tensor([f for _, f in levels], device=self.device)[b[eye]]
        places = (own[eye, :2] + 0.5) * factor[:, None] - 0.5
        moved = torch.tensor([eyes_moved(s.performance.shapes) for s in scenes], device=self.device)
        reach = torch.tensor([0.45 * cam.focal / cam.distance * fine for cam in cameras], device=self.device)
        is_skin = (on_mesh >= 0) & (self._kind[on_mesh.clamp(min=0)] == SKIN)
        above = torch.zeros(int(eye.sum()), device=self.device)
        for k in range(1, 5):
            row = (r[eye] - reach[b[eye]] * k / 4).trunc().long()
            above += (row >= 0) & is_skin[b[eye], row.clamp(min=0), c[eye]]
        dark = 1 - 0.4 * moved[b[eye]] * above / 4
        out[eye] = Atlas([i for i, _ in levels]).sample(b[eye], places[:, 0], places[:, 1]) * dark[:, None]
        alpha = own[:, 5:6].clamp(0, 1)
        alpha = alpha * alpha * (3 - 2 * alpha)
        colour[b, r, c] += (out * own[:, 2:5] - colour[b, r, c]) * alpha
        cover[b, r, c] += (1 - cover[b, r, c]) * alpha[:, 0]

    def _skin(self, people, scenes, scale, b: Tensor, own: Tensor) -> Tensor:
        u, v = own[:, 0], own[:, 1]
        texels = [s * 270 / 768 for s in scale]
        open_, closed = (Atlas([p.level(name, t)[0] for p, t in zip(people, texels, strict=True)])
                         for name in ("open", "closed"))
        out = open_.sample(b, *open_.place(b, u, v))
        shut = own[:, 6:7].clamp(0, 1)
        out = out + (closed.sample(b, *closed.place(b, u, v)) - out) * torch.where(shut > 0.003, shut, 0)
        gains = Atlas([self._changed(s.skin.gain, 1.0, 3) for s in scenes])
        if any(s.skin.gain is not None for s in scenes):
            out = out * gains.sample(b, *gains.place(b, u, v))
        if any(s.skin.paint is not None for s in scenes):
            paint = Atlas([self._changed(s.skin.paint, 0.0, 3) for s in scenes])
            covering = Atlas([self._changed(None if s.skin.cover is None else s.skin.cover[..., None], 0.0, 1)
                              for s in scenes])
            laid = covering.sample(b, *covering.place(b, u, v))
            out = out + (255 * paint.sample(b, *paint.place(b, u, v)) - out) * laid
        creases = torch.stack([self._crease(s) for s in scenes])
        if (creases != 0).any():
            folds = Atlas([c[..., None] for c in creases])
            x, y = folds.place(b, u, v)
            fold = folds.sample(b, x, y)[:, 0].clamp(DEEPEST, HIGHEST)
            at = [p.clamp(0, SIDE - 1.001).long() for p in (y, x)]
            bare = torch.stack([p.bare for p in people])[b, at[0], at[1]]
            out = out * (1 + fold * bare)[:, None]
        return out

    def _changed(self, image: np.ndarray | None, rest: float, channels: int) -> Tensor:
        return torch.full((2, 2, channels), rest, device=self.device) if image is None else self._to(image)

    def _crease(self, scene: Scene) -> Tensor:
        number, depths = self.one.creases.plan(scene.performance.activation, seed=scene.crease_seed,
                                               amount=scene.crease_amount)
        if not depths:
            return torch.zeros((SIDE, SIDE), device=self.device)
        if number not in self._variants:
            maps = self.one.creases.variant(number)
            self._variants[number] = self._to(np.stack([maps[au] for au in DRAWN]))
        sides = np.array([depths.get(au, (0.0, 0.0)) for au in DRAWN], np.float32)
        across = self.one.creases.left
        columns = self._to((sides[:, 1:] + (sides[:, :1] - sides[:, 1:]) * across).astype(np.float32))
        return (self._variants[number] * columns[:, None]).sum(0)

    def _draw_props(self, scenes, cameras, view: View, on_mesh, scene_depth, colour, cover) -> list[dict[str, float]]:
        n, height, width = cover.shape
        hidden: list[dict[str, float]] = [{} for _ in range(n)]
        on_face = (on_mesh >= 0) & (on_mesh < self.stage.skin_triangles)
        face = on_face.flatten(1).sum(1).clamp(min=1)
        for turn in range(max((len(s.props) for s in scenes), default=0)):
            rows = [i for i, s in enumerate(scenes) if len(s.props) > turn]
            placed, values, triangles, picture, start = [], [], [], [], 0
            for row in rows:
                prop = scenes[row].props[turn]
                vertices = self._to(np.asarray(prop.vertices, np.float32))
                placed.append(view.place(view.see(vertices[None], [row]), [row])[0])
                values.append(self._to(prop_values(prop, scenes[row], cameras[row])))
                triangles.append(self._to(prop.triangles).long() + start)
                picture.append(torch.full((len(prop.triangles),), row, device=self.device))
                start += len(vertices)
            flat = torch.cat(triangles)
            depth, which, share = rasterise(torch.cat(placed), flat, torch.cat(picture), n, height, width)
            b, r, c = torch.nonzero((which >= 0) & (depth >= scene_depth), as_tuple=True)
            own = blend(torch.cat(values), flat, which[b, r, c], share[b, r, c])
            alpha = own[:, 3:].clamp(0, 1)
            colour[b, r, c] += (own[:, :3] - colour[b, r, c]) * alpha
            cover[b, r, c] += (1 - cover[b, r, c]) * alpha[:, 0]
            covered = torch.zeros(n, device=self.device).index_add_(0, b, alpha[:, 0] * on_face[b, r, c]) / face
            near = alpha[:, 0] > 0.5
            scene_depth[b[near], r[near], c[near]] = depth[b[near], r[near], c[near]]
            for row, value in zip(rows, covered[rows].tolist(), strict=True):
                name = scenes[row].props[turn].name
                hidden[row][name] = hidden[row].get(name, 0.0) + value
        return hidden

    # -- truth -------------------------------------------------------------------------------

    def _truth(self, people, puppets, scenes, cameras, view, motion, rest, head, seen, placed, normals, depth, hidden):
        one, marks = self.one, self._to(self.stage.landmarks).long()
        rows = self._to(one.region_rows).long()
        height, width = depth.shape[1:]
        x, y = (placed[:, rows, :2] + 0.5).int().long().unbind(2)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        picture = torch.arange(len(scenes), device=self.device)[:, None]
        front = depth[picture, y.clamp(0, height - 1), x.clamp(0, width - 1)]
        turned = (normals[:, rows] * view.rotation[:, 2][:, None]).sum(2)
        shown = inside & (turned > 0.05) & (seen[:, rows, 2] > front - NEAR_ENOUGH)
        shown = (shown & torch.stack([p.shown for p in people])).cpu().numpy()
        points = ((view.place(seen[:, marks])[..., :2] + 0.5) / view.fine - 0.5).cpu().numpy()
        gap = (motion[:, marks[62], 1] - motion[:, marks[66], 1]).cpu().numpy()
        rest, head = rest.cpu().numpy(), head.cpu().numpy()
        shots = []
        for i, (puppet, scene, camera) in enumerate(zip(puppets, scenes, cameras, strict=True)):
            shots.append(Shot(
                image=np.zeros((0, 0, 3), np.uint8), points=points[i].astype(np.float32),
                pose=np.array([scene.yaw, scene.pitch, scene.roll], np.float32),
                rotation=camera.rotation.astype(np.float32), gaze=one.gaze(puppet, head[i], camera),
                visibility=one.region_shares(shown[i], one.look(puppet)), lip_gap=10 * float(gap[i]),
                lid_gap=one.lid_gap(rest[i], head[i]), covered_by=hidden[i]))
        return tuple(shots)

    def _person(self, puppet: Puppet) -> Person:
        key = id(puppet)
        if key in self._people:
            self._people.move_to_end(key)
            return self._people[key][1]
        # The puppet is kept with it, so that its id stays its own.
        self._people[key] = (puppet, Person(puppet, self.one, self._to))
        while len(self._people) > _KEPT:
            self._people.popitem(last=False)
        return self._people[key][1]
