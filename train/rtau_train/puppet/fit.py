"""The rig takes a person's shape: a perspective fit to the portrait's points, then a gentle warp onto them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.optimize import least_squares

from .portrait import Portrait
from .rig import Rig

#: Camera to head, cm. A portrait doesn't tell it; focal length makes up for it.
DISTANCE = 150.0
_IDENTITY_MODES = 60
_IDENTITY_PRIOR = 0.8
_PITCH_SD = np.radians(5)  # pitch and the shape of nose and chin explain each other; photographers level the head
_TURN_SD = 0.5

#: Multi-PIE points that the fit uses and how much each is trusted.
_TRUST = {**{i: 0.35 for i in range(17, 27)}, **{i: 1.0 for i in (*range(48, 60), 61, 62, 63, 65, 66, 67)},
          **{i: 2.0 for i in range(36, 48)}, 31: 0.5, 35: 0.5, 33: 0.8, 8: 0.6}


@dataclass(frozen=True)
class Fit:
    """A rig posed before a portrait's camera.

    Attributes:
        head: float32 [V, 3], the person's vertices in head coordinates, cm.
        camera: float32 [V, 3], the same in camera coordinates (x right, y up, z to the camera;
            the camera is at z = `DISTANCE`).
        rotation: float64 [3, 3], head to camera; translation: [3], cm.
        focal: pixels; centre: principal point, pixels.
        error: float [P], distance of the points after the rigid and identity fit, before the warp, pixels.
        weights: identity weights [60].
        jaw_error: mean distance of the jaw points from the fitted outline, pixels.
    """

    head: np.ndarray
    camera: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    focal: float
    centre: tuple[float, float]
    error: np.ndarray
    weights: np.ndarray
    jaw_error: float

    def project(self, camera: np.ndarray) -> np.ndarray:
        """Camera coordinates [N, 3] to pixels [N, 2]."""
        return _project(camera, self.focal, self.centre)


def fit_rig(portrait: Portrait, rig: Rig) -> Fit:
    """Find pose, focal length and identity of a frontal portrait.

    Points within 1.5 px count as equal; the mesh is then moved sideways and up onto them by
    a smooth radial interpolation, eyeballs rigidly with their lids. Depth stays the rig's.
    """
    height, width = portrait.image.shape[:2]
    centre = (width / 2, height / 2)
    which = np.array(sorted(_TRUST))
    trust = np.array([_TRUST[i] for i in which])
    target = portrait.points[which].astype(np.float64)
    vertex = rig.landmarks[which]
    scale = portrait.eye_distance / 96  # the tolerances below are for a face of this size

    outline = np.unique(np.r_[vertex, rig.jaw_right, rig.jaw_left])
    row = np.full(len(rig.neutral), -1)
    row[outline] = np.arange(len(outline))
    mean, modes = rig.neutral[outline].astype(np.float64), rig.identity[:_IDENTITY_MODES, outline].astype(np.float64)
    modes_flat = modes.reshape(_IDENTITY_MODES, -1)
    points, right, left = row[vertex], row[rig.jaw_right], row[rig.jaw_left]

    def shape(x: np.ndarray) -> np.ndarray:
        head = mean + (x[6:] @ modes_flat).reshape(mean.shape)
        return head @ _rotation(x[:3]).T + np.array([x[3], x[4], 0])

    def residuals(x: np.ndarray) -> np.ndarray:
        placed = _project(shape(x), np.exp(x[5]) * 1000, centre)
        near = ((placed[points] - target) * trust[:, None]).ravel() / (1.5 * scale)
        jaw = _offsets(portrait.jaw, _outline(placed[right], placed[left])).ravel() / (3 * scale)
        return np.concatenate([near, jaw, _IDENTITY_PRIOR * x[6:],
                               x[:3] / np.array([_PITCH_SD, _TURN_SD, _TURN_SD])])

    eyes = portrait.irises[:, :2].mean(0)
    focal = portrait.eye_distance / 6.3 * DISTANCE
    start = np.concatenate([np.zeros(3), (eyes - centre) * (1, -1) / focal * DISTANCE - (0, 2.5),
                            [np.log(focal / 1000)], np.zeros(_IDENTITY_MODES)])
    found = least_squares(residuals, start, method="trf", max_nfev=40).x

    rotation, move, focal = _rotation(found[:3]), np.array([found[3], found[4], 0]), float(np.exp(found[5]) * 1000)
    head = rig.neutral + np.tensordot(found[6:].astype(np.float32), rig.identity[:_IDENTITY_MODES], 1)
    camera = head @ rotation.T + move
    placed = _project(camera, focal, centre)
    jaw = _offsets(portrait.jaw, _outline(placed[rig.jaw_right], placed[rig.jaw_left]))
    error = np.linalg.norm(placed[vertex] - target, axis=1)
    camera = camera + _warp(rig, camera, vertex, trust, target - placed[vertex], focal)
    return Fit(((camera - move) @ rotation).astype(np.float32), camera.astype(np.float32), rotation, move, focal,
               centre, error, found[6:], float(np.linalg.norm(jaw, axis=1).mean()))


def _warp(rig: Rig, camera: np.ndarray, vertex: np.ndarray, trust: np.ndarray, miss: np.ndarray, focal: float
          ) -> np.ndarray:
    """Camera-space motion [V, 3] (x and y only) that carries the fitted points onto the picture's."""
    per_cm = (focal / (DISTANCE - camera[vertex, 2]))[:, None]
    pull = miss * (1, -1) / per_cm
    pull[trust < 0.4] *= 0.6  # brow points are placed loosely
    anchors = rig.vertices_of("head_neck")[::12]
    source = np.vstack([camera[vertex], camera[anchors]])
    value = np.vstack([pull, np.zeros((len(anchors), 2))])
    _, once = np.unique(source.round(4), axis=0, return_index=True)
    move = np.zeros_like(camera)
    move[:, :2] = RBFInterpolator(source[once], value[once], kernel="linear", smoothing=0.02)(camera)
    order = {int(v): i for i, v in enumerate(vertex)}
    for side, lids in (("L", rig.landmarks[42:48]), ("R", rig.landmarks[36:42])):
        mean = pull[[order[int(v)] for v in lids]].mean(0)
        for group in ("eyeball_", "eye_socket_", "lacrimal_"):
            move[rig.vertices_of(group + side), :2] = mean
    return move


def _rotation(vector: np.ndarray) -> np.ndarray:
    angle = np.linalg.norm(vector)
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def _project(camera: np.ndarray, focal: float, centre: tuple[float, float]) -> np.ndarray:
    scale = focal / (DISTANCE - camera[:, 2])
    return np.stack([centre[0] + camera[:, 0] * scale, centre[1] - camera[:, 1] * scale], -1)


def _outline(right: np.ndarray, left: np.ndarray) -> np.ndarray:
    """One polyline from the right ear over the chin to the left, whichever way the halves run."""
    down = right if right[0, 1] < right[-1, 1] else right[::-1]
    up = left[::-1] if left[0, 1] < left[-1, 1] else left
    return np.vstack([down, up])


def _offsets(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    """[K, 2]: from the nearest place on a polyline to each point."""
    start, along = line[:-1], np.diff(line, axis=0)
    share = ((points[:, None] - start) * along).sum(-1) / ((along**2).sum(-1) + 1e-9)
    offset = points[:, None] - (start + np.clip(share, 0, 1)[..., None] * along)
    nearest = np.argmin((offset**2).sum(-1), axis=1)
    return offset[np.arange(len(points)), nearest]
