"""Makes sample number i: picks a person, draws a scene, renders it, takes the picture, writes down what is true."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from rtau.errors import InputError, UsageError

from ..data.people import Part, part_of
from .portrait import Portrait
from .props import draw_props
from .puppet import FORMAT, Puppet, build_puppet, load_puppet, save_puppet
from .record import record
from .render import Renderer
from .rig import Rig, load_rig
from .sample import draw
from .scene import Scene
from .scenery import draw_background, draw_framing, draw_light, draw_pose
from .sensor import Sensor, draw_sensor, sense
from .skin import draw_skin

log = logging.getLogger(__name__)

Look = Literal["clean", "webcam", "mixed"]
#: Groups of portraits that have hand-placed points, with what follows a person's name in a file's name.
_GROUPS = (("london_neutral", "_03"), ("canada", ""))
_LICENCE = "CC BY 4.0"
_PEOPLE_KEPT = 160  # in memory of each worker; about 5 MB each


@dataclass(frozen=True)
class Cast:
    """Where people come from.

    Attributes:
        faces: folder of the open portraits (`faces/`, as `rtau data fetch` packs it).
        rig: `ict_facekit.npz`, or its folder.
        added: folder of one's own portraits (`rtau data add`), or None.
        puppets: folder where built people are kept.
    """

    faces: Path
    rig: Path
    puppets: Path
    added: Path | None = None

    def people(self, part: Part | Literal["all"] = "all") -> list[str]:
        """Names, sorted.

        Raises:
            InputError: there is nobody.
        """
        names = [name for name, _, _, _ in self._portraits()]
        if self.added is not None:
            names += [f.stem for f in sorted(self.added.glob("*.npz"))]
        chosen = sorted(n for n in names if part == "all" or part_of(n) == part)
        if not chosen:
            raise InputError(f"{self.faces} holds no portraits of {part} people; `rtau data fetch` gets them")
        return chosen

    def _portraits(self) -> Iterator[tuple[str, str, Path, np.ndarray]]:
        for group, suffix in _GROUPS:
            folder = self.faces / group
            if not folder.is_dir():
                continue
            try:
                with np.load(folder / "landmarks.npz", allow_pickle=False) as table:
                    names, points = table["names"], table["points"]
            except (OSError, ValueError, KeyError) as error:
                raise InputError(f"{folder / 'landmarks.npz'} can't be read ({error}); fetch the portraits again") \
                    from None
            for name, template in zip(names, points, strict=True):
                yield str(name).removesuffix(suffix), group, folder / f"{name}.jpg", template

    def portrait(self, person: str) -> Portrait:
        """The neutral portrait of a person.

        Raises:
            InputError: there is none, or its picture can't be read.
        """
        for name, _, path, template in self._portraits():
            if name == person:
                image = cv2.imread(str(path), cv2.IMREAD_COLOR)
                if image is None:
                    raise InputError(f"{path} can't be read as a picture; fetch the portraits again")
                if not np.isfinite(template).all():
                    raise InputError(f"{path} has no landmarks; only portraits with points can perform")
                return Portrait.from_template(name, cv2.cvtColor(image, cv2.COLOR_BGR2RGB), template, _LICENCE)
        raise InputError(f"there is no portrait of {person!r} in {self.faces}")

    def puppet(self, person: str, rig: Rig) -> Puppet:
        """The person ready to perform; built on first use and kept in `puppets`."""
        if self.added is not None and (self.added / f"{person}.npz").is_file():
            return load_puppet(self.added / f"{person}.npz")
        kept = self.puppets / f"{person}-{FORMAT}.npz"
        if kept.is_file():
            try:
                return load_puppet(kept)
            except InputError as error:
                log.info("%s; building it anew", error)
        puppet = build_puppet(self.portrait(person), rig)
        kept.parent.mkdir(parents=True, exist_ok=True)
        save_puppet(puppet, kept)
        return puppet

    def backgrounds(self) -> list[np.ndarray]:
        """Photographs without people, uint8 RGB."""
        read = (cv2.imread(str(f), cv2.IMREAD_COLOR) for f in sorted((self.faces / "backgrounds_rainbow").glob("*.jpg")))
        return [cv2.cvtColor(image, cv2.COLOR_BGR2RGB) for image in read if image is not None]


@dataclass(frozen=True)
class Order:
    """What `rtau data render` asks for; calling it gives a maker of samples (one for each worker).

    Attributes:
        cast: where people come from; people: who performs.
        size: side of the pictures, pixels; supersample: drawn this many times finer.
        seed: sample i depends on it and on i only.
        look: "clean" shows what the studio sees, "webcam" what cameras make of it, "mixed" both.
    """

    cast: Cast
    people: tuple[str, ...]
    size: int = 160
    seed: int = 0
    look: Look = "mixed"
    supersample: int = 2

    def __post_init__(self) -> None:
        if not 32 <= self.size <= 1024:
            raise UsageError(f"the size {self.size} is not between 32 and 1024 pixels")

    def __call__(self) -> Studio:
        cv2.setNumThreads(1)
        return Studio(self)

    def settings(self) -> dict[str, Any]:
        """What fixes the bytes, for the folder's own record."""
        return {"people": list(self.people), "look": self.look, "supersample": self.supersample, "engine": FORMAT}


