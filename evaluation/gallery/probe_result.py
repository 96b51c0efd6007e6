"""What a probe predicted right, item by item, and the tables made from it: table 2, paired differences, the control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from evaluation.checks import FloatArray
from evaluation.clusters import Clusters, clustered_standard_error
from evaluation.comparison.paired import BETTER, UNDECIDED, WORSE
from evaluation.estimate import Z95, Estimate
from evaluation.proper_scores import mean_influence

MAJORITY = "majority class"
TRUTH = "truth"  # the arm of what decides the attribute: a ceiling, no competitor


@dataclass(frozen=True)
class Score:
    """One arm with one head at one budget with one seed.

    Attributes:
        arm, head, budget, seed: What was fitted.
        shuffled: Whether the training labels were shuffled (the control).
        labels: Training labels used (the mean over the folds).
        correct: `(n,)` 1 where the tested item was predicted right, else 0.
        cpu_seconds: Of all its fits, the choice of settings included, the encoder's forward pass not.
        details: What each part's fit chose.
    """

    arm: str
    head: str
    budget: str
    seed: int
    shuffled: bool
    labels: float
    correct: FloatArray
    cpu_seconds: float
    details: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class ProbeResult:
    """Every score of a probe.

    Attributes:
        scores: One per arm, head, budget and seed.
        majority: `(seeds, n)` 1 where the most frequent training class is right.
        groups: The n tested items' groups: every interval counts groups, not items, as independent.
        classes: The attribute's values.
        items: Items with a label.
        design: "split" or "folds".
    """

    scores: tuple[Score, ...]
    majority: FloatArray
    groups: Clusters
    classes: tuple[str, ...]
    items: int
    design: str

    def joined(self, other: ProbeResult) -> ProbeResult:
        """The scores of both: arms that were run apart (end to end, with fewer seeds), on the same tested items.

        Raises:
            ValueError: the two did not test the same items.
        """
        same = self.classes == other.classes and np.array_equal(self.groups.codes, other.groups.codes)
        if not same or self.design != other.design:
            raise ValueError("`other` must have tested the same items under the same design, got another probe")
        return ProbeResult(
            self.scores + other.scores, self.majority, self.groups, self.classes, self.items, self.design
        )

    def accuracy(self) -> pd.DataFrame:
        """One row per arm, head and budget.

        Columns: arm, head, budget, labels (used for training), accuracy (mean over the seeds), low, high (95 %, over
        the tested items, clustered by group), seeds, seed_sd (standard deviation of the accuracy over the seeds, which
        the interval does not hold), cpu_seconds (mean over the seeds). The majority class has no head and no budget.
        """
        rows = [self._row(MAJORITY, "", "", np.nan, self.majority, np.nan)]
        for (arm, head, budget), scores in self._grouped(shuffled=False).items():
            correct = np.asarray([score.correct for score in scores])
            labels = float(np.mean([score.labels for score in scores]))
            rows.append(self._row(arm, head, budget, labels, correct, float(np.mean([s.cpu_seconds for s in scores]))))
        return pd.DataFrame(rows[1:] + rows[:1])

    def table_2(self, head: str) -> pd.DataFrame:
        """The accuracies of one head as in table 2: one row per budget, one column per arm.

        Columns: budget, labels, then per arm `<arm>`, `<arm> low`, `<arm> high`.
        """
        table = self.accuracy()
        table = table[table["head"] == head]
        rows: dict[str, dict[str, Any]] = {}
        for record in table.to_dict(orient="records"):
            row = rows.setdefault(record["budget"], {"budget": record["budget"], "labels": record["labels"]})
            row |= {
                record["arm"]: record["accuracy"],
                f"{record['arm']} low": record["low"],
                f"{record['arm']} high": record["high"],
            }
        return pd.DataFrame(list(rows.values()))

    def differences(self, reference: str | None = None) -> pd.DataFrame:
        """The reference arm's accuracy less every other arm's, on the same items.

        Args:
            reference: An arm; None = the first one.

        Returns:
            One row per head, budget and other arm (the majority class included): head, budget, arm, against,
            difference, se, low, high, verdict ("better": the interval lies above 0, "worse": below, else "no difference
            shown").

        Raises:
            ValueError: no such arm.
        """
        grouped = self._grouped(shuffled=False)
        arms = list(dict.fromkeys(arm for arm, _, _ in grouped))
        chosen = reference if reference is not None else (arms or [""])[0]
        if chosen not in arms:
            raise ValueError(f"`reference` must be one of the arms {arms}, got {reference!r}")
        rows = []
        for (arm, head, budget), scores in grouped.items():
            if arm != chosen:
                continue
            ours = _mean([score.correct for score in scores])
            others = {
                name: _mean([score.correct for score in found])
                for (name, other_head, other_budget), found in grouped.items()
                if name != chosen and other_head == head and other_budget == budget
            }
            for name, theirs in {**others, MAJORITY: self.majority.mean(axis=0)}.items():
                estimate = self._estimate(ours - theirs)
                row = {"head": head, "budget": budget, "arm": chosen, "against": name}
                rows.append({**row, **_difference(estimate)})
        return pd.DataFrame(rows)

    def control(self) -> pd.DataFrame:
        """Probes whose training labels were shuffled, against the majority class.

        A shuffle can be lucky: its one probe points, by chance, in a direction that holds signal. So the interval holds
        two parts, added in quadrature: 1.96 standard errors over the tested items, and Student's over the shuffles.

        Columns: arm, head, shuffles, accuracy (their mean), majority, difference, low, high, at_chance: whether the
        interval of the difference does not lie above 0. A False means that the true labels reach the probe by another
        way than its training labels.
        """
        rows = []
        for (arm, head, _), scores in self._grouped(shuffled=True).items():
            correct = np.asarray([score.correct for score in scores])
            chance = self.majority.mean(axis=0)
            over_items = self._estimate(correct.mean(axis=0) - chance)
            half = float(np.hypot(Z95 * over_items.standard_error, _half_width(correct.mean(axis=1))))
            low, high = over_items.value - half, over_items.value + half
            rows.append(
                {
                    "arm": arm,
                    "head": head,
                    "shuffles": len(scores),
                    "accuracy": float(correct.mean()),
                    "majority": float(chance.mean()),
                    "difference": over_items.value,
                    "low": low,
                    "high": high,
                    "at_chance": bool(low <= 0.0),
                }
            )
        return pd.DataFrame(rows)

    def _grouped(self, *, shuffled: bool) -> dict[tuple[str, str, str], list[Score]]:
        found: dict[tuple[str, str, str], list[Score]] = {}
        for score in self.scores:
            if score.shuffled == shuffled:
                found.setdefault((score.arm, score.head, score.budget), []).append(score)
        return found

    def _row(
        self, arm: str, head: str, budget: str, labels: float, correct: FloatArray, seconds: float
    ) -> dict[str, Any]:
        estimate = self._estimate(correct.mean(axis=0), bounds=(0.0, 1.0))
        return {
            "arm": arm,
            "head": head,
            "budget": budget,
            "labels": labels,
            "accuracy": estimate.value,
            "se": estimate.standard_error,
            "low": estimate.low,
            "high": estimate.high,
            "seeds": len(correct),
            "seed_sd": float(correct.mean(axis=1).std(ddof=1)) if len(correct) > 1 else np.nan,
            "cpu_seconds": seconds,
        }

    def _estimate(self, values: FloatArray, bounds: tuple[float, float] = (-np.inf, np.inf)) -> Estimate:
        """The mean of `values` `(n,)` over the tested items."""
        mean, influence = mean_influence(values, np.ones(len(values)))
        return Estimate.linear(mean, clustered_standard_error(influence, self.groups), bounds=bounds)


def verdict(low: float, high: float) -> str:
    """ "better" if the whole interval lies above 0, "worse" if below, else "no difference shown".

    >>> verdict(0.1, 0.2), verdict(-0.2, -0.1), verdict(-0.1, 0.1)
    ('better', 'worse', 'no difference shown')
    """
    if low > 0.0:
        return BETTER
    return WORSE if high < 0.0 else UNDECIDED


def _difference(estimate: Estimate) -> dict[str, Any]:
    return {
        "difference": estimate.value,
        "se": estimate.standard_error,
        "low": estimate.low,
        "high": estimate.high,
        "verdict": verdict(estimate.low, estimate.high),
    }


def _half_width(values: FloatArray) -> float:
    """Half of Student's 95 % interval of the mean of `values` `(n,)`; infinite for a single one."""
    from scipy.stats import t

    if len(values) < 2:
        return float("inf")
    return float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def _mean(correct: Sequence[FloatArray]) -> FloatArray:
    return np.asarray(np.mean(np.asarray(correct), axis=0))
