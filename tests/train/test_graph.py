"""Adjacency: by hand, as a regression slope, with gaps in the labels, against published tables, from files."""

import csv
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from rtau.au import BP4D, EMOTIONET
from rtau.errors import InputError
from rtau_train.data.faces import au_name
from rtau_train.graph import adjacency, dependency, load_prior

#: Ten faces: AU06 in five, AU12 in four of these and one more, AU04 in two without either.
TABLE = np.array([[1, 1, -1]] * 4 + [[1, -1, -1], [-1, 1, -1]] + [[-1, -1, 1]] * 2 + [[-1, -1, -1]] * 2)


def random_labels(seed: int, unknown: bool = True) -> np.ndarray:
    """Labels that depend on each other, some of them unknown."""
    rng = np.random.default_rng(seed)
    count, labels = rng.integers(1, 60), rng.integers(1, 7)
    hidden = rng.normal(size=(count, 2)) @ rng.normal(size=(2, labels)) + rng.normal(0, 0.5, (count, labels))
    signs = np.where(hidden > rng.normal(0, 0.7, labels), 1, -1)
    return np.where(rng.random(signs.shape) < 0.3, 0, signs) if unknown else signs


def names_of(aus: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(map(au_name, aus))


def write(file, names, matrix):
    with open(file, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["AU", *names])
        writer.writerows([name, *row] for name, row in zip(names, matrix, strict=True))
    return file


def test_adjacency_by_hand():
    expected = np.array([
        # P(6|12) = 4/5, P(-6|-12) = 4/5; P(6|4) = 0, P(-6|-4) = 3/8.
        [1, 0.6, -0.625],
        [0.6, 1, -0.625],
        # P(4|6) = 0, P(-4|-6) = 3/5.
        [-0.4, -0.4, 1]])
    assert dependency(TABLE) == pytest.approx(expected)
    assert adjacency(TABLE) == pytest.approx(np.abs(expected))
    assert adjacency(TABLE, signed=True) == pytest.approx(expected)
    degree = np.array([2.225, 2.225, 1.8])
    scale = np.sqrt(degree[:, None] * degree)
    assert adjacency(TABLE, normalized=True) == pytest.approx(np.abs(expected) / scale)
    assert adjacency(TABLE, normalized=True, signed=True) == pytest.approx(expected / scale)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_dependency_is_the_slope_of_a_regression(seed):
    labels = random_labels(seed)
    found = dependency(labels)
    for a in range(labels.shape[1]):
        for b in range(labels.shape[1]):
            rows = (labels[:, a] != 0) & (labels[:, b] != 0)
            x, y = labels[rows, b].astype(float), labels[rows, a].astype(float)
            if len(set(x)) < 2:
                assert found[a, b] == 0
            else:
                assert found[a, b] == pytest.approx(((x - x.mean()) * (y - y.mean())).mean() / x.var(), abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.booleans())
def test_adjacency_is_finite_bounded_and_ignores_order_and_unknown_faces(seed, normalized, signed):
    labels = random_labels(seed)
    found = adjacency(labels, normalized=normalized, signed=signed)
    assert np.isfinite(found).all() and (np.abs(found) <= 1 + 1e-12).all()
    assert signed or (found >= 0).all()
    if normalized:
        assert np.abs(np.linalg.eigvals(found)).max() <= 1 + 1e-9
    else:
        assert (np.diag(found) == 1).all()
    order = np.random.default_rng(seed).permutation(labels.shape[1])
    again = adjacency(np.vstack([labels, np.zeros_like(labels)])[::-1, order], normalized=normalized, signed=signed)
    assert again == pytest.approx(found[np.ix_(order, order)])


def test_a_pair_counts_only_where_both_are_known():
    more = np.vstack([TABLE, [[1, 0, 0], [0, -1, 0], [0, 0, 1]]])
    assert dependency(more) == pytest.approx(dependency(TABLE))


def test_aus_that_are_always_or_never_there_are_left_alone_with_a_warning(caplog):
    labels = np.column_stack([TABLE, np.ones(10), -np.ones(10), np.zeros(10)]).astype(np.int8)
    with caplog.at_level(logging.WARNING):
        found = adjacency(labels, names=("AU06", "AU12", "AU04", "AU01", "AU02", "AU05"))
    assert caplog.messages == [
        "never both present and absent among the labels: AU01, AU02, AU05; the graph leaves them alone"]
    assert found[:3, :3] == pytest.approx(adjacency(TABLE))
    assert np.array_equal(found[3:], np.eye(6)[3:]) and np.array_equal(found[:3, 3:], np.zeros((3, 3)))
    assert np.isfinite(adjacency(labels, normalized=True)).all()
    caplog.clear()
    adjacency(TABLE)
    assert not caplog.messages


def test_no_labels_at_all_leave_every_label_alone():
    assert np.array_equal(adjacency(np.zeros((0, 4), np.int8)), np.eye(4))


# Published tables


@pytest.fixture(params=[("bp4d", BP4D), ("emotionet", EMOTIONET)], ids=["bp4d", "emotionet"])
def published(request, shared):
    name, aus = request.param
    return load_prior(shared / "mlcr" / f"relation_{name}.csv", names_of(aus)), aus


def test_published_tables_have_the_same_range_and_shape(published):
    matrix, aus = published
    assert matrix.shape == (len(aus), len(aus)) and (np.diag(matrix) == 1).all()
    assert (np.abs(matrix) <= 1).all() and not np.allclose(matrix, matrix.T)
    assert matrix[aus.index(6), aus.index(12)] > 0.4 and matrix[aus.index(1), aus.index(2)] > 0.3


def sample_labels(matrix: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Labels whose dependencies are those of a table, from thresholds on a normal distribution.

    A dependency is cov(a, b) / var(b), so the table holds every correlation, and every label's variance but for
    one common factor; that is taken so that the most frequent label is in nearly half of the faces.
    """
    logs = np.log(np.abs(matrix) / np.abs(matrix.T))  # log var(a) - log var(b), each pair's own estimate
    trust = np.abs(matrix * matrix.T)
    # Weighted least squares over the pairs.
    laplacian = np.diag(trust.sum(1)) - trust
    variance = np.exp(np.linalg.lstsq(laplacian, (trust * logs).sum(1), rcond=None)[0])
    variance *= 0.249 / variance.max()
    chance = 0.5 - np.sqrt(0.25 - variance)
    cut = stats.norm.ppf(chance)
    correlation = np.sign(matrix) * np.sqrt(np.abs(matrix * matrix.T))

    def latent(a: int, b: int) -> float:
        wanted = correlation[a, b] * np.sqrt(variance[a] * variance[b]) + chance[a] * chance[b]
        return optimize.brentq(lambda r: stats.multivariate_normal.cdf(
            [cut[a], cut[b]], cov=[[1, r], [r, 1]]) - wanted, -0.999, 0.999, xtol=1e-5)

    size = len(matrix)
    hidden = np.eye(size)
    for a in range(size):
        for b in range(a):
            hidden[a, b] = hidden[b, a] = latent(a, b)
    values, vectors = np.linalg.eigh(hidden)
    assert values.min() > -0.05  # nearly a correlation matrix already
    root = vectors * np.sqrt(values.clip(min=0))
    drawn = rng.normal(size=(count, size)) @ root.T / np.sqrt((root**2).sum(1))
    return np.where(drawn < cut, 1, -1)


def test_labels_drawn_from_a_published_table_give_it_back(shared):
    # EmotioNet's table can't be drawn from: its ratios of variances, multiplied round AUs 1, 2 and 4, give 69, not 1.
    matrix = load_prior(shared / "mlcr" / "relation_bp4d.csv", names_of(BP4D))
    found = dependency(sample_labels(matrix, 60_000, np.random.default_rng(0)))
    assert np.abs(found - matrix).max() < 0.03
    assert np.abs(found - matrix).mean() < 0.01 < np.abs(found - matrix.T).mean()
    strong = np.abs(matrix) > 0.1
    assert np.array_equal(np.sign(found[strong]), np.sign(matrix[strong]))


# Priors


def test_a_prior_is_read_in_the_order_asked_for(tmp_path):
    file = write(tmp_path / "p.csv", ["1", "AU2", "Smiling"], [[1, 0.5, -0.25], [0.4, 1, 0], [-0.1, 0.2, 1]])
    assert load_prior(file, ("Smiling", "AU01")).tolist() == [[1, -0.1], [-0.25, 1]]
    assert load_prior(file, ("AU02",)).tolist() == [[1]]


def test_a_prior_counts_for_so_many_faces(tmp_path):
    prior = np.array([[1, 0, 0.2], [0, 1, 0.3], [-0.2, 0.1, 1]])
    found = adjacency(TABLE, prior=prior, strength=30, signed=True)
    assert found == pytest.approx(0.25 * dependency(TABLE) + 0.75 * prior)
    assert adjacency(TABLE, prior=prior, strength=0) == pytest.approx(adjacency(TABLE))
    many = np.repeat(TABLE, 3000, 0)
    assert adjacency(many, prior=prior) == pytest.approx(adjacency(TABLE), abs=0.01)


def test_what_the_labels_do_not_tell_is_the_priors(caplog):
    labels = TABLE.copy()
    labels[:, 2] = -1
    prior = np.array([[1, 0, 0.2], [0, 1, 0.3], [-0.2, 0.1, 1]])
    with caplog.at_level(logging.WARNING):
        found = adjacency(labels, prior=prior, strength=1, signed=True)
    assert found[:2, 2].tolist() == [0.2, 0.3] and "label 3" in caplog.text and "from the prior" in caplog.text
    assert adjacency(np.zeros((0, 3)), prior=prior, signed=True) == pytest.approx(prior)


@pytest.mark.parametrize(("text", "says"), [
    ("", "no table"),
    ("AU,1,2\n1,1,0\n", "no table"),
    ("AU,1,2\n2,1,0\n1,0,1\n", "no table"),
    ("AU,1,1\n1,1,0\n1,0,1\n", "no table"),
    ("AU,1,2\n1,1,0\n2,0\n", "the row of AU02 has 1 values, expected 2"),
    ("AU,1,2\n1,1,x\n2,0,1\n", "the value of AU01 given AU02 is 'x', expected a number from -1 to 1"),
    ("AU,1,2\n1,1,1.5\n2,0,1\n", "is 1.5, expected"),
    ("AU,1,2\n1,1,nan\n2,0,1\n", "is nan, expected"),
    ("AU,1,4\n1,1,0\n4,0,1\n", "has no AU02: it knows AU01, AU04"),
    (b"AU,1\n\xff\xfe", "can't be read"),
    (None, "can't be read: No such file"),
])
def test_bad_priors_are_one_line(tmp_path, text, says):
    file = tmp_path / "p.csv"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as error:
        load_prior(file, ("AU01", "AU02"))
    assert says in str(error.value) and "\n" not in str(error.value) and str(file) in str(error.value)
