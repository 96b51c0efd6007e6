"""One run: an arm on a set of tasks, trained by `multitask.fit`, tested on triplets; its interference."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from shutil import rmtree
from typing import Any, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from examples.modulation.arms import FROM, NetworkSizes, make_arm
from examples.modulation.images import Images, TripletBatch, Triplets, network_input, triplet_table
from examples.studies.runs import Results, run_all
from multitask import Fixed, ShuffledBatches, TrainingConfig, fit
from multitask.interference import Interference, InterferenceRecorder, diagnostic
from multitask.modulation import (
    Modulation,
    RelevanceRegulariser,
    TaskConditioned,
    only_mask,
    triplet_accuracy,
    triplet_loss,
)
from multitask.task_losses import TaskLosses, combined

MARGIN = 0.2
RATE, ACCUMULATOR = 0.01, 0.1  # of AdaGrad
CHECKPOINT_STEPS = 200
FEW_TASKS = 7  # interference is recorded where there are no more: a recorded step costs a backward pass per task
DIAGNOSTIC_BATCHES, DIAGNOSTIC_TRIPLETS = 10, 64


@dataclass(frozen=True)
class Sizes:
    """How large the networks, the data and the training are.

    Attributes:
        network: see `NetworkSizes`.
        triplets: training triplets of each task; an epoch meets each once.
        epochs: passes over them. Every arm meets the same triplets, the same number of times.
        tested: test triplets of each task.
        alone: triplets in a batch of a network of a single task. As small a share of a common batch as a task has
            there would be too few for batch normalisation, a whole batch too few steps.
        record: training steps from one recorded Gram matrix to the next.
    """

    network: NetworkSizes = field(default_factory=NetworkSizes)
    triplets: int = 6000
    epochs: int = 1
    tested: int = 10_000
    alone: int = 16
    record: int = 20


@dataclass(frozen=True)
class Unit:
    """What is run once per seed: an arm and its tasks. Its name is the file's."""

    arm: str
    tasks: tuple[str, ...]

    @property
    def name(self) -> str:
        many = len(self.tasks) > 3
        return f"{self.arm}-{len(self.tasks) if many else '+'.join(self.tasks)}"


def units(arms: Iterable[str], tasks: Sequence[str]) -> list[Unit]:
    """The runs behind arms on common tasks: "independent" is one run per task, which other sets of tasks share."""
    return [
        unit
        for arm in arms
        for unit in ([Unit(arm, (task,)) for task in tasks] if arm == "independent" else [Unit(arm, tuple(tasks))])
    ]


