"""Videos that are damaged midway, through all that `rtau process` does: what their tables hold.

    python -m benchmarks.fuzz_tables [video.mp4] --count 200 [--seed 0] [--jobs 1]

The first frames of a clip are put into containers of several kinds, damaged behind a place of which the byte is known,
and analysed by worker processes, as a folder is. A table must hold one row group for each frame that can be read, with
the frame's own number and time; up to the damage, the very rows of the undamaged file; and the facts beside it must
say what is missing. Prints a table by container and a line for each fault. Exit code 1 where there was a fault.
"""

from __future__ import annotations

import argparse
import collections
import csv
import json
import sys
import tempfile
import zlib
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

import av
import cv2
import numpy as np

from benchmarks.fuzz import FAULTS, Worker
from benchmarks.mutations import damage_behind
from rtau.batch import Record, Task
from rtau.batch.run import run_batch
from rtau.errors import InputError
from rtau.process import Job
from rtau.sinks import meta_path
from rtau.source import open_source

SAMPLE = Path(__file__).resolve().parents[1] / "rtau" / "samples" / "astronaut.mp4"
#: Name, codec, options of the codec, options of the container.
CONTAINERS = {
    "plain.mkv": ("libx264", {"bf": "0"}, {}), "reordered.mkv": ("libx264", {"bf": "2"}, {}),
    "stream.ts": ("libx264", {"bf": "2"}, {}), "stream.flv": ("libx264", {"bf": "0"}, {}),
    "raw.h264": ("libx264", {"bf": "0"}, {}),
    "fragments.mp4": ("libx264", {"bf": "0"}, {"movflags": "frag_keyframe+empty_moov"}),
    "front.mp4": ("libx264", {"bf": "2"}, {"movflags": "faststart"}), "still.avi": ("mjpeg", {}, {}),
    "part2.avi": ("mpeg4", {}, {}), "vp8.webm": ("libvpx", {}, {})}
#: Frames of each, between two of which a key frame stands.
FRAMES, _KEY, _RATE = 24, 6, 10
#: Frames that a decoder holds back to put them in order.
_HELD = 2
#: Containers that can't tell how long they should be.
_ENDLESS = ("raw.h264", "stream.ts")
_SIZE = 320, 180


@dataclass(frozen=True)
class Seen:
    """What the reader gives of a file: of each frame its number, time and the sum of its bytes; and what it says."""

    frames: list[tuple[int, float, int]]
    damage: str | None

    @classmethod
    def of(cls, path: Path) -> Seen:
        """What `look` has found."""
        found = json.loads(_beside(path).read_text())
        return cls([tuple(frame) for frame in found["frames"]], found["damage"])


def look(path: Path) -> int:
    """Read a video and write beside it what there is; a reader of `benchmarks.fuzz.Worker`."""
    frames, damage = [], None
    try:
        with open_source(path) as source:
            frames = [(frame.index, frame.time, zlib.crc32(frame.image)) for frame in source]
        damage = source.damage
    except InputError as error:
        damage = str(error)
    _beside(path).write_text(json.dumps({"frames": frames, "damage": damage}))
    return len(frames)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.seen")


def make_whole(clip: Path, folder: Path) -> list[Path]:
    """The first frames of a clip in each container that this FFmpeg can write."""
    with open_source(clip) as source:
        images = [cv2.resize(frame.image, _SIZE, interpolation=cv2.INTER_AREA) for frame in islice(source, FRAMES)]
    made = []
    for name, (codec, options, more) in CONTAINERS.items():
        if codec not in av.codecs_available:
            continue
        with av.open(str(folder / name), "w", options=more) as container:
            stream = container.add_stream(codec, rate=_RATE, options=options)
            stream.width, stream.height, stream.gop_size = *_SIZE, _KEY
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for number, image in enumerate(images):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, _RATE)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        made.append(folder / name)
    return made


