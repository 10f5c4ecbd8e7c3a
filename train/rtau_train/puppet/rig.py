"""The face rig: ICT-FaceKit's light morphable model (MIT), cut down to what a camera sees.

Geometry in cm, x to the subject's left, y up, z out of the face. Li et al., "Learning
Formation of Physically-Based Face Attributes", CVPR 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from rtau.errors import InputError

#: What a triangle of the stage mesh shows.
SKIN, SOCKET, GUMS, TEETH, LID_INSIDE, EYE = range(6)
#: The mouth's inside comes last: with closed lips it isn't drawn.
_STAGE = (("face_narrow", SKIN), ("eye_socket_L", LID_INSIDE), ("eye_socket_R", LID_INSIDE), ("eyeball_L", EYE),
          ("eyeball_R", EYE), ("mouth_socket", SOCKET), ("gums_tongue", GUMS), ("teeth", TEETH))
_KEYS = ("neutral", "id_q", "id_scale", "expr_q", "expr_scale", "expr_names", "tris", "tris_uv", "tri_quad", "uv",
         "group_names", "group_ranges", "landmarks68", "jaw_right17", "jaw_left17")
#: Part of the rig's face tile that the stage mesh uses: offset and width of the square.
_TILE_LEFT, _TILE_TOP, _TILE = 0.10, 0.08, 0.80


@dataclass(frozen=True, eq=False)
class Rig:
    """A generic head with its identity and expression shapes.

    Attributes:
        neutral: float32 [V, 3], cm.
        identity: float32 [100, V, 3], principal directions of people's shapes, for N(0, 1) weights.
        shapes: float32 [57, V, 3], expression deltas at coefficient 1.
        shape_names: their names; `_L` and `_R` are the subject's sides.
        triangles, corner_uv: int32 [T, 3], vertices and texture corners.
        polygon: int32 [T], the polygon each triangle comes from.
        uv: float32 [U, 2], texture coordinates as shipped (v up).
        groups: name -> (first vertex, end vertex, first polygon, end polygon).
        landmarks: int32 [68], Multi-PIE vertices.
        jaw_right, jaw_left: int32 [17], vertices of the occluding jaw contour, ear to chin.
    """

    neutral: np.ndarray
    identity: np.ndarray
    shapes: np.ndarray
    shape_names: tuple[str, ...]
    triangles: np.ndarray
    corner_uv: np.ndarray
    polygon: np.ndarray
    uv: np.ndarray
    groups: dict[str, tuple[int, int, int, int]]
    landmarks: np.ndarray
    jaw_right: np.ndarray
    jaw_left: np.ndarray

    @cached_property
    def shape_index(self) -> dict[str, int]:
        """Row of `shapes` by name."""
        return {name: i for i, name in enumerate(self.shape_names)}

    def vertices_of(self, group: str) -> np.ndarray:
        """int64 [N], the vertices of a group."""
        first, end = self.groups[group][:2]
        return np.arange(first, end)

    def triangles_of(self, group: str) -> np.ndarray:
        """int64 [N], the triangles of a group."""
        first, end = self.groups[group][2:]
        return np.flatnonzero((self.polygon >= first) & (self.polygon < end))

    def motion(self, coefficients: dict[str, float], vertices: np.ndarray | slice = slice(None)) -> np.ndarray:
        """float32 [N, 3], cm: how far the vertices move under blendshape coefficients."""
        out = np.zeros_like(self.neutral[vertices])
        for name, value in coefficients.items():
            if value:
                out += np.float32(value) * self.shapes[self.shape_index[name]][vertices]
        return out

    @cached_property
    def stage_identity(self) -> np.ndarray:
        """float32 [100, N, 3], the identity modes of the stage's vertices."""
        return np.ascontiguousarray(self.identity[:, self.stage.vertices])

    @cached_property
    def stage(self) -> Stage:
        """The mesh that is drawn."""
        return _make_stage(self)


@dataclass(frozen=True)
class Stage:
    """The part of the rig that is drawn: face, mouth and eyes, with vertices of its own.

    Attributes:
        vertices: int64 [N], the rig's vertex of each stage vertex; the first `skin` are the face.
        triangles: int32 [T, 3]; the first `skin_triangles` are the face.
        kind: int8 [T], `SKIN`..`EYE`.
        skin, skin_triangles: counts.
        outer_triangles: count of those that a closed mouth can show.
        uv: float32 [skin, 2], 0..1 over the face texture, x to image right, y down.
        shapes: sparse expression deltas: first entry of each shape int32 [58], stage vertex of each
            entry int32 [E], its motion at coefficient 1 float32 [E, 3], cm.
        landmarks: int32 [68], stage vertices.
        ring: int32 [skin], edges between the vertex and the rim of the face (capped at 26).
        lid: float32 [skin], 0..1, how far blinking moves the vertex.
        neighbours: first entry of each face vertex int32 [skin + 1], and its neighbours int32 [E].
    """

    vertices: np.ndarray
    triangles: np.ndarray
    kind: np.ndarray
    skin: int
    skin_triangles: int
    outer_triangles: int
    uv: np.ndarray
    shapes: tuple[np.ndarray, np.ndarray, np.ndarray]
    landmarks: np.ndarray
    ring: np.ndarray
    lid: np.ndarray
    neighbours: tuple[np.ndarray, np.ndarray]


