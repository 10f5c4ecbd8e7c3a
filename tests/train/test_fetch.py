"""Fetching and packing the open parts, from mirrors made here."""

from __future__ import annotations

import json
import shutil
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from rtau.errors import InputError, OutputError, UsageError
from rtau_train.data import fetch as fetching
from rtau_train.data.fetch import LISTING, fetch
from rtau_train.data.fingerprint import describe_picture, describe_points, describe_rig
from rtau_train.data.pack import pack_rig, read_template

PEOPLE = "someone/people"
RIG = "someone/rig"
MESH = """v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
v 2 0.5 0.25
vt 0 0
vt 1 0
vt 1 1
vt 0 1
usemtl Skin
f 1/1 2/2 3/3 4/4
usemtl Ear
f 2/2 5/3 3/3
"""


def moved(vertex: int, by: tuple[float, float, float]) -> str:
    lines = MESH.splitlines()
    old = [float(v) for v in lines[vertex].split()[1:]]
    lines[vertex] = "v " + " ".join(str(a + b) for a, b in zip(old, by, strict=True))
    return "\n".join(line for line in lines if line.startswith("v ")) + "\n"


@pytest.fixture
def mirror(tmp_path) -> Path:
    """Two repositories: a rig of five vertices and two portraits."""
    home = tmp_path / "mirror"
    rig = home / RIG / "main"
    (rig / "model").mkdir(parents=True)
    (rig / "LICENSE").write_text("MIT")
    (rig / "model/neutral.obj").write_text(MESH)
    (rig / "model/identity000.obj").write_text(moved(0, (0.5, 0, 0)))
    (rig / "model/jawOpen.obj").write_text(moved(2, (0, -1, 0.25)))
    people = home / PEOPLE / "main"
    (people / "inst").mkdir(parents=True)
    (people / "LICENSE.md").write_text("CC BY 4.0")
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        image = cv2.resize(rng.integers(0, 256, (6, 5, 3)).astype(np.uint8), (1000, 1280), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(people / f"inst/{name}.jpg"), image)
        points = rng.uniform(100, 900, (189, 2)).round(2)
        (people / f"inst/{name}.tem").write_text("189\n" + "\n".join(f"{x},{y}" for x, y in points) + "\n0\n")
    return home


@pytest.fixture
def listing(mirror, tmp_path) -> Path:
    layout = {"groups": {"face": [0, 4, 0, 1]}, "materials": ["Skin", "Ear"], "indices": {"landmarks68": [0, 1, 2]}}
    files = [f"model/{n}.obj" for n in ("neutral", "identity000", "jawOpen")]
    rig = {"kind": "rig", "repository": RIG, "refs": ["v1", "main"], "licence_files": ["LICENCE", "LICENSE"],
           "folder": "rig", "bytes": 1000, "origin": "made here", "neutral": files[0], "identity": [files[1]],
           "expressions": [files[2]], "files": files, "layout": layout}
    probe = tmp_path / "probe"
    probe.mkdir()


    files_of = {f: mirror / RIG / "main" / f for f in files}
    import rtau_train.data.pack as packing

    patch = pytest.MonkeyPatch()
    patch.setattr(packing, "check_rig", lambda *a: None)
    pack_rig(files_of, {**rig, "probes": {}}, probe)
    patch.undo()
    with np.load(probe / "ict_facekit.npz") as table:
        rig["probes"] = describe_rig(dict(table))
    people = {"kind": "portraits", "repository": PEOPLE, "refs": ["main"], "licence_files": ["LICENSE.md"],
              "folder": "faces/group", "bytes": 1000, "origin": "drawn here", "files": [], "pictures": {}, "points": {}}
    for name in ("one", "two"):
        people["files"] += [f"inst/{name}.jpg", f"inst/{name}.tem"]
        image = cv2.imread(str(mirror / PEOPLE / f"main/inst/{name}.jpg"))
        small = cv2.resize(image, (500, 640), interpolation=cv2.INTER_AREA)
        people["pictures"][name] = describe_picture(small)
        points = read_template(mirror / PEOPLE / f"main/inst/{name}.tem")
        people["points"][name] = describe_points((points + 0.5) / 2 - 0.5)
    path = tmp_path / "parts.json"
    path.write_text(json.dumps({"rig": rig, "people": people}))
    return path


@pytest.fixture
def server(mirror):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(mirror)))
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


def get(tmp_path, mirror, listing, **options):
    fetch(tmp_path / "out", mirror=str(mirror), listing=listing, pause=0.01, **options)
    return tmp_path / "out"


