"""Shards that lie elsewhere: fetched while training goes on, in an order that never depends on what is here already."""

import contextlib
import functools
import http.server
import json
import shutil
import sys
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from stand_in import Synthetic, make_some

from rtau.cli import main
from rtau.errors import InputError, RtauError, UsageError
from rtau_train.batches import Share
from rtau_train.config import build_recipe, read_recipe
from rtau_train.data import remote, tars
from rtau_train.data.addresses import LostError, address_of
from rtau_train.data.index import write_folder_index
from rtau_train.data.remote import Mirror
from rtau_train.data.renders import open_renders
from rtau_train.delivery import bring_data, send_back
from rtau_train.drawing import draw
from rtau_train.session import open_task

COUNT = 48
SHARD = "shard-000002.tar"


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files with pieces of files; what else it does is said by its server."""

    def do_GET(self):
        server, name = self.server, self.path.rpartition("/")[2]
        server.asked.append(name)
        file = Path(self.translate_path(self.path))
        if server.gone or not file.is_file():
            self.send_error(503 if server.gone else 404)
            return
        data, span = file.read_bytes(), self.headers.get("Range")
        if span and server.pieces:
            begin, end = map(int, span.removeprefix("bytes=").split("-"))
            data = data[begin:end + 1]
        self.send_response(206 if span and server.pieces else 200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if server.cut.get(name, 0) > 0:
            server.cut[name] -= 1
            data = data[:len(data) // 2]
        self.wfile.write(data)

    def log_message(self, *words):
        pass


@contextlib.contextmanager
def serving(folder):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    server.asked, server.cut, server.gone, server.pieces = [], {}, False, True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Renders in twelve shards, with their index."""
    folder = tmp_path_factory.mktemp("site") / "renders"
    make_some(folder, count=COUNT)
    assert write_folder_index(folder) == 12
    return folder


@pytest.fixture
def site(published):
    with serving(published.parent) as server:
        yield server


def mirror(server, tmp_path, *, most=10**9, name="renders"):
    return Mirror(f"http://127.0.0.1:{server.server_port}/{name}", tmp_path / "copy", most=most, pause=0.01)


def shards_of(folder):
    return sorted(file.name for file in folder.glob("*.tar"))


def learned(faces, steps=6, count=8):
    """What a few batches hold: names and pictures."""
    drawn = [row for step in range(steps) for row in draw(faces, Share(0, step), count)[0]]
    return [faces.source[row.pick] for row in drawn], np.stack([row.image for row in drawn])


def assert_same(one, other):
    assert one[0] == other[0] and np.array_equal(one[1], other[1])


# -- copies --------------------------------------------------------------------------------------


def test_an_index_opens_renders_as_the_shards_themselves_do(published, tmp_path):
    plain = tmp_path / "plain"
    shutil.copytree(published, plain)
    for name in ("index.json", "renders.npz"):
        (plain / name).unlink()
    for part in ("train", "validation", "all"):
        ours, theirs = open_renders(published, part), open_renders(plain, part)
        assert ours.names == theirs.names and len(ours) == len(theirs) > 0
        for name in ("subject", "labels", "intensity", "source", "points", "visible"):
            a, b = getattr(ours, name), getattr(theirs, name)
            assert a.dtype.kind == b.dtype.kind and np.array_equal(a, b, equal_nan=a.dtype.kind == "f"), name
        assert all(np.array_equal(ours.pictures[row], theirs.pictures[row]) for row in range(len(ours)))


def test_an_index_of_other_shards_is_not_used(published, tmp_path):
    folder = tmp_path / "renders"
    shutil.copytree(published, folder)
    make_some(folder, count=COUNT + 8)
    assert len(open_renders(folder, "all")) == COUNT + 8


