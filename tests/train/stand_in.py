"""A small maker of samples in place of the renderer: pictures of blotches with labels of every kind."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rtau.errors import InputError
from rtau_train.puppet.record import record
from rtau_train.puppet.sample import draw
from rtau_train.puppet.scene import PARTS, Lamp, Light, Performance, Scene, Shot
from rtau_train.puppet.sensor import draw_sensor
from rtau_train.puppet.shards import render_shards

SIZE = 32
PEOPLE = ("001", "042", "094", "099")  # two train, one validates, one tests


def sample(index: int, seed: int = 0) -> tuple[np.ndarray, dict]:
    """A picture of coloured blotches with labels of every kind, from (seed, index) alone."""
    rng = np.random.default_rng([seed, index])
    image = np.kron(rng.integers(0, 256, (4, 4, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    person = PEOPLE[index % len(PEOPLE)]
    performance = draw(rng, ["jawOpen", "eyeBlink_L", "eyeBlink_R"])
    scene = Scene(Performance(performance.activation, performance.shapes), yaw=rng.normal(0, 0.2),
                  light=Light(0.7, (Lamp(30, 20, 0.5),) * int(rng.integers(3))))
    shot = Shot(image, rng.uniform(0, SIZE, (68, 2)).astype(np.float32), np.array([scene.yaw, 0, 0]), np.eye(3),
                np.zeros(2), dict.fromkeys(PARTS, 1.0), float(rng.uniform(0, 12)), rng.uniform(0, 1.1, 2))
    return image, record(index=index, seed=seed, person=person, colour=np.array([0.8, 0.6, 0.5]), scene=scene,
                         shot=shot, sensor=draw_sensor(rng))


@dataclass(frozen=True)
class Synthetic:
    """A factory of makers; at `where`, the sample misbehaves."""

    seed: int = 0
    where: int = -1
    what: str = ""

    def __call__(self):
        if self.what == "no start":
            raise InputError("rig.npz is missing: fetch it")

        def one(index: int):
            if index == self.where:
                if self.what == "raise":
                    raise ZeroDivisionError("the lens\nis gone")
                if self.what == "input":
                    raise InputError("portrait 7 can't be read: fetch it again")
                if self.what == "die":
                    os.kill(os.getpid(), signal.SIGKILL)
                if self.what == "nan":
                    image, labels = sample(index, self.seed)
                    return image, labels | {"lip_gap": float("nan")}
            return sample(index, self.seed)

        return lambda run: map(one, run)


def make_some(out: Path, count: int = 10, **options):
    usual = {"count": count, "size": SIZE, "seed": 0, "make": Synthetic(), "per_shard": 4}
    return render_shards(out, **usual | options)
