"""The clips that networks are judged on: a fixed list of takes, each person's own, rendered once and kept.

Every person performs once, before a camera in a drawn room, and once keeps perfectly still: half of them at rest,
half holding an expression. `suite.json` in the folder says what the takes depend on.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rtau.errors import InputError, RtauError, UsageError
from rtau.sinks.paths import replaced

from ..puppet.cast import Cast
from ..puppet.clip import facts_path, make_clip, truth_path
from ..puppet.curves import Event, Script, Track
from ..puppet.habits import Habits, draw_motions
from ..puppet.render import Renderer
from ..puppet.rig import load_rig
from ..puppet.sample import AUS, PROTOTYPES
from ..puppet.scene import Performance, Scene
from ..puppet.scenery import draw_background, draw_light
from ..puppet.sensor import draw_sensor, sense
from ..puppet.studio import ENGINE

#: What the takes depend on, in their folder.
LIST = "suite.json"
SIZE, FPS, SEED = (480, 360), 30, 12
#: An AU is performed in so many seconds; who moves performs one after the other, so that each comes as often.
SLOT = 1.5
#: A face that keeps still does so for this long, seconds; held expressions reach this activation.
STILL_SECONDS, HELD = 1.5, 0.6


@dataclass(frozen=True)
class Take:
    """A clip to render.

    Attributes:
        name: of the file, without its suffix.
        person: who performs.
        seed: of all that is drawn by chance.
        seconds: how long.
        still: whether the face keeps still; "" moves, "rest" and "held" do not.
    """

    name: str
    person: str
    seed: int
    seconds: float
    still: str = ""

    def script(self) -> Script:
        """What is performed."""
        if not self.still:
            rng = np.random.default_rng([SEED, self.seed, 0])
            slots = max(int(self.seconds / SLOT), 1)
            events = tuple(_event(AUS[(self.seed * slots + slot) % len(AUS)], slot * SLOT, rng) for slot in range(slots))
            shut = tuple((event.start, event.end) for event in events if event.au == 43)
            return Script(self.seconds, events, motions=draw_motions(rng, self.seconds, Habits(), shut))
        if self.still == "rest":
            return Script(self.seconds)
        aus = PROTOTYPES[self.seed % len(PROTOTYPES)]
        return Script(self.seconds, tracks=tuple(Track(au, (0.0,), (HELD,), (HELD,)) for au in aus if au != 43))


def _event(au: int, start: float, rng: np.random.Generator) -> Event:
    """An AU that rises through intensity 2 within a slot, and fades; eyes are shut for longer than a blink."""
    level = 1.0 if au == 43 else float(rng.uniform(0.5, 1.0))
    apex = 0.65 if au == 43 else float(rng.uniform(0.25, 0.5))
    return Event(au, start + 0.05, onset=float(rng.uniform(0.15, 0.4)), apex=apex, offset=float(rng.uniform(0.15, 0.3)),
                 levels=(level, level))


@dataclass(frozen=True)
class Clip:
    """A clip with its truth beside it.

    Attributes:
        video: the file.
        person: who performs, "" where unknown.
        still: whether the face keeps still.
    """

    video: Path
    person: str = ""
    still: bool = False


def plan(people: Sequence[str], frames: int) -> list[Take]:
    """Two takes of each person; those that move have about so many frames together."""
    seconds = max(round(frames / len(people)), FPS // 2) / FPS
    takes = []
    for number, person in enumerate(people):
        takes.append(Take(person, person, number, seconds))
        takes.append(Take(f"{person}-still", person, number, STILL_SECONDS, ("rest", "held")[number % 2]))
    return takes


def render_clips(cast: Cast, people: Sequence[str], frames: int, folder: Path, *, workers: int = 1,
                 tell: Callable[[int, int], None] | None = None) -> list[Clip]:
    """Render the takes that are not there yet.

    Args:
        cast: where the people come from.
        people: who performs.
        frames: of those who move, about.
        folder: is made where it is not there; takes of other people or another length must not be in it.
        workers: processes.
        tell: hears how many frames are there of how many.

    Raises:
        UsageError: the folder holds other takes. OutputError: it can't be written. RtauError: a worker died.
    """
    takes = plan(people, frames)
    _agree(folder, {"people": list(people), "frames": frames, "fps": FPS, "size": list(SIZE), "seed": SEED,
                    "engine": ENGINE})
    counts = {take.name: round(take.seconds * FPS) for take in takes}
    missing = [take for take in takes if not _is_whole(folder / f"{take.name}.mp4")]
    done, total = sum(counts.values()) - sum(counts[take.name] for take in missing), sum(counts.values())
    if tell is not None:
        tell(done, total)
    for take in _rendered(cast, missing, folder, workers):
        done += counts[take.name]
        if tell is not None:
            tell(done, total)
    return [Clip(folder / f"{take.name}.mp4", take.person, bool(take.still)) for take in takes]


def holds_takes(folder: Path) -> bool:
    """Whether a folder's clips are takes of `render_clips`, or there are none yet."""
    return (folder / LIST).is_file() or not any(folder.glob("*.mp4"))


