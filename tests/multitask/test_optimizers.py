"""Parameter groups and learning rates."""

from __future__ import annotations

from typing import Any

import pytest
import torch
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
