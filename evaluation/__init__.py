"""Is it good: metrics with clustered intervals, calibration, slices, the release gate and the report.

>>> from evaluation import ap_interval, average_precision
>>> average_precision([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1])
0.8333333333333333
>>> value, standard_error = ap_interval([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1], groups=["a", "a", "b", "b"])

Model against model, and a release gate over heads and slices:

>>> import numpy as np
>>> from evaluation import Slices, compare, gate
>>> labels, new, old = [[1], [0], [0], [1]] * 50, [[4], [3], [1], [2]] * 50, [[4], [1], [2], [3]] * 50
>>> requests, device = np.arange(200) // 4, Slices.of("device", ["phone", "phone", "desk", "desk"] * 50)
>>> compare(labels, new, old, requests, names=["click"])["verdict"].tolist()
['worse', 'worse']
>>> gate(labels, new, old, requests, names=["click"], slices=[device]).verdict
'regression'
"""

from _galleryrank_siblings import require_siblings

require_siblings(__file__)

from evaluation.auc import auc  # noqa: E402
from evaluation.average_precision import average_precision  # noqa: E402
from evaluation.bootstrap import bootstrap_ap_interval, clustered_bootstrap  # noqa: E402
from evaluation.calibration import (  # noqa: E402
    calibration_by_slices,
    calibration_of_stages,
    calibration_test,
    calibration_tests,
    implication_violations,
    ratio_drift,
    worst_segments,
)
from evaluation.clusters import Clusters  # noqa: E402
from evaluation.comparison import (  # noqa: E402
    GateResult,
    GateRules,
    compare,
    gate,
    metric_influences,
    write_junit,
)
from evaluation.counterfactual import Reranking, estimate_reranking, evaluate_counterfactual  # noqa: E402
from evaluation.decomposition import brier_decomposition  # noqa: E402
from evaluation.estimate import Estimate  # noqa: E402
from evaluation.intervals import (  # noqa: E402
    ap_interval,
    auc_interval,
    brier_interval,
    log_loss_interval,
    normalised_entropy_interval,
    paired_ap_difference,
    paired_auc_difference,
    paired_brier_difference,
    paired_log_loss_difference,
    paired_ratio_difference,
    paired_request_difference,
    ratio_interval,
)
from evaluation.measured.measuring import check_role, measure_ranker, measure_scores  # noqa: E402
from evaluation.measured.score_file import read_scores  # noqa: E402
from evaluation.measured.scored_log import ScoredLog, Scores  # noqa: E402
from evaluation.metrics import head_metrics  # noqa: E402
from evaluation.metrics_json import write_metrics_json  # noqa: E402
from evaluation.per_request import request_influences, request_metrics  # noqa: E402
from evaluation.proper_scores import brier, log_loss, normalised_entropy, ratio  # noqa: E402
from evaluation.reliability import reliability_table, score_histogram  # noqa: E402
from evaluation.reliability_figure import reliability_figure  # noqa: E402
from evaluation.report import evaluation_figures, render_report, write_report  # noqa: E402
from evaluation.slicing.slice_columns import read_slices  # noqa: E402
from evaluation.slicing.sliced_metrics import slice_metrics  # noqa: E402
from evaluation.slicing.slices import Slices  # noqa: E402
from evaluation.summary.evaluating import Evaluation, evaluate_predictions  # noqa: E402
from evaluation.summary.metrics_schema import metrics_schema  # noqa: E402

__all__ = [
    "Clusters",
    "Estimate",
    "Evaluation",
    "GateResult",
    "GateRules",
    "Reranking",
    "ScoredLog",
    "Scores",
    "Slices",
    "ap_interval",
    "auc",
    "auc_interval",
    "average_precision",
    "bootstrap_ap_interval",
    "brier",
    "brier_decomposition",
    "brier_interval",
    "calibration_by_slices",
    "calibration_of_stages",
    "calibration_test",
    "calibration_tests",
    "check_role",
    "clustered_bootstrap",
    "compare",
    "estimate_reranking",
    "evaluate_counterfactual",
    "evaluate_predictions",
    "evaluation_figures",
    "gate",
    "head_metrics",
    "implication_violations",
    "log_loss",
    "log_loss_interval",
    "measure_ranker",
    "measure_scores",
    "metric_influences",
    "metrics_schema",
    "normalised_entropy",
    "normalised_entropy_interval",
    "paired_ap_difference",
    "paired_auc_difference",
    "paired_brier_difference",
    "paired_log_loss_difference",
    "paired_ratio_difference",
    "paired_request_difference",
    "ratio",
    "ratio_drift",
    "ratio_interval",
    "read_scores",
    "read_slices",
    "reliability_figure",
    "reliability_table",
    "render_report",
    "request_influences",
    "request_metrics",
    "score_histogram",
    "slice_metrics",
    "worst_segments",
    "write_junit",
    "write_metrics_json",
    "write_report",
]
