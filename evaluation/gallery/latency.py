"""How long a gallery network takes from pixels to a vector: one thread, the median of repeats."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from evaluation.gallery.threads import one_thread
from features.gallery.network import GalleryNetwork
from features.gallery.packed import PackedGalleries
from multitask.malloc import keep_freed_memory

GALLERY = 20  # photos, the article's mean


def latency(network: GalleryNetwork, *, repeats: int = 7, photos: int = GALLERY) -> dict[str, float]:
    """Milliseconds from pixels to the vector, for one photo alone and for a gallery.

    Processor time on one thread (on CUDA wall time until the device is done): an online service computes one gallery
    at a time, and other programs on the machine do not count.

    Args:
        network: On its device.
        repeats: At least 5; the median counts.
        photos: Of the gallery.

    Returns:
        {"photo_ms", "gallery_ms"}.

    Raises:
        ValueError: fewer than 5 repeats, or a gallery without photos.
    """
    if repeats < 5 or photos < 1:
        raise ValueError(f"`repeats` must be at least 5 and `photos` at least 1, got {repeats} and {photos}")
    device = next(network.parameters()).device
    size = network.backbone.preprocessing.size
    generator = torch.Generator().manual_seed(0)

    def measured(count: int) -> float:
        pixels = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)
        galleries = PackedGalleries(pixels, torch.tensor([0, count])).to(device)
        return median_ms(lambda: network.embed(galleries), repeats, device)

    network.eval()
    keep_freed_memory()  # else whether something was trained before in this process would show
    with one_thread(), torch.no_grad():
        return {"photo_ms": measured(1), "gallery_ms": measured(photos)}


def median_ms(call: Callable[[], object], repeats: int, device: torch.device) -> float:
    """The median of `repeats` calls in milliseconds, after one that does not count."""
    seconds = []
    for _ in range(repeats + 1):
        start = _now(device)
        call()
        seconds.append(_now(device) - start)
    return float(1e3 * np.median(seconds[1:]))


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()
