"""Frozen features: what an ImageNet network says of photos, computed once and kept; nothing of it is trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluation.metrics_json import write_metrics_json
from features.gallery.backbones import make_backbone
from features.gallery.decoding import decode_photo
from multitask.precision import autocast

Array = NDArray[np.float32]
PHOTOS = 64  # at a time


@torch.inference_mode()
def photo_vectors(jpegs: Sequence[bytes], weights: Path, size: int, file: Path) -> Array:
    """SqueezeNet 1.1's last feature map, averaged over positions: `(N, 512)`, read from `file` if it is there.

    NaN for a photo that cannot be decoded.

    Args:
        jpegs: N photos.
        weights: of the network, trained on ImageNet.
        size: pixels of a side that every photo is stretched to.
        file: `.npy`; its sibling `.json` says which photos and size it was made with.

    Raises:
        ValueError: if `file` was made with others.
    """
    made_with = {"photos": len(jpegs), "bytes": sum(map(len, jpegs)), "size": size, "weights": weights.name}
    note = file.with_suffix(".json")
    if file.exists() and note.exists():
        if (there := json.loads(note.read_text(encoding="utf-8"))) != made_with:
            raise ValueError(f"`file` must hold vectors of {made_with}, got {file} with {there}")
        return np.load(file)
    backbone = make_backbone("squeezenet1_1", weights=weights, size=size, train="none").eval()
    backbone.to(memory_format=torch.channels_last)
    parts = []
    for start in range(0, len(jpegs), PHOTOS):
        decoded = [decode_photo(jpeg, size) for jpeg in jpegs[start : start + PHOTOS]]
        sound = torch.tensor([not isinstance(pixels, str) for pixels in decoded])
        block = torch.full((len(decoded), backbone.width), torch.nan)
        if sound.any():
            pixels = torch.from_numpy(np.stack([pixels for pixels in decoded if not isinstance(pixels, str)])).float()
            with autocast("auto", torch.device("cpu")):
                block[sound] = backbone(pixels.contiguous(memory_format=torch.channels_last)).float()
        parts.append(block)
    vectors = torch.cat(parts).numpy()
    file.parent.mkdir(parents=True, exist_ok=True)
    with (part := file.with_suffix(".part")).open("wb") as whole:
        np.save(whole, vectors)
    part.replace(file)
    write_metrics_json(note, made_with)
    return vectors


def gallery_means(vectors: Array, item: NDArray[np.intp], items: int) -> Array:
    """`(V, 512)` mean of each item's sound photos, given each photo's item `(N,)`; zeros for an item without one.

    >>> gallery_means(np.array([[1.0], [3.0], [np.nan], [5.0]], np.float32), np.array([0, 0, 1, 1]), 2).tolist()
    [[2.0], [5.0]]
    """
    sound = ~np.isnan(vectors[:, 0])
    vectors, item = vectors[sound], item[sound]
    sums = np.zeros((items, vectors.shape[1]), np.float32)
    np.add.at(sums, item, vectors)
    return sums / np.maximum(1, np.bincount(item, minlength=items))[:, None].astype(np.float32)


def standardised(vectors: Array, rows: NDArray[np.intp]) -> Tensor:
    """Square roots, then mean 0 and variance 1 over `rows`, the training items.

    The roots because ImageNet features have a few large numbers that drown the others.
    """
    roots = np.sqrt(np.maximum(vectors, 0))
    return torch.from_numpy((roots - roots[rows].mean(0)) / (roots[rows].std(0) + 1e-6)).float()
