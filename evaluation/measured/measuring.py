"""Measuring one system on one role of a data set, beside another: what `galleryrank evaluate` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evaluation.measured.ranker_scores import COVERAGE, ranker_scores, rival_scores, with_own_vectors
from evaluation.measured.scored_log import ScoredLog, Scores, check_role
from evaluation.slicing.slices import Slices
from evaluation.summary.evaluating import Evaluation, evaluate_predictions
from features import Dataset, InputError
from ranking import Ranker

if TYPE_CHECKING:
    from evaluation.comparison import GateRules

__all__ = ["COVERAGE", "check_role", "common_heads", "measure_ranker", "measure_scores", "with_own_vectors"]


def measure_ranker(
    ranker: Ranker,
    dataset: Dataset,
    role: str = "test",
    *,
    baselines: Mapping[str, Ranker] | None = None,
    logged_position: bool = False,
    log: ScoredLog | None = None,
    name: str = "model",
    against: Scores | None = None,
    rules: GateRules | None = None,
    slices: Sequence[Slices] = (),
    counterfactual: Mapping[str, Any] | None = None,
    fingerprints: Mapping[str, str] | None = None,
) -> Evaluation:
    """Every metric of `evaluate_predictions` for the rows of `role`.

    The position is the serving position on every row, unless `logged_position`; what that costs is reported by scoring
    the same rows both ways. Rows are weighted by 1 / keep_prob. `baselines` are other rankers over the same heads,
    compared on the same rows and with the same treatment of the position.

    Where the data set has item vectors of its own, the model and its baselines are measured with these and no others:
    an item that is not among them has none. A model that was fitted without vectors reads none.

    Args:
        ranker: With calibrated heads.
        dataset: Described with the ranker's heads.
        role: calibrate, tune or test.
        baselines: Name -> ranker.
        logged_position: Score at each row's own position.
        log: The rows of `role`, where they have been read already.
        name: What the model is called.
        against, rules, slices, counterfactual, fingerprints: As in `measure_scores`.

    Raises:
        InputError: a role without rows, and the train role: a model is not measured on what it has seen; also if the
            data set's item vectors are not of the encoder that the model was trained with, and what `measure_scores`
            refuses.
    """
    if ranker.tree is None:
        raise InputError("evaluate measures probabilities; an importance-weighted single head can only be a baseline")
    log = ScoredLog.read(dataset, role) if log is None else log
    ranker, *others = with_own_vectors([ranker, *(baselines or {}).values()], dataset)
    candidate = ranker_scores(ranker, dataset, log, logged_position=logged_position, name=name)
    rivals = [
        rival_scores(other, dataset, log, logged_position=logged_position, name=rival)
        for rival, other in zip(baselines or {}, others, strict=True)
    ]
    return measure_scores(
        log,
        candidate,
        against,
        comparisons=rivals,
        utility=None if ranker.utility is None else dict(ranker.utility.weights),
        rules=rules,
        slices=slices,
        counterfactual=counterfactual,
        fingerprints=fingerprints,
    )


def measure_scores(
    log: ScoredLog,
    candidate: Scores,
    baseline: Scores | None = None,
    *,
    comparisons: Sequence[Scores] = (),
    utility: Mapping[str, float] | None = None,
    rules: GateRules | None = None,
    slices: Sequence[Slices] = (),
    counterfactual: Mapping[str, Any] | None = None,
    fingerprints: Mapping[str, str] | None = None,
) -> Evaluation:
    """Every metric of `evaluate_predictions` for scores of any system, and the gate where there is a baseline.

    Args:
        log: The rows, with what happened in them.
        candidate: The system that is judged.
        baseline: Production: the gate's verdict is then in `metrics["gate"]`.
        comparisons: Further systems over the candidate's heads (or with one score), compared without a verdict.
        utility: Head -> weight of the utility over the candidate's heads.
        rules: What the gate asks for; its defaults where there is a baseline and no rules.
        slices: Partitions of the log's rows.
        counterfactual: What an evaluation of the new order from logged propensities found, passed on to the report.
        fingerprints: Hashes by name, beside those that the scores carry: "data".

    Raises:
        InputError: a baseline without heads, or with heads that the candidate lacks; a system of `comparisons` with
            other heads; rules or a utility over unknown heads.
    """
    for rival in comparisons:
        if rival.heads and rival.heads != candidate.heads:
            raise InputError(f"a baseline must have the heads {list(candidate.heads)}, got {list(rival.heads)}")
    known = dict(fingerprints or {})
    notes = [*log.notes(), *candidate.notes]
    gate: dict[str, Any] = {}
    if baseline is not None:
        shared, alone = common_heads(candidate, baseline)
        notes += baseline.notes
        if alone:
            notes.append(f"Not gated, as {baseline.name} has no such head: {', '.join(alone)}.")
        gate = {"baseline": (baseline.name, baseline.of_heads(shared)), "baseline_heads": shared, "rules": rules}
    for part, scores in (("candidate", candidate), ("baseline", baseline)):
        if scores is not None and scores.fingerprint is not None:
            known[part] = scores.fingerprint
    return evaluate_predictions(
        log.labels_of(candidate.heads),
        candidate.probabilities,
        log.requests,
        names=candidate.heads,
        weights=log.weights,
        p_any=candidate.p_any,
        stages=candidate.stages,
        utility=utility,
        comparisons={rival.name: rival.probabilities for rival in comparisons},
        logged_position=candidate.at_logged,
        slices=slices,
        implications={
            head: parent
            for head, parent in log.implications.items()
            if head in candidate.heads and parent in candidate.heads
        },
        times=log.moments,
        fingerprints=known,
        counterfactual=counterfactual,
        meta={"data": log.data, "role": log.role, **candidate.meta},
        notes=notes,
        **gate,
    )


def common_heads(candidate: Scores, baseline: Scores) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(the heads that are compared, the heads of the candidate alone), in the candidate's order.

    Raises:
        InputError: the baseline has no heads, or one that the candidate lacks.

    >>> import numpy as np
    >>> p = np.array([[0.1, 0.2]])
    >>> common_heads(Scores("new", ("click", "save"), p), Scores("v7", ("save",), p[:, 1:]))
    (('save',), ('click',))
    """
    if not baseline.heads:
        raise InputError(
            f"{baseline.name} yields one score and no probability per head: what it would lose cannot be told by head"
        )
    lacking = [head for head in baseline.heads if head not in candidate.heads]
    if lacking:
        raise InputError(
            f"{candidate.name} must have all heads of {baseline.name}, which it is to replace: it lacks "
            f"{', '.join(lacking)}"
        )
    shared = tuple(head for head in candidate.heads if head in baseline.heads)
    return shared, tuple(head for head in candidate.heads if head not in shared)
