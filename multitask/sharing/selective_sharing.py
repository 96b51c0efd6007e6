"""Selective Sharing: while a network trains, tasks whose branches answer alike come to share one branch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from multitask import distributed
from multitask.observers import Observer
from multitask.resume import TrainingState
from multitask.sharing.branches import Branches
from multitask.sharing.capture import Capture
from multitask.sharing.cross_stitch import CrossStitch
from multitask.sharing.distances import Array
from multitask.sharing.epoch_losses import EpochLosses
from multitask.sharing.grouping import DIRECTIVES, Directive, propose
from multitask.sharing.history import GroupingHistory
from multitask.sharing.merging import MERGES, Merge, merge_branches
from multitask.task_losses import TaskLosses

if TYPE_CHECKING:
    import pandas as pd

Batch = TypeVar("Batch")


class SelectiveSharing(Observer):
    """Groups the tasks of `branches` at the ends of epochs, until the groups last [Selective].

    In an epoch the gradients at the branching point are captured and summed to similarities K (see `signals`); at its
    end the present groups are clustered (`grouping`), and the groups of a cluster keep one branch (`merging`) with
    the optimiser's memory of it. So groups only grow. The first `warmup_epochs` epochs change nothing: the network
    must have begun to learn, nor does the last one, after which nothing is validated. The grouping is locked, and
    nothing is captured any more, when every task has a partner or after `patience` epochs without a change.

    Two tasks only: there is nothing to cluster, the grouping is locked from the start (as it is whenever there are no
    more than `min_groups` groups). A task without a label in a whole epoch stays alone in that epoch's clustering.

    Attach it to the training loop at both ends: `watch` the tasks' losses and hand it to `fit` as an observer. A merge
    makes another network: the best epoch is looked for anew behind it, and `TrainingConfig.patience` begins anew. So
    the kept network has the groups of the last row of `history`.

    Under `torchrun` similarities and losses are summed over the processes before they decide. A resumed run goes on to
    the same groups; another `fit` with the same observer starts from the branches that there are.

    Args:
        branches: the trained model's.
        task_names: T names for the tables; None = "0", "1", ...
        directive: "similarity", "dissimilarity", "variance" or "random" (see `propose`).
        signal: "response", "tt_input" or "gradient" (see `signals`).
        merge: "lowest_loss", "mean", "max" or "min" (see `merge_branches`); the loss of a group is the mean, over its
            tasks, of their mean training loss in the epoch, as it is: of heterogeneous tasks it compares unlike things,
            unless `base_losses.watch_relative` shows them as shares of what guessing costs.
        warmup_epochs: epochs before the first clustering.
        patience: epochs without a change after which the groups are locked.
        min_groups: groups that must remain; of a cluster that would leave fewer only the nearest are merged.
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
        directive: Directive = "similarity",
        signal: str = "response",
        merge: Merge = "lowest_loss",
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
        self.branches, self.task_names, self.directive, self.merge, self.seed = branches, names, directive, merge, seed
        self.warmup_epochs, self.patience, self.min_groups = warmup_epochs, patience, min_groups
        self.capture = Capture(branches, signal, rank, every)
        self.past = GroupingHistory(names, branches.parameter_law())
        self.losses = EpochLosses(branches.n_tasks)
        self.epoch, self.unchanged, self.locked = 0, 0, False
        self.attached, self.unattached_steps = False, 0
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
            if not (model.training and torch.is_grad_enabled()):
                return task_losses(model, batch)
            self._check_attached()
            if self.locked or self.epoch < self.warmup_epochs:
                return task_losses(model, batch)
            with self.capture.step():
                losses, counts = task_losses(model, batch)
            self.losses.add(losses, counts)
            return losses, counts

        return watched

    def _check_attached(self) -> None:
        self.unattached_steps += not self.attached
        if self.unattached_steps > 1:  # one may be a trial
            raise ValueError("`observers` of `fit` must hold the `SelectiveSharing` that watches the losses, got none")

    def settings(self) -> dict[str, Any]:
        """All arguments."""
        kept = ("task_names", "directive", "merge", "warmup_epochs", "patience", "min_groups", "seed")
        heard = ("signal", "rank", "every")
        return {n: getattr(self, n) for n in kept} | {n: getattr(self.capture, n) for n in heard}

    def before_training(self, state: TrainingState) -> None:
        """Forgets an earlier run, unless this one goes on from its checkpoint."""
        if state.position.epoch == state.position.step == 0:
            self.past = GroupingHistory(self.task_names, self.branches.parameter_law())
            self.capture.clear()
            self.losses.clear()
            self.unchanged = 0
            self._lock_if_done()
        self.epoch, self.attached = state.position.epoch, True

    def after_epoch(self, state: TrainingState) -> None:
        """Clusters, merges and locks, if it is time; adds the epoch to the history."""
        changed, seconds, epoch = False, 0.0, state.position.epoch
        if not self.locked and epoch >= self.warmup_epochs:
            similarity = self._similarity()
            self.past.note_distances(epoch, similarity, self.branches.group_of)
            if not state.position.finished:
                changed, seconds = self._group(state, similarity)
                self.unchanged = 0 if changed else self.unchanged + 1
                self._lock_if_done()
        self.past.add(epoch, self.branches.group_of.tolist(), changed, self.locked, seconds)
        self.capture.clear()
        self.losses.clear()
        self.epoch = epoch + 1

    def _similarity(self) -> Tensor:
        """`(G, G)` of all processes, on the CPU."""
        if self.losses.sums is None:
            raise ValueError("`watch` must wrap the losses that `fit` trains on, got an epoch without a watched step")
        total = self.capture.total()
        if self.capture.sum.total() is None:
            raise ValueError("`branches` must be those of the trained model, got ones that no gradient reached")
        return distributed.gather_to_all(total).sum(0)

    def _group(self, state: TrainingState, similarity: Tensor) -> tuple[bool, float]:
        """Whether groups merged, and the seconds that proposing them took."""
        import_module("sklearn.cluster")  # a second, once; not part of the clustering's time
        start, seed = time.perf_counter(), (self.seed, state.position.epoch)
        labels = propose(similarity.numpy(), self.directive, min_groups=self.min_groups, seed=seed).tolist()
        seconds = time.perf_counter() - start
        if len(set(labels)) == len(labels):
            return False, seconds
        losses = self.losses.of_groups(self.branches.group_of)
        merge_branches(self.branches, labels, losses, self.merge, state.replace)
        state.forget_best()
        return True, seconds

    def _lock_if_done(self) -> None:
        _, sizes = torch.unique(self.branches.group_of, return_counts=True)
        paired = int(sizes.min()) > 1
        self.locked = paired or self.unchanged >= self.patience or len(sizes) <= max(2, self.min_groups)

    def tensors(self) -> dict[str, Tensor]:
        """The groups, the sums of the running epoch and the history."""
        counters = torch.tensor([self.unchanged, int(self.locked), self.capture.steps])
        held = {"group_of": self.branches.group_of, "counters": counters}
        return held | self.capture.tensors() | self.losses.tensors() | self.past.tensors()

    def load_tensors(self, tensors: dict[str, Tensor], state: TrainingState) -> None:
        """Brings the branches to the checkpoint's groups, and everything else back."""
        group_of = tensors["group_of"]
        groups = int(group_of.max()) + 1
        for parameter in self.branches.stacked_parameters():
            state.replace(parameter, lambda tensor: tensor.new_zeros(groups, *tensor.shape[1:]))
        self.branches.regroup(group_of)
        self.unchanged, locked, self.capture.steps = tensors["counters"].tolist()
        self.locked = bool(locked)
        self.capture.load(tensors)
        self.losses.load(tensors, self.branches.group_of.device)
        self.past.load(tensors)
