"""Places of files that fsspec knows: read, written whole, listed; names in the data set; room for what is fetched."""

from __future__ import annotations

import os
import threading
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pyarrow
import pyarrow.dataset
import pyarrow.parquet
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from rtau.batch import ledger
from rtau.cli import main
from rtau.cluster.find import find_items
from rtau.cluster.location import Location, Stat
from rtau.cluster.partition import Partition, folder_of, same_source
from rtau.cluster.scratch import Scratch
from rtau.errors import InputError, OutputError, UsageError

pytest.importorskip("aiohttp", reason="fsspec's HTTP is not installed: pip install 'rtau[ray]'")


def serve(handler) -> tuple[ThreadingHTTPServer, str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def web(tmp_path):
    """A folder on a web server, and its address."""
    (tmp_path / "site" / "a b").mkdir(parents=True)

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *words):
            super().__init__(*words, directory=str(tmp_path / "site"))

        def log_message(self, *words):
            pass

    server, address = serve(Handler)
    yield tmp_path / "site", address
    server.shutdown()


def test_what_is_secret_is_never_shown():
    with pytest.raises(UsageError, match="environment") as caught:
        Location("https://me:hush@host/a.mp4")
    assert "hush" not in str(caught.value)
    place = Location("https://host/a.mp4?X-Signature=hush")
    assert place.shown == "https://host/a.mp4"
    with pytest.raises(InputError) as wrong:
        Location("http://127.0.0.1:1/a.mp4?X-Signature=hush").fetch(Path(os.devnull))
    assert "hush" not in str(wrong.value)


@pytest.mark.parametrize("text", ["simplecache::s3://b/x", "foo://b/x", "http://[::1/x"])
def test_what_is_no_place_is_said_in_a_line(text):
    with pytest.raises((UsageError, InputError)) as caught:
        Location(text).stat()
    assert "\n" not in str(caught.value)


def test_a_path_and_its_address_are_the_same_place(tmp_path):
    assert Location(f"file://{tmp_path}/a b.mp4").local == Location(f"{tmp_path}/a b.mp4").local == tmp_path / "a b.mp4"
    assert Location("s3://b/x").local is None and Location("s3://b/x/").child("y/z").url == "s3://b/x/y/z"


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_a_file_is_written_whole_and_read_again(kind, tmp_path):
    place = Location(str(tmp_path / "new" / "x") if kind == "local" else f"memory://{tmp_path.name}/new/x")
    assert place.stat() is None and place.read() is None
    place.put(b"one")
    before = place.stat()
    (tmp_path / "two").write_bytes(b"second")
    place.put(tmp_path / "two")
    assert place.read() == b"second" and place.stat().size == 6 and place.stat().token != before.token
    assert [Path(name).name for name in Location(place.url.rpartition("/")[0]).files()] == ["x"]
    place.remove()
    place.remove()
    assert place.stat() is None


def test_what_can_not_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError):
        Location(str(tmp_path / "file" / "y")).put(b"x")


def test_a_file_of_a_web_server_is_fetched(web, tmp_path):
    folder, address = web
    data = os.urandom(5 << 20)
    (folder / "a b" / "ü.mp4").write_bytes(data)
    steps = []
    (found,) = find_items([f"{address}/a%20b/%C3%BC.mp4?key=hush"]).items
    assert found.name == "ü.mp4" and found.stat.size == len(data) and "hush" not in found.place.shown
    found.place.fetch(tmp_path / "got", lambda: steps.append(1), found.stat.size)
    assert (tmp_path / "got").read_bytes() == data and len(steps) >= 2


def test_a_connection_that_breaks_is_tried_again_and_said(monkeypatch, tmp_path):
    monkeypatch.setattr("rtau.cluster.location._WAITS", (0.0, 0.0))
    asked = []

    class Broken(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()

        def do_GET(self):
            asked.append(self.path)
            if "never" in self.path:  # a server that does not say how much there is
                self.send_response(200)
                self.end_headers()
            else:
                self.do_HEAD()
            self.wfile.write(b"x" * (10 if "never" in self.path or len(asked) < 3 else 1000))
            self.close_connection = True

        def log_message(self, *words):
            pass

    server, address = serve(Broken)
    Location(f"{address}/late.mp4").fetch(tmp_path / "got", size=1000)
    assert (tmp_path / "got").stat().st_size == 1000 and len(asked) == 3
    with pytest.raises(InputError, match="never.mp4"):
        Location(f"{address}/never.mp4").fetch(tmp_path / "got", size=1000)
    assert len(asked) == 6
    server.shutdown()


def test_pages_of_a_web_server_are_looked_through(web):
    folder, address = web
    for name in ("z10.mp4", "z9.mp4", "text.txt", ".hidden.mp4", "a b/x.mov"):
        (folder / name).write_bytes(b"x")
    assert [item.name for item in find_items([f"{address}/"]).items] == ["z9.mp4", "z10.mp4", "a b/x.mov"]
    assert [item.name for item in find_items([f"{address}/"], recursive=False).items] == ["z9.mp4", "z10.mp4"]
    assert [item.name for item in find_items([f"{address}/z*.mp4"]).items] == ["z9.mp4", "z10.mp4"]
    found = find_items([f"{address}/none.mp4", f"{address}/z9.mp4"])
    assert len(found.items) == 1 and len(found.problems) == 1 and "none.mp4" in found.problems[0]


def test_folders_and_globs_elsewhere(tmp_path):
    top = Location(f"memory://{tmp_path.name}")
    for name in ("in/a.mp4", "in/b/a.mp4", "in/b/c.jpg", "in/n.txt", "in/.h/x.mp4", "in/out/old.mp4"):
        top.child(name).put(b"x")
    found = find_items([top.child("in").url], out=top.child("in/out")).items
    assert [(item.name, item.picture) for item in found] == [("a.mp4", False), ("b/a.mp4", False), ("b/c.jpg", True)]
    assert [item.name for item in find_items([top.child("in/b/*.mp4").url]).items] == ["a.mp4"]
    with pytest.raises(InputError, match="no pictures or videos"):
        find_items([top.child("nowhere/").url])


def test_names_that_several_have_are_told_apart_whatever_their_order(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.mp4").write_bytes(b"x")
    names = [{item.place.url: item.name for item in find_items([str(tmp_path / one) for one in order]).items}
             for order in ("xy", "yx")]
    assert names[0] == names[1] and len(set(names[0].values())) == 2
    assert find_items([str(tmp_path)]).items[0].name == "x/a.mp4"


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=1, max_size=400))
def test_a_name_is_one_folder_and_comes_back(name):
    folder = folder_of(name)
    assert "/" not in folder and len(folder.encode()) <= 255 and folder.isascii() and folder.startswith("file=")
    if "~" not in folder:
        assert unquote(folder.removeprefix("file="), errors="surrogateescape") == name


