"""Metrics that are a mean over requests: NDCG@K, MRR, recall@K, hit rate@K, mean AP and GAUC.

>>> from evaluation.per_request import request_metrics
>>> table = request_metrics([1, 0, 0, 1], [0.9, 0.2, 0.7, 0.4], ["a", "a", "b", "b"], metrics=["mrr", "gauc"])
>>> table["value"].tolist()
[0.75, 0.5]
"""

from evaluation.per_request.influences import request_influences
from evaluation.per_request.metric_names import (
    DEFAULT_METRICS,
    METRIC_FORMS,
    MetricName,
    is_request_metric,
    metric_names,
)
from evaluation.per_request.table import request_metrics

__all__ = [
    "DEFAULT_METRICS",
    "METRIC_FORMS",
    "MetricName",
    "is_request_metric",
    "metric_names",
    "request_influences",
    "request_metrics",
]
