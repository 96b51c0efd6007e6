"""Accuracies of T one-against-all tasks on the same images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from multitask.precision import autocast

from .data import Images

ROWS = 500  # images at a time


@torch.no_grad()
def predict(
    model: nn.Module, images: Images, probabilities: Callable[[Tensor], Tensor], precision: str = "auto"
) -> Tensor:
    """`(N, T)` probabilities of all the images."""
    parts = []
    for start in range(0, len(images), ROWS):
        batch, _ = images.part(start, start + ROWS)
        with autocast(precision, batch.device):
            outputs = model(batch)
        parts.append(probabilities(outputs))
    return torch.cat(parts)


def accuracies(p: Tensor, labels: Tensor) -> dict[str, float]:
    """Shares in 0..1 of what is right.

    - `top1`: the class with the highest probability is the image's.
    - `binary`: mean over the tasks of "above one half" being right. Answering "no" everywhere gives 1 - 1 / T when the
      classes are equally frequent, which is why it says little.
    - `balanced`: mean over the tasks of (recall of yes + recall of no) / 2, .5 for a constant answer. A task whose
      class (or anything else) does not occur is left out.

    >>> p = torch.tensor([[0.9, 0.2], [0.8, 0.3]])
    >>> accuracies(p, torch.tensor([0, 1]))
    {'top1': 0.5, 'binary': 0.5, 'balanced': 0.5}
    """
    is_class = torch.nn.functional.one_hot(labels, p.shape[1]).bool()  # (N, T)
    yes = p > 0.5
    positives, negatives = is_class.sum(0), (~is_class).sum(0)
    recall = (yes & is_class).sum(0) / positives.clamp(min=1)
    specificity = (~yes & ~is_class).sum(0) / negatives.clamp(min=1)
    both = (positives > 0) & (negatives > 0)
    balanced = ((recall + specificity) / 2)[both].mean() if both.any() else torch.tensor(float("nan"))
    return {
        "top1": (p.argmax(1) == labels).double().mean().item(),
        "binary": (yes == is_class).double().mean().item(),
        "balanced": balanced.item(),
    }
