"""A run's folder: settings, data, surroundings, metrics, checkpoints, plots and log, for a person and for a restart.

    config.json         the recipe as it took effect
    data.json           what was learned from and validated on, with fingerprints
    environment.json    versions, machine, revision, command line
    metrics.csv         a row for each validation
    tensorboard/        the same for TensorBoard
    *.png               the same as plots
    last.pt, best.pt    checkpoints: the newest, and the one with the best validation score
    log.txt             validations and warnings, with the time
    unreadable.txt      pictures that could not be read while training
"""

from __future__ import annotations

import csv
import json
import logging
import math
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

import rtau
from rtau.errors import InputError, UsageError
from rtau.sinks.paths import output_error, replaced

log = logging.getLogger(__name__)

_PACKAGES = ("torch", "numpy", "opencv-python", "scipy", "safetensors")
#: Whose warnings the log keeps.
_LOGGERS = ("rtau", "rtau_train")
#: What a run writes, and what --restart moves aside.
_OURS = ("config.json", "data.json", "environment.json", "metrics.csv", "tensorboard", "last.pt", "best.pt",
         "unreadable.txt", "log.txt", "*.png", "nan-*.json", "*.partial")


class RunFolder:
    """The folder, held by one training at a time; a context manager.

    Args:
        path: is made if it is not there.
        restart: move what an earlier run left into `previous-N` in it.

    Raises:
        UsageError: another training holds it.
        OutputError: it can't be written to.
    """

    def __init__(self, path: Path, *, restart: bool = False) -> None:
        self.path, self._restart = Path(path), restart
        self.last, self.best = self.path / "last.pt", self.path / "best.pt"
        self.rows: list[dict[str, float]] = []
        self._lock: int | None = None
        self._log: logging.Handler | None = None
        self._events: Any = None
        self._unreadable: set[str] = set()

    def __enter__(self) -> RunFolder:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self.path)
            if self._restart:
                self._move_aside()
            self._log = _Log(self.path / "log.txt", encoding="utf-8")
        except OSError as error:
            self.__exit__()
            raise output_error(self.path, error) from error
        except UsageError:
            self.__exit__()
            raise
        self._log.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        self._log.setLevel(logging.WARNING)
        for name in _LOGGERS:
            logging.getLogger(name).addHandler(self._log)
        return self

    def __exit__(self, *error: object) -> None:
        if self._log is not None:
            for name in _LOGGERS:
                logging.getLogger(name).removeHandler(self._log)
            self._log.close()
        if self._events is not None:
            self._events.close()
        if self._lock is not None:
            os.close(self._lock)
        self._log = self._events = self._lock = None

    # -- at the start ------------------------------------------------------------------------

    def describe(self, config: Mapping[str, Any], data: Mapping[str, Any]) -> None:
        """Write config.json, data.json and environment.json."""
        for name, values in (("config", config), ("data", data), ("environment", environment())):
            self.write(f"{name}.json", json.dumps(values, indent=2, default=str, ensure_ascii=False) + "\n")

    def go_on_from(self, step: int) -> None:
        """Forget what was recorded after a step: the run goes on from there and records it again.

        Raises:
            InputError: metrics.csv is damaged.
        """
        file = self.path / "metrics.csv"
        if file.exists():
            try:
                with open(file, newline="", encoding="utf-8") as handle:
                    rows = [{key: float(value) if value else math.nan for key, value in row.items()}
                            for row in csv.DictReader(handle)]
                if any("step" not in row for row in rows):
                    raise ValueError("no column step")
            except (OSError, ValueError, TypeError, csv.Error) as error:
                raise InputError(f"{file} can't be read ({error}): mend or delete it, and the run goes on") from error
            self.rows = [row for row in rows if row["step"] <= step]
            if len(self.rows) != len(rows):
                self._write_rows()
        self._open_events(step)

    # -- on the way --------------------------------------------------------------------------

    def record(self, row: Mapping[str, float], groups: Mapping[str, str]) -> None:
        """Add a row to metrics.csv and to TensorBoard.

        Args:
            row: numbers by column, "step" among them.
            groups: TensorBoard's section of each column, "other" where none is given.
        """
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        self.rows.append(dict(row))
        self._write_rows()
        if self._events is None:
            self._open_events(0)
        values = [Summary.Value(tag=f"{groups.get(key, 'other')}/{key}", simple_value=value)
                  for key, value in row.items() if key != "step"]
        try:
            self._events.add_event(Event(step=int(row["step"]), wall_time=time.time(), summary=Summary(value=values)))
            self._events.flush()
        except OSError as error:
            raise output_error(self.path / "tensorboard", error) from error

    def note(self, text: str) -> None:
        """Add a line to log.txt; warnings get there by themselves."""
        assert self._log is not None
        self._log.handle(logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, None, None))

    def note_unreadable(self, sources: Iterable[str]) -> None:
        """List pictures that could not be read, each once, and warn of it."""
        new = sorted(set(sources) - self._unreadable)
        if not new:
            return
        self._unreadable.update(new)
        self.write("unreadable.txt", "".join(f"{source}\n" for source in sorted(self._unreadable)))
        log.warning("%s can't be read, other faces take the place; %d such so far, all in %s", new[0],
                    len(self._unreadable), self.path / "unreadable.txt")

    def write(self, name: str, text: str) -> Path:
        """Write a text file whole or not at all. Raises OutputError."""
        with replaced(self.path / name) as file:
            file.write(text)
        return self.path / name

    def draw(self, charts: Mapping[str, Iterable[str]]) -> None:
        """Draw a plot of each chart's columns over the steps, `<chart>.png`. Raises OutputError."""
        from .plots import draw_chart

        for name, columns in charts.items():
            draw_chart(self.rows, list(columns), self.path / f"{name}.png", title=name.replace("_", " "))

    def _write_rows(self) -> None:
        columns = list(dict.fromkeys(key for row in self.rows for key in row))
        lines = [",".join(columns), *(",".join(f"{row[c]:.9g}" if c in row else "" for c in columns)
                                      for row in self.rows)]
        self.write("metrics.csv", "\n".join(lines) + "\n")

    def _open_events(self, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._events = EventFileWriter(str(self.path / "tensorboard"))
        # Tells TensorBoard that what an earlier process recorded after this step is void.
        self._events.add_event(Event(step=step + 1, wall_time=time.time(),
                                     session_log=SessionLog(status=SessionLog.START)))

    def _move_aside(self) -> None:
        found = [file for pattern in _OURS for file in self.path.glob(pattern)]
        if not found:
            return
        number = 1
        while (self.path / f"previous-{number}").exists():
            number += 1
        aside = self.path / f"previous-{number}"
        aside.mkdir()
        for file in found:
            shutil.move(file, aside / file.name)


class _Log(logging.FileHandler):
    """Silent where the disk is full: checkpoints say so, and stop the run."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (the name is logging's)
        pass


def environment() -> dict[str, Any]:
    """Versions, machine, revision and command line, as plain values."""
    import torch

    return {
        "rtau": rtau.__version__, "python": platform.python_version(), "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "cores": os.cpu_count(), "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "processes": int(os.environ.get("WORLD_SIZE", 1)), "revision": _revision(), "command": sys.argv,
        "begun": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _revision() -> str | None:
    """The commit that the code is at, "+" after it where files differ from it; None outside a repository."""
    here = Path(__file__).parent
    try:
        commit, changed = (subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True,
                                          timeout=20).stdout.strip()
                           for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no", ".")))
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + "+" * bool(changed)


def _lock(path: Path) -> int | None:
    """Hold a folder; the system lets go of it at any end."""
    if fcntl is None:
        return None
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise UsageError(f"{path}: another rtau is training in it: wait for it, or choose another folder") from None
    except OSError as error:  # some network file systems have no locks
        log.debug("%s can't be locked: %s", path, error)
    return handle
