"""What one picture shows: the types that flow from the sampler to the renderer and on to the labels.

Head coordinates are the rig's: cm, x to the subject's left (image right when frontal), y up,
z out of the face. Picture coordinates are pixels, y down, pixel centres at integers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .identity import Identity

#: Parts of the face whose visible share is reported, subject's sides.
PARTS: tuple[str, ...] = ("brow_left", "brow_right", "eye_left", "eye_right", "nose", "cheek_left", "cheek_right",
                          "mouth", "chin", "forehead")


@dataclass(frozen=True)
class Performance:
    """What the face does.

    Attributes:
        activation: float32 [18, 2], per AU of `sample.AUS` and side (subject's left, right),
            0..1 of the strongest believable form.
        shapes: rig blendshape coefficients by name, nuisance motion and gaze included.
        others: activation 0..1 of AUs outside `sample.AUS` (18, 22, ...; see `sample.OTHERS`).
    """

    activation: np.ndarray
    shapes: dict[str, float]
    others: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Lamp:
    """A far light: where it stands as seen from the camera (degrees; azimuth > 0 is image right), and its colour."""

    azimuth: float
    elevation: float
    strength: float
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Light:
    """Room light (0..1 of the portrait's own) and lamps; with no lamps the portrait's own light stays."""

    ambient: float = 1.0
    lamps: tuple[Lamp, ...] = ()
    exposure: float = 1.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Prop:
    """Something worn, held or hanging before the face: a triangle mesh in head coordinates.

    Attributes:
        name: "glasses", "sunglasses", "mask", "hand" or "hair".
        vertices: float32 [V, 3], cm.
        triangles: int32 [T, 3]; both sides are drawn.
        colour: float32 [V, 3], RGB 0..1 under the portrait's own light.
        alpha: float32 [V], 1 opaque; a lens or a wisp of hair is less.
        shaded: whether the light falls on it like on skin (False for glowing reflections).
    """

    name: str
    vertices: np.ndarray
    triangles: np.ndarray
    colour: np.ndarray
    alpha: np.ndarray
    shaded: bool = True


@dataclass(frozen=True)
class Skin:
    """Changes painted on the skin texture.

    Attributes:
        gain: float32 [N, N, 3] factor on the colour, or None.
        paint: float32 [N, N, 3] RGB 0..1 colour laid over it, or None.
        cover: float32 [N, N] 0..1, how much of `paint` is seen.
        notes: names of what was done ("lipstick", "old"), for the labels.
    """

    gain: np.ndarray | None = None
    paint: np.ndarray | None = None
    cover: np.ndarray | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scene:
    """One picture, completely: rendering it twice gives the same bytes.

    Attributes:
        performance: what the face does.
        yaw, pitch, roll: radians, rtau's convention (yaw > 0 looks to image right, pitch > 0
            looks down, roll > 0 tilts clockwise in the picture).
        face: height of the face, brow to chin, as a share of the picture's height.
        distance: camera to head, cm; the nearer, the more nose and the less ears.
        shift: the face's middle off the picture's, share of the picture's height, x right, y down.
        background: uint8 [h, w, 3] RGB stretched over the picture; None keeps the portrait's own.
        crease_seed, crease_amount: which wrinkles the expression draws, and how deep (0..1.5).
        identity: in what shape the person's face is at rest.
        teeth: shade (0.8..1.05), height offset (cm) and darkness of the gaps (0..1).
    """

    performance: Performance
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    face: float = 0.45
    distance: float = 150.0
    shift: tuple[float, float] = (0.0, 0.0)
    light: Light = Light()
    background: np.ndarray | None = None
    crease_seed: int = 0
    crease_amount: float = 0.8
    teeth: tuple[float, float, float] = (0.95, 0.0, 0.3)
    skin: Skin = Skin()
    props: tuple[Prop, ...] = ()
    identity: Identity = Identity()


@dataclass(frozen=True)
class Shot:
    """A rendered picture and what is exactly true of it.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        points: float32 [68, 2], Multi-PIE landmarks, pixels.
        pose: float32 [3], yaw, pitch, roll in radians.
        rotation: float32 [3, 3], head to camera (x image right, y up, z towards the camera).
        gaze: float32 [2], yaw and pitch of the mean line of sight from the camera's view, radians.
        visibility: per name of `PARTS`, share 0..1 of the part that nothing covers; parts turned
            away from the camera count as covered.
        lip_gap: growth of the inner lip distance over the resting one, mm.
        lid_gap: float32 [2], height of the lid opening over the resting one (subject's left, right);
            about 0 when closed, below when the rig's lids cross.
    """

    image: np.ndarray
    points: np.ndarray
    pose: np.ndarray
    rotation: np.ndarray
    gaze: np.ndarray
    visibility: dict[str, float]
    lip_gap: float
    lid_gap: np.ndarray
    covered_by: dict[str, float] = field(default_factory=dict)
