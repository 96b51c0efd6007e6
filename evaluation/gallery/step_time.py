"""What one training iteration costs per gallery: a head on a frozen encoder against the whole network.

The last rows of table 2 in [Booking]: 14 ms per instance for the head on frozen embeddings, 136 ms end to end. Time is
processor time of this process, not time on the wall, which other programs lengthen; on CUDA, where the processor only
waits, it is wall time up to the end of the device's work.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from evaluation.gallery.probe_heads import HeadConfig, two_layer_head
from features.gallery.batches import GalleryBatch
from features.gallery.inference import inference_network
from features.gallery.network import GalleryNetwork
from multitask import masked_losses
from multitask.malloc import keep_freed_memory
from multitask.precision import autocast, has_fast_bfloat16

Precision = Literal["float32", "bfloat16", "auto"]
END_TO_END = "end to end"
WITH_FORWARD, CACHED, WHOLE = "with the encoder's forward pass", "cached vectors", "end to end"


def training_step_times(
    encoders: Mapping[str, GalleryNetwork],
    end_to_end: GalleryNetwork | None,
    batches: Sequence[GalleryBatch],
    classes: int,
    *,
    head: HeadConfig | None = None,
    repeats: int = 5,
    warmup: int = 1,
    precision: Precision = "auto",
) -> pd.DataFrame:
    """Mean time per gallery of a training iteration, on the same batches of decoded photos for every arm.

    A frozen arm's iteration is the encoder's forward pass over the batch's photos, without gradients, and one Adam
    step of the two-layer head; "cached vectors" is the head's step alone. End to end it is forward, backward and one
    Adam step of the whole network. Reading and decoding photos, the same for all, is not in it.

    Args:
        encoders: Arm -> its network; its heads are not used.
        end_to_end: A network with the held-out attribute as its one multiclass task; None = without this row. A copy
            is trained, the network stays as it is.
        batches: Galleries with labels `(B, 1)`, the attribute's class number, none missing; on the networks' device.
        classes: K.
        head: Settings of the two-layer head.
        repeats: Times each batch is measured.
        warmup: Times each batch is run before.
        precision: Of the matrix products of every arm, as `TrainingConfig.precision`.

    Returns:
        Two rows per encoder and one end to end: arm, step ("with the encoder's forward pass", "cached vectors",
        "end to end"), ms (per gallery), se (over the iterations), iterations, galleries (per iteration), photos (per
        gallery), cheaper (the end-to-end time over this one; NaN without it).

    Raises:
        ValueError: no batch, or a missing label.
    """
    if not batches or repeats < 1:
        raise ValueError(f"`batches` and `repeats` must be at least 1, got {len(batches)} and {repeats}")
    if any(bool(torch.isnan(batch.labels).any()) for batch in batches):
        raise ValueError("`batches` must hold no missing label, got NaN")
    keep_freed_memory()  # as every training does
    steps: dict[tuple[str, str], Callable[[int], None]] = {}
    for name, network in encoders.items():
        steps |= _frozen_steps(name, _frozen(network, precision, batches), batches, classes, head or HeadConfig())
    if end_to_end is not None:
        steps[END_TO_END, WHOLE] = _end_to_end_step(copy.deepcopy(end_to_end), batches)
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in steps}
    for repeat in range(-warmup, repeats):
        for key, step in steps.items():  # the arms take turns: a slow minute of the machine meets all of them
            for number, batch in enumerate(batches):
                start = _now(batch)
                with autocast(precision, batch.labels.device):
                    step(number)
                if repeat >= 0:
                    seconds[key].append(_now(batch) - start)
    galleries = np.tile([len(batch.galleries) for batch in batches], repeats)
    photos = sum(len(batch.galleries.pixels) for batch in batches) / sum(len(batch.galleries) for batch in batches)
    table = pd.DataFrame(
        [
            {"arm": arm, "step": step, **_mean(np.asarray(found), galleries), "photos": photos}
            for (arm, step), found in seconds.items()
        ]
    )
    whole = table.loc[table["step"] == WHOLE, "ms"]
    return table.assign(cheaper=(float(whole.iloc[0]) if len(whole) else np.nan) / table["ms"])


def _frozen(network: GalleryNetwork, precision: Precision, batches: Sequence[GalleryBatch]) -> GalleryNetwork:
    """The network as it is used, its convolutions in the precision that training has as well."""
    device = batches[0].labels.device
    fast = precision == "bfloat16" or (precision == "auto" and has_fast_bfloat16(device))
    return inference_network(network, "bfloat16" if fast else "float32")


def _frozen_steps(
    name: str, network: GalleryNetwork, batches: Sequence[GalleryBatch], classes: int, config: HeadConfig
) -> dict[tuple[str, str], Callable[[int], None]]:
    device = batches[0].labels.device
    head = two_layer_head(network.dim, classes, config, None, seed=0).to(device).train()
    optimizer = torch.optim.Adam(head.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    with torch.no_grad():
        cached = [network.embed(batch.galleries).float() for batch in batches]

    def train(vectors: torch.Tensor, number: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(head(vectors), batches[number].labels[:, 0].long()).backward()
        optimizer.step()

    def with_forward(number: int) -> None:
        with torch.no_grad():
            vectors = network.embed(batches[number].galleries).float()
        train(vectors, number)

    return {(name, WITH_FORWARD): with_forward, (name, CACHED): lambda number: train(cached[number], number)}


def _end_to_end_step(network: GalleryNetwork, batches: Sequence[GalleryBatch]) -> Callable[[int], None]:
    network.train()
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-4)

    def train(number: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        losses, _ = masked_losses(network.tasks, network(batches[number].galleries), batches[number].labels)
        losses.sum().backward()
        optimizer.step()

    return train


def _now(batch: GalleryBatch) -> float:
    if batch.labels.device.type == "cuda":
        torch.cuda.synchronize(batch.labels.device)
        return time.perf_counter()
    return time.process_time()


def _mean(seconds: np.ndarray, galleries: np.ndarray) -> dict[str, Any]:
    each = 1e3 * seconds / galleries
    return {
        "ms": float(1e3 * seconds.sum() / galleries.sum()),
        "se": float(each.std(ddof=1) / np.sqrt(len(each))) if len(each) > 1 else float("nan"),
        "iterations": len(each),
        "galleries": float(galleries.mean()),
    }
