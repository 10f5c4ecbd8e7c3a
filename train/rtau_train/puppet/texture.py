"""The portrait becomes a skin texture: baked through the fitted mesh, holes filled, lids closed."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .fit import Fit
from .portrait import Portrait
from .raster import interpolate, rasterise, vertex_normals
from .rig import Rig

#: Side of the skin textures in texels; a face 270 px wide fills about as many.
SIDE = 768
_GRAZING = 0.15  # a texel seen flatter than this (cosine) holds no detail
_BEHIND = 0.12  # cm: deeper than the front surface by this is hidden


@dataclass(frozen=True)
class SkinTexture:
    """A person's skin over the rig's face tile, N = `SIDE`.

    Attributes:
        open_lids, closed_lids: float32 [N, N, 3], RGB 0..1.
        lid: float32 [N, N], 0..1, where blinking moves the skin.
        bare: float32 [N, N], 0..1, smooth skin on which creases show (no hair, brows or beard).
        tone: float32 [3], the median skin colour of the cheeks, RGB 0..1.
        lash: float32 [3], colour of lashes, RGB 0..1.
    """

    open_lids: np.ndarray
    closed_lids: np.ndarray
    lid: np.ndarray
    bare: np.ndarray
    tone: np.ndarray
    lash: np.ndarray


def fill(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Continue an image smoothly where it is not known (pull-push pyramid).

    Args:
        image: float32 [H, W, C]; known: float32 [H, W], 0..1.

    Returns:
        float32 [H, W, C], equal to `image` where `known` is 1.
    """
    sums, shares = [image * known[..., None]], [known.astype(np.float32)]
    while min(shares[-1].shape) > 2:
        h, w = shares[-1].shape
        half = (max(w // 2, 1), max(h // 2, 1))
        sums.append(cv2.resize(sums[-1], half, interpolation=cv2.INTER_AREA).reshape(half[1], half[0], -1))
        shares.append(cv2.resize(shares[-1], half, interpolation=cv2.INTER_AREA))
    current = sums[-1] / np.maximum(shares[-1], 1e-6)[..., None]
    for total, share in zip(sums[-2::-1], shares[-2::-1], strict=True):
        h, w = share.shape
        coarse = cv2.resize(current, (w, h), interpolation=cv2.INTER_LINEAR).reshape(h, w, -1)
        own = np.clip(share, 0, 1)[..., None]
        current = total / np.maximum(share, 1e-6)[..., None] * own + coarse * (1 - own)
    return current.astype(np.float32)


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur."""
    return cv2.GaussianBlur(image, (0, 0), sigma)


def step(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """A smooth step from 0 at `low` to 1 at `high`."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def texel(rig: Rig, point: int) -> np.ndarray:
    """Where a Multi-PIE point lies on the texture, texels."""
    return rig.stage.uv[rig.stage.landmarks[point]] * SIDE - 0.5


def bake(portrait: Portrait, fit: Fit, rig: Rig, person: np.ndarray) -> SkinTexture:
    """Carry the photograph onto the rig's texture tile.

    Args:
        person: float32 [H, W, 4], the photograph free of its backdrop's colour, RGB 0..1, and coverage.
    """
    stage = rig.stage
    photo = np.ascontiguousarray(person[..., :3])
    faces = stage.triangles[:stage.skin_triangles]
    flat = np.c_[stage.uv * SIDE - 0.5, np.zeros(stage.skin)]
    _, which, weights = rasterise(flat, faces, SIDE, SIDE)
    camera = fit.camera[stage.vertices[:stage.skin]]
    normals = vertex_normals(camera, faces)
    # The mesh is fine about the lids; smoothing keeps one turned triangle from opening a hole.
    values = np.c_[fit.project(camera), camera[:, 2], normals[:, 2], stage.lid, stage.ring]
    x, y, z, facing, lid, ring = np.moveaxis(interpolate(which, weights, faces, values), 2, 0)
    colour = cv2.remap(photo, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).clip(0, 1)

    front = _front_depth(fit, rig, portrait.image.shape[:2])
    seen = (which >= 0) & (z > cv2.remap(front, 2 * x + 0.5, 2 * y + 0.5, cv2.INTER_NEAREST) - _BEHIND)
    seen &= (facing > _GRAZING) & (cv2.remap(person[..., 3], x, y, cv2.INTER_LINEAR) > 0.9)
    # The photograph's outline of the jaw holds its backdrop's light and is seldom where the fit's is:
    # there skin that is paler than what lies farther in is none.
    eyes, nose = portrait.points[[36, 45], 1].mean(), portrait.points[33, 1]
    rim = step(-ring, -22, -14) * step(y, eyes, nose) * step(-facing, -0.6, -0.4)
    inner = fill(colour, (seen & (facing > 0.6)).astype(np.float32))
    paler = colour.mean(2) / np.maximum(inner.mean(2), 0.02)
    greyer = _saturation(inner) - _saturation(colour)
    seen &= rim * np.maximum(step(paler, 1.0, 1.15), step(greyer, 0.04, 0.10)) < 0.5
    # The nostrils' underside is seen, but the rig's nose seldom agrees: trust the picture.
    seen |= (_inside(portrait.nose[None], x, y, below=_nose_middle(portrait)) > 0) & (z > camera[:, 2].max() - 4.5) \
        & (which >= 0)
    seen &= _inside(portrait.eyes, x, y, grow=3) == 0
    seen = cv2.erode(seen.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.float32)
    skin = fill(colour, seen)

    lid = blur(np.where(which >= 0, lid, 0).astype(np.float32), 3)
    tone = _cheek_tone(skin, rig)
    lash = _lash_colour(skin, rig, tone)
    closed = _close_lids(skin, seen, lid, lash, rig)
    return SkinTexture(skin, closed, lid, _bare(skin, tone, rig), tone, lash)


def _saturation(image: np.ndarray) -> np.ndarray:
    """How far the strongest colour stands above the weakest, as a share of it, [H, W]."""
    high = image.max(2)
    return (high - image.min(2)) / np.maximum(high, 0.02)


def _front_depth(fit: Fit, rig: Rig, shape: tuple[int, int]) -> np.ndarray:
    """Depth of the nearest surface at twice the photograph's resolution."""
    picked = np.concatenate([rig.triangles_of(g) for g in ("face", "head_neck", "eyeball_L", "eyeball_R")])
    placed = np.c_[fit.project(fit.camera) * 2 + 0.5, fit.camera[:, 2]]
    return rasterise(placed, rig.triangles[picked], shape[0] * 2, shape[1] * 2)[0]


def _nose_middle(portrait: Portrait) -> float:
    """Height of the line above which the nose is mesh like any skin."""
    top, base = portrait.nose[:, 1].min(), portrait.points[33, 1]
    return top + 0.35 * (base - top)


def _inside(outlines: np.ndarray, x: np.ndarray, y: np.ndarray, *, grow: int = 1, below: float = -np.inf) -> np.ndarray:
    """Which texels, given by their place in the photograph, lie inside outlines there."""
    high = max(int(o.max()) for o in outlines) + 8
    mask = np.zeros((high * 4, high * 4), np.uint8)
    for outline in outlines:
        hull = cv2.convexHull(outline.astype(np.float32))[:, 0]
        cv2.fillPoly(mask, [np.round(hull * 4).astype(np.int32)], 255)
    if below > 0:
        mask[:int(4 * below)] = 0
    if grow > 1:
        mask = cv2.dilate(mask, np.ones((grow, grow), np.uint8))
    return cv2.remap(mask, x * 4, y * 4, cv2.INTER_NEAREST)


def _cheek_tone(skin: np.ndarray, rig: Rig) -> np.ndarray:
    patches = []
    for eye, corner in ((41, 48), (46, 54)):
        centre = 0.5 * (texel(rig, eye) + texel(rig, corner))
        x, y = centre.astype(int)
        patches.append(skin[y - 25:y + 25, x - 25:x + 25].reshape(-1, 3))
    return np.median(np.concatenate(patches), 0).astype(np.float32)


def _lash_colour(skin: np.ndarray, rig: Rig, tone: np.ndarray) -> np.ndarray:
    """Lashes are as dark as the darkest hairs of the brows, or darker."""
    hairs = []
    for points in (range(17, 22), range(22, 27)):
        line = np.array([texel(rig, p) for p in points])
        for x, y in line.astype(int):
            hairs.append(skin[max(y - 2, 0):y + 12, x - 6:x + 6].reshape(-1, 3))
    hairs = np.concatenate(hairs)
    dark = hairs[hairs.sum(1) <= np.percentile(hairs.sum(1), 10)].mean(0)
    return np.clip(np.minimum(dark * 0.7, tone * 0.4), 0.02, 0.3).astype(np.float32)


def _close_lids(skin: np.ndarray, seen: np.ndarray, lid: np.ndarray, lash: np.ndarray, rig: Rig) -> np.ndarray:
    """The texture of closed eyes: hidden lid skin takes the tone about the eye, and a lash line is drawn.

    An open-eyed photograph shows little of the upper lid, and what it shows is crease, lashes
    and shadow. Those are dropped, the tone is carried in from the socket's skin, some of the
    crease stays as a soft line, and the skin's own grain is laid over.
    """
    light = skin.mean(2)
    grown = cv2.dilate((lid > 0.12).astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (33, 33)))
    wide = blur(grown.astype(np.float32), 8)[..., None]  # the lid, its crease and the shadow under the lashes
    around = blur(cv2.dilate(grown, np.ones((41, 41), np.uint8)).astype(np.float32), 10) * (1 - wide[..., 0])
    socket = (around > 0.4) & (seen > 0)
    usual = np.median(light[socket]) if socket.sum() > 50 else np.median(light[seen > 0])
    odd = np.abs(blur(light, 2) / usual - 1)
    near = np.clip(around + wide[..., 0], 0, 1)
    kept = seen * (1 - step(wide[..., 0], 0.3, 0.8)) * (1 - near * step(odd, 0.12, 0.3))
    base = blur(fill(skin, kept.astype(np.float32)), 6)
    # Lids are a little darker and redder than the cheek below.
    under = np.median(np.concatenate([_patch(skin, texel(rig, p) + (0, 30), 18, 10) for p in (40, 41, 46, 47)]), 0)
    moving = blur(step(lid, 0.1, 0.5).astype(np.float32), 9)[..., None]
    base = base * (1 - 0.45 * moving) + under * np.array([0.99, 0.955, 0.945], np.float32) * 0.45 * moving

    detail = skin - blur(skin, 9)
    grain = np.random.default_rng(1).normal(0, 1, lid.shape).astype(np.float32)
    grain = blur(grain, 1.2)
    grain *= 0.012 / grain.std()
    crease = 0.3 * detail * (1 - step(lid, 0.35, 0.75))[..., None]
    closed = (base + crease) * (1 + grain[..., None])
    closed = skin * (1 - wide) + closed * wide

    lashes, shade = _lashes(rig)
    closed *= (1 - 0.16 * shade)[..., None]
    closed = closed * (1 - lashes[..., None]) + lash * lashes[..., None]
    return np.clip(closed, 0, 1).astype(np.float32)


def _lashes(rig: Rig) -> tuple[np.ndarray, np.ndarray]:
    """Coverage of closed eyes' lashes, and the shade about the lids' meeting line, float32 0..1.

    Lashes root in the upper lid's edge and hang over the lower lid, thickest towards the outer corner.
    """
    rng = np.random.default_rng(5)
    line, hairs, shade = (np.zeros((SIDE, SIDE), np.float32) for _ in range(3))

    def stroke(where: np.ndarray, points: np.ndarray, strength: float, width: int) -> None:
        cv2.polylines(where, [np.round(points * 16).astype(np.int32)], False, strength, width, cv2.LINE_AA, 4)

    t, dense = np.arange(4), np.linspace(0, 3, 60)
    for upper, lower, outer in (((36, 37, 38, 39), (36, 41, 40, 39), -1), ((42, 43, 44, 45), (42, 47, 46, 45), 1)):
        edges = []
        for points in (upper, lower):
            corner = np.array([texel(rig, p) for p in points])
            edges.append(np.stack([np.polyval(np.polyfit(t, corner[:, k], 3), dense) for k in (0, 1)], -1))
        top, low = edges
        stroke(line, top - (0, 5), 1.0, 6)
        stroke(line, low + (0, 1), 0.7, 4)
        stroke(shade, top - (0, 4), 1.0, 18)
        for share in np.linspace(0.06, 0.97, 34):
            root = low[int(share * 59)]
            out = share if outer > 0 else 1 - share
            length = (5 + 11 * out) * rng.uniform(0.7, 1.2)
            tip = root + (outer * (out - 0.35) * length * 0.9 + rng.normal(0, 1), length)
            stroke(hairs, np.array([root, (root + tip) / 2 + (0, 1), tip]), float(rng.uniform(0.5, 0.9)), 1)
    line, shade = blur(line, 1.6), blur(shade, 9)
    return np.clip(0.75 * line / line.max() + 0.6 * blur(hairs, 0.7), 0, 0.85), shade / shade.max()


def _patch(image: np.ndarray, centre: np.ndarray, half_width: int, half_height: int) -> np.ndarray:
    x, y = np.round(centre).astype(int)
    return image[y - half_height:y + half_height, x - half_width:x + half_width].reshape(-1, 3)


def _bare(skin: np.ndarray, tone: np.ndarray, rig: Rig) -> np.ndarray:
    """Where skin is as bright as skin is and not the brows: hair, beard and brows hide creases."""
    ratio = blur(skin.mean(2), 4) / max(float(tone.mean()), 1e-3)
    bare = step(ratio, 0.55, 0.8).astype(np.float32)
    brows = np.zeros((SIDE, SIDE), np.float32)
    for points in (range(17, 22), range(22, 27)):
        line = np.array([texel(rig, p) for p in points]) + (0, 5)
        cv2.polylines(brows, [np.round(line * 16).astype(np.int32)], False, 1.0, 14, cv2.LINE_AA, 4)
    return bare * (1 - 0.7 * np.clip(blur(brows, 4), 0, 1))
