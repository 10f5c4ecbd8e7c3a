"""What SECURITY.md promises: nothing runs, nothing is written elsewhere, nothing grows without limit."""

import ast
import contextlib
import copy
import functools
import hashlib
import http.server
import io
import json
import socket
import subprocess
import sys
import tarfile
import threading
import time
import urllib.error
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from streaming import STATUS, connect, make_frame, make_scores, wait_until

from rtau.au import AUS
from rtau.cache import fetch, open_https, why_not_safe
from rtau.errors import InputError, RtauError, UsageError
from rtau.streams import open_stream
from rtau.streams.gate import Gate
from rtau_train.data import crops, stored, table, tars
from rtau_train.data.crops import open_crops
from rtau_train.data.manifest import read_manifest
from rtau_train.data.shards import read_labels
from rtau_train.data.stored import check_places, load_arrays
from rtau_train.data.table import read_table

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(file for folder in ("rtau", "train", "benchmarks") for file in (ROOT / folder).rglob("*.py"))


def everything(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


# -- nothing in a file is run --------------------------------------------------------------------

#: Modules that run what they read, or that make it easy.
_RISKY = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml"}
#: Calls that do, whatever they are called on.
_RUNS = {"eval", "exec", "compile", "__import__"}
_PICKLES = {"broadcast_object_list", "all_gather_object", "gather_object", "scatter_object_list", "send_object_list",
            "recv_object_list"}
#: rtau/pretrained.py and rtau/detect_fa.py name the error that torch's safe reader raises.
_ALLOWED = {("rtau/pretrained.py", "import pickle"), ("rtau/detect_fa.py", "import pickle")}


def dotted(node: ast.AST) -> str:
    """What is called: "torch.load"; of what is no name, its last word."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def risks(file: str, text: str) -> list[tuple[str, str]]:
    """What in a program might run what a stranger's file holds."""
    found = []
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [f"import {name}" for name in names if name.split(".")[0] in _RISKY]
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "pickle" \
                and node.attr != "UnpicklingError":
            found.append(f"pickle.{node.attr}")
        if not isinstance(node, ast.Call):
            continue
        called = dotted(node.func)
        options = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if called in _RUNS or called.rpartition(".")[2] in _PICKLES or called in ("os.system", "os.popen"):
            found.append(called)
        if called == "torch.load" and options.get("weights_only") != "True":
            found.append("torch.load without weights_only=True")
        if called in ("np.load", "numpy.load") and options.get("allow_pickle") != "False":
            found.append("np.load without allow_pickle=False")
        if called.startswith("subprocess.") and options.get("shell", "False") != "False":
            found.append("a shell")
        if called.rpartition(".")[2] in ("extractall", "extract", "unpack_archive"):
            found.append("an archive unpacked to the disk")
        if called in ("urllib.request.urlopen", "urlopen"):
            found.append("an address opened without rtau.cache.open_https")
    return [(file, what) for what in found if (file, what) not in _ALLOWED]


def test_no_source_runs_what_it_reads():
    assert len(SOURCES) > 200
    found = [risk for file in SOURCES for risk in risks(file.relative_to(ROOT).as_posix(), file.read_text("utf-8"))]
    assert found == []


@pytest.mark.parametrize("text", [
    "import pickle", "from joblib import load", "eval(words)", "torch.load(file)", "torch.load(file, weights_only=False)",
    "np.load(file)", "np.load(file, allow_pickle=True)", "subprocess.run(words, shell=True)", "import yaml",
    "dist.all_gather_object(boxes, value)", "tar.extractall(folder)", "urllib.request.urlopen(url)", "os.system('ls')"])
def test_the_search_finds_what_it_looks_for(text):
    assert len(risks("a.py", text)) == 1


class Trap:
    """What a pickle of it would run."""

    def __reduce__(self):
        return Path.touch, (Path("trapped"),)


def test_checkpoints_and_arrays_with_programs_in_them_run_nothing(tmp_path, monkeypatch):
    import torch

    from rtau.pretrained import load_pretrained
    from rtau_train.checkpoint import load_checkpoint

    monkeypatch.chdir(tmp_path)
    torch.save({"format": 2, "rtau": "x", "facts": Trap()}, "last.pt")
    np.savez("faces.npz", places=np.array([Trap()], object))
    with pytest.raises(InputError, match="no readable checkpoint"):
        load_checkpoint(Path("last.pt"))
    with pytest.raises(InputError, match="more than weights"):
        load_pretrained(torch.nn.Linear(2, 2), "last.pt")
    with pytest.raises(ValueError, match="allow_pickle"):
        load_arrays(Path("faces.npz"))
    assert not Path("trapped").exists()


# -- archives ------------------------------------------------------------------------------------


def jpeg(side: int = 16) -> bytes:
    return cv2.imencode(".jpg", np.full((side, side, 3), 128, np.uint8))[1].tobytes()


def labels(index: int) -> bytes:
    return json.dumps({"index": index, "person": "001", "part": "train"}).encode()


def member(name: str, **facts) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in facts.items():
        setattr(info, key, value)
    return info


def make_tar(file: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(file, "w", format=tarfile.GNU_FORMAT) as tar:
        for info, data in members:
            info = copy.copy(info)
            info.size = len(data) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(data))
    return file


ODD = {
    "climbs": member("../../00000000.jpg"), "absolute": member("/etc/00000000.jpg"),
    "link": member("00000000.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "hard link": member("00000000.jpg", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
    "device": member("00000000.jpg", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
    "pipe": member("00000000.jpg", type=tarfile.FIFOTYPE), "folder": member("00000000.jpg", type=tarfile.DIRTYPE),
    "sparse": member("00000000.jpg", type=tarfile.GNUTYPE_SPARSE)}


@pytest.mark.parametrize("kind", ODD)
def test_odd_members_of_shards_are_refused_and_nothing_is_written(kind, tmp_path):
    folder = tmp_path / "a" / "b" / "renders"
    folder.mkdir(parents=True)
    make_tar(folder / "shard-000000.tar", (ODD[kind], jpeg()), (member("00000000.json"), labels(0)))
    before = everything(tmp_path)
    with pytest.raises(InputError, match="shard-000000.tar") as caught:
        list(read_labels(folder))
    assert "\n" not in str(caught.value) and "root:" not in str(caught.value)
    assert everything(tmp_path) == before


def test_a_plain_shard_is_read(tmp_path):
    make_tar(tmp_path / "shard-000000.tar", (member("00000000.jpg"), jpeg()), (member("00000000.json"), labels(0)))
    assert [row["index"] for row in read_labels(tmp_path)] == [0]


@pytest.mark.parametrize("where", ["first", "last"])
@pytest.mark.parametrize("size", [1 << 20, 1 << 33, (1 << 40) + 5, (1 << 63) - 1])
def test_sizes_that_no_file_has_take_no_memory(where, size, tmp_path):
    """Headers may promise any size; what counts is what lies there."""
    huge = member("00000000.jpg" if where == "first" else "00000000.json")
    huge.size = size
    other = member("00000000.json" if where == "first" else "00000000.jpg")
    other.size = 512
    data = [huge.tobuf(tarfile.GNU_FORMAT) + b"\0" * 512, other.tobuf(tarfile.GNU_FORMAT) + b"\0" * 512]
    (tmp_path / "shard-000000.tar").write_bytes(b"".join(data if where == "first" else data[::-1]) + b"\0" * 1024)
    program = ("import resource, sys\nfrom rtau.errors import InputError\nfrom rtau_train.data.shards import read_labels\n"
               "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
               "resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))\n"
               "try:\n    list(read_labels(sys.argv[1]))\nexcept InputError as error:\n"
               "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, error)")
    peak = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True,
                          timeout=120).stdout if size == 1 << 33 else None
    if peak is not None:
        assert int(peak.split()[0]) < 50_000 and "shard-000000.tar" in peak
    with pytest.raises(InputError, match="cut short|no readable shard"):
        list(read_labels(tmp_path))


def test_a_long_name_that_promises_gigabytes_is_an_error(tmp_path):
    name = member("././@LongLink", type=tarfile.GNUTYPE_LONGNAME, size=1 << 62)
    (tmp_path / "shard-000000.tar").write_bytes(name.tobuf(tarfile.GNU_FORMAT) + b"a" * 1024 + b"\0" * 1024)
    with pytest.raises(InputError, match="shard-000000.tar"):
        list(read_labels(tmp_path))


def test_a_stored_picture_that_claims_a_billion_pixels_is_not_decoded():
    data = bytearray(jpeg())
    at = data.index(b"\xff\xc0")
    data[at + 5:at + 9] = (30000).to_bytes(2, "big") * 2
    with pytest.raises(InputError, match="can't be decoded"):
        tars.decode(bytes(data), "a")
    assert tars.decode(jpeg(), "a").shape == (16, 16, 3)


def test_arrays_that_unpack_to_more_than_the_memory_are_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros(4 << 20, np.uint8))
    assert (tmp_path / "bomb.npz").stat().st_size < 20_000 and load_arrays(tmp_path / "bomb.npz")["a"].shape == (4 << 20,)
    monkeypatch.setattr(stored, "_MOST", 2 << 20)
    with pytest.raises(ValueError, match="bytes of arrays"):
        load_arrays(tmp_path / "bomb.npz")


def test_an_array_that_claims_more_than_it_holds_is_an_error(tmp_path):
    with zipfile.ZipFile(tmp_path / "liar.npz", "w") as packed, packed.open("a.npy", "w") as entry:
        np.lib.format.write_array_header_1_0(entry, {"descr": "<f8", "fortran_order": False, "shape": (1 << 50,)})
        entry.write(bytes(100))
    with pytest.raises(ValueError):
        load_arrays(tmp_path / "liar.npz")


@pytest.mark.parametrize("place", [(0, -1, 5), (0, 5, -1), (1, 0, 5), (-1, 0, 5), (0, 90, 11), (0, 1 << 62, 1 << 62),
                                   (0, 0, 1 << 62)])
def test_places_outside_of_their_tars_are_refused(place):
    sizes = np.array([100])
    check_places(np.array([(0, 90, 10), (0, 0, 0)]), sizes)
    with pytest.raises(ValueError, match="outside its tar"):
        check_places(np.array([place]), sizes)


def test_an_index_of_faces_that_lies_is_not_used(tmp_path):
    """The tars are read in its place."""
    sample = {"index": 0, "source": "a", "subject": "b", "labels": {"AU01": 1}, "intensity": {}, "points": [[0, 0]] * 68}
    make_tar(tmp_path / "faces-000000.tar", (member("00000000.jpg"), jpeg()),
             (member("00000000.json"), json.dumps(sample).encode()))
    (tmp_path / "faces.json").write_text(json.dumps({"names": ["AU01"], "count": 1, "per_shard": 5, "aligned": 1}))
    crops.write_index(tmp_path)
    honest = load_arrays(tmp_path / "faces.npz")
    np.savez(tmp_path / "faces.npz", **honest | {"places": np.array([[0, 0, 1 << 62]])})
    faces = open_crops(tmp_path)
    assert faces.source.tolist() == ["a"] and faces.pictures[0].shape == (16, 16, 3)


def test_an_excel_file_that_is_a_bomb_is_refused(tmp_path, monkeypatch):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["image", "AU01"])
    book.save(tmp_path / "plain.xlsx")
    assert read_table(tmp_path / "plain.xlsx").columns == ("image", "AU01")
    with zipfile.ZipFile(tmp_path / "plain.xlsx") as plain, \
            zipfile.ZipFile(tmp_path / "bomb.xlsx", "w", zipfile.ZIP_DEFLATED) as bomb:
        for entry in plain.infolist():
            with bomb.open(entry.filename, "w", force_zip64=True) as target:
                target.write(plain.read(entry))
                if entry.filename.endswith("sheet1.xml"):
                    target.write(b" " * (4 << 20))
    monkeypatch.setattr(table, "_MOST", 2 << 20)
    with pytest.raises(InputError, match="unpacks to") as caught:
        read_table(tmp_path / "bomb.xlsx")
    assert "\n" not in str(caught.value)


