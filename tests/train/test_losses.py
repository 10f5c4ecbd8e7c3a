"""The losses and the figures of the views: by hand, against direct formulas, and at the ends of the number line."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from torch.nn import functional as F

from rtau_train.losses import GRADE_WEIGHTS, co_regularization, multi_view, supervised
from rtau_train.views import agreement, classifier_cosine, linear_cka

NAN = float("nan")
LEVELS = torch.tensor([0.0, 0.7, 1.5, 2.2, 3.1])

quick = settings(max_examples=60, deadline=None)
moderate = st.floats(-12, 12, width=32)
extreme = st.sampled_from([0.0, 1e-8, 30.0, -30.0, 88.0, 104.0, 1e4, -1e4, 1e30, -1e30, math.inf, -math.inf])


def pairs(elements) -> st.SearchStrategy:
    """Scores [2, N, C] of two views."""
    shape = array_shapes(min_dims=2, max_dims=2, max_side=4).map(lambda s: (2, *s))
    return shape.flatmap(lambda s: arrays(np.float32, s, elements=elements)).map(torch.from_numpy)


def gradient(loss, *inputs):
    """The loss and its gradients by what it is a function of."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    value = loss(*leaves)
    value.backward()
    return value.detach(), [leaf.grad for leaf in leaves]


# Co-regularization


def divergence(scores: torch.Tensor) -> torch.Tensor:
    """The paper's formula as it stands, float64."""
    p = torch.sigmoid(scores.double())

    def entropy(p):
        return -(torch.xlogy(p, p) + torch.xlogy(1 - p, 1 - p))

    return (entropy(p.mean(0)) - entropy(p).mean(0)).mean()


@quick
@given(pairs(moderate))
def test_co_regularization_is_the_papers_formula(scores):
    value, (slope,) = gradient(co_regularization, scores)
    expected, (expected_slope,) = gradient(divergence, scores.double())
    assert value.item() == pytest.approx(expected.item(), abs=2e-7)
    assert torch.allclose(slope.double(), expected_slope, atol=1e-6)


@quick
@given(pairs(moderate | extreme))
def test_co_regularization_is_bounded_symmetric_and_finite_everywhere(scores):
    value, (slope,) = gradient(co_regularization, scores)
    assert -1e-7 <= value <= math.log(2) + 1e-6
    assert torch.isfinite(slope).all()
    swapped, (swapped_slope,) = gradient(co_regularization, scores.flip(0))
    assert value == pytest.approx(swapped.item(), abs=1e-7)
    assert torch.allclose(slope, swapped_slope.flip(0), atol=1e-7)


@quick
@given(pairs(moderate | extreme))
def test_views_that_agree_cost_nothing_and_pull_nowhere(scores):
    value, (slope,) = gradient(co_regularization, scores[:1].expand_as(scores))
    # Equal numbers in different places of a tensor may be rounded differently.
    assert abs(value) < 1e-9 and slope.abs().max() < 1e-8


def test_views_that_are_sure_of_the_opposite_cost_log_two():
    for size in (40.0, 1e4, 1e30):
        assert co_regularization(torch.tensor([[[size]], [[-size]]])).item() == pytest.approx(math.log(2))


def test_small_disagreements_keep_their_precision():
    scores = torch.tensor([[[1.0]], [[1.0 + 2**-10]]])
    value, (slope,) = gradient(co_regularization, scores)
    # To second order: p (1 - p) d^2 / 8.
    p = torch.sigmoid(torch.tensor(1.0 + 2**-11, dtype=torch.double))
    assert value.item() == pytest.approx((p * (1 - p)).item() * 2**-20 / 8, rel=0.02, abs=0)
    expected = (p * (1 - p)).item() * 2**-10 / 4
    assert slope.flatten().tolist() == pytest.approx([-expected, expected], rel=1e-3)


@quick
@given(st.integers(0, 2**32 - 1))
def test_gradients_bring_the_views_together(seed):
    scores = torch.from_numpy(np.random.default_rng(seed).normal(0, 3, (2, 4, 3)))
    value, (slope,) = gradient(co_regularization, scores)
    assert (slope[0] * (scores[0] - scores[1]) >= 0).all()
    assert co_regularization(scores - 0.1 * slope) < value


