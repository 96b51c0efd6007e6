"""The gallery network with modulation: every task reads the photos in its own way behind the shared stages."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from features.gallery.backbones import Backbone
from features.gallery.network import GalleryNetwork
from features.gallery.packed import PackedGalleries
from multitask.modulation.layers import Scaling, under_each


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
        No task; nothing of the backbone trains; or nothing of it comes before the masks, which would scale the photos.

    Examples
    --------
    >>> from features.gallery.backbones import make_backbone
    >>> from multitask import Task
    >>> network = ModulatedGalleryNetwork(make_backbone("small"), tasks=[Task("pool"), Task("bar")]).eval()
    >>> galleries = PackedGalleries(torch.zeros(5, 3, 64, 64, dtype=torch.uint8), torch.tensor([0, 2, 5]))
    >>> network.embed(galleries).shape, network.embed_tasks(galleries).shape, network(galleries).shape
    (torch.Size([2, 192]), torch.Size([2, 2, 192]), torch.Size([2, 2]))
    """

    modulated: ClassVar[bool] = True

    def __init__(self, backbone: Backbone, *, tasks: Sequence[Any], tasks_at_once: int = 8, **settings: Any) -> None:
        if not tasks:
            raise ValueError("`tasks` must hold at least one task to modulate by, got none")
        if not len(backbone.suffix):
            raise ValueError("`backbone` must have a last stage that trains, got one that is frozen")
        if not [*backbone.prefix.parameters(), *backbone.suffix[:-1].parameters()]:
            raise ValueError("`backbone` must be cut before its last stage, got one in one piece: make it with `cut`")
        super().__init__(backbone, tasks=tasks, **settings)
        self.tasks_at_once = tasks_at_once
        _, *rest = _last_takes(backbone)
        # (N, C), maps (N, C, H, W), tokens (N, L, C) or maps (N, H, W, C); photos are square, and so are their maps
        axis = 1 if len(rest) == 1 or (len(rest) == 3 and rest[1] == rest[2]) else -1
        self.stage_masks = Scaling(len(self.tasks), rest[0 if axis == 1 else -1], channel_axis=axis)
        self.vector_masks = Scaling(len(self.tasks), self.dim)

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

    def outputs(self, galleries: PackedGalleries, tasks: Tensor | None = None, *, stored: bool = False) -> Tensor:
        """B galleries to the outputs of all tasks `(B, sum of widths)`, each under its own masks."""
        vectors = self.embed_tasks(galleries, tasks, stored=stored)  # (B, k, dim)
        if tasks is not None:  # the heads read T vectors
            empty = vectors.new_zeros(len(vectors), len(self.tasks), self.dim)
            vectors = empty.index_copy(1, tasks, vectors)
        return self.predict(vectors)

    def draw_tasks(self) -> Tensor:
        """Some tasks `(k,)` for a training step, by torch's random state on the CPU, which checkpoints keep."""
        some = torch.randperm(len(self.tasks))[: self.tasks_at_once].sort().values
        return some.to(self.stage_masks.weight.device)

    def mask_distances(self) -> list[float]:
        """`(T,)` root mean square of a task's masks less 1; 0 for a task that training never drew with a label."""
        masks = torch.cat([self.stage_masks.effective(), self.vector_masks.effective()], dim=1).detach()
        found: list[float] = (masks - 1).square().mean(1).sqrt().tolist()
        return found

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
        found, axis = [], self.stage_masks.channel_axis
        for stage_block, vector_block in zip(stage.split(size), vector.split(size)):
            k = len(stage_block)
            of_views = [self.backbone.last(under_each(maps, stage_block, axis)) for maps in views]
            features = of_views[0] if len(views) == 1 else torch.stack(of_views).mean(0)  # (N * k, width)
            features = features.unflatten(0, (len(pixels), k)).transpose(0, 1).flatten(0, 1)  # task by task
            starts = offsets[:-1] + len(pixels) * torch.arange(k, device=offsets.device)[:, None]
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


@torch.no_grad()
def _last_takes(backbone: Backbone) -> torch.Size:
    """The shape of what the last stage takes, by one black photo in evaluation mode."""
    modes = {module: module.training for module in backbone.modules()}
    size = backbone.preprocessing.size
    try:
        return backbone.eval().before_last(torch.zeros(1, 3, size, size)).shape
    finally:
        for module, mode in modes.items():
            module.training = mode


__all__ = ["ModulatedGalleryNetwork"]
