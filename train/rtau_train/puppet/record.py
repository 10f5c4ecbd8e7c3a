"""The labels of one rendered picture, as they lie beside it in a shard."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import cv2
import numpy as np

from rtau.au import BY_NUMBER, REGIONS, Region

from ..data.people import Part, part_of
from .labels import GRADES, KNOTS, LID, intensities
from .sample import AUS, OTHERS
from .scene import PARTS, Light, Scene, Shot
from .sensor import Sensor

#: Names of skin tones by individual typology angle, degrees: each holds from its angle up.
TONES: tuple[tuple[float, str], ...] = (
    (55, "very light"), (41, "light"), (28, "intermediate"), (10, "tan"), (-30, "brown"), (-90, "dark"))

#: Where an AU of each region is seen, as pairs or single parts of `scene.PARTS`.
_SEEN_AT: dict[Region, tuple[str, ...]] = {
    "brow": ("brow_left", "brow_right"), "eye": ("eye_left", "eye_right"), "nose": ("nose",),
    "cheek": ("cheek_left", "cheek_right"), "mouth": ("mouth",), "jaw": ("chin", "mouth")}
#: An AU none of whose parts shows more than this share is not judged.
_HIDDEN = 0.35
#: AUs without sides: read off the jaw and the lips.
_MIDDLE = (17, 25, 26)


def shown(labels: dict[str, Any]) -> list[float]:
    """What share of each region in `rtau.au.REGIONS` shows, 0..1, of the side that shows more, by a picture's record."""
    return [max(labels["visibility"][part] for part in _SEEN_AT[region]) for region in REGIONS]


def typology_angle(colour: np.ndarray) -> float:
    """Individual typology angle of a skin colour (RGB 0..1, [3]) in degrees: -90 dark .. 90 light."""
    lab = cv2.cvtColor(np.float32(colour).reshape(1, 1, 3), cv2.COLOR_RGB2Lab)[0, 0]
    return float(np.degrees(np.arctan2(lab[0] - 50, max(lab[2], 1e-3))))  # b* of skin is above 0


def tone_of(angle: float) -> str:
    """The name of a skin tone by its typology angle in degrees."""
    return next((name for least, name in TONES if angle > least), TONES[-1][1])


def record(*, index: int, seed: int, person: str, colour: np.ndarray, scene: Scene, shot: Shot,
           sensor: Sensor | None = None, part: Part | None = None) -> dict[str, Any]:
    """Labels of one picture, in plain numbers, words, lists and dicts.

    Args:
        index, seed: of the sample.
        person: identity.
        colour: [3] RGB 0..1, the person's skin in the portrait.
        scene, shot: what was rendered and what came of it.
        sensor: the camera that then took it; None for none.
        part: of the data; by default the person's own.

    Returns:
        "aus" maps AU numbers (as text) to intensity 0..5 of the whole face and of the subject's left and right
        side, presence (1 from intensity 1 on, None where "ignore") and whether the picture does not tell:
        between absent and A, what another AU can fake, or hidden. Angles in radians but "ita" (degrees),
        points in pixels, "lip_gap" in mm, "covered_by" in shares of the face.
    """
    height, width = shot.image.shape[:2]
    activation = np.asarray(scene.performance.activation, float)
    jaw = float(scene.performance.shapes.get("jawOpen", 0.0))
    lids = np.asarray(shot.lid_gap, float)
    others = [scene.performance.others.get(au, 0.0) for au in OTHERS]
    intensity, known = intensities(activation[None], np.array([shot.lip_gap]), lids[None], np.array([jaw]),
                                   np.array([others]))
    visibility = {name: _decimals(shot.visibility[name], 3) for name in PARTS}
    units = {}
    for i, au in enumerate(AUS):
        whole = float(intensity[0, i])
        sides = np.full(2, whole) if au in _MIDDLE else (
            np.interp(-lids, -LID, GRADES) if au == 43 else np.interp(activation[i], KNOTS, GRADES))
        ignored = not known[0, i] or max(visibility[p] for p in _SEEN_AT[BY_NUMBER[au].region]) < _HIDDEN
        units[str(au)] = {"intensity": _decimals(whole, 2), "left": _decimals(sides[0], 2),
                          "right": _decimals(sides[1], 2), "presence": None if ignored else int(whole >= 1),
                          "ignore": bool(ignored)}
    angle = _decimals(typology_angle(colour), 1)
    return {
        "index": int(index), "seed": int(seed), "person": person, "part": part or part_of(person),
        "size": [width, height], "aus": units, "activation": _decimals(activation, 4),
        "others": {str(au): _decimals(value, 4) for au, value in scene.performance.others.items()},
        "points": _decimals(shot.points, 2), "pose": _decimals(shot.pose, 4), "rotation": _decimals(shot.rotation, 6),
        "distance": _decimals(scene.distance, 1), "gaze": _decimals(shot.gaze, 4),
        "lip_gap": _decimals(shot.lip_gap, 3), "lid_gap": _decimals(lids, 3), "jaw_open": _decimals(jaw, 4), "visibility": visibility,
        "occluders": sorted({prop.name for prop in scene.props}),
        "covered_by": {name: _decimals(share, 3) for name, share in sorted(shot.covered_by.items())},
        "light": _light(scene.light), "skin": {"notes": list(scene.skin.notes), "ita": angle, "tone": tone_of(angle)},
        **({"identity": {"modes": _decimals(scene.identity.modes, 3), "bearing": _decimals_of(scene.identity.bearing)}}
           if scene.identity else {}),
        "sensor": (sensor or Sensor()).as_dict(), "creases": _decimals(scene.crease_amount, 3),
    }


def _light(light: Light) -> dict[str, Any]:
    return {"ambient": _decimals(light.ambient, 3), "exposure": _decimals(light.exposure, 3),
            "tint": _decimals(light.tint, 3),
            "lamps": [{key: _decimals(value, 3) for key, value in asdict(lamp).items()} for lamp in light.lamps]}


def _decimals_of(values: dict[str, float]) -> dict[str, float]:
    return {name: _decimals(value, 3) for name, value in values.items()}


def _decimals(value: Any, digits: int) -> Any:
    """Rounded in decimals: a float, or nested lists of floats of an array."""
    if np.ndim(value) == 0:  # a label has dozens: without an array each
        return round(float(value), digits) + 0.0
    return (np.round(np.asarray(value, float), digits) + 0.0).tolist()  # no -0.0
