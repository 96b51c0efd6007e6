"""What are galleries worth to a ranker, for properties that nobody has seen before?

    python examples/galleries/ranking_value.py [--seeds 3] [--out runs/galleries/ranking_value]

The synthetic marketplace is photographed; a fifth of its properties are the test, and neither the encoder nor the
rankers meet them in training. The same ranking network is fitted once per arm, and what differs is the item vectors:

    none          the user's segment, the price and the position alone
    random        the encoder before training
    mtl           the encoder trained on 31 attributes at once
    shuffled      the vectors of mtl, each given to another property
    latents       what the photos were painted from: six latents of the property, and the quality of its photos
    oracle        no ranker: the probabilities that the clicks were drawn from

Measured is the ROC AUC of click on the test rows, at the logged positions. Intervals are clustered by request and by
property: what is claimed is claimed of other new properties, and each has about 200 rows. Those of differences are
paired. The arms "catalogue" and "catalogue_mtl" know the 31 attributes as features too (first seeds only).
Worlds, vectors and scores are kept: a run that was stopped goes on where it was. Exit code 0 when every line of the
last table holds, else 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from world import Marketplace, Sizes, clock

from evaluation.auc import auc_influence
from evaluation.clusters import Clusters, clustered_standard_error
from evaluation.estimate import Estimate

ARMS = ("none", "random", "mtl", "shuffled", "latents", "oracle")
CATALOGUE = ("catalogue", "catalogue_mtl")
SHARE = "share of the latent gap recovered"
DIFFERENCES = (("mtl", "none"), ("mtl", "random"), ("shuffled", "none"), ("latents", "mtl"), ("oracle", "mtl"),
               ("catalogue", "none"), ("catalogue_mtl", "catalogue"))  # fmt: skip
Measured = dict[str, tuple[float, float]]  # name -> value, standard error


def scores(market: Marketplace, catalogue: bool) -> dict[str, np.ndarray]:
    """Scores (n,) of the test rows by arm; whatever is missing in the folder is made."""

    def fitted(name: str, features: str = "card", vectors: partial[Path] | None = None) -> np.ndarray:
        return market.scores(name, lambda: market.log(features, vectors=vectors and vectors()))

    mtl = partial(market.vectors, "mtl", market.mtl)
    found = {
        "none": fitted("none"),
        "random": fitted("random", vectors=partial(market.vectors, "random", market.untrained)),
        "mtl": fitted("mtl", vectors=mtl),
        "shuffled": fitted("shuffled", vectors=partial(market.vectors, "shuffled", lambda: market.shuffled(mtl()))),
        "latents": fitted("latents", vectors=partial(market.vectors, "latents", market.latents)),
        "oracle": market.truth()["true_click"],
    }
    if catalogue:
        found["catalogue"] = fitted("catalogue", "catalogue")
        found["catalogue_mtl"] = fitted("catalogue_mtl", "catalogue", mtl)
    return found


def measure(
    found: dict[str, np.ndarray], truth: dict[str, np.ndarray], differences: Sequence[tuple[str, str]] = DIFFERENCES
) -> Measured:
    """AUC of every arm, paired differences "a - b", and the share of the latent gap, with their standard errors.

    share = (mtl - none) / (latents - none); its error is that of the ratio, by the delta method.
    """
    clusters = [Clusters.of(truth[name]) for name in ("request_id", "item_id")]
    parts = {name: auc_influence(truth["click"], score) for name, score in found.items()}
    for a, b in differences:
        if a in found and b in found:
            parts[f"{a} - {b}"] = (parts[a][0] - parts[b][0], parts[a][1] - parts[b][1])
    gain, of_gain = parts["mtl"][0] - parts["none"][0], parts["mtl"][1] - parts["none"][1]
    gap, of_gap = parts["latents"][0] - parts["none"][0], parts["latents"][1] - parts["none"][1]
    parts[SHARE] = (gain / gap, (of_gain - gain / gap * of_gap) / gap)
    return {name: (value, two_way_error(influence, clusters)) for name, (value, influence) in parts.items()}


def two_way_error(influence: np.ndarray, clusters: Sequence[Clusters]) -> float:
    """Clustered by two things at once [Cameron 2011, eq. 2.11]: V(request) + V(property) - V(row)."""
    requests, items = (clustered_standard_error(influence, of) ** 2 for of in clusters)
    rows = float(np.sum(influence**2))  # each row of a request is another property: their intersection
    variance = requests + items - rows
    return float(np.sqrt(variance if variance > 0 else max(requests, items)))  # of few clusters it can be negative


def mean(seeds: list[Measured], name: str) -> Estimate:
    """The mean over the worlds that have it; they are independent of each other."""
    values = [seed[name] for seed in seeds if name in seed]
    error = np.sqrt(sum(se**2 for _, se in values)) / len(values)
    return Estimate.linear(float(np.mean([value for value, _ in values])), float(error))


def checks(means: dict[str, Estimate]) -> list[tuple[str, bool]]:
    """What must hold, and whether it does; of a difference that must be large, the whole interval."""
    return [
        ("mtl - none >= .02", means["mtl - none"].low >= 0.02),
        ("mtl - random >= .01", means["mtl - random"].low >= 0.01),
        ("mtl <= oracle", means["oracle - mtl"].low >= 0.0),
        ("shuffled within .005 of none", abs(means["shuffled - none"].value) <= 0.005),
        (f"{SHARE} >= .5", means[SHARE].value >= 0.5),
    ]


def table(seeds: list[Measured], means: dict[str, Estimate]) -> str:
    """One line per arm, difference and share: every seed, the mean, its 95 % interval."""
    lines = [f"{'AUC of click, new properties':<36}" + "".join(f"{f'seed {i}':>9}" for i in range(len(seeds)))
             + f"{'mean':>9}  95 %"]  # fmt: skip
    for name, estimate in means.items():
        cells = "".join(f"{seed[name][0]:>9.4f}" if name in seed else f"{'':>9}" for seed in seeds)
        lines.append(f"{name:<36}{cells}{estimate.value:>9.4f}  {estimate.low:.4f} to {estimate.high:.4f}")
    return "\n".join(lines)


def report(seeds: list[Measured], sizes: Sizes, rows: list[int]) -> tuple[dict[str, object], str, bool]:
    """The results as JSON and as text, and whether everything holds."""
    names = list(dict.fromkeys(name for seed in seeds for name in seed))
    means = {name: mean(seeds, name) for name in names}
    held = checks(means)
    text = table(seeds, means) + "\n\n" + "\n".join(f"{what:<46}{'holds' if ok else 'FAILS'}" for what, ok in held)
    result = {
        "sizes": asdict(sizes), "test_rows": rows, "seeds": [{k: list(v) for k, v in s.items()} for s in seeds],
        "mean": {name: estimate.to_dict() for name, estimate in means.items()}, "holds": dict(held),
    }  # fmt: skip
    return result, text, all(ok for _, ok in held)


def study(out: Path, seeds: int, sizes: Sizes, catalogue_seeds: int) -> bool:
    """Run all seeds, write results.json, print the tables; whether everything holds."""
    say, measured, rows = clock(), [], []
    for seed in range(seeds):
        market = Marketplace(out / f"seed{seed}", seed, sizes, lambda line, seed=seed: say(f"seed {seed}: {line}"))
        found, truth = scores(market, seed < catalogue_seeds), market.truth()
        measured.append(measure(found, truth))
        rows.append(len(truth["click"]))
    result, text, good = report(measured, sizes, rows)
    (out / "results.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    print(f"\n{seeds} worlds of {sizes.properties:,} properties, {rows[0]:,} test rows in the first\n{text}")
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--catalogue-seeds", type=int, default=1, help="seeds that also run the arms with attributes")
    parser.add_argument("--properties", type=int, default=Sizes.properties)
    parser.add_argument("--requests", type=int, default=Sizes.requests)
    parser.add_argument("--encoder-epochs", type=int, default=Sizes.encoder_epochs)
    parser.add_argument("--ranker-epochs", type=int, default=Sizes.ranker_epochs)
    parser.add_argument("--out", type=Path, default=Path("runs/galleries/ranking_value"))
    parser.add_argument("--threads", type=int, default=1, help="more are faster; the last digits depend on it")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    sizes = replace(Sizes(), properties=a.properties, requests=a.requests, encoder_epochs=a.encoder_epochs,
                    ranker_epochs=a.ranker_epochs)  # fmt: skip
    return 0 if study(a.out, a.seeds, sizes, a.catalogue_seeds) else 1


if __name__ == "__main__":
    sys.exit(main())
