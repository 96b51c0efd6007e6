"""How often does the gate cry wolf, and how often does it see what is there?

    python examples/evaluation/gate_study.py [--worlds 10] [--seeds 5] [--repetitions 200] [--out runs/gate]

In every world of the synthetic marketplace a ranker is fitted with several training seeds. Each repetition draws a
fresh log (requests that no model has seen, in the order of the log's own policy), takes two of these models as
production and candidate, and asks `evaluation.comparison.gate` with its default rules, sliced by the user's segment and
the price.

    two seeds   the candidate is another training seed: nothing got worse, so "regression" is a false alarm
    planted     the same candidate, but one head's scores are made noisy in one segment, until its true PR-AUC there has
                fallen by twice the smallest effect that the gate says it can detect
    tiny        the first requests of the same log only

Fitted worlds are kept in OUT. Exit code 0 when false alarms are at most 5 %, planted falls are found in at least 80 %
and every tiny log is inconclusive, else 1.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from evaluation.average_precision import average_precision
from evaluation.comparison import GateResult, gate
from evaluation.marketplace.policy import RankerTable
from evaluation.marketplace.requests import draw_requests
from evaluation.metrics_json import jsonable, write_metrics_json
from evaluation.reliability import wilson_interval
from evaluation.slicing.slices import Slices
from features import Dataset, make_world
from features.world.policy import order_by_plackett_luce
from features.world.reactions import HEADS, SHARED_NOISE_SD, conditional, react
from features.world.world import World
from multitask import TrainingConfig
from ranking import NetworkConfig, Ranker, RankerConfig, fit_prepared, prepare

Floats = NDArray[np.float64]

PROPERTIES, LOG_REQUESTS, EPOCHS = 2000, 20_000, 15
REQUESTS, CANDIDATES = 4000, 20  # of a fresh log
TINY = 40  # requests of a tiny log
LARGE = 20_000  # requests of the log on which a planted fall is made as large as it should be
FALSE_ALARMS, POWER = 0.05, 0.80
TIMES_DETECTABLE = 2.0
ROUNDS = 8  # of planting a fall and asking again what can be detected


@dataclass(frozen=True)
class FreshLog:
    """R requests that no model has seen, and what the users did; N = R x C rows, one request after another.

    Attributes:
        user, item: `(N,)`.
        labels: `(N, T)` in the order of `HEADS`.
        slices: The user's segment and the property's price.
    """

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    labels: Floats
    slices: tuple[Slices, Slices]

    @property
    def requests(self) -> NDArray[np.int64]:
        """The request `(N,)` of every row."""
        return np.arange(len(self.user)) // CANDIDATES

    def first(self, requests: int) -> FreshLog:
        """The first requests alone."""
        rows = np.arange(requests * CANDIDATES)
        segment, price = (part.take(rows) for part in self.slices)
        return FreshLog(self.user[rows], self.item[rows], self.labels[rows], (segment, price))


def fresh_log(world: World, random: np.random.Generator, requests: int) -> FreshLog:
    """Requests of the week after the log, shown in the order of the log's policy, answered by the world's users."""
    drawn = draw_requests(world, random, requests, CANDIDATES)
    order = order_by_plackett_luce(random, world.policy_score[drawn.items])
    item = np.take_along_axis(drawn.items, order, axis=1).ravel()
    user = np.repeat(drawn.user, CANDIDATES)
    position = np.tile(np.arange(1, CANDIDATES + 1), requests)
    drivers = world.drivers(user, item, position, np.repeat(drawn.time, CANDIDATES))
    happened = react(conditional(drivers, random.normal(0, SHARED_NOISE_SD, len(user))), drivers, random)
    labels = np.column_stack([happened[head] for head in HEADS]).astype(float)
    segment = Slices.of("segment", world.users.segment[user])
    return FreshLog(user, item, labels, (segment, Slices.of("price", world.properties.price[item], bins=3)))


def fitted(world: int, seeds: int, folder: Path) -> tuple[World, list[RankerTable]]:
    """One world and its rankers, one per training seed; what an earlier run fitted is used again."""
    generated = World.generate(seed=world, properties=PROPERTIES, users=200_000)
    missing = [seed for seed in range(seeds) if not (folder / f"seed-{seed}").is_dir()]
    if missing:
        description = make_world(
            folder / "world", seed=world, properties=PROPERTIES, requests=LOG_REQUESTS, negative_rate=0.1
        )
        config = _config(0)
        data = prepare(Dataset.open(description), config, lambda _: None)
        for seed in missing:
            fit_prepared(data, _config(seed), device="cpu").save(folder / f"seed-{seed}")
        for file in (folder / "world").iterdir():
            file.unlink()
        (folder / "world").rmdir()
    rankers = [Ranker.load(folder / f"seed-{seed}") for seed in range(seeds)]
    return generated, [RankerTable.of(generated, ranker) for ranker in rankers]


def _config(seed: int) -> RankerConfig:
    training = TrainingConfig(seed=seed, epochs=EPOCHS, batch_size=2048, patience=EPOCHS)
    return RankerConfig(seed=seed, network=NetworkConfig(dropout=0.1), training=training)


def scores(table: RankerTable, log: FreshLog) -> Floats:
    """The ranker's probabilities `(N, T)`, heads in the order of `HEADS`."""
    columns = [table.heads.index(head) for head in HEADS]
    return table.values[table.segment[log.user], log.item][:, columns]


def judged(log: FreshLog, candidate: Floats, baseline: Floats) -> GateResult:
    """The gate with its default rules."""
    return gate(log.labels, candidate, baseline, log.requests, names=HEADS, slices=log.slices)


