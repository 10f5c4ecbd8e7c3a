"""Rendering into shards and reading them: the same bytes always, whatever happens on the way."""

import errno
import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import tarfile
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stand_in import SIZE, Synthetic, make_some, sample

from rtau.errors import InputError, OutputError, UsageError
from rtau.sinks import paths
from rtau_train.data import tars
from rtau_train.data.shards import load_shards, read_labels, read_shards
from rtau_train.puppet.labels import intensities
from rtau_train.puppet.record import record, tone_of, typology_angle
from rtau_train.puppet.sample import AUS
from rtau_train.puppet.scene import PARTS, Performance, Prop, Scene, Shot
from rtau_train.puppet.workers import RenderError, encode

def digests(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted(folder.iterdir()) if file.name != "render.json"}


def loose(folder: Path, count: int) -> None:
    """A plain folder of samples, written without workers."""
    for index in range(count):
        for kind, data in zip(("jpg", "json"), encode(*sample(index), size=SIZE, quality=95), strict=True):
            (folder / f"{index:08d}.{kind}").write_bytes(data)


@pytest.fixture(scope="module")
def ten(tmp_path_factory) -> Path:
    """Ten samples in shards of four."""
    out = tmp_path_factory.mktemp("ten")
    assert make_some(out).made == 10
    return out


def test_a_shard_is_a_webdataset_with_nothing_of_the_day_in_it(ten):
    assert sorted(digests(ten)) == ["shard-000000.tar", "shard-000001.tar", "shard-000002.tar"]
    with tarfile.open(ten / "shard-000001.tar") as tar:
        members = tar.getmembers()
    assert [m.name for m in members] == [f"{i:08d}.{kind}" for i in (4, 5, 6, 7) for kind in ("jpg", "json")]
    assert all((m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) == (0, 0, 0, "", "", 0o644) for m in members)
    with tarfile.open(ten / "shard-000001.tar") as tar:
        labels = json.load(tar.extractfile("00000006.json"))
    assert labels == sample(6)[1]


def test_workers_and_order_change_no_byte(ten, tmp_path):
    reports = []
    assert make_some(tmp_path / "three", workers=3, report=lambda *r: reports.append(r)).made == 10
    assert digests(tmp_path / "three") == digests(ten)
    assert reports[0] == (0, 10) and reports[-1] == (10, 10)
    assert [there for there, _ in reports] == sorted(there for there, _ in reports)


def test_a_folder_holds_the_same_files_as_the_shards(ten, tmp_path):
    make_some(tmp_path, folder=True, workers=2)
    inside = {}
    for shard in sorted(ten.glob("*.tar")):
        with tarfile.open(shard) as tar:
            inside |= {m.name: hashlib.sha256(tar.extractfile(m).read()).hexdigest() for m in tar.getmembers()}
    assert digests(tmp_path) == inside
    # What is lost is made again, alone.
    (tmp_path / "00000003.jpg").unlink()
    (tmp_path / "00000008.json").write_bytes(b"")
    (tmp_path / "00000009.json.partial").write_bytes(b"half")
    assert make_some(tmp_path, folder=True).made == 2 and digests(tmp_path) == inside


def test_a_larger_count_extends_and_gives_the_bytes_of_one_go(ten, tmp_path):
    assert make_some(tmp_path, count=6).made == 6
    assert make_some(tmp_path, count=10).made == 6  # the shard that was short is made anew
    assert digests(tmp_path) == digests(ten)
    assert make_some(tmp_path, count=10).made == 0
    with pytest.raises(UsageError, match="begun with count 10.* smaller"):
        make_some(tmp_path, count=6)


