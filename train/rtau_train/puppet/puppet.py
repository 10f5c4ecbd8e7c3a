"""A person ready to perform: everything the renderer needs, built once from a portrait."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from rtau.errors import InputError
from rtau.sinks.paths import replaced

from .eyes import paint_eyes
from .fit import Fit, fit_rig
from .portrait import Portrait
from .rig import Rig
from .surround import Layer, rim, surround
from .texture import bake

#: Changes when what a file holds changes, so that old files are built anew.
FORMAT = 2
#: The rig's upper teeth sit too high and its lower too low to show when a mouth speaks: cm, stage coordinates.
_UPPER_TEETH, _LOWER_TEETH = (17039, 19247), (19247, 21451)
_UPPER_MOVE, _LOWER_MOVE = (0, -0.22, 0.12), (0, 0.22, 0.25)


@dataclass(frozen=True, eq=False)
class Puppet:
    """One person. Pictures are uint8 RGB; geometry is float32 in cm, head coordinates.

    Attributes:
        name, licence: identity, and what may be done with it.
        vertices: [N, 3], the stage mesh at rest.
        alpha: [S], how much of the face mesh hides the photograph under it (soft at its rim).
        photo_xy: [N, 2], place of the stage vertices in the photograph.
        open_lids, closed_lids: uint8 [T, T, 3], skin textures.
        bare: uint8 [T, T], 0..255, where creases show.
        lash, tone, hair, sclera: [3], RGB 0..1.
        eye_image: uint8 [h, w, 3]; eye_origin: its corner in the photograph.
        front, rear: uint8 [H, W, 4], RGB and coverage (the rear one is higher); front_*, rear_*: their reliefs (`surround.Layer`).
        backdrop: uint8 [64, 64, 3]; plain: whether the person was cut out of a plain backdrop.
        turn: [3, 3], rotation of the head in its portrait; place: [3], its translation, cm.
        focal: of the portrait, pixels; centre: its principal point.
        fit_error: mean distance of the points before the warp, share of the eye distance;
        jaw_error: the same of the jaw.
    """

    name: str
    licence: str
    vertices: np.ndarray
    alpha: np.ndarray
    photo_xy: np.ndarray
    open_lids: np.ndarray
    closed_lids: np.ndarray
    bare: np.ndarray
    lash: np.ndarray
    tone: np.ndarray
    hair: np.ndarray
    sclera: np.ndarray
    eye_image: np.ndarray
    eye_origin: np.ndarray
    front: np.ndarray
    rear: np.ndarray
    front_vertices: np.ndarray
    front_triangles: np.ndarray
    front_pixel: np.ndarray
    front_leaders: np.ndarray
    front_shares: np.ndarray
    rear_vertices: np.ndarray
    rear_triangles: np.ndarray
    rear_pixel: np.ndarray
    rear_leaders: np.ndarray
    rear_shares: np.ndarray
    backdrop: np.ndarray
    plain: bool
    turn: np.ndarray
    place: np.ndarray
    focal: float
    centre: np.ndarray
    fit_error: float
    jaw_error: float


def build_puppet(portrait: Portrait, rig: Rig, fit: Fit | None = None) -> Puppet:
    """Fit, bake and cut out; about a second."""
    fit = fit or fit_rig(portrait, rig)
    stage = rig.stage
    vertices = fit.head[stage.vertices].copy()
    for (first, end), move in ((_UPPER_TEETH, _UPPER_MOVE), (_LOWER_TEETH, _LOWER_MOVE)):
        vertices[(stage.vertices >= first) & (stage.vertices < end)] += np.float32(move)
    around, eyes = surround(portrait, fit, rig), paint_eyes(portrait)
    skin = bake(portrait, fit, rig, around.person)
    layers = {}
    for name, layer in (("front", around.front_layer), ("rear", around.rear_layer)):
        layers |= {f"{name}_{f.name}": getattr(layer, f.name) for f in fields(Layer)}
    return Puppet(
        name=portrait.name, licence=portrait.licence, vertices=vertices,
        alpha=rim(fit, rig),
        photo_xy=fit.project(fit.camera)[stage.vertices].astype(np.float32),
        open_lids=_bytes(skin.open_lids), closed_lids=_bytes(skin.closed_lids), bare=_bytes(skin.bare),
        lash=skin.lash, tone=skin.tone, hair=around.hair, sclera=eyes.sclera,
        eye_image=_bytes(eyes.image), eye_origin=np.array(eyes.origin, np.float32),
        front=_bytes(around.front), rear=_bytes(around.rear), **layers,
        backdrop=_bytes(around.backdrop), plain=around.plain,
        turn=fit.rotation.astype(np.float32), place=fit.translation.astype(np.float32), focal=fit.focal,
        centre=np.array(fit.centre, np.float32),
        fit_error=float(fit.error.mean() / portrait.eye_distance), jaw_error=fit.jaw_error / portrait.eye_distance)


def _bytes(image: np.ndarray) -> np.ndarray:
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def save_puppet(puppet: Puppet, path: Path) -> None:
    """Write a puppet; the file appears complete or not at all."""
    with replaced(path, "wb", alone=False) as file:  # several workers may build the same person
        np.savez(file, format=FORMAT, **{f.name: getattr(puppet, f.name) for f in fields(Puppet)})


def load_puppet(path: Path) -> Puppet:
    """Read a puppet.

    Raises:
        InputError: the file is no puppet, or one of another version.
    """
    try:
        with np.load(path, allow_pickle=False) as table:
            if int(table["format"]) != FORMAT:
                raise InputError(f"{path} was built by another version; build it again")
            values = {f.name: table[f.name] for f in fields(Puppet)}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise InputError(f"{path} is no puppet ({error})") from None
    for f in fields(Puppet):
        if f.type in ("str", "float", "bool"):
            values[f.name] = values[f.name].item()
    return Puppet(**values)
