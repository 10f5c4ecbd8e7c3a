"""A video of one puppet that follows a script, and beside it the exact truth of every frame.

    make_clip(puppet, Renderer(rig), draw_script(np.random.default_rng(1), 20), "clip.mp4", seed=1)

writes `clip.mp4`, `clip.mp4.csv` (rtau's own columns) and `clip.mp4.json` (how it was made). All three
appear together when the last frame is done, or none does.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rtau import __version__
from rtau.errors import OutputError, UsageError
from rtau.sinks import CsvSink
from rtau.sinks.paths import exists_error, output_error
from rtau.types import Frame

from .curves import Script
from .encode import Encoder, check_video_name, clock_of
from .puppet import Puppet
from .scene import Performance, Scene, Shot
from .script_file import LONGEST
from .truth import TRUTH_AUS, Fact, truth_of

log = logging.getLogger(__name__)

#: What spoils a picture on its way: uint8 RGB [H, W, 3] and a source of noise in, a picture of the same size out.
Sense = Callable[[np.ndarray, np.random.Generator], np.ndarray]
#: Called with the frames done and all that there will be.
Progress = Callable[[int, int], None]

_PARTIAL = ".partial"


class Draws(Protocol):
    """`render.Renderer`, or a stand-in."""

    def render(self, puppet: Any, scene: Scene, *, size: tuple[int, int], supersample: int) -> Shot:
        """A picture and what is true of it."""


@dataclass(frozen=True)
class Clip:
    """What `make_clip` wrote.

    Attributes:
        video, truth, facts: the files.
        frames: how many.
        seconds: time of the last frame.
        codec: of the video, "h264" or "mpeg4".
    """

    video: Path
    truth: Path
    facts: Path
    frames: int
    seconds: float
    codec: str


def truth_path(out: str | Path) -> Path:
    """Where a clip's truth is: `clip.mp4` -> `clip.mp4.csv`."""
    return Path(f"{out}.csv")


def facts_path(out: str | Path) -> Path:
    """Where it is written how a clip was made: `clip.mp4` -> `clip.mp4.json`."""
    return Path(f"{out}.json")


def make_clip(puppet: Puppet, renderer: Draws, script: Script, out: str | Path, *, seconds: float | None = None,
              fps: float = 30, size: tuple[int, int] = (640, 480), seed: int = 0, scene: Scene | None = None,
              sensor: Sense | None = None, variable_rate: bool = False, supersample: int = 2, crf: int = 16,
              overwrite: bool = False, notes: Mapping[str, Any] | None = None, progress: Progress | None = None
              ) -> Clip:
    """Render a video and its truth.

    Args:
        puppet: who performs.
        renderer: what draws.
        script: what is performed.
        out: the video, .mp4, .m4v, .mov or .mkv; its folder must exist.
        seconds: how long, the script's own length when None.
        fps: frames per second.
        size: width and height in pixels, even.
        seed: of the sensor's noise, the time stamps of a variable rate and, without a `scene`, the wrinkles.
        scene: light, background, distance, skin, props and the head's place at rest; its performance is not used.
        sensor: noise, blur and the like, applied to each picture before it is encoded.
        variable_rate: frames come as from a busy phone: at uneven times, now and then one or two missing.
        supersample: see `Renderer.render`.
        crf: H.264 quality, 0 (best) to 51.
        overwrite: replace files that exist.
        notes: further facts for the JSON file, plain values.
        progress: hears of each frame.

    Raises:
        UsageError: an impossible size, rate or length.
        OutputError: a file exists, or can't be written; nothing is left under the final names.
    """
    out = Path(out)
    seconds = script.seconds if seconds is None else seconds
    _check(out, size, fps, seconds, supersample, crf)
    times = frame_times(seconds, fps, clock=clock_of(out), variable=variable_rate, seed=seed)
    scene = scene or Scene(Performance(np.zeros((len(TRUTH_AUS) - 1, 2), np.float32), {}), crease_seed=seed)
    finals = (truth_path(out), facts_path(out), out)
    if not overwrite:
        for path in finals:
            if path.exists():
                raise exists_error(path)
    partials = tuple(path.with_name(f".{path.name}.{os.getpid()}{_PARTIAL}") for path in finals)
    facts: list[Fact] = []
    try:
        try:
            with Encoder(partials[2], out.suffix, size, fps, crf=crf) as encoder:
                for shot, fact in shots(puppet, renderer, script, times, size=size, scene=scene,
                                                supersample=supersample):
                    image = shot.image if sensor is None else _sensed(sensor, shot.image, seed, len(facts))
                    encoder.add(image, fact.time)
                    facts.append(fact)
                    if progress is not None:
                        progress(len(facts), len(times))
        except OSError as error:
            raise output_error(out, error) from error
        _write_truth(partials[0], finals[0], facts, size)
        _write_json(partials[1], finals[1], {
            "rtau": __version__, "video": out.name, "truth": finals[0].name, "person": puppet.name,
            "licence": puppet.licence, "made": "Rendered from a portrait and a face rig; nobody did this.",
            "seed": seed, "fps": float(fps), "variable_rate": variable_rate, "size": list(size), "frames": len(facts),
            "seconds": float(seconds), "codec": encoder.codec, "crf": crf, "supersample": supersample,
            "sensor": sensor is not None, "scene": _scene_facts(scene), "script": script.as_dict(),
            "gaze": [[round(float(v), 4) for v in fact.gaze] for fact in facts], "notes": dict(notes or {})})
        _appear(partials, finals)
    finally:
        for path in partials:
            with contextlib.suppress(OSError):
                path.unlink()
    log.info("%s: %d frames", out, len(facts))
    return Clip(out, finals[0], finals[1], len(facts), facts[-1].time, encoder.codec)