def triplets_per_step(n_tasks: int, alone: int) -> int:
    """Of each task in a batch: 8 of 7 tasks (168 images) and 3 of 20 (180) as in the paper; never more, 2 at least.

    >>> [3 * n * triplets_per_step(n, alone=16) for n in (1, 2, 3, 4, 7, 20, 40)]
    [48, 48, 72, 96, 168, 180, 240]
    """
    return alone if n_tasks == 1 else min(8, max(2, 60 // n_tasks))


def task_losses(model: Any, batch: TripletBatch) -> tuple[Tensor, Tensor]:
    """`(T,)` triplet losses and counts of a batch."""
    anchor, positive, negative = model(batch.images, tasks=batch.tasks).chunk(3)
    tasks = batch.tasks[: len(anchor)]
    return triplet_loss(anchor, positive, negative, tasks, model.n_tasks, margin=MARGIN)


class Runs:
    """The runs of one data set, in one folder.

    Args:
        out: the folder; its `runs/` hold a JSON and the weights of each (unit, seed).
        images: the data set of a seed.
        sizes: of everything.
        seeds: those that are run.
        related: (task, its relative, a stranger) triples for the regularised arm.
    """

    def __init__(
        self,
        out: Path,
        images: Callable[[int], Images],
        sizes: Sizes,
        seeds: Sequence[int],
        related: Sequence[tuple[str, str, str]] = (),
    ) -> None:
        self.out, self.sizes, self.seeds, self.related = out, sizes, list(seeds), list(related)
        self.images = lru_cache(maxsize=1)(images)

    def results(self, wanted: Sequence[Unit], settings: dict[str, Any] | None = None) -> Results:
        """The units' results on all the seeds, by (name, seed); run here if neither found nor run elsewhere."""
        by_name = {unit.name: unit for unit in wanted}
        told = {"sizes": asdict(self.sizes), **(settings or {})}
        return run_all(self.out, list(by_name), self.seeds, told, lambda n, s, folder: self._run(by_name[n], s, folder))

    def weights(self, unit: Unit, seed: int) -> Path:
        """Where the trained weights of a run lie."""
        return self.out / "runs" / f"{unit.name}-{seed}.safetensors"

    def model(self, unit: Unit, seed: int) -> TaskConditioned:
        """A run's trained network."""
        model = make_arm(unit.arm, unit.tasks, self.sizes.network)
        model.load_state_dict(load_file(self.weights(unit, seed)))
        return model.eval()

    def _run(self, unit: Unit, seed: int, folder: Path) -> dict[str, Any]:
        images = self.images(seed).of(unit.tasks)
        torch.manual_seed(seed)
        make = self._only_mask if unit.arm == "only_mask" else self._untrained
        model = make(unit, seed)
        model = model.to(memory_format=torch.channels_last)
        watched = unit.arm in ("shared", "modulation") and 1 < len(unit.tasks) <= FEW_TASKS
        recorder = InterferenceRecorder(unit.tasks, every=self.sizes.record) if watched else None
        losses: TaskLosses = task_losses if recorder is None else recorder.watch(task_losses)
        per_step = triplets_per_step(len(unit.tasks), self.sizes.alone)
        config = TrainingConfig(
            epochs=self.sizes.epochs, batch_size=per_step, optimizer="adagrad", learning_rate=RATE,
            accumulator=ACCUMULATOR, ema_decay=0, seed=seed, checkpoint_steps=CHECKPOINT_STEPS,
        )  # fmt: skip
        batches = ShuffledBatches.of(Triplets(images, self.sizes.triplets, seed), config)
        history = fit(
            model, self._loss(unit, losses), batches, config, checkpoint=folder, progress=False,
            observers=[] if recorder is None else [recorder],
        )  # fmt: skip
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, self.weights(unit, seed))
        found: dict[str, Any] = {
            "tasks": list(unit.tasks),
            "accuracy": self._accuracy(model, images, seed),
            "additional": model.extra_parameters,
            "train_loss": history.epochs[-1].train_loss / (per_step * len(unit.tasks)),
            "steps": len(batches) * self.sizes.epochs,
            "seconds": sum(epoch.seconds for epoch in history.epochs),
        }
        if recorder is not None:
            found["training"] = _interference(recorder.interference())
            found["diagnostic"] = _interference(self._diagnostic(model, images, seed))
        if isinstance(model, Modulation) and unit.arm in FROM and len(unit.tasks) > 1:
            found["distances"] = model.distances().to_dict("records")
        rmtree(folder)  # the checkpoint
        return found

    def _untrained(self, unit: Unit, seed: int) -> TaskConditioned:
        return make_arm(unit.arm, unit.tasks, self.sizes.network)

    def _only_mask(self, unit: Unit, seed: int) -> TaskConditioned:
        """Masks on the frozen network that the wide independent branches were trained on [Modulation section 4.2]."""
        branches = Unit("ib_wide", unit.tasks)
        if not self.weights(branches, seed).exists():  # another process may be at it: the same weights come out
            self._run(branches, seed, self.out / "runs" / f"{branches.name}-{seed}-for-masks")
        modulation: Any = make_arm("only_mask", unit.tasks, self.sizes.network)
        trained: Any = self.model(branches, seed)
        modulation.network.load_state_dict(trained.network.state_dict())
        masks: TaskConditioned = only_mask(modulation)
        return masks

    def _loss(self, unit: Unit, losses: TaskLosses) -> Callable[[nn.Module, TripletBatch], Tensor]:
        # Equation 6 sums over the triplets. To AdaGrad, whose sums of squares start at .1, that is not the mean: small
        # gradients would hardly move it.
        plain = combined(losses, Fixed([triplets_per_step(len(unit.tasks), self.sizes.alone)] * len(unit.tasks)))
        if unit.arm != "regularised":
            return plain
        regulariser = RelevanceRegulariser(self.related)
        return lambda model, batch: plain(model, batch) + regulariser(cast(Modulation, model))

    def _accuracy(self, model: TaskConditioned, images: Images, seed: int) -> dict[str, float]:
        """Per task the share of its test triplets whose positive is nearer to the anchor than the negative is."""
        embeddings = embed_tested(model, images)
        place = torch.full((len(images.pixels),), -1)
        place[torch.from_numpy(images.test)] = torch.arange(len(images.test))
        triplets = place[triplet_table(images, images.test, self.sizes.tested, seed)]  # (T, n, 3)
        shares = {}
        for t, (task, rows) in enumerate(zip(images.tasks, triplets)):
            anchor, positive, negative = embeddings[:, t][rows].unbind(1)  # (n, d) each
            share, _ = triplet_accuracy(anchor, positive, negative, torch.zeros(len(rows), dtype=torch.long), 1)
            shares[task] = share.item()
        return shares

    def _diagnostic(self, model: TaskConditioned, images: Images, seed: int) -> Interference:
        count = DIAGNOSTIC_BATCHES * DIAGNOSTIC_TRIPLETS
        fresh = Triplets(replace(images, train=images.test), count, seed + 1)
        indices = torch.arange(count).split(DIAGNOSTIC_TRIPLETS)
        batches = ([fresh.of_task(t, i) for t in range(model.n_tasks)] for i in indices)
        return diagnostic(model, task_losses, batches, task_names=model.task_names, per_task=True)


@torch.no_grad()
def embed_tested(model: TaskConditioned, images: Images, rows: int = 250) -> Tensor:
    """`(M, T, d)` embeddings of the test images under every task, in float32."""
    chosen = torch.from_numpy(images.test).split(rows)
    parts = [model.all_tasks(network_input(images.pixels[part])) for part in chosen]
    return torch.cat(parts).float()


def _interference(found: Interference) -> dict[str, Any]:
    return {"ucr": found.compliance.tolist(), "cosines": found.cosines.tolist(), "conflict": found.conflict,
            "minibatches": len(found.grams)}  # fmt: skip
