"""A gallery network trained end to end on given labels: for the probe's end-to-end arm and the single-task optima.

Only an evaluation may do this with held-out labels; `GalleryEncoder.fit` refuses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evaluation.checks import FloatArray, IntArray
from evaluation.gallery.task_scores import base_predictions
from features.gallery.augmentation import Augmentation
from features.gallery.batches import GalleryBatch, GalleryBatches, sequential_batches
from features.gallery.building import make_network, photo_size
from features.gallery.config import EncoderConfig
from features.gallery.data import GalleryData
from features.gallery.fitting import fit_network, mean_losses
from features.gallery.network import GalleryNetwork
from features.gallery.photos import PhotoIndex
from features.gallery.source import PhotoSource, open_photos
from multitask import History, Task, default_device


@dataclass(frozen=True)
class Trained:
    """A trained network.

    Attributes:
        network: In evaluation mode, with the best epoch's weights (the last epoch's where the epochs were given).
        history: How training went.
        validation_loss: Sum of the tasks' losses over all validation labels.
    """

    network: GalleryNetwork
    history: History
    validation_loss: float

    @property
    def kept(self) -> int:
        """The epoch, from 1, whose weights were kept."""
        best = self.history.best_epoch
        return len(self.history.epochs) if best is None else best + 1


@dataclass(frozen=True, eq=False)
class LabelTraining:
    """The photos and the settings of `EncoderConfig`, ready to be trained on any labels of the same items.

    The architecture, the first weights (those of the config's backbone: random where it names no pretrained ones), the
    photo budget, the augmentation and the stopping rule are the encoder's own. A frozen prefix is run, not cached.

    Attributes:
        index: Which photos belong to which item.
        photos: Their pixels.
        config: Settings.
        device: Where the networks are.
    """

    index: PhotoIndex
    photos: PhotoSource
    config: EncoderConfig
    device: torch.device

    @classmethod
    def of(
        cls,
        data: GalleryData,
        config: EncoderConfig,
        *,
        photos: PhotoSource | None = None,
        folder: str | Path | None = None,
        device: torch.device | str | None = None,
    ) -> LabelTraining:
        """Decode the photos of `data` at the size that `config` asks for, unless `photos` are they already."""
        if photos is None:
            photos = open_photos(data, photo_size(config), folder=None if folder is None else Path(folder))
        return cls(data.photos, photos, config, default_device() if device is None else torch.device(device))

    def settings(self) -> dict[str, Any]:
        """Everything that a training depends on, JSON-able."""
        return {"config": self.config.model_dump(mode="json"), "photos": self.photos.fingerprint}

    def network(self, tasks: Sequence[Task], train_labels: FloatArray, seed: int) -> GalleryNetwork:
        """The untrained network for `tasks`, its heads at the base rates of `train_labels` `(M, T)`."""
        network = make_network(self.config, tasks, base_bias(tasks, train_labels), seed=seed)
        return network.to(self.device)

    def fit(
        self,
        tasks: Sequence[Task],
        labels: FloatArray,
        train_rows: IntArray,
        validation_rows: IntArray,
        *,
        seed: int,
        learning_rate: float | None = None,
        epochs: int | None = None,
        progress: bool | None = False,
    ) -> Trained:
        """Train a network on `labels`.

        Args:
            tasks: The T tasks.
            labels: `(V, T)` one row per item of the data set, NaN = missing.
            train_rows: `(n,)` rows to learn from.
            validation_rows: `(m,)` rows that decide when to stop; with `epochs` they are only looked at.
            seed: Of first weights, order and augmentation.
            learning_rate: None = the config's.
            epochs: Exactly so many passes; None = the config's rule of stopping.
            progress: As for `multitask.fit`.

        Raises:
            ValueError: a task without a training label, no galleries with photos, a photo budget below the largest.
        """
        config, tensor = self.config, torch.from_numpy(labels).float()
        network = self.network(tasks, labels[train_rows], seed)
        batches = GalleryBatches(
            self.photos,
            self.index,
            train_rows,
            tensor,
            photo_budget=config.photo_budget,
            seed=seed,
            sample_photos=config.sample_photos,
            keep_cover=config.cover,
            augment=self._augmentation(seed),
            device=self.device,
        )

        def held_out() -> list[GalleryBatch]:
            return self.batches(validation_rows, tensor)

        changes: dict[str, Any] = {"seed": seed}
        if learning_rate is not None:
            changes["learning_rate"] = learning_rate
        if epochs is not None:
            changes["epochs"] = epochs
        history = fit_network(
            network,
            batches,
            held_out if epochs is None else None,
            "pseudo_uniform",
            config.training.model_copy(update=changes),
            progress=progress,
            device=self.device,
        )
        loss = history.best_value
        if loss is None:  # nothing was validated
            loss = float(mean_losses(network.eval(), held_out())[0].sum())
        return Trained(network.eval(), history, loss)

    def batches(self, rows: IntArray, labels: Tensor | None = None) -> list[GalleryBatch]:
        """Batches of `rows` in order; a gallery without a sound photo is in none of them."""
        return list(
            sequential_batches(
                self.photos, self.index, rows, self.config.photo_budget, labels=labels, device=self.device
            )
        )

    @torch.no_grad()
    def outputs(self, network: GalleryNetwork, rows: IntArray) -> FloatArray:
        """`(n, sum of widths)` outputs for `rows`; an item without photos has those of the zero vector."""
        network.eval()
        empty = network.predict(torch.zeros(1, network.dim, device=self.device))
        table = empty.repeat(self.index.items, 1).double().cpu().numpy()
        for batch in sequential_batches(self.photos, self.index, rows, self.config.photo_budget, device=self.device):
            table[batch.rows.cpu().numpy()] = network(batch.galleries).double().cpu().numpy()
        return np.asarray(table[rows])

    def _augmentation(self, seed: int) -> Augmentation | None:
        chosen = self.config.augmentation
        if not chosen.any:
            return None
        return Augmentation(chosen.flip, chosen.crop, chosen.rotate, chosen.jitter, seed=seed)


def base_bias(tasks: Sequence[Task], train_labels: FloatArray) -> Tensor:
    """`(sum of widths,)` outputs that predict the training labels' frequencies and means.

    >>> base_bias([Task("pool")], np.array([[1.0], [0.0], [0.0], [0.0]])).tolist()
    [-1.0986123085021973]
    """
    parts = []
    for task, p in zip(tasks, base_predictions(tasks, train_labels, 1).values()):
        if task.kind == "binary":
            p = np.clip(p, 1e-3, 1 - 1e-3)  # a task that is all yes so far must still be able to say no
            parts.append(np.log(p / (1.0 - p)))
        else:
            parts.append(np.log(p[0]) if task.kind == "multiclass" else p)
    return torch.from_numpy(np.concatenate(parts)).float()
