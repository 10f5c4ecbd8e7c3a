"""A Ray cluster of two nodes on this machine, one of which is killed; files and tables in a bucket; files that crash."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import pyarrow.dataset
import pyarrow.parquet
import pytest
from test_batch_kill import alive, until

pytest.importorskip("ray", reason="Ray is not installed: pip install 'rtau[ray]'")

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")

#: So many frames of each clip.
FEW = "0.4"
CLIPS = 12
#: An object store that suffices for words.
STORE = 100 << 20


@pytest.fixture(scope="module")
def short():
    """A folder with a short name, as sockets in it need one."""
    folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def bucket():
    """The name of a bucket on an S3-compatible server, which the environment knows."""
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    patch = pytest.MonkeyPatch()
    for name, value in {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1",
                        "AWS_ENDPOINT_URL": f"http://{host}:{port}"}.items():
        patch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()  # one that another test made knows no keys
    s3fs.S3FileSystem().mkdir("videos")
    yield "videos"
    patch.undo()
    server.stop()


@pytest.fixture(scope="module")
def cluster(bucket, short):
    """A head with one core."""
    from ray.cluster_utils import Cluster

    (short / "ray").mkdir()
    patch = pytest.MonkeyPatch()
    for name, value in {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "TMPDIR": str(short)}.items():
        patch.setenv(name, value)
    made = Cluster(initialize_head=True, head_node_args={
        "num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False, "node_ip_address": "127.0.0.2"})
    yield made
    made.shutdown()
    patch.undo()


@pytest.fixture(scope="module")
def clips(sample, tmp_path_factory):
    """Clips with the same content, two of which share a name; and one that is none."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "sub dir").mkdir()
    for number in range(CLIPS - 1):
        shutil.copy(sample, folder / f"clip{number}.mp4")
    shutil.copy(sample, folder / "sub dir" / "clip0.mp4")
    (folder / "text.mp4").write_text("no video\n" * 100)
    return folder


@pytest.fixture(scope="module")
def plain(sample, tmp_path_factory):
    """The rows of a clip, by a run without any cluster."""
    out = tmp_path_factory.mktemp("plain") / "plain.parquet"
    subprocess.run([sys.executable, "-m", "rtau", "process", str(sample), "--out", str(out), "--end", FEW], check=True,
                   capture_output=True)
    return pyarrow.parquet.read_table(out)


def start(cluster, *words: object) -> subprocess.Popen:
    command = [sys.executable, "-m", "rtau", "process", *map(str, words), "--engine", "ray", "--address", cluster.address,
               "--cpus-per-worker", "1", "--end", FEW]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env={**os.environ, "PYTHONPATH": str(ROOT)})


def finish(child: subprocess.Popen) -> tuple[int, str]:
    output, errors = child.communicate(timeout=240)
    assert "Traceback" not in output + errors, output + errors
    # Ray keeps its words to itself.
    assert all(line.startswith(("rtau: ", "[")) for line in errors.splitlines()), errors
    return child.returncode, output + errors


def files_of(path: Path) -> dict[str, dict]:
    return {Path(record["inputs"][0]).name if "sub dir" not in record["inputs"][0] else "sub": record
            for record in json.loads(path.read_text())["files"]}


@pytest.fixture(scope="module")
def killed(cluster, clips, tmp_path_factory):
    """A run on two nodes, one of which is killed while a file is being done there: its outputs, and what it said."""
    folder = tmp_path_factory.mktemp("killed")
    node = cluster.add_node(num_cpus=1, object_store_memory=STORE, node_ip_address="127.0.0.2")
    raylet = node.all_processes["raylet"][0].process.pid
    child = start(cluster, clips, "--out", folder / "out", "--summary", folder / "s.json")
    try:
        # Some are done, and one of them is at work there.
        until(lambda: child.poll() is not None or (len(list((folder / "out").glob("file=*/*.parquet"))) >= 2
              and any(opened(process, clips) for process in family(raylet))), 120)
        assert child.poll() is None, child.communicate()
        for process in (raylet, *family(raylet)):
            if alive(process):
                os.kill(process, signal.SIGKILL)
        cluster.remove_node(node, allow_graceful=False)
        done_before = len(list((folder / "out").glob("file=*/*.parquet")))
        code, said = finish(child)
    finally:
        child.kill()
    return folder, code, said, done_before


def test_every_file_is_done_once_though_a_node_is_killed(killed, plain):
    folder, code, said, done_before = killed
    assert code == 1 and 2 <= done_before < CLIPS, said
    tables = sorted((folder / "out").glob("**/*.parquet"))
    assert len(tables) == CLIPS and all(table.name == "part-0.parquet" for table in tables)
    assert all(pyarrow.parquet.read_table(table, partitioning=None).equals(plain) for table in tables)
    data = pyarrow.dataset.dataset(folder / "out", partitioning="hive").to_table()
    counts = Counter(data["file"].to_pylist())
    assert counts == {name: plain.num_rows for name in ["sub dir/clip0.mp4", *(f"clip{n}.mp4" for n in range(CLIPS - 1))]}


