"""report.html: the verdict first, every number as it stands in metrics.json, nothing fetched.

>>> from evaluation.report import render_report, write_report
"""

from evaluation.report.figures import Figure, evaluation_figures
from evaluation.report.page import render_report, write_report

__all__ = ["Figure", "evaluation_figures", "render_report", "write_report"]
