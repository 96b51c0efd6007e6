"""Averaged weights against the recursion written out."""

from __future__ import annotations

import pytest
import torch

from multitask.averaging import WeightAverage


@pytest.mark.parametrize(("decay", "every"), [(0.0, 1), (0.9, 1), (0.999, 1), (0.9, 4), (0.99, 10)])
def test_the_average_equals_the_recursion(decay: float, every: int) -> None:
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(3, 4, generator=generator), torch.randn(5, generator=generator)]
    average = WeightAverage(weights, decay, every)
    expected = [torch.zeros_like(w, dtype=torch.float64) for w in weights]
    for n in range(1, 61):
        for w in weights:
            w.add_(torch.randn(w.shape, generator=generator))
        average.step()
        if n % every == 0:
            d = min(decay, (1 + n) / (10 + n)) ** every if n > every else 0.0
            expected = [d * v + (1 - d) * w.double() for v, w in zip(expected, weights, strict=True)]
    for value, reference in zip(average.values, expected, strict=True):
        torch.testing.assert_close(value.double(), reference, rtol=1e-5, atol=1e-5)


def test_updates_every_k_steps_keep_the_horizon() -> None:
    """After a jump of the weights from 0 to 1, both averages have forgotten d^n of the 0 after n further steps."""
    left = []
    for every in (1, 10):
        weight = torch.zeros(1)
        average = WeightAverage([weight], 0.99, every)
        for n in range(3000):
            if n == 2000:
                weight.fill_(1.0)
            average.step()
            if n == 2099:
                left.append(1 - average.values[0].item())
    assert left == pytest.approx([0.99**100, 0.99**100], rel=1e-3)


def test_a_short_run_averages_its_last_part_not_its_start() -> None:
    weight = torch.full((1,), 1000.0)  # a bad start
    average = WeightAverage([weight], decay=0.9999)
    for _ in range(100):
        weight.fill_(1.0)
        average.step()
    assert average.values[0].item() == pytest.approx(1.0)


def test_the_weights_are_themselves_again_after_the_block() -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    average = WeightAverage([weight], 0.5)
    for value in (1.0, 3.0):
        weight.data.fill_(value)
        average.step()
    held = weight.data_ptr()
    with average.applied():
        assert weight.item() == 2.5
        assert weight.data_ptr() == held
    assert weight.item() == 3.0
    assert average.values[0].item() == 2.5


def test_before_the_first_update_nothing_is_applied() -> None:
    weight = torch.tensor([1.0])
    average = WeightAverage([weight], 0.5, every=5)
    weight.fill_(7.0)
    average.step()
    with average.applied():
        assert weight.item() == 7.0


@pytest.mark.parametrize(("decay", "every", "message"), [(1.0, 1, "`decay`.*got 1.0"), (0.5, 0, "`every`.*got 0")])
def test_refusals(decay: float, every: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WeightAverage([torch.zeros(1)], decay, every)
