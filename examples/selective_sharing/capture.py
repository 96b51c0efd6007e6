"""`capture`: what Selective Sharing costs while it listens, on the MNIST net, and how long clustering takes."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from evaluation.metrics_json import jsonable, write_metrics_json, write_whole
from examples.studies.claims import Claim
from multitask.arrays import ShuffledBatches
from multitask.observers import Observer
from multitask.resume import TrainingState
from multitask.sharing import SIGNALS, Branches, SelectiveSharing, propose
from multitask.task_losses import combined
from multitask.training import fit

from .arms import binary_losses
from .data import Images
from .networks import ARCHITECTURES, TaskNetwork, mnist_trunk
from .report import markdown
from .training import TimedBatches, config

TASKS = (10, 20, 50, 100)
MOST_COST, MOST_MILLISECONDS = 2.0, 50.0  # % of the training time; of 50 tasks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command."""
    parser.add_argument("--signals", nargs="+", choices=SIGNALS, default=list(SIGNALS))
    parser.add_argument("--blocks", type=int, default=100, help="pairs of blocks, one listened to and one not")
    parser.add_argument("--steps", type=int, default=10, help="training steps of a block")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/selective_sharing/capture"))


def main(arguments: argparse.Namespace) -> int:
    """Measures, writes `table.md` and `results.json`."""
    torch.set_num_threads(arguments.threads)
    began = time.perf_counter()
    costs = {signal: capture_cost(signal, arguments.blocks, arguments.steps) for signal in arguments.signals}
    clustering = {n: clustering_milliseconds(n) for n in TASKS}
    stated = claims(costs, clustering)
    rows = [
        [signal, f"{step:.3f}", f"{cost:+.2f}", f"[{low:+.2f}, {high:+.2f}]"]
        for signal, (step, cost, low, high) in costs.items()
    ]
    text = "\n".join(
        [
            f"The MNIST net with ten branches, batch 64, one thread; {arguments.blocks} pairs of blocks of "
            f"{arguments.steps} steps, one of each listened to, in processor time.",
            "",
            markdown(["signal", "ms per step", "listening costs, % of it", "95 %"], rows),
            "",
            markdown(["tasks", "clustering, ms"], [[str(n), f"{value:.1f}"] for n, value in clustering.items()]),
            "",
            *map(str, stated),
            "",
        ]
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_whole(arguments.out / "table.md", text)
    names = ("milliseconds_per_step", "percent", "low", "high")
    found = {
        "signals": {signal: dict(zip(names, values)) for signal, values in costs.items()},
        "clustering_milliseconds": clustering,
        "claims": [vars(claim) for claim in stated],
    }
    write_metrics_json(arguments.out / "results.json", jsonable(found))
    print(text)
    print(f"finished after {(time.perf_counter() - began) / 60:.1f} minutes")
    return 0


class Alternating(Observer):
    """Lets `sharing` listen in every other epoch, or rather in the epochs 1, 2, 5, 6, ...: a drift of the machine then
    falls on both kinds alike."""

    def __init__(self, sharing: SelectiveSharing) -> None:
        self.sharing = sharing

    def before_training(self, state: TrainingState) -> None:
        self.sharing.before_training(state)

    def after_epoch(self, state: TrainingState) -> None:
        self.sharing.epoch = int(listened(state.position.epoch + 1))  # its warm-up is epoch 0


def listened(epoch: int) -> bool:
    """Whether it is one of 1, 2, 5, 6, 9, 10, ..."""
    return epoch % 4 in (1, 2)


def capture_cost(signal: str, blocks: int, steps: int) -> tuple[float, float, float, float]:
    """Milliseconds of a step that nobody listens to, and what listening adds to it, in % with its 95 % interval.

    Trains as the studies do; an epoch is a block of `steps`.

    Args:
        signal: one of `SIGNALS`.
        blocks: pairs of blocks; two more are trained first and not counted.
        steps: of a block.
    """
    architecture = ARCHITECTURES["mnist"]
    torch.manual_seed(0)
    branches = Branches(10, architecture.shared, architecture.hidden)
    model = TaskNetwork(mnist_trunk(), branches)
    sharing = SelectiveSharing(branches, signal=signal)
    settings = config(2 * (blocks + 1), seed=0)
    batches = TimedBatches(ShuffledBatches.of(noise(steps * settings.batch_size), settings))
    loss = combined(sharing.watch(binary_losses))
    fit(model, loss, batches, settings, observers=[Alternating(sharing), batches], progress=False)
    return added(batches.seconds, steps)


def added(seconds: Sequence[float], steps: int) -> tuple[float, float, float, float]:
    """As `capture_cost`, from the seconds of all blocks; each pair of neighbours has one of each kind.

    The median of the pairs' differences, and its interval by their ranks: other work on the machine makes outliers.

    >>> [round(number, 6) for number in added([9.0, 9.0, *[1.01, 1.0, 1.0, 1.01] * 3], steps=10)]
    [100.0, 1.0, 1.0, 1.0]
    """
    from scipy.stats import binom

    heard = np.array([listened(epoch) for epoch in range(len(seconds))])
    times = np.array(seconds)
    on, off = times[heard][1:], times[~heard][1:]
    plain = float(np.median(off))
    percent = np.sort(100 * (on - off) / plain)
    k = int(binom.ppf(0.025, len(percent), 0.5))
    low, high = (percent[k - 1], percent[-k]) if k else (np.nan, np.nan)
    return 1000 * plain / steps, float(np.median(percent)), float(low), float(high)


def noise(count: int) -> Images:
    """Random images of MNIST's shape: what they show changes no time."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 28, 28, 1), dtype=torch.uint8, generator=generator)
    return Images(pixels, torch.randint(0, 10, (count,), generator=generator), torch.zeros(1))


def clustering_milliseconds(n_tasks: int, repeats: int = 15) -> float:
    """Median time of one clustering of `n_tasks` tasks in five loose groups, distances included."""
    random = np.random.default_rng(0)
    times = []
    for _ in range(repeats + 1):  # the first one imports
        answers = random.gamma(1.0, size=(5, 400))[np.arange(n_tasks) % 5] * random.gamma(4.0, size=(n_tasks, 400))
        began = time.perf_counter()
        propose(answers @ answers.T)
        times.append(time.perf_counter() - began)
    return 1000 * float(np.median(times[1:]))


def claims(costs: dict[str, tuple[float, float, float, float]], clustering: dict[int, float]) -> list[Claim]:
    """The response signal's cost and the clustering of 50 tasks."""
    cost = costs.get("response")
    return [
        Claim(
            f"listening to the response costs less than {MOST_COST:.0f} % of the training time",
            None if cost is None else cost[1] < MOST_COST,
            "" if cost is None else f"{cost[1]:.2f} %",
        ),
        Claim(
            f"clustering 50 tasks takes less than {MOST_MILLISECONDS:.0f} ms",
            clustering[50] < MOST_MILLISECONDS,
            f"{clustering[50]:.1f} ms",
        ),
    ]
