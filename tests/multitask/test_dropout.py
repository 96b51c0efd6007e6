"""Dropout from raw random bits behaves as torch's does."""

from __future__ import annotations

import pytest
import torch

from multitask.dropout import Dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_share_dropped_and_the_mean_are_right(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    y = Dropout(p)(torch.ones(1000, 999, dtype=dtype)).double()
    n = y.numel()
    dropped = (y == 0).double().mean().item()
    assert abs(dropped - p) < 4 * (p * (1 - p) / n) ** 0.5 + 1 / 65536
    assert y.max().item() == pytest.approx(1 / (1 - p), rel=4e-3)
    columns = (y == 0).double().mean(0)  # no position within a 64-bit word is favoured
    assert (columns - p).abs().max() < 5 * (p * (1 - p) / 1000) ** 0.5


def test_the_gradient_passes_where_the_value_does() -> None:
    torch.manual_seed(0)
    x = torch.ones(50, 7, requires_grad=True)
    y = Dropout(0.3)(x)
    y.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, y.detach(), rtol=0, atol=0)


def test_the_generator_decides() -> None:
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(Dropout(0.5)(torch.ones(64, 3)))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_limits() -> None:
    x = torch.ones(4, 4)
    assert Dropout(0.0)(x) is x
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(1.0)(x).sum() == 0
