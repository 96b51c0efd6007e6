"""Is it good: metrics, clustered intervals, calibration, reliability, comparisons and the report.

>>> from evaluation import ap_interval, average_precision
>>> average_precision([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1])
0.8333333333333333
>>> value, standard_error = ap_interval([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1], groups=["a", "a", "b", "b"])
"""

from _galleryrank_siblings import require_siblings

require_siblings(__file__)

from evaluation.auc import auc  # noqa: E402
from evaluation.average_precision import average_precision  # noqa: E402
from evaluation.bootstrap import bootstrap_ap_interval, clustered_bootstrap  # noqa: E402
from evaluation.calibration import calibration_by_slices, calibration_of_stages  # noqa: E402
from evaluation.clusters import Clusters  # noqa: E402
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
    paired_log_loss_difference,
    ratio_interval,
)
from evaluation.measuring import check_role, measure_ranker  # noqa: E402
from evaluation.metrics import head_metrics  # noqa: E402
from evaluation.metrics_json import write_metrics_json  # noqa: E402
from evaluation.proper_scores import brier, log_loss, normalised_entropy, ratio  # noqa: E402
from evaluation.reliability import reliability_table, score_histogram  # noqa: E402
from evaluation.reliability_figure import reliability_figure  # noqa: E402
from evaluation.report import evaluation_figures, render_report, write_report  # noqa: E402
from evaluation.summary import Evaluation, evaluate_predictions  # noqa: E402

__all__ = [
    "Clusters",
    "Estimate",
    "Evaluation",
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
    "check_role",
    "clustered_bootstrap",
    "evaluate_predictions",
    "evaluation_figures",
    "head_metrics",
    "log_loss",
    "log_loss_interval",
    "measure_ranker",
    "normalised_entropy",
    "normalised_entropy_interval",
    "paired_ap_difference",
    "paired_auc_difference",
    "paired_log_loss_difference",
    "ratio",
    "ratio_interval",
    "reliability_figure",
    "reliability_table",
    "render_report",
    "score_histogram",
    "write_metrics_json",
    "write_report",
]