class Studio:
    """Makes samples; see `Order`."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.rig = load_rig(order.cast.rig)
        self.renderer = Renderer(self.rig)
        self.backgrounds = order.cast.backgrounds()
        self._puppet = lru_cache(_PEOPLE_KEPT)(lambda person: order.cast.puppet(person, self.rig))

    def __call__(self, index: int) -> tuple[np.ndarray, dict[str, Any]]:
        """Picture (uint8 [S, S, 3], RGB) and labels (`record.record`) of sample `index`."""
        order = self.order
        rng = np.random.default_rng([order.seed, index])
        puppet = self._puppet(self._person(index))
        scene = self.draw_scene(puppet, rng)
        shot = self.renderer.render(puppet, scene, size=(order.size, order.size), supersample=order.supersample)
        sensor = self._sensor(rng, float(np.ptp(shot.points[:, 1])))
        image = shot.image if sensor is None else sense(shot.image, sensor, rng)
        return image, record(index=index, seed=order.seed, person=puppet.name, colour=puppet.tone, scene=scene,
                             shot=shot, sensor=sensor)

    def draw_scene(self, puppet: Puppet, rng: np.random.Generator) -> Scene:
        """A scene with a performance, all by chance."""
        performance = draw(rng, list(self.rig.shape_names))
        yaw, pitch, roll = draw_pose(rng)
        face, distance, shift = draw_framing(rng)
        return Scene(
            performance=performance, yaw=yaw, pitch=pitch, roll=roll, face=face, distance=distance, shift=shift,
            light=draw_light(rng), background=draw_background(self.backgrounds, rng),
            crease_seed=int(rng.integers(2**31)), crease_amount=float(max(rng.uniform(-0.25, 1.1), 0)),
            teeth=(float(rng.uniform(0.78, 1.02)), float(rng.uniform(-0.15, 0.15)), float(rng.uniform(0.1, 1.0))),
            skin=draw_skin(puppet, self.rig, self.renderer.creases, rng),
            props=draw_props(puppet, self.rig, performance, rng))

    def _person(self, index: int) -> str:
        """Everyone as often as everyone else: one shuffle of all people after the other."""
        people = self.order.people
        round_, place = divmod(index, len(people))
        shuffle = np.random.default_rng([self.order.seed, 1, round_]).permutation(len(people))
        return people[shuffle[place]]

    def _sensor(self, rng: np.random.Generator, face: float) -> Sensor | None:
        if self.order.look == "clean" or (self.order.look == "mixed" and rng.random() < 0.5):
            return None
        return draw_sensor(rng, "mixed", face=face)


def default_puppets(faces: Path) -> Path:
    """A folder in the user's cache for the people built from these portraits."""
    from rtau.cache import cache_folder

    return cache_folder() / "puppets" / hashlib.sha256(str(faces.resolve()).encode()).hexdigest()[:12]


def choose_people(cast: Cast, wanted: Sequence[str]) -> tuple[str, ...]:
    """People by part ("train", "validation", "test", "all") or by name.

    Raises:
        UsageError: a name that nobody has.
    """
    if len(wanted) == 1 and wanted[0] in ("train", "validation", "test", "all"):
        return tuple(cast.people(wanted[0]))
    known = cast.people()
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        raise UsageError(f"nobody is called {unknown[0]!r}: choose train, validation, test, all, or from "
                         f"{', '.join(known[:5])} ... ({len(known)} people)")
    return tuple(wanted)
