"""From a configuration to a network, and from a network to its fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from features.gallery.backbones import make_backbone
from features.gallery.config import EncoderConfig
from features.gallery.modulated_network import ModulatedGalleryNetwork
from features.gallery.network import GalleryNetwork
from features.gallery.tasks import GalleryTasks
from multitask import Task

HEADS = "heads."


def build_network(
    config: EncoderConfig, tasks: GalleryTasks, *, load_weights: bool = True, group_of: Sequence[int] | None = None
) -> GalleryNetwork:
    """The encoder's network: for `tasks`, initialised by `config.seed`, its heads at the base rates; `make_network`."""
    return make_network(
        config, tasks.tasks, tasks.base_bias(), seed=config.seed, load_weights=load_weights, group_of=group_of
    )


def make_network(
    config: EncoderConfig,
    tasks: Sequence[Task],
    bias: Tensor,
    *,
    seed: int,
    load_weights: bool = True,
    group_of: Sequence[int] | None = None,
) -> GalleryNetwork:
    """The network that `config` describes, with a head for each of `tasks`.

    Parameters
    ----------
    config : EncoderConfig
    tasks : sequence of Task
    bias : tensor `(sum of widths,)`
        The heads' first biases.
    seed : int
        Of the random weights.
    load_weights : bool
        Start from the pretrained weights that `config` names; False where the weights come from elsewhere.
    group_of : sequence of int `(T,)`, optional
        With `config.sharing`: groups that the heads were merged to, where their weights come from elsewhere.

    Raises
    ------
    InputError
        The backbone is unknown or its package missing; the weights cannot be read or do not fit.
    """
    with torch.random.fork_rng(devices=[]):  # the caller's own random state stays as it was
        torch.manual_seed(seed)
        backbone = make_backbone(
            config.backbone,
            weights=config.weights if load_weights else None,
            pretrained=config.pretrained and load_weights,
            size=config.photo_size,
            train=config.train,
            cut=config.modulation,
        )
        settings: dict[str, Any] = {
            "embed_dim": config.embed_dim,
            "pooling": config.pooling,
            "cover": config.cover,
            "root": config.root,
            "mirror": config.mirror,
            "tasks": tasks,
            "head_hidden": config.head_hidden,
            "bias": bias,
        }
        if config.modulation:
            return ModulatedGalleryNetwork(backbone, tasks_at_once=config.modulation_tasks, **settings)
        return GalleryNetwork(backbone, branches=config.sharing != "none", group_of=group_of, **settings)


def photo_size(config: EncoderConfig) -> int:
    """The side of a photo in pixels that the network of `config` takes: the size to decode at.

    Examples
    --------
    >>> photo_size(EncoderConfig()), photo_size(EncoderConfig(photo_size=96))
    (64, 96)
    """
    if config.photo_size is not None:
        return config.photo_size
    return make_backbone(config.backbone).preprocessing.size


def fingerprint(network: GalleryNetwork, mean: Tensor, std: Tensor, settings: dict[str, Any]) -> str:
    """sha256 of everything that a vector depends on: weights without the heads, standardisation, preprocessing.

    Parameters
    ----------
    network : GalleryNetwork
    mean, std : tensors `(D,)`
        Of the vectors over the training galleries.
    settings : dict
        JSON-able: pooling, cover, cap.
    """
    digest = hashlib.sha256()
    settings = settings | {"backbone": network.backbone.name, "preprocessing": asdict(network.backbone.preprocessing)}
    digest.update(json.dumps(settings, sort_keys=True).encode())
    tensors = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith(HEADS)}
    update_digest(digest, tensors | {"standard.mean": mean, "standard.std": std})
    return digest.hexdigest()


def update_digest(digest: Any, tensors: dict[str, Tensor]) -> None:
    """Add names, shapes, types and bytes of tensors to a hash, in the order of their names."""
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype};".encode())
        digest.update(tensor.numpy().tobytes())
