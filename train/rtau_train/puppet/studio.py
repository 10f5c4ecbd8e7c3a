"""Makes sample number i: picks a person, draws a scene, renders it, takes the picture, writes down what is true."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import cv2
import numpy as np

from rtau.errors import UsageError

from .cast import Cast
from .props import draw_props
from .puppet import FORMAT, Puppet
from .record import record
from .render import Renderer
from .rig import load_rig
from .sample import draw
from .scene import Scene
from .scenery import draw_background, draw_framing, draw_light, draw_pose
from .sensor import Sensor, draw_sensor, sense
from .skin import draw_skin

Look = Literal["clean", "webcam", "mixed"]
_PEOPLE_KEPT = 160  # in memory of each worker; about 5 MB each


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
        sensor = self._sensor(rng, scene.face * order.size)
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