def test_its_summary_and_ledger_tell_of_each_file_once(killed):
    folder, _, said, _ = killed
    summary = json.loads((folder / "s.json").read_text())
    inputs = [record["inputs"][0] for record in summary["files"]]
    assert len(inputs) == len(set(inputs)) == CLIPS + 1
    assert summary["totals"]["done"] == CLIPS and summary["totals"]["failed"] == 1 and summary["totals"]["left"] == 0
    assert all(said.count(f"] {path}: ") == 1 for path in inputs)  # one line each while it went on
    files = files_of(folder / "s.json")
    assert files["text.mp4"]["blame"] == "input" and files["text.mp4"]["frames"] == 0
    attempts = [json.loads(path.read_text())["made"]["attempt"] for path in (folder / "out").glob("file=*/_meta.json")]
    assert len(attempts) == CLIPS and max(attempts) == 2 and attempts.count(1) >= CLIPS - 3
    kept = [json.loads(path.read_text()) for path in (folder / "out" / "_runs").iterdir()]
    assert [one["files"] for one in kept] == [summary["files"]]


def test_a_resumed_run_does_nothing_and_a_changed_setting_does_it_anew(killed, cluster, clips, tmp_path):
    folder = killed[0]
    tables = {path: path.stat().st_mtime_ns for path in (folder / "out").glob("**/*.parquet")}
    chosen = [clips / "clip1.mp4", clips / "clip2.mp4"]
    code, said = finish(start(cluster, *chosen, "--out", folder / "out"))
    assert code == 2 and "--resume" in said
    code, said = finish(start(cluster, clips, "--out", folder / "out", "--resume", "--summary", tmp_path / "s.json"))
    states = Counter(record["state"] for record in json.loads((tmp_path / "s.json").read_text())["files"])
    assert code == 1 and states == {"skipped": CLIPS, "failed": 1}
    assert {path: path.stat().st_mtime_ns for path in (folder / "out").glob("**/*.parquet")} == tables
    code, said = finish(start(cluster, *chosen, "--out", folder / "out", "--resume", "--smooth", "off"))
    assert code == 0 and said.count("redone: settings changed (smooth)") == 4  # in the lines and in the table
    changed = {path.parent.name for path, at in tables.items() if path.stat().st_mtime_ns != at}
    assert changed == {"file=clip1.mp4", "file=clip2.mp4"}


def test_a_file_that_crashes_its_workers_costs_no_other(cluster, clips, sample, tmp_path):
    """Whoever opens it dies of a fault, twice; then it is given up."""
    (tmp_path / "in").mkdir()
    for name in ("bad.mp4", "good.mp4"):
        shutil.copy(sample, tmp_path / "in" / name)
    child = start(cluster, tmp_path / "in", "--out", tmp_path / "out", "--summary", tmp_path / "s.json")
    struck: set[int] = set()

    def strike() -> None:
        while child.poll() is None:
            struck.update(process for process in readers(tmp_path / "in" / "bad.mp4") if process not in struck
                          and not os.kill(process, signal.SIGSEGV))
            time.sleep(0.005)

    thread = threading.Thread(target=strike)
    thread.start()
    code, said = finish(child)
    thread.join()
    files = files_of(tmp_path / "s.json")
    assert code == 1 and len(struck) == 2 and "once more" in said
    assert files["bad.mp4"]["state"] == "failed" and files["bad.mp4"]["blame"] == "worker"
    assert files["bad.mp4"]["attempts"] == 2 and "fault" in files["bad.mp4"]["error"]
    assert files["good.mp4"]["state"] == "done"
    assert [path.parent.name for path in (tmp_path / "out").glob("**/*.parquet")] == ["file=good.mp4"]


def readers(path: Path) -> list[int]:
    """Workers that have the file open."""
    return [int(process) for process in os.listdir("/proc") if process.isdecimal() and opened(int(process), path)]


def opened(process: int, below: Path) -> bool:
    """Whether it is a worker of rtau that has the file open, or one in that folder."""
    try:
        return (b"rtau.batch.worker" in Path(f"/proc/{process}/cmdline").read_bytes()
                and any(Path(os.readlink(f"/proc/{process}/fd/{one}")).is_relative_to(below)
                        for one in os.listdir(f"/proc/{process}/fd")))
    except OSError:
        return False


def family(process: int) -> list[int]:
    """Processes that any of its threads started, and those that these started."""
    found = []
    for listed in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(word) for word in listed.read_text().split()]
    return found + [one for child in found for one in family(child)]


def test_from_a_bucket_to_a_bucket(cluster, bucket, sample, plain, short):
    import s3fs

    system = s3fs.S3FileSystem()
    system.put_file(str(sample), f"{bucket}/in/2026/a b.mp4")
    system.pipe_file(f"{bucket}/in/notes.txt", b"no video")
    child = start(cluster, f"s3://{bucket}/in/", "--out", f"s3://{bucket}/out")
    code, said = finish(child)
    assert code == 0 and f"s3://{bucket}/out/file=2026%2Fa%20b.mp4/part-0.parquet" in said
    table = pyarrow.dataset.dataset(f"{bucket}/out", filesystem=system, partitioning="hive").to_table()
    assert set(table["file"].to_pylist()) == {"2026/a b.mp4"} and table.drop(["file"]).equals(plain)
    facts = json.loads(system.cat_file(f"{bucket}/out/file=2026%2Fa%20b.mp4/_meta.json"))
    assert facts["inputs"] == [f"s3://{bucket}/in/2026/a b.mp4"] and "secret" not in json.dumps(facts)
    # What was fetched is gone.
    assert not list(short.glob("rtau-cluster-*/worker-*/file-*"))
    code, said = finish(start(cluster, f"s3://{bucket}/in/", "--out", f"s3://{bucket}/out", "--resume"))
    assert code == 0 and "skipped, done before" in said
