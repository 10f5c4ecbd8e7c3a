"""Everything of the portrait that is not the face mesh: hair, ears, neck, clothes, backdrop.

The photograph is laid over a relief of the fitted head as two layers. The front layer is
the face, under the soft rim of the mesh. The rear layer is all else at the depth of neck,
ears and hair, with skin and hair continued behind the face, so that a turned head uncovers
neck and hair and not a stretched edge; towards the outline it bends back like a head does.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .fit import DISTANCE, Fit
from .portrait import Portrait
from .raster import rasterise, smooth, vertex_normals
from .rig import Rig
from .texture import blur, fill, step

_FINE, _COARSE = 4, 6  # photograph pixels between the vertices of the front and of the rear relief
_EAR_DEPTH = 3.0  # cm behind the upper jaw points: nothing in front of it is pressed deeper
_CLIFF = 1.0  # cm from one pixel to the next but one: an edge behind which something else begins
_TURNED = 0.5  # cosine: photographed skin that turns farther away has lost its colour
_FOLLOWED = 4  # mesh vertices that move each vertex of the relief


@dataclass(frozen=True)
class Layer:
    """A relief of the photograph.

    Attributes:
        vertices: float32 [V, 3], head coordinates, cm.
        triangles: int32 [T, 3].
        pixel: float32 [V, 2], place in the photograph.
        leaders, shares: int32 and float32 [V, K]: stage vertices whose motion the vertex follows,
            and how much.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    pixel: np.ndarray
    leaders: np.ndarray
    shares: np.ndarray


@dataclass(frozen=True)
class Surround:
    """The person around the face mesh.

    Attributes:
        front: float32 [H, W, 4], RGB 0..1 free of the backdrop's colour, and coverage.
        rear: float32 [H + more, W, 4], the same with the face taken out, the hole filled, and the body continued.
        front_layer, rear_layer: their reliefs.
        person: float32 [H, W, 4], the whole person, face included.
        backdrop: float32 [h, w, 3], RGB 0..1, the portrait's own backdrop without the person, small.
        plain: whether the backdrop was plain enough to cut the person out cleanly.
        hair: float32 [3], median colour of what lies above the forehead.
    """

    person: np.ndarray
    front: np.ndarray
    rear: np.ndarray
    front_layer: Layer
    rear_layer: Layer
    backdrop: np.ndarray
    plain: bool
    hair: np.ndarray


def rim(fit: Fit, rig: Rig) -> np.ndarray:
    """How much of the face mesh hides the photograph under it, float32 [S]: soft towards its rim and where it turns away."""
    stage = rig.stage
    faces = stage.triangles[:stage.skin_triangles]
    facing = vertex_normals(fit.camera[stage.vertices[:stage.skin]], faces)[:, 2]
    inner = np.clip((stage.ring - 18) / 7, 0, 1)  # folds well inside the face may face away, the rim may not
    alpha = np.clip((stage.ring - 2) / 8, 0, 1) * np.maximum(np.clip((facing - 0.08) / 0.3, 0, 1), inner)
    return smooth(alpha[:, None].astype(np.float32), stage.neighbours, 1)[:, 0]