def everything(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def test_a_folder_and_a_server_give_the_same(tmp_path, mirror, listing, server):
    told = []
    out = get(tmp_path, mirror, listing, report=lambda there, total: told.append((there, total)))
    assert told[-1][0] > 1000 and all(a <= b for a, b in told)
    with np.load(out / "rig/ict_facekit.npz") as table:
        assert table["neutral"].shape == (5, 3) and table["tris"].tolist() == [[0, 1, 2], [0, 2, 3], [1, 4, 2]]
        assert table["tri_quad"].tolist() == [0, 0, 1] and table["quads"][1, 3] == -1
        assert table["quad_material"].tolist() == [0, 1] and table["expr_names"].tolist() == ["jawOpen"]
        delta = table["expr_q"][0].astype(float) * table["expr_scale"][0]
        assert np.allclose(delta[2], (0, -1, 0.25), atol=1e-4) and np.abs(delta[[0, 1, 3, 4]]).max() < 1e-4
    assert cv2.imread(str(out / "faces/group/one.jpg")).shape == (640, 500, 3)
    with np.load(out / "faces/group/landmarks.npz") as table:
        assert table["names"].tolist() == ["one", "two"] and table["points"].shape == (2, 189, 2)
        assert table["source_size_wh"].tolist() == [[1000, 1280]] * 2
    assert (out / "faces/group/LICENSE.txt").read_text() == "CC BY 4.0"
    assert "drawn here" in (out / "faces/group/ORIGIN.md").read_text()
    fetch(tmp_path / "net", mirror=server, listing=listing, pause=0.01)
    assert everything(tmp_path / "net") == everything(out)


def test_what_is_there_is_not_fetched_again(tmp_path, mirror, listing):
    out = get(tmp_path, mirror, listing)
    before = everything(out)
    shutil.rmtree(mirror)
    get(tmp_path, mirror, listing)
    assert everything(out) == before


def test_an_interrupted_fetch_goes_on(tmp_path, mirror, listing):
    def stop(there, total):
        if there > 1500:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(tmp_path, mirror, listing, report=stop)
    out = tmp_path / "out"
    assert not (out / "faces/group/landmarks.npz").exists() and (out / "checksums.json").exists()
    get(tmp_path, mirror, listing)
    assert (out / "faces/group/landmarks.npz").exists()
    assert not list(out.rglob("*.partial")) and not list(out.rglob("*.part"))


def test_a_download_that_was_tampered_with_is_fetched_again(tmp_path, mirror, listing):
    out = get(tmp_path, mirror, listing)
    kept = out / ".downloads" / PEOPLE / "inst/one.tem"
    right = kept.read_bytes()
    kept.write_bytes(b"189\n1,2\n")
    get(tmp_path, mirror, listing)
    assert kept.read_bytes() == right


def test_a_source_that_changed_is_refused(tmp_path, mirror, listing):
    out = get(tmp_path, mirror, listing)
    (out / ".downloads" / PEOPLE / "inst/one.jpg").unlink()
    (mirror / PEOPLE / "main/inst/one.jpg").write_bytes((mirror / PEOPLE / "main/inst/two.jpg").read_bytes())
    with pytest.raises(InputError, match="SHA-256"):
        get(tmp_path, mirror, listing)
    shutil.rmtree(out)  # without a sum of its own the picture itself tells
    with pytest.raises(InputError, match="another picture"):
        get(tmp_path, mirror, listing)
    assert not (out / "faces/group/landmarks.npz").exists()


def test_other_shapes_and_points_are_refused(tmp_path, mirror, listing):
    (mirror / RIG / "main/model/jawOpen.obj").write_text(moved(2, (0, -0.5, 0)))
    with pytest.raises(InputError, match="expr shapes are not those"):
        get(tmp_path, mirror, listing)
    tem = mirror / PEOPLE / "main/inst/two.tem"
    lines = tem.read_text().splitlines()
    lines[1] = "5,5"
    tem.write_text("\n".join(lines))
    with pytest.raises(InputError, match="landmarks of inst/two.jpg are not those"):
        get(tmp_path, mirror, listing, parts=["people"])


@pytest.mark.parametrize(("file", "text", "words"), [
    ("model/identity000.obj", "v 1 2\n", "no readable mesh"), ("model/identity000.obj", "v 1 2 3\n", "has 1 vertices")])
def test_broken_meshes_are_refused(tmp_path, mirror, listing, file, text, words):
    (mirror / RIG / "main" / file).write_text(text)
    with pytest.raises(InputError, match=words):
        get(tmp_path, mirror, listing, parts=["rig"])


def test_broken_points_and_pictures_are_refused(tmp_path, mirror, listing):
    (mirror / PEOPLE / "main/inst/one.tem").write_text("189\n1,2\n3,4\n")
    with pytest.raises(InputError, match="landmarks of inst/one.jpg are damaged"):
        get(tmp_path, mirror, listing, parts=["people"])
    shutil.rmtree(tmp_path / "out")
    (mirror / PEOPLE / "main/inst/one.jpg").write_bytes(b"\xff\xd8 no")
    with pytest.raises(InputError, match="can't be read as a picture"):
        get(tmp_path, mirror, listing, parts=["people"])


def test_without_a_licence_nothing_is_used(tmp_path, mirror, listing, server):
    (mirror / RIG / "main/LICENSE").unlink()
    for home in (mirror, server):
        with pytest.raises(InputError, match="LICENSE"):
            get(tmp_path, home, listing, parts=["rig"])
    assert not (tmp_path / "out/rig/ict_facekit.npz").exists()


def test_a_missing_file_and_part_are_named(tmp_path, mirror, listing, server):
    (mirror / PEOPLE / "main/inst/two.jpg").unlink()
    for home in (mirror, server):
        with pytest.raises(InputError, match="has no someone/people/inst/two.jpg"):
            get(tmp_path, home, listing, parts=["people"])
    with pytest.raises(UsageError, match="no part 'cats'"):
        get(tmp_path, mirror, listing, parts=["cats"])


def test_names_that_lead_out_of_the_folder_are_refused(tmp_path, mirror, listing):
    listed = json.loads(listing.read_text())
    for bad in ("../../etc/passwd", "/etc/passwd", "a/../../b"):
        listed["people"]["files"] = [bad]
        listing.write_text(json.dumps(listed))
        with pytest.raises(InputError, match="leads out of the folder"):
            get(tmp_path, mirror, listing, parts=["people"])
    assert {f.name for f in tmp_path.iterdir()} <= {"mirror", "out", "parts.json", "probe"}


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path, mirror, listing, monkeypatch):
    def full(self, pieces, target):
        if "two" in target.name:
            raise OSError(28, "No space left on device")
        return keep(self, pieces, target)

    keep = fetching._Store._save
    monkeypatch.setattr(fetching._Store, "_save", full)
    with pytest.raises(OutputError, match="No space left on device; what is complete stays"):
        get(tmp_path, mirror, listing)
    monkeypatch.undo()
    assert (tmp_path / "out/rig/ict_facekit.npz").exists()
    get(tmp_path, mirror, listing)


