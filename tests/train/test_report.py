"""All figures of one network: right, honest about what can't be given, and written as they are."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from scores import draw_predictions

from rtau.errors import InputError
from rtau_train.evaluate import auc, average_precision, balanced_accuracy, f1, icc31, pearson
from rtau_train.figures.measures import BY_KEY, BY_SUBJECT, Thresholds, tune
from rtau_train.figures.report import Settings, figures

FEW = Settings(resamples=200)


@pytest.fixture(scope="module")
def judged():
    """Predictions, thresholds of other people, and the report."""
    p = draw_predictions()
    thresholds = tune(draw_predictions(seed=5, prefix="v"), "400 other faces")
    return p, thresholds, figures(p, thresholds, FEW)


def test_every_value_is_that_of_the_plain_function(judged):
    p, thresholds, report = judged
    for column, label in enumerate(report.labels):
        rows = p.labels[:, column] != 0
        truth, score = p.labels[rows, column] > 0, p.presence[rows, column]
        cut = thresholds.values[label.name]
        grade, guess = p.intensity[rows, column], p.expected[rows, column]
        assert label.name == p.names[column] and label.threshold == cut
        assert (label.positives, label.negatives, label.unknown) == (truth.sum(), (~truth).sum(), (~rows).sum())
        assert label.unread == 0 and label.graded == rows.sum() and label.prevalence == pytest.approx(truth.mean())
        expected = {"auc": auc(truth, score), "ap": average_precision(truth, score), "f1": f1(truth, score >= 0.5),
                    "f1_tuned": f1(truth, score >= cut), "icc": icc31(grade, guess),
                    "balanced_accuracy_tuned": balanced_accuracy(truth, score >= cut), "pearson": pearson(grade, guess),
                    "brier": ((score - truth) ** 2).mean(), "mae": np.abs(grade - guess).mean()}
        for key, value in expected.items():
            assert label.figures[key].value == pytest.approx(value), key
        assert set(label.figures) == set(BY_KEY)
    for key in BY_KEY:
        assert report.mean[key].value == pytest.approx(np.mean([label.figures[key].value for label in report.labels]))
        assert report.mean_of[key] == 4


def test_intervals_hold_the_value_and_narrow_with_people(judged):
    _, _, report = judged
    for key in set(BY_KEY) - {"ece"}:
        for figure in (*(label.figures[key] for label in report.labels), report.mean[key]):
            assert figure.low <= figure.value <= figure.high, key
    # Faces drawn twice change calibration errors themselves, so that these have none.
    assert np.isnan(report.mean["ece"].low) and np.isnan(report.labels[0].figures["ece"].high)
    more = figures(draw_predictions(3200, people=96), None, FEW)
    width, narrow = (r.mean["auc"].high - r.mean["auc"].low for r in (report, more))
    assert narrow < 0.6 * width
    half = figures(draw_predictions(), None, Settings(200, level=0.5))
    assert half.mean["auc"].high - half.mean["auc"].low < 0.6 * width


def test_same_seed_same_report(judged):
    p, thresholds, report = judged
    assert figures(p, thresholds, FEW).as_dict() == report.as_dict()
    other = figures(p, thresholds, Settings(200, seed=1))
    assert other.mean["auc"].value == report.mean["auc"].value and other.mean["auc"].low != report.mean["auc"].low


def test_subjects_are_told_apart(judged):
    p, _, report = judged
    label = report.labels[1]
    own = {}
    for name in np.unique(p.subject):
        rows = (p.subject == name) & (p.labels[:, 1] != 0)
        own[str(name)] = auc(p.labels[rows, 1] > 0, p.presence[rows, 1])
    own = {name: value for name, value in own.items() if np.isfinite(value)}
    spread = label.subjects["auc"]
    assert dict(zip(spread.subjects, spread.values, strict=True)) == pytest.approx(own)
    assert spread.quartiles == pytest.approx(tuple(np.percentile(list(own.values()), (25, 50, 75))))
    assert spread.worst == (min(own, key=own.get), pytest.approx(min(own.values())))
    assert label.subjects["mae"].worst[1] == max(label.subjects["mae"].values), "of errors the largest is the worst"
    assert set(report.by_subject) == set(BY_SUBJECT) and len(report.by_subject["auc"].values) == 12 == report.subjects


def test_many_subjects_are_judged_as_few_are():
    p = draw_predictions(900, people=130)
    each = figures(p, None, Settings(0)).labels[0].subjects["f1"]
    for name, value in zip(each.subjects, each.values, strict=True):
        rows = (p.subject == name) & (p.labels[:, 0] != 0)
        assert value == pytest.approx(f1(p.labels[rows, 0] > 0, p.presence[rows, 0] >= 0.5))
    assert len(each.subjects) > 60


def test_thresholds_come_from_other_people_only(judged):
    p, thresholds, _ = judged
    with pytest.raises(InputError, match=r"subject s00 is judged, and .* \(400 other faces\): .* tune on others"):
        figures(p, tune(draw_predictions(seed=5), "400 other faces"), FEW)
    unknown = replace(p, subject=np.full(len(p), ""))
    with pytest.raises(InputError, match=r"source s0.jpg is judged"):
        figures(unknown, tune(unknown[:100]), FEW)
    assert np.isnan(Thresholds({"AU01": 0.4}, "", p.subject, p.source).of(("AU01", "AU99"))[1])
    without = figures(p, None, FEW)
    assert without.tuned_on == "" and all(np.isnan(label.threshold) for label in without.labels)
    assert np.isnan(without.mean["f1_tuned"].value) and np.isfinite(without.mean["f1"].value)


def test_one_class_only_gives_no_area_and_all_such_is_an_error():
    p = draw_predictions()
    p.labels[:, 0] = -1
    report = figures(p, None, FEW)
    label = report.labels[0]
    assert np.isnan(label.figures["auc"].value) and np.isnan(label.figures["f1"].value) and label.positives == 0
    assert np.isnan(label.figures["balanced_accuracy"].value) and np.isfinite(label.figures["brier"].value)
    assert report.mean_of["auc"] == 3 and report.mean["auc"].value == pytest.approx(
        np.mean([other.figures["auc"].value for other in report.labels[1:]]))
    assert not len(label.subjects["auc"].values) and label.subjects["auc"].worst[0] == ""
    p.labels[:] = -1
    with pytest.raises(InputError, match="one class only"):
        figures(replace(p, intensity=np.full_like(p.intensity, np.nan)), None, FEW)
    assert np.isfinite(figures(p, None, FEW).mean["icc"].value), "intensities that vary can still be judged"


def test_less_than_two_people_give_no_interval():
    p = draw_predictions(people=1)
    report = figures(p, None, FEW)
    assert np.isfinite(report.mean["auc"].value) and np.isnan(report.mean["auc"].low)
    assert np.isnan(report.labels[0].figures["auc"].high) and np.isnan(report.by_subject["auc"].quartiles[1])
    nobody = figures(replace(p, subject=np.full(len(p), "")), None, FEW)
    assert nobody.subjects == 0 and np.isfinite(nobody.mean["auc"].low), "unknown people are people"
    none = figures(draw_predictions(), None, Settings(resamples=0))
    assert np.isfinite(none.mean["auc"].value) and np.isnan(none.mean["auc"].low)


def test_a_positive_of_one_person_alone_gives_no_interval():
    """Most resamples that leave this person out can't give an area, so that the others mean little."""
    p = draw_predictions()
    p.labels[p.subject != "s00", 0] = -1
    label = figures(p, None, FEW).labels[0]
    assert np.isfinite(label.figures["auc"].value) and np.isnan(label.figures["auc"].low)
    assert np.isfinite(label.figures["brier"].low)