def surround(portrait: Portrait, fit: Fit, rig: Rig) -> Surround:
    """Cut the person out of the photograph and give them depth."""
    photo = portrait.image.astype(np.float32) / 255
    height, width = photo.shape[:2]
    placed = fit.project(fit.camera)
    head = np.zeros((height, width), np.uint8)
    for corner in placed[rig.triangles[rig.triangles_of("face_narrow")]]:
        cv2.fillConvexPoly(head, np.round(corner).astype(np.int32), 1)
    rim, _ = cv2.findContours(head, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(head, rim, -1, 1, cv2.FILLED)  # eyes and mouth are holes in the mesh, not in the face
    chin = float(portrait.points[8, 1])
    coverage, backdrop, plain = _cut_out(photo, head, chin, portrait.eye_distance)
    colour = _free_of_backdrop(photo, coverage, backdrop)

    depth, near = _relief(fit, rig, placed, (height, width))
    per_cm = int(fit.focal / DISTANCE)
    deep = cv2.erode(head, np.ones((2 * per_cm + 1,) * 2, np.uint8))
    edge = _cliffs(depth, near, portrait) * (1 - deep)
    inside = cv2.erode(head, np.ones((9, 9), np.uint8))
    front = np.dstack([colour, coverage * blur(inside.astype(np.float32), 1.5) * (1 - blur(edge, 1.2))])
    # Behind the jaw lies the neck, behind the temples the side of the head: both are carried in.
    rows = np.arange(height)[:, None]
    jaw = (head > 0) & (rows > portrait.points[[48, 54], 1].mean() + per_cm)
    clothes = rows > portrait.points[8, 1] + 0.35 * portrait.eye_distance
    hole = (deep > 0) | cv2.dilate(jaw.astype(np.uint8), np.ones((7, 7), np.uint8)).astype(bool)
    known = (cv2.erode(coverage, np.ones((9, 9), np.uint8)) > 0.95) & ~hole & ~clothes
    anything = fill(colour, known.astype(np.float32))
    # The cheeks' own tone goes on round the head, where it meets that of ears and neck.
    eyes, lips = portrait.points[[36, 45], 1].mean(), portrait.points[[48, 54]]
    cheeks = (deep > 0) & (_facing(depth, per_cm) > _TURNED) & (rows > eyes) & (rows < lips[:, 1].mean())
    cheeks &= (np.arange(width) < lips[0, 0]) | (np.arange(width) > lips[1, 0])
    skin = fill(colour, ((known | cheeks) & _like_skin(colour, portrait)).astype(np.float32))
    # Under the chin there is a neck; beside it may hang hair, and above the eyes there is nothing but.
    aside = np.abs(np.arange(width)[None] - portrait.points[8, 0]) / per_cm
    near_neck = step(-aside, -6.5, -4.0) * step(rows / per_cm, *(portrait.points[[30, 33], 1] / per_cm))
    behind = anything + (0.96 * skin - anything) * near_neck[..., None]
    mix = (blur(hole.astype(np.float32), 6) * blur(head.astype(np.float32), 1.5))[..., None]
    rear = np.dstack([colour * (1 - mix) + behind * mix, coverage])

    plane = float(np.median(fit.camera[rig.landmarks[[0, 16]], 2])) - _EAR_DEPTH
    ring = near & (head == 0)
    rear_depth = fill(np.where(ring, depth, 0)[..., None].astype(np.float32), ring.astype(np.float32))[..., 0]
    rear_depth = blur(np.maximum(np.minimum(rear_depth, depth), plane), 0.3 * per_cm)
    rear_depth = rear_depth - _bend(coverage, fit)
    leaders = _Leaders(fit, rig, placed)
    # Below the picture the body goes on, as it was last seen.
    more = int(0.3 * height)
    rear = cv2.copyMakeBorder(rear.astype(np.float32), 0, more, 0, 0, cv2.BORDER_REPLICATE)
    rear_depth = cv2.copyMakeBorder(rear_depth.astype(np.float32), 0, more, 0, 0, cv2.BORDER_REPLICATE)
    front_layer = _layer(fit, depth, (front[..., 3] > 0.01) & ~_hidden(fit, rig, placed, (height, width)), leaders, _FINE, follow=1.0)
    rear_layer = _layer(fit, rear_depth, rear[..., 3] > 0.01, leaders, _COARSE, follow=0.8)
    top = _hair(colour, coverage, portrait)
    return Surround(np.dstack([colour, coverage]).astype(np.float32), front.astype(np.float32), rear, front_layer, rear_layer,
                    cv2.resize(backdrop, (64, 64), interpolation=cv2.INTER_AREA), plain, top)


def _cut_out(photo: np.ndarray, head: np.ndarray, chin: float, eyes: float
             ) -> tuple[np.ndarray, np.ndarray, bool]:
    """Coverage [H, W] by the person, the backdrop without them [H, W, 3], and whether that was easy.

    Studio backdrops are smooth: a quadratic in x and y explains them, and the person is what
    differs. Where it doesn't, GrabCut separates head and shoulders from the rest.
    """
    height, width = head.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x, y = x / width, y / height
    basis = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], -1)
    free = (cv2.dilate(head, np.ones((61, 61), np.uint8)) == 0) & (y < 0.8)
    rim = max(4, height // 160)
    corners = np.concatenate([photo[rim:height // 10, rim:width // 16].reshape(-1, 3),
                              photo[rim:height // 10, -width // 16:-rim].reshape(-1, 3)])
    used = free & (np.linalg.norm(photo - np.median(corners, 0), axis=2) < 0.2)
    if used.sum() > 2000:
        for tolerance in (0.12, 0.08, 0.06, 0.05):
            weights = np.linalg.lstsq(basis[used][::5], photo[used][::5], rcond=None)[0]
            backdrop = np.clip(basis @ weights, 0, 1).astype(np.float32)
            off = np.linalg.norm(photo - backdrop, axis=2)
            used = free & (off < tolerance)
            if used.sum() < 2000:
                break
        if used.sum() > 0.35 * free.sum():
            return _key(off, head, chin, eyes), backdrop, True
    return _grab(photo, head)


def _key(off: np.ndarray, head: np.ndarray, chin: float, eyes: float) -> np.ndarray:
    """Coverage from the distance to the backdrop's colour: what joins the picture's border is backdrop.

    Above the shoulders anything like the backdrop is backdrop seen through hair; below them a
    white shirt may be as light, so what lies between two covered places of a row is covered.
    """
    height, width = head.shape
    rows = np.arange(height)[:, None]
    off = blur(off.astype(np.float32), 0.7)
    inner = cv2.erode(head, np.ones((41, 41), np.uint8)) > 0  # the fitted outline may be some pixels off
    like = ((off < 0.085) & ~inner).astype(np.uint8)
    _, label, stats, _ = cv2.connectedComponentsWithStats(like, connectivity=4)
    border = np.unique(np.concatenate([label[0], label[:int(height * 0.8), 0], label[:int(height * 0.8), -1]]))
    outside = np.isin(label, border[border > 0])
    # Seen through hair, that is: a highlight on a bald head lies farther in.
    loose = cv2.dilate(outside.astype(np.uint8), np.ones((int(0.6 * eyes) | 1,) * 2, np.uint8)) > 0
    loose &= (rows < chin + 0.3 * eyes) & (cv2.dilate(head, np.ones((15, 15), np.uint8)) == 0)
    outside |= np.isin(label, np.flatnonzero(stats[:, 4] > 20)) & (off < 0.06) & loose & (like > 0)
    near = cv2.dilate(outside.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    soft = np.clip((off - 0.05) / 0.13, 0, 1)
    cover = np.where(outside, 0, np.where(near | loose, soft, 1))
    cover[inner] = 1
    cover = np.clip((blur(cover.astype(np.float32), 0.8) - 0.3) / 0.65, 0, 1)
    for row in range(int(chin + 0.6 * eyes), height):
        columns = np.flatnonzero(cover[row] > 0.5)
        if len(columns) > 1:
            cover[row, columns[0]:columns[-1]] = 1
    return cover


def _grab(photo: np.ndarray, head: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
    height, width = head.shape
    rows, columns = np.nonzero(head)
    mask = np.full(head.shape, cv2.GC_PR_BGD, np.uint8)
    side = columns.max() - columns.min()
    low, high = max(columns.min() - side // 3, 0), min(columns.max() + side // 3, width)
    mask[max(rows.min() - side // 2, 0):, low:high] = cv2.GC_PR_FGD
    mask[head > 0] = cv2.GC_FGD
    mask[:max(height // 40, 2)] = cv2.GC_BGD
    cv2.setRNGSeed(0)
    image = (photo * 255).astype(np.uint8)
    cv2.grabCut(image, mask, None, np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_MASK)
    cover = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    cover = np.maximum(blur(cover, 1.2), head.astype(np.float32))
    return cover, fill(photo, (cover < 0.02).astype(np.float32)), False


def _free_of_backdrop(photo: np.ndarray, cover: np.ndarray, backdrop: np.ndarray) -> np.ndarray:
    """The person's own colour at the outline, where the photograph mixes it with the backdrop's."""
    inner = cv2.erode((cover > 0.97).astype(np.float32), np.ones((5, 5), np.uint8))
    inward = fill(photo, inner)
    share = np.clip(cover, 0.05, 1)[..., None]
    solved = (photo - (1 - share) * backdrop) / share
    solved = np.minimum(np.clip(solved, 0, 1), np.maximum(inward * 1.25, 0.02))  # no pale tufts
    trust = np.clip((cover - 0.25) / 0.5, 0, 1)[..., None]
    return (solved * trust + inward * (1 - trust)).astype(np.float32)


def _like_skin(colour: np.ndarray, portrait: Portrait) -> np.ndarray:
    """Pixels of about the cheeks' hue and brightness, bool [H, W]."""
    x, y = (portrait.points[[41, 46]].mean(0) * 0.5 + portrait.points[[48, 54]].mean(0) * 0.5).astype(int)
    reach = int(0.5 * portrait.eye_distance)
    cheeks = colour[y - reach // 3:y + reach // 3, x - reach:x + reach].reshape(-1, 3)
    tone = np.median(cheeks, 0)
    light = colour.sum(2) + 1e-3
    hue = np.linalg.norm(colour / light[..., None] - tone / tone.sum(), axis=2)
    return (hue < 0.07) & (light > 0.3 * tone.sum()) & (light < 1.3 * tone.sum())


def _relief(fit: Fit, rig: Rig, placed: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Depth of the head's front surface per pixel, and where there is one."""
    # Eyeballs and mouth close the openings, through which the back of the head would be seen.
    groups = ("face", "head_neck", "eyeball_L", "eyeball_R", "mouth_socket", "gums_tongue")
    picked = np.concatenate([rig.triangles_of(g) for g in groups])
    depth, which, _ = rasterise(np.c_[placed, fit.camera[:, 2]], rig.triangles[picked], *shape)
    near = (which >= 0).astype(np.float32)
    return fill(np.where(near > 0, depth, 0)[..., None].astype(np.float32), near)[..., 0], near > 0


def _facing(depth: np.ndarray, per_cm: float) -> np.ndarray:
    """How squarely the relief faces the camera, cosine, [H, W]; `per_cm` pixels per cm."""
    down, across = np.gradient(blur(depth.astype(np.float32), 2))
    return 1 / np.sqrt(1 + (across * per_cm) ** 2 + (down * per_cm) ** 2)


def _hidden(fit: Fit, rig: Rig, placed: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Where the face mesh hides the front layer whichever way the head turns, bool [H, W]."""
    stage = rig.stage
    solid = rim(fit, rig) > 0.995
    mask = np.zeros(shape, np.uint8)
    faces = stage.triangles[:stage.skin_triangles]
    for corner in placed[stage.vertices[faces[solid[faces].all(1)]]]:
        cv2.fillConvexPoly(mask, np.round(corner).astype(np.int32), 1)
    outline, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(mask, outline, -1, 1, cv2.FILLED)
    return cv2.erode(mask, np.ones((4 * _COARSE + 1,) * 2, np.uint8)) > 0


def _cliffs(depth: np.ndarray, near: np.ndarray, portrait: Portrait) -> np.ndarray:
    """Where the jaw ends before the neck: float32 0 or 1.

    The sides of a head fall as steeply, but they are one surface, and a turned head shows it.
    """
    kernel = np.ones((3, 3), np.uint8)
    fall = cv2.dilate(depth, kernel) - cv2.erode(depth, kernel)
    inside = cv2.erode(near.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    low = np.arange(len(depth))[:, None] > portrait.points[[2, 14], 1].mean()
    return cv2.dilate(((fall > _CLIFF) & inside & low).astype(np.float32), kernel)


def _bend(cover: np.ndarray, fit: Fit) -> np.ndarray:
    """How far the rear layer bends back towards its outline, like the side of a head, cm."""
    per_cm = fit.focal / DISTANCE
    inward = cv2.distanceTransform((cover > 0.5).astype(np.uint8), cv2.DIST_L2, 5) / per_cm
    bend = np.clip(1 - inward / 3.0, 0, 1)
    return blur((3.0 * (1 - np.sqrt(np.clip(1 - 0.96 * bend**2, 0, 1)))).astype(np.float32), 0.5 * per_cm)


def _hair(colour: np.ndarray, cover: np.ndarray, portrait: Portrait) -> np.ndarray:
    """Median colour of the strip under the top of the outline."""
    middle = portrait.points[27:31, 0].mean()
    reach = portrait.eye_distance * 0.4
    columns = slice(int(max(middle - reach, 0)), int(middle + reach))
    rows = np.flatnonzero((cover[:, columns] > 0.9).mean(1) > 0.5)
    top = int(rows[0]) if len(rows) else 0
    strip = colour[top + 4:top + 4 + int(0.25 * portrait.eye_distance) + 1, columns]
    return np.median(strip.reshape(-1, 3), 0).astype(np.float32)


class _Leaders:
    """Finds which mesh vertices a place in the photograph moves with."""

    def __init__(self, fit: Fit, rig: Rig, placed: np.ndarray) -> None:
        from scipy.spatial import cKDTree

        stage = rig.stage
        skin = stage.vertices[:stage.skin]
        facing = vertex_normals(fit.camera[skin], stage.triangles[:stage.skin_triangles])[:, 2]
        # The chin's underside projects onto its front, but moves otherwise.
        self.rows = np.flatnonzero(facing > 0.15)
        self.per_cm = fit.focal / DISTANCE
        self.tree = cKDTree(placed[skin[self.rows]])

    def __call__(self, pixels: np.ndarray, follow: float) -> tuple[np.ndarray, np.ndarray]:
        distance, index = self.tree.query(pixels, k=_FOLLOWED)
        share = 1 / (distance + 0.3 * self.per_cm)
        share /= share.sum(1, keepdims=True)
        fade = np.exp(-((distance[:, :1] / self.per_cm) / 2.2) ** 2)
        return self.rows[index].astype(np.int32), (share * fade * follow).astype(np.float32)


def _layer(fit: Fit, depth: np.ndarray, shown: np.ndarray, leaders: _Leaders, grid: int, *, follow: float) -> Layer:
    height, width = depth.shape
    x, y = np.meshgrid(np.arange(0, width + grid - 1, grid).clip(max=width - 1),
                       np.arange(0, height + grid - 1, grid).clip(max=height - 1))
    z = depth[y, x]
    per_pixel = (DISTANCE - z) / fit.focal
    camera = np.stack([(x - fit.centre[0]) * per_pixel, -(y - fit.centre[1]) * per_pixel, z], -1).reshape(-1, 3)
    rows, columns = x.shape
    cell = cv2.resize(cv2.dilate(shown.astype(np.uint8), np.ones((2 * grid + 1,) * 2, np.uint8)),
                      (width, height))[y, x].reshape(rows, columns) > 0
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    quad = (cell[:-1, :-1] | cell[:-1, 1:] | cell[1:, :-1] | cell[1:, 1:]).ravel()
    triangles = np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3)[quad], np.stack([b, c, d], -1).reshape(-1, 3)[quad]])
    used = np.unique(triangles)
    new = np.full(rows * columns, -1, np.int32)
    new[used] = np.arange(len(used))
    pixel = np.stack([x, y], -1).reshape(-1, 2)[used].astype(np.float32)
    who, share = leaders(pixel, follow)
    head = (camera[used] - fit.translation) @ fit.rotation
    return Layer(head.astype(np.float32), new[triangles].astype(np.int32), pixel, who, share)