def test_what_is_masked_takes_no_part_in_co_regularization():
    scores = torch.tensor([[[2.0, 50.0], [0.0, 1.0]], [[-1.0, -3.0], [4.0, 1.0]]])
    mask = torch.tensor([[True, False], [True, False]])
    value, (slope,) = gradient(lambda s: co_regularization(s, mask), scores)
    assert value.item() == pytest.approx(co_regularization(scores[:, :, :1]).item())
    assert not slope[:, :, 1].any() and slope[:, :, 0].all()
    value, (slope,) = gradient(lambda s: co_regularization(s, torch.zeros_like(mask)), scores)
    assert value == 0 and not slope.any()
    assert co_regularization(scores[:, :0]) == 0


def test_half_precision_scores_do_not_overflow():
    value, (slope,) = gradient(co_regularization, torch.tensor([[[6e4, 3.0]], [[-6e4, 3.0]]], dtype=torch.bfloat16))
    assert value.item() == pytest.approx(math.log(2) / 2, abs=1e-3) and torch.isfinite(slope).all()


def test_one_view_has_nothing_to_agree_with():
    with pytest.raises(ValueError, match="two views"):
        co_regularization(torch.zeros(1, 2, 3))


# Multi-view


def test_orthogonal_classifiers_cost_nothing_and_parallel_ones_one():
    e = torch.eye(4)
    assert multi_view(e[:2], 3 * e[2:]).item() == 0
    assert multi_view(e, 5 * e).item() == pytest.approx(1)
    assert multi_view(e, -0.2 * e).item() == pytest.approx(1)
    # 45 degrees, 90 degrees.
    assert multi_view(torch.tensor([[1.0, 1], [1, 0]]), torch.tensor([[1.0, 0], [0, -2]])).item() == pytest.approx(
        0.5**0.5 / 2)


rows = arrays(np.float32, (3, 5), elements=st.floats(-4, 4, width=32)).map(torch.from_numpy)


@quick
@given(rows, rows, st.floats(0.01, 100))
def test_multi_view_knows_directions_only_and_is_finite(first, second, scale):
    value, slopes = gradient(multi_view, first, second)
    assert 0 <= value <= 1 + 1e-6 and all(torch.isfinite(s).all() for s in slopes)
    assert multi_view(second, first).item() == pytest.approx(value.item(), abs=1e-6)
    if first.norm(dim=1).min() > 1e-3:
        assert multi_view(-scale * first, second).item() == pytest.approx(value.item(), abs=1e-5)


@pytest.mark.parametrize("zero", ["first", "second", "both"])
def test_classifiers_of_zeros_have_finite_gradients(zero):
    first, second = torch.randn(3, 4), torch.randn(3, 4)
    if zero in ("first", "both"):
        first[1] = 0
    if zero in ("second", "both"):
        second[1] = 0
    value, slopes = gradient(multi_view, first, second)
    assert torch.isfinite(value) and all(torch.isfinite(s).all() for s in slopes)
    assert value.item() == pytest.approx(2 / 3 * multi_view(first[[0, 2]], second[[0, 2]]).item())


def test_descent_makes_classifiers_orthogonal_not_opposite():
    torch.manual_seed(0)
    first, second = torch.randn(2, 6, 8).requires_grad_().unbind()
    for _ in range(300):
        a, b = torch.autograd.grad(multi_view(first, second), (first, second))
        first, second = (first - 0.3 * a).detach().requires_grad_(), (second - 0.3 * b).detach().requires_grad_()
    assert F.cosine_similarity(first, second).abs().max() < 0.1


# Supervised


def loss_of(scores, labels, intensity=None, weight=None, levels=LEVELS, repeat=True):
    """The loss of some [N, C] scores in both views."""
    labels = torch.as_tensor(labels, dtype=torch.int8)
    intensity = torch.full(labels.shape, NAN) if intensity is None else torch.as_tensor(intensity)
    scores = torch.stack([scores, scores]) if repeat else scores
    return supervised(scores, levels.expand(labels.shape[1], -1), labels, intensity, weight)


def log_loss(logit: float, truth: bool) -> float:
    return -math.log(1 / (1 + math.exp(-logit if truth else logit)))