def noise_for(labels: Floats, score: Floats, goal: float, draw: Floats) -> float | None:
    """The standard deviation of noise on the logit that brings PR-AUC down to `goal`; None where none does."""
    logit = np.log(score / (1 - score))
    low, high = 0.0, 20.0
    if goal <= 0.0 or average_precision(labels, logit + high * draw) > goal:
        return None
    for _ in range(14):
        middle = (low + high) / 2
        low, high = (middle, high) if average_precision(labels, logit + middle * draw) > goal else (low, middle)
    return (low + high) / 2


def planted(
    log: FreshLog, large: FreshLog, tables: tuple[RankerTable, RankerTable], random: np.random.Generator
) -> dict[str, object]:
    """One head made worse in one segment by twice what the gate can detect there, and whether the gate saw it.

    What can be detected depends on how different the two models are: noise that lowers PR-AUC also widens the paired
    interval. So the fall is planted again until it is twice what the gate says of *that* candidate.
    """
    baseline, same = (scores(table, log) for table in tables)
    head, part = int(random.integers(len(HEADS))), int(random.integers(len(log.slices[0].names)))
    name, rows = log.slices[0].names[part], log.slices[0].codes == part
    there = large.slices[0].codes == part
    y, s = large.labels[there, head], [scores(table, large)[there, head] for table in tables]
    draws = random.normal(size=len(y)), random.normal(size=int(rows.sum()))
    before = average_precision(y, s[0])
    candidate, fall = same, 0.0
    for _ in range(ROUNDS):
        result = judged(log, candidate, baseline)
        tests = result.tests
        own = tests[(tests["column"] == "segment") & (tests["slice"] == name) & (tests["head"] == HEADS[head])].iloc[0]
        wanted = TIMES_DETECTABLE * float(own["detectable_share"])
        if wanted <= fall:
            break
        sd = noise_for(y, s[1], (1 - wanted) * before, draws[0])
        if sd is None:  # even a random order there does not lose that much
            return {"head": HEADS[head], "segment": name, "fall": wanted, "verdict": None, "named": None}
        fall, candidate = wanted, same.copy()
        logit = np.log(same[rows, head] / (1 - same[rows, head])) + sd * draws[1]
        candidate[rows, head] = 1 / (1 + np.exp(-logit))
    else:
        result = judged(log, candidate, baseline)
        own = result.tests.loc[own.name]
    named = own["outcome"] == "regression"
    return {"head": HEADS[head], "segment": name, "fall": fall, "verdict": result.verdict, "named": bool(named)}


def study(out: Path, worlds: int, seeds: int, repetitions: int) -> dict[str, object]:
    """All repetitions; the counts with Wilson intervals."""
    pairs = list(itertools.permutations(range(seeds), 2))
    shares = np.diff(np.linspace(0, repetitions, worlds + 1).astype(int))
    rows = []
    for number, count in enumerate(shares.tolist()):
        world, tables = fitted(number, seeds, out / f"world-{number}")
        large = fresh_log(world, np.random.default_rng([number, 1]), LARGE)
        for repetition in range(count):
            random = np.random.default_rng([number, 2, repetition])
            chosen = pairs[int(random.integers(len(pairs)))]
            two = tables[chosen[0]], tables[chosen[1]]
            log = fresh_log(world, random, REQUESTS)
            baseline, candidate = (scores(table, log) for table in two)
            tiny = log.first(TINY)
            row = {
                "world": number, "repetition": repetition, "production": chosen[0], "candidate": chosen[1],
                "two_seeds": judged(log, candidate, baseline).verdict,
                "tiny": judged(tiny, scores(two[1], tiny), scores(two[0], tiny)).verdict,
            }  # fmt: skip
            rows.append(row | {f"planted_{k}": v for k, v in planted(log, large, two, random).items()})
        print(f"world {number}: {count} repetitions", flush=True)
    table = pd.DataFrame(rows)
    reached = table[table["planted_verdict"].notna()]
    return {
        "settings": {"worlds": worlds, "seeds": seeds, "repetitions": repetitions, "requests": REQUESTS, "tiny": TINY},
        "two seeds": counts(table["two_seeds"]),
        "planted": counts(reached["planted_verdict"])
        | {
            "not reachable": len(table) - len(reached),
            "head and segment named": float(reached["planted_named"].astype(float).mean()),
            "median fall": float(reached["planted_fall"].median()),
        },
        "tiny": counts(table["tiny"]),
    }


def counts(verdicts: pd.Series) -> dict[str, object]:
    """How often each verdict came, and the share of regressions with its 95 % interval."""
    if verdicts.empty:
        return {"regression share": None, "low": None, "high": None}
    share = float((verdicts == "regression").mean())
    low, high = wilson_interval(share, float(len(verdicts)))
    return {**verdicts.value_counts().to_dict(), "regression share": share, "low": low, "high": high}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("runs/gate"))
    a = parser.parse_args()
    if min(a.worlds, a.repetitions) < 1 or a.seeds < 2:
        parser.error("--worlds and --repetitions must be at least 1, and --seeds at least 2")
    torch.set_num_threads(1)
    a.out.mkdir(parents=True, exist_ok=True)
    result = study(a.out, a.worlds, a.seeds, a.repetitions)
    write_metrics_json(a.out / "gate_study.json", jsonable(result))
    for name in ("two seeds", "planted", "tiny"):
        print(f"{name:<10}", result[name])
    false, seen, tiny = (result[name] for name in ("two seeds", "planted", "tiny"))
    holds = (
        false["regression share"] <= FALSE_ALARMS  # type: ignore[index]
        and (seen["regression share"] or 0.0) >= POWER  # type: ignore[index]
        and set(tiny) & {"pass", "regression"} == set()  # type: ignore[arg-type]
    )
    print({"holds": bool(holds)})
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