# -- names ---------------------------------------------------------------------------------------


def test_a_table_may_name_pictures_anywhere_but_writing_stays_in_the_folder(fixtures, tmp_path):
    """Where pictures are is for the table to say, as on the command line; nothing is ever written there."""
    from rtau_train.data.align import align

    home = tmp_path / "home" / "labels"
    home.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "face.jpg").write_bytes((fixtures / "face.jpg").read_bytes())
    (home / "labels.csv").write_text("image,subject,AU01\n../../elsewhere/face.jpg,../../evil,1\n"
                                     "/etc/passwd,/root,1\n../../../../../../etc/hostname,x,0\n")
    before = everything(tmp_path)
    out = tmp_path / "home" / "out"
    done = align(read_manifest(home / "labels.csv"), out, source="labels.csv")
    assert (done.count, done.faces, done.skipped) == (3, 1, 2)
    after = everything(tmp_path)
    new = set(after) - set(before)
    assert {name: after[name] for name in before} == before
    assert new == {f"home/out/{name}" for name in ("faces.json", "faces.npz", "faces-000000.tar", "skipped.csv")}
    assert open_crops(out).subject.tolist() == ["../../evil"]
    assert b"root:" not in b"".join(after.values())


# -- downloads -----------------------------------------------------------------------------------


