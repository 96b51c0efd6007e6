"""Six heads on the hotel log: the shared bottom, with modulation, with shared towers, MMoE and PLE.

    python -m examples.many_tasks trivago [--data runs/trivago/data] [--seeds 0,1,2] [--arms all]

The settings are those of examples/trivago/config.toml with all training negatives, so that arms differ in the network
alone. Every number is on the test rows at the logged position. One arm and seed is one JSON under --out: a killed run
goes on, and several processes share the work. About 15 minutes of one core for three seeds.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from evaluation.auc import auc_influence
from evaluation.clusters import ClusteredError, clustered_error
from evaluation.freedom import t_quantile
from evaluation.metrics_json import jsonable, write_metrics_json
from evaluation.proper_scores import log_loss_influence
from examples.studies.runs import Results
from examples.studies.seeds import markdown
from features import Dataset, encode_log
from galleryrank.settings import load_config
from ranking import Prepared, RankerConfig, fit_prepared, prepare

from .runs import DATA, chosen, count, numbers, run_missing

Floats = npt.NDArray[np.float64]

CONFIG = Path(__file__).parents[1] / "trivago" / "config.toml"
BASE = "shared bottom"
ARMS: dict[str, dict[str, Any]] = {
    BASE: {},
    "modulation": {"modulation": True},
    "sharing, similarity": {"sharing": "similarity"},
    "sharing, variance": {"sharing": "variance"},
    "mmoe": {"trunk": "mmoe"},
    "ple": {"trunk": "ple"},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of the command line."""
    parser.add_argument("--data", type=Path, default=Path("runs/trivago/data"), help="what `make trivago` prepared")
    parser.add_argument("--seeds", type=numbers, default="0,1,2", help="numbers, separated by commas")
    parser.add_argument("--arms", default=None, help=f"some of: {'; '.join(ARMS)} (separated by semicolons)")
    parser.add_argument("--epochs", type=int, default=None, help="at most; default: the settings' own")
    parser.add_argument("--out", type=Path, default=Path("runs/many_tasks/trivago"))


def main(arguments: argparse.Namespace) -> int:
    """Fits what is missing, then writes table.md and results.json of all that is there."""
    torch.set_num_threads(1)
    arms = chosen(arguments.arms, ARMS)
    if not (arguments.data / "dataset.toml").is_file():
        raise SystemExit(f"{arguments.data} holds no prepared log: `make trivago` writes runs/trivago/data")
    base = load_config(CONFIG, ["negative_rate=1.0"]).ranker()
    if arguments.epochs is not None:
        base = base.model_copy(update={"training": base.training.model_copy(update={"epochs": arguments.epochs})})
    data = prepare(Dataset.open(arguments.data), base, print)
    scores = arguments.out / "scores"
    scores.mkdir(parents=True, exist_ok=True)

    def run(arm: str, seed: int, folder: Path) -> dict[str, Any]:
        result, p = fit_arm(data, base, arm, seed, folder)
        np.save(scores / f"{arm}-{seed}.npy", p)
        shutil.rmtree(folder)  # the checkpoint
        return result

    settings = {"config": base.model_dump(mode="json"), DATA: data.data_sha256}
    results = run_missing(arguments.out, list(ARMS), arms, arguments.seeds, settings, run)
    log = encode_log(data.dataset, data.encoders, "test", serving_position=False)
    y, sessions = log.labels.numpy().astype(np.float64), log.requests.numpy()
    found = {key: np.load(scores / f"{key[0]}-{key[1]}.npy") for key in results}
    rows = [arm_row(arm, results, found, y, sessions) for arm in ARMS if any(key[0] == arm for key in results)]
    text = report(rows, list(data.schema.head_names), len(y), len(np.unique(sessions)))
    (arguments.out / "table.md").write_text(text, encoding="utf-8")
    write_metrics_json(arguments.out / "results.json", jsonable({"arms": rows}))
    print(text)
    return 0


