"""What counts as done, and what does not."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from rtau.batch import Task
from rtau.batch.ledger import sha256_of
from rtau.batch.work import do
from rtau.errors import OutputError
from rtau.process import Job, Options
from rtau.sinks import meta_path

FEW = Options(end=0.2)


@pytest.fixture(scope="module")
def made(fixtures, tmp_path_factory):
    """A clip that was done, with its overlay; five frames of it."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copy(fixtures / "turned.mp4", folder / "clip.mp4")
    record, _ = do(Task(Job((folder / "clip.mp4",), False, folder / "t.csv", folder / "t.mp4"), FEW))
    assert record.state == "done" and record.frames == 5
    return folder


@pytest.fixture
def task(made, tmp_path) -> Task:
    """The same in a folder of its own, to be resumed."""
    for path in made.iterdir():
        shutil.copy2(path, tmp_path)
    meta = meta_path(tmp_path / "t.csv")
    meta.write_text(meta.read_text().replace(str(made), str(tmp_path)))
    return Task(Job((tmp_path / "clip.mp4",), False, tmp_path / "t.csv", tmp_path / "t.mp4"), FEW, resume=True)


def again(task: Task):
    return do(task)[0]


def test_what_is_done_is_skipped_and_left_alone(task):
    before = task.job.out.stat().st_mtime_ns
    record = again(task)
    assert record.state == "skipped" and record.frames == 0 and task.job.out.stat().st_mtime_ns == before


def test_the_record_tells_the_input_by_size_time_and_content(task):
    clip = task.job.paths[0]
    (told,) = json.loads(meta_path(task.job.out).read_text())["record"]["inputs"]
    assert told["size"] == clip.stat().st_size and told["mtime_ns"] == clip.stat().st_mtime_ns
    assert told["sha256"] == sha256_of(clip) and len(told["sha256"]) == 64


def test_a_copy_with_another_time_is_the_same(task):
    os.utime(task.job.paths[0], (1, 1))
    assert again(task).state == "skipped"