def test_what_was_not_predicted_is_counted_and_left_out():
    p = draw_predictions()
    gone = np.zeros(len(p), bool)
    gone[::7] = True
    p.presence[gone] = p.expected[gone] = np.nan
    report, rest = figures(p, None, FEW), figures(p[~gone], None, FEW)
    for a, b in zip(report.labels, rest.labels, strict=True):
        assert a.figures["auc"].value == b.figures["auc"].value and a.positives == b.positives
    assert report.labels[0].unread == (p.labels[gone, 0] != 0).sum() > 0 == rest.labels[0].unread


def test_presence_alone_gives_no_figures_of_intensity():
    p = draw_predictions()
    report = figures(replace(p, expected=np.full_like(p.expected, np.nan)), None, FEW)
    assert not report.graded and np.isnan(report.mean["icc"].value) and report.mean_of["icc"] == 0
    assert report.labels[0].graded == 0


def test_files_say_what_the_report_says(judged, tmp_path):
    _, _, report = judged
    text = json.dumps(report.as_dict(), allow_nan=False)
    values = json.loads(text)
    assert values["mean"]["auc"]["value"] == pytest.approx(report.mean["auc"].value, abs=1e-6)
    assert values["labels"][0]["figures"]["ece"]["low"] is None and values["tuned_on"] == "400 other faces"
    assert values["labels"][0]["subjects"]["auc"]["values"].keys() == set(report.labels[0].subjects["auc"].subjects)
    with open(report.write_csv(tmp_path / "labels.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["AU01", "AU02", "AU04", "AU06"]
    for row, label in zip(rows, report.labels, strict=True):
        assert float(row["icc"]) == pytest.approx(label.figures["icc"].value, abs=1e-6) and row["ece_low"] == ""
        assert float(row["auc_high"]) == pytest.approx(label.figures["auc"].high, abs=1e-6)
        assert row["auc_worst_subject"] == label.subjects["auc"].worst[0]
        assert int(row["unknown"]) == label.unknown
