"""Makes sample number i: picks a person, draws a scene, renders it, takes the picture, writes down what is true."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import cv2
import numpy as np

from rtau.errors import UsageError

from .cast import Cast
from .identity import Identity, draw_identity
from .props import draw_props
from .puppet import Puppet
from .record import record
from .render import Renderer
from .rig import load_rig
from .sample import draw
from .scene import Scene, Shot
from .scenery import draw_background, draw_framing, draw_light, draw_pose
from .sensor import Sensor, draw_sensor, sense
from .skin import draw_skin

Look = Literal["clean", "webcam", "mixed"]
#: Changes when the same seed gives other pictures.
ENGINE = 3
_PEOPLE_KEPT = 160  # in memory of each worker; about 5 MB each


@dataclass(frozen=True)
class Order:
    """What `rtau data render` asks for; calling it gives a maker of samples (one for each worker).

    Attributes:
        cast: where people come from; people: who performs.
        size: side of the pictures, pixels; supersample: drawn this many times finer.
        seed: sample i depends on it and on i only.
        look: "clean" shows what the studio sees, "webcam" what cameras make of it, "mixed" both.
        device: "cpu" draws with the compiled kernels, one picture after the other; anything else is a
            torch device ("cuda", "torch:cpu") on which whole runs are drawn together. Pictures differ by rounding.
        strangers: share of the pictures in which a person's face has another shape, see `identity`.
    """

    cast: Cast
    people: tuple[str, ...]
    size: int = 160
    seed: int = 0
    look: Look = "mixed"
    supersample: int = 2
    device: str = "cpu"
    strangers: float = 0.0

    def __post_init__(self) -> None:
        if not 32 <= self.size <= 1024:
            raise UsageError(f"the size {self.size} is not between 32 and 1024 pixels")
        if self.device != "cpu":
            check_device(self.device)

    def __call__(self) -> Studio:
        cv2.setNumThreads(1)
        return Studio(self)

    def settings(self) -> dict[str, Any]:
        """What fixes the bytes, for the folder's own record."""
        return {"people": list(self.people), "look": self.look, "supersample": self.supersample, "engine": ENGINE,
                **({} if self.device == "cpu" else {"device": self.device}),
                **({"strangers": self.strangers} if self.strangers else {})}

    @property
    def run(self) -> int:
        """Pictures that a worker makes at a time."""
        return 16 if self.device == "cpu" else 64


class Studio:
    """Makes samples; see `Order`."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.rig = load_rig(order.cast.rig)
        self.renderer = Renderer(self.rig)
        self.batch = None
        if order.device != "cpu":
            from .batch.render import BatchRenderer
            self.batch = BatchRenderer(self.rig, order.device.removeprefix("torch:"))
        self.backgrounds = order.cast.backgrounds()
        self._puppet = lru_cache(_PEOPLE_KEPT)(lambda person: order.cast.puppet(person, self.rig))

    def __call__(self, run: range) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
        """Pictures (uint8 [S, S, 3], RGB) and labels (`record.record`) of consecutive samples."""
        if self.batch is None:
            for index in run:
                rng, puppet, scene = self._plan(index)
                shot = self.renderer.render(puppet, scene, size=(self.order.size,) * 2,
                                            supersample=self.order.supersample)
                yield self._take(index, rng, puppet, scene, shot)
            return
        plans = [self._plan(index) for index in run]
        batch = self.batch.render([p for _, p, _ in plans], [s for _, _, s in plans], size=(self.order.size,) * 2,
                                  supersample=self.order.supersample)
        for row, (index, (rng, puppet, scene)) in enumerate(zip(run, plans, strict=True)):
            yield self._take(index, rng, puppet, scene, batch.shot(row))

    def _plan(self, index: int) -> tuple[np.random.Generator, Puppet, Scene]:
        rng = np.random.default_rng([self.order.seed, index])
        puppet = self._puppet(self._person(index))
        return rng, puppet, self.draw_scene(puppet, rng)

    def _take(self, index: int, rng: np.random.Generator, puppet: Puppet, scene: Scene, shot: Shot
              ) -> tuple[np.ndarray, dict[str, Any]]:
        """The picture that the sample's camera makes, and the labels."""
        sensor = self._sensor(rng, scene.face * self.order.size)
        image = shot.image if sensor is None else sense(shot.image, sensor, rng)
        return image, record(index=index, seed=self.order.seed, person=puppet.name, colour=puppet.tone, scene=scene,
                             shot=shot, sensor=sensor)

    def draw_scene(self, puppet: Puppet, rng: np.random.Generator) -> Scene:
        """A scene with a performance, all by chance."""
        identity, shaped = self._identity(rng), puppet
        if identity:
            shaped = replace(puppet, vertices=puppet.vertices + identity.motion(self.rig))
        performance = draw(rng, list(self.rig.shape_names))
        yaw, pitch, roll = draw_pose(rng)
        face, distance, shift = draw_framing(rng)
        return Scene(
            performance=performance, yaw=yaw, pitch=pitch, roll=roll, face=face, distance=distance, shift=shift,
            light=draw_light(rng), background=draw_background(self.backgrounds, rng),
            crease_seed=int(rng.integers(2**31)), crease_amount=float(max(rng.uniform(-0.25, 1.1), 0)),
            teeth=(float(rng.uniform(0.78, 1.02)), float(rng.uniform(-0.15, 0.15)), float(rng.uniform(0.1, 1.0))),
            skin=draw_skin(puppet, self.rig, self.renderer.creases, rng),
            props=draw_props(shaped, self.rig, performance, rng), identity=identity)

    def _identity(self, rng: np.random.Generator) -> Identity:
        """Of a stream of its own: all else is drawn as it is without strangers."""
        own = rng.spawn(1)[0] if self.order.strangers else None
        return draw_identity(own, self.rig) if own and own.random() < self.order.strangers else Identity()

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


def check_device(device: str) -> None:
    """See that torch has a device.

    Raises:
        UsageError: it has none of that name.
    """
    import torch

    try:
        kind = torch.device(device.removeprefix("torch:")).type
    except RuntimeError:
        raise UsageError(f"{device!r} is no device: choose cpu, cuda or cuda:N") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError("torch finds no NVIDIA GPU here; leave out --device, or choose cpu")