class _Site(http.server.SimpleHTTPRequestHandler):
    """Files, and /to?ADDRESS, which leads on."""

    def do_GET(self):
        if self.path.startswith("/to?"):
            self.send_response(302)
            self.send_header("Location", self.path.partition("?")[2])
            self.end_headers()
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(bytes(1 << 20))
        else:
            super().do_GET()

    def log_message(self, *words):
        pass


@pytest.fixture
def site(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "weights").write_bytes(b"some weights" * 100)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Site, directory=str(tmp_path / "site")))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


SUM = hashlib.sha256(b"some weights" * 100).hexdigest()


def test_a_file_with_its_checksum_is_fetched_from_this_machine(site, tmp_path):
    for address in (f"{site}/weights", f"{site}/to?{site}/weights"):
        path = tmp_path / "cache" / hashlib.sha256(address.encode()).hexdigest()
        assert fetch(address, path, sha256=SUM, otherwise="x").read_bytes() == b"some weights" * 100


@pytest.mark.parametrize("url", ["http://example.org/weights", "ftp://example.org/weights", "file:///etc/passwd",
                                 "data:,hello", "//example.org/weights", "http://[::1", "http://127.0.0.1.example.org/"])
def test_nothing_is_fetched_but_over_https(url, tmp_path):
    assert why_not_safe(url)
    with pytest.raises(RtauError, match="could not be fetched .*: give its path$") as caught:
        fetch(url, tmp_path / "f", sha256=SUM, otherwise="give its path")
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize("url", ["http://example.org/weights", "ftp://127.0.0.1/weights", "file:///etc/passwd"])
def test_an_answer_that_leads_elsewhere_is_not_followed(url, site, tmp_path):
    with pytest.raises(RtauError, match="could not be fetched .*(which is not followed|is not allowed)"):
        fetch(f"{site}/to?{url}", tmp_path / "f", sha256=SUM, otherwise="x")


