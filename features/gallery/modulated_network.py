"""The gallery network with modulation: every task reads the photos in its own way behind the shared stages."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn

from features.gallery.backbones import Backbone
from features.gallery.network import GalleryNetwork
from features.gallery.packed import PackedGalleries
from multitask.modulation.layers import Scaling


class ModulatedGalleryNetwork(GalleryNetwork):
    """A gallery network whose tasks scale channels by masks of their own [Modulation].

    One mask per task on what the backbone's last stage reads, and one on the gallery vector: T (C + dim) parameters
    more than the network without. The stages before run once per photo, the last one once per photo and task. With all
    masks at 1, where they start, it is the network without modulation, bit for bit in evaluation.

    Without a task (`embed`) the masks are the mean of all tasks' masks.

    Parameters
    ----------
    backbone : Backbone
        Whose last stage trains.
    tasks : sequence of Task
        At least one.
    tasks_at_once : int
        Tasks that a training step evaluates, drawn at random, and in evaluation the tasks that are held in memory.
    settings
        As for `GalleryNetwork`.

    Raises
    ------
    ValueError
        No task; or nothing of the backbone trains.

    Examples
    --------
    >>> from features.gallery.backbones import make_backbone
    >>> from multitask import Task
    >>> network = ModulatedGalleryNetwork(make_backbone("small"), tasks=[Task("pool"), Task("bar")]).eval()
    >>> galleries = PackedGalleries(torch.zeros(5, 3, 64, 64, dtype=torch.uint8), torch.tensor([0, 2, 5]))
    >>> network.embed(galleries).shape, network.embed_tasks(galleries).shape, network(galleries).shape
    (torch.Size([2, 192]), torch.Size([2, 2, 192]), torch.Size([2, 2]))
    """

    def __init__(self, backbone: Backbone, *, tasks: Sequence[Any], tasks_at_once: int = 8, **settings: Any) -> None:
        if not tasks:
            raise ValueError("`tasks` must hold at least one task to modulate by, got none")
        if not len(backbone.suffix):
            raise ValueError("`backbone` must have a last stage that trains, got one that is frozen")
        super().__init__(backbone, tasks=tasks, **settings)
        self.tasks_at_once = tasks_at_once
        self.stage_masks = Scaling(len(self.tasks), _channels_before_last(backbone))
        self.vector_masks = Scaling(len(self.tasks), self.dim)

    def forward(self, galleries: PackedGalleries) -> Tensor:
        """B galleries to the outputs of all tasks `(B, sum of widths)`, each under its own masks."""
        return self.predict_tasks(self.embed_tasks(galleries))

    def embed(self, galleries: PackedGalleries) -> Tensor:
        """B galleries to their vectors `(B, dim)` float32 under the mean masks; zeros for one without photos."""
        return self._embed(galleries, self._mean(self.stage_masks), self._mean(self.vector_masks))[:, 0]

    def embed_stored(self, stored: Tensor, offsets: Tensor) -> Tensor:
        """As `embed`, from stored outputs of the backbone's frozen prefix."""
        galleries = PackedGalleries(stored, offsets)
        masks = self._mean(self.stage_masks), self._mean(self.vector_masks)
        return self._embed(galleries, *masks, stored=True)[:, 0]

    def embed_tasks(self, galleries: PackedGalleries, tasks: Tensor | None = None, *, stored: bool = False) -> Tensor:
        """B galleries to a vector per task `(B, k, dim)`.

        Parameters
        ----------
        galleries : PackedGalleries
            Of pixels, or with `stored` of outputs of the backbone's frozen prefix.
        tasks : tensor `(k,)` int64, optional
            Numbers of tasks; None = all of them.
        """
        stage, vector = self.stage_masks.effective(), self.vector_masks.effective()
        if tasks is not None:
            stage, vector = stage[tasks], vector[tasks]
        return self._embed(galleries, stage, vector, stored=stored)

    def predict_tasks(self, vectors: Tensor, tasks: Tensor | None = None) -> Tensor:
        """Vectors `(B, k, dim)` of the `tasks` `(k,)` to `(B, sum of widths)`; columns of other tasks mean nothing."""
        assert self.heads is not None
        vectors = vectors.to(self.heads.output_weight.dtype)  # pooling in float64 is for vectors, not for heads
        if tasks is not None:
            empty = vectors.new_zeros(len(vectors), len(self.tasks), self.dim)
            vectors = empty.index_copy(1, tasks, vectors)
        return self.predict(vectors)

    def draw_tasks(self) -> Tensor:
        """The tasks `(k,)` of a training step, by torch's random state on the CPU, which checkpoints keep."""
        drawn = torch.randperm(len(self.tasks))[: self.tasks_at_once].sort().values
        return drawn.to(self.stage_masks.weight.device)

    def of_task(self, task: int) -> ModulatedGalleryNetwork:
        """The same network under the masks of one task: its `embed` gives that task's vectors; parameters are shared.

        For vectors only: its heads are those of all tasks.
        """
        twin = copy(self)
        twin._modules = dict(self._modules)
        twin.stage_masks, twin.vector_masks = _one(self.stage_masks, task), _one(self.vector_masks, task)
        return twin

    def _mean(self, masks: Scaling) -> Tensor:
        return masks.effective().mean(0, keepdim=True)  # (1, C)

    def _embed(self, galleries: PackedGalleries, stage: Tensor, vector: Tensor, *, stored: bool = False) -> Tensor:
        """Under k masks `(k, C)` and `(k, dim)` to `(B, k, dim)`."""
        pixels, offsets = galleries.pixels, galleries.offsets
        views = [self._before_last(pixels, stored)]
        if self.mirror and not self.training:  # a cache of stored outputs is refused with it
            views.append(self._before_last(pixels.flip(3), stored))
        # BatchNorm takes its statistics over all drawn tasks together, so a training step is never cut.
        size = len(stage) if self.training else self.tasks_at_once
        found = []
        for stage_block, vector_block in zip(stage.split(size), vector.split(size)):
            of_views = [self.backbone.last(_scaled(maps, stage_block)) for maps in views]
            features = of_views[0] if len(views) == 1 else torch.stack(of_views).mean(0)  # (k * N, width)
            k, starts = (
                len(stage_block),
                offsets[:-1] + len(pixels) * torch.arange(len(stage_block))[:, None].to(offsets),
            )
            ends = torch.cat([starts.flatten(), starts.new_full((1,), k * len(pixels))])
            pooled = self.embed_features(features, ends).unflatten(0, (k, -1))  # (k, B, dim)
            found.append(pooled * vector_block[:, None].to(pooled.dtype))
        return torch.cat(found).transpose(0, 1)

    def _before_last(self, photos: Tensor, stored: bool) -> Tensor:
        return self.backbone.stored_before_last(photos) if stored else self.backbone.before_last(photos)


