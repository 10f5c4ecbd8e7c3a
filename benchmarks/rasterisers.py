"""Compares ways to rasterise and shade a puppet on the CPU: the compiled kernels, and OpenGL in software.

    pip install moderngl
    python benchmarks/rasterisers.py --rig rtau-data/ict_facekit --faces rtau-data/faces

Both draw the same three meshes (two reliefs and the face) twice finer than a 160 px picture and hand back
the pixels. OpenGL runs over EGL, which needs Mesa's software driver (libegl1, libgl1-mesa-dri) or a GPU.
Vertex work (motion, normals, light) is the same for both and not counted.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from rtau_train.puppet.raster import rasterise
from rtau_train.puppet.camera import scene_camera
from rtau_train.puppet.render import Renderer
from rtau_train.puppet.rig import load_rig
from rtau_train.puppet.sample import AUS
from rtau_train.puppet.scene import Performance, Scene
from rtau_train.puppet.shader import shade_mesh, shade_relief
from rtau_train.puppet.cast import Cast, default_puppets

_SIDE = 320
_VERTEX = """#version 330
in vec3 place; in vec2 uv; out vec2 v_uv;
void main() { gl_Position = vec4(place, 1.0); v_uv = uv; }"""
_FRAGMENT = """#version 330
in vec2 v_uv; out vec4 colour; uniform sampler2D photo;
void main() { colour = texture(photo, v_uv); }"""


def _meshes(puppet, renderer: Renderer):
    """(placed [V, 3], triangles, texture place 0..1 [V, 2], picture) of rear, front and face."""
    scene = Scene(Performance(np.zeros((len(AUS), 2), np.float32), {}), yaw=0.2, face=0.5)
    camera = scene_camera(puppet, renderer.rig, scene, (_SIDE, _SIDE))
    size = np.array(puppet.front.shape[1::-1], np.float32)
    for part in ("rear", "front"):
        vertices = getattr(puppet, f"{part}_vertices")
        yield (camera.place(camera.see(vertices)), getattr(puppet, f"{part}_triangles"),
               getattr(puppet, f"{part}_pixel") / size, getattr(puppet, part))
    stage = renderer.stage
    uv = np.zeros((len(puppet.vertices), 2), np.float32)
    uv[:stage.skin] = stage.uv
    yield camera.place(camera.see(puppet.vertices)), stage.triangles[:stage.outer_triangles], uv, puppet.open_lids


def _kernels(meshes, renderer: Renderer):
    stage = renderer.stage
    dummy, flat = np.zeros((2, 2, 3), np.float32), np.zeros((2, 2), np.float32)
    solid = np.zeros(len(stage.triangles), bool)

    def draw():
        colour, cover = np.zeros((_SIDE, _SIDE, 3), np.float32), np.zeros((_SIDE, _SIDE), np.float32)
        placed, triangles, uv, texture = meshes[2]
        _, face, weights = rasterise(placed, triangles, _SIDE, _SIDE, cull=True)
        for place, mesh, pixel, photo in meshes[:2]:
            _, which, share = rasterise(place, mesh, _SIDE, _SIDE)
            values = np.ones((len(place), 5), np.float32)
            values[:, :2] = pixel * photo.shape[1::-1]
            shade_relief(which, share, mesh, values, photo, 1.0, face, solid, colour, cover)
        values = np.ones((len(placed), 7), np.float32)
        values[:, :2] = uv
        shade_mesh(face, weights, stage.triangles, stage.kind, values, texture, texture, flat, flat, False, dummy, False,
                   dummy, flat, False, texture, 1.0, 0.0, 1.0, colour, cover)
        return colour

    return draw


def _opengl(meshes):
    import moderngl

    context = moderngl.create_context(standalone=True, backend="egl")
    program = context.program(_VERTEX, _FRAGMENT)
    target = context.framebuffer([context.texture((_SIDE, _SIDE), 4)], context.depth_renderbuffer((_SIDE, _SIDE)))
    drawn = []
    for placed, triangles, uv, photo in meshes:
        texture = context.texture(photo.shape[1::-1], photo.shape[2], np.ascontiguousarray(photo).tobytes())
        places = context.buffer(reserve=len(placed) * 12)
        array = context.vertex_array(program, [(places, "3f", "place"), (context.buffer(uv.astype("f4").tobytes()),
                                                                         "2f", "uv")],
                                     context.buffer(triangles.astype("i4").tobytes()))
        drawn.append((placed, places, texture, array))

    def draw():
        target.use()
        context.enable(moderngl.DEPTH_TEST | moderngl.BLEND)
        target.clear()
        for placed, places, texture, array in drawn:
            screen = placed / np.float32([_SIDE / 2, _SIDE / 2, -100]) - np.float32([1, 1, 0])
            places.write(np.ascontiguousarray(screen, np.float32).tobytes())
            texture.use()
            array.render()
        return np.frombuffer(target.read(components=4), np.uint8)

    return draw, context.info["GL_RENDERER"]


def _median(draw, times: int) -> tuple[float, float]:
    """Median milliseconds of wall clock, and mean milliseconds of processor time (all threads)."""
    draw()
    walls, busy = [], time.process_time()
    for _ in range(times):
        start = time.perf_counter()
        draw()
        walls.append(time.perf_counter() - start)
    return 1e3 * float(np.median(walls)), 1e3 * (time.process_time() - busy) / times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--rig", type=Path, required=True)
    parser.add_argument("--person", default="001")
    parser.add_argument("--times", type=int, default=100)
    args = parser.parse_args()
    renderer = Renderer(load_rig(args.rig))
    puppet = Cast(args.faces, args.rig, default_puppets(args.faces)).puppet(args.person, renderer.rig)
    meshes = list(_meshes(puppet, renderer))
    table = Table("way", "wall ms", "processor ms", title=f"{_SIDE} x {_SIDE}, "
                  f"{sum(len(m[1]) for m in meshes)} triangles, median of {args.times}")
    wall, busy = _median(_kernels(meshes, renderer), args.times)
    table.add_row("compiled kernels (numba)", f"{wall:.1f}", f"{busy:.1f}")
    try:
        draw, name = _opengl(meshes)
        wall, busy = _median(draw, args.times)
        table.add_row(f"OpenGL over EGL, {name}", f"{wall:.1f}", f"{busy:.1f}")
    except Exception as error:  # the driver's own errors have no common type
        table.add_row(f"OpenGL over EGL: not here ({error})", "", "")
    Console().print(table)


if __name__ == "__main__":
    main()
