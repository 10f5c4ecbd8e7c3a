"""What is done already: the record beside each table, and whether it still holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from .. import __version__
from ..analyze import Analyzer
from ..errors import InputError, OutputError
from ..process import Job, Options
from ..sinks import meta_path
from ..sinks.paths import os_reason
from ..store import read_manifest
from .task import Record

#: Under which key of the facts beside a table its record lies.
KEY = "record"
#: Arguments of the analyzer that its own settings tell more exactly, or that change no number.
_TOLD = frozenset({"aus_text", "model", "backend", "device", "precision", "detector", "landmarks", "smooth", "threads"})
#: Names for people, where they differ.
_WORDS = {"rest_seconds": "calibrate", "smoothing": "smooth"}
#: How an output is made: a setting that counts where there is that output.
_HOW = {"overlay": "overlay_style", "crops": "crop_size"}
_CHUNK = 4 << 20

Steps = Callable[[], object]


@dataclass(frozen=True)
class Verdict:
    """Whether a job must be done.

    Attributes:
        done: no.
        note: why it must be done anew, or nothing.
        replace: what lies there is this job's own and may be replaced.
    """

    done: bool = False
    note: str | None = None
    replace: bool = False


@dataclass(frozen=True)
class Evidence:
    """What can be seen of a job where its files lie.

    Attributes:
        out: its table, for people.
        source: its video as a record names it; None where a record need not name it.
        there: whether there is a table.
        same: whether its inputs are those of a record.
        missing: which of its outputs are not there, in words.
    """

    out: str
    source: str | None
    there: Callable[[], bool]
    same: Callable[[Any], bool]
    missing: Callable[[], list[str]]


def reading(analyzer: Analyzer, analysis: Mapping[str, Any]) -> dict[str, Any]:
    """All that changes the numbers that an analyzer reads, in JSON's types; its networks are made ready.

    Every argument of the analyzer counts, but for those that are known to change nothing. Files count by their content.

    Args:
        analysis: what the analyzer was made from, see `Task`.

    Raises:
        InputError: such a file can't be read.
    """
    made = {name: value for name, value in analyzer.settings.items() if name != "calibration"}
    made["weights"] = analyzer.weights.sha256
    if made["landmarks"] == "rtau":
        made["landmarks"] = f"rtau {read_manifest()['landmarks'].sha256}"
    asked = {name: _content(value) for name, value in analysis.items() if name not in _TOLD}
    return _plain({"rtau": __version__, "aus": list(analyzer.aus), **asked, **made})


def settings(job: Job, options: Options, read: Mapping[str, Any]) -> dict[str, Any]:
    """All that changes the numbers or the columns of a job's outputs, or which outputs there are, in JSON's types.

    Every field of `Options` counts, but for those marked with `same_numbers`, and whether there is each output of `Job`.

    Args:
        read: see `reading`.
    """
    chosen = {one.name: getattr(options, one.name) for one in fields(options)
              if one.metadata.get("numbers", True) and one.name not in _HOW.values()}
    outputs = {one.name: getattr(job, one.name) is not None and (one.name not in _HOW or getattr(options, _HOW[one.name]))
               for one in fields(job) if one.name not in ("paths", "pictures", "out")}
    return {**read, **_plain({**chosen, **outputs})}


def new_record(job: Job, made_with: Mapping[str, Any], step: Steps = lambda: None) -> dict[str, Any]:
    """What to keep beside a job's table, under `KEY`; to be made before its inputs are read.

    Args:
        made_with: see `settings`.
        step: called now and then, while large inputs are read.

    Raises:
        InputError: an input can't be read.
    """
    inputs = []
    for path in job.paths:
        # A picture that can't be read is one of many; its table says so.
        found = stamp(path)
        inputs.append({"path": _name(path), **found, "sha256": sha256_of(path, step) if found else None})
    return {"settings": dict(made_with), "inputs": inputs}


def judge(job: Job, made_with: Callable[[], Mapping[str, Any]], *, overwrite: bool = False,
          step: Steps = lambda: None) -> Verdict:
    """Whether a job was done before, by the record beside its table.

    An input whose size and time of change are those of the record is the same; else its content is compared.

    Args:
        made_with: gives what `settings` does; asked only where there is a record.
        overwrite: whatever lies there may be replaced.

    Raises:
        OutputError: what lies there is not this job's, and `overwrite` is False.
    """
    def missing() -> list[str]:
        gone = [name for name in (one.name for one in fields(job)) if name not in ("paths", "pictures")
                and (path := getattr(job, name)) is not None and not path.exists()]
        return ["table" if name == "out" else name for name in gone]

    evidence = Evidence(str(job.out), None if job.pictures else _name(job.paths[0]), job.out.exists,
                        lambda recorded: _same_inputs(job, recorded, step), missing)
    return weigh(_read(meta_path(job.out)), evidence, made_with, overwrite=overwrite)


def weigh(facts: Mapping[str, Any] | None, evidence: Evidence, made_with: Callable[[], Mapping[str, Any]], *,
          overwrite: bool = False) -> Verdict:
    """What `judge` does, wherever the outputs lie.

    Args:
        facts: those beside the table; None where there are none.

    Raises:
        OutputError: as `judge`.
    """
    if facts is None:
        if evidence.there() and not overwrite:
            raise OutputError(f"{evidence.out} exists, and no record beside it says what it was made from: choose another "
                              "--out, or add --overwrite to replace it")
        return Verdict(replace=overwrite)
    record = facts.get(KEY)
    if not isinstance(record, Mapping):
        return Verdict(note="redone: its facts hold no record", replace=True)
    if not evidence.same(record.get("inputs")):
        if evidence.source is not None and evidence.source not in _paths(record) and evidence.there() and not overwrite:
            raise OutputError(f"{evidence.out} was made from another file, {', '.join(_paths(record)) or '?'}: choose "
                              "another --out, or add --overwrite to replace it")
        return Verdict(note="redone: the input changed", replace=True)
    if facts.get("complete") is not True:
        return Verdict(note=f"redone: it was not complete ({facts.get('error') or 'it was stopped'})", replace=True)
    changed = _differences(record.get("settings"), made_with())
    if changed:
        return Verdict(note=f"redone: settings changed ({', '.join(changed)})", replace=True)
    missing = evidence.missing()
    if missing:
        return Verdict(note=f"redone: {', '.join(missing)} was gone", replace=True)
    return Verdict(done=True)


def finished(job: Job, since: float) -> Record | None:
    """A record from what lies beside a job's table, if that was finished after `since` (seconds since 1970)."""
    path = meta_path(job.out)
    facts = _read(path) if job.out.exists() else None
    if facts is None or path.stat().st_mtime < since:
        return None
    record = Record.of(job)
    record.state = "done" if facts.get("complete") is True else "damaged"
    record.error = facts.get("error")
    for name in ("frames", "faces", "frames_with_face", "rows"):
        setattr(record, name, facts.get(name, 0))
    if facts.get("frames_per_second"):
        record.seconds = record.frames / facts["frames_per_second"]
    return record