@pytest.mark.parametrize("most", [10**9, 0])
def test_batches_are_the_same_from_here_and_from_elsewhere_whatever_is_in_the_copy(site, published, tmp_path, most):
    """Nothing, three shards, all of them, or none that may be kept."""
    expected = learned(open_renders(published, "all"))
    copy = mirror(site, tmp_path, most=most or 20_000)  # less than a shard, more than the index
    assert copy.open() and not shards_of(copy.folder)
    for there in (0, 3, 12):
        for name in copy.shards[:there]:
            assert copy.bring(name) == (most > 0)
        assert_same(learned(open_renders(copy.folder, "all")), expected)
    assert len(shards_of(copy.folder)) == (12 if most else 0)


def test_the_first_pictures_wait_for_their_shards_alone(site, tmp_path):
    copy = mirror(site, tmp_path)
    assert copy.open()
    site.asked.clear()
    faces = open_renders(copy.folder, "all")
    assert faces.pictures[10].shape == faces.pictures[8].shape
    assert {name for name in site.asked} == {"shard-000000.tar", SHARD} == set(shards_of(copy.folder))
    site.asked.clear()
    assert faces.pictures[9] is not None and not site.asked


def test_shards_come_ahead(site, tmp_path):
    copy = mirror(site, tmp_path)
    copy.open()
    copy.fetch_ahead()
    next(thread for thread in threading.enumerate() if thread.name == "shards").join(30)
    assert len(shards_of(copy.folder)) == 12 and not list(copy.folder.glob(".*.part"))


