"""From the files of the public repositories to the few that training reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from rtau.errors import InputError
from rtau.sinks.paths import replaced

from .fingerprint import check_picture, check_points, check_rig

_LONGER_SIDE = 640
_QUALITY = 92


# -- portraits -------------------------------------------------------------------------------


def pack_portraits(files: Mapping[str, Path], part: dict[str, Any], place: Path) -> None:
    """Pictures with the longer side at 640 px, and their points in one table.

    Args:
        files: path in the repository -> file; points (.tem) lie beside their pictures (.jpg).
        part: the listing's entry, with fingerprints of what should come out.
        place: gets `<name>.jpg`, `landmarks.npz` where there are points, and other files as they are.

    Raises:
        InputError: a file is damaged, or does not match its fingerprint.
    """
    names, points, sizes, sources = [], [], [], []
    for path, file in files.items():
        stem, kind = PurePosixPath(path).stem, PurePosixPath(path).suffix.lower()
        if kind == ".tem":
            continue
        if kind != ".jpg":
            _write(place / PurePosixPath(path).name, file.read_bytes())
            continue
        image = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if image is None:
            raise InputError(f"{path} can't be read as a picture; delete {file} and fetch again")
        height, width = image.shape[:2]
        scale = min(_LONGER_SIDE / max(height, width), 1.0)
        size = (round(width * scale), round(height * scale))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
        check_picture(path, small, part["pictures"].get(stem))
        _write(place / f"{stem}.jpg", cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes())
        template = files.get(str(PurePosixPath(path).with_suffix(".tem")))
        if template is None:
            continue
        placed = (read_template(template, path) + 0.5) * scale - 0.5
        check_points(path, placed, part["points"].get(stem))
        names.append(stem)
        points.append(placed)
        sizes.append(size)
        sources.append((width, height))
    if names:
        with replaced(place / "landmarks.npz", "wb") as handle:
            np.savez(handle, names=np.array(names), points=np.array(points, np.float32),
                     size_wh=np.array(sizes, np.int32), source_size_wh=np.array(sources, np.int32))


def read_template(file: Path, name: str = "") -> np.ndarray:
    """Points [N, 2] of a webmorph template: a line with their number, then x and y of each.

    Raises:
        InputError: it is cut short, or no such file.
    """
    try:
        lines = file.read_text(encoding="utf-8").split()
        count = int(lines[0])
        values = [float(v) for line in file.read_text(encoding="utf-8").splitlines()[1:count + 1]
                  for v in line.replace(",", " ").split()]
        points = np.array(values).reshape(count, 2)
    except (OSError, ValueError, IndexError) as error:
        raise InputError(f"the landmarks of {name or file} are damaged ({error}); delete {file} and fetch again") \
            from None
    return points


# -- the rig ---------------------------------------------------------------------------------


def pack_rig(files: Mapping[str, Path], part: dict[str, Any], place: Path) -> None:
    """ICT-FaceKit's meshes as one table (`ict_facekit.npz`): shapes as 16-bit deltas, polygons and triangles.

    Raises:
        InputError: a mesh is damaged, doesn't belong to the others, or does not match its fingerprint.
    """
    layout = part["layout"]
    neutral = _Mesh(files[part["neutral"]], part["neutral"])
    table: dict[str, np.ndarray] = {
        "neutral": neutral.vertices.astype(np.float32), "quads": neutral.polygons, "quads_uv": neutral.corners,
        "uv": neutral.uv.astype(np.float32)}
    table |= _triangles(neutral)
    names = np.array(layout["materials"])
    table["material_names"] = names
    table["quad_material"] = np.array([layout["materials"].index(m) if m in layout["materials"] else -1
                                       for m in neutral.materials], np.int8)
    for key, paths in (("id", part["identity"]), ("expr", part["expressions"])):
        deltas = [_Mesh(files[p], p, like=neutral).vertices - neutral.vertices for p in paths]
        scales = np.array([max(np.abs(d).max(), 1e-9) / 32767 for d in deltas], np.float32)
        table[f"{key}_q"] = np.array([np.round(d / s) for d, s in zip(deltas, scales, strict=True)], np.int16)
        table[f"{key}_scale"] = scales
    table["expr_names"] = np.array([PurePosixPath(p).stem for p in part["expressions"]])
    for key, values in layout["indices"].items():
        table[key] = np.array(values, np.int32)
    table["group_names"] = np.array(list(layout["groups"]))
    table["group_ranges"] = np.array(list(layout["groups"].values()), np.int32)
    check_rig(table, part["probes"])
    with replaced(place / "ict_facekit.npz", "wb") as handle:
        np.savez_compressed(handle, **table)


class _Mesh:
    """A Wavefront OBJ of triangles and quads.

    Attributes:
        vertices [V, 3], uv [U, 2], polygons and corners int32 [P, 4] (-1 pads triangles), materials [P].
    """

    def __init__(self, file: Path, name: str, like: _Mesh | None = None) -> None:
        vertices, uv, polygons, corners, self.materials = [], [], [], [], []
        material = ""
        try:
            with open(file, encoding="utf-8") as lines:
                for line in lines:
                    if line.startswith("v "):
                        vertices.append(line.split()[1:4])
                    elif like is not None:
                        continue  # a shape differs from the neutral mesh in its vertices only
                    elif line.startswith("vt "):
                        uv.append(line.split()[1:3])
                    elif line.startswith("usemtl "):
                        material = line.split(maxsplit=1)[1].strip()
                    elif line.startswith("f "):
                        corner = [c.split("/") for c in line.split()[1:]]
                        polygons.append([int(c[0]) - 1 for c in corner] + [-1] * (4 - len(corner)))
                        corners.append([int(c[1]) - 1 for c in corner] + [-1] * (4 - len(corner)))
                        self.materials.append(material)
            self.vertices = np.array(vertices, np.float64).reshape(-1, 3)
            self.uv = np.array(uv, np.float64).reshape(-1, 2)
            self.polygons = np.array(polygons, np.int32).reshape(-1, 4)
            self.corners = np.array(corners, np.int32).reshape(-1, 4)
        except (OSError, ValueError, IndexError, UnicodeDecodeError) as error:
            raise InputError(f"{name} is no readable mesh ({error}); delete {file} and fetch again") from None
        if not len(self.vertices) or (like is not None and len(self.vertices) != len(like.vertices)):
            raise InputError(f"{name} has {len(self.vertices)} vertices, which is not what the rig has; "
                             f"delete {file} and fetch again")


def _triangles(mesh: _Mesh) -> dict[str, np.ndarray]:
    """Polygons as triangles (0, 1, 2) and, of quads, (0, 2, 3)."""
    out: dict[str, list] = {"tris": [], "tris_uv": [], "tri_quad": []}
    for number, (polygon, corner) in enumerate(zip(mesh.polygons, mesh.corners, strict=True)):
        for pick in ((0, 1, 2), (0, 2, 3)) if polygon[3] >= 0 else ((0, 1, 2),):
            out["tris"].append(polygon[list(pick)])
            out["tris_uv"].append(corner[list(pick)])
            out["tri_quad"].append(number)
    return {key: np.array(values, np.int32) for key, values in out.items()}


def _write(target: Path, data: bytes) -> None:
    with replaced(target, "wb") as file:
        file.write(data)


def describe_layout(table: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What a packed rig holds beyond its meshes: groups, materials and named vertices, for the listing."""
    indices = ("landmarks68", "jaw_right8", "jaw_left8", "jaw_right17", "jaw_left17")
    return json.loads(json.dumps({
        "groups": {str(n): [int(v) for v in r] for n, r in zip(table["group_names"], table["group_ranges"], strict=True)},
        "materials": [str(m) for m in table["material_names"]],
        "indices": {key: table[key].tolist() for key in indices}}))
