"""Vectors of the Airbnb galleries: other settings of a frozen encoder, and encoders trained anew for every fold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from evaluation.gallery.probe import FrozenArm, Trial
from evaluation.gallery.probe_heads import Fitted, fit_linear
from features.gallery import EncoderConfig, GalleryData, GalleryEncoder, GalleryNetwork
from features.gallery.batches import sequential_batches
from features.gallery.embedding import network_vectors
from features.gallery.inference import inference_network
from features.gallery.prefix_cache import PrefixCache
from features.gallery.source import PhotoSource

Matrix = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]
BLOCK = 64  # photos at once
# Half-decades, not the library's decades: read from 1,536 numbers, accuracy changes by a point between 1e-3 and 1e-2.
STRENGTHS = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)


@torch.no_grad()
def photo_features(network: GalleryNetwork, photos: PhotoSource) -> tuple[Tensor, Tensor]:
    """Features `(N, 512)` of the N sound photos, and of their mirror images: what every pooling starts from."""
    backbone = inference_network(network).backbone
    plain, mirrored = [], []
    for rows in np.array_split(np.flatnonzero(photos.sound), -(-int(photos.sound.sum()) // BLOCK)):
        pixels = photos.pixels(rows)
        plain.append(backbone(pixels))
        mirrored.append(backbone(pixels.flip(3)))
    return torch.cat(plain), torch.cat(mirrored)


@torch.no_grad()
def pooled(
    network: GalleryNetwork, features: Tensor, offsets: npt.NDArray[np.int64], pooling: str, *, cover: bool = False,
    root: bool = True,
) -> Matrix:  # fmt: skip
    """Gallery vectors `(V, D)` of the network's backbone under other settings; a gallery is a run of photos."""
    other = GalleryNetwork(network.backbone, pooling=pooling, cover=cover, root=root).eval()
    return other.embed_features(features.double(), torch.from_numpy(offsets)).numpy()


class Linear(FrozenArm):
    """The linear probe of vectors `(V, D)`, its strength among `STRENGTHS`; in float32, in half the time."""

    def __init__(self, matrix: Matrix) -> None:
        super().__init__(matrix, "linear")
        self.matrix = self.matrix.astype(np.float32)

    def settings(self) -> dict[str, Any]:
        """As `Arm.settings`."""
        return {**super().settings(), "head": {"strengths": STRENGTHS}}

    def fit(self, trial: Trial) -> Fitted:
        """As `Arm.fit`."""
        return linear(self.matrix, trial)


def linear(vectors: Matrix, trial: Trial) -> Fitted:
    """The linear probe of one fold."""
    train, validation = ((vectors[rows], trial.labels[rows]) for rows in (trial.train, trial.validation))
    return fit_linear(train, validation, vectors[trial.test], trial.classes, strengths=STRENGTHS, inner=trial.inner)


class Refitted:
    """An encoder trained on the training items of each fold alone: an arm of the probe, and vectors for any other.

    Args:
        data: The galleries.
        photos: Theirs, at the size that `config` says.
        config: With `cache = "prefix"`.
        folder: Where the outputs of the frozen part are kept.
    """

    head = "linear"

    def __init__(self, data: GalleryData, photos: PhotoSource, config: EncoderConfig, folder: Path) -> None:
        self.data, self.photos, self.config, self.folder = data, photos, config, folder
        self.fitted: dict[tuple[int, bytes], Matrix] = {}

    def settings(self) -> Mapping[str, Any]:
        """As `Arm.settings`."""
        return {"encoder": self.config.model_dump(mode="json")}

    def fit(self, trial: Trial) -> Fitted:
        """As `Arm.fit`: the linear probe on the vectors of the fold's own encoder."""
        return linear(self.vectors(np.concatenate([trial.train, trial.validation]), trial.seed), trial)

    def vectors(self, rows: Rows, seed: int) -> Matrix:
        """`(V, D)` of all items, by an encoder that saw the attributes of `rows` only."""
        rows = np.sort(rows)
        key = (seed, rows.tobytes())
        if key not in self.fitted:
            self.fitted[key] = self._fitted(rows, seed)
        return self.fitted[key]

    def _fitted(self, rows: Rows, seed: int) -> Matrix:
        training = self.config.training.model_copy(update={"seed": seed})
        config = self.config.model_copy(update={"seed": seed, "training": training})
        encoder = GalleryEncoder.fit(
            self.data, config, rows=rows, photos=self.photos, folder=self.folder, progress=False, device="cpu"
        )
        stored = PrefixCache.build(  # found in the folder
            encoder.network.backbone, self.photos, folder=self.folder, precision=config.cache_precision
        )
        everything = np.arange(len(self.data))
        batches = sequential_batches(stored, self.data.photos, everything, config.photo_budget, device="cpu")
        raw, _ = network_vectors(encoder.network.eval(), batches, stored=True)
        return ((raw - encoder.mean) / encoder.std).numpy()
