"""Guardrails as data: what weights may be, and what they must keep of the weights in production.

[Pinterest 2020], the constraints of the tuning problem. With w_t the weight of head t, f_h(w) the metric of head h when
candidates are ranked by w, b the baseline's metrics, and c_h the share of them that must remain:

    S1:       sum_t |w_t| = total, each weight with its head's declared sign
    S2:       low_t <= |w_t| / total <= high_t
    S3 - S5:  f_h(w) / b_h >= c_h + margin * SE(f_h(w) / b_h)     of a wanted head: a floor
              f_h(w) / b_h <= c_h - margin * SE(f_h(w) / b_h)     of an unwanted one (hide): a ceiling

The article writes S3 - S5 without the margin, "csave=0.9, cclick=1, cclose-up=1 means we are willing to trade a little
save performance for better long click performance". The best weights then lie on the boundary of what the tuning rows
allow, and on fresh rows some guardrail fails more often than not: what is compared there has noise of its own, so a
margin of m paired standard errors is m / sqrt(2) of the errors that count, for every guardrail that binds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from features import raise_faults
from optimization.guardrail_faults import SUM_TOLERANCE, guardrail_faults
from optimization.search.space import SearchSpace
from ranking.utility import Utility

if TYPE_CHECKING:
    from optimization.score_table import ScoreTable

__all__ = ["MARGIN", "ROUNDING", "Guardrails", "Violation", "limit_words"]

# Measured over 60 synthetic tables of 30,000 rows with three guardrails (best of a dense sweep, all guardrails checked
# on a fresh table of the same size): they held in 26 without a margin, in 46 with 1, 55 with 2, 59 with 2.5 and 59 with
# 3 paired standard errors. 2.5 costs 0.8 % of the objective, 2 costs 0.7 % and 3 costs 1.0 %. These were errors of
# f_h(w) - c_h b_h; those of the ratio, used now, are the same on the boundary: docs/tuning.md has the counts with them.
MARGIN = 2.5
ROUNDING = 1e-12  # equality must not hang on the order in which a million terms were summed


@dataclass(frozen=True)
class Violation:
    """One rule that weights break.

    Attributes:
        rule: "S1", "sign", "S2" or "S3-S5".
        head: The head, None for S1.
        text: What was expected and what was found.
    """

    rule: str
    head: str | None
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}"


@dataclass(frozen=True)
class Guardrails:
    """What tuned weights must satisfy.

    Args:
        baseline: Head -> weight in production, for every head (0 is a weight); sum |w| = total.
        signs: Head -> 1 or -1, every head in order; an unwanted head (hide) has -1.
        floors: Head -> c_h > 0, a share of the baseline's metric. Of a wanted head that must remain, and 1 forbids any
            loss; of an unwanted head (sign -1) it is a ceiling: 1 forbids any rise, 1.05 allows 5 % more of it.
        bounds: Head -> (low, high) of |w| as shares of the total; (0, 1) for a head that is not named.
        total: sum |w|: any constant gives the same rankings.
        margin: In paired standard errors. 0 asks for nothing beyond the tuning rows.

    Raises:
        InputError: every fault at once: a baseline that misses a head, does not sum to `total` (the message has the
            scaled weights), breaks a sign or is not finite; unknown heads anywhere; floors that are not > 0;
            bounds that leave no room; a margin below 0.

    >>> rails = Guardrails({"click": 0.5, "save": 0.5}, {"click": 1, "save": 1}, floors={"save": 0.9})
    >>> rails.violations({"click": 0.8, "save": 0.2})
    []
    >>> [str(violation) for violation in rails.violations({"click": 0.8, "save": 0.3})]
    ['S1: sum |w| must be 1, got 1.1']
    """

    baseline: Mapping[str, float]
    signs: Mapping[str, int]
    floors: Mapping[str, float] = field(default_factory=dict)
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    total: float = 1.0
    margin: float = MARGIN

    def __post_init__(self) -> None:
        baseline = self.baseline.weights if isinstance(self.baseline, Utility) else self.baseline
        for name, value in (("baseline", baseline), ("signs", self.signs), ("floors", self.floors)):
            object.__setattr__(self, name, MappingProxyType(dict(value)))
        pairs = {head: tuple(pair) for head, pair in self.bounds.items()}
        object.__setattr__(self, "bounds", MappingProxyType(pairs))
        raise_faults(guardrail_faults(self))

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads in order."""
        return tuple(self.signs)

    def space(self) -> SearchSpace:
        """S1 and S2 as the space that is searched."""
        return SearchSpace.of(self.signs, self.bounds, self.total)

    def violations(
        self,
        weights: Mapping[str, float] | Utility,
        table: ScoreTable | None = None,
        *,
        metric: str = "pr_auc",
        margin: float = 0.0,
    ) -> list[Violation]:
        """The rules that `weights` break; empty exactly when all hold, equality included.

        Args:
            weights: Head -> weight; a head that is not named weighs 0.
            table: Rows on which S3 - S5 are checked too, against the baseline on the same rows.
            metric: As in `make_metric`.
            margin: In paired standard errors, for S3 - S5 (`Guardrails.margin` is that of tuning).

        Raises:
            ValueError: an unknown metric.
            InputError: a table with other heads.
        """
        given = weights.weights if isinstance(weights, Utility) else weights
        vector = {head: float(given.get(head, 0.0)) for head in self.heads}
        found = [
            Violation("S1", name, f"unknown head `{name}` (the heads are {', '.join(self.heads)})")
            for name in given
            if name not in self.signs
        ]
        if bad := [f"{head} = {value}" for head, value in vector.items() if not math.isfinite(value)]:
            return [*found, Violation("S1", None, f"weights must be finite, got {', '.join(bad)}")]
        size = math.fsum(abs(value) for value in vector.values())
        if abs(size - self.total) > SUM_TOLERANCE * self.total:
            found.append(Violation("S1", None, f"sum |w| must be {self.total:g}, got {size:g}"))
        for head, value in vector.items():
            low, high = self.bounds.get(head, (0.0, 1.0))
            share = abs(value) / self.total
            if value * self.signs[head] < 0:
                found.append(Violation("sign", head, f"`{head}` has sign {self.signs[head]:+d}, got {value:g}"))
            if not low - 1e-9 <= share <= high + 1e-9:
                found.append(Violation("S2", head, f"share of `{head}` must lie in [{low:g}, {high:g}], got {share:g}"))
        return found if table is None else [*found, *self._broken_floors(vector, table, metric, margin)]

    def _broken_floors(
        self, vector: Mapping[str, float], table: ScoreTable, metric: str, margin: float
    ) -> list[Violation]:
        from optimization.evaluating import Evaluator  # which needs this module

        evaluator = Evaluator(table, self, None, metric)
        outcome = evaluator.outcome([vector[head] for head in table.heads])
        found = []
        for head, floor in evaluator.floors.items():
            error = outcome.slack_errors[head]
            room = outcome.differences[head] - margin * error
            if not room >= -ROUNDING:
                required = evaluator.required[head]
                sign = self.signs[head]
                text = (
                    f"{evaluator.label} of `{head}` must be {limit_words(sign)} {required:.6g} ({floor:g} of the "
                    f"baseline's), got {outcome.values[head]:.6g}"
                )
                side = "above" if sign > 0 else "below"
                asked = f", {margin:g} paired standard errors of {error:.3g} {side} it are asked for" if margin else ""
                found.append(Violation("S3-S5", head, text + asked))
        return found

    def to_dict(self) -> dict[str, Any]:
        """As it stands in a journal's header and in metrics.json; `from_dict` reads it back."""
        return {
            "baseline": {head: float(self.baseline[head]) for head in self.heads},
            "signs": dict(self.signs),
            "floors": {head: float(floor) for head, floor in self.floors.items()},
            "bounds": {head: [float(edge) for edge in pair] for head, pair in self.bounds.items()},
            "total": float(self.total),
            "margin": float(self.margin),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Guardrails:
        """The inverse of `to_dict`.

        >>> rails = Guardrails({"click": 0.5, "save": 0.5}, {"click": 1, "save": 1}, bounds={"save": (0.1, 0.9)})
        >>> Guardrails.from_dict(rails.to_dict()) == rails
        True
        """
        return cls(**content)


def limit_words(sign: int) -> str:
    """How a guardrail reads: the c_h of a head of this sign is a floor or a ceiling.

    >>> limit_words(1), limit_words(-1)
    ('at least', 'at most')
    """
    return "at least" if sign > 0 else "at most"
