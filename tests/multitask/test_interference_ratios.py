"""What is read from gradients' inner products: identities, hand-derived values, the heat map."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from multitask.interference import (
    Interference,
    compliance_figure,
    conflict_index,
    gradient_cosines,
    update_compliance,
)


def grams_of(gradients: Tensor) -> Tensor:
    """`(K, T, P)` gradients to `(K, T, T)`."""
    return gradients @ gradients.transpose(1, 2)


def random_gradients(seed: int, k: int = 9, t: int = 4, p: int = 3) -> Tensor:
    """`(K, T, P)`, some of them exactly zero."""
    generator = torch.Generator().manual_seed(seed)
    gradients = torch.randn(k, t, p, generator=generator, dtype=torch.float64)
    gradients[torch.rand(k, t, generator=generator) < 0.3] = 0
    return gradients


@pytest.mark.parametrize("seed", range(5))
def test_ratios_are_symmetric_shares_with_ones_on_the_diagonal(seed: int) -> None:
    ucr = update_compliance(grams_of(random_gradients(seed)))
    known = ~torch.isnan(ucr)
    assert ucr.shape == (4, 4)
    assert ((ucr[known] >= 0) & (ucr[known] <= 1)).all()
    torch.testing.assert_close(ucr, ucr.T, rtol=0, atol=0, equal_nan=True)
    assert (ucr.diagonal()[known.diagonal()] == 1).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_ratios_do_not_depend_on_the_size_of_gradients_or_the_order_of_tasks(seed: int, scale: float) -> None:
    gradients = random_gradients(seed)
    ucr = update_compliance(grams_of(gradients))
    scaled = gradients * torch.tensor([1.0, scale, 3.0, 0.1], dtype=torch.float64)[:, None]
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(update_compliance(grams_of(scaled)), ucr, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(
        gradient_cosines(grams_of(scaled)), gradient_cosines(grams_of(gradients)), equal_nan=True
    )
    permuted = update_compliance(grams_of(gradients[:, order]))
    torch.testing.assert_close(permuted, ucr[order][:, order], rtol=0, atol=0, equal_nan=True)


def test_equal_gradients_comply_and_opposed_ones_do_not() -> None:
    g = torch.randn(6, 1, 5, generator=torch.Generator().manual_seed(0))
    grams = grams_of(torch.cat([g, g, -2 * g], dim=1))
    assert update_compliance(grams).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    torch.testing.assert_close(gradient_cosines(grams)[0], torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))


def test_orthogonal_gradients_do_not_comply() -> None:
    """Equation 2's sign is 0, and the ratio counts A > 0."""
    assert update_compliance(torch.eye(2)[None]).tolist() == [[1, 0], [0, 1]]


def test_zero_gradients_are_left_out_of_the_pair_and_of_no_other() -> None:
    a, b, zero = [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]
    minus_b = [-1.0, -1.0]
    grams = grams_of(torch.tensor([[a, b, zero], [a, zero, zero], [a, minus_b, zero]]))
    ucr = update_compliance(grams)
    assert ucr[0, 1] == 1 / 2  # of the first and the third minibatch
    assert torch.isnan(ucr[2]).all()
    assert gradient_cosines(grams)[0, 1] == 0  # cos 45 and cos 135 degrees
    table = Interference(("a", "b", "c"), grams).table()
    assert table["minibatches"].tolist() == [2, 0, 0]


def test_conflict_index_by_hand() -> None:
    """g = (1, 0), (-1, 1), (0, 2): <1,2> = -1, <1,3> = 0, <2,3> = 2; squares 1 + 2 + 4."""
    gradients = torch.tensor([[1.0, 0.0], [-1.0, 1.0], [0.0, 2.0]], dtype=torch.float64)
    one = grams_of(gradients[None])
    assert conflict_index(one[0]) == pytest.approx(-2 * (-1 + 0 + 2) / (1 + 2 + 4))
    assert conflict_index(one) == conflict_index(one[0])
    # c = 1 - |sum g|^2 / sum |g|^2; the sum is (0, 3)
    assert conflict_index(one) == pytest.approx(1 - 9 / 7)
    other = grams_of(torch.tensor([[[3.0, 0.0], [-3.0, 0.0], [0.0, 0.0]]], dtype=torch.float64))
    assert conflict_index(other) == 1
    # numerators (-2 and 18) and denominators (7 and 18) are summed over minibatches, not the quotients
    assert conflict_index(torch.cat([one, other])) == pytest.approx((-2 + 18) / (7 + 18))
    assert conflict_index(torch.ones(4, 4)) == 1 - 4
    assert conflict_index(torch.eye(3)) == 0
    assert math.isnan(conflict_index(torch.zeros(2, 2)))


@pytest.mark.parametrize("function", [update_compliance, gradient_cosines, conflict_index])
def test_other_shapes_are_refused(function: Any) -> None:
    with pytest.raises(ValueError, match=r"`grams` must have shape \(minibatches, tasks, tasks\), got \(2, 3, 4\)"):
        function(torch.zeros(2, 3, 4))


def test_heat_map_draws_what_it_is_given() -> None:
    names = [f"a task with the long name {i}" for i in range(20)]
    ucr = torch.rand(20, 20, dtype=torch.float64)
    ucr[3, 4] = ucr[4, 3] = torch.nan
    figure = compliance_figure({"shared": ucr, "modulated": 1 - ucr}, names)
    first, second, _ = figure.axes
    texts = {tuple(map(int, t.get_position())): t.get_text() for t in first.texts}
    assert len(texts) == 20 * 19  # no diagonal
    assert texts[4, 3] == "–"
    assert texts[7, 2] == f"{100 * ucr[2, 7].item():.0f}"
    assert first.images[0].get_clim() == second.images[0].get_clim() == (0, 1)
    assert first.images[0].cmap(0.5)[:3] == pytest.approx((1, 1, 1), abs=0.01)  # white is one half
    figure.savefig(io.BytesIO(), format="png")


@pytest.mark.parametrize(
    ("ratios", "words"),
    [({}, "`ratios` must hold at least one table"), (torch.ones(3, 3), r"must have shape \(2, 2\), got \(3, 3\)")],
)
def test_heat_map_says_what_is_wrong(ratios: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compliance_figure(ratios, ["a", "b"])


def test_heat_map_of_nothing_known() -> None:
    figure = compliance_figure(torch.full((2, 2), torch.nan), ["a", "b"])
    assert figure.axes[0].get_title(loc="left") == ""
