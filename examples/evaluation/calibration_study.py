"""How honest the calibration measures are where truth is known: false alarms, power, coverage.

    python examples/evaluation/calibration_study.py [--simulations 1000] [--seed 0]

Logs are simulated in which the model is calibrated, P(y = 1 | p) = p on every row, while the rows of one request rise
and fall together (a Gaussian copula with the given correlation) and negatives may have been sampled by the row
(weights 1 / keep_prob). Then:

- false alarms: how often the cumulative calibration test says "not calibrated" at 5 % (1,000 simulations have a
  standard error of .7 points), beside the same test that takes rows as independent;
- power: how often it says so of a model that predicts 10 % too much, and of one that is right on average but whose
  logits are too wide (true slope .8);
- bands: how often the 95 % band of a reliability diagram's bin covers the bin's true rate, over all bins and in the
  worst bin;
- segments: how often any of 40 segments of a calibrated model is flagged (Holm at 5 %), and how often the one segment
  whose predictions are halved is;
- drift: how often the ratio is said to have moved between two halves of a period in which it has not.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit, ndtr

from evaluation.calibration import calibration_test, ratio_drift, worst_segments
from evaluation.reliability import reliability_table
from evaluation.slicing.slices import Slices

SEGMENTS = 40
POSITIVES_PER_BIN, FEWEST_BINS, MOST_BINS = 20, 5, 20  # as in the report


@dataclass(frozen=True)
class World:
    """A kind of log: requests of about `size` rows, the base rate, correlation within requests, negatives kept."""

    name: str
    requests: int
    size: int
    base_rate: float
    correlation: float
    negative_rate: float = 1.0


WORLDS = (
    World("common", 500, 10, 0.10, 0.5),
    World("rare, 200 positives", 2000, 10, 0.01, 0.5),
    World("rare, 50 positives", 500, 10, 0.01, 0.5),
    World("rare, 30 positives", 300, 10, 0.01, 0.5),
    World("strongly clustered", 3000, 5, 0.01, 0.9),
    World("40 requests", 40, 20, 0.10, 0.5),
    World("independent rows", 500, 10, 0.02, 0.0),
    World("sampled at .1", 2000, 10, 0.01, 0.5, 0.1),
    World("sampled at .02", 3000, 10, 0.02, 0.5, 0.02),
)
LARGE = (World("450 positives", 500, 10, 0.1, 0.5), World("4,800 positives", 20_000, 8, 0.03, 0.5))


@dataclass(frozen=True)
class Log:
    """labels, probabilities, request and weights, `(N,)` each."""

    y: np.ndarray
    p: np.ndarray
    request: np.ndarray
    w: np.ndarray


def simulate(world: World, random: np.random.Generator) -> Log:
    """A log of which `p` is the truth."""
    rows = world.requests * world.size
    request = random.integers(0, world.requests, rows)  # requests of unequal sizes
    affinity = np.sqrt(0.5) * (random.normal(size=world.requests)[request] + random.normal(size=rows))
    p = expit(logit(world.base_rate) - 0.5 + affinity)
    shared = np.sqrt(world.correlation) * random.normal(size=world.requests)[request]
    y = ndtr(shared + np.sqrt(1.0 - world.correlation) * random.normal(size=rows)) < p
    protected = y | (random.random(rows) < 0.05)  # other engagements protect rows too
    kept = protected | (random.random(rows) < world.negative_rate)
    w = np.where(protected, 1.0, 1.0 / world.negative_rate)
    return Log(y[kept].astype(float), p[kept], request[kept], w[kept])


def logs(world: World, simulations: int, seed: int) -> Iterator[Log]:
    """`simulations` independent logs of one world."""
    for number in range(simulations):
        log = simulate(world, np.random.default_rng([seed, number]))
        if log.y.any():
            yield log


def too_wide(log: Log, slope: float = 0.8) -> np.ndarray:
    """Predictions right on average whose true slope on the logit is `slope`."""
    wide, low, high = logit(log.p) / slope, -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2.0
        above = log.w @ expit(wide + middle) > log.w @ log.p
        low, high = (low, middle) if above else (middle, high)
    return np.asarray(expit(wide + low))


def false_alarms(world: World, simulations: int, seed: int, *, independent: bool = False) -> float:
    """The share of calibrated logs called miscalibrated at 5 %; `independent` takes rows for requests."""
    found = [
        calibration_test(
            log.y, log.p, np.arange(len(log.y)) if independent else log.request, log.w, seed=number
        ).rejected
        for number, log in enumerate(logs(world, simulations, seed))
    ]
    return float(np.mean(found))


def power(world: World, simulations: int, seed: int) -> tuple[float, float]:
    """Shares found of models that predict 10 % too much, and of models right on average with slope .8."""
    found = [
        [calibration_test(log.y, p, log.request, log.w).rejected for p in (np.minimum(1.1 * log.p, 1.0), too_wide(log))]
        for log in logs(world, simulations, seed)
    ]
    more, wide = np.mean(found, axis=0)
    return float(more), float(wide)


def band_coverage(world: World, simulations: int, seed: int) -> tuple[float, float]:
    """Coverage of the true rate by the bands, over all bins and in the bin that fares worst."""
    covered, counted = np.zeros(MOST_BINS), np.zeros(MOST_BINS)
    for log in logs(world, simulations, seed):
        bins = int(np.clip(np.count_nonzero(log.y) // POSITIVES_PER_BIN, FEWEST_BINS, MOST_BINS))
        table = reliability_table(log.y, log.p, log.w, groups=log.request, bins=bins)
        inside = table["predicted"].between(table["observed_low"], table["observed_high"])
        covered[: len(table)] += inside
        counted[: len(table)] += 1
    often = counted >= simulations / 4  # the number of bins differs from log to log
    return float(covered.sum() / counted.sum()), float((covered / counted.clip(1))[often].min())


def segment_flags(world: World, simulations: int, seed: int) -> tuple[float, float]:
    """Shares of logs with a flag: of a calibrated model, and of the one segment whose predictions are halved."""
    alarms, hits, total = 0, 0, 0
    for number, log in enumerate(logs(world, simulations, seed)):
        random = np.random.default_rng([seed, 7, number])
        sizes = random.dirichlet(np.full(SEGMENTS, 2.0))  # small and large segments
        codes = random.choice(SEGMENTS, len(log.y), p=sizes)
        segments = [Slices("segment", tuple(f"s{code}" for code in range(SEGMENTS)), codes)]
        table = worst_segments(log.y[:, None], log.p[:, None], log.request, log.w, segments)
        alarms += bool(table["flagged"].any())
        largest = int(np.bincount(codes).argmax())
        halved = np.where(codes == largest, log.p / 2.0, log.p)
        table = worst_segments(log.y[:, None], halved[:, None], log.request, log.w, segments)
        hits += bool(table.loc[table["slice"] == f"s{largest}", "flagged"].any())
        total += 1
    return alarms / total, hits / total


def drift_alarms(world: World, simulations: int, seed: int) -> tuple[float, float]:
    """Shares of logs said to drift: of one calibrated throughout, and of one that predicts 1.5 times as much later."""
    found = []
    for number, log in enumerate(logs(world, simulations, seed)):
        when = np.random.default_rng([seed, 8, number]).random(world.requests)[log.request]
        moved = np.where(when > 0.5, np.minimum(1.5 * log.p, 1.0), log.p)
        tables = [ratio_drift(log.y[:, None], p[:, None], log.request, log.w, when) for p in (log.p, moved)]
        found.append([bool(table["p"].iloc[0] < 0.05) for table in tables])
    still, drifted = np.mean(found, axis=0)
    return float(still), float(drifted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    count, seed = arguments.simulations, arguments.seed
    few = max(count // 5, 1)

    print(f"{count} calibrated simulations, nominal 5 %; coverage of {few} simulations, nominal 95 %\n")
    print(f"{'log':<22}{'false alarms':>14}{'rows as indep.':>16}{'band coverage':>15}{'worst bin':>11}")
    for world in WORLDS:
        clustered, independent = false_alarms(world, count, seed), false_alarms(world, few, seed, independent=True)
        covered, worst = band_coverage(world, few, seed)
        print(f"{world.name:<22}{clustered:>14.1%}{independent:>16.1%}{covered:>15.1%}{worst:>11.1%}", flush=True)

    print(f"\n{'power, ' + str(few) + ' simulations':<30}{'10 % too much':>15}{'slope .8':>11}")
    for world in LARGE:
        more, wide = power(world, few, seed)
        print(f"{world.name:<30}{more:>15.0%}{wide:>11.0%}", flush=True)

    print(f"\n{'log':<22}{'any of 40 segments':>20}{'halved segment':>16}{'drift alarms':>14}{'drift of 1.5':>14}")
    for world in WORLDS[1:4] + WORLDS[-2:]:
        alarms, hits = segment_flags(world, count, seed)
        still, drifted = drift_alarms(world, count, seed)
        print(f"{world.name:<22}{alarms:>20.1%}{hits:>16.0%}{still:>14.1%}{drifted:>14.0%}", flush=True)


if __name__ == "__main__":
    main()
