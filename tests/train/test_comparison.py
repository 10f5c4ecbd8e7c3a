"""Two networks on the same faces: differences, their chance, and sizes of effect."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from scores import draw_predictions

from rtau.errors import InputError
from rtau_train.evaluate import auc
from rtau_train.figures.comparison import compare, delong, holm
from rtau_train.figures.measures import BY_KEY, tune
from rtau_train.figures.report import Settings, figures

FEW = Settings(resamples=300)


def blurred(p, amount, seed=1, model="blurred"):
    """The same network, less sure of what it sees."""
    rng = np.random.default_rng(seed)
    logit = np.log(p.presence / (1 - p.presence)) + rng.normal(0, amount, p.presence.shape)
    return replace(p, presence=(1 / (1 + np.exp(-logit))).astype(np.float32), model=model,
                   expected=np.clip(p.expected + rng.normal(0, amount, p.expected.shape), 0, 5).astype(np.float32))


@pytest.fixture(scope="module")
def pair():
    p = draw_predictions()
    return p, blurred(p, 2.0)


@pytest.fixture(scope="module")
def comparison(pair):
    return compare(*pair, settings=FEW)


def test_values_are_those_of_the_reports(pair, comparison):
    a, b = (figures(p, None, FEW) for p in pair)
    for left, right in zip(a.labels, b.labels, strict=True):
        for key in BY_KEY:
            difference = comparison.labels[left.name][key]
            assert (difference.a, difference.b) == pytest.approx(
                (left.figures[key].value, right.figures[key].value), nan_ok=True)
            assert difference.value == pytest.approx(difference.a - difference.b, nan_ok=True)
    assert comparison.mean["auc"].a == pytest.approx(a.mean["auc"].value) and comparison.a == "net"
    assert comparison.faces == 400 and comparison.subjects == 12


def test_what_is_better_is_found_to_be(comparison):
    for key in ("auc", "ap", "icc", "pearson"):
        d = comparison.mean[key]
        assert d.value > 0.03 and 0 < d.low < d.high and d.p == pytest.approx(2 / 301), key
    assert comparison.mean["mae"].high < 0 and comparison.mean["brier"].high < 0, "errors are less"
    assert comparison.mean["auc"].won > 0.9 and comparison.mean["auc"].effect > 1
    assert comparison.mean["mae"].won > 0.9 and comparison.mean["mae"].effect < -1, "a wins by being less wrong"
    for row in comparison.labels.values():
        assert row["auc"].p <= row["auc"].holm and row["auc"].delong < 0.05
        assert np.isnan(row["ap"].delong) and np.isnan(row["ap"].effect)


def test_the_other_way_round_it_is_the_opposite(pair, comparison):
    turned = compare(*pair[::-1], settings=FEW)
    for name, row in comparison.labels.items():
        for key, d in row.items():
            t = turned.labels[name][key]
            assert (t.low, t.high) == pytest.approx((-d.high, -d.low), nan_ok=True)
            assert (t.p, t.holm, t.delong, t.effect) == pytest.approx((d.p, d.holm, d.delong, -d.effect), nan_ok=True)
            assert t.won == pytest.approx(1 - d.won, nan_ok=True)


def test_a_network_is_no_better_than_itself(pair):
    same = compare(pair[0], pair[0], settings=FEW)
    for d in (*(row["auc"] for row in same.labels.values()), same.mean["auc"], same.mean["f1"]):
        assert (d.value, d.low, d.high, d.p, d.won) == (0, 0, 0, 1, 0.5) and np.isnan(d.effect)
    # Changed without rhyme or reason, the differences are mostly chance.
    noise = compare(blurred(pair[0], 1, 2), blurred(pair[0], 1, 3), settings=FEW)
    assert sum(row["auc"].holm < 0.05 for row in noise.labels.values()) == 0


def test_pairing_makes_surer(pair):
    """A difference is surer than the figures it is made of, since what is hard is hard for both."""
    a, b = pair[0], blurred(pair[0], 0.3)
    width = figures(a, None, FEW).mean["auc"]
    d = compare(a, b, settings=FEW).mean["auc"]
    assert d.high - d.low < 0.6 * (width.high - width.low)


def test_thresholds_of_each(pair):
    others = draw_predictions(seed=5, prefix="v")
    thresholds = tuple(map(tune, (others, blurred(others, 2.0))))
    compared = compare(*pair, thresholds, FEW)
    for p, thresholds_, side in zip(pair, thresholds, ("a", "b"), strict=True):
        values = [getattr(row["f1_tuned"], side) for row in compared.labels.values()]
        assert values == pytest.approx([label.figures["f1_tuned"].value
                                        for label in figures(p, thresholds_, FEW).labels])
    with pytest.raises(InputError, match="subject s00"):
        compare(*pair, (thresholds[0], tune(pair[1])), FEW)


def test_only_what_both_predict_counts(pair):
    a, b = pair[0], replace(pair[1], presence=pair[1].presence.copy())
    b.presence[:50] = np.nan
    compared = compare(a.select(["AU04", "AU01"]), b, settings=FEW)
    assert list(compared.labels) == ["AU04", "AU01"]
    rows = (a.labels[:, 2] != 0) & (np.arange(len(a)) >= 50)
    assert compared.labels["AU04"]["auc"].a == pytest.approx(auc(a.labels[rows, 2] > 0, a.presence[rows, 2]))


def test_other_faces_can_not_be_compared(pair):
    for other in (pair[1][:399], pair[1][::-1], replace(pair[1], labels=-pair[1].labels)):
        with pytest.raises(InputError, match="not of the same faces"):
            compare(pair[0], other)
    with pytest.raises(InputError, match="no label in common"):
        compare(pair[0], replace(pair[1], names=("A", "B", "C", "D")))


def test_holm_by_hand():
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.01, np.nan, 0.9])) == pytest.approx([0.02, np.nan, 0.9], nan_ok=True)
    assert holm(np.array([0.5, 0.6])).max() == 1 and not len(holm(np.zeros(0)))


def delong_by_definition(truth, a, b):
    """DeLong, DeLong and Clarke-Pearson (1988), from every pair of a positive and a negative."""
    wins = [(s[truth][:, None] > s[~truth]) + 0.5 * (s[truth][:, None] == s[~truth]) for s in (a, b)]
    cover = sum(np.cov([w.mean(axis) for w in wins]) / wins[0].shape[1 - axis] for axis in (0, 1))
    variance = cover[0, 0] + cover[1, 1] - 2 * cover[0, 1]
    return 2 * norm.sf(abs(wins[0].mean() - wins[1].mean()) / np.sqrt(variance))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(10, 60))
def test_delong_of_people_with_one_face_each(seed, count):
    rng = np.random.default_rng(seed)
    truth = np.arange(count) % 3 == 0
    a, b = (np.round(rng.normal(truth, 1), 1) for _ in range(2))
    nobody = np.full(count, "")
    assert delong(truth, a, b, nobody) == pytest.approx(delong_by_definition(truth, a, b), nan_ok=True)
    assert delong(truth, a, b, nobody) == pytest.approx(delong(truth, b, a, nobody), nan_ok=True)


def test_delong_is_right_about_chance_where_faces_are_alike():
    """Two equally good scores, each person's eight faces alike: 5 % are called different; taken apart, many."""
    rng = np.random.default_rng(0)
    subject, found, blind = np.repeat(np.arange(40).astype(str), 8), 0, 0
    for _ in range(300):
        truth = np.repeat(rng.random(40) < 0.4, 8)
        a, b = (truth + rng.normal(0, 0.7, 40).repeat(8) + rng.normal(0, 0.5, 320) for _ in range(2))
        found += delong(truth, a, b, subject) < 0.05
        blind += delong(truth, a, b, np.full(320, "")) < 0.05
    assert 0.02 < found / 300 < 0.09 and blind / 300 > 0.25
    truth = np.arange(10) < 5
    assert np.isnan(delong(truth, np.arange(10.0), np.arange(10.0), np.full(10, ""))), "alike"
    assert np.isnan(delong(truth, np.arange(10.0), -np.arange(10.0), np.full(10, "one person")))


def test_files_say_what_the_comparison_says(comparison, tmp_path):
    values = json.loads(json.dumps(comparison.as_dict(), allow_nan=False))
    assert values["labels"]["AU01"]["auc"]["p"] == pytest.approx(comparison.labels["AU01"]["auc"].p, abs=1e-6)
    assert values["labels"]["AU01"]["f1_tuned"]["a"] is None and values["a"] == "net"
    with open(comparison.write_csv(tmp_path / "c.csv"), newline="") as file:
        rows = {(row["label"], row["figure"]): row for row in csv.DictReader(file)}
    assert len(rows) == 4 * len(BY_KEY)
    assert float(rows["AU02", "auc"]["difference"]) == pytest.approx(comparison.labels["AU02"]["auc"].value, abs=1e-6)
    assert rows["AU02", "f1_tuned"]["p"] == "" != rows["AU02", "auc"]["delong"]
