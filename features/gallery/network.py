"""The gallery network: photos to features, features to one gallery vector, the vector to the outputs of all tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from features.gallery.backbones import Backbone
from features.gallery.packed import PackedGalleries
from features.gallery.pooling import make_pooling
from multitask.heads import make_heads
from multitask.sharing.branches import Branches
from multitask.tasks import Task
from multitask.towers import StackedTowers

ROOT_SHIFT = 1e-4


class GalleryNetwork(nn.Module):
    """Gallery encoder with a shallow head per task [Booking, figure 3].

    photos -> backbone -> (Linear to `embed_dim`) -> pooling -> gallery vector -> Linear, ReLU, Linear per task.

    Parameters
    ----------
    backbone : Backbone
        Shared by all photos.
    embed_dim : int, optional
        Numbers per photo after a linear layer [Etsy]; None = the backbone's width, without the layer.
    pooling : str
        See `make_pooling`.
    cover : bool
        Join the first photo's embedding to the pooled vector: where the order of the photos says which one the owner
        shows first. The vector then depends on which photo is first, and only on that.
    root : bool
        Take the signed square root of the photo features first [Perronnin 2010]: a few large ones then do not drown
        the others, which matters most for features that were learned on other photos.
    mirror : bool
        In evaluation, average the features of each photo and of its mirror image: twice the time, less noise.
    tasks : sequence of Task
        What the heads predict; none = an encoder only.
    head_hidden : int
        Hidden units per head; 0 = linear heads. h is not in the paper; 31 heads on a vector of 512 have
        18,073 h + 2,170 parameters, so that h = 315 gives its 5.7 million.
    branches : bool
        Whether the heads are `Branches`, which `SelectiveSharing` merges while training; `head_hidden` is above 0 then.
    group_of : sequence of int `(T,)`, optional
        Groups that branches were merged to, where their weights will be loaded.
    bias : sequence of float or tensor `(sum of widths,)`, optional
        First biases of the outputs: the logits of the base rates.

    Attributes
    ----------
    dim : int
        Length of the gallery vector.
    modulated : bool
        Whether every task has vectors of its own: `ModulatedGalleryNetwork`.
    tasks_at_once : int
        Tasks that a training step evaluates: all of them, unless it is modulated.

    Examples
    --------
    >>> from features.gallery.backbones import make_backbone
    >>> network = GalleryNetwork(make_backbone("small"), tasks=[Task("pool"), Task("city", "multiclass", n_classes=5)])
    >>> galleries = PackedGalleries(torch.zeros(5, 3, 64, 64, dtype=torch.uint8), torch.tensor([0, 2, 5]))
    >>> network.embed(galleries).shape, network(galleries).shape
    (torch.Size([2, 192]), torch.Size([2, 6]))
    """

    modulated: ClassVar[bool] = False

    def __init__(
        self,
        backbone: Backbone,
        *,
        embed_dim: int | None = None,
        pooling: str = "mean",
        cover: bool = False,
        root: bool = False,
        mirror: bool = False,
        tasks: Sequence[Task] = (),
        head_hidden: int = 320,
        branches: bool = False,
        group_of: Sequence[int] | None = None,
        bias: Sequence[float] | Tensor | None = None,
    ) -> None:
        super().__init__()
        if embed_dim is not None and embed_dim < 1:
            raise ValueError(f"`embed_dim` must be at least 1, got {embed_dim}")
        self.backbone, self.cover, self.tasks = backbone, cover, tuple(tasks)
        self.root, self.mirror, self.tasks_at_once = root, mirror, len(self.tasks)
        self.project = nn.Identity() if embed_dim is None else nn.Linear(backbone.width, embed_dim)
        width = backbone.width if embed_dim is None else embed_dim
        self.pooling = make_pooling(pooling, width)
        self.dim = self.pooling.out_features + (width if cover else 0)
        widths = [task.width for task in self.tasks]
        self.heads: StackedTowers | Branches | None = None
        if widths:
            self.heads = make_heads(self.dim, head_hidden, widths, bias=bias, branches=branches, group_of=group_of)

    def forward(self, galleries: PackedGalleries) -> Tensor:
        """B galleries to the outputs of all tasks `(B, sum of widths)`: logits, or values of a regression."""
        return self.outputs(galleries)

    def embed(self, galleries: PackedGalleries) -> Tensor:
        """B galleries to their vectors `(B, dim)` float32; zeros for one without photos."""
        features = self.backbone(galleries.pixels)
        if self.mirror and not self.training:
            features = (features + self.backbone(galleries.pixels.flip(3))) / 2
        return self.embed_features(features, galleries.offsets)

    def embed_stored(self, stored: Tensor, offsets: Tensor) -> Tensor:
        """Stored outputs of the backbone's frozen prefix, of N photos, with `(B + 1,)` offsets, to `(B, dim)`."""
        return self.embed_features(self.backbone.suffix(stored), offsets)

    def embed_features(self, features: Tensor, offsets: Tensor) -> Tensor:
        """Photo features `(N, backbone.width)` with `(B + 1,)` offsets to gallery vectors `(B, dim)`."""
        if self.root:  # shifted, so that the slope at 0 is finite
            features = features.sign() * ((features.abs() + ROOT_SHIFT).sqrt() - ROOT_SHIFT**0.5)
        embeddings = self.project(features)
        pooled: Tensor = self.pooling(embeddings, offsets)
        if not self.cover:
            return pooled
        return torch.cat([pooled, first_of_each(embeddings, offsets).to(pooled.dtype)], dim=1)

    def embed_batch(self, galleries: PackedGalleries, *, stored: bool = False) -> Tensor:
        """`embed`, or with `stored` what it gives from outputs of the backbone's frozen prefix."""
        return self.embed_stored(galleries.pixels, galleries.offsets) if stored else self.embed(galleries)

    def outputs(self, galleries: PackedGalleries, tasks: Tensor | None = None, *, stored: bool = False) -> Tensor:
        """B galleries to the outputs of all tasks `(B, sum of widths)`; those of other tasks than `tasks` mean nothing.

        `tasks` `(k,)` are those of `draw_tasks`, None = all; `stored` as for `embed_batch`.
        """
        del tasks  # they share one vector
        return self.predict(self.embed_batch(galleries, stored=stored))

    def draw_tasks(self) -> Tensor | None:
        """The tasks `(k,)` that a training step evaluates; None = all of them."""
        return None

    def embed_tasks(self, galleries: PackedGalleries, tasks: Tensor | None = None, *, stored: bool = False) -> Tensor:
        """B galleries to a vector for each of the `tasks` `(k,)`, None = all, `(B, k, dim)`: the same for all."""
        k = len(self.tasks) if tasks is None else len(tasks)
        return self.embed_batch(galleries, stored=stored)[:, None].expand(-1, k, -1)

    def mask_distances(self) -> list[float]:
        """`(T,)` how far every task's masks are from 1, where they start, root mean square; empty without masks."""
        return []

    def of_task(self, task: int) -> GalleryNetwork:
        """A network for the vectors of one task: this one."""
        del task
        return self

    def predict(self, vectors: Tensor) -> Tensor:
        """Gallery vectors `(B, dim)`, or one per task `(B, T, dim)`, to the outputs of all tasks `(B, sum of widths)`.

        Raises
        ------
        ValueError
            The network was made without tasks.
        """
        if self.heads is None:
            raise ValueError("`tasks` must hold at least one task to predict, got none")
        # Pooling in float64 (`inference_network`) is for vectors, not for heads.
        outputs: Tensor = self.heads(vectors.to(self.heads.output_weight.dtype))
        return outputs


def first_of_each(embeddings: Tensor, offsets: Tensor) -> Tensor:
    """The first photo's embedding of each gallery, `(N, D)` and `(B + 1,)` to `(B, D)`; zeros for an empty one.

    Examples
    --------
    >>> first_of_each(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([0, 2, 2, 3])).flatten().tolist()
    [1.0, 0.0, 3.0]
    """
    if len(embeddings) == 0:
        return embeddings.new_zeros(len(offsets) - 1, embeddings.shape[1])
    first = embeddings[offsets[:-1].clamp(max=len(embeddings) - 1)]
    return torch.where((offsets.diff() == 0)[:, None], 0, first)