def sha256_of(path: Path, step: Steps = lambda: None) -> str | None:
    """SHA-256 of a file in hex; None if it can't be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                step()
    except OSError:
        return None
    return digest.hexdigest()


def _same_inputs(job: Job, recorded: Any, step: Steps) -> bool:
    if not isinstance(recorded, list) or len(recorded) != len(job.paths):
        return False
    for path, before in zip(job.paths, recorded, strict=True):
        if not isinstance(before, Mapping):
            return False
        if job.pictures and before.get("path") != _name(path):
            return False  # the table names its pictures
        now = stamp(path)
        if not now or now["size"] != before.get("size"):
            return False
        if now["mtime_ns"] != before.get("mtime_ns") and sha256_of(path, step) != before.get("sha256"):
            return False
    return True


def _differences(before: Any, now: Mapping[str, Any]) -> list[str]:
    if not isinstance(before, Mapping):
        return ["all"]
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return [_WORDS.get(name, name) for name in names]


def stamp(path: Any) -> dict[str, int]:
    """Size and time of change of a file; {} where it is none."""
    if not isinstance(path, Path):
        return {}
    try:
        found = path.stat()
    except (OSError, ValueError):
        return {}
    return {"size": found.st_size, "mtime_ns": found.st_mtime_ns}


def _paths(record: Mapping[str, Any]) -> list[str]:
    inputs = record.get("inputs")
    return [str(one.get("path")) for one in inputs if isinstance(one, Mapping)] if isinstance(inputs, list) else []


def _name(path: Path) -> str:
    """A file's name in full, also where its bytes are no text."""
    return str(path.absolute()).encode("utf-8", "backslashreplace").decode()


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(values, default=lambda value: sorted(value) if isinstance(value, frozenset)
                                 else str(value)))


def _content(value: Any) -> Any:
    """A file's hash in place of its name."""
    if not isinstance(value, Path):
        return value
    found = sha256_of(value)
    if found is None:
        raise InputError(f"{value} can't be read; check the name and the folder")
    return found


def _read(path: Path) -> Mapping[str, Any] | None:
    """The facts beside a table; None if there are none."""
    try:
        facts = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"can't read {path}: {os_reason(error)}") from None
    except ValueError:
        return None
    return facts if isinstance(facts, Mapping) else None
