"""What each metric is called, which way is better, and what it reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from evaluation.per_request.metric_names import METRIC_FORMS, MetricName, is_request_metric


@dataclass(frozen=True)
class MetricKind:
    """One metric.

    Attributes:
        name: As it is asked for: "ap".
        label: For people: "PR-AUC".
        higher_is_better: False for losses, and for `ratio`, of which |log ratio| is judged: nearer 0 is better.
        of_probabilities: Whether it reads the scores as probabilities within [0, 1], not as an order alone.
        per_request: Whether it is a mean over requests, each ranked by itself.
    """

    name: str
    label: str
    higher_is_better: bool
    of_probabilities: bool
    per_request: bool = False


_POOLED = {
    kind.name: kind
    for kind in (
        MetricKind("ap", "PR-AUC", True, False),
        MetricKind("auc", "AUC", True, False),
        MetricKind("log_loss", "log loss", False, True),
        MetricKind("normalised_entropy", "normalised entropy", False, True),
        MetricKind("brier", "Brier score", False, True),
        MetricKind("ratio", "predicted / observed", False, True),
    )
}
POOLED_METRICS = tuple(_POOLED)


def metric_kind(name: str) -> MetricKind:
    """The metric called `name`.

    Raises:
        ValueError: no metric is called so.

    >>> metric_kind("ap").label, metric_kind("log_loss").higher_is_better, metric_kind("ndcg@5").label
    ('PR-AUC', False, 'NDCG@5')
    """
    return metric_kinds([name])[0]


def metric_kinds(names: Iterable[str]) -> tuple[MetricKind, ...]:
    """The metrics called `names`.

    Raises:
        ValueError: all names that no metric has, with those there are; a name that is there twice.
    """
    asked = [names] if isinstance(names, str) else list(names)
    unknown = unknown_metrics(asked)
    if unknown:
        raise ValueError(f"`metrics` must be among {known_metrics()}, got {', '.join(map(repr, unknown))}")
    if len(set(asked)) != len(asked):
        raise ValueError(f"`metrics` must differ from one another, got {asked}")
    return tuple(_POOLED.get(name) or MetricKind(name, MetricName.of(name).label, True, False, True) for name in asked)


def unknown_metrics(names: Iterable[str]) -> list[str]:
    """Those of `names` that no metric has.

    >>> unknown_metrics(["ap", "ndcg@10", "accuracy"])
    ['accuracy']
    """
    return [name for name in names if not (isinstance(name, str) and (name in _POOLED or is_request_metric(name)))]


def known_metrics() -> str:
    """The names there are, for an error."""
    return ", ".join([*_POOLED, *METRIC_FORMS])
