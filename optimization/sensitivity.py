"""What each weight contributes to the utility, and what a small change of it does to every head's metric."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from evaluation.comparison.paired import verdict
from evaluation.estimate import normal_interval
from optimization.objective.metrics import make_metric
from optimization.weight_diff import weight_vector
from ranking.utility import Utility

if TYPE_CHECKING:
    from optimization.score_table import ScoreTable


def contributions(table: ScoreTable, utility: Utility) -> pd.DataFrame:
    """How much of the utility each head is.

    contribution_t = w_t E[p_t]; its share is |contribution_t| / sum over heads of |contribution|. A head that is the
    same for all candidates of a request adds to the score and orders nothing, so the share of the order stands beside
    it: Cov(w_t p_t, s) / Var(s) with s = sum_t w_t p_t, both within requests; these shares add up to 1, and one below
    0 belongs to a head that the others outvote.

    Args:
        table: Rows with calibrated probabilities; row weights are honoured.
        utility: The weights w.

    Returns:
        One row per head: head, weight, mean_probability, contribution, share, order_share (NaN where the utility is
        constant within every request).

    Raises:
        ValueError: weights of unknown heads, or against a declared sign.
    """
    weights = weight_vector(utility, table)
    rows = np.ones(table.rows) if table.row_weights is None else table.row_weights
    contribution = weights * table.mean_probabilities
    size = np.abs(contribution).sum()
    total = table.requests.sums(rows)
    terms = np.empty((table.rows, len(weights)))
    for t, weight in enumerate(weights):
        term = weight * table.probabilities[:, t].astype(np.float64)
        means = np.divide(table.requests.sums(rows * term), total, out=np.zeros_like(total), where=total > 0.0)
        terms[:, t] = term - means[table.requests.codes]
    score = terms.sum(axis=1)
    spread = float((rows * score) @ score)
    order = (rows * score) @ terms / spread if spread > 0.0 else np.full(len(weights), np.nan)
    return pd.DataFrame(
        {
            "head": list(table.heads),
            "weight": weights,
            "mean_probability": np.asarray(table.mean_probabilities, dtype=np.float64),
            "contribution": contribution,
            "share": np.abs(contribution) / size if size > 0.0 else np.nan,
            "order_share": order,
        }
    )


def sensitivity(table: ScoreTable, utility: Utility, *, metric: str = "pr_auc", change: float = 0.1) -> pd.DataFrame:
    """What a change of one weight does: each weight times 1 + change and 1 - change, rescaled to the same sum |w|.

    Args:
        table: The rows to measure on.
        utility: The weights to change; heads of weight 0 stay 0 and are left out.
        metric: As in `make_metric`.
        change: In (0, 1); 0.1 = ten per cent.

    Returns:
        One row per changed weight, factor and head: changed, factor, weight (the new one), head, value, difference to
        the unchanged weights with se, low, high (95 %, paired, clustered by request), verdict.

    Raises:
        ValueError: `change` outside (0, 1), weights of unknown heads or against a declared sign, unknown metric.
    """
    if not 0.0 < change < 1.0:
        raise ValueError(f"`change` must satisfy 0 < change < 1, got {change}")
    weights = weight_vector(utility, table)
    prepared = make_metric(metric).prepare(table)
    before, influence = prepared.influences(weights)
    records = []
    for t in np.flatnonzero(weights):
        for factor in (1.0 + change, 1.0 - change):
            changed = weights.copy()
            changed[t] *= factor
            changed *= np.abs(weights).sum() / np.abs(changed).sum()
            values, other = prepared.influences(changed)
            for h, (head, sign) in enumerate(zip(table.heads, table.signs)):
                difference = float(values[h] - before[h])
                error = float(np.sqrt(np.sum((other[:, h] - influence[:, h]) ** 2)))
                low, high = normal_interval(difference, error)
                records.append(
                    {"changed": table.heads[t], "factor": factor, "weight": float(changed[t]), "head": head}
                    | {"value": float(values[h]), "difference": difference, "se": error, "low": low, "high": high}
                    | {"verdict": verdict(low, high) if sign > 0 else verdict(-high, -low)}
                )
    return pd.DataFrame(records)