def test_long_names_stay_apart():
    assert folder_of("ä" * 300 + "1") != folder_of("ä" * 300 + "2")


def test_a_data_set_holds_tables_and_not_what_is_beside_them(tmp_path):
    for name in ("sub/a b.mp4", "c%20d=e.mp4"):
        pyarrow.parquet.write_table(pyarrow.table({"x": [1, 2]}), tmp_path / "t.parquet")
        part = Partition(Location(str(tmp_path / "out")).child(folder_of(name)))
        facts = {"complete": True, "made": {"bytes": (tmp_path / "t.parquet").stat().st_size}}
        part.publish(tmp_path / "t.parquet", facts)
        assert part.facts() == facts and part.holds(facts) and not part.holds({"made": {"bytes": 1}})
    (tmp_path / "out" / "_runs").mkdir()
    (tmp_path / "out" / "_runs" / "x.parquet").write_text("none")
    table = pyarrow.dataset.dataset(tmp_path / "out", partitioning="hive").to_table()
    assert sorted(table["file"].to_pylist()) == ["c%20d=e.mp4"] * 2 + ["sub/a b.mp4"] * 2


def test_a_file_is_the_one_of_the_record_by_token_or_by_content():
    recorded = [{"size": 3, "token": "t", "sha256": "h"}]

    def never() -> str:
        raise AssertionError("its content is not to be read")

    assert same_source(recorded, Stat(3, "t"), never)
    assert not same_source(recorded, Stat(4, "t"), never)
    assert same_source(recorded, Stat(3, "u"), lambda: "h") and not same_source(recorded, Stat(3, "u"), lambda: "i")
    assert same_source([{"size": 3, "token": None, "sha256": "h"}], Stat(3, None), lambda: "h")
    assert not same_source(None, Stat(3, "t"), never)


def test_what_was_made_from_another_file_is_not_replaced():
    evidence = ledger.Evidence("out", "s3://b/new.mp4", lambda: True, lambda recorded: False, list)
    facts = {"complete": True, "record": {"settings": {}, "inputs": [{"path": "s3://b/old.mp4"}]}}
    with pytest.raises(OutputError, match="old.mp4"):
        ledger.weigh(facts, evidence, dict)
    assert ledger.weigh(facts, evidence, dict, overwrite=True).note == "redone: the input changed"


@pytest.mark.skipif(os.name == "nt", reason="there are no such locks")
def test_room_of_dead_workers_is_cleared_and_that_of_living_ones_is_not(tmp_path):
    (tmp_path / "worker-dead").mkdir()
    (tmp_path / "worker-dead" / ".lock").touch()
    (tmp_path / "worker-dead" / "big.mp4").touch()
    first = Scratch(tmp_path)
    (first.folder / "file-1").mkdir()
    second = Scratch(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {first.folder.name, second.folder.name}
    assert (first.folder / "file-1").exists()
    first.empty()
    assert [path.name for path in first.folder.iterdir()] == [".lock"]
    first.close()
    second.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("words", "says"), [
    (["s3://bucket/in/", "--out", "x"], "--engine ray"),
    (["a.mp4", "--cpus-per-worker", "1"], "go with --engine ray"),
    (["a.mp4", "--engine", "ray", "--report"], "--report"),
    (["a.mp4", "--engine", "ray", "--stream", "jsonl:-"], "--stream"),
    (["a.mp4", "--engine", "ray", "--format", "csv"], "--format csv"),
    (["a.mp4", "--engine", "ray", "--out", "https://host/out"], "web server"),
    (["a.mp4", "--engine", "ray", "--out", "x.parquet"], "folder"),
    (["a.mp4", "--engine", "ray", "--jobs", "0"], "--jobs"),
])
def test_mistakes_are_one_line(words, says):
    result = CliRunner().invoke(main, ["process", *words])
    assert result.exit_code == 2 and says in result.output and result.output.count("\n") == 1


@pytest.mark.parametrize(("address", "says"), [("127.0.0.1:1", "can't reach"), ("ray://x:1", "HOST:PORT"),
                                               ("nonsense", "HOST:PORT")])
def test_a_cluster_that_is_not_there_is_said_at_once(address, says, sample, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'rtau[ray]'")
    result = CliRunner().invoke(main, ["process", str(sample), "--engine", "ray", "--out", str(tmp_path / "out"),
                                       "--address", address])
    assert result.exit_code == 2 and says in result.output and result.output.count("\n") == 1, result.output
