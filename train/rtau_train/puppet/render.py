"""Render performing puppets into one archive per person.

    python -m rtau_train.puppet.render --engine ENGINE --faces FACES --out RENDERS \
        --per-person 450 --size 192 --workers 2

ENGINE is a folder whose `person.py` offers `build(photo, points)` and
`render(person, shapes, rotation, ...)`; FACES holds the portraits with their points.
Every picture is seeded by its person and number, so neither the number of workers nor a
restart changes a byte, and finished people are skipped.

An archive RENDERS/<person>.npz holds, for N pictures of size S (pixel centres at integers):
    jpeg uint8 [bytes], ends int64 [N]   the pictures, JPEG one after the other
    activation float32 [N, 18, 2]        per AU of `sample.AUS` and side (left, right), 0..1
    points float32 [N, 68, 2]            Multi-PIE points in pixels
    rotation float32 [N, 3, 3]           head to camera (x image right, y up, z to the camera)
    lip_gap float32 [N]                  growth of the inner lip distance, mm
    lid_gap float32 [N, 2]               lid distance over the resting one (left, right)
    jaw_open float32 [N]                 rig coefficient of the jaw
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import zlib
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import cv2
import numpy as np

from .sample import AUS, draw

_JPEG_QUALITY = 95


def _load_people(faces: Path) -> list[tuple[str, Path, np.ndarray]]:
    people = []
    for group in ("london_neutral", "canada"):
        table = np.load(faces / group / "landmarks.npz")
        for name, points in zip(table["names"], table["points"], strict=True):
            people.append((str(name).split("_")[0], faces / group / f"{name}.jpg", points.astype(float)))
    return people


def render_person(job: tuple[str, str, str, str, np.ndarray, int, int]) -> tuple[str, int, float]:
    """Render one person's archive; a worker's whole task."""
    engine_dir, faces, out, name, points, count, size = job
    target = Path(out) / f"{name}.npz"
    if target.exists():
        return name, 0, 0.0
    if engine_dir not in sys.path:
        sys.path.insert(0, engine_dir)
    import person as engine

    cv2.setNumThreads(1)
    started = time.perf_counter()
    group = "canada" if name[-1] in "fm" else "london_neutral"
    photo = cv2.imread(str(Path(faces) / group / (name if group == "canada" else f"{name}_03")) + ".jpg")
    puppet = engine.build(photo, points)
    backgrounds = [cv2.imread(str(f)) for f in sorted((Path(faces) / "backgrounds_rainbow").glob("*.jpg"))]

    columns: dict[str, list] = {k: [] for k in
                                ("jpeg", "ends", "activation", "points", "rotation", "lip_gap", "lid_gap", "jaw_open")}
    written = 0
    for number in range(count):
        rng = np.random.default_rng([zlib.crc32(name.encode()), number])
        picture, facts = _render_one(engine, puppet, backgrounds, rng, size)
        data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].ravel()
        written += len(data)
        columns["jpeg"].append(data)
        columns["ends"].append(written)
        for key, value in facts.items():
            columns[key].append(value)
    arrays = {k: np.asarray(v, np.float32) for k, v in columns.items() if k not in ("jpeg", "ends")}
    partial = target.with_suffix(".partial")
    with open(partial, "wb") as handle:
        np.savez(handle, jpeg=np.concatenate(columns["jpeg"]), ends=np.asarray(columns["ends"], np.int64), **arrays)
    os.replace(partial, target)
    return name, count, time.perf_counter() - started


def _render_one(engine, puppet, backgrounds: list[np.ndarray], rng: np.random.Generator, size: int):
    performance = draw(rng, engine.EXN)
    yaw, pitch, roll = np.clip(rng.normal(0, 12), -30, 30), rng.normal(0, 8), rng.normal(0, 6)
    rotation = engine.Rot.from_euler("yxz", [yaw, pitch, roll], degrees=True).as_matrix()
    zoom = rng.uniform(1.2, 1.6)
    puppet.wramp = rng.uniform(0, 1)  # half of the pictures show faint creases or none
    mean_activation = performance.activation.mean(1)
    wrinkles = {f"AU{au}": float(a) for au, a in zip(AUS, mean_activation, strict=True) if a > 0}
    picture = engine.render(puppet, performance.shapes, rotation, out=size, SS=1, light=_draw_light(engine, rng),
                            bg=_draw_background(backgrounds, rng), zoom=zoom, wr=wrinkles)

    motion = np.zeros_like(engine.NEU)
    for name, value in performance.shapes.items():
        motion += value * engine.EXM[engine.EI[name]]
    vertices, marks = puppet.V + motion, engine.LM
    centre = puppet.V[marks[[30, 27, 8]]].mean(0) + np.array([0, 1.0, -4])
    camera = (vertices[marks] - centre) @ rotation.T
    scale = size / (17.5 * zoom) * engine.D0 / (engine.D0 - camera[:, 2])
    points = np.c_[size / 2 + camera[:, 0] * scale, size / 2 - camera[:, 1] * scale]

    def gap(v: np.ndarray, upper: list[int], lower: list[int]) -> float:
        return float(np.linalg.norm(v[marks[upper]].mean(0) - v[marks[lower]].mean(0)))

    lid = [gap(vertices, up, low) / gap(puppet.V, up, low)
           for up, low in (([43, 44], [47, 46]), ([37, 38], [41, 40]))]
    facts = dict(
        activation=performance.activation, points=points, rotation=rotation,
        lip_gap=10 * float(motion[marks[62], 1] - motion[marks[66], 1]), lid_gap=lid,
        jaw_open=performance.shapes.get("jawOpen", 0.0))
    return picture, facts


def _draw_light(engine, rng: np.random.Generator):
    azimuth, elevation, strength = rng.uniform(-1.3, 1.3), rng.uniform(-0.3, 1.0), rng.uniform(0, 0.5)
    direction = engine.nrm([np.sin(azimuth), np.sin(elevation), np.cos(azimuth)])
    return 1 - strength * 0.75, [(direction, strength * 1.1)], rng.uniform(0.85, 1.1)


def _draw_background(backgrounds: list[np.ndarray], rng: np.random.Generator) -> np.ndarray | None:
    """A piece of a photograph (45 %), a plain colour (20 %) or the portrait's own backdrop."""
    kind = rng.random()
    if kind >= 0.65:
        return None
    if kind >= 0.45:
        return np.ones((8, 8, 3), np.float32) * rng.uniform(0.05, 0.95, 3).astype(np.float32)
    image = backgrounds[rng.integers(len(backgrounds))]
    h, w = image.shape[:2]
    side = int(rng.uniform(0.4, 1.0) * min(h, w))
    y, x = rng.integers(h - side + 1), rng.integers(w - side + 1)
    piece = cv2.resize(image[y:y + side, x:x + side], (256, 256), interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(piece.astype(np.float32) / 255, (0, 0), rng.uniform(0.5, 6))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--engine", required=True, type=Path)
    parser.add_argument("--faces", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--per-person", type=int, default=450)
    parser.add_argument("--held-out-per-person", type=int, default=150, help="for validation and test people")
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    args = parser.parse_args()

    from ..data.people import part_of

    args.out.mkdir(parents=True, exist_ok=True)
    jobs = [(str(args.engine), str(args.faces), str(args.out), name, points,
             args.per_person if part_of(name) == "train" else args.held_out_per_person, args.size)
            for name, _, points in _load_people(args.faces)]
    # A mix of people first, so that a run cut short still holds every kind.
    np.random.default_rng(0).shuffle(jobs)
    with ProcessPoolExecutor(args.workers) as pool:
        running = {pool.submit(render_person, job): job[3] for job in jobs}
        for done, future in enumerate(as_completed(running), 1):
            try:
                name, count, seconds = future.result()
                print(f"{done}/{len(jobs)} {name}: {count} pictures, {count / max(seconds, 1e-9):.0f}/s", flush=True)
            except Exception as error:  # one bad fit must not lose the other people
                print(f"{done}/{len(jobs)} {running[future]}: left out, {type(error).__name__}: {error}", flush=True)


if __name__ == "__main__":
    main()