class Faulty(BaseHTTPRequestHandler):
    """Cuts the first answer short, then stalls once, then serves."""

    asked = 0
    files: Path

    def do_GET(self):
        type(self).asked += 1
        file = self.files / self.path.lstrip("/")
        if not file.is_file():
            self.send_error(404)
            return
        data = file.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if type(self).asked == 1:
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
            return
        if type(self).asked == 2:
            time.sleep(0.6)
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def test_cut_and_stalled_answers_are_tried_again(tmp_path, mirror, listing):
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Faulty,), {"files": mirror, "asked": 0}))
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    try:
        fetch(tmp_path / "out", mirror=f"http://127.0.0.1:{httpd.server_port}", listing=listing, parts=["people"],
              timeout=0.3, pause=0.01)
    finally:
        httpd.shutdown()
        httpd.server_close()
    assert (tmp_path / "out/faces/group/landmarks.npz").exists()


def test_a_server_that_is_not_there_is_one_line(tmp_path, listing):
    with pytest.raises(InputError, match="can't be fetched .*; what is complete stays"):
        fetch(tmp_path / "out", mirror="http://127.0.0.1:9", listing=listing, timeout=0.3, pause=0.01)


# -- against the parts that rtau was made with -------------------------------------------------


def test_the_listing_names_what_training_has_and_nothing_held_out(shared: Path):
    listed = json.loads(LISTING.read_text(encoding="utf-8"))
    for group in ("london_neutral", "london_smiling", "canada", "backgrounds_rainbow"):
        here = {f.stem for f in (shared / "faces" / group).glob("*.jpg")}
        assert {Path(f).stem for f in listed[group]["files"] if f.endswith(".jpg")} == here
    assert len(listed["ict_facekit"]["identity"]) == 100 and len(listed["ict_facekit"]["expressions"]) == 57