def test_a_copy_holds_no_more_than_it_may(site, published, tmp_path):
    size = sum(file.stat().st_size for file in published.glob("*.tar"))
    copy = mirror(site, tmp_path, most=size // 2)
    copy.open()
    assert_same(learned(open_renders(copy.folder, "all")), learned(open_renders(published, "all")))
    assert 3 <= len(shards_of(copy.folder)) <= 6
    with pytest.raises(UsageError, match=r"is larger than .* GB: raise data\.cache_gb$"):
        copy.fetch(lambda there, total: None)


def test_a_server_without_pieces_is_named(site, tmp_path):
    copy = mirror(site, tmp_path, most=20_000)
    copy.open()
    site.pieces = False
    with pytest.raises(LostError, match=r"gives no pieces of files.*data\.cache_gb$"):
        learned(open_renders(copy.folder, "all"))


@pytest.mark.parametrize("indexed", [True, False])
def test_a_shard_that_is_cut_off_is_fetched_again(site, published, tmp_path, indexed):
    if not indexed:
        (tmp_path / "site").mkdir()
        shutil.copytree(published, tmp_path / "site" / "renders", ignore=shutil.ignore_patterns("index.json", "*.npz"))
    with serving(published.parent if indexed else tmp_path / "site") as server:
        copy = mirror(server, tmp_path)
        assert copy.open() == indexed
        server.cut[SHARD] = 2
        assert copy.bring(SHARD) and server.asked.count(SHARD) == 3
        assert (copy.folder / SHARD).read_bytes() == (published / SHARD).read_bytes()
        server.cut["shard-000003.tar"] = 99
        with pytest.raises(LostError, match=r"shard-000003.tar can't be fetched \(.*\), tried 4 times") as caught:
            copy.bring("shard-000003.tar")
        assert "\n" not in str(caught.value) and shards_of(copy.folder) == [SHARD]


def test_other_bytes_than_the_index_names_are_not_used(published, tmp_path):
    shutil.copytree(published, tmp_path / "site" / "renders")
    shard = tmp_path / "site" / "renders" / SHARD
    data = bytearray(shard.read_bytes())
    data[5000] ^= 1
    shard.write_bytes(data)
    with serving(tmp_path / "site") as server:
        copy = mirror(server, tmp_path)
        copy.open()
        with pytest.raises(LostError, match="SHA-256 is not the one in index.json"):
            copy.bring(SHARD)
        assert not shards_of(copy.folder)


def test_without_an_index_a_damaged_tar_is_not_used(published, tmp_path):
    shutil.copytree(published, tmp_path / "site" / "renders", ignore=shutil.ignore_patterns("index.json", "*.npz"))
    (tmp_path / "site" / "renders" / SHARD).write_bytes(b"<html>Please log in</html>" * 400)
    with serving(tmp_path / "site") as server:
        copy = mirror(server, tmp_path)
        assert not copy.open()
        with pytest.raises(LostError, match="it is cut short or no tar"):
            copy.fetch(lambda there, total: None)


def test_shards_that_were_replaced_are_fetched_anew(published, tmp_path):
    shutil.copytree(published, tmp_path / "site" / "renders")
    with serving(tmp_path / "site") as server:
        copy = mirror(server, tmp_path)
        copy.open()
        copy.fetch(lambda there, total: None)
        shutil.rmtree(tmp_path / "site" / "renders")
        make_some(tmp_path / "site" / "renders", count=COUNT, seed=1, make=Synthetic(seed=1))
        write_folder_index(tmp_path / "site" / "renders")
        again = mirror(server, tmp_path)
        again.open()
        assert not shards_of(again.folder)
        assert_same(learned(open_renders(again.folder, "all")), learned(open_renders(tmp_path / "site" / "renders", "all")))


def test_a_server_that_dies_ends_the_batch_and_puts_no_other_face_in_its_place(site, tmp_path):
    copy = mirror(site, tmp_path)
    copy.open()
    faces = open_renders(copy.folder, "all")
    site.gone = True
    with pytest.raises(LostError, match=r"can't be fetched \(Service Unavailable\), tried 4 times: see that the server"):
        draw(faces, Share(0, 0), 8)


@pytest.mark.parametrize("files, line", [
    ({"../../evil.tar": {"bytes": 1, "sha256": "0" * 64}}, "is no name of a shard"),
    ({"/etc/shard-000000.tar": {"bytes": 1, "sha256": "0" * 64}}, "is no name of a shard"),
    ({SHARD: {"bytes": -1, "sha256": "0" * 64}}, "has no size and sum"),
    ({SHARD: {"bytes": 1, "sha256": "0"}}, "has no size and sum"),
    ([], "is damaged"),
])
def test_an_index_that_leads_out_of_the_folder_or_is_damaged_is_refused(tmp_path, files, line):
    (tmp_path / "renders").mkdir()
    (tmp_path / "renders" / "index.json").write_text(json.dumps({"files": files}))
    with serving(tmp_path) as server, pytest.raises(InputError, match=line) as caught:
        mirror(server, tmp_path).open()
    assert "\n" not in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["renders", "copy"] or not list(tmp_path.glob("**/*.tar"))


def test_a_place_that_holds_no_shards_is_named(tmp_path):
    (tmp_path / "renders").mkdir()
    with serving(tmp_path) as server:
        with pytest.raises(InputError, match=r"holds neither faces.json nor render.json"):
            mirror(server, tmp_path).open()
        (tmp_path / "renders" / "render.json").write_text('{"count": 10}')
        with pytest.raises(InputError, match=r"render.json does not say what shards there are"):
            mirror(server, tmp_path).open()
    with pytest.raises(InputError, match="holds no shards"):
        write_folder_index(tmp_path)


def test_a_bucket_is_read_like_a_server(published, tmp_path):
    """fsspec's own memory stands for s3:// and the like."""
    import fsspec

    fsspec.filesystem("memory").put(str(published), "/bucket/renders", recursive=True)
    for most in (10**9, 20_000):
        copy = Mirror("memory://bucket/renders", tmp_path / str(most), most=most, pause=0.01)
        assert copy.open()
        assert_same(learned(open_renders(copy.folder, "all")), learned(open_renders(published, "all")))
        assert bool(shards_of(copy.folder)) == (most > 20_000)
    with pytest.raises(InputError, match="neither"):
        Mirror("memory://bucket/nothing", tmp_path / "none", most=1, pause=0.01).open()


# -- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize("text, address", [
    ("https://host/a/b", "https://host/a/b"), ("s3://bucket/a", "s3://bucket/a"), ("renders", None), ("/a/b", None),
    ("a:b/c", None), ("C:/renders", None), ("./https:/x", "https://x")])
