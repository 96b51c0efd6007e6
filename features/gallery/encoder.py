"""The gallery encoder: photos of an item in, one vector out, learned from many attributes at once [Booking]."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from features.errors import InputError
from features.gallery.building import fingerprint
from features.gallery.config import EncoderConfig
from features.gallery.data import GalleryData
from features.gallery.network import GalleryNetwork
from features.gallery.preprocessing import Preprocessing
from features.gallery.store import Embeddings
from features.gallery.tasks import GalleryTasks
from multitask import History
from multitask.progress import Reporter

if TYPE_CHECKING:
    import numpy as np

    from features.gallery.source import PhotoSource

Galleries = Sequence[Sequence[bytes]]


@dataclass(frozen=True, eq=False)
class GalleryEncoder:
    """A fitted encoder. Make one by `fit`, `untrained` or `load`.

    Parameters
    ----------
    config : EncoderConfig
    tasks : GalleryTasks
        What it was trained to predict.
    network : GalleryNetwork
        In evaluation mode.
    mean, std : tensors `(D,)`
        Of the network's vectors over the training galleries. `embed` subtracts the one and divides by the other: a
        cosine then compares what differs between galleries, and the ranker's first layer gets inputs of one size.
    history : History
        How training went; empty for an untrained encoder.
    heads_trained : bool
        Whether `predict` means anything: not after triplets, nor without training.
    max_photos, max_pixels : int
        The caps of the training data's schema: photos of a gallery, pixels of a photo.
    report : dict
        What became of photos and labels (JSON-able): "photos", "labels", "left_out"; with `config.sharing` also
        "sharing": which heads share a hidden layer, and how that came about; with `config.modulation` "modulation":
        how far every task's masks are from 1, where they start, root mean square.
    task_mean, task_std : tensors `(T, D)`, optional
        With `config.modulation`: as `mean` and `std`, of the vectors under every task's masks.

    Examples
    --------
    >>> encoder = GalleryEncoder.fit("dataset.toml")                                # doctest: +SKIP
    >>> encoder.embed("dataset.toml").write("vectors.parquet")                      # doctest: +SKIP
    >>> query = encoder.embed([[Path("seed.jpg").read_bytes()]])                    # doctest: +SKIP
    """

    config: EncoderConfig
    tasks: GalleryTasks
    network: GalleryNetwork
    mean: Tensor
    std: Tensor
    history: History
    heads_trained: bool
    max_photos: int
    max_pixels: int
    report: Mapping[str, Any]
    task_mean: Tensor | None = None
    task_std: Tensor | None = None

    @classmethod
    def fit(
        cls,
        data: GalleryData | Path | str,
        config: EncoderConfig | None = None,
        *,
        rows: np.ndarray | None = None,
        photos: PhotoSource | None = None,
        folder: Path | None = None,
        checkpoint: Path | None = None,
        progress: bool | Reporter | None = None,
        device: torch.device | str | None = None,
        log: Callable[[str], None] | None = None,
    ) -> GalleryEncoder:
        """Train on nine tenths of the groups until the loss of the last tenth stops falling.

        Parameters
        ----------
        data : GalleryData or Path
            Galleries and attributes.
        config : EncoderConfig, optional
            None = the defaults.
        rows : array `(n,)`, optional
            Rows of the items table to learn from, or a mask `(V,)`; None = all. The others stay unseen, for a test.
        photos : PhotoSource, optional
            The data's photos where they have been decoded already, at the network's size; for several fits.
        folder : Path, optional
            Where the decoded photos are kept if they take more than 8 GB, and the outputs of a frozen prefix, which
            the next fit finds there again. None = such photos are decoded on demand, and the outputs kept in memory.
        checkpoint : Path, optional
            A folder in which training can be resumed to the same bits after a kill.
        progress : bool, callable or None
            As for `multitask.fit`: False is silent.
        device : optional
            None = CUDA if there is one.
        log : callable, optional
            Gets a line per step of the work and per kind of photo or label that could not be used.

        Raises
        ------
        InputError
            The data cannot be used (all faults at once), or a package or a file of weights is missing.
        """
        from features.gallery.encoder_fitting import fit_encoder

        return fit_encoder(
            cls, data, config or EncoderConfig(), rows=rows, photos=photos, folder=folder, checkpoint=checkpoint,
            progress=progress, device=device, log=log,
        )  # fmt: skip

    @classmethod
    def untrained(
        cls,
        data: GalleryData | Path | str,
        config: EncoderConfig | None = None,
        *,
        rows: np.ndarray | None = None,
        photos: PhotoSource | None = None,
        progress: bool | None = None,
        device: torch.device | str | None = None,
        log: Callable[[str], None] | None = None,
    ) -> GalleryEncoder:
        """The same encoder without training: random weights, or the pretrained ones that `config` names.

        Preprocessing, pooling and standardisation are those of `fit`, so a comparison measures the training alone.
        """
        from features.gallery.encoder_fitting import untrained_encoder

        return untrained_encoder(
            cls, data, config or EncoderConfig(), rows=rows, photos=photos, progress=progress, device=device, log=log
        )

    def embed(
        self,
        data: GalleryData | Path | str | Galleries,
        rows: np.ndarray | None = None,
        *,
        task: str | None = None,
        photos: PhotoSource | None = None,
        progress: bool | None = False,
        device: torch.device | str | None = None,
        log: Callable[[str], None] | None = None,
    ) -> Embeddings:
        """One vector per gallery that has a sound photo, in the order given.

        Parameters
        ----------
        data : GalleryData, Path, or sequence of sequences of bytes
            A data set; or galleries as the bytes of their photos (seed photos of a search, a guest's photo), whose ids
            are their places 0, 1, ...
        rows : array `(n,)`, optional
            Rows of the items table, or places, none of them twice; or a mask; None = all.
        task : str, optional
            The vectors under this task's masks, which tell galleries apart by what this task asks; None = under the
            mean of all tasks' masks. Only for an encoder with modulation. Vectors of two tasks have two fingerprints.
        photos, progress, device, log
            As for `fit`.

        Raises
        ------
        InputError
            There is no such task; no gallery has a sound photo; the data set's caps of photos or pixels are not the
            encoder's; the data cannot be used; photos of galleries are no bytes.
        ValueError
            `rows` are no such rows; `photos` are not those of the data, or given with galleries.
        """
        from features.gallery.embedding import embedded, vectors_of_data, vectors_of_galleries
        from features.gallery.view import View

        view = View.of(self, task)
        if isinstance(data, GalleryData | Path | str):
            vectors = vectors_of_data(
                self, data, rows, photos=photos, progress=progress, device=device, log=log, network=view.network
            )
        else:
            if photos is not None:
                raise ValueError("`photos` must be None for galleries of bytes: they are the photos")
            vectors = vectors_of_galleries(self, data, rows, device=device, log=log, network=view.network)
        return embedded(view, vectors)

    def predict(
        self,
        data: GalleryData | Path | str,
        rows: np.ndarray | None = None,
        *,
        photos: PhotoSource | None = None,
        progress: bool | None = False,
        device: torch.device | str | None = None,
    ) -> pd.DataFrame:
        """Probabilities of classes, and values in their own units, indexed by item id; see `GalleryTasks.values`.

        Raises
        ------
        InputError
            As `embed`; or the heads were not trained.
        """
        ids, outputs = self.outputs(data, rows, photos=photos, progress=progress, device=device)
        return self.tasks.values(outputs).set_index(pd.Index(ids))

    def outputs(
        self,
        data: GalleryData | Path | str,
        rows: np.ndarray | None = None,
        *,
        photos: PhotoSource | None = None,
        progress: bool | None = False,
        device: torch.device | str | None = None,
    ) -> tuple[np.ndarray, Tensor]:
        """Item ids `(n,)` and the heads' outputs `(n, sum of widths)` on the CPU: logits and standardised values.

        They are in the order of `tasks.tasks`, which with `tasks.labels` is what `masked_losses` takes.
        """
        from features.gallery.embedding import vectors_of_data

        if not self.heads_trained:
            raise InputError("this encoder's heads were not trained: it has vectors, but no predictions")
        found = vectors_of_data(
            self, data, rows, photos=photos, progress=progress, device=device, log=None, outputs=True
        )
        return found.ids, found.raw.float()

    def save(self, directory: Path | str) -> Path:
        """Write the encoder to `directory`, whole or not at all."""
        from features.gallery.encoder_files import save_encoder

        return save_encoder(self, Path(directory))

    @classmethod
    def load(cls, directory: Path | str) -> GalleryEncoder:
        """Read what `save` wrote; `InputError` names whatever has been changed."""
        from features.gallery.encoder_files import load_encoder

        return load_encoder(cls, Path(directory))

    @property
    def dim(self) -> int:
        """Numbers per vector, D."""
        return self.network.dim

    @property
    def preprocessing(self) -> Preprocessing:
        """Size of a photo in pixels, mean and spread of the channels."""
        return self.network.backbone.preprocessing

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of all that a vector depends on; see `building.fingerprint`."""
        settings = self.config.model_dump(include={"pooling", "cover", "root", "mirror"})
        caps = {"max_photos": self.max_photos, "max_pixels": self.max_pixels}
        return fingerprint(self.network, self.mean, self.std, settings | caps)


__all__ = ["GalleryEncoder"]
