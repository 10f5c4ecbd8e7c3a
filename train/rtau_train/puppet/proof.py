"""Proof that the labels are true: what each AU moves, what leaks into others, where landmarks land, what rest looks like."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .camera import Camera, portrait_camera, scene_camera
from .labels import intensities
from .portrait import Portrait
from .puppet import Puppet
from .raster import rasterise
from .render import Renderer
from .rig import Rig
from .sample import AUS, shapes_of
from .scene import Performance, Scene

#: What a coder looks at first, as Multi-PIE points (both sides) and a direction in head axes;
#: positive is more of the AU, "out" is away from the middle line. A second set of points is
#: what the first is seen against, and both must show it: corners drop against the lips, not with the jaw.
SIGNS: dict[int, tuple[tuple[int, ...], str, tuple[int, ...]]] = {
    1: ((20, 21, 22, 23), "up", ()), 2: ((17, 18, 25, 26), "up", ()), 4: ((20, 21, 22, 23), "down", ()),
    5: ((37, 38, 43, 44), "up", ()), 6: ((), "cheek", ()), 7: ((40, 41, 46, 47), "up", ()),
    9: ((31, 35), "up", ()), 10: ((50, 51, 52), "up", (48, 54)), 12: ((48, 54), "up", (50, 51, 52)),
    14: ((48, 54), "dimple", ()), 15: ((48, 54), "down", (51, 57)), 17: ((56, 57, 58), "up", (50, 51, 52)),
    20: ((48, 54), "stretch", ()), 23: ((), "lips narrow", ()), 24: ((), "lips narrow", ()),
    25: ((), "lips part", ()), 26: ((8,), "down", ()), 43: ((37, 38, 43, 44), "down", ())}
#: An AU may carry another's sign this far, as a share of that AU's own full motion, without the label minding.
STATED_LEAK = 0.5
_LEVELS = (0.15, 0.30, 0.55, 0.80, 1.0)  # activation at grades A to E


@dataclass(frozen=True)
class Leak:
    """An AU that moves what another AU is known by.

    Attributes:
        cause, seen_as: AU numbers; share: of `seen_as`'s own motion at activation 1.
        handled: what the labels do about it: "labeled", "ignored", or "" when it is stated only.
    """

    cause: int
    seen_as: int
    share: float
    handled: str


def performance(au: int, level: float) -> Performance:
    """One AU alone, both sides."""
    activation = np.zeros((len(AUS), 2), np.float32)
    activation[AUS.index(au)] = level
    return Performance(activation, shapes_of(activation))


def sign(rig: Rig, motion: np.ndarray, au: int) -> float:
    """How far vertices' motion [V, 3] (cm) carries an AU's sign, mm."""
    points, way, against = SIGNS[au]
    moved = 10 * motion[rig.landmarks]
    if way == "cheek":
        return float(10 * motion[_cheeks(rig), 1].mean())
    if way == "lips part":
        return float((moved[[61, 62, 63], 1] - moved[[67, 66, 65], 1]).mean())
    if way == "lips narrow":
        # The red of both lips, from outer edge to inner edge.
        return float(((moved[[61, 62, 63], 1] - moved[[50, 51, 52], 1])
                      + (moved[[58, 57, 56], 1] - moved[[67, 66, 65], 1])).mean())
    rows = list(points)
    out = (moved[rows, 0] * np.sign(rig.neutral[rig.landmarks[rows], 0])).mean()
    up = moved[rows, 1].mean()
    if against:
        beside = up - moved[list(against), 1].mean()
        up = min(up, beside) if way == "up" else max(up, beside)
    if way == "dimple":  # corners drawn in, not carried round the jaw by a smile
        return float(-moved[rows, 2].mean() - abs(up))
    if way == "stretch":  # corners drawn straight to the side
        return float(out - abs(up))
    return float(up if way == "up" else -up)


def _cheeks(rig: Rig) -> np.ndarray:
    """The skin over the cheek bones, below the lower lids."""
    p, skin = rig.neutral[rig.landmarks], rig.neutral[:rig.stage.skin]
    x, y = np.abs(skin[:, 0]), skin[:, 1]
    low = p[41, 1]
    return np.flatnonzero((x > p[47, 0]) & (x < p[45, 0] + 1) & (y < low - 0.8) & (y > low - 2.4))


def motions(rig: Rig) -> dict[int, list[float]]:
    """Per AU the motion of its own sign in mm at grades A, B, C, D, E."""
    return {au: [sign(rig, rig.motion(performance(au, u).shapes), au) for u in _LEVELS] for au in AUS}


def leaks(rig: Rig, least: float = 0.2) -> list[Leak]:
    """What each AU at activation 1 does to the signs of all others, the strongest first."""
    own = {au: sign(rig, rig.motion(performance(au, 1.0).shapes), au) for au in AUS}
    found = []
    for cause in AUS:
        act = performance(cause, 1.0)
        moved = rig.motion(act.shapes)
        intensity, known = _labels(rig, act, moved)
        for other in AUS:
            share = sign(rig, moved, other) / own[other]
            if other == cause or share < least:
                continue
            row = AUS.index(other)
            handled = "labeled" if intensity[row] >= 1 else "" if known[row] else "ignored"
            found.append(Leak(cause, other, share, handled))
    return sorted(found, key=lambda leak: -leak.share)


def _labels(rig: Rig, act: Performance, moved: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intensity [18] and known [18] of a performance on the generic head."""
    marks, mean = rig.landmarks, rig.neutral

    def gap(v: np.ndarray, upper: list[int], lower: list[int]) -> float:
        return float(v[marks[upper], 1].mean() - v[marks[lower], 1].mean())

    lids = [gap(mean + moved, up, low) / gap(mean, up, low) for up, low in (([43, 44], [47, 46]), ([37, 38], [41, 40]))]
    lips = 10 * float(moved[marks[62], 1] - moved[marks[66], 1])
    intensity, known = intensities(act.activation[None], np.array([lips]), np.array([lids]),
                                   np.array([act.shapes.get("jawOpen", 0.0)]))
    return intensity[0], known[0]