def test_supervised_by_hand():
    scores = torch.tensor([[0.4, -1.0], [2.0, 0.5]])
    # Present, absent, unknown, and grade C.
    found = loss_of(scores, [[1, -1], [0, 1]], [[NAN, NAN], [NAN, 3.0]])
    graded = sum(w * log_loss(0.5 - level, k <= 3)
                 for k, (w, level) in enumerate(zip(GRADE_WEIGHTS, LEVELS.tolist(), strict=True), 1))
    assert found.item() == pytest.approx((log_loss(0.4, True) + log_loss(-1, False) + graded) / 3, rel=1e-6)


def test_positives_are_weighted_and_negatives_are_not():
    weight = torch.tensor([3.0, 1.0])
    found = loss_of(torch.tensor([[0.4, -1.0], [0.7, 0.2]]), [[1, 1], [-1, -1]], weight=weight)
    assert found.item() == pytest.approx(
        (3 * log_loss(0.4, True) + log_loss(-1, True) + log_loss(0.7, False) + log_loss(0.2, False)) / 4, rel=1e-6)


def test_the_views_are_averaged():
    scores = torch.randn(2, 5, 3)
    labels = np.sign(np.random.default_rng(0).normal(size=(5, 3)))
    apart = [loss_of(view, labels).item() for view in scores]
    assert loss_of(scores, labels, repeat=False).item() == pytest.approx(sum(apart) / 2)
    assert loss_of(scores[:1], labels, repeat=False).item() == pytest.approx(apart[0])


def test_binary_labels_train_the_first_threshold_and_graded_ones_all():
    def slopes(intensity):
        _, (slope,) = gradient(lambda levels: loss_of(torch.zeros(1, 1), [[1]], [[intensity]], levels=levels),
                               LEVELS[None].clone())
        return slope[0] != 0

    assert slopes(NAN).tolist() == [True, False, False, False, False]
    assert slopes(2.0).tolist() == [True] * 5


def test_an_intensity_decides_the_first_threshold_unless_it_is_the_only_one():
    # A face of grade A in a corpus that calls A absent.
    score = torch.tensor([[0.9]])
    assert loss_of(score, [[-1]], [[1.0]]).item() == loss_of(score, [[1]], [[1.0]]).item()
    alone = torch.zeros(1)
    assert loss_of(score, [[-1]], [[1.0]], levels=alone).item() == pytest.approx(log_loss(0.9, False))
    assert loss_of(score, [[1]], [[1.0]], levels=alone).item() == pytest.approx(log_loss(0.9, True))


@quick
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 5]))
def test_one_threshold_without_weights_is_plain_cross_entropy(seed, grades):
    rng = np.random.default_rng(seed)
    scores = torch.from_numpy(rng.normal(0, 4, (2, 6, 3)))
    labels = rng.choice([-1, 1], (6, 3))
    expected = F.binary_cross_entropy_with_logits(scores, torch.from_numpy(labels > 0).double().expand(2, -1, -1))
    assert loss_of(scores, labels, levels=LEVELS[:grades].double(), repeat=False).item() == pytest.approx(
        expected.item())


@quick
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 5]))
def test_an_unknown_label_contributes_exactly_nothing(seed, grades):
    rng = np.random.default_rng(seed)
    labels = torch.from_numpy(rng.integers(-1, 2, (5, 4)).astype(np.int8))
    unknown = (labels == 0).numpy()
    intensity = rng.uniform(0, 5, (5, 4)).astype(np.float32)
    intensity[rng.random((5, 4)) < 0.5] = NAN
    scores, levels = torch.from_numpy(rng.normal(0, 2, (2, 5, 4))).float(), LEVELS[:grades].repeat(4, 1)
    weight = torch.from_numpy(rng.uniform(0.5, 5, 4)).float()

    def outcome(values):
        filled = intensity.copy()
        filled[unknown] = values
        return gradient(lambda s, t: supervised(s, t, labels, torch.from_numpy(filled), weight), scores, levels)

    value, slopes = outcome(NAN)
    assert not slopes[0][:, torch.from_numpy(unknown)].any()
    for other in (0.0, 5.0, -3.0, 1e30, math.inf, rng.uniform(0, 5)):
        again, others = outcome(other)
        assert again.numpy().tobytes() == value.numpy().tobytes()
        assert all(a.numpy().tobytes() == b.numpy().tobytes() for a, b in zip(slopes, others, strict=True))
    # Nor do faces of which nothing is known change anything but the rounding.
    known = (labels != 0).any(1)
    if known.any():
        less = supervised(scores[:, known], levels, labels[known], torch.from_numpy(intensity)[known], weight)
        assert less.item() == pytest.approx(value.item(), rel=1e-5)


