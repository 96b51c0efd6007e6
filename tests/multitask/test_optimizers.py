"""Parameter groups and learning rates."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from multitask.config import TrainingConfig
from multitask.optimizers import make_optimizer, parameter_groups, rate_factor, set_learning_rate


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 2)
        self.body = nn.Linear(2, 3)
        self.scale = nn.Parameter(torch.ones(3, 3))
        self.frozen = nn.Parameter(torch.ones(2, 2), requires_grad=False)

    def no_weight_decay(self) -> set[str]:
        return {"scale", "absent"}


class Grouped(Net):
    def __init__(self, whole: bool) -> None:
        super().__init__()
        self.whole = whole

    def parameter_groups(self, config: TrainingConfig) -> list[dict[str, Any]]:
        fast = {"params": [self.scale], "lr": 10 * config.learning_rate}
        rest = [*self.body.parameters(), *([self.table.weight] if self.whole else [])]
        return [fast, {"params": rest}]


def decays(model: Net, config: TrainingConfig) -> dict[str, float]:
    names = {id(p): name for name, p in model.named_parameters()}
    return {names[id(p)]: g["weight_decay"] for g in parameter_groups(model, config) for p in g["params"]}


def test_matrices_and_tables_decay_and_vectors_and_exempt_ones_do_not() -> None:
    rest = {"body.bias": 0.0, "scale": 0.0}
    config = TrainingConfig(weight_decay=0.1, embedding_weight_decay=0.01)
    assert decays(Net(), config) == {"table.weight": 0.01, "body.weight": 0.1, **rest}
    config = TrainingConfig(weight_decay=0.1)
    assert decays(Net(), config) == {"table.weight": 0.1, "body.weight": 0.1, **rest}
    config = TrainingConfig(weight_decay=0.1, embedding_weight_decay=0.0)
    assert decays(Net(), config) == {"table.weight": 0.0, "body.weight": 0.1, **rest}


def test_a_model_may_group_its_parameters_itself() -> None:
    model = Grouped(whole=True)
    optimizer = make_optimizer(model, TrainingConfig(learning_rate=0.01))
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.01]
    set_learning_rate(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.005]
    set_learning_rate(optimizer, 1.0)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.01]


def test_groups_that_leave_a_parameter_out_are_refused() -> None:
    with pytest.raises(ValueError, match=r"each parameter once, got \['table.weight'\] left out"):
        parameter_groups(Grouped(whole=False), TrainingConfig())


def test_a_model_without_parameters_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one trainable parameter"):
        parameter_groups(nn.ReLU(), TrainingConfig())


def test_the_optimizer_by_name() -> None:
    assert type(make_optimizer(Net(), TrainingConfig())) is torch.optim.Adam
    assert type(make_optimizer(Net(), TrainingConfig(optimizer="adamw"))) is torch.optim.AdamW


@pytest.mark.parametrize(
    ("settings", "plain"),
    [
        ({"optimizer": "sgd"}, lambda p: torch.optim.SGD(p, lr=0.1)),
        ({"optimizer": "sgd", "momentum": 0.5}, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.5)),
        ({"optimizer": "adagrad"}, lambda p: torch.optim.Adagrad(p, lr=0.1, initial_accumulator_value=0.1)),
        ({"optimizer": "adagrad", "accumulator": 0.0}, lambda p: torch.optim.Adagrad(p, lr=0.1)),
        ({"optimizer": "adam"}, lambda p: torch.optim.Adam(p, lr=0.1)),
    ],
    ids=lambda value: "-".join(str(v) for v in value.values()) if isinstance(value, dict) else "",
)
def test_steps_equal_torchs_also_where_a_gradient_comes_late(settings: dict[str, Any], plain: Any) -> None:
    ours, theirs = ([nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2, 2))] for _ in range(2))
    model = nn.Module()
    model.late, model.always = ours
    optimizer, reference = make_optimizer(model, TrainingConfig(learning_rate=0.1, **settings)), plain(theirs)
    generator = torch.Generator().manual_seed(0)
    for step in range(6):
        for one, other in zip(ours, theirs, strict=True):
            gradient = None if one is model.late and step < 2 else torch.randn(one.shape, generator=generator)
            one.grad, other.grad = gradient, gradient
        optimizer.step()
        reference.step()
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)
    assert optimizer.state_dict()["state"].keys() == reference.state_dict()["state"].keys()


def test_settings_of_another_optimizer_are_refused_together() -> None:
    with pytest.raises(ValidationError, match=r'"sgd" only: leave it out, got 0.5; accumulator is read with .*got 0.1'):
        TrainingConfig(momentum=0.5, accumulator=0.1)
    with pytest.raises(ValidationError, match="momentum is read"):
        TrainingConfig(optimizer="adagrad", momentum=0.5, accumulator=0.0)
    assert TrainingConfig(optimizer="sgd", momentum=0.0).momentum == 0


class Mask(nn.Module):
    """Ten times the rate of whatever is around it; its inner layer has a factor of its own."""

    learning_rate_factor = 10.0
    no_weight_decay = ("weight",)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 2))
        self.plain = nn.Linear(2, 2)
        self.slow = nn.Linear(2, 2, bias=False)
        self.slow.learning_rate_factor = 0.5


def test_the_innermost_learning_rate_factor_counts() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(Mask()))
    optimizer = make_optimizer(model, TrainingConfig(learning_rate=0.01, weight_decay=0.1))
    names = {id(p): name for name, p in model.named_parameters()}
    found = {names[id(p)]: (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    assert found == {
        "0.weight": (0.01, 0.1), "0.bias": (0.01, 0.0), "1.0.weight": (0.1, 0.0), "1.0.plain.weight": (0.1, 0.1),
        "1.0.plain.bias": (0.1, 0.0), "1.0.slow.weight": (0.005, 0.1),
    }  # fmt: skip
    set_learning_rate(optimizer, 0.5)
    assert {g["lr"] for g in optimizer.param_groups} == {0.005, 0.05, 0.0025}


def test_a_factor_of_one_everywhere_leaves_the_groups_as_they_are() -> None:
    plain, marked = Net(), Net()
    marked.body.learning_rate_factor = 1.0  # type: ignore[assignment]
    config = TrainingConfig(weight_decay=0.1)
    sizes = [[len(g["params"]) for g in parameter_groups(model, config)] for model in (plain, marked)]
    assert sizes == [[2, 2], [2, 2]]
    assert decays(plain, config) == decays(marked, config)


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf")])
def test_a_learning_rate_factor_must_be_positive(factor: float) -> None:
    model = nn.Linear(2, 2)
    model.learning_rate_factor = factor  # type: ignore[assignment]
    with pytest.raises(ValueError, match=r"`learning_rate_factor` of Linear must be above 0 and finite, got"):
        parameter_groups(model, TrainingConfig())


def test_warm_up_then_constant() -> None:
    config = TrainingConfig(warmup_steps=4)
    assert [rate_factor(config, step, 8) for step in range(8)] == [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]


def test_cosine_equals_torch() -> None:
    config = TrainingConfig(schedule="cosine")
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
    for step in range(20):
        assert rate_factor(config, step, 20) == pytest.approx(schedule.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        schedule.step()