def kept_before(path: Path, byte: int) -> int:
    """How many frames of a whole video, as they are shown, need nothing from this byte on."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    # Where a packet ends is not told where a parser puts it together; where the next one begins is.
    places = [packet.pos if packet.pos is not None else 0 for packet in packets]
    whole = sum(after <= byte for _, after in pairwise(places))
    order = sorted(range(len(packets)), key=lambda at: (packets[at].pts is None, packets[at].pts or 0))
    shown = [at < whole for at in order]
    kept = shown.index(False) if False in shown else len(shown)
    # Where frames are reordered, the decoder still holds some when the damage comes, and may give them late.
    return max(kept - _HELD, 0) if order != sorted(order) else kept


def rows_by_frame(path: Path) -> dict[int, list[dict[str, str]]]:
    """The rows of a table, by the numbers of their frames."""
    found: dict[int, list[dict[str, str]]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found.setdefault(int(row["frame"]), []).append(row)
    return found


def faults_of(record: Record, path: Path, whole: Path, whole_table: Path, byte: int) -> list[str]:
    """What is wrong with what became of a damaged video, one line each.

    Args:
        record: what the run says of it.
        path: the damaged video, after `look`.
        whole, whole_table: the undamaged one, after `look`, and its table.
        byte: where the damage begins.
    """
    if record.blame == "rtau":
        return [f"unexpected: {record.error}"]
    if record.blame == "worker":
        return []
    seen, before = Seen.of(path), Seen.of(whole)
    same = next((at for at, (one, other) in enumerate(zip(seen.frames, before.frames, strict=False)) if one != other),
                min(len(seen.frames), len(before.frames)))
    faults = []
    if seen.frames and same < kept_before(whole, byte):
        faults.append(f"{same} of the {kept_before(whole, byte)} frames before the damage were read")
    if not seen.frames:
        return faults + ([] if record.state == "failed" and not Path(record.out).exists() else
                         [f"nothing can be read, and yet it is {record.state}"])
    rows, model = rows_by_frame(Path(record.out)), rows_by_frame(whole_table)
    told = [(frame, float(one[0]["timestamp"])) for frame, one in rows.items()]
    if [frame for frame, _ in told] != [frame for frame, _, _ in seen.frames] or not np.allclose(
            [time for _, time in told], [time for _, time, _ in seen.frames], rtol=0, atol=1e-6):
        faults.append(f"the table has {len(told)} frames, the reader gives {len(seen.frames)}, or their times differ")
    differ = [frame for frame, _, _ in seen.frames[:same] if rows.get(frame) != model.get(frame)]
    if differ:
        faults.append(f"rows of frame {differ[0]}, before the damage, differ from those of the whole file")
    facts = json.loads(meta_path(record.out).read_text())
    if (facts["complete"], facts["error"]) != (seen.damage is None, seen.damage) or record.error != seen.damage:
        faults.append(f"the facts say {facts['error']!r}, the record {record.error!r}, the reader {seen.damage!r}")
    if record.state != ("done" if seen.damage is None else "damaged"):
        faults.append(f"it is called {record.state}")
    missing = before.frames[-1][1] - seen.frames[-1][1]
    if seen.damage is None and missing > 0.6 and whole.name not in _ENDLESS:
        faults.append(f"its last {missing:.1f} s are missing, and nothing is said of it")
    return faults


def run(clip: Path, count: int, seed: int, jobs: int, folder: Path, containers: list[str] | None = None
        ) -> tuple[list[tuple[str, str, Record, list[str]]], list[Path]]:
    """Damage so many videos, analyse them, and check what came of it.

    Args:
        containers: which of `CONTAINERS`; all by default.

    Returns:
        Of each damaged video its container, how it was damaged, its record and its faults; and what lies in the
        output's folder that should not.
    """
    (folder / "in").mkdir()
    whole = [path for path in make_whole(clip, folder / "in") if containers is None or path.name in containers]
    damaged = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        one = whole[number % len(whole)]
        way, byte, data = damage_behind(one.read_bytes(), 0.3, rng)
        path = one.with_name(f"{number:05d}-{one.name}")
        path.write_bytes(data)
        damaged.append((path, one, way, byte))
    everything = [*whole, *(path for path, *_ in damaged)]
    with Worker(30.0, 1500.0, {"video": look}) as worker:
        fates = {path: worker.read(path, "video") for path in everything}
    tasks = [Task(Job((path,), False, folder / "out" / f"{path.name}.csv")) for path in everything]
    (folder / "out").mkdir()
    results = run_batch(tasks, folder / "out", jobs=jobs, stall=60.0)
    records = dict(zip(everything, results.records, strict=True))
    done = []
    for path, one, way, byte in damaged:
        lost = [f"its frames can't be looked at: {fates[path].says}"] if fates[path].word in FAULTS else []
        done.append((one.name, way, records[path],
                     lost or faults_of(records[path], path, one, folder / "out" / f"{one.name}.csv", byte)))
    named = {name for record in results.records if record.frames
             for name in (Path(record.out), meta_path(record.out))}
    return done, sorted(set((folder / "out").iterdir()) - named)


def main() -> int:
    """The command line, see above; gives its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", nargs="?", type=Path, default=SAMPLE)
    parser.add_argument("--count", type=int, default=200, help="damaged videos (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        done, left = run(args.video, args.count, args.seed, args.jobs, Path(scratch))
    words = ("done", "damaged", "failed")
    print(f"{'container':<16}{'files':>7}" + "".join(f"{word:>9}" for word in words) + f"{'frames':>9}{'faults':>8}")
    for name in dict.fromkeys(name for name, *_ in done):
        mine = [(record, faults) for each, _, record, faults in done if each == name]
        states = collections.Counter(record.state for record, _ in mine)
        print(f"{name:<16}{len(mine):>7}" + "".join(f"{states[word]:>9}" for word in words)
              + f"{sum(record.frames for record, _ in mine):>9}{sum(bool(faults) for _, faults in mine):>8}")
    for name, way, record, faults in done:
        for line in [*faults, *([f"lost its worker: {record.error}"] if record.blame == "worker" else [])]:
            print(f"  {Path(record.inputs[0]).name}, {way}: {line}")
    for path in left:
        print(f"  left behind: {path.name}")
    return int(bool(left) or any(faults for *_, faults in done))


if __name__ == "__main__":
    sys.exit(main())