def test_damaged_shards_are_noticed_and_made_again(ten, tmp_path):
    for file in ten.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    whole = [file.read_bytes() for file in sorted(ten.glob("*.tar"))]
    with tarfile.open(ten / "shard-000001.tar") as tar:
        third = tar.getmembers()[2].offset
    shard = tmp_path / "shard-000001.tar"
    for damaged in (whole[1][:third + 700], whole[0], b"x" * 5000, b"", whole[1][:third]):  # the last: between files
        shard.write_bytes(damaged)
        with pytest.raises(InputError, match="shard-000001.tar.*render again") as caught:
            list(read_labels(tmp_path))
        assert "\n" not in str(caught.value)
    (tmp_path / "shard-000000.tar").write_bytes(whole[2])
    (tmp_path / "shard-000002.tar.partial").write_bytes(whole[2])
    assert make_some(tmp_path).made == 8 and digests(tmp_path) == digests(ten)


@pytest.mark.parametrize("change", [{"seed": 1}, {"size": 64}, {"quality": 80}, {"per_shard": 5}, {"folder": True},
                                    {"settings": {"look": "clean"}}])
def test_other_settings_are_refused_in_a_line(ten, change):
    before = digests(ten)
    with pytest.raises(UsageError, match="was rendered with .*another folder") as caught:
        make_some(ten, **change)
    assert "\n" not in str(caught.value) and digests(ten) == before


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds other files"):
        make_some(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_one_at_a_time(ten):
    with tars.alone(ten, "testing"), pytest.raises(UsageError, match="another rtau is rendering"):
        make_some(ten)


@pytest.mark.parametrize("what, error, line", [
    ("raise", RenderError, "picture 6 can't be made: ZeroDivisionError: the lens$"),
    ("input", InputError, "portrait 7 can't be read: fetch it again"),
    ("nan", RenderError, "picture 6 can't be made: ValueError"),
    ("die", RenderError, "was killed by SIGKILL.*run the same command again"),
    ("no start", InputError, "rig.npz is missing"),
])
def test_a_failing_worker_is_one_line_and_the_rest_stays(ten, tmp_path, what, error, line):
    with pytest.raises(error, match=line) as caught:
        make_some(tmp_path, workers=1 + (what == "die"), make=Synthetic(where=6, what=what))
    assert "\n" not in str(caught.value)
    left = digests(tmp_path)
    assert set(left) <= {"shard-000000.tar"} and left.items() <= digests(ten).items()
    if what == "die":
        assert make_some(tmp_path).made == 10 - 4 * len(left) and digests(tmp_path) == digests(ten)


def test_a_picture_of_the_wrong_size_is_no_sample():
    with pytest.raises(ValueError, match="expected uint8"):
        encode(np.zeros((SIZE, SIZE + 1, 3), np.uint8), {}, size=SIZE, quality=95)


@pytest.mark.parametrize("loose", [False, True])
def test_a_full_disk_in_the_middle_leaves_nothing_half_written(ten, tmp_path, monkeypatch, loose):
    space = [(ten / "shard-000000.tar").stat().st_size + 9000]

    class Full:
        """A file on a disk with `space` bytes left."""

        def __init__(self, file):
            self._file = file

        def write(self, data):
            if space[0] < len(data):
                self._file.write(bytes(data)[:space[0]])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            space[0] -= len(data)
            return self._file.write(data)

        def __getattr__(self, name):
            return getattr(self._file, name)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self._file.close()

    def limited(path, mode="r", *rest, **named):
        file = open(path, mode, *rest, **named)
        return Full(file) if "w" in mode else file

    for module in (tars, paths):
        monkeypatch.setattr(module, "open", limited, raising=False)
    with pytest.raises(OutputError, match="the disk is full: free some space") as caught:
        make_some(tmp_path, folder=loose)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*.partial"))
    left = len(list(read_labels(tmp_path))) if any(digests(tmp_path)) else 0
    assert 0 < left < 10
    monkeypatch.undo()
    assert make_some(tmp_path, folder=loose).made == 10 - left
    assert list(read_labels(tmp_path)) == list(read_labels(ten))


def test_ctrl_c_stops_cleanly_and_the_next_run_goes_on(ten, tmp_path):
    """Ctrl-C reaches every process of the terminal, as here."""
    program = textwrap.dedent(f"""
        import sys, time
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import stand_in as t
        if __name__ == "__main__":
            def report(there, total):
                print(there, flush=True)
            try:
                t.make_some(sys.argv[1], count=40000, workers=2, per_shard=50, report=report)
            except KeyboardInterrupt:
                sys.exit(130)
    """)
    script = tmp_path / "program.py"
    script.write_text(program)
    out = tmp_path / "out"
    run = subprocess.Popen([sys.executable, script, out], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                           start_new_session=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    try:
        for line in run.stdout:
            if int(line) > 60:
                break
        os.killpg(run.pid, signal.SIGINT)
        _, errors = run.communicate(timeout=20)
    finally:
        run.kill()
    assert run.returncode == 130 and errors == ""
    shards_left = sorted(file.name for file in out.glob("shard-*"))
    assert shards_left and all(name.endswith(".tar") for name in shards_left)
    with pytest.raises(ProcessLookupError):  # no worker stays behind
        for _ in range(50):
            os.killpg(run.pid, 0)
            time.sleep(0.1)
    with tarfile.open(out / "shard-000000.tar") as tar:
        first = tar.extractfile("00000000.json").read()
    assert json.loads(first) == sample(0)[1]


# -- reading ---------------------------------------------------------------------------------


def test_pictures_and_labels_come_back(ten):
    rows = list(read_shards(ten))
    assert [labels["index"] for _, labels in rows] == list(range(10))
    for index, (image, labels) in enumerate(rows):
        made, expected = sample(index)
        assert labels == expected
        assert image.dtype == np.uint8 and np.abs(image.astype(int) - made).mean() < 6
    assert [labels["index"] for labels in read_labels(ten, part="test")] == [3, 7]


def test_arrays_for_training(ten):
    renders = load_shards(ten, "train")
    assert renders.images.shape == (6, SIZE, SIZE, 3)
    assert renders.person.tolist() == ["001", "042"] * 3
    shapes = {key: value.shape[1:] for key, value in renders.facts.items()}
    assert shapes == {"activation": (18, 2), "points": (68, 2), "rotation": (3, 3), "lip_gap": (), "lid_gap": (2,),
                      "jaw_open": (), "intensity": (18,), "known": (18,), "visibility": (10,)}
    facts = renders.facts
    intensity, known = intensities(facts["activation"], facts["lip_gap"], facts["lid_gap"], facts["jaw_open"])
    assert np.allclose(intensity, facts["intensity"], atol=0.02)
    assert (known == facts["known"]).mean() > 0.98 and facts["known"].dtype == bool
    assert len(load_shards(ten, "train", most_per_person=1)) == 2


def test_what_can_not_be_read_is_named(ten, tmp_path, caplog):
    with pytest.raises(InputError, match="no folder"):
        list(read_shards(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="holds no shards"):
        list(read_shards(tmp_path))
    loose(tmp_path, 5)
    (tmp_path / "00000002.jpg").write_bytes((tmp_path / "00000002.jpg").read_bytes()[:300])
    with pytest.raises(InputError, match="00000002.json: the picture can't be decoded"):
        list(read_shards(tmp_path))
    (tmp_path / "00000002.jpg").unlink()
    with pytest.raises(InputError, match="00000002.jpg can't be read"):
        list(read_shards(tmp_path))
    loose(tmp_path, 5)
    (tmp_path / "00000001.json").write_text("{")
    with pytest.raises(InputError, match="00000001.json: the labels are no JSON"):
        list(read_labels(tmp_path))
    (tmp_path / "00000001.json").unlink()
    with pytest.raises(InputError, match="00000001.jpg has no labels"):
        list(read_labels(tmp_path))


def test_a_missing_shard_is_an_error_and_an_unfinished_folder_a_warning(ten, tmp_path, caplog):
    for file in ten.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "shard-000002.tar").unlink()
    with caplog.at_level(logging.WARNING):
        assert len(list(read_labels(tmp_path))) == 8
    assert "unfinished: 8 of 10 pictures" in caplog.text
    (tmp_path / "shard-000000.tar").unlink()
    with pytest.raises(InputError, match="shard-000000.tar is missing"):
        list(read_labels(tmp_path))


def test_a_part_without_people_is_an_error(tmp_path):
    loose(tmp_path, 2)
    with pytest.raises(InputError, match="no pictures of validation people"):
        load_shards(tmp_path, "validation")


# -- labels ----------------------------------------------------------------------------------


def test_labels_have_exactly_the_documented_names():
    labels = sample(3)[1]
    assert list(labels) == ["index", "seed", "person", "part", "size", "aus", "activation", "others", "points",
                            "pose", "rotation", "distance", "gaze", "lip_gap", "lid_gap", "jaw_open", "visibility", "occluders", "covered_by", "light",
                            "skin", "sensor", "creases"]
    assert list(labels["aus"]) == [str(au) for au in AUS]
    assert all(list(unit) == ["intensity", "left", "right", "presence", "ignore"] for unit in labels["aus"].values())
    assert labels["person"] == "099" and labels["part"] == "test" and labels["size"] == [SIZE, SIZE]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31))
