"""Do the counterfactual estimators recover what the marketplace knows to be true?

    python examples/evaluation/counterfactual.py [--worlds 20] [--first 0] [--requests 20000] [--rankers 3]

In every world a log is written by the policy of the world, with its propensities. Rankings that it never showed are
valued from one half of that log by each estimator, and compared with the truth for the same requests: the world is
asked for the probability of every engagement at the new positions. Printed per ranking and estimator: the error in per
cent of the truth, the standard error it stated, and z = error / standard error over worlds (mean 0 and sd 1 if it is
right).

The rankings: "fitted" by click rates per segment and item, learned from the other half; "cheapest first"; "shuffled";
"same policy" is the logging policy with new dice; "rare first" reverses it, which no log can support. With `--rankers`,
so many worlds are written to disk, a ranker is fitted, and `evaluate_counterfactual` values its ranking.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow as pa

from evaluation.counterfactual import ESTIMATORS, Reranking, estimate_reranking, evaluate_counterfactual
from features import Dataset
from features.world import HEADS, World, draw_log, make_world
from features.world.policy import order_by_plackett_luce
from multitask import TrainingConfig
from ranking import NetworkConfig, Ranker, RankerConfig, Utility

CANDIDATES = 20
UTILITY = Utility(closeup=0.1, click=0.2, long_click=0.5, save=0.2)
SMALL = RankerConfig(
    network=NetworkConfig(embedding_dim=4, hidden=(16, 8), dropout=0.1),
    training=TrainingConfig(epochs=3, batch_size=512, learning_rate=5e-3, precision="float32", ema_every=1),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="seed of the first world")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--rankers", type=int, default=3)
    arguments = parser.parse_args()
    found = [line for seed in range(arguments.worlds) for line in one_world(arguments.first + seed, arguments.requests)]
    if found:
        print(f"{arguments.worlds} worlds, {arguments.requests // 2:,} requests each\n")
        print_table(pd.DataFrame(found))
    fitted = [line for seed in range(arguments.rankers) for line in one_ranker(arguments.first + seed)]
    if fitted:
        print(f"\n{arguments.rankers} worlds with a fitted ranker, 3,000 requests each\n")
        print_table(pd.DataFrame(fitted))


def one_world(seed: int, requests: int) -> list[dict]:
    """The errors of every estimator, ranking and head in one world."""
    world = World.generate(seed=seed, users=5000)
    log = pa.concat_tables(draw_log(world, requests=requests, candidates=CANDIDATES)).to_pandas()
    log["segment"] = world.users.segment[log["user_id"]]
    learn, rest = (log[log["request_id"] % 2 == half].reset_index(drop=True) for half in (0, 1))
    rates = np.column_stack([click_rates(learn, rest, head) for head in HEADS])  # (N, T)
    random = np.random.default_rng(seed)
    item = rest["item_id"].to_numpy()
    again = order_by_plackett_luce(random, world.policy_score[item.reshape(-1, CANDIDATES)])
    rankings = {
        "fitted": rates[:, HEADS.index("click")],
        "cheapest first": -world.properties.price[item],
        "shuffled": random.random(len(rest)),
        "same policy": -np.argsort(again, axis=1).ravel().astype(float),
        "rare first": -world.policy_score[item],
    }
    lines = []
    for name, scores in rankings.items():
        new = Reranking.of(scores, item, rest["request_id"], rest["position"], rest["propensity"])
        result = estimate_reranking(new, rest[list(HEADS)], names=HEADS, relevance=rates)
        lines += errors(name, result.table, result.support.numbers, truth(world, rest, new.new))
    return lines


def click_rates(learn: pd.DataFrame, rows: pd.DataFrame, head: str) -> np.ndarray:
    """Rates of an engagement per segment and item, drawn to the item's and that to the mean by 20 impressions."""
    mean = learn[head].mean()
    rate = mean
    for keys in (["item_id"], ["item_id", "segment"]):
        known = learn.groupby(keys)[head].agg(["sum", "count"])
        at = known.reindex(pd.MultiIndex.from_frame(rows[keys]) if len(keys) > 1 else rows[keys[0]]).fillna(0.0)
        rate = (at["sum"].to_numpy() + 20 * rate) / (at["count"].to_numpy() + 20)
    return np.asarray(rate)


def one_ranker(seed: int) -> list[dict]:
    """The same for a ranker that was fitted on the world's log, through files, on the test rows."""
    sizes = {"seed": seed, "properties": 1000, "users": 3000}
    with TemporaryDirectory() as folder:
        dataset = Dataset.open(make_world(Path(folder) / "world", requests=20_000, **sizes))
        ranker = Ranker.fit(dataset, SMALL).with_utility(UTILITY)
        result = evaluate_counterfactual(ranker, dataset, "test")
        rows = dataset.table("test").to_pandas()
        score = UTILITY.score(ranker.predict(rows))
    new = Reranking.of(score, rows["item_id"], rows["request_id"], rows["position"], rows["propensity"])
    return errors("ranker", result.table, result.support.numbers, truth(World.generate(**sizes), rows, new.new))


def truth(world: World, rows: pd.DataFrame, positions: np.ndarray) -> dict[str, float]:
    """Expected engagements per request, by head and of the utility."""
    p = world.probabilities(rows["user_id"], rows["item_id"], positions, rows["timestamp"])
    values = {head: float(getattr(p, head).sum() / rows["request_id"].nunique()) for head in HEADS}
    return values | {"utility": sum(w * values[head] for head, w in UTILITY.weights.items())}


def errors(ranking: str, table: pd.DataFrame, support: dict, true: dict[str, float]) -> list[dict]:
    """Error and standard error as shares of the truth; "logged" taken for the new ranking's value is the naive way."""
    return [
        {
            "ranking": ranking,
            "head": r["head"],
            "estimator": "naive" if r["estimator"] == "logged" else r["estimator"],
            "error": r["value"] / true[r["head"]] - 1,
            "se": r["se"] / true[r["head"]],
            "covered": support["covered"],
            "rows": support["effective_rows"],
        }
        for r in table.to_dict("records")
    ]


def print_table(lines: pd.DataFrame) -> None:
    header = f"{'ranking':<16}{'covered':>8}{'eff. rows':>10}  {'head':<11}"
    print(header + "".join(f"{name:>36}" for name in ("naive", *ESTIMATORS)))
    print(" " * len(header) + f"{'error %  se %   z mean / sd / max':>36}" * 5)
    for (ranking, head), group in lines.groupby(["ranking", "head"], sort=False):
        cells = ""
        for name in ("naive", *ESTIMATORS):
            own = group[group["estimator"] == name]
            z = own["error"] / own["se"]
            cells += (
                f"{100 * own['error'].mean():>+13.1f}{100 * own['se'].mean():>6.1f}"
                f"{z.mean():>+7.2f}{z.std(ddof=0):>5.2f}{z.abs().max():>5.1f}"
            )
        print(f"{ranking:<16}{group['covered'].mean():>8.3f}{group['rows'].mean():>10.0f}  {head:<11}{cells}")


if __name__ == "__main__":
    main()
