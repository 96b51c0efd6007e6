"""Names of per-request metrics: "ndcg@10" as ranx writes it, the cutoff optional where a metric is defined without."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["DEFAULT_METRICS", "METRIC_FORMS", "MetricName", "is_request_metric", "metric_names"]

DEFAULT_METRICS = ("ndcg@10", "mrr", "recall@10", "hit_rate@10", "mean_ap", "gauc")
METRIC_FORMS = ("ndcg", "ndcg@K", "mrr", "mrr@K", "mean_ap", "mean_ap@K", "recall@K", "hit_rate@K", "gauc")

_LABELS = {
    "ndcg": "NDCG",
    "mrr": "MRR",
    "mean_ap": "mean AP per request",
    "recall": "recall",
    "hit_rate": "hit rate",
    "gauc": "GAUC",
}
# All places, recall and hit rate are 1 whatever the ranking; GAUC has no places.
_PATTERN = re.compile(r"(?:(ndcg|mrr|mean_ap)(?:@([1-9][0-9]{0,5}))?|(recall|hit_rate)@([1-9][0-9]{0,5})|(gauc))")


@dataclass(frozen=True)
class MetricName:
    """A metric as it was asked for.

    Attributes:
        kind: ndcg, mrr, mean_ap, recall, hit_rate or gauc.
        cutoff: K, the places that count; None for all of them.

    >>> MetricName.of("hit_rate@5").label, str(MetricName("mrr", None))
    ('hit rate@5', 'mrr')
    """

    kind: str
    cutoff: int | None

    @classmethod
    def of(cls, name: str) -> MetricName:
        """The metric called `name`.

        Raises:
            ValueError: none is called so.
        """
        return metric_names([name])[0]

    @property
    def label(self) -> str:
        """For people: "NDCG@10"."""
        return _LABELS[self.kind] + ("" if self.cutoff is None else f"@{self.cutoff}")

    def __str__(self) -> str:
        return self.kind + ("" if self.cutoff is None else f"@{self.cutoff}")


def is_request_metric(name: str) -> bool:
    """Whether there is a per-request metric called `name`.

    >>> is_request_metric("ndcg@10"), is_request_metric("recall"), is_request_metric("auc")
    (True, False, False)
    """
    return _parsed(name) is not None


def metric_names(names: Iterable[str]) -> tuple[MetricName, ...]:
    """The metrics called `names`.

    Raises:
        ValueError: all names that no metric has, with those there are.

    >>> metric_names(["ndcg@10", "gauc"])
    (MetricName(kind='ndcg', cutoff=10), MetricName(kind='gauc', cutoff=None))
    """
    asked = [names] if isinstance(names, str) else list(names)
    found = [_parsed(name) for name in asked]
    unknown = [name for name, metric in zip(asked, found) if metric is None]
    if unknown:
        raise ValueError(
            f"`metrics` must be among {', '.join(METRIC_FORMS)} with K from 1 to 999999, got "
            f"{', '.join(repr(name) for name in unknown)}"
        )
    return tuple(metric for metric in found if metric is not None)


def _parsed(name: str) -> MetricName | None:
    match = _PATTERN.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        return None
    cutoff = match[2] or match[4]
    return MetricName(match[1] or match[3] or match[5], int(cutoff) if cutoff else None)
