"""Calibration in full: predicted against observed overall, in slices, over the range of scores and over time.

>>> from evaluation.calibration import calibration_by_slices
>>> table = calibration_by_slices([[0], [1]], [[0.2], [0.6]], None, [1, 2], names=["click"])
>>> table[["head", "slice", "ratio"]].to_dict("records")
[{'head': 'click', 'slice': 'all', 'ratio': 0.8}]
"""

from evaluation.calibration.by_slices import (
    ALL,
    QUANTILES,
    calibration_by_slices,
    calibration_of_stages,
    p_any_slices,
)
from evaluation.calibration.cumulative import CalibrationTest, calibration_test, calibration_tests
from evaluation.calibration.cumulative_figure import cumulative_figure
from evaluation.calibration.drift import ratio_drift
from evaluation.calibration.implied import implication_violations
from evaluation.calibration.segments import worst_segments
from evaluation.calibration.segments_figure import segments_figure
from evaluation.calibration.slices_figure import calibration_figure

__all__ = [
    "ALL",
    "QUANTILES",
    "CalibrationTest",
    "calibration_by_slices",
    "calibration_figure",
    "calibration_of_stages",
    "calibration_test",
    "calibration_tests",
    "cumulative_figure",
    "implication_violations",
    "p_any_slices",
    "ratio_drift",
    "segments_figure",
    "worst_segments",
]
