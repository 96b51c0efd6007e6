"""Backbone x width x training paradigm, judged side by side: the ablation of [Etsy], with the probe of [Booking]."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from evaluation.gallery.ablation_measures import (
    AblationProbe,
    ReviewPhotos,
    alike,
    attribute_digest,
    digest,
    found_again,
    probed,
    vectors_by_row,
)
from evaluation.gallery.latency import latency
from evaluation.gallery.resumable import KeptResults
from features.errors import InputError
from features.gallery.backbones import count_parameters
from features.gallery.building import photo_size
from features.gallery.config import EncoderConfig
from features.gallery.data import GalleryData
from features.gallery.encoder import GalleryEncoder
from features.gallery.source import PhotoSource, open_photos


@dataclass(frozen=True)
class Variant:
    """A row of the table.

    Attributes:
        name: Unique.
        config: The encoder's settings.
        trained: False = the encoder as it starts: random weights, or pretrained ones as they come.
    """

    name: str
    config: EncoderConfig
    trained: bool = True

    @property
    def paradigm(self) -> str:
        """What the weights come from, in words."""
        if not self.trained:
            known = self.config.pretrained or self.config.weights is not None
            return "frozen pretrained" if known else "random weights"
        if self.config.loss == "triplet":
            return f"triplet, {self.config.mining}"
        return {"pseudo_uniform": "multitask, pseudo-uniform", "kendall": "multitask, Kendall"}[self.config.loss]


def ablation_table(
    data: GalleryData,
    variants: Sequence[Variant],
    *,
    probe: AblationProbe | None = None,
    review: ReviewPhotos | None = None,
    attributes: Sequence[str] = (),
    folder: str | Path | None = None,
    photos: Mapping[int, PhotoSource] | None = None,
    device: torch.device | str | None = None,
    progress: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Fits and measures every variant.

    Args:
        data: Galleries and attributes.
        variants: The rows.
        probe: The held-out attribute; None = no such columns.
        review: Photos by another camera; None = no such columns.
        attributes: Task columns for same-attribute retrieval, precision@10 averaged over them, among the items that
            training did not see (its validation items): those seen would flatter whatever learned their labels.
        folder: One JSON file per row lies there, and the checkpoint of the row being trained: a run that was killed
            goes on.
        photos: Size in pixels -> the data's photos, decoded before.
        device: Of training and embedding; None = CUDA if there is one.
        progress: Called with a line before each row.

    Returns:
        One row per variant: variant, backbone, paradigm, dim (of the vector), embed_dim, pooling, parameters (of the
        encoder without its heads), trainable, probe with probe_low and probe_high (accuracy, 95 %), majority,
        same_item (MRR) with _low and _high, same_item_chance, same_attribute (precision@10) with same_attribute_chance
        and same_attribute_lift, photo_ms, gallery_ms (of 20 photos), epochs, reason (why a row could not be made: a
        missing package, say; else None).

    Raises:
        ValueError: two variants of one name.
    """
    names = [variant.name for variant in variants]
    if len(set(names)) != len(names):
        raise ValueError(f"`variants` must have different names, got {names}")
    run = _Run(data, probe, review, tuple(attributes), folder, dict(photos or {}), device)
    rows = []
    for number, variant in enumerate(variants, start=1):
        if progress is not None:
            progress(f"row {number} of {len(variants)}: {variant.name}")
        rows.append({"variant": variant.name, **run.row(variant)})
    return pd.DataFrame(rows, columns=COLUMNS)


COLUMNS = [
    "variant", "backbone", "paradigm", "dim", "embed_dim", "pooling", "parameters", "trainable", "probe", "probe_low",
    "probe_high", "majority", "same_item", "same_item_low", "same_item_high", "same_item_chance", "same_attribute",
    "same_attribute_chance", "same_attribute_lift", "photo_ms", "gallery_ms", "epochs", "reason",
]  # fmt: skip


class _Run:
    """What all rows share."""

    def __init__(
        self,
        data: GalleryData,
        probe: AblationProbe | None,
        review: ReviewPhotos | None,
        attributes: tuple[str, ...],
        folder: str | Path | None,
        photos: dict[int, PhotoSource],
        device: torch.device | str | None,
    ) -> None:
        self.data, self.probe, self.review, self.attributes = data, probe, review, attributes
        self.folder = None if folder is None else Path(folder)
        self.photos, self.device = photos, device
        self.kept = KeptResults(folder)

    def row(self, variant: Variant) -> dict[str, Any]:
        """One row; a missing package or file is its `reason`, and the other rows are made all the same."""
        config = variant.config
        head = {
            "backbone": config.backbone,
            "paradigm": variant.paradigm,
            "embed_dim": config.embed_dim,
            "pooling": config.pooling,
        }
        try:
            return {**head, **self._kept(variant)}
        except InputError as error:
            return {**head, "reason": str(error)}

    def _kept(self, variant: Variant) -> dict[str, Any]:
        config, source = variant.config, self._source(variant.config)
        settings = {
            "config": config.model_dump(mode="json"),
            "trained": variant.trained,
            "photos": source.fingerprint,
            "items": attribute_digest(self.data),
            "probe": None if self.probe is None else self.probe.settings(),
            "review": None if self.review is None else self.review.digest(),
            "attributes": list(self.attributes),
        }
        # a checkpoint belongs to one config: another one must not find it
        place = digest(json.dumps(settings, sort_keys=True).encode())[:16]
        checkpoint = None if self.folder is None else self.folder / "checkpoints" / place
        found = self.kept.of(variant.name, settings, lambda: self._measured(variant, source, checkpoint))
        if checkpoint is not None and checkpoint.is_dir():
            shutil.rmtree(checkpoint)
        return found

    def _measured(self, variant: Variant, source: PhotoSource, checkpoint: Path | None) -> dict[str, Any]:
        config, data = variant.config, self.data
        if variant.trained:
            encoder = GalleryEncoder.fit(
                data, config, photos=source, checkpoint=checkpoint, progress=False, device=self.device
            )
        else:
            encoder = GalleryEncoder.untrained(data, config, photos=source, progress=False, device=self.device)
        matrix = vectors_by_row(encoder.embed(data, photos=source, device=self.device), data)
        network = encoder.network
        body = [module for name, module in network.named_children() if name != "heads"]
        counts = np.sum([count_parameters(module) for module in body], axis=0)
        return {
            "dim": encoder.dim,
            "trainable": int(counts[0]) if variant.trained else 0,
            "parameters": int(counts[1]),
            "epochs": len(encoder.history.epochs),
            **({} if self.probe is None else probed(self.probe, matrix)),
            **({} if self.review is None else found_again(self.review, encoder, matrix, self.device)),
            **(alike(data, self.attributes, matrix, config) if self.attributes else {}),
            **latency(network),
            "reason": None,
        }

    def _source(self, config: EncoderConfig) -> PhotoSource:
        size = photo_size(config)
        if size not in self.photos:
            self.photos[size] = open_photos(self.data, size)
        return self.photos[size]


__all__ = ["COLUMNS", "AblationProbe", "ReviewPhotos", "Variant", "ablation_table", "vectors_by_row"]