def test_an_answer_from_elsewhere_may_not_lead_to_this_machine():
    from urllib.request import Request

    from rtau.cache import _SafeRedirects

    asked = Request("https://example.org/weights")
    follow = _SafeRedirects().redirect_request
    assert follow(asked, io.BytesIO(), 302, "", {}, "https://example.org/other").full_url == "https://example.org/other"
    for url in ("http://127.0.0.1:8000/x", "https://localhost/x", "http://example.org/x"):
        with pytest.raises(urllib.error.URLError, match="not followed"):
            follow(asked, io.BytesIO(), 302, "", {}, url)


def test_what_has_no_checksum_is_not_fetched_but_taken_where_it_lies(site, tmp_path):
    path = tmp_path / "weights"
    with pytest.raises(RtauError, match=r"nobody has told its checksum: fetch it yourself .*, or put it there$"):
        fetch(f"{site}/weights", path, sha256=None, otherwise="put it there")
    path.write_bytes(b"mine")
    assert fetch(f"{site}/weights", path, sha256=None, otherwise="x").read_bytes() == b"mine"


def test_a_download_without_end_ends(site, tmp_path, monkeypatch):
    from rtau import cache

    monkeypatch.setattr(cache, "_LIMIT", 5 << 20)
    with pytest.raises(RtauError, match="more than 5242880 bytes"):
        fetch(f"{site}/endless", tmp_path / "f", sha256=SUM, otherwise="x")
    assert not (tmp_path / "f").exists() and not list(tmp_path.glob("*.part"))


