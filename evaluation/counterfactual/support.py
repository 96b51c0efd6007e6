"""How much the log says of a new ranking: shared placements, their weights, what clipping did, what contradicts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from evaluation.counterfactual.reranking import Reranking
from evaluation.counterfactual.weights import effective_sample_size, match_weights
from features import Fault, InputError

__all__ = ["Support", "measure_support"]

DEPENDENT, DECISIVE = 1.25, 5.0  # weights that add up to so much, so many standard errors above 1, are a contradiction
WELL_COVERED = 0.9
IMPLIED = (0.5, 2.0)  # candidates that the propensities imply, over those that there are


@dataclass(frozen=True, eq=False)
class Support:
    """The clipping report.

    Attributes:
        clip: The smallest propensity that is divided by.
        numbers: requests; placements (of the new ranking, that count); matched (of them, in the log); match_share;
            covered, what the clipped weights add up to over the placements (1 where the log supports all of them), and
            covered_se; effective_rows (sum w)^2 / sum w^2 and without clipping; largest_weight and without clipping;
            clipped_rows, whose propensity lay below the clip; clipped_share of the weight that clipping took away;
            candidates per request and implied_candidates, the mean of 1 / propensity.
        positions: The same by logged position: position, rows, matched, covered, effective_rows, implied_candidates.
    """

    clip: float
    numbers: dict[str, float | int]
    positions: pd.DataFrame

    @property
    def depends_on_the_log(self) -> bool:
        """The weights add up to more than the placements by more than chance: E[w] = 1 holds for no such ranking."""
        covered, error = self.numbers["covered"], self.numbers["covered_se"]
        return covered > DEPENDENT and covered - 1.0 > DECISIVE * error

    def refuse_dependent(self) -> None:
        """InputError for a new order that was made from the logged one, or propensities that are no probabilities."""
        if self.depends_on_the_log:
            raise InputError(
                Fault(
                    "the weights of the placements that the log shares with the new ranking must add up to about 1 per "
                    "placement: the new order follows the logged one (score at the serving position, break ties by "
                    "something else than the log's order), or the propensities are not those of the policy that wrote "
                    "this log. What the logged order itself earned is the log's own mean",
                    value=f"{self.numbers['covered']:.3g}",
                )
            )

    def notes(self) -> list[str]:
        """What a reader must know of these numbers."""
        n = self.numbers
        found = []
        if n["covered"] < WELL_COVERED:
            found.append(
                f"The log supports {100 * n['covered']:.0f} % of the new ranking's placements: the others were shown "
                "there too rarely or never. IPS counts them as nothing, SNIPS as what else stood there, DR as its "
                "model says: read DR, or log with more exploration."
            )
        implied = n["implied_candidates"] / n["candidates"] if n["candidates"] else 1.0
        if not IMPLIED[0] <= implied <= IMPLIED[1]:
            found.append(
                f"The propensities contradict themselves: the mean of 1 / propensity at a position is the number of "
                f"candidates that could stand there, {n['implied_candidates']:.3g} here, and requests have "
                f"{n['candidates']:.3g}. They should be the marginal probability of the item at its position."
            )
        return found


def measure_support(reranking: Reranking, clip: float) -> Support:
    """The clipping report of N rows.

    >>> two = Reranking.of([1, 0, 0, 1], list("abab"), [1, 1, 2, 2], [1, 2, 1, 2], [0.5, 0.5, 0.1, 0.1])
    >>> report = measure_support(two, 0.2).numbers
    >>> report["matched"], report["covered"], report["clipped_rows"], report["implied_candidates"]
    (2, 1.0, 0, 6.0)
    """
    weights, unclipped = match_weights(reranking, clip), match_weights(reranking, 0.0)
    counted, matched = reranking.counted, reranking.matched
    used = reranking.weights[reranking.clusters.codes] > 0
    inverse = 1.0 / reranking.propensity
    places = reranking.per_request(counted.astype(np.float64))  # (R,)
    mass = reranking.per_request(weights)
    placements = float(places.sum())
    covered = float(mass.sum()) / placements if placements else 0.0
    deviation = (mass - covered * places) / placements if placements else np.zeros(len(places))
    before = float(unclipped.sum())
    numbers: dict[str, float | int] = {
        "requests": reranking.requests,
        "placements": int(counted.sum()),
        "matched": int(matched.sum()),
        "match_share": float(matched.sum() / max(1, counted.sum())),
        "covered": covered,
        "covered_se": float(np.sqrt(np.sum(deviation**2))),
        "effective_rows": effective_sample_size(weights),
        "effective_rows_unclipped": effective_sample_size(unclipped),
        "largest_weight": float(weights.max(initial=0.0)),
        "largest_weight_unclipped": float(unclipped.max(initial=0.0)),
        "clipped_rows": int((matched & (reranking.propensity < clip)).sum()),
        "clipped_share": 1.0 - float(weights.sum()) / before if before else 0.0,
        "candidates": float(used.sum() / max(1, reranking.requests)),
        "implied_candidates": float(inverse[used].mean()) if used.any() else 0.0,
    }
    return Support(clip, numbers, _by_position(reranking, weights, inverse, used))


def _by_position(reranking: Reranking, weights: np.ndarray, inverse: np.ndarray, used: np.ndarray) -> pd.DataFrame:
    """One line per logged position. A matched row stands at the same place in both rankings."""
    place = np.where(used, reranking.logged, 0)

    def sums(values: np.ndarray) -> np.ndarray:
        return np.asarray(np.bincount(place, weights=values.astype(np.float64)))[1:]

    request_weight = reranking.weights[reranking.clusters.codes]
    rows, weighted_rows = sums(used), sums(used * request_weight)
    squares = sums(weights**2)
    found = np.flatnonzero(rows > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        table = pd.DataFrame(
            {
                "position": np.arange(1, len(rows) + 1),
                "rows": rows.astype(np.int64),
                "matched": sums(reranking.matched).astype(np.int64),
                "covered": sums(weights * request_weight) / weighted_rows,
                "effective_rows": np.where(squares > 0, sums(weights) ** 2 / squares, 0.0),
                "implied_candidates": sums(inverse * used) / rows,
            }
        )
    counts = table.iloc[found].reset_index(drop=True)
    return counts if reranking.cutoff is None else counts[counts["position"] <= reranking.cutoff]
