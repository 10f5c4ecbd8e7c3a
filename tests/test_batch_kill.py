"""Workers and whole runs that are killed at any moment: a file is lost at most, and --resume does the rest, once each."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rtau.batch import Task
from rtau.batch.pool import Pool
from rtau.process import Job, Options

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")

#: So many frames of each clip.
FEW = "0.6"
NAMES = [f"{letter}.mp4" for letter in "abcd"]


@pytest.fixture(scope="module")
def clips(sample, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for name in NAMES:
        shutil.copy(sample, folder / name)
    return folder


@pytest.fixture(scope="module")
def undisturbed(clips, tmp_path_factory):
    """Bytes of each table of a run that nobody kills."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert finish(start(clips, out))[0] == 0
    return tables(out)


def start(clips: Path, out: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "rtau", "process", str(clips), "--out", str(out), "--jobs", "2", "--end", FEW,
               "--overlay", str(out), *more]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


def finish(child: subprocess.Popen) -> tuple[int, str]:
    output, errors = child.communicate(timeout=120)
    assert "Traceback" not in output + errors, output + errors
    return child.returncode, output + errors


def tables(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.glob("*.csv")}


def children(process: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(what, seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def rows_at_work(out: Path) -> int:
    """Size of the largest table that is not finished."""
    return max((path.stat().st_size for path in out.glob(".*.partial/*.csv")), default=0)


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_is_resumed(kill, clips, undisturbed, tmp_path):
    out = tmp_path / "out"
    child = start(clips, out, "--summary", str(tmp_path / "first.json"))
    until(lambda: len(tables(out)) >= 1 and rows_at_work(out) > 1000)
    workers = children(child.pid)
    assert workers
    child.send_signal(kill)
    code, _ = finish(child)
    until(lambda: not any(map(alive, workers)), 10)
    kept = tables(out)
    assert 1 <= len(kept) < len(NAMES) and all(undisturbed[name] == data for name, data in kept.items())
    assert all(json.loads((out / f"{name}.meta.json").read_text())["complete"] for name in kept)
    times = {name: (out / name).stat().st_mtime_ns for name in kept}
    if kill != signal.SIGKILL:
        first = json.loads((tmp_path / "first.json").read_text())
        assert code == 130 and first["interrupted"] and not list(out.glob(".*"))
        assert first["totals"]["done"] == len(kept) and first["totals"]["left"] == len(NAMES) - len(kept)

    code, _ = finish(start(clips, out, "--resume", "--summary", str(tmp_path / "second.json")))
    second = json.loads((tmp_path / "second.json").read_text())
    assert code == 0 and tables(out) == undisturbed and not list(out.glob(".*"))
    states = {Path(record["out"]).name: record["state"] for record in second["files"]}
    assert states == {f"{name[0]}.csv": "skipped" if f"{name[0]}.csv" in kept else "done" for name in NAMES}
    assert all((out / name).stat().st_mtime_ns == at for name, at in times.items())


def test_a_killed_worker_costs_a_second_attempt(clips, undisturbed, tmp_path):
    out = tmp_path / "out"
    child = start(clips, out, "--summary", str(tmp_path / "s.json"))
    until(lambda: rows_at_work(out) > 4000)
    os.kill(children(child.pid)[0], signal.SIGKILL)
    code, output = finish(child)
    summary = json.loads((tmp_path / "s.json").read_text())
    assert code == 0 and tables(out) == undisturbed and "killed" in output
    assert sorted(record["attempts"] for record in summary["files"]) == [1, 1, 1, 2]


class Killer:
    """Does something to each worker that takes a certain file; hears what is said of it."""

    def __init__(self, pool: Pool, name: str, kill: signal.Signals) -> None:
        self.pool, self.name, self.kill = pool, name, kill
        self.said: list[str] = []

    def begin(self, worker: int, task: Task) -> None:
        self.began = worker, task.name

    def beat(self, worker: int, frames: int, expected: int | None) -> None:
        number, name = self.began
        if (number, name) == (worker, self.name) and frames:
            os.kill(self.pool.processes[worker], self.kill)

    def say(self, line: str) -> None:
        self.said.append(line)


@pytest.mark.parametrize(("kill", "says"), [(signal.SIGSEGV, "fault"), (signal.SIGSTOP, "no progress")])
def test_a_file_that_kills_its_workers_is_given_up(kill, says, clips, tmp_path):
    """Whatever is wrong with it, the others are done; one that only stands still is killed."""
    pool = Pool(1, stall=4 if kill == signal.SIGSTOP else 60)
    options = Options(end=1.0)
    tasks = [Task(Job((clips / name,), False, tmp_path / f"{name}.csv"), options) for name in NAMES[:2]]
    killer = Killer(pool, NAMES[0], kill)
    records = {Path(record.out).name: record for record in pool.run(tasks, killer)}
    bad, good = records["a.mp4.csv"], records["b.mp4.csv"]
    assert bad.state == "failed" and bad.blame == "worker" and bad.attempts == 2 and says in bad.error
    assert good.state == "done" and good.frames == 25
    assert len(killer.said) == 1 and "once more" in killer.said[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.mp4.csv", "b.mp4.csv.meta.json"]
    with (tmp_path / "b.mp4.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 25