def test_a_mirror_over_plain_http_is_refused(tmp_path):
    from rtau_train.data.fetch import fetch as fetch_parts

    with pytest.raises(UsageError, match="--mirror http://example.org: rtau fetches over https:// alone"):
        fetch_parts(tmp_path / "out", mirror="http://example.org")
    assert not (tmp_path / "out").exists()


def test_every_address_that_is_fetched_from_is_https_with_a_checksum():
    from rtau import detect, fan
    from rtau_train.data import fetch as parts

    assert detect._YUNET_URL.startswith("https://") and len(detect._YUNET_SHA256) == 64
    assert parts._HOME.startswith("https://") and len(fan._SHA256) >= 10


def test_an_address_is_opened_with_nothing_left_open(site):
    with open_https(f"{site}/weights", headers={"Range": "bytes=0-3"}) as answer:
        assert answer.read(4) == b"some"


# -- streams -------------------------------------------------------------------------------------


@pytest.fixture
def server():
    with open_stream("ws://127.0.0.1:0", AUS) as sink:
        yield sink


def knock(sink) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(sink.url.rpartition(":")[2])), timeout=20)


def turned_away(connection: socket.socket) -> bool:
    """Whether the other side has gone without a word."""
    connection.settimeout(0.5)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_connections_that_say_nothing_do_not_pile_up(server):
    from rtau.streams.websocket import _MORE, MOST_CLIENTS

    with contextlib.ExitStack() as stack:
        quiet = [stack.enter_context(knock(server)) for _ in range(MOST_CLIENTS + _MORE + 20)]
        wait_until(lambda: server._gate.refused >= 20)
        assert sum(turned_away(connection) for connection in quiet[-20:]) == 20
        assert not turned_away(quiet[0])
        for number in range(50):  # the analysis goes on
            server.write(make_frame(number), make_scores(1), STATUS)
    wait_until(lambda: server._gate._open == 0)
    with connect(server.url) as client:
        wait_until(lambda: server.clients)
        server.write(make_frame(777), make_scores(1), STATUS)
        assert json.loads(client.recv(timeout=10))["frame"] == 777


def test_new_connections_are_counted_by_the_second(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    gate = Gate(most=6, burst=5, rate=2.0)
    assert [gate.admits() for _ in range(7)] == [True] * 5 + [False] * 2
    for seconds, more in ((1.0, 1), (60.0, 0)):  # by then as many as may be are open
        clock[0] += seconds
        assert [gate.admits() for _ in range(3)] == [True] * more + [False] * (3 - more)
    for _ in range(6):
        gate.leave()
    assert [gate.admits() for _ in range(7)] == [True] * 5 + [False] * 2
    assert gate.refused == 9