def fit_arm(
    data: Prepared, base: RankerConfig, arm: str, seed: int, checkpoint: Path
) -> tuple[dict[str, Any], npt.NDArray[np.float32]]:
    """One fit: what is told of it, and p `(N, T)` of the test rows."""
    network = base.network.model_validate(base.network.model_dump() | ARMS[arm])
    training = base.training.model_copy(update={"seed": seed})
    config = base.model_copy(update={"seed": seed, "training": training, "network": network})
    start = time.process_time()
    ranker = fit_prepared(data, config, checkpoint=checkpoint, log=print)
    seconds = time.process_time() - start
    log = encode_log(data.dataset, data.encoders, "test", serving_position=False)
    z = ranker.scorer.logits(log.inputs)
    rate = ranker.negative_rate()
    p = np.exp(ranker.log_probabilities(z, rate, "corrected", logged_position=True, inputs=log.inputs)[:, :-1])
    history, own = ranker.info["history"], ranker.scorer.network  # type: ignore[attr-defined]
    sharing = history.get("sharing")
    result = {
        "parameters": count(own),
        "parameters_behind_the_embeddings": count(own.trunk) + count(own.towers),
        "fit_seconds": seconds,
        "epochs": len(history["epochs"]),
        "best_epoch": history["best_epoch"] + 1,
        "validation_loss": history["best_value"],
        "groups": None if sharing is None else sharing["groups"],
        "last_groups": None if sharing is None else sharing["epochs"][-1]["members"],
    }
    return result, p.astype(np.float32)


def arm_row(
    arm: str, results: Results, scores: Mapping[tuple[str, int], Any], y: Floats, sessions: npt.NDArray[Any]
) -> dict[str, Any]:
    """What an arm's seeds give together, and how they differ from the shared bottom's."""
    seeds = [seed for own, seed in results if own == arm]
    runs = [results[arm, seed] for seed in seeds]
    own = [measured(scores[arm, seed], y) for seed in seeds]
    row: dict[str, Any] = {
        "arm": arm,
        "seeds": seeds,
        "auc": np.mean([values["auc"][0] for values in own], axis=0),  # (T,)
        "log_loss": np.mean([values["log_loss"][0] for values in own], axis=0),
    }
    for name in ("parameters", "parameters_behind_the_embeddings", "fit_seconds", "epochs"):
        row[name] = float(np.mean([run[name] for run in runs]))
    row |= {name: [run[name] for run in runs] for name in ("best_epoch", "groups", "last_groups")}
    pairs = [(values, measured(scores[BASE, s], y)) for s, values in zip(seeds, own) if (BASE, s) in results]
    if arm != BASE and pairs:
        for metric in ("auc", "log_loss"):
            row[f"{metric}_difference"] = difference([(a[metric], b[metric]) for a, b in pairs], sessions)
    return row


def measured(p: Any, y: Floats) -> dict[str, tuple[Floats, Floats]]:
    """AUC and log loss of every head `(T,)`, with their influences `(N, T)`."""
    of: dict[str, Callable[..., tuple[float, Floats]]] = {"auc": auc_influence, "log_loss": log_loss_influence}
    found = {}
    for name, influence in of.items():
        pairs = [influence(y[:, t], p[:, t].astype(np.float64)) for t in range(y.shape[1])]
        found[name] = (np.array([value for value, _ in pairs]), np.stack([row for _, row in pairs], axis=1))
    return found


def difference(
    pairs: Sequence[tuple[tuple[Floats, Floats], tuple[Floats, Floats]]], sessions: npt.NDArray[Any]
) -> dict[str, Any]:
    """Arm less baseline: per head, and their mean with its standard error.

    Two things vary: the test sessions, whose influences are averaged over seeds and heads and clustered, and the seed.
    The variance is the sum of both, and Student's quantile is that of its degrees of freedom [Welch 1947,
    Satterthwaite 1946]: three seeds know their part of it with two. `heads_error` is of the sessions alone.
    """
    values = np.stack([a[0] - b[0] for a, b in pairs])  # (S, T)
    influences = np.mean([a[1] - b[1] for a, b in pairs], axis=0)  # (N, T)
    ones = np.ones(len(influences))
    of_rows = clustered_error(influences.mean(1), sessions, ones)
    means = values.mean(1)
    of_seeds = float(np.std(means, ddof=1)) / len(means) ** 0.5 if len(means) > 1 else 0.0
    error = float(np.hypot(of_rows.standard_error, of_seeds))
    half = t_quantile(freedom_of_sum(of_rows, ClusteredError(of_seeds, len(means) - 1))) * error
    heads = values.mean(0)
    of_heads = [clustered_error(influences[:, t], sessions, ones).standard_error for t in range(len(heads))]
    return {
        "heads": heads,
        "heads_error": of_heads,
        "mean": float(means.mean()),
        "seeds": means,
        "error_rows": of_rows.standard_error,
        "error_seeds": of_seeds,
        "low": float(means.mean()) - half,
        "high": float(means.mean()) + half,
    }


