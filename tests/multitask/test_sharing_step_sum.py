"""Sums over steps: sixteen at a time, the same bits whoever looks in between and wherever a run is resumed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from multitask.sharing.step_sum import STEPS, StepSum

CPU = torch.device("cpu")


def rows(count: int) -> list[Tensor]:
    """Matrices of unlike widths."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(3, 1 + i % 4, generator=generator) for i in range(count)]


def squares() -> StepSum:
    def amount(terms: list[Tensor]) -> Tensor:
        m = torch.cat(terms, dim=1).double()
        return m @ m.T

    return StepSum(amount)


@pytest.mark.parametrize("count", [1, STEPS - 1, STEPS, STEPS + 1, 3 * STEPS + 5])
def test_it_is_the_sum_over_the_steps(count: int) -> None:
    total = squares()
    for term in rows(count):
        total.add(term)
        assert len(total.terms) < STEPS
    found = total.total()
    assert found is not None
    torch.testing.assert_close(found, sum((m.double() @ m.double().T for m in rows(count)), torch.zeros(3, 3).double()))


def test_without_a_step_there_is_none() -> None:
    total = squares()
    assert total.total() is None
    assert total.tensors("k") == {}
    total.add(torch.ones(3, 1))
    total.clear()
    assert total.total() is None
    total.load("k", {}, CPU)
    assert total.total() is None


@pytest.mark.parametrize("count", [0, 5, STEPS, STEPS + 3])
def test_looking_and_resuming_change_no_bit(count: int) -> None:
    """`count` steps, then a checkpoint, then as many as make 40."""
    whole, looked, resumed = squares(), squares(), squares()
    resumed.add(torch.full((3, 1), 9.0))  # forgotten by `load`
    for term in rows(count):
        whole.add(term)
        looked.add(term)
        looked.total()
    held = {name: tensor.clone() for name, tensor in looked.tensors("k").items()}
    resumed.load("k", held, CPU)
    for term in rows(40)[count:]:
        for one in (whole, looked, resumed):
            one.add(term)
    expected = whole.total()
    assert expected is not None
    for one in (looked, resumed):
        found = one.total()
        assert found is not None
        assert torch.equal(found, expected)
