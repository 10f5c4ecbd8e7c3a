"""Outputs get their names when all of them are finished; until then they lie in hidden folders beside."""

from __future__ import annotations

import os
import shutil
from dataclasses import fields, replace
from pathlib import Path

from ..errors import OutputError
from ..process import Job
from ..sinks import meta_path
from ..sinks.paths import exists_error, output_error


def staged(job: Job) -> Job:
    """The same job with outputs under the same names in `.<name>.partial/`; what an earlier run left there is gone.

    Raises:
        OutputError: the folders can't be made.
    """
    discard(job)
    for path in _outputs(job).values():
        try:
            _partial(path).mkdir(parents=True)
        except OSError as error:
            raise output_error(path, error) from None
    return replace(job, **{name: _partial(path) / path.name for name, path in _outputs(job).items()})


def publish(job: Job, *, overwrite: bool) -> None:
    """Give the outputs of the staged job their names.

    Whoever ends it at any moment leaves no table that is not this job's finished one: an older one goes first, the
    new one comes last, after its facts.

    Raises:
        OutputError: that can't be done; or something lies there and `overwrite` is False, or is an input. Nothing
            is changed then.
    """
    outputs = _outputs(job)
    moves = [(_partial(job.out) / meta_path(job.out).name, meta_path(job.out))]
    for name in (*(name for name in outputs if name != "out"), "out"):
        moves += _files(_partial(outputs[name]) / outputs[name].name, outputs[name])
    inputs = {os.path.realpath(path) for path in job.paths}
    for _, target in moves:
        if os.path.realpath(target) in inputs:
            raise OutputError(f"{target} is an input and would be written over: choose another folder")
        if target != meta_path(job.out) and target.exists() and not overwrite:
            raise exists_error(target)
    try:
        job.out.unlink(missing_ok=True)
        for source, target in moves:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(source, target)
    except OSError as error:
        raise output_error(job.out, error) from None
    discard(job)


def discard(job: Job) -> None:
    """Remove what was not finished."""
    for path in _outputs(job).values():
        shutil.rmtree(_partial(path), ignore_errors=True)


def plainly(line: str, job: Job) -> str:
    """An error about a staged output as one about the output; of what was written nothing stays."""
    for path in _outputs(job).values():
        line = line.replace(f"{_partial(path).name}{os.sep}", "")
    return line.partition("; what was written so far")[0]


def _outputs(job: Job) -> dict[str, Path]:
    return {one.name: path for one in fields(job) if one.name not in ("paths", "pictures")
            and (path := getattr(job, one.name)) is not None}


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _files(source: Path, target: Path) -> list[tuple[Path, Path]]:
    """Each file of an output, which may be a folder or not be there at all, and where it is to go."""
    if not source.is_dir():
        return [(source, target)] if source.exists() else []
    return [(path, target / path.relative_to(source)) for path in sorted(source.rglob("*")) if not path.is_dir()]
