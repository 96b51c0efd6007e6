"""The correction of row sampling: exact identities, references, properties, errors."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ranking.correction import (
    CORRECTION_MODES,
    AnyHeadError,
    correct_any,
    correct_factored,
    correct_row_sampling,
    correct_single_head,
    headwise_weights,
    inverse_propensity_weights,
    require_any_head,
    row_sampling_log_factor,
    sample_row,
)
from ranking.log_space import log_sigmoid, logit_from_log

ALPHAS = (1.0, 0.5, 0.1, 0.01, 0.001)


def all_patterns(heads):
    """(2^T, T): every combination of T labels; the first is the row without engagement."""
    return np.array(list(product((0.0, 1.0), repeat=heads)))


def logit(p):
    return np.log(p) - np.log1p(-p)


def sampled_joint(joint, patterns, alpha):
    """The exact joint distribution over label patterns after row sampling: (N, 2^T) -> the same, and keep_prob."""
    keep = np.where(patterns.any(axis=1), 1.0, alpha)  # (2^T,)
    kept = joint * keep
    return kept / kept.sum(axis=1, keepdims=True), keep


@pytest.fixture(params=["numpy", "torch"])
def array(request):
    return np.asarray if request.param == "numpy" else lambda values: torch.tensor(np.asarray(values))


@pytest.mark.parametrize("heads", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_every_mode_is_exact_over_all_label_patterns(heads, alpha):
    """p_t = q_t * alpha / (1 - (1 - alpha) q_any), over a random joint distribution of all 2^T label patterns."""
    rng = np.random.default_rng(heads)
    patterns = all_patterns(heads)
    joint = rng.dirichlet(np.full(len(patterns), 0.5), size=50) * 0.998 + 0.002 / len(patterns)
    truth, truth_any = joint @ patterns, 1 - joint[:, 0]
    kept, keep = sampled_joint(joint, patterns, alpha)
    q, q_any = kept @ patterns, 1 - kept[:, 0]

    log_p = correct_row_sampling(logit(q), logit(q_any), alpha)
    np.testing.assert_allclose(np.exp(log_p), truth, rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.exp(correct_any(logit(q_any), alpha)), truth_any, rtol=0, atol=1e-12)

    r = np.clip((joint[:, 1:] @ patterns[1:]) / joint[:, 1:].sum(axis=1, keepdims=True), None, 1 - 1e-16)
    with np.errstate(divide="ignore"):  # T = 1: r = 1, the logit +inf
        factored = correct_factored(logit(q_any), logit(r), alpha)
    np.testing.assert_allclose(np.exp(factored), truth, rtol=0, atol=1e-12)

    weights = headwise_weights(patterns, patterns.any(axis=1).astype(float), alpha)  # (2^T, T)
    weighted_q = (kept @ (weights * patterns)) / (kept @ weights)  # what a weighted log loss learns
    np.testing.assert_allclose(np.exp(correct_single_head(logit(weighted_q), alpha)), truth, rtol=0, atol=1e-12)

    inverse = inverse_propensity_weights(keep)  # (2^T,)
    np.testing.assert_allclose((kept * inverse) @ patterns / (kept @ inverse)[:, None], truth, rtol=0, atol=1e-12)

    naive = np.exp(correct_single_head(logit(q), alpha))
    if heads == 1 or alpha == 1.0:
        np.testing.assert_allclose(naive, truth, rtol=0, atol=1e-12)
    else:
        assert (naive < truth).all()


def test_counts_are_exact_in_fractions():
    """On counts of a log of 1000 + 9000 rows the formula holds without any rounding."""
    alpha = Fraction(1, 10)
    counts = {(0, 0, 0): 9000, (1, 0, 0): 600, (0, 1, 0): 250, (1, 1, 0): 90, (1, 1, 1): 45, (0, 0, 1): 15}
    rows = sum(counts.values())
    kept = {labels: n * (1 if any(labels) else alpha) for labels, n in counts.items()}
    kept_rows = sum(kept.values())
    q_any = 1 - kept[0, 0, 0] / kept_rows
    q, truth = [], []
    for head in range(3):
        q.append(sum(n for labels, n in kept.items() if labels[head]) / kept_rows)
        truth.append(Fraction(sum(n for labels, n in counts.items() if labels[head]), rows))
        assert q[-1] * alpha / (1 - (1 - alpha) * q_any) == truth[-1]
        assert q[-1] / (q[-1] + (1 - q[-1]) / alpha) < truth[-1]  # the textbook formula
    z = np.array([[float(p / (1 - p)) for p in q]])
    log_p = correct_row_sampling(np.log(z), np.log([float(q_any / (1 - q_any))]), float(alpha))
    np.testing.assert_allclose(np.exp(log_p)[0], [float(p) for p in truth], rtol=1e-13)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    logits=st.lists(st.floats(-30, 30), min_size=2, max_size=2),
    any_logit=st.floats(-30, 30),
    alpha=st.floats(1e-4, 1.0),
)
def test_inverse_undoes_the_correction(logits, any_logit, alpha):
    """sample_row(correct(q)) = q for every q_t <= q_any; compared as log q, since q may round to 1."""
    z, A = np.minimum([logits], any_logit), np.array([any_logit])
    log_p, log_any = correct_row_sampling(z, A, alpha), correct_any(A, alpha)
    back_z, back_A = sample_row(log_p, log_any, alpha)
    np.testing.assert_allclose(log_sigmoid(back_z), log_sigmoid(z), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(back_A, A, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(correct_row_sampling(back_z, back_A, alpha), log_p, rtol=1e-9, atol=1e-12)


def test_sampling_then_correcting_returns_the_truth(array):
    rng = np.random.default_rng(3)
    p_any = rng.uniform(0.001, 0.999, 500)
    p = p_any[:, None] * rng.uniform(0.001, 1.0, (500, 4))
    rate = rng.uniform(0.01, 1.0, 500)
    z, A = sample_row(array(np.log(p)), array(np.log(p_any)), array(rate))
    np.testing.assert_allclose(np.exp(np.asarray(correct_row_sampling(z, A, array(rate)))), p, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rate", [1.0, 1, np.ones(20_000)])
def test_alpha_one_is_the_identity_bit_for_bit(array, dtype, rate):
    rng = np.random.default_rng(0)
    z = array((rng.normal(size=(20_000, 3)) * 20).astype(dtype))
    A = array((rng.normal(size=20_000) * 20).astype(dtype))
    reference = torch.nn.functional.logsigmoid(z.double()) if isinstance(z, torch.Tensor) else log_sigmoid(z)
    assert np.array_equal(np.asarray(correct_row_sampling(z, A, rate)), np.asarray(reference))
    assert np.array_equal(np.asarray(correct_single_head(z, rate)), np.asarray(reference))
    assert not np.asarray(row_sampling_log_factor(A, rate)).any()


def test_log_sigmoid_agrees_with_independent_references(array):
    z = np.linspace(-700, 700, 4001)  # beyond lie subnormal numbers
    np.testing.assert_array_equal(log_sigmoid(z), -np.logaddexp(0, -z))
    torch_value = torch.nn.functional.logsigmoid(torch.tensor(z)).numpy()
    np.testing.assert_allclose(log_sigmoid(array(z)), torch_value, rtol=1e-15)
    np.testing.assert_allclose(logit_from_log(log_sigmoid(array(z[::7]))), z[::7], rtol=1e-9, atol=1e-12)


def test_float32_logits_of_40_do_not_saturate(array):
    """A float32 sigmoid is exactly 1 above 17 and its complement is lost; float64 logs keep every order."""
    z = array(np.array([[-40.0, 17.5, 40.0], [-39.0, 18.5, 41.0]], dtype="float32"))
    assert float(torch.sigmoid(torch.tensor(17.5))) == 1.0
    log_p = np.asarray(correct_row_sampling(z, array(np.array([42.0, 42.0], dtype="float32")), 0.1))
    assert log_p.dtype == np.float64
    np.testing.assert_allclose(log_p[:, 0], [-40.0, -39.0], atol=1e-9)
    single = np.asarray(correct_single_head(z, 0.1))
    assert (single < 0).all()
    assert (np.diff(single, axis=0) > 0).all()
    low = np.asarray(correct_row_sampling(z, array(np.array([-40.0, -40.0], dtype="float32")), 0.01))
    np.testing.assert_allclose(low - np.asarray(log_sigmoid(z)), np.log(0.01), rtol=1e-12)


def test_infinite_and_huge_any_logits_have_their_limits(array):
    A = array(np.array([-np.inf, -1e300, 1e300, np.inf]))
    np.testing.assert_allclose(np.exp(np.asarray(row_sampling_log_factor(A, 0.1))), [0.1, 0.1, 1.0, 1.0], rtol=1e-12)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_for_the_protecting_event_it_is_logit_plus_log_alpha(array, alpha):
    A = array(np.linspace(-30, 30, 601))
    expected = np.asarray(log_sigmoid(A + np.log(alpha)))
    np.testing.assert_allclose(correct_row_sampling(A[:, None], A, alpha)[:, 0], expected, rtol=1e-9, atol=2e-14)
    np.testing.assert_allclose(correct_row_sampling(A[:, None], None, alpha)[:, 0], expected, rtol=1e-9, atol=2e-14)
    np.testing.assert_allclose(correct_any(A, alpha), expected, rtol=1e-12)


def test_textbook_formula_of_the_article():
    """[Pinterest 2020] after [Dal Pozzolo 2015]: p = s / (s + (1 - s) / alpha)."""
    s = np.linspace(0.001, 0.999, 999)
    np.testing.assert_allclose(np.exp(correct_single_head(logit(s), 0.05)), s / (s + (1 - s) / 0.05), rtol=1e-12)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_strictly_increasing_for_one_head(array, alpha):
    z = array(np.arange(-30.0, 20.0, 0.01))
    assert (np.diff(np.asarray(correct_row_sampling(z[:, None], z, alpha))[:, 0]) > 0).all()
    fixed = array(np.zeros(len(z)))
    assert (np.diff(np.asarray(correct_row_sampling(z[:, None], fixed, alpha))[:, 0]) > 0).all()


@settings(derandomize=True, deadline=None, max_examples=300)
@given(click=st.floats(-60, 60), gap=st.floats(0, 60), any_logit=st.floats(-60, 60), alpha=st.floats(1e-6, 1.0))
def test_an_order_between_heads_survives(click, gap, any_logit, alpha):
    """Z belongs to the row: q_long <= q_click implies p_long <= p_click, and p_t <= q_t."""
    z = np.array([[click - gap, click]])
    log_p = correct_row_sampling(z, np.array([any_logit]), alpha)[0]
    assert log_p[0] <= log_p[1] + 1e-15
    assert (log_p <= log_sigmoid(z)[0]).all()
    assert (log_p <= 0).all()


def test_factored_heads_never_exceed_the_protecting_event(array):
    rng = np.random.default_rng(5)
    A, r = array(rng.normal(size=1000) * 20), array(rng.normal(size=(1000, 3)) * 20)
    assert (np.asarray(correct_factored(A, r, 0.02)) <= np.asarray(correct_any(A, 0.02))[:, None]).all()


def test_the_naive_formula_turns_the_utility_order_of_two_items():
    """One head's q barely differs, but the second item's row was protected by other engagements far more often."""
    q, q_any = np.array([[0.32], [0.30]]), np.array([0.32, 0.90])
    naive = np.exp(correct_single_head(logit(q), 0.1))[:, 0]
    exact = np.exp(correct_row_sampling(logit(q), logit(q_any), 0.1))[:, 0]
    assert naive[0] > naive[1]
    assert exact[0] < exact[1]
    np.testing.assert_allclose(exact, [0.032 / (1 - 0.9 * 0.32), 0.030 / (1 - 0.9 * 0.90)], rtol=1e-12)


@pytest.mark.parametrize("alpha", [0.5, 0.1, 0.01])
def test_dropped_requests_need_the_requests_any(alpha):
    """Requests of 2 rows x 2 heads, all 2^4 label patterns: only the logit of "the request has an engagement" is right.

    Kept: every request with an engagement in either row; others with probability alpha.
    """
    rng = np.random.default_rng(11)
    patterns = all_patterns(4)  # columns: row 0 head 0, row 0 head 1, row 1 head 0, row 1 head 1
    joint = rng.dirichlet(np.full(16, 0.6), size=40) * 0.99 + 0.01 / 16
    kept, _ = sampled_joint(joint, patterns, alpha)
    truth, q = joint @ patterns, kept @ patterns  # (40, 4)
    row_any = np.repeat(np.stack([patterns[:, :2].any(axis=1), patterns[:, 2:].any(axis=1)]), 2, axis=0)  # (4, 16)
    request_any = np.repeat((1 - kept[:, 0])[:, None], 4, axis=1)

    def corrected(q_protecting):
        z, A = logit(q).reshape(-1, 1), logit(q_protecting).reshape(-1)
        return np.exp(correct_row_sampling(z, A, alpha)).reshape(q.shape)

    np.testing.assert_allclose(corrected(request_any), truth, rtol=0, atol=1e-12)
    assert (corrected(kept @ row_any.T) < truth).all()
    assert (np.exp(correct_single_head(logit(q), alpha)) < truth).all()


def test_dropped_requests_of_twenty_rows_by_the_order_of_the_measured_ratios():
    """Requests of 20 rows, mixed over intents, alpha = .1: measured naive .18, row-any .18, request-any .996."""
    intent = np.exp(np.linspace(-4.0, 1.0, 41))[:, None]  # few requests hold most of the engagement
    p = np.broadcast_to(0.035 * intent / (1 + 0.1 * intent), (41, 20))
    row_any = np.minimum(p * 1.6, 0.999)
    request_any = 1 - np.prod(1 - row_any, axis=1, keepdims=True)
    Z = 1 - 0.9 * (1 - request_any)  # P(request kept)
    q, q_row, q_request = p / Z, row_any / Z, np.broadcast_to(request_any / Z, p.shape)

    def ratio(log_p):
        return np.exp(log_p).sum() / p.sum()

    z = logit(q).reshape(-1, 1)
    assert ratio(correct_single_head(z, 0.1)) == pytest.approx(0.18, abs=0.03)
    assert ratio(correct_row_sampling(z, logit(q_row).reshape(-1), 0.1)) == pytest.approx(0.18, abs=0.03)
    assert ratio(correct_row_sampling(z, logit(q_request).reshape(-1), 0.1)) == pytest.approx(1.0, abs=1e-12)


def test_numpy_and_torch_agree_and_keep_their_kind():
    rng = np.random.default_rng(9)
    z, A, rate = rng.normal(size=(200, 3)) * 5, rng.normal(size=200) * 5, rng.uniform(0.01, 1, 200)
    for numpy_result, torch_result in (
        (correct_row_sampling(z, A, rate), correct_row_sampling(torch.tensor(z), torch.tensor(A), rate)),
        (correct_factored(A, z, 0.1), correct_factored(torch.tensor(A), torch.tensor(z), 0.1)),
        (correct_single_head(z, rate), correct_single_head(torch.tensor(z), torch.tensor(rate))),
    ):
        assert isinstance(numpy_result, np.ndarray)
        assert isinstance(torch_result, torch.Tensor)
        assert numpy_result.dtype == np.float64
        assert torch_result.dtype == torch.float64
        np.testing.assert_allclose(torch_result.numpy(), numpy_result, rtol=1e-13, atol=1e-13)
    assert correct_row_sampling(torch.tensor(z).bfloat16(), torch.tensor(A).float(), 0.1).dtype == torch.float64


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_tensors_stay_on_their_device():
    z, A = torch.zeros(4, 2, device="cuda"), torch.ones(4, device="cuda")
    on_device = correct_row_sampling(z, A, np.full(4, 0.1))
    assert on_device.device == z.device
    torch.testing.assert_close(on_device.cpu(), correct_row_sampling(z.cpu(), A.cpu(), 0.1))


def test_gradients_flow_through_the_correction():
    z = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    A = torch.linspace(-3, 3, 5, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: correct_row_sampling(a, b, 0.1), (z, A))


def test_rows_are_corrected_independently_of_their_batch(array):
    rng = np.random.default_rng(2)
    z, A = array(rng.normal(size=(64, 3)) * 4), array(rng.normal(size=64))
    whole = np.asarray(correct_row_sampling(z, A, 0.1))
    singly = np.concatenate([np.asarray(correct_row_sampling(z[i : i + 1], A[i : i + 1], 0.1)) for i in range(64)])
    np.testing.assert_allclose(singly, whole, rtol=1e-15)


def test_read_only_and_empty_inputs(array):
    rate = np.full(2, 0.5)
    rate.setflags(write=False)
    assert correct_row_sampling(array(np.zeros((2, 3))), array(np.zeros(2)), rate).shape == (2, 3)
    assert correct_row_sampling(array(np.zeros((0, 3))), array(np.zeros(0)), 0.1).shape == (0, 3)


def test_weights_of_the_training_modes(array):
    labels = array(np.array([[1, 0, np.nan], [0, 0, 0], [0, 0, 0]], dtype="float32"))
    weights = headwise_weights(labels, array(np.array([1, 0, 1])), array(np.array([0.5, 0.25, 0.125])))
    assert weights.dtype == labels.dtype
    assert weights.tolist() == [[1.0, 0.5, 0.5], [1.0, 1.0, 1.0], [0.125, 0.125, 0.125]]
    assert headwise_weights(array(np.array([[1, 0]])), array(np.array([1])), 0.5).tolist() == [[1.0, 0.5]]
    assert inverse_propensity_weights(array(np.array([1.0, 0.25]))).tolist() == [1.0, 4.0]


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.7, float("nan"), float("inf")])
def test_a_rate_outside_its_range_is_named(array, rate):
    z, A = array(np.zeros((3, 2))), array(np.zeros(3))
    with pytest.raises(ValueError, match=rf"`negative_rate` must satisfy 0 < negative_rate <= 1, got {rate}$"):
        correct_row_sampling(z, A, rate)
    with pytest.raises(ValueError, match=rf"got {rate} \(row 1; 2 such rows\)"):
        correct_row_sampling(z, A, array(np.array([0.5, rate, rate])))
    with pytest.raises(ValueError, match=rf"`keep_prob` must satisfy 0 < keep_prob <= 1, got {rate}"):
        inverse_propensity_weights(array(np.array([1.0, rate])))


def test_wrong_shapes_are_told_in_words(array):
    z, A = array(np.zeros((3, 2))), array(np.zeros(3))
    with pytest.raises(ValueError, match=r"`logits` must have shape \(N, T\), rows by heads, got \(3,\); one head is"):
        correct_row_sampling(A, A, 0.1)
    with pytest.raises(
        ValueError, match=r"`any_logit` must have shape \(N,\) = \(3,\), one value per row, got \(3, 2\)"
    ):
        correct_row_sampling(z, z, 0.1)
    with pytest.raises(ValueError, match=r"`any_logit` must have shape \(N,\) = \(3,\), one value per row, got \(2,\)"):
        correct_factored(A[:2], z, 0.1)
    with pytest.raises(ValueError, match=r"`negative_rate` must be a scalar or have shape \(N,\) = \(3,\), got \(2,\)"):
        correct_row_sampling(z, A, array(np.full(2, 0.1)))
    with pytest.raises(ValueError, match=r"`logits` must have shape \(N,\) or \(N, T\), got \(3, 2, 1\)"):
        correct_single_head(z[:, :, None], 0.1)
    with pytest.raises(ValueError, match=r"`protected` must have shape"):
        headwise_weights(z, A[:2], 0.1)


def test_a_head_outside_the_protecting_event_is_refused(array):
    with pytest.raises(ValueError, match=r"label 1 in row 1, head 0 with `protected` 0 \(1 such labels\).*inverse"):
        headwise_weights(array(np.array([[1.0, 0.0], [1.0, 0.0]])), array(np.array([1.0, 0.0])), 0.1)
    with pytest.raises(ValueError, match=r"`log_p` must not exceed `log_p_any`.*row 0, head 1"):
        sample_row(array(np.log([[0.1, 0.3]])), array(np.log([0.2])), 0.1)


def test_several_heads_without_an_any_head_are_refused_with_the_remedies(array):
    with pytest.raises(AnyHeadError, match=r"2 heads .* needs the logit .*any-head.*headwise.*inverse_propensity"):
        correct_row_sampling(array(np.zeros((3, 2))), None, 0.1)
    with pytest.raises(AnyHeadError, match=r"2 heads \(click, save\) .* understates them all"):
        require_any_head(["click", "save"], mode="single_head", any_head=True)
    with pytest.raises(AnyHeadError, match="factored"):
        require_any_head(["click"], mode="factored", any_head=False)
    with pytest.raises(ValueError, match=r"`mode` must be one of any_head, factored, .*got 'exact'"):
        require_any_head(["click"], mode="exact", any_head=True)


def test_permitted_modes_pass():
    permitted = {(mode, heads, any_head) for mode in CORRECTION_MODES for heads in (1, 2) for any_head in (True, False)}
    permitted -= {("any_head", 2, False), ("factored", 1, False), ("factored", 2, False)}
    permitted -= {("single_head", 2, True), ("single_head", 2, False)}
    for mode, heads, any_head in permitted:
        require_any_head(heads, mode=mode, any_head=any_head)
    assert issubclass(AnyHeadError, ValueError)
