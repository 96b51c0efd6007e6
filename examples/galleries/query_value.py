"""What is it worth to know the property being looked at?

    python examples/galleries/query_value.py [--seeds 2] [--out runs/galleries/query_value]

In this marketplace every request comes from the page of a property, and users like candidates that resemble it (their
affinity gains `query` times the likeness of the latents, `World.likeness`). That property joins the ranker by its own
id: its vector stands behind the candidate's, and the cosine of the two is one more number. The same network is fitted
without it and with it:

    none             segment, price and position alone
    mtl              the candidate's vector too, of the encoder trained on 31 attributes
    mtl_query        the vector of the property being looked at too, and the cosine
    latents          as mtl, with the true latents as vectors
    latents_query    as mtl_query, likewise: what could be had
    oracle           the probabilities that the clicks were drawn from

Measured as in ranking_value.py: AUC of click on properties that neither encoder nor ranker met in training (those being
looked at may be known ones). Exit code 0 when the query helps, else 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from ranking_value import mean, measure, table
from world import Marketplace, Sizes, clock

from evaluation.estimate import Estimate

ARMS = ("none", "mtl", "mtl_query", "latents", "latents_query", "oracle")
DIFFERENCES = (("mtl", "none"), ("mtl_query", "mtl"), ("latents_query", "latents"), ("oracle", "mtl_query"))
SIZES = Sizes(properties=3000, requests=30_000, query=1.0, encoder_epochs=10)


def scores(market: Marketplace) -> dict[str, np.ndarray]:
    """Scores (n,) of the test rows by arm; whatever is missing in the folder is made."""
    found = {"none": market.scores("none", market.log)}
    for name, make in (("mtl", market.mtl), ("latents", market.latents)):
        vectors = partial(market.vectors, name, make)
        found[name] = market.scores(name, lambda vectors=vectors: market.log(vectors=vectors()))
        found[f"{name}_query"] = market.scores(
            f"{name}_query", lambda vectors=vectors: market.log(query=True, vectors=vectors())
        )
    return {name: found[name] for name in ARMS[:-1]} | {"oracle": market.truth()["true_click"]}


def checks(means: dict[str, Estimate]) -> list[tuple[str, bool]]:
    """What must hold of the mean over the worlds, its whole interval, and whether it does."""
    return [
        ("the query helps: mtl_query > mtl", means["mtl_query - mtl"].low > 0.0),
        ("mtl_query <= oracle", means["oracle - mtl_query"].low >= 0.0),
    ]


def study(out: Path, seeds: int, sizes: Sizes) -> bool:
    """Run all seeds, write results.json, print the table; whether everything holds."""
    say, measured, rows = clock(), [], []
    for seed in range(seeds):
        market = Marketplace(out / f"seed{seed}", seed, sizes, lambda line, seed=seed: say(f"seed {seed}: {line}"))
        truth = market.truth()
        measured.append(measure(scores(market), truth, DIFFERENCES))
        rows.append(len(truth["click"]))
    means = {name: mean(measured, name) for name in measured[0]}
    held = checks(means)
    result = {
        "sizes": asdict(sizes), "test_rows": rows, "seeds": [{k: list(v) for k, v in s.items()} for s in measured],
        "mean": {name: estimate.to_dict() for name, estimate in means.items()}, "holds": dict(held),
    }  # fmt: skip
    (out / "results.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    print(f"\n{seeds} worlds of {sizes.properties:,} properties with a query, {rows[0]:,} test rows in the first")
    print(table(measured, means) + "\n")
    for what, ok in held:
        print(f"{what:<46}{'holds' if ok else 'FAILS'}")
    return all(ok for _, ok in held)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--query", type=float, default=SIZES.query, help="weight of the likeness in the affinity")
    parser.add_argument("--properties", type=int, default=SIZES.properties)
    parser.add_argument("--requests", type=int, default=SIZES.requests)
    parser.add_argument("--encoder-epochs", type=int, default=SIZES.encoder_epochs)
    parser.add_argument("--ranker-epochs", type=int, default=SIZES.ranker_epochs)
    parser.add_argument("--out", type=Path, default=Path("runs/galleries/query_value"))
    parser.add_argument("--threads", type=int, default=1, help="more are faster; the last digits depend on it")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    sizes = replace(SIZES, query=a.query, properties=a.properties, requests=a.requests,
                    encoder_epochs=a.encoder_epochs, ranker_epochs=a.ranker_epochs)  # fmt: skip
    return 0 if study(a.out, a.seeds, sizes) else 1


if __name__ == "__main__":
    sys.exit(main())