def test_size_and_time_are_trusted_without_reading(task):
    """As documented: whoever changes a byte and keeps size and time is believed."""
    clip = task.job.paths[0]
    status, data = clip.stat(), bytearray(clip.read_bytes())
    data[-1] ^= 1
    clip.write_bytes(data)
    os.utime(clip, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert again(task).state == "skipped"


@pytest.mark.parametrize(("options", "analysis", "says"), [
    ({"every": 2}, {}, "(every)"), ({"end": 0.16}, {}, "(end)"), ({"columns": frozenset({"raw"})}, {}, "(columns)"),
    ({"max_seconds": 0.1}, {}, "(max_seconds)"), ({}, {"smooth": "off"}, "(smooth)"), ({}, {"aus_text": "12"}, "(aus)"),
    ({}, {"max_faces": 3}, "max_faces"), ({}, {"rest_seconds": 1.0}, "(calibrate)"), ({}, {"backend": "torch"}, "(backend)"),
])
def test_other_settings_make_it_anew(options, analysis, says, task):
    record = again(replace(task, options=replace(FEW, **options), analysis=analysis))
    assert record.state == "done" and any(note.startswith("redone: settings changed") and says in note
                                          for note in record.notes), record


def test_what_changes_no_number_changes_nothing(task):
    analysis = {"device": "cpu", "precision": "float32", "aus_text": "all"}
    assert again(replace(task, options=replace(FEW, max_pixels=10**6, overwrite=True, crop_size=64), analysis=analysis,
                         threads=1)).state == "skipped"  # there are no crops


def test_an_overlay_asked_for_later_makes_it_anew(task):
    job = replace(task.job, overlay=None, out=task.job.out.with_name("other.csv"))
    assert again(replace(task, job=job)).state == "done"
    record = again(replace(task, job=replace(job, overlay=job.out.with_name("other.mp4"))))
    assert record.notes == ["redone: settings changed (overlay)"] and (job.out.parent / "other.mp4").exists()
    record = again(replace(task, job=replace(job, overlay=job.out.with_name("other.mp4")),
                           options=replace(FEW, overlay_style="minimal")))
    assert record.notes == ["redone: settings changed (overlay)"]


def test_another_input_makes_it_anew(task, fixtures):
    shutil.copy(fixtures / "face_then_none.mp4", task.job.paths[0])
    record = again(task)
    assert record.state == "done" and record.notes == ["redone: the input changed"]


@pytest.mark.parametrize("which", ["t.csv", "t.mp4"])
def test_an_output_that_is_gone_is_made_anew(which, task):
    (task.job.out.parent / which).unlink()
    record = again(task)
    assert record.state == "done" and "was gone" in record.notes[0]
    assert (task.job.out.parent / which).exists() and again(task).state == "skipped"


def test_what_was_not_complete_is_made_anew(task):
    path = meta_path(task.job.out)
    path.write_text(json.dumps({**json.loads(path.read_text()), "complete": False, "error": "half of it is gone"}))
    record = again(task)
    assert record.state == "done" and "half of it is gone" in record.notes[0] and again(task).state == "skipped"


@pytest.mark.parametrize("facts", [None, "no json", "[]", "\udcff"])
def test_a_table_without_a_record_is_not_replaced(facts, task):
    path = meta_path(task.job.out)
    path.unlink()
    if facts is not None:
        path.write_bytes(facts.encode("utf-8", "surrogateescape"))
    task.job.out.write_text("mine")
    record = again(task)
    assert record.state == "failed" and "--overwrite" in record.error and task.job.out.read_text() == "mine"
    assert again(replace(task, options=replace(FEW, overwrite=True))).state == "done"


def test_a_table_of_another_file_is_not_replaced(task, fixtures):
    other = task.job.out.parent / "other.mp4"
    shutil.copy(fixtures / "face_then_none.mp4", other)
    before = task.job.out.read_bytes()
    record = again(replace(task, job=replace(task.job, paths=(other,))))
    assert record.state == "failed" and "clip.mp4" in record.error and task.job.out.read_bytes() == before


def test_the_same_file_elsewhere_is_done(task):
    """A data set that was moved."""
    moved = task.job.out.parent / "moved" / "clip.mp4"
    moved.parent.mkdir()
    shutil.move(task.job.paths[0], moved)
    assert again(replace(task, job=replace(task.job, paths=(moved,)))).state == "skipped"


def test_pictures_count_one_by_one(fixtures, tmp_path):
    for name in ("face.jpg", "no_face.jpg"):
        shutil.copy(fixtures / name, tmp_path)
    job = Job((tmp_path / "face.jpg", tmp_path / "no_face.jpg"), True, tmp_path / "p.csv")
    task = Task(job, resume=True)
    assert again(task).state == "done" and again(task).state == "skipped"
    shutil.copy(fixtures / "two_faces.jpg", tmp_path / "no_face.jpg")
    assert again(task).notes == ["redone: the input changed"]
    shorter = replace(task, job=replace(job, paths=job.paths[:1]))
    assert again(shorter).notes == ["redone: the input changed"]


def test_a_changed_profile_makes_it_anew(task, fixtures, tmp_path):
    """Files count by what is in them, not by their names."""
    from rtau.calibrate import Profile
    from rtau.store import find_weights

    sha = find_weights("au").sha256
    profile = tmp_path / "me.json"
    Profile((12,), (0.4,), (1.0,), 20, sha, "2026-01-01T00:00:00+00:00").save(profile)
    told = replace(task, analysis={"profile": profile})
    assert "profile" in again(told).notes[0] and again(told).state == "skipped"
    profile.unlink()
    Profile((12,), (0.5,), (1.0,), 20, sha, "2026-01-01T00:00:00+00:00").save(profile)
    assert again(told).notes == ["redone: settings changed (profile)"]


def test_facts_of_an_older_table_do_not_outlive_it(task):
    """Without --resume a table grows under its name; if that is cut off, nothing may say that it is complete."""
    seen = []

    from rtau.batch.work import Watcher

    class Looks(Watcher):
        def frame(self, frame, scores):
            seen.append(meta_path(task.job.out).exists())

    do(replace(task, resume=False, options=replace(FEW, overwrite=True)), Looks(), stage=False)
    assert seen == [False] * 5 and meta_path(task.job.out).exists()


def test_without_resume_an_existing_table_is_an_error(task):
    with pytest.raises(OutputError, match="exists"):
        do(replace(task, resume=False), stage=False)
    record = again(replace(task, resume=False))
    assert record.state == "failed" and "exists" in record.error and not list(Path(task.job.out.parent).glob(".*"))