def test_a_mirror_of_the_real_parts_packs_to_the_same(shared: Path, tmp_path):
    listed = json.loads(LISTING.read_text(encoding="utf-8"))
    real = dict(np.load(shared / "ict_facekit/ict_facekit.npz"))
    rig = listed["ict_facekit"]
    rig["identity"], rig["expressions"] = rig["identity"][:2], ["FaceXModel/browDown_L.obj", "FaceXModel/jawOpen.obj"]
    rows = [real["expr_names"].tolist().index(n) for n in ("browDown_L", "jawOpen")]
    rig["files"] = [rig["neutral"], *rig["identity"], *rig["expressions"]]
    rig["probes"]["id"] = rig["probes"]["id"][:2]
    rig["probes"]["expr"] = [rig["probes"]["expr"][r] for r in rows]
    home = tmp_path / "mirror" / rig["repository"] / "main"
    (home / "FaceXModel").mkdir(parents=True)
    (home / "LICENSE").write_text("MIT")
    vertices = [real["neutral"].astype(float)]
    vertices += [real["neutral"] + real["id_q"][i] * real["id_scale"][i].astype(float) for i in (0, 1)]
    vertices += [real["neutral"] + real["expr_q"][i] * real["expr_scale"][i].astype(float) for i in rows]
    for number, (file, v) in enumerate(zip(rig["files"], vertices, strict=True)):
        lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in v]
        if number == 0:
            lines += [f"vt {u:.6f} {w:.6f}" for u, w in real["uv"]]
            last = -2
            for quad, corner, material in zip(real["quads"], real["quads_uv"], real["quad_material"], strict=True):
                if material != last:
                    lines.append(f"usemtl {real['material_names'][material]}")
                    last = material
                lines.append("f " + " ".join(f"{a + 1}/{b + 1}" for a, b in zip(quad, corner, strict=True) if a >= 0))
        (home / file).write_text("\n".join(lines) + "\n")
    group = listed["canada"]
    group["files"] = [f for f in group["files"] if "/003f" in f or "/129m" in f]
    people = tmp_path / "mirror" / group["repository"] / "master"
    (people / "inst/canada").mkdir(parents=True)
    (people / "LICENSE.md").write_text("CC BY 4.0")
    table = np.load(shared / "faces/canada/landmarks.npz")
    for name in ("003f", "129m"):
        small = cv2.imread(str(shared / f"faces/canada/{name}.jpg"))
        cv2.imwrite(str(people / f"inst/canada/{name}.jpg"),
                    cv2.resize(small, (1350, 1800), interpolation=cv2.INTER_CUBIC), [cv2.IMWRITE_JPEG_QUALITY, 98])
        points = (table["points"][table["names"].tolist().index(name)].astype(float) + 0.5) * (1800 / 640) - 0.5
        (people / f"inst/canada/{name}.tem").write_text("189\n" + "\n".join(f"{x:.4f},{y:.4f}" for x, y in points))
    listing = tmp_path / "parts.json"
    listing.write_text(json.dumps({"ict_facekit": rig, "canada": group}))
    fetch(tmp_path / "out", mirror=str(tmp_path / "mirror"), listing=listing)

    with np.load(tmp_path / "out/ict_facekit/ict_facekit.npz") as packed:
        for key in ("tris", "tris_uv", "tri_quad", "quads", "quads_uv", "quad_material", "landmarks68", "group_ranges"):
            assert np.array_equal(packed[key], real[key]), key
        assert np.abs(packed["neutral"] - real["neutral"]).max() < 1e-4  # cm
        for key, which in (("id", [0, 1]), ("expr", rows)):
            got = packed[f"{key}_q"] * packed[f"{key}_scale"][:, None, None].astype(float)
            want = real[f"{key}_q"][which] * real[f"{key}_scale"][which][:, None, None].astype(float)
            assert np.abs(got - want).max() < 1e-4
    with np.load(tmp_path / "out/faces/canada/landmarks.npz") as packed:
        for name, points in zip(packed["names"], packed["points"], strict=True):
            real_points = table["points"][table["names"].tolist().index(name)]
            assert np.abs(points - real_points).max() < 0.01
            a, b = (cv2.imread(str(f / f"{name}.jpg")).astype(int)
                    for f in (tmp_path / "out/faces/canada", shared / "faces/canada"))
            assert a.shape == b.shape and np.abs(a - b).mean() < 2
