"""Does each correction recover the true probabilities? The synthetic marketplace knows them.

    python examples/correction/marketplace.py [--scale 1] [--rates 0.5 0.1 0.02] [--seed 0]

For every negative rate the training negatives are sampled, one network is trained per correction mode, and on the
unsampled test rows the sum of the predictions is divided by the sum of the *true* probabilities: overall, and in slices
of the true p_any. The features are the sufficient statistics of the outcomes (dataset_oracle.toml), so that what
remains is the error of the correction and not of the model. The textbook formula on each head by itself ("naive") is
shown beside them, on the logits of the any-head network, before and after the same refit.

A mode passes when every head is within 3 % overall and within 5 % in every slice, before and after the refit. Exit
code 0 when all four modes pass and the naive formula fails the slices even after its refit; else 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from features import Dataset, EncodedLog
from features.world import make_world
from multitask import TrainingConfig
from ranking import AffineRefit, NetworkConfig, Prepared, Ranker, RankerConfig, fit_prepared, prepare
from ranking.log_space import log_sigmoid, logit_from_log

# The more negatives are dropped, the more requests it takes until the error of *learning* (of the weights 1 / alpha of
# the inverse-propensity mode, and of the refit) is small beside the tolerances. Shares of it: --scale.
REQUESTS = {0.5: 300_000, 0.1: 600_000, 0.02: 1_200_000}
MODES = ("any_head", "factored", "headwise", "inverse_propensity")
SLICES = ((0.0, 0.33), (0.33, 0.67), (0.67, 0.90), (0.90, 1.0))
OVERALL, SLICE = 0.03, 0.05  # tolerances of |ratio - 1|


def settings(mode: str, seed: int) -> RankerConfig:
    """A small network, trained long enough that its own error is well below the tolerances."""
    training = TrainingConfig(
        epochs=16, batch_size=4096, learning_rate=2e-3, schedule="cosine", patience=16, precision="float32", seed=seed
    )
    return RankerConfig(correction=mode, network=NetworkConfig(hidden=(32, 16), dropout=0.0), training=training)


def ratios(p: np.ndarray, true: np.ndarray, p_any: np.ndarray) -> np.ndarray:
    """Predicted / true, (1 + slices, T): overall first, then each slice of the true p_any."""
    edges = [np.quantile(p_any, q) for q in (0.33, 0.67, 0.90)]
    part = np.searchsorted(edges, p_any, side="right")  # (N,)
    rows = [p.sum(0) / true.sum(0)]
    rows += [p[part == s].sum(0) / true[part == s].sum(0) for s in range(len(SLICES))]
    return np.array(rows)


def naive_refit(ranker: Ranker, held_out: EncodedLog, test_log_p: np.ndarray, rate: float) -> np.ndarray:
    """The textbook formula, then the weighted affine refit of each head on the calibrate rows: (N, T)."""
    tree = ranker.tree
    z = ranker.scorer.logits(held_out.inputs)
    held = tree.log_probabilities(z, rate, "naive")
    out = []
    for j in range(len(ranker.heads)):
        refit = AffineRefit.fit(
            logit_from_log(held[:, j]), held_out.labels[:, j].numpy(), 1.0 / held_out.keep_prob.numpy()
        )
        out.append(np.exp(log_sigmoid(refit.apply(logit_from_log(test_log_p[:, j])))))
    return np.column_stack(out)


def judge(table: np.ndarray) -> tuple[bool, float, float]:
    """(passes, worst overall error, worst slice error) of a (1 + slices, T) table."""
    error = np.abs(table - 1.0)
    return bool(error[0].max() <= OVERALL and error[1:].max() <= SLICE), float(error[0].max()), float(error[1:].max())


def study(data: Prepared, rate: float, seed: int, heads: list[str]) -> dict[str, np.ndarray]:
    """Ratio tables by "mode, stage"."""
    from features import encode_log

    test = encode_log(data.dataset, data.encoders, "test", serving_position=False)
    columns = [f"true_{h}" for h in heads]
    truth = data.dataset.table("test", [*columns, "true_any"])
    true = np.column_stack([truth[c].to_numpy() for c in columns]).astype(np.float64)
    p_any = truth["true_any"].to_numpy().astype(np.float64)
    tables = {}
    for mode in MODES:
        ranker = fit_prepared(data, settings(mode, seed))
        z = ranker.scorer.logits(test.inputs)
        for stage in ("corrected", "calibrated"):
            log_p = ranker.log_probabilities(z, rate, stage, logged_position=True)[:, :-1]
            tables[f"{mode}, {stage}"] = ratios(np.exp(log_p), true, p_any)
        if mode == "any_head":
            naive = ranker.tree.log_probabilities(z, rate, "naive")[:, :-1]
            tables["single_head, corrected"] = ratios(np.exp(naive), true, p_any)
            refitted = naive_refit(ranker, data.held_out, naive, rate)
            tables["single_head, calibrated"] = ratios(refitted, true, p_any)
    return tables


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the requests; less is faster and noisier")
    parser.add_argument("--rates", type=float, nargs="+", choices=list(REQUESTS), default=list(REQUESTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="more are faster; the last digits depend on it")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    good = True
    with tempfile.TemporaryDirectory() as scratch:
        for rate in arguments.rates:
            requests = int(REQUESTS[rate] * arguments.scale)
            folder = make_world(
                Path(scratch) / str(rate), seed=arguments.seed, requests=requests, negative_rate=rate
            ).parent
            dataset = Dataset.open(folder / "dataset_oracle.toml")
            heads = list(dataset.schema.head_names)
            data = prepare(dataset, settings("any_head", arguments.seed), lambda _: None)
            tables = study(data, rate, arguments.seed, heads)
            print(f"\nnegative rate {rate:g}, {requests:,} requests: predicted / true")
            print(f"{'mode, stage':<32}{'slice of p_any':<16}" + "".join(f"{h:>12}" for h in heads))
            for name, table in tables.items():
                labels = ["all", *(f"{a:.0%}-{b:.0%}" for a, b in SLICES)]
                for label, row in zip(labels, table):
                    print(f"{name if label == 'all' else '':<32}{label:<16}" + "".join(f"{r:>12.3f}" for r in row))
                passed, overall, sliced = judge(table)
                expected = not name.startswith("single_head")
                good &= passed if expected else not passed
                print(f"{'':<32}{'passes' if passed else 'FAILS'}: worst {overall:.1%} overall, {sliced:.1%} by slice")
                print(json.dumps({"rate": rate, "name": name, "ratios": np.round(table, 4).tolist()}), file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
