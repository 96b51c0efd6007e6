"""Measuring a fitted ranker on one role of a data set, beside its baselines: what `galleryrank evaluate` does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from evaluation.summary import Evaluation, evaluate_predictions
from features import Dataset, EncodedLog, InputError, encode_log
from ranking import Ranker
from ranking.heads import STAGES
from ranking.rates import training_rate
from ranking.vectors import vector_coverage

COVERAGE = {"item": "rows with an item vector", "query": "rows with a query item's vector"}  # shares, in `meta`


def measure_ranker(
    ranker: Ranker,
    dataset: Dataset,
    role: str = "test",
    *,
    baselines: Mapping[str, Ranker] | None = None,
    logged_position: bool = False,
) -> Evaluation:
    """Every metric of `evaluate_predictions` for the rows of `role`.

    The position is the serving position on every row, unless `logged_position`; what that costs is reported by scoring
    the same rows both ways. Rows are weighted by 1 / keep_prob. `baselines` are other rankers over the same heads,
    compared on the same rows and with the same treatment of the position.

    Where the data set has item vectors of its own, the model and its baselines are measured with these and no others:
    an item that is not among them has none. A model that was fitted without vectors reads none.

    Raises InputError for a role without rows, and for the train role: a model is not measured on what it has seen; also
    if the data set's item vectors are not of the encoder that the model was trained with.
    """
    if ranker.tree is None:
        raise InputError("evaluate measures probabilities; an importance-weighted single head can only be a baseline")
    check_role(role)
    if set(dataset.schema.head_names) != set(ranker.heads):
        raise InputError(
            f"the data set must have the model's heads {sorted(ranker.heads)}, got {sorted(dataset.schema.head_names)}"
        )
    ranker, *others = with_own_vectors([ranker, *(baselines or {}).values()], dataset)
    baselines = dict(zip(baselines or {}, others, strict=True))
    log = encode_log(dataset, ranker.encoders, role, serving_position=not logged_position)
    if not len(log):
        raise InputError(f"role {role!r} has no rows: change [split] in dataset.toml")
    p, stages, p_any = _probabilities(ranker, log, logged_position)
    order = [dataset.schema.head_names.index(head) for head in ranker.heads]  # a description may list them otherwise
    scores = {
        name: _baseline_scores(other, dataset, role, log, ranker, logged_position) for name, other in baselines.items()
    }
    at_logged, notes = None, []
    if ranker.schema.position is not None and not logged_position:
        other = encode_log(dataset, ranker.encoders, role, serving_position=False)
        at_logged, stages, _ = _probabilities(ranker, other, True)
        # Before the refit a probability is one *at a position*: at the serving position it would be compared with
        # outcomes that arose further down the page, and a right correction would look wrong.
        stages = {f"{stage} (logged)": p_stage for stage, p_stage in stages.items()}
        notes.append(
            "Calibration: the stages marked (logged) are scored at each row's own position, where its outcome arose; "
            "the last stage is scored at the serving position, for which it was refitted."
        )
    if log.immature:
        counts = ", ".join(f"{head} {n:,}" for head, n in log.immature.items())
        notes.append(f"Labels left out because the log ended before they were final: {counts}.")
    if role == "calibrate":
        notes.append("These rows stopped the training and fitted the calibration: the numbers flatter the model.")
    if logged_position:
        notes.append("Scored at the logged position: this replays the log's own order, which serving cannot know.")
    return evaluate_predictions(
        log.labels.numpy()[:, order],
        p,
        log.requests.numpy(),
        names=ranker.heads,
        weights=1.0 / log.keep_prob.numpy().astype(np.float64),
        p_any=p_any,
        stages=stages,
        utility=None if ranker.utility is None else dict(ranker.utility.weights),
        comparisons=scores,
        logged_position=at_logged,
        meta=_meta(ranker, dataset, role, logged_position, log),
        notes=notes,
    )


def check_role(role: str) -> None:
    """Refuse a role that may not be measured."""
    if role not in ("calibrate", "tune", "test"):
        raise InputError(f"`role` must be calibrate, tune or test (never train: the model has seen it), got {role!r}")


def with_own_vectors(rankers: list[Ranker], dataset: Dataset) -> list[Ranker]:
    """The rankers over the data set's item vectors, which are read once for all of them."""
    if not any(ranker.encoders.vectors for ranker in rankers):
        return rankers
    vectors = dataset.item_vectors()
    if vectors is None:  # a log described without vectors: the model has those of its items
        return rankers
    try:
        return [r.with_vectors(vectors, replace=True) if r.encoders.vectors else r for r in rankers]
    except InputError as error:
        raise InputError(replace(fault, file=dataset.vector_file) for fault in error.faults) from error


def _probabilities(
    ranker: Ranker, log: EncodedLog, logged_position: bool
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """(calibrated (N, T), earlier stages, calibrated p_any (N,))."""
    logits = ranker.scorer.logits(log.inputs)
    rate = training_rate(ranker.schema, ranker.config, log)
    everything: dict[str, np.ndarray] = {
        stage: np.exp(ranker.log_probabilities(logits, rate, stage, logged_position=logged_position))
        for stage in STAGES
    }
    if np.all(np.asarray(rate) == 1.0):  # nothing was dropped: the stages before the refit are one and the same
        everything = {k: v for k, v in everything.items() if k in ("corrected", "calibrated")}
    p = everything.pop("calibrated")
    return p[:, :-1], {k: v[:, :-1] for k, v in everything.items()}, p[:, -1]


def _baseline_scores(
    other: Ranker, dataset: Dataset, role: str, log: EncodedLog, ranker: Ranker, logged_position: bool
) -> np.ndarray:
    """Probabilities (N, T) of a multi-head baseline, the score (N,) of a single-head one."""
    if other.encoders is not ranker.encoders:
        log = encode_log(dataset, other.encoders, role, serving_position=not logged_position)
    if other.tree is None:
        return np.asarray(other.scorer.logits(log.inputs)[:, 0])
    if other.heads != ranker.heads:
        raise InputError(f"a baseline must have the heads {list(ranker.heads)}, got {list(other.heads)}")
    return _probabilities(other, log, logged_position)[0]


def _meta(ranker: Ranker, dataset: Dataset, role: str, logged_position: bool, log: EncodedLog) -> dict[str, Any]:
    position = ranker.schema.position
    if position is None:
        treatment = "none in this model"
    else:
        treatment = "as logged" if logged_position else f"{position.column} = {position.serving_value} on every row"
    sampling = ranker.schema.sampling
    coverage = {COVERAGE[part]: share for part, share in vector_coverage(log.inputs).items()}
    return {
        "data": dataset.schema.name,
        "role": role,
        "model": ranker.config.model,
        "correction": ranker.config.correction,
        "negative rate of the log": "none dropped" if sampling is None else sampling.negative_rate or "by row",
        "negative rate of training": ranker.config.negative_rate,
        "position": treatment,
        "seed": ranker.config.training.seed,
        "training rows": ranker.info.get("training_rows"),
        **coverage,
    }
