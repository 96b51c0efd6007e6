"""Selective Sharing: while a network trains, tasks whose branches answer alike come to share one branch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

from multitask import distributed
from multitask.observers import Observer
from multitask.resume import TrainingState
from multitask.sharing.branches import Branches
from multitask.sharing.capture import Capture
from multitask.sharing.cross_stitch import CrossStitch
from multitask.sharing.distances import Array, distances
from multitask.sharing.grouping import DIRECTIVES, propose
from multitask.sharing.history import GroupingHistory
from multitask.sharing.merging import MERGES, merge_branches
from multitask.task_losses import TaskLosses

if TYPE_CHECKING:
    import pandas as pd

Batch = TypeVar("Batch")


class SelectiveSharing(Observer):
    """Groups the tasks of `branches` at the ends of epochs, until the groups last [Selective].

    In an epoch the gradients at the branching point are captured and summed to similarities K (see `signals`); at its
    end the present groups are clustered (`grouping`), and the groups of a cluster keep one branch (`merging`) with
    the optimiser's memory of it. So groups only grow. The first `warmup_epochs` epochs change nothing: the network
    must have begun to learn. The grouping is locked, and nothing is captured any more, when every task has a partner
    or after `patience` epochs without a change.

    Two tasks only: there is nothing to cluster, the grouping is locked from the start (as it is whenever there are no
    more than `min_groups` groups). A task without a label in a whole epoch stays alone in that epoch's clustering.

    Attach it to the training loop at both ends: `watch` the tasks' losses and hand it to `fit` as an observer. After
    the run the model holds the weights of its best epoch as they were validated, and so that epoch's branches: more
    than the last row of `history` says, if groups were merged at the end of the best epoch or later. `groups` tells
    the branches that there are.

    Under `torchrun` similarities and losses are summed over the processes before they decide. A resumed run goes on to
    the same groups.

    Args:
        branches: the trained model's.
        task_names: T names for the tables; None = "0", "1", ...
        directive: "similarity", "dissimilarity", "variance" or "random" (see `propose`).
        signal: "response", "tt_input" or "gradient" (see `signals`).
        merge: "lowest_loss", "mean", "max" or "min" (see `merge_branches`); the loss of a group is the mean, over its
            tasks, of their mean training loss in the epoch, as it is: of heterogeneous tasks it compares unlike things.
        warmup_epochs: epochs before the first clustering.
        patience: epochs without a change after which the groups are locked.
        min_groups: groups that must remain; a cluster that would leave fewer is not merged.
        every: capture the gradients of every so many steps.
        rank: singular vectors kept, for the signals "tt_input" and "gradient" only; None = 4.
        seed: of the directive "random".

    Raises:
        ValueError: if an argument is unknown, out of range or not for this choice.

    >>> import torch
    >>> from multitask import ShuffledBatches, TrainingConfig, fit
    >>> from multitask.task_losses import combined
    >>> class Rows:
    ...     x = torch.randn(256, 8, generator=torch.Generator().manual_seed(0))
    ...     y = (x[:, [0, 1, 2, 0, 1, 2]] > 0).float()  # three questions, each asked twice
    ...     def __len__(self):
    ...         return 256
    ...     def select(self, index):
    ...         return self.x[index], self.y[index]
    >>> def losses(model, batch):
    ...     rows = nn.functional.binary_cross_entropy_with_logits(model(batch[0]), batch[1], reduction="none")
    ...     return rows.mean(0), torch.full((6,), float(len(rows)))
    >>> branches = Branches(6, 8, hidden=(4,))
    >>> sharing = SelectiveSharing(branches)
    >>> config = TrainingConfig(epochs=3, batch_size=32, precision="float32")
    >>> _ = fit(branches, combined(sharing.watch(losses)), ShuffledBatches.of(Rows(), config), config,
    ...         observers=[sharing])
    >>> sharing.groups(), sharing.locked
    ([['0', '3'], ['1', '4'], ['2', '5']], True)
    """

    def __init__(
        self,
        branches: Branches,
        task_names: Sequence[str] | None = None,
        *,
        directive: str = "similarity",
        signal: str = "response",
        merge: str = "lowest_loss",
        warmup_epochs: int = 1,
        patience: int = 3,
        min_groups: int = 2,
        every: int = 1,
        rank: int | None = None,
        seed: int = 0,
    ) -> None:
        if isinstance(branches, CrossStitch):
            raise ValueError("`branches` must be `Branches`, whose groups can be merged, got `CrossStitch`")
        names = [str(t) for t in range(branches.n_tasks)] if task_names is None else list(task_names)
        if len(names) != branches.n_tasks or len(set(names)) != len(names):
            raise ValueError(f"`task_names` must be {branches.n_tasks} different names, got {names}")
        if directive not in DIRECTIVES:
            raise ValueError(f"`directive` must be one of {DIRECTIVES}, got {directive!r}")
        if merge not in MERGES:
            raise ValueError(f"`merge` must be one of {MERGES}, got {merge!r}")
        for argument, value, least in (
            ("warmup_epochs", warmup_epochs, 0),
            ("patience", patience, 1),
            ("min_groups", min_groups, 1),
            ("seed", seed, 0),
        ):
            if value < least:
                raise ValueError(f"`{argument}` must be at least {least}, got {value}")
        self.branches, self.task_names = branches, names
        self.directive, self.merge, self.seed = directive, merge, seed
        self.warmup_epochs, self.patience, self.min_groups = warmup_epochs, patience, min_groups
        self.capture = Capture(branches, signal, rank, every)
        self.past = GroupingHistory(names, branches.parameter_law())
        self.epoch, self.unchanged, self.locked = 0, 0, False
        self.loss_sums: Tensor | None = None  # (2, T) float64: sums of loss x count, and of counts
        self._lock_if_done()

    @property
    def history(self) -> pd.DataFrame:
        """One row per epoch: epoch (from 0), groups, members ("0 6 | 3 5 8 | 1"), changed, locked, parameters (of the
        branches and outputs, after the epoch's merges), clustering_seconds.
        """
        return self.past.table()

    @property
    def distances(self) -> dict[int, Array]:
        """Epoch -> `(T, T)` distances that it was clustered by, NaN where a task was absent; 0 inside a group."""
        return self.past.distances

    def groups(self) -> list[list[str]]:
        """The names of the tasks of each branch."""
        return self.past.named(self.branches.group_of.tolist())

    def watch(self, task_losses: TaskLosses[Batch]) -> TaskLosses[Batch]:
        """The same losses; on training steps their sums and the gradients behind them are noted while not locked."""

        def watched(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
            listening = not self.locked and self.epoch >= self.warmup_epochs
            if not (listening and model.training and torch.is_grad_enabled()):
                return task_losses(model, batch)
            with self.capture.step():
                losses, counts = task_losses(model, batch)
            self._note_losses(losses.detach(), counts)
            return losses, counts

        return watched

    @torch.no_grad()
    def _note_losses(self, losses: Tensor, counts: Tensor) -> None:
        if self.loss_sums is None:
            self.loss_sums = torch.zeros(2, len(losses), dtype=torch.float64, device=losses.device)
        self.loss_sums[0].addcmul_(losses, counts)
        self.loss_sums[1].add_(counts)

    def before_training(self, state: TrainingState) -> None:
        """Notes where the run stands."""
        self.epoch = state.position.epoch

    def after_epoch(self, state: TrainingState) -> None:
        """Clusters, merges and locks, if it is time; adds the epoch to the history."""
        changed, seconds = False, 0.0
        if not self.locked and state.position.epoch >= self.warmup_epochs:
            changed, seconds = self._group(state)
            self.unchanged = 0 if changed else self.unchanged + 1
            self._lock_if_done()
        self.past.add(state.position.epoch, self.branches.group_of.tolist(), changed, self.locked, seconds)
        self.capture.clear()
        self.loss_sums = None
        self.epoch = state.position.epoch + 1

    def _group(self, state: TrainingState) -> tuple[bool, float]:
        """Whether groups merged, and the seconds that proposing them took."""
        similarity = distributed.gather_to_all(self.capture.total()).sum(0)  # (G, G)
        import_module("sklearn.cluster")  # a second, once; not part of the clustering's time
        start = time.perf_counter()
        labels = propose(
            similarity.numpy(), self.directive, min_groups=self.min_groups, seed=self.seed + state.position.epoch
        )
        seconds = time.perf_counter() - start
        self._note_distances(state.position.epoch, similarity)
        if len(set(labels.tolist())) == len(labels):
            return False, seconds
        merge_branches(self.branches, labels.tolist(), self._group_losses(), self.merge, state.replace)
        return True, seconds

    def _group_losses(self) -> list[float]:
        """`(G,)` mean over a group's tasks of the epoch's loss; infinite for a group without labels."""
        tasks, own = self.branches.n_tasks, self.loss_sums
        sums = distributed.gather_to_all(torch.zeros(2, tasks, dtype=torch.float64) if own is None else own).sum(0)
        losses, present = sums[0] / sums[1], sums[1] > 0
        group_of = self.branches.group_of.cpu()
        means = [losses[present & (group_of == g)].mean().item() for g in range(self.branches.n_groups)]
        return [value if value == value else float("inf") for value in means]  # NaN: the mean of none

    def _note_distances(self, epoch: int, similarity: Tensor) -> None:
        present = torch.diagonal(similarity) > 0
        between = torch.full_like(similarity, torch.nan)
        if bool(present.any()):
            chosen = present.nonzero().squeeze(1)
            found = torch.from_numpy(distances(similarity[chosen][:, chosen].numpy()))
            between[chosen[:, None], chosen[None, :]] = found
        group_of = self.branches.group_of.cpu()
        self.past.distances[epoch] = between[group_of][:, group_of].numpy()

    def _lock_if_done(self) -> None:
        _, sizes = torch.unique(self.branches.group_of, return_counts=True)
        paired = int(sizes.min()) > 1
        self.locked = paired or self.unchanged >= self.patience or len(sizes) <= max(2, self.min_groups)

    def tensors(self) -> dict[str, Tensor]:
        """The groups, the sums of the running epoch and the history."""
        law = torch.tensor([self.unchanged, int(self.locked), self.capture.steps])
        held = {"group_of": self.branches.group_of, "counters": law, "similarity": self.capture.total()}
        if self.loss_sums is not None:
            held["loss_sums"] = self.loss_sums
        return held | self.past.tensors()

    def load_tensors(self, tensors: dict[str, Tensor], state: TrainingState) -> None:
        """Brings the branches to the checkpoint's groups, and everything else back."""
        group_of = tensors["group_of"]
        groups = int(group_of.max()) + 1
        for parameter in self.branches.stacked_parameters():
            state.replace(parameter, lambda tensor: tensor.new_zeros(groups, *tensor.shape[1:]))
        self.branches.regroup(group_of)
        self.unchanged, locked, steps = tensors["counters"].tolist()
        self.locked = bool(locked)
        device = self.branches.group_of.device
        self.capture.clear()
        self.capture.steps, self.capture.sum = steps, tensors["similarity"].to(device, copy=True)
        sums = tensors.get("loss_sums")
        self.loss_sums = None if sums is None else sums.to(device, copy=True)
        self.past.load(tensors)