def _one(masks: Scaling, task: int) -> Scaling:
    own = copy(masks)
    own._parameters = {"weight": nn.Parameter(masks.weight[task : task + 1].detach(), requires_grad=False)}
    return own


def _channel_axis(maps: Tensor) -> int:
    """Axis 1 of `(n, C)` and `(n, C, H, W)`, the last one of tokens `(n, L, C)` and of maps `(n, H, W, C)`."""
    square = maps.ndim == 4 and maps.shape[2] == maps.shape[3]  # photos are square, and so are their maps
    return 1 if maps.ndim == 2 or square else maps.ndim - 1


def _scaled(maps: Tensor, masks: Tensor) -> Tensor:
    """`(N, ...)` under k masks `(k, C)` to `(k * N, ...)`, mask by mask."""
    axis = _channel_axis(maps)
    shape = [len(masks), *([1] * maps.ndim)]
    shape[axis + 1] = masks.shape[1]
    return (maps[None] * masks.to(maps.dtype).view(shape)).flatten(0, 1)


@torch.no_grad()
def _channels_before_last(backbone: Backbone) -> int:
    """C, by one black photo in evaluation mode."""
    modes = {module: module.training for module in backbone.modules()}
    size = backbone.preprocessing.size
    try:
        backbone.eval()
        maps = backbone.before_last(torch.zeros(1, 3, size, size))
    finally:
        for module, mode in modes.items():
            module.training = mode
    return int(maps.shape[_channel_axis(maps)])


__all__ = ["ModulatedGalleryNetwork"]
