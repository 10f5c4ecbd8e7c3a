"""Splits: as published, by subject, balanced, and never with anybody on both sides."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trees import random_faces

from rtau.au import BP4D, DISFA, EMOTIONET
from rtau.errors import InputError, UsageError
from rtau_train.data.faces import au_name, check_apart
from rtau_train.data.protocols import PROTOCOLS, Fold, draw_folds, split_by_subject

NAMES = tuple(map(au_name, sorted({*BP4D, *DISFA, *EMOTIONET})))


def without_subjects(count: int):
    faces = random_faces(count, 5, NAMES)
    return replace(faces, subject=np.full(count, ""))


def test_emotionet_draws_fifteen_thousand_three_times(caplog):
    with caplog.at_level(logging.WARNING):
        folds = draw_folds(without_subjects(20_722), "emotionet-3random")
    assert caplog.text == ""
    assert [(len(fold.train), len(fold.test)) for fold in folds] == [(15_000, 5_722)] * 3
    assert folds[0].train.names == tuple(map(au_name, EMOTIONET))
    tests = [set(fold.test.source) for fold in folds]
    assert all(len(a & b) < 2500 for a, b in zip(tests, [*tests[1:], tests[0]], strict=True))
    again = draw_folds(without_subjects(20_722), "emotionet-3random")
    assert all((a.train.source == b.train.source).all() for a, b in zip(folds, again, strict=True))
    other = draw_folds(without_subjects(20_722), "emotionet-3random", seed=1)
    assert set(other[0].test.source) != tests[0]


def test_fewer_pictures_are_split_in_proportion_and_that_is_said(caplog):
    with caplog.at_level(logging.WARNING):
        folds = draw_folds(without_subjects(1000), "emotionet-3random")
    assert [len(fold.train) for fold in folds] == [724] * 3
    assert "1000 pictures instead of 20722: 724 train instead of 15000" in caplog.text
    with pytest.raises(InputError, match="at least 2 pictures, not 1"):
        draw_folds(without_subjects(1), "emotionet-3random")


@pytest.mark.parametrize("protocol, aus", [("bp4d-3fold", BP4D), ("disfa-3fold", DISFA), ("kfold-by-subject", None)])
def test_everybody_tests_once_and_trains_otherwise(protocol, aus):
    faces = random_faces(500, 41, NAMES)
    folds = draw_folds(faces, protocol)
    assert len(folds) == 3 and folds[0].train.names == (NAMES if aus is None else tuple(map(au_name, aus)))
    for fold in folds:
        assert len(fold.train) + len(fold.test) == 500 and not set(fold.train.subject) & set(fold.test.subject)
    assert sorted(name for fold in folds for name in set(fold.test.subject)) == sorted(set(faces.subject))
    assert sorted(set(folds[1].test.subject)) == sorted(set(faces.subject))[1::3]
    shuffled = draw_folds(faces[np.random.default_rng(3).permutation(500)], protocol)
    assert [set(a.test.subject) for a in folds] == [set(b.test.subject) for b in shuffled]


def test_the_number_of_folds_is_free():
    faces = random_faces(300, 10, NAMES)
    assert [len(set(fold.test.subject)) for fold in draw_folds(faces, "kfold-by-subject", folds=5)] == [2] * 5
    assert len(draw_folds(without_subjects(50), "emotionet-3random", folds=1)) == 1
    for count, said in ((1, "at least 2 folds, not 1"),):
        with pytest.raises(UsageError, match=said):
            draw_folds(faces, "bp4d-3fold", folds=count)
    with pytest.raises(InputError, match="11 folds need at least 11 subjects, and there are 10"):
        draw_folds(faces, "kfold-by-subject", folds=11)
    with pytest.raises(UsageError, match="no protocol 'bp4d': choose from emotionet-3random"):
        draw_folds(faces, "bp4d")


def test_folds_of_an_author_are_taken_and_checked():
    faces = random_faces(300, 6, NAMES)
    names = [f"S{i:03d}" for i in range(6)]
    given_ = [[names[5], names[0]], [names[1], names[2]], [names[3], names[4]]]
    folds = draw_folds(faces, "bp4d-3fold", subjects=given_)
    assert [sorted(set(fold.test.subject)) for fold in folds] == [sorted(group) for group in given_]
    for groups, said in (([names[:3], names[2:]], "subject S002 is in fold 1 and in fold 2"),
                         ([names[:3], names[3:5]], "subject S005 is in no fold"),
                         ([names[:3], [*names[3:], "F001"]], "no subject F001; the names here are such as S000")):
        with pytest.raises(InputError, match=said):
            draw_folds(faces, "bp4d-3fold", subjects=groups)
    with pytest.raises(UsageError, match="at least 2 folds with a subject in each"):
        draw_folds(faces, "bp4d-3fold", subjects=[names, []])
    with pytest.raises(UsageError, match="subjects can't be given"):
        draw_folds(without_subjects(50), "emotionet-3random", subjects=given_)


def test_unknown_subjects_are_refused_where_they_matter():
    faces = random_faces(100, 6, NAMES)
    faces.subject[7] = ""
    for split in (lambda: draw_folds(faces, "disfa-3fold"), lambda: split_by_subject(faces, {"a": 1, "b": 1})):
        with pytest.raises(InputError, match="1 of 100 faces have no subject .the first: 7.jpg"):
            split()


def test_someone_on_both_sides_of_a_random_draw_is_refused():
    with pytest.raises(InputError, match="subject S00. is in .* train and in .* test"):
        draw_folds(random_faces(100, 6, NAMES), "emotionet-3random")


def test_a_picture_on_both_sides_is_refused():
    faces = replace(without_subjects(50), source=np.full(50, "the same.jpg"))
    with pytest.raises(InputError, match="the same.jpg trains and tests"):
        draw_folds(faces, "emotionet-3random")
    with pytest.raises(InputError, match="trains and tests"):
        Fold("mine", faces[:3], faces[2:])


def test_labels_that_nobody_coded_are_said(caplog):
    with caplog.at_level(logging.WARNING):
        draw_folds(random_faces(90, 6, ("AU01", "AU12", "AU99")), "disfa-3fold")
    assert "disfa-3fold counts AU02, AU04, AU06, AU09, AU25, AU26, which nobody coded here" in caplog.text
    with pytest.raises(InputError, match="none of them is coded here"):
        draw_folds(random_faces(90, 6, ("Smiling",)), "disfa-3fold")
    assert all(rules.names == tuple(map(au_name, rules.aus)) for rules in PROTOCOLS.values())


# -- split_by_subject ----------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 30), st.integers(0, 2**16), st.lists(st.floats(0.05, 1), min_size=1, max_size=3))
def test_everybody_is_in_one_part_whatever_the_shares(subjects, seed, shares):
    faces = random_faces(200, subjects, ("AU01", "AU12"), seed)
    wanted = {f"part {i}": share for i, share in enumerate(shares)}
    parts = split_by_subject(faces, wanted, seed)
    assert list(parts) == list(wanted) and sum(map(len, parts.values())) == 200
    assert all(len(part) for part in parts.values())
    check_apart(parts)
    again = split_by_subject(faces, wanted, seed)
    assert all((parts[name].source == again[name].source).all() for name in parts)


def test_parts_have_their_shares_and_like_prevalence():
    labels = tuple(map(au_name, BP4D))
    gaps, by_chance = [], []
    for seed in range(8):
        faces = random_faces(3000, 40, labels, seed)
        parts = split_by_subject(faces, {"train": 0.8, "validation": 0.2}, seed)
        assert abs(len(parts["validation"]) / 3000 - 0.2) < 0.02
        names = sorted(set(faces.subject))
        chosen = np.isin(faces.subject, np.random.default_rng(seed).permutation(names)[:8])

        def gap(one, other):
            return np.abs((one.labels > 0).mean(0) - (other.labels > 0).mean(0)).mean()

        gaps.append(gap(parts["train"], parts["validation"]))
        by_chance.append(gap(faces[~chosen], faces[chosen]))
    assert np.mean(gaps) < 0.5 * np.mean(by_chance)


def test_seeds_split_differently_and_too_few_people_are_refused():
    faces = random_faces(600, 30, ("AU01",))
    chosen = {tuple(sorted(set(split_by_subject(faces, {"t": 0.7, "v": 0.3}, seed)["v"].subject))) for seed in range(5)}
    assert len(chosen) > 1
    with pytest.raises(InputError, match="3 parts need at least 3 subjects, and there are 2"):
        split_by_subject(random_faces(20, 2, ("AU01",)), {"a": 1, "b": 1, "c": 1})
    for shares in ({}, {"a": 0.0, "b": 1.0}, {"a": float("nan")}):
        with pytest.raises(UsageError, match="shares must be above 0"):
            split_by_subject(faces, shares)
