"""What a fitted ranker says of the rows of a role: calibrated probabilities, their stages, and the price of serving."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from evaluation.measured.scored_log import ScoredLog, Scores
from features import Dataset, EncodedLog, InputError, encode_log
from ranking import Ranker
from ranking.heads import STAGES, Stage
from ranking.rates import training_rate
from ranking.vectors import vector_coverage

__all__ = ["COVERAGE", "ranker_scores", "rival_scores", "with_own_vectors"]

COVERAGE = {"item": "rows with an item vector", "query": "rows with a query item's vector"}  # shares, in `meta`
FINAL: Stage = "calibrated"


def ranker_scores(
    ranker: Ranker, dataset: Dataset, log: ScoredLog, *, logged_position: bool = False, name: str = "model"
) -> Scores:
    """Everything that an evaluation asks of a multi-head ranker.

    The position is the serving position on every row, unless `logged_position`; then the same rows are also scored at
    their own positions, at which the stages before the refit are shown.

    Args:
        ranker: With calibrated heads, over the item vectors that it is to be measured with (`with_own_vectors`).
        dataset: The log that `log` is of, described with the ranker's heads.
        log: The rows.
        logged_position: Score at each row's own position, which serving cannot know.
        name: For people.

    Raises:
        InputError: an importance-weighted single head, or other heads than the log's.

    >>> scores = ranker_scores(Ranker.load("runs/a/model"), dataset, log)                    # doctest: +SKIP
    """
    if ranker.tree is None:
        raise InputError("evaluate measures probabilities; an importance-weighted single head can only be a baseline")
    if set(log.heads) != set(ranker.heads):
        raise InputError(f"the data set must have the model's heads {sorted(ranker.heads)}, got {sorted(log.heads)}")
    encoded = encode_log(dataset, ranker.encoders, log.role, serving_position=not logged_position)
    stages = _stages(ranker, encoded, logged_position)
    final = stages.pop(FINAL)
    suffix = ""
    at_logged, notes = None, []
    if ranker.schema.position is not None and not logged_position:
        other = encode_log(dataset, ranker.encoders, log.role, serving_position=False)
        stages = _stages(ranker, other, True)
        at_logged, suffix = stages.pop(FINAL)[:, :-1], " (logged)"
        # Before the refit a probability is one *at a position*: at the serving position it would be compared with
        # outcomes that arose further down the page, and a right correction would look wrong.
        notes.append(
            "Calibration: the stages marked (logged) are scored at each row's own position, where its outcome arose; "
            "the last stage is scored at the serving position, for which it was refitted."
        )
    if logged_position:
        notes.append("Scored at the logged position: this replays the log's own order, which serving cannot know.")
    meta = _meta(ranker, dataset, log.role, logged_position, encoded)
    earlier = {f"{stage}{suffix}": p[:, :-1] for stage, p in stages.items()}
    return Scores(name, ranker.heads, final[:, :-1], final[:, -1], earlier, at_logged, meta=meta, notes=tuple(notes))


def rival_scores(
    ranker: Ranker, dataset: Dataset, log: ScoredLog, *, logged_position: bool = False, name: str = "baseline"
) -> Scores:
    """What a comparison asks of a ranker: its calibrated probabilities, or the one score of a single-head ranker.

    Arguments as in `ranker_scores`; the heads may be fewer than the log's, and in another order.
    """
    encoded = encode_log(dataset, ranker.encoders, log.role, serving_position=not logged_position)
    if ranker.tree is None:
        return Scores(name, (), ranker.scorer.logits(encoded.inputs)[:, 0])
    return Scores(name, ranker.heads, _stages(ranker, encoded, logged_position, [FINAL])[FINAL][:, :-1])


def with_own_vectors(rankers: Sequence[Ranker], dataset: Dataset) -> list[Ranker]:
    """The rankers over the data set's item vectors, which are read once for all of them."""
    if not any(ranker.encoders.vectors for ranker in rankers):
        return list(rankers)
    vectors = dataset.item_vectors()
    if vectors is None:  # a log described without vectors: the model has those of its items
        return list(rankers)
    try:
        return [r.with_vectors(vectors, replace=True) if r.encoders.vectors else r for r in rankers]
    except InputError as error:
        raise InputError(replace(fault, file=dataset.vector_file) for fault in error.faults) from error


def _stages(
    ranker: Ranker, log: EncodedLog, logged_position: bool, wanted: Sequence[Stage] = STAGES
) -> dict[Stage, np.ndarray]:
    """Stage -> its probabilities (N, T + 1), the last column that of any engagement."""
    logits = ranker.scorer.logits(log.inputs)
    rate = training_rate(ranker.schema, ranker.config, log)
    if np.all(np.asarray(rate) == 1.0):  # nothing was dropped: the stages before the refit are one and the same
        wanted = [stage for stage in wanted if stage in ("corrected", FINAL)]
    return {
        stage: np.exp(ranker.log_probabilities(logits, rate, stage, logged_position=logged_position, inputs=log.inputs))
        for stage in wanted
    }


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