def test_an_address_survives_as_a_path(text, address):
    assert address_of(Path(text)) == address


@pytest.mark.parametrize("address, line", [
    ("http://example.org/renders", "http://example.org/renders: rtau fetches over https:// alone"),
    ("https://me:secret@example.org/renders", "no .*password"), ("https://example.org/renders?key=1", "may hold no"),
    ("s3://bucket/a::file:///etc", "may hold no"), ("ftp://host/renders", "no kind of address"),
    ("file:///etc", "no kind of address")])
def test_addresses_that_are_not_safe_are_refused(address, line, tmp_path):
    with pytest.raises(UsageError, match=line) as caught:
        Mirror(address, tmp_path, most=1)
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_store_whose_package_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(UsageError, match=r"reading s3:// needs more packages .*pip install fsspec s3fs$"):
        Mirror("s3://bucket/renders", tmp_path, most=1)


# -- training ------------------------------------------------------------------------------------


def test_a_recipe_names_folders_and_keeps_its_addresses(site, tmp_path):
    address = f"http://127.0.0.1:{site.server_port}/renders"
    recipe = build_recipe({"task": "au", "renders": address, "data": {"cache": str(tmp_path / "cache")}})
    assert recipe.as_dict()["renders"] == address
    here, away = bring_data(recipe, lambda: contextlib.nullcontext(lambda there, total: None), pause=0.01)
    assert here.renders.parent == tmp_path / "cache" and send_back(here.as_dict(), away) == recipe.as_dict()
    _, task = open_task(here)
    assert task.parts.facts()["labeled"]["faces"] == COUNT // 2


def test_the_landmark_networks_data_come_whole(site, tmp_path):
    recipe = build_recipe({"task": "landmarks", "renders": f"http://127.0.0.1:{site.server_port}/renders",
                           "data": {"cache": str(tmp_path)}})
    told = []
    here, _ = bring_data(recipe, lambda: contextlib.nullcontext(lambda *counts: told.append(counts)), pause=0.01)
    assert len(shards_of(here.renders)) == 12 and told[0] == (0, 12) and told[-1] == (12, 12)


def test_rtau_train_learns_from_an_address_what_it_learns_from_the_folder(site, published, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("r.toml").write_text('task = "au"\n[model]\nsize = 32\nwidth = 8\nfeatures = 16\n[loop]\nsteps = 6\nbatch = 8\n'
                              'evaluate_every = 3\nthreads = 1\n')
    address = f"http://127.0.0.1:{site.server_port}/renders"

    def command(run, renders, cache="cache"):
        return CliRunner().invoke(main, ["train", "r.toml", "--run", run, f"renders={renders}", f"data.cache={cache}",
                                         "--no-progress"])

    for run, renders in (("near", published), ("far", address)):
        assert (done := command(run, renders)).exit_code == 0, done.output
    near, far = ([line.split(",")[:6] for line in Path(run, "metrics.csv").read_text().splitlines()]
                 for run in ("near", "far"))
    assert near == far and len(far) == 3
    assert read_recipe(Path("far", "config.json")).as_dict()["renders"] == address
    site.gone = True
    monkeypatch.setattr(remote, "_TRIES", 1)
    done = command("gone", address, cache="other")
    assert done.exit_code == 2 and done.output.count("\n") == 1 and "can't be fetched" in done.output


def test_no_registered_copy_reads_nothing_from_elsewhere(published, tmp_path):
    """A folder that says where it comes from is not believed."""
    shutil.copytree(published, tmp_path / "copy")
    (tmp_path / "copy" / SHARD).unlink()
    assert tmp_path / "copy" not in tars.ELSEWHERE
    with pytest.raises(RtauError):
        learned(open_renders(tmp_path / "copy", "all"))


def test_the_tars_of_an_index_are_plain(published):
    with tarfile.open(published / SHARD) as tar:
        assert len(tar.getmembers()) == 8
