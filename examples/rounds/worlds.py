"""Do online rounds find better weights than offline tuning does? Many simulated worlds, judged by the truth.

    python examples/rounds/worlds.py [--worlds 20] [--out runs/rounds/worlds]

In every world a ranker is fitted on the log of a marketplace; its utility weights are

    hand-picked       as somebody wrote them down: the control group of the rounds
    offline-tuned     PR-AUC of long clicks on the tune rows as high as the guardrails allow (sweep and Nelder-Mead:
                      an offline evaluation costs milliseconds, so no model of the objective is needed)
    offline by value  expected utility on the same rows as high as it gets: the rounds' own goal, with offline evidence
    declared values   what one engagement is worth, taken as weights without any tuning
    online-tuned      the best weights after 1, 2, ... rounds of experiments with 4 treatment groups each (`Rounds`):
                      in a round each group's own users answer fresh requests, and the mean utility per request comes
                      back with its standard error
    oracle            the best weights for this ranker, by dense search on the truth

and all are judged by their true expected utility over the same fresh requests. Finished worlds are kept in OUT: a run
that was stopped goes on where it was, and more worlds may be added. Exit code 0 when online-tuned weights after 3
rounds (or all, where fewer are played) beat offline-tuned ones in a clear majority of worlds (sign test, p < .05),
else 1. Rows of 0 rounds compare the hand-picked weights, where the rounds start: what these win, rounds need not win.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch

from evaluation.gallery.resumable import KeptResults
from evaluation.metrics_json import jsonable, write_metrics_json
from galleryrank.simulate_words import DECISIVE_ROUND
from galleryrank.simulate_worlds import (
    DECLARED,
    FLOOR,
    HAND,
    HAND_PICKED,
    OBJECTIVE,
    OFFLINE,
    POPULATION,
    REQUESTS_PER_GROUP,
    VALUED,
    VALUES,
    FittedWorld,
    Sizes,
    across_worlds,
    play_world,
)
from optimization.online.simulated import ONLINE, ORACLE


def world(seed: int, sizes: Sizes, counts: Mapping[str, int]) -> dict[str, Any]:
    """Everything that is found in one world; its log and rankers are gone afterwards."""
    began = time.process_time()
    with TemporaryDirectory() as folder:
        fitted = FittedWorld(Path(folder), seed, sizes, lambda _: None)
        found = play_world(fitted, **counts)
    return {
        "policies": found.policies.to_dict("records"), "groups": found.groups.to_dict("records"),
        "cpu_seconds": time.process_time() - began,
    }  # fmt: skip


def text(summary: pd.DataFrame) -> str:
    """The summary as lines."""
    lines = [f"{'rounds':>6}  {'against':<16} {'difference, %':>13}  {'95 % over worlds':<18} better/equal/worse  p"]
    for r in summary.to_dict("records"):
        interval = f"{r['low']:+.3f} to {r['high']:+.3f}"
        counts = f"{r['better']}/{r['equal']}/{r['worse']}"
        lines.append(
            f"{r['rounds']:>6}  {r['against']:<16} {r['mean']:>+13.3f}  {interval:<18} {counts:<18}  {r['p']:.4f}"
        )
    return "\n".join(lines)


def regrets(policies: pd.DataFrame) -> pd.DataFrame:
    """Mean regret over worlds, percent below the oracle's weights, by policy and round."""
    return policies.groupby(["policy", "round"], sort=False)["regret"].agg(["mean", "median", "max"]).reset_index()


def study(out: Path, worlds: int, sizes: Sizes, counts: Mapping[str, int]) -> bool:
    """Play all worlds, write results.json, print the tables; whether the claim holds."""
    settings = {
        "sizes": asdict(sizes), **counts,
        "hand_picked": HAND_PICKED, "values": VALUES, "objective": OBJECTIVE, "floor": FLOOR, "population": POPULATION,
        "policies": [HAND, OFFLINE, VALUED, DECLARED],
    }  # fmt: skip
    kept, found = KeptResults(out / "worlds"), []
    decisive = min(DECISIVE_ROUND, counts["rounds"])
    for seed in range(worlds):
        play = partial(world, seed, sizes, counts)
        result = kept.of(f"world {seed}", settings | {"seed": seed}, play)
        found.append(pd.DataFrame(result["policies"]))
        last = found[-1].set_index(["policy", "round"])["lift"]
        print(
            f"world {seed}: over hand-picked {last[OFFLINE, 0]:+.2f} % offline-tuned, "
            f"{last[ONLINE, decisive]:+.2f} % online-tuned, {last[ORACLE, 0]:+.2f} % oracle "
            f"({result['cpu_seconds']:.0f} CPU seconds)",
            flush=True,
        )
    summary = across_worlds(found)
    regret = regrets(pd.concat(found))
    rows = summary[(summary["rounds"] == decisive) & (summary["against"] == OFFLINE)]
    holds = bool(len(rows) and rows["better"].iloc[0] > rows["worse"].iloc[0] and rows["p"].iloc[0] < 0.05)
    result = {"settings": settings, "summary": jsonable(summary), "regret": jsonable(regret), "holds": holds}
    write_metrics_json(out / "results.json", result)
    print(f"\nOnline-tuned against other weights, true expected utility, {worlds} worlds\n{text(summary)}")
    print(f"\nRegret, % below the oracle's weights\n{regret.round(3).to_string(index=False)}")
    print(json.dumps({"holds": holds}))
    return holds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--groups", type=int, default=4)
    parser.add_argument("--requests-per-group", type=int, default=REQUESTS_PER_GROUP)
    parser.add_argument("--days-per-round", type=int, default=1, help="7: the drift of tastes becomes part of the game")
    parser.add_argument("--log-requests", type=int, default=Sizes.requests)
    parser.add_argument("--epochs", type=int, default=Sizes.epochs)
    parser.add_argument("--out", type=Path, default=Path("runs/rounds/worlds"))
    a = parser.parse_args()
    if a.worlds < 1:
        parser.error(f"--worlds must be at least 1, got {a.worlds}")
    torch.set_num_threads(1)  # the last digits of a ranker depend on it
    sizes = replace(Sizes(), requests=a.log_requests, epochs=a.epochs)
    counts = {name: getattr(a, name) for name in ("rounds", "groups", "requests_per_group", "days_per_round")}
    a.out.mkdir(parents=True, exist_ok=True)
    return 0 if study(a.out, a.worlds, sizes, counts) else 1


if __name__ == "__main__":
    sys.exit(main())