def load_rig(path: Path | str) -> Rig:
    """Read the packed rig.

    Args:
        path: `ict_facekit.npz`, or the folder that holds it.

    Raises:
        InputError: it is missing, or not such a file.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "ict_facekit.npz"
    try:
        with np.load(path, allow_pickle=False) as table:
            z = {key: table[key] for key in _KEYS}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise InputError(f"{path} is not the face rig ({error}); `rtau data fetch` gets it") from None
    groups = {str(n): tuple(int(v) for v in r) for n, r in zip(z["group_names"], z["group_ranges"], strict=True)}
    return Rig(
        neutral=z["neutral"].astype(np.float32),
        identity=z["id_q"].astype(np.float32) * z["id_scale"].astype(np.float32)[:, None, None],
        shapes=z["expr_q"].astype(np.float32) * z["expr_scale"].astype(np.float32)[:, None, None],
        shape_names=tuple(str(n) for n in z["expr_names"]),
        triangles=z["tris"].astype(np.int32), corner_uv=z["tris_uv"].astype(np.int32), polygon=z["tri_quad"],
        uv=z["uv"].astype(np.float32), groups=groups, landmarks=z["landmarks68"].astype(np.int32),
        jaw_right=z["jaw_right17"].astype(np.int32), jaw_left=z["jaw_left17"].astype(np.int32))


def _make_stage(rig: Rig) -> Stage:
    parts = [(rig.triangles_of(group), kind) for group, kind in _STAGE]
    picked = np.concatenate([t for t, _ in parts])
    kind = np.concatenate([np.full(len(t), k, np.int8) for t, k in parts])
    old = rig.triangles[picked]
    skin = rig.groups["face_narrow"][1]
    vertices = np.r_[np.arange(skin), np.setdiff1d(np.unique(old), np.arange(skin))]
    new = np.full(len(rig.neutral), -1, np.int32)
    new[vertices] = np.arange(len(vertices))
    face = parts[0][0]

    uv = np.zeros((skin, 2), np.float32)
    corner = rig.uv[rig.corner_uv[face]]
    uv[rig.triangles[face]] = np.stack([(corner[..., 0] - _TILE_LEFT) / _TILE,
                                        (1 - corner[..., 1] - _TILE_TOP) / _TILE], -1)
    edges = np.sort(rig.triangles[face][:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    edges, uses = np.unique(edges, axis=0, return_counts=True)
    blink = rig.shapes[rig.shape_index["eyeBlink_L"]] + rig.shapes[rig.shape_index["eyeBlink_R"]]
    return Stage(
        vertices=vertices, triangles=np.ascontiguousarray(new[old]), kind=kind, skin=skin, skin_triangles=len(face),
        outer_triangles=int(np.isin(kind, (SKIN, LID_INSIDE, EYE)).sum()),
        uv=uv, shapes=_sparse(rig.shapes[:, vertices]), landmarks=new[rig.landmarks],
        ring=_rings(edges, uses, rig.neutral, skin),
        lid=np.clip(np.linalg.norm(blink[:skin], axis=1) / 0.45, 0, 1).astype(np.float32),
        neighbours=_adjacent(edges, skin))


def _sparse(shapes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Most shapes move a part of the face: keep what moves by more than a hundredth of a millimetre."""
    moves = np.abs(shapes).max(2) > 1e-3
    start = np.concatenate([[0], np.cumsum(moves.sum(1))]).astype(np.int32)
    return start, np.nonzero(moves)[1].astype(np.int32), np.ascontiguousarray(shapes[moves], np.float32)


def _adjacent(edges: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    both = np.concatenate([edges, edges[:, ::-1]])
    both = both[np.lexsort((both[:, 1], both[:, 0]))]
    first = np.searchsorted(both[:, 0], np.arange(count + 1)).astype(np.int32)
    return first, both[:, 1].astype(np.int32)


def _rings(edges: np.ndarray, uses: np.ndarray, neutral: np.ndarray, count: int, most: int = 26) -> np.ndarray:
    """Steps from the face's outer rim; the rims of eyes and mouth are no seams and don't count."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    rim = edges[uses == 1]
    graph = coo_matrix((np.ones(len(rim)), rim.T), (count, count))
    label = connected_components(graph, directed=False)[1]
    on_rim = np.unique(rim)
    loops = [on_rim[label[on_rim] == k] for k in np.unique(label[on_rim])]
    outer = max(loops, key=lambda loop: np.ptp(neutral[loop], axis=0)[:2].sum())
    ring = np.full(count, most, np.int32)
    ring[outer] = 0
    for step in range(1, most):
        touched = edges[(ring[edges] == step - 1).any(1)].ravel()
        ring[touched[ring[touched] > step]] = step
    return ring
