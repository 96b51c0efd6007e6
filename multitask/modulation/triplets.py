"""Triplets of a task: anchor, one like it, one unlike it; how they are learned and counted."""

from __future__ import annotations

import torch
from torch import Tensor


def triplet_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, tasks: Tensor, n_tasks: int, margin: float = 0.2
) -> tuple[Tensor, Tensor]:
    """Mean over each task's triplets of max(0, |f_a - f_p|^2 + margin - |f_a - f_n|^2), [Modulation] equation 6.

    The embeddings are to be normalised, as those of `AttributeNetwork`: then squared distances lie in 0..4, and a
    margin means the same for every network. Computed in float32 or better, also under bf16 autocast.

    Args:
        anchor, positive, negative: `(N, d)` embeddings under the triplet's task.
        tasks: `(N,)` task numbers.
        n_tasks: T.
        margin: by how much a negative must be farther.

    Returns:
        `(T,)` losses, 0 for a task without triplets, and `(T,)` numbers of triplets: as `masked_losses` has them.

    Raises:
        ValueError: if a shape does not fit, a number is no task, or the margin is negative.

    >>> a, p, n = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]])
    >>> losses, counts = triplet_loss(a, p, n, torch.tensor([1]), n_tasks=2)
    >>> [round(loss, 1) for loss in losses.tolist()], counts.tolist()  # 2 + .2 - 0
    ([0.0, 2.2], [0.0, 1.0])
    """
    if not margin >= 0:
        raise ValueError(f"`margin` must not be negative, got {margin}")
    near, far = _squared_distances(anchor, positive, negative, tasks)
    return _means_per_task(torch.relu(near + margin - far), tasks, n_tasks)


def triplet_accuracy(
    anchor: Tensor, positive: Tensor, negative: Tensor, tasks: Tensor, n_tasks: int
) -> tuple[Tensor, Tensor]:
    """Share of each task's triplets in which the positive is nearer, d(a, p) < d(a, n) [Modulation] section 4.1.

    A tie is a failure, so that embeddings which are all the same do not score one half.

    Args: as for `triplet_loss`.

    Returns:
        `(T,)` shares in 0..1, NaN for a task without triplets, and `(T,)` numbers of triplets.

    >>> a, p, n = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.8, 0.6]]), torch.tensor([[0.0, 1.0]])
    >>> triplet_accuracy(a, p, n, torch.tensor([0]), n_tasks=2)[0].tolist()
    [1.0, nan]
    """
    near, far = _squared_distances(anchor, positive, negative, tasks)
    shares, counts = _means_per_task((near < far).double(), tasks, n_tasks)
    return torch.where(counts > 0, shares, torch.nan), counts


def _squared_distances(anchor: Tensor, positive: Tensor, negative: Tensor, tasks: Tensor) -> tuple[Tensor, Tensor]:
    if anchor.ndim != 2 or not anchor.shape == positive.shape == negative.shape or tasks.shape != anchor.shape[:1]:
        shapes = ", ".join(str(tuple(x.shape)) for x in (anchor, positive, negative, tasks))
        raise ValueError(f"`anchor`, `positive`, `negative` must be (N, d) and `tasks` (N,), got {shapes}")
    a, p, n = (x if x.dtype == torch.float64 else x.float() for x in (anchor, positive, negative))
    return (a - p).square().sum(1), (a - n).square().sum(1)


def _means_per_task(values: Tensor, tasks: Tensor, n_tasks: int) -> tuple[Tensor, Tensor]:
    if len(tasks):
        low, high = (int(bound) for bound in torch.aminmax(tasks))
        if low < 0 or high >= n_tasks:
            raise ValueError(f"`tasks` must lie in 0..{n_tasks - 1}, got {low if low < 0 else high}")
    member = tasks[:, None] == torch.arange(n_tasks, device=tasks.device)  # (N, T)
    share, finite = member.to(values.dtype), torch.isfinite(values)
    counts = share.sum(0)
    # In the product a value that is not finite would reach all tasks, as 0 * NaN = NaN: it is added to its own only.
    others = torch.where(member & ~finite[:, None], values[:, None], 0).sum(0)
    return (torch.where(finite, values, 0) @ share + others) / counts.clamp(min=1), counts
