"""The door to every objective: a name becomes a metric, prepared once on a score table and asked for weight vectors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Protocol

import numpy as np
import numpy.typing as npt

from evaluation.checks import FloatArray
from features import Fault, InputError
from optimization.objective.pr_auc import UtilityObjective
from optimization.objective.request_metrics import RequestMetric
from optimization.score_table import ScoreTable

__all__ = ["METRICS", "Metric", "PrAuc", "PreparedMetric", "head_combination", "make_metric"]

METRICS = ("pr_auc", "mean_ap", "ndcg@K", "expected_utility@K")


class PreparedMetric(Protocol):
    """A metric on the rows of one table."""

    def values(self, weights: npt.ArrayLike) -> FloatArray:
        """The metric `(V, T)` of every head when rows are ranked by the utility of each weight vector `(V, T)`."""
        ...

    def influences(self, weights: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """The metric `(T,)` under one weight vector `(T,)`, and the influence `(R, T)` of each request on it.

        The standard error of a combination a of heads is sqrt(sum_r (influences_r . a)^2); that of a paired difference
        has the difference of two influences.
        """
        ...


class Metric(Protocol):
    """What a study maximises or guards, per head."""

    @property
    def name(self) -> str:
        """As it is asked for: "pr_auc", "ndcg@10"."""
        ...

    @property
    def label(self) -> str:
        """For people: "PR-AUC", "NDCG@10"."""
        ...

    def prepare(self, table: ScoreTable) -> PreparedMetric:
        """Arrange the rows of `table` once for any number of weight vectors."""
        ...


@dataclass(frozen=True)
class PrAuc:
    """PR-AUC over all rows, the objective of [Pinterest 2020]."""

    name: str = "pr_auc"
    label: str = "PR-AUC"

    def prepare(self, table: ScoreTable) -> PreparedMetric:
        """See `optimization.objective.pr_auc.UtilityObjective`."""
        return _PreparedPrAuc(
            UtilityObjective(table.probabilities, table.labels, table.row_weights, requests=table.requests)
        )


@dataclass(frozen=True)
class _PreparedPrAuc:
    objective: UtilityObjective

    def values(self, weights: npt.ArrayLike) -> FloatArray:
        return self.objective.pr_auc(weights)

    def influences(self, weights: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        return self.objective.influences(weights)


def make_metric(name: str) -> Metric:
    """The metric of a name.

    Args:
        name: "pr_auc", or a mean over requests: "mean_ap", "ndcg@K", "expected_utility@K" with K >= 1
            (`optimization.objective.request_metrics` defines them).

    Raises:
        ValueError: any other name.

    >>> metric = make_metric("ndcg@10")
    >>> metric.name, metric.label
    ('ndcg@10', 'NDCG@10')
    """
    if name == "pr_auc":
        return PrAuc()
    if name == "mean_ap":
        return RequestMetric.mean_ap()
    found = re.fullmatch(r"(ndcg|expected_utility)@([1-9][0-9]{0,5})", name)
    if found is None:
        raise ValueError(f"`metric` must be one of {', '.join(METRICS)} (K >= 1, as in ndcg@10), got {name!r}")
    kind, cutoff = found[1], int(found[2])
    return RequestMetric.ndcg(cutoff) if kind == "ndcg" else RequestMetric.expected_utility(cutoff)


def head_combination(objective: str | Mapping[str, float], heads: Sequence[str]) -> FloatArray:
    """What is maximised, as a combination `(T,)` of the heads' metrics.

    Args:
        objective: The name of a head, or a value per head (what one of its engagements is worth to the business; heads
            that are not named count nothing, and a negative value is a cost).
        heads: The T heads in order.

    Raises:
        InputError: all unknown heads and all values that are no finite numbers at once; no value other than 0.

    >>> head_combination("save", ["click", "save"]).tolist()
    [0.0, 1.0]
    >>> head_combination({"click": 0.1, "hide": -2.0}, ["click", "save", "hide"]).tolist()
    [0.1, 0.0, -2.0]
    """
    values = {objective: 1.0} if isinstance(objective, str) else dict(objective)
    known = ", ".join(heads)
    faults = [
        Fault(f"the objective must name heads of the model ({known})", value=head)
        for head in values
        if head not in heads
    ]
    faults += [
        Fault(f"the objective's value of `{head}` must be a finite number, got {value!r}")
        for head, value in values.items()
        if isinstance(value, bool) or not isinstance(value, Real) or not np.isfinite(float(value))
    ]
    if not faults and not any(values.values()):
        faults.append(Fault("the objective must give a value other than 0 to some head", value=str(values)))
    if faults:
        raise InputError(faults)
    return np.array([float(values.get(head, 0.0)) for head in heads])
