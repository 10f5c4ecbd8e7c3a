"""What the tests of streams share: scores made by hand, a check of messages against the schema, `rtau` as a process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
from websockets.sync import client as sync_client

from rtau.au import AUS
from rtau.types import Faces, Frame, Scores, Status

ROOT = Path(__file__).resolve().parents[1]
STATUS = Status(24.8, 300, 3, 0.041, "onnxruntime/cpu f32", "camera 0")
IMAGE = np.zeros((240, 320, 3), np.uint8)
#: A client that goes there directly, whatever proxy this machine uses.
connect = partial(sync_client.connect, proxy=None)


def make_frame(index: int = 0, *, captured: float | None = None, name: str = "") -> Frame:
    """A black picture at 25 frames per second."""
    return Frame(IMAGE, index / 25, index, input=name, captured=captured)


def make_scores(n: int = 1, *, aus: tuple[int, ...] = AUS, ids: list[int] | None = None, seed: int = 0) -> Scores:
    """n faces, the last the largest; AU04 can't be judged; all show AU12 at 3.2."""
    rng = np.random.default_rng(seed)
    intensity = rng.uniform(0, 2.5, (n, len(aus))).astype(np.float32)
    assessable = np.ones((n, len(aus)), bool)
    if 12 in aus:
        intensity[:, aus.index(12)] = 3.2
    if 4 in aus:
        assessable[:, aus.index(4)] = False
        intensity[:, aus.index(4)] = np.nan
    boxes = np.array([[40 * i, 10, 40 * i + 30 + i, 60] for i in range(n)], np.float32).reshape(n, 4)
    faces = Faces(boxes, np.full(n, 0.9, np.float32), np.array(range(n) if ids is None else ids, np.int64),
                  np.zeros((n, 68, 2), np.float32), np.tile(np.float32([0.1, -0.2, 0.3]), (n, 1)))
    return Scores(aus, faces, intensity / 5, intensity, (np.nan_to_num(intensity) > 2) & assessable, assessable,
                  np.full(n, 0.75, np.float32))


_UNIT, _REAL = {"type": "number", "minimum": 0, "maximum": 1}, {"type": "number"}
_OR_NULL = {"type": ["number", "null"]}
#: The schema of `rtau.streams.message` once more, as a JSON schema.
SCHEMA = {
    "type": "object", "additionalProperties": False,
    "required": ["rtau", "frame", "time", "captured", "source", "input", "size", "faces", "omitted", "status"],
    "properties": {
        "rtau": {"type": "integer", "minimum": 1, "maximum": 1}, "frame": {"type": "integer", "minimum": 0},
        "time": {"type": "number"}, "captured": {**_OR_NULL, "minimum": 1e9}, "source": {"type": "string"},
        "input": {"type": "string"}, "omitted": {"type": "integer", "minimum": 0},
        "size": {"type": "array", "length": 2, "items": {"type": "integer", "minimum": 1}},
        "status": {
            "type": ["object", "null"], "additionalProperties": False,
            "required": ["fps", "frames", "drops", "age", "backend"],
            "properties": {"fps": {"type": "number", "minimum": 0}, "frames": {"type": "integer", "minimum": 0},
                           "drops": {"type": "integer", "minimum": 0}, "age": _OR_NULL,
                           "backend": {"type": "string"}}},
        "faces": {"type": "array", "items": {
            "type": "object", "additionalProperties": False,
            "required": ["id", "box", "pose", "confidence", "quality", "aus"],
            "properties": {
                "id": {"type": "integer", "minimum": 0}, "box": {"type": "array", "length": 4, "items": _REAL},
                "pose": {"type": "object", "additionalProperties": False, "required": ["pitch", "yaw", "roll"],
                         "properties": {name: {"type": "number", "minimum": -3.2, "maximum": 3.2}
                                        for name in ("pitch", "yaw", "roll")}},
                "confidence": _UNIT, "quality": _UNIT,
                "shapes": {"type": "object", "patternProperties": {
                    "[a-z][A-Za-z]+": {"type": ["number", "null"], "minimum": 0, "maximum": 1}}},
                "aus": {"type": "object", "patternProperties": {r"AU\d\d": {
                    "type": "object", "additionalProperties": False,
                    "required": ["presence", "intensity", "present"],
                    "properties": {"presence": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
                                   "intensity": {"type": ["number", "null"], "minimum": 0, "maximum": 5},
                                   "present": {"type": ["boolean", "null"]}}}}}}}}}}
_TYPES = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
          "null": type(None)}


def check(value: object, schema: dict = SCHEMA, where: str = "message") -> None:
    """Assert that a value is as its schema says; as much of JSON Schema as `SCHEMA` uses."""
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    fits = [name for name in types if isinstance(value, _TYPES[name])
            and not (isinstance(value, bool) and name in ("integer", "number"))]
    assert fits, f"{where} is {value!r}, not {types}"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        assert schema.get("minimum", value) <= value <= schema.get("maximum", value), f"{where} is {value}"
    if isinstance(value, list):
        assert len(value) == schema.get("length", len(value)), f"{where} has {len(value)} items"
        for i, item in enumerate(value):
            check(item, schema["items"], f"{where}[{i}]")
    if isinstance(value, dict):
        missing = set(schema.get("required", ())) - set(value)
        assert not missing, f"{where} lacks {missing}"
        for name, item in value.items():
            inner = schema.get("properties", {}).get(name) or next(
                (inner for pattern, inner in schema.get("patternProperties", {}).items()
                 if re.fullmatch(pattern, name)), None)
            assert inner is not None, f"{where} has {name!r}, which the schema does not know"
            check(item, inner, f"{where}.{name}")


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for something that other threads bring about; it is an error if they don't."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


class Command:
    """`rtau` in a process of its own; its standard error is read as it comes.

    Args:
        words: of the command.
        folder: to run it in.
    """

    def __init__(self, *words: object, folder: Path, **options: object) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        self.child = subprocess.Popen([sys.executable, "-m", "rtau", *map(str, words)], cwd=folder, env=environment,
                                      stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                      **{"stdout": subprocess.PIPE, **options})
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.child.kill()
        self.child.wait()
        self._reader.join(10)
        for pipe in (self.child.stdout, self.child.stderr):
            if pipe is not None:
                pipe.close()

    def _read(self) -> None:
        for line in self.child.stderr:
            self._lines.append(line.decode(errors="replace"))

    @property
    def said(self) -> str:
        """Its standard error so far."""
        return "".join(self._lines)

    def address(self, kind: str) -> str:
        """The first address of this kind that it names, as soon as it does."""
        pattern = re.compile(rf"\b{kind}://[^\s,;]+")
        wait_until(lambda: pattern.search(self.said) or self.child.poll() is not None, 60)
        found = pattern.search(self.said)
        assert found, self.said
        return found[0]

    def end(self, seconds: float = 120) -> int:
        """Its exit code, once it has ended."""
        code = self.child.wait(seconds)
        self._reader.join(10)
        return code
