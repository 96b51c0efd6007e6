"""Relatedness of tasks: distances between masks, and the regulariser that sets them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from multitask.modulation import Modulation, RelevanceRegulariser, distance_table


def masked(*rows: list[float]) -> Modulation:
    """Tasks a, b, c with these masks."""
    modulation = Modulation(nn.Sequential(nn.Linear(2, 2)), list("abc"), ["0"], example=torch.zeros(1, 2))
    modulation.modulators["after_0"].weight.data = torch.tensor(rows)
    return modulation


def test_the_regulariser_is_equation_8() -> None:
    modulation = masked([1.0, 1.0], [1.0, 1.2], [1.0, 1.1])
    # msd(a, b) = .04 / 2, msd(a, c) = .01 / 2: a is to be nearer to b than to c by .02, and is not.
    expected = 0.1 * (0.04 / 2 + 0.02 - 0.01 / 2)
    penalty = RelevanceRegulariser([("a", "b", "c")])(modulation)
    assert penalty.item() == pytest.approx(expected)
    assert RelevanceRegulariser([(0, 1, 2), (0, 1, 2)])(modulation).item() == pytest.approx(2 * expected)
    assert RelevanceRegulariser([("a", "b", "c")], beta=0.0, weight=3.0)(modulation).item() == pytest.approx(3 * 0.015)
    far = masked([1.0, 1.0], [1.0, 1.0], [1.0, 1.3])  # .045 away: satisfied
    assert RelevanceRegulariser([("a", "b", "c")])(far).item() == 0.0
    assert RelevanceRegulariser([("a", "c", "b")])(far).item() == pytest.approx(0.1 * (0.045 + 0.02))


def test_the_regulariser_pulls_related_tasks_together() -> None:
    modulation = masked([1.0, 1.0], [1.0, 1.3], [1.0, 1.1])
    optimizer = torch.optim.SGD(modulation.modulators.parameters(), lr=1.0)
    regulariser = RelevanceRegulariser([("a", "b", "c")])
    for _ in range(200):
        optimizer.zero_grad()
        regulariser(modulation).backward()
        optimizer.step()
    table = modulation.distances().set_index(["task", "other"])["mean"]
    assert regulariser(modulation).item() == pytest.approx(0.0, abs=1e-4)
    assert table["a", "b"] < table["a", "c"]


@pytest.mark.parametrize(
    ("triples", "arguments", "message"),
    [
        ([], {}, "`triples` must be triples of tasks, at least one"),
        ([("a", "b")], {}, "`triples` must be triples of tasks"),
        ([("a", "b", "a")], {}, "`triples` must hold three different tasks each"),
        ([("a", 0, "b")], {}, "`triples` must hold three different tasks each"),
        ([("a", "b", "d")], {}, "`task` must be one of .'a', 'b', 'c'. .*, got 'd'"),
        ([("a", "b", "c")], {"beta": -0.1}, "`beta` must not be negative, got -0.1"),
        ([("a", "b", "c")], {"weight": -1.0}, "`weight` must not be negative"),
    ],
)
def test_what_the_regulariser_refuses(triples: list, arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RelevanceRegulariser(triples, **arguments)(masked([1.0, 1.0], [1.0, 1.0], [1.0, 1.0]))


def test_distances_are_mean_and_variance_of_absolute_differences() -> None:
    w = torch.randn(4, 9, generator=torch.Generator().manual_seed(0))
    table = distance_table(w, list("abcd"))
    assert len(table) == 6
    assert table["mean"].is_monotonic_increasing
    for row in table.itertuples():
        difference = (w["abcd".index(row.task)] - w["abcd".index(row.other)]).abs().double().numpy()
        assert row.mean == pytest.approx(difference.mean())
        assert row.variance == pytest.approx(difference.var())
