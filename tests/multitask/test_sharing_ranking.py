"""The pairwise ranking loss and Kendall's tau."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau

from multitask.sharing import kendall_tau, pairwise_ranking_losses


def test_the_loss_is_the_sum_over_the_pairs() -> None:
    generator = torch.Generator().manual_seed(0)
    f, y = torch.randn(9, 3, generator=generator), torch.randint(0, 4, (9, 3), generator=generator).float()
    y[2, 1] = torch.nan
    losses, counts = pairwise_ranking_losses(f, y)
    for t in range(3):
        pairs = [(i, j) for i in range(9) for j in range(9) if y[i, t] > y[j, t]]
        terms = [max(0.0, 1 - (f[i, t] - f[j, t]).item()) ** 2 for i, j in pairs]
        assert counts[t].item() == len(pairs)
        assert losses[t].item() == pytest.approx(sum(terms) / len(pairs), rel=1e-5)


def test_a_task_without_a_pair() -> None:
    f = torch.randn(4, 2, requires_grad=True)
    y = torch.tensor([[1.0, torch.nan]] * 4)
    losses, counts = pairwise_ranking_losses(f, y)
    assert losses.tolist() == counts.tolist() == [0.0, 0.0]
    losses.sum().backward()
    assert f.grad is not None
    assert torch.equal(f.grad, torch.zeros(4, 2))


def test_a_margin_of_one_is_enough() -> None:
    y = torch.tensor([[0.0], [1.0], [2.0]])
    assert pairwise_ranking_losses(y, y)[0].item() == 0
    assert pairwise_ranking_losses(-y, y)[0].item() == pytest.approx((4 + 4 + 9) / 3)


def test_half_precision_is_computed_in_full() -> None:
    f, y = torch.randn(5, 2).bfloat16(), torch.randn(5, 2)
    assert pairwise_ranking_losses(f, y)[0].dtype == torch.float32


def test_kendall_tau_is_scipys() -> None:
    rng = np.random.default_rng(0)
    f, y = rng.normal(size=(20, 3)), rng.integers(0, 4, size=(20, 3)).astype(float)
    y[:5, 1], y[:, 2] = np.nan, 1.0
    found = kendall_tau(f, y)
    assert found[0] == kendalltau(f[:, 0], y[:, 0]).statistic
    assert found[1] == kendalltau(f[5:, 1], y[5:, 1]).statistic
    assert np.isnan(found[2])


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match=r"must both have shape \(B, T\)"):
        pairwise_ranking_losses(torch.zeros(3, 2), torch.zeros(3, 1))
    with pytest.raises(ValueError, match=r"must both have shape \(N, T\)"):
        kendall_tau(np.zeros(3), np.zeros(3))