def landmark_error(renderer: Renderer, puppet: Puppet, scene: Scene, size: int = 160, finer: int = 8) -> np.ndarray:
    """Distance in pixels of each labeled point from where that vertex is drawn, [68]; NaN where it is hidden.

    The mesh is drawn with one colour for each vertex's surroundings, `finer` times finer, and
    the place where the vertex's own weight peaks is looked up in the drawing itself.
    """
    shot = renderer.render(puppet, scene, size=(size, size), supersample=1)
    stage = renderer.stage
    head = puppet.vertices + renderer.rig.motion(scene.performance.shapes, stage.vertices)
    camera = scene_camera(puppet, renderer.rig, scene, (size, size))
    placed = camera.place(camera.see(head), finer)
    _, which, weights = rasterise(placed, stage.triangles, size * finer, size * finer)
    out = np.full(68, np.nan)
    point_of = np.full(len(head), -1)
    point_of[stage.landmarks] = np.arange(68)
    rows, columns = np.nonzero(which >= 0)
    mine = point_of[stage.triangles[which[rows, columns]]]
    share = weights[rows, columns]
    share = np.column_stack([1 - share.sum(1), share])
    for i in range(68):
        pixel, corner = np.nonzero(mine == i)
        hit = share[pixel, corner]
        peak = hit.max(initial=0)
        if peak < 0.85:
            continue
        near = pixel[hit > 0.98 * peak]
        place = (np.array([columns[near].mean(), rows[near].mean()]) + 0.5) / finer - 0.5
        out[i] = np.linalg.norm(place - shot.points[i])
    return out


def rest_psnr(renderer: Renderer, puppet: Puppet, portrait: Portrait, scale: float = 0.5) -> float:
    """Peak signal-to-noise ratio in dB, over the face, of the puppet at rest against its portrait.

    Both are looked at `scale` times the portrait's size, through the portrait's own camera.
    """
    height, width = portrait.image.shape[:2]
    size = (int(width * scale), int(height * scale))
    still = Scene(Performance(np.zeros((len(AUS), 2), np.float32), {}), crease_amount=0.0)
    camera: Camera = portrait_camera(puppet, scale)
    drawn = renderer.render(puppet, still, size=size, camera=camera).image
    truth = cv2.resize(portrait.image, size, interpolation=cv2.INTER_AREA)
    face = np.zeros(size[::-1], np.uint8)
    outline = np.vstack([puppet.photo_xy[renderer.stage.landmarks[:27]]])
    cv2.fillConvexPoly(face, np.round(cv2.convexHull(outline)[:, 0] * scale).astype(np.int32), 1)
    error = (drawn.astype(np.float64) - truth)[face > 0]
    return float(10 * np.log10(255**2 / max((error**2).mean(), 1e-9)))
