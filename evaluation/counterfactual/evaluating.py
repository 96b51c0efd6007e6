"""Counterfactual evaluation of a ranker, or of a file of scores, on one role of a log."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from evaluation.checks import FloatArray, IntArray
from evaluation.counterfactual.estimating import CounterfactualResult, estimate_reranking
from evaluation.counterfactual.logged_policy import LoggedPolicy, refuse_without_propensities
from evaluation.counterfactual.reranking import Reranking
from evaluation.counterfactual.utility_faults import utility_faults
from evaluation.counterfactual.weights import check_clip, default_clip
from evaluation.measured.ranker_scores import with_own_vectors
from evaluation.measured.scored_log import ScoredLog, Scores, role_batches
from features import Dataset, Fault, InputError, raise_faults
from features.encoded import OWN, without_table_name
from ranking import Ranker, Utility

__all__ = ["evaluate_counterfactual"]


def evaluate_counterfactual(
    candidate: Ranker | Scores,
    dataset: Dataset,
    role: str = "test",
    *,
    utility: Utility | Mapping[str, float] | None = None,
    log: ScoredLog | None = None,
    clip: float | None = None,
    cutoff: int | None = None,
) -> CounterfactualResult:
    """What the candidate's ranking of the logged candidates would have earned per request.

    Requests are ranked by the utility of the probabilities at the serving position; the expected engagements of every
    head are then estimated from what the log's own policy happened to show (module docstring of
    `evaluation.counterfactual`). A ranker also predicts every item at its new position, which is what the doubly robust
    estimator corrects; probabilities of a file are moved there by the position's effect that pbm finds.

    Args:
        candidate: A ranker, or the scores of any system for the role's rows.
        dataset: A log with a propensity and a position.
        role: calibrate, tune or test.
        utility: The weights to rank by; None for the ranker's own. Needed for scores of several heads.
        log: The role's rows, if they are read already.
        clip: The smallest propensity that is divided by; None for `default_clip`.
        cutoff: Only the first K positions count.

    Raises:
        InputError: no propensities or no position, or impossible ones; rows sampled one by one; no utility to rank by;
            a ranking that follows the logged order.

    >>> result = evaluate_counterfactual(Ranker.load("model"), Dataset.open("log"))            # doctest: +SKIP
    """
    refuse_without_propensities(dataset)
    rows = ScoredLog.read(dataset, role) if log is None else log
    policy = LoggedPolicy.read(dataset, rows)
    weights = _weights(candidate, rows.heads, utility)
    ranker: Ranker | None = None
    if isinstance(candidate, Scores):
        serving: FloatArray = np.asarray(candidate.probabilities, dtype=np.float64).reshape(len(rows), -1)
    else:
        ranker = with_own_vectors([candidate], dataset)[0]
        serving = _predict(ranker, dataset, role, len(rows), None)
    score = serving[:, 0] if weights is None else Utility.from_mapping(weights).score(serving, candidate.heads)
    try:
        reranking = Reranking.of(
            score, policy.items, rows.requests, policy.positions, policy.propensities, rows.weights, cutoff
        )
        least = default_clip(reranking) if clip is None else check_clip(clip)
    except ValueError as error:
        raise InputError(f"counterfactual evaluation: {error}") from error
    measured = tuple(head for head in candidate.heads if head in rows.heads) or rows.heads
    columns = [candidate.heads.index(head) for head in measured if head in candidate.heads]
    model = None
    if ranker is not None and columns:
        model = _predict(ranker, dataset, role, len(rows), reranking.new)[:, columns]
    return estimate_reranking(
        reranking,
        rows.labels_of(measured),
        names=measured,
        model=model,
        relevance=serving[:, columns] if columns else None,
        utility=weights,
        clip=least,
        notes=rows.notes(),
    )


def _weights(
    candidate: Ranker | Scores, logged: tuple[str, ...], utility: Utility | Mapping[str, float] | None
) -> dict[str, float] | None:
    """The weights to rank by; None for a candidate that has one score and needs none."""
    heads = candidate.heads
    if not heads:
        if utility is not None:
            raise InputError("a utility mixes probabilities of heads, and the candidate has a single score")
        return None
    chosen = utility if utility is not None or isinstance(candidate, Scores) else candidate.utility
    if chosen is None:
        if len(heads) == 1:
            return {heads[0]: 1.0}
        raise InputError("the candidate has several heads and no utility to rank by: give its weights by `utility`")
    weights = dict(chosen if isinstance(chosen, Mapping) else chosen.weights)
    raise_faults(Fault(fault) for fault in utility_faults(weights, [head for head in heads if head in logged]))
    return weights


def _predict(ranker: Ranker, dataset: Dataset, role: str, rows: int, positions: IntArray | None) -> FloatArray:
    """Probabilities `(N, T)` (or the score `(N, 1)`) at `positions` `(N,)`; None for the serving position."""
    encoders, schema = ranker.encoders, dataset.schema
    own = [f"{OWN}{name}" for name in encoders.own_columns(serving_position=True)]
    joined = [name for side in encoders.sides for name in side.required()]
    sampling = schema.sampling
    rate = [] if sampling is None or sampling.negative_rate_column is None else [sampling.negative_rate_column]
    wanted = list(dict.fromkeys([*own, *joined, *encoders.vector_columns, *rate, schema.columns.request]))
    at_positions = positions is not None and encoders.position is not None
    found = np.empty((rows, max(1, len(ranker.heads))))
    at = 0
    for batch in role_batches(dataset, role, wanted):
        table = without_table_name(batch)
        stop = at + table.num_rows
        if at_positions and positions is not None and encoders.position is not None:
            name = encoders.position.column
            table = table.drop_columns([name]) if name in table.schema.names else table
            table = table.append_column(name, pa.array(positions[at:stop]))
        found[at:stop] = ranker.predict(table, logged_position=at_positions).to_numpy()
        at = stop
    return found
