"""Where a head stands before a camera, and where its points come to lie in the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numba as nb
import numpy as np

from .fit import DISTANCE
from .puppet import Puppet
from .rig import Rig
from .scene import Scene

_BROW_TO_CHIN = 13.8  # cm on the generic head; the measure of `Scene.face`


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
        out = np.empty((len(head), 3), np.float32)
        _see(np.ascontiguousarray(head, np.float32), self.rotation.astype(np.float32), self.pivot.astype(np.float32),
             self.offset.astype(np.float32), out)
        return out

    def place(self, camera: np.ndarray, factor: float = 1.0) -> np.ndarray:
        """Camera coordinates to pixels and depth, float32 [N, 3]; `factor` finer pixels."""
        out = np.empty((len(camera), 3), np.float32)
        _place(np.ascontiguousarray(camera, np.float32), np.float32(self.focal), np.float32(self.distance),
               np.float32(self.centre[0]), np.float32(self.centre[1]), np.float32(factor), out)
        return out


@nb.njit(cache=True, fastmath=True)
def _see(head, rotation, pivot, offset, out):
    for i in range(head.shape[0]):
        x, y, z = head[i, 0] - pivot[0], head[i, 1] - pivot[1], head[i, 2] - pivot[2]
        for k in range(3):
            out[i, k] = rotation[k, 0] * x + rotation[k, 1] * y + rotation[k, 2] * z + offset[k]


@nb.njit(cache=True, fastmath=True)
def _place(camera, focal, distance, across, down, factor, out):
    half = np.float32(0.5)
    for i in range(camera.shape[0]):
        scale = focal / (distance - camera[i, 2])
        out[i, 0] = (across + camera[i, 0] * scale + half) * factor - half
        out[i, 1] = (down - camera[i, 1] * scale + half) * factor - half
        out[i, 2] = camera[i, 2]


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
    centre = tuple((float(c) + 0.5) * scale - 0.5 for c in puppet.centre)
    return Camera(puppet.turn.astype(np.float64), np.zeros(3), puppet.place.astype(np.float64), DISTANCE,
                  puppet.focal * scale, centre)