@pytest.mark.parametrize("grades", [1, 5])
def test_a_batch_without_labels_is_zero_and_moves_nothing(grades):
    for count in (4, 0):
        value, slopes = gradient(
            lambda s, t, n=count: supervised(s, t, torch.zeros(n, 3, dtype=torch.int8), torch.full((n, 3), NAN)),
            torch.randn(2, count, 3), LEVELS[:grades].repeat(3, 1))
        assert value == 0 and not any(s.any() for s in slopes)


def test_mixed_batches_are_the_mean_of_their_parts():
    rng = np.random.default_rng(1)
    scores = torch.randn(8, 3)
    labels = rng.choice([-1, 1], (8, 3))
    intensity = np.full((8, 3), NAN, np.float32)
    intensity[:4] = rng.integers(0, 6, (4, 3))
    both = loss_of(scores, labels, intensity).item()
    parts = [loss_of(scores[rows], labels[rows], intensity[rows]).item() for rows in (slice(0, 4), slice(4, 8))]
    assert both == pytest.approx(sum(parts) / 2)


@quick
@given(st.sampled_from([1e4, -1e4, 1e30, -1e30]), st.sampled_from([-1, 1]), st.sampled_from([NAN, 0.0, 5.0]))
def test_supervised_stays_finite_at_any_logit(score, label, intensity):
    value, (slope,) = gradient(lambda s: loss_of(s, [[label]], [[intensity]]), torch.tensor([[score]]))
    assert torch.isfinite(value) and torch.isfinite(slope).all()


# Figures


def test_agreement_by_hand():
    scores = torch.logit(torch.tensor([[[0.9, 0.2], [0.6, 0.5]], [[0.7, 0.4], [0.1, 0.5]]], dtype=torch.double))
    assert agreement(scores) == {"apart": pytest.approx((0.2 + 0.2 + 0.5 + 0) / 4), "same": 0.75}


def test_cosine_of_classifiers_by_hand():
    first, second = torch.tensor([[3.0, 4], [1, 0], [0, 0]]), torch.tensor([[-4.0, 3], [-2, 0], [1, 1]])
    assert classifier_cosine(first, second) == pytest.approx(1 / 3)
    assert classifier_cosine(torch.tensor([[3.0, 4]]), torch.tensor([[4.0, 3]])) == pytest.approx(24 / 25)


def test_alignment_of_features_by_hand():
    # One feature each: the squared correlation.
    x, y = torch.tensor([[1.0], [2], [3], [6]]), torch.tensor([[2.0], [1], [5], [4]])
    r = np.corrcoef(x[:, 0], y[:, 0])[0, 1]
    assert linear_cka(x, y) == pytest.approx(r**2)
    # Two uncorrelated features of variance 1 against one of them: |X'Y|^2 = n^2, |X'X| = n 2^0.5, |Y'Y| = n.
    square = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    assert linear_cka(square, square[:, :1]) == pytest.approx(0.5**0.5)
    assert linear_cka(square[:, :1], square[:, 1:]) == pytest.approx(0, abs=1e-12)


@quick
@given(st.integers(0, 2**32 - 1))
def test_alignment_ignores_turns_scales_and_shifts(seed):
    rng = np.random.default_rng(seed)
    x, y = torch.from_numpy(rng.normal(size=(30, 5))), torch.from_numpy(rng.normal(size=(30, 3)))
    turn = torch.from_numpy(np.linalg.qr(rng.normal(size=(5, 5)))[0])
    assert 0 <= linear_cka(x, y) <= 1
    assert linear_cka(3 * x @ turn + 7, y) == pytest.approx(linear_cka(x, y))
    assert linear_cka(x, x @ turn) == pytest.approx(1)


def test_features_that_never_change_have_no_alignment():
    assert math.isnan(linear_cka(torch.full((6, 3), 0.1), torch.randn(6, 2)))