def test_labels_are_plain_rounded_and_agree_with_themselves(index):
    labels = sample(index, seed=5)[1]
    text = json.dumps(labels, allow_nan=False)
    assert json.loads(text) == labels and json.dumps(sample(index, seed=5)[1]) == text
    assert "-0.0," not in text and max(map(len, text.replace("]", ",").replace("}", ",").split(","))) < 60
    for unit in labels["aus"].values():
        assert unit["presence"] == (None if unit["ignore"] else int(unit["intensity"] >= 1))
        assert all(0 <= unit[side] <= 5 for side in ("intensity", "left", "right"))


def performing(visibility=(), props=(), lids=(1.0, 1.0), **levels):
    activation = np.zeros((len(AUS), 2), np.float32)
    for name, level in levels.items():
        activation[AUS.index(int(name[2:]))] = level
    seen = dict.fromkeys(PARTS, 1.0) | dict(visibility)
    scene = Scene(Performance(activation, {}), props=props)
    shot = Shot(np.zeros((8, 8, 3), np.uint8), np.zeros((68, 2)), np.zeros(3), np.eye(3), np.zeros(2), seen, 0.0,
                np.array(lids))
    return record(index=0, seed=0, person="someone", colour=np.full(3, 0.5), scene=scene, shot=shot)


