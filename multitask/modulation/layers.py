"""What a modulation module does to a feature map: one vector, or one matrix, of channels per task."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multitask.modulation.per_task import per_task


class Scaling(nn.Module):
    """x'_c = x_c * w_tc, one factor per task and channel ([Modulation] equation 5).

    All factors start at 1, so that a network is itself, bit for bit, before the first step.

    A task of which training sees no row has no gradient and is not decayed: its factors stay 1.

    Args:
        n_tasks: T.
        channels: C.
        rate_factor: the factors learn at this many times the base learning rate. A factor scales a whole channel,
            and with the rate of the weights it hardly leaves 1 within a training: 10 raised the share of triplets
            in the right order from .895 to .943.
        channel_axis: which axis of x the channels are, from the front or (negative) from the back; None = axis 1 of
            `(B, C)` and `(B, C, H, W)`, the last one of `(B, L, C)`, tokens of a transformer.

    Parameter: `weight` `(T, C)`.

    Raises:
        ValueError: if x has other channels or no such axis.

    >>> layer = Scaling(n_tasks=2, channels=3)
    >>> layer.weight.data[1] = torch.tensor([0.0, 1.0, 2.0])
    >>> layer(torch.ones(3, 3), tasks=torch.tensor([0, 1, 1])).tolist()
    [[1.0, 1.0, 1.0], [0.0, 1.0, 2.0], [0.0, 1.0, 2.0]]
    """

    task_specific = True  # no gradient of these counts as one of shared parameters
    no_weight_decay = ("weight",)  # decay pulls towards 0, and a task without rows must stay at the identity

    def __init__(
        self, n_tasks: int, channels: int, *, rate_factor: float = 10.0, channel_axis: int | None = None
    ) -> None:
        super().__init__()
        _check_sizes(n_tasks, channels, rate_factor)
        self.n_tasks, self.channels, self.learning_rate_factor = n_tasks, channels, rate_factor
        self.channel_axis = channel_axis
        self.weight = nn.Parameter(torch.ones(n_tasks, channels))

    def effective(self) -> Tensor:
        """The factors as they act, `(T, C)`, differentiable."""
        return self.weight

    def forward(self, x: Tensor, tasks: Tensor) -> Tensor:
        """x `(B, ...)` and `(B,)` task numbers (long) to the modulated x of the same shape and type."""
        axis = _axis_of_channels(x, self.channels, self.channel_axis)
        w = F.embedding(tasks, self.effective()).to(x.dtype)  # (B, C)
        return x * _along_channels(w, x, axis)

    def all_tasks(self, x: Tensor) -> Tensor:
        """`(B, ...)` to `(B * T, ...)`: every row under every task, row b under task t at b * T + t."""
        return under_each(x, self.effective(), self.channel_axis)


class RectifiedScaling(Scaling):
    """x'_c = x_c * max(0, w_tc): the mask of conditional similarity networks [CSN], which can switch a channel off.

    >>> layer = RectifiedScaling(n_tasks=1, channels=2)
    >>> layer.weight.data[0, 0] = -1.0
    >>> layer(torch.ones(1, 2), tasks=torch.tensor([0])).tolist()
    [[0.0, 1.0]]
    """

    def effective(self) -> Tensor:
        return torch.relu(self.weight)


class Projection(nn.Module):
    """x'_i = sum_j x_j w_tij, one C x C matrix per task ([Modulation] equation 4); starts as the identity.

    A diagonal matrix is `Scaling`. T C^2 parameters; the paper found the gain over T C factors marginal (82.79 %
    against 82.75 %).

    Args:
        n_tasks, channels, rate_factor, channel_axis: as for `Scaling`.

    Parameter: `weight` `(T, C, C)`; `weight[t, i, j]` leads from channel j to channel i.

    Raises:
        ValueError: if x has other channels or no such axis.

    >>> layer = Projection(n_tasks=1, channels=2)
    >>> layer.weight.data[0] = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    >>> layer(torch.tensor([[3.0, 5.0]]), tasks=torch.tensor([0])).tolist()
    [[5.0, 6.0]]
    """

    task_specific = True
    no_weight_decay = ("weight",)

    def __init__(
        self, n_tasks: int, channels: int, *, rate_factor: float = 10.0, channel_axis: int | None = None
    ) -> None:
        super().__init__()
        _check_sizes(n_tasks, channels, rate_factor)
        self.n_tasks, self.channels, self.learning_rate_factor = n_tasks, channels, rate_factor
        self.channel_axis = channel_axis
        self.weight = nn.Parameter(torch.eye(channels).repeat(n_tasks, 1, 1))

    def effective(self) -> Tensor:
        """The matrices, `(T, C, C)`."""
        return self.weight

    def forward(self, x: Tensor, tasks: Tensor) -> Tensor:
        """x `(B, ...)` and `(B,)` task numbers (long) to the modulated x, of the same shape."""
        axis = _axis_of_channels(x, self.channels, self.channel_axis)
        first, w = _channels_first(x, axis), self.weight.unbind()
        # One product per task: a matrix gathered per row would be B C^2 numbers, 132 MB for 504 rows of 256 channels.
        y = per_task(lambda t, rows: _project(rows, w[t], first), [_as_stored(x, axis)], tasks, self.n_tasks)
        return _as_given(y, x, axis)

    def all_tasks(self, x: Tensor) -> Tensor:
        """`(B, ...)` to `(B * T, ...)`: every row under every task, row b under task t at b * T + t."""
        axis = _axis_of_channels(x, self.channels, self.channel_axis)
        first, rows = _channels_first(x, axis), _as_stored(x, axis)
        return _as_given(torch.stack([_project(rows, w, first) for w in self.weight], dim=1).flatten(0, 1), x, axis)


def under_each(x: Tensor, masks: Tensor, channel_axis: int | None = None) -> Tensor:
    """`(B, ...)` under k masks `(k, C)` to `(B * k, ...)`: row b under mask t at b * k + t.

    `channel_axis` as for `Scaling`.

    >>> under_each(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 1.0], [3.0, 0.0]])).tolist()
    [[1.0, 2.0], [3.0, 0.0]]
    """
    axis = _axis_of_channels(x, masks.shape[1], channel_axis)
    w = _along_channels(masks.to(x.dtype), x, axis)  # (k, C, 1, 1)
    return (x[:, None] * w).flatten(0, 1)


def _axis_of_channels(x: Tensor, channels: int, given: int | None) -> int:
    """Which axis of x the channels are, counted from the front."""
    axis = given if given is not None else 2 if x.ndim == 3 else 1
    if x.ndim < 2 or not -x.ndim < axis < x.ndim or axis == 0 or x.shape[axis] != channels:
        where = f"axis {given}" if given is not None else "axis 1 of (B, C) or (B, C, H, W) or last in (B, L, C)"
        raise ValueError(f"`x` must have {channels} channels, on {where}, got shape {tuple(x.shape)}")
    return axis % x.ndim


def _along_channels(w: Tensor, x: Tensor, axis: int) -> Tensor:
    """`(N, C)` in a shape that broadcasts along the channels of a row of x."""
    shape = [1] * x.ndim
    shape[0], shape[axis] = w.shape
    return w.view(shape)


def _channels_first(x: Tensor, axis: int) -> bool:
    """Whether a channel's positions lie next to each other in memory, not a position's channels."""
    last = x.ndim == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    return axis == 1 and x.ndim > 2 and not last


def _as_stored(x: Tensor, axis: int) -> Tensor:
    """x as `(B, C, ...)` or `(B, ..., C)`, as it lies in memory: in another layout the next layer would copy."""
    return x if _channels_first(x, axis) else x.movedim(axis, -1)


def _as_given(y: Tensor, x: Tensor, axis: int) -> Tensor:
    """The reverse of `_as_stored`, for y made from x."""
    return y if _channels_first(x, axis) else y.movedim(-1, axis)


def _project(rows: Tensor, w: Tensor, channels_first: bool) -> Tensor:
    """Some rows of x as stored times `(C, C)`."""
    return torch.matmul(w, rows.flatten(2)).view(rows.shape) if channels_first else F.linear(rows, w)


def _check_sizes(n_tasks: int, channels: int, rate_factor: float) -> None:
    for argument, value in (("n_tasks", n_tasks), ("channels", channels)):
        if value < 1:
            raise ValueError(f"`{argument}` must be at least 1, got {value}")
    if not rate_factor > 0:
        raise ValueError(f"`rate_factor` must be above 0, got {rate_factor}")
