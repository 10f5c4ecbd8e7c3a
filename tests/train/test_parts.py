"""Whose faces are learned from, who validates, who is kept out, and what is refused in a line."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stand_in import make_some
from toy import NAMES, make_faces, make_parts

from rtau.errors import InputError, UsageError
from rtau.store import find_weights
from rtau_train.config import build_recipe
from rtau_train.parts import Parts, digest, is_renders, open_parts
from rtau_train.suggest import suggest


def parts_of(faces, *, unlabeled=None, validation=None, **data):
    """What `open_parts` makes of faces that are not on the disk."""
    there = {"labeled": faces, "unlabeled": unlabeled, "validation": validation}
    paths = {name: name for name, value in there.items() if value is not None}
    values = {"task": "au", "data": {**paths, **{k: v for k, v in data.items() if k != "most_per_person"}}}
    values |= {k: v for k, v in data.items() if k == "most_per_person"}
    return open_parts(build_recipe(values), lambda path, part: there[path.name])


def people(faces):
    return set(faces.subject.tolist())


def test_validation_people_are_others_and_about_their_share():
    parts = parts_of(make_faces(200, people=20), share=0.2)
    assert not people(parts.labeled) & people(parts.validation) and len(people(parts.validation)) == 4
    assert len(parts.labeled) + len(parts.validation) == 200 and parts.labeled.names == NAMES
    again = parts_of(make_faces(200, people=20), share=0.2)
    assert parts.facts() == again.facts()


def test_points_and_pictures_stay_with_their_faces():
    faces = make_faces(60, people=6)
    faces.points[:, 0, 0] = np.arange(60)
    faces.pictures[:, 0, 0, 0] = np.arange(60)
    parts = parts_of(faces)
    for part in (parts.labeled, parts.validation):
        for row in range(len(part)):
            number = int(part.source[row].split("-")[1].split(".")[0])
            assert part.points[row, 0, 0] == part.pictures[row][0, 0, 0] == number
            assert part.subject[row] == f"p{number % 6}"


def test_validation_can_be_given():
    parts = parts_of(make_faces(40), validation=make_faces(20, prefix="v"))
    assert len(parts.labeled) == 40 and len(parts.validation) == 20
    with pytest.raises(InputError, match="subject p0 is in training and in validation"):
        parts_of(make_faces(40), validation=make_faces(20))


def test_labels_are_chosen_by_name(caplog):
    faces = make_faces(60)
    faces.labels[:, 1] = 0
    assert parts_of(faces).labeled.names == ("AU01", "AU12")
    assert parts_of(faces, names=["au12", "AU1"]).validation.names == ("AU12", "AU01")
    with pytest.raises(UsageError, match="nobody coded AU04, AU99 in labeled: it has AU01, AU12"):
        parts_of(faces, names=["AU12", "AU4", "AU99"])
    with pytest.raises(InputError, match="labeled has no labels"):
        parts_of(faces.without_labels())


def test_faces_without_any_of_the_labels_are_not_learned_from():
    faces = make_faces(60, unknown=0)
    faces.labels[:10] = 0
    parts = parts_of(faces)
    assert len(parts.labeled) + len(parts.validation) < 60 and (parts.labeled.labels != 0).any(1).all()


def test_unlabeled_faces_of_people_who_validate_are_left_out(caplog):
    faces = make_faces(60)
    with caplog.at_level(logging.WARNING):
        parts = parts_of(faces, unlabeled=make_faces(30, seed=3))
    assert not people(parts.unlabeled) & people(parts.validation) and (parts.unlabeled.labels == 0).all()
    assert "unlabeled faces are of people who validate or test: they are left out" in caplog.text
    strangers = make_faces(30, prefix="u")
    assert len(parts_of(faces, unlabeled=strangers).unlabeled) == 30
    nobody = replace(strangers, subject=np.full(30, ""))
    assert len(parts_of(faces, unlabeled=nobody).unlabeled) == 30
    with pytest.raises(InputError, match="no faces of people who neither validate nor test"):
        parts_of(faces, unlabeled=faces[np.isin(faces.subject, sorted(people(parts.validation)))])


def test_who_tests_in_a_fold_is_kept_out_of_everything():
    faces = make_faces(90, people=9, names=NAMES)
    parts = parts_of(faces, protocol="kfold-by-subject", fold=2, unlabeled=make_faces(90, people=9, seed=4))
    tests = {"p1", "p4", "p7"}
    seen = people(parts.labeled), people(parts.validation), people(parts.unlabeled)
    assert not any(tests & part for part in seen) and seen[0] | seen[1] == people(faces) - tests
    with pytest.raises(UsageError, match="kfold-by-subject has no fold 4: choose 1 to 3"):
        parts_of(faces, protocol="kfold-by-subject", fold=4)
    with pytest.raises(UsageError, match="there is no protocol"):
        parts_of(faces, protocol="leave-one-out")


def test_strangers_are_split_by_picture_or_video_with_a_warning(caplog):
    faces = make_faces(60)
    faces = replace(faces, subject=np.full(60, ""),
                    source=np.array([f"clip{row // 6}.mp4#{row % 6}" for row in range(60)]))
    with caplog.at_level(logging.WARNING):
        parts = parts_of(faces, share=0.2)
    assert "60 of 60 faces have no subject" in caplog.text
    clips = [{source.split("#")[0] for source in part.source} for part in (parts.labeled, parts.validation)]
    assert not clips[0] & clips[1] and len(clips[1]) == 2
    with pytest.raises(InputError, match="nobody else to validate on"):
        parts_of(faces[:6])
    some = replace(faces, subject=np.where(np.arange(60) < 30, "", "someone"))
    parts = parts_of(some, share=0.3)
    assert len({"someone"} & people(parts.labeled)) + len({"someone"} & people(parts.validation)) == 1


def test_one_person_alone_can_not_validate_herself():
    with pytest.raises(InputError, match="2 parts need at least 2 subjects"):
        parts_of(make_faces(40, people=1))


def test_limits_of_faces():
    parts = parts_of(make_faces(120), validation=make_faces(50, prefix="v"), validated=10, most_per_person=3)
    assert len(parts.validation) == 10 and parts.validation.source[[0, -1]].tolist() == ["v-0.jpg", "v-49.jpg"]
    assert np.unique(parts.labeled.subject, return_counts=True)[1].tolist() == [3] * 6
    assert parts.labeled.source.tolist() == [f"p-{row}.jpg" for row in range(18)]


def test_nothing_to_learn_is_an_error():
    faces = make_faces(30)
    faces.labels[:] = 1
    with pytest.raises(InputError, match="no label is both present and absent in training"):
        parts_of(faces)
    with pytest.raises(UsageError, match="nothing to learn from: give data.labeled"):
        open_parts(build_recipe({"task": "au"}))


def test_renders_are_split_by_the_people_of_the_portraits(tmp_path):
    make_some(tmp_path, count=40)
    recipe = build_recipe({"task": "au", "renders": str(tmp_path)})
    parts = open_parts(recipe)
    assert people(parts.labeled) == {"001", "042"} and people(parts.validation) == {"094"}
    assert is_renders(tmp_path) and not is_renders(tmp_path / "none")
    parts = open_parts(build_recipe({"task": "au", "renders": str(tmp_path), "data": {"unlabeled": str(tmp_path)}}))
    assert people(parts.unlabeled) == {"001", "042"}
    with pytest.raises(UsageError, match="leave out the protocol"):
        open_parts(build_recipe({"task": "au", "renders": str(tmp_path), "data": {"protocol": "kfold-by-subject"}}))
    with pytest.raises(InputError, match="nowhere is no folder"):
        open_parts(build_recipe({"task": "au", "renders": str(tmp_path / "nowhere")}))


def test_a_fingerprint_changes_with_labels_and_points():
    parts = make_parts(20)
    before = parts.facts()
    parts.labeled.labels[3, 1] *= -1
    after = parts.facts()
    assert before["validation"] == after["validation"] and before["labeled"]["digest"] != after["labeled"]["digest"]
    assert digest(np.zeros(4, np.int8)) != digest(np.zeros((2, 2), np.int8)) != digest(np.zeros((2, 2), np.int16))


def test_settings_follow_the_faces_and_changes_come_first():
    def of(count, *changes, graded=True):
        faces = make_faces(6, graded=graded)
        many = Parts(faces[np.arange(count) % 6], faces)
        return suggest(build_recipe({"task": "au"}), many, changes)

    small, large = of(50), of(20000)
    assert small.loop.batch == 8 and large.loop.batch == 64 and small.loop.steps == 400 and large.loop.steps == 12480
    assert small.method.pretrain == small.method.ramp == 100 and small.loop.patience == 20
    assert of(50).model == {"grades": 5} and of(50, graded=False).model == {"grades": 1}
    short = of(20000, "loop.steps=200", "method.ramp=7", "model.width=8")
    assert short.loop.steps == 200 and short.method.pretrain == 50 and short.method.ramp == 7
    assert short.loop.evaluate_every == 5 and short.model == {"grades": 5, "width": 8}
    # Training can't end before half of it.
    assert small.loop.patience * small.loop.evaluate_every >= small.loop.steps // 2
    # The shipped network's backbones are a start for networks of its build.
    assert small.pretrained == find_weights("au").path and short.pretrained is None
    assert of(50, "pretrained=none").pretrained is None and of(50, "pretrained=mine.pt").pretrained == Path("mine.pt")
    assert of(50, "init=mine.pt").pretrained is None and of(50, "model.backbone=resnet18").pretrained is None