def freedom_of_sum(*errors: ClusteredError) -> float:
    """Degrees of freedom of a sum of variances SE^2: (sum of SE^2)^2 / sum of SE^4 / nu.

    >>> round(freedom_of_sum(ClusteredError(1.0, 2.0), ClusteredError(1.0, 1000.0)), 2)
    7.98
    >>> freedom_of_sum(ClusteredError(0.5, 40.0), ClusteredError(0.0, 0.0))
    40.0
    """
    known = [own for own in errors if own.standard_error != 0.0]
    if not known:
        return float("inf")
    spread = sum(own.standard_error**4 / own.freedom for own in known)
    return float(sum(own.standard_error**2 for own in known)) ** 2 / spread


def report(rows: Sequence[dict[str, Any]], heads: list[str], n: int, sessions: int) -> str:
    """Markdown of all arms."""
    means = []
    for row in rows:
        cells = [row["arm"], f"{np.mean(row['auc']):.4f}", "", f"{np.mean(row['log_loss']):.5f}", ""]
        for place, metric, digits in ((2, "auc", 4), (4, "log_loss", 5)):
            if f"{metric}_difference" in row:
                cells[place] = interval(row[f"{metric}_difference"], digits)
        cells += [f"{row[name]:,.0f}" for name in ("parameters", "parameters_behind_the_embeddings")]
        cells += [f"{row['fit_seconds']:.0f}", f"{row['epochs']:.1f}", f"{row['fit_seconds'] / row['epochs']:.1f}"]
        means.append(cells)
    own = [
        [row["arm"], *(f"{d:+.4f} ± {1.96 * e:.4f}" for d, e in zip(*_of_heads(row["auc_difference"])))]
        for row in rows
        if "auc_difference" in row
    ]
    shared = [
        f"- {row['arm']}, seed {seed}: kept {_members(kept)}; at the end {last} (best epoch {best})"
        for row in rows
        for seed, kept, last, best in zip(row["seeds"], row["groups"], row["last_groups"], row["best_epoch"])
        if kept is not None
    ]
    header = ["arm", "mean AUC", f"less {BASE}", "mean log loss", f"less {BASE}", "parameters", "of trunk and heads",
              "CPU s of a fit", "epochs", "CPU s per epoch"]  # fmt: skip
    seeds = sorted({seed for row in rows for seed in row["seeds"]})
    parts = [
        f"The hotel log: {n:,} test rows of {sessions:,} sessions, {len(heads)} heads, seeds {seeds}. Means over heads "
        "and seeds; differences with 95 % intervals, paired by test row and seed.",
        markdown(header, means),
        f"AUC per head less {BASE}, mean over the seeds ± 1.96 standard errors of the test sessions:",
        markdown(["arm", *heads], own),
        "Which heads' hidden layers are shared:",
        "\n".join(shared),
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts if part) + "\n"


def interval(of: Mapping[str, Any], digits: int) -> str:
    """A mean difference with its interval."""
    return f"{of['mean']:+.{digits}f} [{of['low']:+.{digits}f}, {of['high']:+.{digits}f}]"


def _of_heads(of: Mapping[str, Any]) -> tuple[Floats, list[float]]:
    return of["heads"], of["heads_error"]


def _members(groups: Sequence[Sequence[str]]) -> str:
    return " | ".join(" ".join(group) for group in groups)
