"""How a weight vector is measured: all heads' PR-AUC by one sort, and the other metrics behind the same door."""

from optimization.objective.pr_auc import UtilityObjective, ap_request_influences, utilities, utility_pr_auc

__all__ = ["UtilityObjective", "ap_request_influences", "utilities", "utility_pr_auc"]
