"""What a worker is told, and what it answers: plain data that goes through JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_type_hints

from ..process import Job, Options

#: done: all well; skipped: was done before; damaged: a part of it is in the table; failed: there is no table; left: the
#: run ended before its turn came.
State = Literal["done", "skipped", "damaged", "failed", "left"]


@dataclass(frozen=True)
class Task:
    """One job and how to do it.

    Attributes:
        job: inputs and outputs. Relative paths are seen from the worker's own folder.
        options: how files are processed.
        analysis: arguments of `rtau.commands.options.open_analyzer`.
        resume: skip it if its record says that it is done; what was made with other settings is made anew.
        threads: of each network; None for what suits one worker on the machine.
        errand: the fields of an `rtau.cluster.errand.Errand` where the input is to be fetched from somewhere and the
            outputs go somewhere, else None.
    """

    job: Job
    options: Options = field(default_factory=Options)
    analysis: Mapping[str, Any] = field(default_factory=dict)
    resume: bool = False
    threads: int | None = None
    errand: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """For people."""
        return self.job.name

    @property
    def size(self) -> int:
        """Bytes of its inputs as far as they are known: what is larger is begun earlier, lest one long video is left
        over at the end."""
        if self.errand is not None:
            return self.errand.get("size") or 0
        return sum(_bytes(path) for path in self.job.paths)

    def as_json(self) -> dict[str, Any]:
        """Text, numbers, lists and dicts."""
        return {"job": _plain(asdict(self.job)), "options": _plain(asdict(self.options)),
                "analysis": _plain(dict(self.analysis)), "resume": self.resume, "threads": self.threads,
                "errand": self.errand}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Task:
        """The task that `as_json` told of."""
        return cls(_typed(Job, values["job"]), _typed(Options, values["options"]), values["analysis"],
                   values["resume"], values["threads"], values["errand"])


@dataclass
class Record:
    """What became of a task.

    Attributes:
        inputs: the video, or the pictures.
        out: the table.
        state: see `State`.
        frames, faces, frames_with_face, rows: as in the facts beside the table.
        seconds: it took, the start of a worker not counted.
        error: one line on why it failed or what was lost.
        notes: what else is worth knowing: why it was made anew, that it was cut.
        blame: whose fault a failure is: "input", "output", "usage", "worker" (it died or stood still), "rtau".
        attempts: how often it was begun.
    """

    inputs: list[str]
    out: str
    state: State = "left"
    frames: int = 0
    faces: int = 0
    frames_with_face: int = 0
    rows: int = 0
    seconds: float = 0.0
    error: str | None = None
    notes: list[str] = field(default_factory=list)
    blame: str | None = None
    attempts: int = 1

    @classmethod
    def of(cls, job: Job) -> Record:
        """A record of nothing done yet."""
        return cls([str(path) for path in job.paths], str(job.out))

    @property
    def name(self) -> str:
        """For people: the file, or how many pictures."""
        return self.inputs[0] if len(self.inputs) == 1 else f"{len(self.inputs)} pictures"

    @property
    def speed(self) -> float:
        """Frames per second."""
        return self.frames / self.seconds if self.seconds else 0.0

    @property
    def good(self) -> bool:
        """Whether nothing is missing."""
        return self.state in ("done", "skipped")


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(map(_plain, value))
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _typed(kind: type, values: Mapping[str, Any]) -> Any:
    """A dataclass from its fields, whose annotations say which text is a path and which list a tuple or a set."""
    hints = get_type_hints(kind)
    made = {}
    for one in fields(kind):
        if one.name not in values:
            continue
        hint, value = str(hints[one.name]), values[one.name]
        if isinstance(value, list):
            items = [Path(item) if "Path" in hint else item for item in value]
            value = frozenset(items) if "frozenset" in hint else tuple(items)
        elif isinstance(value, str) and "Path" in hint:
            value = Path(value)
        made[one.name] = value
    return kind(**made)