def shots(puppet: Puppet, renderer: Draws, script: Script, times: list[float], *, size: tuple[int, int], scene: Scene,
          supersample: int = 2) -> Iterator[tuple[Shot, Fact]]:
    """The pictures of a clip at `times` (seconds), before any sensor; the same arguments give the same bytes."""
    for time in times:
        moment = script.at(time)
        performance = Performance(moment.activation, moment.shapes, moment.others)
        now = replace(scene, performance=performance, yaw=scene.yaw + moment.yaw, pitch=scene.pitch + moment.pitch,
                      roll=scene.roll + moment.roll,
                      shift=(scene.shift[0] + moment.shift[0], scene.shift[1] + moment.shift[1]))
        shot = renderer.render(puppet, now, size=size, supersample=supersample)
        yield shot, Fact.of(time, moment, shot)


def frame_times(seconds: float, fps: float, *, clock: int, variable: bool = False, seed: int = 0) -> list[float]:
    """Times of a clip's frames, seconds, in whole ticks of a clock that ticks `clock` times a second."""
    count = max(round(seconds * fps), 1)
    if not variable:
        ticks = np.round(np.arange(count) * (clock / fps)).astype(int)
    else:
        rng = np.random.default_rng((seed, 1))
        steps = rng.uniform(0.7, 1.3, 2 * count) / fps
        missing = rng.random(len(steps)) < 0.04
        steps[missing] *= rng.integers(2, 4, int(missing.sum()))
        ticks = np.round(np.r_[0, np.cumsum(steps)] * clock).astype(int)
        ticks = ticks[ticks < seconds * clock]
    return [float(Fraction(int(tick), clock)) for tick in ticks]


def _check(out: Path, size: tuple[int, int], fps: float, seconds: float, supersample: int, crf: int) -> None:
    check_video_name(out)
    if any(side % 2 or not 64 <= side <= 4096 for side in size):
        raise UsageError(f"a clip of {size[0]}x{size[1]} can't be made: both must be even, from 64 to 4096")
    if not 1 <= fps <= 240:
        raise UsageError(f"{fps:g} frames per second can't be made: give 1 to 240")
    if not 0 < seconds <= LONGEST:
        raise UsageError(f"a clip lasts more than 0 and at most {LONGEST:g} seconds, not {seconds:g}")
    if not 1 <= supersample <= 4:
        raise UsageError(f"supersample is {supersample}: give 1 to 4")
    if not 0 <= crf <= 51:
        raise UsageError(f"crf is {crf}: give 0 (best) to 51")
    if not out.parent.is_dir():
        raise OutputError(f"can't write {out}: the folder does not exist: create it, or choose another place")
    for path in (truth_path(out), facts_path(out), out):
        if path.is_dir():
            raise OutputError(f"can't write {path}: that is a folder: choose another name")


def _sensed(sensor: Sense, image: np.ndarray, seed: int, index: int) -> np.ndarray:
    # Each frame has its own stream of chance: a clip cut short has the same frames.
    sensed = sensor(image, np.random.default_rng((seed, 2, index)))
    if sensed.shape != image.shape or sensed.dtype != np.uint8:
        raise ValueError(f"the sensor made {sensed.dtype} {sensed.shape} of uint8 {image.shape}")
    return sensed


def _write_truth(partial: Path, final: Path, facts: list[Fact], size: tuple[int, int]) -> None:
    nothing = np.broadcast_to(np.uint8(0), (size[1], size[0], 3))  # the table needs no pixels
    try:
        with CsvSink(partial, TRUTH_AUS, columns=("landmarks", "raw"), overwrite=True) as sink:
            for index, (fact, scores) in enumerate(zip(facts, truth_of(facts), strict=True)):
                sink.write(Frame(nothing, fact.time, index), scores)
    except OutputError as error:
        cause = error.__cause__
        raise (output_error(final, cause) if isinstance(cause, OSError) else error) from error


def _write_json(partial: Path, final: Path, facts: dict[str, Any]) -> None:
    try:
        partial.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise output_error(final, error) from error


def _appear(partials: tuple[Path, ...], finals: tuple[Path, ...]) -> None:
    """Give the files their names, the video last, so that one with a final name has its truth beside it."""
    placed: list[Path] = []
    try:
        finals[-1].unlink(missing_ok=True)  # an old video must not stand beside new truth
        for partial, final in zip(partials, finals, strict=True):
            os.replace(partial, final)
            placed.append(final)
    except BaseException as error:
        for final in placed:
            with contextlib.suppress(OSError):
                final.unlink()
        if isinstance(error, OSError):
            raise output_error(finals[-1], error) from error
        raise


def _scene_facts(scene: Scene) -> dict[str, Any]:
    light = scene.light
    return {"yaw": scene.yaw, "pitch": scene.pitch, "roll": scene.roll, "face": scene.face, "distance": scene.distance,
            "shift": list(scene.shift), "background": scene.background is not None, "crease_seed": scene.crease_seed,
            "crease_amount": scene.crease_amount, "teeth": list(scene.teeth), "skin": list(scene.skin.notes),
            "props": [prop.name for prop in scene.props],
            "light": {"ambient": light.ambient, "exposure": light.exposure, "tint": list(light.tint),
                      "lamps": [[lamp.azimuth, lamp.elevation, lamp.strength, *lamp.colour] for lamp in light.lamps]}}
