"""Losses of several tasks at once, with missing labels masked per task."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from multitask.tasks import Task, output_slices


def masked_losses(
    tasks: Sequence[Task], outputs: Tensor, labels: Tensor, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Weighted mean loss of every task over the rows that carry its label.

    L_t = sum_n w_nt l_t(output_nt, y_nt) / sum_n w_nt, over the rows n whose label y_nt is not NaN; l is the binary
    cross entropy (binary), the cross entropy (multiclass) or the squared error (regression). These are the `loss_t`
    of [Pinterest 2020] eq. 2. Everything is computed in float32 or better, also under bf16 autocast: bf16 keeps 8 bits.

    Args:
        tasks: the T tasks, in the order of the columns.
        outputs: `(N, sum of widths)` logits, or values for a regression.
        labels: `(N, T)`; 0/1, a class number, or a value; NaN = missing. A NaN reaches neither loss nor gradient.
        weights: None, `(N,)` or `(N, T)`, not negative; for example 1 / keep_prob of a sampled log.

    Returns:
        `(T,)` losses, 0 where no row carries the label, and `(T,)` sums of weights (numbers of labelled rows
        without weights), 0 there. Batches average exactly to the data set's loss with these as weights.

    Raises:
        ValueError: if a shape does not fit.

    >>> outputs = torch.zeros(3, 2)
    >>> labels = torch.tensor([[1.0, 0.0], [0.0, torch.nan], [1.0, torch.nan]])
    >>> losses, counts = masked_losses([Task("click"), Task("save")], outputs, labels)
    >>> [round(loss, 4) for loss in losses.tolist()], counts.tolist()
    ([0.6931, 0.6931], [3.0, 1.0])
    """
    width = sum(task.width for task in tasks)
    if labels.ndim != 2 or labels.shape[1] != len(tasks):
        raise ValueError(f"`labels` must have shape (N, {len(tasks)}), got {tuple(labels.shape)}")
    if outputs.shape != (labels.shape[0], width):
        raise ValueError(f"`outputs` must have shape ({labels.shape[0]}, {width}), got {tuple(outputs.shape)}")
    observed = ~torch.isnan(labels)  # (N, T)
    targets = torch.where(observed, labels, 0)
    rows = row_losses(tasks, outputs, targets)
    w = observed.to(rows.dtype)
    if weights is not None:
        if weights.shape not in ((labels.shape[0],), labels.shape):
            raise ValueError(
                f"`weights` must have shape ({labels.shape[0]},) or {tuple(labels.shape)}, got {tuple(weights.shape)}"
            )
        per_label = weights if weights.ndim == 2 else weights[:, None]
        w = torch.where(observed, per_label.to(rows.dtype), 0)
    counts = w.sum(0)
    sums = (w * rows).sum(0)
    return sums / torch.where(counts > 0, counts, 1), counts


def row_losses(tasks: Sequence[Task], outputs: Tensor, targets: Tensor) -> Tensor:
    """`(N, T)` unweighted losses per row and task; `targets` `(N, T)` must hold no NaN.

    >>> row_losses([Task("price", "regression")], torch.tensor([[3.0]]), torch.tensor([[1.0]])).tolist()
    [[4.0]]
    """
    z = outputs if outputs.dtype == torch.float64 else outputs.float()
    y = targets.to(z.dtype)
    if all(task.kind == "binary" for task in tasks):
        return F.binary_cross_entropy_with_logits(z, y, reduction="none")
    return _row_losses_per_task(tasks, z, y)


def _row_losses_per_task(tasks: Sequence[Task], z: Tensor, y: Tensor) -> Tensor:
    """The general path: one task after another. The binary fast path must equal it."""
    columns = []
    for t, (task, columns_of_task) in enumerate(zip(tasks, output_slices(tasks), strict=True)):
        z_t, y_t = z[:, columns_of_task], y[:, t]
        if task.kind == "binary":
            columns.append(F.binary_cross_entropy_with_logits(z_t[:, 0], y_t, reduction="none"))
        elif task.kind == "multiclass":
            columns.append(F.cross_entropy(z_t, y_t.long(), reduction="none"))
        else:
            columns.append(F.mse_loss(z_t[:, 0], y_t, reduction="none"))
    return torch.stack(columns, dim=1)
