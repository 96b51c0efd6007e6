"""Scaling and projection: the paper's equations written out, identities, gradients, layouts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from multitask.modulation.layers import Projection, RectifiedScaling, Scaling

SHAPES = [(7, 5), (7, 5, 3, 4), (7, 6, 5)]  # (B, C), (B, C, H, W), (B, L, C) with C = 5
LAYERS = [Scaling, Projection]
TASKS = torch.tensor([2, 0, 0, 2, 1, 0, 2])  # task 3 has no row

Layer = Scaling | Projection


def filled(kind: type[Layer]) -> Layer:
    layer = kind(4, 5)
    layer.weight.data = torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(1))
    return layer


def inputs(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def channels_first(x: Tensor) -> Tensor:
    """`(B, C, positions)` of any of the three layouts."""
    return x.transpose(1, 2) if x.ndim == 3 else x.flatten(2) if x.ndim == 4 else x[:, :, None]


@pytest.mark.parametrize("kind", [Scaling, Projection, RectifiedScaling])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_new_layer_changes_no_bit(kind: type[Layer], shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = inputs(shape).to(dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        y = kind(4, 5)(x, TASKS)
    assert torch.equal(y, x)
    assert y.dtype == dtype


@pytest.mark.parametrize("shape", SHAPES)
def test_scaling_is_equation_5(shape: tuple[int, ...]) -> None:
    layer, x = filled(Scaling), inputs(shape)
    expected = torch.einsum("bcn,bc->bcn", channels_first(x), layer.weight[TASKS])
    torch.testing.assert_close(channels_first(layer(x, TASKS)), expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_projection_is_equation_4(shape: tuple[int, ...]) -> None:
    layer, x = filled(Projection), inputs(shape)
    expected = torch.einsum("bjn,bij->bin", channels_first(x), layer.weight[TASKS])
    torch.testing.assert_close(channels_first(layer(x, TASKS)), expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_diagonal_projection_is_a_scaling(shape: tuple[int, ...]) -> None:
    scaling, projection, x = filled(Scaling), Projection(4, 5), inputs(shape)
    projection.weight.data = torch.diag_embed(scaling.weight.data)
    torch.testing.assert_close(projection(x, TASKS), scaling(x, TASKS))


def test_a_rectified_factor_is_never_negative() -> None:
    layer, x = filled(RectifiedScaling), inputs((7, 5))
    assert (layer.weight < 0).any()
    torch.testing.assert_close(layer(x, TASKS), x * layer.weight.clamp(min=0)[TASKS])


@pytest.mark.parametrize("kind", [Scaling, Projection, RectifiedScaling])
@pytest.mark.parametrize("shape", SHAPES)
def test_all_tasks_are_the_rows_under_each_task(kind: type[Layer], shape: tuple[int, ...]) -> None:
    layer, x = filled(kind), inputs(shape)
    y = layer.all_tasks(x).unflatten(0, (7, 4))
    for t in range(4):
        torch.testing.assert_close(y[:, t], layer(x, torch.full((7,), t)))


@pytest.mark.parametrize("kind", LAYERS)
def test_channels_last_stays_channels_last(kind: type[Layer]) -> None:
    """A layer that returned another layout would have the next convolution copy its input."""
    layer, x = filled(kind), inputs((7, 5, 3, 4))
    last = x.to(memory_format=torch.channels_last)
    for y, expected in ((layer(last, TASKS), layer(x, TASKS)), (layer.all_tasks(last), layer.all_tasks(x))):
        assert y.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(y, expected)
    assert layer(x, TASKS).is_contiguous()


@pytest.mark.parametrize("kind", LAYERS)
def test_a_task_without_rows_has_no_gradient(kind: type[Layer]) -> None:
    layer = kind(4, 5)
    layer(inputs((7, 5)), TASKS).square().sum().backward()
    grad = layer.weight.grad
    assert grad is not None
    assert not grad[3].any()
    assert all(grad[t].any() for t in range(3))


@pytest.mark.parametrize("kind", LAYERS)
def test_gradients(kind: type[Layer]) -> None:
    layer, x = filled(kind).double(), inputs((7, 5, 2, 2)).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda v, w: _with(layer, w)(v, TASKS), (x, layer.weight.detach().requires_grad_()))


def _with(layer: Layer, weight: Tensor) -> Layer:
    """The layer with another weight, through which gradients flow."""
    del layer.weight
    layer.weight = weight  # type: ignore[assignment]
    return layer


@pytest.mark.parametrize("kind", LAYERS)
def test_what_the_optimiser_and_the_diagnostics_read(kind: type[Layer]) -> None:
    layer = kind(4, 5, rate_factor=3.0)
    assert layer.learning_rate_factor == 3.0
    assert kind(4, 5).learning_rate_factor == 10.0
    assert layer.task_specific
    assert layer.no_weight_decay == ("weight",)


@pytest.mark.parametrize("kind", LAYERS)
def test_refusals(kind: type[Layer]) -> None:
    for arguments, message in (((0, 5), "`n_tasks` must be at least 1, got 0"), ((4, 0), "`channels` must be")):
        with pytest.raises(ValueError, match=message):
            kind(*arguments)
    with pytest.raises(ValueError, match="`rate_factor` must be above 0, got 0"):
        kind(4, 5, rate_factor=0)
    for shape in ((7,), (7, 1), (7, 5, 6), (7, 6, 5, 5)):
        for call in (lambda x: kind(4, 5)(x, TASKS), kind(4, 5).all_tasks):
            with pytest.raises(ValueError, match="`x` must have 5 channels"):
                call(torch.zeros(shape))
