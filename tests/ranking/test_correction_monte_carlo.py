"""A million simulated impressions, sampled: at 4 standard errors the exact correction passes, the naive one fails.

x is discrete, so the Bayes-optimal q(x) of a sampled log is known up to counting noise and no model stands between the
formula and the truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from ranking.correction import correct_row_sampling, correct_single_head

HEADS = ("closeup", "click", "save", "long_click")
ROWS, BINS = 1_000_000, 16


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


@dataclass(frozen=True)
class Log:
    x: np.ndarray  # (N,) bin of each row
    labels: np.ndarray  # (N, T) bool
    truth: np.ndarray  # (BINS, T) true probabilities
    truth_any: np.ndarray  # (BINS,)
    size: np.ndarray  # (BINS,) rows of the full log


@pytest.fixture(scope="module")
def log():
    """Rates as in the measured table: closeup 8.4 %, click 3.5 %, save 1.8 %, long_click 1.2 %, any 11.8 %."""
    rng = np.random.default_rng(20)
    latent = np.linspace(-2, 2, BINS)
    x = rng.choice(BINS, ROWS, p=np.exp(-(latent**2) / 2) / np.exp(-(latent**2) / 2).sum())
    closeup, click = sigmoid(-2.48 + 0.52 * latent), sigmoid(-3.45 + 0.58 * latent)
    finish, save = sigmoid(-0.8 + 0.3 * latent), sigmoid(-4.2 + 0.71 * latent)  # long_click = click and finish
    u = rng.random((ROWS, 5))
    clicked = u[:, 1] < click[x]
    # On half of the rows close-up and click follow one impulse: engagements overlap, as they do in a log.
    closed_up = np.where(u[:, 4] < 0.5, u[:, 1], u[:, 0]) < closeup[x]
    labels = np.stack([closed_up, clicked, u[:, 2] < save[x], clicked & (u[:, 3] < finish[x])], axis=1)
    truth = np.stack([closeup, click, save, click * finish], axis=1)
    neither = 0.5 * (1 - np.maximum(closeup, click)) + 0.5 * (1 - closeup) * (1 - click)
    truth_any = 1 - neither * (1 - save)
    return Log(x, labels, truth, truth_any, np.bincount(x, minlength=BINS))


def sampled_logits(log, alpha):
    """Logits of the sampled log's own rates per bin: (BINS, T) and (BINS,)."""
    engaged = log.labels.any(axis=1)
    kept = engaged | (np.random.default_rng([1, int(1 / alpha)]).random(ROWS) < alpha)
    rows = np.bincount(log.x[kept], minlength=BINS)
    counts = np.stack([np.bincount(log.x[kept], weights=y[kept], minlength=BINS) for y in log.labels.T], axis=1)
    q, q_any = counts / rows[:, None], np.bincount(log.x[kept], weights=engaged[kept], minlength=BINS) / rows
    return np.log(q) - np.log1p(-q), np.log(q_any) - np.log1p(-q_any)


def standard_errors(log, alpha):
    """(BINS, T): sd of n_t / (n_any + m / alpha) with n_t of N rows engaged and m ~ Binomial(N - n_any, alpha) kept.

    Counting positives gives p (1 - p) / N; m / alpha has variance (N - n_any) (1 - alpha) / alpha, times (p / N)^2.
    """
    N, p = log.size[:, None], log.truth
    variance = p * (1 - p) / N + p**2 * (1 - log.truth_any[:, None]) * (1 - alpha) / (alpha * N)
    return np.sqrt(variance)


def deviations(log, log_p, alpha):
    """In standard errors: ((BINS, T) per bin, (T,) over all rows)."""
    error, share = standard_errors(log, alpha), (log.size / ROWS)[:, None]
    difference = np.exp(log_p) - log.truth
    return difference / error, (share * difference).sum(axis=0) / np.sqrt((share**2 * error**2).sum(axis=0))


@pytest.mark.parametrize("alpha", [0.5, 0.1, 0.01])
def test_exact_passes_and_naive_fails_at_four_standard_errors(log, alpha):
    z, A = sampled_logits(log, alpha)

    per_bin, overall = deviations(log, correct_row_sampling(z, A, alpha), alpha)
    assert np.abs(per_bin).max() < 4
    assert np.abs(overall).max() < 4
    assert 0.8 < per_bin.std() < 1.2  # the standard errors are those of this estimate, not merely wide

    naive_per_bin, naive_overall = deviations(log, correct_single_head(z, alpha), alpha)
    assert (naive_overall < -4).all()  # every head is understated
    assert (naive_per_bin < -4).any(axis=0).all()


@pytest.mark.parametrize(
    ("alpha", "measured", "within"),
    [
        (0.5, (0.963, 0.895, 0.881, 0.862), 0.05),
        (0.1, (0.765, 0.531, 0.491, 0.462), 0.05),
        (0.01, (0.301, 0.121, 0.105, 0.091), 0.25),
    ],
)
def test_the_measured_table_of_the_naive_formula(log, alpha, measured, within):
    """Predicted / observed of the textbook formula, on 4M other rows of the same rates; the exact one is within 2 %."""
    z, A = sampled_logits(log, alpha)
    observed = log.labels.mean(axis=0)
    naive = log.size @ np.exp(correct_single_head(z, alpha)) / ROWS / observed
    exact = log.size @ np.exp(correct_row_sampling(z, A, alpha)) / ROWS / observed
    np.testing.assert_allclose(naive, measured, rtol=within)
    np.testing.assert_allclose(exact, 1.0, atol=0.02)
    if alpha <= 0.1:
        assert (naive < 0.9).all()


def test_a_rate_known_per_row_before_the_outcome(log):
    """Half of the bins sampled at .3 and half at .05: each row's own rate corrects it."""
    rate = np.where(np.arange(BINS) % 2, 0.3, 0.05)
    parts = {alpha: sampled_logits(log, alpha) for alpha in (0.3, 0.05)}
    own = rate == 0.3
    z = np.where(own[:, None], parts[0.3][0], parts[0.05][0])
    A = np.where(own, parts[0.3][1], parts[0.05][1])
    per_bin, overall = deviations(log, correct_row_sampling(z, A, rate), rate[:, None])
    assert np.abs(per_bin).max() < 4
    assert np.abs(overall).max() < 4
    _, wrong = deviations(log, correct_row_sampling(z, A, 0.15), rate[:, None])
    assert (np.abs(wrong) > 4).all()