def test_sides_are_told_apart():
    unit = performing(AU12=(0.8, 0.0))["aus"]["12"]
    assert (unit["left"], unit["right"]) == (4.0, 0.0) and 0 < unit["intensity"] < 4
    wink = performing(lids=(0.05, 1.0))["aus"]["43"]
    assert (wink["left"], wink["right"]) == (5.0, 0.0) and wink["ignore"]
    assert performing(AU17=0.8)["aus"]["17"]["right"] == 4.0


def test_what_is_covered_is_not_judged():
    shown = performing(AU12=0.8, AU1=0.8)["aus"]
    masked = performing({"mouth": 0.1, "chin": 0.05}, AU12=0.8, AU1=0.8)["aus"]
    assert shown["12"]["presence"] == 1 and masked["12"]["presence"] is None and masked["12"]["intensity"] == 4.0
    assert masked["1"]["presence"] == 1
    # One brow is enough.
    assert performing({"brow_left": 0.0}, AU1=0.8)["aus"]["1"]["presence"] == 1


def test_occluders_are_named_once():
    prop = Prop("hand", np.zeros((3, 3)), np.zeros((1, 3), int), np.zeros((3, 3)), np.ones(3))
    assert performing(props=(prop, prop))["occluders"] == ["hand"]


def test_skin_tones_by_their_angle():
    assert [tone_of(a) for a in (60, 50, 30, 20, 0, -40, -90)] == [
        "very light", "light", "intermediate", "tan", "brown", "dark", "dark"]
    pale, deep = (typology_angle(np.array(c) / 255) for c in ((236, 206, 190), (88, 56, 42)))
    assert tone_of(pale) in ("very light", "light") and tone_of(deep) in ("brown", "dark")
    assert pale > 41 > -10 > deep
