"""Loss weightings: the stationary points of [Kendall 2018] and the identities between the choices."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from multitask.config import TrainingConfig
from multitask.optimizers import parameter_groups
from multitask.tasks import Task
from multitask.weighting import Equal, Fixed, InverseVariance, Uncertainty, make_weighting

TASKS = [Task("click"), Task("city", "multiclass", n_classes=4), Task("price", "regression")]
LOSSES, COUNTS = torch.tensor([0.3, 1.2, 0.7]), torch.tensor([9.0, 9.0, 9.0])


def gradient(weighting: Uncertainty, losses: Tensor, counts: Tensor) -> Tensor:
    weighting.zero_grad()
    weighting(losses, counts).backward()
    assert weighting.log_variance.grad is not None
    return weighting.log_variance.grad


def test_uncertainty_is_stationary_at_twice_the_loss_and_at_the_loss() -> None:
    """[Kendall 2018] L / sigma^2 + log sigma has its minimum at sigma^2 = 2 L (classification), and
    L / (2 sigma^2) + log sigma at sigma^2 = L (regression)."""
    weighting = Uncertainty(TASKS)
    sigma2 = torch.tensor([2 * 0.3, 2 * 1.2, 0.7])
    weighting.log_variance.data = sigma2.log()
    torch.testing.assert_close(gradient(weighting, LOSSES, COUNTS), torch.zeros(3), rtol=0, atol=1e-7)
    at_minimum = weighting(LOSSES, COUNTS).item()
    for t in range(3):
        for shift in (-0.1, 0.1):
            weighting.log_variance.data = sigma2.log()
            weighting.log_variance.data[t] += shift
            assert weighting(LOSSES, COUNTS).item() > at_minimum


def test_uncertainty_with_sigma_one_is_classification_plus_half_the_regression() -> None:
    assert Uncertainty(TASKS)(LOSSES, COUNTS).item() == pytest.approx(0.3 + 1.2 + 0.7 / 2)


def test_training_sigma_finds_the_stationary_point() -> None:
    weighting = Uncertainty(TASKS)
    optimizer = torch.optim.Adam(weighting.parameters(), lr=0.05)
    for _ in range(500):
        optimizer.zero_grad()
        weighting(LOSSES, COUNTS).backward()
        optimizer.step()
    torch.testing.assert_close(weighting.log_variance.detach().exp(), torch.tensor([0.6, 2.4, 0.7]), rtol=1e-3, atol=0)


def test_an_absent_task_drops_its_log_sigma_and_keeps_its_sigma() -> None:
    weighting = Uncertainty(TASKS)
    weighting.log_variance.data = torch.tensor([0.4, -0.5, 0.8])
    losses, counts = torch.tensor([0.3, 0.0, 0.7]), torch.tensor([9.0, 0.0, 9.0])
    slope = gradient(weighting, losses, counts)
    assert slope[1] == 0
    assert (slope[[0, 2]] != 0).all()
    two = Uncertainty([TASKS[0], TASKS[2]])
    two.log_variance.data = torch.tensor([0.4, 0.8])
    torch.testing.assert_close(weighting(losses, counts), two(losses[[0, 2]], counts[[0, 2]]))


def test_sigma_stays_within_its_bound_and_comes_back() -> None:
    weighting = Uncertainty([Task("click")])
    weighting.log_variance.data = torch.tensor([-9.0])
    slope = gradient(weighting, torch.tensor([0.5]), torch.tensor([9.0]))
    assert weighting.log_variance.item() == -6.0
    assert slope.item() < 0  # a step against the gradient leads back to larger sigma
    evaluated = Uncertainty([Task("click")]).eval()
    evaluated.log_variance.data = torch.tensor([-9.0])
    assert evaluated(torch.tensor([0.0]), torch.tensor([9.0])).item() == -3.0
    assert evaluated.log_variance.item() == -9.0  # evaluation changes nothing


def test_the_unit_of_a_regression_does_not_matter_under_variance_aware_weightings() -> None:
    """A target in cents has 10,000 times the squared error and the variance of one in euro."""
    euro, cents = [Task("price", "regression", variance=4.0)], [Task("price", "regression", variance=4e4)]
    for kind in (InverseVariance, Uncertainty):
        in_euro = kind(euro)(torch.tensor([3.0]), torch.tensor([1.0]))
        in_cents = kind(cents)(torch.tensor([3e4]), torch.tensor([1.0]))
        torch.testing.assert_close(in_euro, in_cents)


def test_pseudo_uniform_is_the_sum_with_the_squared_error_over_its_variance() -> None:
    """[Booking]: sum CE + sum BCE + sum MSE / var_train."""
    tasks = [*TASKS[:2], Task("price", "regression", variance=0.5)]
    assert InverseVariance(tasks)(LOSSES, COUNTS).item() == pytest.approx(0.3 + 1.2 + 0.7 / 0.5)


def test_equal_is_fixed_with_ones() -> None:
    assert Equal()(LOSSES, COUNTS).item() == Fixed([1.0, 1.0, 1.0])(LOSSES, COUNTS).item()


def test_sigma_is_never_decayed() -> None:
    model = torch.nn.ModuleDict({"net": torch.nn.Linear(3, 1), "weighting": Uncertainty(TASKS)})
    groups = parameter_groups(model, TrainingConfig(weight_decay=0.1))
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert decay[id(model["weighting"].log_variance)] == 0.0
    assert decay[id(model["net"].weight)] == 0.1


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("kendall", None, "`name` of a weighting.*'kendall'"),
        ("equal", [1, 1, 1], "`weights` must be left out"),
        ("fixed", None, "`weights` must give one weight for each.*got None"),
        ("fixed", {"click": 1.0, "clik": 1.0}, "`weights` must name exactly.*'clik'"),
        ("fixed", [1.0, 2.0], "`weights` must give one weight for each.*got 2"),
        ("fixed", [1.0, -2.0, 1.0], "`weights` must be finite and not negative, got -2.0"),
        ("fixed", [0.0, 0.0, 0.0], "`weights` must hold at least one value above 0"),
    ],
)
def test_refusals(name: str, weights: list[float] | dict[str, float] | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_weighting(name, TASKS, weights)


@pytest.mark.parametrize(
    ("name", "kind"), [("equal", Equal), ("inverse_variance", InverseVariance), ("uncertainty", Uncertainty)]
)
def test_names(name: str, kind: type) -> None:
    assert type(make_weighting(name, TASKS)) is kind