def list_clips(videos: Sequence[Path]) -> list[Clip]:
    """Clips by their files, or all in a folder; who performs is in the JSON beside each, where there is one.

    Raises:
        InputError: one is not there, or has no truth beside it.
    """
    found = [clip for path in videos for clip in (sorted(path.glob("*.mp4")) if path.is_dir() else [path])]
    if not found:
        raise InputError(f"{', '.join(map(str, videos))} holds no clips (.mp4): rtau data clip makes one")
    clips = []
    for video in found:
        for needed in (video, truth_path(video)):
            if not needed.is_file():
                raise InputError(f"{needed} is not there: give clips with their truth beside them, as rtau data clip "
                                 "makes them")
        facts: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            facts = json.loads(facts_path(video).read_text("utf-8"))
        clips.append(Clip(video, str(facts.get("person", "")), bool(facts.get("notes", {}).get("still"))))
    return clips


def _agree(folder: Path, wanted: dict[str, Any]) -> None:
    file = folder / LIST
    if file.is_file():
        try:
            before = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"{file} can't be read ({error}): choose another folder") from None
        if before != wanted:
            other = next(name for name in sorted({*before, *wanted}) if before.get(name) != wanted.get(name))
            raise UsageError(f"{folder} holds clips with {other} {before.get(other)}, not {wanted.get(other)}: choose "
                             "another folder, or the same")
        return
    with replaced(file) as out:
        out.write(json.dumps(wanted, indent=1) + "\n")


def _is_whole(video: Path) -> bool:
    """The video appears last, so that one is whole with the others."""
    return video.is_file() and truth_path(video).is_file() and facts_path(video).is_file()


# -- rendering -------------------------------------------------------------------------------


def _rendered(cast: Cast, takes: Sequence[Take], folder: Path, workers: int):
    """Takes as they are done."""
    if min(workers, len(takes)) <= 1:
        for take in takes:
            yield _render(cast, take, folder)
        return
    pool = ProcessPoolExecutor(min(workers, len(takes)), multiprocessing.get_context("spawn"), _alone)
    try:
        for future in as_completed([pool.submit(_render, cast, take, folder) for take in takes]):
            yield future.result()
    except BrokenProcessPool:
        raise RtauError("a process that renders clips died (short of memory?): the same command goes on") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _alone() -> None:
    """One thread for each process: they are the parallelism."""
    cv2.setNumThreads(1)


@lru_cache(1)
def _renderer(rig: Path) -> Renderer:
    return Renderer(load_rig(rig))


def _render(cast: Cast, take: Take, folder: Path) -> Take:
    renderer = _renderer(cast.rig)
    rng = np.random.default_rng([SEED, take.seed, 1])
    still = Performance(np.zeros((len(AUS), 2), np.float32), {})  # the script performs
    scene = Scene(still, light=draw_light(rng), background=draw_background(cast.backgrounds(), rng),
                  crease_seed=take.seed)
    camera = draw_sensor(rng, "mixed", face=scene.face * SIZE[1])
    make_clip(cast.puppet(take.person, renderer.rig), renderer, take.script(), folder / f"{take.name}.mp4",
              seconds=take.seconds, fps=FPS, size=SIZE, seed=take.seed, scene=scene,
              sensor=lambda image, noise: sense(image, camera, noise), overwrite=True, notes={"still": take.still})
    return take
