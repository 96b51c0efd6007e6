"""Stacked layers and towers equal separate `nn.Linear` networks."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from multitask.stacked import StackedLinear
from multitask.towers import StackedTowers


def separate(towers: StackedTowers, t: int) -> nn.Module:
    """Task t's tower as a network of its own."""
    a = sum(towers.widths[:t])
    rows = slice(a, a + towers.widths[t])
    last = nn.Linear(towers.output_weight.shape[1], towers.widths[t])
    last.weight.data, last.bias.data = towers.output_weight.data[rows], towers.output_bias.data[rows]
    if towers.first is None:
        return last
    first = nn.Linear(towers.first.in_features, towers.first.out_features)
    assert towers.first.bias is not None
    first.weight.data, first.bias.data = towers.first.weight.data[t], towers.first.bias.data[t]
    return nn.Sequential(first, nn.ReLU(), last)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("widths", [(1, 1, 1), (1, 4, 2)])
@pytest.mark.parametrize("hidden", [0, 5])
def test_towers_equal_separate_networks(hidden: int, widths: Sequence[int], shared: bool) -> None:
    torch.manual_seed(2)
    towers = StackedTowers(3, 6, hidden, widths, bias=torch.randn(sum(widths)))
    h: Tensor = torch.randn(9, 6)[:, None].expand(-1, 3, -1) if shared else torch.randn(9, 3, 6)
    expected = torch.cat([separate(towers, t)(h[:, t]) for t in range(3)], dim=1)
    torch.testing.assert_close(towers(h), expected)
    if shared:
        torch.testing.assert_close(towers(h[:, 0]), expected)


def test_one_task() -> None:
    towers = StackedTowers(1, 6, 5, (1,))
    h = torch.randn(9, 1, 6, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(towers(h), separate(towers, 0)(h[:, 0]))


def test_the_bias_is_the_first_guess() -> None:
    """With an input of 0 and the first biases at 0, the outputs are the given logits of the base rates."""
    bias = torch.logit(torch.tensor([0.1, 0.02]))
    towers = StackedTowers(2, 6, 4, (1, 1), bias=bias)
    assert towers.first is not None
    assert towers.first.bias is not None
    nn.init.zeros_(towers.first.bias)
    assert torch.equal(towers(torch.zeros(1, 2, 6))[0], bias)
    towers.output_bias.data.add_(1)
    assert bias.tolist() == torch.logit(torch.tensor([0.1, 0.02])).tolist()  # the caller's tensor is not shared


@pytest.mark.parametrize("widths", [(1, 1), (1, 3)])
@pytest.mark.parametrize("hidden", [0, 5])
def test_the_last_layer_is_float32_under_autocast(hidden: int, widths: tuple[int, ...]) -> None:
    torch.manual_seed(3)
    towers = StackedTowers(2, 6, hidden, widths, bias=torch.full((sum(widths),), 1 / 3))
    nn.init.zeros_(towers.output_weight)
    for h in (torch.ones(3, 2, 6), torch.ones(3, 6)):
        with torch.autocast("cpu", torch.bfloat16):
            z = towers(h.bfloat16())
        assert torch.equal(z, torch.full((3, sum(widths)), 1 / 3))  # bf16 would give 0.333984


def test_stacked_linear_equals_separate_layers_with_shared_and_own_inputs() -> None:
    torch.manual_seed(4)
    for bias in (True, False):
        stack = StackedLinear(3, 6, 2, bias=bias)
        x = torch.randn(3, 5, 6)
        b = [stack.bias[g] if stack.bias is not None else 0.0 for g in range(3)]
        torch.testing.assert_close(stack(x), torch.stack([x[g] @ stack.weight[g].T + b[g] for g in range(3)]))
        shared = torch.stack([x[0] @ stack.weight[g].T + b[g] for g in range(3)])
        torch.testing.assert_close(stack(x[0]), shared)


def test_stacked_linear_starts_like_nn_linear() -> None:
    torch.manual_seed(4)
    ours, theirs = StackedLinear(50, 25, 40).weight, nn.Linear(25, 2000).weight
    assert ours.abs().max() <= 1 / 5
    assert ours.std().item() == pytest.approx(theirs.std().item(), rel=0.02)


@pytest.mark.parametrize(
    ("widths", "hidden", "bias", "message"),
    [
        ((1,), 4, None, "`widths` must hold 2 positive numbers, got .1,."),
        ((1, 0), 4, None, "`widths` must hold 2 positive numbers, got .1, 0."),
        ((1, 1), -1, None, "`hidden` must not be negative, got -1"),
        ((1, 3), 4, [0.0, 0.0], "`bias` must hold 4 numbers, one per output, got 2"),
    ],
)
def test_refusals(widths: tuple[int, ...], hidden: int, bias: list[float] | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StackedTowers(2, 6, hidden, widths, bias)
