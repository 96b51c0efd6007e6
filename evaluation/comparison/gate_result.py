"""What a gate found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from evaluation.comparison.gate_rules import GateRules
from evaluation.comparison.gate_tests import FELL, HOLDS
from evaluation.comparison.gate_words import verdict_sentence, warning_sentences
from evaluation.metrics_json import jsonable

PASS, REGRESSION, INCONCLUSIVE = "pass", "regression", "inconclusive"
COLUMNS = (
    *("head", "metric", "column", "slice", "rows", "positives", "requests", "candidate", "baseline"),
    *("change", "change_low", "change_high", "tolerance", "floor", "d", "se", "df", "low", "high", "p", "p_holm"),
    *("detectable", "detectable_share", "outcome", "reason", "overall"),
)


@dataclass(frozen=True)
class GateResult:
    """The verdict and everything behind it.

    Attributes:
        verdict: "pass", "regression" or "inconclusive".
        sentence: The verdict in one plain sentence or two.
        warnings: What did not decide the verdict and should be looked at.
        tests: One row per head, metric and slice, those over all rows first: head, metric, column and slice ("all" and
            "all"), rows, positives, requests; candidate and baseline (the metric); change (how much better, as a share
            of the baseline's: below 0 is worse), change_low and change_high (the interval of d as a share of the
            baseline's, moved to the change: below the floor exactly where d's lies below 0. It is not the interval of
            candidate / baseline itself; its ends are cut where a metric can lose or gain no more); tolerance (c), floor
            (the candidate's value at which d is 0), d, se, df (degrees of freedom), low and high (of d, two-sided at
            the rules' level; -inf like d where the candidate predicts nothing and production something), p
            (one-sided, of a fall), p_holm; detectable (how far below the floor a fall would be found with 80 % power),
            detectable_share (that fall measured from the baseline, as a share of it); outcome ("regression", "warning",
            "holds", "undecided", "not tested"), reason (why there is no test), overall (over all rows). For "ratio" d
            and what is measured in it are in |log ratio|, and change is NaN. A d and an se that no larger a difference
            stands behind than rounding to float32 makes are 0 (`evaluation.comparison.influences.ROUNDING`).
        rules: The gate's.
        rows, requests: Of the evaluation.
    """

    verdict: str
    sentence: str
    warnings: list[str]
    tests: pd.DataFrame = field(repr=False)
    rules: GateRules = field(repr=False)
    rows: int
    requests: int

    @classmethod
    def of(cls, tests: pd.DataFrame, rules: GateRules, *, heads: Sequence[str], rows: int, requests: int) -> GateResult:
        """The verdict of decided tests; `heads` are all of the models', gated or not."""
        if (tests["outcome"] == FELL).any():
            verdict = REGRESSION
        elif (tests.loc[tests["overall"], "outcome"] == HOLDS).all():
            verdict = PASS
        else:
            verdict = INCONCLUSIVE
        records = jsonable(tests)
        sentence = verdict_sentence(verdict, records, heads, requests, rules.level)
        return cls(verdict, sentence, warning_sentences(records, heads, rules.level), tests, rules, rows, requests)

    def to_dict(self) -> dict[str, Any]:
        """As it stands in metrics.json."""
        return {
            "verdict": self.verdict,
            "sentence": self.sentence,
            "warnings": list(self.warnings),
            "rows": self.rows,
            "requests": self.requests,
            "alpha": (1.0 - self.rules.level) / 2.0,
            "tested": int(self.tests["p"].notna().sum()),
            "rules": self.rules.to_dict(),
            "tests": jsonable(self.tests),
        }
