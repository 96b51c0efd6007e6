"""Where in an image a net sees its class: gradient-weighted class activation maps [Selvaraju et al. 2017, Grad-CAM].

[Selective] figure 6 shows class activation maps, which need a net that ends in one linear layer behind a mean over the
picture. These nets go through fully connected layers, so the weights of the maps are gradients; where the end is that
linear layer, both are the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .networks import TaskNetwork

LEAST = 7  # px, the side of the maps that are still worth enlarging: 8 x 8 of MNIST, 7 x 7 of Omniglot


def activation_maps(model: TaskNetwork, images: Tensor, classes: Tensor) -> Tensor:
    """`(B, H, W)` in 0..1, as large as the images: sum_k a_k A_k, cut at 0, over its maximum (a flat map stays 0).

    A_k are the maps of the deepest batch-normalised convolution of at least `LEAST` px, behind their ReLU (which
    commutes with the pool in between), a_k the mean over the map of the gradient of the class's logit.

    Args:
        model: in evaluation mode; stays as it is.
        images: `(B, C, H, W)`.
        classes: `(B,)`, whose logits are asked about.

    Raises:
        ValueError: if no convolution has maps that large.
    """
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if output.shape[-1] < LEAST:
            return output
        kept.append(output.detach().clone().requires_grad_())
        return kept[-1].clone()  # an in-place ReLU may follow

    handles = [module.register_forward_hook(keep) for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    try:
        with torch.enable_grad():
            logits = model(images)
    finally:
        for handle in handles:
            handle.remove()
    if not kept:
        raise ValueError(f"`model` must have batch-normalised maps of at least {LEAST} px, got none")
    (gradient,) = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), kept[-1])
    weights = gradient.mean((2, 3), keepdim=True)  # (B, K, 1, 1)
    maps = (weights * kept[-1].detach().relu()).sum(1, keepdim=True).relu()
    large = F.interpolate(maps, size=images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    return large / large.amax((1, 2), keepdim=True).clamp(min=1e-12)


def span(maps: Tensor) -> float:
    """Mean share of the picture above half of the map's maximum: how "feathered" [Selective 4.3] the maps are."""
    return (maps > 0.5).double().mean().item()


def examples(labels: Tensor, predicted: Sequence[Tensor], order: Sequence[int]) -> list[int]:
    """For each class of `order`, the first image that most of the nets name rightly.

    Args:
        labels: `(N,)`.
        predicted: `(N,)` classes, of every net.

    >>> examples(torch.tensor([0, 0, 1]), [torch.tensor([1, 0, 0]), torch.tensor([0, 0, 0])], [1, 0])
    [2, 1]
    """
    right = np.sum([(answer == labels).numpy() for answer in predicted], axis=0)
    rows = [np.flatnonzero(labels.numpy() == number) for number in order]
    return [int(own[np.argmax(right[own])]) for own in rows]
